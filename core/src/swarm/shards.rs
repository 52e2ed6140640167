//! All swarms of a tracker, in shards that are locked one at a time.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::InfoHash;
use crate::announce::{Announce, Change, Counts, Refusal};
use crate::config::SwarmConfig;
use crate::governor::memory::{Admissions, Admitted, Shortage};
use crate::governor::{MemoryFigures, Prefix, Pressure};
use crate::lock::Lock;
use crate::prefetch::Prefetch;
use crate::seed::{Key, Random, Seed};
use crate::time::{Instant, Minute};

use super::{
    Arrival, Decision, Handout, Member, Packed, Peer, Prepared, Room, Store, Swept, Taken, Totals, Visit,
};

/// The swarms that all workers share. No call holds a lock for longer than one operation on one shard.
#[derive(Debug)]
pub struct Swarms<S: Store = Packed> {
    /// Invariant: a power of two, at most [`SHARDS_MAX`].
    shards: Box<[Shard<S>]>,
    /// The key of the shards and of the tables inside.
    key: Key,
    torrents_max: u64,
    /// Torrents in all shards; other workers may be adding theirs, so it can be behind by one for each worker.
    torrents: AtomicU64,
    /// Whole granules that the shards take: one number, as every batch reads it, and coarse, as it is seldom written so.
    granules: AtomicUsize,
    /// A granule is two to the power of so many bytes.
    granule_bits: u32,
    shortage: Shortage,
    /// Minutes that a torrent which was admitted while memory was short has to be announced again.
    probation_minutes: u32,
    /// Minutes after which an announce of a stored peer counts for the credit of its source.
    renewal_minutes: u32,
}

impl<S: Store> Swarms<S> {
    /// No swarms. The tables inside are keyed by `seed`.
    #[must_use]
    pub fn new(config: &SwarmConfig, seed: &Seed) -> Self {
        let key = seed.key("swarm tables");
        let shards = shards_for(config.workers());
        let admissions = config.memory().map_or(0, |memory| memory.admissions_max / shards);
        Self {
            shards: (0..shards)
                .map(|_| Shard {
                    store: Lock::new(S::new(config, key)),
                    admissions: Lock::new(Admissions::new(config, admissions)),
                })
                .collect(),
            key,
            torrents_max: config.torrents_max().into(),
            torrents: AtomicU64::new(0),
            granules: AtomicUsize::new(0),
            granule_bits: granule_bits(config, shards),
            shortage: Shortage::new(config.memory()),
            probation_minutes: config.probation_minutes(),
            renewal_minutes: config.renewal_minutes(),
        }
    }

    /// Computes what [`prefetch`](Self::prefetch) and the request itself need of the torrent; its choices come from `random`.
    pub fn prepare(&self, info_hash: &InfoHash, random: &mut Random) -> Prepared<S::Prefetched> {
        Prepared::new(&self.key, info_hash, random.fork())
    }

