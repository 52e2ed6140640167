//! The stream inside an encrypted connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use etracker_runtime_common::{Handshakes, Stream, TlsPort};
use etracker_tls::{Certificates, Pair, Secured};
use etracker_tls_client::Trust;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, version};

/// What comes over a connection for TLS: any bytes, or those of a client, cut anywhere, changed, and ended at any point.
///
/// - Nothing panics.
/// - What is heard of a client is the beginning of what it said, whatever was done to its bytes.
/// - The server sends no more than a handshake, an alert for it, and what it is given to write.
/// - Once the stream has ended, or failed, it stays so.
pub fn tls_stream(input: &[u8]) {
    let Some((&first, rest)) = input.split_first() else {
        return;
    };
    let is_raw = first & 2 == 0;
    let port = if is_raw && first & 1 == 1 {
        TlsPort::Shared
    } else {
        TlsPort::Only
    };
    let mut talk = Talk::new(port);
    if is_raw {
        talk.hear_raw(rest, port);
    } else {
        let is_newest = first & 4 == 0;
        talk.hear_client(rest, is_newest);
    }
}

/// The server's side, and what is between it and the client.
struct Talk {
    server: Secured<Pipe>,
    pipe: Pipe,
    handshakes: Rc<Handshakes>,
    heard: Vec<u8>,
    /// Whether the stream has ended or failed.
    is_over: bool,
    /// Whether the client has said goodbye. What it would make of more is rustls's, which asserts that nothing is said after that.
    client_is_over: bool,
    written: usize,
}

impl Talk {
    fn new(port: TlsPort) -> Self {
        let (pipe, handshakes) = (Pipe::default(), Rc::new(Handshakes::new(Arc::default())));
        let server = Secured::new(certificates(), pipe.clone(), PEER, port, Rc::clone(&handshakes));
        Self {
            server,
            pipe,
            handshakes,
            heard: Vec::new(),
            is_over: false,
            client_is_over: false,
            written: 0,
        }
    }

    /// Pieces of bytes, each after its length.
    fn hear_raw(&mut self, mut rest: &[u8], port: TlsPort) {
        let mut sent = Vec::new();
        while let Some((&len, more)) = rest.split_first() {
            let (piece, more) = more.split_at(usize::from(len).min(more.len()));
            self.pipe.0.borrow_mut().to_server.extend(piece);
            sent.extend_from_slice(piece);
            self.read();
            rest = more;
        }
        self.pipe.0.borrow_mut().is_closed = true;
        self.read();
        // Without keys nothing is heard but what is plain, where that may be.
        let is_plain = port == TlsPort::Shared && sent.first() != Some(&22);
        assert!(if is_plain {
            sent == self.heard
        } else {
            self.heard.is_empty()
        });
    }

    fn hear_client(&mut self, rest: &[u8], is_newest: bool) {
        let mut client = client(is_newest);
        let (mut unsent, mut said) = (VecDeque::new(), Vec::new());
        for &operation in rest {
            while client.wants_write() {
                client.write_tls(&mut unsent).expect("memory takes all");
            }
            let few = usize::from(operation & 15);
            match operation >> 4 {
                0..8 => {
                    let len = (usize::from(operation) + 1) * 4;
                    let piece = unsent.drain(..len.min(unsent.len()));
                    self.pipe.0.borrow_mut().to_server.extend(piece);
                }
                8 | 9 => {
                    let bytes = vec![operation; (few + 1) * 100];
                    // One that was told of a fault says nothing more.
                    if client.writer().write_all(&bytes).is_ok() {
                        said.extend_from_slice(&bytes);
                    }
                }
                10 => {
                    if let Some(byte) = unsent.get_mut(few * 7) {
                        *byte ^= 1 << (few & 7);
                    }
                }
                11 => self
                    .pipe
                    .0
                    .borrow_mut()
                    .to_server
                    .extend(std::iter::repeat_n(operation, few + 1)),
                12 => self.pipe.0.borrow_mut().takes = few * 100,
                13 => self.write(few),
                14 => self.end(few, &mut client),
                _ => self.take(&mut client),
            }
            self.read();
            if unsent.len() > SAID_MAX {
                return;
            }
        }
        assert!(said.starts_with(&self.heard));
        self.assert_bounded();
    }

    fn read(&mut self) {
        self.handshakes.renew();
        let mut buffer = [0; 2048];
        loop {
            let cx = &mut Context::from_waker(Waker::noop());
            let mut read = self.server.poll_read(cx, &mut buffer);
            if read.is_pending() && self.server.handshake_source().is_some() {
                self.server.permit_handshake(true);
                read = self.server.poll_read(cx, &mut buffer);
            }
            match read {
                Poll::Ready(Ok(len @ 1..)) => {
                    assert!(!self.is_over, "the stream goes on after its end");
                    self.heard.extend_from_slice(&buffer[..len]);
                }
                Poll::Ready(_) => {
                    self.is_over = true;
                    return;
                }
                Poll::Pending => return,
            }
        }
    }

