//! Which torrents may come while memory is short.
//!
//! Floods of random info-hashes announce each of them once; people announce theirs again and again. Up to nine tenths of
//! the limit every torrent is admitted. From there on one that is not known is admitted at its second announce within two
//! periods ([`SeenOnce`]), or at the first one of a source with credit ([`Credits`]). At the limit it is admitted only in the place
//! of another one that was admitted under pressure and that nobody has announced again ([`Probation`]). New peers of known
//! torrents have a sixteenth more than the limit.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZero;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::InfoHash;
use crate::config::{MemoryLimits, SwarmConfig};
use crate::time::Minute;

/// How short memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Every torrent is admitted.
    #[default]
    Low,
    /// Nine tenths of the limit are in use: a torrent is admitted at its second announce, or if its source has credit.
    High,
    /// The limit is reached: a torrent is admitted only in the place of another one.
    Full,
    /// The sixteenth above the limit is in use too: new peers of known torrents are answered and not stored.
    Exhausted,
}

impl Pressure {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
            Self::Full => "full",
            Self::Exhausted => "exhausted",
        }
    }
}

/// Memory of swarms at one moment, and what was done about it since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryFigures {
    /// Bytes that swarms take, by the account of their stores.
    pub swarms_bytes: u64,
    /// Bytes that they may take; `None` is no limit.
    pub swarms_max: Option<u64>,
    /// How short memory is.
    pub pressure: Pressure,
    /// Announces refused because memory is short, of torrents that were not known.
    pub refused: u64,
    /// Of these, announces that were the first of their torrent.
    pub refused_first: u64,
    /// Torrents that made room for others.
    pub evicted: u64,
    /// New peers of known torrents that were handed peers and not stored.
    pub unstored: u64,
}

/// From how many bytes on memory is how short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Levels {
    high: usize,
    full: usize,
    exhausted: usize,
}

impl Levels {
    /// The levels of these limits; without any, memory is never short.
    pub(crate) const fn new(limits: Option<MemoryLimits>) -> Self {
        let Some(MemoryLimits { swarms_max, .. }) = limits else {
            return Self {
                high: usize::MAX,
                full: usize::MAX,
                exhausted: usize::MAX,
            };
        };
        Self {
            high: swarms_max - swarms_max / 10,
            full: swarms_max,
            exhausted: swarms_max.saturating_add(swarms_max / MemoryLimits::RESERVE),
        }
    }

    #[inline]
    pub(crate) const fn pressure(&self, bytes: usize) -> Pressure {
        // The usual case takes one comparison.
        if bytes < self.high {
            Pressure::Low
        } else if bytes < self.full {
            Pressure::High
        } else if bytes < self.exhausted {
            Pressure::Full
        } else {
            Pressure::Exhausted
        }
    }
}

/// How short memory is, and what is done about it: the part that all shards share.
#[derive(Debug)]
pub(crate) struct Shortage {
    levels: Levels,
    limits: Option<MemoryLimits>,
    refused: AtomicU64,
    refused_first: AtomicU64,
    evicted: AtomicU64,
    unstored: AtomicU64,
}

impl Shortage {
    pub(crate) const fn new(limits: Option<MemoryLimits>) -> Self {
        Self {
            levels: Levels::new(limits),
            limits,
            refused: AtomicU64::new(0),
            refused_first: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            unstored: AtomicU64::new(0),
        }
    }

    /// How short memory is when swarms take so many bytes.
    #[inline]
    pub(crate) const fn pressure(&self, bytes: usize) -> Pressure {
        self.levels.pressure(bytes)
    }

    /// Counts an unknown torrent that is refused.
    pub(crate) fn refuse(&self, is_first: bool) {
        self.refused.fetch_add(1, Relaxed);
        self.refused_first.fetch_add(is_first.into(), Relaxed);
    }

    /// Counts a torrent that makes room for another one.
    pub(crate) fn evict(&self) {
        self.evicted.fetch_add(1, Relaxed);
    }

    /// Counts a peer that is answered and not stored.
    pub(crate) fn leave_out(&self) {
        self.unstored.fetch_add(1, Relaxed);
    }