    /// The stages of prefetching that pay for a batch at the moment: none while the processor's caches hold all swarms.
    #[must_use]
    pub fn stages(&self) -> &'static [S::Stage] {
        if self.granules.load(Relaxed) <= NEAR >> self.granule_bits {
            return &[];
        }
        S::STAGES
    }

    /// Takes a batch of requests, best of [`PREFETCHED_TOGETHER`], through one stage of prefetching. Changes nothing, and may
    /// be left out, which is better for one request alone.
    pub fn prefetch<'a>(
        &self,
        stage: S::Stage,
        batch: impl Iterator<Item = (Member<'a>, &'a mut Prepared<S::Prefetched>)>,
        prefetch: &impl Prefetch,
    ) where
        S: 'a,
    {
        let mut batch = batch
            .filter(|(_, prepared)| S::is_due(stage, &prepared.prefetched))
            .peekable();
        while let Some((member, prepared)) = batch.next() {
            let hash = prepared.hash;
            self.with_shard(hash, |store| {
                store.prefetch(stage, &member, prepared, prefetch);
                // Those that follow it to the same shard need not lock it again.
                while let Some((member, prepared)) =
                    batch.next_if(|(_, prepared)| self.number(prepared.hash) == self.number(hash))
                {
                    store.prefetch(stage, &member, prepared, prefetch);
                }
            });
        }
    }

    /// Carries out one announce and hands out peers.
    ///
    /// # Errors
    /// A limit keeps the peer out; nothing has changed then.
    pub fn announce(
        &self,
        now: Instant,
        announce: &Announce,
        prepared: &Prepared<S::Prefetched>,
        peers: &mut Handout<'_>,
    ) -> Result<(Counts, Change), Refusal> {
        let pressure = self.pressure();
        let room = self.room(pressure);
        let announced = self.change(prepared.hash, |store| {
            store.announce(now.minute(), announce, prepared, room, peers)
        });
        if pressure == Pressure::Low {
            return announced;
        }
        match announced {
            Err(refusal) => self.reconsider(now, announce, prepared, refusal, peers),
            Ok((counts, change)) => {
                self.credit(now, announce, change);
                Ok((counts, change))
            }
        }
    }

    /// Credits the source of an announce with the peer that it has renewed. One that announces again before the shortest interval
    /// keeps up nothing.
    #[cold]
    fn credit(&self, now: Instant, announce: &Announce, change: Change) {
        let Change::Renewed { after_minutes, .. } = change else {
            return;
        };
        if after_minutes >= self.renewal_minutes {
            let source = self.source_of(announce);
            let admissions = &self.shard(source).admissions;
            admissions.with(|admissions| admissions.earn(now.minute(), source));
        }
    }

    /// The keyed hash of the source of an announce: its IPv4 address or IPv6 /64, as for the limits.
    fn source_of(&self, announce: &Announce) -> u64 {
        let [source, ..] = Prefix::all_of(announce.peer.ip);
        self.key.hash(&source.bits().to_le_bytes())
    }

    /// Decides about an announce that was refused, perhaps because memory is short.
    #[cold]
    fn reconsider(
        &self,
        now: Instant,
        announce: &Announce,
        prepared: &Prepared<S::Prefetched>,
        refusal: Refusal,
        peers: &mut Handout<'_>,
    ) -> Result<(Counts, Change), Refusal> {
        let (hash, minute) = (prepared.hash, now.minute());
        if refusal == Refusal::TorrentsFull && self.may_come(now, announce, hash) {
            let announced = self.change(hash, |store| {
                store.announce(minute, announce, prepared, Room::Some, peers)
            })?;
            let shard = self.shard(hash);
            shard
                .admissions
                .with(|admissions| admissions.admitted(minute, announce.info_hash));
            return Ok(announced);
        }
        if refusal == Refusal::SwarmFull && self.pressure() == Pressure::Exhausted {
            // The peer can still find others: that costs no memory.
            self.shortage.leave_out();
            let member = Member::of(announce);
            let counts = self.with_shard(hash, |store| store.choose(minute, &member, None, prepared, peers));
            return Ok((counts, Change::None));
        }
        Err(refusal)
    }

    /// Whether a torrent that is not known may be added while memory is short.
    fn may_come(&self, now: Instant, announce: &Announce, hash: u64) -> bool {
        if !self.has_numbers() {
            return false;
        }
        let (shard, minute) = (self.shard(hash), now.minute());
        let is_second = shard
            .admissions
            .with(|admissions| admissions.is_second(minute, hash));
        // The credit is in a shard of its own, whose lock is taken alone.
        let may_come = (is_second || self.spend(now, announce))
            && (self.pressure() < Pressure::Full
                || shard
                    .admissions
                    .with(|admissions| self.evict(now, shard, admissions)));
        if !may_come {
            self.shortage.refuse(!is_second);
        }
        may_come
    }

    fn spend(&self, now: Instant, announce: &Announce) -> bool {
        let source = self.source_of(announce);
        let admissions = &self.shard(source).admissions;
        admissions.with(|admissions| admissions.spend(now.minute(), source))
    }

    /// Drops a torrent that was admitted while memory was short, and that nobody has announced again. True if there is one.
    fn evict(&self, now: Instant, shard: &Shard<S>, admissions: &mut Admissions) -> bool {
        (0..EVICTIONS_TRIED)
            .map_while(|_| admissions.oldest(now.minute(), self.probation_minutes))
            .any(|Admitted { info_hash, at }| {
                let hash = self.hash(&info_hash);
                let evicted = self.change_shard(shard, |store| {
                    store.is_idle(at, &info_hash, hash) && store.remove(&info_hash, hash)
                });
                if evicted {
                    self.shortage.evict();
                }
                evicted
            })
    }

    /// Stores a peer, or renews it, without handing out peers.
    ///
    /// # Errors
    /// A limit keeps the peer out; nothing has changed then.
    pub fn put(&self, arrival: &Arrival<'_>, prepared: &Prepared<S::Prefetched>) -> Result<Change, Refusal> {
        let room = self.room_to_restore();
        let put = self.change(prepared.hash, |store| store.put(arrival, prepared, room));
        put.map(|(change, _)| change)
    }

    /// Stores, renews or removes a peer as `decide` says, which is shown the peer as it is stored.
    ///
    /// # Errors
    /// A limit keeps the peer out; nothing has changed then.
    pub(crate) fn merge(
        &self,
        now: Minute,
        member: &Member<'_>,
        prepared: &Prepared<S::Prefetched>,
        decide: impl FnOnce(Option<&Peer>) -> Decision,
    ) -> Result<(), Refusal> {
        let (room, hash) = (self.room_to_restore(), prepared.hash);
        self.change(hash, |store| match decide(store.peer(member, hash).as_ref()) {
            Decision::Keep => Ok(()),
            Decision::Take => {
                store.take(now, member, hash);
                Ok(())
            }
            Decision::Put {
                seeder,
                been_seeder,
                announced,
                id,
            } => {
                let arrival = Arrival {
                    member: Member { seeder, ..*member },
                    id: &id,
                    been_seeder,
                    announced,
                    completed: false,
                    is_admitted: true,
                };
                store.put(&arrival, prepared, room).map(|_| ())
            }
        })
    }

    /// Changes how often a torrent was downloaded. One that is not known is added, without peers since `vacated`.
    pub(crate) fn change_downloaded(
        &self,
        vacated: Minute,
        info_hash: &InfoHash,
        change: impl FnOnce(u32) -> u32,
    ) {
        let (room, hash) = (self.room_to_restore(), self.hash(info_hash));
        self.change(hash, |store| {
            let downloaded = change(store.scrape(info_hash, hash).downloaded);
            if !store.set_downloaded(info_hash, hash, downloaded) {
                store.restore(vacated, info_hash, hash, downloaded, room);
            }
        });
    }

    /// Removes a peer.
    pub fn take(&self, now: Instant, member: &Member<'_>) -> Taken {
        let hash = self.hash(member.info_hash);
        self.change(hash, |store| store.take(now.minute(), member, hash))
    }

    /// Adds a torrent that is not known and has had no peers since `vacated`. True if that was done; see
    /// [`Store::restore`].
    pub fn restore(&self, vacated: Instant, info_hash: &InfoHash, downloaded: u32) -> bool {
        let (room, hash) = (self.room_to_restore(), self.hash(info_hash));
        self.change(hash, |store| {
            store.restore(vacated.minute(), info_hash, hash, downloaded, room)
        })
    }

    /// The counts of a torrent: zeros if it is not known.
    #[must_use]
    pub fn scrape(&self, info_hash: &InfoHash) -> Counts {
        let hash = self.hash(info_hash);
        self.with_shard(hash, |store| store.scrape(info_hash, hash))
    }

    /// Drops a torrent with all its peers. True if it was known. The memory of many peers is given back by the sweep.
    pub fn remove(&self, info_hash: &InfoHash) -> bool {
        let hash = self.hash(info_hash);
        self.change(hash, |store| store.remove(info_hash, hash))
    }

    /// Removes peers that are too old, for about `work` peers and torrents from `position` on, which moves.
    pub fn sweep(&self, now: Instant, work: usize, position: &mut SweepPosition<S>) -> Swept {
        let Some(shard) = self.shards.get(position.shard) else {
            *position = SweepPosition::default();
            return Swept {
                done: true,
                ..Swept::default()
            };
        };
        let mut swept = self.change_shard(shard, |store| {
            store.sweep(now.minute(), work, &mut position.within)
        });
        if swept.done {
            position.shard += 1;
            position.within = S::Sweep::default();
            swept.done = position.shard == self.shards.len();
            position.shard %= self.shards.len();
        }
        swept
    }

    /// Shows about `work` torrents and peers of one shard from `position` on, which moves; true at the end.
    pub fn walk(&self, work: usize, position: &mut WalkPosition<S>, visit: &mut dyn Visit) -> bool {
        let Some(shard) = self.shards.get(position.shard) else {
            return true;
        };
        if shard
            .store
            .with(|store| store.walk(work, &mut position.within, visit))
        {
            position.shard += 1;
            position.within = S::Walk::default();
        }
        position.shard == self.shards.len()
    }

    /// What all shards hold. Takes each lock once.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let shards = self
            .shards
            .iter()
            .map(|shard| shard.store.with(|store| store.totals()));
        shards.fold(Totals::default(), |sum, totals| sum.plus(&totals))
    }

    /// Bytes that all shards take, by the account of their stores. Takes each lock once.
    #[must_use]
    pub fn accounted_bytes(&self) -> usize {
        let bytes = |shard: &Shard<S>| shard.store.with(|store| store.bytes());
        self.shards.iter().map(bytes).sum()
    }

    /// The fullest shards, and the large torrents of all. Takes each lock once.
    #[must_use]
    pub fn fullest(&self) -> Fullest {
        self.shards.iter().fold(Fullest::default(), |fullest, shard| {
            let (totals, large) = shard.store.with(|store| (store.totals(), store.large()));
            Fullest {
                peers: fullest.peers.max(totals.peers()),
                torrents: fullest.torrents.max(totals.torrents),
                large: fullest.large + large,
            }
        })
    }

    /// Memory of all swarms at this moment, and what was done where it was short.
    #[must_use]
    pub fn memory(&self) -> MemoryFigures {
        self.shortage.figures(self.bytes())
    }

    /// How short memory is.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        self.shortage.pressure(self.bytes())
    }

    /// Bytes of all shards, but for what is left over in each.
    fn bytes(&self) -> usize {
        self.granules.load(Relaxed) << self.granule_bits
    }

    fn room(&self, pressure: Pressure) -> Room {
        match pressure {
            Pressure::Low if self.has_numbers() => Room::Some,
            Pressure::Low | Pressure::High | Pressure::Full => Room::None,
            Pressure::Exhausted => Room::Renewals,
        }
    }

    /// The room for what was known before a restart. None of it has to prove itself, and it may take what is kept for new
    /// peers: the limit is not the same to the byte at each start, and what was within it then must be within it now.
    fn room_to_restore(&self) -> Room {
        match self.pressure() {
            Pressure::High | Pressure::Full if self.has_numbers() => Room::Some,
            pressure @ (Pressure::Low | Pressure::High | Pressure::Full | Pressure::Exhausted) => {
                self.room(pressure)
            }
        }
    }

    /// Whether there may be one more torrent, whatever memory it takes.
    fn has_numbers(&self) -> bool {
        self.torrents.load(Relaxed) < self.torrents_max
    }

    fn hash(&self, info_hash: &InfoHash) -> u64 {
        self.key.hash(&info_hash.0)
    }

    fn with_shard<R>(&self, hash: u64, act: impl FnOnce(&mut S) -> R) -> R {
        self.shard(hash).store.with(act)
    }

    fn change<R>(&self, hash: u64, act: impl FnOnce(&mut S) -> R) -> R {
        self.change_shard(self.shard(hash), act)
    }

    /// Keeps the numbers of torrents and granules in step with what `act` does to the shard.
    fn change_shard<R>(&self, shard: &Shard<S>, act: impl FnOnce(&mut S) -> R) -> R {
        shard.store.with(|store| {
            let (torrents, granules) = (store.torrents(), store.bytes() >> self.granule_bits);
            let result = act(store);
            let (torrents_now, granules_now) = (store.torrents(), store.bytes() >> self.granule_bits);
            if torrents_now != torrents {
                self.torrents
                    .fetch_add(torrents_now.wrapping_sub(torrents), Relaxed);
            }
            if granules_now != granules {
                self.granules
                    .fetch_add(granules_now.wrapping_sub(granules), Relaxed);
            }
            result
        })
    }

    fn shard(&self, hash: u64) -> &Shard<S> {
        #[expect(clippy::indexing_slicing, reason = "there is a shard for each number")]
        &self.shards[self.number(hash)]
    }

    /// The highest byte of a hash chooses the shard; stores begin with the lowest bits.
    fn number(&self, hash: u64) -> usize {
        usize::from(hash.to_be_bytes()[0]) & (self.shards.len() - 1)
    }
}

