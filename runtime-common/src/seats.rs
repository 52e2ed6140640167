//! Who is connected to a worker, since when and until when, and who gives way when all seats are taken.

use std::task::Waker;
use std::time::Duration;

use etracker_core::Instant;

/// The connections of one worker: a fixed number of them at most.
#[derive(Debug)]
pub(crate) struct Seats {
    seats: Vec<Seat>,
    free: Vec<SeatId>,
    /// The ends of the list of those who wait for their client, in the order in which they began to.
    waiting_longest: SeatId,
    waiting_shortest: SeatId,
}

/// A connection's place in [`Seats`].
pub(crate) type SeatId = u32;

#[derive(Debug)]
struct Seat {
    taken: bool,
    /// Since when its client is waited for; only those who wait give way.
    /// Invariant: the seat is in the list of those who wait if and only if this is set.
    waiting_since: Option<Instant>,
    longer: SeatId,
    shorter: SeatId,
    /// When it is to be woken, whatever happens.
    deadline: Instant,
    waker: Option<Waker>,
    asked_to_leave: bool,
}

impl Default for Seats {
    fn default() -> Self {
        Self {
            seats: Vec::new(),
            free: Vec::new(),
            waiting_longest: NOBODY,
            waiting_shortest: NOBODY,
        }
    }
}

