//! From a snapshot into a tracker.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::access::Access;
use crate::announce::{Announce, Counts, Event, Refusal};
use crate::prefetch::Prefetch;
use crate::seed::Random;
use crate::swarm::{Handout, PREFETCHED_TOGETHER, Peer, Prepared, Swarms};
use crate::time::Minute;
use crate::tracker::{Tracker, check_policy};
use crate::{InfoHash, Instant};

use super::{Entry, Header};

/// Puts what a [`Decoder`](super::Decoder) shows into a tracker that has no torrents yet. The limits of its
/// configuration hold: who would be refused is left out, and who is too old as well.
#[derive(Debug)]
pub struct Restorer<'a> {
    tracker: &'a Tracker,
    access: Option<Arc<Access>>,
    now: Instant,
    random: Random,
    batch: Vec<Returning>,
    restored: Restored,
}

/// A peer that is put in together with others.
#[derive(Debug)]
struct Returning {
    /// The time of its last announce.
    announced: Instant,
    announce: Announce,
    prepared: Prepared,
    /// Whether it has been a seeder.
    been_seeder: bool,
}

/// What came of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Peers that are there again.
    pub peers: u64,
    /// Peers that have been silent for too long.
    pub peers_too_old: u64,
    /// Peers that a limit or a rule keeps out now.
    pub peers_refused: u64,
}

impl<'a> Restorer<'a> {
    /// Nothing is restored yet.
    #[must_use]
    pub fn new(now: Instant, tracker: &'a Tracker) -> Self {
        Self {
            tracker,
            access: tracker.access(),
            now,
            random: tracker.seed().key("restore").random(0),
            batch: Vec::with_capacity(PREFETCHED_TOGETHER),
            restored: Restored::default(),
        }
    }

    /// Puts in one entry, or keeps it to do so with others. `prefetch` fetches what it will read.
    pub fn restore(&mut self, header: &Header, entry: Entry, prefetch: &impl Prefetch) {
        match entry {
            Entry::Torrent {
                info_hash,
                downloaded,
            } if self.permits(&info_hash) => {
                let vacated = header.written.min(self.now);
                self.tracker.swarms().restore(vacated, &info_hash, downloaded);
            }
            Entry::Torrent { .. } => {}
            Entry::Peer { info_hash, peer } => self.restore_peer(info_hash, &peer, prefetch),
        }
    }

    /// Puts in what is left.
    #[must_use]
    pub fn finish(mut self, prefetch: &impl Prefetch) -> Restored {
        self.flush(prefetch);
        self.restored
    }

    fn permits(&self, info_hash: &InfoHash) -> bool {
        let access = self.access.as_deref();
        access.is_none_or(|access| access.permits_torrent(info_hash))
    }

    fn restore_peer(&mut self, info_hash: InfoHash, peer: &Peer, prefetch: &impl Prefetch) {
        // The clock may have been set back.
        let announced = peer.announced.min(self.now.minute());
        let rules = self.tracker.config().swarms();
        if rules.is_too_old(self.now.minute(), announced) {
            self.restored.peers_too_old += 1;
            return;
        }
        let announce = Announce {
            info_hash,
            peer_id: peer.id,
            peer: peer.endpoint,
            left: u64::from(!peer.seeder),
            event: Event::None,
            numwant: Some(0),
        };
        if !announce.is_reachable() || check_policy(self.tracker, self.access.as_deref(), &announce).is_err()
        {
            self.restored.peers_refused += 1;
            return;
        }
        let prepared = self.tracker.swarms().prepare(&announce, &mut self.random);
        self.batch.push(Returning {
            announced: start_of(announced),
            announce,
            prepared,
            been_seeder: peer.been_seeder,
        });
        if self.batch.len() == PREFETCHED_TOGETHER {
            self.flush(prefetch);
        }
    }

    fn flush(&mut self, prefetch: &impl Prefetch) {
        let swarms = self.tracker.swarms();
        for &stage in swarms.stages() {
            let announces = self.batch.iter_mut();
            swarms.hint(
                stage,
                announces.map(|peer| (&peer.announce, &mut peer.prepared)),
                |address| prefetch.prefetch(address),
            );
        }
        for peer in self.batch.drain(..) {
            match peer.put_into(swarms) {
                Ok(_) => self.restored.peers += 1,
                Err(_) => self.restored.peers_refused += 1,
            }
        }
    }
}

impl Returning {
    fn put_into(self, swarms: &Swarms) -> Result<Counts, Refusal> {
        let Self {
            announced,
            announce,
            prepared,
            been_seeder,
        } = self;
        let mut nobody = Handout::new(announce.peer.family(), 0, &mut []);
        if been_seeder && !announce.is_seeder() {
            // It comes as what it was, and then as what it is.
            let before = Announce { left: 0, ..announce };
            swarms.announce(announced, &before, prepared.clone(), &mut nobody)?;
        }
        swarms.announce(announced, &announce, prepared, &mut nobody)
    }
}

fn start_of(minute: Minute) -> Instant {
    Instant::from_secs(u64::from(minute.get()) * 60)
}
