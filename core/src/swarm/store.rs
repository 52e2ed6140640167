//! The face of a swarm store.

use crate::announce::{Announce, Counts, Endpoint, Family, Refusal};
use crate::config::SwarmConfig;
use crate::seed::{Key, Random};
use crate::time::Minute;
use crate::{InfoHash, PeerId};

use super::Handout;
use super::packed::Starts;

/// The torrents and peers of one shard.
///
/// Rules that every store keeps:
/// - A peer is its endpoint. A seeder has `left = 0` in its last announce.
/// - `downloaded` rises with [`Event::Completed`](crate::announce::Event::Completed) and `left = 0` from a peer that
///   has not been a seeder since it was stored first: once for each stored peer, whatever it says is left in between,
///   and never for one that came as a seeder. A peer that expires or stops is forgotten, with what it has been.
/// - Peers handed out are of the asker's family, never the asker itself, not [too old](SwarmConfig::is_too_old), leechers
///   alone if the asker is a seeder; the choice is uniform.
/// - Who announces port 0 or 1 can be reached by nobody. It is handed peers like others, and changes nothing: it is not
///   stored, counted, limited or remembered as a download. A peer that is stored under another port stays until its time.
/// - `stopped` removes the peer, whatever it says is left, creates nothing, and is handed no peers.
/// - A torrent without peers is forgotten; one whose `downloaded` is not 0 only when it has had no peers for
///   [so long](SwarmConfig::is_too_old).
/// - A refused announce changes nothing.
pub trait Store {
    /// Where a sweep has got to; the default is the beginning.
    type Sweep: Default + Clone + core::fmt::Debug;
    /// Where a walk has got to; the default is the beginning.
    type Walk: Default + Clone + core::fmt::Debug;

    /// An empty store, whose tables are keyed by `key`.
    fn new(config: &SwarmConfig, key: Key) -> Self;

    /// Carries out one announce and hands out peers. The counts include the announcer.
    ///
    /// # Errors
    /// A limit of the configuration, or `room`, keeps the peer out.
    fn announce(
        &mut self,
        now: Minute,
        announce: &Announce,
        prepared: Prepared,
        room: Room,
        peers: &mut Handout<'_>,
    ) -> Result<Counts, Refusal>;

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

    /// Tells `hint` the addresses that this announce will read; the stages are taken one after the other. Changes nothing.
    fn hint<H: Fn(*const u8) + Copy>(
        &self,
        stage: Stage,
        announce: &Announce,
        prepared: &mut Prepared,
        hint: H,
    );

    /// The counts of a torrent: zeros if it is not known. Has no side effect.
    fn scrape(&self, info_hash: &InfoHash, hash: u64) -> Counts;

    /// Drops a torrent with all its peers. True if it was known. The memory of many peers is given back by the sweep.
    fn remove(&mut self, info_hash: &InfoHash, hash: u64) -> bool;

    /// Removes peers that are too old at `now`, for about `work` peers and torrents from `position` on, which moves.
    fn sweep(&mut self, now: Minute, work: usize, position: &mut Self::Sweep) -> Swept;

    /// Shows about `work` torrents and peers from `position` on, which moves; true when it has reached the end.
    ///
    /// What is there throughout the walk is shown exactly once; what comes or goes meanwhile, at most once.
    fn walk(&self, work: usize, position: &mut Self::Walk, visit: &mut dyn Visit) -> bool;

    /// Torrents held, those without peers included. Takes constant time.
    fn torrents(&self) -> u64;

    /// Torrents that have so many peers that they are kept in a table of their own; 0 if the store knows no such.
    fn large(&self) -> u64 {
        0
    }

    /// Bytes of memory that the store takes, about; 0 if it cannot tell. Takes constant time.
    fn bytes(&self) -> usize {
        0
    }

    /// What the store holds.
    fn totals(&self) -> Totals;
}

/// What is worked out of an announce before a store sees it, once for all stages.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The hash of the info-hash, under the key that the store was made with.
    pub(super) hash: u64,
    /// The generator for this announce alone, so that what it will choose can be told before.
    pub(super) random: Random,
    /// What the stages so far have found. Where it leads to may be out of date: that is for hints alone.
    pub(super) path: Path,
}

impl Prepared {
    /// Prepares an announce for a store that was made with `key`; its choices come from `random`.
    #[must_use]
    pub fn new(key: &Key, announce: &Announce, random: Random) -> Self {
        Self {
            hash: key.hash(&announce.info_hash.0),
            random,
            path: Path::Unknown,
        }
    }
}

/// Where an announce will lead, as far as hints have followed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// Its torrent was not looked up yet.
    Unknown,
    /// There is nothing more to fetch.
    Page,
    /// It leads to this large swarm, in which `peer` is the hash of the announcing peer. Where it begins to hand out was
    /// drawn with the last stage.
    Swarm { number: u32, peer: u64, starts: Starts },
}

impl Path {
    /// Whether a stage has anything left to do.
    pub(super) const fn needs(self, stage: Stage) -> bool {
        match self {
            Self::Unknown => true,
            Self::Page => false,
            Self::Swarm { .. } => matches!(stage, Stage::Tables | Stage::Buckets),
        }
    }

    /// The hash of the announcing peer, if it had to be worked out.
    pub(super) const fn peer(self) -> Option<u64> {
        match self {
            Self::Swarm { peer, .. } => Some(peer),
            Self::Unknown | Self::Page => None,
        }
    }

    /// What was drawn before.
    pub(super) fn starts(self) -> Starts {
        match self {
            Self::Swarm { starts, .. } => starts,
            Self::Unknown | Self::Page => Starts::default(),
        }
    }
}

/// How far ahead of an announce a hint is. Each stage reads what the one before told, and tells what the next will read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The entry of the table of pages.
    Slot,
    /// The head of the page.
    Page,
    /// What the page holds of the torrent.
    Torrent,
    /// The large swarm, if the torrent has one.
    Swarm,
    /// The entries of its tables of buckets.
    Tables,
    /// The buckets.
    Buckets,
}

impl Stage {
    /// All stages in their order.
    pub const ALL: [Self; 6] = [
        Self::Slot,
        Self::Page,
        Self::Torrent,
        Self::Swarm,
        Self::Tables,
        Self::Buckets,
    ];
}

/// Whether the tracker as a whole has room for one more torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// A torrent may be added.
    Some,
    /// Only known torrents are served.
    None,
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
