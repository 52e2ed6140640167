//! The seeders or the leechers of one family in a large swarm.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;
use core::num::NonZero;
use core::ops::Range;

use crate::seed::Random;
use crate::swarm::spread::Network;

use super::account::{self, ALLOCATION};
use super::compact::Compact;
use super::linear::{Spot, block_at, block_of, next_block, origin_of};
use super::peers::{self, Columns, Entry, Shape};
use super::pieces::Pieces;
use super::rules::Rules;
use super::stamp::{BEEN_SEEDER, SEEDER, Stamp, Tick, Window};
use super::work;

/// Peers in buckets, by linear hashing.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub(super) buckets: Pieces<Bucket>,
    /// Invariant: the number of peers in `buckets`.
    len: u32,
    /// Invariant: no bucket holds more peers.
    longest: u32,
    /// Invariant: no bucket holds more peers of one network.
    together: u16,
    /// While a sweep is on its way from the first bucket on. Invariant: what these say of all buckets is true of those that
    /// it has passed. The first has one added, to fit with the others into a word.
    longest_passed: Option<NonZero<u32>>,
    together_passed: u16,
}

/// Where a peer is in its set: bucket and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: usize,
    pub(super) index: usize,
}

impl Set {
    pub(super) const fn len(&self) -> u32 {
        self.len
    }

    /// What the buckets take.
    #[inline]
    pub(super) fn bytes(&self, shape: Shape) -> usize {
        self.len as usize * shape.stride() + self.buckets.len() * BUCKET
    }

    #[cfg(test)]
    pub(super) const fn longest(&self) -> u32 {
        self.longest
    }

    /// The bucket that peers of this hash are in.
    pub(super) fn bucket_of(&self, hash: u64) -> usize {
        block_of(hash, self.buckets.len())
    }

    pub(super) fn find(&self, shape: Shape, hash: u64, peer: &Compact) -> Option<Place> {
        let bucket = self.bucket_of(hash);
        work::touched();
        let index = self.buckets.get(bucket)?.columns(shape).position(peer)?;
        Some(Place { bucket, index })
    }

    /// How many peers of the address of `peer` there are. Their number must be limited: then one bucket has them all.
    pub(super) fn of_address(&self, shape: Shape, hash: u64, peer: &Compact) -> usize {
        work::touched();
        let bucket = self.buckets.get(self.bucket_of(hash));
        bucket.map_or(0, |bucket| bucket.columns(shape).of_address(peer))
    }

    /// The stamp of the peer at `place`, and its time.
    pub(super) fn stamped(&self, shape: Shape, place: Place) -> (Stamp, Tick) {
        let bucket = self.buckets.get(place.bucket);
        let stamp = bucket.and_then(|bucket| bucket.stamp(shape, place.index));
        let (stamp, window) = (stamp.unwrap_or_default(), bucket.map(Bucket::window));
        (stamp, window.unwrap_or_default().tick(stamp))
    }

    /// The peer at `place`, if there is one.
    pub(super) fn get(&self, shape: Shape, place: Place) -> Option<Newcomer> {
        let bucket = self.buckets.get(place.bucket)?;
        let entry = bucket.columns(shape).entry(place.index)?;
        Some(Newcomer::of_entry(&entry, bucket.window()))
    }

    /// The compact peer at `place`, if there is one.
    pub(super) fn endpoint(&self, shape: Shape, place: Place) -> Option<&[u8]> {
        let columns = self.buckets.get(place.bucket)?.columns(shape);
        Some(columns.range(place.index..place.index + 1).0)
    }

    /// Notes a new announce of the peer at `place`. Returns its stamp before, and the time of that.
    #[inline]
    pub(super) fn renew(&mut self, rules: &Rules, now: Tick, place: Place, peer: &Newcomer) -> (Stamp, Tick) {
        let shape = rules.shape(peer.endpoint.family);
        let bucket = self.buckets.get_mut(place.bucket);
        bucket.map_or((0, now), |bucket| {
            bucket.renew(rules, shape, now, place.index, peer)
        })
    }

