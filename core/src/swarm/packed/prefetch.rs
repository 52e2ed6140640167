//! Prefetching the memory that a request will read.
//!
//! Prefetching a line that is not used costs about as much as missing one that is, and more in a store that is in the
//! processor's caches. So only what the request will read is fetched: the stages make the same draws as it does.

use core::ptr;

use crate::prefetch::Prefetch;
use crate::seed::Random;
use crate::swarm::{Member, Prepared};

use super::Packed;
use super::choose::{Draws, leechers_share};
use super::compact::Compact;
use super::page::{Page, Record};
use super::path::{PackedPrefetched, Path, Stage, Starts};
use super::peers::Shape;
use super::set::{Place, Set};
use super::swarm::Swarm;

impl Packed {
    /// Prefetches what the next stage, or the request itself, will read.
    #[inline]
    pub(super) fn prefetch_stage(
        &self,
        stage: Stage,
        member: &Member<'_>,
        prepared: &mut Prepared<PackedPrefetched>,
        prefetch: &impl Prefetch,
    ) {
        if let Path::Swarm { .. } = prepared.prefetched.0 {
            self.prefetch_swarm(stage, member, prepared, prefetch);
            return;
        }
        let Some(page) = self.pages.get(self.page_of(prepared.hash)) else {
            return;
        };
        match stage {
            Stage::Slot => prefetch.prefetch(ptr::from_ref(page).cast()),
            Stage::Page => {
                let head = page.bytes().as_ptr();
                prefetch.prefetch(head);
                // A head that begins near the end of a line reaches into the next.
                prefetch.prefetch(head.wrapping_add(HEAD_LEN - 1));
            }
            // The first bytes alone are compared: the others are in lines that are still on their way.
            Stage::Torrent => match page.likely(&self.rules, member.info_hash) {
                Some(record) => {
                    lines(page.bytes().get(record.range()).unwrap_or_default(), prefetch);
                    if !record.is_large() {
                        prepared.prefetched.0 = Path::Page;
                    }
                }
                None => prepared.prefetched.0 = Path::Page,
            },
            Stage::Swarm => self.follow(page, member, prepared, prefetch),
            // These need a large swarm, which was not found: there is nothing more to fetch.
            Stage::Tables | Stage::Buckets => {}
        }
    }

    /// Looks the torrent up, and prefetches its swarm if it has a large one.
    fn follow(
        &self,
        page: &Page,
        member: &Member<'_>,
        prepared: &mut Prepared<PackedPrefetched>,
        prefetch: &impl Prefetch,
    ) {
        let record = page.find(&self.rules, member.info_hash);
        let Some(record) = record.filter(Record::is_large) else {
            prepared.prefetched.0 = Path::Page;
            return;
        };
        let number = page.large(&record);
        let peer = self.rules.peer_hash(&Compact::from(*member.peer));
        prepared.prefetched.0 = Path::Swarm {
            number,
            peer,
            starts: Starts::default(),
        };
        for line in 0..SWARM_LINES {
            prefetch.prefetch(self.swarms.address(number).wrapping_add(line * LINE));
        }
    }

    /// Draws where the answer begins in each set, and prefetches what is read from there on.
    fn prefetch_swarm(
        &self,
        stage: Stage,
        member: &Member<'_>,
        prepared: &mut Prepared<PackedPrefetched>,
        prefetch: &impl Prefetch,
    ) {
        let Path::Swarm { number, peer, starts } = &mut prepared.prefetched.0 else {
            return;
        };
        let Some(swarm) = self.swarms.get(*number) else {
            return;
        };
        let (family, seeder) = (member.peer.family(), member.seeder);
        let shape = self.rules.shape(family);
        let (leechers, seeders) = (swarm.set(family, false), swarm.set(family, true));
        let own = swarm.set(family, seeder);
        let own = own.buckets.get(own.bucket_of(*peer));
        if stage == Stage::Tables {
            own.into_iter()
                .for_each(|own| prefetch.prefetch(ptr::from_ref(own).cast()));
            // A copy: the draws are made again, once the tables have arrived.
            let mut draws = Draws::new(&mut prepared.random.clone());
            candidates(leechers, &mut draws.leecher, prefetch);
            if !seeder {
                candidates(seeders, &mut draws.seeder, prefetch);
            }
            return;
        }
        if let Some(own) = own {
            let [endpoints, stamps, window] = own.parts(shape, 0..own.count(shape));
            lines(beginning(endpoints), prefetch);
            lines(stamps, prefetch);
            lines(window, prefetch);
        }
        *starts = Starts::draw(swarm, shape, seeder, &mut prepared.random);
        let share = if seeder {
            WANTED
        } else {
            leechers_share(leechers.len(), seeders.len(), WANTED, &mut prepared.random)
        };
        round(leechers, shape, starts.leecher, share, prefetch);
        round(seeders, shape, starts.seeder, WANTED - share, prefetch);
    }
}

/// Prefetches the entries of the table that a round may begin with.
fn candidates(set: &Set, random: &mut Random, prefetch: &impl Prefetch) {
    // A long table belongs to a swarm that is asked for so often that the table is in the caches anyway.
    if set.buckets.len() > TABLE_NEAR {
        return;
    }
    for _ in 0..CANDIDATES {
        let bucket = set.buckets.get(set.candidate(random).bucket);
        bucket
            .into_iter()
            .for_each(|bucket| prefetch.prefetch(ptr::from_ref(bucket).cast()));
    }
}

/// Prefetches what a round that hands out `count` peers reads of its first bucket and of the one behind.
fn round(set: &Set, shape: Shape, start: Option<Place>, count: usize, prefetch: &impl Prefetch) {
    let Some(Place { bucket, index }) = start else {
        return;
    };
    let (mut bucket, mut from, mut left) = (bucket, index, count);
    // Fifty peers reach at most into the second bucket, as each holds about a hundred.
    for _ in 0..2 {
        let Some(found) = set.buckets.get(bucket).filter(|_| left > 0) else {
            return;
        };
        let end = found.count(shape).min(from + left);
        let [endpoints, stamps, window] = found.parts(shape, from..end);
        lines(endpoints, prefetch);
        lines(stamps, prefetch);
        lines(window, prefetch);
        left -= end.saturating_sub(from);
        (bucket, from) = ((bucket + 1) % set.buckets.len(), 0);
    }
}

fn beginning(bytes: &[u8]) -> &[u8] {
    bytes.get(..FETCHED_MAX).unwrap_or(bytes)
}

/// Prefetches all lines that some bytes lie in.
#[inline]
fn lines(bytes: &[u8], prefetch: &impl Prefetch) {
    bytes
        .chunks(LINE)
        .for_each(|line| prefetch.prefetch(line.as_ptr()));
    // Bytes that do not begin at a line reach into one line more.
    bytes
        .last()
        .into_iter()
        .for_each(|last| prefetch.prefetch(ptr::from_ref(last)));
}

/// Bytes that a processor fetches together.
const LINE: usize = 64;
/// Bytes of the head of a page of the usual twenty torrents: two lines as often as one.
const HEAD_LEN: usize = 48;
/// Lines that a swarm lies in.
const SWARM_LINES: usize = size_of::<Swarm>().div_ceil(LINE);
/// Bytes that are fetched of a bucket to search: half of a usual one. The processor fetches the rest by itself.
const FETCHED_MAX: usize = 6 * LINE;
/// Buckets of a set whose table is not fetched.
const TABLE_NEAR: usize = 128;
/// Draws whose entries in the table are fetched: every other is accepted.
const CANDIDATES: usize = 3;
/// Peers that an announce is expected to want.
const WANTED: usize = 50;
