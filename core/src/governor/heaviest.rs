//! The sources that exceed their limits most.

use ipnet::IpNet;

use super::prefix::{Prefix, Width};

/// A source over its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heavy {
    /// Its network.
    pub network: IpNet,
    /// Whether it has shown that it receives what is sent to its addresses; else they may be forged.
    pub proven: bool,
    /// Requests over the limit in a second.
    pub per_sec: u32,
}

impl Heavy {
    /// How many times the limit of one host the source may use.
    pub(crate) fn hosts(&self) -> u32 {
        let prefix_len = self.network.prefix_len();
        let width = Width::ALL.iter().find(|width| width.prefix_len() == prefix_len);
        width.map_or(1, |width| width.hosts())
    }
}

/// The heaviest sources of this second and of the one before, as far as they have a place.
///
/// One that finds none takes from the lightest, so that what is heavy is found, and what is light comes and goes.
#[derive(Clone, Debug)]
pub(super) struct Heaviest {
    second: u64,
    len: usize,
    entries: [Entry; HEAVY_MAX],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    prefix: Prefix,
    proven: bool,
    now: u32,
    before: u32,
}

impl Heaviest {
    pub(super) fn new() -> Self {
        Self {
            second: 0,
            len: 0,
            entries: [Entry {
                prefix: Prefix::NONE,
                proven: false,
                now: 0,
                before: 0,
            }; HEAVY_MAX],
        }
    }

    /// Notes requests over the limit. True if they are the first of their second.
    pub(super) fn note(&mut self, second: u64, prefix: Prefix, proven: bool, requests: u32) -> bool {
        let begins = self.turn(second);
        let (used, free) = self.entries.split_at_mut(self.len);
        let same = |entry: &Entry| entry.prefix == prefix && entry.proven == proven;
        if let Some(at) = used.iter().position(same) {
            if let Some(entry) = used.get_mut(at) {
                entry.now = entry.now.saturating_add(requests);
            }
            // The heavy ones move to the front, where they are found at once.
            if at > 0 && used.get(at).map(|entry| entry.now) > used.get(at - 1).map(|entry| entry.now) {
                used.swap(at, at - 1);
            }
            return begins;
        }
        let entry = Entry {
            prefix,
            proven,
            now: requests,
            before: 0,
        };
        if let Some(place) = free.first_mut() {
            *place = entry;
            self.len += 1;
        } else if let Some(lightest) = used.iter_mut().min_by_key(|entry| entry.now.max(entry.before)) {
            if lightest.now.max(lightest.before) <= requests {
                *lightest = entry;
            } else {
                lightest.now = lightest.now.saturating_sub(requests);
                lightest.before = lightest.before.saturating_sub(requests);
            }
        }
        begins
    }

    /// What was noted in the second before `second`.
    pub(super) fn of_last(&mut self, second: u64) -> impl Iterator<Item = Heavy> + '_ {
        self.turn(second);
        let used = self.entries.iter().take(self.len);
        used.filter(|entry| entry.before > 0).map(|entry| Heavy {
            network: entry.prefix.network(),
            proven: entry.proven,
            per_sec: entry.before,
        })
    }

    /// What was noted in the second before `second`, or already in this one if that is more.
    pub(super) fn of_recent(&mut self, second: u64) -> impl Iterator<Item = Heavy> + '_ {
        self.turn(second);
        let used = self.entries.iter().take(self.len);
        used.map(|entry| Heavy {
            network: entry.prefix.network(),
            proven: entry.proven,
            per_sec: entry.before.max(entry.now),
        })
    }

    /// Goes on to `second`; true if that is another one.
    fn turn(&mut self, second: u64) -> bool {
        if second == self.second {
            return false;
        }
        let follows = second == self.second + 1;
        self.second = second;
        let mut kept = 0;
        for index in 0..self.len {
            let Some(mut entry) = self.entries.get(index).copied() else {
                break;
            };
            entry.before = if follows { entry.now } else { 0 };
            entry.now = 0;
            if entry.before > 0
                && let Some(place) = self.entries.get_mut(kept)
            {
                *place = entry;
                kept += 1;
            }
        }
        self.len = kept;
        true
    }
}

/// Sources that are noted.
pub(super) const HEAVY_MAX: usize = 64;
