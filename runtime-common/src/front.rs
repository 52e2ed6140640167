//! What a protocol is to the worker that drives it: a front over datagrams, or one over connections.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;

use etracker_core::http::{self, Step};
use etracker_core::stats::{Count, Operation};
use etracker_core::udp::{self, Datagram, Handled};
use etracker_core::{Instant, Worker};

use crate::Prefetcher;
use crate::client_log::log_client;

/// The UDP protocol as workers drive it.
pub type UdpFront = udp::Front<Prefetcher>;

/// A protocol over UDP. All workers share one.
pub trait DatagramFront: Debug + Send + Sync {
    /// Handles a batch of datagrams for `worker`, and writes the replies. It never waits.
    fn handle<'b, 'a>(
        &self,
        worker: &mut Worker,
        now: Instant,
        batch: &'b mut [Datagram<'a>],
    ) -> Handled<'b, 'a>;
}

/// A protocol over TCP. All workers share one.
pub trait ConnectionFront: Debug + Send + Sync {
    /// Takes up a connection that `peer` opened.
    fn open(&self, now: Instant, peer: SocketAddr) -> Box<dyn Session>;
}

/// The server's side of one connection, which does no IO. A worker begins as if told [`Step::Read`], and does after each call
/// what the returned [`Step`] says.
pub trait Session: Debug {
    /// Takes `client` for the one who opened the connection: a trusted proxy says so. The default leaves it at the proxy.
    fn set_client(&mut self, _client: SocketAddr) {}

    /// Takes what was read. What is to be written is put at the start of `reply`.
    fn receive(&mut self, now: Instant, bytes: &[u8], worker: &mut Worker, reply: &mut [u8]) -> Step;

    /// Goes on after a complete write, or after others had their turn.
    fn respond(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step;

    /// Takes note that the client will send no more.
    fn end_of_input(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step;

    /// When to call [`handle_timeout`](Self::handle_timeout), if nothing else happens before.
    fn poll_timeout(&self) -> Instant;

    /// Ends what takes too long. A write under way is then given up.
    fn handle_timeout(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step;

    /// Whether the client said that it sends no more requests: then the connection is closed without lingering.
    fn client_is_done(&self) -> bool {
        false
    }

    /// Whether what is to be written is the last of the connection.
    fn is_ending(&self) -> bool {
        false
    }

    /// Counts what came over the connection, if the protocol counts that.
    fn count(&self, _worker: &Worker, _traffic: Traffic) {}
}

/// What came of reading from a connection, or writing to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Traffic {
    /// So many bytes were read.
    Received(usize),
    /// The connection began with a malformed header of the PROXY protocol.
    ProxyMalformed,
    /// Reading failed, with this error number of the system.
    ReceiveFailed(i32),
    /// So many bytes were written.
    Sent(usize),
    /// An answer was written whole.
    Answered,
    /// Writing failed, with this error number of the system.
    SendFailed(i32),
    /// An answer was given up: the client did not take it in time, or too many clients take theirs slowly.
    GivenUp,
}

impl DatagramFront for UdpFront {
    fn handle<'b, 'a>(
        &self,
        worker: &mut Worker,
        now: Instant,
        batch: &'b mut [Datagram<'a>],
    ) -> Handled<'b, 'a> {
        Self::handle(self, worker, now, batch)
    }
}

impl Session for http::Connection {
    fn set_client(&mut self, client: SocketAddr) {
        Self::set_client(self, client);
    }

    #[inline]
    fn receive(&mut self, now: Instant, bytes: &[u8], worker: &mut Worker, reply: &mut [u8]) -> Step {
        let failures = worker.counters().get(Count::HttpFailure);
        let step = Self::receive(self, now, bytes, worker, reply);
        // The connection counts a refusal but does not tell of it: a higher count does.
        if worker.counters().get(Count::HttpFailure) > failures {
            log_client(now, self.peer(), Count::HttpFailure);
        }
        step
    }

