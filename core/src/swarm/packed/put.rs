//! Storing a peer.

use crate::announce::{Change, Family, Refusal};
use crate::swarm::{Arrival, Prepared, Room};

use super::compact::Compact;
use super::page::{Page, Record, SMALL_MAX, TORRENTS_MAX};
use super::path::{PackedPrefetched, Stored, Torrent};
use super::set::Newcomer;
use super::stamp::{BEEN_SEEDER, SEEDER, Stamp, Tick, Window};
use super::swarm::Swarm;
use super::{Packed, work};

impl Packed {
    /// Stores or renews a peer.
    #[inline]
    pub(super) fn put_peer(
        &mut self,
        arrival: &Arrival<'_>,
        prepared: &Prepared<PackedPrefetched>,
        room: Room,
    ) -> Result<(Change, Stored), Refusal> {
        let index = self.page_of(prepared.hash);
        let page = self.pages.get(index);
        let found = page.and_then(|page| page.find(&self.rules, arrival.member.info_hash));
        let peer = self.newcomer(arrival);
        match found {
            None => self.put_torrent(index, arrival, &peer, room),
            Some(record) if record.is_large() => {
                let number = self.pages.get(index).map_or(u32::MAX, |page| page.large(&record));
                // The hash is at hand only where prefetching has followed the peer into its swarm.
                let hash = prepared.prefetched.0.peer();
                let hash = hash.unwrap_or_else(|| self.rules.peer_hash(&peer.endpoint));
                self.put_in_swarm(number, arrival, peer, hash, room)
            }
            Some(record) => self.put_in_page(Torrent { index, record }, arrival, &peer, room),
        }
    }

    #[inline]
    fn newcomer(&self, arrival: &Arrival<'_>) -> Newcomer {
        Newcomer {
            endpoint: Compact::from(*arrival.member.peer),
            id: *arrival.id,
            seeder: arrival.member.seeder,
            been_seeder: arrival.been_seeder | arrival.member.seeder,
            announced: self.rules.tick(arrival.announced),
        }
    }

    /// Stores the first peer of a torrent.
    fn put_torrent(
        &mut self,
        index: usize,
        arrival: &Arrival<'_>,
        peer: &Newcomer,
        room: Room,
    ) -> Result<(Change, Stored), Refusal> {
        let torrents = self.pages.get(index).map_or(TORRENTS_MAX, Page::torrents);
        // The page counts its torrents in one byte; chance alone never fills it.
        if room != Room::Some || torrents >= TORRENTS_MAX {
            return Err(Refusal::TorrentsFull);
        }
        let info_hash = arrival.member.info_hash;
        let add = |page: &mut Page, window| page.add(window, info_hash);
        let (change, torrent) = self.add_to_page(index, arrival, peer, 0, add)?;
        self.totals.torrents += 1;
        Ok((change, Stored::Page(torrent, 0)))
    }

    /// Stores a peer of a torrent that has its peers in the page.
    #[inline]
    fn put_in_page(
        &mut self,
        torrent: Torrent,
        arrival: &Arrival<'_>,
        peer: &Newcomer,
        room: Room,
    ) -> Result<(Change, Stored), Refusal> {
        let Torrent { index, mut record } = torrent;
        let (family, rules) = (peer.endpoint.family, &self.rules);
        let shape = rules.shape(family);
        let page = self.pages.get_mut(index).ok_or(Refusal::TorrentsFull)?;
        let small = page.small(rules, &record);
        let Some(known) = page.columns(rules, &small, family).position(&peer.endpoint) else {
            return self.put_new_in_page(torrent, arrival, peer, room);
        };
        let before = page.len();
        let window = page.reach(rules, peer.announced);
        let stamp = page.renew(shape, &small, known, &peer.entry(window));
        let completed = arrival.completes() && stamp & BEEN_SEEDER == 0;
        if completed {
            record = page.set_downloaded(rules, &record, small.downloaded.saturating_add(1));
            // Renewing alone moves no byte, so only this may have lengthened the page.
            self.bytes = self.bytes + page.len() - before;
        }
        let change = renewed(
            rules.minutes_between(window.tick(stamp), peer.announced),
            stamp,
            completed,
        );
        *self.totals.of_mut(family, stamp & SEEDER != 0) -= 1;
        *self.totals.of_mut(family, peer.seeder) += 1;
        Ok((change, Stored::Page(Torrent { index, record }, known)))
    }

