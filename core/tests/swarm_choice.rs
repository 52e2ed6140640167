//! The choice of peers: every eligible peer is handed out equally often, but few of one network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etracker_core::announce::{Announce, Endpoint, Event, Family};
use etracker_core::seed::{Key, Random};
use etracker_core::swarm::{Handout, Packed, Prepared, Room, Store};
use etracker_core::time::Minute;
use etracker_core::{Config, InfoHash, PeerId, Seed};

const NOW: Minute = Minute::new(28_000_000);
const DRAWS: usize = 10_000;

struct Swarm {
    store: Packed,
    key: Key,
    random: Random,
    now: Minute,
}

impl Swarm {
    /// Of the peers, those whose numbers `is_seeder` says yes to are seeders.
    fn new(peers: u32, is_seeder: impl Fn(u32) -> bool) -> Self {
        let key = Seed::new([11; 32]).key("tables");
        let mut swarm = Self {
            store: Packed::new(Config::default().swarms(), key),
            key,
            random: Random::with_seed(17),
            now: NOW,
        };
        for number in 0..peers {
            swarm.announce(number, is_seeder(number), 0);
        }
        swarm
    }

    /// An announce of a peer that is alone in its network. Returns the numbers of the peers handed out.
    fn announce(&mut self, number: u32, seeder: bool, wanted: usize) -> Vec<u32> {
        let peer = Endpoint {
            ip: IpAddr::V4(Ipv4Addr::from_bits(0x0100_0001 + (number << 8))),
            port: 6881,
        };
        let answer = self.ask(peer, seeder, wanted).into_iter();
        let numbers = answer.map(|peer| u32::from_be_bytes([0, 0, peer[1], peer[2]]));
        numbers.collect()
    }

    /// An announce. Returns the compact peers handed out.
    fn ask(&mut self, peer: Endpoint, seeder: bool, wanted: usize) -> Vec<Vec<u8>> {
        let announce = Announce {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId::default(),
            peer,
            left: u64::from(!seeder),
            event: Event::None,
            numwant: None,
        };
        let prepared = Prepared::new(&self.key, &announce.info_hash, self.random.fork());
        let len = peer.family().compact_len();
        let mut compact = vec![0; len * wanted];
        let mut peers = Handout::new(peer.family(), wanted, &mut compact);
        let counts = self
            .store
            .announce(self.now, &announce, &prepared, Room::Some, &mut peers);
        counts.expect("there is room");
        let taken = peers.len();
        compact.chunks(len).take(taken).map(<[u8]>::to_vec).collect()
    }

    /// How often each peer is handed out to one asker.
    fn hits(&mut self, asker: u32, seeder: bool, wanted: usize) -> BTreeMap<u32, u32> {
        let mut hits = BTreeMap::new();
        for _ in 0..DRAWS {
            let chosen = self.announce(asker, seeder, wanted);
            assert_eq!(chosen.len(), wanted);
            chosen
                .into_iter()
                .for_each(|peer| *hits.entry(peer).or_default() += 1);
        }
        hits
    }
}

/// The sum of squared deviations from the mean, in units of the mean: about 1 for each peer if chance alone is at work.
fn chi_square(hits: &BTreeMap<u32, u32>, eligible: u32) -> f64 {
    let sum: u32 = hits.values().sum();
    let mean = f64::from(sum) / f64::from(eligible);
    let never = f64::from(eligible) - hits.len() as f64;
    let deviations = hits.values().map(|&hits| (f64::from(hits) - mean).powi(2) / mean);
    deviations.sum::<f64>() + never * mean
}

/// Peers come in runs of neighbours, so the sum has fewer degrees of freedom than peers: it deviates from 1 for each
/// peer by about the square root of 2 / (peers / wanted). Three times that is allowed. Choosing buckets without regard
/// to their sizes would give more than 30.
fn assert_uniform(hits: &BTreeMap<u32, u32>, eligible: u32, wanted: f64) {
    let found = chi_square(hits, eligible) / f64::from(eligible);
    let spread = (2.0 * wanted / f64::from(eligible)).sqrt();
    assert!(
        found < 1.0 + 3.0 * spread,
        "{found} for each of {eligible} peers, spread {spread}"
    );
    assert_eq!(hits.len(), eligible as usize, "some are never handed out");
}

#[test]
fn peers_in_a_page_are_chosen_with_the_same_probability() {
    let hits = Swarm::new(30, |_| false).hits(7, false, 10);
    // 29 peers: chi-square with 28 degrees of freedom is below 56.9 in 999 of 1000 cases.
    assert!(chi_square(&hits, 29) < 56.9, "{hits:?}");
}

