//! TLS of clients, which believe every certificate: what is measured is the tracker's work, and a client's is kept small.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
    SupportedProtocolVersion,
};

/// How clients agree on TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// TLS 1.3, the key exchange and the certificate each time.
    Full13,
    /// The same in TLS 1.2.
    Full12,
    /// TLS 1.2, after the first by the ticket or the id of a session.
    Resumed12,
}

impl Handshake {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Full13 => "HTTPS, a connection and a full handshake of TLS 1.3 per request",
            Self::Full12 => "HTTPS, a connection and a full handshake of TLS 1.2 per request",
            Self::Resumed12 => "HTTPS, a connection and a resumed handshake of TLS 1.2 per request",
        }
    }

    const fn version(self) -> &'static SupportedProtocolVersion {
        match self {
            Self::Full13 => &TLS13,
            Self::Full12 | Self::Resumed12 => &TLS12,
        }
    }
}

/// What the clients of a tracker share: their configuration, and sessions to resume.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    pub(crate) fn new(handshake: Handshake) -> io::Result<Self> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&[handshake.version()]);
        let mut config = builder
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if handshake != Handshake::Resumed12 {
            config.resumption = Resumption::disabled();
        }
        Ok(Self(Arc::new(config)))
    }

    /// The beginning of a connection.
    pub(crate) fn session(&self) -> io::Result<Session> {
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name);
        Ok(Session(Box::new(connection.map_err(io::Error::other)?)))
    }
}

/// One connection's TLS.
pub(crate) struct Session(Box<ClientConnection>);

impl Session {
    /// Sends a request, or the beginning of the handshake that it follows. A tracker that closed meanwhile is found when it
    /// is read from.
    pub(crate) fn send(&mut self, stream: &mut TcpStream, request: &[u8]) -> io::Result<()> {
        self.0.writer().write_all(request)?;
        self.flush(stream);
        Ok(())
    }

    /// Takes what is there, and goes on with the handshake; whether the tracker has closed.
    pub(crate) fn receive(&mut self, stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            match self.0.read_tls(stream) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(true),
                Err(error) => return Err(error),
            }
            let state = self.0.process_new_packets().map_err(io::Error::other)?;
            self.flush(stream);
            let before = input.len();
            input.resize(before + state.plaintext_bytes_to_read(), 0);
            self.0.reader().read_exact(&mut input[before..])?;
        }
    }

    /// What a client begins with.
    pub(crate) fn hello(&mut self) -> io::Result<Vec<u8>> {
        let mut hello = Vec::new();
        self.0.write_tls(&mut hello)?;
        Ok(hello)
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.0.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Handshakes and requests fit into any socket's buffer.
    fn flush(&mut self, stream: &mut TcpStream) {
        while self.0.wants_write() && self.0.write_tls(stream).is_ok() {}
    }
}

/// Believes every certificate and every signature.
#[derive(Debug)]
struct Anyone;

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
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::RSA_PSS_SHA256,
        ]
    }
}
