//! Lines for the operator. A terminal or pipe that has gone away, or that nobody reads, is no reason to stop serving.

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

/// Has lines to standard error written as what is logged in JSON is.
pub(crate) fn complain_in_json() {
    IN_JSON.store(true, Relaxed);
}

/// From now on nobody who writes a line waits for those who read them: threads of their own do, and what is not read
/// is dropped when there is too much of it.
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

/// Waits for the lines that are still to be written, a second at most: for the end of the process.
pub(crate) fn flush() {
    let end = Instant::now() + FLUSH_MAX;
    let written: Vec<_> = detached().map(Lines::flush).collect();
    for written in written {
        // Who is not read until then will not be.
        let _ = written.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Lines on their way to a stream.
#[derive(Debug)]
struct Lines {
    /// Without a bound of its own, because one with a bound has its memory from the start.
    queue: Sender<Entry>,
    /// Invariant: the lines in the queue, at most [`LINES_WAITING_MAX`].
    waiting: Arc<AtomicUsize>,
    /// Lines that nobody read, or that could not be written.
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Tells when all before it is written.
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
                        // Whoever reads, or waits, may have gone: there is nobody to tell.
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

    /// Has all that waits written; what is returned tells when it is.
    fn flush(&self) -> Receiver<()> {
        let (written, told) = sync_channel(1);
        // If the thread has gone, what is returned tells that.
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

/// Lines that wait for their reader at once: more than a start writes, less than a megabyte.
const LINES_WAITING_MAX: usize = 4096;
/// How long the end of the process waits for readers.
const FLUSH_MAX: Duration = Duration::from_secs(1);

static IN_JSON: AtomicBool = AtomicBool::new(false);
static OUTPUT: OnceLock<Lines> = OnceLock::new();
static ERRORS: OnceLock<Lines> = OnceLock::new();

fn detached() -> impl Iterator<Item = &'static Lines> {
    [&OUTPUT, &ERRORS].into_iter().filter_map(OnceLock::get)
}

/// In the form of the log. No level that is asked for leaves it out.
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
