//! What makes the tracker last: its supervisor, its lack of rights, its state.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bpaf::{Parser, construct};

use super::given::{Common, number, value};
use super::name::{self, Name};
use super::reader::{Reader, Text};
use super::refusal::Refusal;

/// What the tracker does to last.
#[derive(Clone, Debug)]
pub(crate) struct Lasting {
    /// How often a serving process that failed is followed by another; 0 is without a supervisor.
    pub(crate) restarts: u32,
    /// Whom to serve as.
    pub(crate) user: Option<String>,
    /// The folder to lock oneself into.
    pub(crate) chroot: Option<PathBuf>,
    /// Where swarms are kept over restarts.
    pub(crate) state: Option<PathBuf>,
    /// How often they are written there.
    pub(crate) state_period: Duration,
}

/// What of it is not given among the common options.
#[derive(Clone, Debug)]
pub(super) struct Given {
    chroot: Option<String>,
    state_period: Option<String>,
}

pub(super) fn failed() -> String {
    number("Restarts after failures", RESTARTS, 0)
}

pub(super) fn grammar() -> impl Parser<Given> {
    let chroot = value(name::CHROOT, "DIR", "New root folder; with --user only");
    let period = number(
        "Seconds from one writing of the state to the next",
        STATE_PERIOD_SECS,
        STATE_PERIOD_SECS_DEFAULT,
    );
    let state_period = value(name::STATE_PERIOD, "SECONDS", &period);
    construct!(Given { chroot, state_period }).group_help("Lasting:")
}

pub(super) fn read(reader: Reader<'_>, common: &Common, given: Given) -> Result<Lasting, Refusal> {
    let restarts = reader.number(name::FAILED, common.failed.clone(), RESTARTS)?;
    let user = filled(reader, name::USER, common.user.clone(), "the name of a user")?;
    let chroot = filled(reader, name::CHROOT, given.chroot, "the path of a folder")?;
    if let (Some(chroot), None) = (&chroot, &user) {
        return Err(Refusal::ChrootWithoutUser(chroot.source));
    }
    let state = filled(reader, name::STATE, common.state.clone(), "the path of a file")?;
    let period = reader.number(name::STATE_PERIOD, given.state_period, STATE_PERIOD_SECS)?;
    Ok(Lasting {
        restarts: restarts.map_or(0, |restarts| restarts.value),
        user: user.map(|text| text.value),
        chroot: chroot.map(|text| text.value.into()),
        state: state.map(|text| text.value.into()),
        state_period: Duration::from_secs(
            period
                .map_or(STATE_PERIOD_SECS_DEFAULT, |period| period.value)
                .into(),
        ),
    })
}

/// What was given, if it is not nothing.
fn filled(
    reader: Reader<'_>,
    name: Name,
    argument: Option<String>,
    wanted: &str,
) -> Result<Option<Text>, Refusal> {
    match reader.text(name, argument) {
        Some(text) if text.value.is_empty() => Err(text.refuse(wanted)),
        text => Ok(text),
    }
}

/// Restarts after failures; the most is as good as for ever, with pauses of seconds between them.
const RESTARTS: RangeInclusive<u32> = 0..=1_000_000;
/// Seconds from one writing of the state to the next. A second is for trying it out; after a day most peers are gone.
pub(crate) const STATE_PERIOD_SECS: RangeInclusive<u32> = 1..=86_400;
/// The default: what is lost by a crash is what clients tell again within one interval.
const STATE_PERIOD_SECS_DEFAULT: u32 = 300;
