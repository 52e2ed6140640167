//! What an overloaded worker gives up, and what it still serves.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use etracker_core::announce::Event;
use etracker_core::http::request::Request;
use etracker_core::http::{self, Connection, Found, Page, Pages, Step};
use etracker_core::overload::{Level, Queue, QueueWatch};
use etracker_core::stats::Count;
use etracker_core::udp::packet::{AnnounceRequest, RequestHead, Response, SCRAPE};
use etracker_core::udp::{self, BATCH_MAX, Datagram, DropReason, REPLY_MAX, Verdict};
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker, Worker};
use quickcheck::quickcheck;

const START: Instant = Instant::from_secs(1_800_000_000);
const HASH: InfoHash = InfoHash(*b"11112222333344445555");

fn seed() -> Seed {
    Seed::new([7; 32])
}

/// A worker and the queue of its socket.
struct Overloaded {
    worker: Worker,
    watch: QueueWatch,
    queue: Queue,
    now: Instant,
}

impl Overloaded {
    /// A worker that gives up `level`.
    fn to(level: Level) -> Self {
        let config = Config::default().with_full_scrape(true);
        let tracker = Arc::new(Tracker::new(config, seed(), START));
        let mut overloaded = Self {
            worker: Worker::new(tracker),
            watch: QueueWatch::new(START),
            queue: Queue::default(),
            now: START,
        };
        overloaded.window();
        while overloaded.worker.overload() < level {
            overloaded.queue.drops += 1;
            overloaded.window();
        }
        overloaded
    }

    /// A tenth of a second in which the queue is never empty.
    fn window(&mut self) {
        self.now = self.now.saturating_add(Duration::from_millis(100));
        self.watch.receive(self.now, BATCH_MAX);
        self.worker.observe(self.now, &mut self.watch, self.queue);
    }

    /// What becomes of datagrams from as many senders.
    fn ask(&mut self, requests: &[Vec<u8>]) -> Vec<Result<Vec<u8>, DropReason>> {
        let mut replies = vec![[0; REPLY_MAX]; requests.len()];
        let datagrams = (1..).zip(requests).zip(&mut replies);
        let mut batch: Vec<Datagram<'_>> = datagrams
            .map(|((sender, request), reply)| Datagram::new(sender_of(sender), request, reply))
            .collect();
        let handled = udp::Front::new(&seed()).handle(&mut self.worker, self.now, &mut batch);
        let outcome = |datagram: &Datagram<'_>| match datagram.verdict() {
            Verdict::Reply(_) => Ok(datagram.reply().unwrap_or_default().to_vec()),
            Verdict::Drop(reason) => Err(reason),
        };
        handled.datagrams().iter().map(outcome).collect()
    }

    fn announce(&mut self, event: Event) -> Result<(u32, usize), DropReason> {
        let replies = self.ask(&[announce(event, 1)]);
        let reply = replies.into_iter().next().expect("one for each request")?;
        match Response::decode(&reply) {
            Some(Response::Announce(response, peers)) => Ok((response.interval_secs, peers.len() / 6)),
            other => panic!("{other:?}"),
        }
    }

    fn get(&mut self, peer: &str, path: &str) -> String {
        let front = Arc::new(http::Front::new(self.worker.tracker().config()).with_pages(Arc::new(OnePage)));
        let peer: IpAddr = peer.parse().expect("an address");
        let mut connection = Connection::new(self.now, (peer, 9).into(), &front);
        let (mut reply, mut text) = (vec![0; http::REPLY_MAX], String::new());
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        let mut step = connection.receive(self.now, request.as_bytes(), &mut self.worker, &mut reply);
        loop {
            match step {
                Step::Write(len) => text += &String::from_utf8_lossy(&reply[..len]),
                Step::Again => {}
                Step::Read | Step::Close => return text,
            }
            step = connection.respond(self.now, &mut self.worker, &mut reply);
        }
    }

    fn count(&self, count: Count) -> u64 {
        self.worker.counters().get(count)
    }
}

#[derive(Debug)]
struct OnePage;

