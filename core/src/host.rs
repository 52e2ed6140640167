//! What the tracker is told of the machine it runs on.

use core::time::Duration;

use crate::interval::LoadAverage;

/// What the driver of a tracker knows of its host. One that knows only the load average hands in that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Host {
    /// Load averages over 1, 5 and 15 minutes.
    pub load: LoadAverage,
    /// Memory that the process keeps in use, in bytes; 0 if that is not known.
    pub memory_bytes: u64,
    /// How long the call before this one took; zero if that was not measured.
    pub maintenance_time: Duration,
}

impl From<LoadAverage> for Host {
    fn from(load: LoadAverage) -> Self {
        Self {
            load,
            ..Self::default()
        }
    }
}
