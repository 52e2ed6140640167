//! The swarm rules, tested through a worker: counts, peers handed out, expiry.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use etracker_core::announce::{Announce, AnnounceOutcome, Change, Counts, Endpoint, Event, Family, Refusal};
use etracker_core::config::Intervals;
use etracker_core::stats::Count;
use etracker_core::swarm::Handout;
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker, Worker};

const START: Instant = Instant::from_secs(1_700_000_000);
const LEECHER: u64 = 1 << 20;
const SEEDER: u64 = 0;

struct Swarm {
    worker: Worker,
    now: Instant,
}

impl Swarm {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let tracker = Tracker::new(config, Seed::new([7; 32]), START);
        Self {
            worker: Worker::new(Arc::new(tracker)),
            now: START,
        }
    }

    fn announce(&mut self, peer: &str, left: u64, event: Event) -> (Counts, Vec<SocketAddr>) {
        let (announced, peers) = self
            .try_announce(1, peer, left, event)
            .expect("the announce is carried out");
        (announced.counts, peers)
    }

    fn try_announce(
        &mut self,
        torrent: u8,
        peer: &str,
        left: u64,
        event: Event,
    ) -> Result<(AnnounceOutcome, Vec<SocketAddr>), Refusal> {
        let address: SocketAddr = peer.parse().expect("an address");
        let announce = Announce {
            info_hash: InfoHash([torrent; 20]),
            peer_id: PeerId(*b"-ET0100-abcdefghijkl"),
            peer: Endpoint {
                ip: address.ip(),
                port: address.port(),
            },
            left,
            event,
            numwant: None,
        };
        let (announced, peers) = self.worker.announce_into_scratch(self.now, &announce, false)?;
        let mut list: Vec<_> = peers
            .compact
            .chunks(peers.family.compact_len())
            .map(socket_address)
            .collect();
        list.sort_unstable();
        Ok((announced, list))
    }

    fn counts(&self) -> Counts {
        self.worker.scrape(&InfoHash([1; 20]))
    }

    /// Lets `time` pass, with all time-outs handled on the way.
    fn pass(&mut self, time: Duration) {
        let until = self.now.saturating_add(time);
        loop {
            let due = self.worker.tracker().poll_timeout();
            if due > until {
                break;
            }
            self.now = due.max(self.now);
            let _ = self.worker.tracker().handle_timeout(self.now, [0.0; 3]);
        }
        self.now = until;
    }
}

fn socket_address(compact: &[u8]) -> SocketAddr {
    let (ip, port) = compact.split_at(compact.len() - 2);
    let ip = match <[u8; 4]>::try_from(ip) {
        Ok(octets) => IpAddr::from(octets),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(ip).expect("4 or 16 bytes")),
    };
    SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]]))
}

fn addresses(list: &[&str]) -> Vec<SocketAddr> {
    list.iter()
        .map(|text| text.parse().expect("an address"))
        .collect()
}

const fn counts(complete: u32, incomplete: u32, downloaded: u32) -> Counts {
    Counts {
        complete,
        incomplete,
        downloaded,
    }
}

#[test]
fn the_announcer_is_counted_but_never_listed() {
    let mut swarm = Swarm::new();
    assert_eq!(
        swarm.announce("1.0.0.1:7", LEECHER, Event::Started),
        (counts(0, 1, 0), vec![])
    );
    let (found, peers) = swarm.announce("1.0.0.2:2", SEEDER, Event::Started);
    assert_eq!((found, peers), (counts(1, 1, 0), addresses(&["1.0.0.1:7"])));
    let (found, peers) = swarm.announce("1.0.0.1:7", LEECHER, Event::None);
    assert_eq!((found, peers), (counts(1, 1, 0), addresses(&["1.0.0.2:2"])));
}

#[test]
fn counts_are_of_both_families_and_lists_of_the_askers() {
    let mut swarm = Swarm::new();
    swarm.announce("1.0.0.1:7", LEECHER, Event::Started);
    swarm.announce("[2001:db8::1]:7", LEECHER, Event::Started);
    let v4 = swarm.announce("1.0.0.2:7", LEECHER, Event::Started);
    assert_eq!(v4, (counts(0, 3, 0), addresses(&["1.0.0.1:7"])));
    let v6 = swarm.announce("[2001:db8::2]:7", LEECHER, Event::Started);
    assert_eq!(v6, (counts(0, 4, 0), addresses(&["[2001:db8::1]:7"])));
}

