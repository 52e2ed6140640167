//! The steps of a start. A start performs them until one fails. Doctor performs the same ones and reports each, so that it cannot
//! accept what a start refuses.

use std::io;
use std::path::PathBuf;

use etracker_core::Config;
use etracker_core::access::Access as Lists;
use etracker_core::cluster::Secrets;
use etracker_core::config::LimitMode;
use etracker_core::governor::BYTES_PER_WORKER;
use etracker_runtime_common::{Listen, Opened, Plain, Transport, resident_bytes};

use crate::acme::{Acme, Authorities};
use crate::cluster::{Access, Cluster};
use crate::failure::Failure;
use crate::memory::{Budget, Cap, Needs};
use crate::notify::Notifier;
use crate::options::{Options, Setting};
use crate::privileges::Privileges;
use crate::runtime::Serve;
use crate::state::{FoundState, StateFile};
use crate::supervised::is_supervised;
use crate::terminal::Tell;
use crate::tls::CertificateFiles;
use crate::{files, limits, runtime, secrets, sockets, threads};

/// A step. It changes only this process, nothing on the host.
#[derive(Debug)]
pub(crate) struct Step {
    /// Its subject.
    pub(crate) about: &'static str,
    take: fn(&Options, &mut Ready, Tell<'_>) -> Result<(), Failure>,
}

impl Step {
    /// Performs the step, and reports to `tell`.
    ///
    /// # Errors
    /// Why a tracker with these options does not start.
    pub(crate) fn take(&self, options: &Options, ready: &mut Ready, tell: Tell<'_>) -> Result<(), Failure> {
        (self.take)(options, ready, tell)
    }
}

/// The results of the steps so far.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    pub(crate) opened: Option<Opened>,
    pub(crate) notifier: Option<Notifier>,
    pub(crate) serve: Option<Serve>,
    /// `None` without HTTPS.
    pub(crate) certificates: Option<CertificateFiles>,
    /// Files of certificates that cannot be read again, and why.
    pub(crate) unreadable: Vec<(Setting<PathBuf>, io::Error)>,
    /// `None` without lists.
    pub(crate) access: Option<Lists>,
    pub(crate) connections_max: Option<usize>,
    /// The most memory that the process is to take; nothing where neither the operator nor the system says.
    pub(crate) cap: Option<Cap>,
    /// How it is divided.
    pub(crate) budget: Option<Budget>,
    /// Who vouches for the directory of `--acme`.
    pub(crate) authorities: Option<Authorities>,
    /// `None` without `--acme`.
    pub(crate) acme: Option<Acme>,
    /// `None` without a file of secrets.
    pub(crate) secrets: Option<Secrets>,
    /// `None` without `--cluster`.
    pub(crate) cluster: Option<Cluster>,
    /// `None` if no state is configured.
    pub(crate) state: Option<FoundState>,
}

/// The steps with the privileges of the starting user. The last drops them, while the process has one thread.
pub(crate) const PRIVILEGED: &[Step] = &[
    Step {
        about: OPEN_FILES,
        take: raise_limits,
    },
    Step {
        about: MEMORY,
        take: find_cap,
    },
    Step {
        about: PORT,
        take: open_sockets,
    },
    Step {
        about: MANAGER,
        take: find_manager,
    },
    Step {
        about: CERTIFICATES,
        take: read_certificates,
    },
    Step {
        about: ACME,
        take: read_authorities,
    },
    Step {
        about: CLUSTER,
        take: read_cluster,
    },
    Step {
        about: "user",
        take: give_up_rights,
    },
];

/// The steps with the privileges, root directory and limits of the serving tracker.
pub(crate) const UNPRIVILEGED: &[Step] = &[
    Step {
        about: "runtime",
        take: choose_runtime,
    },
    Step {
        about: CERTIFICATES,
        take: try_certificates_again,
    },
    Step {
        about: "lists",
        take: read_lists,
    },
    Step {
        about: OPEN_FILES,
        take: count_connections,
    },
    Step {
        about: MEMORY,
        take: divide_memory,
    },
    Step {
        about: STATE,
        take: find_state,
    },
    Step {
        about: ACME,
        take: find_acme,
    },
];

/// Who started the process, and is told how it goes.
pub(crate) const MANAGER: &str = "service manager";
/// The certificates of HTTPS.
pub(crate) const CERTIFICATES: &str = "certificates";
/// The limit on open files, and the connections that it leaves room for.
pub(crate) const OPEN_FILES: &str = "open files";
/// The memory that the process may take.
pub(crate) const MEMORY: &str = "memory";
/// The sockets of the tracker.
pub(crate) const PORT: &str = "port";
/// Certificates from an ACME directory.
pub(crate) const ACME: &str = "ACME";
/// The secrets of a cluster, and what brokers are asked with.
pub(crate) const CLUSTER: &str = "cluster";
/// The state file.
pub(crate) const STATE: &str = "state";

fn raise_limits(_: &Options, _: &mut Ready, tell: Tell<'_>) -> Result<(), Failure> {
    // A supervisor has raised them for the process that serves.
    if !is_supervised() {
        limits::raise(tell);
    }
    Ok(())
}

/// Inside a new root the files that tell of cgroups are not to be found.
fn find_cap(options: &Options, ready: &mut Ready, _: Tell<'_>) -> Result<(), Failure> {
    ready.cap = Cap::find(options.memory_max);
    Ok(())
}

