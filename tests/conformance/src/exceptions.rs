//! Checks that a target is known not to pass, each with its reason: what a project commits beside its own tracker.

use crate::{
    check::{Level, Outcome},
    checks,
    scorecard::{Card, Scorecard},
};

/// A list of exceptions: on each line an ID and the reason; `#` begins a comment line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exceptions(Vec<(String, String)>);

impl Exceptions {
    /// Reads a list.
    ///
    /// # Errors
    /// The number of the line that names no check or no reason.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).enumerate();
        let entries = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let read = |(number, line): (usize, &str)| {
            let (id, reason) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let check =
                checks::find(id).ok_or_else(|| format!("line {}: there is no check `{id}`", number + 1))?;
            let reason = reason.trim();
            if reason.is_empty() {
                return Err(format!("line {}: {id} has no reason", number + 1));
            }
            Ok((check.id.to_owned(), reason.to_owned()))
        };
        entries.map(read).collect::<Result<_, _>>().map(Self)
    }

    /// What a scorecard shows against this list, a line each: M, S and H checks that did not pass and are not
    /// in it, and checks in it that passed.
    #[must_use]
    pub fn against(&self, scorecard: &Scorecard) -> Vec<String> {
        scorecard
            .cards
            .iter()
            .filter_map(|card| self.surprise(card))
            .collect()
    }

    fn surprise(&self, card: &Card) -> Option<String> {
        let id = &card.id;
        let excepted = self.0.iter().any(|(known, _)| known == id);
        let remark = card.remark.as_deref().unwrap_or_default();
        match (card.outcome, excepted) {
            (Outcome::Passed, true) => Some(format!("{id} passed, but is listed as an exception")),
            (Outcome::Failed | Outcome::NotOffered | Outcome::NotRun, false)
                if card.level != Level::Policy =>
            {
                Some(format!(
                    "{id} {}, and is not listed as an exception: {remark}",
                    card.outcome.word()
                ))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exceptions;
    use crate::{
        check::{Level, Outcome},
        scorecard::tests::{card, scorecard},
    };

    #[test]
    fn lists_need_ids_and_reasons() {
        assert!(Exceptions::parse("# none\n\nA-01 it is a choice\n").is_ok());
        assert_eq!(
            Exceptions::parse("A-01").unwrap_err(),
            "line 1: A-01 has no reason"
        );
        assert!(
            Exceptions::parse("# \nZ-99 because")
                .unwrap_err()
                .starts_with("line 2")
        );
    }

    #[test]
    fn surprises_go_both_ways() {
        let list = Exceptions::parse("A-04 a choice\nA-05 a choice").unwrap();
        let scorecard = scorecard(vec![
            card("A-01", Level::Normative, Outcome::Passed),
            card("A-02", Level::Normative, Outcome::NotRun),
            card("A-04", Level::DeFacto, Outcome::Failed),
            card("A-05", Level::Normative, Outcome::Passed),
            card("A-12", Level::Policy, Outcome::NotRun),
        ]);
        let surprises = list.against(&scorecard);
        assert_eq!(surprises.len(), 2, "{surprises:?}");
        assert!(surprises[0].starts_with("A-02 not run") && surprises[1].starts_with("A-05 passed"));
    }
}
