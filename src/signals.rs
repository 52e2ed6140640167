//! What the operator says by signals.

use std::io;
use std::process;
use std::sync::Arc;
use std::thread;

use etracker_runtime_common::Control;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use crate::terminal::{complain, say};

/// Has signals obeyed from now on: the first SIGINT or SIGTERM stops the workers, the second ends the process at once.
/// SIGHUP changes nothing: a tracker outlives the terminal it was started from.
///
/// # Errors
/// The operating system refuses.
pub(crate) fn obey(control: Arc<Control>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                handle(signal, &control);
            }
        })
        .map(drop)
}

fn handle(signal: i32, control: &Control) {
    let name = signal_name(signal).unwrap_or("a signal");
    if signal == SIGHUP {
        say(format_args!("{name}: there is nothing to reload, going on"));
    } else if control.is_stopping() {
        complain(format_args!("{name} while stopping: ended at once"));
        process::exit(EXIT_SIGNAL + signal);
    } else {
        say(format_args!("{name}: stopping"));
        control.stop();
    }
}

/// Added to the number of the signal that ended the process: the shells' custom.
const EXIT_SIGNAL: i32 = 128;
