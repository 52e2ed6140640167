//! The same request over both protocols, and our messages parsed by other implementations.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aquatic_udp_protocol as aquatic;
use arbitrary::{Arbitrary, Unstructured};
use etracker_core::announce::{Announce, Counts, Endpoint, Event};
use etracker_core::http::query::{AnnounceQuery, PeerForm};
use etracker_core::http::request::encode_get;
use etracker_core::http::response::AnnounceResponse;
use etracker_core::http::{self, Connection, Step};
use etracker_core::swarm::{Peer, Visit, WalkPosition};
use etracker_core::udp::packet::{AnnounceRequest, Response};
use etracker_core::udp::{Datagram, Front, REPLY_MAX};
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker, Worker};

/// A few announces, carried out over UDP by one tracker and over HTTP by another of the same seed: both answer the same
/// and hold the same. Each message is read by a UDP tracker's own library and by another's bencode.
pub fn differential(data: &[u8]) {
    let Ok(wishes) = Vec::<Wish>::arbitrary(&mut Unstructured::new(data)) else {
        return;
    };
    let [mut udp, mut http] = [worker(), worker()];
    for wish in wishes.iter().take(WISHES_MAX) {
        let announce = wish.announce();
        let over_udp = over_udp(&mut udp, &announce);
        let over_http = over_http(&mut http, &announce);
        assert_eq!(over_udp, over_http, "{announce:?}");
        assert_eq!(held(&udp), held(&http), "{announce:?}");
    }
}

#[derive(Debug, Arbitrary)]
struct Wish {
    torrent: u8,
    peer: u8,
    v6: bool,
    port: u16,
    left: u64,
    event: u8,
    numwant: i32,
}

impl Wish {
    fn announce(&self) -> Announce {
        let events = [
            Event::None,
            Event::Completed,
            Event::Started,
            Event::Stopped,
            Event::Paused,
        ];
        let ip: IpAddr = if self.v6 {
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, self.peer.into()].into()
        } else {
            [192, 0, 2, self.peer].into()
        };
        Announce {
            info_hash: InfoHash([self.torrent % 4; 20]),
            peer_id: PeerId([self.peer; 20]),
            peer: Endpoint { ip, port: self.port },
            left: self.left,
            event: events[usize::from(self.event) % events.len()],
            numwant: u32::try_from(self.numwant).ok(),
        }
    }
}

/// The answer to an announce over either protocol: interval, seeders, leechers and peers.
type Answer = (u32, u32, u32, Vec<SocketAddr>);

fn over_udp(worker: &mut Worker, announce: &Announce) -> Answer {
    let front = Front::new(worker.tracker().seed());
    let sender = SocketAddr::new(announce.peer.ip, 6881);
    let connection_id = front.connection_ids().make(NOW, sender.ip());
    let request = AnnounceRequest {
        downloaded: 1,
        uploaded: 2,
        ip: [203, 0, 113, 1].into(),
        key: 3,
        ..AnnounceRequest::of(announce, connection_id, 7)
    };
    let payload = request.encode();
    check_request(&payload, &request);
    let mut reply = [0; REPLY_MAX];
    let mut batch = [Datagram::new(sender, &payload, &mut reply)];
    let Some((_, reply)) = front.handle(worker, NOW, &mut batch).replies().next() else {
        panic!("a proven announce is not answered");
    };
    let Some(Response::Announce(response, peers)) = Response::decode(reply) else {
        panic!("an announce is refused: {reply:?}");
    };
    let mut peers = compact(peers, sender.ip());
    check_reply(reply, sender.ip(), response.seeders, peers.len());
    peers.sort_unstable();
    (response.interval_secs, response.seeders, response.leechers, peers)
}

/// Another tracker's library decodes our request to the same values. It knows no event above 3, and no port 0.
fn check_request(bytes: &[u8], request: &AnnounceRequest) {
    let read = aquatic::Request::parse_bytes(bytes, 74);
    if request.event == Event::Paused || request.port == 0 {
        assert!(read.is_err());
        return;
    }
    let Ok(aquatic::Request::Announce(read)) = read else {
        panic!("aquatic does not read {request:?}");
    };
    let (info_hash, peer_id, left, port) = (read.info_hash, read.peer_id, read.bytes_left, read.port);
    assert_eq!((info_hash.0, peer_id.0), (request.info_hash.0, request.peer_id.0));
    assert_eq!(left.0.get().cast_unsigned(), request.left);
    assert_eq!(port.0.get(), request.port);
    let event = match aquatic::AnnounceEvent::from(read.event) {
        aquatic::AnnounceEvent::None => Event::None,
        aquatic::AnnounceEvent::Completed => Event::Completed,
        aquatic::AnnounceEvent::Started => Event::Started,
        aquatic::AnnounceEvent::Stopped => Event::Stopped,
    };
    assert_eq!(event, request.event);
    let mut again = Vec::new();
    aquatic::Request::from(read)
        .write_bytes(&mut again)
        .expect("a vector takes all");
    assert_eq!(again, bytes);
}

