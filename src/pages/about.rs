//! Facts for pages beside the tracker's figures.

use etracker_core::config::Limits;
use etracker_core::stats::{Count, Figures};
use etracker_core::{Instant, Tracker};
use etracker_runtime_common::Memory;

#[cfg(feature = "tls")]
use etracker_tls::{Certificates, Pair};
use jiff::tz::TimeZone;
#[cfg(feature = "tls")]
use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use super::Grouping;
#[cfg(feature = "acme")]
use crate::acme::Acme;
use crate::allocations::Allocations;
use crate::hidden_clients::Hidden;
use crate::renewals::{Renewal, Renewals};

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
    #[cfg(feature = "tls")]
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// Certificates from an ACME directory.
    pub(crate) renewals: Renewals,
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
    #[cfg(feature = "tls")]
    pub(crate) fn with_certificates(mut self, certificates: Option<&Arc<Certificates>>) -> Self {
        self.certificates = certificates.cloned();
        self
    }

    /// The same facts, with what is known of certificates that a directory issues.
    #[cfg(feature = "acme")]
    pub(crate) fn with_renewals(mut self, acme: Option<&Acme>) -> Self {
        self.renewals = acme.map(Acme::renewals).unwrap_or_default();
        self
    }

    #[cfg(feature = "tls")]
    fn certificates(&self, now: Instant) -> Vec<Certificate> {
        let now = UNIX_EPOCH + Duration::from_secs(now.as_secs());
        let pairs = self.certificates.as_ref().map(|served| served.pairs());
        let certificate = |pair: &Pair| Certificate {
            names: pair.facts().names.clone(),
            chain: pair.facts().chain.name(),
            expires_secs: pair
                .facts()
                .not_after
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            days_left: pair.facts().days_left(now),
        };
        pairs.unwrap_or_default().iter().map(certificate).collect()
    }

    #[cfg(not(feature = "tls"))]
    const fn certificates(&self, _: Instant) -> Vec<Certificate> {
        Vec::new()
    }
}

/// What an operator watches of a certificate.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) names: Vec<String>,
    pub(super) chain: &'static str,
    /// Unix time of its end.
    pub(super) expires_secs: u64,
    pub(super) days_left: i64,
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
            allocations: Allocations::take(),
            certificates: about.certificates(now),
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
