//! A page: some torrents in one allocation, with their peers while those are few.
//!
//! ```text
//! window 4 | count 1 | first byte of each info-hash | control byte of each | other 19 bytes and data of each
//! ```
//!
//! A lookup scans one or two cache lines; a torrent's own data are contiguous, and are one of
//!
//! ```text
//! [downloaded 4] [IPv6 byte 1] IPv4 peers in columns, IPv6 peers in columns
//! number of a large swarm 4
//! ```
//!
//! The control byte says which, the number of IPv4 peers, and whether the parts in brackets are present. The IPv6 byte is
//! the number of IPv6 peers or, in a torrent that is kept for its downloads alone, [`VACANT`] and the stamp of the time at
//! which the last peer left.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use crate::InfoHash;
use crate::announce::{Counts, Family};

use super::lanes::{self, LANES};
use super::peers::{self, Columns, Entry, Shape};
use super::rules::Rules;
use super::stamp::{Stamp, Tick, Window};
use super::work;

/// Torrents of about the same hash. One without torrents is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Page(Box<[u8]>);

/// Where a torrent is in its page, and the two bytes that tell what its data are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) index: usize,
    control: u8,
    /// 0 if it is left out.
    v6: u8,
    start: usize,
    pub(super) end: usize,
}

/// A torrent that has its peers in the page, or none.
#[derive(Clone, Debug)]
pub(super) struct Small {
    pub(super) downloaded: u32,
    v4: Range<usize>,
    v6: Range<usize>,
}

/// The lowest bits of a control byte: the number of IPv4 peers, or [`LARGE`].
const V4: u8 = 0x3f;
/// In the place of a number of peers: there is a large swarm.
const LARGE: u8 = 0x3f;
/// In a control byte: there is an IPv6 byte.
const V6: u8 = 0x40;
/// In a control byte: there is a number of downloads.
const DOWNLOADED: u8 = 0x80;
/// In an IPv6 byte: there are no peers at all, and this is when the last one left.
const VACANT: u8 = 0x80;

/// Peers of both families that are kept in a page; with one more the torrent gets a large swarm.
pub(super) const SMALL_MAX: usize = 32;
/// Torrents in one page. Pages are split long before, unless chance is unbelievably bad; then torrents are refused.
pub(super) const TORRENTS_MAX: usize = 255;

/// Bytes of the window and the count.
const HEAD: usize = 5;
/// Bytes of a torrent in the head of the page.
const TOLD: usize = 2;
/// Bytes of an info-hash that stand before the data of its torrent.
const REST: usize = 19;

impl Record {
    pub(super) const fn is_large(&self) -> bool {
        self.control & V4 == LARGE
    }

    /// The time at which the last peer left, if there are none.
    pub(super) const fn vacated(&self) -> Option<Stamp> {
        if self.v6 & VACANT == 0 {
            None
        } else {
            Some(self.v6 & !VACANT)
        }
    }

    /// The bytes that are read of the torrent.
    pub(super) const fn range(&self) -> Range<usize> {
        self.start - REST..self.end
    }

    /// Where the data of the next torrent begin.
    pub(super) const fn next(&self) -> usize {
        self.end + REST
    }

    /// Where the data of the next torrent begin once this one is removed.
    pub(super) const fn next_if_removed(&self) -> usize {
        self.start - TOLD
    }

    const fn has(&self, flag: u8) -> bool {
        self.control & flag != 0
    }

    /// Where the IPv6 byte is, or would be.
    const fn v6_at(&self) -> usize {
        self.start + if self.has(DOWNLOADED) { 4 } else { 0 }
    }

    const fn peers_at(&self) -> usize {
        self.v6_at() + if self.has(V6) { 1 } else { 0 }
    }
}

impl Small {
    /// Peers of both families.
    pub(super) fn peers(&self, rules: &Rules) -> usize {
        let count = |family| rules.shape(family).count(self.range(family).len());
        count(Family::V4) + count(Family::V6)
    }

