//! How a worker's thread waits.

use std::fmt::Debug;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Timer;

#[cfg(unix)]
use std::os::fd::AsFd as Handle;
#[cfg(windows)]
use std::os::windows::io::AsSocket as Handle;

/// What can be waited for.
pub(crate) trait Socket: Handle + Debug + Unpin + 'static {}

impl<S: Handle + Debug + Unpin + 'static> Socket for S {}

/// Waits for the sockets and tasks of one worker. Copies are the same waiter.
pub(crate) trait Waiter: Clone + Debug + Unpin + 'static {
    /// A socket that can be waited for.
    type Watched<S: Socket>: Watched<S>;

    /// What the thread of one worker waits with.
    fn new() -> io::Result<Self>;

    /// Has `socket`, which is non-blocking, waited for.
    fn watch<S: Socket>(&self, socket: S) -> io::Result<Self::Watched<S>>;

    /// Drives `future` to its end; waits whenever it does.
    fn block_on<T>(&self, future: impl Future<Output = T>) -> io::Result<T>;

    /// Wakes those for whom something has happened. Never waits.
    fn look(&self) {}

    /// Waits for a while.
    fn sleep(duration: Duration) -> impl Future<Output = ()> {
        async move {
            Timer::after(duration).await;
        }
    }
}

/// A socket, and what is known of it. One task at a time waits for it.
pub(crate) trait Watched<S>: Debug + Unpin + 'static {
    /// The socket itself.
    fn socket(&self) -> &S;

    /// Ready as long as something may be there to be read. If not, the task is woken when it may.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready as long as something may be written. If not, the task is woken when it may.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Notes that all that was there has just been read: reading would have to wait.
    fn drained(&self);

    /// Stops watching the socket until it is waited for again. Sending on it may be cheaper meanwhile.
    fn unregister(&self) {}

    /// Notes that the socket has just taken all that it can: writing would have to wait.
    ///
    /// # Errors
    /// The system would not have it watched for that.
    fn filled(&self) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use smol::channel;

    use super::*;
    use crate::portable::Portable;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        (near, listener.accept().unwrap().0)
    }

    /// What is there, as far as it fits, once something is.
    async fn read<S: Watched<TcpStream>>(watched: &S, buffer: &mut [u8]) -> usize {
        loop {
            poll_fn(|cx| watched.poll_readable(cx)).await.unwrap();
            match watched.socket().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => watched.drained(),
                read => return read.unwrap(),
            }
        }
    }

    fn what_comes_is_read<W: Waiter>() {
        let (near, mut far) = pair();
        let waiter = W::new().unwrap();
        let watched = waiter.watch(near).unwrap();
        let mut buffer = [0; 3];
        let mut next = || waiter.block_on(read(&watched, &mut buffer)).unwrap();
        far.write_all(b"one").unwrap();
        assert_eq!(next(), 3);
        // Nobody said that it was drained: the rest, and what comes while it is waited for.
        far.write_all(b"twothree").unwrap();
        assert_eq!((next(), next(), next()), (3, 3, 2));
        let writer = thread::spawn(move || {
            far.write_all(b"4").unwrap();
            far
        });
        assert_eq!(next(), 1);
        // The end too, even if it is not looked for before more is waited for.
        drop(writer.join().unwrap());
        assert_eq!(next(), 0);
    }

    fn an_end_that_came_with_the_last_bytes_is_seen<W: Waiter>() {
        let (near, mut far) = pair();
        let waiter = W::new().unwrap();
        let watched = waiter.watch(near).unwrap();
        watched.drained();
        far.write_all(b"all").unwrap();
        drop(far);
        let mut buffer = [0; 9];
        let reads = async { (read(&watched, &mut buffer).await, watched.drained()) };
        assert_eq!(waiter.block_on(reads).unwrap().0, 3);
        assert_eq!(waiter.block_on(read(&watched, &mut buffer)).unwrap(), 0);
    }

    fn what_came_while_it_was_unregistered_is_read<W: Waiter>() {
        let (near, mut far) = pair();
        let waiter = W::new().unwrap();
        let watched = waiter.watch(near).unwrap();
        let mut buffer = [0; 3];
        for _ in 0..3 {
            watched.unregister();
            far.write_all(b"one").unwrap();
            watched.drained();
            assert_eq!(waiter.block_on(read(&watched, &mut buffer)).unwrap(), 3);
            watched.drained();
            let writer = thread::spawn(move || {
                far.write_all(b"two").unwrap();
                far
            });
            assert_eq!(waiter.block_on(read(&watched, &mut buffer)).unwrap(), 3);
            far = writer.join().unwrap();
        }
    }

    fn a_full_socket_is_waited_for<W: Waiter>() {
        let (near, mut far) = pair();
        let waiter = W::new().unwrap();
        let watched = waiter.watch(near).unwrap();
        let total = 16 << 20;
        let reader = thread::spawn(move || far.read_exact(&mut vec![0; total]).unwrap());
        let chunk = [0; 1 << 16];
        let mut written = 0;
        let writes = async {
            while written < total {
                poll_fn(|cx| watched.poll_writable(cx)).await.unwrap();
                match watched.socket().write(&chunk) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => watched.filled().unwrap(),
                    len => written += len.unwrap(),
                }
            }
        };
        waiter.block_on(writes).unwrap();
        reader.join().unwrap();
    }

    fn a_task_woken_from_another_thread_goes_on<W: Waiter>() {
        let waiter = W::new().unwrap();
        for _ in 0..1000 {
            let (sender, receiver) = channel::bounded(1);
            let sending = thread::spawn(move || sender.send_blocking(7));
            assert_eq!(waiter.block_on(receiver.recv()).unwrap(), Ok(7));
            sending.join().unwrap().unwrap();
        }
    }

    fn keeps_its_promises<W: Waiter>() {
        what_comes_is_read::<W>();
        an_end_that_came_with_the_last_bytes_is_seen::<W>();
        what_came_while_it_was_unregistered_is_read::<W>();
        a_full_socket_is_waited_for::<W>();
        a_task_woken_from_another_thread_goes_on::<W>();
    }

    #[test]
    fn async_io_keeps_its_promises() {
        keeps_its_promises::<Portable>();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn epoll_keeps_its_promises() {
        keeps_its_promises::<crate::epoll::Epoll>();
    }
}