#[test]
fn a_seeder_is_handed_leechers_only() {
    let mut swarm = Swarm::new();
    swarm.announce("1.0.0.1:7", SEEDER, Event::Started);
    swarm.announce("1.0.0.2:2", LEECHER, Event::Started);
    let (_, peers) = swarm.announce("1.0.0.3:3", SEEDER, Event::Started);
    assert_eq!(peers, addresses(&["1.0.0.2:2"]));
}

#[test]
fn downloaded_rises_once_for_a_download_that_finishes() {
    let mut swarm = Swarm::new();
    swarm.announce("1.0.0.1:7", LEECHER, Event::Started);
    assert_eq!(
        swarm.announce("1.0.0.1:7", LEECHER, Event::Completed).0,
        counts(0, 1, 0)
    );
    assert_eq!(
        swarm.announce("1.0.0.1:7", SEEDER, Event::Completed).0,
        counts(1, 0, 1)
    );
    assert_eq!(
        swarm.announce("1.0.0.1:7", SEEDER, Event::Completed).0,
        counts(1, 0, 1)
    );
    assert_eq!(
        swarm.announce("1.0.0.2:2", SEEDER, Event::None).0,
        counts(2, 0, 1)
    );
    assert_eq!(
        swarm.announce("1.0.0.1:7", LEECHER, Event::None).0,
        counts(1, 1, 1)
    );
}

/// Whether the torrent is small or large, whatever came before, and however often its peers move between its tables.
#[test]
fn a_stored_peer_completes_once_however_often_it_says_so() {
    for others in [0, 31, 32, 200] {
        let mut swarm = Swarm::new();
        for number in 0..others {
            swarm.announce(&format!("2.0.0.{number}:7"), LEECHER, Event::Started);
        }
        for peer in ["1.0.0.1:7", "[2001:db8::1]:7"] {
            let before = swarm.counts().downloaded;
            for _ in 0..3 {
                swarm.announce(peer, LEECHER, Event::Started);
                swarm.pass(Duration::from_secs(25 * 60));
                let (found, _) = swarm.announce(peer, SEEDER, Event::Completed);
                assert_eq!(found.downloaded, before + 1, "{peer} beside {others}");
                swarm.pass(Duration::from_secs(25 * 60));
                for left in [LEECHER, SEEDER, LEECHER] {
                    swarm.announce(peer, left, Event::None);
                }
            }
        }
    }
}

#[test]
fn a_peer_that_came_as_a_seeder_completes_nothing() {
    let mut swarm = Swarm::new();
    swarm.announce("1.0.0.1:7", SEEDER, Event::Started);
    swarm.announce("1.0.0.1:7", LEECHER, Event::None);
    let (found, _) = swarm.announce("1.0.0.1:7", SEEDER, Event::Completed);
    assert_eq!(found, counts(1, 0, 0));
}

#[test]
fn a_torrent_that_becomes_large_and_small_again_forgets_nobody_s_download() {
    let mut swarm = Swarm::new();
    let other = |number: u8| format!("2.0.0.{number}:7");
    swarm.announce("1.0.0.1:7", SEEDER, Event::Completed);
    swarm.announce("1.0.0.1:7", LEECHER, Event::None);
    for _ in 0..2 {
        (0..250).for_each(|number| drop(swarm.announce(&other(number), LEECHER, Event::Started)));
        let large = |swarm: &Swarm| swarm.worker.tracker().swarms().fullest().large;
        assert_eq!(large(&swarm), 1);
        swarm.announce("1.0.0.1:7", SEEDER, Event::Completed);
        swarm.announce("1.0.0.1:7", LEECHER, Event::None);
        (0..250).for_each(|number| drop(swarm.announce(&other(number), LEECHER, Event::Stopped)));
        assert_eq!(large(&swarm), 0);
        let (found, _) = swarm.announce("1.0.0.1:7", SEEDER, Event::Completed);
        assert_eq!(found, counts(1, 0, 1));
        swarm.announce("1.0.0.1:7", LEECHER, Event::None);
    }
}

