//! Whose certificates are believed.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore, SupportedProtocolVersion};

use crate::anyone::Anyone;
use crate::words::plain;

/// Whose certificates are believed.
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
    /// The file cannot be read, or holds no certificate, or one that cannot be read.
    pub fn in_file(file: &Path) -> Result<Self, TrustError> {
        let text = fs::read(file).map_err(TrustError::File)?;
        let mut cas = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(TrustError::Pem)?;
            cas.add(certificate).map_err(|_| TrustError::Unreadable)?;
        }
        if cas.is_empty() {
            return Err(TrustError::Empty);
        }
        Ok(Self::Cas(Arc::new(cas)))
    }

    /// How a client of these versions begins: with ring, and no other protocol inside than HTTP/1.1 (ALPN).
    ///
    /// # Errors
    /// There are no CAs, or the versions fit no cipher suite.
    pub fn config(&self, versions: &[&'static SupportedProtocolVersion]) -> Result<ClientConfig, TrustError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = self.verifier(Arc::clone(&provider))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(TrustError::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Checks now the certificates that a server has shown, its own first, as a handshake does.
    ///
    /// # Errors
    /// Why they are not believed; [`explain`](crate::explain) puts it into words.
    pub fn check(&self, shown: &[CertificateDer<'_>], name: &ServerName<'_>) -> Result<(), Error> {
        let Some((own, chain)) = shown.split_first() else {
            return Err(CertificateError::BadEncoding.into());
        };
        let verifier = self
            .verifier(Arc::new(ring::default_provider()))
            .map_err(|_| CertificateError::UnknownIssuer)?;
        verifier
            .verify_server_cert(own, chain, name, &[], UnixTime::now())
            .map(drop)
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
        let cas = match self {
            Self::Anyone => return Ok(Arc::new(Anyone(provider))),
            Self::Cas(cas) => cas,
            Self::System => &SYSTEM_CAS,
        };
        // What the builder refuses: its other errors are of lists of revoked certificates.
        if cas.is_empty() {
            return Err(TrustError::NoCas);
        }
        WebPkiServerVerifier::builder_with_provider(Arc::clone(cas), provider)
            .build()
            .map(|verifier| verifier as Arc<dyn ServerCertVerifier>)
            .map_err(|_| TrustError::NoCas)
    }
}

static SYSTEM_CAS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut cas = RootCertStore::empty();
    // Systems carry certificates that nobody reads any longer.
    cas.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(cas)
});

/// Why no certificate can be checked. Shown as the rest of a line that begins with a file's name.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrustError {
    /// The file cannot be read.
    File(io::Error),
    /// What it holds is not PEM.
    Pem(pem::Error),
    /// It holds a certificate that cannot be read.
    Unreadable,
    /// It holds no certificate.
    Empty,
    /// The system has no CAs.
    NoCas,
    /// The versions fit no cipher suite.
    Setup(Error),
}

impl fmt::Display for TrustError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => f.write_str(&plain(error)),
            Self::Pem(error) => error.fmt(f),
            Self::Unreadable => f.write_str("it holds a certificate that is not readable"),
            Self::Empty => f.write_str("it holds no certificate (PEM)"),
            Self::NoCas => {
                f.write_str("this system has no CAs (install ca-certificates): name one with --ca FILE")
            }
            Self::Setup(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TrustError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Pem(error) => Some(error),
            Self::Setup(error) => Some(error),
            Self::Unreadable | Self::Empty | Self::NoCas => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    use super::*;
    use crate::explain;

    fn ca() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn file(name: &str, content: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("etracker-trust-{name}-{}", std::process::id()));
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn the_cas_of_a_file_and_no_others_are_believed() {
        let (ca, other, key) = (ca(), ca(), KeyPair::generate().unwrap());
        let params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        let own = params.signed_by(&key, &ca).unwrap().der().clone();
        let name = |name: &'static str| ServerName::try_from(name).unwrap();
        let trusting = |pem: &str, name: &str| {
            let path = file(name, pem);
            let trust = Trust::in_file(&path).unwrap();
            fs::remove_file(path).unwrap();
            trust
        };
        let shown = [own];
        let trust = trusting(&ca.pem(), "own");
        assert_eq!(trust.check(&shown, &name("a.example")), Ok(()));
        let fault = trust.check(&shown, &name("b.example")).unwrap_err();
        assert!(explain(&fault).contains("is for a.example, not for b.example"));
        let both = trusting(&(other.pem() + &ca.pem()), "both");
        assert_eq!(both.check(&shown, &name("a.example")), Ok(()));
        let stranger = trusting(&other.pem(), "other");
        let fault = stranger.check(&shown, &name("a.example")).unwrap_err();
        assert!(explain(&fault).contains("of an unknown issuer"), "{fault}");
        assert_eq!(Trust::Anyone.check(&shown, &name("b.example")), Ok(()));
        assert!(Trust::Anyone.check(&[], &name("b.example")).is_err());
    }

    #[test]
    fn what_is_no_file_of_cas_is_said() {
        for (name, content, fault) in [
            ("empty", "", "it holds no certificate (PEM)"),
            ("cut", "-----BEGIN CERTIFICATE-----\nAA", "section end"),
            (
                "odd",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "it holds a certificate that is not readable",
            ),
        ] {
            let path = file(name, content);
            let error = Trust::in_file(&path).unwrap_err().to_string();
            fs::remove_file(path).unwrap();
            assert!(error.contains(fault), "{error}");
        }
        let error = Trust::in_file(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error.to_string(), "No such file or directory");
    }
}
