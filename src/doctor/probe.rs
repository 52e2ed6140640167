//! Probes of a tracker: announces like a client's, whose answers must come from the address that was asked.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use etracker_core::access::AddressList;
use etracker_core::announce::{Announce, Endpoint, Event};
use etracker_core::http::Response as HttpResponse;
use etracker_core::http::query::{AnnounceQuery, PeerForm};
use etracker_core::http::request::encode_get;
use etracker_core::http::response;
use etracker_core::proxy::{Proxies, ProxyHeader, Transport};
use etracker_core::udp::packet::{AnnounceRequest, RequestHead, Response};
use etracker_core::{InfoHash, PeerId};
use serde::Deserialize;

use super::finding::{Finding, Grade, fault, ok, warning};
use crate::failure::Failure;

/// The result of a probe.
pub(super) type ProbeResult = Result<Answer, ProbeError>;

/// A tracker's answer to an announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The announce interval in seconds.
    Interval(u32),
    /// The tracker refused the announce, with this reason.
    Refused(String),
}

/// The part of `/stats.json` that doctor reads.
#[derive(Debug, Deserialize)]
struct Stats {
    verdict: Verdict,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    findings: Vec<Told>,
}

/// A finding of a tracker about itself.
#[derive(Debug, Deserialize)]
struct Told {
    grade: Grade,
    about: String,
    what: String,
    remedy: String,
}

impl Told {
    /// The finding, as printable text.
    fn finding(&self) -> Finding {
        let [about, what, remedy] = [&self.about, &self.what, &self.remedy]
            .map(|words| shortened(words.as_bytes(), TOLD_LETTERS_MAX));
        match self.grade {
            Grade::Ok => ok(&about, what),
            Grade::Warning => warning(&about, what, remedy),
            Grade::Fault => fault(&about, what, remedy),
        }
    }
}

/// Why a probe failed.
#[derive(Debug)]
pub(super) enum ProbeError {
    Silent,
    /// The answer came from another address, so clients drop it.
    From(SocketAddr),
    /// The answer is not a tracker's.
    Unreadable,
    Io(io::Error),
}

impl From<io::Error> for ProbeError {
    fn from(error: io::Error) -> Self {
        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            return Self::Silent;
        }
        Self::Io(error)
    }
}

/// Announces `stopped` for a fixed torrent, so that no peer is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe<'a> {
    transaction_id: u32,
    /// The trusted proxies, as one of which it asks if this host's address is trusted.
    trust: Trust<'a>,
}

/// Who is trusted to name clients, and by what. By default nobody is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trust<'a> {
    pub(super) proxies: Option<&'a Proxies>,
    /// The trusted networks of lists.
    pub(super) listed: Option<&'a AddressList>,
}

impl Trust<'_> {
    /// What goes before a request from `ip`: a header of the PROXY protocol, if the tracker demands one.
    fn preamble(self, ip: IpAddr, at: SocketAddr, transport: Transport) -> Vec<u8> {
        let mut preamble = Vec::new();
        let speaks = |proxies: &Proxies| {
            proxies.protocol()
                && (proxies.contain(ip) || self.listed.is_some_and(|listed| listed.contains(ip)))
        };
        if self.proxies.is_some_and(speaks) {
            let client = match ip {
                IpAddr::V4(_) => IpAddr::from(CLIENT),
                IpAddr::V6(_) => CLIENT.to_ipv6_mapped().into(),
            };
            let header = ProxyHeader::Client {
                source: (client, 6881).into(),
                destination: at,
            };
            header.encode_v2(transport, &[], &mut preamble);
        }
        preamble
    }

    /// The field that names a client, with its value.
    fn field(self) -> Option<String> {
        let header = self.proxies?.header()?;
        let is_forwarded = header.name().eq_ignore_ascii_case("Forwarded");
        let parameter = if is_forwarded { "for=" } else { "" };
        Some(format!("{}: {parameter}{CLIENT}\r\n\r\n", header.name()))
    }
}

impl<'a> Probe<'a> {
    pub(super) fn new(trust: Trust<'a>) -> Result<Self, Failure> {
        let transaction_id = getrandom::u32().map_err(Failure::Seed)?;
        Ok(Self {
            transaction_id,
            trust,
        })
    }

