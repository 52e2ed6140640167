//! Memory that the process keeps in use.

mod sys;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

/// Memory of the process by one reading, in bytes; 0 where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Kept in use now; where the system does not tell, the most ever.
    pub resident_bytes: u64,
    /// The most that was ever kept in use: never less than now.
    pub resident_max_bytes: u64,
}

impl Memory {
    /// Takes a reading. The system gathers it, so that it is not for each request.
    #[must_use]
    pub fn take() -> Self {
        read(status(), status_of).unwrap_or_else(|| {
            let bytes = resident_max_bytes();
            Self {
                resident_bytes: bytes,
                resident_max_bytes: bytes,
            }
        })
    }
}

/// Finds where the system tells about memory: for a process that is going to change to a root without `/proc`.
pub fn find_memory() {
    statm();
    status();
}

/// Bytes of memory that the process keeps in use now; where the system does not tell, the most it ever kept in use. A
/// quicker and rougher reading than [`Memory`].
#[must_use]
pub fn resident_bytes() -> u64 {
    let pages = read(statm(), resident_pages);
    pages.map_or_else(resident_max_bytes, |pages| {
        pages.saturating_mul(sys::page_bytes())
    })
}

fn resident_max_bytes() -> u64 {
    sys::resident_max_bytes().unwrap_or_default()
}

fn statm() -> Option<&'static Mutex<File>> {
    static STATM: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    STATM.get_or_init(|| open("/proc/self/statm")).as_ref()
}

fn status() -> Option<&'static Mutex<File>> {
    static STATUS: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    STATUS.get_or_init(|| open("/proc/self/status")).as_ref()
}

fn open(path: &str) -> Option<Mutex<File>> {
    File::open(path).ok().map(Mutex::new)
}

/// What a file says now, as far as it is of interest.
fn read<T>(file: Option<&Mutex<File>>, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let mut file = file?.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = [0; 4096];
    file.seek(SeekFrom::Start(0)).ok()?;
    let len = file.read(&mut text).ok()?;
    parse(str::from_utf8(text.get(..len)?).ok()?)
}

/// Has the allocator give memory that is not in use back to the system, where it can be asked to.
///
/// A thread of its own does it, because it takes time in proportion to what is in use.
pub(crate) fn give_memory_back() {
    // Where there is no room for a thread, the memory is kept: that is no fault.
    drop(thread::Builder::new().name("memory".to_owned()).spawn(sys::trim));
}

/// Has the allocator join small pieces of free memory as they come, where it can be asked to.
///
/// The C library of GNU puts them off and joins all of them at some later call: after millions of torrents have left, that
/// one call takes a tenth of a second.
pub fn join_free_memory_at_once() {
    sys::keep_no_fast_bins();
}

/// The second number of the file: see proc_pid_statm(5).
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split(' ').nth(1)?.parse().ok()
}

/// See proc_pid_status(5).
fn status_of(status: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib.saturating_mul(1024))
    };
    Some(Memory {
        resident_bytes: bytes("VmRSS:")?,
        resident_max_bytes: bytes("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_used_is_seen() {
        let before = resident_bytes();
        let used = std::hint::black_box(vec![1u8; 64 << 20]);
        let (after, memory) = (resident_bytes(), Memory::take());
        assert!(after >= before + (60 << 20), "{before} {after}");
        assert!(
            memory.resident_bytes >= before + (60 << 20),
            "{before} {memory:?}"
        );
        drop(used);
    }
    #[test]
    fn the_most_ever_is_never_less_than_what_is_in_use() {
        let mut used: Vec<Vec<u8>> = Vec::new();
        for _ in 0..200 {
            used.push(std::hint::black_box(vec![1; 1 << 18]));
            let memory = Memory::take();
            assert!(memory.resident_bytes <= memory.resident_max_bytes, "{memory:?}");
        }
    }

    #[test]
    fn the_lines_of_the_system_are_read() {
        let status = "Name:\tetracker\nVmPeak:\t  9 kB\nVmHWM:\t    1234 kB\nVmRSS:\t     1200 kB\n";
        let memory = Memory {
            resident_bytes: 1200 * 1024,
            resident_max_bytes: 1234 * 1024,
        };
        assert_eq!(status_of(status), Some(memory));
        assert_eq!(status_of("VmHWM:\t1234 kB\n"), None);
        assert_eq!(resident_pages("100 20 3 4 0 5 0"), Some(20));
    }
}
