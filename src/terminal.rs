//! Lines for the operator. A terminal or pipe that has gone away, or that nobody reads, is no reason to stop serving.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Writes one line to standard output.
pub(crate) fn say(line: impl Display) {
    write(&OUTPUT, &format!("{line}\n"), io::stdout());
}

/// Writes one line to standard error, with the command's name in front.
pub(crate) fn complain(line: impl Display) {
    write(&ERRORS, &format!("etracker: {line}\n"), io::stderr());
}

/// From now on nobody who writes a line waits for those who read them: threads of their own do, and what is not read
/// is dropped when there is too much of it.
pub(crate) fn detach() {
    let mut guards = guards();
    for (writer, thread, stream) in [
        (&OUTPUT, "output", Box::new(io::stdout()) as Box<dyn Write + Send>),
        (&ERRORS, "errors", Box::new(io::stderr())),
    ] {
        writer.get_or_init(|| {
            let builder = NonBlockingBuilder::default()
                .buffered_lines_limit(LINES_WAITING_MAX)
                .thread_name(thread);
            let (writer, guard) = builder.finish(stream);
            guards.push(guard);
            writer
        });
    }
}

/// Standard error as it is after [`detach`].
pub(crate) fn errors() -> Box<dyn Write> {
    match ERRORS.get() {
        Some(writer) => Box::new(writer.clone()),
        None => Box::new(io::stderr()),
    }
}

/// Lines that were dropped so far.
pub(crate) fn dropped() -> usize {
    [&OUTPUT, &ERRORS]
        .into_iter()
        .filter_map(OnceLock::get)
        .map(|writer| writer.error_counter().dropped_lines())
        .sum()
}

/// Waits a second or so for the lines that are still to be written; those who come later are lost.
pub(crate) fn flush() {
    guards().clear();
}

/// Lines that wait for their reader at once: more than a start writes, less than a megabyte.
const LINES_WAITING_MAX: usize = 4096;

static OUTPUT: OnceLock<NonBlocking> = OnceLock::new();
static ERRORS: OnceLock<NonBlocking> = OnceLock::new();
static GUARDS: Mutex<Vec<WorkerGuard>> = Mutex::new(Vec::new());

fn guards() -> std::sync::MutexGuard<'static, Vec<WorkerGuard>> {
    GUARDS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(detached: &OnceLock<NonBlocking>, line: &str, direct: impl Write) {
    // Whoever reads has gone, or has stopped: there is nobody to tell.
    let _ = match detached.get() {
        Some(writer) => writer.clone().write_all(line.as_bytes()),
        None => { direct }.write_all(line.as_bytes()),
    };
}
