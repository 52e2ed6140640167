//! A large swarm: one with too many peers to be kept in a page.

use core::mem;

use crate::announce::{Counts, Family};

use super::account;
use super::compact::Compact;
use super::pieces::Pieces;
use super::rules::Rules;
use super::set::{Bucket, Newcomer, Place, Set};
use super::stamp::Tick;

/// The peers of a large swarm, in one set for each family and state.
#[derive(Debug)]
pub(super) struct Swarm {
    /// In the order of [`KIND`].
    sets: [Set; KINDS],
    pub(super) downloaded: u32,
}

impl Swarm {
    pub(super) fn new(downloaded: u32) -> Self {
        Self {
            sets: Default::default(),
            downloaded,
        }
    }

    pub(super) const fn set(&self, family: Family, seeder: bool) -> &Set {
        // Named instead of indexed: no bound is checked, and none can be missed.
        let [v4_leechers, v4_seeders, v6_leechers, v6_seeders] = &self.sets;
        match (family, seeder) {
            (Family::V4, false) => v4_leechers,
            (Family::V4, true) => v4_seeders,
            (Family::V6, false) => v6_leechers,
            (Family::V6, true) => v6_seeders,
        }
    }

    pub(super) const fn set_mut(&mut self, family: Family, seeder: bool) -> &mut Set {
        let [v4_leechers, v4_seeders, v6_leechers, v6_seeders] = &mut self.sets;
        match (family, seeder) {
            (Family::V4, false) => v4_leechers,
            (Family::V4, true) => v4_seeders,
            (Family::V6, false) => v6_leechers,
            (Family::V6, true) => v6_seeders,
        }
    }

    /// Peers of both families.
    pub(super) fn len(&self) -> u32 {
        self.sets.iter().map(Set::len).sum()
    }

    pub(super) const fn counts(&self) -> Counts {
        let [v4_leechers, v4_seeders, v6_leechers, v6_seeders] = &self.sets;
        Counts {
            complete: v4_seeders.len() + v6_seeders.len(),
            incomplete: v4_leechers.len() + v6_leechers.len(),
            downloaded: self.downloaded,
        }
    }

    /// Where the peer is, and whether as a seeder. The set that it is expected in is looked through first.
    #[inline]
    pub(super) fn find(
        &self,
        rules: &Rules,
        hash: u64,
        peer: &Compact,
        expected: bool,
    ) -> Option<(bool, Place)> {
        let shape = rules.shape(peer.family);
        let find = |seeder| Some((seeder, self.set(peer.family, seeder).find(shape, hash, peer)?));
        // A peer seldom changes its state, so the other set is mostly left alone.
        find(expected).or_else(|| find(!expected))
    }

    /// Buckets of all sets.
    pub(super) fn buckets(&self) -> usize {
        self.sets.iter().map(|set| set.buckets.len()).sum()
    }

    /// What all sets take.
    #[inline]
    pub(super) fn bytes(&self, rules: &Rules) -> usize {
        let [v4_leechers, v4_seeders, v6_leechers, v6_seeders] = &self.sets;
        let (v4, v6) = (rules.shape(Family::V4), rules.shape(Family::V6));
        v4_leechers.bytes(v4) + v4_seeders.bytes(v4) + v6_leechers.bytes(v6) + v6_seeders.bytes(v6)
    }

    /// The buckets of each set and what they take, of a swarm that is given up.
    pub(super) fn into_buckets(self, rules: &Rules) -> impl Iterator<Item = (Pieces<Bucket>, usize)> {
        let shapes = KIND.map(|(family, _)| rules.shape(family));
        let sets = self.sets.into_iter().zip(shapes);
        sets.map(|(set, shape)| {
            let bytes = set.bytes(shape);
            (set.buckets, bytes)
        })
    }

    /// How many peers of the address of `peer` there are.
    pub(super) fn of_address(&self, rules: &Rules, hash: u64, peer: &Compact) -> usize {
        let shape = rules.shape(peer.family);
        let of_set = |seeder| self.set(peer.family, seeder).of_address(shape, hash, peer);
        of_set(false) + of_set(true)
    }

    pub(super) fn insert(&mut self, rules: &Rules, now: Tick, hash: u64, peer: &Newcomer) {
        self.set_mut(peer.endpoint.family, peer.seeder)
            .insert(rules, now, hash, peer);
    }

    /// All peers.
    pub(super) fn peers(&self, rules: &Rules) -> impl Iterator<Item = Newcomer> {
        KIND.into_iter().flat_map(move |(family, seeder)| {
            let (set, shape) = (self.set(family, seeder), rules.shape(family));
            let buckets = (0..set.buckets.len()).filter_map(|index| set.buckets.get(index));
            buckets.flat_map(move |bucket| {
                let window = bucket.window();
                bucket
                    .columns(shape)
                    .entries()
                    .map(move |entry| Newcomer::of_entry(&entry, window))
            })
        })
    }
}

/// Sets of a swarm.
const KINDS: usize = 4;

/// Family and state of the sets, in their order.
pub(super) const KIND: [(Family, bool); KINDS] = [
    (Family::V4, false),
    (Family::V4, true),
    (Family::V6, false),
    (Family::V6, true),
];

/// The large swarms of a store, by number. Numbers that are given up are given out again.
#[derive(Debug)]
pub(super) struct Slab {
    slots: Pieces<Slot>,
    /// The first free slot.
    free: Option<u32>,
    used: usize,
}

#[derive(Debug)]
enum Slot {
    Used(Swarm),
    /// One of the list of free slots.
    Free {
        previous: Option<u32>,
        next: Option<u32>,
    },
}

