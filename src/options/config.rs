//! The configuration in force as a file, with where each value came from.

use std::fmt::Write as _;

use super::catalogue::{Entry, entries};
use super::file::is_in_files;
use super::name;
use super::reader::{Record, Text};
use super::refusal::Source;

/// The file: what was given as keys, and the defaults as comments.
pub(super) fn written(record: &Record) -> String {
    let mut file = String::new();
    for entry in entries() {
        let option = name::IN_ENVIRONMENT
            .iter()
            .find(|option| option.long == entry.long);
        if !option.is_some_and(|option| is_in_files(*option)) {
            continue;
        }
        let texts = record.given(&entry.long);
        // A String takes everything.
        let _ = match texts.first() {
            Some(first) => writeln!(
                file,
                "{} = {} # {}",
                entry.long,
                value(&entry, &texts),
                origin(first.source)
            ),
            None => writeln!(file, "# {} # default: {}", entry.long, entry.what),
        };
    }
    file
}

fn value(entry: &Entry, texts: &[Text]) -> String {
    let values: Vec<String> = texts.iter().map(|text| quoted(&text.value)).collect();
    if entry.is_repeatable() {
        return format!("[{}]", values.join(", "));
    }
    let text = texts.first().map_or("", |text| &*text.value);
    let is_number = text.parse::<u32>().is_ok_and(|number| number.to_string() == text);
    if entry.metavar.is_none() || is_number {
        return text.to_owned();
    }
    quoted(text)
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn origin(source: Source) -> String {
    match source {
        Source::Argument(_) => "command line".to_owned(),
        Source::Variable(name) => name.variable(),
        Source::File(_, path, line) => format!("{path}:{line}").escape_debug().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_quoted_as_toml_reads_it() {
        fn holds(text: String) -> bool {
            let file = format!("user = {}\n", quoted(&text));
            let table = toml::de::DeTable::parse(&file).expect("TOML");
            let value = table.get_ref().get("user").expect("a key");
            value.get_ref().as_str() == Some(&*text)
        }
        quickcheck::quickcheck(holds as fn(String) -> bool);
    }
}