    /// Adds a peer that is not there.
    pub(super) fn insert(&mut self, rules: &Rules, now: Tick, hash: u64, peer: &Newcomer) {
        // Most large swarms have no peers of one family: their sets have no table.
        if self.buckets.len() == 0 {
            self.buckets.push(Bucket::default());
        }
        let shape = rules.shape(peer.endpoint.family);
        let index = self.bucket_of(hash);
        if let Some(bucket) = self.buckets.get_mut(index) {
            let count = bucket.push(rules, shape, now, peer);
            let together = bucket.of_network(shape, Network::of(peer.endpoint.bytes()));
            self.len += 1;
            self.lengthen(count, together);
        }
        // At most one split for one peer bounds the work of an announce.
        if self.len as usize > self.buckets.len() * BUCKET_LOAD {
            self.split(rules, shape);
        }
    }

    /// Takes the peer at `place` out.
    pub(super) fn remove(&mut self, shape: Shape, place: Place) {
        // The order within a bucket means nothing: the last peer may take the place.
        if let Some(bucket) = self.buckets.get_mut(place.bucket) {
            bucket.swap_remove(shape, place.index);
            self.len -= 1;
        }
        self.rejoin(shape);
    }

    /// Takes the peers of the bucket at `spot` that are too old out. Returns how many, and where the next bucket begins.
    /// When the last one is passed, what the longest one was before is forgotten.
    pub(super) fn sweep(
        &mut self,
        rules: &Rules,
        shape: Shape,
        now: Tick,
        spot: Spot,
    ) -> (u32, Option<Spot>) {
        let buckets = self.buckets.len();
        let Some(bucket) = self.buckets.get_mut(block_at(spot, buckets)) else {
            return (0, None);
        };
        let removed = bucket.expire(rules, shape, now);
        let left = bucket.len(shape);
        // Peers of one network are seldom together by chance, and then only few: no table has to be made for these.
        let together = if self.together > TOGETHER_FEW {
            bucket.together(shape)
        } else {
            self.together
        };
        self.len -= removed;
        // A sweep that began elsewhere has not seen every bucket, and must not lower the bounds.
        if spot == 0 {
            (self.longest_passed, self.together_passed) = (Some(NonZero::<u32>::MIN), 0);
        }
        self.pass(left, together);
        let next = next_block(spot, buckets);
        if next.is_none()
            && let Some(passed) = self.longest_passed.take()
        {
            (self.longest, self.together) = (passed.get() - 1, self.together_passed);
        }
        self.rejoin(shape);
        (removed, next)
    }

    /// A peer, any with the same probability, if there are any.
    pub(super) fn any(&self, shape: Shape, random: &mut Random) -> Option<Place> {
        if self.len == 0 {
            return None;
        }
        // Rejection: a place is drawn in a rectangle as high as the longest bucket, so that peers of short ones are no likelier.
        for _ in 0..DRAWS_MAX {
            let drawn = self.candidate(random);
            let bucket = self.buckets.get(drawn.bucket);
            if bucket.is_some_and(|bucket| drawn.index < bucket.count(shape)) {
                return Some(drawn);
            }
        }
        Some(self.candidate(random))
    }

    /// A place where a peer may be, any with the same probability (as near as 32 bits of chance come to that).
    pub(super) fn candidate(&self, random: &mut Random) -> Place {
        let drawn = random.u64(..);
        // One draw for both, and a product instead of a remainder, which would take a division.
        let below = |drawn: u64, end: u64| ((drawn * end) >> 32) as usize;
        Place {
            bucket: below(drawn >> 32, self.buckets.len() as u64),
            index: below(drawn & u64::from(u32::MAX), self.longest.into()),
        }
    }

    fn split(&mut self, rules: &Rules, shape: Shape) {
        let last = self.buckets.len();
        let Some(origin) = self.buckets.get_mut(origin_of(last)) else {
            return;
        };
        let stays = |entry: Entry| block_of(rules.peer_hash(&entry.endpoint), last + 1) != last;
        let keep: Vec<_> = origin.columns(shape).entries().map(stays).collect();
        let fresh = origin.without(shape, &keep);
        origin.retain(shape, &keep);
        self.buckets.push(fresh);
    }