    fn write(&mut self, few: usize) {
        if few == 15 {
            self.server.end_with_write();
        }
        let bytes = [7; 700];
        // An answer that is not taken whole is offered again, as a driver does; another one would be told from it by its length alone.
        let written = self
            .server
            .poll_write(&mut Context::from_waker(Waker::noop()), &bytes);
        self.written += 1;
        if let Poll::Ready(Ok(len)) = written {
            assert!(0 < len && len <= bytes.len());
        }
    }

    fn end(&mut self, few: usize, client: &mut ClientConnection) {
        match few % 3 {
            0 => self.pipe.0.borrow_mut().is_closed = true,
            1 => {
                client.send_close_notify();
                self.client_is_over = true;
            }
            _ => drop(self.server.shut_down_write()),
        }
    }

    /// Has the client take what the server sent.
    fn take(&self, client: &mut ClientConnection) {
        let bytes: Vec<u8> = self.pipe.0.borrow_mut().to_client.drain(..).collect();
        let mut rest = if self.client_is_over { &[] } else { &bytes[..] };
        while !rest.is_empty() && client.read_tls(&mut rest).is_ok_and(|len| len > 0) {
            // Its bytes may have been changed, and its hello too.
            if client.process_new_packets().is_err() {
                return;
            }
            let mut heard = [0; 4096];
            while client.reader().read(&mut heard).is_ok_and(|len| len > 0) {}
        }
    }

    fn assert_bounded(&self) {
        let sent = self.pipe.0.borrow().sent;
        assert!(
            sent <= HANDSHAKE_MAX + self.written * 1000,
            "{sent} bytes were sent"
        );
    }
}

/// The two directions of a connection in memory.
#[derive(Clone, Debug, Default)]
struct Pipe(Rc<RefCell<BothWays>>);

#[derive(Debug)]
struct BothWays {
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// Bytes that the client takes before it is asked again.
    takes: usize,
    /// Bytes that the server has sent.
    sent: usize,
    is_closed: bool,
}

impl Default for BothWays {
    fn default() -> Self {
        Self {
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            takes: usize::MAX,
            sent: 0,
            is_closed: false,
        }
    }
}

impl Stream for Pipe {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.try_read(buffer) {
            Err(_) => Poll::Pending,
            read => Poll::Ready(read),
        }
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut pipe = self.0.borrow_mut();
        let len = bytes.len().min(pipe.takes);
        if len == 0 {
            return Poll::Pending;
        }
        pipe.takes -= len;
        pipe.sent += len;
        pipe.to_client.extend(&bytes[..len]);
        Poll::Ready(Ok(len))
    }

    fn give_way(&self, _: &mut Context<'_>) {}

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        if pipe.to_server.is_empty() && !pipe.is_closed {
            return Err(ErrorKind::WouldBlock.into());
        }
        pipe.to_server.read(buffer)
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn certificates() -> &'static Certificates {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let (chain, key) = (
            include_bytes!("../data/certificate.pem"),
            include_bytes!("../data/key.pem"),
        );
        let pair = Pair::from_pem(chain, key).expect("the pair fits");
        Certificates::new(vec![pair]).expect("there are random bytes")
    })
}

fn client(is_newest: bool) -> ClientConnection {
    static CONFIGS: OnceLock<[Arc<ClientConfig>; 2]> = OnceLock::new();
    let [older, newest] = CONFIGS.get_or_init(|| {
        [&version::TLS12, &version::TLS13].map(|version| {
            let config = Trust::Anyone.config(&[version]);
            Arc::new(config.expect("the provider has both versions"))
        })
    });
    let config = Arc::clone(if is_newest { newest } else { older });
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(config, name).expect("the configuration is complete")
}

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Bytes of a server's side of a handshake, with alerts and tickets.
const HANDSHAKE_MAX: usize = 4096;
/// Bytes of a client that wait to be sent.
const SAID_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that writes, and is delivered whole with all answers.
    #[test]
    fn what_a_client_says_is_heard_and_answered() {
        for is_newest in [true, false] {
            let mut talk = Talk::new(TlsPort::Only);
            let whole: Vec<u8> = std::iter::once(0x85).chain([0x7f, 0xff].repeat(8)).collect();
            talk.hear_client(&[&whole[..], &[0xd0, 0xe0]].concat(), is_newest);
            assert_eq!(talk.heard, [0x85; 600]);
            assert!(talk.is_over && talk.pipe.0.borrow().to_client.len() > 700);
        }
    }
}
