//! Facts for pages beside the tracker's figures.

use std::sync::Arc;

use etracker_core::access::Access;
use etracker_core::config::Limits;
use etracker_core::stats::{Count, Figures};
use etracker_core::{Instant, Tracker};
use etracker_runtime_common::Memory;

use jiff::tz::TimeZone;

use super::Grouping;
use crate::alive::Life;
use crate::allocations::Allocations;
use crate::certificate::Certificate;
use crate::hidden_clients::Hidden;
use crate::members::{ClusterState, ClusterView};
use crate::reloads::{ReloadLog, Reloads};
use crate::renewals::{Renewal, Renewals};
use crate::state::{WriteLog, Writes};
use crate::tls::Certificates;
use crate::usage::Usage;
use crate::verdict::{Judge, Signs, Verdict};

/// Facts that do not change while the process serves.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// The revision of the build.
    pub(crate) revision: String,
    /// The runtime that serves.
    pub(crate) runtime: &'static str,
    /// Whether the workers live, if that is watched.
    pub(crate) life: Option<Life>,
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
    /// The port of HTTPS, if it is served.
    pub(crate) tls_port: Option<u16>,
    /// The certificates of HTTPS.
    pub(crate) certificates: Option<Certificates>,
    /// Certificates from an ACME directory.
    pub(crate) renewals: Renewals,
    /// What is known of the cluster.
    pub(crate) cluster: ClusterView,
    /// What came of writing the state, if there is one.
    pub(crate) state: Option<WriteLog>,
    /// What came of reloads.
    pub(crate) reloads: ReloadLog,
    /// What judges the tracker.
    pub(crate) judge: Arc<Judge>,
    /// The soft and the hard limit on open files.
    pub(crate) open_files: (u64, u64),
    /// Connections at once.
    pub(crate) connections_max: Option<usize>,
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
    pub(super) usage: Usage,
    pub(super) access: Option<Arc<Access>>,
    pub(super) is_alive: bool,
    pub(super) is_ending: bool,
    pub(super) hidden: Vec<Hidden>,
    pub(super) renewals: Vec<Renewal>,
    /// `None` without a cluster.
    pub(super) cluster: Option<ClusterState>,
    pub(super) allocations: Allocations,
    pub(super) certificates: Vec<Certificate>,
    pub(super) state: Option<Writes>,
    pub(super) reloads: Reloads,
    pub(super) verdict: Verdict,
}

impl<'a> Moment<'a> {
    pub(super) fn take(about: &'a About, now: Instant, tracker: &Tracker) -> Self {
        let mut moment = Self {
            about,
            now,
            figures: tracker.figures(),
            limits: tracker.config().limits().clone(),
            memory: Memory::take(),
            usage: Usage::take(),
            access: tracker.access(),
            is_alive: about.life.as_ref().is_none_or(|life| life.is_lived(now, tracker)),
            is_ending: about.life.as_ref().is_some_and(Life::is_ending),
            hidden: Hidden::all(now, tracker),
            renewals: about.renewals.get(),
            cluster: about.cluster.get(),
            allocations: Allocations::take(),
            certificates: about
                .certificates
                .as_ref()
                .map_or_else(Vec::new, |certificates| certificates.on_pages(now)),
            state: about.state.as_ref().map(WriteLog::get),
            reloads: about.reloads.get(),
            verdict: Verdict::default(),
        };
        moment.verdict = about.judge.judge(&moment.signs());
        moment
    }

    fn signs(&self) -> Signs<'_> {
        Signs {
            now: self.now,
            figures: &self.figures,
            udp: self.about.udp.then_some(self.about.port),
            hidden: &self.hidden,
            certificates: &self.certificates,
            renewals: &self.renewals,
            state: self.state.as_ref(),
            reloads: &self.reloads,
            cluster: self.cluster.as_ref(),
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
