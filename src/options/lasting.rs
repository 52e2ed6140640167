//! What makes the tracker last: its supervisor, its lack of rights, its state.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bpaf::{Parser, construct};

use super::given::{Common, number, value};
use super::name;
use super::reader::{Reader, Setting};
use super::refusal::{Refusal, needs};

/// What the tracker does to last.
#[derive(Clone, Debug)]
pub(crate) struct Lasting {
    /// How often a serving process that failed is followed by another; 0 is without a supervisor.
    pub(crate) restarts: u32,
    /// Whom to serve as.
    pub(crate) user: Option<Setting<String>>,
    /// The folder to lock oneself into.
    pub(crate) chroot: Option<Setting<PathBuf>>,
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
        "Seconds from one writing of the state to the next; with --state only",
        STATE_PERIOD_SECS,
        STATE_PERIOD_SECS_DEFAULT,
    );
    let state_period = value(name::STATE_PERIOD, "SECONDS", &period);
    construct!(Given { chroot, state_period }).group_help("Lasting:")
}

pub(super) fn read(reader: Reader<'_>, common: &Common, given: Given) -> Result<Lasting, Refusal> {
    let restarts = reader.number(name::FAILED, common.failed.clone(), RESTARTS)?;
    let user = reader.filled(name::USER, common.user.clone(), "the name of a user")?;
    let chroot = reader.filled(name::CHROOT, given.chroot, "the path of a folder")?;
    let state = reader.filled(name::STATE, common.state.clone(), "the path of a file")?;
    let period = reader.number(name::STATE_PERIOD, given.state_period, STATE_PERIOD_SECS)?;
    let source = |chroot: &Setting<String>| chroot.source;
    // Root can leave any root folder.
    needs(chroot.as_ref().map(source), name::USER, user.is_some())?;
    needs(period.map(|period| period.source), name::STATE, state.is_some())?;
    Ok(Lasting {
        restarts: restarts.map_or(0, |restarts| restarts.value),
        user,
        chroot: chroot.map(Setting::into_setting),
        state: state.map(|text| text.value.into()),
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
