//! Figures of the host, which the driver measures.

use core::time::Duration;

use crate::interval::LoadAverage;

/// Figures of the host. A driver that knows only the load averages can hand in those alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Host {
    /// Load averages over 1, 5 and 15 minutes.
    pub load: LoadAverage,
    /// Memory that the process keeps in use, in bytes; 0 if that is not known.
    pub memory_bytes: u64,
    /// How long the call of `handle_timeout` before this one took; zero if that was not measured.
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
