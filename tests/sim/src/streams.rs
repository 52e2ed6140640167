//! The connections of one tracker, and what can happen to them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use etracker_core::announce::Endpoint;
use etracker_core::http::{Connection, Step};

use crate::http::Ask;
use crate::wire::ActorId;

/// The connections of one tracker, open and closed, by number.
#[derive(Debug, Default)]
pub(crate) struct Streams(pub(crate) Vec<Option<Stream>>);

/// What a client learns: the interval in seconds, and peers.
pub(crate) type Peers = (u32, Vec<Endpoint>);

/// What happens to a connection.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The tracker accepts it.
    Open,
    /// Bytes arrive.
    Data(Vec<u8>),
    /// The client will send no more.
    End,
    /// What was written has been taken, or others have run.
    Continue,
    /// A deadline, unless something has happened since this turn.
    Deadline(u32),
}

/// A connection, and what its client has sent and is sent.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) owner: ActorId,
    pub(crate) source: SocketAddr,
    pub(crate) worker: usize,
    pub(crate) connection: Option<Connection>,
    pub(crate) asks: VecDeque<Ask>,
    /// What has arrived and was not read yet.
    pub(crate) inbox: Vec<u8>,
    pub(crate) ended: bool,
    pub(crate) reads: bool,
    pub(crate) step: Step,
    pub(crate) turn: u32,
    /// The part of an answer that was written.
    pub(crate) written: Vec<u8>,
}
