//! What stands for the certificates of HTTPS in builds without the feature `tls`: there are none, as options refuse `--tls-port`.
#![expect(
    clippy::needless_pass_by_ref_mut,
    reason = "the signatures are those of builds with the feature"
)]

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use etracker_core::Instant;
use etracker_runtime_common::Fronts;

use crate::certificate::Certificate;
use crate::finding::Failed;
use crate::options::{Setting, TlsOptions};
use crate::terminal::Tell;

/// Never there.
#[derive(Clone, Debug)]
pub(crate) struct Certificates(Never);

impl Certificates {
    pub(crate) const fn on_pages(&self, _: Instant) -> Vec<Certificate> {
        match self.0 {}
    }
}

/// Never there.
#[derive(Debug)]
pub(crate) struct CertificateFiles(Never);

impl CertificateFiles {
    /// None.
    pub(crate) const fn load(_: &TlsOptions, _: Tell<'_>) -> Result<Option<Self>, CertificateError> {
        Ok(None)
    }

    pub(crate) const fn shared(&self) -> Certificates {
        match self.0 {}
    }

    pub(crate) fn secure(&self, _: Fronts) -> Fronts {
        match self.0 {}
    }

    pub(crate) const fn are_there(&self) -> bool {
        match self.0 {}
    }

    pub(crate) const fn complain_of_flaws(&self) {
        match self.0 {}
    }

    pub(crate) const fn find_unreadable(&mut self) -> Vec<(Setting<PathBuf>, io::Error)> {
        match self.0 {}
    }

    pub(crate) const fn look(&mut self) -> Option<Result<(), Failed>> {
        match self.0 {}
    }

    pub(crate) const fn reload(&mut self, _: &str) -> Result<(), Failed> {
        match self.0 {}
    }
}

/// Never there.
#[derive(Debug)]
pub(crate) struct Ageing(Never);

impl Ageing {
    pub(crate) const fn new(certificates: Certificates) -> Self {
        match certificates.0 {}
    }

    pub(crate) const fn look(&mut self, _: SystemTime) {
        match self.0 {}
    }
}

/// Never there.
#[derive(Debug)]
pub(crate) struct CertificateError(Never);

impl CertificateError {
    pub(crate) const fn remedy(&self) -> &'static str {
        match self.0 {}
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

/// Private, so that the compiler takes nothing that uses these types for unreachable.
#[derive(Clone, Debug)]
enum Never {}
