//! A connection of glommio.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead as _, AsyncWrite as _};
use glommio::{net, spawn_local};

use crate::sys;
use crate::yielding::yield_now;

/// A connection that the reactor is told about when it first has to be waited for: many never have to be.
#[derive(Debug)]
pub(crate) enum ClientStream {
    Unwatched(TcpStream),
    Watched(net::TcpStream),
    /// The reactor could not take it.
    Lost,
}

impl etracker_runtime_common::Stream for ClientStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        while let Self::Unwatched(socket) = self {
            match socket.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
        Pin::new(self.watched()?).poll_read(cx, buffer)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while let Self::Unwatched(socket) = self {
            match socket.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
        Pin::new(self.watched()?).poll_write(cx, bytes)
    }

    fn give_way(&self, cx: &mut Context<'_>) {
        let waker = cx.waker().clone();
        spawn_local(async move {
            yield_now().await;
            waker.wake();
        })
        .detach();
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Self::Unwatched(socket) = self {
            return socket.read(buffer);
        }
        let nobody = &mut Context::from_waker(Waker::noop());
        match Pin::new(self.watched()?).poll_read(nobody, buffer) {
            Poll::Ready(done) => done,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        match self {
            Self::Unwatched(socket) => socket.shutdown(Shutdown::Write),
            Self::Watched(socket) => {
                match Pin::new(socket).poll_close(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(done) => done,
                    // It never is.
                    Poll::Pending => Ok(()),
                }
            }
            Self::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl ClientStream {
    /// This connection as the reactor knows it.
    fn watched(&mut self) -> io::Result<&mut net::TcpStream> {
        if let Self::Unwatched(_) = self
            && let Self::Unwatched(socket) = std::mem::replace(self, Self::Lost)
        {
            *self = Self::Watched(sys::watch(socket));
        }
        match self {
            Self::Watched(socket) => Ok(socket),
            Self::Unwatched(_) | Self::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }
}
