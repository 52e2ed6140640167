//! Output for the operator. A closed terminal, or a pipe that is not read, never stops or blocks the tracker.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

/// Takes a line for the operator.
pub(crate) type Tell<'a> = &'a dyn Fn(&dyn Display);

/// Writes one line to standard output.
pub(crate) fn say(line: impl Display) {
    write(&OUTPUT, &format!("{line}\n"), io::stdout());
}

/// Writes one line to standard error: with the command's name in front, or as a JSON object after [`complain_in_json`].
pub(crate) fn complain(line: impl Display) {
    let line = if IN_JSON.load(Relaxed) {
        json(&line.to_string())
    } else {
        format!("etracker: {line}")
    };
    write(&ERRORS, &format!("{line}\n"), io::stderr());
}

/// Makes lines on standard error JSON objects, like those of the log.
pub(crate) fn complain_in_json() {
    IN_JSON.store(true, Relaxed);
}

/// From now on separate threads write the output, so that printing never blocks. Lines beyond the queue are dropped.
///
/// # Errors
/// The operating system gives no threads.
pub(crate) fn detach() -> io::Result<()> {
    let _ = OUTPUT.set(Lines::written_to("output", io::stdout())?);
    let _ = ERRORS.set(Lines::written_to("errors", io::stderr())?);
    Ok(())
}

/// Standard error as it is after [`detach`].
pub(crate) fn errors() -> Box<dyn Write> {
    match ERRORS.get() {
        Some(lines) => Box::new(lines),
        None => Box::new(io::stderr()),
    }
}

/// Lines that were dropped so far.
pub(crate) fn dropped() -> u64 {
    detached().map(|lines| lines.dropped.load(Relaxed)).sum()
}

/// Waits up to a second for queued lines to be written, before the process ends.
pub(crate) fn flush() {
    let end = Instant::now() + FLUSH_MAX;
    let written: Vec<_> = detached().map(Lines::flush).collect();
    for written in written {
        // Lines that are not read within the second are lost.
        let _ = written.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// The queue of lines to a stream.
#[derive(Debug)]
struct Lines {
    /// Unbounded, as a bounded channel allocates all its memory at once; `waiting` is the bound.
    queue: Sender<Entry>,
    /// Invariant: the lines in the queue, at most [`LINES_WAITING_MAX`].
    waiting: Arc<AtomicUsize>,
    /// Lines dropped or not written.
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Signals that all lines before it are written.
    Flush(SyncSender<()>),
}

impl Lines {
    fn written_to(name: &str, mut stream: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, entries) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let dropped = Arc::new(AtomicU64::new(0));
        let (written, failed) = (Arc::clone(&waiting), Arc::clone(&dropped));
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            for entry in entries {
                match entry {
                    Entry::Line(line) => {
                        written.fetch_sub(1, Relaxed);
                        if stream.write_all(&line).is_err() {
                            failed.fetch_add(1, Relaxed);
                        }
                    }
                    Entry::Flush(written) => {
                        // The reader or the waiting thread may be gone; there is no one to report to.
                        let _ = stream.flush();
                        let _ = written.try_send(());
                    }
                }
            }
        })?;
        Ok(Self {
            queue,
            waiting,
            dropped,
        })
    }

    fn add(&self, line: &[u8]) {
        let one_more = |waiting| Some(waiting + 1).filter(|&waiting| waiting <= LINES_WAITING_MAX);
        let room = self.waiting.fetch_update(Relaxed, Relaxed, one_more).is_ok();
        if !room || self.queue.send(Entry::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Asks for all queued lines to be written; the receiver returned signals it.
    fn flush(&self) -> Receiver<()> {
        let (written, told) = sync_channel(1);
        // If the thread is gone, the receiver is disconnected.
        let _ = self.queue.send(Entry::Flush(written));
        told
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines queued at most: more than a start prints, less than a megabyte.
const LINES_WAITING_MAX: usize = 4096;
/// How long the end of the process waits for queued lines.
const FLUSH_MAX: Duration = Duration::from_secs(1);

static IN_JSON: AtomicBool = AtomicBool::new(false);
static OUTPUT: OnceLock<Lines> = OnceLock::new();
static ERRORS: OnceLock<Lines> = OnceLock::new();

fn detached() -> impl Iterator<Item = &'static Lines> {
    [&OUTPUT, &ERRORS].into_iter().filter_map(OnceLock::get)
}

/// A line in the format of the log, at any log level.
fn json(line: &str) -> String {
    let timestamp = format!("{:.6}", Timestamp::now());
    let object = json!({ "timestamp": timestamp, "level": "ERROR", "message": line, "target": "etracker" });
    object.to_string()
}

fn write(detached: &OnceLock<Lines>, line: &str, mut direct: impl Write) {
    match detached.get() {
        Some(lines) => lines.add(line.as_bytes()),
        // Whoever reads may have gone: there is nobody to tell.
        None => drop(direct.write_all(line.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream whose reader has stopped, until it is told to go on.
    struct Stuck(Receiver<()>, SyncSender<Vec<u8>>);

    impl Write for Stuck {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            let _ = self.1.try_send(line.to_vec());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A file that is as large as it may be.
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::FileTooLarge.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let lines = Lines::written_to("full", Full).unwrap();
        lines.add(b"one");
        lines.add(b"two");
        lines.flush().recv().unwrap();
        assert_eq!(lines.dropped.load(Relaxed), 2);
    }

    #[test]
    fn what_is_not_read_is_dropped_and_counted_and_the_rest_keeps_its_order() {
        let (go_on, wait) = sync_channel(0);
        let (write, written) = sync_channel(LINES_WAITING_MAX * 2);
        let lines = Lines::written_to("stuck", Stuck(wait, write)).unwrap();
        for number in 0..LINES_WAITING_MAX + 100 {
            lines.add(format!("{number}\n").as_bytes());
        }
        // The thread may hold one line that does not wait any more.
        assert!((99..=100).contains(&lines.dropped.load(Relaxed)));
        let told = lines.flush();
        assert!(told.try_recv().is_err());
        drop(go_on);
        told.recv().unwrap();
        let numbers: Vec<usize> = written
            .try_iter()
            .map(|line| String::from_utf8(line).unwrap().trim().parse().unwrap())
            .collect();
        assert!(numbers.len() >= LINES_WAITING_MAX && numbers.is_sorted());
    }
}