    #[inline]
    fn respond(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step {
        Self::respond(self, now, worker, reply)
    }

    #[inline]
    fn end_of_input(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step {
        Self::end_of_input(self, now, worker, reply)
    }

    #[inline]
    fn poll_timeout(&self) -> Instant {
        Self::poll_timeout(self)
    }

    #[inline]
    fn handle_timeout(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step {
        Self::handle_timeout(self, now, worker, reply)
    }

    #[inline]
    fn client_is_done(&self) -> bool {
        Self::client_is_done(self)
    }

    #[inline]
    fn is_ending(&self) -> bool {
        Self::is_ending(self)
    }

    #[inline]
    fn count(&self, worker: &Worker, traffic: Traffic) {
        let counters = worker.counters();
        match traffic {
            Traffic::Received(len) => counters.add(Count::HttpReceivedBytes, len as u64),
            Traffic::ProxyMalformed => worker.count(Count::HttpProxyMalformed),
            Traffic::ReceiveFailed(error) => counters.fail(Operation::Receive, error),
            Traffic::Sent(len) => counters.add(Count::HttpSentBytes, len as u64),
            Traffic::Answered => worker.count(Count::HttpSent),
            Traffic::SendFailed(error) => counters.fail(Operation::Send, error),
            Traffic::GivenUp => worker.count(Count::HttpSendFailed),
        }
    }
}

/// A front over TCP: the tracker's own, or another one.
#[derive(Clone, Debug)]
pub(crate) enum AnyConnectionFront {
    Http(Arc<http::Front>),
    Other(Arc<dyn ConnectionFront>),
}

impl AnyConnectionFront {
    /// Takes up a connection that `peer` opened.
    pub(crate) fn open(&self, now: Instant, peer: SocketAddr) -> AnySession {
        match self {
            Self::Http(front) => AnySession::Http(http::Connection::new(now, peer, front)),
            Self::Other(front) => AnySession::Other(front.open(now, peer)),
        }
    }
}

/// A session of the tracker's own protocol, which takes no memory of its own, or of another one. Being one type, sessions are
/// driven by code that is compiled once.
#[derive(Debug)]
pub(crate) enum AnySession {
    Http(http::Connection),
    Other(Box<dyn Session>),
}

impl Session for AnySession {
    fn set_client(&mut self, client: SocketAddr) {
        match self {
            Self::Http(session) => session.set_client(client),
            Self::Other(session) => session.set_client(client),
        }
    }

    #[inline]
    fn receive(&mut self, now: Instant, bytes: &[u8], worker: &mut Worker, reply: &mut [u8]) -> Step {
        match self {
            Self::Http(session) => Session::receive(session, now, bytes, worker, reply),
            Self::Other(session) => session.receive(now, bytes, worker, reply),
        }
    }

    #[inline]
    fn respond(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step {
        match self {
            Self::Http(session) => session.respond(now, worker, reply),
            Self::Other(session) => session.respond(now, worker, reply),
        }
    }

    #[inline]
    fn end_of_input(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step {
        match self {
            Self::Http(session) => session.end_of_input(now, worker, reply),
            Self::Other(session) => session.end_of_input(now, worker, reply),
        }
    }

    #[inline]
    fn poll_timeout(&self) -> Instant {
        match self {
            Self::Http(session) => session.poll_timeout(),
            Self::Other(session) => session.poll_timeout(),
        }
    }

    #[inline]
    fn handle_timeout(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step {
        match self {
            Self::Http(session) => session.handle_timeout(now, worker, reply),
            Self::Other(session) => session.handle_timeout(now, worker, reply),
        }
    }

    #[inline]
    fn client_is_done(&self) -> bool {
        match self {
            Self::Http(session) => session.client_is_done(),
            Self::Other(session) => session.client_is_done(),
        }
    }

    #[inline]
    fn is_ending(&self) -> bool {
        match self {
            Self::Http(session) => session.is_ending(),
            Self::Other(session) => session.is_ending(),
        }
    }

    #[inline]
    fn count(&self, worker: &Worker, traffic: Traffic) {
        match self {
            Self::Http(session) => session.count(worker, traffic),
            Self::Other(session) => session.count(worker, traffic),
        }
    }
}
