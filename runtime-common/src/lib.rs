//! What every runtime needs from the operating system: sockets, batched datagrams, the clock, the load average; and
//! what all runtimes do alike: driving connections, limits, time-outs. A runtime adds only the mechanism: waiting.
//!
//! - [`open`] opens the sockets of all workers; [`exchange()`] answers what waits at one of them, with the system calls of
//!   [`UdpBatch`] or any other [`DatagramIo`].
//! - [`work()`] is a whole worker, of which a runtime provides the [`Mechanism`]; [`run_workers`] gives each a thread.
//! - A runtime's `serve` takes a [`Job`], and ends by [`Control::stop`].
//! - [`DatagramFront`] and [`ConnectionFront`] are further protocols, which workers serve beside those of the tracker.
//!
//! ```
//! use std::net::UdpSocket;
//! use std::sync::Arc;
//!
//! use etracker_core::udp::packet::{RequestHead, Response};
//! use etracker_core::{Config, Seed, Tracker, Worker};
//! use etracker_runtime_common::{Clock, Fronts, Listen, Protocol, UdpBatch, exchange, open};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A free port of one address, for one worker.
//! let mut opened = open(&Listen::new(1).bind(Protocol::Udp, &["127.0.0.1".parse()?], 0))?;
//! let socket = opened.workers.remove(0).udp.remove(0).socket;
//! let (seed, config, clock) = (Seed::new([7; 32]), Config::default(), Clock::start());
//! let front = Fronts::new(&seed, &config).udp;
//! let mut worker = Worker::new(Arc::new(Tracker::new(config, seed, clock.now())));
//!
//! // A client asks for the connection id that it will announce with.
//! let client = UdpSocket::bind("127.0.0.1:0")?;
//! client.send_to(&RequestHead::connect(42).encode(), socket.local_addr()?)?;
//!
//! let mut batch = UdpBatch::new();
//! while exchange(clock.now(), &mut batch, &socket, &*front, &mut worker)? == 0 {
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
mod client_stream;
mod clock;
mod control;
mod conversation;
mod crew;
mod datagram_io;
mod exchange;
#[cfg(target_os = "linux")]
mod filter;
mod front;
mod fronts;
mod handshakes;
mod inherited;
mod intake;
mod job;
mod lingering;
mod listen;
mod load;
mod memory;
#[cfg(any(test, not(target_os = "linux")))]
mod one_by_one;
mod open_error;
mod plain;
mod prefetch;
mod protocol;
mod proxied;
mod pulse;
mod secure;
mod slots;
mod socket_failures;
mod sockets;
mod stream;
mod sys;
mod work;
mod worker_state;

pub use accept::accept;
pub use address::{Address, AddressError};
/// What batches are made of.
pub use arrayvec::ArrayVec;
pub use client_log::ADDRESSES;
pub use clock::Clock;
pub use control::Control;
pub use crew::run_workers;
pub use datagram_io::{DatagramIo, Datagrams, Sent};
/// Tracker, protocols and time, which this crate drives.
pub use etracker_core;
pub use etracker_core::interval::LoadAverage;
pub use exchange::exchange;
pub use front::{ConnectionFront, DatagramFront, Session, Traffic, UdpFront};
pub use fronts::Fronts;
pub use handshakes::{Effort, Handshake, Handshakes, Turn};
pub use inherited::Inherited;
pub use job::{Job, ServeError, WorkerJob};
pub use listen::{Bind, Listen};
pub use load::load_average;
pub use memory::{Memory, find_memory, join_free_memory_at_once, resident_bytes};
#[cfg(not(target_os = "linux"))]
pub use one_by_one::UdpBatch;
pub use open_error::OpenError;
pub use plain::Plain;
pub use prefetch::Prefetcher;
pub use protocol::{Protocol, Transport};
pub use pulse::{BEAT, Pulse};
pub use secure::{Secure, TlsPort};
pub use sockets::{
    Bound, IN_USE_MILLIS_MAX, Listening, Opened, RECEIVE_BUFFER, WorkerSockets, is_absent, open,
};
pub use stream::Stream;
#[cfg(target_os = "linux")]
pub use sys::UdpBatch;
pub use work::{Mechanism, work};
