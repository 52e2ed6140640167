//! The stream inside an encrypted connection.

use std::io::{self, ErrorKind, IoSlice, Read as _, Write};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use etracker_runtime_common::{Effort, Handshake, Handshakes, Stream, TlsPort, Turn};
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection};

use crate::Certificates;
use crate::certificates::CHALLENGE;
use crate::failure::handshake;

/// The server's side of a connection over TLS. Handshakes are made inside [`poll_read`](Stream::poll_read). Until the client sends,
/// and once it is told goodbye, a connection has no memory but this.
///
/// An error of kind [`InvalidData`](ErrorKind::InvalidData) is one that the client was told, and that is counted.
#[derive(Debug)]
pub struct Secured<S: Stream> {
    stream: S,
    state: State,
    turn: Turn,
    /// Who pays for the handshake.
    source: IpAddr,
    /// The client whom a proxy has named, until it is taken.
    client: Option<SocketAddr>,
    /// Whether what is written from now on is the last.
    is_ending: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing has come yet.
    Opening(Arc<ServerConfig>, TlsPort),
    /// The client has begun a handshake, with these bytes, and waits for leave to go on.
    Asking(Arc<ServerConfig>, Vec<u8>),
    Permitted(Arc<ServerConfig>, Vec<u8>),
    Handshaking(Box<Encrypted>),
    Open(Box<Encrypted>),
    /// The client speaks HTTP, and may.
    Plain,
    /// Nothing more is said. What the client still sends is not for us.
    Ended,
}

#[derive(Debug)]
struct Encrypted {
    tls: ServerConnection,
    /// Bytes of the handshake that have come.
    received: usize,
    /// Whether goodbye was said.
    is_ended: bool,
    /// Bytes of the caller that are encrypted, and not all written yet.
    pending: usize,
}

impl<S: Stream> Secured<S> {
    /// Takes up the connection that `peer` opened. Its handshake is made once it is [permitted](Stream::permit_handshake).
    pub fn new(
        certificates: &Certificates,
        stream: S,
        peer: IpAddr,
        port: TlsPort,
        handshakes: Rc<Handshakes>,
    ) -> Self {
        let state = State::Opening(Arc::clone(certificates.config()), port);
        Self {
            stream,
            state,
            turn: Turn::new(handshakes),
            source: peer,
            client: None,
            is_ending: false,
        }
    }

    /// Reads the first bytes, which tell what the client speaks. Returns how many are there if they are plain.
    fn poll_opening(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let State::Opening(config, port) = &self.state else {
            return Poll::Ready(Ok(0));
        };
        let (config, port) = (Arc::clone(config), *port);
        let len = ready!(self.poll_step(cx, buffer))?;
        match buffer[..len].first() {
            // Somebody looked whether the port is open: no handshake was begun.
            None => self.end(cx),
            Some(&first) if first != RECORD_HANDSHAKE && port == TlsPort::Shared => {
                self.turn.leave();
                self.state = State::Plain;
                return Poll::Ready(Ok(len));
            }
            Some(first) if first.is_ascii_uppercase() => return Poll::Ready(Err(self.refuse_plain(cx))),
            Some(_) if self.turn.handshakes().is_refusing() => {
                return Poll::Ready(Err(self.fail(Handshake::Shed)));
            }
            Some(_) => {
                self.client = self.stream.take_client();
                if let Some(client) = self.client {
                    self.source = client.ip().to_canonical();
                }
                self.state = State::Asking(config, buffer[..len].to_vec());
            }
        }
        Poll::Ready(Ok(0))
    }

    /// Begins the handshake that was permitted.
    fn begin(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let State::Permitted(config, bytes) = std::mem::replace(&mut self.state, State::Ended) else {
            return Ok(());
        };
        let tls = ServerConnection::new(config).map_err(|_| self.fail(Handshake::Malformed))?;
        self.state = State::Handshaking(Box::new(Encrypted {
            tls,
            received: 0,
            is_ended: false,
            pending: 0,
        }));
        self.shake(cx, &bytes)
    }

