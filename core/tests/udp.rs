//! The UDP protocol through its public interface: datagrams in, replies out.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use etracker_core::announce::{Announce, Counts, Endpoint, Event};
use etracker_core::config::{Config, ExternalAddresses};
use etracker_core::prefetch::{NoPrefetch, Prefetch};
use etracker_core::proxy::{Proxies, ProxyHeader, Transport};
use etracker_core::stats::Count;
use etracker_core::udp::packet::{
    ANNOUNCE, AnnounceRequest, AnnounceResponse, CONNECT, PROTOCOL_ID, RequestHead, Response, SCRAPE,
    SCRAPE_MAX, ScrapeRequest,
};
use etracker_core::udp::{BATCH_MAX, Datagram, DropReason, Front, REPLY_MAX, Verdict};
use etracker_core::{InfoHash, Instant, PeerId, Seed, Tracker, Worker};
use quickcheck::{Arbitrary, Gen, quickcheck};

const NOW: Instant = Instant::from_secs(1_800_000_000);
const HASH: InfoHash = InfoHash(*b"11112222333344445555");
const V4: &str = "192.0.2.1:1234";
const PROXY: &str = "10.0.0.1:4000";
const V6: &str = "[2001:db8::1]:1234";

#[test]
fn two_clients_of_a_family_find_each_other_and_the_other_family_is_only_counted() {
    let mut worker = worker(Config::default());
    assert_eq!(announce(&mut worker, V4, announce_of(7)), (1, 0, vec![]));
    assert_eq!(
        announce(&mut worker, "192.0.2.2:9", announce_of(2)),
        (2, 0, vec![192, 0, 2, 1, 0, 7])
    );
    assert_eq!(announce(&mut worker, V6, announce_of(3)), (3, 0, vec![]));
    let (leechers, seeders, peers) = announce(&mut worker, "[2001:db8::2]:9", seeder(4));
    assert_eq!((leechers, seeders), (3, 1));
    assert_eq!(
        peers,
        [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3]
    );
}

#[test]
fn a_scrape_gives_the_counts_in_the_order_asked() {
    let mut worker = worker(Config::default());
    announce(&mut worker, V4, announce_of(7));
    let finished = AnnounceRequest {
        event: Event::Completed,
        left: 0,
        ..announce_of(7)
    };
    announce(&mut worker, V4, finished);
    let finished = Counts {
        complete: 1,
        incomplete: 0,
        downloaded: 1,
    };
    let asked = [HASH.0, [9; 20], HASH.0];
    assert_eq!(
        scrape(&mut worker, &asked, 0),
        [finished, Counts::default(), finished]
    );
    assert_eq!(
        scrape(&mut worker, &asked, 7),
        [finished, Counts::default(), finished]
    );
    assert_eq!(
        scrape(&mut worker, &[HASH.0; SCRAPE_MAX + 1], 0).len(),
        SCRAPE_MAX
    );
    assert_eq!(worker.tracker().totals().torrents, 1);
}

#[test]
fn an_answer_never_exceeds_what_is_sent_unfragmented() {
    let config = Config::default().with_peers_per_response_max(1000).unwrap();
    let mut worker = worker(config.with_peers_per_address_max(0).unwrap());
    let greedy = AnnounceRequest {
        numwant: i32::MAX,
        ..announce_of(7)
    };
    for port in 2..400 {
        announce(&mut worker, V4, announce_of(port));
        announce(&mut worker, V6, announce_of(port));
    }
    assert_eq!(announce(&mut worker, V4, greedy).2.len(), 242 * 6);
    assert_eq!(announce(&mut worker, V6, greedy).2.len(), 67 * 18);
    assert_eq!(AnnounceResponse::LEN + 242 * 6, REPLY_MAX);
}

#[test]
fn the_number_of_peers_follows_numwant_and_the_configuration() {
    let mut worker = worker(Config::default());
    for port in 2..100 {
        announce(&mut worker, &format!("192.0.2.{port}:1"), announce_of(port));
    }
    for (numwant, given) in [
        (-1, 50),
        (i32::MIN, 50),
        (0, 0),
        (7, 7),
        (60, 60),
        (61, 60),
        (i32::MAX, 60),
    ] {
        let request = AnnounceRequest {
            numwant,
            ..announce_of(7)
        };
        assert_eq!(announce(&mut worker, V4, request).2.len(), given * 6, "{numwant}");
    }
}

