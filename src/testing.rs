//! Seed and clock of tests.

use std::ffi::OsString;
use std::sync::OnceLock;
use std::time::Duration;

use etracker_core::{Instant, Seed};
use etracker_runtime_common::Clock;

static SEED: OnceLock<Seed> = OnceLock::new();
static CLOCK: OnceLock<Clock> = OnceLock::new();
static LOOK_PERIOD: OnceLock<Duration> = OnceLock::new();
static FORGOTTEN_AFTER: OnceLock<Duration> = OnceLock::new();

/// Takes `--seed`, 64 hexadecimal digits, `--clock`, milliseconds since 1970, `--forget-restarts`, milliseconds of
/// service after which a restart is forgotten, and `--look-at-certificates`, the milliseconds between two looks at their files, out of
/// the arguments.
pub(crate) fn take(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments = arguments.peekable();
    let mut others = Vec::new();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next().unwrap_or_default();
            value.into_string().unwrap_or_default()
        };
        if argument == "--seed" {
            SEED.get_or_init(|| seed(&value()));
        } else if argument == "--clock" {
            let millis = value().parse().expect("--clock takes milliseconds");
            CLOCK.get_or_init(|| Clock::fixed(Instant::from_millis(millis)));
        } else if argument == "--forget-restarts" {
            let millis = value().parse().expect("--forget-restarts takes milliseconds");
            FORGOTTEN_AFTER.get_or_init(|| Duration::from_millis(millis));
        } else if argument == "--look-at-certificates" {
            let millis = value()
                .parse()
                .expect("--look-at-certificates takes milliseconds");
            LOOK_PERIOD.get_or_init(|| Duration::from_millis(millis));
        } else {
            others.push(argument);
        }
    }
    others
}

/// The seed that was given.
pub(crate) fn given_seed() -> Option<Seed> {
    SEED.get().cloned()
}

/// The clock that was given.
pub(crate) fn given_clock() -> Option<Clock> {
    CLOCK.get().copied()
}

/// The time that was given between two looks at the files of certificates.
pub(crate) fn given_look_period() -> Option<Duration> {
    LOOK_PERIOD.get().copied()
}

/// The service that was given after which a restart is forgotten.
pub(crate) fn given_forgotten_after() -> Option<Duration> {
    FORGOTTEN_AFTER.get().copied()
}

fn seed(digits: &str) -> Seed {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let pair = str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(pair, 16).expect("--seed takes 64 hexadecimal digits");
    }
    Seed::new(bytes)
}
