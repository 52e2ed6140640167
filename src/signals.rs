//! What the operator says by signals.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;

use etracker_runtime_common::Control;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use crate::terminal::{complain, flush, say};

/// Keeps signals from now on until they are obeyed.
///
/// # Errors
/// The operating system refuses.
pub(crate) fn watch() -> io::Result<Signals> {
    Signals::new([SIGINT, SIGTERM, SIGHUP])
}

/// Has signals obeyed from now on: the first SIGINT or SIGTERM stops the workers, the second ends the process at once.
/// SIGHUP asks for a reload.
///
/// # Errors
/// The system has no more threads.
pub(crate) fn obey(mut signals: Signals, control: Arc<Control>, reload: SyncSender<()>) -> io::Result<()> {
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                handle(signal, &control, &reload);
            }
        })
        .map(drop)
}

fn handle(signal: i32, control: &Control, reload: &SyncSender<()>) {
    let name = signal_name(signal).unwrap_or("a signal");
    if signal == SIGHUP {
        // One that is waiting already will see what has changed until now.
        let _ = reload.try_send(());
    } else if control.is_stopping() {
        complain(format_args!("{name} while stopping: ended at once"));
        flush();
        process::exit(EXIT_SIGNAL + signal);
    } else {
        say(format_args!("{name}: stopping"));
        control.stop();
    }
}

/// Added to the number of the signal that ended the process: the shells' custom.
const EXIT_SIGNAL: i32 = 128;
