//! Prefetching memory into the processor's caches.

/// Prefetches memory. The driver implements it, as the instruction needs unsafe code, which the core forbids.
pub trait Prefetch {
    /// Prefetches the cache line at `address`, which need not be valid: implementations must not read it, and may do nothing.
    fn prefetch(&self, address: *const u8);
}

/// Prefetches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPrefetch;

impl Prefetch for NoPrefetch {
    fn prefetch(&self, _: *const u8) {}
}
