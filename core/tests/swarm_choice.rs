//! The choice of peers: every eligible peer is handed out equally often.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

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

    fn announce(&mut self, number: u32, seeder: bool, wanted: usize) -> Vec<u32> {
        let announce = Announce {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId::default(),
            peer: Endpoint {
                ip: IpAddr::V4(Ipv4Addr::from_bits(0x0100_0000 + number)),
                port: 6881,
            },
            left: u64::from(!seeder),
            event: Event::None,
            numwant: None,
        };
        let prepared = Prepared::new(&self.key, &announce.info_hash, self.random.fork());
        let mut compact = vec![0; 6 * wanted];
        let mut peers = Handout::new(Family::V4, wanted, &mut compact);
        let counts = self
            .store
            .announce(self.now, &announce, &prepared, Room::Some, &mut peers);
        counts.expect("there is room");
        let len = peers.len();
        let numbers = compact.chunks(6).take(len).map(|peer| {
            let ip = Ipv4Addr::new(peer[0], peer[1], peer[2], peer[3]);
            ip.to_bits() - 0x0100_0000
        });
        numbers.collect()
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
