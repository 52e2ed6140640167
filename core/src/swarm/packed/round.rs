//! Ways round the peers of a set, on which they are handed out.

use core::ops::Range;

use crate::seed::Random;
use crate::swarm::Handout;
use crate::swarm::spread::{Crowds, Network, Quota};

use super::peers::{Columns, Shape};
use super::rules::Rules;
use super::set::{Place, Set};
use super::stamp::{Tick, Wanted};
use super::work;

/// Peers looked at for one answer, at most: this many, and as many times those wanted.
///
/// More than are handed out need looking at only where many are too old and not yet swept.
const LOOK_MIN: usize = 4096;
const LOOK_FACTOR: usize = 8;

/// How peers are looked at, and how many more may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'a> {
    rules: &'a Rules,
    shape: Shape,
    now: Tick,
    /// Peers that may still be looked at.
    left: usize,
    /// Peers of one network that can be among those handed out, at most.
    pub(super) together: usize,
}

impl<'a> Look<'a> {
    /// For an answer with room for `wanted`.
    pub(super) const fn new(rules: &'a Rules, shape: Shape, now: Tick, wanted: usize) -> Self {
        Self {
            rules,
            shape,
            now,
            left: LOOK_MIN + wanted * LOOK_FACTOR,
            together: 0,
        }
    }

    /// A round through `set` that begins at any peer that may be handed out, each with the same probability. `drawn` is the
    /// first draw, if it was made before.
    pub(super) fn round<'s>(
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

    /// The networks that more than a quarter of some peers drawn from the sets belong to, if there are any.
    pub(super) fn crowds(&self, sets: [Option<&Set>; 2], random: &mut Random) -> Option<Crowds> {
        let lens = sets.map(|set| set.map_or(0, Set::len) as usize);
        let all = lens.iter().sum::<usize>().max(1);
        let mut sample = [None; SAMPLE];
        let mut places = sample.iter_mut();
        for (set, len) in sets.into_iter().zip(lens) {
            let draws = (SAMPLE * len).div_ceil(all);
            for (place, set) in places.by_ref().take(draws).zip(core::iter::repeat(set)) {
                let drawn = set.and_then(|set| set.endpoint(self.shape, set.any(self.shape, random)?));
                *place = drawn.map(Network::of);
            }
        }
        Crowds::among(sample.iter().copied().flatten(), SAMPLE / 4)
    }

    /// A peer that may be handed out and is of no crowd, each with the same probability; nothing if the draws meet none.
    pub(super) fn outsider(
        &self,
        set: &Set,
        own: Option<Place>,
        crowds: &Crowds,
        random: &mut Random,
    ) -> Option<Place> {
        let draws = 0..if set.len() == 0 { 0 } else { OUTSIDER_DRAWS_MAX };
        let mut places = draws.filter_map(|_| set.any(self.shape, random));
        places.find(|&place| {
            let endpoint = set.endpoint(self.shape, place).unwrap_or_default();
            Some(place) != own && !crowds.has(Network::of(endpoint)) && self.fits(set, place)
        })
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

/// Peers drawn to see whether a network is a crowd of the swarm, whatever the answer at hand says.
const SAMPLE: usize = 32;

/// Draws for a peer that is of no crowd. One of eleven is missed once in ten thousand times; where all peers are of one
/// network, the draws cost as much as an announce.
const OUTSIDER_DRAWS_MAX: usize = 96;

/// A way once round all peers of a set.
#[derive(Debug)]
pub(super) struct Round<'s> {
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
    pub(super) fn hand_out(
        &mut self,
        look: &mut Look<'_>,
        take: &mut impl Take,
        count: usize,
        peers: &mut Handout<'_>,
    ) {
        let goal = peers.wanted().saturating_sub(count);
        while peers.wanted() > goal && look.left > 0 {
            let Some(bucket) = self.set.buckets.get(self.at.bucket) else {
                return;
            };
            work::touched();
            look.together += usize::from(self.set.together());
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
            let range = from..end;
            self.at.index = take.take(
                &columns,
                &Wish {
                    range,
                    own,
                    wanted,
                    goal,
                },
                peers,
            );
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

/// Which peers of a bucket are to be handed out.
#[derive(Debug)]
pub(super) struct Wish {
    range: Range<usize>,
    /// The asker, who is left out.
    own: usize,
    wanted: Wanted,
    /// Peers that are still wanted when it is fulfilled.
    goal: usize,
}

/// A way to hand out peers of a bucket.
pub(super) trait Take {
    /// Hands out those that fit until the wish is fulfilled. Returns where it stopped.
    fn take(&mut self, columns: &Columns<'_>, wish: &Wish, peers: &mut Handout<'_>) -> usize;
}

/// As many neighbours at a time as fit.
#[derive(Debug)]
pub(super) struct Runs;

impl Take for Runs {
    #[inline]
    fn take(&mut self, columns: &Columns<'_>, wish: &Wish, peers: &mut Handout<'_>) -> usize {
        let Range { mut start, end } = wish.range;
        while start < end && peers.wanted() > wish.goal {
            let mut most = end.min(start + peers.wanted() - wish.goal);
            // The run ends before the asker, and the next begins behind it.
            if (start..most).contains(&wish.own) {
                most = wish.own;
            }
            let run = wish
                .wanted
                .run(columns.stamps.get(start..most).unwrap_or_default());
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
}

/// One at a time, so that no network exceeds its quota; those that would are put aside.
impl Take for Quota {
    fn take(&mut self, columns: &Columns<'_>, wish: &Wish, peers: &mut Handout<'_>) -> usize {
        for index in wish.range.clone() {
            if peers.wanted() <= wish.goal {
                return index;
            }
            let fits = columns
                .stamps
                .get(index)
                .is_some_and(|&stamp| wish.wanted.fits(stamp));
            if fits && index != wish.own {
                let (endpoint, id) = columns.range(index..index + 1);
                peers.extend_within(endpoint, id, self);
            }
        }
        wish.range.end
    }
}

/// A round of a choice that spreads over networks.
#[derive(Debug)]
pub(super) struct Spread<'s> {
    round: Round<'s>,
    look: Look<'s>,
    /// Whether peers were met that are of no crowd; the round begins with one of them.
    pub(super) has_outsiders: bool,
}

impl<'s> Spread<'s> {
    pub(super) fn new(
        look: &Look<'s>,
        set: &'s Set,
        own: Option<Place>,
        crowds: &Crowds,
        random: &mut Random,
    ) -> Self {
        // A start in a crowd would make the peer behind it likelier than others.
        let start = look.outsider(set, own, crowds, random);
        let mut look = *look;
        // Where all are of a crowd, a search for others would be long and find none.
        if start.is_none() {
            look.left /= CROWD_FACTOR;
        }
        Self {
            round: look.round(set, own, start, random),
            look,
            has_outsiders: start.is_some(),
        }
    }

    /// Hands out up to `count` more.
    pub(super) fn hand_out(&mut self, quota: &mut Quota, count: usize, peers: &mut Handout<'_>) {
        self.round.hand_out(&mut self.look, quota, count, peers);
    }
}

/// By so much fewer peers are looked at in a set that seems to have those of a crowd alone.
const CROWD_FACTOR: usize = 16;
