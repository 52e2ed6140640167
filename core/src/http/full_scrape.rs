//! A scrape of all torrents, in steps and pieces of bounded size, for several readers at once.

use alloc::collections::BinaryHeap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use super::head::{self, Framing};
use super::progress::Progress;
use super::response::{SCRAPE_ENTRY_MAX, encode_scrape_entry};
use crate::announce::Counts;
use crate::bencode;
use crate::config::{
    FULL_SCRAPE_AGE_MAX, FULL_SCRAPE_GRACE, FULL_SCRAPE_LISTS_MAX, FULL_SCRAPE_RATE_MIN,
    FULL_SCRAPE_READERS_MAX, FULL_SCRAPE_READERS_OF_ADDRESS_MAX,
};
use crate::lock::Lock;
use crate::swarm::{Peer, Visit, WalkPosition};
use crate::{InfoHash, Instant, Tracker, Worker};

/// The answer to a full scrape on its way to one reader.
///
/// The info-hashes are collected first, then each is looked up and written in ascending order. Concurrent readers share the
/// collected list. A torrent that was dropped meanwhile is written with zeros.
#[derive(Debug)]
pub(super) struct FullScrape {
    framing: Framing,
    list: Arc<HashList>,
    /// Info-hashes taken from the list so far.
    taken: usize,
    /// Those of them that are not written yet, the next one last.
    batch: Vec<InfoHash>,
    /// Whether the head is written.
    begun: bool,
    rate: ReaderRate,
    _slot: ReaderSlot,
}

impl FullScrape {
    /// Begins an answer; `None` if there are too many readers or no memory for the list.
    pub(super) fn begin(
        now: Instant,
        framing: Framing,
        reader: IpAddr,
        scrapes: &Arc<FullScrapes>,
        worker: &Worker,
    ) -> Option<Self> {
        let (list, slot) = ReaderSlot::claim(now, reader, scrapes, worker.tracker())?;
        Some(Self {
            framing,
            list,
            taken: 0,
            batch: Vec::new(),
            begun: false,
            rate: ReaderRate::default(),
            _slot: slot,
        })
    }

    /// Whether the connection stays open afterwards.
    pub(super) const fn keep_alive(&self) -> bool {
        self.framing.keep_alive
    }

    /// When the piece under way must be written; a reader that takes longer is too slow.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.rate.deadline()
    }

    /// Visits about [`WALK_WORK`] torrents and peers, or writes at most [`PIECE_MAX`] bytes.
    pub(super) fn step(&mut self, now: Instant, worker: &Worker, reply: &mut [u8]) -> Progress {
        self.rate.stop(now);
        if self.batch.is_empty() {
            match self.list.step(self.taken, &mut self.batch, worker.tracker()) {
                ListStep::Collecting => return Progress::Working,
                ListStep::Batch => self.taken += self.batch.len(),
            }
        }
        let progress = self.write(worker, reply).unwrap_or(Progress::Impossible);
        if let Progress::Piece(len) = progress {
            self.rate.start(now, len);
        }
        progress
    }

    fn write(&mut self, worker: &Worker, reply: &mut [u8]) -> Option<Progress> {
        let first = !core::mem::replace(&mut self.begun, true);
        let reply_len = reply.len().min(PIECE_MAX);
        let reply = reply.get_mut(..reply_len)?;
        let head_len = if first {
            head::encode_stream(self.framing, reply)?
        } else {
            0
        };
        let (_, room) = reply.split_at_mut_checked(head_len)?;
        // The end is a piece of its own: only after the last batch is it known that none follows.
        let last = self.batch.is_empty() && !first;
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

    /// Writes as many of the batch as fit. `None` if not even one does.
    fn write_entries(&mut self, worker: &Worker, out: &mut [u8]) -> Option<usize> {
        let waiting_before = self.batch.len();
        let len = bencode::pairs(out, |files| {
            while files.room() >= SCRAPE_ENTRY_MAX
                && let Some(info_hash) = self.batch.pop()
            {
                encode_scrape_entry(files, &info_hash, worker.scrape(&info_hash));
            }
        })?;
        (waiting_before == 0 || self.batch.len() < waiting_before).then_some(len)
    }
}

