//! A third runtime for etracker's core, made of a virtual clock and a seeded network.
//!
//! A run draws a scenario from its seed: the tracker's configuration, clients, attackers, a network. Then the tracker
//! lives for simulated days in seconds. Every answer is checked against a [reference model](model), everything stored
//! is compared with it each simulated hour, and the same seed always gives the same transcript.

mod chance;
mod client;
mod history;
mod hostile;
mod http;
mod load;
mod model;
mod network;
mod proofs;
mod queue;
mod run;
mod scenario;
mod server;
mod tally;
mod tcp;
mod violation;
mod wire;
mod world;

pub use run::{Failed, Passed, play, shrink};
pub use scenario::Bounds;
pub use tally::{LEARNED_PEERS, Tally};
pub use violation::Violation;
