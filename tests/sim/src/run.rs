//! One run from its seed, and the smallest part of it that still fails.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use crate::history::clock;
use crate::scenario::{Bounds, Scenario};
use crate::tally::Tally;
use crate::violation::Violation;
use crate::wire::ActorId;
use crate::world::World;

/// A run that kept all its properties.
#[derive(Clone, Debug)]
pub struct Passed {
    /// A hash of everything that went into the tracker and came out.
    pub transcript: u64,
    /// Events that happened.
    pub steps: u64,
    /// Requests that the tracker served.
    pub requests: u64,
    /// Simulated seconds.
    pub span_secs: u64,
    /// The measurements.
    pub tally: Tally,
}

/// A run that did not.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The seed that repeats it.
    pub seed: u64,
    /// The property that did not hold, and what was seen.
    pub violation: Violation,
    /// The event at which that was.
    pub step: u64,
    /// Simulated time since the beginning.
    pub clock: String,
    /// The last events.
    pub history: Vec<String>,
    /// Actors that took part; `None` is all.
    pub actors: Option<Vec<ActorId>>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {} fails at step {}, {}",
            self.seed, self.step, self.clock
        )?;
        writeln!(f, "{}", self.violation)?;
        if let Some(actors) = &self.actors {
            writeln!(f, "with no other actors than {actors:?}")?;
        }
        writeln!(f, "the last events:")?;
        self.history.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

thread_local! {
    static PLAYING: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The seed of the run that this thread plays, or has played last.
#[must_use]
pub fn playing() -> Option<u64> {
    PLAYING.get()
}

/// Plays the run of `seed` to its end, or to where a property fails.
///
/// # Errors
/// A property does not hold.
pub fn play(seed: u64, bounds: &Bounds) -> Result<Passed, Box<Failed>> {
    PLAYING.set(Some(seed));
    run(seed, Scenario::draw(seed, bounds), None)
}

/// Leaves out actors for as long as the same property still fails.
#[must_use]
pub fn shrink(failed: Failed, bounds: &Bounds) -> Failed {
    let seed = failed.seed;
    let everybody = Scenario::draw(seed, bounds).actors();
    let mut cast: Vec<ActorId> = (0..everybody).collect();
    let mut best = failed;
    // Few actors do not make the load that many do.
    let mut size = if best.violation.is_of_load() {
        0
    } else {
        cast.len().div_ceil(2)
    };
    let mut steps_left = best.step.saturating_mul(SHRINKING_MAX);
    while size > 0 {
        let mut at = 0;
        while at < cast.len() && steps_left > 0 {
            let without: Vec<_> = [&cast[..at], cast.get(at + size..).unwrap_or_default()].concat();
            let result = run(seed, Scenario::draw(seed, bounds), Some(&without));
            steps_left = steps_left.saturating_sub(
                result
                    .as_ref()
                    .map_or_else(|failed| failed.step, |passed| passed.steps),
            );
            match result {
                Err(smaller) if smaller.violation.invariant == best.violation.invariant => {
                    (best, cast) = (*smaller, without);
                }
                Ok(_) | Err(_) => at += size,
            }
        }
        size /= 2;
    }
    best
}

/// Shrinking takes no more steps than so many times those of the run that failed.
const SHRINKING_MAX: u64 = 40;

/// Plays a scenario with all actors or some of them.
pub(crate) fn run(seed: u64, scenario: Scenario, cast: Option<&[ActorId]>) -> Result<Passed, Box<Failed>> {
    let kept: Option<BTreeSet<ActorId>> = cast.map(|cast| cast.iter().copied().collect());
    let takes_part = |actor| kept.as_ref().is_none_or(|kept| kept.contains(&actor));
    let span_secs = scenario.span_secs();
    let mut world = World::new(seed, scenario, &takes_part).map_err(|violation| {
        Box::new(Failed {
            seed,
            violation,
            step: 0,
            clock: String::new(),
            history: Vec::new(),
            actors: cast.map(<[_]>::to_vec),
        })
    })?;
    match play_out(&mut world) {
        Ok(()) => Ok(Passed {
            transcript: world.trace(),
            steps: world.steps(),
            requests: world.load.requests(),
            span_secs,
            tally: world.tally,
        }),
        Err(violation) => Err(Box::new(Failed {
            seed,
            violation,
            step: world.steps(),
            clock: clock(world.now),
            history: world.history.lines(),
            actors: cast.map(<[_]>::to_vec),
        })),
    }
}

fn play_out(world: &mut World) -> Result<(), Violation> {
    while world.step()? {}
    world.finish()
}
