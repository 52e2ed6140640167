//! The help on one screen: how to call the command, and the options that are used most.

use std::fmt::Write as _;

use super::arguments::{DESCRIPTION, FOOTER, USAGE};
use super::catalogue::{Entry, entries};
use super::name::{self, Name};

/// The help that `--help` shows; `--help-all` shows that of all options.
pub(super) fn short() -> String {
    let entries = entries();
    let is_shown = |entry: &&Entry| MOST_USED.iter().any(|name| name.long == entry.long);
    let shown: Vec<(String, &str)> = entries
        .iter()
        .filter(is_shown)
        .map(|entry| (names(entry), &*entry.what))
        .collect();
    let width = shown
        .iter()
        .map(|(names, _)| names.len())
        .max()
        .unwrap_or_default();
    let mut help = format!("{DESCRIPTION}\n\n{USAGE}\n\n");
    for (names, what) in &shown {
        // A String takes everything.
        let _ = writeln!(help, "{names:width$}  {what}");
    }
    let _ = write!(help, "\n{FOOTER}");
    help
}

fn names(entry: &Entry) -> String {
    let short = entry
        .short
        .map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let value = entry
        .metavar
        .as_ref()
        .map_or_else(String::new, |metavar| format!(" {metavar}"));
    format!("  {short}--{}{value}", entry.long)
}

/// What a first start takes, and all that the original has.
const MOST_USED: &[Name] = &[
    name::PORT,
    name::BIND,
    name::WORKERS,
    name::INTERVAL,
    name::MIN_INTERVAL,
    name::MAX_INTERVAL,
    name::KEEP_ALIVE,
    name::X_FORWARDED_FOR,
    name::STATS_FROM,
    name::FAILED,
    name::USER,
    name::STATE,
    name::NO_TCP,
    name::NO_UDP,
    name::MAX_LOAD_AVG,
    name::MAX_PEERS_PER_RESPONSE,
    name::SOCKET_TIMEOUT,
    name::CHARSET,
    name::LOCALE,
    name::CONFIG,
    name::VERSION,
    name::HELP_ALL,
    name::HELP,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_fits_a_screen_of_40_lines_and_100_columns() {
        let help = short();
        // The prompt takes a line too.
        assert!(help.lines().count() < 40, "{help}");
        for line in help.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn the_options_of_the_original_are_in_the_help() {
        let help = short();
        for name in MOST_USED {
            assert!(help.contains(&format!("{name} ")), "{name} is missing in\n{help}");
        }
        for option in [
            "-p, --port PORT",
            "-i, --interval SECONDS",
            "--min-interval SECONDS",
            "--max-interval SECONDS",
            "-k, --keep-alive",
            "--no-tcp",
            "--no-udp",
            "--charset CHARSET",
            "--locale LOCALE",
            "-a, --max-load-avg LOAD",
            "-e, --socket-timeout SECONDS",
            "-f, --failed COUNT",
            "-w, --workers NUM",
            "-m, --max-peers-per-response NUM",
            "--x-forwarded-for",
            "-h, --help",
        ] {
            assert!(help.contains(option), "{option} is missing in\n{help}");
        }
    }
}
