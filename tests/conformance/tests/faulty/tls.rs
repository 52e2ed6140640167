//! The TLS side: a certificate of its own, and what can be done wrong with it.

use super::{State, fault::Fault};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    HandshakeKind, ServerConfig, ServerConnection, Stream,
    crypto::ring::{self, Ticketer},
    pki_types::PrivateKeyDer,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    /// The CA of the certificate, in PEM.
    pub(crate) ca: String,
}

impl Tls {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        let (resolver, ca) = certificate(fault == Some(Fault::NameRequired));
        let versions = if fault == Some(Fault::Tls12Refused) {
            &[&TLS13][..]
        } else {
            &[&TLS13, &TLS12]
        };
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).expect("versions");
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = Ticketer::new().expect("a ticketer");
        match fault {
            Some(Fault::H2Promised) => config.alpn_protocols = vec![b"h2".to_vec()],
            Some(Fault::NothingIsResumed) => {
                config.ticketer = Arc::new(NoTickets);
                config.session_storage = Arc::new(NoServerSessionStorage {});
            }
            Some(Fault::EarlyDataOffered) => {
                config.ticketer = Arc::new(NoTickets);
                config.max_early_data_size = 1000;
            }
            _ => {}
        }
        let config = Arc::new(config);
        Self { config, ca }
    }
}

/// A certificate of a CA that is made for it.
fn certificate(named: bool) -> (Resolver, String) {
    let mut ca = CertificateParams::new(Vec::new()).expect("a CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("a CA");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names).and_then(|params| params.signed_by(&key, &ca));
    let chain = vec![certificate.expect("a certificate").der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let key = ring::sign::any_ecdsa_type(&key).expect("a key");
    let pair = Arc::new(CertifiedKey::new(chain, key));
    (Resolver { pair, named }, ca.pem())
}

#[derive(Debug)]
struct Resolver {
    pair: Arc<CertifiedKey>,
    /// Clients have to name the server.
    named: bool,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        (!self.named || hello.server_name().is_some()).then(|| Arc::clone(&self.pair))
    }
}

#[derive(Debug)]
struct NoTickets;

impl rustls::server::ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// A connection as the HTTP side sees it: plain, or under TLS.
pub(crate) struct Line {
    pub(crate) stream: TcpStream,
    tls: Option<ServerConnection>,
}

impl Line {
    /// Agrees on TLS if that is spoken; nothing if it is not agreed upon.
    pub(crate) fn new(state: &State, mut stream: TcpStream) -> Option<Self> {
        let Some(shared) = &state.tls else {
            return Some(Self { stream, tls: None });
        };
        let mut first = [0; 11];
        let deadline = Instant::now() + state.patience(3);
        let _ = stream.set_read_timeout(Some(state.patience(3)));
        let len = stream.peek(&mut first).ok().filter(|len| *len > 0)?;
        if first[0] != HANDSHAKE && state.has(Fault::PlainHangs) {
            thread::sleep(state.patience(600));
        }
        if len == first.len() && first[10] < 3 && state.has(Fault::OldHellosTaken) {
            let _ = stream.write_all(&[HANDSHAKE, 3, first[10], 0, 4, 2, 0, 0, 0]);
            return None;
        }
        let mut tls = ServerConnection::new(Arc::clone(&shared.config)).ok()?;
        shake_hands(state, &mut tls, &mut stream, deadline)?;
        let is_resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let tls = (!is_resumed || !state.has(Fault::TicketsBreak)).then_some(tls)?;
        Some(Self {
            stream,
            tls: Some(tls),
        })
    }

    /// Whether the client ended the stream without close_notify.
    pub(crate) fn is_cut(&mut self) -> bool {
        let _ = self.stream.set_read_timeout(Some(Duration::from_millis(200)));
        matches!(self.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::UnexpectedEof)
    }

    /// Ends the sending side.
    pub(crate) fn shut_down(&mut self, in_order: bool) {
        if let Some(tls) = self.tls.as_mut().filter(|_| in_order) {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut self.stream);
        }
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// Reads and writes until the handshake is complete.
fn shake_hands(
    state: &State,
    tls: &mut ServerConnection,
    stream: &mut TcpStream,
    deadline: Instant,
) -> Option<()> {
    let mut reads = 0;
    while tls.is_handshaking() || tls.wants_write() {
        if tls.wants_write() {
            tls.write_tls(stream).ok()?;
            continue;
        }
        let kept = state.has(Fault::SlowHandshakesKept);
        let left = if kept {
            state.patience(600)
        } else {
            deadline.saturating_duration_since(Instant::now())
        };
        let _ = stream.set_read_timeout(Some(left.max(Duration::from_millis(1))));
        let is_late = left.is_zero();
        if is_late || tls.read_tls(stream).ok()? == 0 {
            return None;
        }
        reads += 1;
        if tls.process_new_packets().is_err() {
            // The alert that says why.
            let _ = tls.write_tls(stream);
            // A record after the handshake may come in the same segment as its end.
            if !tls.is_handshaking() && state.has(Fault::ForgedRecordsKept) {
                thread::sleep(state.patience(600));
            }
            return None;
        }
        if reads == 1 && !tls.wants_write() && state.has(Fault::HelloInOnePiece) {
            return None;
        }
    }
    Some(())
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => Stream::new(tls, &mut self.stream).read(buffer),
            None => self.stream.read(buffer),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => Stream::new(tls, &mut self.stream).write(bytes),
            None => self.stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => Stream::new(tls, &mut self.stream).flush(),
            None => self.stream.flush(),
        }
    }
}

/// The first byte of TLS.
const HANDSHAKE: u8 = 22;
