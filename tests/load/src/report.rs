//! What is printed: for people, and for documents.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Write as _};

use crate::round::{LATENCIES, Round};
use crate::stats::Spread;

/// The rounds of one server.
pub(crate) struct Row {
    name: String,
    pub(crate) rounds: Vec<Round>,
}

impl Row {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            rounds: Vec::new(),
        }
    }

    /// Answers came, and none was wrong or refused.
    pub(crate) fn is_right(&self) -> bool {
        self.rounds.iter().all(|round| {
            let tally = &round.tally;
            tally.announces > 0 && tally.wrong == 0 && tally.refused == 0
        })
    }

    fn is_paced(&self) -> bool {
        self.rounds.iter().any(|round| !round.latencies_us.is_empty())
    }

    /// As far as its processor time is known.
    fn is_busy(&self) -> bool {
        self.spread(Round::cpu_share)
            .is_none_or(|share| share.median >= BUSY)
    }

    /// Ratios to the rounds of another, each to the one beside it.
    fn ratios(&self, other: &Self) -> Option<Spread> {
        let ratio =
            |(round, other): (&Round, &Round)| Some(round.per_cpu_second()? / other.per_cpu_second()?);
        Spread::of(self.rounds.iter().zip(&other.rounds).filter_map(ratio))
    }

    fn spread(&self, figure: impl Fn(&Round) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(figure))
    }

    fn sum(&self, count: impl Fn(&Round) -> u64) -> u64 {
        self.rounds.iter().map(count).sum()
    }

    fn complaint(&self) -> Option<String> {
        let complaint = self
            .rounds
            .iter()
            .find_map(|round| round.tally.complaint.as_ref())?;
        let wrong = self.sum(|round| round.tally.wrong);
        let refused = self.sum(|round| round.tally.refused);
        Some(format!(
            "\n!!! {}: {wrong} wrong, {refused} refused; {complaint}\n",
            self.name
        ))
    }
}

/// A Markdown table: ratios to the first row first.
pub(crate) fn table(rows: &[Row]) -> String {
    let Some(first) = rows.first() else {
        return String::new();
    };
    let is_paced = rows.iter().any(Row::is_paced);
    let mut out = String::new();
    for row in rows {
        let (heads, cells): (Vec<_>, Vec<_>) = cells(row, first, is_paced).into_iter().unzip();
        if out.is_empty() {
            out = format!(
                "| | {} |\n|---|{}\n",
                heads.join(" | "),
                "---|".repeat(heads.len())
            );
        }
        // Writing to memory does not fail.
        let _ = writeln!(out, "| {} | {} |", row.name, cells.join(" | "));
    }
    if !is_paced && !rows.iter().all(Row::is_busy) {
        out += NOT_BUSY;
    }
    out.extend(rows.iter().filter_map(Row::complaint));
    out
}

/// A line of the table, with what stands above each cell.
fn cells(row: &Row, first: &Row, is_paced: bool) -> Vec<(String, String)> {
    let median = |figure: fn(&Round) -> Option<f64>, digits| {
        row.spread(figure)
            .map_or_else(unknown, |Spread { median, .. }| format!("{median:.digits$}"))
    };
    let mark = if is_paced || row.is_busy() { "" } else { " †" };
    let of_cpu = row.spread(Round::per_cpu_second);
    let mut cells = vec![
        ("ratio (min..max)".to_owned(), shown(row.ratios(first), 2) + mark),
        ("responses per CPU-second (min..max)".to_owned(), shown(of_cpu, 0)),
        (
            "µs CPU each".to_owned(),
            median(|round| Some(1e6 / round.per_cpu_second()?), 2),
        ),
        (
            "responses/s".to_owned(),
            median(|round| Some(round.per_second()), 0),
        ),
        ("CPU".to_owned(), median(Round::cpu_share, 2)),
    ];
    if is_paced {
        for (number, (name, _)) in LATENCIES.iter().enumerate() {
            let latency = |round: &Round| round.latencies_us.get(number).map(|&us| f64::from(us));
            cells.push((format!("{name} µs (min..max)"), shown(row.spread(latency), 0)));
        }
        let late = median(|round| round.late_us.map(f64::from), 0);
        cells.push(("asked late, p99.9 µs".to_owned(), late));
    }
    let peers = median(|round| Some(round.tally.peers_per_announce()), 2);
    let resumed = row.sum(|round| round.tally.resumed);
    if resumed > 0 {
        cells.push(("resumed".to_owned(), resumed.to_string()));
    }
    let mib = row.rounds.iter().filter_map(|round| Some(round.server?.1)).max();
    cells.extend([
        ("peers per announce".to_owned(), peers),
        ("lost".to_owned(), row.sum(|round| round.tally.lost).to_string()),
        ("resident MiB".to_owned(), mib.unwrap_or_default().to_string()),
    ]);
    cells
}

fn shown(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(unknown, |Spread { median, min, max }| {
        format!("{median:.digits$} ({min:.digits$}..{max:.digits$})")
    })
}

fn unknown() -> String {
    "-".to_owned()
}

