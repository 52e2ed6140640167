//! Asking over UDP (BEP 15, BEP 41).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use etracker_core::announce::{Announce, Family, compact_peers};
use etracker_core::udp::options::encode_url;
use etracker_core::udp::packet::{AnnounceRequest, AnnounceResponse, RequestHead, Response, ScrapeRequest};

use crate::answer::{Announced, Answer, Failure, Notes, Peer, is_timeout, printable};
use crate::options::Question;

/// Asks the tracker at `address`; `path` is told to it as the announce URL's.
pub(crate) fn ask(
    address: SocketAddr,
    path: &str,
    question: &Question,
    deadline: Instant,
    notes: &mut Notes,
) -> Result<Answer, Failure> {
    let mut exchange = Exchange::open(address, deadline)?;
    let datagram = exchange.ask(|connection_id, transaction_id| match question {
        Question::Announce(announce) => encode_announce(announce, path, connection_id, transaction_id),
        Question::Scrape(info_hashes) => {
            let info_hashes: Vec<_> = info_hashes.iter().map(|info_hash| info_hash.0).collect();
            let request = ScrapeRequest {
                connection_id,
                transaction_id,
                info_hashes: &info_hashes,
            };
            let mut datagram = vec![0; ScrapeRequest::LEN_MAX];
            let len = request.encode(&mut datagram);
            datagram.truncate(len);
            datagram
        }
    })?;
    notes.raw.clone_from(&datagram);
    match (Response::decode(&datagram), question) {
        (Some(Response::Announce(response, peers)), Question::Announce(_)) => {
            let (family, len) = (Family::of(address.ip()), peers.len());
            if !len.is_multiple_of(family.compact_len()) {
                let each = family.compact_len();
                notes.fault(format_args!("the peers take {len} bytes, but {each} each"));
            }
            Ok(announced(response, peers, Family::of(address.ip())))
        }
        (Some(Response::Scrape(response)), Question::Scrape(info_hashes)) => {
            let counts = response.counts().map(Some).chain(std::iter::repeat(None));
            Ok(Answer::Scrape(info_hashes.iter().copied().zip(counts).collect()))
        }
        (Some(Response::Error(error)), _) => Err(Failure::Refused(printable(error.message))),
        _ => Err(Failure::Unreadable("it answers something else".to_owned())),
    }
}

fn encode_announce(announce: &Announce, path: &str, connection_id: u64, transaction_id: u32) -> Vec<u8> {
    let request = AnnounceRequest::of(announce, connection_id, transaction_id);
    let mut options = vec![0; DATAGRAM_MAX - AnnounceRequest::LEN];
    let len = encode_url(path.as_bytes(), &mut options);
    options.truncate(len);
    [&request.encode()[..], &options].concat()
}

fn announced(response: AnnounceResponse, peers: &[u8], family: Family) -> Answer {
    Answer::Announce(Announced {
        interval_secs: Some(response.interval_secs),
        complete: Some(response.seeders),
        incomplete: Some(response.leechers),
        peers: compact_peers(family, peers)
            .map(|peer| Peer {
                address: peer.into(),
                id: None,
            })
            .collect(),
        ..Announced::default()
    })
}

/// A socket that repeats what is not answered.
struct Exchange {
    socket: UdpSocket,
    deadline: Instant,
    transaction_id: u32,
    /// The connection id, and when it was received.
    proof: Option<(u64, Instant)>,
}

impl Exchange {
    fn open(address: SocketAddr, deadline: Instant) -> io::Result<Self> {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(address)?;
        Ok(Self {
            socket,
            deadline,
            transaction_id: getrandom::u32()?,
            proof: None,
        })
    }

    /// Sends what `encode` makes of a connection id and a transaction id until it is answered. The n-th wait takes
    /// 15 * 2^n seconds, and a connection id is used for a minute (BEP 15).
    fn ask(&mut self, encode: impl Fn(u64, u32) -> Vec<u8>) -> Result<Vec<u8>, Failure> {
        for n in 0..=RETRANSMISSIONS_MAX {
            let until = (Instant::now() + WAIT_FIRST * 2u32.pow(n)).min(self.deadline);
            if let Some(connection_id) = self.connection_id(until)? {
                let request = encode(connection_id, self.transaction_id);
                if let Some(datagram) = self.exchange(&request, until)? {
                    return Ok(datagram);
                }
            }
            if until == self.deadline {
                break;
            }
        }
        Err(Failure::Silent)
    }

    /// The connection id, a new one if there is none or it is too old. Nothing if the tracker is silent.
    fn connection_id(&mut self, until: Instant) -> Result<Option<u64>, Failure> {
        if let Some((connection_id, received)) = self.proof
            && received.elapsed() < PROOF_AGE_MAX
        {
            return Ok(Some(connection_id));
        }
        let request = RequestHead::connect(self.transaction_id).encode();
        let Some(datagram) = self.exchange(&request, until)? else {
            return Ok(None);
        };
        match Response::decode(&datagram) {
            Some(Response::Connect(response)) => {
                self.proof = Some((response.connection_id, Instant::now()));
                Ok(Some(response.connection_id))
            }
            Some(Response::Error(error)) => Err(Failure::Refused(printable(error.message))),
            _ => Err(Failure::Unreadable("it answers something else".to_owned())),
        }
    }

    /// Sends one request and waits for a response to it. Whatever else comes is passed over.
    fn exchange(&mut self, request: &[u8], until: Instant) -> io::Result<Option<Vec<u8>>> {
        self.socket.send(request)?;
        let mut datagram = vec![0; usize::from(u16::MAX)];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            let len = match self.socket.recv(&mut datagram) {
                Ok(len) => len,
                Err(error) if is_timeout(&error) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let received = datagram.get(..len).unwrap_or_default();
            let response = Response::decode(received);
            if response.is_some_and(|response| response.transaction_id() == self.transaction_id) {
                // What comes late must not be taken for the answer to the next request.
                self.transaction_id = self.transaction_id.wrapping_add(1);
                return Ok(Some(received.to_vec()));
            }
        }
    }
}

const WAIT_FIRST: Duration = Duration::from_secs(15);
const RETRANSMISSIONS_MAX: u32 = 8;
const PROOF_AGE_MAX: Duration = Duration::from_secs(60);
/// Bytes of a datagram that no link has to cut.
const DATAGRAM_MAX: usize = 1232;