    pub(super) const fn range(&self, family: Family) -> &Range<usize> {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

impl Page {
    pub(super) const fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn torrents(&self) -> usize {
        self.0.get(HEAD - 1).map_or(0, |&count| count.into())
    }

    pub(super) fn window(&self) -> Window {
        Window::from_le_bytes(self.0.first_chunk().copied().unwrap_or_default())
    }

    /// The info-hash of a torrent.
    pub(super) fn info_hash(&self, record: &Record) -> InfoHash {
        let mut info_hash = [0; 20];
        let [first, rest @ ..] = &mut info_hash;
        *first = self.0.get(HEAD + record.index).copied().unwrap_or_default();
        *rest = self.rest(record).copied().unwrap_or_default();
        InfoHash(info_hash)
    }

    fn rest(&self, record: &Record) -> Option<&[u8; REST]> {
        self.0.get(record.start - REST..record.start)?.first_chunk()
    }

    pub(super) fn find(&self, rules: &Rules, info_hash: &InfoHash) -> Option<Record> {
        work::touched();
        let [first, rest @ ..] = &info_hash.0;
        self.beginning_with(rules, *first, |record| self.rest(record) == Some(rest))
    }

    /// The torrent that is probably the one of this info-hash, as far as the head of the page tells.
    pub(super) fn likely(&self, rules: &Rules, info_hash: &InfoHash) -> Option<Record> {
        self.beginning_with(rules, info_hash.0[0], |_| true)
    }

    /// The first torrent whose info-hash begins with `first`, and that `is_it` says yes to.
    #[inline]
    fn beginning_with(&self, rules: &Rules, first: u8, is_it: impl Fn(&Record) -> bool) -> Option<Record> {
        let count = self.torrents();
        let mut before = Before::default();
        let mut at = 0;
        while at < count {
            // What is behind those of the last torrent are other columns.
            let mut hits = lanes::equal(self.lanes(HEAD + at), first);
            let controls = self.lanes(HEAD + count + at);
            // One in 256 of the others begins alike: the rest of the info-hash decides.
            while let Some(lane) = lanes::first(hits).filter(|lane| at + lane < count) {
                let before = before.and(lanes::up_to(controls, lane));
                let record = self.record_behind(rules, at + lane, before);
                if is_it(&record) {
                    return Some(record);
                }
                hits &= hits - 1;
            }
            before = before.and(controls);
            at += LANES;
        }
        None
    }

    /// The torrent number `index`, behind those that were added up.
    #[inline]
    fn record_behind(&self, rules: &Rules, index: usize, before: Before) -> Record {
        // The numbers of IPv6 peers stand in the data of each torrent, so that one must be passed after the other.
        let start = match before.len_without_v6(rules) {
            Some(len) => self.first() + REST * index + len,
            None => (0..index).fold(self.first(), |start, index| {
                self.record_at(rules, index, start).next()
            }),
        };
        self.record_at(rules, index, start)
    }

    /// The bytes from `at` on that are looked at together.
    #[inline]
    fn lanes(&self, at: usize) -> u64 {
        let bytes = self.0.get(at..at + LANES).and_then(<[u8]>::first_chunk);
        u64::from_le_bytes(bytes.copied().unwrap_or_default())
    }

    /// The torrent number `index`, whose data are known to begin at `start`.
    pub(super) fn record_at(&self, rules: &Rules, index: usize, start: usize) -> Record {
        let at = HEAD + self.torrents() + index;
        let control = self.0.get(at).copied().unwrap_or_default();
        self.record_of(rules, index, control, start)
    }

    /// All torrents one after the other.
    pub(super) fn records(&self, rules: &Rules) -> impl Iterator<Item = Record> {
        let mut start = self.first();
        (0..self.torrents()).map(move |index| {
            let record = self.record_at(rules, index, start);
            start = record.next();
            record
        })
    }

    /// Whether any of the torrents is large.
    pub(super) fn has_large(&self) -> bool {
        let count = self.torrents();
        let controls = self.0.get(HEAD + count..HEAD + 2 * count).unwrap_or_default();
        controls.iter().any(|control| control & V4 == LARGE)
    }

    /// Where the data of the first torrent begin.
    pub(super) fn first(&self) -> usize {
        HEAD + TOLD * self.torrents() + REST
    }

    #[inline]
    fn record_of(&self, rules: &Rules, index: usize, control: u8, start: usize) -> Record {
        let mut record = Record {
            index,
            control,
            v6: 0,
            start,
            end: start + 4,
        };
        // Of a large one the page has the number of its swarm, and nothing that the control byte would say.
        if record.is_large() {
            return record;
        }
        let v4_len = usize::from(control & V4) * rules.shape(Family::V4).stride();
        record.end = record.peers_at() + v4_len;
        if record.has(V6) {
            record.v6 = self.0.get(record.v6_at()).copied().unwrap_or_default();
            if record.vacated().is_none() {
                record.end += usize::from(record.v6) * rules.shape(Family::V6).stride();
            }
        }
        record
    }

    /// The number of a large swarm.
    pub(super) fn large(&self, record: &Record) -> u32 {
        self.number(record.start)
    }

    /// What a torrent has in the page, if it is not large.
    pub(super) fn small(&self, rules: &Rules, record: &Record) -> Small {
        let v4_len = usize::from(record.control & V4) * rules.shape(Family::V4).stride();
        let v4 = record.peers_at()..record.peers_at() + v4_len;
        Small {
            downloaded: if record.has(DOWNLOADED) {
                self.number(record.start)
            } else {
                0
            },
            v6: v4.end..record.end,
            v4,
        }
    }

    fn number(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        u32::from_le_bytes(bytes.copied().unwrap_or_default())
    }

    pub(super) fn columns(&self, rules: &Rules, small: &Small, family: Family) -> Columns<'_> {
        let bytes = self.0.get(small.range(family).clone());
        Columns::new(rules.shape(family), bytes.unwrap_or_default())
    }

    pub(super) fn counts(&self, rules: &Rules, small: &Small) -> Counts {
        let (mut peers, mut seeders) = (0, 0);
        for family in [Family::V4, Family::V6] {
            // Most torrents have peers of one family alone.
            if small.range(family).is_empty() {
                continue;
            }
            let columns = self.columns(rules, small, family);
            peers += columns.len();
            seeders += columns.seeders();
        }
        let count = |peers| u32::try_from(peers).unwrap_or(u32::MAX);
        Counts {
            complete: count(seeders),
            incomplete: count(peers - seeders),
            downloaded: small.downloaded,
        }
    }

    /// Moves the window, if it must be, so that `now` can be written down.
    pub(super) fn reach(&mut self, rules: &Rules, now: Tick) -> Window {
        let window = self.window();
        // The sweep moves windows each minute, so that an announce seldom has to.
        if window.reaches(now) && !self.0.is_empty() {
            return window;
        }
        let moved = rules.window(now);
        self.restamp(rules, window, moved);
        moved
    }

    /// Moves the window to `now` when everything too old for it is gone.
    pub(super) fn swept(&mut self, rules: &Rules, now: Tick) {
        // Never back: stamps that were made in a later window would be misread after the clock was set back.
        let window = rules.window(now).later(self.window());
        self.set_window(window);
    }

    fn set_window(&mut self, window: Window) {
        if let Some(head) = self.0.first_chunk_mut() {
            *head = window.to_le_bytes();
        }
    }

    fn restamp(&mut self, rules: &Rules, from: Window, to: Window) {
        let mut start = self.first();
        for index in 0..self.torrents() {
            let record = self.record_at(rules, index, start);
            start = record.next();
            // The peers of a large one have windows of their own, in their buckets.
            if record.is_large() {
                continue;
            }
            if let Some(vacated) = record.vacated() {
                let mut stamp = [vacated];
                from.restamp(to, &mut stamp);
                self.set_v6(&record, VACANT | stamp[0]);
            }
            let small = self.small(rules, &record);
            for family in [Family::V4, Family::V6] {
                let (shape, range) = (rules.shape(family), small.range(family));
                let stamps = peers::stamps_at(shape, range.start, shape.count(range.len()));
                if let Some(stamps) = self.0.get_mut(stamps) {
                    from.restamp(to, stamps);
                }
            }
        }
        self.set_window(to);
    }

    /// Notes a new announce of the peer number `index` of its family. Returns its stamp before.
    pub(super) fn renew(&mut self, shape: Shape, small: &Small, index: usize, entry: &Entry) -> Stamp {
        let range = small.range(shape.family);
        let count = shape.count(range.len());
        peers::renew(&mut self.0, shape, range.start, count, index, entry)
    }

    /// Adds a torrent without peers, which must get some at once. There must be fewer than [`TORRENTS_MAX`].
    pub(super) fn add(&mut self, window: Window, info_hash: &InfoHash) -> Record {
        let index = self.torrents();
        self.edit(HEAD + TOLD + REST, |bytes| {
            if bytes.is_empty() {
                bytes.extend(window.to_le_bytes());
                bytes.push(0);
            }
            let [first, rest @ ..] = &info_hash.0;
            put(bytes, HEAD + index, &[*first]);
            put(bytes, HEAD + 2 * index + 1, &[0]);
            bytes.extend(rest);
            if let Some(count) = bytes.get_mut(HEAD - 1) {
                *count = count.saturating_add(1);
            }
        });
        let end = self.len();
        Record {
            index,
            control: 0,
            v6: 0,
            start: end,
            end,
        }
    }

    /// Drops a torrent with what it has in the page.
    pub(super) fn remove(&mut self, record: &Record) {
        let (index, count) = (record.index, self.torrents());
        self.edit(0, |bytes| {
            cut(bytes, record.range());
            cut(bytes, HEAD + count + index..HEAD + count + index + 1);
            cut(bytes, HEAD + index..HEAD + index + 1);
            if let Some(count) = bytes.get_mut(HEAD - 1) {
                *count = count.saturating_sub(1);
            }
            // It was the last: an empty page has no head either, and takes no allocation.
            if count == 1 {
                bytes.clear();
            }
        });
    }

    /// Sets the number of downloads of a torrent that is not large. Returns its record as it is now.
    pub(super) fn set_downloaded(&mut self, rules: &Rules, record: &Record, downloaded: u32) -> Record {
        // Four bytes that most torrents do without are inserted with the first download.
        if !record.has(DOWNLOADED) {
            self.edit(4, |bytes| put(bytes, record.start, &[0; 4]));
            self.set_control(record, record.control | DOWNLOADED);
        }
        if let Some(place) = self.0.get_mut(record.start..record.start + 4) {
            place.copy_from_slice(&downloaded.to_le_bytes());
        }
        self.record_at(rules, record.index, record.start)
    }

    /// Adds a peer to a torrent that is not large and has room. Returns its record as it is now.
    pub(super) fn add_peer(&mut self, rules: &Rules, record: &Record, entry: &Entry) -> Record {
        let shape = rules.shape(entry.endpoint.family);
        let mut record = *record;
        // The IPv6 byte of a vacant torrent holds a time, which the first peer overwrites.
        if record.vacated().is_some() || shape.family == Family::V6 {
            let v6_peers = if record.vacated().is_some() { 0 } else { record.v6 };
            record = self.with_v6(rules, &record, v6_peers);
        }
        let small = self.small(rules, &record);
        let range = small.range(shape.family);
        let count = shape.count(range.len());
        self.edit(shape.stride(), |bytes| {
            peers::push(bytes, shape, range.start, count, entry);
        });
        match shape.family {
            Family::V4 => self.set_control(&record, record.control + 1),
            Family::V6 => self.set_v6(&record, record.v6 + 1),
        }
        self.record_at(rules, record.index, record.start)
    }

    /// Keeps those peers of one family whose numbers `keep` says yes to; if the last one leaves, it does so at `now`.
    /// Returns the record as it is now, or nothing if the torrent had no downloads either and is gone.
    pub(super) fn retain(
        &mut self,
        rules: &Rules,
        record: &Record,
        shape: Shape,
        keep: &[bool],
        now: Stamp,
    ) -> Option<Record> {
        let small = self.small(rules, record);
        let range = small.range(shape.family);
        let count = shape.count(range.len());
        let mut left = 0;
        self.edit(0, |bytes| {
            left = peers::retain(bytes, shape, range.start, count, keep);
        });
        let left = u8::try_from(left).unwrap_or(u8::MAX);
        match shape.family {
            Family::V4 => self.set_control(record, record.control & !V4 | left & V4),
            Family::V6 => self.set_v6(record, left),
        }
        let record = self.record_at(rules, record.index, record.start);
        self.vacate(rules, &record, now)
    }

    /// If a torrent has no peers, notes that the last one left at `now`, or drops it if it had no downloads either.
    pub(super) fn vacate(&mut self, rules: &Rules, record: &Record, now: Stamp) -> Option<Record> {
        if record.control & V4 > 0 || record.v6 > 0 {
            return Some(*record);
        }
        // `downloaded` (BEP 48) outlives the last peer, for as long as a peer would be kept.
        if record.has(DOWNLOADED) {
            return Some(self.with_v6(rules, record, VACANT | now));
        }
        self.remove(record);
        None
    }

    /// Makes a torrent large. Returns its record as it is now.
    pub(super) fn set_large(&mut self, rules: &Rules, record: &Record, number: u32) -> Record {
        self.edit(4, |bytes| {
            cut(bytes, record.start..record.end);
            put(bytes, record.start, &number.to_le_bytes());
        });
        self.set_control(record, LARGE);
        self.record_at(rules, record.index, record.start)
    }

    /// Makes a large torrent one without peers, which must get some or be vacated at once.
    pub(super) fn set_small(&mut self, rules: &Rules, record: &Record) -> Record {
        self.edit(0, |bytes| cut(bytes, record.start..record.end));
        self.set_control(record, 0);
        self.record_at(rules, record.index, record.start)
    }

    /// Those torrents whose numbers `keep` says yes to.
    pub(super) fn select(&self, rules: &Rules, keep: &[bool]) -> Self {
        let count = self.torrents();
        let kept = || {
            (0..count)
                .zip(keep)
                .filter(|(_, keep)| **keep)
                .map(|(index, _)| index)
        };
        let Some(kept_count) = u8::try_from(kept().count()).ok().filter(|&kept| kept > 0) else {
            return Self::default();
        };
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend(self.window().to_le_bytes());
        bytes.push(kept_count);
        let mut copy = |range: Range<usize>| bytes.extend(self.0.get(range).unwrap_or_default());
        kept().for_each(|index| copy(HEAD + index..HEAD + index + 1));
        kept().for_each(|index| copy(HEAD + count + index..HEAD + count + index + 1));
        work::touched();
        work::moved(count);
        let records = self.records(rules).zip(keep).filter(|(_, keep)| **keep);
        records.for_each(|(record, _)| copy(record.range()));
        work::copied(bytes.len());
        Self(bytes.into_boxed_slice())
    }

    /// Takes in all torrents of another page. Together there must be at most [`TORRENTS_MAX`].
    pub(super) fn absorb(&mut self, rules: &Rules, mut other: Self) {
        // An empty page has no window to begin with.
        if self.0.is_empty() {
            *self = other;
            return;
        }
        if other.0.is_empty() {
            return;
        }
        // One page has one window. In the later one, what is too old for it reads as too old.
        let window = self.window().later(other.window());
        self.restamp(rules, self.window(), window);
        other.restamp(rules, other.window(), window);
        let (ours, theirs) = (self.parts(), other.parts());
        work::touched();
        work::moved(other.torrents());
        let mut bytes = Vec::with_capacity(self.len() + other.len() - HEAD);
        bytes.extend(window.to_le_bytes());
        bytes.push(u8::try_from(self.torrents() + other.torrents()).unwrap_or(u8::MAX));
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            bytes.extend(ours);
            bytes.extend(theirs);
        }
        work::copied(bytes.len());
        self.0 = bytes.into_boxed_slice();
    }