    /// Connects and announces over UDP.
    pub(super) fn udp(self, at: SocketAddr) -> ProbeResult {
        // Not connected: a connected socket would drop answers from other addresses, which must be detected.
        let socket = UdpSocket::bind((any(at.ip()), 0))?;
        let preamble = self.trust.preamble(source(at)?, at, Transport::Datagram);
        let connect = RequestHead::connect(self.transaction_id).encode();
        let reply = self.exchange(&socket, at, &[&preamble, &connect[..]].concat())?;
        let Some(Response::Connect(connected)) = Response::decode(&reply) else {
            return Err(ProbeError::Unreadable);
        };
        let request = AnnounceRequest::of(&announce(), connected.connection_id, self.transaction_id);
        let reply = self.exchange(&socket, at, &[&preamble, &request.encode()[..]].concat())?;
        match Response::decode(&reply) {
            Some(Response::Announce(announced, _)) => Ok(Answer::Interval(announced.interval_secs)),
            Some(Response::Error(error)) => Ok(Answer::Refused(plain(error.message))),
            _ => Err(ProbeError::Unreadable),
        }
    }

    /// Announces over HTTP.
    pub(super) fn http(self, at: SocketAddr) -> ProbeResult {
        self.announce_over(&mut self.connect(at)?, at)
    }

    /// A connection, after what a proxy says of its client.
    pub(super) fn connect(self, at: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = connect(at)?;
        let local = stream.local_addr()?.ip().to_canonical();
        stream.write_all(&self.trust.preamble(local, at, Transport::Stream))?;
        Ok(stream)
    }

    /// Announces over a connection, of whatever kind.
    pub(super) fn announce_over(self, stream: &mut (impl Read + Write), at: SocketAddr) -> ProbeResult {
        stream.write_all(&self.http_request(at))?;
        let response = read_response(stream, RESPONSE_MAX)?;
        if let Ok(failure) = response::Failure::decode(&response.body) {
            return Ok(Answer::Refused(plain(failure.reason)));
        }
        match response::AnnounceResponse::decode(&response.body) {
            Ok(announced) => Ok(Answer::Interval(announced.interval_secs)),
            Err(_) => Err(ProbeError::Unreadable),
        }
    }

    /// What the tracker there finds about itself, in its own words; empty if its pages cannot be read. They are below `prefix`.
    pub(super) fn told(self, at: SocketAddr, prefix: &str) -> Vec<Finding> {
        let stats = || {
            let mut stream = connect(at)?;
            let mut request = Vec::new();
            encode_get(
                &at.to_string(),
                &format!("{prefix}/stats.json"),
                b"",
                AGENT,
                &mut request,
            );
            stream.write_all(&request)?;
            read_response(&mut stream, STATS_MAX)
        };
        let stats = stats()
            .ok()
            .and_then(|response| serde_json::from_slice::<Stats>(&response.body).ok());
        let told = stats.map(|stats| stats.verdict.findings).unwrap_or_default();
        told.iter().take(TOLD_MAX).map(Told::finding).collect()
    }

