//! Properties of many announces that a single run of the simulator does not show.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use etracker_core::announce::{Announce, Counts, Endpoint, Event};
use etracker_core::swarm::{Peer, Visit, WalkPosition};
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker, Worker};

const NOW: Instant = Instant::from_secs(1_790_000_000);
const HASH: InfoHash = InfoHash([3; 20]);

/// Pearson's statistic of ten thousand draws stays below what uniform draws exceed once in ten thousand times.
#[test]
fn every_peer_is_handed_out_equally_often() {
    // Degrees of freedom and the statistic's quantile of 0.9999, by Wilson and Hilferty.
    for (peers, wanted, exceeded_rarely) in [
        (12u16, 5, 36.0),
        (40, 7, 79.0),
        (300, 50, 399.0),
        (1200, 30, 1390.0),
    ] {
        let config = Config::default().with_peers_per_address_max(0).unwrap();
        let mut worker = worker(config);
        for port in 2..peers + 2 {
            announce(&mut worker, HASH, port, 1, 0);
        }
        let mut times: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        let mut handed_out_ever = BTreeSet::new();
        for draw in 0..10_000 {
            let handed_out = announce(&mut worker, HASH, 5000, 1, wanted);
            handed_out_ever.extend(handed_out.iter().cloned());
            // One of each answer, because those handed out together may be neighbours.
            let one = handed_out
                .into_iter()
                .cycle()
                .nth(draw % wanted as usize)
                .unwrap();
            *times.entry(one).or_default() += 1;
        }
        let expected = 10_000.0 / f64::from(peers);
        let never_drawn = f64::from(peers) - times.len() as f64;
        let statistic = times
            .values()
            .map(|&seen| (f64::from(seen) - expected).powi(2) / expected)
            .sum::<f64>()
            + never_drawn * expected;
        assert_eq!(
            handed_out_ever.len(),
            usize::from(peers),
            "some are never handed out"
        );
        assert!(statistic < exceeded_rarely, "{peers} peers: {statistic:.0}");
    }
}

/// it does not matter in which order announces come that have nothing to do with each other.
#[test]
fn independent_announces_in_any_order_leave_the_same_behind() {
    let asks: Vec<(InfoHash, u16, u64)> = (0..600u16)
        .map(|number| {
            (
                InfoHash([number.to_le_bytes()[0] % 5; 20]),
                number + 2,
                u64::from(number % 3),
            )
        })
        .collect();
    let mut random = Seed::new([5; 32]).key("order").random(0);
    let mut first = None;
    for _ in 0..10 {
        let mut worker = worker(Config::default().with_peers_per_address_max(0).unwrap());
        let mut order = asks.clone();
        random.shuffle(&mut order);
        for (info_hash, port, left) in order {
            announce(&mut worker, info_hash, port, left, 0);
        }
        let left = held(&worker);
        assert_eq!(first.get_or_insert_with(|| left.clone()), &left);
    }
}

fn worker(config: Config) -> Worker {
    Worker::new(Arc::new(Tracker::new(config, Seed::new([9; 32]), NOW)))
}

fn announce(worker: &mut Worker, info_hash: InfoHash, port: u16, left: u64, wanted: u32) -> Vec<Vec<u8>> {
    let announce = Announce {
        info_hash,
        peer_id: PeerId([1; 20]),
        peer: Endpoint {
            ip: IpAddr::from([192, 0, 2, 1]),
            port,
        },
        left,
        event: Event::None,
        numwant: Some(wanted),
    };
    let (_, peers) = worker.announce_into_scratch(NOW, &announce, false).unwrap();
    peers.compact.chunks(6).map(<[u8]>::to_vec).collect()
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held(BTreeMap<InfoHash, Counts>, BTreeMap<(InfoHash, Endpoint), bool>);

impl Visit for Held {
    fn torrent(&mut self, info_hash: &InfoHash, counts: Counts) {
        self.0.insert(*info_hash, counts);
    }

    fn peer(&mut self, info_hash: &InfoHash, peer: &Peer) {
        self.1.insert((*info_hash, peer.endpoint), peer.seeder);
    }
}

fn held(worker: &Worker) -> Held {
    let mut held = Held::default();
    let mut position = WalkPosition::default();
    while !worker.tracker().swarms().walk(1000, &mut position, &mut held) {}
    held
}