    /// Adds a peer to a torrent that has its peers in the page, or to the large swarm that it then needs.
    fn put_new_in_page(
        &mut self,
        torrent: Torrent,
        arrival: &Arrival<'_>,
        peer: &Newcomer,
        room: Room,
    ) -> Result<(Change, Stored), Refusal> {
        // Memory is used up: a peer more would come on top of it.
        if room == Room::Renewals {
            return Err(Refusal::SwarmFull);
        }
        let Torrent { index, record } = torrent;
        let (family, rules) = (peer.endpoint.family, &self.rules);
        let page = self.pages.get(index).ok_or(Refusal::TorrentsFull)?;
        let small = page.small(rules, &record);
        let columns = page.columns(rules, &small, family);
        let (held, own) = (small.peers(rules), columns.len());
        self.check_room(arrival, &peer.endpoint, held, || {
            columns.of_address(&peer.endpoint)
        })?;
        // The page can count no more: this peer is the one too many.
        if held == SMALL_MAX {
            let number = self.enlarge(peer.announced, index, &record)?;
            let hash = self.rules.peer_hash(&peer.endpoint);
            return self.put_in_swarm(number, arrival, *peer, hash, room);
        }
        let (change, torrent) = self.add_to_page(index, arrival, peer, small.downloaded, |_, _| record)?;
        Ok((change, Stored::Page(torrent, own)))
    }

    /// Adds a peer to the torrent of a page that `torrent` gives, which had been downloaded so often. Returns where it is then.
    fn add_to_page(
        &mut self,
        index: usize,
        arrival: &Arrival<'_>,
        peer: &Newcomer,
        downloaded: u32,
        torrent: impl FnOnce(&mut Page, Window) -> Record,
    ) -> Result<(Change, Torrent), Refusal> {
        let completed = arrival.completes();
        let record = self.edit(index, |page, rules| {
            let window = page.reach(rules, peer.announced);
            let record = torrent(page, window);
            let record = page.add_peer(rules, &record, &peer.entry(window));
            // `downloaded` takes four bytes, which most torrents do without.
            Some(if completed {
                page.set_downloaded(rules, &record, downloaded.saturating_add(1))
            } else {
                record
            })
        });
        let record = record.ok_or(Refusal::TorrentsFull)?;
        *self.totals.of_mut(peer.endpoint.family, peer.seeder) += 1;
        let torrent = self.split_beside(Torrent { index, record }, arrival);
        Ok((Change::Added { completed }, torrent))
    }

    /// Splits a page if need be, and says where a torrent is afterwards: the page that was split may be its own.
    fn split_beside(&mut self, torrent: Torrent, arrival: &Arrival<'_>) -> Torrent {
        // Another page was split, or none: what was found holds.
        if self.split() != Some(torrent.index) {
            return torrent;
        }
        let index = self.page_of(self.rules.torrent_hash(arrival.member.info_hash));
        let page = self.pages.get(index);
        let record = page.and_then(|page| page.find(&self.rules, arrival.member.info_hash));
        record.map_or(torrent, |record| Torrent { index, record })
    }

    /// Gives a torrent whose page has no room for its next peer a large swarm. Returns its number.
    fn enlarge(&mut self, now: Tick, index: usize, record: &Record) -> Result<u32, Refusal> {
        let page = self.pages.get(index).ok_or(Refusal::SwarmFull)?;
        let small = page.small(&self.rules, record);
        let mut swarm = Swarm::new(small.downloaded);
        // Each with the time of its own announce: becoming large renews nobody.
        for family in [Family::V4, Family::V6] {
            for entry in page.columns(&self.rules, &small, family).entries() {
                let peer = Newcomer::of_entry(&entry, page.window());
                let hash = self.rules.peer_hash(&peer.endpoint);
                swarm.insert(&self.rules, now, hash, &peer);
            }
        }
        work::moved(SMALL_MAX);
        let bytes = swarm.bytes(&self.rules);
        let number = self.swarms.insert(swarm).ok_or(Refusal::SwarmFull)?;
        self.large_bytes += bytes;
        self.edit(index, |page, rules| {
            page.set_large(rules, record, number);
        });
        Ok(number)
    }

