//! What every runtime needs from the operating system: sockets, batched datagrams, the clock, the load average; and
//! what all runtimes do alike: driving connections, limits, time-outs. A runtime adds only the mechanism: waiting.
//!
//! - [`open`] opens the sockets of all workers; [`UdpBatch`] answers what waits at one of them.
//! - [`work()`] is a whole worker, of which a runtime provides the [`Mechanism`]; [`run_workers`] gives each a thread.
//! - A runtime's `serve` takes a [`Job`], and ends by [`Control::stop`].
//!
//! ```
//! use std::net::UdpSocket;
//! use std::sync::Arc;
//!
//! use etracker_core::udp::packet::{RequestHead, Response};
//! use etracker_core::{Config, Seed, Tracker, Worker};
//! use etracker_runtime_common::{Clock, Fronts, Listen, UdpBatch, open};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut opened = open(&Listen {
//!     addresses: vec!["127.0.0.1".parse()?],
//!     port: 0, // a free one
//!     tcp: false,
//!     udp: true,
//!     workers: 1,
//! })?;
//! let socket = opened.workers.remove(0).udp.remove(0);
//! let (seed, config, clock) = (Seed::new([7; 32]), Config::default(), Clock::start());
//! let front = Fronts::new(&seed, &config).udp;
//! let mut worker = Worker::new(Arc::new(Tracker::new(config, seed, clock.now())));
//!
//! // A client asks for the connection id that it will announce with.
//! let client = UdpSocket::bind("127.0.0.1:0")?;
//! client.send_to(&RequestHead::connect(42).encode(), socket.local_addr()?)?;
//!
//! let mut batch = UdpBatch::new();
//! while batch.exchange(clock.now(), &socket, &front, &mut worker)? == 0 {
//!     std::thread::yield_now(); // a runtime waits until the socket is readable
//! }
//! let mut reply = [0; 16];
//! let len = client.recv(&mut reply)?;
//! assert_eq!(Response::decode(&reply[..len]).unwrap().transaction_id(), 42);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! - `testing`: a clock that stands still, `Clock::fixed`. Not for a tracker that strangers reach.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod address;
mod client_log;
mod clock;
mod control;
mod conversation;
mod crew;
mod datagram_io;
mod fronts;
mod inherited;
mod job;
mod lingering;
mod load;
mod memory;
#[cfg(any(test, not(target_os = "linux")))]
mod one_by_one;
mod plain;
mod prefetch;
mod pulse;
mod seats;
mod sockets;
mod stream;
mod sys;
mod udp;
mod unserved;
mod work;
mod worker_state;

pub use accept::accept;
pub use address::{Address, AddressError};
pub use client_log::ADDRESSES;
pub use clock::Clock;
pub use control::Control;
pub use crew::run_workers;
/// Tracker, protocols and time, which this crate drives.
pub use etracker_core;
pub use etracker_core::interval::LoadAverage;
pub use fronts::{Fronts, UdpFront};
pub use inherited::Inherited;
pub use job::{Job, ServeError, WorkerJob};
pub use load::load_average;
pub use memory::{Memory, find_memory, join_free_memory_at_once, resident_bytes};
pub use plain::Plain;
pub use prefetch::Prefetcher;
pub use pulse::{BEAT, Pulse};
pub use sockets::{
    IN_USE_MILLIS_MAX, Listen, Listening, OpenError, Opened, RECEIVE_BUFFER, Transport, WorkerSockets,
    is_absent, open,
};
pub use stream::Stream;
pub use udp::UdpBatch;
pub use work::{Mechanism, work};