#[test]
fn pairs_in_a_page_are_chosen_with_the_same_probability() {
    let mut swarm = Swarm::new(12, |_| false);
    let mut pairs = BTreeMap::<u32, u32>::new();
    for _ in 0..DRAWS {
        let pair = swarm.announce(11, false, 2);
        let (low, high) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
        *pairs.entry(low * 100 + high).or_default() += 1;
    }
    // 55 pairs: chi-square with 54 degrees of freedom is below 91.9 in 999 of 1000 cases.
    assert!(chi_square(&pairs, 55) < 91.9, "{pairs:?}");
}

#[test]
fn leechers_of_a_large_swarm_are_chosen_with_the_same_probability() {
    for peers in [100, 500, 5000] {
        let hits = Swarm::new(peers, |_| false).hits(peers / 2, false, 50);
        assert_uniform(&hits, peers - 1, 50.0);
    }
}

#[test]
fn leechers_and_seeders_are_chosen_with_the_same_probability() {
    for part in [2, 3, 50] {
        let hits = Swarm::new(500, |number| number % part == 1).hits(0, false, 50);
        assert_uniform(&hits, 499, 50.0);
    }
}

#[test]
fn those_behind_peers_that_are_too_old_are_no_likelier() {
    let mut swarm = Swarm::new(300, |_| false);
    swarm.now = Minute::new(NOW.get() + 40);
    // In each bucket they stand behind the others, which were there before.
    for number in 150..300 {
        swarm.announce(number, false, 0);
    }
    let hits = swarm.hits(299, false, 1);
    assert_uniform(&hits, 149, 1.0);
}

#[test]
fn one_who_is_too_many_for_the_answer_is_any() {
    let hits = Swarm::new(60, |_| false).hits(0, false, 58);
    assert_uniform(&hits, 59, 58.0);
}

#[test]
fn seeders_are_given_leechers_with_the_same_probability() {
    let is_seeder = |number| number % 5 != 0;
    let hits = Swarm::new(2500, is_seeder).hits(1, true, 50);
    assert!(hits.keys().all(|&peer| !is_seeder(peer)));
    assert_uniform(&hits, 500, 50.0);
}

/// One swarm with peers of many networks, and a crowd that one network sends.
struct Poisoned {
    swarm: Swarm,
    family: Family,
    honest: u32,
}

impl Poisoned {
    fn new(family: Family, honest: u32, crowd: u32, crowd_seeds: bool, burst: bool) -> Self {
        let mut poisoned = Self {
            swarm: Swarm::new(0, |_| false),
            family,
            honest,
        };
        let mut arrivals: Vec<_> = (0..honest + crowd).collect();
        if !burst {
            Random::with_seed(3).shuffle(&mut arrivals);
        }
        for number in arrivals {
            poisoned.ask(number, number >= honest && crowd_seeds, 0);
        }
        poisoned
    }

    /// An announce of a peer. Those from `honest` on are the crowd. Returns the numbers of the peers handed out.
    fn ask(&mut self, number: u32, seeder: bool, wanted: usize) -> Vec<u32> {
        let peer = Endpoint {
            ip: match (self.family, number < self.honest) {
                (Family::V4, true) => Ipv4Addr::from_bits(0x1400_0001 + (number << 8)).into(),
                (Family::V4, false) => Ipv4Addr::from_bits(0x2d00_0000 + number - self.honest).into(),
                (Family::V6, true) => {
                    Ipv6Addr::from_bits((0x2400 << 112) + (u128::from(number) << 80)).into()
                }
                (Family::V6, false) => {
                    let subnet = u128::from(number - self.honest);
                    Ipv6Addr::from_bits((0x2a00 << 112) + (subnet << 64) + 1).into()
                }
            },
            port: 6881,
        };
        let answer = self.swarm.ask(peer, seeder, wanted);
        let honest = self.honest;
        let number = |peer: &Vec<u8>| match *peer.as_slice() {
            [0x14, a, b, _, _, _] => u32::from_be_bytes([0, 0, a, b]),
            [0x2d, a, b, c, _, _] => honest + u32::from_be_bytes([0, a, b, c]),
            [0x24, 0, a, b, c, d, ..] => u32::from_be_bytes([a, b, c, d]),
            [0x2a, 0, _, _, _, _, a, b, ..] => honest + u32::from(u16::from_be_bytes([a, b])),
            _ => panic!("{peer:?} has not announced"),
        };
        answer.iter().map(number).collect()
    }

