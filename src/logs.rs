//! The log: level, format, output.

use etracker_runtime_common::ADDRESSES;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry};

use crate::terminal;

/// The settings of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// The least severity.
    pub(crate) level: LevelFilter,
    /// The form.
    pub(crate) format: LogFormat,
    /// Whether addresses of clients may be named.
    pub(crate) addresses: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: LevelFilter::WARN,
            format: LogFormat::Text,
            addresses: false,
        }
    }
}

/// Formats of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl LogFormat {
    const ALL: &[Self] = &[Self::Text, Self::Json];

    /// What it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }

    /// The format of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let named = Self::ALL.iter().find(|format| format.name() == name);
        named.copied()
    }
}

/// Writes the log to standard error.
pub(crate) fn begin(settings: LogSettings) {
    let evaluations = match settings.format {
        LogFormat::Text => LevelFilter::OFF,
        // Evaluations replace lines of standard output, so no level hides them.
        LogFormat::Json => LevelFilter::INFO,
    };
    let filter = Targets::new()
        .with_default(settings.level)
        .with_target(EVALUATION, evaluations)
        .with_target(
            ADDRESSES,
            if settings.addresses {
                LevelFilter::INFO
            } else {
                LevelFilter::OFF
            },
        );
    let lines = fmt::layer().with_writer(terminal::errors).with_ansi(false);
    let lines = match settings.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // An error means that a test has set another subscriber: that one stays.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(lines.with_filter(filter)));
}

/// The target of evaluations of the interval, in the JSON form.
pub(crate) const EVALUATION: &str = "etracker::evaluation";

#[cfg(test)]
pub(crate) mod testing {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt;

    #[derive(Clone, Debug, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged meanwhile on this thread, from `level` on.
    pub(crate) fn logged(level: tracing::Level, act: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = fmt().with_max_level(level).with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, act);
        let logged = lines.0.lock().unwrap().clone();
        String::from_utf8(logged).unwrap()
    }
}
