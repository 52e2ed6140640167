//! TLS to a target: whom to believe, the handshake, and what went wrong in words. TLS itself is rustls.

use crate::plain;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::Path,
    sync::{Arc, LazyLock},
    thread,
    time::{Duration, Instant},
};

/// Whose certificates are believed of https:// URLs.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The system's CAs, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    #[default]
    System,
    /// These CAs alone.
    Cas(Arc<RootCertStore>),
    /// Whoever answers.
    Anyone,
}

impl Trust {
    /// The CAs of a PEM file.
    ///
    /// # Errors
    /// A line that says why the file is not to be read, or that it holds no certificate.
    pub fn in_file(file: &Path) -> Result<Self, String> {
        let text = fs::read(file).map_err(|error| plain(&error))?;
        let mut cas = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| error.to_string())?;
            cas.add(certificate)
                .map_err(|_| "it holds a certificate that is not readable".to_owned())?;
        }
        if cas.is_empty() {
            return Err("it holds no certificate (PEM)".to_owned());
        }
        Ok(Self::Cas(Arc::new(cas)))
    }

    /// How a client of these versions begins: with the name of the target, and no other protocol than HTTP/1.1.
    pub(crate) fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(&provider)?;
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let builder = builder.map_err(|error| error.to_string())?.dangerous();
        let mut config = builder
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let cas = match self {
            Self::Anyone => return Ok(Arc::new(Anyone(Arc::clone(provider)))),
            Self::Cas(cas) => cas,
            Self::System => &SYSTEM_CAS,
        };
        if cas.is_empty() {
            return Err("this system has no CAs: name one with --ca FILE".to_owned());
        }
        let built =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(cas), Arc::clone(provider)).build();
        built
            .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
            .map_err(|error| error.to_string())
    }
}

static SYSTEM_CAS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut cas = RootCertStore::empty();
    // Systems carry certificates that nobody reads any longer.
    cas.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(cas)
});

/// The first bytes that a client of the configuration sends: its hello.
pub(crate) fn hello(config: ClientConfig, name: ServerName<'static>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let begun = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string());
    begun?.write_tls(&mut bytes).map_err(|error| plain(&error))?;
    Ok(bytes)
}

/// Completes a handshake within `limit`, or says why not.
pub(crate) fn shake_hands(
    connection: &mut ClientConnection,
    wire: &mut Wire<'_>,
    limit: Duration,
) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    let late = || "the handshake is not complete in time".to_owned();
    while connection.is_handshaking() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        let _ = wire.stream.set_read_timeout(Some(left));
        let done = if connection.wants_write() {
            connection.write_tls(wire).map(drop)
        } else {
            connection.read_tls(wire).and_then(|len| {
                if len == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                connection
                    .process_new_packets()
                    .map_err(io::Error::other)
                    .map(drop)
            })
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(late());
            }
            Err(error) => return Err(words(&error)),
            Ok(()) => {}
        }
    }
    // The client's last message, which the tracker waits for.
    while connection.wants_write() {
        connection.write_tls(wire).map_err(|error| words(&error))?;
    }
    Ok(())
}

/// What went wrong in a handshake.
fn words(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    match (cause, error.kind()) {
        (Some(cause), _) => reason(cause),
        (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            "the handshake is cut off".to_owned()
        }
        (None, _) => plain(error),
    }
}

fn reason(error: &Error) -> String {
    match error {
        // A CA of the same name, and another key, is no better.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the certificate is of an unknown issuer: name its CA with --ca FILE, or try --insecure"
                .to_owned()
        }
        Error::InvalidCertificate(fault) => format!("the certificate is not believed: {fault}"),
        Error::InvalidMessage(_) => "what it says is not TLS: plain HTTP perhaps".to_owned(),
        Error::AlertReceived(alert) => format!("the handshake is refused with the alert {alert:?}"),
        other => other.to_string(),
    }
}

/// A socket that is written to in pieces.
#[derive(Debug)]
pub(crate) struct Wire<'a> {
    stream: &'a TcpStream,
    piece_max: usize,
}

impl<'a> Wire<'a> {
    pub(crate) const fn new(stream: &'a TcpStream, piece_max: usize) -> Self {
        Self { stream, piece_max }
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.piece_max);
        let written = self.stream.write(&bytes[..len])?;
        if len < bytes.len() {
            thread::sleep(PIECE_PAUSE);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Believes any certificate; the handshake still proves that the target has its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What keeps pieces apart on their way.
const PIECE_PAUSE: Duration = Duration::from_micros(200);
