//! Waits for sockets and for time to pass, by `poll`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What the tasks of one worker wait for.
pub(super) struct Reactor {
    bell: UnixStream,
    next: Cell<u64>,
    sockets: RefCell<BTreeMap<(u64, Direction), Waiting>>,
    timers: RefCell<BTreeMap<(Instant, u64), Waker>>,
}

/// Ends a wait, from any thread.
pub(super) struct Bell(UnixStream);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Direction {
    Reading,
    Writing,
}

struct Waiting {
    socket: Weak<dyn AsFd>,
    waker: Waker,
}

impl Reactor {
    pub(super) fn new() -> io::Result<(Self, Bell)> {
        let (bell, ringing) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ringing.set_nonblocking(true)?;
        let reactor = Self {
            bell,
            next: Cell::new(0),
            sockets: RefCell::default(),
            timers: RefCell::default(),
        };
        Ok((reactor, Bell(ringing)))
    }

    /// Wakes the tasks whose sockets are ready or whose time has come. Waits for that if `may_sleep`.
    pub(super) fn wait(&self, may_sleep: bool) -> io::Result<()> {
        let time = if may_sleep {
            self.until_next_timer()
        } else {
            Some(Duration::ZERO)
        };
        self.wait_for_sockets(time)?;
        while (&self.bell).read(&mut [0; 64]).is_ok_and(|len| len == 64) {}
        self.fire_timers();
        Ok(())
    }

    fn wait_for_sockets(&self, time: Option<Duration>) -> io::Result<()> {
        let mut sockets = self.sockets.borrow_mut();
        let open = sockets
            .iter()
            .filter_map(|(&key, waiting)| Some((key, waiting.socket.upgrade()?)));
        let open: Vec<((u64, Direction), Rc<dyn AsFd>)> = open.collect();
        let mut polled: Vec<PollFd<'_>> = open
            .iter()
            .map(|((_, direction), socket)| PollFd::new(socket, direction.flags()))
            .collect();
        polled.push(PollFd::new(&self.bell, PollFlags::IN));
        let time = time
            .map(Timespec::try_from)
            .transpose()
            .map_err(io::Error::other)?;
        match poll(&mut polled, time.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        for (fd, (key, _)) in polled.iter().zip(&open) {
            if !fd.revents().is_empty()
                && let Some(waiting) = sockets.remove(key)
            {
                waiting.waker.wake();
            }
        }
        Ok(())
    }

    fn until_next_timer(&self) -> Option<Duration> {
        let timers = self.timers.borrow();
        let (at, _) = timers.keys().next()?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    fn fire_timers(&self) {
        let mut timers = self.timers.borrow_mut();
        let later = timers.split_off(&(Instant::now(), u64::MAX));
        for waker in std::mem::replace(&mut *timers, later).into_values() {
            waker.wake();
        }
    }

    /// A number that nothing else has.
    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    pub(super) async fn sleep(&self, duration: Duration) {
        let key = (Instant::now() + duration, self.number());
        std::future::poll_fn(|cx| {
            if Instant::now() >= key.0 {
                return Poll::Ready(());
            }
            self.timers.borrow_mut().insert(key, cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Bell {
    pub(super) fn ring(&self) {
        // A bell that is full has been rung.
        let _ = (&self.0).write(&[0]);
    }
}

impl Direction {
    const fn flags(self) -> PollFlags {
        match self {
            Self::Reading => PollFlags::IN,
            Self::Writing => PollFlags::OUT,
        }
    }
}

/// A non-blocking socket that tasks wait for.
pub(super) struct Watched<S> {
    pub(super) socket: Rc<S>,
    number: u64,
    reactor: Rc<Reactor>,
}

impl<S: AsFd + 'static> Watched<S> {
    pub(super) fn new(socket: S, reactor: &Rc<Reactor>) -> Self {
        Self {
            socket: Rc::new(socket),
            number: reactor.number(),
            reactor: Rc::clone(reactor),
        }
    }

    pub(super) const fn reactor(&self) -> &Rc<Reactor> {
        &self.reactor
    }

    /// Does what would block when the socket is ready.
    pub(super) fn poll<T>(
        &self,
        cx: &Context<'_>,
        direction: Direction,
        mut act: impl FnMut(&S) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match act(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                done => return Poll::Ready(done),
            }
        }
        self.wake_when_ready(cx, direction);
        Poll::Pending
    }

    pub(super) fn wake_when_ready(&self, cx: &Context<'_>, direction: Direction) {
        let socket = Rc::downgrade(&self.socket);
        let (socket, waker): (Weak<dyn AsFd>, Waker) = (socket, cx.waker().clone());
        let mut sockets = self.reactor.sockets.borrow_mut();
        sockets.insert((self.number, direction), Waiting { socket, waker });
    }
}

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        let mut sockets = self.reactor.sockets.borrow_mut();
        for direction in [Direction::Reading, Direction::Writing] {
            sockets.remove(&(self.number, direction));
        }
    }
}
