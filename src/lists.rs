//! The files of lists, and their reload.

use std::error::Error;
use std::fmt;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::time::Instant;

use etracker_core::Tracker;
use etracker_core::access::{Access, AddressList, BadLines, Entry, Network, Reader, TorrentList, Torrents};
use etracker_runtime_common::Plain;
use tracing::{info, warn};

use crate::files;
use crate::finding::Failed;
use crate::options::{Setting, Source};
use crate::terminal::{Tell, say};

/// The paths of the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListFiles {
    /// The allow list or the deny list.
    pub(crate) torrents: Option<TorrentFile>,
    /// The list of denied networks.
    pub(crate) denied_addresses: Option<ListFile>,
    /// The lists of trusted proxies.
    pub(crate) trusted_proxies: Vec<ListFile>,
}

/// A file of info-hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TorrentFile {
    /// An allow list.
    Allow(ListFile),
    /// A deny list.
    Deny(ListFile),
}

/// The path of a list, and the option that gave it.
pub(crate) type ListFile = Setting<PathBuf>;

impl ListFiles {
    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.torrents.is_none() && self.denied_addresses.is_none() && self.trusted_proxies.is_empty()
    }

    /// Reads the lists, and prints how many entries they hold.
    ///
    /// # Errors
    /// A file cannot be read, or has bad lines.
    pub(crate) fn load(&self, tell: Tell<'_>) -> Result<Access, ListError> {
        let (access, counts) = self.read()?;
        for count in counts {
            tell(&count);
        }
        Ok(access)
    }

    /// Puts the lists in force anew in `tracker`.
    ///
    /// # Errors
    /// Lists are bad: that is logged, and the old ones stay in force.
    pub(crate) fn reload(&self, cause: &str, tracker: &Tracker) -> Result<(), Failed> {
        let began = Instant::now();
        match self.read() {
            Ok((access, counts)) => {
                tracker.replace_access(access);
                for count in &counts {
                    say(count);
                }
                say(format_args!("{cause}: the new lists are in force"));
                info!(
                    lists = counts.join(", "),
                    seconds = began.elapsed().as_secs_f64(),
                    "the new lists are in force"
                );
                Ok(())
            }
            Err(error) => {
                warn!(%error, "the lists are not reloaded, the old ones stay in force");
                Err(Failed {
                    what: error.to_string(),
                    remedy: format!("{}, and send SIGHUP", error.remedy()),
                })
            }
        }
    }

    /// Reads all lists, also after a bad one, so that one attempt shows all bad lines. Their sizes are reported only if all are good.
    fn read(&self) -> Result<(Access, Vec<String>), ListError> {
        let (mut counts, mut errors) = (Vec::new(), Vec::new());
        let torrents = match &self.torrents {
            None => Ok(Torrents::Any),
            Some(TorrentFile::Allow(file)) => torrents(file, "allowed", &mut counts).map(Torrents::Only),
            Some(TorrentFile::Deny(file)) => torrents(file, "denied", &mut counts).map(Torrents::AllBut),
        };
        let torrents = torrents.unwrap_or_else(|error| {
            errors.push(error);
            Torrents::Any
        });
        let denied = networks(&self.denied_addresses, "denied", &mut counts, &mut errors);
        let proxies = networks(&self.trusted_proxies, "trusted", &mut counts, &mut errors);
        let access = Access {
            torrents,
            denied,
            proxies,
        };
        match errors.pop() {
            None => Ok((access, counts)),
            Some(error) if errors.is_empty() => Err(error),
            Some(error) => {
                errors.push(error);
                Err(ListError::Several(errors))
            }
        }
    }
}

fn torrents(file: &ListFile, fate: &str, counts: &mut Vec<String>) -> Result<TorrentList, ListError> {
    let list = TorrentList::new(read(file)?);
    let path = file.value.display();
    counts.push(format!("{path}: {} info-hashes {fate}", list.len()));
    Ok(list)
}

/// The networks of all `files` together.
fn networks<'a>(
    files: impl IntoIterator<Item = &'a ListFile>,
    fate: &str,
    counts: &mut Vec<String>,
    errors: &mut Vec<ListError>,
) -> AddressList {
    let mut networks: Vec<Network> = Vec::new();
    for file in files {
        match read::<Network>(file) {
            Ok(read) => {
                let path = file.value.display();
                counts.push(format!("{path}: {} networks {fate}", read.len()));
                networks.extend(read);
            }
            Err(error) => errors.push(error),
        }
    }
    AddressList::new(&networks)
}

fn read<E: Entry>(list: &ListFile) -> Result<Vec<E>, ListError> {
    let path = &list.value;
    let unreadable = |error| ListError::Unreadable(list.source, path.clone(), error);
    let bad = |lines| ListError::Bad(path.clone(), lines);
    let mut file = files::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let lines = usize::try_from(bytes).unwrap_or(0) / BYTES_PER_LINE;
    let mut reader = Reader::with_capacity(lines);
    let mut piece = vec![0; PIECE];
    loop {
        let len = match file.read(&mut piece) {
            Ok(0) => return reader.finish().map_err(bad),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        reader.feed(piece.get(..len).unwrap_or_default()).map_err(bad)?;
    }
}

/// Why lists cannot be used, shown as one line.
#[derive(Debug)]
pub(crate) enum ListError {
    /// The file of an option cannot be read.
    Unreadable(Source, PathBuf, io::Error),
    /// Lines are bad.
    Bad(PathBuf, BadLines),
    /// Of several files.
    Several(Vec<Self>),
}

impl ListError {
    /// What the operator can do.
    pub(crate) fn remedy(&self) -> String {
        match self {
            Self::Unreadable(option, ..) => format!(
                "give {option} a file that the tracker's user can read; with --chroot, the path is relative to it"
            ),
            Self::Bad(..) | Self::Several(..) => {
                "correct them: one info-hash or network a line, # before a comment".to_owned()
            }
        }
    }
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(source, path, error) => {
                write!(f, "{source}={}: {}", path.display(), Plain(error))
            }
            Self::Bad(path, lines) => write!(f, "{}: {lines}", path.display()),
            Self::Several(errors) => {
                let errors: Vec<_> = errors.iter().map(Self::to_string).collect();
                f.write_str(&errors.join("; "))
            }
        }
    }
}

impl Error for ListError {}

/// Bytes of a line with an info-hash, to estimate the number of entries.
const BYTES_PER_LINE: usize = 41;
/// Bytes read at a time.
const PIECE: usize = 1 << 20;
