//! That the work of every operation is bounded, counted in pages and buckets touched, peers moved and bytes copied.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::time::Instant;

use crate::announce::{Announce, Endpoint, Event, Family};
use crate::config::SWEEP_WORK;
use crate::seed::{Key, Random, Seed};
use crate::swarm::{Handout, Packed, PackedSweep, Prepared, Room, Store};
use crate::time::Minute;
use crate::{Config, InfoHash, PeerId};

use super::PAGE_LOAD;
use super::set::BUCKET_LOAD;
use super::work::{self, Work};

const NOW: Minute = Minute::new(28_000_000);

struct Packing {
    packed: Packed,
    key: Key,
    random: Random,
    now: Minute,
    /// The greatest work of one operation.
    most: Work,
    /// The longest time that one operation took. It is shown, and asserted nowhere.
    longest: Duration,
    handed_out: usize,
}

impl Packing {
    fn new(config: &Config) -> Self {
        let key = Seed::new([3; 32]).key("tables");
        Self {
            packed: Packed::new(config.swarms(), key),
            key,
            random: Random::with_seed(5),
            now: NOW,
            most: Work::default(),
            longest: Duration::ZERO,
            handed_out: 0,
        }
    }

    fn announce(&mut self, torrent: u32, peer: Endpoint, left: u64, event: Event) {
        let mut info_hash = InfoHash([9; 20]);
        info_hash.0[..4].copy_from_slice(&torrent.to_le_bytes());
        let announce = Announce {
            info_hash,
            peer_id: PeerId::default(),
            peer,
            left,
            event,
            numwant: None,
        };
        let prepared = Prepared::new(&self.key, &announce.info_hash, self.random.fork());
        let mut compact = [0; 300];
        let mut peers = Handout::new(Family::V4, 50, &mut compact);
        work::take();
        let start = start();
        let counts = self
            .packed
            .announce(self.now, &announce, &prepared, Room::Some, &mut peers);
        self.longest = self.longest.max(start.elapsed());
        counts.expect("there is room");
        self.most = self.most.max(work::take());
        self.handed_out = peers.len();
    }

    /// One step of a sweep, and its work; true at the end.
    fn sweep(&mut self, work: usize, position: &mut PackedSweep) -> (Work, bool) {
        work::take();
        let start = start();
        let swept = self.packed.sweep(self.now, work, position);
        self.longest = self.longest.max(start.elapsed());
        (work::take(), swept.done)
    }

    /// A whole sweep in steps as a tracker takes them, of which the longest time is shown.
    fn show_sweep(&mut self, what: &str) {
        self.longest = Duration::ZERO;
        let mut position = PackedSweep::default();
        while !self.sweep(SWEEP_WORK, &mut position).1 {}
        std::println!("a sweep of {what}: the longest step took {:?}", self.longest);
        self.longest = Duration::ZERO;
    }
}

fn start() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the time that work takes is shown beside it"
    )]
    Instant::now()
}

/// A peer of one of many networks.
const fn peer(number: u32) -> Endpoint {
    let host = 0x0100_0000 + ((number & 0xffff) << 8) + (number >> 16);
    Endpoint {
        ip: IpAddr::V4(Ipv4Addr::from_bits(host)),
        port: 6881,
    }
}

/// A peer of one network, or of the few that so many do not fit into.
const fn crowd(number: u32) -> Endpoint {
    Endpoint {
        ip: IpAddr::V4(Ipv4Addr::from_bits(0x2d00_0000 + number / 64)),
        port: 6000 + (number % 64) as u16,
    }
}

/// Bounds on one operation: a page and its split, or some buckets and the split of one.
const BLOCKS: usize = 24;
/// A bucket that is split next holds twice the load on average, and half as many again at the worst among ten thousands;
/// each of its peers is counted for the bucket that stays and for the one that comes.
const PEERS: usize = 2 * 3 * BUCKET_LOAD;
/// Three copies of the longest page, and the list of the pieces of two million torrents in one table.
const BYTES: usize = 40 * 1024;

