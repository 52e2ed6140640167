//! UDP requests about peers that are known already are served without allocating, from datagram to reply.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use allocation_counter::measure;
use etracker_core::announce::Event;
use etracker_core::udp::packet::{AnnounceRequest, RequestHead, ScrapeRequest};
use etracker_core::udp::{BATCH_MAX, ConnectionIds, Datagram, Front, REPLY_MAX};
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker, Worker};

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

/// Hands datagrams in as one batch; true if all are answered.
fn udp_replies(worker: &mut Worker, inputs: &[(SocketAddr, &[u8])]) -> bool {
    let mut replies = [[0; REPLY_MAX]; BATCH_MAX];
    let mut replies = replies.iter_mut();
    let mut batch: [Datagram<'_>; BATCH_MAX] = std::array::from_fn(|number| {
        let (sender, payload) = inputs[number.min(inputs.len() - 1)];
        Datagram::new(sender, payload, replies.next().unwrap())
    });
    let batch = &mut batch[..inputs.len()];
    let front = Front::new(worker.tracker().seed());
    front.handle(worker, NOW, batch).replies().count() == inputs.len()
}

/// A worker whose tracker holds a swarm of a hundred peers, client 1 among them.
fn worker() -> Worker {
    let mut worker = Worker::new(Arc::new(Tracker::new(Config::default(), Seed::new([7; 32]), NOW)));
    for number in 1..=100 {
        let request = announce_request(client(number)).encode();
        assert!(udp_replies(&mut worker, &[(client(number), &request)]));
    }
    worker
}

fn client(number: u8) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, number), 6881).into()
}

fn connection_id(client: SocketAddr) -> u64 {
    ConnectionIds::new(&Seed::new([7; 32])).make(NOW, client.ip())
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
