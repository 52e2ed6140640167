//! What each source has used of its limits: a reference that counts every request, in as much memory as it takes.

use std::net::IpAddr;

use etracker_core::Config;
use rustc_hash::FxHashMap;

use crate::queue::{Millis, SECOND};

/// The buckets of all sources, one for each worker, purse and prefix.
#[derive(Debug)]
pub(crate) struct Meters {
    /// Announces that one host may send in a second, and the workers that share what a network may.
    rate: f64,
    workers: f64,
    /// All requests, as far as they fit: at least what the tracker holds against the source.
    asked: FxHashMap<Key, Bucket>,
    /// Those that were served in full.
    served: FxHashMap<Key, Bucket>,
}

/// What a request is paid from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purse {
    Connect,
    Proven,
}

/// One request of a source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    pub(crate) worker: usize,
    pub(crate) ip: IpAddr,
    pub(crate) purse: Purse,
    /// In announces.
    pub(crate) price: f64,
}

type Key = (usize, Purse, Prefix);
/// The family, the length, and the bits.
type Prefix = (bool, u8, u128);

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    at: Millis,
    level: f64,
}

impl Meters {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            rate: config.limits().announces_per_sec().into(),
            workers: f64::from(u32::try_from(config.swarms().workers()).unwrap_or(1)),
            asked: FxHashMap::default(),
            served: FxHashMap::default(),
        }
    }

    /// A request is judged. Whether it may be limited: a prefix of its source is near its limit, by what sampling may be off by.
    pub(crate) fn may_limit(&mut self, now: Millis, charge: &Charge) -> bool {
        for (prefix, hosts) in prefixes(charge.ip) {
            let (rate, burst) = self.limit(charge.purse, hosts);
            let bucket = self
                .asked
                .entry((charge.worker, charge.purse, prefix))
                .or_default();
            bucket.leak(now, rate);
            bucket.level = (bucket.level + charge.price).min(burst);
        }
        self.is_near(charge)
    }

    /// Whether a request with this charge may have been limited just now.
    pub(crate) fn is_near(&self, charge: &Charge) -> bool {
        prefixes(charge.ip).into_iter().any(|(prefix, hosts)| {
            let (_, burst) = self.limit(charge.purse, hosts);
            let bucket = self.asked.get(&(charge.worker, charge.purse, prefix));
            bucket.is_some_and(|bucket| bucket.level > burst * NEAR)
        })
    }

    /// A request was served in full. Whether its source had no more served than its limits allow.
    pub(crate) fn is_within(&mut self, now: Millis, charge: &Charge) -> bool {
        if is_exempt(charge.ip) {
            return true;
        }
        let mut is_within = true;
        for (prefix, hosts) in prefixes(charge.ip) {
            let (rate, burst) = self.limit(charge.purse, hosts);
            let bucket = self
                .served
                .entry((charge.worker, charge.purse, prefix))
                .or_default();
            bucket.leak(now, rate);
            bucket.level += charge.price;
            is_within &= bucket.level <= burst * OVER;
        }
        is_within
    }

    /// The tracker was started anew.
    pub(crate) fn clear(&mut self) {
        self.asked.clear();
        self.served.clear();
    }

    /// Announces a second and at once, for a network that may have so many times what a host has.
    fn limit(&self, purse: Purse, hosts: f64) -> (f64, f64) {
        let shared = if hosts > 1.0 { self.workers } else { 1.0 };
        let rate = (self.rate * hosts / shared).max(self.rate);
        let rate = match purse {
            Purse::Connect => rate / 2.0,
            Purse::Proven => rate,
        };
        (rate, rate * BURST_SECS)
    }
}

impl Bucket {
    #[expect(clippy::cast_precision_loss, reason = "times of some days")]
    fn leak(&mut self, now: Millis, rate: f64) {
        let secs = now.saturating_sub(self.at) as f64 / SECOND as f64;
        self.level = (self.level - secs * rate).max(0.0);
        self.at = self.at.max(now);
    }
}

/// The prefixes of an address, with the hosts whose limit each may use.
fn prefixes(ip: IpAddr) -> [(Prefix, f64); 3] {
    match ip {
        IpAddr::V4(ip) => [(32, 1.0), (24, 8.0), (20, 32.0)]
            .map(|(len, hosts)| ((false, len, u128::from(ip.to_bits() >> (32 - len))), hosts)),
        IpAddr::V6(ip) => [(64, 1.0), (56, 2.0), (48, 8.0)]
            .map(|(len, hosts)| ((true, len, ip.to_bits() >> (128 - len)), hosts)),
    }
}

/// The private addresses that clients have here, which are not limited.
const fn is_exempt(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if matches!(ip.octets(), [10, ..] | [100, 64..128, ..]))
}

/// A source may send at once what it may send in so many seconds.
const BURST_SECS: f64 = 40.0;
/// While all is calm the tracker weighs one request in eight, by chance.
const NEAR: f64 = 0.85;
const OVER: f64 = 1.15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_limited_when_it_has_used_its_burst_and_served_again_when_it_was_calm() {
        let mut meters = Meters::new(&Config::default());
        let charge = Charge {
            worker: 0,
            ip: [45, 1, 2, 3].into(),
            purse: Purse::Proven,
            price: 1.0,
        };
        let free = (0..30_000).take_while(|_| !meters.may_limit(0, &charge)).count();
        assert_eq!(free, 17_000);
        let neighbour = Charge {
            ip: [45, 1, 2, 4].into(),
            ..charge
        };
        assert!(!meters.may_limit(0, &neighbour));
        assert!(!meters.may_limit(40 * SECOND, &charge));
        let within = (0..30_000).take_while(|_| meters.is_within(0, &charge)).count();
        assert_eq!(within, 23_000);
    }
}