/// Splits and joins have taken place, and were counted; the counts keep their bounds.
fn assert_bounded(most: Work) {
    assert!(
        most.blocks >= 2 && most.peers >= BUCKET_LOAD / 2 && most.bytes >= 1024,
        "{most:?}"
    );
    assert!(
        most.blocks <= BLOCKS && most.peers <= PEERS && most.bytes <= BYTES,
        "{most:?}"
    );
}

fn torrents_come_and_go(torrents: u32) {
    let mut packing = Packing::new(&Config::default());
    for torrent in 0..torrents {
        packing.announce(torrent, peer(torrent), 1, Event::Started);
    }
    assert_eq!(packing.packed.torrents(), torrents.into());
    std::println!("{torrents} torrents come: the longest took {:?}", packing.longest);
    packing.show_sweep("them");
    for torrent in 0..torrents {
        packing.announce(torrent, peer(torrent), 1, Event::Stopped);
    }
    std::println!(
        "they go: the longest took {:?}; {:?}",
        packing.longest,
        packing.most
    );
    assert_bounded(packing.most);
    assert_eq!(packing.packed.torrents(), 0);
    assert_eq!((packing.packed.pages.len(), packing.packed.bytes), (1, 0));
}

fn peers_come_and_go(peers: u32) {
    let mut packing = Packing::new(&Config::default());
    for number in 0..peers {
        packing.announce(0, peer(number), (number % 3).into(), Event::Started);
    }
    assert_eq!(packing.packed.totals().peers(), peers.into());
    std::println!("{peers} peers come: the longest took {:?}", packing.longest);
    packing.show_sweep("them");
    for number in 0..peers {
        packing.announce(0, peer(number), 1, Event::Stopped);
    }
    std::println!(
        "they go: the longest took {:?}; {:?}",
        packing.longest,
        packing.most
    );
    assert_bounded(packing.most);
    assert_eq!(packing.packed.totals(), Default::default());
}

#[test]
fn no_operation_does_much_while_torrents_come_and_go() {
    torrents_come_and_go(30_000);
}

#[test]
#[ignore = "long: two million torrents"]
fn no_operation_does_much_while_two_million_torrents_come_and_go() {
    torrents_come_and_go(2_000_000);
}

#[test]
fn no_operation_does_much_while_peers_come_and_go() {
    peers_come_and_go(30_000);
}

#[test]
#[ignore = "long: a million peers"]
fn no_operation_does_much_while_a_million_peers_come_and_go() {
    peers_come_and_go(1_000_000);
}

#[test]
fn a_sweep_of_one_swarm_goes_in_bounded_steps() {
    const STEP: usize = 1000;
    let mut packing = Packing::new(&Config::default());
    for number in 0..20_000 {
        packing.announce(0, peer(number), (number % 3).into(), Event::Started);
    }
    for minutes in [1, 60] {
        packing.now = Minute::new(packing.now.get() + minutes);
        let (mut position, mut done, mut steps) = (PackedSweep::default(), false, 0);
        while !done {
            let (work, last) = packing.sweep(STEP, &mut position);
            assert!(work.blocks <= STEP / 8 && work.peers <= 2 * STEP, "{work:?}");
            assert!(work.bytes <= 100 * STEP, "{work:?}");
            assert!(work.freed <= STEP / 8, "{work:?}");
            (done, steps) = (last, steps + 1);
        }
        assert!((15..40).contains(&steps), "{steps} steps after {minutes} minutes");
    }
    assert_eq!(packing.packed.totals(), Default::default());
}

#[test]
fn a_sweep_of_many_torrents_goes_in_bounded_steps() {
    const STEP: usize = SWEEP_WORK;
    let mut packing = Packing::new(&Config::default());
    for torrent in 0..50_000 {
        packing.announce(torrent, peer(torrent), 1, Event::Started);
    }
    for minutes in [1, 60, 1, 1, 1, 1, 1, 1] {
        packing.now = Minute::new(packing.now.get() + minutes);
        let (mut position, mut done) = (PackedSweep::default(), false);
        while !done {
            let (work, last) = packing.sweep(STEP, &mut position);
            assert!(work.blocks <= STEP / 2 && work.peers <= 2 * STEP, "{work:?}");
            assert!(work.bytes <= 200 * STEP, "{work:?}");
            done = last;
        }
    }
    assert_eq!(packing.packed.totals(), Default::default());
    assert_eq!((packing.packed.pages.len(), packing.packed.bytes), (1, 0));
}

