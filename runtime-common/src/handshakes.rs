//! The TLS handshakes of a worker: how many it makes before others have their turn, and what came of them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use etracker_core::stats::{Count, Counters};

/// What a worker's connections over TLS share. A step of a handshake takes a quarter of a millisecond, in which the worker answers
/// nobody else: connections ask for their turn before each.
pub struct Handshakes {
    counters: Arc<Counters>,
    /// Steps left before others have their turn.
    left: Cell<usize>,
    waiting: RefCell<VecDeque<Waker>>,
    pacing: RefCell<Option<Waker>>,
    is_refusing: Cell<bool>,
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
            left: Cell::new(STEPS_MAX),
            waiting: RefCell::default(),
            pacing: RefCell::default(),
            is_refusing: Cell::new(false),
        }
    }

    /// Takes one of the steps that are left before others have their turn; if none is, the task is woken after that.
    pub fn poll_step(&self, cx: &Context<'_>) -> Poll<()> {
        if let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        // A task that is polled again while it waits must not make the queue grow.
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push_back(cx.waker().clone());
        }
        if let Some(pacing) = self.pacing.take() {
            pacing.wake();
        }
        Poll::Pending
    }

    /// Gives back a step that had nothing to do.
    pub fn return_step(&self) {
        self.left.set((self.left.get() + 1).min(STEPS_MAX));
        if let Some(next) = self.waiting.borrow_mut().pop_front() {
            next.wake();
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

    /// Waits until a handshake has to wait for its turn.
    pub async fn until_one_waits(&self) {
        poll_fn(|cx| {
            if self.waiting.borrow().is_empty() {
                *self.pacing.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Others have had their turn: as many go on as have steps.
    pub fn renew(&self) {
        self.left.set(STEPS_MAX);
        let mut waiting = self.waiting.borrow_mut();
        let next = waiting.len().min(STEPS_MAX);
        for waker in waiting.drain(..next) {
            waker.wake();
        }
    }
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes")
            .field("left", &self.left)
            .field("waiting", &self.waiting.borrow().len())
            .field("is_refusing", &self.is_refusing)
            .finish_non_exhaustive()
    }
}

/// Steps of handshakes before others have their turn.
const STEPS_MAX: usize = 2;