#[test]
fn the_claimed_address_is_ignored_and_the_announced_port_is_used() {
    let mut worker = worker(Config::default());
    let claiming = AnnounceRequest {
        ip: [198, 51, 100, 77].into(),
        port: 6881,
        ..announce_of(7)
    };
    announce(&mut worker, V4, claiming);
    let (_, _, peers) = announce(&mut worker, "192.0.2.2:9", announce_of(2));
    assert_eq!(peers, [192, 0, 2, 1, 0x1a, 0xe1]);
}

#[test]
fn ports_0_and_1_are_answered_with_peers_and_not_stored() {
    let mut worker = worker(Config::default());
    announce(&mut worker, "192.0.2.2:9", announce_of(6881));
    let there = vec![192, 0, 2, 2, 0x1a, 0xe1];
    for port in [0, 1] {
        assert_eq!(
            announce(&mut worker, V4, announce_of(port)),
            (1, 0, there.clone())
        );
        let finished = AnnounceRequest {
            event: Event::Completed,
            ..seeder(port)
        };
        assert_eq!(announce(&mut worker, V4, finished), (1, 0, there.clone()));
        let leaving = AnnounceRequest {
            event: Event::Stopped,
            ..announce_of(port)
        };
        assert_eq!(announce(&mut worker, V4, leaving), (1, 0, vec![]));
    }
    let counts = Counts {
        incomplete: 1,
        ..Counts::default()
    };
    assert_eq!(scrape(&mut worker, &[HASH.0], 0), [counts]);
    assert_eq!(worker.tracker().count(Count::UdpError), 0);
    assert_eq!(worker.tracker().count(Count::AnnounceUnreachable), 4);
}

#[test]
fn a_proven_sender_is_told_what_is_wrong() {
    let mut worker = worker(Config::default());
    let announce = proven(V4, announce_of(7)).encode();
    let head = |action| {
        RequestHead {
            connection_id: id_of(V4),
            action,
            transaction_id: 5,
        }
        .encode()
    };
    let cases = [
        (head(4).to_vec(), "unknown action"),
        (head(ANNOUNCE.swap_bytes()).to_vec(), "unknown action"),
        (head(u32::MAX).to_vec(), "unknown action"),
        (announce[..16].to_vec(), "an announce takes at least 98 bytes"),
        (announce[..97].to_vec(), "an announce takes at least 98 bytes"),
        (head(SCRAPE).to_vec(), "a scrape takes at least one info-hash"),
        (
            [&head(SCRAPE)[..], &[0; 19]].concat(),
            "a scrape takes at least one info-hash",
        ),
    ];
    for (payload, reason) in cases {
        let reply = ask(&mut worker, V4, &payload).unwrap();
        let Some(Response::Error(error)) = Response::decode(&reply) else {
            panic!("{reply:?}");
        };
        assert_eq!(error.message, reason.as_bytes());
        assert_eq!(reply[4..8], payload[12..16]);
    }
    assert_eq!(worker.tracker().totals().peers(), 0);
}

#[test]
fn what_is_no_request_is_left_unanswered_and_counted() {
    let mut worker = worker(Config::default());
    let connect = RequestHead::connect(1).encode();
    let error = RequestHead {
        connection_id: id_of(V4),
        action: 3,
        transaction_id: 1,
    };
    let wrong_magic = RequestHead {
        connection_id: PROTOCOL_ID + 1,
        action: CONNECT,
        transaction_id: 1,
    };
    for payload in [
        &[][..],
        &connect[..15],
        &error.encode(),
        &wrong_magic.encode(),
        &[0; 2048],
    ] {
        assert_eq!(ask(&mut worker, V4, payload), Err(DropReason::Malformed));
    }
    assert_eq!(
        ask(&mut worker, "192.0.2.1:0", &connect),
        Err(DropReason::Malformed)
    );
    assert_eq!(worker.tracker().count(Count::UdpMalformed), 6);
    // Where an id would stand there may be anything: another protocol has no actions of this one.
    let random = *b"\x5a\xcd\x74\x9f\x06\xa9\xd0\x7b\xe2\x05\xbc\x27\xde\xf1\x18\x83\x3a\xad\x54\x7f\xe6\x89\xb0\x5b\xc2\xe5\x9c\x07\xbe\xd1";
    let short = |action| {
        let head = RequestHead {
            connection_id: 7,
            action,
            transaction_id: 1,
        };
        [head.encode().as_slice(), &[0; 14]].concat()
    };
    let query = b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t2:aa1:y1:qe";
    for payload in [&random[..], &short(ANNOUNCE), &short(SCRAPE), &short(4), query] {
        assert_eq!(ask(&mut worker, V4, payload), Err(DropReason::Malformed));
    }
    assert_eq!(worker.tracker().count(Count::UdpMalformed), 11);
    assert_eq!(worker.tracker().count(Count::UdpUnproven), 0);
}

