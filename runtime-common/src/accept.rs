//! Accepting connections, and what its failures mean.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Accepts a connection, non-blocking, and says who it is from.
///
/// # Errors
/// `WouldBlock` if nobody waits to be accepted; else as in accept(2).
pub fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    native_accept(listener)
}

#[cfg(not(target_os = "linux"))]
use portable_accept as native_accept;

#[cfg(target_os = "linux")]
use crate::sys::accept as native_accept;

/// On every system. Not everywhere a connection inherits what was set at its listener.
#[cfg(any(test, not(target_os = "linux")))]
fn portable_accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    // A client that has gone already is noticed soon enough.
    let _ = stream.set_nodelay(true);
    Ok((stream, SocketAddr::new(peer.ip().to_canonical(), peer.port())))
}

/// What an error of a listening or a UDP socket means for the clients it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketError {
    /// One client went away, or its network failed: the next one is served at once.
    Client,
    /// Descriptors or memory are short, or the call is forbidden: try again after a pause.
    Transient,
    /// The socket cannot be used: the worker ends.
    Fatal,
}

impl SocketError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of errors are not ours")]
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            // Linux reports pending network errors of the new connection here: try again, says accept(2).
            ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::TimedOut => Self::Client,
            // EINVAL: the socket does not listen, and no pause changes that.
            ErrorKind::InvalidInput | ErrorKind::NotConnected => Self::Fatal,
            _ if is_no_socket(error) => Self::Fatal,
            // An unknown error may pass. Ending the worker for it would end the service.
            _ => Self::Transient,
        }
    }
}

#[cfg(unix)]
fn is_no_socket(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::ENOTSOCK))
}

#[cfg(not(unix))]
fn is_no_socket(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn accepts_without_waiting(accept: fn(&TcpListener) -> io::Result<(TcpStream, SocketAddr)>) {
        let listener = TcpListener::bind("[::]:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(accept(&listener).unwrap_err().kind(), ErrorKind::WouldBlock);
        let client = TcpStream::connect(("127.0.0.1", listener.local_addr().unwrap().port())).unwrap();
        let (mut stream, peer) = loop {
            match accept(&listener) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                accepted => break accepted.unwrap(),
            }
        };
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn connections_are_accepted_without_waiting_for_them_or_on_them() {
        accepts_without_waiting(native_accept);
        accepts_without_waiting(portable_accept);
    }

    #[test]
    #[cfg(unix)]
    fn errors_are_told_apart_by_how_far_they_reach() {
        let kind = |number| SocketError::of(&io::Error::from_raw_os_error(number));
        // The last two may be a network's error that Linux hands on.
        for transient in [
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOMEM,
            libc::ENOBUFS,
            libc::EPROTO,
            libc::EOPNOTSUPP,
            libc::EPERM,
            libc::ENOSYS,
        ] {
            assert_eq!(kind(transient), SocketError::Transient);
        }
        for client in [libc::ECONNABORTED, libc::EHOSTUNREACH, libc::ENETDOWN] {
            assert_eq!(kind(client), SocketError::Client);
        }
        for fatal in [libc::EBADF, libc::ENOTSOCK, libc::EINVAL] {
            assert_eq!(kind(fatal), SocketError::Fatal);
        }
    }
}
