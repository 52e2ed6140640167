//! One HTTP connection: bytes in, answers out, deadlines kept.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::answer::{Answer, Trouble, answer, refuse_last};
use super::front::Front;
use super::progress::Progress;
use super::request::{Request, head_end, is_foreign};
use super::stream::Stream;
use super::{HEAD_MAX, Step};
use crate::governor::{Class, Verdict};
use crate::stats::Count;
use crate::{Instant, Worker};

/// The server's side of one connection.
///
/// A driver begins as if told [`Step::Read`]. Each call says what is to be done next:
/// - [`receive`](Self::receive) and [`end_of_input`](Self::end_of_input) follow a read,
/// - [`respond`](Self::respond) follows a complete write, or letting others run,
/// - [`handle_timeout`](Self::handle_timeout) follows when [`poll_timeout`](Self::poll_timeout) is reached instead; the
///   write under way, if any, is then given up.
///
/// Requests are answered one at a time and in order; while an answer is written, nothing is read, so that a client that
/// does not read cannot make memory grow. A call out of order closes the connection, and [`misuse`](Self::misuse) names it.
#[derive(Debug)]
pub struct Connection {
    front: Arc<Front>,
    peer: SocketAddr,
    timeout: Duration,
    deadline: Instant,
    state: State,
    /// What was asked of the driver last.
    step: Step,
    /// What came and is not yet served: part of a head, or more requests.
    /// Invariant: at most [`HEAD_MAX`] bytes and what one read brought.
    input: Vec<u8>,
    /// Bytes at the start of `input` that were served.
    served: usize,
    /// Bytes after those that hold no end of a head.
    scanned: usize,
    /// Whether the last request that was served was the client's last, or what came is no HTTP at all.
    client_is_done: bool,
    /// Whether anything came yet.
    began: bool,
    misuse: Option<Misuse>,
}

/// What the driver of a connection did out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// It handed in bytes while an answer was to be written.
    ReceivedWhileWriting,
    /// It handed in bytes after it was told to close.
    ReceivedAfterClose,
    /// It went on as after a write while it was told to read.
    RespondedWhileReading,
    /// It went on as after a write after it was told to close.
    RespondedAfterClose,
}

#[derive(Debug)]
enum State {
    /// A head is awaited. Invariant: `input` holds no whole one.
    Reading,
    /// An answer is being written.
    Writing { keep_alive: bool },
    /// An answer is collected or written piece by piece.
    Streaming(Box<Stream>),
    /// Nothing more will be said.
    Closed,
}

impl Connection {
    /// A connection from `peer` that was accepted at `now`.
    #[must_use]
    pub fn new(now: Instant, peer: SocketAddr, front: &Arc<Front>) -> Self {
        let timeout = front.timeout();
        Self {
            front: Arc::clone(front),
            peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            timeout,
            deadline: now.saturating_add(timeout),
            state: State::Reading,
            step: Step::Read,
            input: Vec::new(),
            served: 0,
            scanned: 0,
            client_is_done: false,
            began: false,
            misuse: None,
        }
    }

    /// The other end, never a mapped address. Behind a proxy this is the proxy.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Takes what was read. At most one request is answered.
    pub fn receive(&mut self, now: Instant, bytes: &[u8], worker: &mut Worker, reply: &mut [u8]) -> Step {
        match self.state {
            State::Reading => {}
            State::Writing { .. } | State::Streaming(_) => return self.misused(Misuse::ReceivedWhileWriting),
            State::Closed => return self.misused(Misuse::ReceivedAfterClose),
        }
        if !self.began {
            self.began = true;
            if worker.judge(now, self.peer.ip(), Class::Connection) == Verdict::Silence {
                // The client is told nothing, so that nothing is lost by a reset.
                self.client_is_done = true;
                return self.close();
            }
        }
        if self.input.is_empty() {
            // The usual case: what came is one whole head, and is served where it stands.
            let served = self.serve(now, bytes, worker, reply);
            self.keep(now, bytes.get(served..).unwrap_or_default());
        } else {
            self.input.extend_from_slice(bytes);
            self.serve_input(now, worker, reply);
        }
        self.step
    }

