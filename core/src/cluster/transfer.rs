//! How a node that joins gets what the others hold: a snapshot of one of them, in pieces that it pulls.
//!
//! The joiner asks all. Each node that is whole offers its snapshot, and the joiner takes the first. It pulls: it says which piece
//! it needs next, and its donor sends that and some after it. A piece that is lost is pulled again. All messages of a transfer
//! bear its number, which the joiner draws, so that nothing of another one fits.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::snapshot::{Damage, Decoder, Encoder, Entry};
use crate::swarm::Swarms;
use crate::{Instant, Seed};

use super::envelope::{NodeId, number};
use super::record::take;

/// The number of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TransferId(pub(super) u64);

impl TransferId {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.extend(self.0.to_le_bytes());
    }

    /// Takes the number from the front of a body.
    pub(super) fn take(body: &mut &[u8]) -> Option<Self> {
        number(body).map(Self)
    }
}

/// What a joiner asks of its donor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pull {
    pub(super) transfer: TransferId,
    /// The first piece that has not arrived.
    pub(super) next: u32,
    /// Whether the pieces from it on are to be sent again: one was lost.
    pub(super) again: bool,
}

impl Pull {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        self.transfer.encode(out);
        out.extend(self.next.to_le_bytes());
        out.push(self.again.into());
    }

    pub(super) fn decode(mut body: &[u8]) -> Option<Self> {
        let pull = Self {
            transfer: TransferId::take(&mut body)?,
            next: u32::from_le_bytes(take(&mut body)?),
            again: take(&mut body)? != [0],
        };
        body.is_empty().then_some(pull)
    }
}

/// A piece of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) transfer: TransferId,
    pub(super) number: u32,
    /// Whether it is the last one.
    pub(super) is_last: bool,
    pub(super) bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.transfer.encode(out);
        out.extend(self.number.to_le_bytes());
        out.push(self.is_last.into());
        out.extend(self.bytes);
    }

    pub(super) fn decode(mut body: &'a [u8]) -> Option<Self> {
        Some(Self {
            transfer: TransferId::take(&mut body)?,
            number: u32::from_le_bytes(take(&mut body)?),
            is_last: take(&mut body)? != [0],
            bytes: body,
        })
    }
}

/// A snapshot on its way to a node that joins. It holds [`PIECES_AHEAD`] pieces at most.
#[derive(Debug)]
pub(super) struct Donation {
    pub(super) to: NodeId,
    pub(super) transfer: TransferId,
    /// When it ends if the joiner asks for nothing.
    expires: Instant,
    /// `None` before the first pull and after the end.
    encoder: Option<Encoder>,
    encoded: Vec<u8>,
    /// Pieces that the joiner may still need. The first has the number `first`.
    pieces: VecDeque<Vec<u8>>,
    first: u32,
    /// The number of the next piece to send.
    next: u32,
    begun: bool,
    /// Pieces that may be sent until the next tick.
    budget: u32,
}

impl Donation {
    /// A snapshot that is offered.
    pub(super) fn offer(now: Instant, to: NodeId, transfer: TransferId) -> Self {
        Self {
            to,
            transfer,
            expires: now.saturating_add(OFFER_HOLDS),
            encoder: None,
            encoded: Vec::new(),
            pieces: VecDeque::new(),
            first: 0,
            next: 0,
            begun: false,
            budget: 0,
        }
    }

    pub(super) fn has_expired(&self, now: Instant) -> bool {
        now >= self.expires
    }

    /// Lets some more pieces be sent.
    pub(super) fn tick(&mut self) {
        self.budget = PIECES_PER_TICK;
    }

    /// Takes what the joiner asks for. False if it can't be.
    pub(super) fn pull(&mut self, now: Instant, pull: Pull) -> bool {
        let end = self.first + u32::try_from(self.pieces.len()).unwrap_or(u32::MAX);
        if !(self.first..=end).contains(&pull.next) {
            return false;
        }
        if !self.begun {
            self.begun = true;
            // Connection ids come from the cluster's secret: a seed has no business on the bus.
            self.encoder = Some(Encoder::begin(now, &Seed::new([0; 32]), &mut self.encoded));
            self.tick();
        }
        while self.first < pull.next {
            self.pieces.pop_front();
            self.first += 1;
        }
        if pull.again || self.next < self.first {
            self.next = self.first;
        }
        self.expires = now.saturating_add(TRANSFER_PATIENCE);
        true
    }

