//! The packed store beside the plain one: the same operations, and after each of them the same answers.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::vec::Vec;
use std::{println, vec};

use quickcheck::{Arbitrary, Gen, QuickCheck};

use crate::announce::{Announce, Change, Counts, Endpoint, Event, Family, Refusal};
use crate::config::{Intervals, SwarmConfig};
use crate::prefetch::NoPrefetch;
use crate::seed::{Key, Random};
use crate::time::Minute;
use crate::{Config, InfoHash, PeerId, Seed};

use super::{Handout, Member, Packed, Peer, Plain, Prepared, Room, Store, Swept, Visit, assert_spread};

/// One thing that can happen to a store.
#[derive(Clone, Debug)]
enum Op {
    Announce(Ask),
    Scrape {
        torrent: u16,
    },
    Restore {
        torrent: u16,
        downloaded: u32,
        room: Room,
    },
    Remove {
        torrent: u16,
    },
    /// A whole sweep, in steps of this work.
    Sweep {
        work: u16,
    },
    /// One step of a sweep that goes on from the one before.
    SweepStep {
        work: u16,
    },
    /// A whole walk, in steps of this work.
    Walk {
        work: u16,
    },
    /// Minutes pass, mostly few.
    Pass {
        minutes: u32,
    },
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    torrent: u16,
    peer: u16,
    id: u8,
    seeder: bool,
    event: Event,
    wanted: u16,
    room: Room,
    /// Announced instead of the peer's port: one where it cannot be reached.
    port: Option<u16>,
}

/// How a run is dealt: torrents are many or few, peers come or go.
#[derive(Clone, Debug)]
struct Deal {
    config: Config,
    torrents: u16,
    peers: u16,
    /// Of 100 announces, how many go to the first torrent whatever was drawn, from leechers mostly: so many that its
    /// swarm has many buckets in some of its sets.
    crowd: u8,
    /// Of 100 announces, how many are `stopped`.
    stopped: u8,
    /// Of 1000 operations, how many let time pass.
    passes: u16,
}

const IN_RANGE: &str = "settings within their ranges";

impl Deal {
    fn draw(random: &mut Random) -> Self {
        let config = Config::default()
            .with_peer_ids(random.bool())
            .with_peers_per_address_max(*pick(random, &[0, 1, 3, 64]))
            .and_then(|config| {
                config.with_peers_per_torrent_max(*pick(random, &[1 << 24, 1 << 24, 5, 40, 300]))
            });
        // Peers are kept for 3, 31, 62, 63, 100 and 122 minutes.
        let longest = *pick(random, &[60, 1799, 3600, 3660, 5900, 7200]);
        let intervals = Intervals {
            initial: longest,
            min: 60,
            max: longest,
        };
        Self {
            config: config
                .and_then(|config| config.with_intervals(intervals))
                .expect(IN_RANGE),
            torrents: *pick(random, &[1, 2, 30, 300]),
            peers: *pick(random, &[3, 40, 150, 1000]),
            crowd: 0,
            stopped: *pick(random, &[5, 5, 40, 70]),
            passes: *pick(random, &[0, 2, 10, 60]),
        }
        .crowded(random.u8(..4) == 0)
    }

    /// As it is, or so that one swarm becomes large.
    fn crowded(mut self, crowded: bool) -> Self {
        if crowded {
            self.config = self.config.with_peers_per_torrent_max(1 << 24).expect(IN_RANGE);
            (self.peers, self.crowd) = (6000, 95);
            (self.stopped, self.passes) = (self.stopped.min(5), self.passes.min(2));
        }
        self
    }

    fn op(&self, random: &mut Random) -> Op {
        if random.u16(..1000) < self.passes {
            let minutes = match random.u8(..10) {
                0..8 => random.u32(..4),
                8 => random.u32(..260),
                _ => random.u32(..3_000_000),
            };
            return Op::Pass { minutes };
        }
        let torrent = random.u16(..self.torrents);
        let work = *pick(random, &[1, 7, 100, 4096]);
        match random.u16(..1000) {
            0..4 => Op::Sweep { work },
            4..30 => Op::SweepStep { work },
            30..32 => Op::Walk { work },
            32..34 => Op::Remove { torrent },
            34..40 => Op::Restore {
                torrent,
                downloaded: *pick(random, &[0, 1, 70_000, u32::MAX]),
                room: room(random),
            },
            40..100 => Op::Scrape { torrent },
            _ if random.u8(..100) < self.crowd => Op::Announce(Ask {
                torrent: 0,
                seeder: random.u8(..10) == 0,
                ..self.ask(torrent, random)
            }),
            _ => Op::Announce(self.ask(torrent, random)),
        }
    }