#[test]
fn an_id_that_proves_nothing_is_left_unanswered_and_counted() {
    let mut worker = worker(Config::default());
    for connection_id in [
        0,
        1,
        PROTOCOL_ID,
        u64::MAX,
        id_of("192.0.2.2:1234"),
        id_of(V4).swap_bytes(),
    ] {
        let announce = AnnounceRequest {
            connection_id,
            ..announce_of(7)
        };
        assert_eq!(
            ask(&mut worker, V4, &announce.encode()),
            Err(DropReason::Unproven),
            "{connection_id:x}"
        );
    }
    assert_eq!(worker.tracker().count(Count::UdpUnproven), 6);
    assert_eq!(worker.tracker().totals().peers(), 0);
}

#[test]
fn an_id_serves_any_port_of_its_address_and_any_worker() {
    let tracker = Arc::new(Tracker::new(Config::default(), Seed::new([7; 32]), NOW));
    let mut workers = [Worker::new(Arc::clone(&tracker)), Worker::new(tracker)];
    for port in 1000..1010 {
        let sender = format!("192.0.2.1:{port}");
        assert!(
            ask(
                &mut workers[port % 2],
                &sender,
                &proven(V4, announce_of(7)).encode()
            )
            .is_ok()
        );
    }
}

#[test]
fn a_reply_buffer_of_any_length_is_never_overrun() {
    let mut worker = worker(Config::default());
    for port in 2..9 {
        announce(&mut worker, V4, announce_of(port));
    }
    let requests = [
        RequestHead::connect(1).encode().to_vec(),
        proven(V4, announce_of(7)).encode().to_vec(),
        proven(V4, announce_of(0)).encode().to_vec(),
        scrape_bytes(&[HASH.0; 3], 0),
    ];
    let mut all_refused_up_to = Vec::new();
    for request in &requests {
        let mut refused_up_to = 0;
        for room in 0..100 {
            match ask_with_room(&mut worker, V4, request, room) {
                Ok(reply) => assert!((8..=room).contains(&reply.len())),
                Err(silence) => {
                    assert_eq!(silence, DropReason::NoRoom, "{room} bytes");
                    refused_up_to = room;
                }
            }
        }
        all_refused_up_to.push(refused_up_to);
    }
    // A connection id and what an announce begins with are needed; the counts of a scrape may be left out.
    assert_eq!(all_refused_up_to, [15, 19, 19, 7]);
}

#[test]
fn a_batch_longer_than_the_longest_is_answered_to_the_end() {
    let mut worker = worker(Config::default());
    let connect = RequestHead::connect(1).encode();
    let inputs = vec![(V4.parse().unwrap(), connect.to_vec()); 3 * BATCH_MAX + 1];
    assert!(
        ask_all(&mut worker, NOW, &inputs, REPLY_MAX)
            .iter()
            .all(Result::is_ok)
    );
}

#[test]
fn a_batch_that_is_prefetched_is_answered_like_its_datagrams_one_by_one() {
    let inputs: Vec<_> = (0..200u16)
        .map(|number| {
            let sender = SocketAddr::from(([198, 51, 100, (number % 40) as u8], 1));
            let request = AnnounceRequest {
                connection_id: id_of(&sender.to_string()),
                info_hash: if number % 3 == 0 {
                    HASH
                } else {
                    hash_of(u32::from(number) * 2000)
                },
                left: (number % 2).into(),
                ..announce_of(number + 1)
            };
            (sender, request.encode().to_vec())
        })
        .collect();
    let lines = Lines::default();
    let mut worker = worker_beyond_the_caches();
    let together = ask_all_with(&mut worker, NOW, &inputs, REPLY_MAX, &lines);
    assert!(lines.0.get() > 3 * inputs.len(), "{lines:?}");
    let mut worker = worker_beyond_the_caches();
    let lines = Lines::default();
    let singly = inputs
        .chunks(1)
        .flat_map(|one| ask_all_with(&mut worker, NOW, one, REPLY_MAX, &lines));
    // Which peers are handed out may differ: some are drawn before those ahead in the batch have come.
    let seen = |reply: Result<Vec<u8>, DropReason>| {
        reply.map(|reply| (reply.len(), reply[..AnnounceResponse::LEN].to_vec()))
    };
    assert!(together.into_iter().map(seen).eq(singly.map(seen)));
    assert_eq!(lines.0.get(), 0, "one alone is not worth a prefetch");
}

