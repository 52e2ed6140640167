//! Reproducible random numbers.

use std::ops::Range;

use etracker_core::Seed;
use etracker_core::seed::Random;

/// A stream of choices. Streams of different labels and numbers are independent, so that what one actor draws does not
/// depend on which others take part.
#[derive(Debug)]
pub(crate) struct Chance(Random);

impl Chance {
    pub(crate) fn of(seed: u64, label: &str, number: u32) -> Self {
        Self(core_seed(seed).key(label).random(number.into()))
    }

    /// True with probability `p`.
    pub(crate) fn hit(&mut self, p: f64) -> bool {
        p > 0.0 && self.0.f64() < p
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.u64(..end.max(1))
    }

    pub(crate) fn range(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.0.usize(..len.max(1))
    }

    pub(crate) fn number(&mut self) -> u32 {
        self.0.u32(..)
    }

    pub(crate) fn wide(&mut self) -> u64 {
        self.0.u64(..)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.u8(..)
    }

    pub(crate) fn port(&mut self) -> u16 {
        self.0.u16(1024..)
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }

    pub(crate) fn vec(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill(&mut bytes);
        bytes
    }

    /// A share from 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        self.0.f64()
    }

    /// A weight up to `max` that is 0 in three of ten draws: faults hide where a kind of event never comes.
    pub(crate) fn weight(&mut self, max: f64) -> f64 {
        if self.hit(0.3) { 0.0 } else { self.share() * max }
    }

    /// A time with this mean, exponentially distributed and cut at eight times the mean.
    pub(crate) fn about(&mut self, mean: u64) -> u64 {
        scaled(mean, (-(1.0 - self.share()).ln()).min(8.0)).max(1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() {
            None
        } else {
            of.get(self.index(of.len())).copied()
        }
    }
}

/// The tracker's own seed in the run of `seed`.
pub(crate) fn core_seed(seed: u64) -> Seed {
    let mut bytes = [0x5e; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Seed::new(bytes)
}

/// `factor` times `whole`, rounded down.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "times and counts of a simulation are far below 2^52, and none is negative"
)]
pub(crate) fn scaled(whole: u64, factor: f64) -> u64 {
    (whole as f64 * factor) as u64
}
