//! Torrents and their peers.
//!
//! [`Store`] is the face of one shard; [`Plain`] is the store made of ordinary maps, which others are compared with.
//! [`Swarms`] is all shards with their locks.

mod handout;
mod plain;
mod shards;
mod store;

pub use handout::Handout;
pub use plain::{Plain, PlainSweep, PlainWalk};
pub use shards::{SHARDS, Swarms, SweepPosition, WalkPosition};
pub use store::{Peer, Room, Store, Swept, Totals, Visit};
