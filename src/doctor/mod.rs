//! `etracker doctor`: checks whether a start would succeed and the host is fit.

#[cfg_attr(not(feature = "acme"), path = "acme_absent.rs")]
mod acme;
mod addresses;
mod cluster;
mod conntrack;
mod facts;
mod finding;
mod findings;
mod health;
#[cfg_attr(not(feature = "tls"), path = "https_absent.rs")]
mod https;
mod json;
mod probe;

use std::process::ExitCode;

use crate::exit::EXIT_FAILURE;
use crate::failure::Failure;
use crate::options::{Form, Options};
use crate::terminal::say;
use facts::{Facts, is_in_use};
use finding::{Finding, Grade};
use findings::{is_of_a_tracker, judge};
pub(crate) use health::health;

/// Checks a tracker with these options on this host and prints a table of findings. The exit status is a failure if there is a
/// fault.
///
/// # Errors
/// The checks themselves cannot be done.
pub(crate) fn run(options: &Options, form: Form) -> Result<ExitCode, Failure> {
    let facts = Facts::gather(options)?;
    let mut findings = judge(&facts);
    let is_checked = is_of_a_tracker(&facts);
    let is_in_use = is_in_use(&facts.steps);
    findings.extend(https::judge(&facts.https, &facts.over_tls, is_checked, is_in_use));
    findings.extend(acme::judge(&facts));
    findings.extend(cluster::judge(facts.cluster.as_ref()));
    match form {
        Form::Text => show(&findings),
        Form::Json => say(json::object(&findings)),
    }
    let faulty = findings.iter().any(|finding| finding.grade == Grade::Fault);
    Ok(if faulty {
        ExitCode::from(EXIT_FAILURE)
    } else {
        ExitCode::SUCCESS
    })
}

fn show(findings: &[Finding]) {
    let width = findings.iter().map(|finding| finding.about.len()).max();
    let width = width.unwrap_or_default();
    for finding in findings {
        let (grade, about) = (finding.grade.name(), &finding.about);
        say(format_args!("{grade:7}  {about:width$}  {}", finding.what));
        if let Some(remedy) = &finding.remedy {
            say(format_args!("{:7}  {:width$}  -> {remedy}", "", ""));
        }
    }
    let count = |grade| findings.iter().filter(|finding| finding.grade == grade).count();
    let (fine, warnings, faults) = (count(Grade::Ok), count(Grade::Warning), count(Grade::Fault));
    say(format_args!("{fine} ok, {warnings} warnings, {faults} faults"));
}
