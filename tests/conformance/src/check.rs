//! What a check is, and what can come of one.

use crate::probe::Probe;
use std::fmt;

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

/// What a check needs before it can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs(u16);

impl Needs {
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Nothing but the run itself.
pub(crate) const NOTHING: Needs = Needs(0);
/// An HTTP URL of either family.
pub(crate) const HTTP: Needs = Needs(1);
/// A UDP URL of either family.
pub(crate) const UDP: Needs = Needs(2);
/// An HTTP URL for IPv4.
pub(crate) const HTTP4: Needs = Needs(4);
/// An HTTP URL for IPv6.
pub(crate) const HTTP6: Needs = Needs(8);
/// A UDP URL for IPv4.
pub(crate) const UDP4: Needs = Needs(16);
/// A UDP URL for IPv6.
pub(crate) const UDP6: Needs = Needs(32);
/// Many source addresses: a target on the IPv4 loopback network.
pub(crate) const SOURCES: Needs = Needs(64);
/// A wait of a minute or more.
pub(crate) const SLOW: Needs = Needs(128);
/// No other check beside it: it floods.
pub(crate) const ALONE: Needs = Needs(256);

const NEED_NAMES: &[(Needs, &str)] = &[
    (HTTP, "--http or --http6"),
    (UDP, "--udp or --udp6"),
    (HTTP4, "--http"),
    (HTTP6, "--http6"),
    (UDP4, "--udp"),
    (UDP6, "--udp6"),
    (SOURCES, "many source addresses (a target on 127.0.0.0/8)"),
    (SLOW, "--slow"),
];

/// What a check found: a remark if there is one, or why it stopped.
pub(crate) type Finding = Result<Option<String>, Stop>;

/// Why a check did not get to its end.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// What must hold does not.
    Failed(String),
    /// The target has no such feature.
    NotOffered(String),
    /// The run gives no means to try it.
    NotRun(String),
}

impl Stop {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
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

/// Fails the check unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::check::Stop::Failed(format!($($text)+)));
        }
    };
}
pub(crate) use ensure;

/// Ends the check: all holds.
pub(crate) fn pass() -> Finding {
    Ok(None)
}

/// Ends the check with something worth recording.
pub(crate) fn remark(text: impl Into<String>) -> Finding {
    Ok(Some(text.into()))
}

/// Ends the check: the target has no such feature.
pub(crate) fn not_offered<T>(text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::NotOffered(text.into()))
}

/// Ends the check: the run gives no means to try it.
pub(crate) fn not_run<T>(text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::NotRun(text.into()))
}
