//! Small clients that announce from any loopback address.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use etracker_core::announce::{Announce, Counts, Endpoint, Event};
use etracker_core::http::Response as HttpResponse;
use etracker_core::http::query::{AnnounceQuery, PeerForm};
use etracker_core::http::request::encode_get;
use etracker_core::udp::packet::{AnnounceRequest, AnnounceResponse, RequestHead, Response, ScrapeRequest};
use etracker_core::{InfoHash, PeerId};
use socket2::{Domain, Socket, Type};

use crate::harness::{PATIENCE, uninterrupted};

/// A leecher that has just come, takes connections at `peer`, and leaves the number of peers to the tracker.
pub(crate) fn newcomer(info_hash: InfoHash, peer: SocketAddr) -> Announce {
    Announce {
        info_hash,
        peer_id: PeerId(*b"-XX0100-newcomernewc"),
        peer: Endpoint {
            ip: peer.ip(),
            port: peer.port(),
        },
        left: 1,
        event: Event::Started,
        numwant: None,
    }
}

/// Opens a connection from the address `from`.
pub(crate) fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect_timeout(&to.into(), PATIENCE).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// Announces over HTTP and gives the body of the answer, which must have status 200.
pub(crate) fn http_announce(to: SocketAddr, announce: &Announce, form: Option<PeerForm>) -> Vec<u8> {
    let mut stream = connect(announce.peer.ip, to);
    stream.write_all(&http_request(to, announce, form)).unwrap();
    let response = read_response(&mut stream);
    assert_eq!(response.status, 200);
    response.body
}

/// Announces over HTTP to a tracker that may die.
pub(crate) fn try_http_announce(to: SocketAddr, announce: &Announce) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&http_request(to, announce, Some(PeerForm::Compact)))?;
    let mut received = Vec::new();
    stream.read_to_end(&mut received)?;
    match HttpResponse::decode(&received, true) {
        Ok(Some(response)) => {
            assert_eq!(response.status, 200);
            Ok(())
        }
        // It was cut off.
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn http_request(to: SocketAddr, announce: &Announce, form: Option<PeerForm>) -> Vec<u8> {
    let (mut query, mut request) = (Vec::new(), Vec::new());
    let given = AnnounceQuery {
        announce: *announce,
        form: form.unwrap_or(PeerForm::Compact),
    };
    given.encode(&mut query);
    if form.is_none() {
        let compact = b"&compact=1";
        let at = query
            .windows(compact.len())
            .position(|part| part == compact)
            .unwrap();
        query.drain(at..at + compact.len());
    }
    encode_get(&to.to_string(), "/announce", &query, "test/1.0", &mut request);
    request
}

/// Asks for `path` from the address `from`.
pub(crate) fn http_get(from: IpAddr, to: SocketAddr, path: &str) -> HttpResponse {
    let mut stream = connect(from, to);
    let mut request = Vec::new();
    encode_get(&to.to_string(), path, b"", "test/1.0", &mut request);
    stream.write_all(&request).unwrap();
    read_response(&mut stream)
}

/// Reads one response.
pub(crate) fn read_response(stream: &mut TcpStream) -> HttpResponse {
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let len = uninterrupted(|| stream.read(&mut piece)).unwrap();
        received.extend_from_slice(&piece[..len]);
        if let Some(response) = HttpResponse::decode(&received, len == 0).unwrap() {
            return response;
        }
    }
}

/// A client with a connection id.
pub(crate) struct UdpClient {
    socket: UdpSocket,
    from: IpAddr,
    connection_id: u64,
}

impl UdpClient {
    /// Connects from the address `from`.
    pub(crate) fn connect(from: IpAddr, to: SocketAddr) -> Self {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = Self {
            socket,
            from,
            connection_id: 0,
        };
        let reply = client.exchange(&RequestHead::connect(TRANSACTION_ID).encode());
        let Some(Response::Connect(response)) = Response::decode(&reply) else {
            panic!("no answer to a connect: {reply:?}");
        };
        client.connection_id = response.connection_id;
        client
    }

    /// Asks at another address from now on, with the connection id that it has.
    pub(crate) fn turn_to(&self, to: SocketAddr) {
        self.socket.connect(to).unwrap();
    }

    /// Announces, and gives the answer and the compact peers.
    pub(crate) fn announce(&self, announce: &Announce) -> (AnnounceResponse, Vec<u8>) {
        let reply = self.announce_raw(announce);
        match Response::decode(&reply) {
            Some(Response::Announce(response, peers)) => (response, peers.to_vec()),
            other => panic!("no answer to an announce: {other:?}"),
        }
    }

    /// Announces to a tracker that may die, again after so long without an answer. How often it took.
    pub(crate) fn announce_again_after(&self, announce: &Announce, wait: Duration) -> usize {
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let request = self.announce_request(announce);
        let mut reply = [0; 2048];
        let answered = |_: &usize| {
            self.socket.send(&request).unwrap();
            match uninterrupted(|| self.socket.recv(&mut reply)) {
                Ok(_) => true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
                Err(error) => panic!("{error}"),
            }
        };
        (1..=TRIES_MAX).find(answered).unwrap()
    }

    /// Announces, and gives the reason if that is refused.
    pub(crate) fn refusal(&self, announce: &Announce) -> Option<String> {
        let reply = self.announce_raw(announce);
        match Response::decode(&reply) {
            Some(Response::Error(error)) => Some(String::from_utf8_lossy(error.message).into_owned()),
            Some(Response::Announce(..)) => None,
            other => panic!("no answer to an announce: {other:?}"),
        }
    }

    /// Announces, and gives the reply as it came.
    pub(crate) fn announce_raw(&self, announce: &Announce) -> Vec<u8> {
        self.exchange(&self.announce_request(announce))
    }

    fn announce_request(&self, announce: &Announce) -> [u8; AnnounceRequest::LEN] {
        assert_eq!(
            announce.peer.ip, self.from,
            "the tracker takes the address it sees"
        );
        AnnounceRequest::of(announce, self.connection_id, TRANSACTION_ID).encode()
    }

    /// The counts of torrents.
    pub(crate) fn scrape(&self, info_hashes: &[InfoHash]) -> Vec<Counts> {
        let info_hashes: Vec<_> = info_hashes.iter().map(|info_hash| info_hash.0).collect();
        let request = ScrapeRequest {
            connection_id: self.connection_id,
            transaction_id: TRANSACTION_ID,
            info_hashes: &info_hashes,
        };
        let mut datagram = [0; ScrapeRequest::LEN_MAX];
        let len = request.encode(&mut datagram);
        let reply = self.exchange(&datagram[..len]);
        match Response::decode(&reply) {
            Some(Response::Scrape(response)) => response.counts().collect(),
            other => panic!("no answer to a scrape: {other:?}"),
        }
    }

    /// Sends a datagram and waits for the answer.
    fn exchange(&self, datagram: &[u8]) -> Vec<u8> {
        self.socket.send(datagram).unwrap();
        let mut reply = [0; 2048];
        let len = uninterrupted(|| self.socket.recv(&mut reply)).unwrap();
        reply[..len].to_vec()
    }
}

const TRANSACTION_ID: u32 = 0x6163_6462;
/// Questions before a tracker counts as silent.
const TRIES_MAX: usize = 5;
