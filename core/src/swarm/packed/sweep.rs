//! Removal of peers that are too old.

use core::mem;

use crate::InfoHash;
use crate::announce::Family;
use crate::swarm::{Swept, Totals};

use super::linear::{Spot, block_at, next_block, spot_of};
use super::page::{Page, Record, SMALL_MAX};
use super::position::{Position, SweepPosition, Within};
use super::rules::Rules;
use super::stamp::{SEEDER, Tick};
use super::swarm::{KIND, Swarm};
use super::{Packed, work};

impl Packed {
    /// Sweeps from `position` on until about `work` torrents and peers have been looked at.
    ///
    /// A step ends after a whole page or bucket, so it can exceed `work` by one of these.
    pub(super) fn sweep_step(&mut self, now: Tick, work: usize, position: &mut SweepPosition) -> Swept {
        let mut step = Step {
            now,
            left: work.max(1),
            swept: Swept::default(),
        };
        // First, or they would wait behind a store that never ends.
        self.free_remains(&mut step);
        while step.left > 0 {
            let at_first = matches!(position.within, Within::Nothing);
            if at_first {
                self.sweep_page(&mut step, position.spot);
            }
            if !self.sweep_swarms(&mut step, position) {
                break;
            }
            // Swarms of this page that have become small since, and torrents that have been joined to it.
            if !at_first || !matches!(position.within, Within::Nothing) {
                self.sweep_page(&mut step, position.spot);
            }
            let next = next_block(position.spot, self.pages.len());
            *position = Position::page(next.unwrap_or_default());
            self.rejoin();
            if next.is_none() {
                step.swept.done = true;
                break;
            }
        }
        step.swept
    }

    /// Frees what large swarms that are gone have left.
    fn free_remains(&mut self, step: &mut Step) {
        self.swarms.shrink(step.left / FREE_WORK);
        while step.left > 0 && self.remains.free_one() {
            step.look_at(FREE_WORK);
        }
    }

    /// Sweeps the torrents that have their peers in the page of `spot`.
    fn sweep_page(&mut self, step: &mut Step, spot: Spot) {
        work::touched();
        step.look_at(PAGE_WORK);
        let index = block_at(spot, self.pages.len());
        let Some(page) = self.pages.get_mut(index) else {
            return;
        };
        let before = page.len();
        // Before ages are read: where no announce has come for hours, the window is too far back to name now.
        page.reach(&self.rules, step.now);
        let (mut number, mut start) = (0, page.first());
        while number < page.torrents() {
            let record = page.record_at(&self.rules, number, start);
            let if_removed = record.next_if_removed();
            match expire(page, &self.rules, record, step, &mut self.totals) {
                Some(record) => {
                    number += 1;
                    start = record.next();
                }
                None => {
                    self.totals.torrents -= 1;
                    step.swept.torrents_removed += 1;
                    start = if_removed;
                }
            }
        }
        page.swept(&self.rules, step.now);
        self.bytes = self.bytes + page.len() - before;
    }

    /// Sweeps the large swarms of the page at `position`; true when it is through.
    fn sweep_swarms(&mut self, step: &mut Step, position: &mut SweepPosition) -> bool {
        while let Some((index, record, info_hash)) = self.next_swarm(position) {
            let from = position.inside(&info_hash).unwrap_or_default();
            let hash = self.rules.torrent_hash(&info_hash);
            let reached = self.sweep_swarm(step, index, &record, from);
            // A swarm counts once, at its end: what is left of it is known only then.
            if reached.is_none() {
                let number = self.pages.get(index).map_or(u32::MAX, |page| page.large(&record));
                step.saw(self.swarms.get(number).map_or(0, Swarm::len));
            }
            if !self.settle(step.now, index, &record) {
                step.swept.torrents_removed += 1;
            }
            *position = Position::after(hash, info_hash);
            if let Some((part, spot)) = reached {
                position.within = Within::Inside(info_hash, part, spot);
                return false;
            }
        }
        true
    }

    /// The first torrent with a large swarm from `position` on, in its page.
    fn next_swarm(&self, position: &SweepPosition) -> Option<(usize, Record, InfoHash)> {
        let index = block_at(position.spot, self.pages.len());
        let page = self.pages.get(index)?;
        // Most pages have none, and no info-hash has to be hashed then.
        if !page.has_large() {
            return None;
        }
        let swarms = page.records(&self.rules).filter(Record::is_large);
        let named = swarms.map(|record| {
            let info_hash = page.info_hash(&record);
            (self.rules.torrent_hash(&info_hash), info_hash, record)
        });
        let ahead = named.filter(|(hash, info_hash, _)| position.is_before(*hash, info_hash));
        let (_, info_hash, record) = ahead.min_by_key(|(hash, info_hash, _)| (spot_of(*hash), *info_hash))?;
        Some((index, record, info_hash))
    }

