//! The same conversations with the core alone and with the command on each runtime: the same bytes.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use etracker_core::announce::Event;
use etracker_core::http::{self, Connection, Step};
use etracker_core::udp::packet::{AnnounceRequest, RequestHead, Response, ScrapeRequest};
use etracker_core::udp::{self, Datagram};
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker, Worker};
use fastrand::Rng;
use socket2::{Domain, Socket, Type};

use crate::harness::{self, PATIENCE, uninterrupted};

/// One client's turn.
enum Turn {
    /// Datagrams, sent at once.
    Datagrams(IpAddr, Vec<Packet>),
    /// What is sent over a connection, write by write, and then its end.
    Stream(IpAddr, Vec<Vec<u8>>),
}

enum Packet {
    Plain(Vec<u8>),
    /// The first eight bytes are replaced by the connection id that the client was given.
    Proven(Vec<u8>),
}

/// Who the script is played with.
trait Tracked {
    /// All replies to these datagrams of one client, in order.
    fn datagrams(&mut self, from: IpAddr, sent: &[Vec<u8>]) -> Vec<Vec<u8>>;
    /// All that is received over a connection.
    fn stream(&mut self, from: IpAddr, pieces: &[Vec<u8>]) -> Vec<u8>;
}

/// What was answered, turn by turn.
type Transcript = Vec<Vec<Vec<u8>>>;

fn play(script: &[Turn], tracked: &mut impl Tracked) -> Transcript {
    let connect = |id| RequestHead::connect(id).encode().to_vec();
    let turn = |turn: &Turn| match turn {
        Turn::Stream(from, pieces) => vec![tracked.stream(*from, pieces)],
        Turn::Datagrams(from, packets) => {
            let first = tracked.datagrams(*from, &[connect(1)]);
            let Some(Response::Connect(given)) = Response::decode(&first[0]) else {
                panic!("no connection id: {first:?}");
            };
            let mut sent: Vec<_> = packets
                .iter()
                .map(|packet| packet.proven(given.connection_id))
                .collect();
            // Its reply is the last one: nothing else can come, however many of the others are met with silence.
            sent.push(connect(LAST));
            let mut all = first;
            all.extend(tracked.datagrams(*from, &sent));
            all
        }
    };
    script.iter().map(turn).collect()
}

impl Packet {
    fn proven(&self, connection_id: u64) -> Vec<u8> {
        match self {
            Self::Plain(bytes) => bytes.clone(),
            Self::Proven(bytes) => {
                let mut bytes = bytes.clone();
                bytes[..8].copy_from_slice(&connection_id.to_be_bytes());
                bytes
            }
        }
    }
}

/// The core, called directly.
struct Core(Worker);

impl Tracked for Core {
    fn datagrams(&mut self, from: IpAddr, sent: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut reply = [0; udp::REPLY_MAX];
        let mut replies = Vec::new();
        for payload in sent {
            let front = udp::Front::new(self.0.tracker().seed());
            let mut batch = [Datagram::new(SocketAddr::new(from, 1), payload, &mut reply)];
            let handled = front.handle(&mut self.0, NOW, &mut batch);
            replies.extend(handled.replies().map(|(_, reply)| reply.to_vec()));
        }
        replies
    }

    fn stream(&mut self, from: IpAddr, pieces: &[Vec<u8>]) -> Vec<u8> {
        let Self(worker) = self;
        let peer = SocketAddr::new(from, 1);
        let tracker = Arc::clone(worker.tracker());
        let front = Arc::new(http::Front::new(tracker.config()));
        let mut connection = Connection::new(NOW, peer, &front);
        let mut reply = vec![0; http::REPLY_MAX];
        let mut received = Vec::new();
        let reads = pieces.iter().flat_map(|piece| piece.chunks(http::HEAD_MAX));
        for read in reads.map(Some).chain([None]) {
            let mut step = match read {
                Some(bytes) => connection.receive(NOW, bytes, worker, &mut reply),
                None => connection.end_of_input(NOW, worker, &mut reply),
            };
            loop {
                match step {
                    Step::Read => break,
                    Step::Close => return received,
                    Step::Write(len) => received.extend_from_slice(&reply[..len]),
                    Step::Again => {}
                }
                step = connection.respond(NOW, worker, &mut reply);
            }
        }
        received
    }
}

