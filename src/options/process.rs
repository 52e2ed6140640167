//! Options of the process: supervisor, user, root directory, state.

use std::path::PathBuf;
use std::time::Duration;

use super::arguments::{self, Common};
use super::name;
use super::ranges::{RESTARTS, STATE_PERIOD_SECS, STATE_PERIOD_SECS_DEFAULT};
use super::reader::{Reader, Setting};
use super::refusal::{Refusal, needs};

/// The options of the process.
#[derive(Clone, Debug)]
pub(crate) struct ProcessOptions {
    /// Restarts after failures; 0 is without a supervisor.
    pub(crate) restarts: u32,
    /// The user to serve as.
    pub(crate) user: Option<Setting<String>>,
    /// The new root directory.
    pub(crate) chroot: Option<Setting<PathBuf>>,
    /// The state file.
    pub(crate) state: Option<PathBuf>,
    /// The period of writing the state.
    pub(crate) state_period: Duration,
}

pub(super) fn read(
    reader: Reader<'_>,
    common: &Common,
    given: arguments::ProcessOptions,
) -> Result<ProcessOptions, Refusal> {
    let restarts = reader.number(name::FAILED, common.failed.clone(), RESTARTS)?;
    let user = reader.filled(name::USER, common.user.clone(), "the name of a user")?;
    let chroot = reader.filled(name::CHROOT, given.chroot, "the path of a folder")?;
    let state = reader.filled(name::STATE, common.state.clone(), "the path of a file")?;
    let period = reader.number(name::STATE_PERIOD, given.state_period, STATE_PERIOD_SECS)?;
    let source = |chroot: &Setting<String>| chroot.source;
    // A chroot without another user is no protection: root can leave it.
    needs(chroot.as_ref().map(source), &[name::USER], user.is_some())?;
    needs(
        period.map(|period| period.source),
        &[name::STATE],
        state.is_some(),
    )?;
    Ok(ProcessOptions {
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
