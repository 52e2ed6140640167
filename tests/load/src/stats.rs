//! Figures of several rounds.

/// The middle of some numbers, and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of no numbers: nothing.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let (&min, &max) = (numbers.first()?, numbers.last()?);
        let upper = numbers.len() / 2;
        let lower = (numbers.len() - 1) / 2;
        Some(Self {
            median: f64::midpoint(numbers[lower], numbers[upper]),
            min,
            max,
        })
    }
}

/// The smallest number that this share of the numbers does not exceed; nothing of none.
pub(crate) fn percentile(numbers: &mut [u32], share: f64) -> Option<u32> {
    let last = numbers.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an index, held within the numbers"
    )]
    let index = ((numbers.len() as f64 * share).ceil() as usize)
        .saturating_sub(1)
        .min(last);
    Some(*numbers.select_nth_unstable(index).1)
}

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        let spread = |numbers: &[f64]| Spread::of(numbers.iter().copied());
        assert_eq!(spread(&[]), None);
        let of_three = Spread {
            median: 2.0,
            min: 1.0,
            max: 9.0,
        };
        assert_eq!(spread(&[9.0, 1.0, 2.0]), Some(of_three));
        assert_eq!(
            spread(&[4.0, 1.0, 2.0, 9.0]).map(|spread| spread.median),
            Some(3.0)
        );
    }

    #[test]
    fn percentiles_are_numbers_that_are_there() {
        let mut numbers: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|share| percentile(&mut numbers, share)),
            [1, 50, 99, 100].map(Some)
        );
        assert_eq!(percentile(&mut [], 0.5), None);
    }

    quickcheck! {
        fn a_percentile_has_its_share_below_it(numbers: Vec<u32>, percent: u8) -> bool {
            let (mut shuffled, percent) = (numbers.clone(), usize::from(percent % 101));
            #[expect(clippy::cast_precision_loss, reason = "a hundred at most")]
            let found = percentile(&mut shuffled, percent as f64 / 100.0);
            found.map_or(numbers.is_empty(), |found| {
                numbers.contains(&found)
                    && numbers.iter().filter(|&&number| number <= found).count() * 100 >= numbers.len() * percent
            })
        }
    }
}
