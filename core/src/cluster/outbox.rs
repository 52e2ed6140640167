//! What the announces of one worker changed and other nodes have not been told yet.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::announce::{Announce, Change, Event};
use crate::lock::Lock;
use crate::{Instant, PeerId};

use super::epoch::Epochs;
use super::record::{Record, State};

/// The outbox of one worker, of a fixed size. A full one drops records, refreshes first; an announce never waits.
#[derive(Debug)]
pub(crate) struct Outbox {
    epochs: Epochs,
    peer_ids: bool,
    noted: Lock<Noted>,
    dropped_refreshes: AtomicU64,
    dropped_changes: AtomicU64,
}

/// What an outbox holds.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) changes: Vec<Record>,
    pub(crate) refreshes: Vec<Record>,
}

impl Noted {
    pub(crate) fn new() -> Self {
        Self {
            changes: Vec::with_capacity(CHANGES_MAX),
            refreshes: Vec::with_capacity(REFRESHES_MAX),
        }
    }
}

/// How much a record is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// The peer lives: lost, it is told in the next epoch.
    Refresh,
    /// The peer came, went or changed.
    Change,
}

impl Outbox {
    pub(crate) fn new(epochs: Epochs, peer_ids: bool) -> Self {
        Self {
            epochs,
            peer_ids,
            noted: Lock::new(Noted::new()),
            dropped_refreshes: AtomicU64::new(0),
            dropped_changes: AtomicU64::new(0),
        }
    }

    /// Notes what an announce changed, if other nodes need to know.
    #[inline]
    pub(crate) fn note(&self, now: Instant, announce: &Announce, change: Change) {
        if let Some(need) = self.need(now, announce, change) {
            self.push(now, announce, change, need);
        }
    }

    #[inline]
    fn need(&self, now: Instant, announce: &Announce, change: Change) -> Option<Need> {
        match change {
            Change::Renewed {
                was_seeder,
                completed,
                ..
            } if completed || was_seeder != announce.is_seeder() => Some(Need::Change),
            Change::Renewed { after_minutes, .. } => {
                let step = self.epochs.step(now.minute());
                let crosses = self
                    .epochs
                    .crosses(step, after_minutes, &announce.info_hash, &announce.peer);
                crosses.then_some(Need::Refresh)
            }
            Change::Added { .. } | Change::Removed { .. } => Some(Need::Change),
            // Another node may have the peer, if its record is lost or still under way.
            Change::None if announce.event == Event::Stopped && announce.is_reachable() => {
                Some(Need::Refresh)
            }
            Change::None => None,
        }
    }

    #[cold]
    fn push(&self, now: Instant, announce: &Announce, change: Change, need: Need) {
        let stopped = announce.event == Event::Stopped;
        let is_new = matches!(change, Change::Added { .. });
        let has_id = is_new && self.peer_ids && announce.peer_id != PeerId::default();
        let record = Record {
            info_hash: announce.info_hash,
            peer: announce.peer,
            minute: self.epochs.step(now.minute()),
            state: match (stopped, announce.is_seeder()) {
                (true, _) => State::Stopped,
                (false, true) => State::Seeder,
                (false, false) => State::Leecher,
            },
            been_seeder: !stopped
                && !announce.is_seeder()
                && matches!(change, Change::Renewed { was_seeder: true, .. }),
            again: false,
            completed: matches!(
                change,
                Change::Added { completed: true } | Change::Renewed { completed: true, .. }
            ),
            id: has_id.then_some(announce.peer_id),
        };
        let is_full = self.noted.with(|noted| {
            let (records, max) = match need {
                Need::Refresh => (&mut noted.refreshes, REFRESHES_MAX),
                Need::Change => (&mut noted.changes, CHANGES_MAX),
            };
            let is_full = records.len() >= max;
            if !is_full {
                records.push(record);
            }
            is_full
        });
        let dropped = match need {
            Need::Refresh => &self.dropped_refreshes,
            Need::Change => &self.dropped_changes,
        };
        dropped.fetch_add(is_full.into(), Relaxed);
    }

    /// Swaps what the outbox holds with `empty`.
    pub(crate) fn swap(&self, empty: &mut Noted) {
        self.noted.with(|noted| core::mem::swap(noted, empty));
    }

    /// Refreshes and changes that were dropped.
    pub(crate) fn dropped(&self) -> [u64; 2] {
        [
            self.dropped_refreshes.load(Relaxed),
            self.dropped_changes.load(Relaxed),
        ]
    }
}

/// Changes of an outbox: 160,000 a second, drained every 50 ms, which is what a worker can do in announces.
const CHANGES_MAX: usize = 8192;
/// Refreshes of an outbox. They have room of their own, so that they are dropped before changes are.
const REFRESHES_MAX: usize = 4096;
