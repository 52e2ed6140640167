//! Clients that speak HTTP (BEP 3): announces alone, one at a time on a connection.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use etracker_core::announce::Family;
use etracker_core::bencode::Value;
use socket2::{Domain, Socket, Type};

use crate::drive::{Client, Request};
use crate::population::{Peer, Population, source};
use crate::tally::{Announced, Tally};
use crate::tls::{Session, Tls};
use crate::udp::PEER_ID;

/// A connection and its outstanding request.
pub(crate) struct HttpClient<'p> {
    population: &'p Population,
    target: SocketAddr,
    /// The address that it has.
    from: IpAddr,
    keep_alive: bool,
    tls: Option<Tls>,
    stream: Option<TcpStream>,
    /// TLS on the stream, if that is spoken.
    session: Option<Session>,
    pending: Option<(Peer, Option<Instant>)>,
    output: Vec<u8>,
    /// The bytes received of an answer.
    input: Vec<u8>,
}

impl<'p> HttpClient<'p> {
    pub(crate) fn new(
        population: &'p Population,
        target: SocketAddr,
        number: u32,
        keep_alive: bool,
        tls: Option<Tls>,
    ) -> Self {
        Self {
            tls,
            session: None,
            population,
            target,
            from: source(target.ip(), number),
            keep_alive,
            stream: None,
            pending: None,
            output: Vec::new(),
            input: Vec::new(),
        }
    }

    /// The same client, with this address.
    pub(crate) const fn at(mut self, from: IpAddr) -> Self {
        self.from = from;
        self
    }

    /// Ends a connection that was kept: after a while the tracker does too.
    pub(crate) fn hang_up(&mut self) {
        (self.stream, self.session) = (None, None);
    }

    /// Whether the tracker has the connection open still.
    pub(crate) fn is_open(&self) -> bool {
        let peeked = self.stream.as_ref().map(|stream| stream.peek(&mut [0]));
        matches!(peeked, Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock)
    }

    fn connect(&mut self) -> io::Result<TcpStream> {
        self.session = self.tls.as_ref().map(Tls::session).transpose()?;
        connect_from(self.from, self.target)
    }

