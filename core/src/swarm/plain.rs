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

/// The reference model of a store. Its choice of peers takes time proportional to the swarm.
#[derive(Debug)]
pub struct Plain {
    config: SwarmConfig,
    torrents: BTreeMap<InfoHash, Torrent>,
    /// Invariant: every key's torrent is in `torrents`.
    peers: BTreeMap<(InfoHash, Endpoint), Entry>,
}

impl Store for Plain {
    type Sweep = PlainSweep;
    type Walk = PlainWalk;

    fn new(config: &SwarmConfig, _key: Key) -> Self {
        Self {
            config: *config,
            torrents: BTreeMap::new(),
            peers: BTreeMap::new(),
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
            self.store_peer(now, announce, room)?;
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
        let endpoints: Vec<_> = self
            .peers
            .range(all_of(*info_hash))
            .map(|(key, _)| *key)
            .collect();
        for key in endpoints {
            self.peers.remove(&key);
        }
        self.torrents.remove(info_hash).is_some()
    }

    fn sweep(&mut self, now: Minute, work: usize, position: &mut PlainSweep) -> Swept {
        match *position {
            PlainSweep::Peers(from) => self.sweep_peers(now, work, from, position),
            PlainSweep::Torrents(from) => self.sweep_torrents(now, work, from, position),
        }
    }

    fn walk(&self, work: usize, position: &mut PlainWalk, visit: &mut dyn Visit) -> bool {
        let mut shown = 0;
        while shown < work.max(1) {
            if let Some((info_hash, last)) = position.last {
                let from = last.map_or(Bound::Included((info_hash, FIRST)), |last| {
                    Bound::Excluded((info_hash, last))
                });
                let rest = self.peers.range((from, Bound::Included((info_hash, LAST))));
                if let Some((&(_, endpoint), entry)) = rest.into_iter().next() {
                    visit.peer(&info_hash, &entry.peer(endpoint));
                    position.last = Some((info_hash, Some(endpoint)));
                    shown += 1;
                    continue;
                }
            }
            let from = position
                .last
                .map_or(Bound::Unbounded, |(info_hash, _)| Bound::Excluded(info_hash));
            let Some((info_hash, torrent)) = self.torrents.range((from, Bound::Unbounded)).next() else {
                return true;
            };
            visit.torrent(info_hash, torrent.counts());
            position.last = Some((*info_hash, None));
            shown += 1;
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
        for ((_, endpoint), entry) in &self.peers {
            *totals.of_mut(endpoint.family(), entry.seeder) += 1;
        }
        totals
    }
}

impl Plain {
    fn store_peer(&mut self, now: Minute, announce: &Announce, room: Room) -> Result<(), Refusal> {
        let key = (announce.info_hash, announce.peer);
        let known = self.peers.get(&key).copied();
        if known.is_none() {
            self.admit(announce, room)?;
        }
        let torrent = self.torrents.entry(announce.info_hash).or_default();
        match known {
            Some(entry) => *torrent.count_mut(entry.seeder) -= 1,
            None => torrent.emptied = None,
        }
        *torrent.count_mut(announce.is_seeder()) += 1;
        let was_seeder = known.is_some_and(|entry| entry.seeder);
        if announce.event == Event::Completed && announce.is_seeder() && !was_seeder {
            torrent.downloaded = torrent.downloaded.saturating_add(1);
        }
        let id = if self.config.peer_ids {
            announce.peer_id
        } else {
            PeerId::default()
        };
        self.peers.insert(
            key,
            Entry {
                seeder: announce.is_seeder(),
                announced: now,
                id,
            },
        );
        Ok(())
    }

    /// Whether a peer that is not known yet may come in.
    fn admit(&self, announce: &Announce, room: Room) -> Result<(), Refusal> {
        let Some(torrent) = self.torrents.get(&announce.info_hash) else {
            return if room == Room::Some {
                Ok(())
            } else {
                Err(Refusal::TorrentsFull)
            };
        };
        if torrent.seeders + torrent.leechers >= self.config.peers_per_torrent_max {
            return Err(Refusal::SwarmFull);
        }
        let Some(max) = self.config.peers_of_address_max(announce.peer.ip) else {
            return Ok(());
        };
        let neighbours = self
            .peers
            .range(same_address(announce.info_hash, announce.peer.ip))
            .take(max as usize);
        if neighbours.count() < max as usize {
            Ok(())
        } else {
            Err(Refusal::AddressFull)
        }
    }

    fn remove_peer(&mut self, now: Minute, info_hash: InfoHash, peer: Endpoint) {
        let Some(entry) = self.peers.remove(&(info_hash, peer)) else {
            return;
        };
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return;
        };
        *torrent.count_mut(entry.seeder) -= 1;
        if torrent.seeders + torrent.leechers > 0 {
            return;
        }
        torrent.emptied = Some(now);
        if torrent.downloaded == 0 {
            self.torrents.remove(&info_hash);
        }
    }

    /// Hands out a uniform choice: each eligible peer is taken with probability wanted / left to look at.
    fn hand_out(&self, now: Minute, announce: &Announce, random: &mut Random, peers: &mut Handout<'_>) {
        let eligible = || {
            let family = self
                .peers
                .range(all_of_family(announce.info_hash, announce.peer.family()));
            family.filter(|((_, endpoint), entry)| {
                *endpoint != announce.peer
                    && !(announce.is_seeder() && entry.seeder)
                    && !self.is_too_old(now, entry.announced)
            })
        };
        let mut left = eligible().count();
        for ((_, endpoint), entry) in eligible() {
            if random.usize(..left) < peers.wanted() {
                peers.push(*endpoint, entry.id);
            }
            left -= 1;
        }
    }

    fn sweep_peers(&mut self, now: Minute, work: usize, from: PeerKey, position: &mut PlainSweep) -> Swept {
        let mut swept = Swept::default();
        let step: Vec<_> = self
            .peers
            .range(from..)
            .take(work.max(1) + 1)
            .map(|(key, entry)| (*key, *entry))
            .collect();
        let (step, next) = step.split_at(step.len().min(work.max(1)));
        for ((info_hash, endpoint), entry) in step {
            if self.is_too_old(now, entry.announced) {
                let torrents = self.torrents.len();
                self.remove_peer(now, *info_hash, *endpoint);
                swept.peers_removed += 1;
                swept.torrents_removed += (torrents - self.torrents.len()) as u64;
            }
        }
        *position = next
            .first()
            .map_or(PlainSweep::TORRENTS, |(key, _)| PlainSweep::Peers(*key));
        swept
    }

    fn sweep_torrents(
        &mut self,
        now: Minute,
        work: usize,
        from: InfoHash,
        position: &mut PlainSweep,
    ) -> Swept {
        let mut swept = Swept::default();
        let step: Vec<_> = self
            .torrents
            .range(from..)
            .take(work.max(1) + 1)
            .map(|(key, torrent)| (*key, torrent.emptied, torrent.seeders + torrent.leechers))
            .collect();
        let (step, next) = step.split_at(step.len().min(work.max(1)));
        for (info_hash, emptied, peers) in step {
            swept.swarm_max = swept.swarm_max.max(*peers);
            if emptied.is_some_and(|emptied| self.is_too_old(now, emptied)) {
                self.torrents.remove(info_hash);
                swept.torrents_removed += 1;
            }
        }
        swept.done = next.is_empty();
        *position = next
            .first()
            .map_or_else(PlainSweep::default, |(key, ..)| PlainSweep::Torrents(*key));
        swept
    }

    fn is_too_old(&self, now: Minute, since: Minute) -> bool {
        now.saturating_since(since) > self.config.peer_age_max_minutes
    }
}

/// Where a sweep of a [`Plain`] store has got to: first all peers, then the torrents without any.
#[derive(Clone, Copy, Debug)]
pub enum PlainSweep {
    /// The next peer.
    Peers((InfoHash, Endpoint)),
    /// The next torrent.
    Torrents(InfoHash),
}

impl PlainSweep {
    const TORRENTS: Self = Self::Torrents(InfoHash([0; 20]));
}

impl Default for PlainSweep {
    fn default() -> Self {
        Self::Peers((InfoHash::default(), FIRST))
    }
}

/// Where a walk of a [`Plain`] store has got to: the last torrent shown, and its last peer shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainWalk {
    last: Option<(InfoHash, Option<Endpoint>)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Torrent {
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
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seeder: bool,
    announced: Minute,
    id: PeerId,
}

impl Entry {
    const fn peer(&self, endpoint: Endpoint) -> Peer {
        Peer {
            endpoint,
            id: self.id,
            seeder: self.seeder,
            announced: self.announced,
        }
    }
}

type PeerKey = (InfoHash, Endpoint);

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

const fn all_of(info_hash: InfoHash) -> RangeInclusive<PeerKey> {
    (info_hash, FIRST)..=(info_hash, LAST)
}

const fn all_of_family(info_hash: InfoHash, family: Family) -> RangeInclusive<PeerKey> {
    match family {
        Family::V4 => (info_hash, FIRST)..=(info_hash, LAST_V4),
        Family::V6 => (info_hash, FIRST_V6)..=(info_hash, LAST),
    }
}

/// The peers that count as one address: the same IPv4 address, or the same IPv6 /64.
fn same_address(info_hash: InfoHash, ip: IpAddr) -> RangeInclusive<PeerKey> {
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
    (info_hash, Endpoint { ip: first, port: 0 })
        ..=(
            info_hash,
            Endpoint {
                ip: last,
                port: u16::MAX,
            },
        )
}
