//! The plain store: ordinary ordered maps, written to be obviously right.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::{Bound, RangeInclusive};

use crate::announce::{Change, Counts, Endpoint, Family, Refusal};
use crate::config::SwarmConfig;
use crate::prefetch::Prefetch;
use crate::seed::Key;
use crate::time::Minute;
use crate::{InfoHash, PeerId};

use super::spread::Quota;
use super::{Arrival, Handout, Member, Peer, Prepared, Room, Store, Swept, Taken, Totals, Visit};

/// The reference model of a store. Its choice of peers takes time proportional to the swarm, and a step of a sweep or a
/// walk ends after a whole torrent.
#[derive(Debug)]
pub(crate) struct Plain {
    config: SwarmConfig,
    torrents: BTreeMap<InfoHash, Torrent>,
}

impl Store for Plain {
    type Sweep = PlainPosition;
    type Walk = PlainPosition;
    type Stored = ();
    type Prefetched = ();
    type Stage = ();

    const STAGES: &'static [()] = &[];

    fn new(config: &SwarmConfig, _key: Key) -> Self {
        Self {
            config: *config,
            torrents: BTreeMap::new(),
        }
    }

    fn put(&mut self, arrival: &Arrival<'_>, _: &Prepared<()>, room: Room) -> Result<(Change, ()), Refusal> {
        let Member { info_hash, peer, .. } = arrival.member;
        let torrent = self.torrents.get(info_hash);
        let known = torrent.and_then(|torrent| torrent.peers.get(peer)).copied();
        if known.is_none() {
            self.check_room(info_hash, peer.ip, room, arrival.is_admitted)?;
        }
        Ok((self.store_peer(arrival, known), ()))
    }

    fn take(&mut self, now: Minute, member: &Member<'_>, hash: u64) -> Taken {
        let peer = self.remove_peer(now, *member.info_hash, *member.peer);
        Taken {
            peer,
            counts: self.scrape(member.info_hash, hash),
        }
    }

    /// A uniform choice: each eligible peer is taken with probability wanted / left to look at.
    fn choose(
        &self,
        now: Minute,
        member: &Member<'_>,
        _: Option<()>,
        prepared: &Prepared<()>,
        peers: &mut Handout<'_>,
    ) -> Counts {
        let Some(torrent) = self.torrents.get(member.info_hash) else {
            return Counts::default();
        };
        let mut random = prepared.random.clone();
        let family = torrent.peers.range(all_of_family(member.peer.family()));
        let eligible = family.filter(|(endpoint, entry)| {
            !(member.seeder && entry.seeder)
                && *endpoint != member.peer
                && !self.config.is_too_old(now, entry.announced)
        });
        let mut eligible: Vec<_> = eligible.collect();
        let wanted = peers.wanted();
        for (left, (endpoint, entry)) in (1..=eligible.len()).rev().zip(&eligible) {
            if random.usize(..left) < peers.wanted() {
                peers.push(**endpoint, entry.id);
            }
        }
        if eligible.len() > wanted && !member.peer.ip.is_loopback() && peers.crowds().is_some() {
            random.shuffle(&mut eligible);
            let mut quota = Quota::new(wanted);
            peers.clear();
            for (endpoint, entry) in eligible {
                peers.push_within(*endpoint, entry.id, &mut quota);
            }
            peers.take_spare();
        }
        torrent.counts()
    }

