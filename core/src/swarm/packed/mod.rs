//! The packed store: small torrents side by side in pages, the peers of large ones in buckets.
//!
//! - A [`page`] holds some twenty torrents with their peers in one allocation, found by linear hashing.
//! - A torrent with more than [`page::SMALL_MAX`] peers has a [`swarm`] of four [`set`]s: a family's leechers or seeders
//!   each, in buckets of about a hundred peers, again by linear hashing.
//! - Pages and buckets are split and joined one at a time, as torrents and peers come and go.
//! - Info-hashes are stored whole, so no two torrents are ever taken for one.
//! - Where a torrent or a peer belongs is decided by SipHash-1-3 over all of it under a secret key: whoever chooses
//!   info-hashes or addresses cannot tell which of them meet in a page or bucket, and so cannot make one long.
//! - Work is bounded: an operation looks into a few pages and buckets, splits or joins at most a few, and no table is
//!   ever rehashed or moved as a whole, or freed as a whole.

mod announce;
mod choose;
mod compact;
mod hint;
mod lanes;
mod linear;
mod page;
mod peers;
mod pieces;
mod position;
mod rules;
mod set;
mod stamp;
mod swarm;
mod sweep;
#[cfg(test)]
mod tests;
mod walk;
mod work;

#[cfg(test)]
pub(crate) use work::{Work, take as take_work};

use alloc::vec::Vec;

use crate::InfoHash;
use crate::announce::{Announce, Counts, Event, Family, Refusal};
use crate::config::SwarmConfig;
use crate::seed::Key;
use crate::time::Minute;

use super::{Handout, Prepared, Room, Stage, Store, Swept, Totals, Visit};
pub(super) use choose::Starts;
use linear::{block_of, origin_of};
use page::{Page, Record, TORRENTS_MAX};
use pieces::Pieces;
use position::{SweepPosition, WalkPosition};
use rules::Rules;
use set::Bucket;
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
    /// What large swarms that are gone have left: the sweep frees it in steps.
    remains: Pieces<Pieces<Bucket>>,
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

    fn new(config: &SwarmConfig, key: Key) -> Self {
        let mut pages = Pieces::default();
        pages.push(Page::default());
        Self {
            rules: Rules::new(config, key),
            pages,
            bytes: 0,
            swarms: Slab::new(),
            remains: Pieces::default(),
            totals: Totals::default(),
        }
    }

    fn announce(
        &mut self,
        now: Minute,
        announce: &Announce,
        prepared: Prepared,
        room: Room,
        peers: &mut Handout<'_>,
    ) -> Result<Counts, Refusal> {
        let now = self.rules.tick(now);
        if announce.event == Event::Stopped {
            return Ok(self.leave(now, announce, prepared.hash));
        }
        if !announce.is_reachable() {
            return Ok(self.look(now, announce, prepared, peers));
        }
        self.take_part(now, announce, prepared, room, peers)
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
        if downloaded == 0 || known || room == Room::None || page.torrents() >= TORRENTS_MAX {
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

    fn hint<H: Fn(*const u8) + Copy>(
        &self,
        stage: Stage,
        announce: &Announce,
        prepared: &mut Prepared,
        hint: H,
    ) {
        self.hint_stage(stage, announce, prepared, hint);
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
            if let Some(swarm) = self.swarms.remove(page.large(&record)) {
                for (family, seeder) in KIND {
                    *self.totals.of_mut(family, seeder) -= u64::from(swarm.set(family, seeder).len());
                }
                bury(&mut self.remains, swarm.into_buckets());
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
        let peers = usize::try_from(self.totals.peers()).unwrap_or(usize::MAX);
        // Small torrents have theirs in the pages and count twice, which makes up for what their tables take.
        self.bytes + peers.saturating_mul(self.rules.shape(Family::V4).stride())
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
        self.bytes = self.bytes + page.len() - before;
        result
    }

    /// Splits a page when there are too many bytes for the pages: one for each peer or torrent that came.
    fn split(&mut self) {
        let last = self.pages.len();
        if self.bytes <= last * PAGE_LOAD {
            return;
        }
        let origin = origin_of(last);
        let Some(page) = self.pages.get(origin) else {
            return;
        };
        let stays = |record| block_of(self.rules.torrent_hash(&page.info_hash(&record)), last + 1) != last;
        let stay: Vec<_> = page.records(&self.rules).map(stays).collect();
        let go: Vec<_> = stay.iter().map(|stays| !stays).collect();
        let fresh = page.select(&self.rules, &go);
        self.bytes += fresh.len();
        self.pages.push(fresh);
        self.edit(origin, |page, rules| *page = page.select(rules, &stay));
    }

    /// Joins pages when there are too many for the bytes that are left: two for each peer or torrent that may have left.
    /// Two that are both full wait, as buckets do.
    fn rejoin(&mut self) {
        for _ in 0..2 {
            let last = self.pages.len() - 1;
            let (Some(page), Some(origin)) = (self.pages.get(last), self.pages.get(origin_of(last))) else {
                return;
            };
            let fit = page.torrents() + origin.torrents() <= TORRENTS_MAX
                && page.len().min(origin.len()) <= PAGE_LOAD;
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
            if swarm.len() > 0 {
                for peer in swarm.peers(rules) {
                    record = page.add_peer(rules, &record, &peer.entry(window));
                }
            }
            page.vacate(rules, &record, window.stamp(now)).is_some()
        });
        bury(&mut self.remains, swarm.into_buckets());
        self.totals.torrents -= u64::from(!stays);
        stays
    }
}

/// Frees buckets that nothing leads to any more, or puts them aside for the sweep if they are many.
fn bury(remains: &mut Pieces<Pieces<Bucket>>, buckets: impl IntoIterator<Item = Pieces<Bucket>>) {
    for buckets in buckets {
        if buckets.len() > BUCKETS_FREED {
            remains.push(buckets);
        }
    }
}

/// Buckets of one set that are freed at once.
const BUCKETS_FREED: usize = 4;

/// Buckets at most of a large swarm that goes back into its page: one or two of each set.
const BUCKETS_SMALL: usize = 8;

/// Bytes of a page on average, at most.
const PAGE_LOAD: usize = 768;

/// Peers at which a large swarm goes back into its page: few enough that it does not come and go.
const SMALL_AGAIN: u32 = 16;
