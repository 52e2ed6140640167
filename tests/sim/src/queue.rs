//! The queue of events, in order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Milliseconds of simulated time, in which a run begins at [`EPOCH`].
pub(crate) type Millis = u64;

/// When runs begin: an ordinary day, far enough from 1970 for clocks to be as they are in production.
pub(crate) const EPOCH: Millis = 1_790_000_000_000;
pub(crate) const SECOND: Millis = 1000;
pub(crate) const MINUTE: Millis = 60 * SECOND;
pub(crate) const HOUR: Millis = 60 * MINUTE;
pub(crate) const DAY: Millis = 24 * HOUR;

/// Events by time; those of the same time in the order in which they were planned.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    order: BinaryHeap<Reverse<(Millis, u64, usize)>>,
    events: Vec<Option<E>>,
    free: Vec<usize>,
    planned: u64,
}

impl<E> Queue<E> {
    pub(crate) const fn new() -> Self {
        Self {
            order: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            planned: 0,
        }
    }

    pub(crate) fn plan(&mut self, at: Millis, event: E) {
        let slot = self.free.pop().unwrap_or(self.events.len());
        if slot == self.events.len() {
            self.events.push(Some(event));
        } else {
            self.events[slot] = Some(event);
        }
        self.order.push(Reverse((at, self.planned, slot)));
        self.planned += 1;
    }

    pub(crate) fn next(&mut self) -> Option<(Millis, E)> {
        let Reverse((at, _, slot)) = self.order.pop()?;
        self.free.push(slot);
        self.events[slot].take().map(|event| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_they_were_planned() {
        let mut queue = Queue::new();
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            queue.plan(at, event);
        }
        let first = queue.next();
        queue.plan(4, 'x');
        let rest: String = std::iter::from_fn(|| queue.next())
            .map(|(_, event)| event)
            .collect();
        assert_eq!((first, rest.as_str()), (Some((3, 'a')), "bxcd"));
    }
}
