//! Threads that the tracker is going to need.

use std::io;
use std::sync::mpsc::channel;
use std::thread::{self, Builder, sleep};
use std::time::Duration;

use crate::options::Options;
#[cfg(feature = "glommio")]
use crate::runtime;

/// How many threads a tracker with these options starts from now on, and some to spare.
pub(crate) fn wanted(options: &Options) -> usize {
    #[cfg(feature = "glommio")]
    let of_worker = if runtime::is_glommio(options) { 2 } else { 1 };
    #[cfg(not(feature = "glommio"))]
    let of_worker = 1;
    options.listen.workers * of_worker + OTHERS
}

/// Starts so many threads and ends them again. The runtimes start some where a refusal makes them panic: this finds out
/// before.
///
/// # Errors
/// The system does not allow so many.
pub(crate) fn check_limit(count: usize) -> io::Result<()> {
    let mut started = Vec::with_capacity(count);
    let outcome = (0..count).try_for_each(|_| {
        let (release, released) = channel::<()>();
        let wait = move || {
            // Nothing is sent: it ends with the other end.
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
    // The system may still count the last of them for a moment.
    sleep(SETTLE);
    outcome
}

/// Threads beside those of workers: of the state, lists, watch and watchdog, for timers and to give memory back, and two
/// to spare.
const OTHERS: usize = 8;
/// Bytes of stack for a thread that only waits.
const STACK_BYTES: usize = 64 << 10;
/// How long a thread that has ended may still count.
const SETTLE: Duration = Duration::from_millis(10);
