//! The verdict on a tracker that serves: whether all is well, and if not, what is wrong and what to do.
//!
//! The pages, `/health` and doctor show the same findings, which are made in `rules.rs` alone.

mod recent;
mod rules;
mod signs;

use std::sync::{Mutex, PoisonError};

use etracker_core::{Instant, Tracker};

use crate::finding::{Finding, Grade};
use recent::Recent;
pub(crate) use rules::shortage;
pub(crate) use signs::{Signs, Subject};

/// Remembers what was counted lately, and judges by it.
#[derive(Debug)]
pub(crate) struct Judge(Mutex<Recent>);

impl Judge {
    pub(crate) fn new(started: Instant) -> Self {
        Self(Mutex::new(Recent::new(started)))
    }

    /// Takes note of the counts. Meant to be called once a second.
    pub(crate) fn note(&self, now: Instant, tracker: &Tracker) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.note(now, tracker);
    }

    pub(crate) fn judge(&self, signs: &Signs<'_>) -> Verdict {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut findings = rules::judge(signs, &recent);
        // Stable: within one grade the order of the rules stays.
        findings.sort_by_key(|(_, finding)| std::cmp::Reverse(finding.grade));
        Verdict { findings }
    }
}

/// All that is not well, the gravest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    findings: Vec<(Subject, Finding)>,
}

impl Verdict {
    pub(crate) fn findings(&self) -> &[(Subject, Finding)] {
        &self.findings
    }

    /// The gravest grade.
    pub(crate) fn grade(&self) -> Grade {
        let gravest = self.findings.first();
        gravest.map_or(Grade::Ok, |(_, finding)| finding.grade)
    }

    /// The gravest grade of what is about `subject`.
    pub(crate) fn grade_of(&self, subject: Subject) -> Grade {
        let found = self.findings.iter().find(|(about, _)| *about == subject);
        found.map_or(Grade::Ok, |(_, finding)| finding.grade)
    }

    /// The verdict in one line.
    pub(crate) fn line(&self) -> String {
        let Some(((_, first), others)) = self.findings.split_first() else {
            return "All well".to_owned();
        };
        let remedy = first.remedy.as_deref().unwrap_or_default();
        let mut line = format!("{} -> {remedy}", first.what);
        let mut named: Vec<&str> = Vec::new();
        for (_, other) in others {
            if !named.contains(&&*other.about) {
                named.push(&other.about);
            }
        }
        if !named.is_empty() {
            line += &format!(" (also not well: {})", named.join(", "));
        }
        line
    }
}

#[cfg(test)]
mod tests;
