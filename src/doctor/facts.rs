//! Gathers the facts about this host that findings are made of.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use etracker_core::access::{Access, AddressList};
use etracker_core::config::Intervals;
use etracker_core::{Config, Tracker};
use etracker_runtime_common::{
    Clock, Control, Fronts, Job, Listen, OpenError, Protocol, RECEIVE_BUFFER, Transport, open,
};

use super::addresses::{self, Absent, bound};
use super::conntrack::Conntrack;
use super::finding::Finding;
use super::https::{Https, TlsTrip, find_cas};
use super::probe::{Probe, ProbeResult, Trust, at_once};
use crate::acme::Look;
use crate::failure::Failure;
use crate::limits;
use crate::members::ClusterState;
use crate::memory::{Cap, cgroup_bytes, machine_bytes};
use crate::options::Options;
#[cfg(feature = "glommio")]
use crate::runtime;
use crate::sockets::{self, SocketError};
use crate::start::{secured, seed};
use crate::state::{FoundState, StateContent, StateError};
use crate::steps::{PRIVILEGED, Ready, Step, UNPRIVILEGED};

/// The facts about a host and its options.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) workers: usize,
    pub(super) port: u16,
    pub(super) open_files: OpenFiles,
    /// `None` without UDP.
    pub(super) receive_buffer: Option<ReceiveBuffer>,
    /// `None` without UDP, or if the host has no table of tracked connections.
    pub(super) conntrack: Option<Conntrack>,
    /// `None` if the tracker's memory is not limited.
    pub(super) memory: Option<MemoryLimit>,
    /// `None` if glommio is not built in.
    pub(super) locked_memory: Option<LockedMemory>,
    pub(super) ipv6: Ipv6,
    /// Addresses to listen on that the host does not have.
    pub(super) absent: Vec<Absent>,
    /// A global address of this host that the tracker listens on.
    pub(super) public: Option<IpAddr>,
    /// The steps of a start.
    pub(super) steps: Vec<StepResult>,
    /// The content of the state file, if one is configured and usable.
    pub(super) state: Option<Result<StateContent, StateError>>,
    /// The error of a second tracker on this state, if a tracker holds it now.
    pub(super) state_taken: Option<StateError>,
    /// Why the tracker started for the round trips failed.
    pub(super) broken: Option<String>,
    pub(super) round_trips: Vec<RoundTrip>,
    /// The certificates of HTTPS.
    pub(super) https: Https,
    /// Probes over TLS.
    pub(super) over_tls: Vec<TlsTrip>,
    /// What the tracker that has the port finds about itself.
    pub(super) told: Vec<Finding>,
    /// The way to certificates, with `--acme`.
    pub(super) acme: Option<Look>,
    /// What a node would hear, with `--cluster`.
    pub(super) cluster: Option<ClusterState>,
    /// Variables that begin like options and are unknown.
    pub(super) unknown_variables: Vec<String>,
    pub(super) intervals: Intervals,
    /// Whether peers with addresses that are not global are allowed.
    pub(super) private_peers: bool,
}

/// The limit on open files.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFiles {
    /// The soft limit after the tracker has raised it.
    pub(super) soft: u64,
    pub(super) hard: u64,
    pub(super) wanted: u64,
    /// The connections that fit; `None` if not even one for each worker does.
    pub(super) connections: Option<usize>,
}

/// Bytes of a UDP socket's receive buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveBuffer {
    pub(super) wanted: usize,
    pub(super) granted: usize,
}

/// What limits the tracker's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryLimit {
    pub(super) cap: Cap,
    /// Bytes that this process's cgroup may take, or the machine has, whichever is less.
    pub(super) system: Option<u64>,
}

