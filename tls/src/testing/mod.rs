//! What the tests share: certificates, and clients at the other end of a wire in memory.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use etracker_runtime_common::Stream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    SupportedProtocolVersion, version,
};

use crate::provider::provider;
use crate::{Certificates, Pair, Secured};

/// A certificate and its key, in PEM.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// A certificate for these names, with a key for ECDSA.
pub(crate) fn issue(names: &[&str]) -> Issued {
    issue_with(names, &rcgen::KeyPair::generate().unwrap())
}

/// A certificate for these names, with a key for RSA.
pub(crate) fn issue_rsa(names: &[&str]) -> Issued {
    issue_with(names, &rcgen::KeyPair::from_pem(include_str!("rsa.pem")).unwrap())
}

fn issue_with(names: &[&str], key: &rcgen::KeyPair) -> Issued {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let params = rcgen::CertificateParams::new(names).unwrap();
    Issued {
        chain: params.self_signed(key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

/// What proves a name to an ACME directory.
pub(crate) fn proof(name: &str) -> Pair {
    let (mut params, key) = (
        rcgen::CertificateParams::new([name.to_owned()]).unwrap(),
        rcgen::KeyPair::generate().unwrap(),
    );
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&[7; 32])];
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Pair::for_challenge(certificate, key.into()).unwrap()
}

impl Issued {
    pub(crate) fn pair(&self) -> Pair {
        Pair::from_pem(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }
}

/// One certificate for these names.
pub(crate) fn certificates(names: &[&str]) -> Certificates {
    Certificates::new(vec![issue(names).pair()]).unwrap()
}

/// The other end of all connections.
pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Reads, and permits a handshake that waits for that.
pub(crate) fn poll_permitted(server: &mut Secured<Wires>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    let cx = &mut Context::from_waker(Waker::noop());
    let read = server.poll_read(cx, buffer);
    if server.handshake_source().is_none() {
        return read;
    }
    server.permit_handshake(true);
    server.poll_read(cx, buffer)
}

/// The two directions of a connection in memory.
#[derive(Clone, Debug)]
pub(crate) struct Wires(Rc<RefCell<BothWays>>);

#[derive(Debug)]
struct BothWays {
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// Bytes that the client takes before it is asked again.
    takes: usize,
    /// How often the server has written.
    writes: usize,
    /// The client whom a proxy has named.
    named: Option<SocketAddr>,
    closed: bool,
    shut_down: bool,
}

impl Wires {
    fn new() -> Self {
        Self(Rc::new(RefCell::new(BothWays {
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            takes: usize::MAX,
            writes: 0,
            named: None,
            closed: false,
            shut_down: false,
        })))
    }

    /// The client sends nothing more.
    pub(crate) fn close(&self) {
        self.0.borrow_mut().closed = true;
    }

    pub(crate) fn takes(&self, len: usize) {
        self.0.borrow_mut().takes = len;
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.0.borrow().shut_down
    }

    pub(crate) fn name(&self, client: Option<SocketAddr>) {
        self.0.borrow_mut().named = client;
    }

    pub(crate) fn writes(&self) -> usize {
        self.0.borrow().writes
    }

    pub(crate) fn to_client_len(&self) -> usize {
        self.0.borrow().to_client.len()
    }

    pub(crate) fn send_plain(&self, bytes: &[u8]) {
        self.0.borrow_mut().to_server.extend(bytes);
    }

    pub(crate) fn received_plain(&self) -> String {
        let bytes: Vec<u8> = self.0.borrow_mut().to_client.drain(..).collect();
        String::from_utf8(bytes).unwrap()
    }
}

impl Stream for Wires {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.try_read(buffer) {
            Err(_) => Poll::Pending,
            read => Poll::Ready(read),
        }
    }

    fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut wires = self.0.borrow_mut();
        let len = bytes.len().min(wires.takes);
        if len == 0 {
            return Poll::Pending;
        }
        wires.takes -= len;
        wires.writes += 1;
        wires.to_client.extend(&bytes[..len]);
        Poll::Ready(Ok(len))
    }

    fn take_client(&mut self) -> Option<SocketAddr> {
        self.0.borrow_mut().named.take()
    }

    fn give_way(&self, _: &mut Context<'_>) {}

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wires = self.0.borrow_mut();
        if wires.to_server.is_empty() && !wires.closed {
            return Err(ErrorKind::WouldBlock.into());
        }
        wires.to_server.read(buffer)
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().shut_down = true;
        Ok(())
    }
}

