//! A small tracker for the checks to be tried on: right in everything, but for one fault that can be switched on.
//!
//! It is plain and slow on purpose, and shares nothing with the suite's own wire code.

pub(crate) mod fault;
mod http;
mod swarm;
mod tls;
mod udp;

use fault::Fault;
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use swarm::Swarms;
use tls::Tls;

/// How the tracker is set up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) fault: Option<Fault>,
    /// Its clock runs so many times as fast as the world's; 0 stands for 1.
    pub(crate) hurry: u32,
    /// Hashes in it are refused; read anew for each announce.
    pub(crate) deny_list: Option<PathBuf>,
    /// If there, only hashes in it are accepted.
    pub(crate) allow_list: Option<PathBuf>,
    /// Believes this header from everyone.
    pub(crate) proxy_header: Option<String>,
    /// Speaks TLS at its HTTP ports, with a certificate for `localhost`.
    pub(crate) tls: bool,
    /// Believes `ip=` of everyone.
    pub(crate) trusts_ip: bool,
    /// Datagrams of this address are dropped.
    pub(crate) denied_source: Option<Ipv4Addr>,
}

/// A running tracker: its ports on 127.0.0.0/8 and on ::1, where there is IPv6.
#[derive(Debug)]
pub(crate) struct Tracker {
    state: Arc<State>,
    pub(crate) http: SocketAddr,
    pub(crate) http6: Option<SocketAddr>,
    pub(crate) udp: SocketAddr,
    pub(crate) udp6: Option<SocketAddr>,
}

impl Tracker {
    /// The CA of its certificate, if it speaks TLS.
    pub(crate) fn ca(&self) -> Option<&str> {
        self.state.tls.as_ref().map(|tls| tls.ca.as_str())
    }

    /// Binds to free ports and serves until dropped.
    pub(crate) fn start(setup: Setup) -> Self {
        let state = Arc::new(State::new(setup));
        let one = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // Without packet information, a reply from a wildcard bind leaves from the system's choice of address.
        let wildcard = state.has(Fault::RepliesFromElsewhere);
        let any = if wildcard {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
        } else {
            one
        };
        let any6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let http = state.listen(one).expect("a free TCP port").port();
        let udp = state.receive(any).expect("a free UDP port").port();
        Self {
            http: loopback(http),
            http6: state.listen(any6),
            udp: loopback(udp),
            udp6: state.receive(any6),
            state,
        }
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
    }
}

/// What all threads of the tracker share.
#[derive(Debug)]
pub(crate) struct State {
    setup: Setup,
    tls: Option<Tls>,
    swarms: Mutex<Swarms>,
    list: Mutex<BTreeSet<String>>,
    begun: Instant,
    counter: AtomicU64,
    stop: AtomicBool,
}

impl State {
    fn new(setup: Setup) -> Self {
        let swarms = Mutex::new(Swarms::default());
        let list = Mutex::new(BTreeSet::new());
        Self {
            tls: setup.tls.then(|| Tls::new(setup.fault)),
            setup,
            swarms,
            list,
            begun: Instant::now(),
            counter: AtomicU64::new(1),
            stop: AtomicBool::new(false),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.setup.fault == Some(fault)
    }

    /// Seconds of the tracker's own clock.
    fn now(&self) -> u64 {
        (self.begun.elapsed() * self.setup.hurry.max(1)).as_secs()
    }

    /// A wait of the tracker's own clock, in the world's.
    fn patience(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds) / self.setup.hurry.max(1)
    }

    fn swarms(&self) -> MutexGuard<'_, Swarms> {
        self.swarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(self: &Arc<Self>, at: SocketAddr) -> Option<SocketAddr> {
        let listener = TcpListener::bind(at).ok()?;
        let address = listener.local_addr().ok()?;
        let state = Arc::clone(self);
        thread::spawn(move || http::serve(&state, &listener));
        Some(address)
    }

    fn receive(self: &Arc<Self>, at: SocketAddr) -> Option<SocketAddr> {
        let socket = UdpSocket::bind(at).ok()?;
        let address = socket.local_addr().ok()?;
        let state = Arc::clone(self);
        thread::spawn(move || udp::serve(&state, &socket));
        Some(address)
    }
}
