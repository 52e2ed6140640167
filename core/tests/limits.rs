//! Sources over their limits, as they see it over both protocols.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use etracker_core::announce::Event;
use etracker_core::config::LimitMode;
use etracker_core::governor::{Class, Limited, Verdict};
use etracker_core::http::response::{AnnounceResponse, Failure, Retry};
use etracker_core::http::{self, Connection, Step};
use etracker_core::stats::Count;
use etracker_core::udp::packet::{AnnounceRequest, RequestHead, Response, ScrapeRequest};
use etracker_core::udp::{self, Datagram, DropReason, REPLY_MAX};
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker, Worker};

const START: Instant = Instant::from_secs(1_800_000_000);
const IP: [u8; 4] = [11, 2, 3, 4];

/// A tracker of one worker, with both fronts.
struct House {
    now: Instant,
    worker: Worker,
    udp: udp::Front,
    http: Arc<http::Front>,
}

impl House {
    fn new(config: Config) -> Self {
        let (seed, http) = (Seed::new([7; 32]), Arc::new(http::Front::new(&config)));
        let udp = udp::Front::new(&seed);
        Self {
            now: START,
            worker: Worker::new(Arc::new(Tracker::new(config, seed, START))),
            udp,
            http,
        }
    }

    /// One whose sources may send an announce a second, and forty at once.
    fn strict() -> Self {
        Self::new(Config::default().with_limit_rate(1).unwrap())
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now.saturating_add(Duration::from_millis(millis));
    }

    fn send(&mut self, from: SocketAddr, payload: &[u8]) -> Result<Vec<u8>, DropReason> {
        let mut reply = [0; REPLY_MAX];
        let mut batch = [Datagram::new(from, payload, &mut reply)];
        let handled = self.udp.handle(&mut self.worker, self.now, &mut batch);
        match handled.dropped().next() {
            Some((_, reason)) => Err(reason),
            None => Ok(handled.replies().next().unwrap().1.to_vec()),
        }
    }

    fn announce(&mut self, announce: AnnounceRequest, ip: IpAddr) -> Answer {
        let connection_id = self.udp.connection_ids().make(self.now, ip);
        let announce = AnnounceRequest {
            connection_id,
            ..announce
        };
        let reply = match self.send((ip, 7777).into(), &announce.encode()) {
            Ok(reply) => reply,
            Err(reason) => return Answer::None(reason),
        };
        match Response::decode(&reply) {
            Some(Response::Announce(answer, peers)) => Answer::Peers(peers.len() / 6, answer.interval_secs),
            Some(Response::Error(error)) => {
                Answer::Error(String::from_utf8_lossy(error.message).into_owned())
            }
            other => panic!("{other:?}"),
        }
    }

    /// The body of the answer to one request over a connection of its own; nothing if that is closed.
    fn get(&mut self, path: &str, ip: IpAddr) -> Option<(u16, Vec<u8>)> {
        let mut connection = Connection::new(self.now, (ip, 7777).into(), &self.http);
        let mut reply = vec![0; http::REPLY_MAX];
        let request = format!("GET {path} HTTP/1.1\r\nHost: tracker\r\n\r\n");
        match connection.receive(self.now, request.as_bytes(), &mut self.worker, &mut reply) {
            Step::Write(len) => {
                let response = http::Response::decode(&reply[..len], true).unwrap().unwrap();
                Some((response.status, response.body))
            }
            Step::Close => None,
            other @ (Step::Read | Step::Again) => panic!("{other:?}"),
        }
    }

