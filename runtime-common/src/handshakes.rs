//! The TLS handshakes of a worker: how many it makes before others have their turn, and what came of them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use etracker_core::stats::{Count, Counters};

/// What a worker's connections over TLS share. A step of a handshake takes up to a quarter of a millisecond, in which the worker
/// answers nobody else: connections ask for their [`Turn`] before each.
pub struct Handshakes {
    counters: Arc<Counters>,
    /// Units of work that are left before others have their turn.
    left: Cell<usize>,
    /// Whether one who waited is granted a step, and has not taken it yet.
    is_granted: Cell<bool>,
    queue: RefCell<Queue>,
    pacing: RefCell<Option<Waker>>,
    is_refusing: Cell<bool>,
}

/// Where one connection stands in the queue of its worker's handshakes. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Turn {
    handshakes: Rc<Handshakes>,
    /// Its place in the queue, until its step is taken.
    place: Option<u64>,
    /// Whether a step is taken and not finished.
    is_stepping: bool,
}

/// What a step of a handshake took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// There was nothing to do yet.
    None,
    /// Hashes, and a ticket.
    Little,
    /// A key exchange, or a signature.
    Much,
}

/// Those who wait for a step, in the order in which they came.
#[derive(Debug, Default)]
struct Queue {
    /// None for who has left. Invariant: the first one waits.
    waiting: VecDeque<Option<Waker>>,
    /// The place of the first one. Who has a lower one is granted a step.
    first: u64,
}

/// What came of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Handshake {
    /// It succeeded, with a signature and a key exchange.
    Full,
    /// It succeeded, and resumed an earlier session.
    Resumed,
    /// The client began with something else than TLS.
    Plain,
    /// The client broke the protocol, or sent too much.
    Malformed,
    /// Nothing in common: version, cipher suite, group or application protocol.
    Incompatible,
    /// There is no certificate for the client.
    Uncertified,
    /// The client does not trust the certificate.
    Distrusted,
    /// Another alert of the client.
    Alert,
    /// The client left, or took too long.
    Unfinished,
    /// It was not begun, because the worker is overloaded.
    Shed,
}

impl Handshakes {
    /// The handshakes of the worker with these counters.
    #[must_use]
    pub fn new(counters: Arc<Counters>) -> Self {
        Self {
            counters,
            left: Cell::new(UNITS_MAX),
            is_granted: Cell::new(false),
            queue: RefCell::default(),
            pacing: RefCell::default(),
            is_refusing: Cell::new(false),
        }
    }

    /// Counts what came of a handshake.
    pub fn count(&self, handshake: Handshake) {
        self.counters.add(
            match handshake {
                Handshake::Full => Count::TlsFull,
                Handshake::Resumed => Count::TlsResumed,
                Handshake::Plain => Count::TlsPlain,
                Handshake::Malformed => Count::TlsMalformed,
                Handshake::Incompatible => Count::TlsIncompatible,
                Handshake::Uncertified => Count::TlsUncertified,
                Handshake::Distrusted => Count::TlsDistrusted,
                Handshake::Alert => Count::TlsAlert,
                Handshake::Unfinished => Count::TlsUnfinished,
                Handshake::Shed => Count::ShedTls,
            },
            1,
        );
    }

    /// Whether new handshakes are refused for now.
    #[must_use]
    pub const fn is_refusing(&self) -> bool {
        self.is_refusing.get()
    }

    /// Refuses new handshakes from now on, or makes them again.
    pub fn refuse(&self, is_refusing: bool) {
        self.is_refusing.set(is_refusing);
    }

