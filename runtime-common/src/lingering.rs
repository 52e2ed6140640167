//! Connections that were told goodbye and not yet closed.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

use etracker_core::Instant;

use crate::Stream;

/// Connections whose writing side is shut down. What their clients still send is read and dropped for a while, because
/// closing on unread bytes resets the connection and may take the answer back.
///
/// Nobody waits for them: they are looked at now and then, and by then most clients have closed.
#[derive(Debug)]
pub(crate) struct Lingering<S>(
    /// In the order in which they were looked at last.
    VecDeque<Linger<S>>,
);

#[derive(Debug)]
struct Linger<S> {
    stream: S,
    looked_at: Instant,
    until: Instant,
    bytes_left: usize,
}

impl<S> Default for Lingering<S> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<S: Stream> Lingering<S> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Shuts down the writing side of `stream` and takes it, if it is still connected.
    pub(crate) fn take(&mut self, now: Instant, mut stream: S) {
        // RFC 9112, section 9.6: half-close, then read until the client closes. An error means that it is gone already.
        if stream.shut_down_write().is_ok() {
            self.0.push_back(Linger {
                stream,
                looked_at: now,
                until: now.saturating_add(Duration::from_millis(LINGER_MILLIS_MAX)),
                bytes_left: LINGER_BYTES_MAX,
            });
        }
    }

    /// Looks at two that had time to close since they were looked at last, so that they keep up with those that come.
    pub(crate) fn look_at_few(&mut self, now: Instant, scratch: &mut [u8]) {
        let pause = Duration::from_millis(LOOK_MILLIS_MIN);
        let due = |linger: &Linger<S>| now.saturating_since(linger.looked_at) >= pause;
        for _ in 0..2 {
            if self.0.front().is_some_and(due) {
                self.look_at_next(now, scratch);
            }
        }
    }

    /// Looks at each once.
    pub(crate) fn look_at_all(&mut self, now: Instant, scratch: &mut [u8]) {
        for _ in 0..self.0.len() {
            self.look_at_next(now, scratch);
        }
    }

    /// Closes the one that was looked at the longest ago, if there is one.
    pub(crate) fn close_one(&mut self) -> bool {
        self.0.pop_front().is_some()
    }

    fn look_at_next(&mut self, now: Instant, scratch: &mut [u8]) {
        let Some(mut linger) = self.0.pop_front() else {
            return;
        };
        linger.looked_at = now;
        if now < linger.until && linger.stays(scratch) {
            self.0.push_back(linger);
        }
    }
}

impl<S: Stream> Linger<S> {
    /// Drops what came; whether more may come.
    fn stays(&mut self, scratch: &mut [u8]) -> bool {
        // A client that sends without end would otherwise hold the worker for as long as it lingers.
        while self.bytes_left > 0 {
            match self.stream.try_read(scratch) {
                Ok(0) => return false,
                Ok(len) => self.bytes_left = self.bytes_left.saturating_sub(len),
                // A connection that was reset has no answer left to protect.
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        false
    }
}

/// Milliseconds that a client may take to close after its answer.
const LINGER_MILLIS_MAX: u64 = 2000;
/// Bytes that a client may send after its request without losing the answer.
const LINGER_BYTES_MAX: usize = 256 << 10;
/// Milliseconds between two looks at a connection: most clients close within.
const LOOK_MILLIS_MIN: u64 = 10;
