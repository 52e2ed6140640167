//! One connection, driven.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use etracker_core::governor::{Class, Verdict};
use etracker_core::http::Step;
use etracker_core::stats::Count;
use etracker_core::{Instant, Worker};

use crate::datagram_io::error_number;
use crate::front::{AnyConnectionFront, AnySession};
use crate::slots::SlotId;
use crate::worker_state::{WorkerHandle, WorkerState};
use crate::{Session, Stream, Traffic};

/// Serves one client until it, or its time, is gone. Reads before it waits, and uses the worker's buffers; only a
/// client that is slow to take its answer has memory of its own for the rest of it.
#[derive(Debug)]
pub(crate) struct Conversation<S: Stream> {
    handle: WorkerHandle<S>,
    slot: SlotId,
    connection: Option<OpenConnection<S>>,
}

/// The connection while it is open. A closed one holds its slot until its task is dropped.
#[derive(Debug)]
struct OpenConnection<S> {
    stream: S,
    session: AnySession,
    next: Next,
    /// The part of an answer that the client did not take at once, and how many bytes of it it has taken since.
    unsent: Vec<u8>,
    taken: usize,
    /// Whether the client has sent nothing since its last answer.
    is_idle: bool,
    /// Whether the client will send no more.
    has_ended: bool,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Read,
    /// Write what is unsent.
    Flush,
    Respond,
}

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    /// The writing side first, the rest when the client has closed too, so that it gets its answer.
    Linger,
    /// Both sides at once.
    AtOnce,
}

impl<S: Stream> Conversation<S> {
    /// Welcomes the client `peer`.
    pub(crate) fn new(
        handle: &WorkerHandle<S>,
        front: &AnyConnectionFront,
        stream: S,
        peer: SocketAddr,
    ) -> Self {
        let mut state = handle.borrow();
        let session = front.open(state.clock.now(), peer);
        state.worker.count(Count::AcceptPassed);
        Self {
            handle: handle.clone(),
            slot: state.occupy_slot(),
            connection: Some(OpenConnection {
                stream,
                session,
                next: Next::Read,
                unsent: Vec::new(),
                taken: 0,
                is_idle: true,
                has_ended: false,
            }),
        }
    }
}

impl<S: Stream> Future for Conversation<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self {
            handle,
            slot,
            connection,
        } = &mut *self;
        let mut state = handle.borrow();
        let now = state.clock.now();
        let Some(open) = connection else {
            return Poll::Ready(());
        };
        if state.answered >= ANSWERS_MAX {
            state.answered = 0;
            state.worker.count(Count::GaveWay);
            // Pipelined requests kept datagrams waiting for 3,000 answers where nothing looked at the sockets.
            open.stream.look();
        }
        if let Poll::Ready(close) = open.proceed(cx, now, *slot, &mut state) {
            state.unsent -= open.unsent.len();
            if let (Some(connection), Close::Linger) = (connection.take(), close) {
                state.linger(now, connection.stream);
            }
            return Poll::Ready(());
        }
        if open.next == Next::Read {
            // Only a connection that waits for its client may be closed for a new one: no answer is cut off by that.
            state.slots.mark_waiting(*slot, now);
        } else {
            state.slots.mark_busy(*slot);
        }
        let deadline = open.session.poll_timeout();
        state.slots.set_deadline(*slot, deadline, cx.waker());
        Poll::Pending
    }
}

impl<S: Stream> Drop for Conversation<S> {
    fn drop(&mut self) {
        let mut state = self.handle.borrow();
        if let Some(connection) = &self.connection {
            state.unsent -= connection.unsent.len();
        }
        state.worker.count(Count::Closed);
        state.release_slot(self.slot);
    }
}

