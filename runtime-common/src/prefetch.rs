//! Prefetching by the processor's own instruction.

use etracker_core::prefetch::Prefetch;

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
