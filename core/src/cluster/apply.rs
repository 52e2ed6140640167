//! Applying what other nodes tell.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::iter::Sum;
use core::ops::AddAssign;

use crate::access::Access;
use crate::prefetch::Prefetch;
use crate::snapshot::Entry;
use crate::swarm::{Decision, Member, PREFETCHED_TOGETHER, PackedPrefetched, Peer, Prepared};
use crate::tracker::{Tracker, check_peer};
use crate::{InfoHash, Instant, PeerId};

use super::epoch::Epochs;
use super::recent::Order;
use super::record::{Record, State};
use super::replication::{Exchange, Replication};

/// What came of records of other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// Records that changed a swarm, or renewed a peer.
    pub applied: u64,
    /// Records that were older than what is known.
    pub stale: u64,
    /// Records that a list, or a lack of memory, refused.
    pub refused: u64,
}

impl AddAssign for Applied {
    fn add_assign(&mut self, more: Self) {
        self.applied += more.applied;
        self.stale += more.stale;
        self.refused += more.refused;
    }
}

impl Sum for Applied {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

impl Replication {
    /// Applies the entries of a snapshot of another node.
    pub(crate) fn apply_snapshot(
        &self,
        now: Instant,
        tracker: &Tracker,
        entries: &[Entry],
        prefetch: &impl Prefetch,
    ) -> Applied {
        let records: Vec<_> = entries.iter().filter_map(record_of).collect();
        let applied = self.apply(now, tracker, &records, prefetch);
        let access = tracker.access();
        let permits = |info_hash: &InfoHash| {
            access
                .as_ref()
                .is_none_or(|access| access.permits_torrent(info_hash))
        };
        for entry in entries {
            if let Entry::Torrent {
                info_hash,
                downloaded,
            } = entry
                && *downloaded > 0
                && permits(info_hash)
            {
                let swarms = tracker.swarms();
                // Both have counted most of the same downloads.
                swarms.change_downloaded(now.minute(), info_hash, |known| known.max(*downloaded));
            }
        }
        applied
    }

    /// Applies records of other nodes. [`drain`](Self::drain) before: what this node decided itself must be known.
    pub(crate) fn apply(
        &self,
        now: Instant,
        tracker: &Tracker,
        records: &[Record],
        prefetch: &impl Prefetch,
    ) -> Applied {
        self.exchange.with(|exchange| {
            let view = tracker.views().map(|views| exchange.view(views));
            let chunks = records.chunks(PREFETCHED_TOGETHER);
            let applied = chunks.map(|chunk| {
                let mut step = Step {
                    now,
                    tracker,
                    epochs: &self.epochs,
                    exchange,
                };
                // Locked for a few records, as for an announce: the purge of lists that are replaced then finds all that came
                // before.
                match &view {
                    Some(view) => view.with(|access| step.apply(chunk, Some(access), prefetch)),
                    None => step.apply(chunk, None, prefetch),
                }
            });
            applied.sum()
        })
    }
}

/// Some records that are applied together.
struct Step<'a> {
    now: Instant,
    tracker: &'a Tracker,
    epochs: &'a Epochs,
    exchange: &'a mut Exchange,
}

/// What becomes of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Applied,
    Stale,
    Refused,
}

