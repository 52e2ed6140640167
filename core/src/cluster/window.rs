//! Which messages of a sender have been received.

/// The sequence numbers of one sender: each is accepted once, in any order, unless it is far behind.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// The greatest number received.
    latest: u64,
    /// Which of the last numbers were received: the lowest bit is that of `latest`.
    received: u128,
    lost: u64,
}

impl Window {
    /// A window that begins with the first message heard. Those before it were not for us.
    pub(crate) const fn begin(sequence: u64) -> Self {
        Self {
            latest: sequence,
            received: u128::MAX,
            lost: 0,
        }
    }

    /// Whether `sequence` is new. Then it is not any more.
    #[must_use]
    pub(crate) const fn accept(&mut self, sequence: u64) -> bool {
        if sequence > self.latest {
            self.advance(sequence - self.latest);
            self.latest = sequence;
            return true;
        }
        let behind = self.latest - sequence;
        if behind >= WINDOW {
            return false;
        }
        let bit = 1 << behind;
        let is_new = self.received & bit == 0;
        self.received |= bit;
        is_new
    }

    /// Messages that did not come, and would not be accepted any more.
    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }

    const fn advance(&mut self, by: u64) {
        let skipped = by.saturating_sub(WINDOW);
        // Those that leave the window unreceived are lost.
        let (leaving, kept) = if by >= WINDOW {
            (self.received, 0)
        } else {
            (self.received >> (WINDOW - by), self.received << by)
        };
        let width = if by < WINDOW { by } else { WINDOW };
        let missing = width - leaving.count_ones() as u64;
        self.lost = self.lost.saturating_add(missing).saturating_add(skipped);
        self.received = kept | 1;
    }
}

/// Numbers that may overtake one: with twenty batches a second those of six seconds.
const WINDOW: u64 = u128::BITS as u64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn each_number_is_accepted_once_and_what_is_left_behind_is_lost(steps: Vec<(bool, u8)>) -> bool {
            const FIRST: u64 = 1000;
            let (mut window, mut seen, mut latest) = (Window::begin(FIRST), BTreeSet::from([FIRST]), FIRST);
            for (ahead, by) in steps {
                let by = u64::from(by);
                let sequence = if ahead { latest + by / 4 } else { latest - by.min(latest) };
                latest = latest.max(sequence);
                let is_new = sequence > FIRST && latest - sequence < WINDOW && seen.insert(sequence);
                if window.accept(sequence) != is_new {
                    return false;
                }
            }
            let left = (FIRST + 1..=latest).take_while(|sequence| latest - sequence >= WINDOW);
            window.lost() == left.filter(|sequence| !seen.contains(sequence)).count() as u64
        }
    }

    #[test]
    fn numbers_at_both_ends_of_their_range_do_no_harm() {
        let mut window = Window::begin(0);
        assert!(window.accept(u64::MAX) && !window.accept(u64::MAX) && !window.accept(0));
        assert_eq!(window.lost(), u64::MAX - WINDOW);
    }
}
