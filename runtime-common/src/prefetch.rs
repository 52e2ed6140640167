//! Prefetching by the processor's own instruction.

use etracker_core::prefetch::Prefetch;
use etracker_core::{Seed, udp};

use crate::sys;

/// Prefetches by the processor's instruction on x86-64 and AArch64; does nothing on others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prefetcher;

impl Prefetch for Prefetcher {
    #[inline]
    fn prefetch(&self, address: *const u8) {
        sys::prefetch(address);
    }
}

/// The UDP protocol as workers drive it.
pub type UdpFront = udp::Front<Prefetcher>;

/// The UDP protocol for all workers of a tracker, whose connection ids come from `seed`.
#[must_use]
pub fn udp_front(seed: &Seed) -> UdpFront {
    udp::Front::new(seed).with_prefetch(Prefetcher)
}
