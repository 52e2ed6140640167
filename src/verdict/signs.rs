//! What a tracker is judged by, and what findings are about.

use etracker_core::Instant;
use etracker_core::stats::Figures;

use crate::certificate::Certificate;
use crate::hidden_clients::Hidden;
use crate::members::ClusterState;
use crate::reloads::Reloads;
use crate::renewals::Renewal;
use crate::state::Writes;

/// What is known of a tracker that serves.
#[derive(Debug)]
pub(crate) struct Signs<'a> {
    pub(crate) now: Instant,
    pub(crate) figures: &'a Figures,
    /// The port of UDP, if that is served.
    pub(crate) udp: Option<u16>,
    pub(crate) hidden: &'a [Hidden],
    pub(crate) certificates: &'a [Certificate],
    pub(crate) renewals: &'a [Renewal],
    /// `None` without a state.
    pub(crate) state: Option<&'a Writes>,
    pub(crate) reloads: &'a Reloads,
    /// `None` without a cluster.
    pub(crate) cluster: Option<&'a ClusterState>,
}

/// What a finding is about, by a stable name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Memory,
    Overload,
    UdpDrops,
    UdpSilent,
    Silent,
    Load,
    Clients,
    Refusals,
    Limits,
    State,
    Lists,
    Certificates,
    Acme,
    Cluster,
}

impl Subject {
    pub(crate) const ALL: [Self; 14] = [
        Self::Memory,
        Self::Overload,
        Self::UdpDrops,
        Self::UdpSilent,
        Self::Silent,
        Self::Load,
        Self::Clients,
        Self::Refusals,
        Self::Limits,
        Self::State,
        Self::Lists,
        Self::Certificates,
        Self::Acme,
        Self::Cluster,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Overload => "overload",
            Self::UdpDrops => "udp_drops",
            Self::UdpSilent => "udp_silent",
            Self::Silent => "silent",
            Self::Load => "load",
            Self::Clients => "clients",
            Self::Refusals => "refusals",
            Self::Limits => "limits",
            Self::State => "state",
            Self::Lists => "lists",
            Self::Certificates => "certificates",
            Self::Acme => "acme",
            Self::Cluster => "cluster",
        }
    }

    /// The subject as people write it.
    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::UdpDrops => "UDP drops",
            Self::UdpSilent => "UDP",
            Self::Silent => "requests",
            Self::Acme => "ACME",
            Self::Memory
            | Self::Overload
            | Self::Load
            | Self::Clients
            | Self::Refusals
            | Self::Limits
            | Self::State
            | Self::Lists
            | Self::Certificates
            | Self::Cluster => self.name(),
        }
    }
}
