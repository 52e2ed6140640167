//! The packed store beside the plain one.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::announce::{Announce, Counts, Endpoint, Event, Family, Refusal};
use crate::config::SwarmConfig;
use crate::seed::Random;
use crate::swarm::{Handout, Packed, Peer, Plain, Store, Swarms, SweepPosition, Visit, WalkPosition};
use crate::time::Minute;
use crate::{Config, InfoHash, Instant, PeerId, Seed};

use super::{NOW, address, take};

/// Operations of four bytes: both stores give the same counts, hold the same, and hand out only what they may.
pub fn swarm_ops(mut data: &[u8]) {
    let settings = take(&mut data);
    let mut config = *Config::default().swarms();
    config.peer_ids = settings & 1 != 0;
    config.peers_per_address_max = [None, Some(1), Some(4), Some(64)]
        .into_iter()
        .nth((settings >> 1 & 3).into())
        .flatten();
    config.peers_per_torrent_max = if settings & 8 == 0 { 1 << 24 } else { 40 };
    config.torrents_max = if settings & 16 == 0 { 1 << 20 } else { 3 };
    config.peer_age_max_minutes = if settings & 32 == 0 { 31 } else { 2 };
    let mut pair = Pair::new(&config);
    for op in data.as_chunks::<4>().0 {
        if pair.work > WORK_MAX {
            break;
        }
        pair.carry_out(*op);
    }
    pair.compare();
}

/// Announces, and peers looked at by a comparison, after which an input ends: some milliseconds, enough for swarms of
/// several tables. A longer sequence seldom finds what a shorter one does not.
const WORK_MAX: u64 = 1000;
/// What a comparison of empty stores costs.
const COMPARE_WORK: u64 = 50;
/// Peers that each of a crowd asks for at most.
const CROWD_WANTS: usize = 16;

struct Pair {
    now: Instant,
    packed: Swarms<Packed>,
    plain: Swarms<Plain>,
    random: Random,
    age_max_minutes: u32,
    /// What was done so far, in the unit of [`WORK_MAX`].
    work: u64,
}

impl Pair {
    fn new(config: &SwarmConfig) -> Self {
        let seed = Seed::new([1; 32]);
        Self {
            now: NOW,
            packed: Swarms::new(config, &seed),
            plain: Swarms::new(config, &seed),
            random: seed.key("fuzzing").random(0),
            age_max_minutes: config.peer_age_max_minutes,
            work: 0,
        }
    }

    fn carry_out(&mut self, [kind, torrent, peer, detail]: [u8; 4]) {
        let info_hash = InfoHash([torrent % 8; 20]);
        match kind % 16 {
            0 => {
                let wait = Duration::from_secs(u64::from(detail) * 20);
                self.now = self.now.saturating_add(wait);
            }
            1 => self.sweep(usize::from(detail) + 1),
            2 => {
                let known = self.plain.remove(&info_hash);
                assert!(
                    self.packed.remove(&info_hash) == known,
                    "one store knows what the other does not"
                );
            }
            3 => self.compare(),
            // A whole crowd at once, so that swarms grow large: of seeders, or of leechers.
            4 => (0..=detail).for_each(|port| self.announce(info_hash, peer, port, 8 | torrent & 16)),
            5 => (0..=detail).for_each(|port| self.announce(info_hash, peer, port, 3)),
            _ => self.announce(info_hash, peer, detail, kind),
        }
    }

    /// Both stores carry it out: the same counts, and the packed one hands out as many peers as it should, of those that
    /// may be.
    fn announce(&mut self, info_hash: InfoHash, peer: u8, port: u8, detail: u8) {
        let announce = Announce {
            info_hash,
            peer_id: PeerId([port; 20]),
            peer: Endpoint {
                ip: address(peer >> 1, peer & 1 != 0),
                port: u16::from(port) + 1,
            },
            left: u64::from(detail & 16 != 0),
            event: match detail & 7 {
                1 => Event::Started,
                2 => Event::Completed,
                3 => Event::Stopped,
                4 => Event::Paused,
                _ => Event::None,
            },
            numwant: None,
        };
        let wanted = usize::from(detail) * 2;
        self.work += 1;
        let (counts, peers) = ask(
            &self.packed,
            self.now,
            &announce,
            wanted,
            &mut self.random.clone(),
        );
        // Of each of a crowd only the counts are compared; for others the plain store names all that may be handed out.
        let all = if wanted > CROWD_WANTS {
            counts.map_or(0, |counts| counts.complete + counts.incomplete)
        } else {
            0
        };
        self.work += u64::from(all) / 16;
        let all = wanted.max(all as usize);
        let (expected, candidates) = ask(&self.plain, self.now, &announce, all, &mut self.random);
        assert!(
            counts == expected,
            "{announce:?} gives {counts:?}, should give {expected:?}"
        );
        assert!(
            peers.len() == candidates.len().min(wanted),
            "{announce:?} is handed {} of {}",
            peers.len(),
            candidates.len()
        );
        if wanted > CROWD_WANTS {
            check_peers(&announce, peers, candidates);
        }
    }

