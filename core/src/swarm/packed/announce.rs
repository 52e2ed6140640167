//! One announce.

use crate::announce::{Announce, Counts, Event, Family, Refusal};
use crate::swarm::{Handout, Prepared, Room};

use super::Packed;
use super::choose::{self, Asker};
use super::compact::Compact;
use super::page::{Record, SMALL_MAX, Small, TORRENTS_MAX};
use super::set::Newcomer;
use super::stamp::{BEEN_SEEDER, SEEDER, Tick};
use super::swarm::Swarm;
use super::work;

impl Packed {
    /// Carries out an announce of a peer that stays or comes.
    pub(super) fn take_part(
        &mut self,
        now: Tick,
        announce: &Announce,
        prepared: Prepared,
        room: Room,
        peers: &mut Handout<'_>,
    ) -> Result<Counts, Refusal> {
        let index = self.page_of(prepared.hash);
        let found = self
            .pages
            .get(index)
            .and_then(|page| page.find(&self.rules, &announce.info_hash));
        match found {
            None => self.found(now, index, announce, room),
            Some(record) => {
                let torrent = Torrent { index, record };
                if record.is_large() {
                    self.in_swarm(now, &torrent, announce, prepared, peers)
                } else {
                    self.in_page(now, torrent, announce, prepared, peers)
                }
            }
        }
    }

    /// Begins a torrent.
    fn found(&mut self, now: Tick, index: usize, announce: &Announce, room: Room) -> Result<Counts, Refusal> {
        let peer = newcomer(now, announce);
        let torrents = self.pages.get(index).map_or(TORRENTS_MAX, super::Page::torrents);
        if room == Room::None || torrents >= TORRENTS_MAX {
            return Err(Refusal::TorrentsFull);
        }
        let downloaded = u32::from(completes(announce));
        let counts = self.edit(index, |page, rules| {
            let window = page.reach(rules, now);
            let record = page.add(window, &announce.info_hash);
            let mut record = page.add_peer(rules, &record, &peer.entry(window));
            if downloaded > 0 {
                record = page.set_downloaded(rules, &record, downloaded);
            }
            page.counts(rules, &page.small(rules, &record))
        });
        self.totals.torrents += 1;
        *self.totals.of_mut(peer.endpoint.family, peer.seeder) += 1;
        self.split();
        Ok(counts)
    }

    /// Carries out an announce in a torrent that has its peers in the page.
    fn in_page(
        &mut self,
        now: Tick,
        torrent: Torrent,
        announce: &Announce,
        mut prepared: Prepared,
        peers: &mut Handout<'_>,
    ) -> Result<Counts, Refusal> {
        let Torrent { index, mut record } = torrent;
        let peer = newcomer(now, announce);
        let (family, rules) = (peer.endpoint.family, &self.rules);
        let shape = rules.shape(family);
        let Some(page) = self.pages.get_mut(index) else {
            return Ok(Counts::default());
        };
        let before = page.len();
        let mut small = page.small(rules, &record);
        let columns = page.columns(rules, &small, family);
        let known = columns.position(&peer.endpoint);
        let stamp = known.map_or(0, |known| columns.stamp(known));
        let was_seeder = stamp & SEEDER != 0;
        if known.is_none() {
            let held = small.peers(rules);
            let limit = rules.config.peers_of_address_max(announce.peer.ip);
            check_room(rules.config.peers_per_torrent_max(), held, limit, || {
                columns.of_address(&peer.endpoint)
            })?;
            if held == SMALL_MAX {
                let record = self.enlarge(now, index, &record)?;
                let torrent = Torrent { index, record };
                return self.in_swarm(now, &torrent, announce, prepared, peers);
            }
        }
        let entry = peer.entry(page.reach(rules, now));
        let own = known.unwrap_or_else(|| columns_len(&small, shape));
        match known {
            Some(known) => page.renew(shape, &small, known, &entry),
            None => record = page.add_peer(rules, &record, &entry),
        }
        if completes(announce) && stamp & BEEN_SEEDER == 0 {
            record = page.set_downloaded(rules, &record, small.downloaded.saturating_add(1));
        }
        small = page.small(rules, &record);
        let wanted = rules.wanted(page.window(), now, !peer.seeder);
        let columns = page.columns(rules, &small, family);
        choose::from_page(&columns, wanted, own, &mut prepared.random, peers);
        let counts = page.counts(rules, &small);
        self.bytes = self.bytes + page.len() - before;
        if known.is_some() {
            *self.totals.of_mut(family, was_seeder) -= 1;
        }
        *self.totals.of_mut(family, peer.seeder) += 1;
        if known.is_none() {
            self.split();
        }
        Ok(counts)
    }