    /// First bytes, control bytes, and what is read of each torrent.
    fn parts(&self) -> [&[u8]; 3] {
        let count = self.torrents();
        let (firsts, rest) = self.0.split_at(HEAD).1.split_at(count);
        let (controls, torrents) = rest.split_at(count);
        [firsts, controls, torrents]
    }

    fn set_control(&mut self, record: &Record, control: u8) {
        let at = HEAD + self.torrents() + record.index;
        if let Some(place) = self.0.get_mut(at) {
            *place = control;
        }
    }

    fn set_v6(&mut self, record: &Record, value: u8) {
        if let Some(place) = self.0.get_mut(record.v6_at()).filter(|_| record.has(V6)) {
            *place = value;
        }
    }

    /// Sets the IPv6 byte, which is added if need be.
    fn with_v6(&mut self, rules: &Rules, record: &Record, value: u8) -> Record {
        // The byte is inserted with the first IPv6 peer: most torrents have none.
        if !record.has(V6) {
            self.edit(1, |bytes| put(bytes, record.v6_at(), &[0]));
            self.set_control(record, record.control | V6);
        }
        let record = self.record_at(rules, record.index, record.start);
        self.set_v6(&record, value);
        self.record_at(rules, record.index, record.start)
    }

    /// Changes the bytes, which grow by at most `more`.
    fn edit(&mut self, more: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = mem::take(&mut self.0).into_vec();
        // A boxed slice knows no spare room: what a vector would keep for growth, each page would keep for ever.
        bytes.reserve_exact(more);
        change(&mut bytes);
        self.0 = bytes.into_boxed_slice();
    }
}