impl<S: Stream> OpenConnection<S> {
    fn proceed(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        slot: SlotId,
        state: &mut WorkerState<S>,
    ) -> Poll<Close> {
        if state.slots.is_evicted(slot) {
            // Lingering would keep the descriptor that a new client needs, and there is no answer to lose.
            return Poll::Ready(Close::AtOnce);
        }
        // One time-out a poll: the answer to it (408) has a deadline of its own.
        let mut overdue = now >= self.session.poll_timeout();
        for _ in 0..TURNS_MAX {
            // The client has its last answer, perhaps unread: half-closing keeps it readable.
            if self.is_idle && state.is_ending() {
                return Poll::Ready(Close::Linger);
            }
            let step = if std::mem::take(&mut overdue) {
                self.time_out(now, state)
            } else {
                ready!(self.turn(cx, now, state))
            };
            self.next = match step {
                Ok(Step::Read) => Next::Read,
                Ok(Step::Write(len)) => match ready!(self.write(cx, len, state)) {
                    Ok(()) => {
                        // Its waiting begins anew with each answer: a client that asks often is not idle longest.
                        state.slots.mark_busy(slot);
                        state.answered += 1;
                        Next::Respond
                    }
                    Err(close) => return Poll::Ready(close),
                },
                // One step of a full scrape is done: others have their turn before the next one.
                Ok(Step::Again) => {
                    self.next = Next::Respond;
                    break;
                }
                // Nothing unread can come that would reset the connection (RFC 9112, section 9.6). Saves two calls of six.
                Ok(Step::Close) if self.has_ended || self.session.client_is_done() => {
                    return Poll::Ready(Close::AtOnce);
                }
                Ok(Step::Close) => return Poll::Ready(Close::Linger),
                Err(close) => return Poll::Ready(close),
            };
        }
        self.stream.give_way(cx);
        Poll::Pending
    }

    /// Does what is next, and learns what is to be done then.
    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        state: &mut WorkerState<S>,
    ) -> Poll<Result<Step, Close>> {
        match self.next {
            Next::Read => return self.read(cx, now, state),
            Next::Flush => {
                if let Err(close) = ready!(self.flush(cx, state)) {
                    return Poll::Ready(Err(close));
                }
            }
            Next::Respond => {}
        }
        let step = self.session.respond(now, &mut state.worker, &mut state.reply);
        self.is_idle = step == Step::Read;
        Poll::Ready(Ok(step))
    }

    fn read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        state: &mut WorkerState<S>,
    ) -> Poll<Result<Step, Close>> {
        // The session wants more than the client has sent.
        if self.has_ended {
            return Poll::Ready(Err(Close::AtOnce));
        }
        let WorkerState {
            worker, input, reply, ..
        } = state;
        let step = match ready!(poll_read(&mut self.stream, cx, now, input, worker)) {
            Ok(0) => {
                self.has_ended = true;
                self.session.end_of_input(now, worker, reply)
            }
            Ok(len) => {
                self.is_idle = false;
                if let Some(client) = self.stream.take_client() {
                    self.session.set_client(client);
                }
                self.session.count(worker, Traffic::Received(len));
                self.session.receive(now, &input[..len], worker, reply)
            }
            Err(error) => {
                // No system reports this kind of error.
                let failed = if error.kind() != ErrorKind::InvalidData {
                    Traffic::ReceiveFailed(error_number(&error))
                } else if error.get_ref().is_some() {
                    Traffic::ProxyMalformed
                } else {
                    // The client of a handshake that failed was told why, and is to read it.
                    return Poll::Ready(Err(Close::Linger));
                };
                self.session.count(worker, failed);
                // A connection that was reset takes no answer either.
                return Poll::Ready(Err(Close::AtOnce));
            }
        };
        Poll::Ready(Ok(step))
    }

    /// Writes an answer from the worker's buffer. What the client does not take at once is kept for [`flush`](Self::flush).
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        len: usize,
        state: &mut WorkerState<S>,
    ) -> Poll<Result<(), Close>> {
        let WorkerState {
            worker,
            reply,
            unsent,
            ..
        } = state;
        if self.session.is_ending() {
            self.stream.end_with_write();
        }
        let mut written = 0;
        let result = write_all(
            (&mut self.stream, &self.session),
            cx,
            &reply[..len],
            &mut written,
            worker,
        );
        if result.is_pending() {
            // The buffer is the worker's: the next connection overwrites it, so that the rest is copied.
            let rest = &reply[written..len];
            // Many clients that read nothing would otherwise take memory without bound.
            if *unsent + rest.len() > UNSENT_MAX {
                self.session.count(worker, Traffic::GivenUp);
                return Poll::Ready(Err(Close::AtOnce));
            }
            *unsent += rest.len();
            (self.unsent, self.taken, self.next) = (rest.to_vec(), 0, Next::Flush);
        }
        result
    }

    fn flush(&mut self, cx: &mut Context<'_>, state: &mut WorkerState<S>) -> Poll<Result<(), Close>> {
        let Self {
            stream,
            session,
            unsent,
            taken,
            ..
        } = self;
        ready!(write_all((stream, session), cx, unsent, taken, &state.worker))?;
        state.unsent -= unsent.len();
        // Freed and not cleared: an idle connection must not keep the memory of its longest answer.
        self.unsent = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// A client that did not take its answer in time is not given another.
    fn time_out(&mut self, now: Instant, state: &mut WorkerState<S>) -> Result<Step, Close> {
        // Called first even if the client is cut off: the session counts what it gave up, as a slow full scrape.
        let step = self
            .session
            .handle_timeout(now, &mut state.worker, &mut state.reply);
        if self.next == Next::Flush {
            self.session.count(&state.worker, Traffic::GivenUp);
            return Err(Close::AtOnce);
        }
        Ok(step)
    }
}

