//! A connection of smol.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::task::{Context, Poll, ready};

use async_io::Async;

/// A connection that the reactor is told about when it first has to be waited for: many never have to be.
#[derive(Debug)]
pub(crate) enum Stream {
    Unwatched(TcpStream),
    Watched(Async<TcpStream>),
    /// The reactor could not take it.
    Lost,
}

impl etracker_runtime_common::Stream for Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.socket()?.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.watched()?.poll_readable(cx))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.socket()?.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.watched()?.poll_writable(cx))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket()?.read(buffer)
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        self.socket()?.shutdown(Shutdown::Write)
    }
}

impl Stream {
    fn socket(&self) -> io::Result<&TcpStream> {
        match self {
            Self::Unwatched(socket) => Ok(socket),
            Self::Watched(socket) => Ok(socket.get_ref()),
            Self::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// This connection as the reactor knows it.
    fn watched(&mut self) -> io::Result<&Async<TcpStream>> {
        if let Self::Unwatched(_) = self
            && let Self::Unwatched(socket) = std::mem::replace(self, Self::Lost)
        {
            *self = Self::Watched(Async::new_nonblocking(socket)?);
        }
        match self {
            Self::Watched(socket) => Ok(socket),
            Self::Unwatched(_) | Self::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }
}
