//! What a runtime is given to do, and how it can fail.

use std::error::Error;
use std::sync::Arc;
use std::{fmt, io};

use etracker_core::Tracker;

use crate::pulse::Pulse;
use crate::{Clock, Control, Fronts, Plain, WorkerSockets};

/// All that a runtime's `serve` needs.
#[derive(Debug)]
pub struct Job {
    /// The tracker that all workers share.
    pub tracker: Arc<Tracker>,
    /// The protocols.
    pub fronts: Fronts,
    /// The sockets of each worker; as many workers as entries.
    pub sockets: Vec<WorkerSockets>,
    /// The clock that the tracker was made with.
    pub clock: Clock,
    /// How the workers are told to stop.
    pub control: Arc<Control>,
    /// TCP connections open at a time, over all workers; each has an equal share, at least one.
    pub connections_max: usize,
}

/// One worker's part of a [`Job`].
#[derive(Debug)]
pub struct WorkerJob {
    /// Which one: 1 for the first, who also ages the tracker.
    pub number: usize,
    /// What it drains.
    pub sockets: WorkerSockets,
    /// Its share of the connections.
    pub connections_max: usize,
    /// As in [`Job`].
    pub tracker: Arc<Tracker>,
    /// As in [`Job`].
    pub fronts: Fronts,
    /// As in [`Job`].
    pub clock: Clock,
    /// As in [`Job`].
    pub control: Arc<Control>,
    /// Its sign of life.
    pub pulse: Pulse,
}

impl Job {
    /// The part of each worker, the first one's first.
    pub fn divide(self) -> impl Iterator<Item = WorkerJob> {
        let connections_max = (self.connections_max / self.sockets.len().max(1)).max(1);
        (1..).zip(self.sockets).map(move |(number, sockets)| WorkerJob {
            number,
            sockets,
            connections_max,
            tracker: Arc::clone(&self.tracker),
            fronts: self.fronts.clone(),
            clock: self.clock,
            pulse: self.control.new_pulse(self.clock.now()),
            control: Arc::clone(&self.control),
        })
    }
}

/// Why serving ended without having been told to. Workers are numbered from 1.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// A worker could not start.
    Start {
        /// Which one.
        worker: usize,
        /// Why.
        error: io::Error,
    },
    /// A worker could not go on.
    Failed {
        /// Which one.
        worker: usize,
        /// Why.
        error: io::Error,
    },
    /// A worker panicked.
    Panicked {
        /// Which one.
        worker: usize,
    },
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { worker, error } => write!(f, "worker {worker} cannot start: {}", Plain(error)),
            Self::Failed { worker, error } => write!(f, "worker {worker} failed: {}", Plain(error)),
            Self::Panicked { worker } => write!(f, "worker {worker} panicked"),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Start { error, .. } | Self::Failed { error, .. } => Some(error),
            Self::Panicked { .. } => None,
        }
    }
}