    /// Whether a piece may be sent now.
    pub(super) fn is_due(&self) -> bool {
        let ahead = self.next - self.first;
        let has_more = !self.is_made() || (ahead as usize) < self.pieces.len();
        self.begun && self.budget > 0 && ahead < PIECES_AHEAD && has_more
    }

    /// Appends the body of the next piece. Encodes some thousand torrents and peers at most.
    pub(super) fn send(&mut self, now: Instant, swarms: &Swarms, out: &mut Vec<u8>) {
        let place = (self.next - self.first) as usize;
        if place == self.pieces.len() {
            let piece = self.make(now, swarms);
            self.pieces.push_back(piece);
        }
        let is_last = self.is_made() && place + 1 == self.pieces.len();
        let piece = Piece {
            transfer: self.transfer,
            number: self.next,
            is_last,
            bytes: self.pieces.get(place).map_or(&[], Vec::as_slice),
        };
        piece.encode(out);
        self.next += 1;
        self.budget = self.budget.saturating_sub(1);
    }

    /// Encodes the next piece.
    fn make(&mut self, now: Instant, swarms: &Swarms) -> Vec<u8> {
        while let Some(encoder) = &mut self.encoder
            && self.encoded.len() <= PIECE_LEN
        {
            if encoder.step(now, swarms, &mut self.encoded) {
                self.encoder = None;
            }
        }
        let len = self.encoded.len().min(PIECE_LEN);
        self.encoded.drain(..len).collect()
    }

    /// Whether all pieces have been made.
    fn is_made(&self) -> bool {
        self.begun && self.encoder.is_none() && self.encoded.is_empty()
    }

    /// Whether the joiner has everything.
    pub(super) fn is_done(&self) -> bool {
        self.is_made() && self.pieces.is_empty()
    }
}

/// A node that joins.
#[derive(Debug)]
pub(super) struct Joining {
    transfer: TransferId,
    state: State,
    /// When nothing has come for so long that something is done about it.
    due: Instant,
    /// Attempts so far.
    attempts: u32,
}

#[derive(Debug)]
enum State {
    Asking,
    Pulling(Pulling),
}

#[derive(Debug)]
struct Pulling {
    donor: NodeId,
    decoder: Decoder,
    next: u32,
    /// The piece that was asked for last.
    pulled: u32,
    /// Whether a gap was seen since, which is told once.
    gap_told: bool,
    /// When the donor is given up.
    patience: Instant,
}

/// What a joiner has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// To all.
    Ask(TransferId),
    /// To the donor.
    Pull(NodeId, Pull),
}

/// What a piece has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// It is not the next piece.
    Nothing,
    /// Some entries.
    Some,
    /// The last ones.
    All,
}

impl Joining {
    /// A node that asks at once.
    pub(super) const fn begin(now: Instant, transfer: TransferId) -> Self {
        Self {
            transfer,
            state: State::Asking,
            due: now,
            attempts: 0,
        }
    }

    /// The donor that is pulled from.
    pub(super) const fn donor(&self) -> Option<NodeId> {
        match &self.state {
            State::Asking => None,
            State::Pulling(pulling) => Some(pulling.donor),
        }
    }

    /// Does what is due: asks, pulls again, or gives a donor up. `transfer` is the number of the next attempt.
    pub(super) fn handle_timeout(&mut self, now: Instant, transfer: TransferId) -> Option<Request> {
        if now < self.due {
            return None;
        }
        if let State::Pulling(pulling) = &mut self.state {
            if now < pulling.patience {
                self.due = now.saturating_add(PULL_AGAIN);
                return Some(pulling.pull(self.transfer, true));
            }
            self.state = State::Asking;
        }
        self.transfer = transfer;
        // Twice as long each time: a cluster in which nobody is whole has no donor for an interval.
        let wait = ASK_AGAIN * (1 << self.attempts.min(ASK_DOUBLINGS));
        self.attempts += 1;
        self.due = now.saturating_add(wait);
        Some(Request::Ask(self.transfer))
    }

    /// Asks at once for what another node holds, after one that is not whole itself has given what it holds.
    pub(super) const fn again(now: Instant, transfer: TransferId) -> Self {
        let mut joining = Self::begin(now, transfer);
        joining.attempts = 1;
        joining
    }

