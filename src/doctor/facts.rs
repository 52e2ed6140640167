//! What is so on this host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use etracker_core::config::Intervals;
use etracker_core::{Config, Tracker};
use etracker_runtime_common::{
    Clock, Control, Job, Listen, OpenError, Opened, RECEIVE_BUFFER, Transport, open,
};

use super::addresses;
use super::probe::{Asked, Probe};
use crate::limits;
use crate::options::Options;
use crate::runtime;
use crate::start::{Failure, seed};

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
    pub(super) place: Place,
    pub(super) round_trips: Vec<RoundTrip>,
    pub(super) intervals: Intervals,
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

/// Whether the tracker can have its port.
#[derive(Debug)]
pub(super) enum Place {
    /// Yes; one was started for the round trips.
    Free,
    /// No, and this one could not serve there: why.
    Broken(String),
    Refused(OpenError),
}

/// A question to one address, and its answer.
#[derive(Debug)]
pub(super) struct RoundTrip {
    pub(super) transport: Transport,
    pub(super) at: SocketAddr,
    pub(super) asked: Asked,
}

impl Facts {
    /// Looks at the host as a tracker with these options would find it. Serves for a moment, or asks the tracker that
    /// has the port already.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(super) fn gather(options: &Options) -> Result<Self, Failure> {
        let listen = &options.listen;
        let open_files = open_files(listen.workers);
        let (place, round_trips) = match open(listen) {
            Ok(opened) => {
                let connections_max = open_files.connections.unwrap_or_default().max(listen.workers);
                serve_and_ask(options, opened, connections_max)?
            }
            Err(error @ OpenError::InUse(..)) => (Place::Refused(error), ask_all(options)?),
            Err(error) => (Place::Refused(error), Vec::new()),
        };
        Ok(Self {
            workers: listen.workers,
            port: listen.port,
            open_files,
            receive_buffer: if listen.udp { receive_buffer() } else { None },
            locked_memory: locked_memory(options),
            ipv6: Ipv6 {
                wanted: listen.addresses.is_empty() || listen.addresses.iter().any(IpAddr::is_ipv6),
                usable: addresses::ipv6_is_usable(),
                global_addresses: addresses::global_ipv6_addresses(),
            },
            place,
            round_trips,
            intervals: options.config.intervals(),
        })
    }
}

fn open_files(workers: usize) -> OpenFiles {
    let (soft, hard) = limits::open_files_raised();
    // A UDP and a TCP socket of each worker is what most have; addresses that are bound one by one have more.
    let connections = limits::room(usize::try_from(soft).unwrap_or(usize::MAX), workers, 2 * workers);
    OpenFiles {
        soft,
        hard,
        wanted: limits::OPEN_FILES_WANTED,
        connections,
    }
}

/// What a socket gets, wherever it is bound.
fn receive_buffer() -> Option<ReceiveBuffer> {
    let listen = Listen {
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
        port: 0,
        tcp: false,
        udp: true,
        workers: 1,
    };
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

/// Starts a tracker without lists and state on these sockets, asks it, and stops it.
fn serve_and_ask(
    options: &Options,
    opened: Opened,
    connections_max: usize,
) -> Result<(Place, Vec<RoundTrip>), Failure> {
    let serve = match runtime::choose(options, &|_| ()) {
        Ok(serve) => serve,
        Err(reason) => return Ok((Place::Broken(reason), Vec::new())),
    };
    let (clock, control) = (Clock::start(), Arc::new(Control::new()));
    let job = Job {
        tracker: Arc::new(tracker(options.config.clone(), clock)?),
        sockets: opened.workers,
        clock,
        control: Arc::clone(&control),
        connections_max,
    };
    let server = thread::Builder::new().name("serve".to_owned());
    let server = server.spawn(move || serve(job)).map_err(Failure::Thread)?;
    let round_trips = ask_all(options);
    control.stop();
    let place = match server.join() {
        Ok(Err(error)) => Place::Broken(error.to_string()),
        // A panic has ended the process.
        Ok(Ok(())) | Err(_) => Place::Free,
    };
    Ok((place, round_trips?))
}

fn tracker(config: Config, clock: Clock) -> Result<Tracker, Failure> {
    Ok(Tracker::new(config, seed()?, clock.now()).with_connection_ids(&seed()?))
}

fn ask_all(options: &Options) -> Result<Vec<RoundTrip>, Failure> {
    let listen = &options.listen;
    let probe = Probe::new(options.config.trusted_proxies().is_some())?;
    let mut round_trips = Vec::new();
    for ip in addresses::reachable(&listen.addresses) {
        let at = SocketAddr::new(ip, listen.port);
        for (wanted, transport) in [(listen.udp, Transport::Udp), (listen.tcp, Transport::Tcp)] {
            if wanted {
                let asked = match transport {
                    Transport::Udp => probe.udp(at),
                    Transport::Tcp => probe.http(at),
                };
                round_trips.push(RoundTrip { transport, at, asked });
            }
        }
    }
    Ok(round_trips)
}

/// Linux reports twice what it grants: the other half is for its own book-keeping.
const REPORTED_PER_GRANTED: usize = if cfg!(target_os = "linux") { 2 } else { 1 };
