//! The revision of the build.

use crate::options::Runtime;

/// The git revision, or the version if it was built without git.
pub(crate) fn revision() -> &'static str {
    REVISION.unwrap_or(VERSION)
}

/// What `--version` shows: version and revision, features, and the runtime that serves unless another is chosen.
pub(crate) fn version() -> String {
    let revision = REVISION.map_or_else(String::new, |revision| format!(" ({revision})"));
    let features: Vec<&str> = FEATURES
        .iter()
        .filter_map(|&(name, is_on)| is_on.then_some(name))
        .collect();
    let (features, runtime) = (features.join(" "), Runtime::DEFAULT.name());
    format!("etracker {VERSION}{revision}\nFeatures: {features}\nRuntime: {runtime}")
}

/// The version with the revision of the build, without blanks.
#[cfg(feature = "cluster")]
pub(crate) fn short() -> String {
    match REVISION {
        Some(revision) => format!("{VERSION}+{revision}"),
        None => VERSION.to_owned(),
    }
}

/// The day of the revision, as year, month and day.
pub(crate) const fn date() -> Option<&'static str> {
    option_env!("ETRACKER_DATE")
}

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Set by build.rs where git knows one.
const REVISION: Option<&str> = option_env!("ETRACKER_REVISION");
/// The features of Cargo.toml, and whether this build has them.
const FEATURES: &[(&str, bool)] = &[
    ("acme", cfg!(feature = "acme")),
    ("cluster", cfg!(feature = "cluster")),
    ("glommio", cfg!(feature = "glommio")),
    ("smol", cfg!(feature = "smol")),
    ("testing", cfg!(feature = "testing")),
    ("tls", cfg!(feature = "tls")),
    ("tls-aws-lc-rs", cfg!(feature = "tls-aws-lc-rs")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_is_known() {
        let manifest = include_str!("../Cargo.toml");
        let features = manifest.split("[features]").nth(1).expect("features");
        let features = features.split("\n[").next().expect("an end");
        let names = features
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .map(|(name, _)| name);
        let known: Vec<&str> = FEATURES.iter().map(|&(name, _)| name).collect();
        let mut expected: Vec<&str> = names
            .filter(|name| *name != "default" && !name.starts_with('#'))
            .collect();
        expected.sort_unstable();
        assert_eq!(known, expected);
    }

    #[test]
    fn the_version_names_what_is_built_in() {
        let shown = version();
        assert!(shown.starts_with(&format!("etracker {VERSION}")), "{shown}");
        assert!(
            shown.contains(&format!("Runtime: {}", Runtime::DEFAULT.name())),
            "{shown}"
        );
        assert_eq!(shown.contains("acme"), cfg!(feature = "acme"), "{shown}");
    }
}
