//! Facts for pages beside the tracker's figures.

use etracker_core::config::Limits;
use etracker_core::stats::{Count, Figures};
use etracker_core::{Instant, Tracker};
use etracker_runtime_common::Memory;

use jiff::tz::TimeZone;

use super::Grouping;
use crate::allocations::Allocations;
use crate::hidden_clients::Hidden;

/// Facts that do not change while the process serves.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// The revision of the build.
    pub(crate) revision: String,
    /// The start of the process.
    pub(crate) started: Instant,
    /// Failures before this start.
    pub(crate) failures: u32,
    /// The port of HTTP and UDP.
    pub(crate) port: u16,
    /// Whether HTTP is served.
    pub(crate) tcp: bool,
    /// Whether UDP is served.
    pub(crate) udp: bool,
    /// The soft and the hard limit on open files.
    pub(crate) open_files: (u64, u64),
    /// The most memory that the process is to take, in bytes, if that is limited.
    pub(crate) memory_max: Option<u64>,
    /// The character set that pages declare.
    pub(crate) charset: String,
    /// How digits are grouped for people.
    pub(crate) grouping: Grouping,
    /// The time zone of times for people.
    pub(crate) zone: TimeZone,
}

/// All figures and facts of the pages at one moment.
#[derive(Debug)]
pub(super) struct Moment<'a> {
    pub(super) about: &'a About,
    pub(super) now: Instant,
    pub(super) figures: Figures,
    pub(super) limits: Limits,
    pub(super) memory: Memory,
    pub(super) hidden: Vec<Hidden>,
    pub(super) allocations: Allocations,
}

impl<'a> Moment<'a> {
    pub(super) fn take(about: &'a About, now: Instant, tracker: &Tracker) -> Self {
        Self {
            about,
            now,
            figures: tracker.figures(),
            limits: tracker.config().limits().clone(),
            memory: Memory::take(),
            hidden: Hidden::all(now, tracker),
            allocations: Allocations::take(),
        }
    }

    pub(super) fn uptime_secs(&self) -> u64 {
        self.now.saturating_since(self.about.started).as_secs()
    }

    /// TCP connections that are open.
    pub(super) fn open_connections(&self) -> u64 {
        let accepted = self.figures.count(Count::AcceptPassed);
        accepted.saturating_sub(self.figures.count(Count::Closed))
    }
}
