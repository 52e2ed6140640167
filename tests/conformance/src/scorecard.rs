//! What a run found, and its form in JSON.

use crate::{
    check::{Level, Outcome},
    checks,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What came of one check.
#[derive(Clone, Debug)]
pub struct Card {
    /// The check's ID.
    pub id: String,
    /// Its level.
    pub level: Level,
    /// The outcome.
    pub outcome: Outcome,
    /// Why it failed or was not run, or what was recorded.
    pub remark: Option<String>,
    /// What went over the wire, of failed checks.
    pub transcript: Option<String>,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

impl Card {
    /// The group of the check.
    #[must_use]
    pub fn group(&self) -> &str {
        self.id.split('-').next().unwrap_or_default()
    }
}

/// Counts by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<Outcome, usize>);

impl Totals {
    /// Counts cards.
    pub fn of<'a>(cards: impl IntoIterator<Item = &'a Card>) -> Self {
        let mut totals = Self::default();
        for card in cards {
            *totals.0.entry(card.outcome).or_default() += 1;
        }
        totals
    }

    /// How many have an outcome.
    #[must_use]
    pub fn get(&self, outcome: Outcome) -> usize {
        self.0.get(&outcome).copied().unwrap_or_default()
    }
}

/// All that a run found, in the order of the catalogue.
#[derive(Clone, Debug)]
pub struct Scorecard {
    /// The caller's name for the target.
    pub name: String,
    /// The URLs, by option.
    pub targets: Vec<(String, String)>,
    /// Seconds since the Unix epoch at the start of the run.
    pub time: u64,
    /// How long the run took, in milliseconds.
    pub millis: u64,
    /// Whether the checks that wait were run.
    pub slow: bool,
    /// The checks.
    pub cards: Vec<Card>,
}

impl Scorecard {
    /// The counts of the whole run.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::of(&self.cards)
    }

    /// The failed checks.
    pub fn failures(&self) -> impl Iterator<Item = &Card> {
        self.cards.iter().filter(|card| card.outcome == Outcome::Failed)
    }

    /// The card of a check.
    #[must_use]
    pub fn card(&self, id: &str) -> Option<&Card> {
        self.cards.iter().find(|card| card.id == id)
    }

    /// The exit status: 1 when a normative check failed, and when nothing could be run; else 0.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        let totals = self.totals();
        let ran = [Outcome::Passed, Outcome::Failed, Outcome::Recorded].map(|outcome| totals.get(outcome));
        let broken = self.failures().any(|card| card.level == Level::Normative);
        u8::from(broken || ran.iter().sum::<usize>() == 0)
    }

    /// The scorecard in its documented JSON form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let totals = self.totals();
        let count: serde_json::Map<String, Value> = Outcome::ALL
            .into_iter()
            .map(|outcome| (key(outcome), json!(totals.get(outcome))))
            .collect();
        let targets: serde_json::Map<String, Value> = self
            .targets
            .iter()
            .map(|(option, url)| (option.clone(), json!(url)))
            .collect();
        json!({
            "format": FORMAT,
            "suite": env!("CARGO_PKG_VERSION"),
            "name": self.name,
            "targets": targets,
            "time": self.time,
            "milliseconds": self.millis,
            "slow": self.slow,
            "totals": count,
            "checks": self.cards.iter().map(card_json).collect::<Vec<_>>(),
        })
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// A line that says what is missing or of another format.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        if value["format"] != FORMAT {
            return Err(format!("not a scorecard of format {FORMAT}"));
        }
        let cards = value["checks"].as_array().ok_or("`checks` is missing")?;
        let targets = value["targets"].as_object().ok_or("`targets` is missing")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Self {
            name: text(&value["name"]),
            targets: targets
                .iter()
                .map(|(option, url)| (option.clone(), text(url)))
                .collect(),
            time: value["time"].as_u64().unwrap_or_default(),
            millis: value["milliseconds"].as_u64().unwrap_or_default(),
            slow: value["slow"].as_bool().unwrap_or_default(),
            cards: cards.iter().map(card_from_json).collect::<Result<_, _>>()?,
        })
    }
}

fn key(outcome: Outcome) -> String {
    outcome.word().replace(' ', "_")
}

fn card_json(card: &Card) -> Value {
    let check = checks::find(&card.id);
    json!({
        "id": card.id,
        "level": card.level.letter(),
        "group": card.group(),
        "source": check.map(|check| check.source),
        "title": check.map(|check| check.title),
        "outcome": key(card.outcome),
        "remark": card.remark,
        "transcript": card.transcript,
        "milliseconds": card.millis,
    })
}

fn card_from_json(value: &Value) -> Result<Card, String> {
    let id = value["id"].as_str().ok_or("a check without `id`")?;
    let level = value["level"]
        .as_str()
        .and_then(Level::from_letter)
        .ok_or_else(|| format!("{id}: bad `level`"))?;
    let outcome = value["outcome"].as_str().unwrap_or_default().replace('_', " ");
    let outcome = Outcome::from_word(&outcome).ok_or_else(|| format!("{id}: bad `outcome`"))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(Card {
        id: id.to_owned(),
        level,
        outcome,
        remark: text(&value["remark"]),
        transcript: text(&value["transcript"]),
        millis: value["milliseconds"].as_u64().unwrap_or_default(),
    })
}

const FORMAT: &str = "etracker-conformance/1";

#[cfg(test)]
pub(crate) mod tests {
    use super::{Card, Scorecard};
    use crate::check::{Level, Outcome};

    pub(crate) fn card(id: &str, level: Level, outcome: Outcome) -> Card {
        let remark = Some("because <of> \"this\"".to_owned());
        Card {
            id: id.to_owned(),
            level,
            outcome,
            remark,
            transcript: Some(">> x".to_owned()),
            millis: 5,
        }
    }

    pub(crate) fn scorecard(cards: Vec<Card>) -> Scorecard {
        let targets = vec![("http".to_owned(), "http://127.0.0.1:1/announce".to_owned())];
        Scorecard {
            name: "one".to_owned(),
            targets,
            time: 1,
            millis: 2,
            slow: false,
            cards,
        }
    }

    #[test]
    fn json_round_trips() {
        let before = scorecard(vec![card("A-01", Level::Normative, Outcome::NotOffered)]);
        let after = Scorecard::from_json(&before.to_json()).unwrap();
        assert_eq!(before.to_json(), after.to_json());
        assert!(Scorecard::from_json(&serde_json::json!({"format": "other"})).is_err());
    }

    #[test]
    fn only_normative_failures_and_empty_runs_are_fatal() {
        let status = |cards| scorecard(cards).exit_status();
        assert_eq!(status(vec![]), 1);
        assert_eq!(status(vec![card("A-01", Level::Normative, Outcome::NotRun)]), 1);
        assert_eq!(status(vec![card("A-01", Level::Normative, Outcome::Failed)]), 1);
        assert_eq!(status(vec![card("A-04", Level::DeFacto, Outcome::Failed)]), 0);
        assert_eq!(status(vec![card("A-01", Level::Normative, Outcome::Passed)]), 0);
    }
}
