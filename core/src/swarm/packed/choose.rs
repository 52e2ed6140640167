//! Which peers one announce is answered with.
//!
//! From a page, every set of peers is equally likely. From a large swarm come neighbours in the order of buckets, from a
//! place on where every peer is equally likely to be: so each is handed out with the same probability, and the work is
//! that of copying the peers handed out. Seeders and leechers come in proportion to their numbers.

use core::ops::Range;

use crate::announce::{Counts, Family};
use crate::seed::Random;
use crate::swarm::{Handout, Member, Prepared};

use super::path::{PackedPrefetched, Starts, Stored, Torrent};
use super::peers::{Columns, Shape};
use super::rules::Rules;
use super::set::{Place, Set};
use super::stamp::{Tick, Wanted};
use super::swarm::Swarm;
use super::{Packed, work};

impl Packed {
    /// Hands out peers to one that is at `stored`, or is not stored.
    #[inline]
    pub(super) fn choose_peers(
        &self,
        now: Tick,
        member: &Member<'_>,
        stored: Option<Stored>,
        prepared: &Prepared<PackedPrefetched>,
        peers: &mut Handout<'_>,
    ) -> Counts {
        let (family, seeder, rules) = (member.peer.family(), member.seeder, &self.rules);
        let mut random = prepared.random.clone();
        match stored.or_else(|| self.torrent_of(member, prepared.hash)) {
            Some(Stored::Page(Torrent { index, record }, own)) => {
                let Some(page) = self.pages.get(index) else {
                    return Counts::default();
                };
                let small = page.small(rules, &record);
                let wanted = rules.wanted(page.window(), now, !seeder);
                from_page(
                    &page.columns(rules, &small, family),
                    wanted,
                    own,
                    &mut random,
                    peers,
                );
                page.counts(rules, &small)
            }
            Some(Stored::Swarm(number, own)) => {
                let Some(swarm) = self.swarms.get(number) else {
                    return Counts::default();
                };
                let asker = Asker {
                    family,
                    seeder,
                    own,
                    starts: prepared.prefetched.0.starts(),
                };
                from_swarm(swarm, rules, now, &asker, &mut random, peers);
                swarm.counts()
            }
            None => Counts::default(),
        }
    }

    /// Where a torrent is, for one that is not among its peers.
    fn torrent_of(&self, member: &Member<'_>, hash: u64) -> Option<Stored> {
        let index = self.page_of(hash);
        let page = self.pages.get(index)?;
        let record = page.find(&self.rules, member.info_hash)?;
        Some(if record.is_large() {
            Stored::Swarm(page.large(&record), None)
        } else {
            Stored::Page(Torrent { index, record }, usize::MAX)
        })
    }
}

/// Hands out peers of one family of a torrent in a page; `own` is the asker.
pub(super) fn from_page(
    columns: &Columns<'_>,
    wanted: Wanted,
    own: usize,
    random: &mut Random,
    peers: &mut Handout<'_>,
) {
    // All of them fit into the answer, the asker left out: there is nothing to draw.
    if columns.len() <= peers.wanted() + 1 {
        let stamps = columns.stamps.iter().enumerate();
        let flags = stamps.map(|(index, &stamp)| wanted.fits(stamp) & (index != own));
        peers.extend_by(columns.endpoints, columns.ids, flags);
        return;
    }
    let stamps = columns.stamps.iter().enumerate();
    let fitting = || {
        stamps
            .clone()
            .filter(|(index, stamp)| *index != own && wanted.fits(**stamp))
    };
    // Each is taken with the probability wanted / left, which makes every set of so many equally likely.
    let mut left = fitting().count();
    for (index, _) in fitting() {
        if random.usize(..left) < peers.wanted() {
            let (endpoint, id) = columns.range(index..index + 1);
            peers.extend(endpoint, id);
        }
        left -= 1;
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) family: Family,
    pub(super) seeder: bool,
    /// Where the asker itself is, if it is stored.
    pub(super) own: Option<Place>,
    /// Where to begin, if that was drawn before.
    pub(super) starts: Starts,
}

/// Hands out peers of a large swarm.
pub(super) fn from_swarm(
    swarm: &Swarm,
    rules: &Rules,
    now: Tick,
    asker: &Asker,
    random: &mut Random,
    peers: &mut Handout<'_>,
) {
    let shape = rules.shape(asker.family);
    let mut look = Look {
        rules,
        shape,
        now,
        left: LOOK_MIN + peers.wanted() * LOOK_FACTOR,
    };
    let leechers = swarm.set(asker.family, false);
    // A seeder has no use for others.
    if asker.seeder {
        let mut round = look.round(leechers, None, asker.starts.leecher, random);
        round.hand_out(&mut look, peers.wanted(), peers);
        return;
    }
    let seeders = swarm.set(asker.family, true);
    let share = leechers_share(
        leechers.len().saturating_sub(asker.own.is_some().into()),
        seeders.len(),
        peers.wanted(),
        random,
    );
    let mut leechers = look.round(leechers, asker.own, asker.starts.leecher, random);
    let mut seeders = look.round(seeders, None, asker.starts.seeder, random);
    leechers.hand_out(&mut look, share, peers);
    let rest = peers.wanted();
    seeders.hand_out(&mut look, rest, peers);
    // Where some turned out to be too old, the others make up for them.
    let rest = peers.wanted();
    leechers.hand_out(&mut look, rest, peers);
}

/// The chance that decides where to begin in each set: of one for the leechers and of one for the seeders, so that each can
/// be looked at by itself.
#[derive(Clone, Debug)]
pub(super) struct Draws {
    pub(super) leecher: Random,
    pub(super) seeder: Random,
}

