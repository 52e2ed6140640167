//! The connection ids given out: which of them the tracker must accept from an address, and which it must not.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::queue::{Millis, SECOND};

/// The connection ids that were issued.
#[derive(Debug, Default)]
pub(crate) struct Proofs(FxHashMap<(IpAddr, u64), Millis>);

/// The validity of a connection id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// BEP 15 wants it accepted.
    Valid,
    /// Older than two minutes, and not yet as old as it may become.
    Ageing,
    /// Made up, another's, or too old.
    Foreign,
}

impl Proofs {
    /// The tracker has sent `id` to `ip`.
    pub(crate) fn issued(&mut self, now: Millis, ip: IpAddr, id: u64) {
        let at = self.0.entry((ip, id)).or_insert(now);
        *at = now.max(*at);
    }

    /// What `id` is worth when it comes from `ip`.
    pub(crate) fn of(&self, now: Millis, ip: IpAddr, id: u64) -> Proof {
        match self.0.get(&(ip, id)).map(|issued| now.saturating_sub(*issued)) {
            Some(age) if age <= VALID => Proof::Valid,
            Some(age) if age <= ACCEPTED_MAX => Proof::Ageing,
            Some(_) | None => Proof::Foreign,
        }
    }

    /// Drops those that are too old to be accepted.
    pub(crate) fn forget(&mut self, now: Millis) {
        self.0
            .retain(|_, issued| now.saturating_sub(*issued) <= ACCEPTED_MAX);
    }
}

/// "Until two minutes after it has received it" (BEP 15).
const VALID: Millis = 120 * SECOND;
/// Nine ticks of 16 seconds.
const ACCEPTED_MAX: Millis = 144 * SECOND;
