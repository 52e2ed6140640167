//! Scorecards of several trackers side by side.

use crate::{
    check::{Level, Outcome},
    checks,
    scorecard::{Card, Scorecard, Totals},
};
use std::fmt::Write as _;

/// The comparison as a table for a terminal.
#[must_use]
pub fn compare_text(scorecards: &[Scorecard]) -> String {
    let mut out = String::new();
    let width = scorecards
        .iter()
        .map(|one| one.name.len())
        .max()
        .unwrap_or_default()
        .max(11);
    let line = |out: &mut String, first: &str, cells: &[String]| {
        let _ = write!(out, "{first:<12}");
        for cell in cells {
            let _ = write!(out, " {cell:>width$}");
        }
        out.push('\n');
    };
    line(&mut out, "", &names(scorecards));
    for (title, cells) in summary(scorecards) {
        line(&mut out, &title, &cells);
    }
    out.push('\n');
    for (id, level, cells) in differences(scorecards) {
        line(&mut out, &format!("{id} {}", level.letter()), &cells);
    }
    out
}

/// The comparison in Markdown, with the titles of the checks.
#[must_use]
pub fn compare_markdown(scorecards: &[Scorecard]) -> String {
    let mut out = String::new();
    let rule = "|---".repeat(scorecards.len());
    let _ = writeln!(
        out,
        "| passed / failed | {} |\n|---{rule}|",
        names(scorecards).join(" | ")
    );
    for (title, cells) in summary(scorecards) {
        let _ = writeln!(out, "| {title} | {} |", cells.join(" | "));
    }
    let _ = writeln!(
        out,
        "\n| check | what must hold | {} |\n|---|---{rule}|",
        names(scorecards).join(" | ")
    );
    for (id, level, cells) in differences(scorecards) {
        let title = checks::find(id)
            .map_or("", |check| check.title)
            .replace('|', "\\|");
        let _ = writeln!(
            out,
            "| {id} ({}) | {title} | {} |",
            level.letter(),
            cells.join(" | ")
        );
    }
    out
}

fn names(scorecards: &[Scorecard]) -> Vec<String> {
    scorecards.iter().map(|one| one.name.clone()).collect()
}

/// A line for each level, and for what was not scored.
fn summary(scorecards: &[Scorecard]) -> Vec<(String, Vec<String>)> {
    let mut lines = Vec::new();
    for level in [Level::Normative, Level::DeFacto, Level::Hardening] {
        let cell = |one: &Scorecard| {
            let totals = Totals::of(one.cards.iter().filter(|card| card.level == level));
            format!(
                "{} / {}",
                totals.get(Outcome::Passed),
                totals.get(Outcome::Failed)
            )
        };
        lines.push((level.letter().to_owned(), scorecards.iter().map(cell).collect()));
    }
    for outcome in [Outcome::Recorded, Outcome::NotOffered, Outcome::NotRun] {
        let cells = scorecards
            .iter()
            .map(|one| one.totals().get(outcome).to_string())
            .collect();
        lines.push((outcome.word().to_owned(), cells));
    }
    lines
}

/// The checks that any of them failed, in the order of the catalogue.
fn differences(scorecards: &[Scorecard]) -> Vec<(&'static str, Level, Vec<String>)> {
    let failed = |id: &str| {
        scorecards
            .iter()
            .any(|one| one.card(id).is_some_and(|card| card.outcome == Outcome::Failed))
    };
    checks::catalogue()
        .filter(|check| failed(check.id))
        .map(|check| {
            (
                check.id,
                check.level,
                scorecards.iter().map(|one| cell(one.card(check.id))).collect(),
            )
        })
        .collect()
}

fn cell(card: Option<&Card>) -> String {
    match card.map(|card| card.outcome) {
        Some(Outcome::Passed) => "ok".to_owned(),
        Some(Outcome::Failed) => "FAILED".to_owned(),
        Some(other) => other.word().to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{compare_markdown, compare_text};
    use crate::{
        check::{Level, Outcome},
        scorecard::tests::{card, scorecard},
    };

    #[test]
    fn shows_what_any_of_them_failed() {
        let one = scorecard(vec![
            card("A-01", Level::Normative, Outcome::Passed),
            card("A-04", Level::DeFacto, Outcome::Passed),
        ]);
        let two = scorecard(vec![
            card("A-01", Level::Normative, Outcome::Passed),
            card("A-04", Level::DeFacto, Outcome::Failed),
        ]);
        let plain = compare_text(&[one.clone(), two.clone()]);
        assert!(plain.contains("A-04 S") && plain.contains("FAILED") && !plain.contains("A-01"));
        assert!(compare_markdown(&[one, two]).contains("| A-04 (S) |"));
    }
}