/// A torrent of many peers that is dropped at once, and what it was made of.
#[test]
fn a_large_swarm_that_is_dropped_is_freed_by_the_sweep_in_bounded_steps() {
    const STEP: usize = 1000;
    let mut packing = Packing::new(&Config::default());
    for number in 0..50_000 {
        packing.announce(0, peer(number), (number % 3).into(), Event::Started);
    }
    packing.announce(1, peer(0), 1, Event::Started);
    let buckets = packing.packed.swarms.get(0).unwrap().buckets();
    let mut info_hash = InfoHash([9; 20]);
    info_hash.0[..4].fill(0);
    work::take();
    assert!(packing.packed.remove(&info_hash, packing.key.hash(&info_hash.0)));
    let removed = work::take();
    assert!(removed.blocks <= BLOCKS && removed.freed <= BLOCKS, "{removed:?}");
    assert_eq!(packing.packed.totals().peers(), 1);
    let (mut position, mut freed, mut done) = (PackedSweep::default(), removed.freed, false);
    while !done {
        let (work, last) = packing.sweep(STEP, &mut position);
        assert!(work.blocks <= STEP / 8 && work.freed <= STEP / 8, "{work:?}");
        (freed, done) = (freed + work.freed, last);
    }
    assert!(buckets >= 500 && freed >= buckets, "{freed} of {buckets}");
    assert_eq!(packing.packed.remains.len(), 0);
}

/// Peers that expire and leave many buckets with few or no peers behind.
#[test]
fn a_swarm_of_which_few_are_left_is_taken_apart_in_bounded_steps() {
    const STEP: usize = 1000;
    for (left, last_stop) in [(0, false), (1, false), (10, false), (10, true), (1000, false)] {
        let mut packing = Packing::new(&Config::default());
        for number in 0..50_000 {
            packing.announce(0, peer(number), (number % 3).into(), Event::Started);
        }
        packing.now = Minute::new(packing.now.get() + 20);
        for number in 0..left {
            packing.announce(0, peer(number), 1, Event::None);
        }
        packing.now = Minute::new(packing.now.get() + 20);
        for pass in 0..3 {
            let (mut position, mut done) = (PackedSweep::default(), false);
            while !done {
                let (work, last) = packing.sweep(STEP, &mut position);
                assert!(
                    work.blocks <= STEP / 8 && work.peers <= 2 * STEP && work.freed <= STEP / 8,
                    "{left} left, pass {pass}: {work:?}"
                );
                done = last;
            }
            assert_eq!(packing.packed.totals().peers(), left.into());
            if last_stop {
                packing.most = Work::default();
                (0..left).for_each(|number| packing.announce(0, peer(number), 1, Event::Stopped));
                assert!(
                    packing.most.blocks <= BLOCKS && packing.most.freed <= BLOCKS,
                    "{:?}",
                    packing.most
                );
                break;
            }
        }
        let large = packing.packed.swarms.get(0);
        assert_eq!(large.is_some(), left > 16, "{left} left");
        assert!(large.is_none_or(|swarm| swarm.buckets() <= 1000 / 48 + 2));
        assert_eq!(packing.packed.torrents(), u64::from(left > 0 && !last_stop));
    }
}

#[test]
fn buckets_cope_with_a_thousand_peers_of_each_address() {
    let config = Config::default().with_peers_per_address_max(1024).unwrap();
    let mut packing = Packing::new(&config);
    for port in 2..=1001 {
        for number in 0..20 {
            packing.announce(0, Endpoint { port, ..peer(number) }, 1, Event::None);
        }
    }
    assert_eq!(packing.packed.totals().leechers_v4, 20_000);
    assert_eq!(packing.handed_out, 50);
    // A bucket holds one address or a few, and no more than one is copied when it is added to.
    assert!(packing.most.bytes < 3 * 5 * 1024 * 27, "{:?}", packing.most);
}

