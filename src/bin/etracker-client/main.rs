//! The `etracker-client` command: asks a tracker the way a BitTorrent client does, and prints the answer.

mod answer;
mod http;
mod options;
mod print;
mod target;
mod udp;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use answer::{Answer, Failure};
use options::Question;
use target::{Scheme, Target};

fn main() -> ExitCode {
    let options = match options::parse() {
        Ok(options) => options,
        Err(exit) => return exit,
    };
    let answer = ask(&options.target, &options.question, options.timeout);
    let printed = if options.json {
        print::json(&answer)
    } else {
        print::text(&answer)
    };
    // Nobody is left to be told that the output is closed.
    if printed.is_err() || answer.is_err() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Asks the first address of the target that can be reached.
fn ask(target: &Target, question: &Question, timeout: Duration) -> Result<Answer, Failure> {
    let deadline = Instant::now() + timeout;
    let mut failure = Failure::NoAddress;
    for address in target.addresses()? {
        let asked = match target.scheme {
            Scheme::Udp => udp::ask(address, &target.path, question, deadline),
            Scheme::Http => http::ask(address, target, question, deadline),
        };
        match asked {
            Err(Failure::Io(error)) => failure = Failure::Io(error),
            other => return other,
        }
    }
    Err(failure)
}
