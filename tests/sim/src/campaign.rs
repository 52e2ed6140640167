//! Many runs, on several threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::run::{Failed, Passed, play};
use crate::scenario::Bounds;
use crate::tally::Tally;
use crate::violation::Violation;

/// Which runs are played, and how.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// The first seed; the others follow it.
    pub first_seed: u64,
    /// How many.
    pub seeds: u64,
    /// The bounds of drawn scenarios.
    pub bounds: Bounds,
    /// Threads that play at the same time.
    pub threads: usize,
    /// One run in this many is repeated, and must give the same transcript.
    pub twice_every: u64,
}

/// The results of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs that passed.
    pub passed: u64,
    /// Runs that were played twice.
    pub twice: u64,
    /// Events of all runs.
    pub steps: u64,
    /// Requests served in all runs.
    pub requests: u64,
    /// Simulated seconds of all runs.
    pub span_secs: u64,
    /// The measurements.
    pub tally: Tally,
    /// The run that failed, of several that of the smallest seed.
    pub failed: Option<Box<Failed>>,
}

impl Campaign {
    /// Plays until all runs have passed or one has failed. `done` is called after each.
    pub fn play(&self, done: impl Fn(&Summary) + Sync) -> Summary {
        let summary = Mutex::new(Summary::default());
        let (next, over) = (AtomicU64::new(self.first_seed), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(|| {
                    while !over.load(Relaxed) {
                        let seed = next.fetch_add(1, Relaxed);
                        if seed >= self.first_seed + self.seeds {
                            break;
                        }
                        let result = self.play_one(seed);
                        over.fetch_or(result.is_err(), Relaxed);
                        let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                        summary.add(result);
                        done(&summary);
                    }
                });
            }
        });
        summary.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn play_one(&self, seed: u64) -> Result<(Passed, bool), Box<Failed>> {
        let passed = play(seed, &self.bounds)?;
        let twice = self.twice_every > 0 && seed.is_multiple_of(self.twice_every);
        if twice {
            let again = play(seed, &self.bounds)?;
            if (again.transcript, again.steps) != (passed.transcript, passed.steps) {
                return Err(Box::new(Failed {
                    seed,
                    violation: Violation::new(
                        "a seed gives one transcript",
                        format!(
                            "{:016x} the first time, then {:016x}",
                            passed.transcript, again.transcript
                        ),
                    ),
                    step: passed.steps.min(again.steps),
                    clock: "the end".to_owned(),
                    history: Vec::new(),
                    actors: None,
                }));
            }
        }
        Ok((passed, twice))
    }
}

impl Summary {
    fn add(&mut self, result: Result<(Passed, bool), Box<Failed>>) {
        match result {
            Ok((passed, twice)) => {
                self.passed += 1;
                self.twice += u64::from(twice);
                self.steps += passed.steps;
                self.requests += passed.requests;
                self.span_secs += passed.span_secs;
                self.tally.add(&passed.tally);
            }
            Err(failed) => {
                if self
                    .failed
                    .as_ref()
                    .is_none_or(|before| failed.seed < before.seed)
                {
                    self.failed = Some(failed);
                }
            }
        }
    }
}