/// Reads, and has the worker judge a handshake before it is made: it is dearer than any request, whether it is completed or not.
#[inline]
fn poll_read<S: Stream>(
    stream: &mut S,
    cx: &mut Context<'_>,
    now: Instant,
    input: &mut [u8],
    worker: &mut Worker,
) -> Poll<io::Result<usize>> {
    let mut read = stream.poll_read(cx, input);
    if read.is_pending()
        && let Some(source) = stream.handshake_source()
    {
        stream.permit_handshake(worker.judge(now, source, Class::Handshake) == Verdict::Serve);
        read = stream.poll_read(cx, input);
    }
    read
}

/// Writes what `written` leaves of `bytes`.
fn write_all<S: Stream>(
    (stream, session): (&mut S, &AnySession),
    cx: &mut Context<'_>,
    bytes: &[u8],
    written: &mut usize,
    worker: &Worker,
) -> Poll<Result<(), Close>> {
    while *written < bytes.len() {
        match ready!(stream.poll_write(cx, &bytes[*written..])) {
            Ok(len) if len > 0 => {
                session.count(worker, Traffic::Sent(len));
                *written += len;
            }
            // A stream that takes nothing and does not wait would be tried for ever.
            Ok(_) => {
                session.count(worker, Traffic::GivenUp);
                return Poll::Ready(Err(Close::AtOnce));
            }
            Err(error) => {
                session.count(worker, Traffic::SendFailed(error_number(&error)));
                return Poll::Ready(Err(Close::AtOnce));
            }
        }
    }
    session.count(worker, Traffic::Answered);
    Poll::Ready(Ok(()))
}

