//! Requests about peers that are known already are served without allocating, from the bytes in to the bytes out.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use allocation_counter::measure;
use etracker_core::announce::{Announce, Endpoint, Event};
use etracker_core::http::query::{AnnounceQuery, PeerForm, ScrapeQuery};
use etracker_core::http::{Connection, Step};
use etracker_core::udp::packet::{AnnounceRequest, RequestHead, ScrapeRequest};
use etracker_core::udp::{BATCH_MAX, Datagram, Silence, Verdict};
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker, Worker, http, udp};

const NOW: Instant = Instant::from_secs(1_800_000_000);
const HASH: InfoHash = InfoHash([1; 20]);

#[test]
fn a_first_announce_is_counted() {
    // Without this, the others would pass with a counter that counts nothing.
    let mut worker = worker();
    let mut request = announce_request(client(1));
    request.info_hash = InfoHash([2; 20]);
    let counted = measure(|| assert!(udp_replies(&mut worker, &[(client(1), &request.encode())])));
    assert!(counted.count_total > 0);
}

#[test]
fn a_reannounce_over_udp_does_not_allocate() {
    let mut worker = worker();
    let request = announce_request(client(1)).encode();
    for datagrams in [1, 2, BATCH_MAX] {
        let inputs = vec![(client(1), request.as_slice()); datagrams];
        let counted = measure(|| assert!(udp_replies(&mut worker, &inputs)));
        assert_eq!(counted.count_total, 0, "{datagrams} at once");
    }
}

#[test]
fn no_other_udp_request_allocates() {
    let mut worker = worker();
    let connect = RequestHead::connect(1).encode();
    let mut scrape = [0; ScrapeRequest::LEN_MAX];
    let scrape_request = ScrapeRequest {
        connection_id: connection_id(client(1)),
        transaction_id: 1,
        info_hashes: &[HASH.0, [9; 20]],
    };
    let scrape_len = scrape_request.encode(&mut scrape);
    let mut refused = announce_request(client(1));
    refused.port = 0;
    for request in [&connect[..], &scrape[..scrape_len], &refused.encode()] {
        let counted = measure(|| assert!(udp_replies(&mut worker, &[(client(1), request)])));
        assert_eq!(counted.count_total, 0);
    }
    let counted = measure(|| assert!(!udp_replies(&mut worker, &[(client(1), &[0; 200])])));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_keep_alive_http_announce_does_not_allocate() {
    for form in [PeerForm::Compact, PeerForm::Dictionaries { ids: true }] {
        let announce = Announce {
            info_hash: HASH,
            peer_id: PeerId([1; 20]),
            peer: endpoint(client(1)),
            left: 1,
            event: Event::None,
            numwant: None,
        };
        let mut query = Vec::new();
        AnnounceQuery { announce, form }.encode(&mut query);
        http_serves_without_allocating("/announce", &query);
    }
}

#[test]
fn a_keep_alive_http_scrape_does_not_allocate() {
    let mut query = Vec::new();
    ScrapeQuery::encode(&[HASH, InfoHash([9; 20])], &mut query);
    http_serves_without_allocating("/scrape", &query);
}

/// Asks twice on one connection, which stays open.
fn http_serves_without_allocating(path: &str, query: &[u8]) {
    let mut worker = worker();
    let query = std::str::from_utf8(query).unwrap();
    let request = format!("GET {path}?{query} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut connection = Connection::new(NOW, client(1), client(0), worker.tracker().config());
    let mut reply = vec![0; http::REPLY_MAX];
    for _ in 0..2 {
        let counted = measure(|| {
            let step = connection.receive(NOW, request.as_bytes(), &mut worker, &mut reply);
            let Step::Write(len) = step else {
                panic!("{step:?}");
            };
            assert!(reply[..len].starts_with(b"HTTP/1.1 200 OK\r\n"));
            let step = connection.respond(NOW, &mut worker, &mut reply);
            assert_eq!(step, Step::Read);
        });
        assert_eq!(counted.count_total, 0, "{path}");
    }
}

/// Hands datagrams in as one batch; true if all are answered.
fn udp_replies(worker: &mut Worker, inputs: &[(SocketAddr, &[u8])]) -> bool {
    let mut replies = [[0; udp::REPLY_MAX]; BATCH_MAX];
    let mut replies = replies.iter_mut();
    let mut batch: [Datagram<'_>; BATCH_MAX] = std::array::from_fn(|number| {
        let (sender, payload) = inputs[number.min(inputs.len() - 1)];
        Datagram {
            sender,
            payload,
            reply: replies.next().unwrap(),
            verdict: Verdict::Silent(Silence::Unhandled),
        }
    });
    let batch = &mut batch[..inputs.len()];
    worker.handle_datagrams(NOW, batch, |_| {});
    batch
        .iter()
        .all(|datagram| matches!(datagram.verdict, Verdict::Reply(_)))
}

/// A worker whose tracker holds a swarm of a hundred peers, client 1 among them.
fn worker() -> Worker {
    let config = Config::default().with_keep_alive(true);
    let mut worker = Worker::new(Arc::new(Tracker::new(config, Seed::new([7; 32]), NOW)));
    for number in 1..=100 {
        let request = announce_request(client(number)).encode();
        assert!(udp_replies(&mut worker, &[(client(number), &request)]));
    }
    worker
}

fn client(number: u8) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, number), 6881).into()
}

fn endpoint(client: SocketAddr) -> Endpoint {
    Endpoint {
        ip: client.ip(),
        port: client.port(),
    }
}

fn connection_id(client: SocketAddr) -> u64 {
    udp::ConnectionIds::new(&Seed::new([7; 32])).make(NOW, client.ip())
}

fn announce_request(client: SocketAddr) -> AnnounceRequest {
    AnnounceRequest {
        connection_id: connection_id(client),
        transaction_id: 1,
        info_hash: HASH,
        peer_id: PeerId([1; 20]),
        downloaded: 0,
        left: 1,
        uploaded: 0,
        event: Event::None,
        ip: Ipv4Addr::UNSPECIFIED,
        key: 0,
        numwant: -1,
        port: client.port(),
    }
}
