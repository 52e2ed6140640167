//! What is printed: for people, and for documents.
#![expect(clippy::print_stdout, reason = "this is what the command is for")]

use std::fmt::{self, Write as _};
use std::fs;

use crate::round::Round;
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

    fn spread(&self, figure: impl Fn(&Round) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(figure))
    }

    fn sum(&self, count: impl Fn(&Round) -> u64) -> u64 {
        self.rounds.iter().map(count).sum()
    }
}

/// A Markdown table: ratios to the first row first.
pub(crate) fn table(rows: &[Row]) -> String {
    let of_cpu = |row: &Row| row.spread(Round::per_cpu_second);
    let baseline = rows.first().and_then(of_cpu).map(|spread| spread.median);
    let is_paced = rows
        .iter()
        .flat_map(|row| &row.rounds)
        .any(|round| round.p50_us.is_some());
    let mut out =
        String::from("| | ratio | responses per CPU-second (min..max) | µs CPU each | responses/s | CPU |");
    out += if is_paced {
        " p50 µs (min..max) | p99 µs (min..max) |"
    } else {
        ""
    };
    out += " peers per announce | lost | resident MiB |\n|---|---|---|---|---|---|";
    out += if is_paced {
        "---|---|---|---|---|\n"
    } else {
        "---|---|---|\n"
    };
    for row in rows {
        // Writing to memory does not fail.
        let _ = line(&mut out, row, of_cpu(row), baseline, is_paced);
    }
    for row in rows {
        for complaint in row
            .rounds
            .iter()
            .filter_map(|round| round.tally.complaint.as_ref())
            .take(1)
        {
            let (wrong, refused) = (
                row.sum(|round| round.tally.wrong),
                row.sum(|round| round.tally.refused),
            );
            let _ = writeln!(
                out,
                "\n!!! {}: {wrong} wrong, {refused} refused; {complaint}",
                row.name
            );
        }
    }
    out
}

fn line(
    out: &mut String,
    row: &Row,
    of_cpu: Option<Spread>,
    baseline: Option<f64>,
    is_paced: bool,
) -> fmt::Result {
    let median =
        |figure: fn(&Round) -> Option<f64>| row.spread(figure).map_or(f64::NAN, |spread| spread.median);
    let Spread {
        median: of_cpu,
        min,
        max,
    } = of_cpu.unwrap_or(UNKNOWN);
    let ratio = of_cpu / baseline.unwrap_or(f64::NAN);
    let each_us = 1e6 / of_cpu;
    write!(
        out,
        "| {} | {ratio:.2} | {of_cpu:.0} ({min:.0}..{max:.0}) | {each_us:.2} |",
        row.name
    )?;
    let (per_second, cpu) = (median(|round| Some(round.per_second())), median(Round::cpu_share));
    write!(out, " {per_second:.0} | {cpu:.2} |")?;
    let latencies: [fn(&Round) -> Option<f64>; 2] = [
        |round| round.p50_us.map(f64::from),
        |round| round.p99_us.map(f64::from),
    ];
    for latency in latencies.into_iter().filter(|_| is_paced) {
        let Spread { median, min, max } = row.spread(latency).unwrap_or(UNKNOWN);
        write!(out, " {median:.0} ({min:.0}..{max:.0}) |")?;
    }
    let peers = median(|round| Some(round.tally.peers_per_announce()));
    let mib = row
        .rounds
        .iter()
        .filter_map(|round| Some(round.server?.1))
        .max()
        .unwrap_or_default();
    writeln!(
        out,
        " {peers:.2} | {} | {mib} |",
        row.sum(|round| round.tally.lost)
    )
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
        if let (Some(p50), Some(p99)) = (self.p50_us, self.p99_us) {
            write!(f, ", latency p50 {p50} µs, p99 {p99} µs")?;
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

pub(crate) fn say(what: impl fmt::Display) {
    println!("{what}");
}

const UNKNOWN: Spread = Spread {
    median: f64::NAN,
    min: f64::NAN,
    max: f64::NAN,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::CpuTime;
    use crate::tally::Tally;

    fn round(answers: u64, user_secs: f64, p50_us: Option<u32>) -> Round {
        let cpu = CpuTime {
            user_secs,
            system_secs: 0.5,
        };
        Round {
            tally: Tally {
                sent: answers,
                announces: answers,
                peers: answers * 2,
                ..Tally::default()
            },
            secs: 2.0,
            server: Some((cpu, 7)),
            p50_us,
            p99_us: p50_us,
        }
    }

    fn row(name: &str, rounds: Vec<Round>) -> Row {
        Row {
            rounds,
            ..Row::new(name)
        }
    }

    #[test]
    fn a_table_gives_ratios_to_its_first_row() {
        let first = row(
            "first",
            vec![
                round(1000, 0.5, None),
                round(3000, 0.5, None),
                round(2000, 0.5, None),
            ],
        );
        let second = row("second", vec![round(3000, 0.5, None)]);
        let table = table(&[first, second]);
        assert!(
            table.contains("| first | 1.00 | 2000 (1000..3000) | 500.00 | 1000 | 0.50 | 2.00 | 0 | 7 |"),
            "{table}"
        );
        assert!(
            table.contains("| second | 1.50 | 3000 (3000..3000) | 333.33 |"),
            "{table}"
        );
        let columns: Vec<_> = table.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(columns, [10; 4]);
    }

    #[test]
    fn latencies_stand_where_requests_are_paced() {
        let table = table(&[row("paced", vec![round(1000, 0.5, Some(40))])]);
        assert!(table.contains("| 40 (40..40) | 40 (40..40) |"), "{table}");
        assert!(table.lines().all(|line| line.matches('|').count() == 12));
    }

    #[test]
    fn what_is_wrong_is_said_aloud() {
        let mut bad = round(1000, 0.5, None);
        (bad.tally.wrong, bad.tally.complaint) = (3, Some("a peer twice".to_owned()));
        let row = row("bad", vec![bad]);
        assert!(!row.is_right());
        assert!(table(&[row]).contains("!!! bad: 3 wrong, 0 refused; a peer twice"));
    }
}