/// Torrents and peers visited in one step: some tens of microseconds.
const WALK_WORK: usize = 4096;
/// Bytes of one piece of a full scrape: some hundred torrents, looked up and written in about as many microseconds.
const PIECE_MAX: usize = 32 * 1024;
/// Info-hashes sorted at a time: as many as fit a piece, whatever their counts.
const BATCH: usize = (PIECE_MAX - 1024) / SCRAPE_ENTRY_MAX;
/// The body before its first entry, and after its last.
const START: &[u8] = b"d5:filesd";
const END: &[u8] = b"ee";

/// The rate at which a reader takes its answer. Time that the tracker itself takes does not count.
#[derive(Debug, Default)]
struct ReaderRate {
    /// Bytes written, the piece under way included.
    bytes: u64,
    /// Time that earlier pieces took to be written.
    waited: Duration,
    /// When the piece under way was handed to the driver.
    since: Option<Instant>,
}

impl ReaderRate {
    fn start(&mut self, now: Instant, len: usize) {
        self.bytes += len as u64;
        self.since = Some(now);
    }

    fn stop(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_since(since);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let allowed = Duration::from_millis(self.bytes.saturating_mul(1000) / FULL_SCRAPE_RATE_MIN);
        let left = allowed.max(FULL_SCRAPE_GRACE).saturating_sub(self.waited);
        self.since.map(|since| since.saturating_add(left))
    }
}

/// The info-hashes of a full scrape, shared by its readers: 20 bytes for each torrent.
///
/// They are sorted in place in small steps, as far as the fastest reader needs them.
#[derive(Debug)]
struct HashList {
    begun: Instant,
    collected: Lock<Collected>,
}

#[derive(Debug)]
enum Collected {
    /// Some of them; any reader continues from here.
    Part {
        position: WalkPosition,
        info_hashes: BinaryHeap<Reverse<InfoHash>>,
    },
    /// All of them: a heap with the smallest first, and behind it, in descending order, those popped so far.
    All {
        info_hashes: Vec<Reverse<InfoHash>>,
        heap_len: usize,
    },
}

/// The result of a step.
enum ListStep {
    /// The list is not complete yet.
    Collecting,
    /// The next info-hashes; none at the end.
    Batch,
}

impl HashList {
    fn new(begun: Instant, torrents: usize) -> Option<Self> {
        let mut info_hashes = BinaryHeap::new();
        info_hashes
            .try_reserve_exact(torrents.saturating_add(WALK_WORK))
            .ok()?;
        let position = WalkPosition::default();
        let collected = Lock::new(Collected::Part {
            position,
            info_hashes,
        });
        Some(Self { begun, collected })
    }

    /// Collects some more info-hashes, or puts a batch from number `from` on into `batch`, the first of them last.
    fn step(&self, from: usize, batch: &mut Vec<InfoHash>, tracker: &Tracker) -> ListStep {
        self.collected.with(|collected| match collected {
            Collected::Part {
                position,
                info_hashes,
            } => {
                if tracker
                    .swarms()
                    .walk(WALK_WORK, position, &mut Collect(info_hashes))
                {
                    let info_hashes = core::mem::take(info_hashes).into_vec();
                    let heap_len = info_hashes.len();
                    *collected = Collected::All {
                        info_hashes,
                        heap_len,
                    };
                }
                ListStep::Collecting
            }
            Collected::All {
                info_hashes,
                heap_len,
            } => {
                let len = info_hashes.len();
                let until = from.saturating_add(BATCH).min(len);
                while len - *heap_len < until {
                    *heap_len = pop_smallest(info_hashes, *heap_len);
                }
                let next = info_hashes.get(len - until..len - from).unwrap_or_default();
                batch.extend(next.iter().map(|Reverse(info_hash)| *info_hash));
                ListStep::Batch
            }
        })
    }
}

/// Moves the smallest element of a heap of `heap_len` behind the heap. Returns the new length of the heap.
fn pop_smallest(info_hashes: &mut [Reverse<InfoHash>], heap_len: usize) -> usize {
    let heap_len = heap_len.saturating_sub(1);
    let Some((heap, [behind, ..])) = info_hashes.split_at_mut_checked(heap_len) else {
        return 0;
    };
    if let Some(first) = heap.first_mut() {
        core::mem::swap(first, behind);
        sift_down(heap);
    }
    heap_len
}

