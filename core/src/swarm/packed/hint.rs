//! What an announce will read, told before it is carried out.

use core::ptr;

use crate::announce::Announce;
use crate::swarm::{Prepared, Stage};

use super::Packed;
use super::choose;
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
        prepared: &Prepared,
        hint: H,
    ) {
        let Some(page) = self.pages.get(self.page_of(prepared.hash)) else {
            return;
        };
        match stage {
            Stage::Slot => hint(ptr::from_ref(page).cast()),
            Stage::Page => lines(page.bytes(), hint),
            Stage::Swarm | Stage::Buckets | Stage::Peers => {
                let Some(record) = page.find(&self.rules, &announce.info_hash) else {
                    return;
                };
                if !record.is_large() {
                    return;
                }
                let number = page.large(&record);
                if stage == Stage::Swarm {
                    for line in 0..SWARM_LINES {
                        hint(self.swarms.address(number).wrapping_add(line * LINE));
                    }
                } else if let Some(swarm) = self.swarms.get(number) {
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
        let tell = |set: &Set, bucket: usize| {
            let Some(bucket) = set.buckets.get(bucket) else {
                return;
            };
            if stage == Stage::Buckets {
                hint(ptr::from_ref(bucket).cast());
            } else {
                lines(bucket.bytes(), hint);
            }
        };
        let own = swarm.set(family, seeder);
        tell(own, own.bucket_of(self.rules.peer_hash(&endpoint)));
        let starts = choose::draw(
            swarm,
            self.rules.shape(family),
            seeder,
            &mut prepared.random.clone(),
        );
        for (set, start) in [
            (swarm.set(family, false), starts.leecher),
            (swarm.set(family, true), starts.seeder),
        ] {
            if let Some(start) = start {
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
/// Lines that are told of one page or bucket: an ordinary one whole, of an extraordinary one the beginning.
const LINES_MAX: usize = 16;

fn lines<H: Fn(*const u8)>(bytes: &[u8], hint: H) {
    for line in bytes.chunks(LINE).take(LINES_MAX) {
        hint(line.as_ptr());
    }
}
