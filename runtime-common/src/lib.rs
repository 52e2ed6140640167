//! What every runtime needs from the operating system: sockets, batched datagrams, the clock, the load average; and
//! what all runtimes do alike: driving connections, limits, time-outs. A runtime adds only the mechanism: waiting.

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
