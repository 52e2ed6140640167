//! What makes the tracker last: its supervisor, its state.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bpaf::{Parser, construct};

use super::given::{number, value};
use super::name;
use super::reader::Reader;
use super::refusal::Refusal;

/// What the tracker does to last.
#[derive(Clone, Debug)]
pub(crate) struct Lasting {
    /// How often a serving process that failed is followed by another; 0 is without a supervisor.
    pub(crate) restarts: u32,
    /// Where swarms are kept over restarts.
    pub(crate) state: Option<PathBuf>,
    /// How often they are written there.
    pub(crate) state_period: Duration,
}

/// The same, as it is given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    failed: Option<String>,
    state: Option<String>,
    state_period: Option<String>,
}

pub(super) fn grammar() -> impl Parser<Given> {
    let restarts = number("Restarts after failures", RESTARTS, 0);
    let failed = value(name::FAILED, "COUNT", &restarts);
    let state = value(
        name::STATE,
        "FILE",
        "Where swarms are kept over restarts (nowhere)",
    );
    let period = number(
        "Seconds from one writing to the next",
        STATE_PERIOD_SECS,
        STATE_PERIOD_SECS_DEFAULT,
    );
    let state_period = value(name::STATE_PERIOD, "SECONDS", &period);
    construct!(Given {
        failed,
        state,
        state_period
    })
    .group_help("Lasting:")
}

pub(super) fn read(reader: Reader<'_>, given: Given) -> Result<Lasting, Refusal> {
    let restarts = reader.number(name::FAILED, given.failed, RESTARTS)?;
    let state = match reader.text(name::STATE, given.state) {
        Some(text) if text.value.is_empty() => return Err(text.refuse("the path of a file")),
        state => state.map(|text| PathBuf::from(text.value)),
    };
    let period = reader.number(name::STATE_PERIOD, given.state_period, STATE_PERIOD_SECS)?;
    Ok(Lasting {
        restarts: restarts.map_or(0, |restarts| restarts.value),
        state,
        state_period: Duration::from_secs(
            period
                .map_or(STATE_PERIOD_SECS_DEFAULT, |period| period.value)
                .into(),
        ),
    })
}

/// Restarts after failures; the most is as good as for ever, with pauses of seconds between them.
const RESTARTS: RangeInclusive<u32> = 0..=1_000_000;
/// Seconds from one writing of the state to the next. A second is for trying it out; after a day most peers are gone.
pub(crate) const STATE_PERIOD_SECS: RangeInclusive<u32> = 1..=86_400;
/// The default: what is lost by a crash is what clients tell again within one interval.
const STATE_PERIOD_SECS_DEFAULT: u32 = 300;
