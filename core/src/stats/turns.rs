//! How long workers take to come back to what is due.

use core::time::Duration;

use super::counters::Counter;

/// Upper bounds of the classes of turns, in milliseconds; one more class is above the last.
pub const TURN_MILLIS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/// The turns of one worker.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    classes: [Counter; TURN_MILLIS.len() + 1],
    millis: Counter,
}

impl Counted {
    pub(super) fn add(&self, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let class = TURN_MILLIS.iter().position(|&bound| millis <= bound);
        if let Some(class) = self.classes.get(class.unwrap_or(TURN_MILLIS.len())) {
            class.add(1);
            self.millis.add(millis);
        }
    }
}

/// The times that workers took to come back to what was due: to a socket with more datagrams, and once a second to a timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turns {
    /// How many, by the bounds of [`TURN_MILLIS`]: each counts in one class alone.
    pub classes: [u64; TURN_MILLIS.len() + 1],
    /// Their sum.
    pub time: Duration,
}

impl Turns {
    /// The sum over workers.
    pub(crate) fn sum<'a>(all: impl Iterator<Item = &'a Counted>) -> Self {
        let (mut turns, mut millis) = (Self::default(), 0u64);
        for counted in all {
            for (sum, class) in turns.classes.iter_mut().zip(&counted.classes) {
                *sum = sum.wrapping_add(class.get());
            }
            millis = millis.wrapping_add(counted.millis.get());
        }
        turns.time = Duration::from_millis(millis);
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_is_in_the_first_class_that_holds_it() {
        let workers = [Counted::default(), Counted::default()];
        for millis in [0, 1, 2, 3, 1000] {
            workers[0].add(Duration::from_millis(millis));
        }
        workers[1].add(Duration::from_millis(1001));
        let turns = Turns::sum(workers.iter());
        assert_eq!(turns.classes, [2, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(turns.time, Duration::from_millis(2007));
    }
}