impl Seats {
    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.seats.len() - self.free.len()
    }

    /// Takes a seat.
    pub(crate) fn take(&mut self) -> SeatId {
        let seat = Seat {
            taken: true,
            waiting_since: None,
            longer: NOBODY,
            shorter: NOBODY,
            deadline: Instant::default(),
            waker: None,
            asked_to_leave: false,
        };
        let id = self.free.pop().unwrap_or_else(|| {
            // Descriptors are far fewer.
            SeatId::try_from(self.seats.len()).unwrap_or(NOBODY)
        });
        match self.seats.get_mut(id as usize) {
            Some(place) => *place = seat,
            None => self.seats.push(seat),
        }
        id
    }

    /// Gives a seat back.
    pub(crate) fn leave(&mut self, id: SeatId) {
        // The list must not lead to a seat that the next client takes.
        self.mark_busy(id);
        let seat = &mut self.seats[id as usize];
        seat.taken = false;
        // It keeps the memory of a task that is done.
        seat.waker = None;
        self.free.push(id);
    }

    /// Has a connection woken at its deadline at the latest.
    pub(crate) fn sleep(&mut self, id: SeatId, deadline: Instant, waker: &Waker) {
        let seat = &mut self.seats[id as usize];
        seat.deadline = deadline;
        match &mut seat.waker {
            // Clones nothing if it wakes the same task, which is the rule.
            Some(known) => known.clone_from(waker),
            None => seat.waker = Some(waker.clone()),
        }
    }

    /// Notes that a connection waits for its client, unless it is known to wait already.
    pub(crate) fn mark_waiting(&mut self, id: SeatId, now: Instant) {
        let last = self.waiting_shortest;
        let seat = &mut self.seats[id as usize];
        // A client that sends its request byte by byte must not pass for one that has just come.
        if seat.waiting_since.is_some() {
            return;
        }
        seat.waiting_since = Some(now);
        (seat.longer, seat.shorter) = (last, NOBODY);
        self.waiting_shortest = id;
        self.link(last, id);
    }

    /// Notes that a connection no longer waits for its client.
    pub(crate) fn mark_busy(&mut self, id: SeatId) {
        let seat = &mut self.seats[id as usize];
        if seat.waiting_since.take().is_none() {
            return;
        }
        let (longer, shorter) = (seat.longer, seat.shorter);
        self.link(longer, shorter);
        if self.waiting_shortest == id {
            self.waiting_shortest = longer;
        }
    }

    /// Whether a connection was asked to leave.
    pub(crate) fn is_asked_to_leave(&self, id: SeatId) -> bool {
        self.seats[id as usize].asked_to_leave
    }

    /// Asks the connection that waits for its client the longest to leave, if it does so for [`WAIT_MILLIS_MIN`].
    pub(crate) fn ask_longest_to_leave(&mut self, now: Instant) {
        let id = self.waiting_longest;
        let Some(seat) = self.seats.get_mut(id as usize) else {
            return;
        };
        let since = seat.waiting_since.unwrap_or(now);
        // All others began to wait later.
        if now.saturating_since(since) < Duration::from_millis(WAIT_MILLIS_MIN) {
            return;
        }
        seat.asked_to_leave = true;
        // Off the list before its task runs, so that the next call asks another one.
        let waker = seat.waker.clone();
        self.mark_busy(id);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes those whose deadline is over. Linear in the seats: some ten nanoseconds each.
    pub(crate) fn wake_overdue(&self, now: Instant) {
        self.wake(|seat| seat.deadline <= now);
    }

    /// Wakes all.
    pub(crate) fn wake_all(&self) {
        self.wake(|_| true);
    }

    fn wake(&self, which: impl Fn(&Seat) -> bool) {
        let seats = self.seats.iter().filter(|seat| seat.taken && which(seat));
        for waker in seats.filter_map(|seat| seat.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// Makes two seats, or an end of the list and a seat, neighbours.
    fn link(&mut self, longer: SeatId, shorter: SeatId) {
        match self.seats.get_mut(longer as usize) {
            Some(seat) => seat.shorter = shorter,
            None => self.waiting_longest = shorter,
        }
        if let Some(seat) = self.seats.get_mut(shorter as usize) {
            seat.longer = longer;
        }
    }
}

const NOBODY: SeatId = SeatId::MAX;
/// Milliseconds that a client is waited for even if others want its seat: longer than a request on a slow line takes
/// to follow its handshake.
const WAIT_MILLIS_MIN: u64 = 500;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn seated(seats: &mut Seats, deadline: Instant) -> (SeatId, Arc<Count>) {
        let count = Arc::new(Count::default());
        let id = seats.take();
        seats.sleep(id, deadline, &Waker::from(Arc::clone(&count)));
        (id, count)
    }

    fn woken(count: &Count) -> usize {
        count.0.swap(0, Ordering::Relaxed)
    }

    #[test]
    fn only_the_overdue_are_woken() {
        let mut seats = Seats::default();
        let (_, early) = seated(&mut seats, Instant::from_secs(1));
        let (_, late) = seated(&mut seats, Instant::from_secs(2));
        let (gone, left) = seated(&mut seats, Instant::from_secs(1));
        seats.leave(gone);
        seats.wake_overdue(Instant::from_secs(1));
        assert_eq!((woken(&early), woken(&late), woken(&left)), (1, 0, 0));
    }

    #[test]
    fn the_one_that_waits_longest_leaves_first() {
        let mut seats = Seats::default();
        let now = Instant::from_secs(100);
        let (ids, counts): (Vec<_>, Vec<_>) = (0..6).map(|_| seated(&mut seats, now)).unzip();
        for id in [3, 0, 4, 1] {
            seats.mark_waiting(ids[id], Instant::from_secs(id as u64));
        }
        // Who has begun to wait does not begin anew; who was served in between does; who left is not asked.
        seats.mark_waiting(ids[3], now);
        seats.mark_busy(ids[0]);
        seats.mark_waiting(ids[0], now);
        seats.leave(ids[4]);
        let order: Vec<usize> = std::iter::from_fn(|| {
            seats.ask_longest_to_leave(Instant::from_secs(101));
            counts.iter().position(|count| woken(count) > 0)
        })
        .collect();
        assert_eq!(order, [3, 1, 0]);
        let asked: Vec<bool> = ids.iter().map(|&id| seats.is_asked_to_leave(id)).collect();
        assert_eq!(asked, [true, true, false, true, false, false]);
    }

    #[test]
    fn a_client_that_has_just_come_is_not_asked_to_leave() {
        let mut seats = Seats::default();
        let (id, count) = seated(&mut seats, Instant::from_secs(9));
        seats.mark_waiting(id, Instant::from_millis(1000));
        seats.ask_longest_to_leave(Instant::from_millis(1000 + WAIT_MILLIS_MIN - 1));
        assert_eq!((woken(&count), seats.is_asked_to_leave(id)), (0, false));
    }

    #[test]
    fn seats_are_used_again() {
        let mut seats = Seats::default();
        for _ in 0..10 {
            let ids = [seats.take(), seats.take(), seats.take()];
            seats.mark_waiting(ids[1], Instant::default());
            assert_eq!(seats.taken(), 3);
            for id in ids {
                seats.leave(id);
            }
        }
        assert_eq!((seats.taken(), seats.seats.len()), (0, 3));
    }
}