/// Shards for so many workers: enough that these seldom meet, few enough that the caches of each hold the heads of all.
fn shards_for(workers: usize) -> usize {
    let wanted = workers.clamp(1, SHARDS_MAX) * SHARDS_PER_WORKER;
    wanted.next_power_of_two().min(SHARDS_MAX)
}

const SHARDS_PER_WORKER: usize = 32;
/// Shards at most: what eight bits of a hash tell apart.
pub(crate) const SHARDS_MAX: usize = 256;

/// How unevenly swarms are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fullest {
    /// Peers in the shard that holds the most.
    pub peers: u64,
    /// Torrents in the shard that holds the most.
    pub torrents: u64,
    /// Torrents of all shards that are kept in a table of their own.
    pub large: u64,
}

/// Bytes of all swarms that are taken to be in the processor's caches, so that prefetching costs more than it saves: what one
/// group of a server's cores shares of the last level.
const NEAR: usize = 16 << 20;

/// Announces that are taken through the stages together: of twice as many, the first lines are out of a first-level cache of
/// 32 KiB before they are read.
pub const PREFETCHED_TOGETHER: usize = 16;

/// Bytes of a shard that are counted together: so few that what is left over in all shards is no more than a 64th of the memory
/// that they may take.
fn granule_bits(config: &SwarmConfig, shards: usize) -> u32 {
    let memory = config.memory().map_or(usize::MAX, |memory| memory.swarms_max);
    (memory / 64 / shards).clamp(1, GRANULE_MAX).ilog2()
}

