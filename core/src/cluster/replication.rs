//! The part of a cluster that a tracker has: the outboxes of its workers, and what is known of peers that stopped.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::Instant;
use crate::access::{AccessView, AccessViews};
use crate::config::Config;
use crate::lock::Lock;
use crate::seed::{Key, Random, Seed};

use super::batch::RECORD_AGE_MAX_MINUTES;
use super::epoch::Epochs;
use super::outbox::{Noted, Outbox};
use super::recent::Recent;
use super::record::{RECORD_LEN_MIN, Record, State};

/// What a tracker in a cluster has beside its swarms.
#[derive(Debug)]
pub(crate) struct Replication {
    pub(super) epochs: Epochs,
    outboxes: Lock<Vec<Arc<Outbox>>>,
    /// Locked by the one thread that exchanges records, never by a worker.
    pub(super) exchange: Lock<Exchange>,
}

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) recent: Recent,
    pub(super) random: Random,
    /// What takes the place of what an outbox holds.
    spare: Noted,
    /// The lists in force, as this thread sees them.
    view: Option<Arc<AccessView>>,
}

impl Replication {
    pub(crate) fn new(config: &Config, key: Key, seed: &Seed) -> Self {
        Self {
            epochs: Epochs::new(key, config.swarms()),
            outboxes: Lock::default(),
            exchange: Lock::new(Exchange {
                recent: Recent::new(),
                random: seed.key("replication").random(0),
                spare: Noted::new(),
                view: None,
            }),
        }
    }

    /// Adds the outbox of a worker.
    #[cfg_attr(
        not(feature = "std"),
        expect(clippy::arc_with_non_send_sync, reason = "without `std` there is one thread")
    )]
    pub(crate) fn add_outbox(&self, config: &Config) -> Arc<Outbox> {
        let outbox = Arc::new(Outbox::new(self.epochs, config.swarms().peer_ids()));
        self.outboxes.with(|all| all.push(Arc::clone(&outbox)));
        outbox
    }

    /// Moves what all workers have noted to `drained`.
    pub(crate) fn drain(&self, drained: &mut Drained) {
        self.exchange.with(|exchange| {
            let outboxes = self.outboxes.with(|all| all.clone());
            for outbox in outboxes {
                outbox.swap(&mut exchange.spare);
                let Exchange { spare, recent, .. } = exchange;
                let mut told = |record| recent.tell_apart(&self.epochs, record);
                drained.changes.extend(spare.changes.drain(..).map(&mut told));
                drained.refreshes.extend(spare.refreshes.drain(..).map(told));
            }
        });
    }

    /// Refreshes and changes that were dropped from full outboxes.
    pub(crate) fn dropped(&self) -> [u64; 2] {
        let sum = |[a, b]: [u64; 2], outbox: &Arc<Outbox>| {
            let [c, d] = outbox.dropped();
            [a + c, b + d]
        };
        self.outboxes.with(|all| all.iter().fold([0, 0], sum))
    }
}

/// What waits for the bus.
#[derive(Debug, Default)]
pub(crate) struct Drained {
    changes: VecDeque<Record>,
    refreshes: VecDeque<Record>,
}

impl Drained {
    pub(crate) fn len(&self) -> usize {
        self.changes.len() + self.refreshes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the records, nearly.
    pub(crate) fn bytes(&self) -> usize {
        self.len() * RECORD_LEN_MIN
    }

    /// Drops the oldest changes and the oldest refreshes beyond so many of each, and those that no batch may hold any more. Returns
    /// how many of each.
    pub(crate) fn limit(&mut self, now: Instant, records_max: usize) -> [u64; 2] {
        let is_too_old =
            |record: &Record| now.minute().saturating_since(record.minute) >= RECORD_AGE_MAX_MINUTES;
        [&mut self.changes, &mut self.refreshes].map(|records| {
            let before = records.len();
            while records.len() > records_max || records.front().is_some_and(is_too_old) {
                records.pop_front();
            }
            (before - records.len()) as u64
        })
    }
}

impl Iterator for Drained {
    type Item = Record;

    /// Changes first. What they took while a bus was away is given back with the last one.
    fn next(&mut self) -> Option<Record> {
        let next = self.changes.pop_front().or_else(|| self.refreshes.pop_front());
        if next.is_none() {
            *self = Self::default();
        }
        next
    }
}

impl Exchange {
    pub(super) fn view(&mut self, views: &AccessViews) -> Arc<AccessView> {
        Arc::clone(self.view.get_or_insert_with(|| views.add()))
    }
}

impl Recent {
    /// Notes a decision of this node, and tells it apart from one of the same minute.
    fn tell_apart(&mut self, epochs: &Epochs, record: Record) -> Record {
        let hash = epochs.hash(&record.info_hash, &record.peer);
        let last = self.get(hash).filter(|(minute, _)| *minute == record.minute);
        let stopped = record.state == State::Stopped;
        // Stored again after a stop, or stopped after that; and what was a seeder a moment ago, of which the greater state would
        // stay otherwise.
        let again = record.been_seeder
            || last.is_some_and(|(_, rank)| rank >= if stopped { STORED_AGAIN } else { STOPPED });
        let record = Record { again, ..record };
        if stopped || again {
            self.note(hash, record.order());
        }
        record
    }
}

/// The rank of a stop within its minute, and of what comes after it: see [`Record::order`].
const STOPPED: u8 = 1;
const STORED_AGAIN: u8 = 2;
