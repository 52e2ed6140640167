//! Linear hashing: a table that grows and shrinks by one block at a time.
//!
//! Block `i` holds the entries whose hashes end in the bits of `i`. A table of `len` blocks uses as many bits as `len`
//! takes, but blocks that would lie beyond its end are still together with the ones they will be split off from.
//!
//! Read in the reverse order of its bits, a hash becomes a [`Spot`], and every block covers one interval of spots,
//! however often blocks have been split and joined. Sweeps and walks therefore remember spots, never blocks.

/// A place in the order in which sweeps and walks pass the entries of a table.
pub(super) type Spot = u64;

/// The block of a table of `len` blocks that an entry belongs to.
pub(super) const fn block_of(hash: u64, len: usize) -> usize {
    let mask = len.next_power_of_two() - 1;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "only the lowest bits are of interest"
    )]
    let index = hash as usize & mask;
    // A block beyond the end is still part of the one that it will be split off from.
    if index < len { index } else { index & (mask >> 1) }
}

/// The block that block `last`, when it comes at the end of a table, is split off from and joined with.
pub(super) const fn origin_of(last: usize) -> usize {
    match last.checked_ilog2() {
        Some(bits) => last ^ (1 << bits),
        None => 0,
    }
}

/// The spot of an entry.
pub(super) const fn spot_of(hash: u64) -> Spot {
    hash.reverse_bits()
}

/// The block that covers `spot`.
pub(super) const fn block_at(spot: Spot, len: usize) -> usize {
    block_of(spot.reverse_bits(), len)
}

/// The first spot after the block that covers `spot`; nothing if it is the last block.
pub(super) const fn next_block(spot: Spot, len: usize) -> Option<Spot> {
    let size = len.next_power_of_two();
    let (block, half) = (block_at(spot, len), size / 2);
    // A block that has not been split in this round covers twice the interval of one that has.
    let bits = size.ilog2() - (block < half && block + half >= len) as u32;
    if bits == 0 {
        return None;
    }
    let shift = u64::BITS - bits;
    let next = (spot >> shift) + 1;
    if next >> bits == 0 {
        Some(next << shift)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn an_entry_moves_only_when_its_block_is_split(hash: u64, len: u16) -> bool {
            let len = usize::from(len) + 1;
            let (before, after) = (block_of(hash, len), block_of(hash, len + 1));
            before < len && (before == after || (after == len && before == origin_of(len)))
        }

        fn spots_lead_back_to_their_block(hash: u64, len: u16) -> bool {
            let len = usize::from(len) + 1;
            block_at(spot_of(hash), len) == block_of(hash, len)
        }

        fn what_follows_a_block_is_the_first_spot_of_another(hash: u64, len: u16) -> bool {
            let len = usize::from(len) + 1;
            let spot = spot_of(hash);
            next_block(spot, len).is_none_or(|next| {
                next > spot
                    && block_at(next, len) != block_at(spot, len)
                    && block_at(next - 1, len) == block_at(spot, len)
            })
        }
    }

    #[test]
    fn going_from_block_to_block_passes_each_once() {
        for len in 1..200 {
            let mut passed = Vec::new();
            let mut spot = Some(0);
            while let Some(at) = spot {
                passed.push(block_at(at, len));
                spot = next_block(at, len);
            }
            assert_eq!(passed.len(), len);
            assert_eq!(passed.into_iter().collect::<BTreeSet<_>>().len(), len);
        }
    }
}