/// Bytes of a granule at most; what is left over in each shard is far below [`NEAR`].
const GRANULE_MAX: usize = 16 << 10;

/// Torrents that were renewed, and so stay, which are passed over on the way to one that makes room. The next announce goes
/// on behind them.
const EVICTIONS_TRIED: usize = 8;

/// Where a sweep over all shards has got to; the default is the beginning.
#[derive(Clone, Debug)]
pub struct SweepPosition<S: Store = Packed> {
    shard: usize,
    within: S::Sweep,
}

impl<S: Store> Default for SweepPosition<S> {
    fn default() -> Self {
        Self {
            shard: 0,
            within: S::Sweep::default(),
        }
    }
}

/// Where a walk over all shards has got to; the default is the beginning.
#[derive(Clone, Debug)]
pub struct WalkPosition<S: Store = Packed> {
    shard: usize,
    within: S::Walk,
}

impl<S: Store> Default for WalkPosition<S> {
    fn default() -> Self {
        Self {
            shard: 0,
            within: S::Walk::default(),
        }
    }
}

/// A shard on cache lines of its own, so that neighbours' locks do not contend.
#[derive(Debug)]
#[repr(align(128))]
struct Shard<S> {
    store: Lock<S>,
    /// Locked before the store, where both are.
    admissions: Lock<Admissions>,
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use alloc::vec::Vec;
    use std::collections::{BTreeMap, BTreeSet};