    /// Gives a torrent whose page has no room for its next peer a large swarm.
    fn enlarge(&mut self, now: Tick, index: usize, record: &Record) -> Result<Record, Refusal> {
        let page = self.pages.get(index).ok_or(Refusal::SwarmFull)?;
        let small = page.small(&self.rules, record);
        let mut swarm = Swarm::new(small.downloaded);
        for family in [Family::V4, Family::V6] {
            for entry in page.columns(&self.rules, &small, family).entries() {
                let peer = Newcomer::of_entry(&entry, page.window());
                let hash = self.rules.peer_hash(&peer.endpoint);
                swarm.insert(&self.rules, now, hash, &peer);
            }
        }
        work::moved(SMALL_MAX);
        let number = self.swarms.insert(swarm).ok_or(Refusal::SwarmFull)?;
        let large = self.edit(index, |page, rules| Some(page.set_large(rules, record, number)));
        large.ok_or(Refusal::SwarmFull)
    }

    /// Carries out an announce in a torrent that has a large swarm.
    fn in_swarm(
        &mut self,
        now: Tick,
        torrent: &Torrent,
        announce: &Announce,
        mut prepared: Prepared,
        peers: &mut Handout<'_>,
    ) -> Result<Counts, Refusal> {
        let mut peer = newcomer(now, announce);
        let (family, rules) = (peer.endpoint.family, &self.rules);
        let shape = rules.shape(family);
        let page = self.pages.get(torrent.index);
        let number = page.map_or(u32::MAX, |page| page.large(&torrent.record));
        let Some(swarm) = self.swarms.get_mut(number) else {
            return Ok(Counts::default());
        };
        let hash = prepared.path.peer();
        let hash = hash.unwrap_or_else(|| rules.peer_hash(&peer.endpoint));
        let known = swarm.find(rules, hash, &peer.endpoint, peer.seeder);
        let has_been = |(seeder, place)| swarm.has_been_seeder(shape, seeder, place);
        let downloads = completes(announce) && !known.is_some_and(has_been);
        match known {
            Some((seeder, place)) if seeder == peer.seeder => {
                swarm.set_mut(family, seeder).renew(rules, now, place, &peer);
            }
            Some((seeder, place)) => {
                peer.been_seeder |= seeder;
                swarm.set_mut(family, seeder).remove(shape, place);
                swarm.insert(rules, now, hash, &peer);
            }
            None => {
                let limit = rules.config.peers_of_address_max(announce.peer.ip);
                let max = rules.config.peers_per_torrent_max();
                check_room(max, swarm.len() as usize, limit, || {
                    swarm.of_address(rules, hash, &peer.endpoint)
                })?;
                swarm.insert(rules, now, hash, &peer);
            }
        }
        swarm.downloaded = swarm.downloaded.saturating_add(downloads.into());
        if let Some((was_seeder, _)) = known {
            *self.totals.of_mut(family, was_seeder) -= 1;
        }
        *self.totals.of_mut(family, peer.seeder) += 1;
        let own = match known {
            Some((seeder, place)) if seeder == peer.seeder => Some(place),
            _ => swarm.set(family, peer.seeder).find(shape, hash, &peer.endpoint),
        };
        let asker = Asker {
            family,
            seeder: peer.seeder,
            own,
            starts: prepared.path.starts(),
        };
        choose::from_swarm(swarm, rules, now, &asker, &mut prepared.random, peers);
        Ok(swarm.counts())
    }