    fn ask(&self, torrent: u16, random: &mut Random) -> Ask {
        Ask {
            torrent,
            peer: random.u16(..self.peers),
            id: random.u8(..),
            seeder: random.bool(),
            event: if random.u8(..100) < self.stopped {
                Event::Stopped
            } else {
                *pick(
                    random,
                    &[Event::None, Event::None, Event::Started, Event::Completed],
                )
            },
            wanted: *pick(random, &[0, 1, 5, 50, 200, 1000]),
            room: room(random),
            port: [Some(0), Some(1)].get(random.usize(..40)).copied().flatten(),
        }
    }
}

fn room(random: &mut Random) -> Room {
    if random.u8(..20) == 0 {
        Room::None
    } else {
        Room::Some
    }
}

fn pick<'a, T>(random: &mut Random, choices: &'a [T]) -> &'a T {
    &choices[random.usize(..choices.len())]
}

/// A run that quickcheck can make shorter.
#[derive(Clone, Debug)]
struct Run {
    deal: Deal,
    ops: Vec<Op>,
}

impl Arbitrary for Run {
    fn arbitrary(g: &mut Gen) -> Self {
        let mut random = Random::with_seed(u64::arbitrary(g));
        let deal = Deal::draw(&mut random);
        let ops = (0..random.usize(..40 * g.size()))
            .map(|_| deal.op(&mut random))
            .collect();
        Self { deal, ops }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let Self { deal, ops } = self.clone();
        let pieces = [2, 4, 8, 16, 64, 512].map(|parts| ops.len().div_ceil(parts).max(1));
        Box::new(pieces.into_iter().flat_map(move |piece| {
            let (deal, ops) = (deal.clone(), ops.clone());
            (0..ops.len()).step_by(piece).map(move |from| {
                let mut shorter = ops.clone();
                shorter.drain(from..(from + piece).min(ops.len()));
                let deal = deal.clone();
                Self { deal, ops: shorter }
            })
        }))
    }
}

/// Both stores.
struct Pair {
    plain: Plain,
    packed: Packed,
    key: Key,
    random: Random,
    now: Minute,
    config: SwarmConfig,
    sweep: <Packed as Store>::Sweep,
    /// When each torrent that is there without peers lost its last one.
    vacated: BTreeMap<u16, Minute>,
    torrents: u16,
}

impl Pair {
    fn new(deal: &Deal, seed: u8) -> Self {
        let key = Seed::new([seed; 32]).key("tables");
        Self {
            plain: Plain::new(deal.config.swarms(), key),
            packed: Packed::new(deal.config.swarms(), key),
            key,
            random: key.random(1),
            now: Minute::new(28_000_000),
            config: *deal.config.swarms(),
            sweep: Default::default(),
            vacated: BTreeMap::new(),
            torrents: deal.torrents,
        }
    }