    /// Peers of one network in one bucket, at most.
    pub(super) const fn together(&self) -> u16 {
        self.together
    }

    /// Notes that a bucket holds `count` peers now, and `together` of one network.
    fn lengthen(&mut self, count: u32, together: u16) {
        self.longest = self.longest.max(count);
        self.together = self.together.max(together);
        self.pass(count, together);
    }

    /// The same for the buckets that a sweep has passed, whether this is one of them or not.
    fn pass(&mut self, count: u32, together: u16) {
        let longest = |passed: NonZero<u32>| passed.max(NonZero::<u32>::MIN.saturating_add(count));
        self.longest_passed = self.longest_passed.map(longest);
        self.together_passed = self.together_passed.max(together);
    }

    /// Joins buckets when there are too many for the peers that are left: two for each that may have left.
    ///
    /// Two that are both full wait. Where all peers leave in the order of a sweep, there are fewer and fewer buckets, but those
    /// ahead of the sweep are as full as before: joined again and again, the last ones would have thousands of peers.
    fn rejoin(&mut self, shape: Shape) {
        for _ in 0..2 {
            let last = self.buckets.len().saturating_sub(1);
            // Half of the load at which buckets are split, so that a peer that comes and goes does not split and join.
            if last == 0 || self.len as usize > last * BUCKET_LOAD / 2 {
                break;
            }
            let count = |bucket| self.buckets.get(bucket).map_or(0, |bucket| bucket.count(shape));
            if count(last).min(count(origin_of(last))) > BUCKET_LOAD {
                break;
            }
            if let (Some(bucket), Some(origin)) = (self.buckets.pop(), self.buckets.get_mut(origin_of(last)))
            {
                let count = origin.absorb(shape, bucket);
                let together = origin.together(shape);
                self.lengthen(count, together);
            }
        }
        // The bound on the longest bucket is forgotten with the last one, too.
        if self.len == 0 && self.buckets.len() == 1 {
            *self = Self::default();
        }
    }
}

/// Peers of a bucket on average, at most: enough that an allocation for each costs less than a byte a peer, few enough
/// that a look through one is quick.
pub(super) const BUCKET_LOAD: usize = 96;

/// Peers of one network in a bucket that are no reason to look again.
const TOGETHER_FEW: u16 = 3;

/// Draws after which [`Set::any`] takes what it finds: one in thirty is accepted even if the longest bucket holds
/// thousands of peers of one or two addresses.
const DRAWS_MAX: usize = 256;

/// A peer that announces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    pub(super) endpoint: Compact,
    pub(super) id: crate::PeerId,
    pub(super) seeder: bool,
    /// Whether it has been a seeder since it came. Invariant: so has a seeder.
    pub(super) been_seeder: bool,
    pub(super) announced: Tick,
}

impl Newcomer {
    pub(super) fn entry(&self, window: Window) -> Entry {
        let seeder = if self.seeder { SEEDER } else { 0 };
        let been_seeder = if self.been_seeder { BEEN_SEEDER } else { 0 };
        Entry {
            endpoint: self.endpoint,
            stamp: window.stamp(self.announced) | seeder | been_seeder,
            id: self.id,
        }
    }

    pub(super) fn of_entry(entry: &Entry, window: Window) -> Self {
        Self {
            endpoint: entry.endpoint,
            id: entry.id,
            seeder: entry.stamp & SEEDER != 0,
            been_seeder: entry.stamp & BEEN_SEEDER != 0,
            announced: window.tick(entry.stamp),
        }
    }
}

/// Some peers in columns, and the window of their stamps. One without peers is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Bucket(Box<[u8]>);

#[cfg(test)]
impl Drop for Bucket {
    fn drop(&mut self) {
        work::freed();
    }
}