    /// Sweeps a large swarm from a place on. Returns where to go on if it is not through.
    fn sweep_swarm(
        &mut self,
        step: &mut Step,
        index: usize,
        record: &Record,
        from: (usize, Spot),
    ) -> Option<(usize, Spot)> {
        let number = self.pages.get(index)?.large(record);
        let swarm = self.swarms.get_mut(number)?;
        let (first, mut spot) = from;
        for (part, (family, seeder)) in KIND.into_iter().enumerate().skip(first) {
            let (set, shape) = (swarm.set_mut(family, seeder), self.rules.shape(family));
            let mut next = Some(spot);
            while let Some(spot) = next.filter(|_| set.len() > 0) {
                // The lock of the shard is released here, between two buckets.
                if step.left == 0 {
                    return Some((part, spot));
                }
                let bucket = set.buckets.get(block_at(spot, set.buckets.len()));
                step.look_at(BUCKET_WORK + bucket.map_or(0, |bucket| bucket.count(shape)));
                let before = set.bytes(shape);
                let (removed, after) = set.sweep(&self.rules, shape, step.now, spot);
                self.large_bytes = self.large_bytes + set.bytes(shape) - before;
                *self.totals.of_mut(family, seeder) -= u64::from(removed);
                step.swept.peers_removed += u64::from(removed);
                next = after;
            }
            // All expired in one pass: there may be more empty buckets than one step may free.
            if set.len() == 0 {
                let bytes = set.bytes(shape);
                self.large_bytes -= bytes;
                self.remains.bury(mem::take(set).buckets, bytes);
            }
            spot = 0;
        }
        None
    }
}

/// What it takes to take something out of a page, all of which moves, in torrents looked at.
const EXPIRY_WORK: usize = 16;
/// What it takes to look into a page and to join two others, beside its torrents, in torrents looked at.
const PAGE_WORK: usize = 8;
/// What it takes to look into a bucket and to join two others, beside its peers, in peers looked at: there may be many
/// that are nearly empty.
const BUCKET_WORK: usize = 32;
/// What it takes to free a bucket, in peers looked at.
const FREE_WORK: usize = 64;

/// One step of a sweep.
#[derive(Debug)]
struct Step {
    now: Tick,
    /// Torrents and peers that may still be looked at.
    left: usize,
    swept: Swept,
}

impl Step {
    const fn look_at(&mut self, more: usize) {
        self.left = self.left.saturating_sub(more);
    }

    /// Takes note of a torrent with so many peers.
    fn saw(&mut self, peers: u32) {
        self.swept.swarm_max = self.swept.swarm_max.max(peers);
    }
}

/// Takes the peers that are too old out of a torrent in a page. Returns its record, unless it is gone.
fn expire(
    page: &mut Page,
    rules: &Rules,
    mut record: Record,
    step: &mut Step,
    totals: &mut Totals,
) -> Option<Record> {
    step.look_at(1);
    if record.is_large() {
        return Some(record);
    }
    let window = page.window();
    let young = rules.wanted(window, step.now, true);
    let mut peers = 0;
    for family in [Family::V4, Family::V6] {
        let columns = page.columns(rules, &page.small(rules, &record), family);
        step.look_at(columns.len());
        // Nearly always: then nothing is copied, and the stamps alone were read.
        if young.run(columns.stamps) == columns.len() {
            peers += columns.len();
            continue;
        }
        step.look_at(EXPIRY_WORK);
        let mut keep = [true; SMALL_MAX];
        for (keep, &stamp) in keep.iter_mut().zip(columns.stamps) {
            *keep = young.fits(stamp);
            if !*keep {
                *totals.of_mut(family, stamp & SEEDER != 0) -= 1;
                step.swept.peers_removed += 1;
            }
            peers += usize::from(*keep);
        }
        record = page.retain(rules, &record, rules.shape(family), &keep, window.stamp(step.now))?;
    }
    if record.vacated().is_some_and(|vacated| !young.fits(vacated)) {
        step.look_at(EXPIRY_WORK);
        page.remove(&record);
        return None;
    }
    step.saw(u32::try_from(peers).unwrap_or(u32::MAX));
    Some(record)
}
