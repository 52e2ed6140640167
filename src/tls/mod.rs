//! The certificates of HTTPS: reading their files, and reading them again.

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use etracker_runtime_common::Plain;
use etracker_tls::{Certificates, Chain, Pair, PairError, TlsError};
use tracing::{info, warn};

use crate::files;
use crate::options::{PairFiles, Setting, Source};
use crate::terminal::{Tell, complain, say};

/// The certificates that are served, and the files that they are read from.
#[derive(Debug)]
pub(crate) struct CertificateFiles {
    files: Vec<PairFiles>,
    /// What the files were when they were read last.
    seen: Vec<Option<Version>>,
    certificates: Arc<Certificates>,
}

/// What tells one version of a file from the next: its device and inode, its size, and when it changed.
type Version = (u64, u64, u64, i64, i64);

impl CertificateFiles {
    /// Reads all files, and prints what the certificates say.
    ///
    /// # Errors
    /// A file cannot be read, or is no certificate or key.
    pub(crate) fn load(files: Vec<PairFiles>, tell: Tell<'_>) -> Result<Self, CertificateError> {
        let seen = versions(&files);
        let pairs = read(&files)?;
        describe(&files, &pairs, tell);
        let certificates = Certificates::new(pairs).map_err(CertificateError::Tls)?;
        Ok(Self {
            files,
            seen,
            certificates: Arc::new(certificates),
        })
    }

    /// The certificates that are served.
    pub(crate) const fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Whether there are files: certificates may come from a directory alone.
    pub(crate) const fn are_there(&self) -> bool {
        !self.files.is_empty()
    }

    /// Reads the files again if one has changed. A pair that is being written is read at the next look.
    pub(crate) fn look(&mut self) {
        if versions(&self.files) != self.seen {
            self.reload("certificates have changed");
        }
    }

    /// Reads all files, and serves what they hold. If one is bad it is logged, and what was served is served on.
    pub(crate) fn reload(&mut self, cause: &str) {
        self.seen = versions(&self.files);
        match read(&self.files) {
            Ok(pairs) => {
                describe(&self.files, &pairs, &|line| say(line));
                self.certificates.replace(pairs);
                say(format_args!("{cause}: the new certificates are in force"));
                info!("the new certificates are in force");
            }
            Err(error) => {
                warn!(%error, "the certificates are not reloaded, the old ones stay in force");
            }
        }
    }
}

fn versions(files: &[PairFiles]) -> Vec<Option<Version>> {
    let version = |path: &PathBuf| {
        let file = fs::metadata(path).ok()?;
        Some((
            file.dev(),
            file.ino(),
            file.size(),
            file.mtime(),
            file.mtime_nsec(),
        ))
    };
    let paths = files.iter().flat_map(|pair| [&pair.chain.value, &pair.key.value]);
    paths.map(version).collect()
}

fn read(files: &[PairFiles]) -> Result<Vec<Pair>, CertificateError> {
    files.iter().map(read_pair).collect()
}

fn read_pair(files: &PairFiles) -> Result<Pair, CertificateError> {
    let bytes = |file: &Setting<PathBuf>| {
        read_file(&file.value).map_err(|error| CertificateError::Unreadable(file.clone(), error))
    };
    let (chain, key) = (bytes(&files.chain)?, bytes(&files.key)?);
    Pair::from_pem(&chain, &key).map_err(|error| {
        let file = if error.is_of_the_key() {
            &files.key
        } else {
            &files.chain
        };
        CertificateError::Bad(file.clone(), error)
    })
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    files::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::other("is larger than 1 MiB"));
    }
    Ok(bytes)
}

/// Says what the certificates are for, and until when, and warns of those that clients refuse.
fn describe(files: &[PairFiles], pairs: &[Pair], tell: Tell<'_>) {
    let now = SystemTime::now();
    for (files, pair) in files.iter().zip(pairs) {
        let (facts, path) = (pair.facts(), files.chain.value.display());
        let (names, days) = (facts.names.join(", "), facts.days_left(now));
        tell(&format_args!(
            "Certificate {path}: {names}; {days} days left, {}",
            facts.chain
        ));
        if facts.not_after <= now {
            complain(format_args!(
                "{path}: the certificate has expired: clients refuse it"
            ));
        } else if facts.not_before > now {
            complain(format_args!(
                "{path}: the certificate is not valid yet, or the clock is wrong: clients refuse it"
            ));
        }
        if facts.names.is_empty() {
            complain(format_args!(
                "{path}: the certificate names no host: clients refuse it"
            ));
        }
        if matches!(facts.chain, Chain::Alone | Chain::Broken) {
            complain(format_args!(
                "{path}: {}: most clients refuse it; give the whole chain (fullchain.pem)",
                facts.chain
            ));
        }
    }
}

/// Why certificates cannot be served. Shown as one line.
#[derive(Debug)]
pub(crate) enum CertificateError {
    /// A file cannot be read.
    Unreadable(Setting<PathBuf>, io::Error),
    /// A file is not what the option needs.
    Bad(Setting<PathBuf>, PairError),
    /// TLS cannot be set up.
    Tls(TlsError),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(file, error) => {
                named(f, file.source, &file.value)?;
                write!(f, "{}", Plain(error))
            }
            Self::Bad(file, error) => {
                named(f, file.source, &file.value)?;
                error.fmt(f)
            }
            Self::Tls(error) => error.fmt(f),
        }
    }
}

fn named(f: &mut fmt::Formatter<'_>, source: Source, path: &Path) -> fmt::Result {
    write!(f, "{source}={}: ", path.display())
}

impl std::error::Error for CertificateError {}

/// Bytes of a file: a chain has some thousands.
const BYTES_MAX: u64 = 1 << 20;