/// Restores the heap order, which only the first element may violate.
fn sift_down(heap: &mut [Reverse<InfoHash>]) {
    let mut at = 0;
    loop {
        let left = 2 * at + 1;
        let larger = if heap.get(left + 1) > heap.get(left) {
            left + 1
        } else {
            left
        };
        if heap.get(larger) <= heap.get(at) {
            return;
        }
        heap.swap(larger, at);
        at = larger;
    }
}

/// The full scrapes under way.
#[derive(Debug, Default)]
pub(super) struct FullScrapes(Lock<Running>);

/// The readers of full scrapes and their lists.
#[derive(Debug, Default)]
struct Running {
    /// Invariant: at most [`FULL_SCRAPE_READERS_MAX`].
    readers: Vec<IpAddr>,
    /// Lists with readers, the newest last. Invariant: at most [`FULL_SCRAPE_LISTS_MAX`].
    lists: Vec<Weak<HashList>>,
}

impl Running {
    fn has_room(&self, reader: IpAddr) -> bool {
        let own = self.readers.iter().filter(|&&other| other == reader).count();
        self.readers.len() < FULL_SCRAPE_READERS_MAX && own < FULL_SCRAPE_READERS_OF_ADDRESS_MAX
    }

    /// The newest list; a new one if that is too old and one more is allowed.
    fn list(&mut self, now: Instant, torrents: usize) -> Option<Arc<HashList>> {
        self.lists.retain(|list| list.strong_count() > 0);
        let newest = self.lists.last().and_then(Weak::upgrade);
        let is_full = self.lists.len() >= FULL_SCRAPE_LISTS_MAX;
        let is_new = |list: &HashList| now.saturating_since(list.begun) <= FULL_SCRAPE_AGE_MAX;
        if let Some(list) = newest.filter(|list| is_full || is_new(list)) {
            return Some(list);
        }
        #[cfg_attr(
            not(feature = "std"),
            expect(clippy::arc_with_non_send_sync, reason = "without std there is one thread")
        )]
        let list = Arc::new(HashList::new(now, torrents)?);
        self.lists.push(Arc::downgrade(&list));
        Some(list)
    }
}

/// One of the [`FULL_SCRAPE_READERS_MAX`] slots; freed when dropped.
#[derive(Debug)]
struct ReaderSlot {
    scrapes: Arc<FullScrapes>,
    reader: IpAddr,
}

impl ReaderSlot {
    fn claim(
        now: Instant,
        reader: IpAddr,
        scrapes: &Arc<FullScrapes>,
        tracker: &Tracker,
    ) -> Option<(Arc<HashList>, Self)> {
        let reader = reader_address(reader);
        let torrents = usize::try_from(tracker.totals().torrents).ok()?;
        let list = scrapes.0.with(|running| {
            let list = running
                .has_room(reader)
                .then(|| running.list(now, torrents))
                .flatten()?;
            running.readers.push(reader);
            Some(list)
        })?;
        let scrapes = Arc::clone(scrapes);
        Some((list, Self { scrapes, reader }))
    }
}

impl Drop for ReaderSlot {
    fn drop(&mut self) {
        self.scrapes.0.with(|running| {
            if let Some(own) = running.readers.iter().position(|&other| other == self.reader) {
                running.readers.swap_remove(own);
            }
        });
    }
}

/// The address that a reader counts as: an IPv4 address, or the network of an IPv6 /64.
fn reader_address(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

struct Collect<'a>(&'a mut BinaryHeap<Reverse<InfoHash>>);

impl Visit for Collect<'_> {
    fn torrent(&mut self, info_hash: &InfoHash, _: Counts) {
        self.0.push(Reverse(*info_hash));
    }

    fn peer(&mut self, _: &InfoHash, _: &Peer) {}
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;
    use std::vec::Vec;

    use super::*;

    quickcheck! {
        fn what_is_taken_out_of_a_heap_stands_behind_it_in_order(firsts: Vec<u16>) -> bool {
            let all: BinaryHeap<_> = firsts
                .iter()
                .map(|first| {
                    let mut info_hash = InfoHash::default();
                    info_hash.0[..2].copy_from_slice(&first.to_be_bytes());
                    Reverse(info_hash)
                })
                .collect();
            let mut list = all.into_vec();
            let mut heap_len = list.len();
            while heap_len > 0 {
                let before = heap_len;
                heap_len = pop_smallest(&mut list, heap_len);
                assert_eq!(heap_len, before - 1);
            }
            list.len() == firsts.len() && list.is_sorted()
        }
    }
}
