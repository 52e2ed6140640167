//! A finding: its grade, what was found, and what to do.

use std::net::SocketAddr;

use etracker_runtime_common::Plain;

use super::probe::{Answer, ProbeError};

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) grade: Grade,
    pub(super) about: String,
    pub(super) what: String,
    /// What the operator can do.
    pub(super) remedy: Option<String>,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grade {
    Ok,
    /// The tracker serves, but worse than it could, or not all clients.
    Warning,
    /// The tracker does not start, or does not serve clients.
    Fault,
}

impl Grade {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

pub(super) fn ok(about: &str, what: impl Into<String>) -> Finding {
    Finding {
        grade: Grade::Ok,
        about: about.to_owned(),
        what: what.into(),
        remedy: None,
    }
}

pub(super) fn warning(about: &str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding {
        grade: Grade::Warning,
        remedy: Some(remedy.into()),
        ..ok(about, what)
    }
}

pub(super) fn fault(about: &str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding {
        grade: Grade::Fault,
        ..warning(about, what, remedy)
    }
}

/// The finding about an announce at an address, by a protocol and the firewall's name of what carries it.
pub(super) fn answer(
    protocol: &str,
    rule: &str,
    at: SocketAddr,
    asked: Result<&Answer, &ProbeError>,
) -> Finding {
    let about = format!("{protocol} {at}");
    let port = at.port();
    let open = format!("let {rule} port {port} in: nft list ruleset, iptables-save");
    match asked {
        Ok(Answer::Interval(_)) => ok(&about, "announce answered"),
        Ok(Answer::Refused(reason)) => ok(&about, format!("announce refused: {reason}")),
        Err(ProbeError::Silent) => fault(&about, "no answer", open),
        Err(ProbeError::From(source)) => fault(
            &about,
            format!("the answer came from {source}, so clients drop it"),
            format!("--bind {}, and no address translation for UDP here", at.ip()),
        ),
        Err(ProbeError::Unreadable) => fault(
            &about,
            "another program answers there, not a tracker",
            "take another --port, or stop the other program",
        ),
        Err(ProbeError::Io(error)) => fault(&about, Plain(error).to_string(), open),
    }
}
