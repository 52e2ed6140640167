//! What came of an attack on one server, and its lines of the table.

use std::fmt::Write as _;

use etracker_core::announce::Counts;

use super::honest::{Outcome, Phase};
use crate::stats::Spread;

/// What has to hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bars {
    /// Percent of the proven requests of honest clients that are answered in each phase.
    pub(crate) answered_min: f64,
    /// MiB that a tracker's processes have resident, all together.
    pub(crate) resident_max: Option<u64>,
    /// Percent of the peers handed out during and after the attack that are the attacker's.
    pub(crate) theirs_max: Option<f64>,
}

/// One server, and what came of all rounds.
#[derive(Debug, Default)]
pub(super) struct Row {
    name: String,
    /// Before, during and after.
    pub(super) outcomes: [Outcome; 3],
    pub(super) attack: Sum,
    /// Processor time that the server used during each attack, and honest requests that it answered then.
    pub(super) cpu_secs: Vec<f64>,
    pub(super) answered: Vec<u64>,
    /// What came of the clients behind one address.
    pub(super) restarted: Option<Outcome>,
    pub(super) stored: Stored,
    pub(super) resident_mib: u64,
    /// Processes that were started after the first ones, and that were killed for memory.
    pub(super) restarts: u64,
    pub(super) killed: u64,
    pub(super) complaint: Option<String>,
    /// Why it could not be measured, or not to the end.
    pub(super) failure: Option<String>,
}

/// What an attacker sent and got.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) secs: f64,
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    pub(super) answered: u64,
    pub(super) answered_bytes: u64,
}

/// Torrents of honest clients that were stored before, and how many of them are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    torrents: u64,
    lost: u64,
    /// Those with one seeder and nobody else.
    alone: u64,
    alone_lost: u64,
}

impl Stored {
    pub(super) fn of(before: &[Counts], after: &[Counts]) -> Self {
        let mut stored = Self::default();
        for (before, after) in before.iter().zip(after) {
            let is_there = |counts: &Counts| counts.complete > 0 || counts.incomplete > 0;
            let is_alone = (before.complete, before.incomplete) == (1, 0);
            let is_lost = is_there(before) && !is_there(after);
            stored.torrents += u64::from(is_there(before));
            stored.lost += u64::from(is_lost);
            stored.alone += u64::from(is_alone);
            stored.alone_lost += u64::from(is_alone && is_lost);
        }
        stored
    }

    pub(super) const fn add(&mut self, other: &Self) {
        self.torrents += other.torrents;
        self.lost += other.lost;
        self.alone += other.alone;
        self.alone_lost += other.alone_lost;
    }
}

impl Row {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// What does not hold.
    pub(super) fn failures(&mut self, bars: &Bars) -> Vec<String> {
        let mut failures: Vec<String> = self.failure.take().into_iter().collect();
        for (outcome, (_, phase)) in self.outcomes.iter().zip(Phase::MEASURED) {
            let answered = 100.0 - percent(outcome.proven_lost, outcome.proven);
            if outcome.proven > 0 && answered < bars.answered_min {
                failures.push(format!(
                    "{phase}: {answered:.1} % of proven requests were answered"
                ));
            }
        }
        for (outcome, (_, phase)) in self.outcomes.iter().zip(Phase::MEASURED).skip(1) {
            let theirs = percent(outcome.theirs, outcome.peers);
            if bars.theirs_max.is_some_and(|max| theirs > max) {
                failures.push(format!(
                    "{phase}: {theirs:.1} % of the peers handed out are the attacker's"
                ));
            }
        }
        if bars.resident_max.is_some_and(|max| self.resident_mib > max) {
            failures.push(format!("{} MiB were resident", self.resident_mib));
        }
        failures
            .iter()
            .map(|failure| format!("{}: {failure}", self.name))
            .collect()
    }

    /// Honest requests that were answered for each second of processor time, round by round.
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    fn per_cpu_second(&self) -> Vec<f64> {
        let rounds = self.answered.iter().zip(&self.cpu_secs);
        rounds.map(|(&answered, secs)| answered as f64 / secs).collect()
    }

    fn lines(&mut self, out: &mut String) {
        let Sum {
            secs,
            sent,
            sent_bytes,
            answered,
            answered_bytes,
        } = self.attack;
        for (number, (_, phase)) in Phase::MEASURED.iter().enumerate() {
            // The attack has its figures in the line of its phase.
            let attack = if *phase == "during" {
                format!(
                    "{} | {} | {}",
                    per_second(sent, secs),
                    per_second(answered, secs),
                    ratio(answered_bytes, sent_bytes)
                )
            } else {
                "- | - | -".to_owned()
            };
            let outcome = &mut self.outcomes[number];
            // Writing to memory does not fail.
            let _ = writeln!(out, "| {} | {phase} | {} | {attack} |", self.name, cells(outcome));
        }
    }

