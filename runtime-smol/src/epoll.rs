//! Waiting by an epoll instance of the worker's own, on Linux.
//!
//! async-io has one reactor for the process. Each wait of it takes four system calls beside the wait itself, each
//! socket that was waited for one more, and a worker whose socket another worker's wait reports is woken by that one.
//! Here a socket is registered once, edge-triggered, and a wait is one call.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
#[cfg(feature = "testing")]
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::{fmt, io};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use slab::Slab;

use crate::notifier::Notifier;
use crate::waiter::{self, Socket, Waiter};

/// The epoll instance of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Epoll(Rc<Instance>);

struct Instance {
    epoll: OwnedFd,
    notifier: Arc<Notifier>,
    /// What is known of each socket, by the number that its events carry.
    sockets: RefCell<Slab<Rc<Readiness>>>,
    events: RefCell<Vec<Event>>,
}

/// A socket that its worker's epoll instance knows.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    socket: S,
    readiness: Rc<Readiness>,
    number: usize,
    instance: Rc<Instance>,
    /// Whether the epoll instance has it now.
    is_registered: Cell<bool>,
}

/// What is known of a socket: changed by events, and by those who find that they would have to wait. An event comes for
/// all that happens after that.
#[derive(Debug)]
struct Readiness {
    is_readable: Cell<bool>,
    is_writable: Cell<bool>,
    /// Whether the client has shut down its writing side: no further event comes for what is still to be read.
    has_ended: Cell<bool>,
    /// Few sockets ever are: only those that were full once.
    is_watched_for_writing: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Waiter for Epoll {
    type Watched<S: Socket> = Watched<S>;

    fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let notifier = Arc::new(Notifier::new()?);
        let (data, flags) = (EventData::new_u64(NOTIFIER), EventFlags::IN | EventFlags::ET);
        epoll::add(&epoll, notifier.eventfd(), data, flags)?;
        Ok(Self(Rc::new(Instance {
            epoll,
            notifier,
            sockets: RefCell::default(),
            events: RefCell::new(Vec::with_capacity(EVENTS_MAX)),
        })))
    }

    fn watch<S: Socket>(&self, socket: S) -> io::Result<Watched<S>> {
        let readiness = Rc::new(Readiness::unknown());
        let number = self.0.sockets.borrow_mut().insert(Rc::clone(&readiness));
        let watched = Watched {
            socket,
            readiness,
            number,
            instance: Rc::clone(&self.0),
            is_registered: Cell::new(false),
        };
        watched.register()?;
        Ok(watched)
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        let mut future = pin!(future);
        let waker = self.waker();
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Ok(output);
            }
            self.0.wait(None)?;
        }
    }

    fn look(&self) {
        // What keeps it from looking keeps it from waiting too, which is where that is told.
        drop(self.0.take_events(Some(&AT_ONCE), || {}));
    }
}

impl Epoll {
    /// What lets the worker go on.
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0.notifier))
    }

    /// Polls `future` for as long as something happens, and never waits for that.
    #[cfg(feature = "testing")]
    pub(crate) fn step<T>(&self, mut future: Pin<&mut dyn Future<Output = T>>) -> io::Result<Poll<T>> {
        let waker = self.waker();
        let mut cx = Context::from_waker(&waker);
        while self.0.wait(Some(&AT_ONCE))? {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return Ok(Poll::Ready(output));
            }
        }
        Ok(Poll::Pending)
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instance").field(&self.epoll).finish()
    }
}

impl Instance {
    /// Wakes those for whom something has happened; waits for that, no longer than `at_most`, unless a task was woken
    /// already. Whether there is something to do.
    fn wait(&self, at_most: Option<&Timespec>) -> io::Result<bool> {
        let is_idle = self.notifier.begin_wait();
        let timeout = if is_idle { at_most } else { Some(&AT_ONCE) };
        let result = self.take_events(timeout, || self.notifier.end_wait());
        Ok(result? || !is_idle)
    }