    /// The figures when swarms take so many bytes.
    pub(crate) fn figures(&self, bytes: usize) -> MemoryFigures {
        MemoryFigures {
            swarms_bytes: bytes as u64,
            swarms_max: self.limits.map(|limits| limits.swarms_max as u64),
            pressure: self.pressure(bytes),
            refused: self.refused.load(Relaxed),
            refused_first: self.refused_first.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
            unstored: self.unstored.load(Relaxed),
        }
    }
}

/// What is remembered of the torrents of one shard that were announced while memory was short.
#[derive(Debug)]
pub(crate) struct Admissions {
    seen: SeenOnce,
    credits: Credits,
    probation: Probation,
}

impl Admissions {
    /// Nothing is remembered yet, and no memory taken. `bytes` are taken at most.
    pub(crate) fn new(config: &SwarmConfig, bytes: usize) -> Self {
        let (probation, credits) = (bytes / PROBATION_SHARE, bytes / CREDITS_SHARE);
        let period_minutes = config.peer_age_max_minutes();
        Self {
            seen: SeenOnce::new(bytes - probation - credits, period_minutes),
            credits: Credits::new(credits, 2 * period_minutes),
            probation: Probation::new(probation),
        }
    }

    /// Whether a torrent that is not known was announced before, within this period or the two before it.
    /// `hash` is the keyed hash of its info-hash.
    pub(crate) fn is_second(&mut self, now: Minute, hash: u64) -> bool {
        self.seen.note(now, hash)
    }

    /// Notes that a source has renewed a peer. `source` is the keyed hash of its address.
    pub(crate) fn earn(&mut self, now: Minute, source: u64) {
        self.credits.earn(now, source);
    }

    /// Takes one renewal from the credit of a source. False if it has none.
    pub(crate) fn spend(&mut self, now: Minute, source: u64) -> bool {
        self.credits.spend(now, source)
    }

    /// Notes a torrent that is admitted.
    pub(crate) fn admitted(&mut self, now: Minute, info_hash: InfoHash) {
        self.probation.push(now, info_hash);
    }

    /// The torrent that was admitted first, if that was `minutes` ago or longer. It is not named again.
    pub(crate) fn oldest(&mut self, now: Minute, minutes: u32) -> Option<Admitted> {
        self.probation.pop(now, minutes)
    }
}

/// Remembers keys for two to three periods in fixed memory. It may take a new key for one that was seen before, never the
/// reverse.
///
/// A Bloom filter of cells of two bits, which say in which period a cell was set. All cells of a key are in one line of the
/// cache, and a line is aged when it is touched: so nothing is ever cleared as a whole.
#[derive(Debug)]
struct SeenOnce {
    /// Invariant: empty until the first key, then of `lines_max`.
    lines: Vec<Line>,
    /// Invariant: at least 1.
    lines_max: usize,
    period_minutes: NonZero<u32>,
}

/// The period in which it was touched last, and cells.
type Line = [u64; 8];

impl SeenOnce {
    fn new(bytes: usize, period_minutes: u32) -> Self {
        Self {
            lines: Vec::new(),
            lines_max: (bytes / size_of::<Line>()).max(1),
            period_minutes: NonZero::new(period_minutes).unwrap_or(NonZero::<u32>::MIN),
        }
    }

    /// Notes a key. Whether it was noted before, in this period or the two before it.
    fn note(&mut self, now: Minute, key: u64) -> bool {
        if self.lines.is_empty() {
            // Zeros are not written: the system gives their pages one by one as they are touched.
            self.lines = vec![Line::default(); self.lines_max];
        }
        let period = u64::from(now.get() / self.period_minutes);
        let Some(line) = self.lines.get_mut(line_of(key, self.lines_max)) else {
            return false;
        };
        age(line, period);
        let [_, cells @ ..] = line;
        cells_of(key).fold(true, |seen, cell| {
            let (word, shift) = (cell / CELLS_PER_WORD, cell % CELLS_PER_WORD * 2);
            let Some(word) = cells.get_mut(word) else {
                return seen;
            };
            let was_set = *word >> shift & 0b11 != 0;
            *word = *word & !(0b11 << shift) | NOW << shift;
            seen && was_set
        })
    }
}

