//! A sequence that never moves more than a bounded part of itself.

use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use super::work;

/// Grows and shrinks at its end. A short one is one vector, a long one is made of pieces of [`PIECE`] items.
#[derive(Debug)]
pub(super) enum Pieces<T> {
    /// At most [`PIECE`] items.
    Short(Vec<T>),
    /// Invariant: all pieces but the last are full, and the last is not empty.
    Long(Vec<Vec<T>>),
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self::Short(Vec::new())
    }
}

impl<T> Pieces<T> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Short(items) => items.len(),
            Self::Long(pieces) => {
                let last = pieces.last().map_or(0, Vec::len);
                pieces.len().saturating_sub(1) * PIECE + last
            }
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        match self {
            Self::Short(items) => items.get(index),
            Self::Long(pieces) => pieces.get(index / PIECE)?.get(index % PIECE),
        }
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        match self {
            Self::Short(items) => items.get_mut(index),
            Self::Long(pieces) => pieces.get_mut(index / PIECE)?.get_mut(index % PIECE),
        }
    }

    pub(super) fn push(&mut self, item: T) {
        match self {
            Self::Short(items) if items.len() < PIECE => push_tightly(items, item),
            // One vector more, instead of a copy of all items.
            Self::Short(items) => *self = Self::Long(vec![mem::take(items), vec![item]]),
            Self::Long(pieces) => match pieces.last_mut() {
                Some(piece) if piece.len() < PIECE => push_tightly(piece, item),
                _ => {
                    work::copied(pieces.len() * size_of::<Vec<T>>());
                    pieces.push(vec![item]);
                }
            },
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        match self {
            Self::Short(items) => pop_tightly(items),
            Self::Long(pieces) => {
                let item = pop_tightly(pieces.last_mut()?);
                if pieces.last().is_some_and(Vec::is_empty) {
                    pieces.pop();
                }
                // A short one is found with one step less.
                if pieces.len() == 1 {
                    *self = Self::Short(pieces.pop().unwrap_or_default());
                }
                item
            }
        }
    }
}

/// Items that are moved at most when a sequence grows: a few kilobytes.
pub(super) const PIECE: usize = 128;

/// Grows by a quarter: less spare room than a vector leaves by itself.
fn push_tightly<T>(items: &mut Vec<T>, item: T) {
    // A vector would double, and half of a table of millions of entries would be empty.
    if items.len() == items.capacity() {
        work::copied(items.len() * size_of::<T>());
        items.reserve_exact((items.len() / 4).clamp(1, PIECE - items.len().min(PIECE - 1)));
    }
    items.push(item);
}

/// Gives spare room back when it is half of all.
fn pop_tightly<T>(items: &mut Vec<T>) -> Option<T> {
    let item = items.pop();
    // Not sooner, or an item that comes and goes would have all copied each time.
    if items.len() <= items.capacity() / 2 {
        work::copied(items.len() * size_of::<T>());
        items.shrink_to_fit();
    }
    item
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn pieces_are_a_stack_that_can_be_indexed(steps: Vec<(u16, bool)>) -> bool {
            let (mut pieces, mut model) = (Pieces::default(), Vec::new());
            steps.into_iter().all(|(many, up)| {
                for number in 0..many % 300 {
                    if up {
                        pieces.push(number);
                        model.push(number);
                    } else {
                        assert_eq!(pieces.pop(), model.pop());
                    }
                }
                pieces.len() == model.len()
                    && (0..=model.len()).all(|index| pieces.get(index) == model.get(index))
                    && (0..=model.len()).all(|index| pieces.get_mut(index) == model.get_mut(index))
            })
        }
    }
}
