//! The state file, which keeps swarms over restarts.
//!
//! It is written to a temporary file that is then renamed, so that the state is whole whenever the process is killed. A damaged state
//! is renamed and kept. A lock file ensures that only one tracker uses a state.

mod lock;
mod writes;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use etracker_core::governor::Pressure;
use etracker_core::snapshot::{
    Damage, Decoder, Encoder, Entry, Header, PeersOfTorrent, Restored, Restorer, Survey,
};
use etracker_core::{Seed, Tracker};
use etracker_runtime_common::{Clock, Control, Plain, Prefetcher};

use crate::files::{self, with_suffix};
use crate::finding::Failed;
use crate::options::Setting;
use crate::terminal::{complain, say};
use lock::{Lock, LockError};
use writes::Written;
pub(crate) use writes::{WriteLog, Writes};

/// An open state, and the seed of connection ids that is stored in it.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    seed: Seed,
    /// Whether a state has been written before.
    exists: bool,
    log: WriteLog,
    /// Held as long as the state is in use.
    _lock: Lock,
}

impl StateFile {
    /// Checks, without changing anything, whether a state can be kept at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or its directory not written.
    pub(crate) fn find(path: &Path) -> Result<FoundState, StateError> {
        let failed = |act, error| StateError::new(act, path, error);
        let file = try_open(path)?;
        let path = files::followed(path).map_err(|error| failed("read", error))?;
        files::may_write_into(files::folder(&path)).map_err(|error| failed("write", error))?;
        let log = WriteLog::default();
        Ok(FoundState { path, file, log })
    }

    /// Restores the state into a tracker without torrents. Without a state, or after a damaged one, which is set aside, the tracker
    /// stays empty and `seed` becomes the seed of connection ids.
    ///
    /// # Errors
    /// Another tracker holds the state, it cannot be read, or its directory cannot be written.
    pub(crate) fn open(
        found: FoundState,
        mut tracker: Tracker,
        seed: Seed,
        clock: Clock,
    ) -> Result<(Self, Tracker), StateError> {
        let path = found.path;
        let lock =
            Lock::take(&with_suffix(&path, LOCK)).map_err(|error| StateError::from_lock(error, &path))?;
        // Opened again: the last holder of the lock may have replaced the file.
        let file = try_open(&path)?;
        let began = Instant::now();
        let mut state = Self {
            path,
            seed,
            exists: true,
            log: found.log,
            _lock: lock,
        };
        match read(file, &tracker, clock) {
            Ok(Some(content)) => {
                report(&state.path, &content, began.elapsed());
                state.seed = content.seed;
            }
            Ok(None) => {
                say(format_args!("State {}: none yet", state.path.display()));
                state.exists = false;
            }
            Err(ReadError::Io(error)) => return Err(state.error("read", error)),
            Err(ReadError::Damaged(damage)) => {
                state.set_aside(damage)?;
                state.exists = false;
                // Peers restored before the damage was found are discarded.
                tracker = tracker.without_swarms();
            }
        }
        state.check_writable()?;
        Ok((state, tracker))
    }

    /// The seed of connection ids: the stored one, so that ids from before the restart stay valid, or a new one.
    pub(crate) const fn connection_id_seed(&self) -> &Seed {
        &self.seed
    }

    /// Writes the tracker's swarms, unless `stop` returns true meanwhile; false then.
    ///
    /// # Errors
    /// The state cannot be written. The previous one is unchanged.
    pub(crate) fn write(
        &self,
        tracker: &Tracker,
        clock: Clock,
        pace: Pace,
        stop: impl Fn() -> bool,
    ) -> Result<bool, StateError> {
        let began = Instant::now();
        let fresh = with_suffix(&self.path, NEW);
        let written = self.write_to(&fresh, tracker, clock, pace, stop);
        let (torrents, peers) = match written {
            Ok(Some(written)) => written,
            other => {
                // A leftover does no harm: the next attempt replaces it.
                let _ = fs::remove_file(&fresh);
                let stopped = other.map(|_| false).map_err(|error| self.error("write", error));
                return stopped.inspect_err(|error| self.log.failed(error.failed()));
            }
        };
        self.log.written(Written {
            at: clock.now(),
            time: began.elapsed(),
            bytes: fs::metadata(&self.path).map_or(0, |state| state.len()),
            torrents,
            peers,
        });
        if pace == Pace::Full {
            say(format_args!(
                "State {}: {torrents} torrents and {peers} peers written in {} ms",
                self.path.display(),
                began.elapsed().as_millis()
            ));
        }
        Ok(true)
    }

