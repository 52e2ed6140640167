//! Sockets handed over to glommio, which takes most kinds of them by their number only.
#![expect(
    unsafe_code,
    reason = "the number must be that of an open descriptor that nobody else owns"
)]

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

/// A socket as glommio knows it.
pub(crate) fn watch<W: FromRawFd>(socket: impl Into<OwnedFd>) -> W {
    // SAFETY: the descriptor is open, and owned by nobody but the one that it is made into.
    unsafe { W::from_raw_fd(socket.into().into_raw_fd()) }
}