/// Bytes of memory that io_uring locks.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockedMemory {
    /// Whether glommio is chosen.
    pub(super) needed: bool,
    /// The minimum for a start.
    pub(super) least: u64,
    /// The memory of all workers.
    pub(super) wanted: u64,
    /// The limit after the tracker has raised it.
    pub(super) granted: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ipv6 {
    /// Whether the options include IPv6.
    pub(super) wanted: bool,
    pub(super) usable: bool,
    pub(super) global_addresses: usize,
}

/// The result of a step of a start.
#[derive(Debug)]
pub(super) struct StepResult {
    pub(super) about: &'static str,
    /// The messages of the step.
    pub(super) told: Vec<String>,
    pub(super) outcome: Result<(), Failure>,
}

/// A probe of one address and its result.
#[derive(Debug)]
pub(super) struct RoundTrip {
    pub(super) transport: Transport,
    pub(super) at: SocketAddr,
    pub(super) asked: ProbeResult,
}

impl Facts {
    /// Performs the steps of a start with these options and probes the tracker: one that it starts for a moment, or the one that
    /// has the port already. It changes only this process, which may have dropped its privileges afterwards.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn gather(options: &Options) -> Result<Self, Failure> {
        let listen = &options.listen;
        let bound = bound(listen);
        // Before privileges are dropped: the limits of the starting user count.
        let (receive_buffer, locked_memory) = (receive_buffer(listen), locked_memory(options));
        // Inside a new root the files of cgroups are not there.
        let cgroup = cgroup_bytes();
        find_cas(options);
        let (steps, mut ready) = run_steps(options);
        let (state, state_taken) = examine(ready.state.take(), &options.config)?;
        let has_room = !steps
            .iter()
            .any(|step| matches!(step.outcome, Err(Failure::Files { .. })));
        let connections = ready.connections_max;
        let acme = ready
            .acme
            .take()
            .map(|acme| acme.look(options.tls.port.unwrap_or_default()));
        let heard = ready
            .cluster
            .take()
            .map(|cluster| cluster.look(&options.config, seed()?));
        let cluster = heard.transpose()?;
        let memory = ready.cap.map(|cap| MemoryLimit {
            cap,
            system: [cgroup, machine_bytes()].into_iter().flatten().min(),
        });
        let https = Https::find(options, &mut ready);
        let (broken, answers) = if is_in_use(&steps) {
            (None, ask_all(options, &listed(&ready), &https)?)
        } else {
            serve_and_ask(options, ready, &https)?
        };
        let Answers {
            round_trips,
            over_tls,
        } = answers;
        let told = if is_in_use(&steps) {
            told(&round_trips, options)?
        } else {
            Vec::new()
        };
        Ok(Self {
            workers: listen.workers,
            port: sockets::port(listen),
            open_files: open_files(listen.workers, connections, has_room),
            receive_buffer,
            conntrack: conntrack(&round_trips),
            memory,
            locked_memory,
            ipv6: Ipv6 {
                wanted: bound.is_empty() || bound.iter().any(IpAddr::is_ipv6),
                usable: addresses::ipv6_is_usable(),
                global_addresses: addresses::global_ipv6_addresses(),
            },
            absent: addresses::absent(&bound),
            public: addresses::reachable(&bound)
                .into_iter()
                .find(|ip| addresses::is_global(*ip)),
            steps,
            state,
            state_taken,
            broken,
            round_trips,
            https,
            over_tls,
            told,
            acme,
            cluster,
            unknown_variables: options.unknown_variables.clone(),
            intervals: options.config.intervals(),
            private_peers: options.config.swarms().private_peers(),
        })
    }
}

/// The content of the state, and whether a tracker holds it.
fn examine(found: Option<FoundState>, config: &Config) -> Result<ExaminedState, Failure> {
    let Some(found) = found else {
        return Ok((None, None));
    };
    let (taken, clock) = (found.is_free().err(), Clock::start());
    let content = found.examine(&tracker(config.clone(), clock)?, clock);
    Ok((Some(content), taken))
}

