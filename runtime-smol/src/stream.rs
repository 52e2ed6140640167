//! A connection of smol.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::task::{Context, Poll, ready};

use crate::waiter::{Waiter, Watched as _};

/// A connection that is watched from when it first has to be waited for: many never have to be.
#[derive(Debug)]
pub(crate) struct ClientStream<W: Waiter> {
    socket: Socket<W>,
    waiter: W,
}

#[derive(Debug)]
enum Socket<W: Waiter> {
    /// And whether a read has just taken all that was there.
    Unwatched(TcpStream, bool),
    Watched(W::Watched<TcpStream>),
    /// The system would not have it watched.
    Lost,
}

impl<W: Waiter> ClientStream<W> {
    /// A connection that was just accepted.
    pub(crate) const fn new(socket: TcpStream, waiter: W) -> Self {
        let socket = Socket::Unwatched(socket, false);
        Self { socket, waiter }
    }
}

impl<W: Waiter> etracker_runtime_common::Stream for ClientStream<W> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Socket::Unwatched(_, true) = &self.socket {
                // To read again would cost a call that returns EAGAIN. What has come meanwhile is told at once.
                self.watched()?.drained();
            }
            if let Socket::Watched(socket) = &self.socket {
                ready!(socket.poll_readable(cx))?;
            }
            match self.socket.get()?.read(buffer) {
                Ok(len) => {
                    self.socket.note_read(len, buffer.len());
                    return Poll::Ready(Ok(len));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.watched()?.drained(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Socket::Watched(socket) = &self.socket {
                ready!(socket.poll_writable(cx))?;
            }
            match self.socket.get()?.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.watched()?.filled()?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn look(&self) {
        self.waiter.look();
    }

    fn give_way(&self, cx: &mut Context<'_>) {
        self.waiter.look();
        cx.waker().wake_by_ref();
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.get()?.read(buffer)
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        self.socket.get()?.shutdown(Shutdown::Write)
    }
}

impl<W: Waiter> ClientStream<W> {
    /// This connection, watched from now on if it was not yet.
    fn watched(&mut self) -> io::Result<&W::Watched<TcpStream>> {
        if let Socket::Unwatched(..) = self.socket
            && let Socket::Unwatched(socket, _) = std::mem::replace(&mut self.socket, Socket::Lost)
        {
            self.socket = Socket::Watched(self.waiter.watch(socket)?);
        }
        match &self.socket {
            Socket::Watched(socket) => Ok(socket),
            Socket::Unwatched(..) | Socket::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl<W: Waiter> Socket<W> {
    fn get(&self) -> io::Result<&TcpStream> {
        match self {
            Self::Unwatched(socket, _) => Ok(socket),
            Self::Watched(socket) => Ok(socket.socket()),
            Self::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Notes that a read for `room` bytes brought `len`. What has come since is told to those who watch.
    fn note_read(&mut self, len: usize, room: usize) {
        if len == room {
            return;
        }
        match self {
            Self::Unwatched(_, is_drained) => *is_drained = true,
            Self::Watched(socket) => socket.drained(),
            Self::Lost => {}
        }
    }
}
