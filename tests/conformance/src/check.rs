//! What a check is, and what can come of one.

use crate::{needs::NEED_NAMES, probe::Probe};
use std::fmt;

// What the tables of checks are written with, in one place.
pub(crate) use crate::finding::{Finding, Stop, ensure, not_offered, not_run, pass, remark};
pub(crate) use crate::needs::{ALONE, HTTP, HTTP4, HTTP6, Needs, SLOW, SOURCES, TLS, UDP, UDP4, UDP6};

/// How much a check weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The BEP text demands it.
    Normative,
    /// Clients or trackers depend on it, though no BEP demands it.
    DeFacto,
    /// Abuse and memory safety.
    Hardening,
    /// A choice of the tracker: the answer is recorded and not scored.
    Policy,
}

impl Level {
    /// All levels, the weightiest first.
    pub const ALL: [Self; 4] = [Self::Normative, Self::DeFacto, Self::Hardening, Self::Policy];

    /// The letter that stands for the level.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::Normative => "M",
            Self::DeFacto => "S",
            Self::Hardening => "H",
            Self::Policy => "P",
        }
    }

    /// The level in words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Normative => "normative: the BEP text demands it",
            Self::DeFacto => "de facto: clients or trackers depend on it",
            Self::Hardening => "hardening: abuse and memory safety",
            Self::Policy => "policy: recorded, not scored",
        }
    }

    /// The level of a letter, in either case.
    #[must_use]
    pub fn from_letter(letter: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|level| level.letter().eq_ignore_ascii_case(letter))
    }
}

/// One check: what is sent, what must hold, and why anyone should care.
pub struct Check {
    /// The name in the specification, such as `A-35`.
    pub id: &'static str,
    /// How much it weighs.
    pub level: Level,
    /// The text it comes from.
    pub source: &'static str,
    /// What is sent and what must hold.
    pub title: &'static str,
    /// Why it matters, in one sentence.
    pub why: &'static str,
    pub(crate) needs: Needs,
    pub(crate) run: fn(&mut Probe<'_>) -> Finding,
}

impl Check {
    /// The group: what stands before the dash.
    #[must_use]
    pub fn group(&self) -> &'static str {
        self.id.split('-').next().unwrap_or_default()
    }

    /// What the check needs of the target and of the run, in words.
    #[must_use]
    pub fn needs(&self) -> Vec<&'static str> {
        NEED_NAMES
            .iter()
            .filter(|(need, _)| self.needs.has(*need))
            .map(|(_, name)| *name)
            .collect()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Check({} {})", self.id, self.level.letter())
    }
}

/// One line of a group's table.
pub(crate) const fn check(
    id: &'static str,
    level: Level,
    source: &'static str,
    title: &'static str,
    why: &'static str,
    needs: Needs,
    run: fn(&mut Probe<'_>) -> Finding,
) -> Check {
    Check {
        id,
        level,
        source,
        title,
        why,
        needs,
        run,
    }
}

/// What came of a check in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// What must hold holds.
    Passed,
    /// What must hold does not.
    Failed,
    /// A policy check: the answer stands in the remark.
    Recorded,
    /// The target has no such feature; not scored.
    NotOffered,
    /// The run gave no means to try it; not scored.
    NotRun,
}

impl Outcome {
    /// All outcomes, as the scorecard orders them.
    pub const ALL: [Self; 5] = [
        Self::Failed,
        Self::Passed,
        Self::Recorded,
        Self::NotOffered,
        Self::NotRun,
    ];

    /// The word used in scorecards.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Recorded => "recorded",
            Self::NotOffered => "not offered",
            Self::NotRun => "not run",
        }
    }

    /// The outcome of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.word() == word)
    }
}