/// What some torrents take, added up without a branch for each.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    /// All control bytes or-ed.
    flags: u64,
    /// IPv4 peers, in lanes of two bytes.
    v4_peers: u64,
    /// Numbers of four bytes, in lanes of one byte: of a large swarm, or of downloads.
    numbers: u64,
}

impl Before {
    /// With the torrents of some control bytes; 0 adds nothing.
    #[inline]
    const fn and(self, controls: u64) -> Self {
        let peers = controls & lanes::all(V4);
        // A carry into the bit above tells that all bits of the number are set.
        let large = (peers + lanes::all(1)) >> 6 & lanes::all(1);
        let peers = peers - large * LARGE as u64;
        Self {
            flags: self.flags | controls,
            v4_peers: self.v4_peers + lanes::pairs(peers),
            numbers: self.numbers + large + (controls >> 7 & lanes::all(1)),
        }
    }

    /// The length of their data, if none of them has an IPv6 byte.
    #[inline]
    fn len_without_v6(self, rules: &Rules) -> Option<usize> {
        // The number of IPv6 peers is not in the control byte, so the length of such a torrent is not known from it.
        if self.flags & lanes::all(V6) != 0 {
            return None;
        }
        let v4_peers = lanes::sum_of_pairs(self.v4_peers);
        // Two each of a full page are more than one byte tells.
        let numbers = lanes::sum_of_pairs(lanes::pairs(self.numbers));
        let len = v4_peers * rules.shape(Family::V4).stride() as u64 + numbers * 4;
        usize::try_from(len).ok()
    }
}