    /// So many peers have come to the first torrent, each of which wanted so many; `is_seeder` says which are seeders.
    fn with_peers(deal: &Deal, peers: u16, wanted: u16, is_seeder: impl Fn(u16) -> bool) -> Self {
        let mut pair = Self::new(deal, 1);
        for peer in 0..peers {
            pair.apply(&Op::Announce(Ask {
                torrent: 0,
                peer,
                id: 1,
                seeder: is_seeder(peer),
                event: Event::Started,
                wanted,
                room: Room::Some,
                port: None,
            }));
        }
        pair
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Announce(ask) => self.announce(&ask),
            Op::Scrape { torrent } => self.compare_counts(torrent),
            Op::Restore {
                torrent,
                downloaded,
                room,
            } => self.restore(torrent, downloaded, room),
            Op::Remove { torrent } => {
                let (info_hash, hash) = self.torrent(torrent);
                let known = self.plain.remove(&info_hash, hash);
                assert_eq!(self.packed.remove(&info_hash, hash), known);
                self.vacated.remove(&torrent);
            }
            Op::Sweep { work } => self.sweep(work.into()),
            Op::SweepStep { work } => self.sweep_step(work.into()),
            Op::Walk { work } => assert_eq!(
                self.seen(&self.packed, work.into()),
                self.seen(&self.plain, 100),
                "a walk"
            ),
            Op::Pass { minutes } => self.now = Minute::new(self.now.get().saturating_add(minutes)),
        }
        assert_eq!(self.packed.torrents(), self.plain.torrents());
        assert_eq!(self.packed.totals(), self.plain.totals());
    }

    fn announce(&mut self, ask: &Ask) {
        let (info_hash, _) = self.torrent(ask.torrent);
        let peer = endpoint(ask.peer);
        let announce = Announce {
            info_hash,
            peer_id: PeerId([ask.id; 20]),
            peer: Endpoint {
                port: ask.port.unwrap_or(peer.port),
                ..peer
            },
            left: if ask.seeder { 0 } else { 1 },
            event: ask.event,
            numwant: None,
        };
        let random = self.random.fork();
        let plainly = Prepared::new(&self.key, &info_hash, random.clone());
        let mut prepared = Prepared::new(&self.key, &info_hash, random);
        for &stage in Packed::STAGES {
            let member = Member::of(&announce);
            self.packed.prefetch(stage, &member, &mut prepared, &NoPrefetch);
        }
        let (found, chosen) = answer(
            &mut self.packed,
            self.now,
            &announce,
            &prepared,
            ask.room,
            ask.wanted.into(),
        );
        let (expected, eligible) = answer(&mut self.plain, self.now, &announce, &plainly, ask.room, 5000);
        let (found, expected) = (self.in_time(found), self.in_time(expected));
        assert_eq!(found, expected, "{ask:?}");
        if !peer.ip.is_loopback()
            && announce.event != Event::Stopped
            && let Ok((counts, _)) = found
        {
            let stored = (counts.complete + counts.incomplete) as usize;
            let compact =
                |peers: &Chosen| -> Vec<u8> { peers.iter().flat_map(|(peer, _)| peer.clone()).collect() };
            let (chosen, eligible) = (compact(&chosen), compact(&eligible));
            assert_spread(peer.family(), &chosen, &eligible, stored, ask.wanted.into());
        }
        let eligible: BTreeMap<_, _> = eligible.into_iter().collect();
        let distinct: BTreeMap<_, _> = chosen.iter().cloned().collect();
        assert_eq!(distinct.len(), chosen.len(), "a peer twice in one answer");
        assert_eq!(chosen.len(), eligible.len().min(ask.wanted.into()), "{ask:?}");
        for (peer, id) in &distinct {
            assert_eq!(eligible.get(peer), Some(id), "{peer:?} is not eligible");
        }
        self.compare_counts(ask.torrent);
        self.note_vacated(ask.torrent);
    }

    /// As it is, but of a peer past its expiry it is only known that it was silent for too long.
    fn in_time(&self, answer: Answer) -> Answer {
        answer.map(|(counts, mut change)| {
            if let Change::Renewed { after_minutes, .. } = &mut change {
                let before = self.now.get().saturating_sub(*after_minutes);
                if self.config.is_too_old(self.now, Minute::new(before)) {
                    *after_minutes = u32::MAX;
                }
            }
            (counts, change)
        })
    }

    fn restore(&mut self, torrent: u16, downloaded: u32, room: Room) {
        let (info_hash, hash) = self.torrent(torrent);
        let known = self.plain.restore(self.now, &info_hash, hash, downloaded, room);
        let found = self.packed.restore(self.now, &info_hash, hash, downloaded, room);
        assert_eq!(found, known);
        self.compare_counts(torrent);
        self.note_vacated(torrent);
    }

    fn sweep(&mut self, work: usize) {
        let found = swept(&mut self.packed, self.now, work);
        self.sweep = Default::default();
        assert_eq!(found, swept(&mut self.plain, self.now, 1000), "a sweep");
        (0..self.torrents).for_each(|torrent| self.compare_counts(torrent));
        (0..self.torrents).for_each(|torrent| self.note_vacated(torrent));
    }

    /// What the step removed must be too old, and is removed from the plain store as well.
    fn sweep_step(&mut self, work: usize) {
        let mut expected = self.packed.sweep(self.now, work, &mut self.sweep);
        expected.done = false;
        // It depends on which torrents a step looks at; whole sweeps are compared in it.
        expected.swarm_max = 0;
        let mut found = Swept::default();
        let (left, before) = (self.seen(&self.packed, 1000), self.seen(&self.plain, 1000));
        for ((info_hash, endpoint), peer) in &before.peers {
            if left.peers.contains_key(&(*info_hash, *endpoint)) {
                continue;
            }
            assert!(peer.announced.is_none(), "{peer:?} was swept too early");
            let torrents = self.plain.torrents();
            let member = Member {
                info_hash,
                peer: endpoint,
                seeder: false,
            };
            self.plain.take(self.now, &member, self.key.hash(&info_hash.0));
            found.peers_removed += 1;
            found.torrents_removed += torrents - self.plain.torrents();
        }
        for torrent in 0..self.torrents {
            self.note_vacated(torrent);
            let (info_hash, hash) = self.torrent(torrent);
            if left.torrents.contains_key(&info_hash) {
                continue;
            }
            if let Some(vacated) = self.vacated.remove(&torrent) {
                assert!(
                    self.config.is_too_old(self.now, vacated),
                    "a torrent was removed too early"
                );
                self.plain.remove(&info_hash, hash);
                found.torrents_removed += 1;
            }
        }
        assert_eq!(found, expected, "a step of a sweep");
    }

    fn compare_counts(&self, torrent: u16) {
        let (info_hash, hash) = self.torrent(torrent);
        assert_eq!(
            self.packed.scrape(&info_hash, hash),
            self.plain.scrape(&info_hash, hash)
        );
    }

    fn note_vacated(&mut self, torrent: u16) {
        let (info_hash, hash) = self.torrent(torrent);
        let Counts {
            complete,
            incomplete,
            downloaded,
        } = self.plain.scrape(&info_hash, hash);
        if complete + incomplete == 0 && downloaded > 0 {
            self.vacated.entry(torrent).or_insert(self.now);
        } else {
            self.vacated.remove(&torrent);
        }
    }

    fn torrent(&self, torrent: u16) -> (InfoHash, u64) {
        let info_hash = info_hash(torrent);
        (info_hash, self.key.hash(&info_hash.0))
    }

    fn seen<S: Store>(&self, store: &S, work: usize) -> Seen {
        let mut seen = Seen {
            now: self.now,
            ..Seen::new(&self.config)
        };
        let mut position = S::Walk::default();
        while !store.walk(work, &mut position, &mut seen) {}
        seen
    }
}

