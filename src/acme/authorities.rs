//! The authorities that vouch for a directory.

use std::io::Read as _;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts};

use super::error::AcmeStartError;
use crate::files;
use crate::options::AcmeOptions;

/// Who may vouch for a directory: the public authorities as this build knows them, as a new root directory or a container
/// may lack those of the system, or the ones of a file.
#[derive(Clone, Debug)]
pub(crate) struct Authorities(RootCerts);

impl Authorities {
    /// Reads the file of `--acme-ca`, if there is one; nothing without `--acme`.
    ///
    /// # Errors
    /// It cannot be read, or holds no certificate.
    pub(crate) fn read(options: Option<&AcmeOptions>) -> Result<Option<Self>, AcmeStartError> {
        options.map(Self::of).transpose()
    }

    fn of(options: &AcmeOptions) -> Result<Self, AcmeStartError> {
        let Some(file) = &options.authorities else {
            return Ok(Self(RootCerts::WebPki));
        };
        let refuse = |reason: String| AcmeStartError::Authorities(file.clone(), reason);
        let mut pem = Vec::new();
        files::open(&file.value)
            .and_then(|file| file.take(LEN_MAX).read_to_end(&mut pem))
            .map_err(|error| refuse(etracker_runtime_common::Plain(&error).to_string()))?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let found = found.map_err(|_| refuse(UNREADABLE.to_owned()))?;
        if found.is_empty() {
            return Err(refuse("holds no certificate (BEGIN CERTIFICATE)".to_owned()));
        }
        let mut store = RootCertStore::empty();
        for certificate in &found {
            store
                .add(certificate.clone())
                .map_err(|_| refuse(UNREADABLE.to_owned()))?;
        }
        let roots = found.iter().map(|der| Certificate::from_der(der).to_owned());
        Ok(Self(RootCerts::from(roots)))
    }

    pub(super) fn roots(&self) -> RootCerts {
        self.0.clone()
    }
}

const UNREADABLE: &str = "holds a certificate that cannot be read";
/// Bytes of the file that are read: all public authorities take 250,000.
const LEN_MAX: u64 = 4 << 20;