/// Counts the cache lines that are prefetched.
#[derive(Debug, Default)]
struct Lines(Cell<usize>);

impl Prefetch for &Lines {
    fn prefetch(&self, _: *const u8) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_datagram_answered_where_it_lies_gets_the_same_reply() {
    let scrape = {
        let mut bytes = [0; ScrapeRequest::LEN_MAX];
        let info_hashes: Vec<_> = (0u32..).take(SCRAPE_MAX).map(|n| hash_of(n % 3).0).collect();
        let request = ScrapeRequest {
            connection_id: id_of(V4),
            transaction_id: 7,
            info_hashes: &info_hashes,
        };
        let len = request.encode(&mut bytes);
        bytes[..len].to_vec()
    };
    let announce = AnnounceRequest {
        connection_id: id_of(V4),
        info_hash: hash_of(1),
        ..announce_of(2)
    };
    let connect = RequestHead::connect(1).encode().to_vec();
    for payload in [connect, announce.encode().to_vec(), scrape, vec![0; 30]] {
        let (mut apart, mut in_place) = (worker(Config::default()), worker(Config::default()));
        let expected = ask(&mut apart, V4, &payload);
        let mut buffer = [0; 2048];
        buffer[..payload.len()].copy_from_slice(&payload);
        let mut batch = [Datagram::in_place(
            V4.parse().unwrap(),
            &mut buffer,
            payload.len(),
        )];
        let front = Front::new(in_place.tracker().seed());
        let handled = front.handle(&mut in_place, NOW, &mut batch);
        let reply = handled.replies().next().map(|(_, reply)| reply.to_vec());
        assert_eq!(reply, expected.ok());
    }
}

/// A worker whose trusted proxies speak the PROXY protocol.
fn worker_behind_proxies() -> Worker {
    let proxies = Proxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
    worker(Config::default().with_proxies(proxies.with_header(None).with_protocol(true)))
}

/// `payload` behind a header of each version, from `client`.
fn passed_on(client: &str, payload: &[u8]) -> [Vec<u8>; 2] {
    let header = ProxyHeader::Client {
        source: client.parse().unwrap(),
        destination: "192.0.2.99:6969".parse().unwrap(),
    };
    let [mut line, mut binary] = [vec![], vec![]];
    header.encode_v1(&mut line);
    assert!(header.encode_v2(Transport::Datagram, &[0xea, 0, 1, 7], &mut binary));
    [line, binary].map(|header| [&header, payload].concat())
}

#[test]
fn what_a_trusted_proxy_passes_on_is_of_the_client_that_it_names() {
    for client in [V4, V6] {
        for version in [0, 1] {
            let mut worker = worker_behind_proxies();
            let mut ask = |payload: &[u8]| {
                let payload = &passed_on(client, payload)[version];
                let apart = ask(&mut worker, PROXY, payload);
                let mut buffer = [0; 2048];
                buffer[..payload.len()].copy_from_slice(payload);
                let proxy = PROXY.parse().unwrap();
                let mut batch = [Datagram::in_place(proxy, &mut buffer, payload.len())];
                let front = Front::new(worker.tracker().seed());
                _ = front.handle(&mut worker, NOW, &mut batch);
                assert_eq!(
                    batch[0].reply().map(<[u8]>::to_vec).ok_or(()),
                    apart.clone().map_err(drop)
                );
                assert_eq!(batch[0].sender(), client.parse().unwrap());
                apart
            };
            let Some(Response::Connect(connect)) =
                Response::decode(&ask(&RequestHead::connect(1).encode()).unwrap())
            else {
                panic!("a connect is answered");
            };
            assert_eq!(connect.connection_id, id_of(client));
            let request = AnnounceRequest {
                connection_id: connect.connection_id,
                ..announce_of(6881)
            };
            ask(&request.encode()).unwrap();
            let of_the_proxy = proven(PROXY, announce_of(6881)).encode();
            assert_eq!(ask(&of_the_proxy), Err(DropReason::Unproven));
            let scrape = [
                &RequestHead {
                    connection_id: connect.connection_id,
                    action: SCRAPE,
                    transaction_id: 5,
                }
                .encode()[..],
                &HASH.0,
            ];
            let reply = ask(&scrape.concat()).unwrap();
            assert!(
                matches!(Response::decode(&reply), Some(Response::Scrape(response)) if response.counts().count() == 1)
            );
            let asker = if client == V4 {
                "192.0.2.2:1"
            } else {
                "[2001:db8::2]:1"
            };
            let (leechers, _, peers) = announce(&mut worker, asker, announce_of(1));
            let ip = client.parse::<SocketAddr>().unwrap().ip();
            let ip = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            assert_eq!((leechers, peers), (1, [&ip[..], &[0x1a, 0xe1]].concat()));
        }
    }
}

#[test]
fn a_proxy_has_to_name_a_client_and_nobody_else_may() {
    let mut worker = worker_behind_proxies();
    let connect = RequestHead::connect(1).encode();
    let mut nobody = vec![];
    ProxyHeader::Nobody.encode_v2(Transport::Datagram, &[], &mut nobody);
    let [line, binary] = passed_on(V4, &[]);
    let lying = [&binary[..14], &[0, 200], &binary[16..], &connect].concat();
    for payload in [
        connect.to_vec(),
        vec![],
        [&nobody[..], &connect].concat(),
        [b"PROXY UNKNOWN\r\n", &connect[..]].concat(),
        line[..line.len() - 1].to_vec(),
        lying,
    ] {
        assert_eq!(ask(&mut worker, PROXY, &payload), Err(DropReason::Unnamed));
    }
    assert_eq!(worker.counters().get(Count::UdpUnnamed), 6);
    for payload in passed_on(V4, &connect) {
        assert_eq!(ask(&mut worker, V4, &payload), Err(DropReason::Malformed));
        let mut without = self::worker(Config::default());
        assert_eq!(ask(&mut without, PROXY, &payload), Err(DropReason::Malformed));
    }
    assert!(ask(&mut worker, V4, &connect).is_ok());
}

#[test]
fn peers_of_the_own_network_are_handed_out_under_the_external_address() {
    let external = ExternalAddresses {
        v4: Some([192, 0, 2, 200].into()),
        v6: Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xff].into()),
    };
    let mut worker = worker(Config::default().with_external_addresses(external));
    announce(&mut worker, "192.168.1.7:1", announce_of(7));
    announce(&mut worker, "[fe80::7]:1", announce_of(7));
    let handed = announce(&mut worker, V4, announce_of(1)).2;
    assert_eq!(handed, [192, 0, 2, 200, 0, 7]);
    let handed = announce(&mut worker, V6, announce_of(1)).2;
    assert_eq!(
        handed,
        [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 7]
    );
}

