//! The shared part of the benches: populations and their requests.

pub(crate) mod sys;

use std::net::{IpAddr, Ipv4Addr};

use etracker_core::announce::{Announce, Endpoint, Event, Family};
use etracker_core::seed::{Random, Seed};
use etracker_core::swarm::{Handout, Swarms};
use etracker_core::{Config, InfoHash, Instant, PeerId};

pub(crate) const NOW: Instant = Instant::from_secs(1_700_000_000);

/// Swarms of given sizes, filled over IPv4. Of a hundred peers sixty are seeders.
pub(crate) struct Population<'a> {
    pub(crate) name: &'a str,
    pub(crate) swarms: Swarms,
    pub(crate) random: Random,
    /// Torrent and number of each peer; it is away if the flag is set.
    members: Vec<Member>,
    pub(crate) torrents: usize,
}

#[derive(Clone, Copy)]
struct Member {
    torrent: u32,
    number: u32,
}

impl<'a> Population<'a> {
    /// `torrents` torrents, all of one size.
    pub(crate) fn even(name: &'a str, torrents: u32, peers: u32, ids: bool) -> Self {
        Self::new(name, (0..torrents).map(|_| peers), ids)
    }

    /// Sizes as they are in the wild: the torrent number `i` has `c / i^0.8` peers, but at least one.
    pub(crate) fn zipf(name: &'a str, torrents: u32, peers: u32, ids: bool) -> Self {
        let size = |c: f64, number: u32| (c / f64::from(number).powf(0.8)).max(1.0);
        let (mut low, mut high) = (0.0, f64::from(peers));
        for _ in 0..50 {
            let middle = (low + high) / 2.0;
            let sum: f64 = (1..=torrents).map(|number| size(middle, number).floor()).sum();
            if sum < f64::from(peers) {
                low = middle;
            } else {
                high = middle;
            }
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "rounded down to whole peers, below 2^32"
        )]
        #[expect(clippy::cast_sign_loss, reason = "at least one")]
        Self::new(name, (1..=torrents).map(|number| size(high, number) as u32), ids)
    }

    fn new(name: &'a str, sizes: impl Iterator<Item = u32>, ids: bool) -> Self {
        let config = Config::default().with_peer_ids(ids);
        let mut members = Vec::new();
        let mut torrents = 0;
        for (torrent, size) in (0..).zip(sizes) {
            torrents += 1;
            for _ in 0..size {
                let number = u32::try_from(members.len()).unwrap_or(u32::MAX);
                members.push(Member { torrent, number });
            }
        }
        let mut random = Random::with_seed(1);
        random.shuffle(&mut members);
        members.shrink_to_fit();
        Self {
            name,
            swarms: Swarms::new(config.swarms(), &Seed::new([1; 32])),
            random,
            members,
            torrents,
        }
    }

    /// Lets all peers come.
    pub(crate) fn fill(&mut self) {
        for index in 0..self.members.len() {
            let announce = self.members[index].announce(Event::Started);
            self.announce(&announce);
        }
    }

    pub(crate) fn peers(&self) -> usize {
        self.members.len()
    }

    /// Replaces every peer by a new one, in random order: the old one leaves, the new one comes.
    pub(crate) fn turn_over(&mut self) {
        let more = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        self.random.shuffle(&mut self.members);
        for index in 0..self.members.len() {
            let leave = self.members[index].announce(Event::Stopped);
            self.announce(&leave);
            self.members[index].number = self.members[index].number.wrapping_add(more);
            let come = self.members[index].announce(Event::Started);
            self.announce(&come);
        }
    }

    fn announce(&mut self, announce: &Announce) {
        let prepared = self.swarms.prepare(&announce.info_hash, &mut self.random);
        let mut peers = Handout::new(Family::V4, 0, &mut []);
        self.swarms
            .announce(NOW, announce, &prepared, &mut peers)
            .expect("there is room for all");
    }

    /// Announces of peers drawn at random: of a hundred ninety are regular, five leave and five come (back).
    pub(crate) fn announces(&mut self, count: usize, away: &mut Vec<usize>) -> Vec<Announce> {
        (0..count)
            .map(|_| {
                let index = self.random.usize(..self.members.len());
                match self.random.u8(..100) {
                    0..5 => {
                        away.push(index);
                        self.members[index].announce(Event::Stopped)
                    }
                    5..10 if !away.is_empty() => {
                        let index = away.swap_remove(self.random.usize(..away.len()));
                        self.members[index].announce(Event::Started)
                    }
                    _ => self.members[index].announce(Event::None),
                }
            })
            .collect()
    }
}

impl Member {
    fn announce(self, event: Event) -> Announce {
        let address = self.number.wrapping_mul(0x9e37_79b1) ^ 0x5bd1_e995;
        let port = (mix(self.number.into()) & 0xffff) as u16 | 2;
        Announce {
            info_hash: info_hash(self.torrent),
            peer_id: PeerId([b'x'; 20]),
            peer: Endpoint {
                ip: IpAddr::V4(Ipv4Addr::from_bits(address)),
                port,
            },
            left: u64::from(mix(u64::from(self.number) << 32) % 100 >= 60),
            event,
            numwant: None,
        }
    }
}

pub(crate) fn info_hash(torrent: u32) -> InfoHash {
    let mut bytes = [0; 20];
    for (number, chunk) in (0u64..).zip(bytes.chunks_mut(8)) {
        let word = mix(u64::from(torrent) | number << 32).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    InfoHash(bytes)
}

/// The finalizer of SplitMix64.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
