//! Which peers one announce is answered with.
//!
//! From a page, every set of peers is equally likely. From a large swarm come neighbours in the order of buckets, from a
//! place on where every peer is equally likely to be: so each is handed out with the same probability, and the work is
//! that of copying the peers handed out. Seeders and leechers come in proportion to their numbers.

use core::net::IpAddr;

use crate::announce::{Counts, Family};
use crate::seed::Random;
use crate::swarm::spread::{Network, Quota, of_network_max};
use crate::swarm::{Handout, Member, Prepared};

use super::Packed;
use super::page::SMALL_MAX;
use super::path::{PackedPrefetched, Starts, Stored, Torrent};
use super::peers::{Columns, Shape};
use super::round::{Look, Runs, Spread};
use super::rules::Rules;
use super::set::{Place, Set};
use super::stamp::{Tick, Wanted};
use super::swarm::Swarm;

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
                let columns = page.columns(rules, &small, family);
                let own = Own {
                    index: own,
                    ip: member.peer.ip,
                };
                from_page(&columns, wanted, &own, &mut random, peers);
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
                    ip: member.peer.ip,
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

/// The asker among the peers of a page.
#[derive(Clone, Copy, Debug)]
struct Own {
    /// Its number, or [`usize::MAX`].
    index: usize,
    ip: IpAddr,
}