impl Pages for OnePage {
    fn find(&self, _: Instant, _: &Request<'_>, _: IpAddr, _: &Tracker) -> Found {
        Found::Page(Page {
            content_type: "text/plain".into(),
            body: b"a page".as_slice().into(),
        })
    }
}

fn sender_of(number: u16) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 1].into(), 1000 + number)
}

fn connect() -> Vec<u8> {
    RequestHead::connect(7).encode().to_vec()
}

fn id() -> u64 {
    let ids = udp::Front::new(&seed());
    ids.connection_ids().make(START, sender_of(1).ip())
}

fn scrape() -> Vec<u8> {
    let head = RequestHead {
        connection_id: id(),
        action: SCRAPE,
        transaction_id: 5,
    };
    [&head.encode()[..], &HASH.0].concat()
}

fn announce(event: Event, port: u16) -> Vec<u8> {
    let request = AnnounceRequest {
        connection_id: id(),
        transaction_id: 6,
        info_hash: HASH,
        peer_id: PeerId([8; 20]),
        downloaded: 0,
        left: 1,
        uploaded: 0,
        event,
        ip: [0; 4].into(),
        key: 0,
        numwant: -1,
        port: 6000 + port,
    };
    request.encode().to_vec()
}

const SHED: Result<Vec<u8>, DropReason> = Err(DropReason::Shed);

#[test]
fn connects_are_given_up_beyond_three_tenths_of_a_batch() {
    for (level, answered) in [(Level::Extras, 64), (Level::Connects, 21), (Level::NewPeers, 21)] {
        let mut overloaded = Overloaded::to(level);
        for batch in 1..=2 {
            let outcomes = overloaded.ask(&vec![connect(); BATCH_MAX]);
            assert_eq!(
                outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
                answered
            );
            assert_eq!(
                outcomes.iter().filter(|&outcome| *outcome == SHED).count(),
                64 - answered
            );
            assert_eq!(
                overloaded.count(Count::ShedConnect),
                batch * (64 - answered as u64)
            );
        }
        // One that comes alone is answered.
        assert!(overloaded.ask(&[connect()])[0].is_ok());
    }
}

#[test]
fn connects_take_nothing_from_those_who_hold_an_id() {
    let mut overloaded = Overloaded::to(Level::Connects);
    let mut requests = vec![connect(); 62];
    requests.extend([announce(Event::Started, 1), scrape()]);
    let outcomes = overloaded.ask(&requests);
    assert!(outcomes[62].is_ok() && outcomes[63].is_ok());
}

#[test]
fn scrapes_are_given_up_before_announces() {
    for (level, is_answered) in [(Level::Connects, true), (Level::Scrapes, false)] {
        let mut overloaded = Overloaded::to(level);
        let outcomes = overloaded.ask(&[scrape(), announce(Event::None, 1)]);
        assert_eq!(outcomes[0] != SHED, is_answered);
        assert!(outcomes[1].is_ok());
        assert_eq!(overloaded.count(Count::ShedScrape), u64::from(!is_answered));
        let answer = overloaded.get(
            "192.0.2.1",
            "/scrape?info_hash=%31%31%31%31%32%32%32%32%33%33%33%33%34%34%34%34%35%35%35%35",
        );
        assert_eq!(answer.contains("5:files"), is_answered, "{answer}");
        assert_eq!(answer.contains("overloaded"), !is_answered, "{answer}");
    }
}

#[test]
fn peers_that_are_stored_are_renewed_and_told_to_come_back_late() {
    let mut overloaded = Overloaded::to(Level::Renewals);
    overloaded.ask(&[announce(Event::Started, 2), announce(Event::Started, 3)]);
    assert_eq!(overloaded.announce(Event::Started), Ok((1799, 2)));
    assert_eq!(overloaded.count(Count::ShedRenewal), 0);
    assert_eq!(overloaded.announce(Event::None), Ok((1799, 0)));
    assert_eq!(overloaded.announce(Event::Completed), Ok((1799, 0)));
    assert_eq!(overloaded.count(Count::ShedRenewal), 2);
    assert_eq!(overloaded.announce(Event::Stopped).map(|_| ()), Ok(()));
    assert_eq!(overloaded.worker.tracker().totals().peers(), 2);
}

