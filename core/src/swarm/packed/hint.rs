//! What an announce will read, told before it is carried out.
//!
//! A line that is told and not read costs about as much as a line that is read and not told, in a store that is in the
//! processor's caches even more. So what is told is what the announce will come by: it makes the same draws.

use core::ptr;

use crate::announce::Announce;
use crate::seed::Random;
use crate::swarm::store::Path;
use crate::swarm::{Prepared, Stage};

use super::Packed;
use super::choose::{Draws, Starts, leechers_share};
use super::compact::Compact;
use super::page::{Page, Record};
use super::peers::Shape;
use super::set::{Place, Set};
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
        if let Path::Swarm { .. } = prepared.path {
            self.hint_swarm(stage, announce, prepared, hint);
            return;
        }
        let Some(page) = self.pages.get(self.page_of(prepared.hash)) else {
            return;
        };
        match stage {
            Stage::Slot => hint(ptr::from_ref(page).cast()),
            Stage::Page => {
                let head = page.bytes().as_ptr();
                hint(head);
                hint(head.wrapping_add(HEAD_TOLD - 1));
            }
            Stage::Torrent => match page.likely(&self.rules, &announce.info_hash) {
                Some(record) => {
                    lines(page.bytes().get(record.range()).unwrap_or_default(), hint);
                    if !record.is_large() {
                        prepared.path = Path::Page;
                    }
                }
                None => prepared.path = Path::Page,
            },
            Stage::Swarm => self.follow(page, announce, prepared, hint),
            Stage::Tables | Stage::Buckets => {}
        }
    }

    /// Looks for the torrent, and tells its swarm if it has a large one.
    fn follow<H: Fn(*const u8) + Copy>(
        &self,
        page: &Page,
        announce: &Announce,
        prepared: &mut Prepared,
        hint: H,
    ) {
        let record = page.find(&self.rules, &announce.info_hash);
        let Some(record) = record.filter(Record::is_large) else {
            prepared.path = Path::Page;
            return;
        };
        let number = page.large(&record);
        let peer = self.rules.peer_hash(&Compact::from(announce.peer));
        prepared.path = Path::Swarm {
            number,
            peer,
            starts: Starts::default(),
        };
        for line in 0..SWARM_LINES {
            hint(self.swarms.address(number).wrapping_add(line * LINE));
        }
    }

    /// Draws where the announce begins to hand out, and tells what it will read from there on.
    fn hint_swarm<H: Fn(*const u8) + Copy>(
        &self,
        stage: Stage,
        announce: &Announce,
        prepared: &mut Prepared,
        hint: H,
    ) {
        let Path::Swarm { number, peer, starts } = &mut prepared.path else {
            return;
        };
        let Some(swarm) = self.swarms.get(*number) else {
            return;
        };
        let (family, seeder) = (announce.peer.family(), announce.is_seeder());
        let shape = self.rules.shape(family);
        let (leechers, seeders) = (swarm.set(family, false), swarm.set(family, true));
        let own = swarm.set(family, seeder);
        let own = own.buckets.get(own.bucket_of(*peer));
        if stage == Stage::Tables {
            own.into_iter().for_each(|own| hint(ptr::from_ref(own).cast()));
            let mut draws = Draws::new(&mut prepared.random.clone());
            candidates(leechers, &mut draws.leecher, hint);
            if !seeder {
                candidates(seeders, &mut draws.seeder, hint);
            }
            return;
        }
        if let Some(own) = own {
            let [endpoints, stamps, window] = own.parts(shape, 0..own.count(shape));
            lines(beginning(endpoints), hint);
            lines(stamps, hint);
            lines(window, hint);
        }
        *starts = Starts::draw(swarm, shape, seeder, &mut prepared.random);
        let share = if seeder {
            WANTED
        } else {
            leechers_share(leechers.len(), seeders.len(), WANTED, &mut prepared.random)
        };
        round(leechers, shape, starts.leecher, share, hint);
        round(seeders, shape, starts.seeder, WANTED - share, hint);
    }
}

/// Tells the entries of the table that a round may begin with.
fn candidates<H: Fn(*const u8) + Copy>(set: &Set, random: &mut Random, hint: H) {
    if set.buckets.len() > TABLE_NEAR {
        return;
    }
    for _ in 0..CANDIDATES {
        let bucket = set.buckets.get(set.candidate(random).bucket);
        bucket
            .into_iter()
            .for_each(|bucket| hint(ptr::from_ref(bucket).cast()));
    }
}

/// Tells what a round that hands out `count` peers reads of its first bucket and of the one behind.
fn round<H: Fn(*const u8) + Copy>(set: &Set, shape: Shape, start: Option<Place>, count: usize, hint: H) {
    let Some(Place { bucket, index }) = start else {
        return;
    };
    let (mut bucket, mut from, mut left) = (bucket, index, count);
    for _ in 0..2 {
        let Some(found) = set.buckets.get(bucket).filter(|_| left > 0) else {
            return;
        };
        let end = found.count(shape).min(from + left);
        let [endpoints, stamps, window] = found.parts(shape, from..end);
        lines(endpoints, hint);
        lines(stamps, hint);
        lines(window, hint);
        left -= end.saturating_sub(from);
        (bucket, from) = ((bucket + 1) % set.buckets.len(), 0);
    }
}

fn beginning(bytes: &[u8]) -> &[u8] {
    bytes.get(..TOLD_MAX).unwrap_or(bytes)
}

/// Tells all lines that some bytes lie in.
#[inline]
fn lines<H: Fn(*const u8) + Copy>(bytes: &[u8], hint: H) {
    bytes.chunks(LINE).for_each(|line| hint(line.as_ptr()));
    bytes
        .last()
        .into_iter()
        .for_each(|last| hint(ptr::from_ref(last)));
}

/// Bytes that a processor fetches together.
const LINE: usize = 64;
/// Bytes that the head of a page of the usual twenty torrents takes: two lines as often as one.
const HEAD_TOLD: usize = 48;
/// Lines that a swarm lies in.
const SWARM_LINES: usize = size_of::<Swarm>().div_ceil(LINE);
/// Bytes that are told of a bucket to look through: half of a usual one. The processor sees itself what is next.
const TOLD_MAX: usize = 6 * LINE;
/// Entries of a table from which on its swarm is taken to be asked for so often that the table is in the caches anyway.
const TABLE_NEAR: usize = 128;
/// Draws whose entries in the table are told: every other is accepted.
const CANDIDATES: usize = 3;
/// Peers that an announce is taken to want.
const WANTED: usize = 50;
