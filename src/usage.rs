//! What the process has used of the system.

use std::fs::{self, File};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// What the process has used, by one reading.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Time of processors, in the process and in the kernel for it.
    pub(crate) processors: Duration,
    /// Files and sockets that are open; `None` where the system does not tell.
    pub(crate) open_files: Option<u64>,
}

impl Usage {
    pub(crate) fn take() -> Self {
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
        let processors = usage.map(|usage| time(usage.user_time()) + time(usage.system_time()));
        Self {
            processors: processors.unwrap_or_default(),
            open_files: open_files(),
        }
    }
}

/// Finds where the system tells of open files: for a process that is going to change to a root without `/proc`.
pub(crate) fn find() {
    folder();
}

/// The size of the folder is the number of its entries, from Linux 6.2 on; before that it is 0, and the entries are counted.
fn open_files() -> Option<u64> {
    let size = folder()?.metadata().map_or(0, |folder| folder.len());
    if size > 0 {
        return Some(size);
    }
    let count = fs::read_dir(FOLDER).ok()?.count() as u64;
    // Reading the folder has opened it once more.
    Some(count.saturating_sub(1))
}

fn folder() -> Option<&'static File> {
    static OPENED: OnceLock<Option<File>> = OnceLock::new();
    OPENED.get_or_init(|| File::open(FOLDER).ok()).as_ref()
}

fn time(time: TimeVal) -> Duration {
    let secs = u64::try_from(time.tv_sec()).unwrap_or_default();
    let micros = u64::try_from(time.tv_usec()).unwrap_or_default();
    Duration::from_secs(secs) + Duration::from_micros(micros)
}

const FOLDER: &str = "/proc/self/fd";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_processors_grows_with_work() {
        let before = Usage::take().processors;
        let mut number = 1u64;
        // The system counts in steps of up to ten milliseconds.
        while Usage::take().processors < before + Duration::from_millis(20) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn open_files_are_counted() {
        find();
        let files: Vec<_> = (0..300).map(|_| File::open("/dev/null").unwrap()).collect();
        let open = Usage::take().open_files.unwrap();
        assert!(open > files.len() as u64, "{open}");
    }
}
