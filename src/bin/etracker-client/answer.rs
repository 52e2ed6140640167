//! What a tracker answers, whatever protocol it was asked by.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use etracker_core::announce::Counts;
use etracker_core::{InfoHash, PeerId};
use etracker_runtime_common::Plain;

/// An answer that says what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Announce(Announced),
    /// What was asked for, in the order of the question; no counts where the tracker gave none.
    Scrape(Vec<(InfoHash, Option<Counts>)>),
}

/// The answer to an announce. Trackers may leave out what is optional here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) interval_secs: Option<u32>,
    pub(crate) interval_min_secs: Option<u32>,
    pub(crate) complete: Option<u32>,
    pub(crate) incomplete: Option<u32>,
    pub(crate) downloaded: Option<u32>,
    pub(crate) external_ip: Option<IpAddr>,
    pub(crate) peers: Vec<Peer>,
}

/// A peer that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) id: Option<PeerId>,
}

/// What is worth telling beside the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// The bytes of the answer as they came.
    pub(crate) raw: Vec<u8>,
    /// Lines for people, each once.
    pub(crate) lines: Vec<String>,
}

impl Notes {
    /// Notes something, if it is not noted yet.
    pub(crate) fn add(&mut self, line: String) {
        if !self.lines.contains(&line) && self.lines.len() < NOTES_MAX {
            self.lines.push(line);
        }
    }

    /// Notes what the tracker does wrong.
    pub(crate) fn fault(&mut self, fault: impl fmt::Display) {
        self.add(format!("fault of the tracker: {fault}"));
    }

    /// Notes a value that is not of its type or out of range.
    pub(crate) fn senseless(&mut self, key: &str) {
        self.fault(format_args!("the value of \"{key}\" makes no sense"));
    }
}

/// Lines that are noted: of a broken answer more would tell no more.
const NOTES_MAX: usize = 20;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The tracker refused, with this reason.
    Refused(String),
    /// The tracker answered with something else than the protocol has.
    Unreadable(String),
    /// The name of the host stands for no address.
    NoAddress,
    /// The announce URL is not of the form that a scrape URL follows from (BEP 48).
    NoScrape,
    /// The time is over.
    Silent,
    /// TLS is not agreed upon, for this reason.
    #[cfg(feature = "tls")]
    Tls(String),
    /// The tracker cannot be reached, or the connection broke.
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if is_timeout(&error) {
            return Self::Silent;
        }
        Self::Io(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "the tracker refuses: {reason}"),
            Self::Unreadable(fault) => write!(f, "the tracker's answer is unreadable: {fault}"),
            Self::NoAddress => f.write_str("the tracker's name has no address"),
            Self::NoScrape => f.write_str("the last part of the URL's path must begin with \"announce\""),
            Self::Silent => f.write_str("the tracker does not answer"),
            #[cfg(feature = "tls")]
            Self::Tls(reason) => write!(f, "no TLS with the tracker: {reason}"),
            Self::Io(error) => write!(f, "the tracker cannot be reached: {}", Plain(error)),
        }
    }
}

/// Bytes that are meant to be text, with what is not printable escaped.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars()
        .map(|char| {
            if char.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                char
            }
        })
        .collect()
}

/// Whether a read or a connect took as long as it may.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
