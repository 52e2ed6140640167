//! `/health`: whether the tracker is fit, for what restarts it and what sends it clients.

use std::fmt::Write as _;

use super::about::Moment;
use crate::finding::{Finding, Grade};
use crate::verdict::Subject;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// `/health`: whether there is any fault.
    All,
    /// `/health/live`: whether the process works. A restart helps where it does not.
    Live,
    /// `/health/ready`: whether it serves new clients. They are better sent elsewhere while it does not.
    Ready,
}

impl Probe {
    /// What the segments of a path ask, if it is a path of health.
    pub(super) fn of(path: &[u8]) -> Option<Self> {
        let mut segments = path
            .split(|byte| *byte == b'/')
            .filter(|segment| !segment.is_empty());
        match (segments.next()?, segments.next(), segments.next()) {
            (b"health", None, None) => Some(Self::All),
            (b"health", Some(b"live"), None) => Some(Self::Live),
            (b"health", Some(b"ready"), None) => Some(Self::Ready),
            _ => None,
        }
    }
}

/// The page, and whether health is good: then it is `ok` and what is not well nevertheless, else the reasons, each in a line.
pub(super) fn page(moment: &Moment<'_>, probe: Probe) -> (bool, String) {
    let mut reasons = Vec::new();
    if !moment.is_alive {
        reasons.push("fault workers: one has not run for seconds -> a restart".to_owned());
    }
    if moment.is_ending && probe != Probe::Live {
        reasons.push("fault workers: the tracker is being stopped -> another tracker".to_owned());
    }
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    for (subject, finding) in moment.verdict.findings() {
        match finding.grade {
            Grade::Fault if counts(probe, *subject) => faults.push(line(finding)),
            Grade::Fault | Grade::Warning | Grade::Ok => warnings.push(line(finding)),
        }
    }
    reasons.extend(faults);
    let is_good = reasons.is_empty();
    let mut text = String::new();
    if is_good {
        text.push_str("ok\n");
    }
    let shown = if probe == Probe::All { warnings } else { Vec::new() };
    for line in reasons.iter().chain(&shown) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    (is_good, text)
}

/// Whether a fault is a reason: for readiness, one that keeps clients from being served here, and not one of a certificate, which all
/// trackers behind one name share.
const fn counts(probe: Probe, subject: Subject) -> bool {
    match probe {
        Probe::All => true,
        Probe::Live => false,
        Probe::Ready => matches!(subject, Subject::Memory | Subject::Overload),
    }
}

fn line(finding: &Finding) -> String {
    let (grade, about, what) = (finding.grade.name(), &finding.about, &finding.what);
    let remedy = finding.remedy.as_deref().unwrap_or_default();
    format!("{grade} {about}: {what} -> {remedy}")
}