fn check_reply(bytes: &[u8], ip: IpAddr, seeders: u32, peers: usize) {
    let (fixed, count) = match aquatic::Response::parse_bytes(bytes, ip.is_ipv4()) {
        Ok(aquatic::Response::AnnounceIpv4(response)) => (response.fixed, response.peers.len()),
        Ok(aquatic::Response::AnnounceIpv6(response)) => (response.fixed, response.peers.len()),
        other => panic!("aquatic reads {other:?}"),
    };
    let (read, transaction) = (fixed.seeders, fixed.transaction_id);
    assert_eq!(
        (read.0.get().cast_unsigned(), transaction.0.get(), count),
        (seeders, 7, peers)
    );
}

fn over_http(worker: &mut Worker, announce: &Announce) -> Answer {
    let peer = SocketAddr::new(announce.peer.ip, 40_000);
    // UDP has signed numbers of peers, and limits of its own to what fits a datagram.
    let numwant = announce
        .numwant
        .map(|wanted| wanted.min(i32::MAX.cast_unsigned()));
    let query = AnnounceQuery {
        announce: Announce { numwant, ..*announce },
        form: PeerForm::Compact,
    };
    let (mut parameters, mut head) = (Vec::new(), Vec::new());
    query.encode(&mut parameters);
    encode_get("tracker", "/announce", &parameters, "test/1.0", &mut head);
    let front = Arc::new(http::Front::new(worker.tracker().config()));
    let mut connection = Connection::new(NOW, peer, &front);
    let mut reply = vec![0; http::REPLY_MAX];
    let Step::Write(len) = connection.receive(NOW, &head, worker, &mut reply) else {
        panic!("a whole request is not answered");
    };
    let response = http::Response::decode(&reply[..len], false)
        .expect("it is HTTP")
        .expect("it is whole");
    let other: bt_bencode::Value = bt_bencode::from_slice(&response.body).expect("it is bencode");
    let announced = AnnounceResponse::decode(&response.body).expect("it is an answer to an announce");
    let number = |key: &str| other.get(key).and_then(bt_bencode::Value::as_u64);
    let seeders = announced.complete.expect("the seeders are told");
    let leechers = announced.incomplete.expect("the leechers are told");
    assert_eq!(number("complete"), Some(seeders.into()));
    assert_eq!(number("interval"), Some(announced.interval_secs.into()));
    let again = bt_bencode::to_vec(&other).expect("it can be written");
    assert_eq!(again, response.body, "another library writes it otherwise");
    let mut peers: Vec<_> = announced.peers().map(|(peer, _)| peer).collect();
    peers.sort_unstable();
    (announced.interval_secs, seeders, leechers, peers)
}

fn compact(bytes: &[u8], asker: IpAddr) -> Vec<SocketAddr> {
    let port = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
    if asker.is_ipv4() {
        let peers = bytes.as_chunks::<6>().0.iter();
        peers
            .map(|peer| ([peer[0], peer[1], peer[2], peer[3]], port(&peer[4..])).into())
            .collect()
    } else {
        let peers = bytes.as_chunks::<18>().0.iter();
        peers
            .map(|peer| (std::array::from_fn::<u8, 16, _>(|at| peer[at]), port(&peer[16..])).into())
            .collect()
    }
}

fn worker() -> Worker {
    let config = Config::default()
        .with_peers_per_address_max(0)
        .expect("0 is no limit");
    Worker::new(Arc::new(Tracker::new(config, Seed::new([1; 32]), NOW)))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    torrents: Vec<(InfoHash, Counts)>,
    peers: Vec<(InfoHash, Endpoint, bool, PeerId)>,
}

impl Visit for Held {
    fn torrent(&mut self, info_hash: &InfoHash, counts: Counts) {
        self.torrents.push((*info_hash, counts));
    }

    fn peer(&mut self, info_hash: &InfoHash, peer: &Peer) {
        self.peers.push((*info_hash, peer.endpoint, peer.seeder, peer.id));
    }
}

fn held(worker: &Worker) -> Held {
    let mut held = Held::default();
    let mut position = WalkPosition::default();
    while !worker.tracker().swarms().walk(100, &mut position, &mut held) {}
    held
}

const NOW: Instant = Instant::from_secs(1_790_000_000);
/// Announces of one input; fewer than would not fit a datagram's answer.
const WISHES_MAX: usize = 60;
