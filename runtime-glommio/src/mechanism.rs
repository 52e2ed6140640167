//! How glommio waits.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::pin;
use std::time::Duration;

use etracker_runtime_common::{Mechanism, UdpBatch, accept};
use futures_lite::future;
use glommio::{net, spawn_local, timer};

use crate::stream::ClientStream;
use crate::sys;
use crate::yielding::yield_now;

/// The executor of this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glommio;

/// A socket, and the same socket as glommio knows it.
#[derive(Debug)]
pub(crate) struct Watched<S, W> {
    socket: S,
    watched: W,
    /// How often in a row it did not have to be waited for.
    ready: Cell<u32>,
}

impl<S, W> Watched<S, W> {
    const fn new(socket: S, watched: W) -> Self {
        Self {
            socket,
            watched,
            ready: Cell::new(0),
        }
    }
}

impl Mechanism for Glommio {
    type Datagrams = UdpBatch;
    type Udp = Watched<UdpSocket, net::UdpSocket>;
    type Tcp = Watched<TcpListener, net::TcpListener>;
    type Stream = ClientStream;

    fn datagrams(&self) -> io::Result<UdpBatch> {
        Ok(UdpBatch::new())
    }

    fn udp(&self, socket: UdpSocket) -> io::Result<Self::Udp> {
        let watched = sys::watch(socket.try_clone()?);
        Ok(Watched::new(socket, watched))
    }

    fn tcp(&self, listener: TcpListener) -> io::Result<Self::Tcp> {
        let watched = sys::watch(listener.try_clone()?);
        Ok(Watched::new(listener, watched))
    }

    fn socket(udp: &Self::Udp) -> &UdpSocket {
        &udp.socket
    }

    async fn readable(udp: &Self::Udp) -> io::Result<()> {
        // Glommio has no readiness to offer, but a look at the first byte waits for a datagram and leaves it there. What
        // came is then received, and answered, from the socket itself: glommio's `recv_from` takes one datagram at a
        // time, and its `send_to` must never be used: where the socket is full it sends datagrams of one byte.
        let mut byte = [0];
        let mut look = pin!(udp.watched.peek_from(&mut byte));
        let seen = if let Some(seen) = future::poll_once(look.as_mut()).await {
            // It was there already. Others are to have their turn, however steadily datagrams come.
            udp.ready.set(udp.ready.get() + 1);
            if udp.ready.get() < READY_MAX {
                Self.yield_if_ready().await;
            } else {
                udp.ready.set(0);
                yield_now().await;
            }
            seen
        } else {
            udp.ready.set(0);
            look.await
        };
        match seen.map_err(io::Error::from) {
            // A signal came first: the socket itself is asked again.
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            seen => seen.map(|_| ()),
        }
    }

    async fn accept(tcp: &Self::Tcp) -> io::Result<(Self::Stream, SocketAddr)> {
        match accept(&tcp.socket) {
            Ok((socket, peer)) => Ok((ClientStream::Unwatched(socket), peer)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let accepted = tcp.watched.shared_accept().await?;
                // A client that has gone again. This has closed the connection then: it must not be made a stream.
                let gone = |_| io::Error::from(ErrorKind::ConnectionAborted);
                let peer = unmapped(accepted.peer_addr().map_err(gone)?);
                Ok((ClientStream::Watched(accepted.bind_to_executor()), peer))
            }
            Err(error) => Err(error),
        }
    }

    async fn sleep(&self, duration: Duration) {
        timer::sleep(duration).await;
    }

    async fn yield_now(&self) {
        yield_now().await;
    }

    async fn yield_if_ready(&self) {
        // What comes over the network, and who is to be accepted, goes through the one ring that the executor can tell
        // without a call to have something in it. It then looks at all.
        glommio::yield_if_needed().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        spawn_local(task).detach();
    }
}

/// IPv4 as IPv4.
fn unmapped(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Looks at a socket in a row that find a datagram, before others have their turn.
const READY_MAX: u32 = 4;
