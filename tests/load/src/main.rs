//! Measures trackers.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "etracker-load takes what it measures from /proc, and batches from recvmmsg: it is for Linux alone"
);

use std::process::ExitCode;

use bpaf::ParseFailure;

use etracker_runtime_common::Plain;

use crate::attack::{Attack, Bars};
use crate::compare::{Comparison, compare};
use crate::fairness::Fairness;
use crate::options::{Assault, Few, Many, One, Options, Peers, options};
use crate::population::Population;
use crate::process::pin;
use crate::quota::Limits;
use crate::report::{Row, complain, say, table};
use crate::round::{Load, Protocol};
use crate::tls::Handshake;

mod attack;
mod compare;
mod drive;
mod fairness;
mod floor;
mod http;
mod idle;
mod options;
mod population;
mod process;
mod quota;
mod report;
mod round;
mod stats;
mod sys;
mod tally;
mod tls;
mod udp;

fn main() -> ExitCode {
    let options = match options().run_inner(bpaf::Args::current_args()) {
        Ok(options) => options,
        Err(ParseFailure::Stdout(text, full)) => {
            say(text.monochrome(full).trim_end());
            return ExitCode::SUCCESS;
        }
        Err(ParseFailure::Completion(text)) => {
            say(text);
            return ExitCode::SUCCESS;
        }
        Err(ParseFailure::Stderr(text)) => {
            complain(text.monochrome(true));
            return ExitCode::FAILURE;
        }
    };
    let done = match options {
        Options::Udp(one) => measure(Protocol::Udp, &one),
        Options::Http(one) => measure(Protocol::Http, &one),
        Options::HttpClose(one) => measure(Protocol::HttpClose, &one),
        Options::Https(one) => measure(Protocol::Https, &one),
        Options::HttpsFull(one) => measure(Protocol::HttpsClose(Handshake::Full13), &one),
        Options::HttpsFull12(one) => measure(Protocol::HttpsClose(Handshake::Full12), &one),
        Options::HttpsResumed12(one) => measure(Protocol::HttpsClose(Handshake::Resumed12), &one),
        Options::Idle(idle) => match idle::measure(&idle) {
            Ok(()) => Ok(true),
            Err(error) => Err(format!("{}: {}", idle.target, Plain(&error))),
        },
        Options::Compare(many) => measure_all(&many),
        Options::Fairness(few) => measure_fairness(&few),
        Options::Attack(assault) => measure_attack(&assault),
        Options::Floor { bind } => match floor::serve(bind) {
            Err(error) => Err(Plain(&error).to_string()),
        },
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            complain("not all answers are right");
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

/// Measures one tracker that runs already. Whether all answers were right.
fn measure(protocol: Protocol, one: &One) -> Result<bool, String> {
    if let Some(cpu) = one.cpu {
        pin(Some(cpu)).map_err(|error| Plain(&error).to_string())?;
    }
    let population = population(&one.peers)?;
    let at = |error| format!("{}: {}", one.target, Plain(&error));
    let mut load = Load::new(protocol, one.target, &population).map_err(at)?;
    if !one.filled {
        let tally = load.fill().map_err(at)?;
        say(format_args!(
            "filled: sent {}, answered {}, lost {}",
            tally.sent,
            tally.answered(),
            tally.lost
        ));
    }
    let mut row = Row::new(&one.target.to_string());
    for _ in 0..one.rounds {
        let round = load.round(one.seconds, one.rate, one.pid).map_err(at)?;
        say(&round);
        row.rounds.push(round);
    }
    let is_right = row.is_right();
    say(format_args!("\n{}", table(&[row])));
    Ok(is_right)
}

fn measure_all(many: &Many) -> Result<bool, String> {
    compare(&Comparison {
        protocol: many.protocol,
        servers: &many.servers,
        population: &population(&many.peers)?,
        span: many.seconds,
        rounds: many.rounds,
        rates: &many.rates,
        cpus: (!many.unpinned).then_some((many.server_cpu, many.load_cpu)),
    })
}

fn measure_fairness(few: &Few) -> Result<bool, String> {
    if !matches!(few.flood, Protocol::Udp | Protocol::Http) {
        return Err("a flood is one over udp or http".to_owned());
    }
    fairness::measure(&Fairness {
        flood: few.flood,
        servers: &few.servers,
        population: &population(&few.peers)?,
        span: few.seconds,
        rounds: few.rounds,
        quota: few.quota,
        requests: few.requests,
    })
}

fn measure_attack(assault: &Assault) -> Result<bool, String> {
    let population = if assault.kind.is_poison() {
        attack::swarm()
    } else {
        Population::new(assault.torrents, assault.peers, assault.clients, 30)
    };
    attack::measure(&Attack {
        kind: assault.kind,
        servers: &assault.servers,
        only: assault.only.as_deref(),
        population: &population?,
        rate: assault.rate,
        patience: assault.patience,
        span: assault.seconds,
        rounds: assault.rounds,
        count: assault.count,
        attack_rate: assault.attack_rate,
        sources: assault.sources,
        limits: Limits {
            percent: assault.quota,
            memory: assault.memory.map(|mib| mib << 20),
        },
        bars: Bars {
            answered_min: assault.answered_min,
            resident_max: assault.resident_max,
            theirs_max: assault.theirs_max,
        },
    })
}

fn population(peers: &Peers) -> Result<Population, String> {
    Population::new(peers.torrents, peers.peers, peers.clients, peers.numwant)
}