    /// Wakes those for whom something has happened; waits for that, no longer than `at_most`. Whether something has.
    fn take_events(&self, at_most: Option<&Timespec>, awake: impl FnOnce()) -> io::Result<bool> {
        let mut events = self.events.borrow_mut();
        events.clear();
        let result = epoll::wait(&self.epoll, spare_capacity(&mut events), at_most);
        awake();
        match result {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.iter() {
            if let Some(readiness) = self.of(event) {
                readiness.note(event.flags);
            }
        }
        Ok(!events.is_empty())
    }

    /// What is known of the socket of an event. If it was closed meanwhile, another may have its number: that one looks
    /// in vain, once.
    fn of(&self, event: &Event) -> Option<Rc<Readiness>> {
        let number = usize::try_from(event.data.u64()).ok()?;
        self.sockets.borrow().get(number).cloned()
    }
}

impl Readiness {
    /// It takes a trial to learn more.
    fn unknown() -> Self {
        Self {
            is_readable: Cell::new(true),
            is_writable: Cell::new(true),
            has_ended: Cell::new(false),
            is_watched_for_writing: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    fn interest(&self) -> EventFlags {
        if self.is_watched_for_writing.get() {
            INCOMING | EventFlags::OUT
        } else {
            INCOMING
        }
    }

    fn note(&self, flags: EventFlags) {
        let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP);
        if failed || flags.intersects(EventFlags::IN | EventFlags::RDHUP) {
            self.is_readable.set(true);
        }
        if failed || flags.intersects(EventFlags::OUT) {
            self.is_writable.set(true);
        }
        if ended {
            self.has_ended.set(true);
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn wake_later(&self, cx: &Context<'_>) {
        match &mut *self.waker.borrow_mut() {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

impl<S: Socket> waiter::Watched<S> for Watched<S> {
    fn socket(&self) -> &S {
        &self.socket
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(self.readiness.is_readable.get(), cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(self.readiness.is_writable.get(), cx)
    }

    fn drained(&self) {
        self.readiness.is_readable.set(self.readiness.has_ended.get());
    }

    /// Every send walks the socket's wait queue; leaving the epoll set while batches are full saves 4 %.
    fn unregister(&self) {
        if self.is_registered.get() && epoll::delete(&self.instance.epoll, &self.socket).is_ok() {
            self.is_registered.set(false);
        }
    }

    fn filled(&self) -> io::Result<()> {
        self.readiness.is_writable.set(false);
        if !self.readiness.is_watched_for_writing.replace(true) && self.is_registered.get() {
            epoll::modify(
                &self.instance.epoll,
                &self.socket,
                self.data(),
                self.readiness.interest(),
            )?;
        }
        Ok(())
    }
}

impl<S: Socket> Watched<S> {
    fn poll(&self, is_ready: bool, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if is_ready {
            return Poll::Ready(Ok(()));
        }
        self.readiness.wake_later(cx);
        // There is an event at once if something has happened meanwhile.
        self.register()?;
        Poll::Pending
    }

    fn register(&self) -> io::Result<()> {
        if !self.is_registered.get() {
            epoll::add(
                &self.instance.epoll,
                &self.socket,
                self.data(),
                self.readiness.interest(),
            )?;
            self.is_registered.set(true);
        }
        Ok(())
    }

    /// What the events of this socket carry.
    const fn data(&self) -> EventData {
        EventData::new_u64(self.number as u64)
    }
}

impl<S> Drop for Watched<S> {
    /// Closing the socket takes it out of the epoll instance.
    fn drop(&mut self) {
        self.instance.sockets.borrow_mut().try_remove(self.number);
    }
}

/// What every socket is watched for, once for each time that more comes.
const INCOMING: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);
/// The number that events of the notifier carry; no socket has it.
const NOTIFIER: u64 = u64::MAX;
/// Events taken in one wait; those beyond are taken in the next.
const EVENTS_MAX: usize = 256;
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
