//! The limit on threads.

use std::io;
use std::sync::mpsc::channel;
use std::thread::{self, Builder, sleep};
use std::time::Duration;

use crate::options::Options;
#[cfg(feature = "glommio")]
use crate::runtime;

/// The threads that a tracker with these options will start, and a reserve.
pub(crate) fn wanted(options: &Options) -> usize {
    #[cfg(feature = "glommio")]
    let of_worker = if runtime::is_glommio(options) { 2 } else { 1 };
    #[cfg(not(feature = "glommio"))]
    let of_worker = 1;
    options.listen.workers * of_worker + OTHERS
}

/// Starts `count` threads and ends them again. Runtimes panic if the system refuses a thread; this check makes it an error.
///
/// # Errors
/// The system does not allow so many.
pub(crate) fn check_limit(count: usize) -> io::Result<()> {
    let mut started = Vec::with_capacity(count);
    let outcome = (0..count).try_for_each(|_| {
        let (release, released) = channel::<()>();
        let wait = move || {
            // Nothing is sent: the thread ends when the sender is dropped.
            let _ = released.recv();
        };
        let thread = Builder::new().stack_size(STACK_BYTES).spawn(wait)?;
        started.push((thread, release));
        Ok(())
    });
    let (threads, releases): (Vec<thread::JoinHandle<()>>, Vec<_>) = started.into_iter().unzip();
    drop(releases);
    for thread in threads {
        // None of them panics.
        let _ = thread.join();
    }
    // The system may count a thread for a moment after its end.
    sleep(SETTLE);
    outcome
}

/// Threads beside the workers: state, lists, watch, watchdog, timers, freeing of memory, ACME and its look-ups of names, a cluster and
/// its look-ups, and two in reserve.
const OTHERS: usize = 12;
/// Bytes of stack for a thread that only waits.
const STACK_BYTES: usize = 64 << 10;
/// How long a thread that has ended may still count.
const SETTLE: Duration = Duration::from_millis(10);
