//! HTTP by hand: bytes out as they are given, answers read by their framing and nothing forgiven silently.

use super::tls::{self, Wire};
use rustls::{ClientConfig, ClientConnection, Stream, pki_types::ServerName};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    fmt,
    io::{self, Read, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

/// An open connection, plain or over TLS, with what was read beyond the last answer.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Bytes that are handed to the system at a time.
    piece_max: usize,
    buffer: Vec<u8>,
    ended: bool,
    /// Over TLS: the end came without close_notify.
    cut: bool,
}

impl Connection {
    /// Connects, from a given source address if there is one.
    pub(crate) fn open(to: SocketAddr, from: Option<IpAddr>, limit: Duration) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        if let Some(from) = from {
            socket.bind(&SockAddr::from(SocketAddr::new(from, 0)))?;
        }
        socket.connect_timeout(&SockAddr::from(to), limit)?;
        socket.set_tcp_nodelay(true)?;
        let stream = TcpStream::from(socket);
        stream.set_write_timeout(Some(limit))?;
        Ok(Self {
            stream,
            tls: None,
            piece_max: usize::MAX,
            buffer: Vec::new(),
            ended: false,
            cut: false,
        })
    }

    /// Sends a byte at a time from now on, with a short pause after each.
    pub(crate) fn by_bytes(&mut self) {
        self.piece_max = 1;
    }

    /// Agrees on TLS, which must end within `limit`, or says why not.
    pub(crate) fn secure(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        limit: Duration,
    ) -> Result<(), String> {
        let connection = ClientConnection::new(config, name).map_err(|error| error.to_string())?;
        let connection = self.tls.insert(Box::new(connection));
        tls::shake_hands(connection, &mut Wire::new(&self.stream, self.piece_max), limit)
    }

    /// What was agreed upon, if this is TLS.
    pub(crate) fn tls(&self) -> Option<&ClientConnection> {
        self.tls.as_deref()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut wire = Wire::new(&self.stream, self.piece_max);
        match &mut self.tls {
            Some(tls) => Stream::new(&mut **tls, &mut wire).write_all(bytes),
            None => wire.write_all(bytes),
        }
    }

    /// Gives TLS up, as if there had been none: what comes from now on is taken as it is.
    pub(crate) fn without_tls(self) -> Self {
        Self { tls: None, ..self }
    }

    /// Sends what the system takes at once.
    pub(crate) fn send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = Wire::new(&self.stream, self.piece_max);
        match &mut self.tls {
            Some(tls) => Stream::new(&mut **tls, &mut wire).write(bytes),
            None => wire.write(bytes),
        }
    }

    /// Reads one answer. `without_body` is for HEAD, whose answer ends with its head.
    pub(crate) fn answer(&mut self, without_body: bool, limit: Duration) -> Result<Answer, Silence> {
        let deadline = Instant::now() + limit;
        let head = loop {
            if let Some(end) = head_end(&self.buffer) {
                break end;
            }
            self.more(deadline)?;
        };
        let mut answer = Answer::parse(&self.buffer[..head]).map_err(|why| self.broken(why))?;
        self.buffer.drain(..head);
        if !without_body && answer.status / 100 != 1 && answer.status != 204 && answer.status != 304 {
            self.body(&mut answer, deadline)?;
        }
        Ok(answer)
    }

    /// Whether the other side ends the connection within `limit`. What it sends until then is dropped.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.ended {
            if self.more(deadline).is_err() {
                break;
            }
            self.buffer.clear();
        }
        self.ended
    }

    /// What else arrives within `limit`, or until the end.
    pub(crate) fn leftover(&mut self, limit: Duration) -> Vec<u8> {
        let deadline = Instant::now() + limit;
        while !self.ended && self.more(deadline).is_ok() {}
        std::mem::take(&mut self.buffer)
    }

    /// Says that no more will be sent, over TLS by close_notify too, and goes on reading.
    pub(crate) fn finish_sending(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            tls.write_tls(&mut self.stream)?;
        }
        self.cut_sending()
    }

    /// Ends the sending side without a word of TLS.
    pub(crate) fn cut_sending(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Whether the other side ended TLS without close_notify.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Closes with a reset instead of an orderly end.
    pub(crate) fn reset(self) -> io::Result<()> {
        Socket::from(self.stream).set_linger(Some(Duration::ZERO))
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn body(&mut self, answer: &mut Answer, deadline: Instant) -> Result<(), Silence> {
        if answer
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
        {
            answer.framing = Framing::Chunked;
            return self.chunks(answer, deadline);
        }
        if let Some(length) = answer.header("content-length") {
            let length: usize = length
                .trim()
                .parse()
                .map_err(|_| self.broken("Content-Length is no number"))?;
            answer.framing = Framing::Length;
            answer.body = self.take(length, deadline)?;
            return Ok(());
        }
        while !self.ended {
            match self.more(deadline) {
                Ok(()) | Err(Silence::Closed(_)) => {}
                Err(other) => return Err(other),
            }
        }
        answer.body = std::mem::take(&mut self.buffer);
        Ok(())
    }

    fn chunks(&mut self, answer: &mut Answer, deadline: Instant) -> Result<(), Silence> {
        loop {
            let line = self.line(deadline)?;
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = std::str::from_utf8(size)
                .ok()
                .and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
            let size = size.ok_or_else(|| self.broken("a chunk without a size"))?;
            let chunk = self.take(size, deadline)?;
            answer.body.extend_from_slice(&chunk);
            let _ = self.line(deadline)?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn line(&mut self, deadline: Instant) -> Result<Vec<u8>, Silence> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer[..end].to_vec();
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            self.more(deadline)?;
        }
    }

    fn take(&mut self, length: usize, deadline: Instant) -> Result<Vec<u8>, Silence> {
        if length > BODY_MAX {
            return Err(self.broken("an answer larger than the suite reads"));
        }
        while self.buffer.len() < length {
            self.more(deadline)?;
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Reads some more bytes, or says why there are none.
    fn more(&mut self, deadline: Instant) -> Result<(), Silence> {
        let left = deadline.saturating_duration_since(Instant::now());
        if self.ended || self.buffer.len() > BODY_MAX {
            return Err(Silence::Closed(self.buffer.clone()));
        }
        if left.is_zero() {
            return Err(Silence::TimedOut(self.buffer.clone()));
        }
        let _ = self.stream.set_read_timeout(Some(left));
        let mut piece = [0; 16 * 1024];
        match self.read(&mut piece) {
            Ok(0) => {
                self.ended = true;
                Err(Silence::Closed(self.buffer.clone()))
            }
            Ok(length) => {
                self.buffer.extend_from_slice(&piece[..length]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(Silence::TimedOut(self.buffer.clone()))
            }
            // The end of the stream without the end of TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                (self.ended, self.cut) = (true, true);
                Err(Silence::Closed(self.buffer.clone()))
            }
            Err(_) => {
                self.ended = true;
                Err(Silence::Reset(self.buffer.clone()))
            }
        }
    }

    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => Stream::new(&mut **tls, &mut self.stream).read(piece),
            None => self.stream.read(piece),
        }
    }

    fn broken(&self, why: &'static str) -> Silence {
        Silence::Broken(why, self.buffer.clone())
    }
}

/// Why no answer could be read, with what had arrived.
#[derive(Debug)]
pub(crate) enum Silence {
    TimedOut(Vec<u8>),
    Closed(Vec<u8>),
    Reset(Vec<u8>),
    Broken(&'static str, Vec<u8>),
}

impl Silence {
    pub(crate) fn received(&self) -> &[u8] {
        match self {
            Self::TimedOut(bytes) | Self::Closed(bytes) | Self::Reset(bytes) | Self::Broken(_, bytes) => {
                bytes
            }
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partial = if self.received().is_empty() {
            "without an answer"
        } else {
            "in the middle of an answer"
        };
        match self {
            Self::TimedOut(bytes) if bytes.is_empty() => write!(out, "no answer in time"),
            Self::TimedOut(_) => write!(out, "the answer was not complete in time"),
            Self::Closed(_) => write!(out, "the connection was closed {partial}"),
            Self::Reset(_) => write!(out, "the connection was reset {partial}"),
            Self::Broken(why, _) => write!(out, "the answer is not HTTP: {why}"),
        }
    }
}

/// How the end of a body was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length,
    Chunked,
    UntilClose,
}

/// An answer of a server.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) framing: Framing,
    pub(crate) head: Vec<u8>,
}

impl Answer {
    /// The value of a header, its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether `Connection` announces the end.
    pub(crate) fn announces_close(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.to_ascii_lowercase().contains("close"))
    }

    fn parse(head: &[u8]) -> Result<Self, &'static str> {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.lines();
        let status_line = lines.next().unwrap_or_default();
        let mut words = status_line.split(' ');
        let version = words.next().unwrap_or_default();
        if version != "HTTP/1.1" && version != "HTTP/1.0" {
            return Err("the first line does not begin with HTTP/1.x");
        }
        let status = words
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or("no status number")?;
        let mut headers = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or("a header line without a colon")?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self {
            status,
            headers,
            body: Vec::new(),
            framing: Framing::UntilClose,
            head: head.to_vec(),
        })
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// `%XX` for every byte but the unreserved ones of RFC 3986.
pub(crate) fn percent(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(*byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// `%XX` for every byte.
pub(crate) fn percent_all(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// Bytes of one answer that are read at most: a full scrape of a large tracker stays below.
const BODY_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::{Answer, percent};

    #[test]
    fn reads_a_head() {
        let answer =
            Answer::parse(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: Close\r\n\r\n")
                .unwrap();
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/plain"))
        );
        assert!(answer.announces_close());
        assert!(Answer::parse(b"HTTP/1.1 OK\r\n\r\n").is_err());
        assert!(Answer::parse(b"<html>\r\n\r\n").is_err());
    }

    #[test]
    fn percent_encodes_all_but_the_unreserved() {
        assert_eq!(percent(b"a-~\x00\xff+"), "a-~%00%FF%2B");
    }
}