/// What a walk has shown.
#[derive(Debug, PartialEq)]
struct Seen {
    config: SwarmConfig,
    now: Minute,
    torrents: BTreeMap<InfoHash, Counts>,
    peers: BTreeMap<(InfoHash, Endpoint), SeenPeer>,
}

#[derive(Debug, PartialEq)]
struct SeenPeer {
    id: PeerId,
    seeder: bool,
    been_seeder: bool,
    /// Nothing if it is too old: then it does not matter when.
    announced: Option<Minute>,
}

impl Seen {
    const fn new(config: &SwarmConfig) -> Self {
        Self {
            config: *config,
            now: Minute::new(0),
            torrents: BTreeMap::new(),
            peers: BTreeMap::new(),
        }
    }
}

impl Visit for Seen {
    fn torrent(&mut self, info_hash: &InfoHash, counts: Counts) {
        let earlier = self.torrents.insert(*info_hash, counts);
        assert_eq!(earlier, None, "a torrent shown twice");
    }

    fn peer(&mut self, info_hash: &InfoHash, peer: &Peer) {
        let seen = SeenPeer {
            id: peer.id,
            seeder: peer.seeder,
            been_seeder: peer.been_seeder,
            announced: Some(peer.announced).filter(|&announced| !self.config.is_too_old(self.now, announced)),
        };
        assert!(self.config.peer_ids() || peer.id == PeerId::default());
        let earlier = self.peers.insert((*info_hash, peer.endpoint), seen);
        assert_eq!(earlier, None, "a peer shown twice");
    }
}

type Answer = Result<(Counts, Change), Refusal>;
type Chosen = Vec<(Vec<u8>, PeerId)>;

fn answer<S: Store>(
    store: &mut S,
    now: Minute,
    announce: &Announce,
    prepared: &Prepared<S::Prefetched>,
    room: Room,
    wanted: usize,
) -> (Answer, Chosen) {
    let family = announce.peer.family();
    let mut compact = vec![0xee; wanted * family.compact_len()];
    let mut ids = vec![PeerId([0xee; 20]); wanted];
    let mut handout = Handout::new(family, wanted, &mut compact).with_ids(&mut ids);
    let counts = store.announce(now, announce, prepared, room, &mut handout);
    let len = handout.len();
    let peers = compact.chunks(family.compact_len()).map(<[u8]>::to_vec);
    (counts, peers.zip(ids).take(len).collect())
}

fn swept<S: Store>(store: &mut S, now: Minute, work: usize) -> Swept {
    let mut sum = Swept::default();
    let mut position = S::Sweep::default();
    while !sum.done {
        let step = store.sweep(now, work, &mut position);
        sum.peers_removed += step.peers_removed;
        sum.torrents_removed += step.torrents_removed;
        sum.swarm_max = sum.swarm_max.max(step.swarm_max);
        sum.done = step.done;
    }
    sum
}

/// Info-hashes that begin alike.
fn info_hash(torrent: u16) -> InfoHash {
    let mut bytes = [7; 20];
    bytes[18..].copy_from_slice(&torrent.to_be_bytes());
    InfoHash(bytes)
}

