//! Which addresses announces come from, as each worker notes it.

use core::net::{IpAddr, Ipv6Addr};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::announce::Endpoint;

/// What a worker notes of the announces of a while, which ends when the votes are closed.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    pub(super) http: Vote,
    pub(super) udp: Vote,
    /// Of those over HTTP, the ones from global addresses with a header that is not heeded.
    pub(super) named: Vote,
}

impl Votes {
    /// An announce came over UDP.
    pub(crate) fn udp(&self, peer: Endpoint) {
        self.udp.cast(peer);
    }

    /// An announce came over HTTP, with a header that is not heeded or without.
    pub(crate) fn http(&self, peer: Endpoint, ignored: bool) {
        if self.http.cast(peer) && ignored {
            self.named.cast(peer);
        }
    }
}

/// The vote of Boyer and Moore: the candidate is whoever has the majority, if somebody has. One worker writes, anyone reads.
///
/// What is read while the candidate changes belongs to two of them; it makes no majority, as the one before had none.
#[derive(Debug, Default)]
pub(super) struct Vote {
    /// Set by who reads, for who writes to begin anew.
    closed: AtomicBool,
    seen: AtomicU32,
    /// The bits of the candidate's address, mapped to IPv6.
    high: AtomicU64,
    low: AtomicU64,
    lead: AtomicU32,
    /// Announces of the candidate, since it is that.
    of: AtomicU32,
    /// How often its port was another than the time before.
    turns: AtomicU32,
    port: AtomicU32,
}

impl Vote {
    /// False if enough was noted of this while.
    fn cast(&self, peer: Endpoint) -> bool {
        if self.closed.load(Relaxed) {
            self.seen.store(0, Relaxed);
            self.lead.store(0, Relaxed);
            self.of.store(0, Relaxed);
            self.closed.store(false, Relaxed);
        }
        let seen = self.seen.load(Relaxed);
        if seen >= NOTED_MAX {
            return false;
        }
        self.seen.store(seen + 1, Relaxed);
        let (high, low) = halves(peer.ip);
        let lead = self.lead.load(Relaxed);
        if (self.high.load(Relaxed), self.low.load(Relaxed)) == (high, low) && self.of.load(Relaxed) > 0 {
            let turned = self.port.load(Relaxed) != peer.port.into();
            self.lead.store(lead + 1, Relaxed);
            self.of.store(self.of.load(Relaxed) + 1, Relaxed);
            self.turns
                .store(self.turns.load(Relaxed) + u32::from(turned), Relaxed);
            self.port.store(peer.port.into(), Relaxed);
        } else if lead > 0 {
            self.lead.store(lead - 1, Relaxed);
        } else {
            self.high.store(high, Relaxed);
            self.low.store(low, Relaxed);
            self.lead.store(1, Relaxed);
            self.of.store(1, Relaxed);
            self.turns.store(0, Relaxed);
            self.port.store(peer.port.into(), Relaxed);
        }
        true
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// Nothing while it is closed.
    fn tally(&self) -> Tally {
        if self.closed.load(Relaxed) {
            return Tally::default();
        }
        Tally {
            seen: self.seen.load(Relaxed).into(),
            of: self.of.load(Relaxed).into(),
            turns: self.turns.load(Relaxed).into(),
            high: self.high.load(Relaxed),
            low: self.low.load(Relaxed),
        }
    }
}

/// What the votes of all workers say together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) seen: u64,
    pub(super) of: u64,
    pub(super) turns: u64,
    high: u64,
    low: u64,
}

impl Tally {
    /// All that was seen, and of the candidates the one with the most announces.
    pub(super) fn of<'a>(votes: impl Iterator<Item = &'a Vote> + Clone) -> Self {
        let tallies = votes.map(Vote::tally);
        let seen = tallies.clone().map(|tally| tally.seen).sum();
        let candidates = tallies.clone().map(|candidate| {
            let same = |tally: &Self| (tally.high, tally.low) == (candidate.high, candidate.low);
            let votes = tallies.clone().filter(same);
            votes.fold(
                Self {
                    of: 0,
                    turns: 0,
                    ..candidate
                },
                |sum, tally| Self {
                    of: sum.of + tally.of,
                    turns: sum.turns + tally.turns,
                    ..sum
                },
            )
        });
        let most = candidates
            .max_by_key(|candidate| candidate.of)
            .unwrap_or_default();
        Self { seen, ..most }
    }

    pub(super) fn address(&self) -> IpAddr {
        let bits = u128::from(self.high) << 64 | u128::from(self.low);
        Ipv6Addr::from_bits(bits).to_canonical()
    }
}

fn halves(ip: IpAddr) -> (u64, u64) {
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

/// Announces that one worker notes of a while: under load these are the first ones of each second, which are enough.
const NOTED_MAX: u32 = 1024;
