//! A simulator: a runtime for etracker's core with a virtual clock and a simulated network.
//!
//! A run draws a scenario from its seed: the tracker's configuration, clients, attackers, a network. Then the tracker
//! lives for simulated days in seconds. Every answer is checked against a reference model, everything stored
//! is compared with it each simulated hour, and the same seed always gives the same transcript.
//!
//! [`play_cluster`] does the same for several trackers that replicate each other.

mod campaign;
mod chance;
mod client;
mod cluster;
mod history;
mod hostile;
mod http;
mod limits;
mod load;
mod model;
mod network;
mod plan;
mod proofs;
mod queue;
mod run;
mod scenario;
mod server;
mod streams;
mod tally;
mod tcp;
mod violation;
mod wire;
mod world;

pub use campaign::{Campaign, Summary};
pub use cluster::{ClusterBounds, ClusterFailed, ClusterPassed, play_cluster};
pub use plan::{Answer, Question, Table, plot};
pub use run::{Failed, Passed, play, playing, shrink};
pub use scenario::Bounds;
pub use server::catches_panic;
pub use tally::{LEARNED_PEERS, Tally};
pub use violation::Violation;
