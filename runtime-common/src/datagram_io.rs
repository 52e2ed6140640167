//! What receives and sends batches of datagrams, and what becomes of them.

use std::io;
use std::net::UdpSocket;

use arrayvec::ArrayVec;
use etracker_core::udp::{BATCH_MAX, Datagram};

/// Receives and sends batches of datagrams, in memory of its own.
pub(crate) trait DatagramIo {
    /// Room for a batch.
    fn new() -> Self;
    /// Receives a batch from a non-blocking socket; at least one datagram, or an error.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize>;
    /// What was received last. A datagram longer than [`PAYLOAD_MAX`] is cut off there.
    fn datagrams(&mut self) -> Datagrams<'_>;
    /// Adds the reply to a datagram, by its place in the batch, to what is sent next.
    fn queue(&mut self, slot: usize, len: usize);
    /// Sends what was queued to where it came from, from the address it was sent to.
    fn send(&mut self, socket: &UdpSocket) -> Sent;
}

/// A batch, borrowed from where it was received.
pub(crate) type Datagrams<'a> = ArrayVec<Datagram<'a>, BATCH_MAX>;

/// What became of replies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) datagrams: usize,
    pub(crate) bytes: usize,
    /// The system's number of the error of each that was not sent.
    pub(crate) failed: ArrayVec<i32, BATCH_MAX>,
}

/// The system's number of an error; 0 if it has none.
pub(crate) fn error_number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or_default()
}

/// Bytes of the longest datagram that is read whole; a scrape of 74 torrents has 1496.
pub(crate) const PAYLOAD_MAX: usize = 2048;
