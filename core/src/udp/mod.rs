//! The UDP tracker protocol (BEP 15), with IPv6 and options (BEP 41).
//!
//! A driver wraps each received datagram in a [`Datagram`], hands the batch to [`Front::handle`], and sends the replies that the
//! [`Handled`] batch lists.

use crate::announce::Family;

mod connection_id;
mod datagram;
mod front;
pub mod options;
pub mod packet;

pub use connection_id::{ConnectionIds, REPLACED_MAX};
pub use datagram::{Datagram, DropReason, Handled, Verdict};
pub use front::Front;

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
/// Datagrams that runtimes receive and hand in together: a system call for each datagram would cost more than all other work.
pub const BATCH_MAX: usize = 64;
