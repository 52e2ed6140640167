//! From options to a serving tracker, and to its end.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use etracker_core::{Seed, Tracker};
use etracker_runtime_common::{Clock, Control, Job, OpenError, Opened, ServeError, open};

use crate::options::{Options, Runtime};
use crate::terminal::say;
use crate::{limits, report, signals};

/// Serves with these options until a signal says to stop.
///
/// # Errors
/// Why it could not start, or not go on.
pub(crate) fn run(options: Options, processors: usize) -> Result<(), Failure> {
    let control = Arc::new(Control::new());
    signals::obey(Arc::clone(&control)).map_err(Failure::Signals)?;
    report::start(&options, processors);
    limits::raise();
    let opened = open(&options.listen).map_err(Failure::Open)?;
    let connections_max = connections_max(&opened)?;
    report::listening(&opened, &options.listen);
    say(format_args!("Connections at once: {connections_max} at most"));

    let clock = Clock::start();
    let tracker = Arc::new(Tracker::new(options.config, seed()?, clock.now()));
    let job = Job {
        tracker: Arc::clone(&tracker),
        sockets: opened.workers,
        clock,
        control,
        connections_max,
    };
    let served = match options.runtime {
        Runtime::Smol => etracker_smol::serve(job),
    };
    report::totals(&tracker);
    served.map_err(Failure::Serve)
}

/// Why the tracker does not run, shown as one line.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The system has no randomness.
    Seed(getrandom::Error),
    /// Signals cannot be handled.
    Signals(io::Error),
    /// The limit on open files is too low.
    Files { workers: usize },
    /// An address cannot be listened on.
    Open(OpenError),
    /// A worker gave up.
    Serve(ServeError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(error) => write!(f, "the system gives no random numbers: {error}"),
            Self::Signals(error) => write!(f, "signals cannot be handled: {error}"),
            Self::Files { workers } => write!(
                f,
                "the limit on open files leaves no room for connections beside {workers} workers: raise it (ulimit -n), or start fewer workers"
            ),
            Self::Open(error) => error.fmt(f),
            Self::Serve(error) => error.fmt(f),
        }
    }
}

impl Error for Failure {}

fn connections_max(opened: &Opened) -> Result<usize, Failure> {
    let workers = opened.workers.len();
    let sockets = opened
        .workers
        .iter()
        .map(|worker| worker.udp.len() + worker.tcp.len())
        .sum();
    limits::connections_max(workers, sockets).ok_or(Failure::Files { workers })
}

fn seed() -> Result<Seed, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(Failure::Seed)?;
    Ok(Seed::new(bytes))
}
