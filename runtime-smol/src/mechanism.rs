//! What smol does for a worker.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use etracker_runtime_common::{Mechanism, UdpBatch, accept};
use futures_lite::future;
use smol::LocalExecutor;

use crate::stream::ClientStream;
use crate::waiter::{Waiter, Watched as _};

/// The executor of one worker, and what its thread waits with.
#[derive(Clone, Debug)]
pub(crate) struct Smol<W> {
    pub(crate) executor: Rc<LocalExecutor<'static>>,
    pub(crate) waiter: W,
}

/// A listening socket, and what its connections are waited for with.
#[derive(Debug)]
pub(crate) struct Listener<W: Waiter> {
    socket: W::Watched<TcpListener>,
    waiter: W,
}

impl<W: Waiter> Mechanism for Smol<W> {
    type Datagrams = UdpBatch;
    type Udp = W::Watched<UdpSocket>;
    type Tcp = Listener<W>;
    type Stream = ClientStream<W>;

    fn datagrams(&self) -> io::Result<UdpBatch> {
        Ok(UdpBatch::new())
    }

    fn udp(&self, socket: UdpSocket) -> io::Result<Self::Udp> {
        self.waiter.watch(socket)
    }

    fn tcp(&self, listener: TcpListener) -> io::Result<Self::Tcp> {
        Ok(Listener {
            socket: self.waiter.watch(listener)?,
            waiter: self.waiter.clone(),
        })
    }

    fn socket(udp: &Self::Udp) -> &UdpSocket {
        udp.socket()
    }

    async fn readable(udp: &Self::Udp) -> io::Result<()> {
        udp.drained();
        poll_fn(|cx| udp.poll_readable(cx)).await
    }

    fn busy(udp: &Self::Udp) {
        udp.unregister();
    }

    async fn accept(tcp: &Self::Tcp) -> io::Result<(Self::Stream, SocketAddr)> {
        loop {
            poll_fn(|cx| tcp.socket.poll_readable(cx)).await?;
            match accept(tcp.socket.socket()) {
                Ok((socket, peer)) => return Ok((ClientStream::new(socket, tcp.waiter.clone()), peer)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => tcp.socket.drained(),
                Err(error) => return Err(error),
            }
        }
    }

    async fn sleep(&self, duration: Duration) {
        W::sleep(duration).await;
    }

    async fn yield_now(&self) {
        // As long as tasks can go on, the executor runs two hundred of them before its thread waits, and looks, again.
        self.waiter.look();
        future::yield_now().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(task).detach();
    }
}