/// The lists are there by now, and connections have been counted.
fn divide_memory(options: &Options, ready: &mut Ready, tell: Tell<'_>) -> Result<(), Failure> {
    let Some(cap) = ready.cap else {
        return Ok(());
    };
    let config = &options.config;
    let needs = Needs {
        resident: resident_bytes(),
        lists: ready.access.as_ref().map_or(0, |access| access.bytes() as u64),
        workers: options.listen.workers,
        sketch: sketch_bytes(config),
        connections: ready
            .connections_max
            .filter(|_| options.listen.uses(Transport::Tcp))
            .unwrap_or(0),
        full_scrape: config.full_scrape(),
        peer_ids: config.swarms().peer_ids(),
    };
    let budget = Budget::divide(&cap, &needs).map_err(Failure::Memory)?;
    tell(&format_args!("Memory: {cap}; {budget}"));
    ready.connections_max = ready
        .connections_max
        .map(|files| budget.connections.clamp(1, files));
    ready.budget = Some(budget);
    Ok(())
}

/// Bytes by which each worker limits sources.
fn sketch_bytes(config: &Config) -> u64 {
    match config.limits().mode() {
        LimitMode::On | LimitMode::DryRun => BYTES_PER_WORKER as u64,
        LimitMode::Off => 0,
    }
}

fn open_sockets(options: &Options, ready: &mut Ready, tell: Tell<'_>) -> Result<(), Failure> {
    ready.opened = Some(sockets::obtain(&options.listen, tell).map_err(Failure::Sockets)?);
    Ok(())
}

fn find_manager(_: &Options, ready: &mut Ready, _: Tell<'_>) -> Result<(), Failure> {
    ready.notifier = Some(Notifier::from_env().map_err(Failure::Notify)?);
    Ok(())
}

/// Keys are for root's eyes on most hosts.
fn read_certificates(options: &Options, ready: &mut Ready, tell: Tell<'_>) -> Result<(), Failure> {
    ready.certificates = CertificateFiles::load(&options.tls, tell).map_err(Failure::Certificates)?;
    Ok(())
}

/// What root has read, another user may not be able to read again.
fn try_certificates_again(_: &Options, ready: &mut Ready, tell: Tell<'_>) -> Result<(), Failure> {
    if let Some(certificates) = &mut ready.certificates {
        ready.unreadable = certificates.find_unreadable();
    }
    for (Setting { source, value }, error) in &ready.unreadable {
        tell(&format_args!(
            "{source}={}: {} for the user or in the root that serves: a renewed certificate takes a restart",
            value.display(),
            Plain(error)
        ));
    }
    Ok(())
}

/// The files are for root's eyes, as keys are.
fn read_cluster(options: &Options, ready: &mut Ready, _: Tell<'_>) -> Result<(), Failure> {
    let secrets = options.cluster_secret.as_ref().map(secrets::read);
    ready.secrets = secrets.transpose().map_err(Failure::Secrets)?;
    let access = Access::read(options.cluster.as_ref()).map_err(Failure::Cluster)?;
    if let (Some(options), Some(access), Some(secrets)) = (&options.cluster, &access, &ready.secrets) {
        ready.cluster = Some(Cluster::new(options.clone(), access, secrets.clone()));
    }
    Ok(())
}

fn give_up_rights(options: &Options, _: &mut Ready, tell: Tell<'_>) -> Result<(), Failure> {
    let process = &options.process;
    Privileges::look_up(process.user.as_ref(), process.chroot.as_ref())
        .and_then(|privileges| privileges.drop(tell))
        .map_err(Failure::Privileges)
}

/// Outside a new root, where files of certificates are.
fn read_authorities(options: &Options, ready: &mut Ready, _: Tell<'_>) -> Result<(), Failure> {
    ready.authorities = Authorities::read(options.acme.as_ref()).map_err(Failure::Acme)?;
    Ok(())
}

/// Does nothing without what earlier steps have failed at.
fn find_acme(options: &Options, ready: &mut Ready, tell: Tell<'_>) -> Result<(), Failure> {
    if let (Some(options), Some(authorities), Some(files)) =
        (&options.acme, &ready.authorities, &ready.certificates)
    {
        let acme = Acme::find(options, authorities, files.shared(), tell);
        ready.acme = Some(acme.map_err(Failure::Acme)?);
    }
    Ok(())
}

fn choose_runtime(options: &Options, ready: &mut Ready, tell: Tell<'_>) -> Result<(), Failure> {
    let count = threads::wanted(options);
    threads::check_limit(count).map_err(|error| Failure::Threads { count, error })?;
    ready.serve = Some(runtime::choose(options, tell).map_err(Failure::Runtime)?);
    Ok(())
}

fn read_lists(options: &Options, ready: &mut Ready, tell: Tell<'_>) -> Result<(), Failure> {
    if !options.lists.is_empty() {
        ready.access = Some(options.lists.load(tell).map_err(Failure::Lists)?);
    }
    Ok(())
}

fn count_connections(options: &Options, ready: &mut Ready, _: Tell<'_>) -> Result<(), Failure> {
    let (workers, sockets) = match &ready.opened {
        Some(opened) => (opened.workers.len(), opened.sockets()),
        // Opening them has failed in an earlier step: as many as there would be, mostly one for each protocol.
        None => {
            let Listen { workers, binds } = &options.listen;
            (*workers, workers * binds.len())
        }
    };
    let count = limits::connections_max(workers, sockets);
    ready.connections_max = Some(count.ok_or(Failure::Files { workers })?);
    Ok(())
}

fn find_state(options: &Options, ready: &mut Ready, tell: Tell<'_>) -> Result<(), Failure> {
    match &options.process.state {
        // /dev/null cannot be replaced by a renamed file.
        Some(path) if files::is_null(path) => {
            tell(&format_args!("State {}: nothing is kept", path.display()));
        }
        Some(path) => {
            let user = options.process.user.as_ref();
            let found = StateFile::find(path).map_err(|error| error.of_user(user));
            ready.state = Some(found.map_err(Failure::State)?);
        }
        None => {}
    }
    Ok(())
}
