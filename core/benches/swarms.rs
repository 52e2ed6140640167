//! Times of the operations on swarms.
//!
//! `cargo bench -p etracker-core --bench swarms`, or with a part of a name to run some. Bytes are printed beside.

#![expect(clippy::print_stdout, reason = "bytes are printed beside times")]

#[expect(dead_code, reason = "each bench uses its part")]
mod common;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use etracker_core::announce::{Announce, Family};
use etracker_core::config::SWEEP_WORK;
use etracker_core::prefetch::Prefetch;
use etracker_core::seed::Random;
use etracker_core::swarm::{
    Handout, Member, PREFETCHED_TOGETHER, PackedPrefetched, Prepared, Swarms, SweepPosition,
};

use common::sys::{Counting, live_bytes, prefetch, processor_time};
use common::{NOW, Population, info_hash};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Requests in a batch: what a runtime receives at once at most.
const BATCH: usize = 64;
/// Batches that are made before they are timed.
const ROUND: usize = 16 * BATCH;
const NUMWANT: usize = 50;
/// Bytes of room for an answer.
const REPLY_MAX: usize = 1472;

/// One of the data sets, made when it is first needed.
struct Set {
    name: &'static str,
    make: Make,
    made: Option<Made>,
}

struct Made {
    population: Population<'static>,
    away: Vec<usize>,
    replies: Vec<u8>,
}

