//! What the store takes of the allocator.

/// Bytes that an allocation takes beside what is stored in it: a header of eight, and half of the sixteen that its length is
/// rounded up to.
pub(super) const ALLOCATION: usize = 16;

/// Bytes of `len` entries of a table, which has an eighth of spare room on average.
pub(super) const fn table<T>(len: usize) -> usize {
    len * size_of::<T>() * 9 / 8
}