impl Tracked for harness::Tracker {
    fn datagrams(&mut self, from: IpAddr, sent: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let client = UdpSocket::bind((from, 0)).unwrap();
        client.connect(self.at(from)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        for datagram in sent {
            client.send(datagram).unwrap();
        }
        let last = RequestHead::decode(sent.last().unwrap()).unwrap().transaction_id;
        let mut replies: Vec<Vec<u8>> = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let len = uninterrupted(|| client.recv(&mut buffer)).unwrap();
            replies.push(buffer[..len].to_vec());
            if matches!(Response::decode(&buffer[..len]), Some(Response::Connect(response)) if response.transaction_id == last)
            {
                return replies;
            }
        }
    }

    fn stream(&mut self, from: IpAddr, pieces: &[Vec<u8>]) -> Vec<u8> {
        let client = Socket::new(Domain::for_address(self.at(from)), Type::STREAM, None).unwrap();
        client.bind(&SocketAddr::new(from, 0).into()).unwrap();
        client.connect(&self.at(from).into()).unwrap();
        let mut client = TcpStream::from(client);
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        for (index, piece) in pieces.iter().enumerate() {
            if index > 0 {
                // So that most pieces are received one by one.
                thread::sleep(Duration::from_millis(2));
            }
            client.write_all(piece).unwrap();
        }
        let _ = client.shutdown(Shutdown::Write);
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        received
    }
}

#[test]
fn every_runtime_answers_with_the_bytes_of_the_core() {
    let script = script();
    let config = Config::default().with_keep_alive(true).with_full_scrape(true);
    let tracker = Tracker::new(config.with_load_limit(10_000.0), Seed::new([0xab; 32]), NOW);
    let expected = play(&script, &mut Core(Worker::new(Arc::new(tracker))));
    assert_covers(&expected);
    let (seed, clock) = ("ab".repeat(32), NOW.as_millis().to_string());
    for runtime in [
        #[cfg(feature = "smol")]
        "smol",
        #[cfg(feature = "glommio")]
        "glommio",
    ] {
        let options = ["-w1", "-k", "--full-scrape", "-a10000", "--runtime", runtime];
        let testing = ["--seed", &seed, "--clock", &clock];
        let mut tracker = harness::Tracker::start(&[options.as_slice(), &testing].concat());
        let answered = play(&script, &mut tracker);
        for (turn, (answered, expected)) in answered.iter().zip(&expected).enumerate() {
            assert_eq!(shown(answered), shown(expected), "{runtime}, turn {turn}");
        }
        assert_eq!(answered.len(), expected.len());
    }
}

/// Bytes as they are read more easily where they differ; none is left out.
fn shown(answers: &[Vec<u8>]) -> Vec<String> {
    answers
        .iter()
        .map(|bytes| bytes.escape_ascii().to_string())
        .collect()
}

/// Holds the script to its purpose: the transcript has all kinds of answers, and many have peers.
fn assert_covers(transcript: &Transcript) {
    let all: Vec<&Vec<u8>> = transcript.iter().flatten().collect();
    let with_peers = |bytes: &&&Vec<u8>| match Response::decode(bytes) {
        Some(Response::Announce(_, peers)) => !peers.is_empty(),
        _ => false,
    };
    let over_udp = all.iter().filter(with_peers).count();
    assert!(
        over_udp >= 500,
        "{over_udp} announces over UDP are answered with peers"
    );
    let text: String = all.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    for part in [
        "HTTP/1.1 200 ",
        "HTTP/1.1 400 ",
        "HTTP/1.1 404 ",
        "HTTP/1.1 405 ",
        "HTTP/1.1 413 ",
        "Transfer-Encoding: chunked",
        "14:failure reason",
        "5:peersl",
        "6:peers6",
        "7:peer id",
        "5:files",
    ] {
        assert!(text.contains(part), "{part} does not come up");
    }
}

/// Transaction of the connect that ends a turn.
const LAST: u32 = u32::MAX;
const NOW: Instant = Instant::from_secs(1_800_000_000);
const TURNS: usize = 600;
const TORRENTS: u8 = 12;

/// What all clients say: always the same.
fn script() -> Vec<Turn> {
    let mut rng = Rng::with_seed(4);
    (0..TURNS)
        .map(|_| {
            let from = match rng.u8(..100) {
                100.. => unreachable!("below 100"),
                0..30 => Ipv6Addr::LOCALHOST.into(),
                host => IpAddr::from([127, 0, 1 + host % 3, 1 + host]),
            };
            if rng.u8(..3) == 0 {
                Turn::Stream(from, pieces(&mut rng))
            } else {
                Turn::Datagrams(from, (0..rng.usize(1..20)).map(|_| packet(&mut rng)).collect())
            }
        })
        .collect()
}

