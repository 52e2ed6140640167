//! The plain store: ordinary ordered maps, written to be obviously right.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::{Bound, RangeInclusive};

use crate::announce::{Announce, Counts, Endpoint, Event, Family, Refusal};
use crate::config::SwarmConfig;
use crate::seed::{Key, Random};
use crate::time::Minute;
use crate::{InfoHash, PeerId};

use super::{Handout, Peer, Prepared, Room, Stage, Store, Swept, Totals, Visit};

/// The reference model of a store. Its choice of peers takes time proportional to the swarm, and a step of a sweep or a
/// walk ends after a whole torrent.
#[derive(Debug)]
pub struct Plain {
    config: SwarmConfig,
    torrents: BTreeMap<InfoHash, Torrent>,
}

impl Store for Plain {
    type Sweep = PlainPosition;
    type Walk = PlainPosition;

    fn new(config: &SwarmConfig, _key: Key) -> Self {
        Self {
            config: *config,
            torrents: BTreeMap::new(),
        }
    }

    fn announce(
        &mut self,
        now: Minute,
        announce: &Announce,
        mut prepared: Prepared,
        room: Room,
        peers: &mut Handout<'_>,
    ) -> Result<Counts, Refusal> {
        if announce.event == Event::Stopped {
            self.remove_peer(now, announce.info_hash, announce.peer);
        } else {
            if announce.is_reachable() {
                self.store_peer(now, announce, room)?;
            }
            self.hand_out(now, announce, &mut prepared.random, peers);
        }
        Ok(self.scrape(&announce.info_hash, prepared.hash))
    }

    fn restore(
        &mut self,
        vacated: Minute,
        info_hash: &InfoHash,
        _: u64,
        downloaded: u32,
        room: Room,
    ) -> bool {
        if downloaded == 0 || room == Room::None || self.torrents.contains_key(info_hash) {
            return false;
        }
        let torrent = Torrent {
            downloaded,
            emptied: Some(vacated),
            ..Torrent::default()
        };
        self.torrents.insert(*info_hash, torrent);
        true
    }

    fn hint<H: Fn(*const u8) + Copy>(&self, _: Stage, _: &Announce, _: &mut Prepared, _: H) {}

    fn scrape(&self, info_hash: &InfoHash, _: u64) -> Counts {
        self.torrents
            .get(info_hash)
            .map_or_else(Counts::default, Torrent::counts)
    }

    fn remove(&mut self, info_hash: &InfoHash, _: u64) -> bool {
        self.torrents.remove(info_hash).is_some()
    }

    fn sweep(&mut self, now: Minute, work: usize, position: &mut PlainPosition) -> Swept {
        let mut swept = Swept::default();
        let mut left = work.max(1);
        while left > 0 {
            let Some((&info_hash, torrent)) = self.torrents.range_mut(position.ahead()).next() else {
                *position = PlainPosition::default();
                swept.done = true;
                break;
            };
            left = left.saturating_sub(1 + torrent.peers.len());
            let too_old = |since| self.config.is_too_old(now, since);
            swept.peers_removed += torrent.expire(too_old);
            swept.swarm_max = swept.swarm_max.max(torrent.seeders + torrent.leechers);
            if !torrent.stays(now) || torrent.emptied.is_some_and(too_old) {
                self.torrents.remove(&info_hash);
                swept.torrents_removed += 1;
            }
            position.passed = Some(info_hash);
        }
        swept
    }

    fn walk(&self, work: usize, position: &mut PlainPosition, visit: &mut dyn Visit) -> bool {
        let mut left = work.max(1);
        while left > 0 {
            let Some((info_hash, torrent)) = self.torrents.range(position.ahead()).next() else {
                return true;
            };
            left = left.saturating_sub(1 + torrent.peers.len());
            visit.torrent(info_hash, torrent.counts());
            for (endpoint, entry) in &torrent.peers {
                visit.peer(info_hash, &entry.peer(&self.config, *endpoint));
            }
            position.passed = Some(*info_hash);
        }
        false
    }

    fn torrents(&self) -> u64 {
        self.torrents.len() as u64
    }

    fn totals(&self) -> Totals {
        let mut totals = Totals {
            torrents: self.torrents(),
            ..Totals::default()
        };
        let peers = self.torrents.values().flat_map(|torrent| &torrent.peers);
        for (endpoint, entry) in peers {
            *totals.of_mut(endpoint.family(), entry.seeder) += 1;
        }
        totals
    }
}

impl Plain {
    fn store_peer(&mut self, now: Minute, announce: &Announce, room: Room) -> Result<(), Refusal> {
        let known = self
            .torrents
            .get(&announce.info_hash)
            .and_then(|torrent| torrent.peers.get(&announce.peer))
            .copied();
        if known.is_none() {
            self.check_room(announce, room)?;
        }
        let torrent = self.torrents.entry(announce.info_hash).or_default();
        match known {
            Some(entry) => *torrent.count_mut(entry.seeder) -= 1,
            None => torrent.emptied = None,
        }
        *torrent.count_mut(announce.is_seeder()) += 1;
        let been_seeder = known.is_some_and(|entry| entry.been_seeder);
        if announce.event == Event::Completed && announce.is_seeder() && !been_seeder {
            torrent.downloaded = torrent.downloaded.saturating_add(1);
        }
        let id = if self.config.peer_ids() {
            announce.peer_id
        } else {
            PeerId::default()
        };
        let entry = Entry {
            seeder: announce.is_seeder(),
            been_seeder: been_seeder || announce.is_seeder(),
            announced: now,
            id,
        };
        torrent.peers.insert(announce.peer, entry);
        Ok(())
    }

