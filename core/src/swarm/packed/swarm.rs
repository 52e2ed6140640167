//! A large swarm: one with too many peers to be kept in a page.

use crate::announce::{Counts, Family};

use super::peers::Shape;
use super::pieces::Pieces;
use super::rules::{Compact, Rules};
use super::set::{Newcomer, Place, Set};
use super::stamp::{BEEN_SEEDER, Tick};

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
    pub(super) fn find(
        &self,
        rules: &Rules,
        hash: u64,
        peer: &Compact,
        expected: bool,
    ) -> Option<(bool, Place)> {
        let shape = rules.shape(peer.family);
        let find = |seeder| Some((seeder, self.set(peer.family, seeder).find(shape, hash, peer)?));
        find(expected).or_else(|| find(!expected))
    }

    /// Whether the peer at `place` has been a seeder since it came.
    pub(super) fn has_been_seeder(&self, shape: Shape, seeder: bool, place: Place) -> bool {
        let bucket = self.set(shape.family, seeder).buckets.get(place.bucket);
        let stamp = bucket.and_then(|bucket| bucket.stamp(shape, place.index));
        stamp.is_some_and(|stamp| stamp & BEEN_SEEDER != 0)
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
    Free { next: Option<u32> },
}

impl Slab {
    pub(super) fn new() -> Self {
        Self {
            slots: Pieces::default(),
            free: None,
            used: 0,
        }
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
        let number = match self.free {
            Some(number) => number,
            None => u32::try_from(self.slots.len()).ok()?,
        };
        match self.slots.get_mut(number as usize) {
            Some(slot) => {
                if let Slot::Free { next } = *slot {
                    self.free = next;
                }
                *slot = Slot::Used(swarm);
            }
            None => self.slots.push(Slot::Used(swarm)),
        }
        self.used += 1;
        Some(number)
    }

    /// Gives a swarm up.
    pub(super) fn remove(&mut self, number: u32) -> Option<Swarm> {
        let slot = self.slots.get_mut(number as usize)?;
        let freed = core::mem::replace(slot, Slot::Free { next: self.free });
        match freed {
            Slot::Used(swarm) => {
                self.free = Some(number);
                self.used -= 1;
                if self.used == 0 {
                    *self = Self::new();
                }
                Some(swarm)
            }
            Slot::Free { .. } => {
                *slot = freed;
                None
            }
        }
    }

    /// Where the swarm is kept.
    pub(super) fn address(&self, number: u32) -> *const u8 {
        self.slots
            .get(number as usize)
            .map_or(core::ptr::null(), |slot| core::ptr::from_ref(slot).cast())
    }
}
