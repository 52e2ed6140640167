//! Memory comes back when peers leave, however often all of them are replaced.

use std::net::{IpAddr, Ipv4Addr};

use allocation_counter::measure;
use etracker_core::announce::{Announce, Endpoint, Event, Family};
use etracker_core::seed::Random;
use etracker_core::swarm::{Handout, Swarms, SweepPosition};
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed};

/// Turnovers after the first.
const MORE: u32 = 9;
/// Torrents of these sizes, beside small ones of one to seven peers.
const LARGE: [u32; 5] = [40, 100, 300, 1000, 3000];
const SMALL: u32 = 3000;

#[test]
fn ten_turnovers_by_leaving_keep_at_most_a_tenth_more_than_one() {
    assert_steady(|crowd| {
        for index in 0..crowd.members.len() {
            crowd.announce(index, Event::Stopped);
            crowd.members[index].generation += 1;
            crowd.announce(index, Event::Started);
        }
    });
}

#[test]
fn ten_turnovers_by_falling_silent_keep_at_most_a_tenth_more_than_one() {
    assert_steady(|crowd| {
        crowd.now_secs += 3600;
        crowd.sweep();
        for index in 0..crowd.members.len() {
            crowd.members[index].generation += 1;
            crowd.announce(index, Event::Started);
        }
    });
}

#[test]
fn nothing_is_kept_when_all_have_left() {
    let mut crowd = Crowd::new();
    let counted = measure(|| {
        crowd.come();
        (0..crowd.members.len()).for_each(|index| crowd.announce(index, Event::Stopped));
    });
    assert_eq!(crowd.swarms.totals(), Default::default());
    assert!(counted.bytes_max > 100_000, "{counted:?}");
    assert!(counted.bytes_current < 4096, "{counted:?}");
}

fn assert_steady(turn_over: impl Fn(&mut Crowd)) {
    let mut crowd = Crowd::new();
    let first = measure(|| {
        crowd.come();
        turn_over(&mut crowd);
    });
    let more = measure(|| (0..MORE).for_each(|_| turn_over(&mut crowd)));
    assert_eq!(crowd.swarms.totals().peers(), crowd.members.len() as u64);
    let (kept, of) = (more.bytes_current, first.bytes_current);
    assert!(of > 100_000 && kept <= of / 10, "{kept} bytes more than {of}");
}

/// Swarms, and who is in them.
struct Crowd {
    swarms: Swarms,
    members: Vec<Member>,
    random: Random,
    now_secs: u64,
}

#[derive(Clone, Copy)]
struct Member {
    torrent: u32,
    number: u32,
    generation: u32,
}

impl Crowd {
    /// Nobody has come yet.
    fn new() -> Self {
        let small = (0..SMALL).map(|torrent| 1 + torrent % 7);
        let mut members = Vec::new();
        for (torrent, peers) in (0..).zip(LARGE.into_iter().chain(small)) {
            for _ in 0..peers {
                let number = u32::try_from(members.len()).unwrap_or(u32::MAX);
                members.push(Member {
                    torrent,
                    number,
                    generation: 0,
                });
            }
        }
        let mut random = Random::with_seed(1);
        random.shuffle(&mut members);
        Self {
            swarms: Swarms::new(Config::default().swarms(), &Seed::new([1; 32])),
            members,
            random,
            now_secs: 1_800_000_000,
        }
    }

    fn come(&mut self) {
        (0..self.members.len()).for_each(|index| self.announce(index, Event::Started));
    }

    fn announce(&mut self, index: usize, event: Event) {
        let Member {
            torrent,
            number,
            generation,
        } = self.members[index];
        let mut info_hash = InfoHash([5; 20]);
        info_hash.0[..4].copy_from_slice(&torrent.to_le_bytes());
        let announce = Announce {
            info_hash,
            peer_id: PeerId([6; 20]),
            peer: Endpoint {
                ip: IpAddr::V4(Ipv4Addr::from_bits(0x0100_0000 + (generation << 20) + number)),
                port: 6881,
            },
            left: u64::from(number % 2),
            event,
            numwant: None,
        };
        let prepared = self.swarms.prepare(&announce.info_hash, &mut self.random);
        let mut peers = Handout::new(Family::V4, 0, &mut []);
        self.swarms
            .announce(
                Instant::from_secs(self.now_secs),
                &announce,
                &prepared,
                &mut peers,
            )
            .expect("there is room for all");
    }

    fn sweep(&self) {
        let mut position = SweepPosition::default();
        while !self
            .swarms
            .sweep(Instant::from_secs(self.now_secs), 1000, &mut position)
            .done
        {}
    }
}
