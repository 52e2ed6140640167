//! What every runtime needs from the operating system: sockets, batched datagrams, the clock, the load average; and
//! what all runtimes do alike: driving connections, limits, time-outs. A runtime adds only the mechanism: waiting.

mod clock;
mod control;
mod job;
mod load;
#[cfg(any(test, not(target_os = "linux")))]
mod one_by_one;
mod sockets;
mod sys;
mod udp;

pub use clock::Clock;
pub use control::Control;
pub use etracker_core::interval::LoadAverage;
pub use job::{Job, ServeError};
pub use load::load_average;
pub use sockets::{
    IN_USE_MILLIS_MAX, Listen, OpenError, Opened, RECEIVE_BUFFER, Transport, WorkerSockets, open,
};
pub use sys::prefetch;
pub use udp::UdpBatch;
