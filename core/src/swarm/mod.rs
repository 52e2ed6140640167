//! Torrents and their peers.
//!
//! [`Store`] is the face of one shard; [`Packed`] is the store that the tracker uses, and [`Plain`] one made of ordinary
//! maps that it is compared with.
//! [`Swarms`] is all shards with their locks.

mod handout;
mod packed;
mod plain;
mod shards;
mod store;

pub use handout::Handout;
pub use packed::{Packed, PackedSweep, PackedWalk};
#[cfg(test)]
pub(crate) use packed::{Work, take_work};
pub use plain::{Plain, PlainPosition};
pub(crate) use shards::SHARDS_MAX;
pub use shards::{Fullest, PREFETCHED_TOGETHER, Swarms, SweepPosition, WalkPosition};
pub use store::{Peer, Prepared, Room, Stage, Store, Swept, Totals, Visit};