#[test]
fn a_sweep_forgets_how_long_a_bucket_was() {
    let config = Config::default().with_peers_per_address_max(1024).unwrap();
    let mut packing = Packing::new(&config);
    // As many buckets as all are split alike, so that the longest is seldom the last one.
    for number in 0..6150 {
        packing.announce(0, peer(number), 1, Event::None);
    }
    for event in [Event::Started, Event::Stopped] {
        for port in 2..=1001 {
            packing.announce(0, Endpoint { port, ..peer(9999) }, 1, event);
        }
    }
    let longest = |packing: &Packing| {
        packing
            .packed
            .swarms
            .get(0)
            .unwrap()
            .set(Family::V4, false)
            .longest()
    };
    assert!(longest(&packing) >= 1000);
    let mut position = PackedSweep::default();
    while !packing.sweep(100, &mut position).1 {}
    let set = packing.packed.swarms.get(0).unwrap().set(Family::V4, false);
    let shape = packing.packed.rules.shape(Family::V4);
    let buckets = (0..set.buckets.len()).filter_map(|bucket| set.buckets.get(bucket));
    let found = buckets.map(|bucket| bucket.count(shape)).max().unwrap();
    assert_eq!(longest(&packing) as usize, found);
    assert!((50..400).contains(&found), "{found}");
}

#[test]
fn ports_spread_where_addresses_are_not_limited() {
    let config = Config::default().with_peers_per_address_max(0).unwrap();
    let mut packing = Packing::new(&config);
    for port in 1..=20_000 {
        packing.announce(0, Endpoint { port, ..peer(1) }, 1, Event::None);
    }
    assert_bounded(packing.most);
}

#[test]
fn a_seeder_among_seeders_finds_the_few_leechers_at_once() {
    let mut packing = Packing::new(&Config::default());
    for number in 0..20_000 {
        packing.announce(0, peer(number), u64::from(number % 1000 == 0), Event::None);
    }
    packing.most = Work::default();
    for number in 1..200 {
        packing.announce(0, peer(number), 0, Event::None);
        assert_eq!(packing.handed_out, 20);
    }
    assert!(packing.most.blocks <= 8, "{:?}", packing.most);
}

#[test]
fn what_is_handed_out_costs_in_proportion_whatever_the_size() {
    for peers in [100, 1000, 20_000] {
        let mut packing = Packing::new(&Config::default());
        for number in 0..peers {
            packing.announce(0, peer(number), (number % 2).into(), Event::None);
        }
        packing.most = Work::default();
        for number in 0..200 {
            packing.announce(0, peer(number % peers), (number % peers % 2).into(), Event::None);
            assert_eq!(
                packing.handed_out,
                if number % 2 == 0 {
                    50.min(peers as usize / 2)
                } else {
                    50
                }
            );
        }
        assert!(
            packing.most.blocks <= 3 + 50 / (BUCKET_LOAD / 4) + 4,
            "{:?}",
            packing.most
        );
    }
}

/// A choice that spreads over networks looks at as many peers as a choice among peers that are too old may.
#[test]
fn a_crowd_makes_no_answer_look_at_more_than_the_bound() {
    for others in [0, 200] {
        let mut packing = Packing::new(&Config::default());
        for number in 0..16_000 {
            packing.announce(0, crowd(number), 1, Event::None);
        }
        (0..others).for_each(|number| packing.announce(0, peer(number), 1, Event::None));
        packing.most = Work::default();
        for number in 0..100 {
            packing.announce(0, crowd(number), 1, Event::None);
            assert_eq!(packing.handed_out, 50);
        }
        let looked_at = 4096 + 8 * 50;
        assert!(
            packing.most.blocks <= 16 + looked_at / (BUCKET_LOAD / 4),
            "{others} others: {:?}",
            packing.most
        );
    }
}

#[test]
fn those_too_old_and_not_yet_swept_are_not_all_looked_at() {
    let mut packing = Packing::new(&Config::default());
    let peers = 20_000;
    for number in 0..peers {
        packing.announce(0, peer(number), 1, Event::Started);
    }
    packing.now = Minute::new(packing.now.get() + 100);
    packing.most = Work::default();
    packing.announce(0, peer(peers), 1, Event::Started);
    assert_eq!(packing.handed_out, 0);
    let all = peers as usize / BUCKET_LOAD;
    assert!(packing.most.blocks < all / 2, "{:?} of {all}", packing.most);
}

