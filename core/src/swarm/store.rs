//! The face of a swarm store.

use crate::announce::{Announce, Change, Counts, Endpoint, Event, Family, Refusal};
use crate::config::SwarmConfig;
use crate::prefetch::Prefetch;
use crate::seed::{Key, Random};
use crate::time::Minute;
use crate::{InfoHash, PeerId};

use super::Handout;

/// The torrents and peers of one shard.
///
/// Rules that every store keeps:
/// - A peer is its endpoint. A seeder has `left = 0` in its last announce.
/// - `downloaded` rises with [`Event::Completed`] and `left = 0` from a peer that has not been a seeder since it was
///   stored: once for each stored peer, and never for one that came as a seeder. A peer that expires or stops is
///   forgotten, with what it has been.
/// - Peers handed out are of the asker's family, never the asker itself, not [too old](SwarmConfig::is_too_old), and only
///   leechers if the asker is a seeder. The choice is uniform.
/// - A peer that announces port 0 or 1 cannot be reached. It is handed peers like others and changes nothing: it is not
///   stored, counted, limited or remembered as a download. A peer stored under another port stays until it expires.
/// - `stopped` removes the peer, whatever `left` says, creates nothing, and is handed no peers.
/// - A torrent without peers is forgotten; one whose `downloaded` is not 0 only when it has had no peers for
///   [so long](SwarmConfig::is_too_old).
/// - A refused peer changes nothing.
pub trait Store {
    /// Where a sweep has got to; the default is the beginning.
    type Sweep: Default + Clone + core::fmt::Debug;
    /// Where a walk has got to; the default is the beginning.
    type Walk: Default + Clone + core::fmt::Debug;
    /// Where [`put`](Self::put) stored a peer. Valid until the store changes next.
    type Stored: Copy + core::fmt::Debug;
    /// What prefetching has found of a request so far; the default is nothing.
    type Prefetched: Default + Clone + core::fmt::Debug;
    /// One step of prefetching.
    type Stage: Copy + core::fmt::Debug + 'static;

    /// The stages of prefetching, in their order. Each reads what the one before fetched.
    const STAGES: &'static [Self::Stage];

    /// An empty store, whose tables are keyed by `key`.
    fn new(config: &SwarmConfig, key: Key) -> Self;

    /// Stores a peer, or renews it, with the time of its announce. Returns what changed and where the peer is.
    ///
    /// # Errors
    /// A limit of the configuration, or `room`, keeps the peer out: a new one of a known torrent with
    /// [`SwarmFull`](Refusal::SwarmFull).
    fn put(
        &mut self,
        arrival: &Arrival<'_>,
        prepared: &Prepared<Self::Prefetched>,
        room: Room,
    ) -> Result<(Change, Self::Stored), Refusal>;

