//! The protocol and the state of a BitTorrent tracker, without IO.
//!
//! The driver passes in time, sender and bytes; the crate writes the answer into the driver's buffer and returns a verdict. The
//! same seed, configuration and sequence of inputs give the same bytes out.
//!
//! - [`Tracker`] is the state that all workers share; [`Worker`] is one worker's way into it.
//! - [`udp`]: a batch of datagrams goes into [`udp::Front::handle`].
//! - [`http`]: an [`http::Connection`] per client, behind one [`http::Front`], takes bytes and returns the next step.
//! - [`cluster`]: a [`cluster::Node`] replicates the peers of several trackers over a bus.
//! - Expiry and the announce interval are driven by [`Tracker::poll_timeout`] and [`Tracker::handle_timeout`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use etracker_core::udp::packet::{RequestHead, Response};
//! use etracker_core::udp::{self, Datagram, REPLY_MAX};
//! use etracker_core::{Config, Instant, Seed, Tracker, Worker};
//!
//! let now = Instant::from_secs(1_700_000_000);
//! let seed = Seed::new([7; 32]); // in earnest: from the operating system
//! let front = udp::Front::new(&seed);
//! let tracker = Arc::new(Tracker::new(Config::default(), seed, now));
//! let mut worker = Worker::new(tracker);
//!
//! // A client asks for the connection id that it will announce with.
//! let sender = "203.0.113.5:6881".parse().unwrap();
//! let request = RequestHead::connect(42).encode();
//! let mut reply = [0; REPLY_MAX];
//! let mut batch = [Datagram::new(sender, &request, &mut reply)];
//! let handled = front.handle(&mut worker, now, &mut batch);
//!
//! let (_, reply) = handled.replies().next().expect("a connect is answered");
//! let response = Response::decode(reply).unwrap();
//! assert_eq!(response.transaction_id(), 42);
//! ```
//!
//! # Features
//! - `std` (default): shards are guarded by mutexes, so that workers on several threads can share one tracker. Without it the
//!   crate needs `alloc` alone, and a tracker stays on one thread.
//! - `fuzzing`: the bodies of the fuzz targets, which semantic versioning does not cover.
#![no_std]
#![cfg_attr(docsrs, feature(doc_cfg))]
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

pub mod access;
pub mod announce;
pub mod bencode;
pub mod cluster;
pub mod config;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod governor;
pub mod hidden_clients;
mod host;
pub mod http;
pub mod ids;
pub mod interval;
mod lock;
mod maintenance;
pub mod overload;
pub mod prefetch;
pub mod proxy;
pub mod scope;
pub mod seed;
pub mod snapshot;
pub mod stats;
pub mod swarm;
pub mod time;
mod tracker;
pub mod udp;

pub use config::Config;
pub use host::Host;
pub use ids::{InfoHash, PeerId};
/// The networks that a [`Config`] and the lists in [`access`] take.
pub use ipnet;
pub use maintenance::TimeoutOutcome;
pub use seed::Seed;
pub use time::Instant;
pub use tracker::{Peers, Prepared, Tracker, Worker};
