//! Options in the environment, and unknown variables.

use std::collections::BTreeMap;
use std::ffi::OsString;

use strsim::osa_distance;

use super::name::{self, LETTERS_WRONG_MAX, PREFIX};
use super::refusal::Refusal;
use crate::supervised::SUPERVISED;

/// The variables that begin with `ETRACKER_`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl FromIterator<(OsString, OsString)> for Environment {
    /// Drops empty variables, which count as not given, and those that orchestrators set for a service of this name.
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(variables: T) -> Self {
        let lossy = |(name, value): (OsString, OsString)| {
            let lossy = |text: OsString| text.to_string_lossy().into_owned();
            (lossy(name), lossy(value))
        };
        let ours = |(name, value): &(String, String)| {
            name.starts_with(PREFIX) && !value.is_empty() && !is_of_a_service(name, value)
        };
        Self(variables.into_iter().map(lossy).filter(ours).collect())
    }
}

impl Environment {
    /// The value of a variable.
    pub(super) fn get(&self, variable: &str) -> Option<&str> {
        self.0.get(variable).map(String::as_str)
    }

    /// The unknown variables.
    ///
    /// # Errors
    /// One is a mistyped option.
    pub(super) fn unknown(&self) -> Result<Vec<String>, Refusal> {
        let options: Vec<String> = name::IN_ENVIRONMENT.iter().map(|name| name.variable()).collect();
        let unknown = self.0.keys().filter(|name| !is_known(name, &options));
        unknown
            .map(|name| match meant(name, &options) {
                Some(meant) => Err(Refusal::Mistyped(name.clone(), meant.clone())),
                None => Ok(name.clone()),
            })
            .collect()
    }
}

fn is_known(name: &str, options: &[String]) -> bool {
    options.iter().any(|option| option == name) || OTHER_ENDS.contains(&name)
}

/// The option that was probably meant: its name differs by underscores, or by few letters.
fn meant<'a>(name: &str, options: &'a [String]) -> Option<&'a String> {
    let letters = |name: &str| name.to_ascii_uppercase().replace('_', "");
    let distance = |option: &&String| osa_distance(&letters(name), &letters(option));
    let closest = options.iter().min_by_key(distance)?;
    (distance(&closest) <= LETTERS_WRONG_MAX).then_some(closest)
}

/// Whether Kubernetes or Docker sets this variable for a service whose name begins as the tracker's does:
/// `ETRACKER_SERVICE_HOST`, `ETRACKER_SERVICE_PORT_HTTP`, `ETRACKER_PORT=tcp://10.0.0.1:6969`, `ETRACKER_PORT_6969_TCP_ADDR`.
fn is_of_a_service(name: &str, value: &str) -> bool {
    let of_service =
        name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_");
    let is_url = || {
        PROTOCOLS
            .iter()
            .any(|protocol| value.starts_with(&format!("{protocol}://")))
    };
    let of_port = |(_, rest): (&str, &str)| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
        let protocol = parts.next().unwrap_or_default().to_ascii_lowercase();
        number && PROTOCOLS.contains(&&*protocol)
    };
    let of_link = name == "ETRACKER_NAME" || name.starts_with("ETRACKER_ENV_");
    of_service
        || of_link
        || (name.ends_with("_PORT") && is_url())
        || name.split_once("_PORT_").is_some_and(of_port)
}

/// Protocols in such variables.
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];
/// Variables of this project that are not options: for the supervisor, scripts, builds and tests.
const OTHER_ENDS: [&str; 5] = [
    SUPERVISED,
    "ETRACKER_COMMAND",
    "ETRACKER_DATE",
    "ETRACKER_REVISION",
    "ETRACKER_SEED",
];