    /// Starts a thread that writes the state every `period` until the tracker stops. Without a state yet, it writes one at once.
    ///
    /// # Errors
    /// The system has no more threads.
    pub(crate) fn spawn_writer(
        self: &Arc<Self>,
        tracker: &Arc<Tracker>,
        clock: Clock,
        period: Duration,
        control: &Control,
    ) -> io::Result<JoinHandle<()>> {
        let (state, tracker) = (Arc::clone(self), Arc::clone(tracker));
        let (sender, stopped) = channel::<()>();
        control.on_change(move || {
            // An error means that the thread has ended already.
            let _ = sender.send(());
        });
        let spawn_writer = move || state.write_periodically(period, &tracker, clock, &stopped);
        thread::Builder::new()
            .name("state".to_owned())
            .spawn(spawn_writer)
    }

    fn write_periodically(&self, period: Duration, tracker: &Tracker, clock: Clock, stopped: &Receiver<()>) {
        let mut wait = if self.exists { period } else { Duration::ZERO };
        while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            let mut told = false;
            let written = self.write(tracker, clock, Pace::Gentle, || stopped.try_recv().is_ok());
            match written {
                Ok(written) => told = !written,
                Err(error) => complain(error),
            }
            if told {
                break;
            }
            wait = period;
        }
    }

    /// Writes `fresh` and renames it to the state. Returns the number of torrents and peers; `None` if it was stopped.
    fn write_to(
        &self,
        fresh: &Path,
        tracker: &Tracker,
        clock: Clock,
        pace: Pace,
        stop: impl Fn() -> bool,
    ) -> io::Result<Option<(u64, u64)>> {
        let mut file = files::create_secret(fresh)?;
        reached(Stage::Created);
        let mut piece = Vec::new();
        let mut encoder = Encoder::begin(clock.now(), &self.seed, &mut piece);
        let mut done = false;
        while !done {
            let began = Instant::now();
            done = encoder.step(clock.now(), tracker.swarms(), &mut piece);
            file.write_all(&piece)?;
            piece.clear();
            reached(Stage::Piece);
            if stop() {
                return Ok(None);
            }
            if pace == Pace::Gentle && !done {
                // A sleep after each step: a worker that wakes on this thread's processor waits for the end of the step.
                thread::sleep(began.elapsed() * REST);
            }
        }
        reached(Stage::Written);
        file.sync_all()?;
        drop(file);
        reached(Stage::Synced);
        fs::rename(fresh, &self.path)?;
        reached(Stage::Renamed);
        File::open(files::folder(&self.path))?.sync_all()?;
        Ok(Some(encoder.written()))
    }

    /// Renames a damaged state. Earlier ones are kept, up to [`REFUSED_MAX`].
    fn set_aside(&self, damage: Damage) -> Result<(), StateError> {
        let (aside, replaced) = refused_path(&self.path);
        fs::rename(&self.path, &aside).map_err(|error| self.error("set aside", error))?;
        let replaced = if replaced {
            " in place of the one before"
        } else {
            ""
        };
        complain(format_args!(
            "state {}: {damage}; it is set aside as {}{replaced}, and the tracker starts without torrents",
            self.path.display(),
            aside.display()
        ));
        Ok(())
    }

    /// Checks at the start that a file can be written, rather than at the first write.
    fn check_writable(&self) -> Result<(), StateError> {
        let fresh = with_suffix(&self.path, NEW);
        files::create_secret(&fresh)
            .and_then(|_| fs::remove_file(&fresh))
            .map_err(|error| self.error("write", error))
    }

    fn error(&self, act: &'static str, error: io::Error) -> StateError {
        StateError::new(act, &self.path, error)
    }
}

/// A path at which a state can be kept, and the file there.
#[derive(Debug)]
pub(crate) struct FoundState {
    path: PathBuf,
    /// `None` if there is no state yet.
    file: Option<File>,
    log: WriteLog,
}

