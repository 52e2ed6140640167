//! The certificates of HTTPS: reading their files, and reading them again.

mod ageing;
mod flaws;

use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use etracker_core::Instant;
use etracker_runtime_common::{Fronts, Plain};
use etracker_tls::{Facts, Pair, PairError, TlsError};
use tracing::{info, warn};

pub(crate) use ageing::Ageing;
pub(crate) use flaws::{Flaw, Renewed};

use crate::certificate::Certificate;
use crate::files;
use crate::finding::Failed;
use crate::options::{PairFiles, Setting, Source, TlsOptions};
use crate::terminal::{Tell, complain, say};

/// The certificates that are served, and the files that they are read from.
#[derive(Debug)]
pub(crate) struct CertificateFiles {
    files: Vec<PairFiles>,
    /// What the files were when they were read last.
    seen: Vec<Option<Version>>,
    certificates: Certificates,
}

/// The certificates that are served, shared by all that read and replace them.
#[derive(Clone, Debug)]
pub(crate) struct Certificates(pub(crate) Arc<etracker_tls::Certificates>);

impl Certificates {
    /// All, with who renews them: those of files first.
    pub(crate) fn all(&self) -> Vec<(Pair, Renewed)> {
        let given = self.0.given().into_iter().map(|pair| (pair, Renewed::ByHand));
        let issued = self.0.of_domains().into_iter();
        given
            .chain(issued.map(|(_, pair)| (pair, Renewed::ByAcme)))
            .collect()
    }

    /// What pages show of them.
    pub(crate) fn on_pages(&self, now: Instant) -> Vec<Certificate> {
        let now = UNIX_EPOCH + Duration::from_secs(now.as_secs());
        let all = self.all().into_iter();
        all.map(|(pair, renewed)| on_pages(pair.facts(), renewed, now))
            .collect()
    }
}

/// What tells one version of a file from the next: its device and inode, its size, and when it changed.
type Version = (u64, u64, u64, i64, i64);

impl CertificateFiles {
    /// Reads all files, and prints what the certificates say. There are none without a port for HTTPS.
    ///
    /// # Errors
    /// A file cannot be read, or is no certificate or key.
    pub(crate) fn load(options: &TlsOptions, tell: Tell<'_>) -> Result<Option<Self>, CertificateError> {
        if options.port.is_none() {
            return Ok(None);
        }
        let files = options.pairs.clone();
        let seen = versions(&files);
        let pairs = read(&files)?;
        describe(&files, &pairs, tell);
        let certificates = etracker_tls::Certificates::new(pairs).map_err(CertificateError::Tls)?;
        Ok(Some(Self {
            files,
            seen,
            certificates: Certificates(Arc::new(certificates)),
        }))
    }

    /// The certificates that are served.
    pub(crate) fn shared(&self) -> Certificates {
        self.certificates.clone()
    }

    /// The same fronts, over TLS too.
    pub(crate) fn secure(&self, fronts: Fronts) -> Fronts {
        fronts.with_tls(Arc::<etracker_tls::Certificates>::clone(&self.certificates.0))
    }

    /// Whether there are files: certificates may come from a directory alone.
    pub(crate) const fn are_there(&self) -> bool {
        !self.files.is_empty()
    }

    /// The pairs of files, each with the file of its certificate.
    pub(crate) fn pairs(&self) -> Vec<(PathBuf, Pair)> {
        let paths = self.files.iter().map(|files| files.chain.value.clone());
        paths.zip(self.certificates.0.given()).collect()
    }

    /// Says what clients will dislike about the certificates of files.
    pub(crate) fn complain_of_flaws(&self) {
        let now = SystemTime::now();
        for (path, pair) in self.pairs() {
            for flaw in Flaw::all(pair.facts(), Renewed::ByHand, now) {
                complain(format_args!("{}: {flaw}", path.display()));
            }
        }
    }

    /// The files that this process cannot read again, having given up its rights, and why. What is not there any longer, as in a
    /// new root, counts as unchanged: the next look at the files does not find it changed.
    pub(crate) fn find_unreadable(&mut self) -> Vec<(Setting<PathBuf>, io::Error)> {
        let now = versions(&self.files);
        for (seen, now) in self.seen.iter_mut().zip(now) {
            *seen = seen.filter(|_| now.is_some());
        }
        let files = self.files.iter().flat_map(|pair| [&pair.chain, &pair.key]);
        let unreadable = files.filter_map(|file| {
            let error = files::open(&file.value).err()?;
            Some((file.clone(), error))
        });
        unreadable.collect()
    }

    /// Reads the files again if one has changed. A pair that is being written is read at the next look.
    pub(crate) fn look(&mut self) -> Option<Result<(), Failed>> {
        let has_changed = versions(&self.files) != self.seen;
        has_changed.then(|| self.reload("certificates have changed"))
    }

    /// Reads all files, and serves what they hold.
    ///
    /// # Errors
    /// One is bad: that is logged, and what was served is served on.
    pub(crate) fn reload(&mut self, cause: &str) -> Result<(), Failed> {
        self.seen = versions(&self.files);
        match read(&self.files) {
            Ok(pairs) => {
                describe(&self.files, &pairs, &|line| say(line));
                self.certificates.0.replace(pairs);
                self.complain_of_flaws();
                say(format_args!("{cause}: the new certificates are in force"));
                info!("the new certificates are in force");
                Ok(())
            }
            Err(error) => {
                warn!(%error, "the certificates are not reloaded, the old ones stay in force");
                Err(Failed {
                    what: error.to_string(),
                    remedy: error.remedy().to_owned(),
                })
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

/// Says what the certificates are for, and until when.
fn describe(files: &[PairFiles], pairs: &[Pair], tell: Tell<'_>) {
    for (files, pair) in files.iter().zip(pairs) {
        let (path, facts) = (files.chain.value.display(), summary(pair.facts()));
        tell(&format_args!("Certificate {path}: {facts}"));
    }
}

fn on_pages(facts: &Facts, renewed: Renewed, now: SystemTime) -> Certificate {
    let expires = facts.not_after.duration_since(UNIX_EPOCH);
    let flaws = Flaw::all(facts, renewed, now);
    let names = facts.names.first().map_or("a certificate", String::as_str);
    Certificate {
        names: facts.names.clone(),
        issuer: facts.issuer.clone(),
        key: facts.key.clone(),
        chain: facts.chain.name(),
        expires_secs: expires.map_or(0, |since| since.as_secs()),
        days_left: facts.days_left(now),
        is_renewed: renewed == Renewed::ByAcme,
        flaws: flaws.iter().map(Flaw::to_string).collect(),
        findings: flaws.iter().map(|flaw| flaw.finding(names, renewed)).collect(),
    }
}

/// What an operator wants to know of a certificate, in a line.
pub(crate) fn summary(facts: &Facts) -> String {
    let names = facts.names.join(", ");
    let (days, chain) = (facts.days_left(SystemTime::now()), facts.chain);
    let (issuer, key) = (&facts.issuer, &facts.key);
    format!("{names}; {days} days left, {chain}, issued by {issuer}, {key}")
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

impl CertificateError {
    /// What the operator can do.
    #[expect(clippy::unused_self, reason = "it is one for all")]
    pub(crate) const fn remedy(&self) -> &'static str {
        "the certificate with its chain for --tls-cert, and its key for --tls-key, both in PEM"
    }
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