#[test]
fn only_expiry_and_stopped_forget_that_a_peer_has_completed() {
    let mut swarm = Swarm::new();
    swarm.announce("1.0.0.2:2", LEECHER, Event::Started);
    let complete = |swarm: &mut Swarm| {
        swarm.announce("1.0.0.1:7", LEECHER, Event::Started);
        swarm.announce("1.0.0.1:7", SEEDER, Event::Completed).0.downloaded
    };
    assert_eq!(complete(&mut swarm), 1);
    swarm.announce("1.0.0.1:7", SEEDER, Event::Stopped);
    assert_eq!(complete(&mut swarm), 2);
    swarm.pass(Duration::from_secs(20 * 60));
    swarm.announce("1.0.0.2:2", LEECHER, Event::None);
    swarm.pass(Duration::from_secs(14 * 60));
    assert_eq!(complete(&mut swarm), 3);
    assert_eq!(complete(&mut swarm), 3);
}

/// Of every length of the longest interval: in steps of a minute up to an hour, and of two above.
#[test]
fn a_peer_stays_for_the_longest_interval_and_a_minute_and_not_much_longer() {
    for (max, minutes) in [
        (1799, 31..=32),
        (3600, 62..=63),
        (3660, 64..=66),
        (7200, 122..=124),
    ] {
        let intervals = Intervals {
            initial: 60,
            min: 60,
            max,
        };
        let config = Config::default().with_intervals(intervals).unwrap();
        for begin in 0..4 {
            let mut swarm = Swarm::with(config.clone());
            swarm.pass(Duration::from_secs(begin * 59));
            swarm.announce("1.0.0.1:7", LEECHER, Event::Started);
            swarm.pass(Duration::from_secs(minutes.start() * 60 - 1));
            assert_eq!(swarm.counts(), counts(0, 1, 0), "{max} s, {begin}: too early");
            let (_, peers) = swarm.announce("1.0.0.2:2", LEECHER, Event::Started);
            assert_eq!(peers, addresses(&["1.0.0.1:7"]), "{max} s, {begin}");
            let rest = minutes.end() - minutes.start();
            swarm.pass(Duration::from_secs(rest * 60 + 1));
            let (_, peers) = swarm.announce("1.0.0.2:2", LEECHER, Event::None);
            assert_eq!(peers, vec![], "{max} s, {begin}: handed out too late");
            swarm.pass(Duration::from_secs(60));
            assert_eq!(
                swarm.counts(),
                counts(0, 1, 0),
                "{max} s, {begin}: counted too late"
            );
        }
    }
}

#[test]
fn stopping_removes_by_what_is_stored_and_hands_out_nobody() {
    let mut swarm = Swarm::new();
    swarm.announce("1.0.0.1:7", SEEDER, Event::Started);
    swarm.announce("1.0.0.2:2", LEECHER, Event::Started);
    assert_eq!(
        swarm.announce("1.0.0.1:7", u64::MAX, Event::Stopped),
        (counts(0, 1, 0), vec![])
    );
    assert_eq!(
        swarm.announce("1.0.0.1:7", SEEDER, Event::Stopped),
        (counts(0, 1, 0), vec![])
    );
    assert_eq!(
        swarm.announce("1.0.0.9:0", SEEDER, Event::Stopped),
        (counts(0, 1, 0), vec![])
    );
}

#[test]
fn stopping_in_an_unknown_torrent_creates_nothing() {
    let mut swarm = Swarm::new();
    swarm.announce("1.0.0.1:7", SEEDER, Event::Stopped);
    assert_eq!(swarm.worker.tracker().totals().torrents, 0);
}

#[test]
fn a_silent_peer_is_gone_within_a_minute_of_its_deadline_and_not_before() {
    let mut swarm = Swarm::new();
    swarm.announce("1.0.0.1:7", LEECHER, Event::Started);
    swarm.pass(Duration::from_secs(1860));
    assert_eq!(
        swarm.announce("1.0.0.2:2", LEECHER, Event::Started).1,
        addresses(&["1.0.0.1:7"])
    );
    swarm.pass(Duration::from_secs(60));
    assert_eq!(swarm.announce("1.0.0.2:2", LEECHER, Event::None).1, vec![]);
    swarm.pass(Duration::from_secs(60));
    assert_eq!(swarm.counts(), counts(0, 1, 0));
}