    fn limited(&self) -> Vec<Limited> {
        self.worker.tracker().figures().limited
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// So many peers, and the interval.
    Peers(usize, u32),
    Error(String),
    None(DropReason),
}

fn request(torrent: u8, port: u16, event: Event) -> AnnounceRequest {
    AnnounceRequest {
        connection_id: 0,
        transaction_id: 5,
        info_hash: InfoHash([torrent; 20]),
        peer_id: PeerId([1; 20]),
        downloaded: 0,
        left: 1,
        uploaded: 0,
        event,
        ip: [0; 4].into(),
        key: 0,
        numwant: -1,
        port,
    }
}

/// Puts peers of other networks into a torrent.
fn fill(house: &mut House, torrent: u8) {
    for host in 0..30 {
        let answer = house.announce(request(torrent, 6881, Event::Started), [12, 0, host, 1].into());
        assert!(matches!(answer, Answer::Peers(..)));
    }
}

#[test]
fn a_thousand_clients_behind_one_address_with_twenty_torrents_each_have_peers_within_a_minute() {
    for ip in [IpAddr::from(IP), "2001:db8:9::1".parse().unwrap()] {
        let mut house = House::new(Config::default().with_peers_per_address_max(0).unwrap());
        for client in 0..1000u16 {
            house.wait(60);
            let from = SocketAddr::new(ip, 10_000 + client);
            house.send(from, &RequestHead::connect(1).encode()).unwrap();
            for torrent in 0..20 {
                // Fifty clients have each torrent.
                let torrent = u8::try_from((usize::from(client) * 20 + torrent) % 200).unwrap();
                let answer = house.announce(request(torrent, 10_000 + client, Event::Started), ip);
                let Answer::Peers(_, 1799) = answer else {
                    panic!("{client}: {answer:?}");
                };
            }
        }
        assert_eq!(house.limited(), []);
        let answer = house.announce(request(0, 60_000, Event::Started), ip);
        assert!(answer != Answer::Peers(0, 1799), "{answer:?}");
    }
}

#[test]
fn over_the_limit_announces_are_short_then_refused_and_then_left_unanswered() {
    let mut house = House::strict();
    fill(&mut house, 1);
    let answers: Vec<_> = (0..200)
        .map(|_| house.announce(request(1, 6881, Event::None), IP.into()))
        .collect();
    let refused = Answer::Error("too many requests from your network: come back later".to_owned());
    let counts = [
        Answer::Peers(30, 1799),
        Answer::Peers(0, 1799),
        refused,
        Answer::None(DropReason::Limited),
    ]
    .map(|expected| answers.iter().filter(|answer| **answer == expected).count());
    assert_eq!(counts, [40, 40, 40, 80]);
    assert!(answers.is_sorted_by_key(counts_as));
    // The rate goes on.
    house.wait(1000);
    let peers = |answer| matches!(answer, Answer::Peers(30.., _));
    assert!(peers(house.announce(request(1, 6881, Event::None), IP.into())));
    assert!(!peers(house.announce(request(1, 6881, Event::None), IP.into())));
    // Others do not notice.
    assert!(peers(
        house.announce(request(1, 6881, Event::None), [11, 9, 9, 9].into())
    ));
}

const fn counts_as(answer: &Answer) -> u8 {
    match answer {
        Answer::Peers(30, _) => 0,
        Answer::Peers(..) => 1,
        Answer::Error(_) => 2,
        Answer::None(_) => 3,
    }
}

#[test]
fn a_short_answer_renews_the_peer_and_one_at_a_start_has_a_few_peers_and_the_usual_interval() {
    let intervals = etracker_core::config::Intervals {
        initial: 600,
        min: 300,
        max: 1200,
    };
    let config = Config::default().with_intervals(intervals).unwrap();
    let mut house = House::new(config.with_limit_rate(1).unwrap());
    fill(&mut house, 1);
    house.announce(request(2, 6881, Event::Started), [13, 0, 0, 1].into());
    let mut short = 0;
    while short == 0 {
        match house.announce(request(1, 6881, Event::None), IP.into()) {
            Answer::Peers(30, 600) => {}
            Answer::Peers(0, 1200) => short += 1,
            other @ (Answer::Peers(..) | Answer::Error(_) | Answer::None(_)) => panic!("{other:?}"),
        }
    }
    assert_eq!(
        house.announce(request(1, 6881, Event::Started), IP.into()),
        Answer::Peers(8, 600)
    );
    // A new peer is stored: the other one in its torrent is handed it.
    assert_eq!(
        house.announce(request(2, 6882, Event::None), IP.into()),
        Answer::Peers(0, 1200)
    );
    assert_eq!(
        house.announce(request(2, 6881, Event::None), [13, 0, 0, 1].into()),
        Answer::Peers(1, 600)
    );
}

#[test]
fn unproven_datagrams_over_their_limit_get_silence_and_leave_the_proven_limit_alone() {
    let mut house = House::strict();
    let connect = RequestHead::connect(1).encode();
    let replies: Vec<_> = (0..100)
        .map(|_| house.send((IP, 1).into(), &connect).map(|reply| reply.len()))
        .collect();
    assert!(
        replies
            .iter()
            .all(|reply| matches!(reply, Ok(16) | Err(DropReason::Limited)))
    );
    let answered = replies.iter().filter(|reply| reply.is_ok()).count();
    assert_eq!(answered, 20);
    for _ in 0..30 {
        let answer = house.announce(request(1, 6881, Event::None), IP.into());
        assert!(matches!(answer, Answer::Peers(..)), "{answer:?}");
    }
    // Datagrams that are dropped anyway are counted as what they are.
    for _ in 0..100 {
        assert_eq!(house.send((IP, 1).into(), b"junk"), Err(DropReason::Malformed));
    }
    assert_eq!(house.worker.counters().get(Count::UdpMalformed), 100);
    assert!(
        house
            .limited()
            .iter()
            .all(|limited| limited.verdict == Verdict::Silence)
    );
}

#[test]
fn scrapes_over_the_limit_are_refused_and_cost_by_what_they_ask() {
    let mut house = House::strict();
    let hashes = [[1; 20]; 70];
    let mut answers = Vec::new();
    for _ in 0..12 {
        let connection_id = house.udp.connection_ids().make(house.now, IP.into());
        let scrape = ScrapeRequest {
            connection_id,
            transaction_id: 5,
            info_hashes: &hashes,
        };
        let mut payload = [0; ScrapeRequest::LEN_MAX];
        let len = scrape.encode(&mut payload);
        answers.push(house.send((IP, 1).into(), &payload[..len]).map(|reply| reply[3]));
    }
    // Eight announces each, of forty; refused for as much twice.
    assert_eq!(answers[..5], [Ok(2); 5]);
    assert_eq!(answers[5..], [Ok(3); 7]);
    let limited = house.limited();
    assert_eq!(
        (limited[0].class, limited[0].verdict, limited[0].count),
        (Class::Scrape, Verdict::Failure, 7)
    );
}

#[test]
fn over_http_refusals_say_when_to_come_back_and_what_is_far_over_the_limit_is_closed() {
    let mut house = House::strict();
    fill(&mut house, 1);
    let announce = format!(
        "/announce?info_hash={}&peer_id={}&port=6881&left=1&compact=1",
        "%01".repeat(20),
        "x".repeat(20)
    );
    let (mut full, mut short, mut failed, mut closed) = (0, 0, 0, 0);
    for _ in 0..120 {
        let Some((status, body)) = house.get(&announce, IP.into()) else {
            closed += 1;
            continue;
        };
        assert_eq!(status, 200);
        if let Ok(failure) = Failure::decode(&body) {
            assert_eq!(failure.interval_secs, Some(1799));
            assert_eq!(failure.interval_min_secs, Some(899));
            assert_eq!(failure.retry, Some(Retry::Minutes(30)));
            failed += 1;
        } else if AnnounceResponse::decode(&body).unwrap().peers().count() > 0 {
            full += 1;
        } else {
            short += 1;
        }
    }
    assert!(
        full >= 9 && short >= 9 && failed >= 9 && closed >= 9,
        "{full} {short} {failed} {closed}"
    );
    let other = house.get(&announce, [11, 7, 7, 7].into()).unwrap();
    assert!(Failure::decode(&other.1).is_err());
}

#[test]
fn behind_a_trusted_proxy_the_client_is_limited_and_the_proxy_is_not() {
    let proxy = "11.0.0.1".parse().unwrap();
    let config = Config::default()
        .with_trusted_proxies(vec!["11.0.0.1/32".parse().unwrap()])
        .with_limit_rate(1)
        .unwrap();
    let mut house = House::new(config);
    let announce = format!(
        "/announce?info_hash={}&peer_id={}&port=6881&left=1&compact=1",
        "%01".repeat(20),
        "x".repeat(20)
    );
    let through = |house: &mut House, client: &str| {
        let path = format!("{announce} HTTP/1.1\r\nX-Forwarded-For: {client}\r\nX: ");
        house.get(&path, proxy)
    };
    for client in 0..1000 {
        let (_, body) = through(&mut house, &format!("11.1.{}.{}", client / 250, client % 250)).unwrap();
        assert!(AnnounceResponse::decode(&body).is_ok(), "{client}");
        house.wait(100);
    }
    let refused = (0..200).filter(|_| {
        let answer = through(&mut house, "11.99.0.1");
        answer.is_none_or(|(_, body)| Failure::decode(&body).is_ok())
    });
    assert!(refused.count() > 100);
}

#[test]
fn a_dry_run_serves_all_and_counts() {
    let config = Config::default().with_limit_mode(LimitMode::DryRun);
    let mut house = House::new(config.with_limit_rate(1).unwrap());
    fill(&mut house, 1);
    for _ in 0..200 {
        let answer = house.announce(request(1, 6881, Event::None), IP.into());
        assert_eq!(answer, Answer::Peers(30, 1799));
    }
    assert!(!house.limited().is_empty());
}
