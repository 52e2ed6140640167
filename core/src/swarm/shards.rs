//! All swarms of a tracker, in shards that are locked one at a time.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::InfoHash;
use crate::announce::{Announce, Change, Counts, Refusal};
use crate::config::SwarmConfig;
use crate::lock::Lock;
use crate::prefetch::Prefetch;
use crate::seed::{Key, Random, Seed};
use crate::time::Instant;

use super::{Arrival, Handout, Member, Packed, Prepared, Room, Store, Swept, Taken, Totals, Visit};

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
    /// Whole [`GRANULE`]s that the shards take: one number, as every batch reads it, and coarse, as it is seldom written so.
    granules: AtomicUsize,
}

impl<S: Store> Swarms<S> {
    /// No swarms. The tables inside are keyed by `seed`.
    #[must_use]
    pub fn new(config: &SwarmConfig, seed: &Seed) -> Self {
        let key = seed.key("swarm tables");
        Self {
            shards: (0..shards_for(config.workers()))
                .map(|_| Shard {
                    store: Lock::new(S::new(config, key)),
                })
                .collect(),
            key,
            torrents_max: config.torrents_max().into(),
            torrents: AtomicU64::new(0),
            granules: AtomicUsize::new(0),
        }
    }

    /// Computes what [`prefetch`](Self::prefetch) and the request itself need of the torrent; its choices come from `random`.
    pub fn prepare(&self, info_hash: &InfoHash, random: &mut Random) -> Prepared<S::Prefetched> {
        Prepared::new(&self.key, info_hash, random.fork())
    }

    /// The stages of prefetching that pay for a batch at the moment: none while the processor's caches hold all swarms.
    #[must_use]
    pub fn stages(&self) -> &'static [S::Stage] {
        if self.granules.load(Relaxed) <= NEAR / GRANULE {
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
        let room = self.room();
        self.change(prepared.hash, |store| {
            store.announce(now.minute(), announce, prepared, room, peers)
        })
    }

    /// Stores a peer, or renews it, without handing out peers.
    ///
    /// # Errors
    /// A limit keeps the peer out; nothing has changed then.
    pub fn put(&self, arrival: &Arrival<'_>, prepared: &Prepared<S::Prefetched>) -> Result<Change, Refusal> {
        let room = self.room();
        let put = self.change(prepared.hash, |store| store.put(arrival, prepared, room));
        put.map(|(change, _)| change)
    }

    /// Removes a peer.
    pub fn take(&self, now: Instant, member: &Member<'_>) -> Taken {
        let hash = self.hash(member.info_hash);
        self.change(hash, |store| store.take(now.minute(), member, hash))
    }

    /// Adds a torrent that is not known and has had no peers since `vacated`. True if that was done; see
    /// [`Store::restore`].
    pub fn restore(&self, vacated: Instant, info_hash: &InfoHash, downloaded: u32) -> bool {
        let (room, hash) = (self.room(), self.hash(info_hash));
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

    fn room(&self) -> Room {
        if self.torrents.load(Relaxed) < self.torrents_max {
            Room::Some
        } else {
            Room::None
        }
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
            let (torrents, granules) = (store.torrents(), store.bytes() / GRANULE);
            let result = act(store);
            let (torrents_now, granules_now) = (store.torrents(), store.bytes() / GRANULE);
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

/// Bytes of a shard that are counted together; what is left over in each is far below [`NEAR`].
const GRANULE: usize = 16 << 10;

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
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use crate::announce::{Endpoint, Event, Family};
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
