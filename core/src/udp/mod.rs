//! The UDP tracker protocol (BEP 15), with IPv6 and options (BEP 41).

use core::net::SocketAddr;

use crate::announce::Family;

mod connection_id;
mod handle;
pub mod options;
pub mod packet;

pub use connection_id::{AGE_MAX_TICKS, ConnectionIds};

/// One datagram of a batch, with room for its reply.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Who sent it; never a mapped address.
    pub sender: SocketAddr,
    /// What was received.
    pub payload: &'a [u8],
    /// Where the reply is written. At least [`REPLY_MAX`] bytes hold every reply; a shorter one gets fewer peers.
    pub reply: &'a mut [u8],
    /// What became of it; set by [`Worker::handle_datagrams`](crate::Worker::handle_datagrams).
    pub verdict: Verdict,
}

/// What to do about a datagram.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send this many bytes of the reply buffer back to the sender.
    Reply(usize),
    /// Send nothing.
    Silent(Silence),
}

/// Why a datagram is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It was not handled yet.
    Unhandled,
    /// The sender's address is denied.
    Denied,
    /// It is no request of the protocol.
    Malformed,
    /// Its connection id does not prove the sender's address.
    Unproven,
    /// The reply buffer is too short for any answer.
    NoRoom,
}

/// Peers in one answer, so that it is never fragmented: an Ethernet frame over IPv4, the 1,280 bytes that every link
/// carries over IPv6.
#[must_use]
pub const fn peers_max(family: Family) -> usize {
    match family {
        Family::V4 => 242,
        Family::V6 => 67,
    }
}

/// Bytes of the longest reply: 242 IPv4 peers; it fits an Ethernet frame unfragmented.
pub const REPLY_MAX: usize = 1472;
/// Datagrams that runtimes receive and hand in together, as a system call a datagram would cost more than all else.
pub const BATCH_MAX: usize = 64;
