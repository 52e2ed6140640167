//! Simulation campaigns, and answers to operators' questions.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write as _};
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use bpaf::{Bpaf, ParseFailure};
use etracker_sim::{
    Answer, Bounds, Campaign, Question, Summary, Table, catches_panic, playing, plot, shrink,
};
use indicatif::{ProgressBar, ProgressStyle};

fn main() -> ExitCode {
    let options = match options().run_inner(bpaf::Args::current_args()) {
        Ok(options) => options,
        Err(ParseFailure::Stdout(text, full)) => {
            say(text.monochrome(full).trim_end());
            return ExitCode::SUCCESS;
        }
        Err(ParseFailure::Completion(text)) => {
            say(text);
            return ExitCode::SUCCESS;
        }
        Err(ParseFailure::Stderr(text)) => {
            complain(text.monochrome(true));
            return ExitCode::FAILURE;
        }
    };
    std::panic::set_hook(Box::new(tell));
    match options.question() {
        Some(questions) => answer(&questions, options.svg.as_deref()),
        None => campaign(&options),
    }
}

/// A panic of the core that is caught is a finding like any other, and told with its run. All others are told here.
fn tell(panicked: &PanicHookInfo<'_>) {
    if catches_panic() {
        return;
    }
    match playing() {
        Some(seed) => say(format_args!("seed {seed} fails: {panicked}")),
        None => say(panicked),
    }
    if cfg!(panic = "abort") {
        say("For its events, and to have it shrunk: --profile campaign instead of --release");
    }
}

/// Runs etracker's core, its clients and a hostile network for simulated days, each run from one number
#[derive(Clone, Debug, Bpaf)]
#[bpaf(options)]
struct Options {
    /// Runs to play
    #[bpaf(argument("N"), fallback(100), display_fallback)]
    seeds: u64,
    /// Seed of the first run
    #[bpaf(argument("SEED"), fallback(1), display_fallback)]
    first_seed: u64,
    /// Clients of a run at most
    #[bpaf(argument("N"), fallback(100), display_fallback)]
    clients: u32,
    /// Simulated days of a run at most; half of the runs take one day
    #[bpaf(argument("N"), fallback(2), display_fallback)]
    days: u32,
    /// Share of the datagrams lost, at most
    #[bpaf(argument("SHARE"), fallback(0.05), display_fallback)]
    loss: f64,
    /// Runs at the same time
    #[bpaf(argument("N"), optional)]
    threads: Option<usize>,
    /// Instead of a campaign: the load, the time to learn of peers and their staleness at these intervals (seconds,
    /// separated by commas), at the loss and without
    #[bpaf(argument::<String>("SECONDS"), map(intervals), optional)]
    intervals: Option<Vec<u32>>,
    /// File for the plot of these answers; - is standard output, and the table goes to standard error
    #[bpaf(argument("PATH"), optional)]
    svg: Option<PathBuf>,
}

impl Options {
    fn bounds(&self) -> Bounds {
        Bounds {
            clients: self.clients,
            hours: self.days * 24,
            loss: self.loss,
        }
    }

    fn question(&self) -> Option<Vec<Question>> {
        let intervals = self.intervals.as_ref()?;
        let each = intervals.iter().flat_map(|&interval_secs| {
            [0.0, self.loss].map(|loss| Question {
                clients: self.clients,
                hours: self.days * 24,
                interval_secs,
                loss,
            })
        });
        Some(each.collect())
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "as the parser of options hands it on"
)]
fn intervals(text: String) -> Vec<u32> {
    text.split(',')
        .filter_map(|number| number.trim().parse().ok())
        .collect()
}

fn campaign(options: &Options) -> ExitCode {
    let threads = options
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
    let campaign = Campaign {
        first_seed: options.first_seed,
        seeds: options.seeds,
        bounds: options.bounds(),
        threads,
        twice_every: 20,
    };
    let bar = ProgressBar::new(options.seeds).with_style(style());
    let began = Instant::now();
    let summary = campaign.play(|summary| {
        bar.set_position(summary.passed);
        bar.set_message(format!("{} million steps", summary.steps / 1_000_000));
    });
    bar.finish_and_clear();
    report(&summary, began.elapsed().as_secs_f64());
    let Some(failed) = summary.failed else {
        return ExitCode::SUCCESS;
    };
    say(format_args!(
        "\n{failed}\nthe same with as few actors as possible:"
    ));
    say(shrink(*failed, &options.bounds()));
    ExitCode::FAILURE
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn report(summary: &Summary, secs: f64) {
    let Summary {
        passed,
        twice,
        steps,
        requests,
        span_secs,
        tally,
        failed,
    } = summary;
    let outcome = if failed.is_some() {
        "one failed"
    } else {
        "none failed"
    };
    say(format_args!(
        "{passed} runs passed and {outcome}; {twice} were played twice, with the same transcript"
    ));
    say(format_args!(
        "{:.1} million steps in {secs:.0} s: {:.0} steps and {:.1} simulated hours a second",
        *steps as f64 / 1e6,
        *steps as f64 / secs,
        *span_secs as f64 / 3600.0 / secs
    ));
    say(format_args!(
        "{requests} requests, {} announces carried out, {} over HTTP; at most {} peers and {} KiB at a time, {} B left",
        tally.announces,
        tally.http_requests,
        tally.peers_max,
        tally.memory_bytes_max / 1024,
        tally.memory_bytes_left
    ));
    say(format_args!(
        "{} requests limited; {} answers of which one network had all that it may; {} announces refused and {} torrents evicted for \
         want of memory",
        tally.limited, tally.shared, tally.refused_short, tally.evictions
    ));
}

fn answer(questions: &[Question], svg: Option<&Path>) -> ExitCode {
    let bar = ProgressBar::new(questions.len() as u64).with_style(style());
    let mut answers: Vec<Answer> = Vec::new();
    for question in questions {
        match question.answer(1) {
            Ok(answer) => answers.push(answer),
            Err(failed) => {
                say(failed);
                return ExitCode::FAILURE;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let Some(path) = svg else {
        say(Table(&answers));
        return ExitCode::SUCCESS;
    };
    let is_output = path == Path::new("-");
    if is_output {
        let _ = writeln!(io::stderr(), "{}", Table(&answers));
    } else {
        say(Table(&answers));
    }
    let written = plot(&answers).and_then(|svg| {
        if is_output {
            Ok(io::stdout().write_all(svg.as_bytes())?)
        } else {
            Ok(fs::write(path, svg)?)
        }
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            complain(format_args!("{} cannot be written: {fault}", path.display()));
            ExitCode::FAILURE
        }
    }
}

/// Prints a line. A reader that went away is no error.
fn say(what: impl Display) {
    let _ = writeln!(io::stdout(), "{what}");
}

/// Prints a line about what went wrong.
fn complain(what: impl Display) {
    let _ = writeln!(io::stderr(), "etracker-sim: {what}");
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
