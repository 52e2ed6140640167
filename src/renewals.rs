//! What is known of certificates that an ACME directory issues.

use std::time::SystemTime;

use crate::shared::Shared;

/// One entry for each name of `--acme`, in their order; shared by what orders certificates and by pages.
pub(crate) type Renewals = Shared<Vec<Renewal>>;

/// The certificate for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// The name.
    pub(crate) domain: String,
    /// The last attempt of this process to get one.
    pub(crate) last: Option<SystemTime>,
    /// The next attempt.
    pub(crate) next: SystemTime,
    /// Why the last attempt failed.
    pub(crate) error: Option<String>,
    /// Attempts that failed since the last that did not.
    pub(crate) failures: u32,
}

impl Renewal {
    /// The last attempt in seconds since 1970, if there was one, and the next.
    pub(crate) fn tries(&self) -> (Option<u64>, u64) {
        (self.last.map(unix_secs), unix_secs(self.next))
    }
}

fn unix_secs(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
