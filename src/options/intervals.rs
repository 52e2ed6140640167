//! The three announce intervals, and their order.

use etracker_core::config::{INTERVAL_SECS, Intervals};

use super::arguments::Common;
use super::name::Name;
use super::name::{INTERVAL, MAX_INTERVAL, MIN_INTERVAL};
use super::reader::{Reader, Setting};
use super::refusal::{Refusal, Source};

/// Reads the intervals: `min <= interval <= max`. One that is not given is the default, which for the first interval is moved into
/// the bounds.
pub(super) fn read(reader: Reader<'_>, defaults: Intervals, given: &Common) -> Result<Intervals, Refusal> {
    let number = |name, argument: &Option<String>| reader.number(name, argument.clone(), INTERVAL_SECS);
    let initial = number(INTERVAL, &given.interval)?;
    let min = number(MIN_INTERVAL, &given.min_interval)?;
    let max = number(MAX_INTERVAL, &given.max_interval)?;
    let (min_secs, max_secs) = (
        min.map_or(defaults.min, |min| min.value),
        max.map_or(defaults.max, |max| max.value),
    );
    let (lowest, highest) = INTERVAL_SECS.into_inner();
    let (min_source, max_source) = (source(min, MIN_INTERVAL), source(max, MAX_INTERVAL));
    if let Some(max) = max.filter(|_| min_secs > max_secs) {
        return Err(refuse(
            max,
            format!("from {min_secs} ({min_source}) to {highest}"),
        ));
    }
    if let Some(min) = min.filter(|_| min_secs > max_secs) {
        return Err(refuse(min, format!("from {lowest} to {max_secs} ({max_source})")));
    }
    let initial = match initial {
        None => defaults.initial.clamp(min_secs, max_secs),
        Some(initial) if (min_secs..=max_secs).contains(&initial.value) => initial.value,
        Some(initial) => {
            let wanted = format!("from {min_secs} ({min_source}) to {max_secs} ({max_source})");
            return Err(refuse(initial, wanted));
        }
    };
    Ok(Intervals {
        initial,
        min: min_secs,
        max: max_secs,
    })
}

/// Where a bound was given, or could be given.
fn source(bound: Option<Setting<u32>>, name: Name) -> Source {
    bound.map_or(Source::Argument(name), |bound| bound.source)
}

fn refuse(number: Setting<u32>, wanted: String) -> Refusal {
    Refusal::Value {
        source: number.source,
        value: number.value.to_string(),
        wanted,
    }
}