    /// Removes a peer. Whether it is a seeder is expected as `member` says, and need not be right.
    fn take(&mut self, now: Minute, member: &Member<'_>, hash: u64) -> Taken;

    /// Hands out peers to `member`, which is at `stored`, or is not stored. Returns the counts of its torrent.
    fn choose(
        &self,
        now: Minute,
        member: &Member<'_>,
        stored: Option<Self::Stored>,
        prepared: &Prepared<Self::Prefetched>,
        peers: &mut Handout<'_>,
    ) -> Counts;

    /// Carries out one announce and hands out peers. The counts include the announcer.
    ///
    /// # Errors
    /// A limit of the configuration, or `room`, keeps the peer out.
    #[inline]
    fn announce(
        &mut self,
        now: Minute,
        announce: &Announce,
        prepared: &Prepared<Self::Prefetched>,
        room: Room,
        peers: &mut Handout<'_>,
    ) -> Result<(Counts, Change), Refusal> {
        let member = Member::of(announce);
        if announce.event == Event::Stopped {
            let taken = self.take(now, &member, prepared.hash);
            return Ok((taken.counts, taken.change()));
        }
        if !announce.is_reachable() {
            return Ok((self.choose(now, &member, None, prepared, peers), Change::None));
        }
        let (change, stored) = self.put(&Arrival::of(now, announce), prepared, room)?;
        let counts = self.choose(now, &member, Some(stored), prepared, peers);
        Ok((counts, change))
    }

    /// Adds a torrent that has had no peers since `vacated`, with what it had been downloaded before. True if that was
    /// done: not if it is known, there is no `room`, or `downloaded` is 0.
    fn restore(
        &mut self,
        vacated: Minute,
        info_hash: &InfoHash,
        hash: u64,
        downloaded: u32,
        room: Room,
    ) -> bool;

    /// Whether `stage` has something to fetch, after what the stages before have found.
    fn is_due(stage: Self::Stage, prefetched: &Self::Prefetched) -> bool;

    /// Prefetches what the next stage of a request, or the request itself, will read. Changes nothing.
    fn prefetch(
        &self,
        stage: Self::Stage,
        member: &Member<'_>,
        prepared: &mut Prepared<Self::Prefetched>,
        prefetch: &impl Prefetch,
    );

    /// The counts of a torrent: zeros if it is not known. Has no side effect.
    fn scrape(&self, info_hash: &InfoHash, hash: u64) -> Counts;

    /// A peer as it is stored, if it is. Whether it is a seeder is expected as `member` says, and need not be right.
    fn peer(&self, member: &Member<'_>, hash: u64) -> Option<Peer>;

    /// Sets how often a torrent was downloaded. True if it was known.
    fn set_downloaded(&mut self, info_hash: &InfoHash, hash: u64, downloaded: u32) -> bool;

    /// Drops a torrent with all its peers. True if it was known. The sweep gives the memory of many peers back.
    fn remove(&mut self, info_hash: &InfoHash, hash: u64) -> bool;

    /// Removes peers that are too old at `now`, for about `work` peers and torrents from `position` on, which moves.
    fn sweep(&mut self, now: Minute, work: usize, position: &mut Self::Sweep) -> Swept;

    /// Shows about `work` torrents and peers from `position` on, which moves; true when it has reached the end.
    ///
    /// What is stored throughout the walk is shown exactly once; what comes or goes meanwhile, at most once.
    fn walk(&self, work: usize, position: &mut Self::Walk, visit: &mut dyn Visit) -> bool;

    /// Whether a torrent is known, and has at most one peer, which has not announced since `since`.
    fn is_idle(&self, since: Minute, info_hash: &InfoHash, hash: u64) -> bool;

    /// Torrents held, those without peers included. Takes constant time.
    fn torrents(&self) -> u64;

    /// Number of torrents that have their own table; 0 if the store makes no such distinction.
    fn large(&self) -> u64 {
        0
    }

    /// Bytes that the store takes of the allocator, within a few percent; 0 if it cannot tell. Takes constant time.
    fn bytes(&self) -> usize {
        0
    }

    /// What the store holds.
    fn totals(&self) -> Totals;
}

/// A peer of a torrent, as a request names it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The torrent.
    pub info_hash: &'a InfoHash,
    /// The peer.
    pub peer: &'a Endpoint,
    /// Whether it says that it has everything.
    pub seeder: bool,
}

impl<'a> Member<'a> {
    /// The announcer.
    #[must_use]
    pub const fn of(announce: &'a Announce) -> Self {
        Self {
            info_hash: &announce.info_hash,
            peer: &announce.peer,
            seeder: announce.is_seeder(),
        }
    }
}

/// A peer that is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The peer and its torrent.
    pub member: Member<'a>,
    /// The name that it chose.
    pub id: &'a PeerId,
    /// Whether it is known to have been a seeder. Neither a seeder nor a stored peer that has been one needs it.
    pub been_seeder: bool,
    /// When it announced.
    pub announced: Minute,
    /// Whether it reports that its download has just finished.
    pub completed: bool,
    /// Whether another node has admitted it: the limit on the peers of one address does not count then.
    pub is_admitted: bool,
}

impl<'a> Arrival<'a> {
    /// The announcer.
    #[must_use]
    pub fn of(now: Minute, announce: &'a Announce) -> Self {
        Self {
            member: Member::of(announce),
            id: &announce.peer_id,
            been_seeder: false,
            announced: now,
            completed: announce.event == Event::Completed,
            is_admitted: false,
        }
    }

    /// Whether a download ends with it, unless its peer has been a seeder before.
    pub(super) const fn completes(&self) -> bool {
        self.completed && self.member.seeder
    }
}