/// Brings a line from the period in which it was touched last to `period`.
fn age(line: &mut Line, period: u64) {
    let [touched, cells @ ..] = line;
    // A worker whose clock is behind leaves the line as it is.
    let periods = period.saturating_sub(*touched);
    *touched = period.max(*touched);
    for word in cells {
        *word = match periods {
            0 => *word,
            1 => older(*word),
            2 => older(older(*word)),
            _ => 0,
        };
    }
}

/// Each cell a period older: [`NOW`] becomes 2, 2 becomes 3, and 3 is empty again.
const fn older(word: u64) -> u64 {
    let (low, high) = (word & LOW_BITS, word >> 1 & LOW_BITS);
    (low ^ high) << 1 | high & !low
}

/// The line of a key. The highest byte of a key has chosen the shard, so that it tells nothing here.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the product of a fraction and a count is below the count"
)]
const fn line_of(key: u64, lines: usize) -> usize {
    (((key << 8) as u128 * lines as u128) >> 64) as usize
}

/// The cells of a key in its line, which depend on other bits than the line does.
fn cells_of(key: u64) -> impl Iterator<Item = usize> {
    let [.., first, second, third] = key.to_be_bytes();
    [first, second, third]
        .into_iter()
        .map(|byte| (usize::from(byte) * CELLS) >> 8)
}

/// The credit of sources, in fixed memory: one for each peer that a source has renewed lately, of which a new torrent takes one.
///
/// So a source can have no more torrents admitted than it has kept up, which takes an interval; a flood has none, and to renew
/// peers costs as many announces as to announce each torrent twice. A source that finds its slot taken takes from the credit
/// there until it is used up, and then has the slot. Of 65,536 pairs of sources that share a slot one shares its credit too: they
/// have the same fingerprint.
#[derive(Debug)]
struct Credits {
    /// Invariant: empty until the first renewal, then of `len_max`.
    slots: Vec<Credit>,
    len_max: usize,
    minutes: u32,
}

/// The credit of the source with this fingerprint, which it has earned last at this minute.
#[derive(Clone, Copy, Debug, Default)]
struct Credit {
    print: u16,
    renewals: u16,
    at: u32,
}

impl Credits {
    /// Credit that is not renewed for `minutes` is forgotten.
    const fn new(bytes: usize, minutes: u32) -> Self {
        Self {
            slots: Vec::new(),
            len_max: bytes / size_of::<Credit>(),
            minutes,
        }
    }

    fn earn(&mut self, now: Minute, source: u64) {
        if self.slots.is_empty() {
            // Zeros are not written: the system gives their pages one by one as they are touched.
            self.slots = vec![Credit::default(); self.len_max];
        }
        let Some(slot) = self.slot(now, source) else {
            return;
        };
        if slot.renewals == 0 {
            slot.print = print_of(source);
        }
        if slot.print == print_of(source) {
            slot.renewals = slot.renewals.saturating_add(1);
            slot.at = now.get();
        } else {
            slot.renewals -= 1;
        }
    }

    fn spend(&mut self, now: Minute, source: u64) -> bool {
        let slot = self.slot(now, source);
        let Some(slot) = slot.filter(|slot| slot.renewals > 0 && slot.print == print_of(source)) else {
            return false;
        };
        slot.renewals -= 1;
        true
    }

    /// The slot of a source, without credit that is too old.
    fn slot(&mut self, now: Minute, source: u64) -> Option<&mut Credit> {
        let at = line_of(source, self.slots.len());
        let slot = self.slots.get_mut(at)?;
        if now.get().saturating_sub(slot.at) > self.minutes {
            slot.renewals = 0;
        }
        Some(slot)
    }
}

/// Tells the sources of a slot apart, by other bits than those that chose the slot.
const fn print_of(source: u64) -> u16 {
    let [.., high, low] = source.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Torrents that were admitted while memory was short, in the order of their coming and in fixed memory. Those that came
/// first are forgotten where there are too many: they stay like others then.
#[derive(Debug)]
struct Probation {
    /// Invariant: at most `len_max`.
    torrents: VecDeque<Admitted>,
    len_max: usize,
}

/// A torrent that was admitted while memory was short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) info_hash: InfoHash,
    /// When it was admitted.
    pub(crate) at: Minute,
}

impl Probation {
    const fn new(bytes: usize) -> Self {
        Self {
            torrents: VecDeque::new(),
            len_max: bytes / size_of::<Admitted>(),
        }
    }

