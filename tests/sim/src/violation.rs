//! Violations that a run finds.

use std::fmt;

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the property, as the list of checks numbers it.
    pub invariant: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl Violation {
    /// Whether it is about the load of the machine.
    pub(crate) fn is_of_load(&self) -> bool {
        [LOAD_NEAR_LIMIT, INTERVAL_STEADY].contains(&self.invariant)
    }

    pub(crate) fn new(invariant: &'static str, seen: impl Into<String>) -> Self {
        Self {
            invariant,
            seen: seen.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.seen)
    }
}

impl std::error::Error for Violation {}

/// Fails with `invariant` unless `holds`.
pub(crate) fn ensure(
    holds: bool,
    invariant: &'static str,
    seen: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds {
        return Ok(());
    }
    Err(Violation::new(invariant, seen()))
}

/// The interval controller keeps the load near its limit, as far as its bounds allow.
pub(crate) const LOAD_NEAR_LIMIT: &str = "the load is kept near its limit";
/// The interval controller does not swing.
pub(crate) const INTERVAL_STEADY: &str = "the interval does not oscillate";
