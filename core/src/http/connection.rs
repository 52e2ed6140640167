//! One HTTP connection: from bytes to answers, within deadlines.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::answer::{Answer, Rejection, answer, refuse_and_close};
use super::forwarded::Origin;
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
/// A driver begins with [`Step::Read`]. Each call returns the next step:
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
    /// Whether a PROXY header named `peer`.
    is_named: bool,
    timeout: Duration,
    deadline: Instant,
    state: State,
    /// The last step returned.
    step: Step,
    /// Received bytes that are not served yet: part of a head, or further requests.
    /// Invariant: at most [`HEAD_MAX`] bytes and what one read brought.
    input: Vec<u8>,
    /// Served bytes at the start of `input`.
    served: usize,
    /// Bytes after those that were searched for the end of a head.
    scanned: usize,
    /// Whether the client announced its last request, or does not speak HTTP.
    client_is_done: bool,
    /// Whether anything came yet.
    began: bool,
    misuse: Option<Misuse>,
}

/// A call by the driver that was out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// Bytes were handed in while an answer had to be written.
    ReceivedWhileWriting,
    /// Bytes were handed in after [`Step::Close`].
    ReceivedAfterClose,
    /// [`Connection::respond`] was called after [`Step::Read`].
    RespondedWhileReading,
    /// [`Connection::respond`] was called after [`Step::Close`].
    RespondedAfterClose,
}

#[derive(Debug)]
enum State {
    /// Waits for a head. Invariant: `input` holds no whole one.
    Reading,
    /// The driver writes an answer.
    Writing { keep_alive: bool },
    /// An answer is collected and written piece by piece.
    Streaming(Box<Stream>),
    /// Closed.
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
            is_named: false,
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

    /// The client whom a PROXY header names, or else the other end of the connection; never a mapped address. Behind a proxy that
    /// does not speak the PROXY protocol this is the proxy.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Takes `client` for the other end, as the PROXY header says that a trusted proxy sent first. The header is not among the bytes
    /// that are [received](Self::receive).
    pub const fn set_client(&mut self, client: SocketAddr) {
        self.peer = client;
        self.is_named = true;
    }

    /// Takes the bytes of a read. Answers at most one request.
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
            // The usual case: one whole head, which is served without a copy.
            let served = self.serve(now, bytes, worker, reply);
            self.keep(now, bytes.get(served..).unwrap_or_default());
        } else {
            self.input.extend_from_slice(bytes);
            self.serve_input(now, worker, reply);
        }
        self.step
    }

    /// Goes on after a complete write, or after [`Step::Again`]. Answers at most one request.
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

    /// Takes the end of the client's input. An answer under way is still written.
    pub fn end_of_input(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step {
        match self.state {
            State::Reading if self.input.is_empty() => {
                worker.count(Count::HttpReceivedEnd);
                self.close()
            }
            State::Reading => self.refuse(now, Rejection::Truncated, worker, reply),
            State::Writing { .. } | State::Streaming(_) | State::Closed => self.step,
        }
    }

    /// Whether the client announced its last request and sent nothing after it. The connection can be closed at once then: no
    /// bytes will come that would reset it and destroy the answer (RFC 9112, section 9.6). The same holds for a client that
    /// does not speak HTTP, as it gets no answer.
    #[must_use]
    pub const fn client_is_done(&self) -> bool {
        self.client_is_done
    }

    /// Whether the answer that is being written ends with this write, and no other follows it.
    #[must_use]
    pub const fn is_ending(&self) -> bool {
        matches!(self.state, State::Writing { keep_alive: false })
    }

    /// The first call that was out of order, if there was one.
    #[must_use]
    pub const fn misuse(&self) -> Option<Misuse> {
        self.misuse
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    #[must_use]
    pub const fn poll_timeout(&self) -> Instant {
        self.deadline
    }

    /// Enforces the deadline: part of a head is answered with a failure, any other state is closed. A call before the deadline
    /// changes nothing and returns the last step again.
    pub fn handle_timeout(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step {
        if now < self.deadline {
            return self.step;
        }
        match self.state {
            State::Reading if !self.input.is_empty() => self.refuse(now, Rejection::Timeout, worker, reply),
            State::Streaming(ref stream) => {
                if matches!(**stream, Stream::FullScrape(_)) {
                    worker.count(Count::HttpFullScrapeSlow);
                }
                self.close()
            }
            State::Reading | State::Writing { .. } | State::Closed => self.close(),
        }
    }

    /// Serves the first request of `input` if its head is whole, and returns the number of bytes consumed.
    fn serve(&mut self, now: Instant, input: &[u8], worker: &mut Worker, reply: &mut [u8]) -> usize {
        // Some clients send an empty line after a request; it is skipped (RFC 9112, section 2.2).
        let blank = if self.scanned == 0 { blank_len(input) } else { 0 };
        let input = input.get(blank..).unwrap_or_default();
        if self.scanned == 0 && input.first().is_some_and(|first| is_foreign(*first)) {
            self.hang_up(worker);
            return blank;
        }
        let head_end = head_end(input, &mut self.scanned);
        if head_end.unwrap_or(input.len() + 1) > HEAD_MAX {
            _ = self.refuse(now, Rejection::HeadTooLarge, worker, reply);
        } else if let Some(head) = head_end.and_then(|end| input.get(..end)) {
            self.scanned = 0;
            let request = Request::parse(head);
            self.client_is_done = head.len() == input.len() && request.is_ok_and(|request| request.is_last());
            let answer = answer(now, request, self.origin(), &self.front, worker, reply);
            self.begin(now, answer, worker, reply);
            return blank + head.len();
        }
        blank
    }

    /// Serves the first request of the kept input.
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

    /// Keeps the bytes that were not served, unless the connection closes.
    fn keep(&mut self, now: Instant, rest: &[u8]) {
        if rest.is_empty() || !self.serves_more() {
            return;
        }
        self.input.extend_from_slice(rest);
        if matches!(self.state, State::Reading) {
            // The deadline of a head starts with its first byte, so that a client that sends a byte now and then cannot hold it
            // open.
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
        match stream.step(now, worker, reply) {
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

    fn refuse(&mut self, now: Instant, rejection: Rejection, worker: &Worker, reply: &mut [u8]) -> Step {
        self.input = Vec::new();
        let answer = refuse_and_close(rejection, worker, reply);
        self.begin(now, answer, worker, reply);
        self.step
    }

    /// Closes a connection of another protocol without an answer: the client would not understand it.
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

    const fn origin(&self) -> Origin {
        Origin {
            ip: self.peer.ip(),
            is_named: self.is_named,
        }
    }

    fn extend_deadline(&mut self, now: Instant) {
        self.deadline = now.saturating_add(self.timeout);
    }
}

/// Bytes of the buffer that a connection keeps for split input: more than most heads have.
const INPUT_KEPT: usize = 1024;

/// Line ends at the start of `input`.
fn blank_len(input: &[u8]) -> usize {
    let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    blank.count()
}