    /// Sweeps both stores whole, the packed one in steps of `work`.
    fn sweep(&mut self, work: usize) {
        sweep(&self.packed, self.now, work);
        sweep(&self.plain, self.now, usize::MAX - 1);
        self.compare();
    }

    fn compare(&mut self) {
        self.work += COMPARE_WORK + self.packed.totals().peers();
        let [packed, plain] = [self.known(held(&self.packed)), self.known(held(&self.plain))];
        assert!(packed == plain, "{packed:?} is held, should be {plain:?}");
        assert!(
            self.packed.totals() == self.plain.totals(),
            "the stores count differently"
        );
    }

    /// All that is stored. Of those past their time only that is known, not since when.
    fn known(&self, mut held: Held) -> Held {
        for peer in held.1.values_mut() {
            if self.now.minute().saturating_since(peer.announced) > self.age_max_minutes {
                peer.announced = Minute::default();
            }
        }
        held
    }
}

/// What was handed out may be, nothing comes twice, and nobody is handed to itself.
fn check_peers(announce: &Announce, peers: Vec<Vec<u8>>, candidates: Vec<Vec<u8>>) {
    let (handed_out, candidates) = (peers.len(), BTreeSet::from_iter(candidates));
    let peers = BTreeSet::from_iter(peers);
    assert!(peers.len() == handed_out, "a peer is handed out twice");
    assert!(
        !peers.contains(&compact(&announce.peer)),
        "a peer is handed to itself"
    );
    assert!(
        peers.is_subset(&candidates),
        "a peer is handed out that should not be"
    );
}

fn ask<S: Store>(
    swarms: &Swarms<S>,
    now: Instant,
    announce: &Announce,
    wanted: usize,
    random: &mut Random,
) -> (Result<Counts, Refusal>, Vec<Vec<u8>>) {
    let family = Family::of(announce.peer.ip);
    let mut buffer = vec![0; wanted * family.compact_len()];
    let prepared = swarms.prepare(announce, random);
    let mut handout = Handout::new(family, wanted, &mut buffer);
    let counts = swarms.announce(now, announce, prepared, &mut handout);
    let len = handout.len();
    let peers = buffer.chunks_exact(family.compact_len()).take(len);
    (counts, peers.map(<[u8]>::to_vec).collect())
}

fn compact(endpoint: &Endpoint) -> Vec<u8> {
    let mut buffer = vec![0; endpoint.family().compact_len()];
    Handout::new(endpoint.family(), 1, &mut buffer).push(*endpoint, PeerId::default());
    buffer
}

fn sweep<S: Store>(swarms: &Swarms<S>, now: Instant, work: usize) {
    let mut position = SweepPosition::default();
    while !swarms.sweep(now, work, &mut position).done {}
}

type Held = (BTreeMap<InfoHash, Counts>, BTreeMap<(InfoHash, Endpoint), Peer>);

/// All that is stored.
fn held<S: Store>(swarms: &Swarms<S>) -> Held {
    struct Collect(Held);
    impl Visit for Collect {
        fn torrent(&mut self, info_hash: &InfoHash, counts: Counts) {
            assert!(
                self.0.0.insert(*info_hash, counts).is_none(),
                "a torrent is shown twice"
            );
        }
        fn peer(&mut self, info_hash: &InfoHash, peer: &Peer) {
            let twice = self.0.1.insert((*info_hash, peer.endpoint), *peer).is_some();
            assert!(!twice, "a peer is shown twice");
        }
    }
    let mut collect = Collect((BTreeMap::new(), BTreeMap::new()));
    let mut position = WalkPosition::default();
    while !swarms.walk(100, &mut position, &mut collect) {}
    collect.0
}
