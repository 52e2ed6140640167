//! Without the feature `tls` there is no HTTPS to ask by and to judge.

use super::finding::Finding;
use super::probe::Trust;
use crate::options::Options;
use crate::steps::Ready;

#[derive(Debug, Default)]
pub(super) struct Https {}

/// A probe, of which there is none.
#[derive(Debug)]
pub(super) enum TlsTrip {}

impl Https {
    pub(super) const fn find(_: &Options, _: &mut Ready) -> Self {
        Self {}
    }

    pub(super) const fn ask(&self, _: &Options, _: Trust<'_>) -> Vec<TlsTrip> {
        Vec::new()
    }
}

pub(super) const fn find_cas(_: &Options) {}

pub(super) const fn is_answered(_: &[TlsTrip]) -> bool {
    false
}

pub(super) const fn judge(_: &Https, _: &[TlsTrip], _: bool, _: bool) -> Vec<Finding> {
    Vec::new()
}
