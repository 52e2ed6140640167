//! The packed store: small torrents side by side in pages, the peers of large ones in buckets.
//!
//! - A [`page`] holds some twenty torrents with their peers in one allocation, found by linear hashing.
//! - A torrent with more than [`page::SMALL_MAX`] peers has a [`swarm`] of four [`set`]s, one for the leechers and one for
//!   the seeders of each family, in buckets of about a hundred peers, again by linear hashing.
//! - Pages and buckets are split and joined one at a time, as torrents and peers come and go.
//! - Info-hashes are stored whole, so two torrents are never confused.
//! - SipHash-1-3 under a secret key decides where a torrent or a peer belongs: an attacker who chooses info-hashes or
//!   addresses cannot tell which of them meet in a page or bucket, and so cannot make one long.
//! - Work is bounded: an operation reads a few pages and buckets and splits or joins at most a few. No table is ever
//!   rehashed, moved or freed as a whole.

mod account;
mod choose;
mod compact;
mod lanes;
mod linear;
mod page;
mod path;
mod peers;
mod pieces;
mod position;
mod prefetch;
mod put;
mod remains;
mod round;
mod rules;
mod set;
mod stamp;
mod swarm;
mod sweep;
mod take;
#[cfg(test)]
mod tests;
mod walk;
mod work;

#[cfg(test)]
pub(crate) use work::{Work, take as take_work};

pub use path::{PackedPrefetched, PackedStage, PackedStored};

use alloc::vec::Vec;

use crate::InfoHash;
use crate::announce::{Change, Counts, Family, Refusal};
use crate::config::SwarmConfig;
use crate::prefetch::Prefetch;
use crate::seed::Key;
use crate::time::Minute;

use super::{Arrival, Handout, Member, Peer, Prepared, Room, Store, Swept, Taken, Totals, Visit};
use account::ALLOCATION;
use compact::Compact;
use linear::{block_of, origin_of};
use page::{Page, Record, TORRENTS_MAX};
use path::Stage;
use pieces::Pieces;
use position::{SweepPosition, WalkPosition};
use remains::Remains;
use rules::Rules;
use set::Newcomer;
use stamp::Tick;
use swarm::{KIND, Slab, Swarm};

/// The store that takes the least memory: about 30 bytes for a torrent of one peer and 8 for a peer of a large swarm,
/// without peer ids.
#[derive(Debug)]
pub struct Packed {
    rules: Rules,
    /// Invariant: there is at least one.
    pages: Pieces<Page>,
    /// Invariant: the bytes of all pages.
    bytes: usize,
    swarms: Slab,
    /// Invariant: what the peers of large swarms take, their buckets included.
    large_bytes: usize,
    remains: Remains,
    /// Invariant: what pages and swarms hold.
    totals: Totals,
}

/// Where a sweep of a [`Packed`] store has got to.
#[derive(Clone, Copy, Debug, Default)]
pub struct PackedSweep(SweepPosition);

/// Where a walk of a [`Packed`] store has got to.
#[derive(Clone, Copy, Debug, Default)]
pub struct PackedWalk(WalkPosition);

impl Store for Packed {
    type Sweep = PackedSweep;
    type Walk = PackedWalk;
    type Stored = PackedStored;
    type Prefetched = PackedPrefetched;
    type Stage = PackedStage;