    fn push(&mut self, now: Minute, info_hash: InfoHash) {
        if self.len_max == 0 {
            return;
        }
        if self.torrents.len() >= self.len_max {
            self.torrents.pop_front();
        }
        if self.torrents.capacity() == 0 {
            // Once: a queue that doubled would take three halves of its memory for a moment.
            self.torrents.reserve_exact(self.len_max);
        }
        self.torrents.push_back(Admitted { info_hash, at: now });
    }

    fn pop(&mut self, now: Minute, minutes: u32) -> Option<Admitted> {
        self.torrents
            .pop_front_if(|oldest| now.saturating_since(oldest.at) >= minutes)
    }
}

/// The parts of the memory that remember what was admitted, and the credit of sources; the rest remembers what was seen.
const PROBATION_SHARE: usize = 4;
const CREDITS_SHARE: usize = 16;
/// Cells in a word of a line, and in a line.
const CELLS_PER_WORD: usize = 32;
const CELLS: usize = 7 * CELLS_PER_WORD;
/// A cell that was set in the period of its line; 0 is an empty one.
const NOW: u64 = 1;
/// The lower bits of all cells of a word.
const LOW_BITS: u64 = 0x5555_5555_5555_5555;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quickcheck::quickcheck;

    use super::*;

    const PERIOD: u32 = 31;

    fn minute(minute: u32) -> Minute {
        Minute::new(1_000_000 + minute)
    }

    /// A key as a keyed hash would be.
    fn key(number: u64) -> u64 {
        crate::Seed::new([7; 32]).key("test").hash(&number.to_le_bytes())
    }

    quickcheck! {
        fn a_second_announce_within_two_periods_is_never_taken_for_a_first(
            steps: Vec<(u8, u8)>, lines: u8
        ) -> bool {
            let mut seen = SeenOnce::new(usize::from(lines % 4) * 64, PERIOD);
            let (mut now, mut noted) = (0, BTreeMap::new());
            steps.into_iter().all(|(number, minutes)| {
                now += u32::from(minutes % 40);
                let before = noted.insert(number, now);
                let was_seen = seen.note(minute(now), key(number.into()));
                was_seen || before.is_none_or(|before| now - before > 2 * PERIOD)
            })
        }

        fn ages_of_cells_are_counted_apart(word: u64, periods: u8) -> bool {
            let cell = |word: u64, cell: usize| word >> (2 * cell) & 0b11;
            let aged = (0..periods % 5).fold(word, |word, _| older(word));
            (0..CELLS_PER_WORD).all(|number| {
                let expected = match cell(word, number) {
                    0 => 0,
                    age => Some(age + u64::from(periods % 5)).filter(|age| *age <= 3).unwrap_or(0),
                };
                cell(aged, number) == expected
            })
        }

        fn a_line_and_its_cells_are_there(key: u64, lines: u32) -> bool {
            let lines = (lines as usize).max(1);
            line_of(key, lines) < lines && cells_of(key).all(|cell| cell < CELLS)
        }
    }

    #[test]
    fn what_was_seen_is_forgotten_after_three_periods() {
        let mut seen = SeenOnce::new(1 << 16, PERIOD);
        for number in 0..1000 {
            seen.note(minute(0), key(number));
        }
        let later = minute(3 * PERIOD);
        let remembered = (0..1000).filter(|&number| seen.note(later, key(number))).count();
        assert!(remembered < 20, "{remembered}");
        assert!((0..1000).all(|number| seen.note(later, key(number))));
    }

    #[test]
    fn new_keys_are_seldom_taken_for_old_ones_and_take_no_more_memory() {
        let mut seen = SeenOnce::new(1 << 16, PERIOD);
        let mut taken = |keys: core::ops::Range<u64>| {
            let count = keys.end - keys.start;
            let taken = keys.filter(|&number| seen.note(minute(5), key(number))).count() as u64;
            let bytes = seen.lines.capacity() * size_of::<Line>();
            assert_eq!(bytes, 1 << 16);
            taken * 100 / count
        };
        // Of the 229,000 cells each key has ten, and then one.
        assert_eq!(taken(0..23_000), 0);
        let many = taken(23_000..230_000);
        assert!((20..60).contains(&many), "{many} %");
    }

    #[test]
    fn no_memory_is_taken_before_it_is_needed_and_none_beyond_what_was_said() {
        let config = crate::Config::default();
        let mut admissions = Admissions::new(config.swarms(), 4096);
        assert!(admissions.seen.lines.is_empty() && admissions.probation.torrents.capacity() == 0);
        for number in 0..10_000u32 {
            let mut info_hash = InfoHash::default();
            info_hash.0[..4].copy_from_slice(&number.to_le_bytes());
            admissions.is_second(minute(0), key(number.into()));
            admissions.earn(minute(0), key(number.into()));
            admissions.admitted(minute(0), info_hash);
        }
        let probation = admissions.probation.torrents.capacity() * size_of::<Admitted>();
        let seen = admissions.seen.lines.capacity() * size_of::<Line>();
        let credits = admissions.credits.slots.capacity() * size_of::<Credit>();
        assert!(seen + probation + credits <= 4096, "{seen} {probation} {credits}");
    }

    quickcheck! {
        /// Steps of a source, whether it renews a peer or spends, and minutes. Some sources share a slot, and those with the same
        /// fingerprint are one source.
        fn nobody_spends_more_than_it_has_renewed_lately(steps: Vec<(u8, bool, u8)>, slots: u8) -> bool {
            let slots = usize::from(slots % 8) + 1;
            let mut credits = Credits::new(slots * size_of::<Credit>(), 2 * PERIOD);
            let (mut now, mut model) = (0, BTreeMap::<u16, (u32, u32)>::new());
            steps.into_iter().all(|(source, earns, minutes)| {
                now += u32::from(minutes % 16);
                let (credit, at) = model.entry(print_of(key(source.into()))).or_default();
                if now - *at > 2 * PERIOD {
                    *credit = 0;
                }
                if earns {
                    credits.earn(minute(now), key(source.into()));
                    (*credit, *at) = (*credit + 1, now);
                    return true;
                }
                let spent = credits.spend(minute(now), key(source.into()));
                let had = *credit > 0;
                *credit -= u32::from(spent);
                had || !spent
            })
        }
    }

    #[test]
    fn a_source_spends_each_renewal_once_and_loses_what_it_does_not_spend() {
        let mut credits = Credits::new(1024 * size_of::<Credit>(), 2 * PERIOD);
        let spent = |credits: &mut Credits, now| {
            (0..100)
                .take_while(|_| credits.spend(minute(now), key(7)))
                .count()
        };
        assert_eq!(spent(&mut credits, 0), 0);
        for now in 0..20 {
            credits.earn(minute(now), key(7));
        }
        assert_eq!(spent(&mut credits, 19 + 2 * PERIOD), 20);
        credits.earn(minute(100), key(7));
        assert_eq!(spent(&mut credits, 101 + 2 * PERIOD), 0);
    }

    #[test]
    fn the_oldest_torrents_are_named_once_in_order_when_their_time_is_over() {
        let mut probation = Probation::new(3 * size_of::<Admitted>());
        for number in 0..4u8 {
            probation.push(minute(number.into()), InfoHash([number; 20]));
        }
        // The first was forgotten, as there is room for three.
        let mut next = |now| {
            probation
                .pop(minute(now), 5)
                .map(|admitted| admitted.info_hash.0[0])
        };
        assert_eq!(
            [next(5), next(6), next(6), next(9), next(9), next(9)],
            [None, Some(1), None, Some(2), Some(3), None]
        );
    }

    #[test]
    fn levels_follow_the_limit_and_without_one_memory_is_never_short() {
        let limits = MemoryLimits {
            swarms_max: 1600,
            admissions_max: 0,
        };
        let levels = Levels::new(Some(limits));
        for (bytes, expected) in [
            (0, Pressure::Low),
            (1439, Pressure::Low),
            (1440, Pressure::High),
            (1599, Pressure::High),
            (1600, Pressure::Full),
            (1699, Pressure::Full),
            (1700, Pressure::Exhausted),
            (usize::MAX, Pressure::Exhausted),
        ] {
            assert_eq!(levels.pressure(bytes), expected, "{bytes}");
        }
        assert_eq!(Levels::new(None).pressure(usize::MAX - 1), Pressure::Low);
    }
}
