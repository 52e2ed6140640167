//! Why there is no certificate.

use std::fmt;
use std::io;
use std::path::PathBuf;

use etracker_runtime_common::Plain;
use etracker_tls::PairError;
use instant_acme::Problem;

use crate::options::Setting;

/// Why a certificate cannot be had, shown as one line.
#[derive(Debug)]
pub(super) enum AcmeError {
    /// The directory refuses, for this reason, if it gives one.
    Refused(Problem),
    /// It has not seen the proof, for this reason.
    Unproven(Option<Problem>),
    /// It wants a proof other than TLS-ALPN-01.
    NoChallenge,
    /// It does not come to an end.
    Late,
    /// It cannot be reached, or talks nonsense.
    Protocol(instant_acme::Error),
    /// A file of the folder cannot be read or written.
    File(PathBuf, io::Error),
    /// A proof cannot be made.
    Proof(rcgen::Error),
    /// A certificate cannot be served.
    Certificate(PairError),
    /// It is for these names, and not for the one that was ordered.
    OtherName(String),
}

impl AcmeError {
    /// Whether the directory knows nothing of the account (RFC 8555, section 6.7).
    pub(super) fn is_unknown_account(&self) -> bool {
        matches!(self, Self::Refused(problem) if kind(problem) == Some("accountDoesNotExist"))
    }

    /// Whether the directory has made up its mind: it counts such attempts, and locks out who makes many.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Refused(problem) => !matches!(kind(problem), Some("badNonce" | "serverInternal")),
            Self::Unproven(_) | Self::NoChallenge | Self::Certificate(_) | Self::OtherName(_) => true,
            Self::Late | Self::Protocol(_) | Self::File(..) | Self::Proof(_) => false,
        }
    }
}

impl fmt::Display for AcmeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(problem) => write!(f, "the directory refuses: {}", Reason(problem)),
            Self::Unproven(None) => f.write_str("the directory does not see that the name leads here"),
            Self::Unproven(Some(problem)) => {
                write!(
                    f,
                    "the directory does not see that the name leads here: {}",
                    Reason(problem)
                )
            }
            Self::NoChallenge => f.write_str("the directory does not offer the challenge tls-alpn-01"),
            Self::Late => f.write_str("the directory takes too long"),
            Self::Protocol(error) => f.write_str(&one_line(&error.to_string())),
            Self::File(path, error) => write!(f, "{}: {}", path.display(), Plain(error)),
            Self::Proof(error) => write!(f, "the proof cannot be made: {error}"),
            Self::Certificate(error) => write!(f, "the certificate {error}"),
            Self::OtherName(names) => write!(f, "the certificate is for {}", one_line(names)),
        }
    }
}

impl std::error::Error for AcmeError {}

impl From<instant_acme::Error> for AcmeError {
    fn from(error: instant_acme::Error) -> Self {
        if let instant_acme::Error::Api(problem) = error {
            return Self::Refused(problem);
        }
        Self::Protocol(error)
    }
}

impl From<rcgen::Error> for AcmeError {
    fn from(error: rcgen::Error) -> Self {
        Self::Proof(error)
    }
}

/// Why a tracker does not start with ACME, shown as one line.
#[derive(Debug)]
pub(crate) enum AcmeStartError {
    /// The file of `--acme-ca` cannot be used.
    Authorities(Setting<PathBuf>, String),
    /// The folder of `--acme-state` cannot be read or written.
    Folder(PathBuf, io::Error),
    /// The system has no more threads.
    Thread(io::Error),
}

impl AcmeStartError {
    /// What the operator can do.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::Authorities(file, _) => format!(
                "give {} a file of certificates in PEM, as the directory's operator hands out",
                file.source
            ),
            Self::Folder(path, _) => format!(
                "a folder that the tracker's user can write: {}; with --chroot, the path is relative to it",
                path.display()
            ),
            Self::Thread(_) => "what the system says; then try again".to_owned(),
        }
    }
}

impl fmt::Display for AcmeStartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authorities(Setting { source, value }, reason) => {
                write!(f, "{source}={}: {reason}", value.display())
            }
            Self::Folder(path, error) => write!(
                f,
                "--acme-state={}: certificates cannot be kept there: {}",
                path.display(),
                Plain(error)
            ),
            Self::Thread(error) => write!(f, "a thread cannot be started: {}", Plain(error)),
        }
    }
}

impl std::error::Error for AcmeStartError {}

/// The words of a directory, in one line of bounded length.
struct Reason<'a>(&'a Problem);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(problem) = self;
        let detail = problem.detail.as_deref().unwrap_or("it does not say why");
        let details = problem
            .subproblems
            .iter()
            .filter_map(|problem| problem.detail.as_deref());
        let details: Vec<_> = [detail].into_iter().chain(details).collect();
        let details = details.join("; ");
        match problem.r#type.as_deref() {
            Some(kind) => f.write_str(&one_line(&format!("{details} ({kind})"))),
            None => f.write_str(&one_line(&details)),
        }
    }
}

/// The last part of `urn:ietf:params:acme:error:badNonce`.
fn kind(problem: &Problem) -> Option<&str> {
    problem.r#type.as_deref()?.rsplit(':').next()
}

/// Others' words without line breaks and control characters.
fn one_line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words
        .chars()
        .filter(|char| !char.is_control())
        .take(LEN_MAX)
        .collect()
}

/// Characters of a reason that are shown.
const LEN_MAX: usize = 400;
