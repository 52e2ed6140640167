//! The right to a state: the lock of a file beside it. It ends with the process, however that ends, and the file stays.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::files;
use crate::terminal::complain;

/// A lock that this process has.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process has it: which one, if it says so.
    Taken(Option<u32>),
    /// The file cannot be opened or locked.
    Io(io::Error),
}

impl Lock {
    /// Takes the lock. Waits for a moment if another process has it, which may be about to end.
    ///
    /// # Errors
    /// Another process keeps it, or the system refuses.
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
                        "{}: there are no locks on this file system; no second tracker may use this state",
                        path.display()
                    ));
                    break;
                }
                Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
            }
        }
        // A full disk keeps others from learning who has the lock, and nothing else.
        let _ = write_owner(&mut file);
        Ok(Self { _file: file })
    }
}

/// Finds out whether the lock could be taken. Makes no file.
///
/// # Errors
/// Another process has it.
pub(super) fn check(path: &Path) -> Result<(), LockError> {
    // Where there is no file nobody has its lock, and one that cannot be read is not said to be taken.
    let Ok(mut file) = files::open(path) else {
        return Ok(());
    };
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Err(LockError::Taken(owner(&mut file))),
        _ => Ok(()),
    }
}

/// A file that nobody else may write. It is not waited for, whatever it is.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options
        .mode(0o600)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
    options.open(path)
}

/// Says who has the lock.
fn write_owner(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", process::id())
}

/// Who says to have the lock.
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

/// How long a process that has the lock may take to end: it may still be writing the state.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a process's number and a line feed, and more.
const PID_LEN_MAX: u64 = 16;
