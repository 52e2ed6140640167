//! What large swarms leave behind.

use super::pieces::Pieces;
use super::set::Bucket;

/// The buckets of large swarms that are gone, which the sweep frees in steps.
#[derive(Debug, Default)]
pub(super) struct Remains {
    sets: Pieces<Pieces<Bucket>>,
    /// Invariant: what these buckets take.
    bytes: usize,
}

impl Remains {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frees the buckets of a set, which take so many bytes, or leaves them to the sweep if they are many.
    pub(super) fn bury(&mut self, buckets: Pieces<Bucket>, bytes: usize) {
        // What is not pushed is dropped here, which frees it.
        if buckets.len() > BUCKETS_FREED {
            self.sets.push(buckets);
            self.bytes += bytes;
        }
    }

    /// Frees one bucket. False if there is none left.
    pub(super) fn free_one(&mut self) -> bool {
        while let Some(last) = self.sets.len().checked_sub(1) {
            if let Some(bucket) = self.sets.get_mut(last).and_then(Pieces::pop) {
                self.bytes = self.bytes.saturating_sub(bucket.bytes());
                return true;
            }
            self.sets.pop();
        }
        false
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }
}

/// Buckets of one set that are freed at once.
const BUCKETS_FREED: usize = 4;