    const STAGES: &'static [PackedStage] = &[
        PackedStage(Stage::Slot),
        PackedStage(Stage::Page),
        PackedStage(Stage::Torrent),
        PackedStage(Stage::Swarm),
        PackedStage(Stage::Tables),
        PackedStage(Stage::Buckets),
    ];

    fn new(config: &SwarmConfig, key: Key) -> Self {
        let mut pages = Pieces::default();
        pages.push(Page::default());
        Self {
            rules: Rules::new(config, key),
            pages,
            bytes: 0,
            swarms: Slab::new(),
            large_bytes: 0,
            remains: Remains::default(),
            totals: Totals::default(),
        }
    }

    #[inline]
    fn put(
        &mut self,
        arrival: &Arrival<'_>,
        prepared: &Prepared<PackedPrefetched>,
        room: Room,
    ) -> Result<(Change, PackedStored), Refusal> {
        let (change, stored) = self.put_peer(arrival, prepared, room)?;
        Ok((change, PackedStored(stored)))
    }

    fn take(&mut self, now: Minute, member: &Member<'_>, hash: u64) -> Taken {
        self.take_peer(self.rules.tick(now), member, hash)
    }

    #[inline]
    fn choose(
        &self,
        now: Minute,
        member: &Member<'_>,
        stored: Option<PackedStored>,
        prepared: &Prepared<PackedPrefetched>,
        peers: &mut Handout<'_>,
    ) -> Counts {
        let stored = stored.map(|PackedStored(stored)| stored);
        self.choose_peers(self.rules.tick(now), member, stored, prepared, peers)
    }

    fn scrape(&self, info_hash: &InfoHash, hash: u64) -> Counts {
        let Some(page) = self.pages.get(self.page_of(hash)) else {
            return Counts::default();
        };
        let Some(record) = page.find(&self.rules, info_hash) else {
            return Counts::default();
        };
        if record.is_large() {
            let swarm = self.swarms.get(page.large(&record));
            return swarm.map_or_else(Counts::default, Swarm::counts);
        }
        page.counts(&self.rules, &page.small(&self.rules, &record))
    }

    fn restore(
        &mut self,
        vacated: Minute,
        info_hash: &InfoHash,
        hash: u64,
        downloaded: u32,
        room: Room,
    ) -> bool {
        let index = self.page_of(hash);
        let Some(page) = self.pages.get(index) else {
            return false;
        };
        let known = page.find(&self.rules, info_hash).is_some();
        // A torrent without downloads and peers is one that is not known, and a page counts its torrents in one byte.
        if downloaded == 0 || known || room != Room::Some || page.torrents() >= TORRENTS_MAX {
            return false;
        }
        let vacated = self.rules.tick(vacated);
        self.edit(index, |page, rules| {
            let window = page.reach(rules, vacated);
            let record = page.add(window, info_hash);
            let record = page.set_downloaded(rules, &record, downloaded);
            page.vacate(rules, &record, window.stamp(vacated));
        });
        self.totals.torrents += 1;
        self.split();
        true
    }

    #[inline]
    fn is_due(PackedStage(stage): PackedStage, PackedPrefetched(path): &PackedPrefetched) -> bool {
        stage.is_due(*path)
    }

    #[inline]
    fn prefetch(
        &self,
        PackedStage(stage): PackedStage,
        member: &Member<'_>,
        prepared: &mut Prepared<PackedPrefetched>,
        prefetch: &impl Prefetch,
    ) {
        self.prefetch_stage(stage, member, prepared, prefetch);
    }

    fn peer(&self, member: &Member<'_>, hash: u64) -> Option<Peer> {
        let page = self.pages.get(self.page_of(hash))?;
        let record = page.find(&self.rules, member.info_hash)?;
        let endpoint = Compact::from(*member.peer);
        let (rules, shape) = (&self.rules, self.rules.shape(endpoint.family));
        let peer = if record.is_large() {
            let swarm = self.swarms.get(page.large(&record))?;
            let (seeder, place) = swarm.find(rules, rules.peer_hash(&endpoint), &endpoint, member.seeder)?;
            swarm.set(endpoint.family, seeder).get(shape, place)?
        } else {
            let columns = page.columns(rules, &page.small(rules, &record), endpoint.family);
            let entry = columns.entry(columns.position(&endpoint)?)?;
            Newcomer::of_entry(&entry, page.window())
        };
        Some(self.shown(&peer))
    }

    fn set_downloaded(&mut self, info_hash: &InfoHash, hash: u64, downloaded: u32) -> bool {
        let index = self.page_of(hash);
        let page = self.pages.get(index);
        let Some(record) = page.and_then(|page| page.find(&self.rules, info_hash)) else {
            return false;
        };
        if record.is_large() {
            let number = self.pages.get(index).map_or(u32::MAX, |page| page.large(&record));
            if let Some(swarm) = self.swarms.get_mut(number) {
                swarm.downloaded = downloaded;
            }
        } else if downloaded > 0 {
            self.edit(index, |page, rules| {
                page.set_downloaded(rules, &record, downloaded);
            });
            self.split();
        }
        true
    }

    fn remove(&mut self, info_hash: &InfoHash, hash: u64) -> bool {
        let index = self.page_of(hash);
        let Some(page) = self.pages.get(index) else {
            return false;
        };
        let Some(record) = page.find(&self.rules, info_hash) else {
            return false;
        };
        if record.is_large() {
            // Millions of peers may go with it: nothing leads to them from now on, and the sweep frees their buckets.
            if let Some(swarm) = self.swarms.remove(page.large(&record)) {
                for (family, seeder) in KIND {
                    *self.totals.of_mut(family, seeder) -= u64::from(swarm.set(family, seeder).len());
                }
                self.bury(swarm);
            }
        } else {
            let small = page.small(&self.rules, &record);
            for family in [Family::V4, Family::V6] {
                let columns = page.columns(&self.rules, &small, family);
                let seeders = columns.seeders();
                *self.totals.of_mut(family, true) -= seeders as u64;
                *self.totals.of_mut(family, false) -= (columns.len() - seeders) as u64;
            }
        }
        self.edit(index, |page, _| page.remove(&record));
        self.totals.torrents -= 1;
        self.rejoin();
        true
    }

    fn is_idle(&self, since: Minute, info_hash: &InfoHash, hash: u64) -> bool {
        let Some(page) = self.pages.get(self.page_of(hash)) else {
            return false;
        };
        let Some(record) = page.find(&self.rules, info_hash) else {
            return false;
        };
        if record.is_large() {
            return false;
        }
        let (small, since) = (page.small(&self.rules, &record), self.rules.tick(since));
        let idle = |family| {
            let stamps = page.columns(&self.rules, &small, family).stamps;
            stamps
                .iter()
                .all(|&stamp| page.window().tick(stamp).since(since) == 0)
        };
        small.peers(&self.rules) <= 1 && idle(Family::V4) && idle(Family::V6)
    }

    fn sweep(&mut self, now: Minute, work: usize, position: &mut PackedSweep) -> Swept {
        self.sweep_step(self.rules.tick(now), work, &mut position.0)
    }

    fn walk(&self, work: usize, position: &mut PackedWalk, visit: &mut dyn Visit) -> bool {
        self.walk_step(work, &mut position.0, visit)
    }

    fn torrents(&self) -> u64 {
        self.totals.torrents
    }

    fn large(&self) -> u64 {
        self.swarms.len() as u64
    }

    fn bytes(&self) -> usize {
        let pages = self.bytes + account::table::<Page>(self.pages.len()) + self.pages.len() * ALLOCATION;
        let used = pages + self.swarms.bytes() + self.large_bytes + self.remains.bytes();
        // Between allocations stands what the allocator cannot use: measured in five populations (benches/swarm_memory.rs).
        used + used / 24
    }

    fn totals(&self) -> Totals {
        self.totals
    }
}

