//! Values of options: from arguments first, then from the environment.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::environment::Environment;
use super::name::Name;
use super::refusal::{Refusal, Source};

/// Reads the values of options: from the command line, else the environment, else a configuration file.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) environment: &'a Environment,
    pub(super) file: &'a FileValues,
    pub(super) record: &'a Record,
}

/// The values of a configuration file by the long names of their options, of the types that these take.
#[derive(Clone, Debug, Default)]
pub(super) struct FileValues(pub(super) BTreeMap<&'static str, Vec<Text>>);

impl FileValues {
    /// The values of an option, if the file has it.
    fn get(&self, name: Name) -> Option<&[Text]> {
        self.0.get(name.long).map(Vec::as_slice)
    }
}

/// The options that were read, and what was given for them.
#[derive(Debug, Default)]
pub(super) struct Record(RefCell<BTreeMap<&'static str, Vec<Text>>>);

impl Record {
    /// What was given for the option of this long name.
    pub(super) fn given(&self, long: &str) -> Vec<Text> {
        self.0.borrow().get(long).cloned().unwrap_or_default()
    }

    /// The long names of the options that were read.
    #[cfg(test)]
    pub(super) fn read(&self) -> Vec<&'static str> {
        self.0.borrow().keys().copied().collect()
    }

    fn keep(&self, name: Name, texts: &[Text]) {
        self.0.borrow_mut().insert(name.long, texts.to_vec());
    }
}

impl Reader<'_> {
    /// The text given for `name`: the argument, or else the variable, or else what the file has.
    pub(super) fn text(self, name: Name, argument: Option<String>) -> Option<Text> {
        let argument = argument.map(|value| Text {
            source: Source::Argument(name),
            value,
        });
        let text = argument
            .or_else(|| self.variable(name))
            .or_else(|| self.file.get(name)?.first().cloned());
        self.record.keep(name, text.as_slice());
        text
    }

    fn variable(self, name: Name) -> Option<Text> {
        let value = self.environment.get(&name.variable())?.to_owned();
        let source = Source::Variable(name);
        Some(Text { source, value })
    }

    /// The path or name given for `name`, which must not be empty.
    pub(super) fn filled(
        self,
        name: Name,
        argument: Option<String>,
        wanted: &str,
    ) -> Result<Option<Text>, Refusal> {
        match self.text(name, argument) {
            Some(text) if text.value.is_empty() => Err(text.refuse(wanted)),
            text => Ok(text),
        }
    }

    /// A number within `range`, and where it was given.
    pub(super) fn number<N>(
        self,
        name: Name,
        argument: Option<String>,
        range: RangeInclusive<N>,
    ) -> Result<Option<Setting<N>>, Refusal>
    where
        N: FromStr + PartialOrd + Display + Copy + Kind,
    {
        let Some(text) = self.text(name, argument) else {
            return Ok(None);
        };
        match text.value.trim().parse() {
            Ok(value) if range.contains(&value) => Ok(Some(Setting {
                source: text.source,
                value,
            })),
            _ => Err(text.refuse(&format!("{} from {} to {}", N::KIND, range.start(), range.end()))),
        }
    }

    /// Whether a switch is on: given as an argument, or `true` in the environment.
    pub(super) fn switch(self, name: Name, argument: bool) -> Result<bool, Refusal> {
        let argument = argument.then(|| "true".to_owned());
        let Some(text) = self.text(name, argument) else {
            return Ok(false);
        };
        match text.value.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(text.refuse("true or false")),
        }
    }

    /// The values of a repeatable option; the environment separates them by commas.
    ///
    /// # Errors
    /// A value between commas is empty.
    pub(super) fn list(self, name: Name, arguments: Vec<String>) -> Result<Vec<Text>, Refusal> {
        let texts = self.texts(name, arguments)?;
        self.record.keep(name, &texts);
        Ok(texts)
    }

    fn texts(self, name: Name, arguments: Vec<String>) -> Result<Vec<Text>, Refusal> {
        if !arguments.is_empty() {
            let source = Source::Argument(name);
            let texts = arguments.into_iter().map(|value| Text { source, value });
            return Ok(texts.collect());
        }
        let Some(text) = self.variable(name) else {
            return Ok(self.file.get(name).unwrap_or_default().to_vec());
        };
        let source = text.source;
        let values: Vec<_> = text.value.split(',').map(str::trim).collect();
        // The whole is shown: an empty value alone would look like a variable that is not set.
        if let Some(index) = values.iter().position(|value| value.is_empty()) {
            let wanted = format!("values between commas, and value {} is empty", index + 1);
            return Err(text.refuse(&wanted));
        }
        let texts = values.into_iter().map(|value| Text {
            source,
            value: value.to_owned(),
        });
        Ok(texts.collect())
    }
}

/// A value, and where it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) source: Source,
    pub(crate) value: T,
}

/// A value as it was given.
pub(super) type Text = Setting<String>;

impl Text {
    /// This value as one of another kind.
    pub(super) fn into_setting<T: From<String>>(self) -> Setting<T> {
        Setting {
            source: self.source,
            value: self.value.into(),
        }
    }

    /// Refuses this value: it must be `wanted`.
    pub(super) fn refuse(self, wanted: &str) -> Refusal {
        Refusal::Value {
            source: self.source,
            value: self.value,
            wanted: wanted.to_owned(),
        }
    }
}

/// How refusals call a kind of number.
pub(super) trait Kind {
    const KIND: &'static str;
}

impl Kind for u16 {
    const KIND: &'static str = "a whole number";
}

impl Kind for u32 {
    const KIND: &'static str = "a whole number";
}

impl Kind for f64 {
    const KIND: &'static str = "a number";
}