#[test]
fn every_request_captured_from_a_real_client_is_understood_and_answered() {
    let mut worker = worker(Config::default());
    let mut answered = 0;
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let Some((_, kind)) = name.split_once("-udp") else {
            continue;
        };
        let sender = if kind.starts_with('4') { V4 } else { V6 };
        let mut request = std::fs::read(&path).unwrap();
        if !kind.contains("connect") {
            request[..8].copy_from_slice(&id_of(sender).to_be_bytes());
        }
        let reply = ask(&mut worker, sender, &request).unwrap();
        match Response::decode(&reply).unwrap() {
            Response::Connect(_) => assert!(kind.contains("connect"), "{name}"),
            Response::Announce(..) => {
                let (announce, options) = AnnounceRequest::decode(&request).unwrap();
                assert!(kind.contains(event_name(announce.event)), "{name}");
                assert_eq!(options.url_data().next().is_some(), request.len() > 100, "{name}");
            }
            Response::Scrape(response) => {
                assert!(kind.contains("scrape"), "{name}");
                assert_eq!(response.counts().count(), (request.len() - 16) / 20, "{name}");
            }
            Response::Error(error) => panic!("{name}: {}", error.message.escape_ascii()),
        }
        answered += 1;
    }
    assert_eq!(answered, 93, "as many UDP requests as there are");
}

