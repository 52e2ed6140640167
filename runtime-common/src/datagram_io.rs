//! What receives and sends batches of datagrams, and what becomes of them.

use std::io;
use std::net::UdpSocket;

use arrayvec::ArrayVec;
use etracker_core::udp::{BATCH_MAX, Datagram};

/// Receives and sends batches of datagrams, in memory of its own: what a [`Mechanism`](crate::Mechanism) brings for UDP.
/// [`UdpBatch`](crate::UdpBatch) does so by system calls on a socket; frames of a ring fit as well.
pub trait DatagramIo {
    /// What datagrams are received from and sent by.
    type Socket: ?Sized;

    /// Receives a batch, without waiting: [`BATCH_MAX`] datagrams at most. How many there were: at least one, and fewer than
    /// [`BATCH_MAX`] if no more are waiting.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is waiting; else the socket's error.
    fn receive(&mut self, socket: &Self::Socket) -> io::Result<usize>;

    /// What was received last. Datagrams may be answered where they lie, see [`Datagram::in_place`].
    fn datagrams(&mut self) -> Datagrams<'_>;

    /// Adds the reply to a datagram, of `len` bytes and by its place in the batch, to what is sent next.
    fn queue(&mut self, place: usize, len: usize);

    /// Sends what was queued to where it came from, from the address it was sent to, without waiting.
    fn send(&mut self, socket: &Self::Socket) -> Sent;

    /// The socket of the system whose receive queue the datagrams come from. [`work`](crate::work()) watches that queue for
    /// overload, fits its buffer, and filters it. `None`, the default, if there is none.
    fn system_socket(_socket: &Self::Socket) -> Option<&UdpSocket> {
        None
    }
}

/// A batch, borrowed from where it was received.
pub type Datagrams<'a> = ArrayVec<Datagram<'a>, BATCH_MAX>;

/// What became of replies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How many were sent.
    pub datagrams: usize,
    /// Bytes of those.
    pub bytes: usize,
    /// The system's error number of each that was not sent.
    pub failed: ArrayVec<i32, BATCH_MAX>,
}

/// The system's number of an error; 0 if it has none.
pub(crate) fn error_number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_default()
}

/// Bytes of the longest datagram that is read whole, and where a longer one is cut off; a scrape of 74 torrents has 1496.
pub(crate) const PAYLOAD_MAX: usize = 2048;