    /// Sends a request repeatedly until an answer comes.
    fn exchange(self, socket: &UdpSocket, at: SocketAddr, request: &[u8]) -> Result<Vec<u8>, ProbeError> {
        let deadline = Instant::now() + PATIENCE;
        let mut datagram = [0; 2048];
        socket.set_read_timeout(Some(PATIENCE / TRIES))?;
        while Instant::now() < deadline {
            socket.send_to(request, at)?;
            match uninterrupted(|| socket.recv_from(&mut datagram)) {
                Ok((len, from)) => {
                    let reply = datagram.get(..len).unwrap_or_default();
                    let ours = Response::decode(reply)
                        .is_some_and(|response| response.transaction_id() == self.transaction_id);
                    match (ours, from == at) {
                        (true, true) => return Ok(reply.to_vec()),
                        (true, false) => return Err(ProbeError::From(from)),
                        (false, _) => return Err(ProbeError::Unreadable),
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ProbeError::Silent)
    }

    fn http_request(self, at: SocketAddr) -> Vec<u8> {
        let (mut query, mut request) = (Vec::new(), Vec::new());
        let (announce, form) = (announce(), PeerForm::Compact);
        AnnounceQuery { announce, form }.encode(&mut query);
        encode_get(&at.to_string(), "/announce", &query, AGENT, &mut request);
        if let Some(field) = self.trust.field() {
            // The header goes before the empty line at the end.
            request.truncate(request.len() - 2);
            request.extend_from_slice(field.as_bytes());
        }
        request
    }
}

/// Asks at all places concurrently, so that several silent ones cost one timeout.
pub(super) fn at_once<P: Clone + Send, T: Send>(
    places: impl Iterator<Item = P>,
    ask: impl Fn(P) -> T + Sync,
) -> Vec<T> {
    thread::scope(|scope| {
        let ask = &ask;
        let asking = places.map(|place| {
            let (thread, copy) = (thread::Builder::new().name("ask".to_owned()), place.clone());
            let asking = thread.spawn_scoped(scope, move || ask(copy));
            // Without a further thread, this one probes.
            asking.map_err(|_| ask(place))
        });
        let asking: Vec<_> = asking.collect();
        let asked = asking.into_iter().filter_map(|asking| match asking {
            // A panic has ended the process.
            Ok(asking) => asking.join().ok(),
            Err(asked) => Some(asked),
        });
        asked.collect()
    })
}

pub(super) fn connect(at: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads a response of less than `max` bytes.
pub(super) fn read_response(stream: &mut impl Read, max: usize) -> Result<HttpResponse, ProbeError> {
    let (mut received, mut piece) = (Vec::new(), [0; 4096]);
    while received.len() < max {
        let len = uninterrupted(|| stream.read(&mut piece))?;
        received.extend_from_slice(piece.get(..len).unwrap_or_default());
        match HttpResponse::decode(&received, len == 0) {
            Ok(Some(response)) => return Ok(response),
            Ok(None) => {}
            Err(_) => break,
        }
    }
    Err(ProbeError::Unreadable)
}

/// Repeats a call that is interrupted: closing an io_uring interrupts calls of its thread.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted && Instant::now() < deadline => {}
            outcome => return outcome,
        }
    }
}

fn announce() -> Announce {
    Announce {
        info_hash: InfoHash(*b"etracker doctor asks"),
        peer_id: PeerId(*b"-ET0000-doctordoctor"),
        peer: Endpoint {
            ip: Ipv4Addr::UNSPECIFIED.into(),
            port: 6881,
        },
        left: 1,
        event: Event::Stopped,
        numwant: Some(0),
    }
}

/// The address of this host that packets to `at` have.
fn source(at: SocketAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind((any(at.ip()), 0))?;
    socket.connect(at)?;
    Ok(socket.local_addr()?.ip().to_canonical())
}

const fn any(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// A reason from another program, as printable text.
fn plain(reason: &[u8]) -> String {
    shortened(reason, REASON_MAX)
}

/// The printable characters of another program's text, at most `max`.
fn shortened(reason: &[u8], max: usize) -> String {
    let printable = reason
        .iter()
        .filter(|byte| byte.is_ascii_graphic() || **byte == b' ');
    printable.take(max).map(|&byte| char::from(byte)).collect()
}

/// The `User-Agent` of probes.
pub(super) const AGENT: &str = concat!("etracker/", env!("CARGO_PKG_VERSION"));
/// How long to wait for an answer from this host.
const PATIENCE: Duration = Duration::from_secs(3);
/// Datagrams sent before a probe counts as unanswered.
const TRIES: u32 = 3;
/// Bytes of the longest answer that is read.
const RESPONSE_MAX: usize = 1 << 16;
/// Bytes of the longest `/stats.json` that is read: with its history it has some 200,000.
const STATS_MAX: usize = 1 << 20;
/// Findings shown at most; trackers seldom have as many.
const TOLD_MAX: usize = 32;
/// Characters shown of another tracker's text.
const TOLD_LETTERS_MAX: usize = 400;
/// Characters shown of a reason.
const REASON_MAX: usize = 100;
/// A client in a documentation network, whom the probe names as a proxy does.
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_elsewhere_is_noticed() {
        let asked = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = asked.local_addr().unwrap();
        let elsewhere = UdpSocket::bind("127.0.0.2:0").unwrap();
        let from = elsewhere.local_addr().unwrap();
        let answer = thread::spawn(move || {
            let mut request = [0; 64];
            let (_, client) = asked.recv_from(&mut request).unwrap();
            // A connect is answered with its action, its transaction id, and eight bytes of connection id.
            let reply = [&[0; 4], &request[12..16], &[7; 8]].concat();
            elsewhere.send_to(&reply, client).unwrap();
        });
        let outcome = Probe::new(Trust::default()).unwrap().udp(at);
        answer.join().unwrap();
        assert!(
            matches!(outcome, Err(ProbeError::From(source)) if source == from),
            "{outcome:?}"
        );
    }

    #[test]
    fn what_is_no_tracker_is_not_taken_for_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let answer = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 4096]);
            client.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        });
        let outcome = Probe::new(Trust::default()).unwrap().http(at);
        answer.join().unwrap();
        assert!(matches!(outcome, Err(ProbeError::Unreadable)), "{outcome:?}");
    }

    #[test]
    fn nobody_there_is_an_error() {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let outcome = Probe::new(Trust::default()).unwrap().http(port);
        assert!(matches!(outcome, Err(ProbeError::Io(_))), "{outcome:?}");
    }
}