/// What one round gave, in a line for each thing.
impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        writeln!(
            f,
            "sent {}, answered {}, lost {}: connects {}, announces {}, scrapes {}, refused {}, wrong {}, late {}",
            tally.sent,
            tally.answered(),
            tally.lost,
            tally.connects,
            tally.announces,
            tally.scrapes,
            tally.refused,
            tally.wrong,
            tally.late
        )?;
        write!(
            f,
            "{:.0} responses/s, {:.2} peers per announce",
            self.per_second(),
            tally.peers_per_announce()
        )?;
        write!(f, ", {} announces looked at closely", tally.looked_at)?;
        if tally.resumed > 0 {
            write!(f, ", {} handshakes resumed", tally.resumed)?;
        }
        for ((name, _), us) in LATENCIES.iter().zip(&self.latencies_us) {
            write!(f, ", {name} {us} µs")?;
        }
        if let Some(late_us) = self.late_us {
            write!(f, ", asked late by {late_us} µs at p99.9")?;
        }
        if let (Some((cpu, mib)), Some(of_cpu)) = (self.server, self.per_cpu_second()) {
            let (user, system) = (cpu.user_secs, cpu.system_secs);
            write!(
                f,
                "\n{of_cpu:.0} responses per CPU-second, {:.2} µs each",
                1e6 / of_cpu
            )?;
            write!(
                f,
                "; {user:.2} s user and {system:.2} s system in {:.2} s; {mib} MiB resident",
                self.secs
            )?;
        }
        match &tally.complaint {
            Some(complaint) => write!(f, "\n!!! {complaint}"),
            None => Ok(()),
        }
    }
}

/// The day, and what this machine is.
pub(crate) fn machine() -> String {
    let day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown", |(_, model)| model.trim());
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let online = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count()
        .max(count);
    format!(
        "{day}, {model}, {online} processors, Linux {}",
        read("/proc/sys/kernel/osrelease").trim()
    )
}

/// Prints a line. A reader that went away is no error: what is measured is still written to where it belongs.
pub(crate) fn say(what: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{what}");
}

/// Prints a line about what went wrong.
pub(crate) fn complain(what: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "etracker-load: {what}");
}

/// The share of a processor from which on a server counts as busy, and its figure as its own.
const BUSY: f64 = 0.9;
const NOT_BUSY: &str =
    "\n† Not busy, its CPU is below 0.9: the load was the limit, and ratios from or to it say little.\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::CpuTime;
    use crate::tally::Tally;

    /// A round of two seconds.
    fn round(answers: u64, cpu_secs: f64, latencies_us: &[u32]) -> Round {
        let cpu = CpuTime {
            total_secs: cpu_secs,
            ..CpuTime::default()
        };
        Round {
            tally: Tally {
                sent: answers,
                announces: answers,
                peers: answers * 2,
                ..Tally::default()
            },
            secs: 2.0,
            answered: answers,
            server: Some((cpu, 7)),
            latencies_us: latencies_us.to_vec(),
            late_us: latencies_us.first().copied(),
        }
    }

    fn row(name: &str, rounds: Vec<Round>) -> Row {
        Row {
            rounds,
            ..Row::new(name)
        }
    }

    #[test]
    fn a_table_gives_ratios_to_its_first_row_round_by_round() {
        let first = row(
            "first",
            [4000, 8000, 6000].map(|answers| round(answers, 2.0, &[])).into(),
        );
        let second = row(
            "second",
            [8000, 12000, 6000].map(|answers| round(answers, 2.0, &[])).into(),
        );
        let table = table(&[first, second]);
        assert!(
            table.contains(
                "| first | 1.00 (1.00..1.00) | 3000 (2000..4000) | 333.33 | 3000 | 1.00 | 2.00 | 0 | 7 |"
            ),
            "{table}"
        );
        assert!(
            table.contains("| second | 1.50 (1.00..2.00) | 4000 (3000..6000) | 250.00 |"),
            "{table}"
        );
        let columns: Vec<_> = table.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(columns, [10; 4]);
    }

    #[test]
    fn a_server_that_was_not_busy_is_marked() {
        let rows = |cpu_secs| [row("one", vec![round(1000, cpu_secs, &[])])];
        assert!(!table(&rows(1.8)).contains('†'));
        let table = table(&rows(1.7));
        assert!(
            table.contains("| one | 1.00 (1.00..1.00) † |") && table.contains("\n\n† Not busy"),
            "{table}"
        );
    }

    #[test]
    fn latencies_stand_where_requests_are_paced() {
        let table = table(&[row("paced", vec![round(1000, 0.5, &[1, 2, 3, 4])])]);
        let latencies = "| 0.25 | 1 (1..1) | 2 (2..2) | 3 (3..3) | 4 (4..4) | 1 |";
        assert!(table.contains(latencies) && !table.contains('†'), "{table}");
        assert!(
            table.lines().all(|line| line.matches('|').count() == 15),
            "{table}"
        );
    }

    #[test]
    fn what_is_wrong_is_said_aloud() {
        let mut bad = round(1000, 2.0, &[]);
        (bad.tally.wrong, bad.tally.complaint) = (3, Some("a peer twice".to_owned()));
        let row = row("bad", vec![bad]);
        assert!(!row.is_right());
        assert!(table(&[row]).contains("!!! bad: 3 wrong, 0 refused; a peer twice"));
    }
}