#[test]
fn a_swarm_is_large_from_33_peers_until_16_are_left() {
    let mut packing = Packing::new(&Config::default());
    let mut large_after = |number, event| {
        packing.announce(0, peer(number), 1, event);
        packing.packed.swarms.len() == 1
    };
    for number in 0..40 {
        assert_eq!(large_after(number, Event::Started), number >= 32, "{number} came");
    }
    for number in (0..40).rev() {
        assert_eq!(
            large_after(number, Event::Stopped),
            number > 16,
            "{number} are left"
        );
    }
}

#[test]
fn buckets_are_joined_as_peers_leave() {
    let mut packing = Packing::new(&Config::default());
    let peers = 10_000;
    for number in 0..peers {
        packing.announce(0, peer(number), 1, Event::Started);
    }
    let buckets = |packing: &Packing| {
        let swarm = packing.packed.swarms.get(0).expect("one large swarm");
        swarm.set(Family::V4, false).buckets.len()
    };
    let all = peers as usize / BUCKET_LOAD;
    assert!((all..=all + 1).contains(&buckets(&packing)));
    for number in 1000..peers {
        packing.announce(0, peer(number), 1, Event::Stopped);
        let left = (peers + 999 - number) as usize;
        assert!(
            left <= buckets(&packing) * BUCKET_LOAD,
            "joined with {left} peers left"
        );
    }
    let most = 1000 * 2 / BUCKET_LOAD + 1;
    assert!(buckets(&packing) <= most, "{} of {most}", buckets(&packing));
}

#[test]
fn pages_are_not_joined_before_there_is_room() {
    let mut packing = Packing::new(&Config::default());
    let torrents = 5000;
    for torrent in 0..torrents {
        packing.announce(torrent, peer(torrent), 1, Event::Started);
    }
    for torrent in 0..torrents {
        packing.announce(torrent, peer(torrent), 1, Event::Stopped);
        let (pages, bytes) = (packing.packed.pages.len(), packing.packed.bytes);
        assert!(
            bytes <= pages * PAGE_LOAD,
            "{torrent} gone: {bytes} bytes in {pages} pages"
        );
    }
    assert_eq!(packing.packed.pages.len(), 1);
}

#[test]
fn a_large_swarm_is_swept_wherever_it_is_in_its_page() {
    let mut packing = Packing::new(&Config::default().with_peer_ids(false));
    let small = |packing: &mut Packing| {
        for torrent in 0..5 {
            packing.announce(torrent, peer(torrent), 1, Event::None);
        }
    };
    small(&mut packing);
    for number in 0..40 {
        packing.announce(5, peer(number), 1, Event::Started);
    }
    assert_eq!((packing.packed.pages.len(), packing.packed.swarms.len()), (1, 1));
    packing.now = Minute::new(packing.now.get() + 100);
    small(&mut packing);
    let mut position = PackedSweep::default();
    let swept = packing.packed.sweep(packing.now, SWEEP_WORK, &mut position);
    assert_eq!(
        (swept.peers_removed, swept.torrents_removed, swept.done),
        (40, 1, true)
    );
    assert_eq!(
        (packing.packed.totals().peers(), packing.packed.swarms.len()),
        (5, 0)
    );
}

#[test]
fn tables_are_given_back_by_the_sweep() {
    let mut packing = Packing::new(&Config::default());
    for torrent in 0..5000 {
        packing.announce(torrent, peer(torrent), 1, Event::Started);
    }
    let pages = packing.packed.pages.len();
    packing.now = Minute::new(packing.now.get() + 100);
    for most in [pages - 1, pages / 4, pages / 16, 1] {
        let mut position = PackedSweep::default();
        while !packing.sweep(50, &mut position).1 {}
        assert!(
            packing.packed.pages.len() <= most,
            "{}",
            packing.packed.pages.len()
        );
    }
    assert_eq!((packing.packed.torrents(), packing.packed.bytes), (0, 0));
}