impl FoundState {
    /// The content of the state. `tracker` must be discarded afterwards.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn examine(self, tracker: &Tracker, clock: Clock) -> Result<StateContent, StateError> {
        let Self { path, file, .. } = self;
        match read(file, tracker, clock) {
            Ok(None) => Ok(StateContent::None(path)),
            Ok(Some(content)) => Ok(StateContent::Peers(path, content.restored.peers)),
            Err(ReadError::Damaged(damage)) => Ok(StateContent::Damaged(path, damage)),
            Err(ReadError::Io(error)) => Err(StateError::new("read", &path, error)),
        }
    }

    /// What will have come of writing it.
    pub(crate) fn log(&self) -> WriteLog {
        self.log.clone()
    }

    /// Checks, without changing anything, that no other tracker holds the state.
    ///
    /// # Errors
    /// Another tracker holds it.
    pub(crate) fn is_free(&self) -> Result<(), StateError> {
        lock::check(&with_suffix(&self.path, LOCK)).map_err(|error| StateError::from_lock(error, &self.path))
    }
}

/// The content of a state file.
#[derive(Debug)]
pub(crate) enum StateContent {
    /// There is no file yet.
    None(PathBuf),
    /// This many peers that have not expired.
    Peers(PathBuf, u64),
    /// It is damaged: a tracker would set it aside.
    Damaged(PathBuf, Damage),
}

/// The pace of writing the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// With sleeps, between requests.
    Gentle,
    /// As fast as the disk allows: at the end, when no requests are served.
    Full,
}

/// Why the state cannot be kept. Shown as one line.
#[derive(Debug)]
pub(crate) enum StateError {
    /// The system refuses the act, to this user if it is one of `--user`.
    Failed {
        act: &'static str,
        path: PathBuf,
        error: io::Error,
        user: Option<String>,
    },
    /// Another tracker holds it: this process, if that is known.
    Taken { path: PathBuf, by: Option<u32> },
}

impl StateError {
    fn new(act: &'static str, path: &Path, error: io::Error) -> Self {
        Self::Failed {
            act,
            path: path.to_owned(),
            error,
            user: None,
        }
    }

