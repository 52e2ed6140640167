//! What workers count, and the sums that readers see.

mod counters;

pub use counters::{Count, Counters};