    /// Whether a peer that is not known yet may come in.
    fn check_room(&self, announce: &Announce, room: Room) -> Result<(), Refusal> {
        let Some(torrent) = self.torrents.get(&announce.info_hash) else {
            return if room == Room::Some {
                Ok(())
            } else {
                Err(Refusal::TorrentsFull)
            };
        };
        if torrent.seeders + torrent.leechers >= self.config.peers_per_torrent_max() {
            return Err(Refusal::SwarmFull);
        }
        let Some(max) = self.config.peers_of_address_max(announce.peer.ip) else {
            return Ok(());
        };
        let neighbours = torrent.peers.range(same_address(announce.peer.ip));
        if neighbours.take(max as usize).count() < max as usize {
            Ok(())
        } else {
            Err(Refusal::AddressFull)
        }
    }

    fn remove_peer(&mut self, now: Minute, info_hash: InfoHash, peer: Endpoint) {
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        let Some(entry) = torrent.peers.remove(&peer) else {
            return;
        };
        *torrent.count_mut(entry.seeder) -= 1;
        if !torrent.stays(now) {
            self.torrents.remove(&info_hash);
        }
    }

    /// Hands out a uniform choice: each eligible peer is taken with probability wanted / left to look at.
    fn hand_out(&self, now: Minute, announce: &Announce, random: &mut Random, peers: &mut Handout<'_>) {
        let Some(torrent) = self.torrents.get(&announce.info_hash) else {
            return;
        };
        if peers.wanted() == 0 {
            return;
        }
        let family = torrent.peers.range(all_of_family(announce.peer.family()));
        let eligible = family.filter(|(endpoint, entry)| {
            !(announce.is_seeder() && entry.seeder)
                && **endpoint != announce.peer
                && !self.config.is_too_old(now, entry.announced)
        });
        let eligible: Vec<_> = eligible.collect();
        for (left, (endpoint, entry)) in (1..=eligible.len()).rev().zip(eligible) {
            if random.usize(..left) < peers.wanted() {
                peers.push(*endpoint, entry.id);
            }
        }
    }
}

/// Where a sweep or a walk of a [`Plain`] store has got to: the last torrent that was passed.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainPosition {
    passed: Option<InfoHash>,
}

impl PlainPosition {
    fn ahead(self) -> (Bound<InfoHash>, Bound<InfoHash>) {
        (
            self.passed.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        )
    }
}

#[derive(Clone, Debug, Default)]
struct Torrent {
    peers: BTreeMap<Endpoint, Entry>,
    seeders: u32,
    leechers: u32,
    downloaded: u32,
    /// When the last peer left; nothing while there are peers.
    emptied: Option<Minute>,
}

impl Torrent {
    const fn counts(&self) -> Counts {
        Counts {
            complete: self.seeders,
            incomplete: self.leechers,
            downloaded: self.downloaded,
        }
    }

    const fn count_mut(&mut self, seeder: bool) -> &mut u32 {
        if seeder {
            &mut self.seeders
        } else {
            &mut self.leechers
        }
    }

    /// Removes the peers that have been silent for too long. Returns how many they were.
    fn expire(&mut self, too_old: impl Fn(Minute) -> bool) -> u64 {
        let Self {
            peers,
            seeders,
            leechers,
            ..
        } = self;
        let before = peers.len();
        peers.retain(|_, entry| {
            let stays = !too_old(entry.announced);
            if !stays {
                *(if entry.seeder {
                    &mut *seeders
                } else {
                    &mut *leechers
                }) -= 1;
            }
            stays
        });
        (before - peers.len()) as u64
    }

    /// Notes when the last peer has left. Whether the torrent is remembered without peers, if it has none.
    fn stays(&mut self, now: Minute) -> bool {
        if !self.peers.is_empty() {
            return true;
        }
        self.emptied.get_or_insert(now);
        self.downloaded > 0
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seeder: bool,
    been_seeder: bool,
    announced: Minute,
    id: PeerId,
}

impl Entry {
    const fn peer(&self, config: &SwarmConfig, endpoint: Endpoint) -> Peer {
        let step = config.minutes_per_step();
        Peer {
            endpoint,
            id: self.id,
            seeder: self.seeder,
            been_seeder: self.been_seeder,
            announced: Minute::new(self.announced.get() / step * step),
        }
    }
}

const FIRST: Endpoint = Endpoint {
    ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    port: 0,
};
const LAST_V4: Endpoint = Endpoint {
    ip: IpAddr::V4(Ipv4Addr::BROADCAST),
    port: u16::MAX,
};
const FIRST_V6: Endpoint = Endpoint {
    ip: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    port: 0,
};
const LAST: Endpoint = Endpoint {
    ip: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
    port: u16::MAX,
};

const fn all_of_family(family: Family) -> RangeInclusive<Endpoint> {
    match family {
        Family::V4 => FIRST..=LAST_V4,
        Family::V6 => FIRST_V6..=LAST,
    }
}

/// The peers that count as one address: the same IPv4 address, or the same IPv6 /64.
fn same_address(ip: IpAddr) -> RangeInclusive<Endpoint> {
    let (first, last) = match ip {
        IpAddr::V4(_) => (ip, ip),
        IpAddr::V6(ip) => {
            let host = u128::from(u64::MAX);
            (
                Ipv6Addr::from_bits(ip.to_bits() & !host).into(),
                Ipv6Addr::from_bits(ip.to_bits() | host).into(),
            )
        }
    };
    Endpoint { ip: first, port: 0 }..=Endpoint {
        ip: last,
        port: u16::MAX,
    }
}