    fn remarks(&mut self, first: &[f64], out: &mut String) {
        let Stored {
            torrents,
            lost,
            alone,
            alone_lost,
        } = self.stored;
        let _ = write!(
            out,
            "\n- {}: at most {} MiB resident; stored torrents lost {lost} of {torrents}, with a lone seeder {alone_lost} of \
             {alone}; restarts {}, killed {}",
            self.name, self.resident_mib, self.restarts, self.killed
        );
        let per_second = self.per_cpu_second();
        let ratios = per_second.iter().zip(first).map(|(this, first)| this / first);
        if let (Some(figure), Some(ratio)) = (Spread::of(per_second.iter().copied()), Spread::of(ratios)) {
            let _ = write!(
                out,
                "; honest answers for each CPU-second {:.0}, {:.3} ({:.3}..{:.3}) of the first server's",
                figure.median, ratio.median, ratio.min, ratio.max
            );
        }
        if let Some(restarted) = &mut self.restarted {
            let p95 = shown(restarted.millis(0.95), 1);
            let _ = write!(
                out,
                "; behind one address: {} announces, lost {}, refused {}, without peers {}, p95 {p95} ms",
                restarted.asked, restarted.lost, restarted.refused, restarted.empty,
            );
        }
        if let Some(complaint) = &self.complaint {
            let _ = write!(out, "; refused first: {complaint}");
        }
        if let Some(failure) = &self.failure {
            let _ = write!(out, "; !!! {failure}");
        }
    }
}

/// A Markdown table, and remarks below it.
pub(super) fn table(rows: &mut [Row], count: Option<u64>) -> String {
    let mut out = String::from(
        "| | | asked | lost % | of these with an id: lost % | refused % | without peers % | p50 ms | p95 ms | p99 ms | the \
         attacker's of the peers handed out % | attack/s | answered/s | bytes back for each |\n",
    );
    out += "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    for row in rows.iter_mut() {
        row.lines(&mut out);
    }
    let first = rows.first().map(Row::per_cpu_second).unwrap_or_default();
    for row in rows.iter_mut() {
        row.remarks(&first, &mut out);
    }
    if let Some(count) = count {
        let _ = write!(out, "\n\nThe attack ends after {count} datagrams.");
    }
    out
}

fn cells(outcome: &mut Outcome) -> String {
    let latencies = [0.5, 0.95, 0.99]
        .map(|share| shown(outcome.millis(share), 1))
        .join(" | ");
    format!(
        "{} | {:.2} | {:.2} | {:.2} | {:.2} | {latencies} | {:.1}",
        outcome.asked,
        percent(outcome.lost, outcome.asked),
        percent(outcome.proven_lost, outcome.proven),
        percent(outcome.refused, outcome.asked),
        percent(outcome.empty, outcome.announced),
        percent(outcome.theirs, outcome.peers),
    )
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn per_second(count: u64, secs: f64) -> String {
    format!("{:.0}", count as f64 / secs.max(f64::MIN_POSITIVE))
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn ratio(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.2}", part as f64 / whole as f64)
}

fn shown(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(complete: u32, incomplete: u32) -> Counts {
        Counts {
            complete,
            downloaded: 0,
            incomplete,
        }
    }

    #[test]
    fn torrents_that_were_there_and_are_gone_are_lost() {
        let before = [counts(1, 0), counts(1, 0), counts(0, 3), counts(0, 0)];
        let after = [counts(1, 0), counts(0, 0), counts(0, 2), counts(0, 1)];
        let stored = Stored {
            torrents: 3,
            lost: 1,
            alone: 2,
            alone_lost: 1,
        };
        assert_eq!(Stored::of(&before, &after), stored);
    }

    #[test]
    fn bars_that_are_not_held_are_told() {
        let mut row = Row::new("it");
        row.resident_mib = 9;
        row.outcomes[1] = Outcome {
            proven: 10,
            proven_lost: 2,
            peers: 4,
            theirs: 2,
            ..Outcome::default()
        };
        assert_eq!(row.failures(&Bars::default()), Vec::<String>::new());
        let bars = Bars {
            answered_min: 90.0,
            resident_max: Some(8),
            theirs_max: Some(25.0),
        };
        assert_eq!(
            row.failures(&bars),
            [
                "it: during: 80.0 % of proven requests were answered",
                "it: during: 50.0 % of the peers handed out are the attacker's",
                "it: 9 MiB were resident"
            ]
        );
    }
}