type Make = fn(&'static str) -> Population<'static>;

const SETS: [(&str, Make); 3] = [
    ("in cache 100k/350k", |name| {
        Population::zipf(name, 100_000, 350_000, false)
    }),
    ("zipf 2M/7M", |name| {
        Population::zipf(name, 2_000_000, 7_000_000, false)
    }),
    ("one swarm of 1M", |name| {
        Population::even(name, 1, 1_000_000, false)
    }),
];

impl Set {
    fn made(&mut self) -> &mut Made {
        self.made.get_or_insert_with(|| {
            let mut population = (self.make)(self.name);
            let before = live_bytes();
            population.fill();
            #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
            let share = |of: usize| (live_bytes() - before) as f64 / of as f64;
            println!(
                "{}: {:.1} bytes a torrent, {:.2} a peer",
                self.name,
                share(population.torrents),
                share(population.peers())
            );
            Made {
                population,
                away: Vec::new(),
                replies: vec![0; BATCH * REPLY_MAX],
            }
        })
    }
}

impl Made {
    /// Times `iterations` announces, made in rounds that are not timed.
    fn time(
        &mut self,
        iterations: u64,
        run: impl Fn(&Swarms, &mut Random, &[Announce], &mut [u8]),
    ) -> Duration {
        let mut left = usize::try_from(iterations).unwrap_or(usize::MAX);
        let mut taken = Duration::ZERO;
        while left > 0 {
            let announces = self.population.announces(left.min(ROUND), &mut self.away);
            left -= announces.len();
            let start = processor_time();
            for batch in announces.chunks(BATCH) {
                let Population { swarms, random, .. } = &mut self.population;
                run(swarms, random, batch, &mut self.replies);
            }
            taken += processor_time() - start;
        }
        taken
    }

    /// Times two threads that each carry out so many announces at once, in batches. It is time on the clock on the wall,
    /// because one that waits for a lock has no processor: on a busy machine it tells nothing.
    fn time_two_threads(&mut self, iterations: u64) -> Duration {
        let mut left = usize::try_from(iterations).unwrap_or(usize::MAX);
        let mut taken = Duration::ZERO;
        while left > 0 {
            let count = left.min(64 * ROUND);
            left -= count;
            let threads = [(); 2].map(|()| {
                let announces = self.population.announces(count, &mut self.away);
                (announces, self.population.random.fork())
            });
            let swarms = &self.population.swarms;
            #[expect(clippy::disallowed_methods, reason = "a bench asks what time it is")]
            let start = std::time::Instant::now();
            std::thread::scope(|scope| {
                for (announces, mut random) in threads {
                    scope.spawn(move || {
                        let mut replies = vec![0; BATCH * REPLY_MAX];
                        for batch in announces.chunks(BATCH) {
                            batches(swarms, &mut random, batch, &mut replies);
                        }
                    });
                }
            });
            taken += start.elapsed();
        }
        taken
    }
}

#[inline(never)]
fn one_by_one(swarms: &Swarms, random: &mut Random, batch: &[Announce], replies: &mut [u8]) {
    for (announce, reply) in batch.iter().zip(replies.chunks_mut(REPLY_MAX)) {
        let prepared = swarms.prepare(&announce.info_hash, random);
        carry_out(swarms, announce, &prepared, reply);
    }
}

/// A batch in pieces, as for datagrams.
#[inline(never)]
fn batches(swarms: &Swarms, random: &mut Random, batch: &[Announce], replies: &mut [u8]) {
    let replies = replies.chunks_mut(PREFETCHED_TOGETHER * REPLY_MAX);
    for (piece, replies) in batch.chunks(PREFETCHED_TOGETHER).zip(replies) {
        in_stages::<PREFETCHED_TOGETHER>(swarms, random, piece, replies);
    }
}

struct Prefetcher;

impl Prefetch for Prefetcher {
    fn prefetch(&self, address: *const u8) {
        prefetch(address);
    }
}

#[inline]
fn in_stages<const N: usize>(swarms: &Swarms, random: &mut Random, batch: &[Announce], replies: &mut [u8]) {
    let mut prepared = [const { None }; N];
    for (place, announce) in prepared.iter_mut().zip(batch) {
        *place = Some(swarms.prepare(&announce.info_hash, random));
    }
    // As for datagrams: prefetching is not worth it for one alone.
    let stages = if batch.len() > 1 { swarms.stages() } else { &[] };
    for &stage in stages {
        let requests = batch.iter().map(Member::of).zip(prepared.iter_mut().flatten());
        swarms.prefetch(stage, requests, &Prefetcher);
    }
    let batch = batch.iter().zip(prepared.into_iter().flatten());
    for ((announce, prepared), reply) in batch.zip(replies.chunks_mut(REPLY_MAX)) {
        carry_out(swarms, announce, &prepared, reply);
    }
}

#[inline(never)]
fn batches_of_one(swarms: &Swarms, random: &mut Random, batch: &[Announce], replies: &mut [u8]) {
    for one in batch.chunks(1) {
        in_stages::<1>(swarms, random, one, replies);
    }
}

fn carry_out(swarms: &Swarms, announce: &Announce, prepared: &Prepared<PackedPrefetched>, reply: &mut [u8]) {
    let mut peers = Handout::new(Family::V4, NUMWANT, reply);
    let counts = swarms.announce(NOW, announce, prepared, &mut peers);
    black_box(&counts).as_ref().expect("there is room for all");
}

fn swarms(criterion: &mut Criterion) {
    let mut sets = SETS.map(|(name, make)| Set {
        name,
        make,
        made: None,
    });
    for set in &mut sets {
        let mut group = criterion.benchmark_group("announce");
        group.bench_function(BenchmarkId::new("one by one", set.name), |bencher| {
            let made = set.made();
            bencher.iter_custom(|iterations| made.time(iterations, one_by_one));
        });
        group.bench_function(BenchmarkId::new("batches of one", set.name), |bencher| {
            let made = set.made();
            bencher.iter_custom(|iterations| made.time(iterations, batches_of_one));
        });
        group.bench_function(BenchmarkId::new("batches of 64", set.name), |bencher| {
            let made = set.made();
            bencher.iter_custom(|iterations| made.time(iterations, batches));
        });
        group.bench_function(
            BenchmarkId::new("batches of 64 on each of two threads", set.name),
            |bencher| {
                let made = set.made();
                bencher.iter_custom(|iterations| made.time_two_threads(iterations));
            },
        );
        group.finish();
        criterion.bench_function(&format!("scrape/{}", set.name), |bencher| {
            let Population {
                swarms,
                random,
                torrents,
                ..
            } = &mut set.made().population;
            let torrents = u32::try_from(*torrents).unwrap_or(u32::MAX);
            bencher.iter_custom(|iterations| {
                let asked: Vec<_> = (0..iterations)
                    .map(|_| info_hash(random.u32(..torrents)))
                    .collect();
                let start = processor_time();
                for info_hash in &asked {
                    black_box(swarms.scrape(info_hash));
                }
                processor_time() - start
            });
        });
        criterion.bench_function(&format!("sweep step/{}", set.name), |bencher| {
            let swarms = &set.made().population.swarms;
            let mut position = SweepPosition::default();
            bencher.iter_custom(|iterations| {
                let start = processor_time();
                for _ in 0..iterations {
                    black_box(swarms.sweep(NOW, SWEEP_WORK, &mut position));
                }
                processor_time() - start
            });
        });
        set.made = None;
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(4)).without_plots();
    targets = swarms
}
criterion_main!(benches);
