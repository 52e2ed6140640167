//! Eight bytes of a column at a time, each in a lane of one word: the first in the lowest.

/// Bytes that are looked at together.
pub(super) const LANES: usize = 8;

/// Every other lane.
const EVEN: u64 = 0x00ff_00ff_00ff_00ff;

/// `byte` in all lanes.
pub(super) const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; LANES])
}

/// The highest bit of each lane that is `byte`.
pub(super) const fn equal(lanes: u64, byte: u8) -> u64 {
    // Bytes that are equal become 0; adding 0x7f to the low bits of the others carries into the highest, and never beyond.
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

/// Each two neighbours added up, in lanes of two bytes.
pub(super) const fn pairs(lanes: u64) -> u64 {
    (lanes & EVEN) + (lanes >> 8 & EVEN)
}

/// All lanes of two bytes added up, which must come to less than 2^16.
pub(super) const fn sum_of_pairs(pairs: u64) -> u64 {
    pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn lanes_are_told_as_bytes_are(lanes: u64, byte: u8, count: u8) -> bool {
            // Bytes that meet are rare otherwise, and so are those next to it.
            let word = (lanes & all(3)) | all(byte & !3);
            let bytes = word.to_le_bytes();
            let count = usize::from(count % 10);
            let kept: [u8; LANES] =
                core::array::from_fn(|lane| if lane < count { bytes[lane] } else { 0 });
            equal(word, byte).to_le_bytes() == bytes.map(|other| if other == byte { 0x80 } else { 0 })
                && first(equal(word, byte)) == bytes.iter().position(|&other| other == byte)
                && up_to(word, count).to_le_bytes() == kept
                && count_highest(lanes) == lanes.to_le_bytes().iter().filter(|&&byte| byte >> 7 == 1).count()
                && sum_of_pairs(pairs(lanes)) == lanes.to_le_bytes().map(u64::from).iter().sum::<u64>()
        }
    }
}
