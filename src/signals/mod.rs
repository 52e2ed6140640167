//! Signals.

mod sys;

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use etracker_runtime_common::Control;
use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use crate::terminal::{complain, flush, say};

/// Ignores all signals that mean nothing to a tracker and would end it. SIGQUIT, faults of the program and the limit on processor
/// time still end it.
pub(crate) fn ignore_meaningless() {
    for &signal in IGNORED {
        sys::ignore(signal);
    }
    #[cfg(target_os = "linux")]
    for signal in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        sys::ignore(signal);
    }
}

/// Queues signals from now on until they are handled.
///
/// # Errors
/// The operating system refuses.
pub(crate) fn watch() -> io::Result<Signals> {
    let signals = Signals::new(HANDLED)?;
    // A supervisor starts the process with them blocked, so that one that comes early waits.
    handled().thread_unblock()?;
    Ok(signals)
}

/// The signals that are handled.
pub(crate) fn handled() -> SigSet {
    HANDLED
        .iter()
        .filter_map(|&signal| Signal::try_from(signal).ok())
        .collect()
}

/// Starts the thread that handles signals: the first SIGINT or SIGTERM stops the workers, the second ends the process at once;
/// SIGHUP and SIGUSR1 request a reload.
///
/// # Errors
/// The system has no more threads.
pub(crate) fn dispatch(
    mut signals: Signals,
    control: Arc<Control>,
    reload: SyncSender<&'static str>,
) -> io::Result<()> {
    let mut repeats = RepeatFilter::default();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if !repeats.is_repeat(signal, Instant::now()) {
                    handle(signal, &control, &reload);
                }
            }
        })
        .map(drop)
}

/// Whether `signal` requests a reload.
pub(crate) const fn asks_for_reload(signal: i32) -> bool {
    matches!(signal, SIGHUP | SIGUSR1)
}

/// Detects repeated signals: `timeout` sends its signal to the process and then to its group.
#[derive(Debug, Default)]
pub(crate) struct RepeatFilter {
    /// The last request to stop that counted, and its time.
    last: Option<(i32, Instant)>,
}

impl RepeatFilter {
    /// Whether `signal` at `now` repeats the last request to stop. A request to reload never is a repeat: the lists may have changed
    /// since the last one.
    pub(crate) fn is_repeat(&mut self, signal: i32, now: Instant) -> bool {
        if asks_for_reload(signal) {
            return false;
        }
        let before = self.last.filter(|(before, _)| *before == signal);
        if before.is_some_and(|(_, at)| now.saturating_duration_since(at) < REPEAT_WITHIN) {
            return true;
        }
        self.last = Some((signal, now));
        false
    }
}

fn handle(signal: i32, control: &Control, reload: &SyncSender<&'static str>) {
    let name = signal_name(signal).unwrap_or("a signal");
    if asks_for_reload(signal) {
        // An error means that a request is pending: that reload will see all changes until now.
        let _ = reload.try_send(name);
    } else if control.is_stopping() {
        complain(format_args!("{name} while stopping: ended at once"));
        flush();
        process::exit(EXIT_SIGNAL + signal);
    } else {
        say(format_args!("{name}: stopping"));
        control.stop();
    }
}

/// Requests to stop and to reload.
const HANDLED: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1];
/// Added to the number of the signal that ended the process, as shells do.
const EXIT_SIGNAL: i32 = 128;
/// Two signals of one kind within this time count as one: faster than anyone presses Ctrl-C twice.
const REPEAT_WITHIN: Duration = Duration::from_millis(100);
/// Signals without a meaning for a tracker whose default action would end or suspend it. Those of a terminal would suspend it when
/// it prints in the background. With SIGXFSZ ignored, a write beyond the limit on file sizes is an error, as on a full disk.
const IGNORED: &[i32] = &[
    libc::SIGXFSZ,
    SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGIO,
    libc::SIGPIPE,
    #[cfg(target_os = "linux")]
    libc::SIGPWR,
    #[cfg(all(
        target_os = "linux",
        not(any(target_arch = "mips", target_arch = "mips64", target_arch = "sparc64"))
    ))]
    libc::SIGSTKFLT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_requests_of_one_kind_for_an_end_within_a_moment_are_one() {
        let (mut repeats, began) = (RepeatFilter::default(), Instant::now());
        let mut repeats_after =
            |signal, millis| repeats.is_repeat(signal, began + Duration::from_millis(millis));
        assert!(!repeats_after(SIGTERM, 0));
        assert!(repeats_after(SIGTERM, 0));
        assert!(repeats_after(SIGTERM, 99));
        assert!(!repeats_after(SIGINT, 99));
        assert!(repeats_after(SIGINT, 198));
        assert!(!repeats_after(SIGINT, 199));
    }

    #[test]
    fn each_request_for_a_reload_counts() {
        let (mut repeats, now) = (RepeatFilter::default(), Instant::now());
        assert!(!repeats.is_repeat(SIGHUP, now) && !repeats.is_repeat(SIGHUP, now));
    }
}
