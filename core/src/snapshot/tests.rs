use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::vec::Vec;

use quickcheck::quickcheck;

use crate::announce::{Announce, Counts, Endpoint, Event};
use crate::config::Config;
use crate::prefetch::NoPrefetch;
use crate::swarm::{Peer, Visit, WalkPosition};
use crate::{InfoHash, PeerId, Seed, Tracker, Worker};

use super::*;

/// What a tracker holds.
#[derive(Debug, Default, PartialEq)]
struct Held {
    torrents: BTreeMap<InfoHash, (u32, u32, u32)>,
    peers: BTreeMap<(InfoHash, Endpoint), Peer>,
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
        let counts = (counts.complete, counts.incomplete, counts.downloaded);
        self.torrents.insert(*info_hash, counts);
    }

    fn peer(&mut self, info_hash: &InfoHash, peer: &Peer) {
        self.peers.insert((*info_hash, peer.endpoint), *peer);
    }
}

fn tracker(config: Config, seed: u8) -> Tracker {
    Tracker::new(config, Seed::new([seed; 32]), START)
}

/// A tracker with swarms of 1 to 300 peers of several ages, one of them without peers that was downloaded.
fn populated(torrents: u32) -> Tracker {
    let worker = Worker::new(Arc::new(tracker(Config::default(), 1)));
    let mut worker = worker;
    for number in 0..torrents {
        let peers = match number % 50 {
            0 => 300,
            1..10 => 5,
            _ => 1,
        };
        for peer in 0..peers {
            announce(&mut worker, number, peer, Event::Completed);
        }
        if number % 7 == 3 && peers == 1 {
            announce(&mut worker, number, 0, Event::Stopped);
        }
    }
    let tracker = Arc::clone(worker.tracker());
    drop(worker);
    Arc::into_inner(tracker).unwrap()
}

fn announce(worker: &mut Worker, torrent: u32, peer: u32, event: Event) {
    let ip: IpAddr = if peer.is_multiple_of(3) {
        Ipv6Addr::from_bits((0x2a01 << 112) | u128::from(peer) << 64).into()
    } else {
        Ipv4Addr::from_bits(0x0a00_0000 + peer).into()
    };
    let announce = Announce {
        info_hash: info_hash(torrent),
        peer_id: PeerId([peer.to_le_bytes()[0]; 20]),
        peer: Endpoint { ip, port: 6881 },
        left: u64::from(peer % 2),
        event,
        numwant: Some(0),
    };
    let now = Instant::from_secs(START.as_secs() + u64::from((torrent + peer) % 20) * 60);
    worker.announce_into_scratch(now, &announce, false).unwrap();
}

fn info_hash(torrent: u32) -> InfoHash {
    let mut bytes = [7; 20];
    bytes[..4].copy_from_slice(&torrent.to_be_bytes());
    InfoHash(bytes)
}

fn written(tracker: &Tracker) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::begin(LATER, &SECRET, &mut bytes);
    while !encoder.step(LATER, tracker.swarms(), &mut bytes) {}
    bytes
}

/// Reads in pieces of these lengths, over and over.
fn read(bytes: &[u8], pieces: &[usize], show: &mut impl FnMut(&Header, Entry)) -> Result<Header, Damage> {
    let (mut decoder, mut rest) = (Decoder::new(), bytes);
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let len = pieces
            .next()
            .map_or(rest.len(), |len| (*len).clamp(1, rest.len()));
        let (piece, after) = rest.split_at(len);
        decoder.feed(piece, show)?;
        rest = after;
    }
    decoder.finish()
}

fn restored(bytes: &[u8], pieces: &[usize], config: Config, now: Instant) -> (Tracker, Restored) {
    let tracker = tracker(config, 2);
    let mut restorer = Restorer::new(now, &tracker);
    let header = read(bytes, pieces, &mut |header, entry| {
        restorer.restore(header, entry, &NoPrefetch);
    });
    assert_eq!(
        header.unwrap(),
        Header {
            written: LATER,
            seed: SECRET
        }
    );
    let restored = restorer.finish(&NoPrefetch);
    (tracker, restored)
}

#[test]
fn what_is_read_is_what_was_written() {
    let tracker = populated(500);
    let held = Held::by(&tracker);
    let vacant = held
        .torrents
        .values()
        .filter(|(complete, incomplete, _)| complete + incomplete == 0);
    assert!(
        vacant.count() > 10,
        "torrents without peers are kept for their downloads"
    );
    let bytes = written(&tracker);
    for pieces in [&[][..], &[1], &[13, 7000]] {
        let (restored, counts) = restored(&bytes, pieces, Config::default(), LATER);
        assert_eq!(Held::by(&restored), held);
        assert_eq!(counts.peers, held.peers.len() as u64);
        assert_eq!((counts.peers_too_old, counts.peers_refused), (0, 0));
    }
}

