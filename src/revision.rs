//! The revision of the build.

/// The git revision, or the version if it was built without git.
pub(crate) fn revision() -> &'static str {
    REVISION.unwrap_or(VERSION)
}

/// The line that `--version` shows.
pub(crate) fn version() -> String {
    match REVISION {
        Some(revision) => format!("etracker {VERSION} ({revision})"),
        None => format!("etracker {VERSION}"),
    }
}

/// The version with the revision of the build, without blanks.
#[cfg(feature = "cluster")]
pub(crate) fn short() -> String {
    match REVISION {
        Some(revision) => format!("{VERSION}+{revision}"),
        None => VERSION.to_owned(),
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Set by build.rs where git knows one.
const REVISION: Option<&str> = option_env!("ETRACKER_REVISION");