    /// How often each peer that is not of the crowd is handed out to the first.
    fn hits(&mut self) -> BTreeMap<u32, u32> {
        let mut hits = BTreeMap::new();
        for _ in 0..DRAWS {
            let chosen = self.ask(0, false, 50);
            let others = chosen.into_iter().filter(|&peer| peer < self.honest);
            others.for_each(|peer| *hits.entry(peer).or_default() += 1);
        }
        hits
    }
}

#[test]
fn one_network_has_at_most_a_quarter_of_an_answer_while_there_are_others() {
    for (family, crowd) in [(Family::V4, 250), (Family::V6, 2000)] {
        for (crowd_seeds, wanted, burst) in [
            (false, 50, true),
            (false, 50, false),
            (true, 50, true),
            (false, 200, true),
            (false, 7, true),
        ] {
            let mut poisoned = Poisoned::new(family, 200, crowd, crowd_seeds, burst);
            for number in 0..200 {
                let chosen = poisoned.ask(number, false, wanted);
                let distinct: BTreeSet<_> = chosen.iter().collect();
                assert_eq!((chosen.len(), distinct.len()), (wanted, wanted), "{family:?}");
                let of_crowd = chosen.iter().filter(|&&peer| peer >= 200).count();
                assert!(
                    of_crowd <= wanted / 4,
                    "{of_crowd} of {wanted}, {family:?}, crowd of seeders: {crowd_seeds}"
                );
                assert!(!chosen.contains(&number));
            }
        }
    }
}

#[test]
fn beside_a_crowd_the_others_are_chosen_with_the_same_probability() {
    for (family, crowd) in [(Family::V4, 250), (Family::V6, 2000)] {
        let mut poisoned = Poisoned::new(family, 200, crowd, false, false);
        assert_uniform(&poisoned.hits(), 199, 38.0);
    }
}

/// Peers that came together stand together, and how many of a crowd stand behind them makes a difference, but a small one.
#[test]
fn beside_a_crowd_that_came_at_once_the_others_are_chosen_with_nearly_the_same_probability() {
    for (family, crowd) in [(Family::V4, 250), (Family::V6, 2000)] {
        let mut poisoned = Poisoned::new(family, 200, crowd, false, true);
        let hits = poisoned.hits();
        let mean = hits.values().sum::<u32>() / 199;
        assert_eq!(hits.len(), 199);
        assert!(
            hits.values()
                .all(|hits| (mean * 9 / 10..mean * 3 / 2).contains(hits)),
            "{hits:?}"
        );
    }
}

#[test]
fn a_crowd_fills_what_others_leave_empty() {
    for (honest, crowd, wanted) in [(40, 250, 50), (60, 250, 50), (4, 20, 12), (10, 20, 12)] {
        let mut poisoned = Poisoned::new(Family::V4, honest, crowd, false, true);
        for _ in 0..100 {
            let chosen = poisoned.ask(0, false, wanted);
            let of_others = chosen.iter().filter(|&&peer| peer < honest).count();
            let least = (honest as usize - 1).min(wanted - wanted / 4);
            assert_eq!(chosen.len(), wanted);
            assert!(of_others >= least, "{of_others} of {honest} beside {crowd}");
        }
    }
}

#[test]
fn an_answer_beside_a_crowd_that_is_mostly_too_old_is_full() {
    let mut swarm = Swarm::new(0, |_| false);
    let of_crowd = |number: u32| Endpoint {
        ip: IpAddr::V4(Ipv4Addr::from_bits(0x7801_0000 + (number & 0xff))),
        port: 1000 + u16::try_from(number >> 8).unwrap(),
    };
    (0..2000).for_each(|number| drop(swarm.ask(of_crowd(number), false, 0)));
    // All of them are too old, and not swept yet.
    swarm.now = Minute::new(NOW.get() + 60);
    (0..20).for_each(|number| drop(swarm.ask(of_crowd(100 * number), false, 0)));
    swarm.announce(1, true, 0);
    for _ in 0..1000 {
        assert_eq!(swarm.announce(2, false, 5).len(), 5);
    }
}

#[test]
fn where_all_are_of_one_network_the_choice_is_uniform_as_ever() {
    let mut poisoned = Poisoned::new(Family::V6, 0, 500, false, true);
    let mut hits = BTreeMap::new();
    for _ in 0..DRAWS {
        let chosen = poisoned.ask(0, false, 50);
        assert_eq!(chosen.len(), 50);
        chosen
            .into_iter()
            .for_each(|peer| *hits.entry(peer).or_default() += 1);
    }
    assert_uniform(&hits, 499, 50.0);
}
