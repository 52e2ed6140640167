//! What stands for certificates from a directory in builds without the feature `acme`: there are none, as options refuse `--acme`.

use std::fmt;

use etracker_runtime_common::Control;

use crate::options::AcmeOptions;
use crate::renewals::Renewals;
use crate::terminal::Tell;
use crate::tls::Certificates;

/// Never there.
#[derive(Debug)]
pub(crate) struct Acme(Never);

impl Acme {
    pub(crate) const fn find(
        _: &AcmeOptions,
        authorities: &Authorities,
        _: Certificates,
        _: Tell<'_>,
    ) -> Result<Self, AcmeStartError> {
        match authorities.0 {}
    }

    pub(crate) const fn renewals(&self) -> Renewals {
        match self.0 {}
    }

    pub(crate) const fn start(self, _: &Control) -> Result<(), AcmeStartError> {
        match self.0 {}
    }

    pub(crate) const fn look(&self, _: u16) -> Look {
        match self.0 {}
    }
}

/// Never there.
#[derive(Debug)]
pub(crate) struct Authorities(Never);

impl Authorities {
    /// None.
    pub(crate) const fn read(_: Option<&AcmeOptions>) -> Result<Option<Self>, AcmeStartError> {
        Ok(None)
    }
}

/// Never there.
#[derive(Debug)]
pub(crate) struct Look(Never);

impl Look {
    pub(crate) const fn never<T>(&self) -> T {
        match self.0 {}
    }
}

/// Never there.
#[derive(Debug)]
pub(crate) struct AcmeStartError(Never);

impl AcmeStartError {
    pub(crate) const fn remedy(&self) -> String {
        match self.0 {}
    }
}

impl fmt::Display for AcmeStartError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

/// Private, so that the compiler takes nothing that uses these types for unreachable.
#[derive(Clone, Debug)]
enum Never {}