impl Packed {
    fn page_of(&self, hash: u64) -> usize {
        block_of(hash, self.pages.len())
    }

    /// Changes a page, and keeps the count of bytes right.
    fn edit<R: Default>(&mut self, index: usize, change: impl FnOnce(&mut Page, &Rules) -> R) -> R {
        let Some(page) = self.pages.get_mut(index) else {
            return R::default();
        };
        let before = page.len();
        let result = change(page, &self.rules);
        // Added first, so that nothing is below 0 in between where the page becomes shorter.
        self.bytes = self.bytes + page.len() - before;
        result
    }

    /// Splits a page when there are too many bytes for the pages: one for each peer or torrent that came. Returns which.
    fn split(&mut self) -> Option<usize> {
        let last = self.pages.len();
        if self.bytes <= last * PAGE_LOAD {
            return None;
        }
        // Linear hashing splits the pages in their order, not the one that is full: so no table is rehashed.
        let origin = origin_of(last);
        let page = self.pages.get(origin)?;
        let stays = |record| block_of(self.rules.torrent_hash(&page.info_hash(&record)), last + 1) != last;
        let stay: Vec<_> = page.records(&self.rules).map(stays).collect();
        let go: Vec<_> = stay.iter().map(|stays| !stays).collect();
        let fresh = page.select(&self.rules, &go);
        self.bytes += fresh.len();
        self.pages.push(fresh);
        self.edit(origin, |page, rules| *page = page.select(rules, &stay));
        Some(origin)
    }

