//! Which runtime serves.

use etracker_runtime_common::{Job, ServeError};

#[cfg(feature = "glommio")]
use crate::limits;
use crate::options::{Options, Runtime};
use crate::terminal::Tell;

/// Serves until it is told to stop.
pub(crate) type Serve = fn(Job) -> Result<(), ServeError>;

/// The runtime that these options ask for. What is done for it is told.
///
/// # Errors
/// Why it cannot be had here, and what to do.
#[cfg_attr(
    not(feature = "glommio"),
    expect(unused_variables, clippy::unnecessary_wraps, reason = "for glommio")
)]
pub(crate) fn choose(options: &Options, tell: Tell<'_>) -> Result<Serve, String> {
    match options.runtime {
        #[cfg(all(feature = "smol", feature = "glommio"))]
        Runtime::Auto => Ok(best(options, tell)),
        #[cfg(feature = "smol")]
        Runtime::Smol => Ok(etracker_smol::serve),
        #[cfg(feature = "glommio")]
        Runtime::Glommio => glommio(tell).map_err(|lack| format!("{lack}; {OTHERWISE}")),
    }
}

/// Whether glommio would serve if it can be had.
#[cfg(feature = "glommio")]
pub(crate) fn prefers_glommio(options: &Options) -> bool {
    match options.runtime {
        // docs/runtimes.md says why.
        #[cfg(feature = "smol")]
        Runtime::Auto => !options.listen.tcp,
        #[cfg(feature = "smol")]
        Runtime::Smol => false,
        Runtime::Glommio => true,
    }
}

/// glommio where UDP alone is served and it can be had, smol wherever there are connections.
#[cfg(all(feature = "smol", feature = "glommio"))]
fn best(options: &Options, tell: Tell<'_>) -> Serve {
    if !prefers_glommio(options) {
        return etracker_smol::serve;
    }
    glommio(tell).unwrap_or_else(|lack| {
        tell(&format_args!("Runtime smol instead of glommio: {lack}"));
        etracker_smol::serve
    })
}

#[cfg(feature = "glommio")]
fn glommio(tell: Tell<'_>) -> Result<Serve, etracker_glommio::Lack> {
    limits::raise_locked_memory(tell);
    etracker_glommio::check()?;
    tell(&"Runtime: glommio");
    Ok(etracker_glommio::serve)
}

/// What else can be done where glommio cannot run.
#[cfg(all(feature = "smol", feature = "glommio"))]
const OTHERWISE: &str = "or give --runtime smol";
#[cfg(all(not(feature = "smol"), feature = "glommio"))]
const OTHERWISE: &str = "or take a build with the feature smol, and give --runtime smol";
