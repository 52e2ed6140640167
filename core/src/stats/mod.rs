//! Counts, measurements and their sums over all workers.

mod counters;
mod evaluation;
mod failures;
mod figures;
mod history;
mod rates;
mod sweeps;
mod turns;
mod worker;

pub use counters::Count;
pub use evaluation::Evaluation;
pub use failures::{ERRORS, Operation};
pub use figures::{Failed, Figures};
pub use history::{DAY_SAMPLES, DAY_STEP_SECS, HOUR_SAMPLES, HOUR_STEP_SECS, History, Level, Sample, Series};
pub use rates::Rates;
pub use sweeps::{Pass, Removed, Sweeps};
pub use turns::{TURN_MILLIS, Turns};
pub use worker::Counters;

pub(crate) use counters::Counter;
pub(crate) use rates::Meter;