    /// Goes on after a complete write, or after [`Step::Again`]. At most one request is answered.
    pub fn respond(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step {
        match core::mem::replace(&mut self.state, State::Closed) {
            State::Writing { keep_alive: true } => {
                self.state = State::Reading;
                self.step = Step::Read;
                self.extend_deadline(now);
                self.serve_input(now, worker, reply);
                self.step
            }
            State::Streaming(stream) => self.stream(now, stream, worker, reply),
            State::Writing { keep_alive: false } => self.close(),
            State::Reading => self.misused(Misuse::RespondedWhileReading),
            State::Closed => self.misused(Misuse::RespondedAfterClose),
        }
    }

    /// Takes note that the client will send no more. An answer under way is still written.
    pub fn end_of_input(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step {
        match self.state {
            State::Reading if self.input.is_empty() => {
                worker.count(Count::HttpReceivedEnd);
                self.close()
            }
            State::Reading => self.refuse(now, Trouble::Truncated, worker, reply),
            State::Writing { .. } | State::Streaming(_) | State::Closed => self.step,
        }
    }

    /// Whether the client has said its last: that the connection is to close, and nothing after that. Then it can be
    /// closed at once, for there are no bytes to come that would reset it (RFC 9112, section 9.6). So it can if the client
    /// speaks no HTTP, for it waits for no answer that a reset could spoil.
    #[must_use]
    pub const fn client_is_done(&self) -> bool {
        self.client_is_done
    }

    /// What the driver did out of order first, if it did anything so.
    #[must_use]
    pub const fn misuse(&self) -> Option<Misuse> {
        self.misuse
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    #[must_use]
    pub const fn poll_timeout(&self) -> Instant {
        self.deadline
    }

    /// Ends what takes too long: part of a head is answered with a failure, all else is closed. Before its time it
    /// changes nothing and returns the last step again.
    pub fn handle_timeout(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step {
        if now < self.deadline {
            return self.step;
        }
        match self.state {
            State::Reading if !self.input.is_empty() => self.refuse(now, Trouble::Timeout, worker, reply),
            State::Streaming(ref stream) => {
                if matches!(**stream, Stream::FullScrape(_)) {
                    worker.count(Count::HttpFullScrapeSlow);
                }
                self.close()
            }
            State::Reading | State::Writing { .. } | State::Closed => self.close(),
        }
    }

    /// Serves the first request of `input`, if its head is whole, and returns how many bytes are done with.
    fn serve(&mut self, now: Instant, input: &[u8], worker: &mut Worker, reply: &mut [u8]) -> usize {
        // Some clients send an empty line after a request; it belongs to none (RFC 9112, section 2.2).
        let blank = if self.scanned == 0 { blank_len(input) } else { 0 };
        let input = input.get(blank..).unwrap_or_default();
        if self.scanned == 0 && input.first().is_some_and(|first| is_foreign(*first)) {
            self.hang_up(worker);
            return blank;
        }
        let head_end = head_end(input, &mut self.scanned);
        if head_end.unwrap_or(input.len() + 1) > HEAD_MAX {
            _ = self.refuse(now, Trouble::HeadTooLarge, worker, reply);
        } else if let Some(head) = head_end.and_then(|end| input.get(..end)) {
            self.scanned = 0;
            let request = Request::parse(head);
            self.client_is_done = head.len() == input.len() && request.is_ok_and(|request| request.is_last());
            let answer = answer(now, request, self.peer.ip(), &self.front, worker, reply);
            self.begin(now, answer, worker, reply);
            return blank + head.len();
        }
        blank
    }

    /// Serves the first request of what was kept.
    fn serve_input(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) {
        let input = core::mem::take(&mut self.input);
        let served = self.serve(now, input.get(self.served..).unwrap_or_default(), worker, reply);
        self.served += served;
        if !self.serves_more() || (self.served == input.len() && input.capacity() > INPUT_KEPT) {
            self.served = 0;
            return;
        }
        self.input = input;
        if self.served == self.input.len() || matches!(self.state, State::Reading) {
            self.input.drain(..self.served);
            self.served = 0;
        }
    }

    /// Keeps what was not served of the bytes that came, if it is going to be.
    fn keep(&mut self, now: Instant, rest: &[u8]) {
        if rest.is_empty() || !self.serves_more() {
            return;
        }
        self.input.extend_from_slice(rest);
        if matches!(self.state, State::Reading) {
            // The first bytes of a head: from now on all of it has to come in time.
            self.extend_deadline(now);
        }
    }

    fn serves_more(&self) -> bool {
        match &self.state {
            State::Reading => true,
            State::Writing { keep_alive } => *keep_alive,
            State::Streaming(stream) => stream.keep_alive(),
            State::Closed => false,
        }
    }

    fn begin(&mut self, now: Instant, answer: Answer, worker: &Worker, reply: &mut [u8]) {
        match answer {
            Answer::Whole { len, keep_alive } => self.write(now, len, State::Writing { keep_alive }),
            Answer::Stream(stream) => _ = self.stream(now, Box::new(stream), worker, reply),
            Answer::Impossible => _ = self.close(),
        }
    }

    fn stream(&mut self, now: Instant, mut stream: Box<Stream>, worker: &Worker, reply: &mut [u8]) -> Step {
        match stream.proceed(now, worker, reply) {
            Progress::Working => {
                self.extend_deadline(now);
                self.state = State::Streaming(stream);
                self.step = Step::Again;
            }
            Progress::Piece(len) => {
                let deadline = stream.deadline();
                self.write(now, len, State::Streaming(stream));
                self.deadline = deadline.map_or(self.deadline, |deadline| deadline.min(self.deadline));
            }
            Progress::Last { len, keep_alive } => self.write(now, len, State::Writing { keep_alive }),
            Progress::Impossible => _ = self.close(),
        }
        self.step
    }

    fn refuse(&mut self, now: Instant, trouble: Trouble, worker: &Worker, reply: &mut [u8]) -> Step {
        self.input = Vec::new();
        let answer = refuse_last(trouble, worker, reply);
        self.begin(now, answer, worker, reply);
        self.step
    }

    /// Closes without a word on who speaks another protocol: the client would not understand it.
    fn hang_up(&mut self, worker: &Worker) {
        worker.count(Count::HttpForeign);
        self.client_is_done = true;
        _ = self.close();
    }

    fn write(&mut self, now: Instant, len: usize, state: State) {
        self.extend_deadline(now);
        self.state = state;
        self.step = Step::Write(len);
    }

    fn misused(&mut self, misuse: Misuse) -> Step {
        self.misuse = self.misuse.or(Some(misuse));
        self.close()
    }

    fn close(&mut self) -> Step {
        self.state = State::Closed;
        self.step = Step::Close;
        self.input = Vec::new();
        self.step
    }

    fn extend_deadline(&mut self, now: Instant) {
        self.deadline = now.saturating_add(self.timeout);
    }
}

/// Bytes of memory that a connection keeps for input that comes in parts: more than most heads have.
const INPUT_KEPT: usize = 1024;

/// Line ends at the start of `input`.
fn blank_len(input: &[u8]) -> usize {
    let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    blank.count()
}
