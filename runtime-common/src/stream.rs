//! A connection, as far as it depends on the runtime.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

/// A TCP connection of a runtime. Dropping it closes the connection.
pub trait Stream: Unpin + 'static {
    /// Reads what is there into `buffer`; 0 bytes mean that no more will come. If nothing is there, the task is woken
    /// when something is.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes some of `bytes`. If none can be written, the task is woken when some can.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Takes note that what is written from now on is the last: a goodbye can go with it. The default has none to say.
    fn end_with_write(&mut self) {}

    /// The source of a handshake that is to be [permitted](Self::permit_handshake) before reading goes on. Nobody is woken for that:
    /// who polls looks for it after [`poll_read`](Self::poll_read) was pending. The default has no handshakes.
    fn handshake_source(&self) -> Option<IpAddr> {
        None
    }

    /// Says whether the handshake may be made; if not, the connection ends.
    fn permit_handshake(&mut self, _permitted: bool) {}

    /// The client whom a proxy has named as the one that it passes the connection on for; once, after a read.
    fn take_client(&mut self) -> Option<SocketAddr> {
        None
    }

    /// Wakes the tasks that something has come for by now, if a look at what is ready takes no waiting.
    fn look(&self) {}

    /// Has the task woken when others have had their turn, those too that something has come for by now.
    fn give_way(&self, cx: &mut Context<'_>);

    /// Reads what is there into `buffer`, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; anything else ends the connection.
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Tells the client that nothing more will come.
    ///
    /// # Errors
    /// The client is gone.
    fn shut_down_write(&mut self) -> io::Result<()>;
}

impl<S: Stream + ?Sized> Stream for Box<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        (**self).poll_read(cx, buffer)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        (**self).poll_write(cx, bytes)
    }

    fn end_with_write(&mut self) {
        (**self).end_with_write();
    }

    fn handshake_source(&self) -> Option<IpAddr> {
        (**self).handshake_source()
    }

    fn permit_handshake(&mut self, permitted: bool) {
        (**self).permit_handshake(permitted);
    }

    fn take_client(&mut self) -> Option<SocketAddr> {
        (**self).take_client()
    }

    fn look(&self) {
        (**self).look();
    }

    fn give_way(&self, cx: &mut Context<'_>) {
        (**self).give_way(cx);
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).try_read(buffer)
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        (**self).shut_down_write()
    }
}
