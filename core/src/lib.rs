//! The protocol and the state of a BitTorrent tracker, without IO.
//!
//! Whoever drives this crate brings the time, the sender and the bytes; the crate writes the answer into the driver's
//! buffer and returns a verdict. The same seed, configuration and sequence of inputs give the same bytes out.
//!
//! - [`Tracker`] is the state that all workers share; [`Worker`] is one worker's way into it.
//! - [`udp`]: a batch of datagrams goes into [`Worker::handle_datagrams`].
//! - [`http`]: an [`http::Connection`] per client takes bytes and says what to do next.
//! - Ageing is driven by [`Tracker::poll_timeout`] and [`Tracker::handle_timeout`].
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::expect_used, clippy::panic)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::expect_used,
        clippy::panic,
        reason = "a test may fail"
    )
)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod announce;
pub mod bencode;
pub mod config;
pub mod http;
pub mod ids;
pub mod interval;
mod lock;
pub mod seed;
pub mod stats;
pub mod swarm;
pub mod time;
mod tracker;
pub mod udp;

pub use config::Config;
pub use ids::{InfoHash, PeerId};
pub use seed::Seed;
pub use time::Instant;
pub use tracker::{Peers, Tracker, Upkept, Worker};
