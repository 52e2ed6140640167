//! Leaky buckets for any number of keys in fixed memory.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::Instant;

/// Buckets that leak as time passes, in lines of a processor's cache. A flood of keys makes it forget; it never grows.
///
/// A key has two lines, and is stored in one of their slots as the time at which its bucket will be empty, so that nothing
/// has to be done for a bucket to leak. A key that finds all slots taken by fuller buckets is not stored: what it pours in
/// is taken out of the least full of them instead (Misra and Gries, "Finding repeated elements", 1982).
///
/// So a bucket is never fuller than all that was poured into it says, but for two keys in one line with the same fingerprint.
/// It is less full by at most what keys without a slot have poured into its two lines while it was not empty.
#[derive(Debug)]
pub(crate) struct Sketch {
    /// Invariant: holds `mask` + 1 lines behind `offset`.
    slots: Vec<u64>,
    /// Slots before the first whole line of the cache.
    offset: usize,
    /// Invariant: lines are a power of two; this is one less.
    mask: u64,
}

impl Sketch {
    /// A sketch of `lines` lines of 64 bytes, rounded up to a power of two. Its pages are touched as they are used.
    pub(crate) fn new(lines: usize) -> Self {
        let lines = lines.next_power_of_two();
        // Zeros of integers come from the system untouched; a type of 64 aligned bytes would be written.
        let slots = vec![0; (lines + 1) * SLOTS];
        // Where the address is not known, lines straddle two of the cache's, and that is all.
        let offset = match slots.as_ptr().align_offset(LINE_BYTES) {
            offset if offset < SLOTS => offset,
            _ => 0,
        };
        Self {
            slots,
            offset,
            mask: lines as u64 - 1,
        }
    }

    /// Pours `amount` into the bucket of the key with this hash, unless it would then hold more than `capacity`.
    pub(crate) fn pour(&mut self, now: Instant, hash: u64, amount: Amount, capacity: Amount) -> Poured {
        // What is larger than a bucket fills an empty one.
        let amount = amount.0.min(capacity.0);
        let now = ticks(now) << PRINT_BITS;
        let print = hash & PRINT_MASK;
        let [first, second] = self.lines_of(hash);
        let mut least = Slot {
            line: first,
            index: 0,
            level: u64::MAX,
        };
        for line in [first, second] {
            let slots = self.line(line).copied().unwrap_or_default();
            for (index, slot) in slots.into_iter().enumerate() {
                let level = level(slot, now);
                if slot & PRINT_MASK == print && level > 0 {
                    return self.pour_into(Slot { line, index, level }, now, print, amount, capacity);
                }
                if level < least.level {
                    least = Slot { line, index, level };
                }
            }
        }
        if least.level <= amount {
            self.put(&least, now, print, amount);
        } else {
            // The neighbour pays: the sum of both stays what it was, so that only heavy keys keep their slots.
            let neighbour = self.print_at(&least);
            self.put(&least, now, neighbour, least.level - amount);
        }
        Poured::Fits(Amount(amount))
    }

    fn pour_into(&mut self, slot: Slot, now: u64, print: u64, amount: u64, capacity: Amount) -> Poured {
        let level = slot.level + amount;
        if level > capacity.0 {
            return Poured::Over;
        }
        self.put(&slot, now, print, level);
        Poured::Fits(Amount(level))
    }

    fn put(&mut self, slot: &Slot, now: u64, print: u64, level: u64) {
        let place = self.line_mut(slot.line).and_then(|line| line.get_mut(slot.index));
        if let Some(place) = place {
            *place = (now.wrapping_add(level << PRINT_BITS) & !PRINT_MASK) | print;
        }
    }

    fn print_at(&self, slot: &Slot) -> u64 {
        let place = self.line(slot.line).and_then(|line| line.get(slot.index));
        place.map_or(0, |place| place & PRINT_MASK)
    }

    /// The two lines of a key. The fingerprint is of other bits.
    fn lines_of(&self, hash: u64) -> [usize; 2] {
        [hash >> 38, hash >> PRINT_BITS].map(|bits| usize::try_from(bits & self.mask).unwrap_or(0))
    }