/// The content of a state, and the error of a second tracker if one holds it.
type ExaminedState = (Option<Result<StateContent, StateError>>, Option<StateError>);

/// Performs the steps of a start, even after one has failed. If privileges cannot be dropped, the unprivileged steps are skipped:
/// run as root, they would pass where the tracker fails.
fn run_steps(options: &Options) -> (Vec<StepResult>, Ready) {
    let mut ready = Ready::default();
    let mut taken: Vec<StepResult> = PRIVILEGED
        .iter()
        .map(|step| take(step, options, &mut ready))
        .collect();
    if !is_without_rights(&taken) {
        taken.extend(UNPRIVILEGED.iter().map(|step| take(step, options, &mut ready)));
    }
    (taken, ready)
}

fn take(step: &Step, options: &Options, ready: &mut Ready) -> StepResult {
    let told = RefCell::new(Vec::new());
    let outcome = step.take(options, ready, &|line| told.borrow_mut().push(line.to_string()));
    StepResult {
        about: step.about,
        told: told.into_inner(),
        outcome,
    }
}

fn is_without_rights(steps: &[StepResult]) -> bool {
    let failed = |step: &StepResult| matches!(step.outcome, Err(Failure::Privileges(_)));
    steps.iter().any(failed)
}

/// Whether another program has the port.
pub(super) fn is_in_use(steps: &[StepResult]) -> bool {
    let in_use = |step: &StepResult| {
        matches!(
            step.outcome,
            Err(Failure::Sockets(SocketError::Open(OpenError::InUse(..))))
        )
    };
    steps.iter().any(in_use)
}

/// `connections` is the number that fits beside the sockets, if these could be opened.
fn open_files(workers: usize, connections: Option<usize>, has_room: bool) -> OpenFiles {
    let (soft, hard) = limits::open_files_raised();
    // Without open sockets, assume one UDP and one TCP socket for each worker, which is the usual case.
    let usual = || limits::room(usize::try_from(soft).unwrap_or(usize::MAX), workers, 2 * workers);
    OpenFiles {
        soft,
        hard,
        wanted: limits::OPEN_FILES_WANTED,
        connections: connections.or_else(usual).filter(|_| has_room),
    }
}

/// The receive buffer that the system grants, on any address; `None` without UDP.
fn receive_buffer(listen: &Listen) -> Option<ReceiveBuffer> {
    if !listen.serves(Protocol::Udp) {
        return None;
    }
    let listen = Listen::new(1).bind(Protocol::Udp, &[Ipv4Addr::LOCALHOST.into()], 0);
    let opened = open(&listen).ok()?;
    Some(ReceiveBuffer {
        wanted: RECEIVE_BUFFER,
        granted: opened.receive_buffer / REPORTED_PER_GRANTED,
    })
}

fn conntrack(round_trips: &[RoundTrip]) -> Option<Conntrack> {
    let over_udp = round_trips.iter().filter(|trip| trip.transport == Transport::Udp);
    let asked: Vec<_> = over_udp.map(|trip| trip.at).collect();
    (!asked.is_empty())
        .then(|| Conntrack::after_asking(&asked))
        .flatten()
}

#[cfg(feature = "glommio")]
fn locked_memory(options: &Options) -> Option<LockedMemory> {
    let workers = options.listen.workers as u64;
    let least = etracker_glommio::LOCKED_BYTES_MIN;
    Some(LockedMemory {
        needed: runtime::is_glommio(options),
        least,
        wanted: least.max(workers * limits::LOCKED_MEMORY_OF_WORKER),
        granted: limits::locked_memory_raised()?,
    })
}

#[cfg(not(feature = "glommio"))]
const fn locked_memory(_options: &Options) -> Option<LockedMemory> {
    None
}