/// A client over TLS.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) tls: ClientConnection,
    pub(crate) wires: Wires,
    heard: Vec<u8>,
    heard_goodbye: bool,
    unsent: VecDeque<u8>,
    config: Arc<ClientConfig>,
    name: String,
}

impl Client {
    pub(crate) fn new(name: &str, versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self::with_config(name, config(versions, Trust::All))
    }

    pub(crate) fn distrusting(name: &str) -> Self {
        Self::with_config(name, config(&[&version::TLS13], Trust::Nobody))
    }

    pub(crate) fn of_protocol(name: &str, protocol: &[u8]) -> Self {
        let mut config = config(&[&version::TLS13], Trust::All);
        config.alpn_protocols = vec![protocol.to_vec()];
        Self::with_config(name, config)
    }

    /// A client that names this server or none, and checks signatures by RSA alone, if it is to.
    pub(crate) fn checking(name: Option<&str>, rsa_alone: bool) -> Self {
        let trust = if rsa_alone { Trust::Rsa } else { Trust::All };
        let mut config = config(&[&version::TLS13], trust);
        config.enable_sni = name.is_some();
        Self::with_config(name.unwrap_or("x.example"), config)
    }

    fn with_config(name: &str, config: impl Into<Arc<ClientConfig>>) -> Self {
        let (config, server) = (config.into(), ServerName::try_from(name.to_owned()).unwrap());
        Self {
            tls: ClientConnection::new(Arc::clone(&config), server).unwrap(),
            wires: Wires::new(),
            heard: Vec::new(),
            heard_goodbye: false,
            unsent: VecDeque::new(),
            config,
            name: name.to_owned(),
        }
    }

    /// The same client, over another connection. It resumes the session, if it has a ticket by now.
    pub(crate) fn again(&self) -> Self {
        Self::with_config(&self.name, Arc::clone(&self.config))
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).unwrap();
    }

    /// Sends at most `len` bytes; whether there were any.
    pub(crate) fn send(&mut self, len: usize) -> bool {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.unsent).unwrap();
        }
        let len = len.min(self.unsent.len());
        let now: Vec<u8> = self.unsent.drain(..len).collect();
        self.wires.send_plain(&now);
        len > 0
    }

    /// Takes what the server sent; whether there was anything.
    pub(crate) fn receive(&mut self) -> bool {
        let bytes: Vec<u8> = self.wires.0.borrow_mut().to_client.drain(..).collect();
        let mut rest = &bytes[..];
        while !rest.is_empty() && self.tls.read_tls(&mut rest).unwrap() > 0 {
            if self.tls.process_new_packets().is_err() {
                break;
            }
            self.hear();
        }
        !bytes.is_empty()
    }

    fn hear(&mut self) {
        let mut buffer = [0; 32 << 10];
        while let Ok(len) = self.tls.reader().read(&mut buffer) {
            self.heard.extend(&buffer[..len]);
            if len == 0 {
                self.heard_goodbye = true;
                return;
            }
        }
    }

    pub(crate) fn heard(&self) -> &[u8] {
        &self.heard
    }

    pub(crate) const fn heard_goodbye(&self) -> bool {
        self.heard_goodbye
    }

    /// The certificate that the server has shown.
    pub(crate) fn shown(&self) -> Option<CertificateDer<'static>> {
        Some(self.tls.peer_certificates()?.first()?.clone().into_owned())
    }
}

fn config(versions: &[&'static SupportedProtocolVersion], trust: Trust) -> ClientConfig {
    let mut provider = provider();
    // As OpenSSL does: what takes most goes first.
    provider.cipher_suites.reverse();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Whom a client trusts. Signatures are not checked.
#[derive(Debug)]
enum Trust {
    All,
    Nobody,
    /// Everybody, by signatures with RSA alone.
    Rsa,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self {
            Self::All | Self::Rsa => Ok(ServerCertVerified::assertion()),
            Self::Nobody => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Self::All | Self::Nobody => provider().signature_verification_algorithms.supported_schemes(),
            Self::Rsa => vec![SignatureScheme::RSA_PSS_SHA256],
        }
    }
}