    fn restore(
        &mut self,
        vacated: Minute,
        info_hash: &InfoHash,
        _: u64,
        downloaded: u32,
        room: Room,
    ) -> bool {
        if downloaded == 0 || room != Room::Some || self.torrents.contains_key(info_hash) {
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

    fn is_due((): (), (): &()) -> bool {
        false
    }

    fn prefetch(&self, (): (), _: &Member<'_>, _: &mut Prepared<()>, _: &impl Prefetch) {}

    fn scrape(&self, info_hash: &InfoHash, _: u64) -> Counts {
        self.torrents
            .get(info_hash)
            .map_or_else(Counts::default, Torrent::counts)
    }

    fn peer(&self, member: &Member<'_>, _: u64) -> Option<Peer> {
        let entry = self.torrents.get(member.info_hash)?.peers.get(member.peer)?;
        Some(entry.peer(&self.config, *member.peer))
    }

    fn set_downloaded(&mut self, info_hash: &InfoHash, _: u64, downloaded: u32) -> bool {
        let torrent = self.torrents.get_mut(info_hash);
        let known = torrent.map(|torrent| torrent.downloaded = downloaded);
        known.is_some()
    }

    fn remove(&mut self, info_hash: &InfoHash, _: u64) -> bool {
        self.torrents.remove(info_hash).is_some()
    }

    fn is_idle(&self, since: Minute, info_hash: &InfoHash, _: u64) -> bool {
        self.torrents.get(info_hash).is_some_and(|torrent| {
            torrent.peers.len() <= 1 && torrent.peers.values().all(|entry| entry.announced <= since)
        })
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
    fn store_peer(&mut self, arrival: &Arrival<'_>, known: Option<Entry>) -> Change {
        let Member {
            info_hash,
            peer,
            seeder,
        } = arrival.member;
        let torrent = self.torrents.entry(*info_hash).or_default();
        match known {
            Some(entry) => *torrent.count_mut(entry.seeder) -= 1,
            None => torrent.emptied = None,
        }
        *torrent.count_mut(seeder) += 1;
        let been_seeder = known.is_some_and(|entry| entry.been_seeder);
        let completed = arrival.completes() && !been_seeder;
        if completed {
            torrent.downloaded = torrent.downloaded.saturating_add(1);
        }
        let id = if self.config.peer_ids() {
            *arrival.id
        } else {
            PeerId::default()
        };
        let entry = Entry {
            seeder,
            been_seeder: been_seeder || arrival.been_seeder || seeder,
            announced: arrival.announced,
            id,
        };
        torrent.peers.insert(*peer, entry);
        known.map_or(Change::Added { completed }, |before| Change::Renewed {
            after_minutes: self.minutes_between(before.announced, arrival.announced),
            was_seeder: before.seeder,
            completed,
        })
    }

    /// Minutes between the first minutes of two steps.
    fn minutes_between(&self, earlier: Minute, later: Minute) -> u32 {
        let first = |minute| first_of_step(&self.config, minute);
        first(later).saturating_since(first(earlier))
    }

    /// Whether a peer that is not known yet may come in.
    fn check_room(
        &self,
        info_hash: &InfoHash,
        ip: IpAddr,
        room: Room,
        is_admitted: bool,
    ) -> Result<(), Refusal> {
        let Some(torrent) = self.torrents.get(info_hash) else {
            return if room == Room::Some {
                Ok(())
            } else {
                Err(Refusal::TorrentsFull)
            };
        };
        if torrent.seeders + torrent.leechers >= self.config.peers_per_torrent_max() {
            return Err(Refusal::SwarmFull);
        }
        let Some(max) = self.config.peers_of_address_max(ip).filter(|_| !is_admitted) else {
            return Ok(());
        };
        let neighbours = torrent.peers.range(same_address(ip));
        if neighbours.take(max as usize).count() < max as usize {
            Ok(())
        } else {
            Err(Refusal::AddressFull)
        }
    }

    fn remove_peer(&mut self, now: Minute, info_hash: InfoHash, peer: Endpoint) -> Option<Peer> {
        let torrent = self.torrents.get_mut(&info_hash)?;
        let entry = torrent.peers.remove(&peer)?;
        *torrent.count_mut(entry.seeder) -= 1;
        if !torrent.stays(now) {
            self.torrents.remove(&info_hash);
        }
        Some(entry.peer(&self.config, peer))
    }
}

/// Where a sweep or a walk of a [`Plain`] store has got to: the last torrent that was passed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlainPosition {
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
        Peer {
            endpoint,
            id: self.id,
            seeder: self.seeder,
            been_seeder: self.been_seeder,
            announced: first_of_step(config, self.announced),
        }
    }
}

const fn first_of_step(config: &SwarmConfig, minute: Minute) -> Minute {
    let step = config.minutes_per_step();
    Minute::new(minute.get() / step * step)
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