#[test]
fn who_has_been_a_seeder_completes_nothing_after_a_restart() {
    let mut worker = Worker::new(Arc::new(tracker(Config::default(), 1)));
    let downloads = |worker: &mut Worker, peer: u32, left, event| {
        let announce = Announce {
            info_hash: info_hash(1),
            peer_id: PeerId([1; 20]),
            peer: Endpoint {
                ip: Ipv4Addr::from_bits(0x0100_0000 + peer).into(),
                port: 6881,
            },
            left,
            event,
            numwant: Some(0),
        };
        let (announced, _) = worker.announce_into_scratch(START, &announce, false).unwrap();
        announced.counts
    };
    // Some that are seeders, some that were, some that never were: one small torrent, and then a large one.
    for peers in [6, 300] {
        for peer in 0..peers {
            downloads(&mut worker, peer, u64::from(peer % 3 == 0), Event::Started);
            downloads(&mut worker, peer, u64::from(peer % 3 < 2), Event::None);
        }
        let bytes = written(worker.tracker());
        for (again, completed) in [
            (bytes.clone(), peers / 3),
            (without_the_bit(&bytes), 2 * (peers / 3)),
        ] {
            let (tracker, restored) = restored(&again, &[], Config::default(), LATER);
            assert_eq!((restored.peers, restored.peers_refused), (peers.into(), 0));
            let mut worker = Worker::new(Arc::new(tracker));
            assert_eq!(worker.scrape(&info_hash(1)).complete, peers / 3);
            let found = (0..peers).map(|peer| downloads(&mut worker, peer, 0, Event::Completed).downloaded);
            assert_eq!(found.last(), Some(completed), "{peers} peers");
        }
    }
}

/// A snapshot as it was written before what a peer has been was in it.
fn without_the_bit(bytes: &[u8]) -> Vec<u8> {
    let mut old = bytes[..MAGIC.len() + 4].to_vec();
    let mut rest = &bytes[old.len()..];
    for number in 0.. {
        if rest.is_empty() {
            break;
        }
        let len = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let (body, after) = rest[CHUNK_HEAD_LEN..].split_at(len);
        let mut body = body.to_vec();
        let mut at = if body[0] == ENTRIES { 5 } else { body.len() };
        while at < body.len() {
            let flags = body[at];
            at += if flags & TORRENT != 0 {
                21 + if flags & HAS_DOWNLOADS != 0 { 4 } else { 0 }
            } else {
                body[at] &= !BEEN_SEEDER;
                assert_eq!(flags & (IS_V6 | HAS_ID), HAS_ID);
                2 + 6 + 20
            };
        }
        old.extend(u32::try_from(len).unwrap().to_le_bytes());
        old.extend(checksum(number, &body).to_le_bytes());
        old.extend(body);
        rest = after;
    }
    old
}

#[test]
fn peers_grow_older_while_the_tracker_is_away() {
    let tracker = populated(100);
    let held = Held::by(&tracker);
    let much_later = Instant::from_secs(START.as_secs() + 40 * 60);
    let config = Config::default();
    let (restored, counts) = restored(&written(&tracker), &[], Config::default(), much_later);
    let young = held
        .peers
        .iter()
        .filter(|(_, peer)| !config.swarms().is_too_old(much_later.minute(), peer.announced));
    let young: BTreeMap<_, _> = young.map(|(key, entry)| (*key, *entry)).collect();
    assert_eq!(Held::by(&restored).peers, young);
    assert_eq!(counts.peers_too_old, (held.peers.len() - young.len()) as u64);
    assert!(counts.peers_too_old > 0 && counts.peers > 0);
}

#[test]
fn peers_that_nobody_can_reach_are_not_restored() {
    let tracker = Tracker::new(Config::default(), Seed::new([7; 32]), LATER);
    let mut restorer = Restorer::new(LATER, &tracker);
    let header = Header {
        written: LATER,
        seed: Seed::new([1; 32]),
    };
    for (ip, port) in [
        ("9.9.9.9", 0),
        ("9.9.9.9", 1),
        ("224.0.0.1", 6881),
        ("9.9.9.9", 6881),
    ] {
        let peer = Peer {
            endpoint: Endpoint {
                ip: ip.parse().unwrap(),
                port,
            },
            id: PeerId::default(),
            seeder: false,
            been_seeder: false,
            announced: LATER.minute(),
        };
        let info_hash = info_hash(1);
        restorer.restore(&header, Entry::Peer { info_hash, peer }, &NoPrefetch);
    }
    let restored = restorer.finish(&NoPrefetch);
    assert_eq!((restored.peers, restored.peers_refused), (1, 3));
}

#[test]
fn limits_of_today_hold_for_peers_of_yesterday() {
    let bytes = written(&populated(100));
    let (tracker, counts) = restored(&bytes, &[], Config::default().with_private_peers(false), LATER);
    assert!(Held::by(&tracker).peers.keys().all(|(_, peer)| peer.ip.is_ipv6()));
    assert!(counts.peers_refused > 0 && counts.peers > 0);
    let (tracker, counts) = restored(&bytes, &[], Config::default().with_peer_ids(false), LATER);
    assert_eq!(counts.peers_refused, 0);
    assert!(
        Held::by(&tracker)
            .peers
            .values()
            .all(|peer| peer.id == PeerId::default())
    );
}