/// Reads and answers of one connection before others have their turn.
const TURNS_MAX: usize = 4;
/// Answers over all connections before their worker looks at what else is ready.
const ANSWERS_MAX: usize = 64;
/// Bytes of answers, over all connections of a worker, that clients have yet to take. One who is to wait beyond that
/// is cut off.
const UNSENT_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::task::Waker;

    use etracker_core::{Config, Seed, Tracker, http};

    use super::*;
    use crate::Clock;

    /// A client, seen from the tracker's side.
    #[derive(Clone, Debug, Default)]
    struct Client(Rc<RefCell<Wire>>);

    #[derive(Debug, Default)]
    struct Wire {
        /// What the client sends, read by read; an empty read is its end.
        sent: VecDeque<Vec<u8>>,
        received: Vec<u8>,
        /// How many more bytes it takes.
        takes: usize,
        /// Whether the tracker said goodbye.
        shut_down: bool,
        reads: usize,
    }

    impl Stream for Client {
        fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            let mut wire = self.0.borrow_mut();
            wire.reads += 1;
            match wire.sent.pop_front() {
                Some(bytes) => {
                    buffer[..bytes.len()].copy_from_slice(&bytes);
                    Poll::Ready(Ok(bytes.len()))
                }
                None => Poll::Pending,
            }
        }

        fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let mut wire = self.0.borrow_mut();
            let len = bytes.len().min(wire.takes);
            if len == 0 {
                return Poll::Pending;
            }
            wire.takes -= len;
            wire.received.extend_from_slice(&bytes[..len]);
            Poll::Ready(Ok(len))
        }

        fn give_way(&self, cx: &mut Context<'_>) {
            cx.waker().wake_by_ref();
        }

        fn try_read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(ErrorKind::WouldBlock.into())
        }

        fn shut_down_write(&mut self) -> io::Result<()> {
            self.0.borrow_mut().shut_down = true;
            Ok(())
        }
    }

    const REQUEST: &[u8] = b"GET /scrape?info_hash=aaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\nHost: a\r\n\r\n";

    fn handle() -> WorkerHandle<Client> {
        let clock = Clock::start();
        let config = Config::default().with_keep_alive(true);
        let tracker = Tracker::new(config, Seed::new([0; 32]), clock.now());
        WorkerHandle::new(Arc::new(tracker), clock, 100)
    }

    fn client(sent: &[&[u8]], takes: usize) -> Client {
        let client = Client::default();
        {
            let mut wire = client.0.borrow_mut();
            wire.sent = sent.iter().map(|bytes| bytes.to_vec()).collect();
            wire.takes = takes;
        }
        client
    }

    fn conversation(handle: &WorkerHandle<Client>, client: &Client) -> Conversation<Client> {
        let front = http::Front::new(handle.borrow().worker.tracker().config());
        let front = AnyConnectionFront::Http(Arc::new(front));
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        Conversation::new(handle, &front, client.clone(), peer)
    }

    /// Bytes that clients have yet to take, and connections, those included that linger.
    fn left(handle: &WorkerHandle<Client>) -> (usize, usize) {
        let state = handle.borrow();
        (state.unsent, state.connections())
    }

    fn poll(conversation: &mut Conversation<Client>) -> Poll<()> {
        Pin::new(conversation).poll(&mut Context::from_waker(Waker::noop()))
    }

    /// What a client receives that takes all at once.
    fn whole_answer() -> Vec<u8> {
        let (handle, client) = (handle(), client(&[REQUEST], usize::MAX));
        assert!(poll(&mut conversation(&handle, &client)).is_pending());
        let wire = client.0.borrow();
        assert!(wire.received.starts_with(b"HTTP/1.1 200 OK\r\n"));
        wire.received.clone()
    }

    #[test]
    fn an_answer_taken_in_pieces_is_whole_and_others_use_the_buffer_meanwhile() {
        let (handle, whole) = (handle(), whole_answer());
        let slow = client(&[REQUEST, REQUEST], 10);
        let mut slowly = conversation(&handle, &slow);
        assert!(poll(&mut slowly).is_pending());
        assert_eq!(handle.borrow().unsent, whole.len() - 10);
        let other = client(&[b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"], usize::MAX);
        assert!(poll(&mut conversation(&handle, &other)).is_pending());
        for more in [1, 0, 7, usize::MAX] {
            slow.0.borrow_mut().takes = more;
            assert!(poll(&mut slowly).is_pending());
        }
        assert_eq!(slow.0.borrow().received, [whole.clone(), whole].concat());
        assert_eq!(handle.borrow().unsent, 0);
    }

    #[test]
    fn a_client_that_is_always_ready_lets_others_have_their_turn() {
        let handle = handle();
        let busy = client(&vec![REQUEST; 100], usize::MAX);
        let mut busily = conversation(&handle, &busy);
        assert!(poll(&mut busily).is_pending());
        assert_eq!(busy.0.borrow().reads, TURNS_MAX / 2);
        for _ in 0..100 {
            assert!(poll(&mut busily).is_pending());
        }
        assert_eq!(handle.borrow().worker.counters().get(Count::HttpScrape), 100);
    }

    #[test]
    fn a_client_that_ends_is_closed_and_its_slot_is_free() {
        let handle = handle();
        let gone = client(&[REQUEST, b""], usize::MAX);
        let mut going = conversation(&handle, &gone);
        assert_eq!(handle.borrow().connections(), 1);
        assert!(poll(&mut going).is_ready());
        drop(going);
        assert!(!gone.0.borrow().shut_down);
        assert_eq!(handle.borrow().connections(), 0);
        assert_eq!(handle.borrow().worker.counters().get(Count::Closed), 1);
    }

    #[test]
    fn a_client_that_is_told_goodbye_lingers() {
        let handle = handle();
        let refused = client(&[b"no HTTP\r\n\r\n"], usize::MAX);
        let mut refusing = conversation(&handle, &refused);
        assert!(poll(&mut refusing).is_ready());
        drop(refusing);
        assert!(refused.0.borrow().shut_down);
        assert!(refused.0.borrow().received.starts_with(b"HTTP/1.1 400 "));
        assert_eq!(handle.borrow().slots.occupied(), 0);
        assert_eq!(left(&handle), (0, 1));
    }

    #[test]
    fn a_client_that_has_said_its_last_does_not_linger() {
        let handle = handle();
        let last = client(&[b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"], usize::MAX);
        assert!(poll(&mut conversation(&handle, &last)).is_ready());
        assert!(last.0.borrow().received.starts_with(b"HTTP/1.1 200 "));
        assert!(!last.0.borrow().shut_down);
        assert_eq!(left(&handle), (0, 0));
    }

    #[test]
    fn unsent_answers_have_a_bound_over_all_clients() {
        let handle = handle();
        handle.borrow().unsent = UNSENT_MAX;
        let slow = client(&[REQUEST], 10);
        let mut slowly = conversation(&handle, &slow);
        assert!(poll(&mut slowly).is_ready());
        drop(slowly);
        assert_eq!(left(&handle), (UNSENT_MAX, 0));
        handle.borrow().unsent = 0;
        let slow = client(&[REQUEST], 10);
        let mut slowly = conversation(&handle, &slow);
        assert!(poll(&mut slowly).is_pending());
        drop(slowly);
        assert_eq!(left(&handle), (0, 0));
    }

    #[test]
    fn when_the_worker_ends_idle_clients_go_and_requests_under_way_are_answered() {
        let handle = handle();
        let (idle, half) = (client(&[], 0), client(&[&REQUEST[..9]], usize::MAX));
        let (mut idling, mut halfway) = (conversation(&handle, &idle), conversation(&handle, &half));
        assert!(poll(&mut idling).is_pending() && poll(&mut halfway).is_pending());
        handle.end(crate::worker_state::Ending::Stopped);
        assert!(poll(&mut idling).is_ready() && poll(&mut halfway).is_pending());
        half.0.borrow_mut().sent.push_back(REQUEST[9..].to_vec());
        assert!(poll(&mut halfway).is_ready());
        assert_eq!(half.0.borrow().received, whole_answer());
    }
}
