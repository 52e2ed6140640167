//! Fetching memory into the processor's caches before it is read.

/// Has the processor fetch memory early. A core without unsafe code cannot: a driver implements it.
pub trait Prefetch {
    /// Asks for the cache line at `address`, which need not be valid. It must not read there, and may do nothing.
    fn prefetch(&self, address: *const u8);
}

/// Fetches nothing early.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPrefetch;

impl Prefetch for NoPrefetch {
    fn prefetch(&self, _: *const u8) {}
}