#[test]
fn new_peers_are_given_up_last() {
    let mut overloaded = Overloaded::to(Level::NewPeers);
    assert_eq!(overloaded.announce(Event::Started), Err(DropReason::Shed));
    assert_eq!(overloaded.worker.tracker().totals().peers(), 0);
    let hash = "%31%31%31%31%32%32%32%32%33%33%33%33%34%34%34%34%35%35%35%35";
    let started = format!(
        "/announce?info_hash={hash}&peer_id=-XX0000-000000000000&port=9&uploaded=0&downloaded=0&left=1"
    );
    let refused = overloaded.get("192.0.2.1", &format!("{started}&event=started"));
    assert!(
        refused.contains("14:failure reason") && refused.contains("8:interval"),
        "{refused}"
    );
    assert_eq!(overloaded.count(Count::ShedNewPeer), 2);
    assert!(overloaded.get("192.0.2.1", &started).contains("5:peers0:"));
    assert_eq!(overloaded.announce(Event::None), Ok((1799, 0)));
}

#[test]
fn full_scrapes_and_pages_are_given_up_first_but_for_those_who_run_the_tracker() {
    let mut calm = Overloaded::to(Level::None);
    assert!(calm.get("192.0.2.1", "/scrape").contains("5:files"));
    assert!(calm.get("9.9.9.9", "/page").contains("a page"));
    let mut overloaded = Overloaded::to(Level::Extras);
    let refused = overloaded.get("192.0.2.1", "/scrape");
    assert!(refused.contains("14:failure reason"), "{refused}");
    let refused = overloaded.get("9.9.9.9", "/page");
    assert!(
        refused.starts_with("HTTP/1.1 503 ") && refused.contains("Retry-After: 60"),
        "{refused}"
    );
    for operator in ["127.0.0.1", "::1", "10.1.2.3"] {
        assert!(overloaded.get(operator, "/page").contains("a page"));
    }
    assert_eq!(overloaded.count(Count::ShedFullScrape), 1);
    assert_eq!(
        (
            overloaded.count(Count::ShedPage),
            overloaded.count(Count::Http503)
        ),
        (1, 1)
    );
    assert_eq!(overloaded.worker.tracker().figures().overload, Level::Extras);
}

#[test]
fn all_is_served_again_when_the_worker_keeps_up() {
    let mut overloaded = Overloaded::to(Level::NewPeers);
    assert!(overloaded.count(Count::OverloadedMillis) > 0);
    overloaded.now = overloaded.now.saturating_add(Duration::from_secs(2));
    overloaded.watch.receive(overloaded.now, 1);
    overloaded
        .worker
        .observe(overloaded.now, &mut overloaded.watch, overloaded.queue);
    assert_eq!(overloaded.worker.tracker().overload(), Level::None);
    assert_eq!(overloaded.announce(Event::Started), Ok((1799, 0)));
}

quickcheck! {
    fn whatever_is_given_up_a_batch_has_a_verdict_for_each_and_no_reply_amplifies(
        level: u8, kinds: Vec<u8>
    ) -> bool {
        let mut overloaded = Overloaded::to(Level::nth(usize::from(level % 6)));
        let events = [Event::None, Event::Started, Event::Stopped, Event::Completed, Event::Paused];
        let request = |&kind: &u8| match kind % 8 {
            5 => connect(),
            6 => scrape(),
            7 => vec![kind; usize::from(kind)],
            event => announce(events[usize::from(event)], kind.into()),
        };
        let requests: Vec<Vec<u8>> = kinds.iter().take(BATCH_MAX).map(request).collect();
        let outcomes = overloaded.ask(&requests);
        let connects = requests.iter().zip(&outcomes).filter(|(request, _)| **request == connect());
        outcomes.len() == requests.len()
            && connects.clone().all(|(request, outcome)| outcome.as_ref().is_ok_and(|reply| reply.len() <= request.len())
                || *outcome == SHED)
            && !outcomes.contains(&Err(DropReason::Unhandled))
    }
}
