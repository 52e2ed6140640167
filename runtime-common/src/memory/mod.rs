//! Memory that the process keeps in use.

mod sys;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

/// Bytes of memory that the process keeps in use now; where the system does not tell, the most it ever kept in use.
///
/// The first call has to come before a change of root that hides `/proc`.
#[must_use]
pub fn resident_bytes() -> u64 {
    static STATM: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    let statm = STATM.get_or_init(|| File::open("/proc/self/statm").ok().map(Mutex::new));
    let pages = statm.as_ref().and_then(|statm| {
        let mut statm = statm.lock().unwrap_or_else(PoisonError::into_inner);
        resident_pages(&mut statm)
    });
    pages.map_or_else(resident_max_bytes, |pages| {
        pages.saturating_mul(sys::page_bytes())
    })
}

/// The most bytes of memory that the process ever kept in use; 0 where the system does not tell.
#[must_use]
pub fn resident_max_bytes() -> u64 {
    sys::resident_max_bytes().unwrap_or_default()
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
fn resident_pages(statm: &mut File) -> Option<u64> {
    let mut text = [0; 128];
    statm.seek(SeekFrom::Start(0)).ok()?;
    let len = statm.read(&mut text).ok()?;
    let text = str::from_utf8(text.get(..len)?).ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_used_is_seen() {
        let before = resident_bytes();
        let used = std::hint::black_box(vec![1u8; 64 << 20]);
        let after = resident_bytes();
        assert!(after >= before + (60 << 20), "{before} {after}");
        assert!(
            resident_max_bytes() >= after - (4 << 20),
            "{after} {}",
            resident_max_bytes()
        );
        drop(used);
    }
}
