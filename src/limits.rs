//! Resource limits of this process.

use std::fmt::Display;
use std::io;

use etracker_runtime_common::Plain;
use rlimit::Resource;

use crate::terminal::{Tell, complain};

/// Raises the limits on open files and on the size of a core, as far as this user may, and says from what to what.
/// What cannot be raised stays as it is. The numbers are the system's names of the limits.
pub(crate) fn raise(tell: Tell<'_>) {
    change(Resource::NOFILE, &libc::RLIMIT_NOFILE, open_files_wanted, tell);
    change(Resource::CORE, &libc::RLIMIT_CORE, |_, hard| hard, tell);
}

/// Raises the limit on locked memory, which io_uring takes, in the same way.
#[cfg(feature = "glommio")]
pub(crate) fn raise_locked_memory(tell: Tell<'_>) {
    change(
        Resource::MEMLOCK,
        &libc::RLIMIT_MEMLOCK,
        locked_memory_wanted,
        tell,
    );
}

/// The soft limit on locked memory after [`raise_locked_memory`]; `None` if it cannot be read.
#[cfg(feature = "glommio")]
pub(crate) fn locked_memory_raised() -> Option<u64> {
    let (soft, hard) = rlimit::getrlimit(Resource::MEMLOCK).ok()?;
    Some(locked_memory_wanted(soft, hard))
}

/// The TCP connections that fit into the limit on open files beside `workers` workers with `sockets` sockets; `None` if none fit.
pub(crate) fn connections_max(workers: usize, sockets: usize) -> Option<usize> {
    let (open_files, _) = open_files();
    let open_files = usize::try_from(open_files).unwrap_or(usize::MAX);
    room(open_files, workers, sockets)
}

/// The soft and the hard limit on open files.
pub(crate) fn open_files() -> (u64, u64) {
    rlimit::getrlimit(Resource::NOFILE).unwrap_or((OPEN_FILES_WANTED, OPEN_FILES_WANTED))
}

/// The soft limit on open files after [`raise`], and the hard one.
pub(crate) fn open_files_raised() -> (u64, u64) {
    let (soft, hard) = open_files();
    (open_files_wanted(soft, hard), hard)
}

/// Open files wanted: about as many clients as one address has ports.
pub(crate) const OPEN_FILES_WANTED: u64 = 64_000;
/// Bytes of locked memory that a worker takes.
#[cfg(feature = "glommio")]
pub(crate) const LOCKED_MEMORY_OF_WORKER: u64 = 192 << 10;
/// Bytes of locked memory wanted: enough for 256 workers.
#[cfg(feature = "glommio")]
const LOCKED_MEMORY_WANTED: u64 = 64 << 20;
/// Open files of the process outside its workers: terminal, signals, logs, and a reserve.
const FILES_OF_PROCESS: usize = 32;
/// Open files of a worker beside its sockets: pollers, timer, waker, stop pipe, duplicated descriptors of its sockets, and a
/// reserve.
const FILES_OF_WORKER: usize = 16;

fn open_files_wanted(soft: u64, hard: u64) -> u64 {
    soft.max(OPEN_FILES_WANTED.min(hard))
}

#[cfg(feature = "glommio")]
fn locked_memory_wanted(soft: u64, hard: u64) -> u64 {
    soft.max(LOCKED_MEMORY_WANTED.min(hard))
}

/// The connections that fit into the open files.
pub(crate) fn room(open_files: usize, workers: usize, sockets: usize) -> Option<usize> {
    let reserved = FILES_OF_PROCESS + workers * FILES_OF_WORKER + sockets;
    open_files.checked_sub(reserved).filter(|&room| room >= workers)
}

fn change(resource: Resource, number: &dyn Display, wanted: impl Fn(u64, u64) -> u64, tell: Tell<'_>) {
    let changed = || -> io::Result<()> {
        let (soft, hard) = resource.get()?;
        tell(&format_args!("Current {number} -> soft={soft}, hard={hard}"));
        resource.set(wanted(soft, hard), hard)?;
        let (soft, hard) = resource.get()?;
        tell(&format_args!("New {number} -> soft={soft}, hard={hard}"));
        Ok(())
    };
    if let Err(error) = changed() {
        complain(format_args!("limit {number} stays as it is: {}", Plain(&error)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_tracker_itself() {
        assert_eq!(room(1024, 2, 4), Some(1024 - 32 - 32 - 4));
        assert_eq!(room(usize::MAX, 1, 2), Some(usize::MAX - 50));
    }

    #[test]
    fn a_limit_below_one_connection_a_worker_is_none() {
        assert_eq!(room(32 + 160 + 20 + 10, 10, 20), Some(10));
        assert_eq!(room(32 + 160 + 20 + 9, 10, 20), None);
        assert_eq!(room(20, 1, 2), None);
    }
}
