//! Torrents and their peers.
//!
//! [`Store`] is the face of one shard, and [`Packed`] the store that the tracker uses. [`Swarms`] is all shards with their
//! locks.

mod handout;
#[cfg(test)]
mod model;
mod packed;
#[cfg(any(test, feature = "fuzzing"))]
mod plain;
mod shards;
mod spread;
mod store;

pub use handout::Handout;
pub use packed::{Packed, PackedPrefetched, PackedStage, PackedStored, PackedSweep, PackedWalk};
#[cfg(test)]
pub(crate) use packed::{Work, take_work};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use plain::Plain;
pub(crate) use shards::SHARDS_MAX;
pub use shards::{Fullest, PREFETCHED_TOGETHER, Swarms, SweepPosition, WalkPosition};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use spread::assert_spread;
pub(crate) use store::Decision;
pub use store::{Arrival, Member, Peer, Prepared, Room, Store, Swept, Taken, Totals, Visit};
