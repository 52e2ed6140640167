//! Why the command fails.

use std::error::Error;
use std::fmt;
use std::io;

use etracker_runtime_common::{OpenError, Plain, ServeError};

use crate::acme::AcmeStartError;
use crate::cluster::AccessError;
use crate::lists::ListError;
use crate::memory::TooSmall;
use crate::privileges::PrivilegeError;
use crate::secrets::SecretsError;
use crate::sockets::SocketError;
use crate::state::StateError;
use crate::supervised::SUPERVISED;
use crate::tls::CertificateError;

/// Why the tracker does not run, shown as one line.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The system gives no random numbers.
    Seed(getrandom::Error),
    /// Signals cannot be handled.
    Signals(io::Error),
    /// A list of torrents or addresses cannot be used.
    Lists(ListError),
    /// A certificate cannot be served.
    Certificates(CertificateError),
    /// A thread other than a worker's cannot be started.
    Thread(io::Error),
    /// The limit on processes leaves no room for the threads that are needed.
    Threads { count: usize, error: io::Error },
    /// The chosen runtime is not available here.
    Runtime(String),
    /// The limit on open files is too low.
    Files { workers: usize },
    /// The memory that was named leaves too little for swarms.
    Memory(TooSmall),
    /// A socket cannot be opened or used.
    Sockets(SocketError),
    /// The service manager cannot be reached.
    Notify(io::Error),
    /// Privileges cannot be given up.
    Privileges(PrivilegeError),
    /// The pipe to the supervisor fails.
    Supervisor(io::Error),
    /// The serving process cannot be started or watched.
    Spawn(io::Error),
    /// The state cannot be kept.
    State(StateError),
    /// Certificates by ACME cannot be had.
    Acme(AcmeStartError),
    /// The secrets of a cluster cannot be used.
    Secrets(SecretsError),
    /// Brokers of a cluster cannot be asked.
    Cluster(AccessError),
    /// A worker failed.
    Serve(ServeError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(error) => write!(f, "the system gives no random numbers: {error}"),
            Self::Signals(error) => write!(f, "signals cannot be handled: {}", Plain(error)),
            Self::Lists(error) => error.fmt(f),
            Self::Certificates(error) => error.fmt(f),
            Self::Thread(error) => write!(
                f,
                "a thread cannot be started: {}; {MORE_PROCESSES}",
                Plain(error)
            ),
            Self::Threads { count, error } => write!(
                f,
                "{count} threads cannot be started: {}; {MORE_PROCESSES}, or start fewer workers",
                Plain(error)
            ),
            Self::Files { workers } => write!(
                f,
                "the limit on open files leaves no room for connections beside {workers} workers: raise it (ulimit -n), or start fewer workers"
            ),
            Self::Memory(error) => error.fmt(f),
            Self::Runtime(reason) => f.write_str(reason),
            Self::Sockets(error @ SocketError::Open(OpenError::InUse(..))) => {
                write!(
                    f,
                    "{error}; `etracker doctor` with the same options says what to do"
                )
            }
            Self::Sockets(error) => error.fmt(f),
            Self::Notify(error) => write!(
                f,
                "the service manager at NOTIFY_SOCKET cannot be reached: {}",
                Plain(error)
            ),
            Self::Privileges(error) => error.fmt(f),
            Self::Supervisor(error) => write!(
                f,
                "{SUPERVISED} is set, but there is no supervisor: {}",
                Plain(error)
            ),
            Self::Spawn(error) => write!(f, "the serving process cannot be started: {}", Plain(error)),
            Self::State(error) => error.fmt(f),
            Self::Acme(error) => error.fmt(f),
            Self::Secrets(error) => error.fmt(f),
            Self::Cluster(error) => error.fmt(f),
            Self::Serve(error) => error.fmt(f),
        }
    }
}

impl Error for Failure {}

/// The remedy for a thread that the system refuses.
const MORE_PROCESSES: &str =
    "raise the limit on processes (ulimit -u, TasksMax= of a unit, pids.max of a cgroup)";