    use quickcheck::quickcheck;

    use crate::announce::{Endpoint, Event, Family};
    use crate::config::MemoryLimits;
    use crate::{Config, PeerId};

    use super::*;

    #[test]
    fn bytes_are_counted_as_torrents_come_and_go_and_few_are_not_prefetched() {
        let config = Config::default();
        let swarms: Swarms = Swarms::new(config.swarms(), &Seed::new([1; 32]));
        let mut random = Random::with_seed(1);
        let now = Instant::from_secs(1_700_000_000);
        let mut announce = |torrent: u32, event| {
            let mut info_hash = InfoHash::default();
            info_hash.0[..4].copy_from_slice(&torrent.to_le_bytes());
            let announce = Announce {
                info_hash,
                peer_id: PeerId::default(),
                peer: Endpoint {
                    ip: match torrent % 2 {
                        0 => Ipv4Addr::from_bits(0x0100_0000 + torrent).into(),
                        _ => Ipv6Addr::from_bits((0x2001 << 112) + u128::from(torrent)).into(),
                    },
                    port: 6881,
                },
                left: u64::from(torrent / 2 % 2),
                event,
                numwant: None,
            };
            let prepared = swarms.prepare(&announce.info_hash, &mut random);
            let mut peers = Handout::new(Family::V4, 0, &mut []);
            swarms.announce(now, &announce, &prepared, &mut peers).unwrap();
        };
        (0..TORRENTS).for_each(|torrent| announce(torrent, Event::Started));
        let granules = swarms.granules.load(Relaxed);
        assert!((32..=96).contains(&granules), "{granules}");
        assert!(swarms.stages().is_empty());
        let quarter = u64::from(TORRENTS / 4);
        let all = Totals {
            torrents: TORRENTS.into(),
            seeders_v4: quarter,
            leechers_v4: quarter,
            seeders_v6: quarter,
            leechers_v6: quarter,
        };
        assert_eq!(swarms.totals(), all);
        (0..TORRENTS).for_each(|torrent| announce(torrent, Event::Stopped));
        assert_eq!(
            (swarms.totals(), swarms.granules.load(Relaxed)),
            (Totals::default(), 0)
        );
    }

