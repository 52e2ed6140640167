//! Failed system calls, by the number of the error.

use super::{Count, Counter};

/// Calls that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Writing to a TCP connection.
    Send,
    /// Reading from a TCP connection.
    Receive,
    /// Accepting a TCP connection.
    Accept,
    /// Sending a datagram.
    SendUdp,
    /// Receiving datagrams.
    ReceiveUdp,
}

impl Operation {
    /// Every operation, in the order of the stats page.
    pub const ALL: &[Self] = &[
        Self::Send,
        Self::Receive,
        Self::Accept,
        Self::SendUdp,
        Self::ReceiveUdp,
    ];

    /// The stable name of the operation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Receive => "recv",
            Self::Accept => "accept",
            Self::SendUdp => "send_udp",
            Self::ReceiveUdp => "recv_udp",
        }
    }

    /// The count of its failures.
    #[must_use]
    pub const fn count(self) -> Count {
        match self {
            Self::Send => Count::HttpSendFailed,
            Self::Receive => Count::HttpReceiveFailed,
            Self::Accept => Count::AcceptFailed,
            Self::SendUdp => Count::UdpSendFailed,
            Self::ReceiveUdp => Count::UdpReceiveFailed,
        }
    }
}

/// Failures of one worker by operation and error number.
#[derive(Debug)]
pub(super) struct Failures([[Counter; ERRORS]; Operation::ALL.len()]);

impl Default for Failures {
    fn default() -> Self {
        Self(core::array::from_fn(|_| {
            core::array::from_fn(|_| Counter::default())
        }))
    }
}

impl Failures {
    pub(super) fn add(&self, operation: Operation, error: i32) {
        // An unknown error number counts as 0, which no system uses.
        let error = usize::try_from(error).ok().filter(|&error| error < ERRORS);
        let counters = self.0.get(operation as usize);
        if let Some(counter) = counters.and_then(|counters| counters.get(error.unwrap_or(0))) {
            counter.add(1);
        }
    }

    pub(super) fn get(&self, operation: Operation, error: usize) -> u64 {
        let counters = self.0.get(operation as usize);
        counters
            .and_then(|counters| counters.get(error))
            .map_or(0, Counter::get)
    }
}

/// Error numbers that are told apart: Linux has 133.
pub const ERRORS: usize = 134;
