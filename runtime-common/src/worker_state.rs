//! What the connections and sockets of one worker share.

use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use etracker_core::http::{HEAD_MAX, REPLY_MAX};
use etracker_core::{Instant, Tracker, Worker};

use crate::lingering::Lingering;
use crate::memory::give_memory_back;
use crate::slots::{ConnectionSlots, SlotId};
use crate::{Clock, Stream};

/// A reference to a worker's [`WorkerState`]. Each of its tasks holds one.
#[derive(Debug)]
pub(crate) struct WorkerHandle<S>(Rc<RefCell<WorkerState<S>>>);

impl<S> Clone for WorkerHandle<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

/// A worker's way into the tracker, the buffers that all its connections use in turn, and who is connected. Borrowed
/// for as long as a task works, never while it waits.
#[derive(Debug)]
pub(crate) struct WorkerState<S> {
    pub(crate) clock: Clock,
    pub(crate) worker: Worker,
    pub(crate) input: Box<[u8]>,
    pub(crate) reply: Box<[u8]>,
    pub(crate) slots: ConnectionSlots,
    pub(crate) lingering: Lingering<S>,
    /// Bytes of answers that clients have yet to take.
    pub(crate) unsent: usize,
    /// Answers over HTTP since connections have last let others have their turn.
    pub(crate) answered: usize,
    /// The most connections there were since memory was last given back.
    connections_peak: usize,
    connections_max: usize,
    ending: Option<Ending>,
    waiting_for_capacity: Vec<Waker>,
    waiting_for_connection: Vec<Waker>,
    waiting_for_the_end: Vec<Waker>,
}

/// Why a worker ends.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It was told to.
    Stopped,
    /// It cannot go on.
    Failed(io::Error),
    /// One of its tasks panicked.
    Panicked,
}

impl<S: Stream> WorkerHandle<S> {
    /// A worker of `tracker` that has at most `connections_max` connections.
    pub(crate) fn new(tracker: Arc<Tracker>, clock: Clock, connections_max: usize) -> Self {
        Self(Rc::new(RefCell::new(WorkerState {
            clock,
            worker: Worker::new(tracker),
            input: vec![0; HEAD_MAX].into_boxed_slice(),
            reply: vec![0; REPLY_MAX].into_boxed_slice(),
            slots: ConnectionSlots::default(),
            lingering: Lingering::default(),
            unsent: 0,
            answered: 0,
            connections_peak: 0,
            connections_max,
            ending: None,
            waiting_for_capacity: Vec::new(),
            waiting_for_connection: Vec::new(),
            waiting_for_the_end: Vec::new(),
        })))
    }

    pub(crate) fn borrow(&self) -> RefMut<'_, WorkerState<S>> {
        self.0.borrow_mut()
    }

    /// Waits until one more connection is allowed. Connections that linger or idle are closed for that.
    pub(crate) async fn wait_for_capacity(&self) {
        poll_fn(|cx| self.borrow().poll_capacity(cx)).await;
    }

    /// Waits until there is a connection.
    pub(crate) async fn wait_for_connection(&self) {
        poll_fn(|cx| {
            let mut state = self.borrow();
            if state.connections() > 0 {
                return Poll::Ready(());
            }
            enlist(&mut state.waiting_for_connection, cx);
            Poll::Pending
        })
        .await;
    }

    /// Does `work` until it is done, or until the worker ends.
    pub(crate) async fn until_the_end<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut enlisted = false;
        poll_fn(|cx| {
            if !enlisted {
                enlist(&mut self.borrow().waiting_for_the_end, cx);
                enlisted = true;
            }
            if self.is_ending() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// Ends the worker: wakes all who wait for that, and all connections. Only the first ending counts, but a failure
    /// is heard after a stop too.
    pub(crate) fn end(&self, ending: Ending) {
        let mut state = self.borrow();
        if matches!(state.ending, None | Some(Ending::Stopped)) {
            state.ending = Some(ending);
        }
        state.slots.wake_all();
        wake(&mut state.waiting_for_the_end);
    }

    /// Whether the worker ends.
    pub(crate) fn is_ending(&self) -> bool {
        self.borrow().is_ending()
    }

    /// Why the worker ended.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.borrow().ending.take()
    }
}

impl<S: Stream> WorkerState<S> {
    pub(crate) const fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.slots.occupied() + self.lingering.len()
    }

    /// Occupies a slot, whether the limit allows it or not.
    pub(crate) fn occupy_slot(&mut self) -> SlotId {
        wake(&mut self.waiting_for_connection);
        self.slots.occupy()
    }

    /// Frees a slot.
    pub(crate) fn release_slot(&mut self, slot: SlotId) {
        self.slots.release(slot);
        wake(&mut self.waiting_for_capacity);
    }

    /// Lets a connection that has had its last answer linger: it is closed when the client closes it, or is late.
    pub(crate) fn linger(&mut self, now: Instant, stream: S) {
        self.lingering.look_at_few(now, &mut self.input);
        self.lingering.take(now, stream);
    }

    /// Does what is due now and then: wakes connections whose time is over, closes those that linger.
    pub(crate) fn tick(&mut self) {
        let now = self.clock.now();
        self.slots.wake_overdue(now);
        self.lingering.look_at_all(now, &mut self.input);
        wake(&mut self.waiting_for_capacity);
        self.release_memory();
    }

    /// Gives the memory of many connections back when they are gone: the allocator would keep it for the next ones.
    fn release_memory(&mut self) {
        let connections = self.connections();
        self.connections_peak = self.connections_peak.max(connections);
        // Giving back takes time in proportion to the memory in use: once for each crowd, not at each ebb.
        if self.connections_peak < PEAK_MIN || connections > self.connections_peak / 8 {
            return;
        }
        self.connections_peak = connections;
        // Tasks hold the numbers of their slots: the table can go only when there are none.
        if connections == 0 {
            self.slots = ConnectionSlots::default();
        }
        give_memory_back();
    }

    /// Closes a connection that lingers, or evicts one that idles.
    pub(crate) fn give_way(&mut self) {
        if !self.lingering.close_one() {
            self.slots.evict_longest_waiting(self.clock.now());
        }
    }

    fn poll_capacity(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.connections() >= self.connections_max {
            // One that lingers is closed at once. One that idles leaves when its task runs, and wakes this one.
            self.give_way();
        }
        if self.connections() < self.connections_max {
            return Poll::Ready(());
        }
        enlist(&mut self.waiting_for_capacity, cx);
        Poll::Pending
    }
}

/// Connections at once after which memory is given back: about a megabyte.
const PEAK_MIN: usize = 1000;

fn enlist(wakers: &mut Vec<Waker>, cx: &Context<'_>) {
    // A task that is polled again while it waits must not make the list grow.
    if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
        wakers.push(cx.waker().clone());
    }
}

fn wake(wakers: &mut Vec<Waker>) {
    for waker in wakers.drain(..) {
        waker.wake();
    }
}
