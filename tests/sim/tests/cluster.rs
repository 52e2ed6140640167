//! Runs of a cluster: fifty in `.ci/run`, a few here, and the one that is asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use etracker_sim::{ClusterBounds, play_cluster};

const BOUNDS: ClusterBounds = ClusterBounds {
    nodes: 10,
    clients: 40,
};

/// `ETRACKER_SEEDS` plays so many, from `ETRACKER_SEED` on.
#[test]
fn nodes_hand_out_what_they_must_and_nothing_that_stopped_long_ago() {
    let number = |name, default| match std::env::var(name) {
        Ok(value) => value.parse::<u64>().expect("a number of runs"),
        Err(_) => default,
    };
    let first = number("ETRACKER_SEED", 1);
    let (next, end) = (AtomicU64::new(first), first + number("ETRACKER_SEEDS", 6));
    let [lost, crashes] = [(); 2].map(|()| AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Relaxed)).filter(|seed| *seed < end) {
                    let passed = play_cluster(seed, &BOUNDS).unwrap_or_else(|failed| panic!("{failed}"));
                    lost.fetch_add(passed.lost, Relaxed);
                    crashes.fetch_add(passed.crashes, Relaxed);
                }
            });
        }
    });
    // A storm in which nothing happens shows nothing.
    assert!(end - first < 6 || lost.into_inner() > 0 && crashes.into_inner() > 0);
}

#[test]
fn a_seed_gives_one_run() {
    let [one, again, other] = [3, 3, 4].map(|seed| play_cluster(seed, &BOUNDS).unwrap());
    assert_eq!(one, again);
    assert_ne!(one, other);
}