    /// Takes what is there; whether the tracker has closed.
    fn read(&mut self) -> io::Result<bool> {
        let mut piece = [0; 8192];
        loop {
            let Some(stream) = &mut self.stream else {
                return Ok(true);
            };
            if let Some(session) = &mut self.session {
                return session.receive(stream, &mut self.input);
            }
            match stream.read(&mut piece) {
                Ok(0) => return Ok(true),
                Ok(len) => {
                    self.input.extend_from_slice(&piece[..len]);
                    // Where the tracker keeps the connection, more would only be the error that there is no more.
                    if self.keep_alive && len < piece.len() {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Client for HttpClient<'_> {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(TcpStream::as_fd)
    }

    fn under_way(&self) -> usize {
        usize::from(self.pending.is_some())
    }

    fn send(&mut self, requests: &[Request], due: Option<Instant>, tally: &mut Tally) -> io::Result<()> {
        let [Request::Announce(peer)] = requests else {
            return Err(io::Error::other("HTTP clients announce, one at a time"));
        };
        write_request(self.population, peer, self.keep_alive, &mut self.output);
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let stream = self.stream.insert(stream);
        // A request fits into any socket's buffer. A tracker that closed meanwhile is found when it is read from.
        match &mut self.session {
            Some(session) => session.send(stream, &self.output)?,
            None => drop(stream.write_all(&self.output)),
        }
        self.input.clear();
        self.pending = Some((*peer, due));
        tally.sent += 1;
        Ok(())
    }

    fn receive(&mut self, tally: &mut Tally) -> io::Result<()> {
        let is_closed = self.read()?;
        let Some((peer, due)) = self.pending else {
            return Ok(());
        };
        let body = body(&self.input);
        // Without keep-alive the end of the connection belongs to the answer.
        let is_whole = body.is_some() && (self.keep_alive || is_closed);
        if !is_whole && !is_closed {
            return Ok(());
        }
        self.pending = None;
        tally.took(due);
        count(body, &peer, self.target, tally);
        if is_closed {
            tally.resumed += u64::from(self.session.as_ref().is_some_and(Session::is_resumed));
            self.hang_up();
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn give_up(&mut self, tally: &mut Tally) {
        tally.lost += self.under_way() as u64;
        self.pending = None;
        self.hang_up();
    }
}

/// TCP loses nothing, and a tracker lets handshakes wait for one another.
const PATIENCE: Duration = Duration::from_secs(2);

/// A connection from this address. Over loopback it is there at once.
pub(crate) fn connect_from(from: IpAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect(&target.into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Counts an answer.
fn count(body: Option<&[u8]>, peer: &Peer, target: SocketAddr, tally: &mut Tally) {
    // Some trackers end their answers like lines.
    let dictionary = body
        .and_then(|body| Value::parse(body.trim_ascii_end()).ok())
        .and_then(Value::as_dictionary)
        .filter(|found| {
            found
                .get(b"interval")
                .or_else(|| found.get(b"failure reason"))
                .is_some()
        });
    let Some(dictionary) = dictionary else {
        tally.wrong += 1;
        tally.complain(|| format!("{peer:?} was answered {:?}", body.map(String::from_utf8_lossy)));
        return;
    };
    if let Some(reason) = dictionary.get(b"failure reason").and_then(Value::as_bytes) {
        tally.refused += 1;
        tally.complain(|| format!("{peer:?} was refused: {}", String::from_utf8_lossy(reason)));
        return;
    }
    let number = |key| dictionary.get(key).and_then(Value::as_integer).unwrap_or(0);
    let family = Family::of(target.ip());
    let key: &[u8] = if family == Family::V4 { b"peers" } else { b"peers6" };
    let answer = Announced {
        counted: number(b"complete")
            .saturating_add(number(b"incomplete"))
            .unsigned_abs(),
        family,
        compact: dictionary.get(key).and_then(Value::as_bytes).unwrap_or_default(),
        target: target.ip(),
    };
    tally.announced(peer, &answer);
}

/// The body of an answer that is there whole.
pub(crate) fn body(input: &[u8]) -> Option<&[u8]> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let head_len = match response.parse(input).ok()? {
        httparse::Status::Complete(len) => len,
        httparse::Status::Partial => return None,
    };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    let length: usize = str::from_utf8(length.value).ok()?.trim().parse().ok()?;
    input.get(head_len..head_len.checked_add(length)?)
}

pub(crate) fn write_request(population: &Population, peer: &Peer, keep_alive: bool, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(b"GET /announce?info_hash=");
    for byte in population.info_hash(peer.torrent) {
        let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble & 15)];
        out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
    }
    out.extend_from_slice(b"&peer_id=");
    out.extend_from_slice(&PEER_ID.0);
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let (port, wanted) = (peer.port, peer.wanted);
    // Writing to memory does not fail.
    drop(write!(
        out,
        "&port={port}&uploaded=0&downloaded=0&left=1&compact=1&numwant={wanted} HTTP/1.1\r\n\
         Host: tracker\r\nConnection: {connection}\r\n\r\n"
    ));
}

#[cfg(test)]
mod tests {
    use etracker_core::http::HEAD_MAX;

    use super::*;

    #[test]
    fn a_body_is_there_when_it_is_whole() {
        let answer = b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nd1:ae";
        for len in 0..answer.len() {
            assert_eq!(body(&answer[..len]), None, "{len}");
        }
        assert_eq!(body(answer), Some(&b"d1:ae"[..]));
    }

    #[test]
    fn answers_are_counted_as_what_they_are() {
        let population = Population::new(1, 3, 1, 30).unwrap();
        let (peer, target) = (population.peer(0, 0), "127.0.0.1:9".parse().unwrap());
        let counted = |body: &[u8]| {
            let mut tally = Tally::default();
            count(Some(body), &peer, target, &mut tally);
            [tally.announces, tally.peers, tally.refused, tally.wrong]
        };
        let right = b"d8:completei0e10:incompletei3e8:intervali9e5:peers6:\x7f\x01\x00\x01\x08\x00e";
        assert_eq!(counted(right), [1, 1, 0, 0]);
        assert_eq!(counted(b"d14:failure reason2:noe"), [0, 0, 1, 0]);
        assert_eq!(counted(b"<html>"), [0, 0, 0, 1]);
        assert_eq!(counted(b"de"), [0, 0, 0, 1]);
    }

    #[test]
    fn a_request_is_one_that_trackers_read() {
        let population = Population::new(10, 100, 1, 30).unwrap();
        let mut out = Vec::new();
        write_request(&population, &population.peer(0, 7), true, &mut out);
        let mut headers = [httparse::EMPTY_HEADER; 8];
        let mut request = httparse::Request::new(&mut headers);
        assert!(request.parse(&out).unwrap().is_complete() && out.len() < HEAD_MAX);
        let path = request.path.unwrap();
        assert!(
            path.contains("&port=1031&") && path.matches('%').count() == 20,
            "{path}"
        );
    }
}
