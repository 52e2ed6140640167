//! The memory of swarms, as a table: `cargo bench -p etracker-core --bench swarm_memory`.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

#[expect(dead_code, reason = "each bench uses its part")]
mod common;

use common::Population;
use common::sys::{Counting, live_bytes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TURNOVERS: usize = 10;

/// Each row is measured in a process of its own, so that none finds memory that another has left behind.
fn main() {
    let row = std::env::args().nth(1);
    if let Some(row) = row.as_deref().and_then(|row| row.strip_prefix("row=")) {
        return print_row(row);
    }
    println!("| population | ids | live MB | B/torrent | B/peer | resident MB | by its own account MB |");
    println!("|---|---|---|---|---|---|---|");
    for ids in ["no", "yes"] {
        for name in ["1M x 1", "2M/7M", "1 x 1M"] {
            run(&format!("row={ids} {name}"));
        }
    }
    run("row=turned over");
}

fn run(row: &str) {
    let this = std::env::current_exe().expect("the path of this bench");
    let status = std::process::Command::new(this).arg(row).status();
    assert!(status.is_ok_and(|status| status.success()), "{row}");
}

fn print_row(row: &str) {
    let ids = row.starts_with("yes");
    match row.trim_start_matches(if ids { "yes " } else { "no " }) {
        name @ "1M x 1" => measure(Population::even(name, 1_000_000, 1, ids), ids),
        name @ "2M/7M" => measure(Population::zipf(name, 2_000_000, 7_000_000, ids), ids),
        name @ "1 x 1M" => measure(Population::even(name, 1, 1_000_000, ids), ids),
        _ => turn_over(),
    }
}

fn measure(mut population: Population<'_>, ids: bool) {
    let (live_before, resident_before) = (live_bytes(), resident_bytes());
    population.fill();
    let live = live_bytes() - live_before;
    let resident = resident_bytes().saturating_sub(resident_before);
    let (torrents, peers) = (population.torrents, population.peers());
    let totals = population.swarms.totals();
    assert_eq!((totals.torrents, totals.peers()), (torrents as u64, peers as u64));
    println!(
        "| {} | {} | {:.1} | {:.1} | {:.2} | {:.1} | {:.1} |",
        population.name,
        if ids { "yes" } else { "no" },
        mega(live),
        share(live, torrents),
        share(live, peers),
        mega(resident),
        mega(population.swarms.accounted_bytes())
    );
}

/// Every peer leaves and another comes, again and again.
fn turn_over() {
    let mut population = Population::zipf("500k/1.75M", 500_000, 1_750_000, false);
    let (live_before, resident_before) = (live_bytes(), resident_bytes());
    population.fill();
    println!(
        "\n| {}, turned over | live MB | resident MB | by its own account MB |\n|---|---|---|---|",
        population.name
    );
    for times in 0..=TURNOVERS {
        let (live, resident) = (
            live_bytes() - live_before,
            resident_bytes().saturating_sub(resident_before),
        );
        let account = population.swarms.accounted_bytes();
        println!(
            "| {times} times | {:.1} | {:.1} | {:.1} |",
            mega(live),
            mega(resident),
            mega(account)
        );
        population.turn_over();
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with few digits")]
fn mega(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "shown with few digits")]
fn share(bytes: usize, of: usize) -> f64 {
    bytes as f64 / of as f64
}

/// Resident memory of this process; 0 where the system does not tell in Linux's way.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|line| line.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
