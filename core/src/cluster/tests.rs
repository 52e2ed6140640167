//! Records applied to trackers, compared with naive maps.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::vec::Vec;

use quickcheck::{TestResult, quickcheck};

use crate::announce::{Announce, Counts, Endpoint, Event};
use crate::config::Config;
use crate::prefetch::NoPrefetch;
use crate::seed::{Random, Seed};
use crate::swarm::{Peer, Visit, WalkPosition};
use crate::time::Minute;
use crate::{InfoHash, Instant, PeerId, Tracker, Worker};

use super::record::{Record, State};
use super::replication::Drained;
use super::{Batch, EPOCH_MINUTES, Secret, Secrets};

/// Some seconds after the minute that arbitrary records count back from.
const NOW: Instant = Instant::from_secs(Record::BASE.get() as u64 * 60 + 20);

fn config() -> Config {
    Config::default().with_cluster(&Secrets::new(Secret::new([7; 32])))
}

fn tracker(config: Config, seed: u8) -> Arc<Tracker> {
    Arc::new(Tracker::new(config, Seed::new([seed; 32]), NOW))
}

/// What a tracker holds: of each torrent its downloads, of each peer whether it is a seeder, when it announced, and its id.
#[derive(Debug, Default, PartialEq)]
struct Held {
    downloaded: BTreeMap<InfoHash, u32>,
    peers: BTreeMap<(InfoHash, Endpoint), (bool, Minute, PeerId)>,
}

impl Held {
    fn by(tracker: &Tracker) -> Self {
        let (mut held, mut position) = (Self::default(), WalkPosition::default());
        while !tracker.swarms().walk(1000, &mut position, &mut held) {}
        held
    }
}

impl Visit for Held {
    fn torrent(&mut self, info_hash: &InfoHash, counts: Counts) {
        if counts.downloaded > 0 {
            self.downloaded.insert(*info_hash, counts.downloaded);
        }
    }

    fn peer(&mut self, info_hash: &InfoHash, peer: &Peer) {
        let key = (*info_hash, peer.endpoint);
        self.peers.insert(key, (peer.seeder, peer.announced, peer.id));
    }
}

/// The same by maps: of each peer the greatest record, of each torrent the number of downloads.
fn expected(records: &[Record]) -> Held {
    let (mut held, mut greatest) = (Held::default(), BTreeMap::new());
    let mut ids = BTreeMap::new();
    for record in records {
        let key = (record.info_hash, record.peer);
        let value = (record.order(), record.state);
        let known = greatest.entry(key).or_insert(value);
        *known = value.max(*known);
        if record.completed {
            *held.downloaded.entry(record.info_hash).or_default() += 1;
        }
        ids.entry(key).or_insert_with(|| id_of(&record.peer));
    }
    for (key, ((minute, _), state)) in greatest {
        if state != State::Stopped {
            held.peers
                .insert(key, (state == State::Seeder, minute, ids[&key]));
        }
    }
    held
}

/// A peer keeps its id.
fn id_of(peer: &Endpoint) -> PeerId {
    PeerId([if peer.ip.is_ipv4() { 4 } else { 6 }; 20])
}

fn apply(tracker: &Tracker, records: &[Record]) {
    let replication = tracker.replication().unwrap();
    let _ = replication.apply(NOW, tracker, records, &NoPrefetch);
}

quickcheck! {
    fn records_make_the_same_swarms_in_any_order_in_any_pieces_and_twice(
        records: Vec<Record>, seed: u64, piece: usize
    ) -> bool {
        let mut records = records;
        for record in &mut records {
            let is_stored = record.state != State::Stopped;
            record.id = is_stored.then(|| id_of(&record.peer));
        }
        let expected = expected(&records);
        let in_order = tracker(config(), 1);
        apply(&in_order, &records);
        assert_eq!(Held::by(&in_order), expected);
        // Downloads are events: a record that comes twice may not bear one twice.
        Random::with_seed(seed).shuffle(&mut records);
        let otherwise = tracker(config(), 2);
        for piece in records.chunks(piece % 20 + 1) {
            apply(&otherwise, piece);
            let again: Vec<_> = piece.iter().map(|record| Record { completed: false, ..*record }).collect();
            apply(&otherwise, &again);
        }
        Held::by(&otherwise) == expected
    }

    /// Announces of several peers at several minutes, each at one of three nodes, that tell each other now and then.
    fn nodes_that_tell_each_other_hold_the_same(steps: Vec<(u8, u8, u8)>) -> TestResult {
        let mut nodes: Vec<_> = (1..=3).map(|seed| Worker::new(tracker(config(), seed))).collect();
        let (mut now, mut counts) = (NOW, BTreeMap::new());
        for (node, peer, what) in steps {
            if what % 8 == 7 {
                exchange(now, &nodes);
                now = now.saturating_add(Duration::from_secs(u64::from(peer) / 4));
                continue;
            }
            // More changes of one peer in one minute are not told apart; the next epoch heals them.
            let count = counts.entry((peer % 6, now.minute())).or_insert(0);
            *count += 1;
            if *count > 2 {
                continue;
            }
            let node = usize::from(node) / 86;
            let announce = announce(peer % 6, what);
            let _ = nodes[node].announce_into_scratch(now, &announce, false);
            exchange(now, &nodes);
        }
        exchange(now, &nodes);
        let held: Vec<_> = nodes.iter().map(|node| Held::by(node.tracker())).collect();
        // Their minutes may differ by an epoch, which holds back refreshes.
        let peers = |held: &Held| held.peers.iter().map(|(key, (seeder, ..))| (*key, *seeder)).collect::<Vec<_>>();
        let same = held.iter().all(|other| {
            let minutes = held[0].peers.values().zip(other.peers.values());
            let near = minutes.into_iter().all(|((_, one, _), (_, other, _))| {
                one.get().abs_diff(other.get()) < EPOCH_MINUTES
            });
            peers(other) == peers(&held[0]) && other.downloaded == held[0].downloaded && near
        });
        TestResult::from_bool(same)
    }
}

fn announce(peer: u8, what: u8) -> Announce {
    Announce {
        info_hash: InfoHash([peer % 2; 20]),
        peer_id: PeerId([peer; 20]),
        peer: Endpoint {
            ip: [192, 0, 2, peer].into(),
            port: 6881,
        },
        left: u64::from(what & 1),
        event: match what % 8 / 2 {
            0 => Event::Stopped,
            1 => Event::Completed,
            2 => Event::Started,
            _ => Event::None,
        },
        numwant: None,
    }
}

/// What each node has noted is applied by the others.
fn exchange(now: Instant, nodes: &[Worker]) {
    let drained: Vec<Vec<Record>> = nodes
        .iter()
        .map(|node| {
            let mut drained = Drained::default();
            node.tracker().replication().unwrap().drain(&mut drained);
            drained.collect()
        })
        .collect();
    for (to, node) in nodes.iter().enumerate() {
        let others = (0..).zip(&drained).filter(|(from, _)| *from != to);
        for (_, records) in others {
            let mut body = Vec::new();
            let mut left = records.iter().copied();
            while left.len() > 0 {
                Batch::encode(now, &mut left, &mut body);
                let batch = Batch::decode(now, &body).unwrap();
                let tracker = node.tracker();
                let _ = tracker
                    .replication()
                    .unwrap()
                    .apply(now, tracker, batch.records(), &NoPrefetch);
                body.clear();
            }
        }
    }
}
