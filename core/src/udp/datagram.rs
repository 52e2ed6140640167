//! One datagram of a batch, before and after it is handled.

use core::net::SocketAddr;

/// A datagram that was received, with room for its reply.
#[derive(Debug)]
pub struct Datagram<'a> {
    sender: SocketAddr,
    pub(super) room: Room<'a>,
    pub(super) verdict: Verdict,
}

/// The buffers of request and reply.
#[derive(Debug)]
pub(super) enum Room<'a> {
    /// Separate buffers.
    Apart { payload: &'a [u8], reply: &'a mut [u8] },
    /// One buffer: the reply overwrites the request, which is its first `len` bytes.
    Shared { buffer: &'a mut [u8], len: usize },
}

impl<'a> Datagram<'a> {
    /// A datagram from `sender`, which is never a mapped address. At least [`REPLY_MAX`](super::REPLY_MAX) bytes of `reply`
    /// hold every reply; a shorter buffer gets fewer peers.
    pub const fn new(sender: SocketAddr, payload: &'a [u8], reply: &'a mut [u8]) -> Self {
        Self::with_room(sender, Room::Apart { payload, reply })
    }

    /// A datagram that is answered where it lies: the first `len` bytes of `buffer` are the request, and the reply overwrites
    /// them. A `len` beyond the buffer means all of it.
    pub const fn in_place(sender: SocketAddr, buffer: &'a mut [u8], len: usize) -> Self {
        let len = if len < buffer.len() { len } else { buffer.len() };
        Self::with_room(sender, Room::Shared { buffer, len })
    }

    const fn with_room(sender: SocketAddr, room: Room<'a>) -> Self {
        Self {
            sender,
            room,
            verdict: Verdict::Drop(DropReason::Unhandled),
        }
    }

    /// Who sent it. Once it is handled, this is the client whom a trusted proxy named in it, if one did; the reply goes to where the
    /// datagram came from all the same.
    #[must_use]
    pub const fn sender(&self) -> SocketAddr {
        self.sender
    }

    /// Bytes of the request.
    #[must_use]
    pub const fn len(&self) -> usize {
        match &self.room {
            Room::Apart { payload, .. } => payload.len(),
            Room::Shared { len, .. } => *len,
        }
    }

    /// Whether the request has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The verdict.
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The bytes to send back to the sender; nothing if the datagram is dropped.
    #[must_use]
    pub fn reply(&self) -> Option<&[u8]> {
        let buffer = match &self.room {
            Room::Apart { reply, .. } => reply,
            Room::Shared { buffer, .. } => buffer,
        };
        match self.verdict {
            Verdict::Reply(len) => buffer.get(..len),
            Verdict::Drop(_) => None,
        }
    }

    /// Takes `client` for the one who sent it, and what follows the first `header_len` bytes for the request.
    pub(super) fn remove_header(&mut self, client: SocketAddr, header_len: usize) {
        self.sender = client;
        match &mut self.room {
            Room::Apart { payload, .. } => *payload = payload.get(header_len..).unwrap_or_default(),
            Room::Shared { buffer, len } => {
                let header_len = header_len.min(*len);
                buffer.copy_within(header_len..*len, 0);
                *len -= header_len;
            }
        }
    }

    /// The request.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match &self.room {
            Room::Apart { payload, .. } => payload,
            Room::Shared { buffer, len } => buffer.get(..*len).unwrap_or_default(),
        }
    }

    /// Where the reply goes. A datagram that is answered in place has its request there until then.
    pub fn reply_buffer(&mut self) -> &mut [u8] {
        match &mut self.room {
            Room::Apart { reply, .. } => reply,
            Room::Shared { buffer, .. } => buffer,
        }
    }

    /// Answers with the first `len` bytes of the reply buffer. One that is shorter is sent whole.
    pub fn answer(&mut self, len: usize) {
        self.verdict = Verdict::Reply(len.min(self.reply_buffer().len()));
    }

    /// Drops the datagram.
    pub const fn refuse(&mut self, reason: DropReason) {
        self.verdict = Verdict::Drop(reason);
    }
}

/// A handled batch: replies to send, and dropped datagrams.
#[must_use = "replies that are not sent are lost"]
#[derive(Debug)]
pub struct Handled<'b, 'a>(&'b [Datagram<'a>]);

impl<'b, 'a> Handled<'b, 'a> {
    /// A batch whose datagrams a front has answered or refused; the others count as dropped.
    pub const fn new(batch: &'b [Datagram<'a>]) -> Self {
        Self(batch)
    }

    /// All datagrams, each with its verdict.
    #[must_use]
    pub const fn datagrams(&self) -> &'b [Datagram<'a>] {
        self.0
    }

    /// The datagrams to answer: their places in the batch, and their replies.
    pub fn replies(&self) -> impl Iterator<Item = (usize, &'b [u8])> + use<'b, 'a> {
        let datagrams = self.0.iter().enumerate();
        datagrams.filter_map(|(place, datagram)| Some((place, datagram.reply()?)))
    }

    /// The datagrams that are not answered, and why.
    pub fn dropped(&self) -> impl Iterator<Item = (&'b Datagram<'a>, DropReason)> + use<'b, 'a> {
        self.0.iter().filter_map(|datagram| match datagram.verdict {
            Verdict::Drop(reason) => Some((datagram, reason)),
            Verdict::Reply(_) => None,
        })
    }
}

/// The verdict on a datagram.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send this many bytes of the reply buffer back to the sender.
    Reply(usize),
    /// Send nothing.
    Drop(DropReason),
}

/// Why a datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The datagram was not handled yet.
    Unhandled,
    /// The sender's address is denied.
    Denied,
    /// The datagram is malformed.
    Malformed,
    /// Its connection id does not prove the sender's address.
    Unproven,
    /// It is a trusted proxy's that names no client by the PROXY protocol.
    Unnamed,
    /// Its source is over its limit.
    Limited,
    /// The worker is overloaded, and gives up requests of its kind.
    Shed,
    /// The reply buffer is too short for any answer.
    NoRoom,
}
