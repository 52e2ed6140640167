//! A scrape of all torrents, in steps and pieces of bounded size.

use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use core::cmp::Reverse;
use core::sync::atomic::Ordering::{AcqRel, Release};

use super::head::{self, Framing};
use super::response::{SCRAPE_ENTRY_MAX, encode_scrape_entry};
use super::stream::Progress;
use crate::announce::Counts;
use crate::bencode;
use crate::swarm::{Peer, Visit, WalkPosition};
use crate::{InfoHash, Tracker, Worker};

/// The answer to a full scrape on its way. There is one for each tracker at most.
///
/// First the info-hashes are collected, then each is looked up and written in ascending order. They wait in a heap, so
/// that bringing them into order takes as many small steps as writing them does. Torrents that have gone meanwhile are
/// shown with zeros.
#[derive(Debug)]
pub(super) struct FullScrape {
    framing: Framing,
    waiting: BinaryHeap<Reverse<InfoHash>>,
    phase: Phase,
    _permit: Permit,
}

#[derive(Debug)]
enum Phase {
    Collect(WalkPosition),
    Write { begun: bool },
}

impl FullScrape {
    /// Begins, unless another one is under way or there is no memory for the info-hashes.
    pub(super) fn begin(framing: Framing, worker: &Worker) -> Option<Self> {
        let tracker = worker.tracker();
        let permit = Permit::claim(tracker)?;
        let torrents = usize::try_from(tracker.totals().torrents).ok()?;
        let mut waiting = BinaryHeap::new();
        waiting.try_reserve(torrents.saturating_add(WALK_WORK)).ok()?;
        Some(Self {
            framing,
            waiting,
            phase: Phase::Collect(WalkPosition::default()),
            _permit: permit,
        })
    }

    /// Whether the connection stays open afterwards.
    pub(super) const fn keep_alive(&self) -> bool {
        self.framing.keep_alive
    }

    /// Does one step: looks at about [`WALK_WORK`] torrents and peers, or writes at most [`PIECE_MAX`] bytes.
    pub(super) fn proceed(&mut self, worker: &Worker, reply: &mut [u8]) -> Progress {
        match &mut self.phase {
            Phase::Collect(position) => {
                let mut collect = Collect(&mut self.waiting);
                if worker.tracker().swarms().walk(WALK_WORK, position, &mut collect) {
                    self.phase = Phase::Write { begun: false };
                }
                Progress::Working
            }
            Phase::Write { begun } => {
                let first = !core::mem::replace(begun, true);
                self.write(first, worker, reply).unwrap_or(Progress::Impossible)
            }
        }
    }

    fn write(&mut self, first: bool, worker: &Worker, reply: &mut [u8]) -> Option<Progress> {
        let reply_len = reply.len().min(PIECE_MAX);
        let reply = reply.get_mut(..reply_len)?;
        let head_len = if first {
            head::encode_stream(self.framing, reply)?
        } else {
            0
        };
        let (_, room) = reply.split_at_mut_checked(head_len)?;
        // Whether this is the last piece is known only when it is written: the end comes in a piece of its own.
        let last = self.waiting.is_empty() && !first;
        let framing = self.framing;
        let len = head::encode_piece(framing, last, room, |out| {
            if last {
                out.get_mut(..END.len())?.copy_from_slice(END);
                return Some(END.len());
            }
            let start = if first { START.len() } else { 0 };
            out.get_mut(..start)?.copy_from_slice(START.get(..start)?);
            Some(start + self.write_entries(worker, out.get_mut(start..)?)?)
        })?;
        let len = head_len + len;
        let keep_alive = framing.keep_alive;
        Some(if last {
            Progress::Last { len, keep_alive }
        } else {
            Progress::Piece(len)
        })
    }

    /// Writes as many of those waiting as fit. `None` if not even one does.
    fn write_entries(&mut self, worker: &Worker, out: &mut [u8]) -> Option<usize> {
        let waiting_before = self.waiting.len();
        let len = bencode::pairs(out, |files| {
            while files.room() >= SCRAPE_ENTRY_MAX
                && let Some(Reverse(info_hash)) = self.waiting.pop()
            {
                encode_scrape_entry(files, &info_hash, worker.scrape(&info_hash));
            }
        })?;
        (waiting_before == 0 || self.waiting.len() < waiting_before).then_some(len)
    }
}

/// Torrents and peers looked at in one step of a full scrape: some tens of microseconds.
const WALK_WORK: usize = 4096;
/// Bytes of one piece of a full scrape: some hundred torrents, looked up and written in about as many microseconds.
const PIECE_MAX: usize = 32 * 1024;
/// The body before its first entry, and after its last.
const START: &[u8] = b"d5:filesd";
const END: &[u8] = b"ee";

/// Holds the one place that a tracker has for full scrapes.
#[derive(Debug)]
struct Permit(Arc<Tracker>);

impl Permit {
    fn claim(tracker: &Arc<Tracker>) -> Option<Self> {
        let taken = tracker.full_scrape().swap(true, AcqRel);
        (!taken).then(|| Self(Arc::clone(tracker)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.full_scrape().store(false, Release);
    }
}

struct Collect<'a>(&'a mut BinaryHeap<Reverse<InfoHash>>);

impl Visit for Collect<'_> {
    fn torrent(&mut self, info_hash: &InfoHash, _: Counts) {
        self.0.push(Reverse(*info_hash));
    }

    fn peer(&mut self, _: &InfoHash, _: &Peer) {}
}
