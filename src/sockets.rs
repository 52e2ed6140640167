//! The sockets: handed in by whoever started the process, or opened.

use std::fmt;

use etracker_runtime_common::{Address, Bind, Inherited, Listen, OpenError, Opened, Protocol, open};
use listenfd::ListenFd;

use crate::supervised::is_supervised;
use crate::terminal::{Tell, complain};

/// The sockets that were handed in as systemd does it (`LISTEN_FDS`), or, if none were, those that the options ask for.
/// Has to be called before there are other threads.
///
/// # Errors
/// A socket cannot be opened or used.
pub(crate) fn obtain(listen: &Listen, tell: Tell<'_>) -> Result<Opened, SocketError> {
    let handed_in = ListenFd::from_env();
    if handed_in.len() == 0 {
        return open(listen).map_err(SocketError::Open);
    }
    // Those of a supervisor are what the options ask for, and it has said what there is to say.
    if !is_supervised() {
        tell(&format_args!(
            "Sockets handed in: {}, which come before --port and --bind",
            handed_in.len()
        ));
    }
    adopt(handed_in, listen)
}

/// Tells of addresses at which nobody reaches the tracker, or not yet: one that is mistyped can be listened on too.
pub(crate) fn tell_absent(opened: &Opened) {
    for ip in opened.absent() {
        complain(format_args!(
            "this host has no address {ip}, or not yet: nobody reaches the tracker there until it has"
        ));
    }
}

/// Where the tracker really listens, whatever was asked for.
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
    for (there, protocol) in [
        (!inherited.tcp.is_empty(), Protocol::Http),
        (!inherited.udp.is_empty(), Protocol::Udp),
    ] {
        if there && !listen.serves(protocol) {
            return Err(SocketError::Unwanted(protocol));
        }
    }
    inherited.adopt(listen.workers).map_err(SocketError::Open)
}

/// Why there are no sockets to serve on. Shown as one line.
#[derive(Debug)]
pub(crate) enum SocketError {
    /// An address cannot be listened on, or a socket not be used.
    Open(OpenError),
    /// What was handed in is neither TCP nor UDP.
    Kind { number: usize },
    /// A socket was handed in that the options leave nothing to do.
    Unwanted(Protocol),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Kind { number } => write!(
                f,
                "socket {} of those handed in is neither for TCP nor for UDP",
                number + 1
            ),
            Self::Unwanted(protocol) => write!(
                f,
                "a {protocol} socket was handed in, but the options turn {protocol} off: it would swallow requests"
            ),
        }
    }
}

impl std::error::Error for SocketError {}
