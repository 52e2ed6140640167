//! Findings for programs.

use serde::Serialize;

use super::finding::{Finding, Grade};

/// The findings as one object. Its fields stay; others may come.
pub(super) fn object(findings: &[Finding]) -> String {
    let count = |grade| findings.iter().filter(|finding| finding.grade == grade).count();
    let counts = Counts {
        ok: count(Grade::Ok),
        warning: count(Grade::Warning),
        fault: count(Grade::Fault),
    };
    let worst = match (counts.fault, counts.warning) {
        (0, 0) => Grade::Ok,
        (0, _) => Grade::Warning,
        _ => Grade::Fault,
    };
    let report = Report {
        worst: worst.name(),
        counts,
        findings: findings.iter().map(Shown::of).collect(),
    };
    serde_json::to_string_pretty(&report).unwrap_or_else(|error| unreachable!("text and numbers: {error}"))
}

#[derive(Serialize)]
struct Report<'a> {
    worst: &'static str,
    counts: Counts,
    findings: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Counts {
    ok: usize,
    warning: usize,
    fault: usize,
}

#[derive(Serialize)]
struct Shown<'a> {
    grade: &'static str,
    about: &'a str,
    what: &'a str,
    remedy: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self {
            grade: finding.grade.name(),
            about: &finding.about,
            what: &finding.what,
            remedy: finding.remedy.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::{fault, ok, warning};
    use super::*;

    fn parsed(findings: &[Finding]) -> serde_json::Value {
        serde_json::from_str(&object(findings)).expect("an object")
    }

    #[test]
    fn the_worst_grade_and_all_findings_are_there() {
        let fine = ok("port", "it is \"free\"");
        let poor = warning("IPv6", "not usable", "turn it on");
        let bad = fault("state", "not writable", "chown");
        assert_eq!(parsed(&[])["worst"], "ok");
        assert_eq!(parsed(std::slice::from_ref(&fine))["worst"], "ok");
        assert_eq!(parsed(&[poor.clone(), fine.clone()])["worst"], "warning");
        let all = parsed(&[fine, bad, poor]);
        assert_eq!(
            all,
            serde_json::json!({
                "worst": "fault",
                "counts": { "ok": 1, "warning": 1, "fault": 1 },
                "findings": [
                    { "grade": "ok", "about": "port", "what": "it is \"free\"", "remedy": null },
                    { "grade": "fault", "about": "state", "what": "not writable", "remedy": "chown" },
                    { "grade": "warning", "about": "IPv6", "what": "not usable", "remedy": "turn it on" },
                ],
            })
        );
    }
}