    /// Hands out peers to one that is not stored.
    pub(super) fn look(
        &self,
        now: Tick,
        announce: &Announce,
        mut prepared: Prepared,
        peers: &mut Handout<'_>,
    ) -> Counts {
        let (family, seeder) = (announce.peer.family(), announce.is_seeder());
        let (rules, random) = (&self.rules, &mut prepared.random);
        let page = self.pages.get(self.page_of(prepared.hash));
        let Some((page, record)) = page.and_then(|page| Some((page, page.find(rules, &announce.info_hash)?)))
        else {
            return Counts::default();
        };
        if !record.is_large() {
            let small = page.small(rules, &record);
            let wanted = rules.wanted(page.window(), now, !seeder);
            let columns = page.columns(rules, &small, family);
            choose::from_page(&columns, wanted, usize::MAX, random, peers);
            return page.counts(rules, &small);
        }
        let Some(swarm) = self.swarms.get(page.large(&record)) else {
            return Counts::default();
        };
        let asker = Asker {
            family,
            seeder,
            own: None,
            starts: prepared.path.starts(),
        };
        choose::from_swarm(swarm, rules, now, &asker, random, peers);
        swarm.counts()
    }

    /// Carries out an announce of a peer that leaves.
    pub(super) fn leave(&mut self, now: Tick, announce: &Announce, hash: u64) -> Counts {
        let index = self.page_of(hash);
        let page = self.pages.get(index);
        let Some((page, record)) =
            page.and_then(|page| Some((page, page.find(&self.rules, &announce.info_hash)?)))
        else {
            return Counts::default();
        };
        let endpoint = Compact::from(announce.peer);
        let removed = if record.is_large() {
            let number = page.large(&record);
            self.leave_swarm(now, index, &record, number, &newcomer(now, announce))
        } else {
            self.leave_page(now, index, &record, &endpoint)
        };
        if let Some(seeder) = removed {
            *self.totals.of_mut(endpoint.family, seeder) -= 1;
            self.rejoin();
        }
        crate::swarm::Store::scrape(self, &announce.info_hash, hash)
    }

    /// Returns whether it was a seeder, if it was there.
    fn leave_swarm(
        &mut self,
        now: Tick,
        index: usize,
        record: &Record,
        number: u32,
        peer: &Newcomer,
    ) -> Option<bool> {
        let swarm = self.swarms.get_mut(number)?;
        let endpoint = &peer.endpoint;
        let hash = self.rules.peer_hash(endpoint);
        let (seeder, place) = swarm.find(&self.rules, hash, endpoint, peer.seeder)?;
        swarm
            .set_mut(endpoint.family, seeder)
            .remove(self.rules.shape(endpoint.family), place);
        self.settle(now, index, record);
        Some(seeder)
    }

    /// Returns whether it was a seeder, if it was there.
    fn leave_page(&mut self, now: Tick, index: usize, record: &Record, endpoint: &Compact) -> Option<bool> {
        let page = self.pages.get(index)?;
        let columns = page.columns(&self.rules, &page.small(&self.rules, record), endpoint.family);
        let position = columns.position(endpoint)?;
        let seeder = columns.stamp(position) & SEEDER != 0;
        let mut keep = [true; SMALL_MAX];
        if let Some(keep) = keep.get_mut(position) {
            *keep = false;
        }
        let stays = self.edit(index, |page, rules| {
            let stamp = page.reach(rules, now).stamp(now);
            let shape = rules.shape(endpoint.family);
            page.retain(rules, record, shape, &keep, stamp).is_some()
        });
        self.totals.torrents -= u64::from(!stays);
        Some(seeder)
    }
}

fn newcomer(now: Tick, announce: &Announce) -> Newcomer {
    Newcomer {
        endpoint: announce.peer.into(),
        id: announce.peer_id,
        seeder: announce.is_seeder(),
        been_seeder: announce.is_seeder(),
        announced: now,
    }
}

/// Where a torrent is.
#[derive(Clone, Copy, Debug)]
struct Torrent {
    /// The number of its page.
    index: usize,
    record: Record,
}

/// Whether this announce ends a download, if its peer has not been a seeder before.
const fn completes(announce: &Announce) -> bool {
    matches!(announce.event, Event::Completed) && announce.is_seeder()
}

/// Whether one more peer may come into a swarm of `held`.
fn check_room(
    peers_max: u32,
    held: usize,
    of_address_max: Option<u32>,
    of_address: impl FnOnce() -> usize,
) -> Result<(), Refusal> {
    if held >= peers_max as usize {
        return Err(Refusal::SwarmFull);
    }
    if of_address_max.is_some_and(|max| of_address() >= max as usize) {
        return Err(Refusal::AddressFull);
    }
    Ok(())
}

fn columns_len(small: &Small, shape: super::peers::Shape) -> usize {
    shape.count(small.range(shape.family).len())
}
