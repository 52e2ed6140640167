//! What an announce will read, told before it is carried out.

use core::ptr;

use crate::announce::Announce;
use crate::swarm::store::Path;
use crate::swarm::{Prepared, Stage};

use super::Packed;
use super::choose::Draws;
use super::rules::Compact;
use super::set::Set;
use super::swarm::Swarm;

impl Packed {
    /// Tells `hint` what the next stage, or the announce itself, will read. Each stage reads what the one before told.
    #[inline]
    pub(super) fn hint_stage<H: Fn(*const u8) + Copy>(
        &self,
        stage: Stage,
        announce: &Announce,
        prepared: &mut Prepared,
        hint: H,
    ) {
        match stage {
            Stage::Slot | Stage::Page | Stage::Swarm => {
                let Some(page) = self.pages.get(self.page_of(prepared.hash)) else {
                    return;
                };
                match stage {
                    Stage::Slot => hint(ptr::from_ref(page).cast()),
                    Stage::Page => lines(page.bytes(), hint),
                    Stage::Swarm | Stage::Tables | Stage::Buckets => {
                        let record = page.find(&self.rules, &announce.info_hash);
                        let large = record.filter(super::page::Record::is_large);
                        prepared.path = large.map_or(Path::Page, |record| Path::Swarm(page.large(&record)));
                    }
                }
                if let Path::Swarm(number) = prepared.path {
                    for line in 0..SWARM_LINES {
                        hint(self.swarms.address(number).wrapping_add(line * LINE));
                    }
                }
            }
            Stage::Tables | Stage::Buckets => {
                if let Path::Swarm(number) = prepared.path
                    && let Some(swarm) = self.swarms.get(number)
                {
                    self.hint_swarm(stage, swarm, announce, prepared, hint);
                }
            }
        }
    }

    fn hint_swarm<H: Fn(*const u8) + Copy>(
        &self,
        stage: Stage,
        swarm: &Swarm,
        announce: &Announce,
        prepared: &Prepared,
        hint: H,
    ) {
        let endpoint = Compact::from(announce.peer);
        let (family, seeder) = (endpoint.family, announce.is_seeder());
        let shape = self.rules.shape(family);
        let tell = |set: &Set, bucket: usize| {
            let Some(bucket) = set.buckets.get(bucket) else {
                return;
            };
            if stage == Stage::Tables {
                hint(ptr::from_ref(bucket).cast());
            } else {
                lines(bucket.head(shape), hint);
            }
        };
        let own = swarm.set(family, seeder);
        tell(own, own.bucket_of(self.rules.peer_hash(&endpoint)));
        let mut draws = Draws::new(&mut prepared.random.clone());
        for (set, random) in [
            (swarm.set(family, false), Some(&mut draws.leecher)),
            (
                swarm.set(family, true),
                Some(&mut draws.seeder).filter(|_| !seeder),
            ),
        ] {
            let Some(random) = random.filter(|_| set.len() > 0) else {
                continue;
            };
            if stage == Stage::Tables {
                for _ in 0..CANDIDATES {
                    tell(set, set.candidate(random).bucket);
                }
            } else if let Some(start) = set.any(shape, random) {
                tell(set, start.bucket);
                tell(set, start.bucket + 1);
            }
        }
    }
}

/// Bytes that a processor fetches together.
const LINE: usize = 64;
/// Lines that a swarm lies in.
const SWARM_LINES: usize = size_of::<Swarm>().div_ceil(LINE);
/// Lines that are told of one page or bucket: an ordinary one whole but for ids, of an extraordinary one the beginning.
const LINES_MAX: usize = 16;
/// Draws whose entries in the table are told: every other is accepted.
const CANDIDATES: usize = 3;

fn lines<H: Fn(*const u8)>(bytes: &[u8], hint: H) {
    for line in bytes.chunks(LINE).take(LINES_MAX) {
        hint(line.as_ptr());
    }
}
