//! Conformance checks for BitTorrent trackers: point them at a tracker's URLs and get its scorecard.
//!
//! The suite knows nothing of the tracker but its URLs and what the caller tells of its configuration.
//! Its wire code is its own, so that a fault cannot hide by being on both sides.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a check tells the one reply that it wants from all others, whatever they are"
)]

mod audit;
mod check;
mod checks;
mod compare;
mod exceptions;
mod finding;
mod needs;
mod pattern;
mod plain;
mod probe;
mod report;
mod runner;
mod scorecard;
mod target;
mod transcript;
mod wire;

pub use check::{Check, Level, Outcome};
pub use checks::{GROUPS, Group, catalogue};
pub use compare::{compare_markdown, compare_text};
pub use etracker_tls_client::Trust;
pub use exceptions::Exceptions;
pub use pattern::Patterns;
pub use plain::plain;
pub use report::{junit, text};
pub use runner::{Selection, run};
pub use scorecard::{Card, Scorecard, Totals};
pub use target::{Endpoint, Settings, Told};
