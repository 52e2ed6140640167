//! What the operator says by signals.

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

/// Has all signals ignored that would end the process and say nothing about it. SIGQUIT, the faults of the program and
/// the limit on processor time still end it.
pub(crate) fn ignore_meaningless() {
    for &signal in IGNORED {
        sys::ignore(signal);
    }
    #[cfg(target_os = "linux")]
    for signal in libc::SIGRTMIN()..=libc::SIGRTMAX() {
        sys::ignore(signal);
    }
}

/// Keeps signals from now on until they are obeyed.
///
/// # Errors
/// The operating system refuses.
pub(crate) fn watch() -> io::Result<Signals> {
    let signals = Signals::new(HANDLED)?;
    // A supervisor has them blocked until somebody is there to obey them.
    handled().thread_unblock()?;
    Ok(signals)
}

/// The signals that are obeyed.
pub(crate) fn handled() -> SigSet {
    HANDLED
        .iter()
        .filter_map(|&signal| Signal::try_from(signal).ok())
        .collect()
}

/// Has signals obeyed from now on: the first SIGINT or SIGTERM stops the workers, the second ends the process at once.
/// SIGHUP and SIGUSR1 ask for a reload.
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

/// Whether `signal` asks for a reload rather than for the end.
pub(crate) const fn asks_for_reload(signal: i32) -> bool {
    matches!(signal, SIGHUP | SIGUSR1)
}

/// Notices signals that say again what was just said: `timeout` sends its signal to the process and to its group.
#[derive(Debug, Default)]
pub(crate) struct RepeatFilter {
    /// The request for an end that counted last, and when it came.
    last: Option<(i32, Instant)>,
}

impl RepeatFilter {
    /// Whether `signal`, which came at `now`, is one with a request for an end that came before. No request for a
    /// reload is: what it is about may have changed since the last one.
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
        // One that is waiting already will see what has changed until now.
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

/// Requests for the end, and for a reload.
const HANDLED: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1];
/// Added to the number of the signal that ended the process: the shells' custom.
const EXIT_SIGNAL: i32 = 128;
/// Two signals of one kind within this time are one. Nobody presses Ctrl-C twice so fast.
const REPEAT_WITHIN: Duration = Duration::from_millis(100);
/// Signals that say nothing to a tracker, and whose default is death, or for those of a terminal to stop: it reads none, and
/// must not stop when it prints in the background. A write beyond a limit on the size of files is an
/// error then, as on a full disk.
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
