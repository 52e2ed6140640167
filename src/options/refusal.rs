//! Refusals of options.

use std::fmt;

use etracker_core::config::OutOfRange;

use super::name::Name;

/// Why the options are refused, shown as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The parser refuses the arguments, in its words.
    Arguments(String),
    /// The configuration file, in a line.
    File(String),
    /// A value that the option does not take; `wanted` continues "must be".
    Value {
        source: Source,
        value: String,
        wanted: String,
    },
    /// An option that depends on another one, which is not given.
    Alone { source: Source, needs: &'static [Name] },
    /// An unknown variable, and the one that was probably meant.
    Mistyped(String, String),
    /// A word that is neither an option nor a command, and advice.
    Word(String, &'static str),
    /// `--allow-list` and `--deny-list`.
    TwoLists(Source, Source),
    /// So many certificates, and another number of keys.
    Unpaired {
        certs: (Source, usize),
        keys: (Source, usize),
    },
    /// HTTPS, which this build does not have.
    NoTls(Source),
    /// `--no-tcp` and `--no-udp`.
    NothingToServe(Source, Source),
    /// Certificates from a directory, which this build does not get.
    NoAcme(Source),
    /// A cluster, which this build cannot join.
    NoCluster(Source),
    /// A broker beyond loopback whose connection is not encrypted.
    Insecure(Source, String),
    /// A broker's URL with user or password.
    CredentialsInUrl(Source),
    /// The core refuses a value that passed the checks here.
    Core(OutOfRange),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(text) | Self::File(text) => f.write_str(text),
            Self::Value {
                source,
                value,
                wanted,
            } => write!(f, "{source}={}: must be {wanted}", value.escape_debug()),
            Self::Alone { source, needs } => match needs {
                [needed] => write!(
                    f,
                    "{source} needs {needed}: give {needed} too, or leave {source} out"
                ),
                _ => {
                    let needs: Vec<_> = needs.iter().map(Name::to_string).collect();
                    let needs = needs.join(" or ");
                    write!(
                        f,
                        "{source} needs {needs}: give one of them too, or leave {source} out"
                    )
                }
            },
            Self::Mistyped(name, meant) => write!(f, "{name} is no option: {meant} is"),
            Self::Word(word, advice) => write!(f, "`{}`: {advice}", word.escape_debug()),
            Self::TwoLists(allow, deny) => {
                write!(f, "{allow} and {deny} exclude each other: give one of them")
            }
            Self::Unpaired {
                certs: (cert, certs),
                keys: (key, keys),
            } => write!(
                f,
                "{cert} and {key} come in pairs: there are {certs} certificates and {keys} keys"
            ),
            Self::NoTls(source) => write!(
                f,
                "{source}: this build has no HTTPS (cargo build --features tls)"
            ),
            Self::NothingToServe(no_tcp, no_udp) => write!(
                f,
                "{no_tcp} and {no_udp} together leave nothing to serve: give one of them at most"
            ),
            Self::NoAcme(source) => write!(
                f,
                "{source}: this build has no ACME (cargo build --features acme)"
            ),
            Self::NoCluster(source) => write!(
                f,
                "{source}: this build has no cluster (cargo build --features cluster)"
            ),
            Self::Insecure(source, broker) => write!(
                f,
                "{source}={broker}: peers' addresses are personal data, and would be sent in plain: use tls://, or give --cluster-insecure"
            ),
            Self::CredentialsInUrl(source) => write!(
                f,
                "{source}: a URL is seen by everybody on this machine: put user and password into the file of --cluster-credentials"
            ),
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

/// Refuses an option that depends on another one which is not given.
pub(super) fn needs(given: Option<Source>, needed: &'static [Name], is_given: bool) -> Result<(), Refusal> {
    match given {
        Some(source) if !is_given => Err(Refusal::Alone {
            source,
            needs: needed,
        }),
        _ => Ok(()),
    }
}

/// Where a value was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// On the command line.
    Argument(Name),
    /// In the environment.
    Variable(Name),
    /// In a configuration file, on this line.
    File(Name, &'static str, usize),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(name) => name.fmt(f),
            Self::Variable(name) => f.write_str(&name.variable()),
            Self::File(name, path, line) => write!(f, "{path}:{line}: {}", name.long),
        }
    }
}