quickcheck! {
    fn any_bytes_are_answered_within_what_the_sender_has_proved(inputs: Vec<Input>) -> bool {
        let mut worker = worker(Config::default());
        let inputs: Vec<_> = inputs.iter().map(Input::bytes).collect();
        let replies = ask_all(&mut worker, NOW, &inputs, REPLY_MAX);
        inputs.iter().zip(replies).all(|((sender, payload), reply)| {
            reply.map_or(true, |reply| {
                let connection_id = u64::from_be_bytes(payload[..8].try_into().unwrap());
                let proven = connection_id == id_of(&sender.to_string());
                Response::decode(&reply).is_some()
                    && reply[4..8] == payload[12..16]
                    && (proven || reply.len() <= payload.len())
            })
        })
    }

    fn a_batch_is_answered_like_its_datagrams_one_by_one(inputs: Vec<Input>) -> bool {
        let inputs: Vec<_> = inputs.iter().map(Input::bytes).collect();
        let together = ask_all(&mut worker(Config::default()), NOW, &inputs, REPLY_MAX);
        let mut worker = worker(Config::default());
        let singly = inputs.chunks(1).flat_map(|one| ask_all(&mut worker, NOW, one, REPLY_MAX));
        together.into_iter().eq(singly)
    }
}

/// A datagram that is a request more often than chance would have it.
#[derive(Clone, Debug)]
enum Input {
    Noise(Vec<u8>),
    Connect,
    Announce(u16, bool, i32),
    Scrape(u8),
    Spoiled(usize, u8),
}

impl Arbitrary for Input {
    fn arbitrary(g: &mut Gen) -> Self {
        match u8::arbitrary(g) % 8 {
            0 => Self::Noise(Vec::arbitrary(g)),
            1 => Self::Connect,
            2 => Self::Scrape(u8::arbitrary(g)),
            3 => Self::Spoiled(usize::arbitrary(g), u8::arbitrary(g)),
            _ => Self::Announce(u16::arbitrary(g) % 8, bool::arbitrary(g), i32::arbitrary(g)),
        }
    }
}

impl Input {
    fn bytes(&self) -> (SocketAddr, Vec<u8>) {
        let sender = |v6| if v6 { V6 } else { V4 };
        let (sender, bytes) = match self {
            Self::Noise(bytes) => (V4, bytes.clone()),
            Self::Connect => (V6, RequestHead::connect(7).encode().to_vec()),
            Self::Announce(port, v6, numwant) => {
                let request = AnnounceRequest {
                    numwant: *numwant,
                    ..announce_of(*port)
                };
                (sender(*v6), proven(sender(*v6), request).encode().to_vec())
            }
            Self::Scrape(hashes) => (V4, scrape_bytes(&vec![HASH.0; (*hashes).into()], 3)),
            Self::Spoiled(at, with) => {
                let mut bytes = proven(V4, announce_of(7)).encode();
                let at = at % bytes.len();
                bytes[at] ^= with;
                (V4, bytes.to_vec())
            }
        };
        (sender.parse().unwrap(), bytes)
    }
}

fn worker(config: Config) -> Worker {
    Worker::new(Arc::new(Tracker::new(config, Seed::new([7; 32]), NOW)))
}

/// Has a torrent of a hundred peers, and many of one.
fn worker_beyond_the_caches() -> Worker {
    let mut worker = worker(Config::default());
    let mut announce = |info_hash, number: u32| {
        let announce = Announce {
            info_hash,
            peer_id: PeerId([1; 20]),
            peer: Endpoint {
                ip: Ipv4Addr::from_bits(0x0b00_0000 + number).into(),
                port: 7,
            },
            left: 1,
            event: Event::None,
            numwant: Some(0),
        };
        worker.announce_into_scratch(NOW, &announce, false).unwrap();
    };
    (0..100).for_each(|number| announce(HASH, number));
    (0..350_000).for_each(|number| announce(hash_of(number), number));
    assert!(!worker.tracker().swarms().stages().is_empty());
    worker
}

fn hash_of(number: u32) -> InfoHash {
    let mut hash = InfoHash([0; 20]);
    hash.0[..4].copy_from_slice(&number.to_be_bytes());
    hash
}

