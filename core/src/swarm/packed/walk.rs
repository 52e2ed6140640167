//! A walk over all torrents and peers.

use alloc::vec::Vec;

use crate::InfoHash;
use crate::announce::Family;
use crate::swarm::{Peer, Visit};

use super::Packed;
use super::linear::{Spot, block_at, next_block, spot_of};
use super::page::{Page, Record};
use super::position::{Position, WalkPosition, Within};
use super::set::Newcomer;
use super::swarm::Swarm;

impl Packed {
    /// Shows about `work` torrents and peers from `position` on; true at the end.
    ///
    /// A step ends after a whole torrent or bucket, so it can exceed `work` by one of these.
    pub(super) fn walk_step(&self, work: usize, position: &mut WalkPosition, visit: &mut dyn Visit) -> bool {
        let mut step = Step {
            left: work.max(1),
            visit,
        };
        loop {
            let Some(page) = self.pages.get(block_at(position.spot, self.pages.len())) else {
                return true;
            };
            // Sorted in the order of spots: a page that is split before the next step must not hide one of them.
            for (record, info_hash) in self.ahead(page, position) {
                if step.left == 0 {
                    return false;
                }
                if !self.walk_torrent(&mut step, page, &record, info_hash, position) {
                    return false;
                }
            }
            match next_block(position.spot, self.pages.len()) {
                Some(next) => *position = Position::page(next),
                None => return true,
            }
        }
    }

    /// The torrents of a page from `position` on, in the order in which they are passed.
    fn ahead(&self, page: &Page, position: &WalkPosition) -> Vec<(Record, InfoHash)> {
        let records = page.records(&self.rules).map(|record| {
            let info_hash = page.info_hash(&record);
            (self.rules.torrent_hash(&info_hash), record, info_hash)
        });
        let ahead = records.filter(|(hash, _, info_hash)| position.is_before(*hash, info_hash));
        let mut ahead: Vec<_> = ahead.collect();
        ahead.sort_unstable_by_key(|(hash, _, info_hash)| (spot_of(*hash), *info_hash));
        ahead
            .into_iter()
            .map(|(_, record, info_hash)| (record, info_hash))
            .collect()
    }

    /// Shows a torrent, or what is left of it. False if the step ends inside.
    fn walk_torrent(
        &self,
        step: &mut Step<'_>,
        page: &Page,
        record: &Record,
        info_hash: InfoHash,
        position: &mut WalkPosition,
    ) -> bool {
        let swarm = record
            .is_large()
            .then(|| self.swarms.get(page.large(record)))
            .flatten();
        let inside = position.inside(&info_hash);
        // A torrent that the step before has begun was shown then.
        if inside.is_none() {
            let small = || page.counts(&self.rules, &page.small(&self.rules, record));
            step.left = step.left.saturating_sub(1);
            step.visit
                .torrent(&info_hash, swarm.map_or_else(small, Swarm::counts));
        }
        let hash = self.rules.torrent_hash(&info_hash);
        let from = inside.unwrap_or((Family::V4, 0));
        let reached = match swarm {
            Some(swarm) => self.walk_swarm(step, swarm, &info_hash, from),
            None => {
                self.walk_small(step, page, record, &info_hash, from);
                None
            }
        };
        *position = Position::after(hash, info_hash);
        if let Some((family, spot)) = reached {
            position.within = Within::Inside(info_hash, family, spot);
        }
        reached.is_none()
    }

    /// Shows the peers of a torrent that has them in its page.
    fn walk_small(
        &self,
        step: &mut Step<'_>,
        page: &Page,
        record: &Record,
        info_hash: &InfoHash,
        from: (Family, Spot),
    ) {
        let small = page.small(&self.rules, record);
        for family in [Family::V4, Family::V6] {
            for entry in page.columns(&self.rules, &small, family).entries() {
                let peer = Newcomer::of_entry(&entry, page.window());
                // The torrent may have become small since the walk was inside its swarm: part of it was shown already.
                if (family, self.peer_spot(&peer)) >= from {
                    step.show(info_hash, self.shown(&peer));
                }
            }
        }
    }

    /// Shows the peers of a large swarm from a place on. Returns where to go on if it is not through.
    fn walk_swarm(
        &self,
        step: &mut Step<'_>,
        swarm: &Swarm,
        info_hash: &InfoHash,
        from: (Family, Spot),
    ) -> Option<(Family, Spot)> {
        let (first, mut spot) = from;
        for family in [Family::V4, Family::V6]
            .into_iter()
            .filter(|&family| family >= first)
        {
            let mut next = Some(spot);
            while let Some(spot) = next {
                if step.left == 0 {
                    return Some((family, spot));
                }
                next = self.walk_spots(step, swarm, info_hash, family, spot);
            }
            spot = 0;
        }
        None
    }

    /// Shows the peers of one family from `spot` to where the first bucket ends. Returns that spot.
    fn walk_spots(
        &self,
        step: &mut Step<'_>,
        swarm: &Swarm,
        info_hash: &InfoHash,
        family: Family,
        spot: Spot,
    ) -> Option<Spot> {
        let sets = [swarm.set(family, false), swarm.set(family, true)];
        let ends = sets.map(|set| next_block(spot, set.buckets.len()));
        // The sets have different numbers of buckets: the walk goes on where the shorter interval ends.
        let end = ends.into_iter().flatten().min();
        for set in sets {
            let bucket = set.buckets.get(block_at(spot, set.buckets.len()));
            // A set without peers has no table.
            let Some(bucket) = bucket else {
                continue;
            };
            for entry in bucket.columns(self.rules.shape(family)).entries() {
                let peer = Newcomer::of_entry(&entry, bucket.window());
                let its_spot = self.peer_spot(&peer);
                // The bucket may cover more than the interval: the rest is shown with a later one.
                if its_spot >= spot && end.is_none_or(|end| its_spot < end) {
                    step.show(info_hash, self.shown(&peer));
                }
            }
        }
        end
    }

    /// A peer as others see it.
    pub(super) fn shown(&self, peer: &Newcomer) -> Peer {
        Peer {
            endpoint: peer.endpoint.into(),
            id: peer.id,
            seeder: peer.seeder,
            been_seeder: peer.been_seeder,
            announced: self.rules.minute(peer.announced),
        }
    }

    fn peer_spot(&self, peer: &Newcomer) -> Spot {
        spot_of(self.rules.peer_hash(&peer.endpoint))
    }
}

/// One step of a walk.
struct Step<'a> {
    /// Torrents and peers that may still be shown.
    left: usize,
    visit: &'a mut dyn Visit,
}

impl Step<'_> {
    fn show(&mut self, info_hash: &InfoHash, peer: Peer) {
        self.left = self.left.saturating_sub(1);
        self.visit.peer(info_hash, &peer);
    }
}