#[test]
fn a_snapshot_among_changes_is_whole() {
    let tracker = Arc::new(populated(2000));
    let mut worker = Worker::new(Arc::clone(&tracker));
    let before = Held::by(&tracker);
    let (mut bytes, mut steps) = (Vec::new(), 0);
    let mut encoder = Encoder::begin(LATER, &SECRET, &mut bytes);
    while !encoder.step(LATER, tracker.swarms(), &mut bytes) {
        steps += 1;
        announce(&mut worker, 5000 + steps, 1, Event::Started);
        announce(&mut worker, steps, 0, Event::Stopped);
    }
    assert!(steps > 4);
    let after = Held::by(&tracker);
    let (tracker, counts) = restored(&bytes, &[], Config::default(), LATER);
    let held = Held::by(&tracker);
    assert_eq!(counts.peers, held.peers.len() as u64, "no peer comes twice");
    let is_still = |(key, peer): &(&_, &_)| after.peers.get(*key) == Some(*peer);
    for (key, peer) in before.peers.iter().filter(is_still) {
        assert_eq!(held.peers.get(key), Some(peer), "a peer that stayed is lost");
    }
    for (key, peer) in &held.peers {
        let known = [&before, &after].map(|held| held.peers.get(key));
        assert!(known.contains(&Some(peer)), "{key:?} comes out of nowhere");
    }
    let is_unchanged = |(info_hash, counts): &(&_, &_)| after.torrents.get(*info_hash) == Some(*counts);
    for (info_hash, counts) in before.torrents.iter().filter(is_unchanged) {
        assert_eq!(held.torrents.get(info_hash), Some(counts), "{info_hash}");
    }
}

#[test]
fn bytes_of_something_else_are_refused() {
    let foreign = |bytes: &[u8]| read(bytes, &[], &mut |_, _| ());
    assert_eq!(foreign(b"#!/bin/sh\n"), Err(Damage::Foreign));
    assert_eq!(foreign(b"x"), Err(Damage::Foreign));
    assert_eq!(foreign(b""), Err(Damage::Truncated));
    let mut newer = written(&populated(1));
    newer[8] = 2;
    assert_eq!(foreign(&newer), Err(Damage::Version(2)));
}

#[test]
fn no_beginning_of_a_snapshot_is_one_and_nothing_may_follow() {
    let mut bytes = written(&populated(20));
    for len in 0..bytes.len() {
        assert_eq!(
            read(&bytes[..len], &[], &mut |_, _| ()),
            Err(Damage::Truncated),
            "{len}"
        );
    }
    bytes.push(0);
    assert_eq!(read(&bytes, &[], &mut |_, _| ()), Err(Damage::Trailing));
}

#[test]
fn chunks_that_are_missing_or_doubled_are_noticed() {
    let bytes = written(&populated(2000));
    let (mut starts, mut at) = (Vec::new(), MAGIC.len() + 4);
    while at < bytes.len() {
        starts.push(at);
        let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        at += CHUNK_HEAD_LEN + len as usize;
    }
    assert!(starts.len() > 8);
    let cut = |from: usize, to: usize| [&bytes[..starts[from]], &bytes[starts[to]..]].concat();
    for missing in 0..starts.len() - 1 {
        let damage = read(&cut(missing, missing + 1), &[], &mut |_, _| ());
        assert_eq!(damage, Err(Damage::Chunk(missing as u64)));
    }
    let doubled = [&bytes[..starts[3]], &bytes[starts[2]..]].concat();
    assert_eq!(read(&doubled, &[], &mut |_, _| ()), Err(Damage::Chunk(3)));
}

quickcheck! {
    fn no_changed_byte_goes_unnoticed(at: usize, to: u8) -> bool {
        let mut bytes = written(&populated(30));
        let at = at % bytes.len();
        let changed = bytes[at] != to;
        bytes[at] = to;
        read(&bytes, &[], &mut |_, _| ()).is_err() == changed
    }

    fn no_bytes_make_it_panic(bytes: Vec<u8>, pieces: Vec<usize>) -> bool {
        read(&bytes, &pieces, &mut |_, _| ()).is_err()
    }

    /// Bodies of any bytes under checksums that are right.
    fn no_bodies_make_it_panic(bodies: Vec<Vec<u8>>, pieces: Vec<usize>) -> bool {
        let mut bytes = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
        for (number, body) in bodies.iter().enumerate() {
            bytes.extend(u32::try_from(body.len()).unwrap().to_le_bytes());
            bytes.extend(checksum(number as u64, body).to_le_bytes());
            bytes.extend(body);
        }
        read(&bytes, &pieces, &mut |_, _| ()).is_err()
    }
}

const START: Instant = Instant::from_secs(1_700_000_000);
const LATER: Instant = Instant::from_secs(1_700_000_000 + 20 * 60);
const SECRET: Seed = Seed::new([42; 32]);
