//! What is so on this host.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use etracker_core::config::Intervals;
use etracker_core::{Config, Tracker};
use etracker_runtime_common::{
    Clock, Control, Fronts, Job, Listen, OpenError, Protocol, RECEIVE_BUFFER, Transport, open,
};

use super::addresses::{self, Absent};
use super::probe::{Hidden, Probe, ProbeResult};
use crate::failure::Failure;
use crate::limits;
use crate::options::Options;
#[cfg(feature = "glommio")]
use crate::runtime;
use crate::sockets::{self, SocketError};
use crate::start::seed;
use crate::state::{FoundState, StateContent, StateError};
use crate::steps::{PRIVILEGED, Ready, Step, UNPRIVILEGED};

/// What is judged.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) workers: usize,
    pub(super) port: u16,
    pub(super) open_files: OpenFiles,
    /// Nothing without UDP.
    pub(super) receive_buffer: Option<ReceiveBuffer>,
    /// Nothing where glommio is not built in.
    pub(super) locked_memory: Option<LockedMemory>,
    pub(super) ipv6: Ipv6,
    /// Addresses to listen on that are not there.
    pub(super) absent: Vec<Absent>,
    /// An address of this host that is listened on, and that the whole Internet can reach.
    pub(super) public: Option<IpAddr>,
    /// The steps of a start.
    pub(super) steps: Vec<StepResult>,
    /// What is kept already, if a state is to be kept and can be.
    pub(super) state: Option<Result<StateContent, StateError>>,
    /// The tracker that has the state now, as the error of another one that wants it.
    pub(super) state_taken: Option<StateError>,
    /// Why the tracker that was started for the round trips failed.
    pub(super) broken: Option<String>,
    pub(super) round_trips: Vec<RoundTrip>,
    /// What hides clients from the tracker that has the port.
    pub(super) hidden: Vec<Hidden>,
    /// Variables of the environment that look like options and are none.
    pub(super) unknown_variables: Vec<String>,
    pub(super) intervals: Intervals,
    /// Whether peers may have addresses that are not global.
    pub(super) private_peers: bool,
}

/// The limit on open files.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenFiles {
    /// What the tracker raises it to.
    pub(super) soft: u64,
    pub(super) hard: u64,
    pub(super) wanted: u64,
    /// The connections that are left; nothing if not even one for each worker.
    pub(super) connections: Option<usize>,
}

/// Bytes of a UDP socket's receive buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveBuffer {
    pub(super) wanted: usize,
    pub(super) granted: usize,
}

/// Bytes of memory that io_uring locks.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockedMemory {
    /// Whether glommio would serve.
    pub(super) needed: bool,
    /// With less it does not start.
    pub(super) least: u64,
    /// What all workers take.
    pub(super) wanted: u64,
    /// What the tracker raises the limit to.
    pub(super) granted: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ipv6 {
    /// Whether the options ask for it, or leave it open.
    pub(super) wanted: bool,
    pub(super) usable: bool,
    pub(super) global_addresses: usize,
}

/// A step that a start takes too, and what came of it here.
#[derive(Debug)]
pub(super) struct StepResult {
    pub(super) about: &'static str,
    /// What it found.
    pub(super) told: Vec<String>,
    pub(super) outcome: Result<(), Failure>,
}

/// A question to one address, and its answer.
#[derive(Debug)]
pub(super) struct RoundTrip {
    pub(super) transport: Transport,
    pub(super) at: SocketAddr,
    pub(super) asked: ProbeResult,
}

impl Facts {
    /// Looks at the host as a tracker with these options would find it: takes the steps of a start, serves for a moment,
    /// or asks the tracker that has the port already. It changes nothing but this process, whose rights may be gone then.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn gather(options: &Options) -> Result<Self, Failure> {
        let listen = &options.listen;
        let bound = bound(listen);
        // As the user that starts it, whose limits count.
        let (receive_buffer, locked_memory) = (receive_buffer(listen), locked_memory(options));
        let (steps, mut ready) = run_steps(options);
        let (state, state_taken) = examine(ready.state.take(), &options.config)?;
        let has_room = !steps
            .iter()
            .any(|step| matches!(step.outcome, Err(Failure::Files { .. })));
        let connections = ready.connections_max;
        let (broken, round_trips) = if is_in_use(&steps) {
            (None, ask_all(options)?)
        } else {
            serve_and_ask(options, ready)?
        };
        let hidden = if is_in_use(&steps) {
            hidden(&round_trips)?
        } else {
            Vec::new()
        };
        Ok(Self {
            workers: listen.workers,
            port: sockets::port(listen),
            open_files: open_files(listen.workers, connections, has_room),
            receive_buffer,
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
            hidden,
            unknown_variables: options.unknown_variables.clone(),
            intervals: options.config.intervals(),
            private_peers: options.config.swarms().private_peers(),
        })
    }
}

