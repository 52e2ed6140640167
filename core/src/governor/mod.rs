//! Limits by source: what one address, and the networks around it, may ask of the tracker.
//!
//! Each worker has a `Governor`, which weighs requests in buckets that leak as time passes: one for the sender's IPv4 /32, /24
//! and /20, or its IPv6 /64, /56 and /48. The buckets are kept in fixed memory, whatever comes. Requests that have no room
//! in one of them are answered with less, or not at all; see [`Verdict`]. What proves its sender's address (an announce with a
//! connection id, all of TCP) has buckets of its own, so that nobody can use up another's by forged datagrams.

mod board;
mod charge;
mod heaviest;
pub(crate) mod memory;
mod policy;
mod prefix;
mod sketch;
mod verdict;

pub(crate) use board::Board;
pub use board::Limited;
pub use charge::{Charge, Class};
pub use heaviest::Heavy;
pub use memory::{MemoryFigures, Pressure};
pub use policy::BYTES_PER_WORKER;
pub(crate) use policy::Governor;
pub(crate) use prefix::Prefix;
pub use prefix::Width;
pub(crate) use verdict::TOO_MANY;
pub use verdict::Verdict;