    fn line(&self, line: usize) -> Option<&[u64; SLOTS]> {
        let from = self.offset + line * SLOTS;
        self.slots.get(from..)?.first_chunk()
    }

    fn line_mut(&mut self, line: usize) -> Option<&mut [u64; SLOTS]> {
        let from = self.offset + line * SLOTS;
        self.slots.get_mut(from..)?.first_chunk_mut()
    }
}

/// What a bucket holds, as the time that it takes to leak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount(u64);

impl Amount {
    /// What leaks in `duration`, of at most [`AMOUNT_MAX`].
    pub(crate) const fn leaking_in(duration: Duration) -> Self {
        let millis = duration.as_secs().saturating_mul(1000) + duration.subsec_millis() as u64;
        let ticks = millis.saturating_mul(TICKS_PER_MILLI);
        Self(if ticks < AMOUNT_MAX.0 { ticks } else { AMOUNT_MAX.0 })
    }

    /// One of `rate` that leak in a second.
    pub(crate) const fn one_of(rate: u64) -> Self {
        let rate = if rate == 0 { 1 } else { rate };
        Self((TICKS_PER_MILLI * 1000 + rate / 2) / rate)
    }

    /// So many times as much, at most [`AMOUNT_MAX`].
    pub(crate) fn times(self, number: u32) -> Self {
        Self(self.0.saturating_mul(number.into())).min(AMOUNT_MAX)
    }
}

/// Whether something found room.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poured {
    /// It is in; the bucket holds so much now.
    Fits(Amount),
    /// The bucket would hold too much, and is as it was.
    Over,
}

/// A slot, and the ticks until its bucket is empty.
#[derive(Clone, Copy, Debug)]
struct Slot {
    line: usize,
    index: usize,
    level: u64,
}

/// Ticks until the bucket of a slot is empty. Times are shifted to where a slot has them, and wrap around.
///
/// What lies further ahead than any bucket can hold was empty long ago. Times come round after two years; a slot that was used
/// and then not touched for so long looks full for two minutes, which makes room a little scarce. One never used does not.
const fn level(slot: u64, now: u64) -> u64 {
    let level = (slot & !PRINT_MASK).wrapping_sub(now) >> PRINT_BITS;
    if slot == 0 || level > AMOUNT_MAX.0 {
        0
    } else {
        level
    }
}

const fn ticks(now: Instant) -> u64 {
    now.as_millis().wrapping_mul(TICKS_PER_MILLI)
}

