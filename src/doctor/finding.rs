//! Findings about probes.

use std::net::SocketAddr;

use etracker_runtime_common::Plain;

use super::probe::{Answer, ProbeError};
use crate::finding::let_in;
pub(super) use crate::finding::{Finding, Grade, fault, ok, warning};

/// The finding about an announce at an address, by a protocol and the firewall's name of what carries it.
pub(super) fn answer(
    protocol: &str,
    rule: &str,
    at: SocketAddr,
    asked: Result<&Answer, &ProbeError>,
) -> Finding {
    let about = format!("{protocol} {at}");
    let port = at.port();
    let open = let_in(rule, port);
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