    /// A tracker whose swarms may take so many bytes, at a moment that it chooses.
    struct Limited {
        swarms: Swarms,
        random: Random,
        minute: u64,
    }

    impl Limited {
        fn new(swarms_max: usize) -> Self {
            let config = Config::default().with_memory_limits(MemoryLimits {
                swarms_max,
                admissions_max: 1 << 20,
            });
            Self {
                swarms: Swarms::new(config.swarms(), &Seed::new([1; 32])),
                random: Random::with_seed(1),
                minute: 0,
            }
        }

        /// Carries out the announce of a peer, by the number of its torrent and its own.
        fn announce(&mut self, torrent: u32, peer: u32) -> Result<(Counts, Change), Refusal> {
            let mut info_hash = InfoHash::default();
            info_hash.0[..4].copy_from_slice(&torrent.to_le_bytes());
            let announce = Announce {
                info_hash,
                peer_id: PeerId::default(),
                peer: Endpoint {
                    ip: Ipv4Addr::from_bits(0x0100_0000 + peer).into(),
                    port: 6881,
                },
                left: 0,
                event: Event::None,
                numwant: None,
            };
            let prepared = self.swarms.prepare(&info_hash, &mut self.random);
            let mut peers = Handout::new(Family::V4, 0, &mut []);
            let now = Instant::from_secs(1_700_000_000 + 60 * self.minute);
            self.swarms.announce(now, &announce, &prepared, &mut peers)
        }