#[test]
fn a_swarm_without_peers_is_forgotten_unless_it_was_downloaded() {
    let mut swarm = Swarm::new();
    swarm.announce("1.0.0.1:7", LEECHER, Event::Started);
    swarm.announce("1.0.0.1:7", LEECHER, Event::Stopped);
    assert_eq!(swarm.worker.tracker().totals().torrents, 0);

    swarm.announce("1.0.0.1:7", SEEDER, Event::Completed);
    swarm.announce("1.0.0.1:7", SEEDER, Event::Stopped);
    swarm.pass(Duration::from_secs(1800));
    assert_eq!(swarm.counts(), counts(0, 0, 1));
    swarm.pass(Duration::from_secs(180));
    assert_eq!(
        (swarm.counts(), swarm.worker.tracker().totals().torrents),
        (counts(0, 0, 0), 0)
    );
}

/// In a page and in a large swarm, and where a peer moves between the sets of the latter.
#[test]
fn the_outcome_says_what_changed() {
    for others in [0, 100] {
        let mut swarm = Swarm::new();
        for number in 0..others {
            swarm.announce(&format!("2.0.0.{number}:7"), LEECHER, Event::Started);
        }
        let renewed = |after_minutes, was_seeder, completed| Change::Renewed {
            after_minutes,
            was_seeder,
            completed,
        };
        for peer in ["1.0.0.1:7", "[2001:db8::1]:7"] {
            let mut change = |minutes: u64, left, event| {
                swarm.pass(Duration::from_secs(minutes * 60));
                let (outcome, _) = swarm.try_announce(1, peer, left, event).expect("there is room");
                outcome.change
            };
            assert_eq!(change(0, LEECHER, Event::Stopped), Change::None);
            let added = Change::Added { completed: false };
            assert_eq!(change(0, LEECHER, Event::Started), added, "{peer} of {others}");
            assert_eq!(change(0, LEECHER, Event::None), renewed(0, false, false));
            assert_eq!(change(5, LEECHER, Event::None), renewed(5, false, false));
            assert_eq!(change(30, SEEDER, Event::Completed), renewed(30, false, true));
            assert_eq!(change(1, SEEDER, Event::Completed), renewed(1, true, false));
            assert_eq!(
                change(2, LEECHER, Event::Stopped),
                Change::Removed { was_seeder: true }
            );
            let added = Change::Added { completed: true };
            assert_eq!(change(0, SEEDER, Event::Completed), added, "{peer} of {others}");
        }
        let (outcome, _) = swarm
            .try_announce(1, "1.0.0.9:0", LEECHER, Event::Started)
            .expect("there is room");
        assert_eq!(outcome.change, Change::None, "a peer that cannot be reached");
    }
}

#[test]
fn limits_refuse_newcomers_and_keep_those_inside() {
    let config = Config::default().with_peers_per_address_max(2).unwrap();
    let config = config
        .with_torrents_max(1)
        .unwrap()
        .with_peers_per_torrent_max(4)
        .unwrap();
    let mut swarm = Swarm::with(config);
    swarm.announce("1.0.0.1:7", LEECHER, Event::Started);
    swarm.announce("1.0.0.1:2", LEECHER, Event::Started);
    let refused =
        |swarm: &mut Swarm, torrent, peer| swarm.try_announce(torrent, peer, SEEDER, Event::None).err();
    assert_eq!(refused(&mut swarm, 1, "1.0.0.1:3"), Some(Refusal::AddressFull));
    assert_eq!(refused(&mut swarm, 2, "1.0.0.2:7"), Some(Refusal::TorrentsFull));
    assert_eq!(refused(&mut swarm, 1, "1.0.0.1:2"), None);
    assert_eq!(refused(&mut swarm, 1, "[2001:db8::1]:7"), None);
    assert_eq!(refused(&mut swarm, 1, "[2001:db8::2]:7"), None);
    assert_eq!(refused(&mut swarm, 1, "1.0.0.4:7"), Some(Refusal::SwarmFull));
    assert_eq!(swarm.counts(), counts(3, 1, 0));
    assert_eq!(swarm.worker.tracker().count(Count::RefusedSwarmFull), 1);
}