/// Slots for the networks of a bucket: about a hundred seldom meet more than two at a time.
const SLOTS: usize = 512;

/// Bytes of a bucket beside its peers.
const BUCKET: usize = TAIL + ALLOCATION + account::table::<Bucket>(1);

/// Bytes of the window, which stands at the end: near the stamps.
const TAIL: usize = 4;

impl Bucket {
    /// What it takes.
    pub(super) const fn bytes(&self) -> usize {
        self.0.len().saturating_sub(TAIL) + BUCKET
    }

    /// What is read to hand out some peers: their endpoints, their stamps and the window.
    pub(super) fn parts(&self, shape: Shape, range: Range<usize>) -> [&[u8]; 3] {
        let columns = self.columns(shape);
        let window = self.0.get(self.0.len().saturating_sub(TAIL)..);
        let (endpoints, _) = columns.range(range.clone());
        let stamps = columns.stamps.get(range);
        [endpoints, stamps.unwrap_or_default(), window.unwrap_or_default()]
    }

    pub(super) fn columns(&self, shape: Shape) -> Columns<'_> {
        let columns = self.0.split_last_chunk::<TAIL>();
        Columns::new(shape, columns.map_or(&[], |(columns, _)| columns))
    }

    /// How many peers of a network there are.
    fn of_network(&self, shape: Shape, network: Network) -> u16 {
        let endpoints = self
            .columns(shape)
            .endpoints
            .chunks_exact(shape.family.compact_len());
        let count = endpoints.filter(|peer| Network::of(peer) == network).count();
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// How many peers of one network there are, at most: networks that meet in a slot are counted as one.
    fn together(&self, shape: Shape) -> u16 {
        let mut slots = [0u16; SLOTS];
        let mut most = 0;
        for peer in self
            .columns(shape)
            .endpoints
            .chunks_exact(shape.family.compact_len())
        {
            if let Some(slot) = slots.get_mut(Network::of(peer).slot(SLOTS)) {
                *slot = slot.saturating_add(1);
                most = most.max(*slot);
            }
        }
        most
    }

    pub(super) fn window(&self) -> Window {
        Window::from_le_bytes(self.0.last_chunk().copied().unwrap_or_default())
    }

    pub(super) const fn count(&self, shape: Shape) -> usize {
        shape.count(self.0.len().saturating_sub(TAIL))
    }

    /// The stamp of the peer number `index`, if there are so many.
    pub(super) fn stamp(&self, shape: Shape, index: usize) -> Option<Stamp> {
        let stamps = peers::stamps_at(shape, 0, self.count(shape));
        self.0.get(stamps)?.get(index).copied()
    }

    fn len(&self, shape: Shape) -> u32 {
        u32::try_from(self.count(shape)).unwrap_or(u32::MAX)
    }

    fn set_window(&mut self, window: Window) {
        if let Some(tail) = self.0.last_chunk_mut() {
            *tail = window.to_le_bytes();
        }
    }

    /// Moves the window, if it must be, so that `now` can be written down.
    fn reach(&mut self, rules: &Rules, shape: Shape, now: Tick) -> Window {
        let window = self.window();
        // The sweep moves windows each minute, so that an announce seldom has to.
        if window.reaches(now) && !self.0.is_empty() {
            return window;
        }
        let moved = rules.window(now);
        self.restamp(shape, window, moved);
        moved
    }

    fn restamp(&mut self, shape: Shape, from: Window, to: Window) {
        let stamps = peers::stamps_at(shape, 0, self.count(shape));
        if let Some(stamps) = self.0.get_mut(stamps) {
            from.restamp(to, stamps);
        }
        self.set_window(to);
    }

    #[inline]
    fn renew(
        &mut self,
        rules: &Rules,
        shape: Shape,
        now: Tick,
        index: usize,
        peer: &Newcomer,
    ) -> (Stamp, Tick) {
        let window = self.reach(rules, shape, now);
        let count = self.count(shape);
        let before = peers::renew(&mut self.0, shape, 0, count, index, &peer.entry(window));
        (before, window.tick(before))
    }

    /// Adds a peer and returns how many there are now.
    fn push(&mut self, rules: &Rules, shape: Shape, now: Tick, peer: &Newcomer) -> u32 {
        let window = self.reach(rules, shape, now);
        let count = self.count(shape);
        self.edit(|bytes| {
            // At once, so that the window and the first peer cost one allocation.
            if bytes.is_empty() {
                bytes.reserve_exact(shape.stride() + TAIL);
                bytes.extend(window.to_le_bytes());
            }
            peers::push(bytes, shape, 0, count, &peer.entry(window));
        });
        self.len(shape)
    }

    fn swap_remove(&mut self, shape: Shape, index: usize) {
        let count = self.count(shape);
        self.edit(|bytes| peers::swap_remove(bytes, shape, 0, count, index));
    }

    fn retain(&mut self, shape: Shape, keep: &[bool]) {
        if self.0.is_empty() {
            return;
        }
        let count = self.count(shape);
        work::touched();
        work::moved(count);
        self.edit(|bytes| {
            peers::retain(bytes, shape, 0, count, keep);
        });
    }

    /// Those peers whose numbers `leave` says no to, in a bucket that takes no more than they need.
    fn without(&self, shape: Shape, leave: &[bool]) -> Self {
        let count = leave.iter().filter(|&&leave| !leave).count();
        if count == 0 {
            return Self::default();
        }
        let columns = self.columns(shape);
        let mut bytes = Vec::with_capacity(count * shape.stride() + TAIL);
        for (column, width) in [columns.endpoints, columns.stamps, columns.ids]
            .into_iter()
            .zip(shape.widths())
        {
            let values = column.chunks_exact(width.max(1)).zip(leave);
            values
                .filter(|(_, leave)| !**leave)
                .for_each(|(value, _)| bytes.extend(value));
        }
        bytes.extend(self.window().to_le_bytes());
        work::copied(bytes.len());
        Self(bytes.into_boxed_slice())
    }

    fn expire(&mut self, rules: &Rules, shape: Shape, now: Tick) -> u32 {
        work::touched();
        let (columns, window) = (self.columns(shape), self.window());
        let wanted = rules.wanted(window, now, true);
        let before = columns.len();
        // Only then are columns copied and a list made.
        if wanted.run(columns.stamps) < before {
            let keep: Vec<_> = columns.stamps.iter().map(|&stamp| wanted.fits(stamp)).collect();
            self.retain(shape, &keep);
        }
        // None of those left is older than the new window, so their stamps mean the same in it.
        self.set_window(rules.window(now).later(window));
        u32::try_from(before - self.count(shape)).unwrap_or(u32::MAX)
    }

    /// Takes in all peers of another bucket. Returns how many there are now.
    fn absorb(&mut self, shape: Shape, mut other: Self) -> u32 {
        if self.0.is_empty() {
            *self = other;
        } else if !other.0.is_empty() {
            // One bucket has one window. In the later one, what is too old for it reads as too old.
            let window = self.window().later(other.window());
            self.restamp(shape, self.window(), window);
            other.restamp(shape, other.window(), window);
            *self = self.joined(shape, &other);
        }
        self.len(shape)
    }

    fn joined(&self, shape: Shape, other: &Self) -> Self {
        let (ours, theirs) = (self.columns(shape), other.columns(shape));
        work::touched();
        work::moved(theirs.len());
        work::copied(self.0.len() + other.0.len());
        Self(
            [
                ours.endpoints,
                theirs.endpoints,
                ours.stamps,
                theirs.stamps,
                ours.ids,
                theirs.ids,
                &self.window().to_le_bytes(),
            ]
            .concat()
            .into_boxed_slice(),
        )
    }

    fn edit(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = mem::take(&mut self.0).into_vec();
        change(&mut bytes);
        // Nothing but the window is left: an empty bucket takes no allocation.
        if bytes.len() == TAIL {
            bytes = vec![];
        }
        self.0 = bytes.into_boxed_slice();
    }
}