impl Draws {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            leecher: random.fork(),
            seeder: random.fork(),
        }
    }
}

impl Starts {
    /// Draws what an announce of a seeder or a leecher will need.
    pub(super) fn draw(swarm: &Swarm, shape: Shape, seeder: bool, random: &mut Random) -> Self {
        let mut draws = Draws::new(random);
        let leechers = swarm.set(shape.family, false);
        let seeders = Some(swarm.set(shape.family, true)).filter(|_| !seeder);
        Self {
            leecher: leechers.any(shape, &mut draws.leecher),
            seeder: seeders.and_then(|seeders| seeders.any(shape, &mut draws.seeder)),
        }
    }
}

/// How many of the `wanted` are to be leechers: on average as many as there are in proportion.
pub(super) fn leechers_share(leechers: u32, seeders: u32, wanted: usize, random: &mut Random) -> usize {
    let (leechers, all) = (u64::from(leechers), u64::from(leechers) + u64::from(seeders));
    // All are handed out, and the share limits nobody.
    if all <= wanted as u64 {
        return wanted;
    }
    // Rounded up as often as the fraction says: always down would never hand out the few leechers of a large swarm.
    let share = (wanted as u64 * leechers + random.u64(..all)) / all;
    usize::try_from(share).unwrap_or(wanted)
}

/// Peers looked at for one answer, at most: this many, and as many times those wanted.
///
/// More than are handed out need looking at only where many are too old and not yet swept.
const LOOK_MIN: usize = 4096;
const LOOK_FACTOR: usize = 8;

/// How peers are looked at, and how many more may be.
#[derive(Debug)]
struct Look<'a> {
    rules: &'a Rules,
    shape: Shape,
    now: Tick,
    left: usize,
}

impl Look<'_> {
    /// A round through `set` that begins at any peer that may be handed out, each with the same probability. `drawn` is the
    /// first draw, if it was made before.
    fn round<'s>(
        &self,
        set: &'s Set,
        own: Option<Place>,
        mut drawn: Option<Place>,
        random: &mut Random,
    ) -> Round<'s> {
        let mut start = Place { bucket: 0, index: 0 };
        // An empty set has no start to find.
        let draws = if set.len() == 0 { 0 } else { REDRAWS_MAX };
        for _ in 0..draws {
            start = drawn
                .take()
                .or_else(|| set.any(self.shape, random))
                .unwrap_or(start);
            // A start that is passed over would hand its share to the peer behind it.
            if Some(start) != own && self.fits(set, start) {
                break;
            }
        }
        Round {
            set,
            own,
            start,
            at: start,
            turned: false,
        }
    }

    fn fits(&self, set: &Set, place: Place) -> bool {
        let Some(bucket) = set.buckets.get(place.bucket) else {
            return false;
        };
        let stamp = bucket.stamp(self.shape, place.index);
        let wanted = self.rules.wanted(bucket.window(), self.now, true);
        stamp.is_some_and(|stamp| wanted.fits(stamp))
    }
}

/// Draws for a start that may be handed out; after these any start will do.
const REDRAWS_MAX: usize = 16;

/// A way once round all peers of a set.
#[derive(Debug)]
struct Round<'s> {
    set: &'s Set,
    own: Option<Place>,
    start: Place,
    /// The next to be looked at.
    at: Place,
    /// Whether the first bucket has come again.
    turned: bool,
}

impl Round<'_> {
    /// Hands out up to `count` more.
    fn hand_out(&mut self, look: &mut Look<'_>, count: usize, peers: &mut Handout<'_>) {
        let goal = peers.wanted().saturating_sub(count);
        while peers.wanted() > goal && look.left > 0 {
            let Some(bucket) = self.set.buckets.get(self.at.bucket) else {
                return;
            };
            work::touched();
            let columns = bucket.columns(look.shape);
            let wanted = look.rules.wanted(bucket.window(), look.now, true);
            let end = if self.turned {
                self.start.index
            } else {
                columns.len()
            };
            // The asker is known by its place: comparing endpoints would read each of them.
            let own = self.own.filter(|own| own.bucket == self.at.bucket);
            let own = own.map_or(usize::MAX, |own| own.index);
            let from = self.at.index;
            self.at.index = until(&columns, from..end, own, wanted, goal, peers);
            // One for the bucket too: thousands of empty ones cost as much as as many peers.
            look.left = look.left.saturating_sub(1 + self.at.index - from);
            // The answer is full, or the round has come back to its start.
            if self.at.index < end || self.turned {
                return;
            }
            let bucket = (self.at.bucket + 1) % self.set.buckets.len();
            self.turned = bucket == self.start.bucket;
            self.at = Place { bucket, index: 0 };
        }
    }
}

/// Hands out those of a range that fit, but not `own`, until only `goal` more are wanted. Returns where it stopped.
fn until(
    columns: &Columns<'_>,
    range: Range<usize>,
    own: usize,
    wanted: Wanted,
    goal: usize,
    peers: &mut Handout<'_>,
) -> usize {
    let Range { mut start, end } = range;
    while start < end && peers.wanted() > goal {
        let mut most = end.min(start + peers.wanted() - goal);
        // The run ends before the asker, and the next begins behind it.
        if (start..most).contains(&own) {
            most = own;
        }
        let run = wanted.run(columns.stamps.get(start..most).unwrap_or_default());
        // One that is too old, or the asker.
        if run == 0 {
            start += 1;
            continue;
        }
        let (endpoints, ids) = columns.range(start..start + run);
        peers.extend(endpoints, ids);
        start += run;
    }
    start
}
