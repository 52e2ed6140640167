//! Why a socket cannot be opened.

use std::error::Error;
use std::net::SocketAddr;
use std::{fmt, io};

use crate::{Address, Plain, Protocol};

/// An address that cannot be listened on. Displayed as one line that names it and the reason.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another socket listens there.
    InUse(Protocol, SocketAddr),
    /// The port is reserved for privileged processes, or the system forbids listening.
    NotPermitted(Protocol, SocketAddr),
    /// No interface has the address, or not yet.
    NotLocal(Protocol, SocketAddr),
    /// There is no such interface, or not yet.
    NoInterface(Address),
    /// The system refused for another reason.
    Refused(Protocol, SocketAddr, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(protocol, at) => write!(
                f,
                "cannot listen on {protocol} {at}: the port is in use by another program"
            ),
            Self::NotPermitted(protocol, at) => write!(
                f,
                "cannot listen on {protocol} {at}: not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE"
            ),
            Self::NotLocal(protocol, at) => {
                write!(
                    f,
                    "cannot listen on {protocol} {at}: this host has no such address"
                )
            }
            Self::NoInterface(address) => {
                let interface = address.zone.as_deref().unwrap_or_default();
                write!(
                    f,
                    "cannot listen on {address}: this host has no interface {interface}"
                )
            }
            Self::Refused(protocol, at, error) => {
                write!(f, "cannot listen on {protocol} {at}: {}", Plain(error))
            }
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(_, _, error) => Some(error),
            Self::InUse(..) | Self::NotPermitted(..) | Self::NotLocal(..) | Self::NoInterface(_) => None,
        }
    }
}

impl OpenError {
    /// Whether it may be otherwise soon: at boot, interfaces and their addresses come one by one.
    #[must_use]
    pub const fn is_of_a_host_that_starts(&self) -> bool {
        matches!(self, Self::NotLocal(..) | Self::NoInterface(_))
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of errors are not ours")]
pub(crate) fn refused(protocol: Protocol, at: SocketAddr, error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::AddrInUse => OpenError::InUse(protocol, at),
        io::ErrorKind::PermissionDenied => OpenError::NotPermitted(protocol, at),
        io::ErrorKind::AddrNotAvailable => OpenError::NotLocal(protocol, at),
        _ => OpenError::Refused(protocol, at, error),
    }
}