        fn knows(&self, torrent: u32) -> bool {
            let mut info_hash = InfoHash::default();
            info_hash.0[..4].copy_from_slice(&torrent.to_le_bytes());
            self.swarms.scrape(&info_hash).complete > 0
        }

        /// Announces new torrents from `first` on, each so often, until memory is as short as this; the next number.
        fn fill(&mut self, first: u32, times: usize, pressure: Pressure) -> u32 {
            for torrent in first..first + 1_000_000 {
                if self.swarms.pressure() >= pressure {
                    return torrent;
                }
                for _ in 0..times {
                    let _ = self.announce(torrent, torrent);
                }
            }
            panic!("memory is never so short");
        }
    }

    #[test]
    fn while_memory_is_short_a_torrent_comes_at_its_second_announce() {
        let mut limited = Limited::new(1 << 20);
        let first = limited.fill(0, 1, Pressure::High);
        let refused = Err(Refusal::TorrentsFull);
        assert_eq!(limited.announce(first, 1), refused);
        // An hour later, which is within two intervals.
        limited.minute = 60;
        assert!(limited.announce(first, 1).is_ok());
        // Known torrents go on.
        assert!(limited.announce(first, 2).is_ok() && limited.announce(5, 99).is_ok());
        let memory = limited.swarms.memory();
        assert_eq!((memory.refused, memory.refused_first), (1, 1));
        assert!(memory.swarms_bytes >= (9 << 20) / 10 && memory.swarms_bytes < 1 << 20);
    }

    #[test]
    fn while_memory_is_short_a_source_has_as_many_torrents_admitted_at_once_as_it_has_kept_up() {
        let mut limited = Limited::new(1 << 20);
        let mut torrent = 0;
        // Source 1 has five torrents, and then others come until memory is short.
        while torrent < 5 {
            assert!(limited.announce(torrent, 1).is_ok());
            torrent += 1;
        }
        torrent = limited.fill(torrent, 1, Pressure::High);
        let mut admitted = |limited: &mut Limited, peer| {
            let came = (0..10).take_while(|_| {
                torrent += 1;
                limited.announce(torrent, peer).is_ok()
            });
            came.count()
        };
        assert_eq!(admitted(&mut limited, 1), 0, "nothing is kept up yet");
        // Again in the same minute, however often, is no credit.
        for _ in 0..100 {
            assert!(limited.announce(3, 1).is_ok());
        }
        assert_eq!(admitted(&mut limited, 1), 0);
        limited.minute += 30;
        for kept in 0..5 {
            assert!(limited.announce(kept, 1).is_ok());
        }
        assert_eq!(admitted(&mut limited, 2), 0, "the credit of another source");
        assert_eq!(admitted(&mut limited, 1), 5);
        assert_eq!(limited.swarms.memory().refused_first, 4);
    }

    #[test]
    fn at_the_limit_torrents_come_only_in_the_place_of_others_that_nobody_announced_again() {
        let mut limited = Limited::new(1 << 20);
        let honest = limited.fill(0, 1, Pressure::High);
        let flood = limited.fill(honest, 2, Pressure::Full);
        // One of those admitted under pressure is renewed, another one has a second peer.
        limited.minute = 4;
        assert!(limited.announce(honest, honest).is_ok() && limited.announce(honest + 1, 7).is_ok());
        for torrent in flood..flood + 1000 {
            for _ in 0..2 {
                assert_eq!(limited.announce(torrent, torrent), Err(Refusal::TorrentsFull));
            }
        }
        limited.minute = 10;
        let came = (flood..flood + 10_000).filter(|&torrent| {
            let _ = limited.announce(torrent, torrent);
            limited.announce(torrent, torrent).is_ok()
        });
        let came = came.count() as u64;
        let memory = limited.swarms.memory();
        assert!(came > 100 && memory.evicted >= came, "{came} {memory:?}");
        assert!(memory.pressure >= Pressure::High && memory.swarms_bytes <= (1 << 20) + (1 << 20) / 64);
        // What was there before memory was short stays, though it was silent for longer than all others; and so does what
        // was announced again.
        assert!((0..honest + 2).all(|torrent| limited.knows(torrent)));
    }

