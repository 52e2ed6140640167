//! What a worker of etracker asks of a runtime, by executor and reactor.

use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use etracker_runtime_common::{Mechanism, Stream, accept};

use super::executor::Executor;
use super::frames::Frames;
use super::reactor::{Direction, Watched};

/// The executor of this thread.
#[derive(Clone)]
pub(super) struct Polling(Rc<Executor>);

impl Polling {
    pub(super) fn new(executor: &Rc<Executor>) -> Self {
        Self(Rc::clone(executor))
    }
}

impl Mechanism for Polling {
    type Datagrams = Frames;
    type Udp = Watched<UdpSocket>;
    type Tcp = Watched<TcpListener>;
    type Stream = Connected;

    fn datagrams(&self) -> io::Result<Frames> {
        Ok(Frames::new())
    }

    fn udp(&self, socket: UdpSocket) -> io::Result<Watched<UdpSocket>> {
        Ok(Watched::new(socket, self.0.reactor()))
    }

    fn tcp(&self, listener: TcpListener) -> io::Result<Watched<TcpListener>> {
        Ok(Watched::new(listener, self.0.reactor()))
    }

    fn socket(udp: &Watched<UdpSocket>) -> &UdpSocket {
        &udp.socket
    }

    async fn readable(udp: &Watched<UdpSocket>) -> io::Result<()> {
        poll_fn(|cx| udp.poll(cx, Direction::Reading, |socket| socket.peek(&mut [0]).map(drop))).await
    }

    async fn accept(tcp: &Watched<TcpListener>) -> io::Result<(Connected, SocketAddr)> {
        let (stream, peer) = poll_fn(|cx| tcp.poll(cx, Direction::Reading, accept)).await?;
        Ok((Connected(Watched::new(stream, tcp.reactor())), peer))
    }

    async fn sleep(&self, duration: Duration) {
        self.0.reactor().sleep(duration).await;
    }

    async fn yield_now(&self) {
        let mut is_next_round = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut is_next_round, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.spawn(Box::pin(task));
    }
}

/// An accepted connection.
pub(super) struct Connected(Watched<TcpStream>);

impl Stream for Connected {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0
            .poll(cx, Direction::Reading, |mut socket| socket.read(buffer))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0
            .poll(cx, Direction::Writing, |mut socket| socket.write(bytes))
    }

    fn give_way(&self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0.socket).read(buffer)
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        self.0.socket.shutdown(Shutdown::Write)
    }
}