    /// Waits until a handshake waits for others to have their turn.
    pub async fn until_one_waits(&self) {
        poll_fn(|cx| {
            if self.is_paused() {
                return Poll::Ready(());
            }
            *self.pacing.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Others have had their turn: handshakes go on.
    pub fn renew(&self) {
        self.left.set(UNITS_MAX);
        self.advance();
    }

    /// Whether somebody waits, and nothing goes on before others have had their turn.
    fn is_paused(&self) -> bool {
        self.left.get() == 0 && !self.is_granted.get() && !self.queue.borrow().waiting.is_empty()
    }

    /// Grants a step to who waits longest, if there is time for one. The next one is granted when that is done, as only then it is
    /// known what it took.
    fn advance(&self) {
        // Two steps that are granted at once would each be taken for the last that there is time for.
        if self.is_granted.get() {
            return;
        }
        if self.left.get() > 0 {
            let next = self.queue.borrow_mut().pop();
            if let Some(waker) = next {
                self.is_granted.set(true);
                waker.wake();
            }
        } else if self.is_paused()
            && let Some(pacing) = self.pacing.take()
        {
            pacing.wake();
        }
    }

    fn finish(&self, effort: Effort) {
        let left = self.left.get().saturating_sub(effort.units());
        self.left.set(left);
        self.advance();
    }
}

impl Effort {
    const fn units(self) -> usize {
        match self {
            Self::None => 0,
            Self::Little => 1,
            Self::Much => UNITS_MAX / 2,
        }
    }
}

impl Turn {
    /// A connection that waits for nothing yet.
    #[must_use]
    pub const fn new(handshakes: Rc<Handshakes>) -> Self {
        Self {
            handshakes,
            place: None,
            is_stepping: false,
        }
    }

    /// What all connections of the worker share.
    #[must_use]
    pub fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// Takes a step, if there is time for one before others have their turn and nobody waits longer; else the task is woken when it is
    /// this one's turn. However many wait, a call takes the same time. A step lasts until it is [finished](Self::finish_step).
    pub fn poll_step(&mut self, cx: &Context<'_>) -> Poll<()> {
        let handshakes = &*self.handshakes;
        if let Some(place) = self.place {
            if handshakes.queue.borrow_mut().renew(place, cx.waker()) {
                return Poll::Pending;
            }
            self.place = None;
            handshakes.is_granted.set(false);
            self.is_stepping = true;
        }
        // One that has just come would otherwise overtake all those who wait, again and again in a flood.
        let is_first = !handshakes.is_granted.get() && handshakes.queue.borrow().waiting.is_empty();
        if self.is_stepping || (is_first && handshakes.left.get() > 0) {
            self.is_stepping = true;
            return Poll::Ready(());
        }
        self.place = Some(handshakes.queue.borrow_mut().push(cx.waker().clone()));
        handshakes.advance();
        Poll::Pending
    }

    /// Says what the step took. Others go on if there is time for that.
    pub fn finish_step(&mut self, effort: Effort) {
        self.is_stepping = false;
        self.handshakes.finish(effort);
    }

    /// Waits no longer, and takes no step.
    pub fn leave(&mut self) {
        let granted = self
            .place
            .take()
            .is_some_and(|place| !self.handshakes.queue.borrow_mut().leave(place));
        if granted {
            self.handshakes.is_granted.set(false);
        }
        // A step that was granted or begun is somebody else's.
        if granted || self.is_stepping {
            self.finish_step(Effort::None);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Queue {
    fn push(&mut self, waker: Waker) -> u64 {
        self.waiting.push_back(Some(waker));
        self.first + self.waiting.len() as u64 - 1
    }

    fn pop(&mut self) -> Option<Waker> {
        let waker = self.waiting.pop_front()??;
        self.first += 1;
        self.skip_those_who_left();
        Some(waker)
    }

    /// Has `waker` woken for `place` from now on; whether that one waits still.
    fn renew(&mut self, place: u64, waker: &Waker) -> bool {
        let Some(Some(known)) = self.at(place) else {
            return false;
        };
        // Clones nothing if it wakes the same task, which is the rule.
        known.clone_from(waker);
        true
    }

    /// Gives up `place`; whether that one waited still.
    fn leave(&mut self, place: u64) -> bool {
        let Some(waiting) = self.at(place) else {
            return false;
        };
        // The places behind it stay what they are: nothing is moved, however many wait.
        *waiting = None;
        self.skip_those_who_left();
        true
    }

    fn at(&mut self, place: u64) -> Option<&mut Option<Waker>> {
        let index = place.checked_sub(self.first)?;
        self.waiting.get_mut(usize::try_from(index).ok()?)
    }

    fn skip_those_who_left(&mut self) {
        while let Some(None) = self.waiting.front() {
            self.waiting.pop_front();
            self.first += 1;
        }
    }
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes")
            .field("left", &self.left)
            .field("is_granted", &self.is_granted)
            .field("waiting", &self.queue.borrow().waiting.len())
            .field("is_refusing", &self.is_refusing)
            .finish_non_exhaustive()
    }
}

/// Units of work before others have their turn: two steps that take much, or eight that take little.
const UNITS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// A connection that wants one step, and how often its task was woken.
    struct Waiting {
        turn: Turn,
        woken: Arc<Woken>,
        polls: usize,
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Waiting {
        fn new(handshakes: &Rc<Handshakes>) -> Self {
            Self {
                turn: Turn::new(Rc::clone(handshakes)),
                woken: Arc::default(),
                polls: 0,
            }
        }

        fn poll(&mut self) -> bool {
            self.polls += 1;
            let waker = Waker::from(Arc::clone(&self.woken));
            self.turn.poll_step(&Context::from_waker(&waker)).is_ready()
        }

        /// Takes a step, if it can.
        fn step(&mut self, effort: Effort) -> bool {
            let is_ready = self.poll();
            if is_ready {
                self.turn.finish_step(effort);
            }
            is_ready
        }

        fn was_woken(&self) -> bool {
            self.woken.0.swap(0, Ordering::Relaxed) > 0
        }
    }

    fn handshakes() -> Rc<Handshakes> {
        Rc::new(Handshakes::new(Arc::default()))
    }

    fn crowd(handshakes: &Rc<Handshakes>, count: usize) -> Vec<Waiting> {
        (0..count).map(|_| Waiting::new(handshakes)).collect()
    }

    /// Who takes a step without others having their turn, in this order.
    fn run(all: &mut [Waiting], from: usize, effort: Effort) -> Vec<usize> {
        let mut order = Vec::new();
        let mut number = from;
        while number < all.len() {
            if all[number].was_woken() && all[number].step(effort) {
                order.push(number);
            }
            number += 1;
        }
        order
    }

    #[test]
    fn each_is_polled_twice_however_many_wait_and_in_the_order_in_which_they_came() {
        for (effort, at_once) in [(Effort::Much, 2), (Effort::Little, 8)] {
            for count in [1, 10, 10_000] {
                let handshakes = handshakes();
                let mut all = crowd(&handshakes, count);
                let mut order: Vec<usize> = (0..count).filter(|&number| all[number].step(effort)).collect();
                assert_eq!(order.len(), count.min(at_once));
                while order.len() < count {
                    assert!(handshakes.is_paused());
                    handshakes.renew();
                    let next = order.len();
                    let some = run(&mut all, next, effort);
                    assert_eq!(some.len(), at_once.min(count - next));
                    order.extend(some);
                }
                assert_eq!(order, (0..count).collect::<Vec<_>>());
                assert!(all.iter().all(|waiting| waiting.polls <= 2) && !handshakes.is_paused());
            }
        }
    }

    #[test]
    fn who_is_polled_again_while_it_waits_keeps_its_place_and_the_queue_its_length() {
        let handshakes = handshakes();
        let mut all = crowd(&handshakes, 5);
        assert!(all[3].step(Effort::Much) && all[4].step(Effort::Much));
        for _ in 0..100 {
            assert!((0..3).all(|number| !all[number].poll()));
        }
        assert_eq!(handshakes.queue.borrow().waiting.len(), 3);
        handshakes.renew();
        assert_eq!(run(&mut all, 0, Effort::Much), [0, 1]);
    }

    #[test]
    fn who_comes_later_takes_no_step_of_those_who_wait() {
        let handshakes = handshakes();
        let mut all = crowd(&handshakes, 4);
        assert!(all[0].step(Effort::Much) && all[1].step(Effort::Much));
        assert!(!all[2].poll() && !all[3].poll());
        handshakes.renew();
        let mut late = Waiting::new(&handshakes);
        assert!(!late.poll());
        assert_eq!(run(&mut all, 0, Effort::Little), [2, 3]);
        assert!(late.was_woken() && late.step(Effort::Little));
    }

    #[test]
    fn who_leaves_is_passed_over_and_a_step_that_it_was_granted_is_the_next_ones() {
        let handshakes = handshakes();
        let mut all = crowd(&handshakes, 8);
        let ready = all
            .iter_mut()
            .filter_map(|waiting| waiting.step(Effort::Much).then_some(()));
        assert_eq!(ready.count(), 2);
        // In the middle of the queue, and at its beginning.
        for number in [3, 2] {
            all.remove(number);
        }
        assert_eq!(handshakes.queue.borrow().waiting.len(), 4);
        handshakes.renew();
        let first = all.remove(2);
        assert!(first.was_woken() && !all[2].was_woken());
        drop(first);
        assert_eq!(run(&mut all, 2, Effort::Much), [2, 3]);
        assert!(!all[4].was_woken());
        drop(all);
        assert!(handshakes.queue.borrow().waiting.is_empty() && !handshakes.is_paused());
    }

    #[test]
    fn a_step_that_had_nothing_to_do_takes_nothing_from_others() {
        let handshakes = handshakes();
        let mut all = crowd(&handshakes, 6);
        for _ in 0..100 {
            assert!(all[0].step(Effort::None));
        }
        assert!(all[0].step(Effort::Much) && all[1].step(Effort::Much) && !all[2].poll() && !all[3].poll());
        assert!(!all[4].poll() && !all[5].poll());
        handshakes.renew();
        assert!(all[2].was_woken() && all[2].step(Effort::None));
        assert_eq!(run(&mut all, 3, Effort::Much), [3, 4]);
        assert!(!all[5].was_woken() && handshakes.is_paused());
    }

    #[test]
    fn the_worker_is_told_when_somebody_waits_for_others_to_have_their_turn() {
        let handshakes = handshakes();
        let (mut all, told) = (crowd(&handshakes, 3), Arc::<Woken>::default());
        let waker = Waker::from(Arc::clone(&told));
        let mut waits = std::pin::pin!(handshakes.until_one_waits());
        let mut is_told = || {
            let is_ready = waits.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            (told.0.swap(0, Ordering::Relaxed) > 0, is_ready)
        };
        assert_eq!(is_told(), (false, false));
        assert!(all[0].step(Effort::Much) && all[1].step(Effort::Much));
        assert_eq!(is_told(), (false, false));
        assert!(!all[2].poll());
        assert_eq!(is_told(), (true, true));
    }
}
