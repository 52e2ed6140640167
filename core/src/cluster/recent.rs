//! Peers that stopped a while ago.

use alloc::boxed::Box;
use alloc::vec;

use crate::time::Minute;

/// What was decided last about peers that stopped, so that a record from before, which arrives late, does not bring them back.
///
/// The table has a fixed size. Where it is full, the oldest decision is forgotten: a record that is later still brings back a peer
/// until it expires.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Each set has the hashes of some peers, 0 for nobody, and the order of the last record of each. They are plain numbers, so
    /// that an empty table takes no memory yet.
    sets: Box<[[u64; 2 * WAYS]]>,
}

/// The order of the last record of a peer: see [`Record::order`](super::Record::order).
pub(crate) type Order = (Minute, u8);

impl Recent {
    pub(crate) fn new() -> Self {
        Self {
            sets: vec![[0; 2 * WAYS]; SETS].into_boxed_slice(),
        }
    }

    /// The last decision about the peer with this hash.
    pub(crate) fn get(&self, hash: u64) -> Option<Order> {
        let (hashes, orders) = self.sets.get(set_of(hash))?.split_at(WAYS);
        let mut known = hashes.iter().zip(orders);
        let (_, order) = known.find(|(known, _)| **known == hash | 1)?;
        let [rank, minute @ ..] = order.to_le_bytes();
        Some((Minute::new(u32::from_le_bytes(*minute.first_chunk()?)), rank))
    }

    /// Notes a decision, unless a later one is known.
    pub(crate) fn note(&mut self, hash: u64, (minute, rank): Order) {
        let Some(set) = self.sets.get_mut(set_of(hash)) else {
            return;
        };
        let (hashes, orders) = set.split_at_mut(WAYS);
        let order = u64::from(minute.get()) << 8 | u64::from(rank);
        let mut all = hashes.iter_mut().zip(orders);
        let known = all.by_ref().find(|(known, _)| **known == hash | 1);
        if let Some((_, known)) = known {
            *known = order.max(*known);
            return;
        }
        let (hashes, orders) = set.split_at_mut(WAYS);
        if let Some((place, oldest)) = hashes.iter_mut().zip(orders).min_by_key(|(_, order)| **order) {
            (*place, *oldest) = (hash | 1, order);
        }
    }
}

fn set_of(hash: u64) -> usize {
    // The lowest bit of a hash is given up to tell it from nobody's.
    (hash >> 1) as usize % SETS
}

/// Decisions of one set: one line of a cache.
const WAYS: usize = 4;
/// Sets: a quarter of a million decisions in 4 MiB. 50 million peers with sessions of two hours stop 7000 times a second, so that
/// it reaches back half a minute at least.
const SETS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_decision_stays_and_the_oldest_of_a_full_set_goes() {
        let mut recent = Recent::new();
        let order = |minute, rank| (Minute::new(minute), rank);
        assert_eq!(recent.get(8), None);
        recent.note(8, order(5, 3));
        recent.note(8, order(5, 1));
        recent.note(8, order(4, 3));
        assert_eq!(recent.get(8), Some(order(5, 3)));
        // Four more of the same set: the first goes.
        for number in 1..=4u64 {
            let minute = 5 + u32::try_from(number).unwrap();
            recent.note(8 + (number << 40), order(minute, 1));
        }
        assert_eq!(recent.get(8), None);
        for number in 1..=4u64 {
            assert!(recent.get(8 + (number << 40)).is_some(), "{number}");
        }
        assert_eq!(recent.get(10), None);
    }
}
