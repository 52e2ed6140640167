//! Restores snapshots.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::access::Access;
use crate::announce::Counts;
use crate::prefetch::Prefetch;
use crate::seed::Random;
use crate::swarm::{Arrival, Member, PREFETCHED_TOGETHER, PackedPrefetched, Peer, Prepared};
use crate::tracker::{Tracker, check_peer};
use crate::{InfoHash, Instant};

use super::survey::{PeersOfTorrent, Selection};
use super::{Entry, Header};

/// Puts the entries of a [`Decoder`](super::Decoder) into a tracker without torrents. Peers that policy or a limit refuses now,
/// and expired ones, are skipped.
#[derive(Debug)]
pub struct Restorer<'a> {
    tracker: &'a Tracker,
    access: Option<Arc<Access>>,
    now: Instant,
    random: Random,
    batch: Vec<PendingPeer>,
    restored: Restored,
    /// When the snapshot was written.
    written: Instant,
    /// Which torrents are wanted; `None` if all are.
    selection: Option<Selection>,
}

/// A peer of the batch whose memory is prefetched together.
#[derive(Debug)]
struct PendingPeer {
    info_hash: InfoHash,
    peer: Peer,
    prepared: Prepared<PackedPrefetched>,
}

impl PendingPeer {
    const fn split(&mut self) -> (Member<'_>, &mut Prepared<PackedPrefetched>) {
        let member = Member {
            info_hash: &self.info_hash,
            peer: &self.peer.endpoint,
            seeder: self.peer.seeder,
        };
        (member, &mut self.prepared)
    }

    const fn arrival(&self) -> Arrival<'_> {
        Arrival {
            member: Member {
                info_hash: &self.info_hash,
                peer: &self.peer.endpoint,
                seeder: self.peer.seeder,
            },
            id: &self.peer.id,
            been_seeder: self.peer.been_seeder,
            announced: self.peer.announced,
            // What it has completed is in the number of downloads already.
            completed: false,
            is_admitted: false,
        }
    }
}

/// The outcome of a restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Peers restored.
    pub peers: u64,
    /// Peers skipped because they expired.
    pub peers_too_old: u64,
    /// Peers skipped because policy or a limit refuses them.
    pub peers_refused: u64,
}

impl Restored {
    /// What came of two readings of the same snapshot.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            peers: self.peers + other.peers,
            peers_too_old: self.peers_too_old + other.peers_too_old,
            peers_refused: self.peers_refused + other.peers_refused,
        }
    }
}

impl<'a> Restorer<'a> {
    /// A restorer into `tracker` at `now`.
    #[must_use]
    pub fn new(now: Instant, tracker: &'a Tracker) -> Self {
        Self {
            tracker,
            access: tracker.access(),
            now,
            random: tracker.seed().key("restore").random(0),
            batch: Vec::with_capacity(PREFETCHED_TOGETHER),
            restored: Restored::default(),
            written: now,
            selection: None,
        }
    }

    /// The same for torrents with so many peers alone: see [`Survey::readings`](super::Survey::readings).
    #[must_use]
    pub fn only(mut self, wanted: PeersOfTorrent) -> Self {
        self.selection = (wanted != PeersOfTorrent::ANY).then(|| Selection::new(wanted));
        self
    }

    /// Restores an entry, or keeps it for the next batch. `prefetch` prefetches the memory of a batch.
    pub fn restore(&mut self, header: &Header, entry: Entry, prefetch: &impl Prefetch) {
        self.written = header.written;
        let Some(mut selection) = self.selection.take() else {
            return self.put(header.written, entry, prefetch);
        };
        let swarms = self.tracker.swarms();
        let is_known = |info_hash: &InfoHash| swarms.scrape(info_hash) != Counts::default();
        let mut put = |entry| self.put(header.written, entry, prefetch);
        selection.take(entry, is_known, &mut put);
        self.selection = Some(selection);
    }

    /// `written` is when the snapshot was.
    fn put(&mut self, written: Instant, entry: Entry, prefetch: &impl Prefetch) {
        match entry {
            Entry::Torrent {
                info_hash,
                downloaded,
            } if self.permits(&info_hash) => {
                let vacated = written.min(self.now);
                self.tracker.swarms().restore(vacated, &info_hash, downloaded);
            }
            Entry::Torrent { .. } => {}
            Entry::Peer { info_hash, peer } => self.restore_peer(info_hash, &peer, prefetch),
        }
    }

    /// Restores the last batch.
    #[must_use]
    pub fn finish(mut self, prefetch: &impl Prefetch) -> Restored {
        if let Some(mut selection) = self.selection.take() {
            let written = self.written;
            selection.close(&mut |entry| self.put(written, entry, prefetch));
        }
        self.flush(prefetch);
        self.restored
    }

    fn permits(&self, info_hash: &InfoHash) -> bool {
        let access = self.access.as_deref();
        access.is_none_or(|access| access.permits_torrent(info_hash))
    }

    fn restore_peer(&mut self, info_hash: InfoHash, peer: &Peer, prefetch: &impl Prefetch) {
        // The clock may have been set back since: peers must not be younger than now.
        let announced = peer.announced.min(self.now.minute());
        let rules = self.tracker.config().swarms();
        if rules.is_too_old(self.now.minute(), announced) {
            self.restored.peers_too_old += 1;
            return;
        }
        if !peer.endpoint.is_reachable() || !self.permits(&info_hash) || self.denies(peer.endpoint.ip) {
            self.restored.peers_refused += 1;
            return;
        }
        let prepared = self.tracker.swarms().prepare(&info_hash, &mut self.random);
        self.batch.push(PendingPeer {
            info_hash,
            peer: Peer { announced, ..*peer },
            prepared,
        });
        if self.batch.len() == PREFETCHED_TOGETHER {
            self.flush(prefetch);
        }
    }

    fn denies(&self, ip: IpAddr) -> bool {
        check_peer(self.tracker, self.access.as_deref(), ip).is_err()
    }

    fn flush(&mut self, prefetch: &impl Prefetch) {
        let swarms = self.tracker.swarms();
        for &stage in swarms.stages() {
            let batch = self.batch.iter_mut();
            swarms.prefetch(stage, batch.map(PendingPeer::split), prefetch);
        }
        for peer in self.batch.drain(..) {
            match swarms.put(&peer.arrival(), &peer.prepared) {
                Ok(_) => self.restored.peers += 1,
                Err(_) => self.restored.peers_refused += 1,
            }
        }
    }
}
