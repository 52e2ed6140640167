//! The lock of a state, on a file beside it. The lock ends with the process in any case; the file stays.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::files;
use crate::terminal::complain;

/// A lock that this process holds.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Why the lock is not taken.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process holds it: this one, if the file says so.
    Taken(Option<u32>),
    /// The file cannot be opened or locked.
    Io(io::Error),
}

impl Lock {
    /// Takes the lock. Waits up to two seconds for another process, which may be about to end.
    ///
    /// # Errors
    /// Another process holds it, or the system refuses.
    pub(super) fn take(path: &Path) -> Result<Self, LockError> {
        let mut file = open(path).map_err(LockError::Io)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(PAUSE),
                Err(TryLockError::WouldBlock) => return Err(LockError::Taken(owner(&mut file))),
                Err(TryLockError::Error(error)) if is_unsupported(&error) => {
                    complain(format_args!(
                        "{}: this file system has no locks: do not start a second tracker on this state",
                        path.display()
                    ));
                    break;
                }
                Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
            }
        }
        // An error, as on a full disk, costs only the process id in another tracker's message.
        let _ = write_owner(&mut file);
        Ok(Self { _file: file })
    }
}

/// Checks whether the lock could be taken. Creates no file.
///
/// # Errors
/// Another process holds it.
pub(super) fn check(path: &Path) -> Result<(), LockError> {
    // Without a file there is no lock; an unreadable file is reported by the start, not here.
    let Ok(mut file) = files::open(path) else {
        return Ok(());
    };
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Err(LockError::Taken(owner(&mut file))),
        _ => Ok(()),
    }
}

/// Opens a lock file that only this user can write. Never blocks, whatever the path leads to.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options
        .mode(0o600)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
    options.open(path)
}

/// Writes the id of this process, which holds the lock.
fn write_owner(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", process::id())
}

/// The process id in the lock file.
fn owner(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_LEN_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(
            error.raw_os_error(),
            Some(libc::ENOLCK | libc::EOPNOTSUPP | libc::ENOSYS)
        )
}

/// How long to wait for the holder of the lock, which may be writing its state before it ends.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a process's number and a line feed, and more.
const PID_LEN_MAX: u64 = 16;
