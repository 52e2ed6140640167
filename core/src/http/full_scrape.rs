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
/// First the info-hashes are collected, then each is looked up and written in ascending order. Readers share the list of
/// them, whoever began it. Torrents that have gone meanwhile are shown with zeros.
#[derive(Debug)]
pub(super) struct FullScrape {
    framing: Framing,
    list: Arc<List>,
    /// Info-hashes of the list that were taken for writing.
    taken: usize,
    /// Those of them that are not yet written, the next one last.
    batch: Vec<InfoHash>,
    /// Whether the head is written.
    begun: bool,
    pace: Pace,
    _place: Place,
}

impl FullScrape {
    /// Begins, unless there are too many readers or there is no memory for the info-hashes.
    pub(super) fn begin(
        now: Instant,
        framing: Framing,
        reader: IpAddr,
        scrapes: &Arc<FullScrapes>,
        worker: &Worker,
    ) -> Option<Self> {
        let (list, place) = Place::claim(now, reader, scrapes, worker.tracker())?;
        Some(Self {
            framing,
            list,
            taken: 0,
            batch: Vec::new(),
            begun: false,
            pace: Pace::default(),
            _place: place,
        })
    }

    /// Whether the connection stays open afterwards.
    pub(super) const fn keep_alive(&self) -> bool {
        self.framing.keep_alive
    }

    /// When the reader is too slow, if the piece under way is not written before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pace.deadline()
    }

    /// Does one step: looks at about [`WALK_WORK`] torrents and peers, or writes at most [`PIECE_MAX`] bytes.
    pub(super) fn proceed(&mut self, now: Instant, worker: &Worker, reply: &mut [u8]) -> Progress {
        self.pace.stop(now);
        if self.batch.is_empty() {
            match self.list.proceed(self.taken, &mut self.batch, worker.tracker()) {
                Taken::Collecting => return Progress::Working,
                Taken::Batch => self.taken += self.batch.len(),
            }
        }
        let progress = self.write(worker, reply).unwrap_or(Progress::Impossible);
        if let Progress::Piece(len) = progress {
            self.pace.start(now, len);
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
        // Whether this is the last piece is known only when it is written: the end comes in a piece of its own.
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

/// Torrents and peers looked at in one step of a full scrape: some tens of microseconds.
const WALK_WORK: usize = 4096;
/// Bytes of one piece of a full scrape: some hundred torrents, looked up and written in about as many microseconds.
const PIECE_MAX: usize = 32 * 1024;
/// Info-hashes that are put in order at a time: as many as fit a piece, whatever their counts.
const BATCH: usize = (PIECE_MAX - 1024) / SCRAPE_ENTRY_MAX;
/// The body before its first entry, and after its last.
const START: &[u8] = b"d5:filesd";
const END: &[u8] = b"ee";

/// How fast a reader takes what it is given. Time that the tracker itself takes is not counted.
#[derive(Debug, Default)]
struct Pace {
    /// Bytes that were given, the piece under way included.
    bytes: u64,
    /// Time for which pieces before that one waited for the reader.
    waited: Duration,
    /// Since when one is under way.
    since: Option<Instant>,
}

impl Pace {
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

/// The info-hashes of a full scrape, for all who read them: 20 bytes for each torrent.
///
/// They are put in order in small steps, as far as the fastest reader has come, and within the memory that they take.
#[derive(Debug)]
struct List {
    begun: Instant,
    collected: Lock<Collected>,
}

#[derive(Debug)]
enum Collected {
    /// Some; whoever reads goes on from here.
    Part {
        position: WalkPosition,
        info_hashes: BinaryHeap<Reverse<InfoHash>>,
    },
    /// All: a heap with the smallest first, and behind it in descending order those that were taken out of it.
    All {
        info_hashes: Vec<Reverse<InfoHash>>,
        heap_len: usize,
    },
}

/// What a step brought.
enum Taken {
    /// Nothing yet.
    Collecting,
    /// The next info-hashes; none at the end.
    Batch,
}

impl List {
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

    /// Puts those from the one numbered `from` on into `batch`, the first of them last; or collects some more.
    fn proceed(&self, from: usize, batch: &mut Vec<InfoHash>, tracker: &Tracker) -> Taken {
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
                Taken::Collecting
            }
            Collected::All {
                info_hashes,
                heap_len,
            } => {
                let len = info_hashes.len();
                let until = from.saturating_add(BATCH).min(len);
                while len - *heap_len < until {
                    *heap_len = move_smallest_out(info_hashes, *heap_len);
                }
                let next = info_hashes.get(len - until..len - from).unwrap_or_default();
                batch.extend(next.iter().map(|Reverse(info_hash)| *info_hash));
                Taken::Batch
            }
        })
    }
}

/// Swaps the first of a heap of `heap_len` behind it, and returns how long the heap is then.
fn move_smallest_out(info_hashes: &mut [Reverse<InfoHash>], heap_len: usize) -> usize {
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

/// Makes a heap of one that is in order but for its first.
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

/// The full scrapes that are running.
#[derive(Debug, Default)]
pub(super) struct FullScrapes(Lock<Running>);

/// Who reads a full scrape at the moment, and what.
#[derive(Debug, Default)]
struct Running {
    /// Invariant: at most [`FULL_SCRAPE_READERS_MAX`].
    readers: Vec<IpAddr>,
    /// Those that someone reads, the newest last. Invariant: at most [`FULL_SCRAPE_LISTS_MAX`].
    lists: Vec<Weak<List>>,
}

impl Running {
    fn has_room(&self, reader: IpAddr) -> bool {
        let own = self.readers.iter().filter(|&&other| other == reader).count();
        self.readers.len() < FULL_SCRAPE_READERS_MAX && own < FULL_SCRAPE_READERS_OF_ADDRESS_MAX
    }

    /// The newest list, unless it is too old and there may be one more.
    fn list(&mut self, now: Instant, torrents: usize) -> Option<Arc<List>> {
        self.lists.retain(|list| list.strong_count() > 0);
        let newest = self.lists.last().and_then(Weak::upgrade);
        let is_full = self.lists.len() >= FULL_SCRAPE_LISTS_MAX;
        let is_new = |list: &List| now.saturating_since(list.begun) <= FULL_SCRAPE_AGE_MAX;
        if let Some(list) = newest.filter(|list| is_full || is_new(list)) {
            return Some(list);
        }
        #[cfg_attr(
            not(feature = "std"),
            expect(clippy::arc_with_non_send_sync, reason = "without std there is one thread")
        )]
        let list = Arc::new(List::new(now, torrents)?);
        self.lists.push(Arc::downgrade(&list));
        Some(list)
    }
}

/// Holds one of the places that there are for readers of full scrapes.
#[derive(Debug)]
struct Place {
    scrapes: Arc<FullScrapes>,
    reader: IpAddr,
}

impl Place {
    fn claim(
        now: Instant,
        reader: IpAddr,
        scrapes: &Arc<FullScrapes>,
        tracker: &Tracker,
    ) -> Option<(Arc<List>, Self)> {
        let reader = household(reader);
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

impl Drop for Place {
    fn drop(&mut self) {
        self.scrapes.0.with(|running| {
            if let Some(own) = running.readers.iter().position(|&other| other == self.reader) {
                running.readers.swap_remove(own);
            }
        });
    }
}

/// What counts as one address: an IPv4 address, or an IPv6 /64.
fn household(ip: IpAddr) -> IpAddr {
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
                heap_len = move_smallest_out(&mut list, heap_len);
                assert_eq!(heap_len, before - 1);
            }
            list.len() == firsts.len() && list.is_sorted()
        }
    }
}