impl Slab {
    pub(super) fn new() -> Self {
        Self {
            slots: Pieces::default(),
            free: None,
            used: 0,
        }
    }

    /// What the table takes.
    pub(super) fn bytes(&self) -> usize {
        account::table::<Slot>(self.slots.len())
    }

    /// How many swarms are kept.
    pub(super) const fn len(&self) -> usize {
        self.used
    }

    pub(super) fn get(&self, number: u32) -> Option<&Swarm> {
        match self.slots.get(number as usize)? {
            Slot::Used(swarm) => Some(swarm),
            Slot::Free { .. } => None,
        }
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Swarm> {
        match self.slots.get_mut(number as usize)? {
            Slot::Used(swarm) => Some(swarm),
            Slot::Free { .. } => None,
        }
    }

    /// Keeps a swarm and returns its number; nothing if there are no more numbers.
    pub(super) fn insert(&mut self, swarm: Swarm) -> Option<u32> {
        // Free numbers first: the table is as long as the most swarms at once, not as all that ever were.
        let number = match self.free {
            Some(number) => number,
            None => u32::try_from(self.slots.len()).ok()?,
        };
        match self.slots.get_mut(number as usize) {
            Some(slot) => {
                let free = mem::replace(slot, Slot::Used(swarm));
                self.unlink(&free);
            }
            None => self.slots.push(Slot::Used(swarm)),
        }
        self.used += 1;
        Some(number)
    }

    /// Gives a swarm up.
    pub(super) fn remove(&mut self, number: u32) -> Option<Swarm> {
        let slot = self.slots.get_mut(number as usize)?;
        let free = Slot::Free {
            previous: None,
            next: self.free,
        };
        let swarm = match mem::replace(slot, free) {
            Slot::Used(swarm) => swarm,
            // It was free already: its links must stay.
            free @ Slot::Free { .. } => {
                *slot = free;
                return None;
            }
        };
        self.link(self.free, |previous, _| *previous = Some(number));
        self.free = Some(number);
        self.used -= 1;
        // Here too and not in the sweep alone: a store whose large swarms all go would keep their slots until it comes by.
        self.shrink(SLOTS_GIVEN_BACK);
        Some(swarm)
    }

    /// Gives back at most so many free slots: those at the end.
    pub(super) fn shrink(&mut self, most: usize) {
        for _ in 0..most {
            let last = self.slots.len().wrapping_sub(1);
            // Numbers of swarms must not change, so free slots below one in use stay.
            let Some(Slot::Free { .. }) = self.slots.get(last) else {
                return;
            };
            if let Some(free) = self.slots.pop() {
                self.unlink(&free);
            }
        }
    }

    /// Takes a slot that was free out of the list of free ones.
    fn unlink(&mut self, slot: &Slot) {
        let Slot::Free { previous, next } = *slot else {
            return;
        };
        self.link(next, |before, _| *before = previous);
        match previous {
            Some(_) => self.link(previous, |_, after| *after = next),
            None => self.free = next,
        }
    }

    /// Changes what comes before and after a free slot.
    fn link(&mut self, number: Option<u32>, change: impl FnOnce(&mut Option<u32>, &mut Option<u32>)) {
        let slot = number.and_then(|number| self.slots.get_mut(number as usize));
        if let Some(Slot::Free { previous, next }) = slot {
            change(previous, next);
        }
    }

    /// Where the swarm is kept.
    pub(super) fn address(&self, number: u32) -> *const u8 {
        self.slots
            .get(number as usize)
            .map_or(core::ptr::null(), |slot| core::ptr::from_ref(slot).cast())
    }
}

/// Free slots given back as one swarm is given up: more than one, so that they do not outlast the swarms for long.
const SLOTS_GIVEN_BACK: usize = 2;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn numbers_are_given_out_again_and_lead_to_what_was_kept(steps: Vec<(bool, usize)>) -> bool {
            let (mut slab, mut model) = (Slab::new(), BTreeSet::new());
            for (number, (comes, which)) in (1..).zip(steps) {
                if comes || model.is_empty() {
                    model.insert((slab.insert(Swarm::new(number)).unwrap(), number));
                } else {
                    let gone = *model.iter().nth(which % model.len()).unwrap();
                    assert_eq!(slab.remove(gone.0).map(|swarm| swarm.downloaded), Some(gone.1));
                    assert!(slab.remove(gone.0).is_none());
                    model.remove(&gone);
                }
                let kept = |(at, number): &(u32, u32)| {
                    slab.get(*at).is_some_and(|swarm| swarm.downloaded == *number)
                };
                let numbers: BTreeSet<_> = model.iter().map(|(at, _)| at).collect();
                assert!(model.iter().all(kept) && numbers.len() == model.len());
                assert_eq!(slab.len(), model.len());
            }
            slab.shrink(usize::MAX);
            let last = model.iter().map(|(at, _)| at + 1).max();
            slab.slots.len() == last.unwrap_or_default() as usize
        }
    }

    #[test]
    fn slots_are_given_back_a_few_at_a_time() {
        const SWARMS: u32 = 10_000;
        let mut slab = Slab::new();
        for number in 0..SWARMS {
            assert_eq!(slab.insert(Swarm::new(0)), Some(number));
        }
        let mut before = slab.slots.len();
        for number in 0..SWARMS {
            slab.remove(number).unwrap();
            assert!(before - slab.slots.len() <= SLOTS_GIVEN_BACK, "{number}");
            before = slab.slots.len();
        }
        slab.shrink(100);
        assert_eq!(slab.slots.len(), before - 100);
    }
}