fn id_of(sender: &str) -> u64 {
    let sender: SocketAddr = sender.parse().unwrap();
    etracker_core::udp::ConnectionIds::new(&Seed::new([7; 32])).make(NOW, sender.ip())
}

fn event_name(event: Event) -> &'static str {
    match event {
        Event::None => "announce",
        Event::Started => "started",
        Event::Stopped => "stopped",
        Event::Completed => "completed",
        Event::Paused => "paused",
    }
}

fn announce_of(port: u16) -> AnnounceRequest {
    AnnounceRequest {
        connection_id: 0,
        transaction_id: 5,
        info_hash: HASH,
        peer_id: PeerId([1; 20]),
        downloaded: 0,
        left: 1,
        uploaded: 0,
        event: Event::Started,
        ip: [0; 4].into(),
        key: 0,
        numwant: -1,
        port,
    }
}

fn seeder(port: u16) -> AnnounceRequest {
    AnnounceRequest {
        left: 0,
        ..announce_of(port)
    }
}

fn proven(sender: &str, request: AnnounceRequest) -> AnnounceRequest {
    AnnounceRequest {
        connection_id: id_of(sender),
        ..request
    }
}

/// Announces and gives leechers, seeders and peers.
fn announce(worker: &mut Worker, sender: &str, request: AnnounceRequest) -> (u32, u32, Vec<u8>) {
    let reply = ask(worker, sender, &proven(sender, request).encode()).unwrap();
    let Some(Response::Announce(response, peers)) = Response::decode(&reply) else {
        panic!("{reply:?}");
    };
    assert_eq!(
        (response.transaction_id, response.interval_secs),
        (request.transaction_id, 1799)
    );
    (response.leechers, response.seeders, peers.to_vec())
}

fn scrape_bytes(info_hashes: &[[u8; 20]], tail: usize) -> Vec<u8> {
    let head = RequestHead {
        connection_id: id_of(V4),
        action: SCRAPE,
        transaction_id: 5,
    };
    [&head.encode()[..], info_hashes.as_flattened(), &vec![0; tail]].concat()
}

fn scrape(worker: &mut Worker, info_hashes: &[[u8; 20]], tail: usize) -> Vec<Counts> {
    let request = scrape_bytes(info_hashes, tail);
    assert!(ScrapeRequest::decode(&request).is_some());
    let reply = ask(worker, V4, &request).unwrap();
    let Some(Response::Scrape(response)) = Response::decode(&reply) else {
        panic!("{reply:?}");
    };
    response.counts().collect()
}

fn ask(worker: &mut Worker, sender: &str, payload: &[u8]) -> Result<Vec<u8>, DropReason> {
    ask_with_room(worker, sender, payload, REPLY_MAX)
}

fn ask_with_room(
    worker: &mut Worker,
    sender: &str,
    payload: &[u8],
    room: usize,
) -> Result<Vec<u8>, DropReason> {
    let input = (sender.parse().unwrap(), payload.to_vec());
    ask_all(worker, NOW, &[input], room).remove(0)
}

/// Handles all as one batch and returns the replies or the reasons for drops.
fn ask_all(
    worker: &mut Worker,
    now: Instant,
    inputs: &[(SocketAddr, Vec<u8>)],
    room: usize,
) -> Vec<Result<Vec<u8>, DropReason>> {
    ask_all_with(worker, now, inputs, room, NoPrefetch)
}

fn ask_all_with(
    worker: &mut Worker,
    now: Instant,
    inputs: &[(SocketAddr, Vec<u8>)],
    room: usize,
    prefetch: impl Prefetch,
) -> Vec<Result<Vec<u8>, DropReason>> {
    let mut replies = vec![vec![0; room]; inputs.len()];
    let mut batch: Vec<_> = inputs
        .iter()
        .zip(&mut replies)
        .map(|((sender, payload), reply)| Datagram::new(*sender, payload, reply))
        .collect();
    let front = Front::new(worker.tracker().seed()).with_prefetch(prefetch);
    _ = front.handle(worker, now, &mut batch);
    let verdicts: Vec<_> = batch.iter().map(Datagram::verdict).collect();
    let replies = verdicts.into_iter().zip(replies);
    replies
        .map(|(verdict, mut reply)| match verdict {
            Verdict::Drop(reason) => Err(reason),
            Verdict::Reply(len) => {
                reply.truncate(len);
                Ok(reply)
            }
        })
        .collect()
}