    /// Reads the next bytes of a handshake, and answers them.
    fn poll_handshake(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<()>> {
        let State::Handshaking(shaking) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        // What the client waits for goes first.
        let flushed = flush(&mut shaking.tls, &mut self.stream, cx);
        if flushed.is_pending() {
            // One that reads nothing must not keep the step that others wait for.
            self.turn.leave();
        }
        ready!(flushed)?;
        let len = ready!(self.poll_step(cx, buffer))?;
        if len == 0 {
            self.end(cx);
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.shake(cx, &buffer[..len]))
    }

    /// Reads once it is this connection's turn. Where something has come, [`shake`](Self::shake) says what the step took.
    fn poll_step(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.turn.poll_step(cx));
        let room = buffer.len().min(READ_MAX);
        let read = self.stream.poll_read(cx, &mut buffer[..room]);
        if !matches!(read, Poll::Ready(Ok(1..))) {
            self.turn.finish_step(Effort::None);
        }
        read
    }

    /// Takes bytes of a handshake, and goes over to the open connection if it is complete.
    fn shake(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        let State::Handshaking(shaking) = &mut self.state else {
            return Ok(());
        };
        let before = shaking.tls.handshake_kind();
        shaking.received += bytes.len();
        // A client hello is half a kilobyte. rustls would collect 64 KiB of one message.
        let fed = if shaking.received > HANDSHAKE_MAX {
            Err(Handshake::Malformed)
        } else {
            feed(&mut shaking.tls, bytes).map_err(|error| handshake(&error))
        };
        self.turn.finish_step(effort(before, &shaking.tls));
        if let Err(failure) = fed {
            // The alert, if the client takes it at once.
            let _ = flush(&mut shaking.tls, &mut self.stream, cx);
            return Err(self.fail(failure));
        }
        if shaking.tls.is_handshaking() {
            return Ok(());
        }
        let is_challenge = shaking.tls.alpn_protocol() == Some(CHALLENGE);
        let resumed = shaking.tls.handshake_kind() == Some(HandshakeKind::Resumed);
        if let State::Handshaking(shaking) = std::mem::replace(&mut self.state, State::Ended) {
            self.state = State::Open(shaking);
        }
        self.turn.handshakes().count(if resumed {
            Handshake::Resumed
        } else {
            Handshake::Full
        });
        if is_challenge {
            // RFC 8737, section 3: nothing is said over this connection.
            self.end(cx);
        }
        Ok(())
    }

    /// Reads what the client says.
    fn poll_open(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let State::Open(open) = &mut self.state else {
            return Poll::Ready(Ok(0));
        };
        // A fault in what comes now could not be told any more: rustls says nothing after goodbye.
        if open.is_ended {
            return Poll::Ready(Ok(0));
        }
        loop {
            match open.tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Many clients close without saying so. A request says itself whether it is whole.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                read => return Poll::Ready(read),
            }
            // Tickets, and the end of a handshake of TLS 1.2, which the client waits for.
            ready!(flush(&mut open.tls, &mut self.stream, cx))?;
            let room = buffer.len().min(READ_MAX);
            let len = ready!(self.stream.poll_read(cx, &mut buffer[..room]))?;
            if feed(&mut open.tls, &buffer[..len]).is_err() {
                let _ = flush(&mut open.tls, &mut self.stream, cx);
                self.state = State::Ended;
                return Poll::Ready(Err(told()));
            }
        }
    }

    /// Tells a client that speaks HTTP what this port is for.
    fn refuse_plain(&mut self, cx: &mut Context<'_>) -> io::Error {
        // It is whole or it is nothing: a connection that is new takes so few bytes.
        let _ = self.stream.poll_write(cx, PLAIN_REFUSED);
        self.fail(Handshake::Plain)
    }

    /// Gives up a handshake.
    fn fail(&mut self, failure: Handshake) -> io::Error {
        self.turn.leave();
        self.turn.handshakes().count(failure);
        self.state = State::Ended;
        told()
    }

    /// Says goodbye, if the client takes that at once (RFC 8446, section 6.1). Its own goodbye is not waited for.
    fn end(&mut self, cx: &mut Context<'_>) {
        self.turn.leave();
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Open(mut open) => {
                open.tls.send_close_notify();
                let _ = flush(&mut open.tls, &mut self.stream, cx);
            }
            State::Handshaking(_) => self.turn.handshakes().count(Handshake::Unfinished),
            State::Opening(..) | State::Asking(..) | State::Permitted(..) | State::Plain | State::Ended => {}
        }
    }
}

