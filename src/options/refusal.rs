//! Why a command line or an environment is refused.

use std::fmt;

use etracker_core::config::OutOfRange;

use super::name::{NO_TCP, NO_UDP, Name, PAGE_HOST, STATS_FROM, TRUSTED_PROXY, USER, X_FORWARDED_FOR};

/// Why the options are refused, shown as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The arguments are no options of this command, in the words of the parser.
    Arguments(String),
    /// A value that the option does not take; `wanted` continues "must be".
    Value {
        source: Source,
        value: String,
        wanted: String,
    },
    /// A list of proxies that nobody asks for.
    ProxyUnused(Source),
    /// Names for readers of pages that everyone may read.
    PageHostUnused(Source),
    /// `--allow-list` and `--deny-list`.
    TwoLists(Source, Source),
    /// A new root for who can leave it.
    ChrootWithoutUser(Source),
    /// `--no-tcp` and `--no-udp`.
    NothingToServe,
    /// The core refuses what the rules here let pass.
    Core(OutOfRange),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(text) => f.write_str(text),
            Self::Value {
                source,
                value,
                wanted,
            } => write!(f, "{source}={}: must be {wanted}", value.escape_debug()),
            Self::ProxyUnused(source) => write!(
                f,
                "{source} has no effect without {X_FORWARDED_FOR}: give {X_FORWARDED_FOR} too, or leave {TRUSTED_PROXY} out"
            ),
            Self::PageHostUnused(source) => write!(
                f,
                "{source} has no effect without {STATS_FROM}: give {STATS_FROM} too, or leave {PAGE_HOST} out"
            ),
            Self::TwoLists(allow, deny) => {
                write!(f, "{allow} and {deny} exclude each other: give one of them")
            }
            Self::ChrootWithoutUser(source) => {
                write!(f, "{source} needs {USER}: root can leave any root folder")
            }
            Self::NothingToServe => {
                write!(
                    f,
                    "{NO_TCP} and {NO_UDP} together leave nothing to serve: give one of them at most"
                )
            }
            Self::Core(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<OutOfRange> for Refusal {
    fn from(error: OutOfRange) -> Self {
        Self::Core(error)
    }
}

/// Where a value was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// On the command line.
    Argument(Name),
    /// In the environment.
    Variable(Name),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(name) => name.fmt(f),
            Self::Variable(name) => f.write_str(&name.variable()),
        }
    }
}
