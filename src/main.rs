//! The `etracker` command.

#[cfg_attr(not(feature = "acme"), path = "acme_absent.rs")]
mod acme;
mod alive;
mod allocations;
mod certificate;
mod check;
#[cfg_attr(not(feature = "cluster"), path = "cluster_absent.rs")]
mod cluster;
mod doctor;
mod exit;
mod failure;
mod files;
mod finding;
mod hidden_clients;
mod limits;
mod lists;
mod logs;
mod members;
mod memory;
mod notify;
mod options;
mod pages;
mod privileges;
mod reload;
mod reloads;
mod renewals;
mod report;
mod revision;
mod runtime;
mod secrets;
mod shared;
mod signals;
mod sockets;
mod start;
mod state;
mod steps;
mod supervise;
mod supervised;
mod terminal;
#[cfg(feature = "testing")]
mod testing;
mod threads;
#[cfg_attr(not(feature = "tls"), path = "tls_absent.rs")]
mod tls;
mod usage;
mod verdict;
mod watch;

#[cfg(not(any(feature = "smol", feature = "glommio")))]
compile_error!("etracker needs a runtime: enable the feature `smol` or, on Linux, `glommio`");

use std::env;
use std::fmt::Display;
use std::num::NonZero;
use std::panic;
use std::process::{self, ExitCode};
use std::thread;

use exit::{EXIT_FAILURE, EXIT_USAGE};
use failure::Failure;
use logs::LogFormat;
use options::{Options, Request};
use terminal::{complain, complain_in_json, flush, say};

fn main() -> ExitCode {
    signals::ignore_meaningless();
    end_on_panic();
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let environment = env::vars_os().collect();
    let arguments = env::args_os().skip(1);
    #[cfg(feature = "testing")]
    let arguments = testing::take(arguments);
    let request = Request::read(arguments, &environment, processors);
    if let Ok(
        Request::Examine(options, _)
        | Request::Check(options)
        | Request::AskHealth(options)
        | Request::Serve(options),
    ) = &request
        && options.logs.format == LogFormat::Json
    {
        complain_in_json();
        report_panics_in_one_line();
    }
    let status = match request {
        Err(refusal) => fail(EXIT_USAGE, refusal),
        Ok(Request::Show(text)) => {
            say(text.trim_end());
            ExitCode::SUCCESS
        }
        Ok(Request::MakeSecret) => match secrets::make() {
            Ok(secret) => {
                say(secret);
                ExitCode::SUCCESS
            }
            Err(error) => fail(EXIT_FAILURE, Failure::Seed(error)),
        },
        Ok(Request::Examine(options, form)) => {
            doctor::run(&options, form).unwrap_or_else(|failure| fail(EXIT_FAILURE, failure))
        }
        Ok(Request::Check(options)) => ExitCode::from(check::run(&options)),
        Ok(Request::AskHealth(options)) => {
            doctor::health(&options).unwrap_or_else(|failure| fail(EXIT_FAILURE, failure))
        }
        Ok(Request::Serve(options)) => match serve(*options, processors) {
            Ok(status) => ExitCode::from(status),
            Err(failure) => fail(EXIT_FAILURE, failure),
        },
    };
    flush();
    status
}

/// Serves, or supervises a process that serves. Returns the exit status.
fn serve(options: Options, processors: usize) -> Result<u8, Failure> {
    let is_supervised = supervised::is_supervised();
    // A supervisor has printed the warning already.
    if !is_supervised && !options.unknown_variables.is_empty() {
        let names = options.unknown_variables.join(", ");
        complain(format_args!("not an option, and ignored: {names}"));
    }
    if options.process.restarts > 0 && !is_supervised {
        return supervise::run(&options, env::args_os().skip(1).collect());
    }
    start::run(options, processors).map(|()| 0)
}

/// Makes a panic on any thread end the process: without one of its workers a tracker would silently lose that worker's clients.
fn end_on_panic() {
    let show = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        show(panicked);
        complain(OWN_FAULT);
        flush();
        process::exit(EXIT_FAILURE.into());
    }));
}

/// Reports a panic in one line, as each line of a JSON log is an object.
fn report_panics_in_one_line() {
    panic::set_hook(Box::new(|panicked| {
        let reason = panicked.payload_as_str().unwrap_or("for an unknown reason");
        let place = panicked
            .location()
            .map_or_else(String::new, |place| format!(" at {place}"));
        let thread = thread::current();
        let thread = thread.name().unwrap_or("without a name");
        complain(format_args!(
            "thread {thread} panics{place}: {reason}; {OWN_FAULT}"
        ));
        flush();
        process::exit(EXIT_FAILURE.into());
    }));
}

fn fail(status: u8, reason: impl Display) -> ExitCode {
    complain(reason);
    ExitCode::from(status)
}

const OWN_FAULT: &str = "a panic ends the tracker; this is a bug, please report it";