/// What the state holds, and who has it.
fn examine(found: Option<FoundState>, config: &Config) -> Result<ExaminedState, Failure> {
    let Some(found) = found else {
        return Ok((None, None));
    };
    let (taken, clock) = (found.is_free().err(), Clock::start());
    let content = found.examine(&tracker(config.clone(), clock)?, clock);
    Ok((Some(content), taken))
}

/// The content of a state, and the tracker that has it.
type ExaminedState = (Option<Result<StateContent, StateError>>, Option<StateError>);

/// The addresses to listen on.
fn bound(listen: &Listen) -> Vec<IpAddr> {
    let addresses = sockets::addresses(listen).into_iter();
    addresses.map(|address| address.ip).collect()
}

/// Takes the steps of a start, each although another fails; without the rights to serve with none of those that need
/// them.
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

/// `connections` are those that sockets leave room for, if they could be opened.
fn open_files(workers: usize, connections: Option<usize>, has_room: bool) -> OpenFiles {
    let (soft, hard) = limits::open_files_raised();
    // A UDP and a TCP socket of each worker is what most have; addresses that are bound one by one have more.
    let usual = || limits::room(usize::try_from(soft).unwrap_or(usize::MAX), workers, 2 * workers);
    OpenFiles {
        soft,
        hard,
        wanted: limits::OPEN_FILES_WANTED,
        connections: connections.or_else(usual).filter(|_| has_room),
    }
}

/// What a socket gets, wherever it is bound; nothing without UDP.
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

/// Starts a tracker without lists and state on the sockets that are ready, asks it, and stops it. Says why it failed.
fn serve_and_ask(options: &Options, ready: Ready) -> Result<(Option<String>, Vec<RoundTrip>), Failure> {
    let (Some(opened), Some(serve)) = (ready.opened, ready.serve) else {
        return Ok((None, Vec::new()));
    };
    let (clock, control) = (Clock::start(), Arc::new(Control::new()));
    let job = Job {
        tracker: Arc::new(tracker(options.config.clone(), clock)?),
        fronts: Fronts::new(&seed()?, &options.config),
        sockets: opened.workers,
        clock,
        control: Arc::clone(&control),
        connections_max: ready.connections_max.unwrap_or(options.listen.workers),
    };
    let server = thread::Builder::new().name("serve".to_owned());
    let server = server.spawn(move || serve(job)).map_err(Failure::Thread)?;
    let round_trips = ask_all(options);
    control.stop();
    let broken = match server.join() {
        Ok(Err(error)) => Some(error.to_string()),
        // A panic has ended the process.
        Ok(Ok(())) | Err(_) => None,
    };
    Ok((broken, round_trips?))
}

fn tracker(config: Config, clock: Clock) -> Result<Tracker, Failure> {
    Ok(Tracker::new(config, seed()?, clock.now()))
}

/// Asks at every address at once: where nothing answers, each is waited for.
fn ask_all(options: &Options) -> Result<Vec<RoundTrip>, Failure> {
    let listen = &options.listen;
    let probe = Probe::new(options.config.trusted_proxies().is_some())?;
    let protocols = [Protocol::Udp, Protocol::Http].into_iter();
    let protocols = protocols.filter(|&protocol| listen.serves(protocol));
    let addresses = addresses::reachable(&bound(listen)).into_iter();
    let places = addresses.flat_map(|ip| {
        let at = SocketAddr::new(ip, sockets::port(listen));
        protocols.clone().map(move |protocol| (protocol.transport(), at))
    });
    thread::scope(|scope| {
        let asking = places.map(|(transport, at)| {
            let thread = thread::Builder::new().name("ask".to_owned());
            let asking = thread.spawn_scoped(scope, move || ask(probe, transport, at));
            // Where there are no more threads, this one asks.
            asking.map_err(|_| ask(probe, transport, at))
        });
        let asking: Vec<_> = asking.collect();
        let asked = asking.into_iter().filter_map(|asking| match asking {
            // A panic has ended the process.
            Ok(asking) => asking.join().ok(),
            Err(asked) => Some(asked),
        });
        Ok(asked.collect())
    })
}

fn ask(probe: Probe, transport: Transport, at: SocketAddr) -> RoundTrip {
    let asked = match transport {
        Transport::Udp => probe.udp(at),
        Transport::Tcp => probe.http(at),
    };
    RoundTrip { transport, at, asked }
}

/// Asks the first that answers over HTTP.
fn hidden(round_trips: &[RoundTrip]) -> Result<Vec<Hidden>, Failure> {
    let probe = Probe::new(false)?;
    let answers = |trip: &&RoundTrip| trip.transport == Transport::Tcp && trip.asked.is_ok();
    let found = round_trips.iter().find(answers);
    Ok(found.map(|trip| probe.hidden(trip.at)).unwrap_or_default())
}

/// Linux reports twice what it grants: the other half is for its own book-keeping.
const REPORTED_PER_GRANTED: usize = if cfg!(target_os = "linux") { 2 } else { 1 };
