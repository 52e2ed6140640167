//! Which runtime serves.

use etracker_runtime_common::{Job, ServeError};

use crate::options::{Options, Runtime};
#[cfg(feature = "glommio")]
use crate::{limits, terminal::say};

/// Serves until it is told to stop.
pub(crate) type Serve = fn(Job) -> Result<(), ServeError>;

/// The runtime that these options ask for.
///
/// # Errors
/// Why it cannot be had here, and what to do.
#[cfg_attr(
    not(feature = "glommio"),
    expect(clippy::unnecessary_wraps, reason = "glommio may be missing")
)]
pub(crate) fn choose(options: &Options) -> Result<Serve, String> {
    match options.runtime {
        #[cfg(all(feature = "smol", feature = "glommio"))]
        Runtime::Auto => Ok(best(options)),
        #[cfg(feature = "smol")]
        Runtime::Smol => Ok(etracker_smol::serve),
        #[cfg(feature = "glommio")]
        Runtime::Glommio => glommio().map_err(|lack| format!("{lack}; {OTHERWISE}")),
    }
}

/// glommio where UDP alone is served, smol wherever there are connections: docs/runtimes.md says why.
#[cfg(all(feature = "smol", feature = "glommio"))]
fn best(options: &Options) -> Serve {
    if options.listen.tcp {
        return etracker_smol::serve;
    }
    glommio().unwrap_or_else(|lack| {
        say(format_args!("Runtime smol instead of glommio: {lack}"));
        etracker_smol::serve
    })
}

#[cfg(feature = "glommio")]
fn glommio() -> Result<Serve, etracker_glommio::Lack> {
    limits::raise_locked_memory();
    etracker_glommio::check()?;
    say("Runtime: glommio");
    Ok(etracker_glommio::serve)
}

/// What else can be done where glommio cannot run.
#[cfg(all(feature = "smol", feature = "glommio"))]
const OTHERWISE: &str = "or give --runtime smol";
#[cfg(all(not(feature = "smol"), feature = "glommio"))]
const OTHERWISE: &str = "or take a build with the feature smol, and give --runtime smol";
