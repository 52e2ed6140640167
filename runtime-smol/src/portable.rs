//! Waiting by the one reactor that async-io has for the whole process: on every system.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll, ready};

use async_io::Async;

use crate::waiter::{self, Socket, Waiter};

/// What async-io does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

/// A socket that async-io knows.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    socket: Async<S>,
    is_drained: Cell<bool>,
    is_full: Cell<bool>,
}

impl Waiter for Portable {
    type Watched<S: Socket> = Watched<S>;

    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    fn watch<S: Socket>(&self, socket: S) -> io::Result<Watched<S>> {
        Ok(Watched {
            socket: Async::new_nonblocking(socket)?,
            is_drained: Cell::new(false),
            is_full: Cell::new(false),
        })
    }

    // There is no need to look: as long as no worker waits, async-io's own thread sees what happens, and wakes tasks.

    fn block_on<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        Ok(async_io::block_on(future))
    }
}

impl<S: Socket> waiter::Watched<S> for Watched<S> {
    fn socket(&self) -> &S {
        self.socket.get_ref()
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_drained.get() {
            ready!(self.socket.poll_readable(cx))?;
            self.is_drained.set(false);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_full.get() {
            ready!(self.socket.poll_writable(cx))?;
            self.is_full.set(false);
        }
        Poll::Ready(Ok(()))
    }

    fn drained(&self) {
        self.is_drained.set(true);
    }

    fn filled(&self) -> io::Result<()> {
        self.is_full.set(true);
        Ok(())
    }
}