    /// Stores a peer of a torrent that has a large swarm. `hash` is that of the peer.
    #[inline]
    fn put_in_swarm(
        &mut self,
        number: u32,
        arrival: &Arrival<'_>,
        peer: Newcomer,
        hash: u64,
        room: Room,
    ) -> Result<(Change, Stored), Refusal> {
        let (family, rules) = (peer.endpoint.family, &self.rules);
        let swarm = self.swarms.get_mut(number).ok_or(Refusal::SwarmFull)?;
        let Some((was_seeder, place)) = swarm.find(rules, hash, &peer.endpoint, peer.seeder) else {
            return self.put_new_in_swarm(number, arrival, &peer, hash, room);
        };
        let (place, stamp, then) = if was_seeder == peer.seeder {
            let set = swarm.set_mut(family, was_seeder);
            let (stamp, then) = set.renew(rules, peer.announced, place, &peer);
            (Some(place), stamp, then)
        } else {
            let before = swarm.bytes(rules);
            let set = swarm.set_mut(family, was_seeder);
            let (stamp, then) = set.stamped(rules.shape(family), place);
            set.remove(rules.shape(family), place);
            let moved = Newcomer {
                // The other set must know what the peer has been, or it could complete twice.
                been_seeder: peer.been_seeder | (stamp & BEEN_SEEDER != 0),
                ..peer
            };
            swarm.insert(rules, peer.announced, hash, &moved);
            self.large_bytes = self.large_bytes + swarm.bytes(rules) - before;
            // The insertion may have split the bucket, so the place is looked up.
            let place = swarm
                .set(family, peer.seeder)
                .find(rules.shape(family), hash, &peer.endpoint);
            (place, stamp, then)
        };
        let completed = arrival.completes() && stamp & BEEN_SEEDER == 0;
        swarm.downloaded = swarm.downloaded.saturating_add(completed.into());
        let change = renewed(rules.minutes_between(then, peer.announced), stamp, completed);
        *self.totals.of_mut(family, was_seeder) -= 1;
        *self.totals.of_mut(family, peer.seeder) += 1;
        Ok((change, Stored::Swarm(number, place)))
    }

    /// Adds a peer to a large swarm.
    fn put_new_in_swarm(
        &mut self,
        number: u32,
        arrival: &Arrival<'_>,
        peer: &Newcomer,
        hash: u64,
        room: Room,
    ) -> Result<(Change, Stored), Refusal> {
        if room == Room::Renewals {
            return Err(Refusal::SwarmFull);
        }
        let (family, rules) = (peer.endpoint.family, &self.rules);
        let swarm = self.swarms.get(number).ok_or(Refusal::SwarmFull)?;
        self.check_room(arrival, &peer.endpoint, swarm.len() as usize, || {
            swarm.of_address(rules, hash, &peer.endpoint)
        })?;
        let swarm = self.swarms.get_mut(number).ok_or(Refusal::SwarmFull)?;
        let before = swarm.bytes(rules);
        swarm.insert(rules, peer.announced, hash, peer);
        self.large_bytes = self.large_bytes + swarm.bytes(rules) - before;
        let completed = arrival.completes();
        swarm.downloaded = swarm.downloaded.saturating_add(completed.into());
        *self.totals.of_mut(family, peer.seeder) += 1;
        let place = swarm
            .set(family, peer.seeder)
            .find(rules.shape(family), hash, &peer.endpoint);
        Ok((Change::Added { completed }, Stored::Swarm(number, place)))
    }

    /// Whether one more peer may come into a swarm of `held`.
    fn check_room(
        &self,
        arrival: &Arrival<'_>,
        peer: &Compact,
        held: usize,
        of_address: impl FnOnce() -> usize,
    ) -> Result<(), Refusal> {
        if held >= self.rules.config.peers_per_torrent_max() as usize {
            return Err(Refusal::SwarmFull);
        }
        // Each node limits what it admits itself, so that all together hold a bounded number.
        let limits = self.rules.config.peers_of_address_max(peer.ip());
        let max = limits.filter(|_| !arrival.is_admitted);
        if max.is_some_and(|max| of_address() >= max as usize) {
            return Err(Refusal::AddressFull);
        }
        Ok(())
    }
}

const fn renewed(after_minutes: u32, stamp: Stamp, completed: bool) -> Change {
    Change::Renewed {
        after_minutes,
        was_seeder: stamp & SEEDER != 0,
        completed,
    }
}