#[test]
fn a_slash_64_counts_as_one_address_and_loopback_is_not_limited() {
    let mut swarm = Swarm::with(Config::default().with_peers_per_address_max(1).unwrap());
    swarm.announce("[2001:db8::1]:7", LEECHER, Event::Started);
    let refused = |swarm: &mut Swarm, peer: &str| swarm.try_announce(1, peer, SEEDER, Event::None).err();
    assert_eq!(
        refused(&mut swarm, "[2001:db8::ffff]:2"),
        Some(Refusal::AddressFull)
    );
    assert_eq!(refused(&mut swarm, "[2001:db8:0:1::1]:2"), None);
    for port in 2..10 {
        assert_eq!(refused(&mut swarm, &format!("127.0.0.1:{port}")), None);
        assert_eq!(refused(&mut swarm, &format!("[::1]:{port}")), None);
    }
}

#[test]
fn addresses_that_are_not_global_are_kept_out_as_the_option_says_and_those_of_nobody_always() {
    let never = [
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "224.0.0.5",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::8.8.8.8",
        "ff02::1",
        "2002:e000:1::1",
        "64:ff9b::e000:1",
    ];
    let local = [
        "10.0.0.1",
        "100.64.1.1",
        "127.0.0.1",
        "169.254.1.1",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.1",
        "::1",
        "fe80::1",
        "fec0::1",
        "fd00::1",
        "2001:db8::1",
        "2002:c0a8:101::1",
        "64:ff9b::c0a8:101",
    ];
    let global = ["9.9.9.9", "2a01:4f8::1", "2002:909:909::1", "64:ff9b::909:909"];
    for private_peers in [true, false] {
        let mut swarm = Swarm::with(Config::default().with_private_peers(private_peers));
        let mut outcome = |ip: &str| {
            let peer = SocketAddr::new(ip.parse().expect("an address"), 6881);
            let outcome = swarm.try_announce(1, &peer.to_string(), SEEDER, Event::Started);
            let left = swarm.try_announce(1, &peer.to_string(), SEEDER, Event::Stopped);
            assert!(left.is_ok(), "{ip} may leave");
            outcome.err()
        };
        for ip in never {
            assert_eq!(outcome(ip), Some(Refusal::ImpossibleAddress), "{ip}");
        }
        for ip in local {
            let refusal = (!private_peers).then_some(Refusal::PrivateAddress);
            assert_eq!(outcome(ip), refusal, "{ip}");
        }
        for ip in global {
            assert_eq!(outcome(ip), None, "{ip}");
        }
        let tracker = swarm.worker.tracker();
        assert_eq!(tracker.totals().torrents, 0);
        assert_eq!(tracker.count(Count::RefusedImpossibleAddress), never.len() as u64);
    }
}

#[test]
fn who_can_be_reached_by_nobody_is_handed_peers_and_changes_nothing() {
    // In a small torrent and in a large one.
    for peers in [2, 200] {
        let mut swarm = Swarm::with(Config::default().with_peers_per_torrent_max(peers).unwrap());
        for number in 0..peers {
            let left = if number == 0 { SEEDER } else { LEECHER };
            swarm.announce(&format!("1.0.{number}.1:6881"), left, Event::Started);
        }
        let there = counts(1, peers - 1, 0);
        let totals = swarm.worker.tracker().totals();
        for (unreachable, port) in (1..).zip([0, 1]) {
            let peer = format!("9.9.9.9:{port}");
            for (left, event) in [
                (LEECHER, Event::Started),
                (SEEDER, Event::Completed),
                (SEEDER, Event::None),
            ] {
                let eligible = if left == SEEDER { peers - 1 } else { peers };
                let (after, handed) = swarm.announce(&peer, left, event);
                assert_eq!(
                    (after, handed.len()),
                    (there, eligible.min(50) as usize),
                    "{event:?}"
                );
            }
            assert_eq!(swarm.announce(&peer, SEEDER, Event::Stopped), (there, Vec::new()));
            // No torrent begins with it, and none is finished by it.
            let (nothing, nobody) = swarm.try_announce(2, &peer, SEEDER, Event::Completed).unwrap();
            assert_eq!((nothing.counts, nobody), (Counts::default(), Vec::new()));
            let count = swarm.worker.tracker().count(Count::AnnounceUnreachable);
            assert_eq!(count, 4 * unreachable);
        }
        assert_eq!(swarm.worker.tracker().totals(), totals);
        assert_eq!(swarm.counts(), there);
    }
}

