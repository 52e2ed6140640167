//! The scorecard for people, and as JUnit XML.

use crate::{
    check::{Level, Outcome},
    checks,
    scorecard::{Card, Scorecard, Totals},
};
use std::fmt::Write as _;

/// The scorecard as text: failures first, then the table by group and level, then what was recorded and left out.
#[must_use]
pub fn text(scorecard: &Scorecard, colours: bool, whole: bool) -> String {
    let paint = Paint { colours };
    let mut out = String::new();
    for card in scorecard.failures() {
        failure(&mut out, card, paint, whole);
    }
    if whole {
        list(&mut out, scorecard, Outcome::Recorded, "Recorded, not scored");
        list(
            &mut out,
            scorecard,
            Outcome::NotOffered,
            "Not offered by the target, not scored",
        );
    }
    left_out(&mut out, scorecard, whole);
    table(&mut out, scorecard, paint);
    out
}

#[derive(Clone, Copy)]
struct Paint {
    colours: bool,
}

impl Paint {
    fn of(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn failure(out: &mut String, card: &Card, paint: Paint, whole: bool) {
    let check = checks::find(&card.id);
    let title = check.map_or("", |check| check.title);
    let mark = paint.of("31;1", &format!("FAILED {} ({})", card.id, card.level.letter()));
    let _ = writeln!(out, "{mark} {title}");
    let _ = writeln!(out, "   {}", card.remark.as_deref().unwrap_or_default());
    if let Some(check) = check {
        let _ = writeln!(out, "   {}: {}", check.source, check.why);
    }
    if whole {
        out.push_str(card.transcript.as_deref().unwrap_or_default());
    }
    out.push('\n');
}

fn list(out: &mut String, scorecard: &Scorecard, outcome: Outcome, heading: &str) {
    let mut cards = scorecard
        .cards
        .iter()
        .filter(|card| card.outcome == outcome)
        .peekable();
    if cards.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "{heading}:");
    for card in cards {
        let title = checks::find(&card.id).map_or("", |check| check.title);
        let _ = writeln!(
            out,
            "  {:<5} {title}: {}",
            card.id,
            card.remark.as_deref().unwrap_or_default()
        );
    }
    out.push('\n');
}

/// The checks that were not run, by reason.
fn left_out(out: &mut String, scorecard: &Scorecard, whole: bool) {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for card in scorecard
        .cards
        .iter()
        .filter(|card| card.outcome == Outcome::NotRun)
    {
        let reason = card.remark.as_deref().unwrap_or_default();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, ids)) => ids.push(&card.id),
            None => reasons.push((reason, vec![&card.id])),
        }
    }
    if reasons.is_empty() || !whole {
        return;
    }
    out.push_str("Not run:\n");
    for (reason, ids) in reasons {
        let _ = writeln!(out, "  {reason}: {}", ids.join(" "));
    }
    out.push('\n');
}

fn table(out: &mut String, scorecard: &Scorecard, paint: Paint) {
    let _ = writeln!(
        out,
        "{:<34} {:>9} {:>9} {:>9} {:>5} {:>8} {:>8}",
        "passed/failed by level", "M", "S", "H", "P", "not off.", "not run"
    );
    for group in checks::GROUPS {
        let cards: Vec<&Card> = scorecard
            .cards
            .iter()
            .filter(|card| card.group() == group.letter)
            .collect();
        if !cards.is_empty() {
            row(out, &format!("{}  {}", group.letter, group.name), &cards, paint);
        }
    }
    row(out, "all", &scorecard.cards.iter().collect::<Vec<_>>(), paint);
    let totals = scorecard.totals();
    let words: Vec<String> = Outcome::ALL
        .into_iter()
        .map(|outcome| format!("{} {}", totals.get(outcome), outcome.word()))
        .collect();
    let seconds = scorecard.millis / 1000;
    let _ = writeln!(
        out,
        "\n{}: {} of {} checks in {seconds} s",
        scorecard.name,
        words.join(", "),
        scorecard.cards.len()
    );
}

fn row(out: &mut String, name: &str, cards: &[&Card], paint: Paint) {
    let cell = |level| {
        let totals = Totals::of(cards.iter().copied().filter(|card| card.level == level));
        let (passed, failed) = (totals.get(Outcome::Passed), totals.get(Outcome::Failed));
        match (passed, failed) {
            (0, 0) => format!("{:>9}", "-"),
            (_, 0) => format!("{passed:>9}"),
            _ => paint.of("31", &format!("{:>9}", format!("{passed}/{failed}"))),
        }
    };
    let totals = Totals::of(cards.iter().copied());
    let _ = writeln!(
        out,
        "{name:<34} {} {} {} {:>5} {:>8} {:>8}",
        cell(Level::Normative),
        cell(Level::DeFacto),
        cell(Level::Hardening),
        totals.get(Outcome::Recorded),
        totals.get(Outcome::NotOffered),
        totals.get(Outcome::NotRun)
    );
}

/// The scorecard as JUnit XML, a test case for each check.
#[must_use]
pub fn junit(scorecard: &Scorecard) -> String {
    let totals = scorecard.totals();
    let skipped = totals.get(Outcome::NotOffered) + totals.get(Outcome::NotRun);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{skipped}\" time=\"{}\">",
        escape(&scorecard.name),
        scorecard.cards.len(),
        totals.get(Outcome::Failed),
        seconds(scorecard.millis)
    );
    for card in &scorecard.cards {
        junit_case(&mut out, card);
    }
    out.push_str("</testsuite>\n");
    out
}

fn junit_case(out: &mut String, card: &Card) {
    let title = checks::find(&card.id).map_or("", |check| check.title);
    let name = escape(&format!("{} {title}", card.id));
    let class = escape(&format!("{}.{}", card.group(), card.level.letter()));
    let _ = write!(
        out,
        "  <testcase classname=\"{class}\" name=\"{name}\" time=\"{}\">",
        seconds(card.millis)
    );
    let remark = escape(card.remark.as_deref().unwrap_or_default());
    match card.outcome {
        Outcome::Failed => {
            let transcript = escape(card.transcript.as_deref().unwrap_or_default());
            let _ = write!(out, "<failure message=\"{remark}\">{transcript}</failure>");
        }
        Outcome::NotOffered | Outcome::NotRun => {
            let _ = write!(out, "<skipped message=\"{}: {remark}\"/>", card.outcome.word());
        }
        Outcome::Passed | Outcome::Recorded => {
            let _ = write!(out, "<system-out>{remark}</system-out>");
        }
    }
    out.push_str("</testcase>\n");
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// XML text: what has a meaning in markup is escaped, what XML cannot hold is left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(letter),
            other if other.is_control() => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{junit, text};
    use crate::{
        check::{Level, Outcome},
        scorecard::tests::{card, scorecard},
    };

    #[test]
    fn failures_come_first_and_colours_only_when_asked() {
        let scorecard = scorecard(vec![
            card("A-01", Level::Normative, Outcome::Passed),
            card("A-04", Level::DeFacto, Outcome::Failed),
        ]);
        let plain = text(&scorecard, false, true);
        assert!(plain.starts_with("FAILED A-04 (S)") && plain.contains(">> x") && !plain.contains('\x1b'));
        assert!(text(&scorecard, true, true).contains('\x1b'));
    }

    #[test]
    fn junit_is_escaped() {
        let xml = junit(&scorecard(vec![card("A-04", Level::DeFacto, Outcome::Failed)]));
        assert!(xml.contains("failures=\"1\"") && xml.contains("because &lt;of&gt; &quot;this&quot;"));
    }
}
