//! The `etracker-client` command: asks a tracker the way a BitTorrent client does, and prints the answer.

mod answer;
mod http;
mod magnet;
mod options;
mod print;
mod reading;
mod target;
mod timed;
#[cfg(feature = "tls")]
mod tls;
mod udp;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use answer::{Answer, Failure, Notes};
use options::Options;
use target::{Scheme, Target};

fn main() -> ExitCode {
    let options = match options::parse() {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    for note in &options.notes {
        complain(note);
    }
    let (target, answer, notes) = ask_in_turn(&options);
    for line in &notes.lines {
        complain(line);
    }
    // Which one it was is known if there was but one.
    let target = target.filter(|_| options.targets.len() > 1);
    let printed = if options.json {
        print::json(target, &answer, &notes, options.raw)
    } else {
        print::text(target, &answer, &notes, options.raw)
    };
    // Nobody is left to be told that the output is closed.
    if printed.is_err() || answer.is_err() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Writes a line to standard error. The exit status tells the most important, should that be closed.
fn complain(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "etracker-client: {line}");
}

/// Asks one tracker after the other until one answers, and gives its answer; the last one's failure if none does.
fn ask_in_turn(options: &Options) -> (Option<&Target>, Result<Answer, Failure>, Notes) {
    let end = Instant::now() + options.timeout;
    let mut last = (None, Err(Failure::NoAddress), Notes::default());
    for (target, left) in options.targets.iter().zip((1..=options.targets.len()).rev()) {
        let others = u32::try_from(left).unwrap_or(u32::MAX);
        let patience = end.saturating_duration_since(Instant::now()) / others;
        let mut notes = Notes::default();
        let answer = ask(target, options, patience, &mut notes);
        match &answer {
            Err(failure) if left > 1 => complain(format_args!("{target}: {failure}")),
            _ => {}
        }
        let is_answered = answer.is_ok();
        last = (Some(target), answer, notes);
        if is_answered {
            break;
        }
    }
    last
}

/// Asks the first address of the target that can be reached.
fn ask(target: &Target, options: &Options, patience: Duration, notes: &mut Notes) -> Result<Answer, Failure> {
    let deadline = Instant::now() + patience;
    let mut failure = Failure::NoAddress;
    for address in target.addresses()? {
        let asked = match target.scheme {
            Scheme::Udp => udp::ask(address, &target.path, &options.question, deadline, notes),
            Scheme::Http | Scheme::Https => http::ask(address, target, options, deadline, notes),
        };
        match asked {
            Err(Failure::Io(error)) => failure = Failure::Io(error),
            other => return other,
        }
    }
    Err(failure)
}