#[test]
fn who_was_reachable_before_stays_under_the_port_of_then_until_its_time() {
    let mut swarm = Swarm::new();
    swarm.announce("9.9.9.9:6881", LEECHER, Event::Started);
    let (after, handed) = swarm.announce("9.9.9.9:1", LEECHER, Event::None);
    assert_eq!((after, handed), (counts(0, 1, 0), addresses(&["9.9.9.9:6881"])));
    swarm.pass(Duration::from_mins(33));
    assert_eq!(swarm.counts(), counts(0, 0, 0));
}

#[test]
fn every_peer_of_a_swarm_is_handed_out_sooner_or_later_and_none_twice_at_once() {
    let mut swarm = Swarm::new();
    for number in 0..500 {
        let peer = format!("1.0.{}.{}:6881", number / 250, number % 250 + 1);
        swarm.announce(&peer, LEECHER, Event::Started);
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let (_, peers) = swarm.announce("9.9.9.9:9", LEECHER, Event::None);
        assert_eq!(peers.len(), 50);
        assert!(
            peers.windows(2).all(|pair| pair[0] != pair[1]),
            "a peer twice in one answer"
        );
        seen.extend(peers);
    }
    assert_eq!(seen.len(), 500);
}

#[test]
fn the_interval_served_is_the_controllers() {
    let intervals = Intervals {
        initial: 600,
        min: 300,
        max: 900,
    };
    let mut swarm = Swarm::with(Config::default().with_intervals(intervals).unwrap());
    swarm.pass(Duration::from_secs(300));
    let (announced, _) = swarm
        .try_announce(1, "1.0.0.1:7", LEECHER, Event::Started)
        .unwrap();
    assert_eq!((announced.interval_secs, announced.interval_min_secs), (570, 300));
}

#[test]
fn a_torrent_is_removed_once_with_its_peers_few_or_many() {
    let mut swarm = Swarm::new();
    for number in 1..=100u8 {
        for torrent in [1, 2] {
            swarm
                .try_announce(torrent, &format!("1.0.0.{number}:7"), LEECHER, Event::Started)
                .unwrap();
        }
    }
    swarm
        .try_announce(3, "1.0.0.1:7", SEEDER, Event::Started)
        .unwrap();
    let swarms = swarm.worker.tracker().swarms();
    assert_eq!(swarms.fullest().large, 2);
    for (torrent, large) in [(1, 1), (3, 1), (2, 0)] {
        let info_hash = InfoHash([torrent; 20]);
        assert!(swarms.remove(&info_hash));
        assert!(!swarms.remove(&info_hash));
        assert_eq!(swarms.scrape(&info_hash), counts(0, 0, 0));
        assert_eq!(swarms.fullest().large, large, "without {torrent}");
    }
    let totals = swarms.totals();
    assert_eq!((totals.torrents, totals.peers()), (0, 0));
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let run = || {
        let mut swarm = Swarm::new();
        for port in 1..200 {
            swarm.announce(&format!("1.0.0.{port}:{port}"), LEECHER, Event::Started);
        }
        let announce = Announce {
            info_hash: InfoHash([1; 20]),
            peer_id: PeerId([0; 20]),
            peer: Endpoint {
                ip: IpAddr::from([9, 9, 9, 9]),
                port: 9,
            },
            left: 1,
            event: Event::None,
            numwant: Some(30),
        };
        let mut compact = [0; 180];
        let mut handout = Handout::new(Family::V4, 30, &mut compact);
        swarm.worker.announce(START, &announce, &mut handout).unwrap();
        compact
    };
    assert_eq!(run(), run());
}