impl<S: Stream> Stream for Secured<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match &self.state {
                State::Opening(..) => {
                    let len = ready!(self.poll_opening(cx, buffer))?;
                    if len > 0 {
                        return Poll::Ready(Ok(len));
                    }
                }
                State::Asking(..) => return Poll::Pending,
                State::Permitted(..) => self.begin(cx)?,
                State::Handshaking(_) => ready!(self.poll_handshake(cx, buffer))?,
                State::Open(_) => return self.poll_open(cx, buffer),
                State::Plain => return self.stream.poll_read(cx, buffer),
                State::Ended => return Poll::Ready(Ok(0)),
            }
        }
    }

    /// Encrypts some of `bytes`, and is done when the stream has taken that. Until then the caller comes back with the same bytes:
    /// so it knows how much its client has not taken, and at most 16 KiB wait here.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let open = match &mut self.state {
            State::Open(open) => open,
            State::Plain => return self.stream.poll_write(cx, bytes),
            State::Opening(..)
            | State::Asking(..)
            | State::Permitted(..)
            | State::Handshaking(_)
            | State::Ended => {
                return Poll::Ready(Err(ErrorKind::NotConnected.into()));
            }
        };
        if open.pending == 0 {
            let len = bytes.len().min(RECORD_MAX);
            open.pending = open.tls.writer().write(&bytes[..len])?;
            if self.is_ending && open.pending == bytes.len() {
                // Written by itself the goodbye is another call of the system, and another packet.
                open.tls.send_close_notify();
                open.is_ended = true;
            }
        }
        ready!(flush(&mut open.tls, &mut self.stream, cx))?;
        Poll::Ready(Ok(std::mem::take(&mut open.pending)))
    }

    fn end_with_write(&mut self) {
        self.is_ending = true;
    }

    fn handshake_source(&self) -> Option<IpAddr> {
        matches!(self.state, State::Asking(..)).then_some(self.source)
    }

    fn permit_handshake(&mut self, permitted: bool) {
        let State::Asking(config, bytes) = &mut self.state else {
            return;
        };
        let begun = State::Permitted(Arc::clone(config), std::mem::take(bytes));
        self.state = if permitted { begun } else { State::Ended };
        if !permitted {
            self.turn.leave();
        }
    }

    fn take_client(&mut self) -> Option<SocketAddr> {
        self.client.take().or_else(|| self.stream.take_client())
    }

    fn look(&self) {
        self.stream.look();
    }

    fn give_way(&self, cx: &mut Context<'_>) {
        self.stream.give_way(cx);
    }

    /// Reads what is to be dropped: it is not decrypted.
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.try_read(buffer)
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        self.end(&mut Context::from_waker(Waker::noop()));
        self.stream.shut_down_write()
    }
}

impl<S: Stream> Drop for Secured<S> {
    fn drop(&mut self) {
        self.end(&mut Context::from_waker(Waker::noop()));
    }
}

/// What a step of a handshake took, which was of the kind `before` until then.
fn effort(before: Option<HandshakeKind>, tls: &ServerConnection) -> Effort {
    let is_newest = tls.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    match (before, tls.handshake_kind()) {
        // Part of a message, the end of a handshake of TLS 1.3, or a session of TLS 1.2 that is resumed.
        (_, None) => Effort::Little,
        (Some(HandshakeKind::Full | HandshakeKind::Resumed), _) if is_newest => Effort::Little,
        (_, Some(HandshakeKind::Resumed)) if !is_newest => Effort::Little,
        _ => Effort::Much,
    }
}

/// Has `tls` process what was received.
fn feed(tls: &mut ServerConnection, mut bytes: &[u8]) -> Result<(), rustls::Error> {
    loop {
        // It takes no more than it has room for, and nothing once the client has said goodbye.
        let taken = tls
            .read_tls(&mut bytes)
            .map_err(|_| rustls::Error::PeerSentOversizedRecord)?;
        tls.process_new_packets()?;
        if taken == 0 || bytes.is_empty() {
            return Ok(());
        }
    }
}