    #[test]
    fn when_memory_is_used_up_new_peers_are_answered_and_not_stored() {
        let mut limited = Limited::new(1 << 20);
        limited.fill(0, 2, Pressure::Full);
        let mut peer = 10_000_000;
        while limited.swarms.pressure() < Pressure::Exhausted {
            peer += 1;
            assert!(limited.announce(peer % 100, peer).is_ok());
        }
        let bytes = limited.swarms.memory().swarms_bytes;
        for peer in peer + 1..peer + 10_000 {
            let (counts, change) = limited.announce(peer % 100, peer).unwrap();
            assert!(change == Change::None && counts.complete > 10);
        }
        let memory = limited.swarms.memory();
        assert!(
            memory.swarms_bytes <= bytes && memory.unstored == 9_999,
            "{memory:?}"
        );
        // Those that are there are renewed.
        let renewed = limited.announce(peer % 100, peer).unwrap().1;
        assert!(matches!(renewed, Change::Renewed { .. }));
    }

    quickcheck! {
        /// The rules of docs/memory.md, whatever comes: steps of a torrent, a peer and minutes.
        fn whatever_is_announced_memory_stays_and_what_proved_itself_does_too(steps: Vec<(u16, u8, u8)>) -> bool {
            let max = 16 << 10;
            let mut limited = Limited::new(max);
            let (mut asked, mut proven) = (BTreeMap::new(), BTreeSet::new());
            // Each step is one of a person and thirty of a flood.
            let floods = (1_000_000..).step_by(30);
            for ((torrent, peer, minutes), flood) in steps.into_iter().zip(floods) {
                limited.minute += u64::from(minutes) / 128;
                let torrent = u32::from(torrent % 64);
                let (knew, before) = (limited.knows(torrent), limited.swarms.pressure());
                let outcome = limited.announce(torrent, (peer % 4).into());
                let is_second = asked
                    .insert(torrent, limited.minute)
                    .is_some_and(|last| limited.minute - last <= 60);
                let may_refuse = !knew && before != Pressure::Low && (before != Pressure::High || !is_second);
                if outcome.is_err() && !may_refuse {
                    return false;
                }
                // It came while there was room for all, or was announced again at a later minute.
                let renewed =
                    |change| matches!(change, Change::Renewed { after_minutes, .. } if after_minutes > 0);
                if outcome.is_ok_and(|(_, change)| (before == Pressure::Low && !knew) || renewed(change)) {
                    proven.insert(torrent);
                }
                for torrent in flood..flood + 30 {
                    let _ = (limited.announce(torrent, torrent), limited.announce(torrent, torrent));
                }
            }
            // Nobody is swept here, however long ago the last announce was.
            let memory = limited.swarms.memory();
            memory.swarms_bytes <= (max + max / 16 + 4096) as u64 && proven.iter().all(|&torrent| limited.knows(torrent))
        }
    }

    #[test]
    fn there_is_a_shard_for_every_hash_and_more_for_more_workers() {
        for (workers, shards) in [
            (0, 32),
            (1, 32),
            (2, 64),
            (3, 128),
            (8, 256),
            (256, 256),
            (usize::MAX, 256),
        ] {
            let config = Config::default().with_workers(workers);
            let swarms: Swarms = Swarms::new(config.swarms(), &Seed::new([1; 32]));
            assert_eq!(swarms.shards.len(), shards, "{workers} workers");
            let numbers = (0..=u8::MAX).map(|first| swarms.number(u64::from(first) << 56));
            assert_eq!(numbers.max(), Some(shards - 1));
        }
    }

    /// Enough for a granule or two in each shard.
    const TORRENTS: u32 = 20_000;
}