/// Starts a tracker without state, and with no list but that of trusted proxies, on the open sockets, probes it, and stops it. Returns its error, if it failed.
fn serve_and_ask(
    options: &Options,
    ready: Ready,
    https: &Https,
) -> Result<(Option<String>, Answers), Failure> {
    let listed = listed(&ready);
    let (Some(opened), Some(serve)) = (ready.opened, ready.serve) else {
        return Ok((None, Answers::default()));
    };
    if options.tls.port.is_some() && ready.certificates.is_none() {
        // The step that failed says why.
        return Ok((None, Answers::default()));
    }
    let fronts = Fronts::new(&seed()?, &options.config);
    let fronts = secured(fronts, ready.certificates.as_ref());
    let (clock, control) = (Clock::start(), Arc::new(Control::new()));
    let access = Access {
        proxies: listed.clone(),
        ..Access::default()
    };
    let job = Job {
        tracker: Arc::new(tracker(options.config.clone(), clock)?.with_access(access)),
        fronts,
        sockets: opened.workers,
        clock,
        control: Arc::clone(&control),
        connections_max: ready.connections_max.unwrap_or(options.listen.workers),
    };
    let server = thread::Builder::new().name("serve".to_owned());
    let server = server.spawn(move || serve(job)).map_err(Failure::Thread)?;
    let answers = ask_all(options, &listed, https);
    control.stop();
    let broken = match server.join() {
        Ok(Err(error)) => Some(error.to_string()),
        // A panic has ended the process.
        Ok(Ok(())) | Err(_) => None,
    };
    Ok((broken, answers?))
}

/// The trusted proxies of lists.
fn listed(ready: &Ready) -> AddressList {
    let access = ready.access.as_ref();
    access.map(|access| access.proxies.clone()).unwrap_or_default()
}

fn tracker(config: Config, clock: Clock) -> Result<Tracker, Failure> {
    Ok(Tracker::new(config, seed()?, clock.now()))
}

/// What came of all probes.
#[derive(Debug, Default)]
struct Answers {
    round_trips: Vec<RoundTrip>,
    over_tls: Vec<TlsTrip>,
}

/// Probes all addresses.
fn ask_all(options: &Options, listed: &AddressList, https: &Https) -> Result<Answers, Failure> {
    let listen = &options.listen;
    let trust = Trust {
        proxies: options.config.proxies(),
        listed: Some(listed),
    };
    let probe = Probe::new(trust)?;
    let protocols = [Protocol::Udp, Protocol::Http, Protocol::HttpOrHttps].into_iter();
    let protocols = protocols.filter(|&protocol| listen.serves(protocol));
    let addresses = addresses::reachable(&bound(listen)).into_iter();
    let places = addresses.flat_map(|ip| {
        let at = SocketAddr::new(ip, sockets::port(listen));
        protocols.clone().map(move |protocol| (protocol.transport(), at))
    });
    Ok(Answers {
        round_trips: at_once(places, |(transport, at)| ask(probe, transport, at)),
        over_tls: https.ask(options, trust),
    })
}

fn ask(probe: Probe<'_>, transport: Transport, at: SocketAddr) -> RoundTrip {
    let asked = match transport {
        Transport::Udp => probe.udp(at),
        Transport::Tcp => probe.http(at),
    };
    RoundTrip { transport, at, asked }
}

/// Asks the first address that answers over HTTP what the tracker finds.
fn told(round_trips: &[RoundTrip], options: &Options) -> Result<Vec<Finding>, Failure> {
    let probe = Probe::new(Trust::default())?;
    let answers = |trip: &&RoundTrip| trip.transport == Transport::Tcp && trip.asked.is_ok();
    let found = round_trips.iter().find(answers);
    let prefix = options.config.path_prefix();
    Ok(found.map(|trip| probe.told(trip.at, prefix)).unwrap_or_default())
}

/// Linux reports twice the granted size: the other half is for its own bookkeeping.
const REPORTED_PER_GRANTED: usize = if cfg!(target_os = "linux") { 2 } else { 1 };