fn packet(rng: &mut Rng) -> Packet {
    let mut announce = announce(rng);
    match rng.u8(..20) {
        0 => Packet::Plain(Vec::new()),
        1 => Packet::Plain(announce),
        2 => Packet::Plain(RequestHead::connect(rng.u32(..LAST)).encode().to_vec()),
        3 => Packet::Plain((0..rng.usize(..600)).map(|_| rng.u8(..)).collect()),
        4 => {
            announce.truncate(rng.usize(16..98));
            Packet::Proven(announce)
        }
        5 => {
            announce[11] = rng.u8(4..);
            Packet::Proven(announce)
        }
        6 => {
            // BEP 41: URL data.
            announce.extend(b"\x02\x09/announce\x00");
            Packet::Proven(announce)
        }
        7..10 => {
            let hashes: Vec<[u8; 20]> = (0..rng.usize(..75)).map(|_| info_hash(rng)).collect();
            let request = ScrapeRequest {
                connection_id: 0,
                transaction_id: rng.u32(..LAST),
                info_hashes: &hashes,
            };
            let mut bytes = vec![0; ScrapeRequest::LEN_MAX];
            let len = request.encode(&mut bytes);
            bytes.truncate(len);
            Packet::Proven(bytes)
        }
        _ => Packet::Proven(announce),
    }
}

fn announce(rng: &mut Rng) -> Vec<u8> {
    let events = [
        Event::None,
        Event::Started,
        Event::Started,
        Event::Completed,
        Event::Stopped,
    ];
    AnnounceRequest {
        connection_id: rng.u64(..),
        transaction_id: rng.u32(..LAST),
        info_hash: InfoHash(info_hash(rng)),
        peer_id: PeerId(peer_id(rng)),
        downloaded: rng.u64(..),
        left: rng.u64(..3),
        uploaded: rng.u64(..),
        event: events[rng.usize(..events.len())],
        ip: [10, 0, 0, 1].into(),
        key: rng.u32(..),
        numwant: rng.i32(-2..120),
        port: rng.u16(..100) * 50,
    }
    .encode()
    .to_vec()
}

fn info_hash(rng: &mut Rng) -> [u8; 20] {
    [b'A' + rng.u8(..TORRENTS); 20]
}

fn peer_id(rng: &mut Rng) -> [u8; 20] {
    std::array::from_fn(|_| rng.alphanumeric().try_into().unwrap_or(b'?'))
}

/// One to five requests, cut anywhere.
fn pieces(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut rest: Vec<u8> = (0..rng.usize(1..6)).flat_map(|_| request(rng)).collect();
    let mut pieces = Vec::new();
    for _ in 0..rng.usize(..5) {
        let tail = rest.split_off(rng.usize(..=rest.len()));
        pieces.push(std::mem::replace(&mut rest, tail));
    }
    pieces.push(rest);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn request(rng: &mut Rng) -> Vec<u8> {
    let hash = str::from_utf8(&info_hash(rng)).unwrap_or_default().to_owned();
    let target = match rng.u8(..24) {
        0 => "/scrape".to_owned(),
        1..4 => format!("/scrape?info_hash={hash}&info_hash=%00bbbbbbbbbbbbbbbbbbb"),
        4 => "/nothing?a=b".to_owned(),
        5 => "/announce?info_hash=short&port=7".to_owned(),
        6 => format!("/announce?info_hash={hash}&peer_id=x&port=none"),
        _ => {
            let (port, left, numwant) = (rng.u16(..100) * 50, rng.u8(..3), rng.u8(..120));
            let peer_id = String::from_utf8_lossy(&peer_id(rng)).into_owned();
            let more = [
                "",
                "&compact=1",
                "&compact=0",
                "&compact=0&no_peer_id=1",
                "&event=stopped",
                "&event=completed",
            ];
            let more = more[rng.usize(..more.len())];
            format!(
                "/announce?info_hash={hash}&peer_id={peer_id}&port={port}&uploaded=0&downloaded=0&left={left}&numwant={numwant}{more}"
            )
        }
    };
    match rng.u8(..30) {
        0 => format!("GET {target} HTTP/1.0\r\n\r\n"),
        1 => format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
        2 => format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        3 => "no HTTP at all\r\n\r\n".to_owned(),
        4 => format!(
            "GET {target} HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n",
            "x".repeat(20_000)
        ),
        5 => format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
        _ => format!("GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: test\r\nAccept-Encoding: gzip\r\n\r\n"),
    }
    .into_bytes()
}
