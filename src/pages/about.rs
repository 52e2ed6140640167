//! Facts for pages beside the tracker's figures.

use etracker_core::config::Limits;
use etracker_core::stats::{Count, Figures};
use etracker_core::{Instant, Tracker};
use etracker_runtime_common::Memory;

use jiff::tz::TimeZone;

use super::Grouping;
use crate::allocations::Allocations;
use crate::certificate::Certificate;
use crate::hidden_clients::Hidden;
use crate::members::{ClusterState, ClusterView};
use crate::renewals::{Renewal, Renewals};
use crate::tls::Certificates;

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
    /// The port of HTTPS, if it is served.
    pub(crate) tls_port: Option<u16>,
    /// The certificates of HTTPS.
    pub(crate) certificates: Option<Certificates>,
    /// Certificates from an ACME directory.
    pub(crate) renewals: Renewals,
    /// What is known of the cluster.
    pub(crate) cluster: ClusterView,
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

impl About {
    /// The same facts, with the certificates of HTTPS.
    pub(crate) fn with_certificates(self, certificates: Option<Certificates>) -> Self {
        Self { certificates, ..self }
    }

    /// The same facts, with what is known of certificates that a directory issues.
    pub(crate) fn with_renewals(self, renewals: Option<Renewals>) -> Self {
        let renewals = renewals.unwrap_or_default();
        Self { renewals, ..self }
    }

    /// The same facts, with what is known of the cluster.
    pub(crate) fn with_cluster(self, cluster: Option<ClusterView>) -> Self {
        let cluster = cluster.unwrap_or_default();
        Self { cluster, ..self }
    }
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
    pub(super) renewals: Vec<Renewal>,
    /// `None` without a cluster.
    pub(super) cluster: Option<ClusterState>,
    pub(super) allocations: Allocations,
    pub(super) certificates: Vec<Certificate>,
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
            renewals: about.renewals.all(),
            cluster: about.cluster.get(),
            allocations: Allocations::take(),
            certificates: about
                .certificates
                .as_ref()
                .map_or_else(Vec::new, |certificates| certificates.on_pages(now)),
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