    /// Joins pages when there are too many for the bytes that are left: two for each peer or torrent that may have left.
    /// Two that are both full wait, as buckets do.
    fn rejoin(&mut self) {
        for _ in 0..2 {
            let last = self.pages.len() - 1;
            let (Some(page), Some(origin)) = (self.pages.get(last), self.pages.get(origin_of(last))) else {
                return;
            };
            // Where all leave in the order of a sweep, the pages ahead of it are full: joined again and again, the last ones
            // would have thousands of torrents.
            let fit = page.torrents() + origin.torrents() <= TORRENTS_MAX
                && page.len().min(origin.len()) <= PAGE_LOAD;
            // Half of the load at which pages are split, so that a torrent that comes and goes does not split and join.
            if last == 0 || self.bytes > last * PAGE_LOAD / 2 || !fit {
                return;
            }
            let page = self.pages.pop().unwrap_or_default();
            self.bytes -= page.len();
            self.edit(origin_of(last), |origin, rules| origin.absorb(rules, page));
        }
    }

    /// Takes a large swarm that has become small back into its page, or out of the store if nothing is left.
    /// Returns whether the torrent is still there.
    fn settle(&mut self, now: Tick, index: usize, record: &Record) -> bool {
        let number = self.pages.get(index).map_or(u32::MAX, |page| page.large(record));
        let becomes_small = |swarm: &Swarm| match swarm.len() {
            0 => true,
            // A few peers in many buckets would take long to find: the sweep joins these first.
            1..=SMALL_AGAIN => swarm.buckets() <= BUCKETS_SMALL,
            _ => false,
        };
        if !self.swarms.get(number).is_some_and(becomes_small) {
            return true;
        }
        let Some(swarm) = self.swarms.remove(number) else {
            return true;
        };
        let stays = self.edit(index, |page, rules| {
            let window = page.reach(rules, now);
            let mut record = page.set_small(rules, record);
            if swarm.downloaded > 0 {
                record = page.set_downloaded(rules, &record, swarm.downloaded);
            }
            // A long walk through buckets that are all empty is left out.
            if swarm.len() > 0 {
                for peer in swarm.peers(rules) {
                    record = page.add_peer(rules, &record, &peer.entry(window));
                }
            }
            page.vacate(rules, &record, window.stamp(now)).is_some()
        });
        self.bury(swarm);
        self.totals.torrents -= u64::from(!stays);
        stays
    }

    /// Gives up a large swarm that nothing leads to any more.
    fn bury(&mut self, swarm: Swarm) {
        self.large_bytes -= swarm.bytes(&self.rules);
        for (buckets, bytes) in swarm.into_buckets(&self.rules) {
            self.remains.bury(buckets, bytes);
        }
    }
}

/// Buckets at most of a large swarm that goes back into its page: one or two of each set.
const BUCKETS_SMALL: usize = 8;

/// Bytes of a page on average, at most.
const PAGE_LOAD: usize = 768;

/// Peers at which a large swarm goes back into its page: few enough that it does not come and go.
const SMALL_AGAIN: u32 = 16;
