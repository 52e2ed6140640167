//! What brokers know this node by, and what it knows them by.

use std::fmt;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use async_nats::ConnectOptions;
use etracker_runtime_common::Plain;
use etracker_tls_client::Trust;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore};

use crate::files;
use crate::options::{ClusterOptions, Setting};

/// The content of the files that concern brokers.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(super) credentials: Credentials,
    pub(super) tls: ClientConfig,
}

/// What a broker is told.
#[derive(Clone)]
pub(super) enum Credentials {
    None,
    /// A user and a password.
    User(String, String),
    /// A file of NATS: a token and a key that signs.
    File(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(secret)")
    }
}

impl Access {
    /// Reads the files, if there is a cluster.
    ///
    /// # Errors
    /// One cannot be read, or holds something else.
    pub(crate) fn read(options: Option<&ClusterOptions>) -> Result<Option<Self>, AccessError> {
        options.map(Self::of).transpose()
    }

    fn of(options: &ClusterOptions) -> Result<Self, AccessError> {
        let credentials = options.credentials.as_ref().map(credentials).transpose()?;
        let tls = match &options.authorities {
            Some(file) => tls(Arc::new(roots_of(file)?))?,
            None if options.brokers.iter().any(|broker| broker.tls) => of_system()?,
            // A broker on loopback may demand TLS all the same: then a file has to say who vouches for it.
            None => tls(Arc::new(RootCertStore::empty()))?,
        };
        Ok(Self {
            credentials: credentials.unwrap_or(Credentials::None),
            tls,
        })
    }
}

fn credentials(file: &Setting<PathBuf>) -> Result<Credentials, AccessError> {
    let refuse = |reason: &str| AccessError::File(file.clone(), reason.to_owned());
    let text = String::from_utf8(read(file)?).map_err(|_| refuse(NO_CREDENTIALS))?;
    if text.contains("BEGIN NATS USER JWT") {
        let parsed = ConnectOptions::new().credentials(&text);
        return match parsed {
            Ok(_) => Ok(Credentials::File(text)),
            Err(_) => Err(refuse("holds NATS credentials that cannot be read")),
        };
    }
    match text.trim().split_once(':') {
        Some((user, password)) if !user.is_empty() && !text.trim().contains(['\n', '\r']) => {
            Ok(Credentials::User(user.to_owned(), password.to_owned()))
        }
        _ => Err(refuse(NO_CREDENTIALS)),
    }
}

fn roots_of(file: &Setting<PathBuf>) -> Result<RootCertStore, AccessError> {
    let refuse = |reason: &str| AccessError::File(file.clone(), reason.to_owned());
    let pem = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|_| refuse(UNREADABLE))?;
    if found.is_empty() {
        return Err(refuse("holds no certificate (BEGIN CERTIFICATE)"));
    }
    let mut roots = RootCertStore::empty();
    for certificate in found {
        roots.add(certificate).map_err(|_| refuse(UNREADABLE))?;
    }
    Ok(roots)
}

/// By the authorities of this machine, which are read here, before the root directory changes.
fn of_system() -> Result<ClientConfig, AccessError> {
    let config = Trust::System.config(ALL_VERSIONS);
    let mut config = config.map_err(|_| AccessError::NoAuthorities)?;
    // NATS has no name in this list of protocols.
    config.alpn_protocols.clear();
    Ok(config)
}

fn tls(roots: Arc<RootCertStore>) -> Result<ClientConfig, AccessError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(AccessError::Tls)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn read(file: &Setting<PathBuf>) -> Result<Vec<u8>, AccessError> {
    let mut bytes = Vec::new();
    let read = |file: std::fs::File| file.take(LEN_MAX).read_to_end(&mut bytes);
    files::open(&file.value)
        .and_then(read)
        .map_err(|error: io::Error| AccessError::File(file.clone(), Plain(&error).to_string()))?;
    Ok(bytes)
}

/// Why brokers cannot be asked. Shown as one line, which holds nothing of a file.
#[derive(Debug)]
pub(crate) enum AccessError {
    /// A file cannot be used.
    File(Setting<PathBuf>, String),
    /// This machine has no authorities, and no file names one.
    NoAuthorities,
    /// TLS cannot be set up.
    Tls(rustls::Error),
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, reason) => {
                write!(f, "{}={}: {reason}", file.source, file.value.display())
            }
            Self::NoAuthorities => f.write_str(
                "this system has no CAs (install ca-certificates): name one with --cluster-ca FILE",
            ),
            Self::Tls(error) => write!(f, "TLS to brokers cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for AccessError {}

const NO_CREDENTIALS: &str =
    "holds neither NATS credentials (BEGIN NATS USER JWT) nor one line user:password";
const UNREADABLE: &str = "holds a certificate that cannot be read";
/// Bytes of a file that are read: all public authorities take 250,000.
const LEN_MAX: u64 = 4 << 20;
