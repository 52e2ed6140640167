//! The sockets: passed in by systemd or a supervisor, or opened here.

use std::fmt;

use etracker_runtime_common::{Address, Bind, Inherited, Listen, OpenError, Opened, Transport, open};
use listenfd::ListenFd;

use crate::supervised::is_supervised;
use crate::terminal::{Tell, complain};

/// The sockets passed in as systemd does it (`LISTEN_FDS`), or else new ones by the options. Must be called before the process has
/// other threads.
///
/// # Errors
/// A socket cannot be opened or used.
pub(crate) fn obtain(listen: &Listen, tell: Tell<'_>) -> Result<Opened, SocketError> {
    let handed_in = ListenFd::from_env();
    if handed_in.len() == 0 {
        return open(listen).map_err(SocketError::Open);
    }
    // A supervisor opened them by the same options, and has reported it.
    if !is_supervised() {
        tell(&format_args!(
            "Sockets passed in: {}, which override --port and --bind",
            handed_in.len()
        ));
    }
    adopt(handed_in, listen)
}

/// Warns of addresses that the host does not have: Linux also allows to listen on a mistyped one.
pub(crate) fn tell_absent(opened: &Opened) {
    for ip in opened.absent() {
        complain(format_args!(
            "this host has no address {ip}, or not yet: no client reaches the tracker there until then"
        ));
    }
}

/// Where the tracker listens in fact: sockets passed in override the options.
pub(crate) fn found(listen: &Listen, opened: &Opened) -> Listen {
    let found = |bind: &Bind| {
        let mut local = opened.local.iter();
        let local = local.find(|local| local.protocol == bind.protocol)?;
        Some(Bind {
            port: local.at.port(),
            ..bind.clone()
        })
    };
    Listen {
        binds: listen.binds.iter().filter_map(found).collect(),
        workers: listen.workers,
    }
}

/// The one port of all protocols.
pub(crate) fn port(listen: &Listen) -> u16 {
    listen.binds.first().map_or(0, |bind| bind.port)
}

/// The addresses that the options name, the same for all protocols: none for all.
pub(crate) fn addresses(listen: &Listen) -> Vec<&Address> {
    let mut addresses: Vec<&Address> = Vec::new();
    for address in listen.binds.iter().filter_map(|bind| bind.address.as_ref()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

fn adopt(mut handed_in: ListenFd, listen: &Listen) -> Result<Opened, SocketError> {
    let mut inherited = Inherited::default();
    for number in 0..handed_in.len() {
        if let Ok(Some(tcp)) = handed_in.take_tcp_listener(number) {
            inherited.tcp.push(tcp);
        } else if let Ok(Some(udp)) = handed_in.take_udp_socket(number) {
            inherited.udp.push(udp);
        } else {
            return Err(SocketError::Kind { number });
        }
    }
    for (there, transport) in [
        (!inherited.tcp.is_empty(), Transport::Tcp),
        (!inherited.udp.is_empty(), Transport::Udp),
    ] {
        if there && !listen.uses(transport) {
            return Err(SocketError::Unwanted(transport));
        }
    }
    inherited.adopt(listen).map_err(SocketError::Open)
}

/// Why the tracker has no sockets. Shown as one line.
#[derive(Debug)]
pub(crate) enum SocketError {
    /// A socket cannot be opened or used.
    Open(OpenError),
    /// A socket passed in is neither TCP nor UDP.
    Kind { number: usize },
    /// A socket was passed in for a protocol that the options turn off.
    Unwanted(Transport),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Kind { number } => write!(
                f,
                "socket {} of those passed in is neither for TCP nor for UDP",
                number + 1
            ),
            Self::Unwanted(transport) => write!(
                f,
                "a {transport} socket was passed in, but the options turn {transport} off: it would swallow requests"
            ),
        }
    }
}

impl std::error::Error for SocketError {}
