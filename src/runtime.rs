//! The runtime that serves.

use etracker_runtime_common::{Job, ServeError};

#[cfg(feature = "glommio")]
use crate::limits;
use crate::options::{Options, Runtime};
use crate::terminal::Tell;

/// Runs a job until it is stopped.
pub(crate) type Serve = fn(Job) -> Result<(), ServeError>;

/// The runtime of these options, after preparing the process for it, which is reported to `tell`.
///
/// # Errors
/// The runtime is not available here; the message has a remedy.
#[cfg_attr(
    not(feature = "glommio"),
    expect(unused_variables, clippy::unnecessary_wraps, reason = "for glommio")
)]
pub(crate) fn choose(options: &Options, tell: Tell<'_>) -> Result<Serve, String> {
    match options.runtime {
        // Measured, glommio is faster at nothing and slower at much: docs/runtimes.md.
        #[cfg(all(feature = "smol", feature = "glommio"))]
        Runtime::Auto => Ok(etracker_smol::serve),
        #[cfg(feature = "smol")]
        Runtime::Smol => Ok(etracker_smol::serve),
        #[cfg(feature = "glommio")]
        Runtime::Glommio => glommio(tell).map_err(|missing| format!("{missing}; {OTHERWISE}")),
    }
}

/// The runtime that these options choose.
pub(crate) const fn name(options: &Options) -> &'static str {
    match options.runtime {
        #[cfg(all(feature = "smol", feature = "glommio"))]
        Runtime::Auto => Runtime::Smol.name(),
        #[cfg(feature = "smol")]
        Runtime::Smol => Runtime::Smol.name(),
        #[cfg(feature = "glommio")]
        Runtime::Glommio => Runtime::Glommio.name(),
    }
}

/// Whether these options choose glommio.
#[cfg(feature = "glommio")]
pub(crate) fn is_glommio(options: &Options) -> bool {
    options.runtime == Runtime::Glommio
}

#[cfg(feature = "glommio")]
fn glommio(tell: Tell<'_>) -> Result<Serve, etracker_glommio::Missing> {
    limits::raise_locked_memory(tell);
    etracker_glommio::check()?;
    tell(&"Runtime: glommio");
    Ok(etracker_glommio::serve)
}

/// The remedy where glommio cannot run.
#[cfg(all(feature = "smol", feature = "glommio"))]
const OTHERWISE: &str = "or give --runtime smol";
#[cfg(all(not(feature = "smol"), feature = "glommio"))]
const OTHERWISE: &str = "or take a build with the feature smol, and give --runtime smol";