    /// Whether this is the number of the present question. It may have been taken up already.
    pub(super) fn is_of(&self, transfer: TransferId) -> bool {
        self.transfer == transfer
    }

    /// Whether an offer of a node that is not whole is taken: nobody else has offered for a while.
    pub(super) const fn takes_parts(&self) -> bool {
        self.attempts > 1
    }

    /// Takes an offer: the first. `None` if there is one already.
    pub(super) fn offered(&mut self, now: Instant, donor: NodeId) -> Option<Request> {
        if !matches!(self.state, State::Asking) {
            return None;
        }
        let mut pulling = Pulling {
            donor,
            decoder: Decoder::new(),
            next: 0,
            pulled: 0,
            gap_told: false,
            patience: now.saturating_add(TRANSFER_PATIENCE),
        };
        let pull = pulling.pull(self.transfer, false);
        self.state = State::Pulling(pulling);
        self.due = now.saturating_add(PULL_AGAIN);
        Some(pull)
    }

    /// Takes a piece, and passes its entries to `on_entry`. Returns what it has brought, and what is to be sent for it.
    ///
    /// # Errors
    /// `None` if the piece belongs to no transfer that is under way.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        donor: NodeId,
        piece: &Piece<'_>,
        on_entry: &mut impl FnMut(Entry),
    ) -> Option<Result<(Brought, Option<Request>), Damage>> {
        let State::Pulling(pulling) = &mut self.state else {
            return None;
        };
        if piece.transfer != self.transfer || donor != pulling.donor {
            return None;
        }
        if piece.number != pulling.next {
            // Behind a piece that is missing: the pieces from that on are sent again, once.
            let is_gap = piece.number > pulling.next && !pulling.gap_told;
            pulling.gap_told |= is_gap;
            let pull = is_gap.then(|| pulling.pull(self.transfer, true));
            return Some(Ok((Brought::Nothing, pull)));
        }
        if let Err(damage) = pulling.decoder.feed(piece.bytes, &mut |_, entry| on_entry(entry)) {
            return Some(Err(self.give_up(now, damage)));
        }
        pulling.next += 1;
        pulling.gap_told = false;
        pulling.patience = now.saturating_add(TRANSFER_PATIENCE);
        self.due = now.saturating_add(PULL_AGAIN);
        if piece.is_last {
            let pull = pulling.pull(self.transfer, false);
            let decoder = core::mem::take(&mut pulling.decoder);
            return match decoder.finish() {
                Ok(_) => Some(Ok((Brought::All, Some(pull)))),
                Err(damage) => Some(Err(self.give_up(now, damage))),
            };
        }
        // Before the donor has sent all that it may, so that it goes on meanwhile.
        let is_due = pulling.next - pulling.pulled >= PIECES_AHEAD / 4;
        let pull = is_due.then(|| pulling.pull(self.transfer, false));
        Some(Ok((Brought::Some, pull)))
    }

    fn give_up(&mut self, now: Instant, damage: Damage) -> Damage {
        self.state = State::Asking;
        self.due = now.saturating_add(ASK_AGAIN);
        damage
    }
}

impl Pulling {
    fn pull(&mut self, transfer: TransferId, again: bool) -> Request {
        self.pulled = self.next;
        let pull = Pull {
            transfer,
            next: self.next,
            again,
        };
        Request::Pull(self.donor, pull)
    }
}

/// Bytes of a snapshot in one piece.
const PIECE_LEN: usize = 48 << 10;
/// Pieces that are sent beyond the one that the joiner asked for: 1.5 MiB, so that a way of a tenth of a second still carries 15
/// MiB a second.
const PIECES_AHEAD: u32 = 32;
/// Pieces of one donation between two drains of the outboxes, 50 ms: at most 19 MiB a second.
const PIECES_PER_TICK: u32 = 20;
/// Silence of a donor after which the next piece is asked for again.
const PULL_AGAIN: Duration = Duration::from_millis(1000);
/// Silence after which a donor is given up, or a joiner.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(10);
/// How long an offer waits to be taken.
const OFFER_HOLDS: Duration = Duration::from_secs(5);
/// How long a joiner waits for an offer before it asks again, at first.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How often that is doubled: up to 32 seconds.
const ASK_DOUBLINGS: u32 = 4;
