//! Removing a peer.

use crate::announce::Counts;
use crate::swarm::{Member, Taken};

use super::Packed;
use super::compact::Compact;
use super::page::{Record, SMALL_MAX};
use super::set::Newcomer;
use super::stamp::Tick;

impl Packed {
    /// Removes a peer.
    pub(super) fn take_peer(&mut self, now: Tick, member: &Member<'_>, hash: u64) -> Taken {
        let index = self.page_of(hash);
        let page = self.pages.get(index);
        let Some((page, record)) =
            page.and_then(|page| Some((page, page.find(&self.rules, member.info_hash)?)))
        else {
            return Taken::default();
        };
        let (peer, counts) = if record.is_large() {
            let number = page.large(&record);
            self.take_from_swarm(now, index, &record, number, member)
        } else {
            self.take_from_page(now, index, &record, &Compact::from(*member.peer))
        };
        if let Some(peer) = &peer {
            *self.totals.of_mut(peer.endpoint.family, peer.seeder) -= 1;
            // After the counts were taken: joining moves torrents between pages.
            self.rejoin();
        }
        let peer = peer.map(|peer| self.shown(&peer));
        Taken { peer, counts }
    }

    fn take_from_swarm(
        &mut self,
        now: Tick,
        index: usize,
        record: &Record,
        number: u32,
        member: &Member<'_>,
    ) -> (Option<Newcomer>, Counts) {
        let Some(swarm) = self.swarms.get_mut(number) else {
            return Default::default();
        };
        let endpoint = Compact::from(*member.peer);
        let (shape, hash) = (self.rules.shape(endpoint.family), self.rules.peer_hash(&endpoint));
        let Some((seeder, place)) = swarm.find(&self.rules, hash, &endpoint, member.seeder) else {
            return (None, swarm.counts());
        };
        let set = swarm.set_mut(endpoint.family, seeder);
        let (peer, before) = (set.get(shape, place), set.bytes(shape));
        set.remove(shape, place);
        self.large_bytes = self.large_bytes + set.bytes(shape) - before;
        let counts = swarm.counts();
        // The last one takes the torrent along; sixteen that are left go back into the page.
        self.settle(now, index, record);
        (peer, counts)
    }

    fn take_from_page(
        &mut self,
        now: Tick,
        index: usize,
        record: &Record,
        endpoint: &Compact,
    ) -> (Option<Newcomer>, Counts) {
        let rules = &self.rules;
        let Some(page) = self.pages.get(index) else {
            return Default::default();
        };
        let small = page.small(rules, record);
        let columns = page.columns(rules, &small, endpoint.family);
        let Some((position, entry)) = columns
            .position(endpoint)
            .and_then(|position| Some((position, columns.entry(position)?)))
        else {
            return (None, page.counts(rules, &small));
        };
        let peer = Newcomer::of_entry(&entry, page.window());
        let mut keep = [true; SMALL_MAX];
        if let Some(keep) = keep.get_mut(position) {
            *keep = false;
        }
        let counts = self.edit(index, |page, rules| {
            let stamp = page.reach(rules, now).stamp(now);
            let record = page.retain(rules, record, rules.shape(endpoint.family), &keep, stamp)?;
            Some(page.counts(rules, &page.small(rules, &record)))
        });
        // Without counts the torrent is gone: it had no other peer, and no downloads to remember.
        self.totals.torrents -= u64::from(counts.is_none());
        (Some(peer), counts.unwrap_or_default())
    }
}
