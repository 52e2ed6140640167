//! The words that stand in the place of options: commands, and advice on words that are none.

use std::ffi::OsString;

use strsim::osa_distance;

/// What a command line asks for beside options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Serve,
    Check,
    Config,
    Doctor,
    Health,
    Man,
    Help,
    MakeSecret,
    Completions,
}

impl Command {
    /// The command of these arguments, and those behind its words.
    pub(super) fn of(arguments: &[OsString]) -> (Self, &[OsString]) {
        match arguments {
            [first, rest @ ..] if first == CHECK => (Self::Check, rest),
            [first, rest @ ..] if first == CONFIG => (Self::Config, rest),
            [first, rest @ ..] if first == DOCTOR => (Self::Doctor, rest),
            [first, rest @ ..] if first == HEALTH => (Self::Health, rest),
            [first, rest @ ..] if first == COMPLETIONS => (Self::Completions, rest),
            [first, second] if first == CLUSTER && second == SECRET => (Self::MakeSecret, &[]),
            [word] if word == MANUAL => (Self::Man, &[]),
            [word] if word == HELP => (Self::Help, &[]),
            _ => (Self::Serve, arguments),
        }
    }
}

/// Advice on a word that is not an option.
pub(super) fn advice(word: &str) -> &'static str {
    // At most a third of the letters differ: two letters turn `run` into `man`.
    let is_close = |command: &str| osa_distance(word, command) * 3 <= command.len();
    match word {
        DOCTOR => "`doctor` comes first: etracker doctor [OPTION]...",
        HEALTH => "`health` comes first: etracker health [OPTION]...",
        CHECK => "`check` comes first: etracker check [OPTION]...",
        CONFIG => "`config` comes first: etracker config [OPTION]...",
        COMPLETIONS => "`completions` comes first: etracker completions bash|zsh|fish",
        MANUAL => "`man` stands alone: etracker man",
        CLUSTER => "`cluster secret` stands alone: etracker cluster secret",
        HELP => "`help` stands alone: etracker help",
        _ if SERVING.contains(&word) => "etracker serves without a word for that: etracker [OPTION]...",
        _ if is_close(DOCTOR) => "did you mean `etracker doctor`?",
        _ if is_close(HEALTH) => "did you mean `etracker health`?",
        _ if is_close(CHECK) => "did you mean `etracker check`?",
        _ if is_close(COMPLETIONS) => "did you mean `etracker completions`?",
        _ if is_close(MANUAL) => "did you mean `etracker man`?",
        _ if is_close(HELP) => "did you mean `etracker help`?",
        _ => {
            "not an option; besides options there are `etracker doctor`, `etracker check`, `etracker man` and `etracker help`"
        }
    }
}

/// The commands of one word, and what they do.
pub(super) const COMMANDS: [(&str, &str); 8] = [
    (CHECK, "check options and their files alone"),
    (CONFIG, "print the options in force as a configuration file"),
    (DOCTOR, "check this host and these options"),
    (HEALTH, "ask a running tracker if it works"),
    (HELP, "show the most used options"),
    (MANUAL, "print the manual page"),
    (COMPLETIONS, "print completions for bash, zsh or fish"),
    (CLUSTER, "make a secret for a cluster"),
];
/// Prints findings as an object, after `doctor`.
pub(super) const JSON: &str = "--json";
/// The one word that follows `cluster`.
pub(super) const SECRET: &str = "secret";
pub(super) const CLUSTER: &str = "cluster";
pub(super) const COMPLETIONS: &str = "completions";
pub(super) const DOCTOR: &str = "doctor";
const HEALTH: &str = "health";
const CHECK: &str = "check";
const CONFIG: &str = "config";
const MANUAL: &str = "man";
const HELP: &str = "help";
/// Words by which other commands are told to serve.
const SERVING: [&str; 4] = ["run", "serve", "server", "start"];
