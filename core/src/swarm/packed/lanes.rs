//! Eight bytes of a column at a time, each in a lane of one word: the first in the lowest.

/// Bytes that are looked at together.
pub(super) const LANES: usize = 8;

/// Every other lane.
pub(super) const EVEN: u64 = 0x00ff_00ff_00ff_00ff;

/// `byte` in all lanes.
pub(super) const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; LANES])
}

/// The highest bit of each lane that is `byte`.
pub(super) const fn equal(lanes: u64, byte: u8) -> u64 {
    let other = lanes ^ all(byte);
    !(((other & all(0x7f)) + all(0x7f)) | other) & all(0x80)
}

/// The number of the first lane that has a bit set.
pub(super) const fn first(lanes: u64) -> Option<usize> {
    if lanes == 0 {
        return None;
    }
    Some(lanes.trailing_zeros() as usize / 8)
}

/// The first `count` lanes; the others are 0.
pub(super) const fn up_to(lanes: u64, count: usize) -> u64 {
    if count >= LANES {
        return lanes;
    }
    lanes & !(u64::MAX << (8 * count))
}

/// How many lanes have their highest bit set.
pub(super) const fn count_highest(lanes: u64) -> usize {
    ((lanes >> 7 & all(1)).wrapping_mul(all(1)) >> 56) as usize
}