/// Writes what `tls` has encrypted.
fn flush<S: Stream>(
    tls: &mut ServerConnection,
    stream: &mut S,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while tls.wants_write() {
        match tls.write_tls(&mut Wire { stream, cx: &mut *cx }) {
            Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

/// A stream as the standard library writes to one.
struct Wire<'a, 'b, S> {
    stream: &'a mut S,
    cx: &'a mut Context<'b>,
}

impl<S: Stream> Write for Wire<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.poll_write(self.cx, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match parts {
            [one] => self.write(one),
            // The server's side of a handshake is six parts: written one by one they are as many calls of the system.
            _ => {
                let mut joined = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
                for part in parts {
                    joined.extend_from_slice(part);
                }
                self.write(&joined)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error of a connection whose client was told what is wrong.
fn told() -> io::Error {
    ErrorKind::InvalidData.into()
}

/// The first byte of a connection that begins with a handshake (RFC 8446, section 5.1).
const RECORD_HANDSHAKE: u8 = 22;
/// Bytes read at a time: what is decrypted of them fits what rustls holds, besides a record that has come in pieces.
const READ_MAX: usize = 4096;
/// Bytes that a client may send until its handshake is complete.
const HANDSHAKE_MAX: usize = 16 << 10;
/// Bytes encrypted at a time: one record at most (RFC 8446, section 5.1).
pub(crate) const RECORD_MAX: usize = 16 << 10;
/// The answer to HTTP where TLS is spoken.
const PLAIN_REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 23\r\n\
    Connection: close\r\n\r\n\
    this port speaks HTTPS\n";

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, SupportedProtocolVersion, version};

    use super::*;
    use crate::testing::{Client, PEER, Wires, certificates, poll_permitted};
    use etracker_core::stats::{Count, Counters};

    const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// The server's side of a connection, and the client's.
    struct Both {
        server: Option<Secured<Wires>>,
        client: Client,
        handshakes: Rc<Handshakes>,
        counters: Arc<Counters>,
    }

    impl Both {
        fn new(certificates: &Certificates, client: Client, port: TlsPort) -> Self {
            let counters = Arc::new(Counters::default());
            let handshakes = Rc::new(Handshakes::new(Arc::clone(&counters)));
            let wires = client.wires.clone();
            let server = Secured::new(certificates, wires, PEER, port, Rc::clone(&handshakes));
            Self {
                server: Some(server),
                client,
                handshakes,
                counters,
            }
        }

        fn of(version: &'static SupportedProtocolVersion) -> Self {
            let certificates = certificates(&["a.example"]);
            Self::new(&certificates, Client::new("a.example", &[version]), TlsPort::Only)
        }

        /// Reads once, after others have had their turn.
        fn read(&mut self) -> Poll<io::Result<Vec<u8>>> {
            self.handshakes.renew();
            let mut buffer = [0; 16 << 10];
            let server = self.server.as_mut().unwrap();
            let read = poll_permitted(server, &mut buffer);
            read.map_ok(|len| buffer[..len].to_vec())
        }

        /// Reads until the stream waits for more than the client has, or ends: then `true`. The client's bytes come in pieces of `len`.
        fn exchange(&mut self, len: usize) -> io::Result<(Vec<u8>, bool)> {
            let mut all = Vec::new();
            loop {
                let sent = self.client.send(len);
                match self.read() {
                    Poll::Ready(bytes) => match &*bytes? {
                        [] => return Ok((all, true)),
                        bytes => all.extend(bytes),
                    },
                    Poll::Pending if self.client.receive() || sent => {}
                    Poll::Pending => return Ok((all, false)),
                }
            }
        }

        fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let server = self.server.as_mut().unwrap();
            server.poll_write(&mut Context::from_waker(Waker::noop()), bytes)
        }

        fn counts(&self) -> Vec<(Count, u64)> {
            let all = Count::ALL.iter().map(|&count| (count, self.counters.get(count)));
            all.filter(|&(_, number)| number > 0).collect()
        }
    }

    #[test]
    fn however_the_bytes_are_cut_both_sides_hear_the_same() {
        for version in VERSIONS {
            for len in [1, 2, 3, 5, 7, 100, 1000, usize::MAX] {
                let mut both = Both::of(version);
                both.client.say(REQUEST);
                assert_eq!(both.exchange(len).unwrap(), (REQUEST.to_vec(), false));
                assert!(matches!(both.write(b"answer"), Poll::Ready(Ok(6))));
                both.client.receive();
                assert_eq!(both.client.heard(), b"answer");
                assert_eq!(both.counts(), [(Count::TlsFull, 1)]);
                assert_eq!(both.client.tls.alpn_protocol(), Some(&b"http/1.1"[..]));
                assert_eq!(both.client.tls.protocol_version(), Some(version.version));
            }
        }
    }

    #[test]
    fn the_suite_that_takes_least_is_chosen_whatever_the_client_puts_first() {
        for (version, expected) in VERSIONS.into_iter().zip([
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
        ]) {
            let mut both = Both::of(version);
            both.client.say(b"x");
            both.exchange(usize::MAX).unwrap();
            let suite = both.client.tls.negotiated_cipher_suite().unwrap();
            assert_eq!(suite.suite(), expected);
        }
    }

    #[test]
    fn a_session_is_resumed_by_a_ticket_after_certificates_were_replaced() {
        for version in VERSIONS {
            let certificates = certificates(&["a.example"]);
            let mut client = Client::new("a.example", &[version]);
            for expected in [Count::TlsFull, Count::TlsResumed] {
                let mut both = Both::new(&certificates, client, TlsPort::Only);
                both.client.say(b"x");
                assert_eq!(both.exchange(usize::MAX).unwrap(), (b"x".to_vec(), false));
                assert!(both.write(b"y").is_ready());
                both.client.receive();
                assert_eq!(both.counts(), [(expected, 1)]);
                certificates.replace(vec![crate::testing::issue(&["a.example"]).pair()]);
                client = both.client.again();
            }
        }
    }

    #[test]
    fn a_missing_goodbye_is_no_error_and_one_is_said_in_any_case() {
        for version in VERSIONS {
            for says_goodbye in [false, true] {
                let mut both = Both::of(version);
                both.client.say(b"x");
                both.exchange(usize::MAX).unwrap();
                if says_goodbye {
                    both.client.tls.send_close_notify();
                } else {
                    both.client.wires.close();
                }
                assert_eq!(both.exchange(usize::MAX).unwrap(), (Vec::new(), true));
                drop(both.server.take());
                both.client.receive();
                assert!(both.client.heard_goodbye());
                assert_eq!(both.counts(), [(Count::TlsFull, 1)]);
            }
        }
    }

    #[test]
    fn the_goodbye_goes_with_the_last_bytes_and_with_no_others() {
        for version in VERSIONS {
            for len in [6, RECORD_MAX + 6] {
                let mut both = Both::of(version);
                both.client.say(b"x");
                both.exchange(usize::MAX).unwrap();
                let answer = vec![b'a'; len];
                both.server.as_mut().unwrap().end_with_write();
                let mut written = 0;
                while written < len {
                    both.client.receive();
                    assert!(!both.client.heard_goodbye());
                    let before = both.client.wires.writes();
                    match both.write(&answer[written..]) {
                        Poll::Ready(more) => written += more.unwrap(),
                        Poll::Pending => panic!("the client takes all"),
                    }
                    assert_eq!(both.client.wires.writes(), before + 1);
                }
                both.client.receive();
                assert!(both.client.heard_goodbye() && both.client.heard() == answer);
                both.client.wires.send_plain(b"no record at all");
                assert!(matches!(both.read(), Poll::Ready(Ok(none)) if none.is_empty()));
                let writes = both.client.wires.writes();
                drop(both.server.take());
                assert_eq!(both.client.wires.writes(), writes);
            }
        }
    }

    #[test]
    fn a_client_that_is_told_goodbye_lingers() {
        let mut both = Both::of(&version::TLS13);
        both.client.say(b"x");
        both.exchange(usize::MAX).unwrap();
        let mut server = both.server.take().unwrap();
        server.shut_down_write().unwrap();
        both.client.receive();
        assert!(both.client.heard_goodbye() && both.client.wires.is_shut_down());
        both.client.say(b"more");
        both.client.send(usize::MAX);
        assert!(server.try_read(&mut [0; 1000]).unwrap() > 4);
    }

    #[test]
    fn for_a_client_that_takes_nothing_one_record_waits() {
        let mut both = Both::of(&version::TLS13);
        both.client.say(b"x");
        both.exchange(usize::MAX).unwrap();
        let before = both.client.wires.to_client_len();
        both.client.wires.takes(100);
        let answer: Vec<u8> = (0..100_000u32).map(|byte| byte.to_le_bytes()[0]).collect();
        assert!(both.write(&answer).is_pending());
        assert_eq!(both.client.wires.to_client_len(), before + 100);
        let mut written = 0;
        while written < answer.len() {
            both.client.wires.takes(1000);
            if let Poll::Ready(len) = both.write(&answer[written..]) {
                let len = len.unwrap();
                assert!(len > 0 && len <= RECORD_MAX);
                written += len;
            }
            both.client.receive();
            // What is written has been taken, but for the end of a record.
            assert!(both.client.heard().len() >= written);
            assert!(both.client.heard().len() <= written + RECORD_MAX);
        }
        assert_eq!(both.client.heard(), answer);
    }

    #[test]
    fn http_on_a_port_for_tls_is_told_so() {
        let certificates = certificates(&["a.example"]);
        let mut both = Both::new(&certificates, Client::new("a.example", &VERSIONS), TlsPort::Only);
        both.client.wires.send_plain(REQUEST);
        let error = both.exchange(0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let told = both.client.wires.received_plain();
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "));
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert_eq!(body, "this port speaks HTTPS\n");
        assert_eq!(both.counts(), [(Count::TlsPlain, 1)]);
    }

    #[test]
    fn on_a_shared_port_the_first_byte_tells() {
        let certificates = certificates(&["a.example"]);
        let both = || {
            Both::new(
                &certificates,
                Client::new("a.example", &VERSIONS),
                TlsPort::Shared,
            )
        };
        let mut plain = both();
        plain.client.wires.send_plain(REQUEST);
        assert!(matches!(plain.read(), Poll::Ready(Ok(read)) if read == REQUEST));
        assert!(matches!(plain.write(b"answer"), Poll::Ready(Ok(6))));
        assert_eq!(plain.client.wires.received_plain(), "answer");
        assert_eq!(plain.counts(), []);
        let mut secured = both();
        secured.client.say(REQUEST);
        assert_eq!(secured.exchange(1).unwrap(), (REQUEST.to_vec(), false));
    }

    #[test]
    fn handshakes_that_fail_are_counted_by_reason() {
        let fails = |mut both: Both, count| {
            let error = both.exchange(usize::MAX).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert_eq!(both.counts(), [(count, 1)]);
        };
        let certificates = certificates(&["a.example"]);
        let with = |client| Both::new(&certificates, client, TlsPort::Only);
        let client = || Client::new("a.example", &VERSIONS);
        let none = Certificates::new(Vec::new()).unwrap();
        fails(Both::new(&none, client(), TlsPort::Only), Count::TlsUncertified);
        fails(with(Client::distrusting("a.example")), Count::TlsDistrusted);
        fails(
            with(Client::of_protocol("a.example", b"h2")),
            Count::TlsIncompatible,
        );
        fails(
            with(Client::of_protocol("a.example", CHALLENGE)),
            Count::TlsUncertified,
        );
        let both = with(client());
        both.handshakes.refuse(true);
        fails(both, Count::ShedTls);
    }

    #[test]
    fn junk_is_counted_whatever_it_is() {
        let certificates = certificates(&["a.example"]);
        for junk in [
            &b"\x16\x03\x01\0\x05junk!"[..],
            b"\0\0\0\0\0\0\0",
            b"\x80\x2e\x01\x03\x01",
            b"\x16\x03\x01\xff\xff",
            b"\x13BitTorrent protocol",
        ] {
            let client = Client::new("a.example", &VERSIONS);
            let mut both = Both::new(&certificates, client, TlsPort::Only);
            both.client.wires.send_plain(junk);
            let error = both.exchange(0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert_eq!(both.counts(), [(Count::TlsMalformed, 1)], "{junk:?}");
        }
    }

    #[test]
    fn a_client_that_leaves_in_the_middle_is_counted_and_one_that_only_looked_is_not() {
        let mut both = Both::of(&version::TLS13);
        both.client.send(100);
        assert!(both.read().is_pending());
        both.client.wires.close();
        assert!(matches!(both.read(), Poll::Ready(Ok(none)) if none.is_empty()));
        assert_eq!(both.counts(), [(Count::TlsUnfinished, 1)]);
        let mut both = Both::of(&version::TLS13);
        both.client.send(100);
        assert!(both.read().is_pending());
        drop(both.server.take());
        assert_eq!(both.counts(), [(Count::TlsUnfinished, 1)]);
        let mut both = Both::of(&version::TLS13);
        both.client.wires.close();
        assert!(matches!(both.read(), Poll::Ready(Ok(none)) if none.is_empty()));
        assert_eq!(both.counts(), []);
    }

    #[test]
    fn a_handshake_that_never_ends_is_bounded() {
        let mut both = Both::of(&version::TLS13);
        // One message in many records, which claims to be as long as rustls would collect.
        let mut record = vec![22, 3, 1, 0x10, 0, 1, 0, 0xff, 0xf0];
        record.resize(5 + 0x1000, 0);
        let mut sent = 0;
        let error = loop {
            assert!(sent < 2 * HANDSHAKE_MAX);
            both.client.wires.send_plain(&record);
            sent += record.len();
            match both.exchange(0) {
                Ok(waits) => assert_eq!(waits, (Vec::new(), false)),
                Err(error) => break error,
            }
            record[5..9].fill(0);
        };
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(both.counts(), [(Count::TlsMalformed, 1)]);
    }

    #[test]
    fn a_handshake_is_made_once_it_is_permitted_and_paid_for_by_who_is_named() {
        let named: SocketAddr = "203.0.113.9:4000".parse().unwrap();
        for (client, source) in [(None, PEER), (Some(named), named.ip())] {
            for permitted in [true, false] {
                let mut both = Both::of(&version::TLS13);
                both.client.wires.name(client);
                both.client.say(b"x");
                both.client.send(usize::MAX);
                let (server, cx) = (
                    both.server.as_mut().unwrap(),
                    &mut Context::from_waker(Waker::noop()),
                );
                let mut buffer = [0; 4096];
                assert_eq!(server.handshake_source(), None);
                for _ in 0..2 {
                    assert!(server.poll_read(cx, &mut buffer).is_pending());
                    assert_eq!(server.handshake_source(), Some(source));
                    assert_eq!(both.client.wires.to_client_len(), 0);
                }
                server.permit_handshake(permitted);
                assert_eq!(server.handshake_source(), None);
                let read = server.poll_read(cx, &mut buffer);
                assert_eq!((server.take_client(), server.take_client()), (client, None));
                if permitted {
                    assert!(read.is_pending());
                    both.client.receive();
                    assert_eq!(both.exchange(usize::MAX).unwrap(), (b"x".to_vec(), false));
                } else {
                    assert!(matches!(read, Poll::Ready(Ok(0))));
                    drop(both.server.take());
                    assert_eq!((both.client.wires.to_client_len(), both.counts()), (0, vec![]));
                }
            }
        }
    }

    #[test]
    fn others_have_their_turn_between_handshakes() {
        let certificates = certificates(&["a.example"]);
        let handshakes = Rc::new(Handshakes::new(Arc::new(Counters::default())));
        let mut all: Vec<_> = (0..10)
            .map(|_| {
                let mut client = Client::new("a.example", &VERSIONS);
                client.send(usize::MAX);
                let wires = client.wires.clone();
                Secured::new(&certificates, wires, PEER, TlsPort::Only, Rc::clone(&handshakes))
            })
            .collect();
        let answered = |all: &[Secured<Wires>]| {
            all.iter()
                .filter(|server| server.stream.to_client_len() > 0)
                .count()
        };
        for turn in 1..=5 {
            for server in &mut all {
                assert!(poll_permitted(server, &mut [0; 4096]).is_pending());
            }
            assert_eq!(answered(&all), 2 * turn);
            handshakes.renew();
        }
    }
}
