//! The options as the grammar describes them, for what is made of them: the short help and completions.

use super::arguments;
use super::runtime::Runtime;

/// An option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) short: Option<char>,
    /// Without dashes.
    pub(super) long: String,
    /// The name of its value; `None` for a switch.
    pub(super) metavar: Option<String>,
    /// What it does, in one line.
    pub(super) what: String,
}

/// What can stand for a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Values {
    Any,
    Words(Vec<String>),
    Files,
    Folders,
    Users,
}

impl Entry {
    /// Whether the option can be given several times: its words say so.
    pub(super) fn is_repeatable(&self) -> bool {
        self.what.contains("repeatable")
    }

    /// Values that complete the option; `None` for a switch.
    pub(super) fn values(&self) -> Option<Values> {
        let metavar = self.metavar.as_deref()?;
        let words = metavar
            .split('|')
            .filter(|word| word.starts_with(char::is_lowercase));
        let words: Vec<String> = match &*self.long {
            "runtime" => Runtime::names().split(", ").map(str::to_owned).collect(),
            "log-level" => LEVELS.map(str::to_owned).to_vec(),
            "acme-directory" => DIRECTORIES.map(str::to_owned).to_vec(),
            _ => words.map(str::to_owned).collect(),
        };
        Some(match metavar {
            _ if !words.is_empty() => Values::Words(words),
            _ if self.long == "user" => Values::Users,
            "DIR" => Values::Folders,
            _ if metavar.contains("FILE") => Values::Files,
            _ => Values::Any,
        })
    }
}

/// All options, in the order of the help.
pub(super) fn entries() -> Vec<Entry> {
    of_help(&arguments::help())
}

/// Reads the options from the help, whose lines have a form of their own: names, two blanks or more, and words that may continue on
/// lines that are indented further.
fn of_help(help: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in help.lines() {
        match entry(line) {
            Some(entry) => entries.push(entry),
            None if line.starts_with(CONTINUED) => {
                if let Some(last) = entries.last_mut() {
                    let blank = if last.what.is_empty() { "" } else { " " };
                    last.what = format!("{}{blank}{}", last.what, line.trim());
                }
            }
            None => {}
        }
    }
    entries
}

fn entry(line: &str) -> Option<Entry> {
    let line = line.strip_prefix("    ")?.trim_start();
    let (names, what) = line.split_once("  ").unwrap_or((line, ""));
    let (names, metavar) = match names.split_once('=') {
        Some((names, metavar)) => (names, Some(metavar.trim_matches(['<', '>']).to_owned())),
        None => (names, None),
    };
    let (short, long) = match names.split_once(", ") {
        Some((short, long)) => (short.strip_prefix('-')?.chars().next(), long),
        None => (None, names),
    };
    Some(Entry {
        short,
        long: long.strip_prefix("--")?.to_owned(),
        metavar,
        what: what.trim().to_owned(),
    })
}

/// The words of an option begin here, or further to the right.
const CONTINUED: &str = "                    ";
/// What `--log-level` takes.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// What `--acme-directory` takes beside URLs.
const DIRECTORIES: [&str; 2] = ["production", "staging"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::name;

    #[test]
    fn every_option_has_an_entry() {
        let entries = entries();
        for option in name::IN_ENVIRONMENT
            .iter()
            .filter(|&&name| name != name::FAILURES)
        {
            let entry = entries.iter().find(|entry| entry.long == option.long);
            let entry = entry.unwrap_or_else(|| panic!("{option} is missing"));
            assert_eq!(entry.short, option.short, "{option}");
            assert!(!entry.what.is_empty(), "{option}");
        }
    }

    #[test]
    fn names_values_and_words_on_several_lines_are_read() {
        let entries = of_help(
            "Common:\n    -p, --port=PORT   Port of\n                      both\n        --limits=<on|off>  Limits\n    -k, --keep  Keep\n",
        );
        let [port, limits, keep] = &entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!((port.short, &*port.what), (Some('p'), "Port of both"));
        assert_eq!(port.values(), Some(Values::Any));
        let words = Values::Words(vec!["on".to_owned(), "off".to_owned()]);
        assert_eq!(limits.values(), Some(words));
        assert_eq!((&*keep.long, keep.values()), ("keep", None));
    }

    #[test]
    fn values_are_completed_by_their_kind() {
        let entries = entries();
        let values = |long: &str| {
            let entry = entries.iter().find(|entry| entry.long == long);
            entry.and_then(Entry::values).unwrap_or_else(|| panic!("{long}"))
        };
        assert_eq!(values("port"), Values::Any);
        assert_eq!(values("state"), Values::Files);
        assert_eq!(values("trusted-proxy"), Values::Files);
        assert_eq!(values("chroot"), Values::Folders);
        assert_eq!(values("user"), Values::Users);
        let words = |long: &str| match values(long) {
            Values::Words(words) => words.join(" "),
            Values::Any | Values::Files | Values::Folders | Values::Users => panic!("{long} has no words"),
        };
        assert_eq!(words("limits"), "on dry-run off");
        assert_eq!(words("log-level"), "off error warn info debug trace");
        assert!(words("runtime").contains(Runtime::DEFAULT.name()));
    }
}