/// Hands out peers of one family of a torrent in a page.
fn from_page(columns: &Columns<'_>, wanted: Wanted, own: &Own, random: &mut Random, peers: &mut Handout<'_>) {
    // All of them fit into the answer, the asker left out: there is nothing to draw.
    if columns.len() - usize::from(own.index < columns.len()) <= peers.wanted() {
        let stamps = columns.stamps.iter().enumerate();
        let flags = stamps.map(|(index, &stamp)| wanted.fits(stamp) & (index != own.index));
        peers.extend_by(columns.endpoints, columns.ids, flags);
        return;
    }
    let stamps = columns.stamps.iter().enumerate();
    let fitting = || {
        stamps
            .clone()
            .filter(|(index, stamp)| *index != own.index && wanted.fits(**stamp))
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
    if peers.wanted() == 0 && !own.ip.is_loopback() {
        spread_page(columns, fitting().map(|(index, _)| index), random, peers);
    }
}

/// Chooses again, as [`spread`] does.
#[cold]
fn spread_page(
    columns: &Columns<'_>,
    fitting: impl Iterator<Item = usize>,
    random: &mut Random,
    peers: &mut Handout<'_>,
) {
    let peer = |index: usize| columns.range(index..index + 1);
    let mut order = [0; SMALL_MAX];
    let mut count = 0;
    for (place, index) in order.iter_mut().zip(fitting) {
        *place = index;
        count += 1;
    }
    let order = order.get_mut(..count).unwrap_or_default();
    let Some(crowds) = peers.crowds() else {
        return;
    };
    if order.iter().all(|&index| crowds.has(Network::of(peer(index).0))) {
        return;
    }
    let mut quota = Quota::new(peers.len());
    peers.clear();
    random.shuffle(order);
    for &mut index in order {
        let (endpoint, id) = peer(index);
        peers.extend_within(endpoint, id, &mut quota);
    }
    peers.take_spare();
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
struct Asker {
    family: Family,
    seeder: bool,
    /// Where the asker itself is, if it is stored.
    own: Option<Place>,
    /// Where to begin, if that was drawn before.
    starts: Starts,
    /// On this machine all peers may share one network.
    ip: IpAddr,
}

/// Hands out peers of a large swarm.
fn from_swarm(
    swarm: &Swarm,
    rules: &Rules,
    now: Tick,
    asker: &Asker,
    random: &mut Random,
    peers: &mut Handout<'_>,
) {
    let wanted = peers.wanted();
    let look = Look::new(rules, rules.shape(asker.family), now, wanted);
    let before = random.clone();
    let together = neighbours(swarm, look, asker, random, peers);
    // Chance spreads the peers of a network over the buckets, so that an answer can seldom have too many of one. An answer
    // with room left has all that there are: none of them is in another's place.
    if together > of_network_max(wanted) && peers.wanted() == 0 && !asker.ip.is_loopback() {
        spread(swarm, &look, asker, random, peers);
        if peers.wanted() > 0 {
            again(swarm, look, asker, before, peers);
        }
    }
}

/// Hands out neighbours, whatever their networks. Returns how many of them can be of one network.
#[inline]
fn neighbours(
    swarm: &Swarm,
    mut look: Look<'_>,
    asker: &Asker,
    random: &mut Random,
    peers: &mut Handout<'_>,
) -> usize {
    let wanted = peers.wanted();
    let leechers = swarm.set(asker.family, false);
    // A seeder has no use for others.
    if asker.seeder {
        let mut round = look.round(leechers, None, asker.starts.leecher, random);
        round.hand_out(&mut look, &mut Runs, wanted, peers);
        return look.together;
    }
    let seeders = swarm.set(asker.family, true);
    let share = asker.leechers_share(swarm, wanted, random);
    let mut leechers = look.round(leechers, asker.own, asker.starts.leecher, random);
    let mut seeders = look.round(seeders, None, asker.starts.seeder, random);
    leechers.hand_out(&mut look, &mut Runs, share, peers);
    let rest = peers.wanted();
    seeders.hand_out(&mut look, &mut Runs, rest, peers);
    // Where some turned out to be too old, the others make up for them.
    let rest = peers.wanted();
    leechers.hand_out(&mut look, &mut Runs, rest, peers);
    look.together
}

/// Chooses as at first, which filled the answer: where most peers are too old, the search that spreads ends before it has
/// found enough.
#[cold]
fn again(swarm: &Swarm, look: Look<'_>, asker: &Asker, mut random: Random, peers: &mut Handout<'_>) {
    peers.clear();
    neighbours(swarm, look, asker, &mut random, peers);
}

impl Asker {
    /// How many of the `wanted` are to be leechers.
    fn leechers_share(&self, swarm: &Swarm, wanted: usize, random: &mut Random) -> usize {
        let [leechers, seeders] = [false, true].map(|seeder| swarm.set(self.family, seeder).len());
        let others = leechers.saturating_sub(self.own.is_some().into());
        leechers_share(others, seeders, wanted, random)
    }
}

/// Chooses again if a network has more than its share of an answer, so that others come before it.
#[cold]
fn spread(swarm: &Swarm, look: &Look<'_>, asker: &Asker, random: &mut Random, peers: &mut Handout<'_>) {
    let wanted = peers.len();
    let leechers = swarm.set(asker.family, false);
    let seeders = Some(swarm.set(asker.family, true)).filter(|_| !asker.seeder);
    let together = seeders.map_or(0, Set::together).max(leechers.together());
    // Where a network is a crowd of the swarm, every answer is chosen again: if only those were that turn out badly, peers
    // that stand far from the crowd would be likelier.
    let crowds = if usize::from(together) > of_network_max(wanted) {
        look.crowds([Some(leechers), seeders], random)
    } else {
        None
    };
    let Some(crowds) = crowds.or_else(|| peers.crowds()) else {
        return;
    };
    let own = asker.own.filter(|_| !asker.seeder);
    let mut leechers = Spread::new(look, leechers, own, &crowds, random);
    let mut seeders = seeders.map(|seeders| Spread::new(look, seeders, None, &crowds, random));
    // All are of one network, or nearly all: the answer stays as it is.
    if !leechers.has_outsiders && !seeders.as_ref().is_some_and(|seeders| seeders.has_outsiders) {
        return;
    }
    peers.clear();
    let mut quota = Quota::new(wanted);
    // Seeders first: the leechers of their network would leave them nothing of its quota.
    if let Some(seeders) = &mut seeders {
        let share = asker.leechers_share(swarm, wanted, random);
        seeders.hand_out(&mut quota, wanted - share, peers);
    }
    let rest = peers.wanted();
    leechers.hand_out(&mut quota, rest, peers);
    if let Some(seeders) = &mut seeders {
        let rest = peers.wanted();
        seeders.hand_out(&mut quota, rest, peers);
    }
    peers.take_spare();
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