/// The most that a bucket can hold: two minutes of leaking.
pub(crate) const AMOUNT_MAX: Amount = Amount(TICKS_PER_MILLI * 120_000);
/// A sixty-fourth of a microsecond: at the highest rates a request is some hundred ticks.
const TICKS_PER_MILLI: u64 = 64_000;
/// Bits of a slot that tell the keys of a line apart; the others are its time.
const PRINT_BITS: u32 = 12;
const PRINT_MASK: u64 = (1 << PRINT_BITS) - 1;
/// Slots in a line.
const SLOTS: usize = LINE_BYTES / size_of::<u64>();
/// Bytes of a line: those of a line of the processor's cache, so that a key costs two of them.
pub(crate) const LINE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::format;

    use quickcheck::{TestResult, quickcheck};

    use super::*;

    const START: Instant = Instant::from_secs(1_790_000_000);

    /// Scatters keys as a hash does (the last steps of splitmix64).
    const fn hash(key: u32) -> u64 {
        let mixed = (key as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn amount(millis: u64) -> Amount {
        Amount::leaking_in(Duration::from_millis(millis))
    }

    /// Buckets without a limit to their number, and what each may lack in the sketch.
    struct Model {
        now: Instant,
        buckets: BTreeMap<u32, (Instant, u64)>,
        /// All that was poured while no slot was free, by line.
        unplaced: BTreeMap<usize, u64>,
    }

    impl Model {
        fn new() -> Self {
            Self {
                now: START,
                buckets: BTreeMap::new(),
                unplaced: BTreeMap::new(),
            }
        }

        fn level(&self, key: u32) -> u64 {
            let (at, level) = self.buckets.get(&key).copied().unwrap_or((START, 0));
            let leaked = self.now.as_millis() - at.as_millis();
            level.saturating_sub(leaked * TICKS_PER_MILLI)
        }

        fn pour(&mut self, key: u32, amount: u64) {
            let level = self.level(key) + amount;
            self.buckets.insert(key, (self.now, level));
        }

        /// What the bucket of `key` may lack.
        fn error(&self, sketch: &Sketch, key: u32) -> u64 {
            let of = |line| self.unplaced.get(&line).copied().unwrap_or(0);
            let [first, second] = sketch.lines_of(hash(key));
            of(first) + if second == first { 0 } else { of(second) }
        }
    }

    /// The level of a key as the sketch has it.
    fn stored(sketch: &Sketch, now: Instant, key: u32) -> u64 {
        let (now, hash) = (ticks(now) << PRINT_BITS, hash(key));
        let slots = sketch.lines_of(hash).map(|line| *sketch.line(line).unwrap());
        let same = |slot: &&u64| **slot & PRINT_MASK == hash & PRINT_MASK;
        let levels = slots.as_flattened().iter().filter(same);
        levels.map(|slot| level(*slot, now)).max().unwrap_or(0)
    }

    /// Whether a slot is free for `key`, or it has one.
    fn has_place(sketch: &Sketch, now: Instant, key: u32) -> bool {
        let lines = sketch.lines_of(hash(key)).map(|line| *sketch.line(line).unwrap());
        let mut levels = lines
            .as_flattened()
            .iter()
            .map(|slot| level(*slot, ticks(now) << PRINT_BITS));
        stored(sketch, now, key) > 0 || levels.any(|level| level == 0)
    }

    /// Keys that are told apart in each of their lines. Others would share a bucket, as they may.
    fn distinct_keys(sketch: &Sketch, number: usize) -> Vec<u32> {
        let mut seen = BTreeSet::new();
        let is_new = |key: &u32| {
            let places = sketch
                .lines_of(hash(*key))
                .map(|line| (line, hash(*key) & PRINT_MASK));
            let new = places.iter().all(|place| !seen.contains(place));
            seen.extend(places);
            new
        };
        (0..).filter(is_new).take(number).collect()
    }

    quickcheck! {
        /// Keys are few, so that they meet in four lines; the amounts are of milliseconds up to a second.
        fn a_bucket_is_never_above_the_truth_and_below_it_by_no_more_than_the_stated_error(
            pours: Vec<(u8, u16, u8)>
        ) -> TestResult {
            let mut sketch = Sketch::new(4);
            let keys = distinct_keys(&sketch, 256);
            let mut model = Model::new();
            for (key, millis, wait) in pours {
                model.now = model.now.saturating_add(Duration::from_millis((wait / 16).into()));
                let key = keys[usize::from(key)];
                let more = amount((millis % 1000).into());
                if !has_place(&sketch, model.now, key) {
                    for line in sketch.lines_of(hash(key)) {
                        *model.unplaced.entry(line).or_default() += more.0;
                    }
                }
                let _ = sketch.pour(model.now, hash(key), more, AMOUNT_MAX);
                model.pour(key, more.0);
                for &key in &keys {
                    let (truth, stored) = (model.level(key), stored(&sketch, model.now, key));
                    if stored > truth || stored + model.error(&sketch, key) < truth.min(AMOUNT_MAX.0) {
                        return TestResult::error(format!("{key}: {stored} for {truth}"));
                    }
                }
            }
            TestResult::passed()
        }

        fn a_bucket_alone_is_exact_and_takes_what_fits(pours: Vec<(u16, u16)>) -> bool {
            let mut sketch = Sketch::new(64);
            let mut model = Model::new();
            let capacity = amount(40_000);
            pours.into_iter().all(|(millis, wait)| {
                model.now = model.now.saturating_add(Duration::from_millis((wait % 8192).into()));
                let more = amount((millis % 8192).into());
                let fits = model.level(1) + more.0 <= capacity.0;
                let poured = sketch.pour(model.now, hash(1), more, capacity);
                if fits {
                    model.pour(1, more.0);
                }
                let expected = if fits { Poured::Fits(Amount(model.level(1))) } else { Poured::Over };
                poured == expected && stored(&sketch, model.now, 1) == model.level(1)
            })
        }
    }

    #[test]
    fn a_heavy_key_is_found_among_light_ones() {
        let mut sketch = Sketch::new(256);
        let (one, capacity) = (Amount::one_of(500), amount(40_000));
        let mut over = 0;
        // A second of a quarter of a million keys, each once, and of one that comes twenty-five thousand times.
        for number in 0..250_000u32 {
            let now = START.saturating_add(Duration::from_millis((number / 250).into()));
            let _ = sketch.pour(now, hash(number + 1), one, capacity);
            if number % 10 == 0 {
                over += u32::from(sketch.pour(now, hash(0), one, capacity) == Poured::Over);
            }
        }
        // It may send 20,000 at once and 500 in the second; a thousandth of the keys meet it in its lines.
        assert!((4_500..=5_500).contains(&over), "{over} of 25,000 are found");
    }

    #[test]
    fn buckets_leak_to_nothing_and_their_slots_are_taken_by_others() {
        let mut sketch = Sketch::new(1);
        for key in 0..16 {
            assert_eq!(
                sketch.pour(START, hash(key), amount(1000), AMOUNT_MAX),
                Poured::Fits(amount(1000))
            );
        }
        let later = START.saturating_add(Duration::from_millis(999));
        assert_eq!(
            (0..8).map(|key| stored(&sketch, later, key)).max(),
            Some(amount(1).0)
        );
        let later = later.saturating_add(Duration::from_millis(1));
        assert!((0..16).all(|key| stored(&sketch, later, key) == 0));
    }

    #[test]
    fn a_heavy_key_that_comes_late_takes_the_slot_of_a_light_one() {
        let mut sketch = Sketch::new(1);
        let keys = distinct_keys(&sketch, 9);
        let (light, heavy) = keys.split_at(8);
        for key in light {
            let _ = sketch.pour(START, hash(*key), amount(1000), AMOUNT_MAX);
        }
        let poured = (1..100).find(|_| {
            let _ = sketch.pour(START, hash(heavy[0]), amount(100), AMOUNT_MAX);
            stored(&sketch, START, heavy[0]) > 0
        });
        // The least full bucket, whichever it is at a time, pays until it holds no more than what comes.
        assert!(poured.is_some_and(|poured| poured <= 8 * 10), "{poured:?}");
    }

    #[test]
    fn a_sketch_that_was_idle_for_long_is_empty() {
        let mut sketch = Sketch::new(4);
        for key in 0..100 {
            let _ = sketch.pour(START, hash(key), AMOUNT_MAX, AMOUNT_MAX);
        }
        for days in [1, 30, 365, 700] {
            let later = START.saturating_add(Duration::from_secs(days * 86_400));
            assert!(
                (0..100).all(|key| stored(&sketch, later, key) == 0),
                "after {days} days"
            );
        }
    }

    #[test]
    fn what_is_larger_than_a_bucket_fills_an_empty_one() {
        let mut sketch = Sketch::new(4);
        let capacity = amount(1000);
        assert_eq!(
            sketch.pour(START, hash(1), amount(5000), capacity),
            Poured::Fits(capacity)
        );
        assert_eq!(sketch.pour(START, hash(1), Amount(1), capacity), Poured::Over);
    }

    #[test]
    fn lines_lie_on_the_lines_of_the_cache() {
        let sketch = Sketch::new(1 << 10);
        let address = std::ptr::from_ref(sketch.line(7).unwrap()).addr();
        assert_eq!(address % LINE_BYTES, 0);
    }
}