/// Puts `new` before the byte number `at`.
fn put(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    let old = bytes.len();
    work::copied(old + new.len() - at);
    bytes.resize(old + new.len(), 0);
    bytes.copy_within(at..old, at + new.len());
    if let Some(place) = bytes.get_mut(at..at + new.len()) {
        place.copy_from_slice(new);
    }
}

/// Takes the bytes of `range` out.
fn cut(bytes: &mut Vec<u8>, range: Range<usize>) {
    work::copied(bytes.len() - range.start);
    bytes.copy_within(range.end.., range.start);
    bytes.truncate(bytes.len() - range.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::seed::{Random, Seed};

    #[test]
    fn the_length_of_any_torrents_is_known_from_their_control_bytes() {
        let rules = Rules::new(Config::default().swarms(), Seed::new([7; 32]).key("test"));
        let stride = rules.shape(Family::V4).stride();
        let mut random = Random::with_seed(3);
        for large in [1, 50, 99] {
            let control = |random: &mut Random| {
                let peers = if random.u8(..100) < large {
                    LARGE
                } else {
                    random.u8(..LARGE)
                };
                peers | if random.u8(..100) < large { DOWNLOADED } else { 0 }
            };
            let controls = [(); TORRENTS_MAX].map(|()| control(&mut random));
            let (eights, rest) = controls.as_chunks();
            let mut last = [0; LANES];
            last[..rest.len()].copy_from_slice(rest);
            let (mut before, mut len) = (Before::default(), 0);
            for eight in eights.iter().chain([&last]) {
                for lane in 0..LANES {
                    let some = lanes::up_to(u64::from_le_bytes(*eight), lane);
                    assert_eq!(before.and(some).len_without_v6(&rules), Some(len));
                    len += match eight[lane] & V4 {
                        LARGE => 4,
                        peers => usize::from(peers) * stride,
                    };
                    len += usize::from(eight[lane] / DOWNLOADED) * 4;
                }
                before = before.and(u64::from_le_bytes(*eight));
            }
        }
    }
}