/// What becomes of a peer that another node tells about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing.
    Keep,
    /// It is removed.
    Take,
    /// It is stored so, whatever was stored before.
    Put {
        seeder: bool,
        been_seeder: bool,
        announced: Minute,
        id: PeerId,
    },
}

/// What [`Store::take`] has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Taken {
    /// The peer as it was stored, if it was.
    pub peer: Option<Peer>,
    /// The counts of the torrent afterwards: zeros if it is not known, or not any more.
    pub counts: Counts,
}

impl Taken {
    /// The same for those who observe changes.
    #[must_use]
    pub fn change(&self) -> Change {
        self.peer.map_or(Change::None, |peer| Change::Removed {
            was_seeder: peer.seeder,
        })
    }
}

/// What is worked out of a request before a store sees it.
#[derive(Clone, Debug)]
pub struct Prepared<P> {
    /// The hash of the info-hash, under the key that the store was made with.
    pub(super) hash: u64,
    /// The generator for this request alone, so that prefetching knows what it will choose.
    pub(super) random: Random,
    /// What the stages so far have found. It may be out of date: only prefetching relies on where it leads.
    pub(super) prefetched: P,
}

impl<P: Default> Prepared<P> {
    /// Prepares a request for a store that was made with `key`; its choices come from `random`.
    #[must_use]
    pub fn new(key: &Key, info_hash: &InfoHash, random: Random) -> Self {
        Self {
            hash: key.hash(&info_hash.0),
            random,
            prefetched: P::default(),
        }
    }
}

/// What the tracker as a whole has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// A torrent may be added.
    Some,
    /// Only known torrents are served.
    None,
    /// Only known peers are renewed.
    Renewals,
}

/// What one step of a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Peers removed because they were silent for too long.
    pub peers_removed: u64,
    /// Torrents removed because they had no peers.
    pub torrents_removed: u64,
    /// Peers of the largest swarm that was looked at, those removed not counted.
    pub swarm_max: u32,
    /// Whether the end was reached; the position is then at the beginning again.
    pub done: bool,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Torrents, those without peers included.
    pub torrents: u64,
    /// Seeders over IPv4.
    pub seeders_v4: u64,
    /// Leechers over IPv4.
    pub leechers_v4: u64,
    /// Seeders over IPv6.
    pub seeders_v6: u64,
    /// Leechers over IPv6.
    pub leechers_v6: u64,
}

impl Totals {
    /// All peers.
    #[must_use]
    pub const fn peers(&self) -> u64 {
        self.seeders_v4 + self.leechers_v4 + self.seeders_v6 + self.leechers_v6
    }

    /// The peers of one family and state.
    pub const fn of_mut(&mut self, family: Family, seeder: bool) -> &mut u64 {
        match (family, seeder) {
            (Family::V4, true) => &mut self.seeders_v4,
            (Family::V4, false) => &mut self.leechers_v4,
            (Family::V6, true) => &mut self.seeders_v6,
            (Family::V6, false) => &mut self.leechers_v6,
        }
    }

    /// The sum of two.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            torrents: self.torrents + other.torrents,
            seeders_v4: self.seeders_v4 + other.seeders_v4,
            leechers_v4: self.leechers_v4 + other.leechers_v4,
            seeders_v6: self.seeders_v6 + other.seeders_v6,
            leechers_v6: self.leechers_v6 + other.leechers_v6,
        }
    }
}

/// Takes what a walk shows.
pub trait Visit {
    /// A torrent, before its peers.
    fn torrent(&mut self, info_hash: &InfoHash, counts: Counts);

    /// A peer of the torrent `info_hash`.
    fn peer(&mut self, info_hash: &InfoHash, peer: &Peer);
}

/// A peer as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it takes connections.
    pub endpoint: Endpoint,
    /// Its name; zeros if the store keeps none.
    pub id: PeerId,
    /// Whether it has everything.
    pub seeder: bool,
    /// Whether it has been a seeder since it was stored first. A seeder has.
    pub been_seeder: bool,
    /// The first minute of the [step](SwarmConfig::minutes_per_step) of its last announce; if that is too long ago, the
    /// store may give another that is so too.
    pub announced: Minute,
}
