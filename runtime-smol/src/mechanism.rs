//! How smol waits.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use async_io::{Async, Timer};
use etracker_runtime_common::{Mechanism, accept};
use futures_lite::future;
use smol::LocalExecutor;

use crate::stream::Stream;

/// The executor of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Smol(pub(crate) Rc<LocalExecutor<'static>>);

impl Mechanism for Smol {
    type Udp = Async<UdpSocket>;
    type Tcp = Async<TcpListener>;
    type Stream = Stream;

    fn udp(socket: UdpSocket) -> io::Result<Self::Udp> {
        Async::new_nonblocking(socket)
    }

    fn tcp(listener: TcpListener) -> io::Result<Self::Tcp> {
        Async::new_nonblocking(listener)
    }

    fn socket(udp: &Self::Udp) -> &UdpSocket {
        udp.get_ref()
    }

    async fn readable(udp: &Self::Udp) -> io::Result<()> {
        udp.readable().await
    }

    async fn accept(tcp: &Self::Tcp) -> io::Result<(Self::Stream, SocketAddr)> {
        loop {
            match accept(tcp.get_ref()) {
                Ok((socket, peer)) => return Ok((Stream::Unwatched(socket), peer)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => tcp.readable().await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn sleep(duration: Duration) {
        Timer::after(duration).await;
    }

    async fn yield_now() {
        future::yield_now().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.spawn(task).detach();
    }
}
