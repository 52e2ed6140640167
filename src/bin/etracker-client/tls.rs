//! TLS to a tracker, and what is wrong with it in words.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "errors of the library that are not put into words here say themselves what they are"
)]

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use etracker_runtime_common::Plain;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, StreamOwned,
};

use crate::answer::{Failure, is_timeout};
use crate::timed::Timed;

/// Whose certificates are believed.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// The system's CAs, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    System,
    /// These CAs alone. Invariant: at least one.
    Cas(Arc<RootCertStore>),
    /// Whoever answers.
    Anyone,
}

impl Trust {
    /// The CAs of a PEM file.
    pub(crate) fn in_file(file: &Path) -> Result<Self, String> {
        let text = std::fs::read(file).map_err(|error| Plain(&error).to_string())?;
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

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Failure> {
        let cas = match self {
            Self::Anyone => return Ok(Arc::new(Anyone(provider))),
            Self::Cas(cas) => Arc::clone(cas),
            Self::System => Arc::new(system_cas()?),
        };
        let built = WebPkiServerVerifier::builder_with_provider(cas, provider).build();
        built
            .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
            .map_err(|error| Failure::Tls(error.to_string()))
    }
}

fn system_cas() -> Result<RootCertStore, Failure> {
    let found = rustls_native_certs::load_native_certs();
    let mut cas = RootCertStore::empty();
    // Systems carry certificates that nobody reads any longer.
    cas.add_parsable_certificates(found.certs);
    if cas.is_empty() {
        let reason = "this system has no CAs (install ca-certificates): name one with --ca FILE";
        return Err(Failure::Tls(reason.to_owned()));
    }
    Ok(cas)
}

/// Agrees with the tracker at the other end, which must have a certificate for `host`.
pub(crate) fn secured(
    stream: Timed,
    host: &str,
    trust: &Trust,
) -> Result<StreamOwned<ClientConnection, Timed>, Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::Tls(format!("{host} is no name that a certificate can hold")))?;
    let provider = Arc::new(ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let mut config = config
        .map_err(|error| Failure::Tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(trust.verifier(provider)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connection = ClientConnection::new(Arc::new(config), name);
    let connection = connection.map_err(|error| Failure::Tls(error.to_string()))?;
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        shake_hands(&mut stream).map_err(|error| failure(&error))?;
    }
    Ok(stream)
}

/// One step of the handshake.
fn shake_hands(stream: &mut StreamOwned<ClientConnection, impl Read + Write>) -> io::Result<()> {
    match stream.conn.complete_io(&mut stream.sock) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        done => done.map(drop),
    }
}

/// Why there is no TLS.
fn failure(error: &io::Error) -> Failure {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    if let Some(cause) = cause {
        return Failure::Tls(reason(cause));
    }
    if is_timeout(error) {
        return Failure::Tls("the tracker does not answer the handshake".to_owned());
    }
    Failure::Tls(match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the tracker cuts the handshake off".to_owned()
        }
        _ => Plain(error).to_string(),
    })
}

fn reason(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(fault) => format!("its certificate {}", certificate_fault(fault)),
        // The first bytes that come are not a record's: mostly "HTTP".
        Error::InvalidMessage(_) => {
            "what it says is not TLS; it may speak plain HTTP at this port".to_owned()
        }
        Error::AlertReceived(alert) => format!("it refuses the handshake with the alert {alert:?}"),
        Error::PeerIncompatible(_) => {
            "it has no version or cipher suite of TLS 1.2 or 1.3 in common".to_owned()
        }
        other => other.to_string(),
    }
}

fn certificate_fault(fault: &CertificateError) -> String {
    match fault {
        // A CA of the same name, and another key, is no better.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is of an unknown issuer: name its CA with --ca FILE, or see whether the tracker sends its whole chain".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: is the clock right here?".to_owned()
        }
        CertificateError::NotValidForName => "is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "is for {}, not for {}",
            presented.join(", "),
            expected.to_str()
        ),
        CertificateError::Other(other) if other.to_string() == CA_AS_SERVER => {
            "is a CA's own, which is no server's: have the CA sign one for the tracker".to_owned()
        }
        other => format!("is not believed: {other}"),
    }
}

/// What the verifier says of a certificate that `openssl req -x509` makes.
const CA_AS_SERVER: &str = "CaUsedAsEndEntity";

/// Believes any certificate; the handshake still proves that the tracker has its key.
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
