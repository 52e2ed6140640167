//! The majority address among the announces of each worker.

use core::net::{IpAddr, Ipv6Addr};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::announce::Endpoint;

/// One worker's votes on the announces since they were closed last.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    pub(super) http: Vote,
    pub(super) udp: Vote,
    /// Announces over HTTP from global addresses with an ignored forwarding header.
    pub(super) forwarded: Vote,
}

impl Votes {
    /// Counts an announce over UDP.
    pub(crate) fn udp(&self, peer: Endpoint) {
        self.udp.count(peer);
    }

    /// Counts an announce over HTTP; `ignored` tells whether its forwarding header was ignored.
    pub(crate) fn http(&self, peer: Endpoint, ignored: bool) {
        if self.http.count(peer) && ignored {
            self.forwarded.count(peer);
        }
    }
}

/// A majority vote by Boyer and Moore: if an address has the majority, it is the candidate. One worker writes, any thread reads.
///
/// A read during a change of the candidate mixes two of them. It shows no majority, as the candidate before had lost its lead.
#[derive(Debug, Default)]
pub(super) struct Vote {
    /// Set by the reader: the writer starts again.
    closed: AtomicBool,
    seen: AtomicU32,
    /// The bits of the candidate's address, mapped to IPv6.
    high: AtomicU64,
    low: AtomicU64,
    lead: AtomicU32,
    /// Announces of the candidate since it became that.
    by_candidate: AtomicU32,
    /// How often the candidate announced another port than before.
    port_changes: AtomicU32,
    port: AtomicU32,
}

impl Vote {
    /// False if [`COUNTED_MAX`] announces are counted already.
    fn count(&self, peer: Endpoint) -> bool {
        if self.closed.load(Relaxed) {
            self.seen.store(0, Relaxed);
            self.lead.store(0, Relaxed);
            self.by_candidate.store(0, Relaxed);
            self.closed.store(false, Relaxed);
        }
        let seen = self.seen.load(Relaxed);
        if seen >= COUNTED_MAX {
            return false;
        }
        self.seen.store(seen + 1, Relaxed);
        let (high, low) = address_bits(peer.ip);
        let lead = self.lead.load(Relaxed);
        if (self.high.load(Relaxed), self.low.load(Relaxed)) == (high, low)
            && self.by_candidate.load(Relaxed) > 0
        {
            let changed = self.port.load(Relaxed) != peer.port.into();
            self.lead.store(lead + 1, Relaxed);
            self.by_candidate
                .store(self.by_candidate.load(Relaxed) + 1, Relaxed);
            self.port_changes
                .store(self.port_changes.load(Relaxed) + u32::from(changed), Relaxed);
            self.port.store(peer.port.into(), Relaxed);
        } else if lead > 0 {
            self.lead.store(lead - 1, Relaxed);
        } else {
            self.high.store(high, Relaxed);
            self.low.store(low, Relaxed);
            self.lead.store(1, Relaxed);
            self.by_candidate.store(1, Relaxed);
            self.port_changes.store(0, Relaxed);
            self.port.store(peer.port.into(), Relaxed);
        }
        true
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// The tally; an empty one while the vote is closed.
    fn tally(&self) -> Tally {
        if self.closed.load(Relaxed) {
            return Tally::default();
        }
        Tally {
            seen: self.seen.load(Relaxed).into(),
            by_candidate: self.by_candidate.load(Relaxed).into(),
            port_changes: self.port_changes.load(Relaxed).into(),
            high: self.high.load(Relaxed),
            low: self.low.load(Relaxed),
        }
    }
}

/// The votes of all workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) seen: u64,
    pub(super) by_candidate: u64,
    pub(super) port_changes: u64,
    high: u64,
    low: u64,
}

impl Tally {
    /// All announces, and the candidate with the most of them.
    pub(super) fn of<'a>(votes: impl Iterator<Item = &'a Vote> + Clone) -> Self {
        let tallies = votes.map(Vote::tally);
        let seen = tallies.clone().map(|tally| tally.seen).sum();
        let candidates = tallies.clone().map(|candidate| {
            let same = |tally: &Self| (tally.high, tally.low) == (candidate.high, candidate.low);
            let votes = tallies.clone().filter(same);
            votes.fold(
                Self {
                    by_candidate: 0,
                    port_changes: 0,
                    ..candidate
                },
                |sum, tally| Self {
                    by_candidate: sum.by_candidate + tally.by_candidate,
                    port_changes: sum.port_changes + tally.port_changes,
                    ..sum
                },
            )
        });
        let most = candidates
            .max_by_key(|candidate| candidate.by_candidate)
            .unwrap_or_default();
        Self { seen, ..most }
    }

    pub(super) fn address(&self) -> IpAddr {
        let bits = u128::from(self.high) << 64 | u128::from(self.low);
        Ipv6Addr::from_bits(bits).to_canonical()
    }
}

fn address_bits(ip: IpAddr) -> (u64, u64) {
    match ip {
        IpAddr::V4(ip) => (0, 0xffff_0000_0000 | u64::from(ip.to_bits())),
        IpAddr::V6(ip) => {
            let [high, low] = [ip.to_bits() >> 64, ip.to_bits() & u128::from(u64::MAX)];
            (
                u64::try_from(high).unwrap_or_default(),
                u64::try_from(low).unwrap_or_default(),
            )
        }
    }
}

/// Announces that one worker counts until the vote is closed. Under load these are the first of each second, which suffice.
const COUNTED_MAX: u32 = 1024;