    /// The same error, which names the user who lacks a permission.
    pub(crate) fn of_user(mut self, name: Option<&Setting<String>>) -> Self {
        if let Self::Failed { error, user, .. } = &mut self
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            *user = name.map(|name| name.value.clone());
        }
        self
    }

    /// The error of a state whose lock cannot be taken.
    fn from_lock(error: LockError, state: &Path) -> Self {
        match error {
            LockError::Taken(by) => {
                let path = state.to_owned();
                Self::Taken { path, by }
            }
            LockError::Io(error) => Self::new("lock", state, error),
        }
    }

    fn failed(&self) -> Failed {
        Failed {
            what: self.to_string(),
            remedy: self.remedy(),
        }
    }

    /// What the operator can do.
    pub(crate) fn remedy(&self) -> String {
        let folder = self.folder().display();
        let kind = match self {
            Self::Failed { error, .. } => error.kind(),
            Self::Taken { .. } => return "give each tracker its own state".to_owned(),
        };
        if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return format!("make room on the file system of {folder}, or --state elsewhere");
        }
        format!(
            "an existing directory that the tracker's user can write: {folder}; with --chroot, the path is relative to it"
        )
    }

    /// The directory of the state.
    fn folder(&self) -> &Path {
        let (Self::Failed { path, .. } | Self::Taken { path, .. }) = self;
        files::folder(path)
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed {
                act,
                path,
                error,
                user,
            } => {
                write!(f, "cannot {act} the state {}: {}", path.display(), Plain(error))?;
                match user {
                    Some(user) => write!(
                        f,
                        "; user {user} must be able to read and write the folder {} and the state's files in it",
                        files::folder(path).display()
                    ),
                    None => Ok(()),
                }
            }
            Self::Taken { path, by } => {
                let by = by.map_or_else(String::new, |pid| format!(", process {pid},"));
                write!(
                    f,
                    "another tracker{by} uses the state {}: stop it, or give --state another file",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for StateError {}

enum ReadError {
    Io(io::Error),
    Damaged(Damage),
}

/// Opens the state, if there is one.
fn try_open(path: &Path) -> Result<Option<File>, StateError> {
    match files::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file
            .map(Some)
            .map_err(|error| StateError::new("read", path, error)),
    }
}

/// What was read of a state.
struct Content {
    seed: Seed,
    restored: Restored,
    /// Peers of torrents that have no room, as the memory of swarms is limited.
    peers_left_out: u64,
}

/// Puts what the file holds into `tracker`; nothing if there is no file. After an error the tracker has to be thrown away.
///
/// Where it might hold more than the tracker may take, it is looked through first, and torrents with many peers are read
/// before those with few.
fn read(file: Option<File>, tracker: &Tracker, clock: Clock) -> Result<Option<Content>, ReadError> {
    let Some(mut file) = file else {
        return Ok(None);
    };
    let (now, mut peers, mut readings) = (clock.now(), None, vec![PeersOfTorrent::ANY]);
    if may_be_too_large(&file, tracker) {
        let mut survey = Survey::new(now, tracker);
        decode(&mut file, |_, entry| survey.show(&entry))?;
        readings = survey.readings();
        peers = Some(survey.peers());
    }
    let mut restored = Restored::default();
    let mut seed = None;
    for wanted in readings {
        if tracker.swarms().pressure() == Pressure::Exhausted {
            break;
        }
        let mut restorer = Restorer::new(now, tracker).only(wanted);
        let header = decode(&mut file, |header, entry| {
            restorer.restore(header, entry, &Prefetcher);
        })?;
        restored = restored.plus(restorer.finish(&Prefetcher));
        seed = Some(header.seed);
    }
    let left_out = |peers: u64| peers.saturating_sub(restored.peers);
    Ok(seed.map(|seed| Content {
        seed,
        restored,
        peers_left_out: peers.map_or(0, left_out),
    }))
}

/// Whether swarms might take more memory than they may once the file is read. They never take four times as much as the file.
fn may_be_too_large(file: &File, tracker: &Tracker) -> bool {
    let limits = tracker.config().swarms().memory();
    let len = file.metadata().map_or(u64::MAX, |metadata| metadata.len());
    limits.is_some_and(|limits| len.saturating_mul(4) > limits.swarms_max as u64)
}

/// Reads the file from its beginning to its end, and shows what it holds.
fn decode(file: &mut File, mut show: impl FnMut(&Header, Entry)) -> Result<Header, ReadError> {
    file.seek(SeekFrom::Start(0)).map_err(ReadError::Io)?;
    let (mut piece, mut decoder) = (vec![0; PIECE_LEN], Decoder::new());
    loop {
        let len = file.read(&mut piece).map_err(ReadError::Io)?;
        if len == 0 {
            return decoder.finish().map_err(ReadError::Damaged);
        }
        decoder
            .feed(&piece[..len], &mut show)
            .map_err(ReadError::Damaged)?;
    }
}

fn report(path: &Path, content: &Content, took: Duration) {
    let Content {
        restored,
        peers_left_out,
        ..
    } = content;
    say(format_args!(
        "State {}: {} peers read in {} ms, {} were too old, {} not allowed any more",
        path.display(),
        restored.peers,
        took.as_millis(),
        restored.peers_too_old,
        restored.peers_refused
    ));
    if *peers_left_out > 0 {
        complain(format_args!(
            "state {}: {peers_left_out} peers are left out, those of the torrents with the fewest: they take more memory than \
             --memory-max leaves to swarms",
            path.display()
        ));
    }
}

/// The path for a damaged state, and whether it replaces another one.
fn refused_path(path: &Path) -> (PathBuf, bool) {
    let place = |number| match number {
        1 => with_suffix(path, REFUSED),
        _ => with_suffix(path, &format!("{REFUSED}.{number}")),
    };
    let free = (1..=REFUSED_MAX)
        .map(place)
        .find(|place| place.symlink_metadata().is_err());
    free.map_or_else(|| (place(REFUSED_MAX), true), |free| (free, false))
}

/// Bytes of one read.
const PIECE_LEN: usize = 1 << 18;
/// Between requests the writer sleeps this many times as long as it works.
const REST: u32 = 2;
/// Suffix of a state that is being written.
const NEW: &str = ".new";
/// Suffix of a damaged state; the second and later ones have their number after it.
const REFUSED: &str = ".refused";
/// Damaged states kept. A further one replaces the last: a recurring fault must not fill the disk.
const REFUSED_MAX: u32 = 9;
/// Suffix of the lock file.
const LOCK: &str = ".lock";

/// The stages of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Created,
    Piece,
    Written,
    Synced,
    Renamed,
}

/// A point at which a test can kill the process.
fn reached(stage: Stage) {
    #[cfg(test)]
    tests::die_at(stage);
    let _ = stage;
}

#[cfg(test)]
mod tests;