/// Both families, several ports and hosts at one address, some of loopback, and many of a few networks.
fn endpoint(peer: u16) -> Endpoint {
    let number = peer / 2;
    let ip: IpAddr = match (peer % 2, number % 8) {
        (0, 0) => Ipv4Addr::LOCALHOST.into(),
        (0, 1..4) => Ipv4Addr::from_bits(0x1400_0001 + (u32::from(number) << 8)).into(),
        (0, _) => Ipv4Addr::from_bits(0x0100_0000 + u32::from(number / 5)).into(),
        (_, 0) => Ipv6Addr::LOCALHOST.into(),
        (_, 1..4) => Ipv6Addr::from_bits((0x2400 << 112) | u128::from(number) << 80).into(),
        _ => Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(number / 4) << 64 | u128::from(number % 4))
            .into(),
    };
    Endpoint { ip, port: 1 + number }
}

#[test]
fn both_stores_do_the_same() {
    fn holds(run: Run, seed: u8) {
        let mut pair = Pair::new(&run.deal, seed);
        run.ops.iter().for_each(|op| pair.apply(op));
        pair.sweep(100);
    }
    QuickCheck::new().tests(60).quickcheck(holds as fn(Run, u8));
}

/// Run by `cargo test --release -p etracker-core --lib -- --ignored very_long`; `SWARM_OPS` and `SWARM_SEED` are taken
/// from the environment.
#[test]
#[ignore = "long: a million operations unless SWARM_OPS says otherwise"]
fn both_stores_do_the_same_for_very_long() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let ops: u64 = number("SWARM_OPS").unwrap_or(1_000_000);
    let seed: u64 = number("SWARM_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    println!("SWARM_SEED={seed} SWARM_OPS={ops}");
    let mut random = Random::with_seed(seed);
    let mut done = 0;
    while done < ops {
        let deal = Deal::draw(&mut random);
        let mut pair = Pair::new(&deal, random.u8(..));
        let run = random.u64(..50_000).min(ops - done);
        for _ in 0..run {
            pair.apply(&deal.op(&mut random));
        }
        pair.sweep(100);
        done += run.max(1);
    }
}

/// A walk whose steps are separated by other operations. A torrent or a peer that goes and comes back meanwhile is not shown
/// twice either: [`Seen`] asserts it.
#[test]
fn a_walk_among_changes_shows_what_stays_exactly_once() {
    fn holds(run: Run, seed: u8, work: u8) {
        let mut pair = Pair::new(&run.deal, seed);
        let (before, during) = run.ops.split_at(run.ops.len() / 2);
        before.iter().for_each(|op| pair.apply(op));
        let mut always = pair.seen(&pair.packed, 1000);
        let mut seen = Seen {
            now: pair.now,
            ..Seen::new(&pair.config)
        };
        let mut position = Default::default();
        let mut during = during.iter();
        while !pair.packed.walk(work.into(), &mut position, &mut seen) {
            for op in during.by_ref().take(1 + usize::from(work)) {
                pair.apply(op);
                let there = pair.seen(&pair.packed, 1000);
                always
                    .torrents
                    .retain(|torrent, _| there.torrents.contains_key(torrent));
                always.peers.retain(|peer, _| there.peers.contains_key(peer));
            }
        }
        let torrents: BTreeSet<_> = seen.torrents.keys().collect();
        let peers: BTreeSet<_> = seen.peers.keys().collect();
        assert!(always.torrents.keys().all(|torrent| torrents.contains(torrent)));
        assert!(always.peers.keys().all(|peer| peers.contains(peer)));
    }
    QuickCheck::new().tests(20).quickcheck(holds as fn(Run, u8, u8));
}

/// Leechers and seeders of a large swarm, which are in buckets of different size, are each shown once.
#[test]
fn a_walk_shows_all_of_a_large_swarm_in_steps_of_any_work() {
    let deal = Deal::draw(&mut Random::with_seed(1)).crowded(true);
    let mut pair = Pair::with_peers(&deal, 2000, 0, |peer| peer % 10 == 0);
    for work in [1, 300, u16::MAX] {
        pair.apply(&Op::Walk { work });
    }
}

#[test]
fn families_do_not_mix() {
    let deal = Deal::draw(&mut Random::with_seed(1));
    let pair = Pair::with_peers(&deal, 100, 200, |_| false);
    let seen = pair.seen(&pair.packed, 10);
    assert!(
        seen.peers
            .keys()
            .any(|(_, endpoint)| endpoint.family() == Family::V4)
    );
    assert!(
        seen.peers
            .keys()
            .any(|(_, endpoint)| endpoint.family() == Family::V6)
    );
}
