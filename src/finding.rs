//! A finding: its grade, what was found, and what to do. Doctor shows those about a host, the verdict those about a tracker that
//! serves.

use serde::Deserialize;

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) grade: Grade,
    pub(crate) about: String,
    pub(crate) what: String,
    /// What the operator can do.
    pub(crate) remedy: Option<String>,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grade {
    Ok,
    /// The tracker serves, but worse than it could, or not all clients.
    Warning,
    /// The tracker does not start, or does not serve clients.
    Fault,
}

impl Grade {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

/// Why something failed, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

pub(crate) fn ok(about: &str, what: impl Into<String>) -> Finding {
    Finding {
        grade: Grade::Ok,
        about: about.to_owned(),
        what: what.into(),
        remedy: None,
    }
}

pub(crate) fn warning(about: &str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding {
        grade: Grade::Warning,
        remedy: Some(remedy.into()),
        ..ok(about, what)
    }
}

pub(crate) fn fault(about: &str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding {
        grade: Grade::Fault,
        ..warning(about, what, remedy)
    }
}

/// The remedy for a port that a firewall may block, by the firewall's name of the protocol.
pub(crate) fn let_in(rule: &str, port: u16) -> String {
    format!("let {rule} port {port} in: nft list ruleset, iptables-save")
}

/// The remedy for receive buffers that are smaller than `wanted` bytes.
pub(crate) fn larger_buffers(wanted: usize) -> String {
    format!("sysctl -w {BUFFER_LIMIT}={wanted}, and the same line in /etc/sysctl.d/60-etracker.conf")
}

/// The setting that limits receive buffers.
pub(crate) const BUFFER_LIMIT: &str = if cfg!(target_os = "linux") {
    "net.core.rmem_max"
} else {
    "kern.ipc.maxsockbuf"
};