impl Step<'_> {
    fn apply(
        &mut self,
        records: &[Record],
        access: Option<&Arc<Access>>,
        prefetch: &impl Prefetch,
    ) -> Applied {
        let swarms = self.tracker.swarms();
        let mut prepared: [Option<Prepared<PackedPrefetched>>; PREFETCHED_TOGETHER] = Default::default();
        for (record, prepared) in records.iter().zip(&mut prepared) {
            *prepared = Some(swarms.prepare(&record.info_hash, &mut self.exchange.random));
        }
        for &stage in swarms.stages() {
            let batch = records.iter().zip(&mut prepared);
            let batch = batch.filter_map(|(record, prepared)| Some((member(record), prepared.as_mut()?)));
            swarms.prefetch(stage, batch, prefetch);
        }
        let mut applied = Applied::default();
        for (record, prepared) in records.iter().zip(&prepared) {
            let Some(prepared) = prepared else { continue };
            match self.apply_one(record, prepared, access) {
                Fate::Applied => applied.applied += 1,
                Fate::Stale => applied.stale += 1,
                Fate::Refused => applied.refused += 1,
            }
        }
        applied
    }

    fn apply_one(
        &mut self,
        record: &Record,
        prepared: &Prepared<PackedPrefetched>,
        access: Option<&Arc<Access>>,
    ) -> Fate {
        let access = access.map(AsRef::as_ref);
        if access.is_some_and(|access| !access.permits_torrent(&record.info_hash))
            || !record.peer.is_reachable()
        {
            return Fate::Refused;
        }
        let fate =
            if record.state == State::Stopped || check_peer(self.tracker, access, record.peer.ip).is_ok() {
                self.merge(record, prepared)
            } else {
                Fate::Refused
            };
        // An event, which is counted whatever has become of the peer since.
        if record.completed {
            let vacated = record.minute.min(self.now.minute());
            self.tracker
                .swarms()
                .change_downloaded(vacated, &record.info_hash, |downloaded| {
                    downloaded.saturating_add(1)
                });
        }
        fate
    }

    fn merge(&mut self, record: &Record, prepared: &Prepared<PackedPrefetched>) -> Fate {
        let (now, rules) = (self.now.minute(), self.tracker.config().swarms());
        if record.state != State::Stopped && rules.is_too_old(now, record.minute) {
            return Fate::Stale;
        }
        let hash = self.epochs.hash(&record.info_hash, &record.peer);
        let order = (self.epochs.step(record.minute), record.order().1);
        let noted = self.exchange.recent.get(hash);
        let mut is_stale = false;
        let merged = self
            .tracker
            .swarms()
            .merge(now, &member(record), prepared, |stored| {
                let decision = decide(record, order, noted, stored);
                is_stale = matches!(decision, Decision::Keep);
                decision
            });
        // A stop is noted though its peer is not stored: the record that stored it may still come.
        if !is_stale && order.1 > 0 {
            self.exchange.recent.note(hash, order);
        }
        match merged {
            Err(_) => Fate::Refused,
            Ok(_) if is_stale => Fate::Stale,
            Ok(_) => Fate::Applied,
        }
    }
}

/// Decides between a record and what is known of its peer: the last decision that was noted, and the peer as it is stored.
fn decide(record: &Record, order: Order, noted: Option<Order>, stored: Option<&Peer>) -> Decision {
    let last = noted.max(stored.map(|peer| (peer.announced, 0)));
    let is_stale = last.is_some_and(|last| order < last);
    if record.state == State::Stopped {
        return if is_stale { Decision::Keep } else { Decision::Take };
    }
    let id = record.id.unwrap_or_default();
    let Some(stored) = stored else {
        return if is_stale {
            Decision::Keep
        } else {
            Decision::Put {
                seeder: record.state == State::Seeder,
                been_seeder: record.been_seeder,
                announced: order.0,
                id,
            }
        };
    };
    let lacks_id = stored.id == PeerId::default() && id != PeerId::default();
    if is_stale && !lacks_id {
        return Decision::Keep;
    }
    let is_later = last.is_some_and(|last| order > last);
    // Of two of one minute the greater state stays, whichever comes first.
    let seeder = if is_later {
        record.state == State::Seeder
    } else {
        stored.seeder || (!is_stale && record.state == State::Seeder)
    };
    Decision::Put {
        seeder,
        been_seeder: stored.been_seeder || record.been_seeder,
        announced: order.0.max(stored.announced),
        id: if is_later && record.id.is_some() || lacks_id {
            id
        } else {
            stored.id
        },
    }
}

const fn member(record: &Record) -> Member<'_> {
    Member {
        info_hash: &record.info_hash,
        peer: &record.peer,
        seeder: matches!(record.state, State::Seeder),
    }
}

/// The record of a peer of a snapshot.
fn record_of(entry: &Entry) -> Option<Record> {
    let Entry::Peer { info_hash, peer } = entry else {
        return None;
    };
    Some(Record {
        info_hash: *info_hash,
        peer: peer.endpoint,
        minute: peer.announced,
        state: if peer.seeder {
            State::Seeder
        } else {
            State::Leecher
        },
        been_seeder: peer.been_seeder && !peer.seeder,
        again: false,
        completed: false,
        id: (peer.id != PeerId::default()).then_some(peer.id),
    })
}
