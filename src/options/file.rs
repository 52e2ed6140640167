//! Options in a configuration file: TOML, whose keys are the long names of options.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use strsim::osa_distance;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::catalogue::{self, Entry};
use super::name::{self, Name};
use super::reader::{FileValues, Text};
use super::refusal::{Refusal, Source};
use crate::files;
use etracker_runtime_common::Plain;

/// Reads the file that `given` names.
///
/// # Errors
/// It cannot be read, or a key or the type of a value is refused.
pub(super) fn read(given: &Text) -> Result<FileValues, Refusal> {
    let mut text = String::new();
    files::open(Path::new(&given.value))
        .and_then(|file| file.take(LEN_MAX).read_to_string(&mut text))
        .map_err(|error| Refusal::File(format!("{}={}: {}", given.source, given.value, Plain(&error))))?;
    parse(given.value.clone(), &text)
}

/// Parses the content of the file at `path`.
pub(super) fn parse(path: String, text: &str) -> Result<FileValues, Refusal> {
    // Sources are copied everywhere, and the file is read once in the life of the process.
    let path: &'static str = path.leak();
    let refuse = |at: usize, reason: String| Refusal::File(format!("{path}:{}: {reason}", line(text, at)));
    let table = DeTable::parse(text).map_err(|error| {
        let reason = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        refuse(error.span().map_or(0, |span| span.start), reason)
    })?;
    let entries = catalogue::entries();
    let mut values = BTreeMap::new();
    for (key, value) in table.get_ref() {
        let at = key.span().start;
        let key: &str = key.get_ref();
        let refuse = |reason: String| refuse(at, format!("{} {reason}", key.escape_debug()));
        let option = name::IN_ENVIRONMENT
            .iter()
            .find(|option| option.long == key && is_in_files(**option));
        let entry = entries.iter().find(|entry| entry.long == key);
        let (Some(&option), Some(entry)) = (option, entry) else {
            return Err(refuse(format!("is no option{}", meant(key))));
        };
        let texts = texts(entry, value).map_err(|wanted| refuse(format!("must be {wanted}")))?;
        let source = Source::File(option, path, line(text, at));
        let texts = texts.into_iter().map(|value| Text { source, value });
        values.insert(option.long, texts.collect());
    }
    Ok(FileValues(values))
}

/// The value as the command line would have it, one text for each time that the option is given.
fn texts(entry: &Entry, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
    let value = value.get_ref();
    let (found, wanted) = match (value, entry.is_repeatable()) {
        _ if entry.metavar.is_none() => (
            value.as_bool().map(|is_on| vec![is_on.to_string()]),
            "true or false",
        ),
        (DeValue::Array(values), true) => {
            let texts = values.iter().map(|value| single(value.get_ref()));
            (texts.collect(), "a list of texts")
        }
        (_, true) => (single(value).map(|text| vec![text]), "a text or a list of texts"),
        (_, false) => (single(value).map(|text| vec![text]), "a text or a number"),
    };
    found.ok_or_else(|| wanted.to_owned())
}

fn single(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Whether a file may have the option: not the one that names the file, and not what only supervisors tell.
pub(super) fn is_in_files(option: Name) -> bool {
    ![name::CONFIG, name::FAILURES].contains(&option)
}

/// What was probably meant by a key that is no option.
fn meant(key: &str) -> String {
    let options = name::IN_ENVIRONMENT.iter().filter(|option| is_in_files(**option));
    let closest = options.min_by_key(|option| osa_distance(option.long, key));
    let closest = closest.filter(|option| osa_distance(option.long, key) <= name::LETTERS_WRONG_MAX);
    closest.map_or_else(String::new, |option| format!(": {} is", option.long))
}

fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// Bytes of the file that are read: far more than all options take.
const LEN_MAX: u64 = 1 << 20;
