//! When a peer last announced and whether it is a seeder, in one byte.

use crate::time::Minute;

/// Seven bits of the minute and one bit for a seeder.
///
/// The bits name a minute together with the [`Window`] of the page or bucket that the stamp stands in.
pub(super) type Stamp = u8;

/// The bit of a seeder.
pub(super) const SEEDER: Stamp = 0x80;
const MINUTE: Stamp = 0x7f;

/// The 128 minutes that the stamps of one page or bucket can name.
///
/// The first of them was already too old when the window was set, and stands for all earlier ones. So an age is read
/// right however far the clock has jumped, and what comes later than the window has it moved first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window(u32);

impl Window {
    /// The window for stamps that are made from `now` on, of peers that may become `age_max` minutes old.
    pub(super) fn set_at(now: Minute, age_max: u32) -> Self {
        Self(now.get().saturating_sub(age_max.saturating_add(1)))
    }

    pub(super) const fn from_le_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(bytes))
    }

    pub(super) const fn to_le_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    /// Whether stamps can name `minute` exactly, or it lies before all of them.
    pub(super) fn reaches(self, minute: Minute) -> bool {
        minute.get().saturating_sub(self.0) <= MINUTE.into()
    }

    pub(super) fn later(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    pub(super) fn stamp(self, minute: Minute, seeder: bool) -> Stamp {
        let nearest = minute.get().clamp(self.0, self.0.saturating_add(MINUTE.into()));
        (nearest.to_le_bytes()[0] & MINUTE) | if seeder { SEEDER } else { 0 }
    }

    pub(super) fn minute(self, stamp: Stamp) -> Minute {
        let after = stamp.wrapping_sub(self.0.to_le_bytes()[0]) & MINUTE;
        Minute::new(self.0.saturating_add(after.into()))
    }

    /// Rewrites stamps of this window so that they can be read in `to`, which is no earlier one.
    pub(super) fn restamp(self, to: Self, stamps: &mut [Stamp]) {
        for stamp in stamps {
            *stamp = to.stamp(self.minute(*stamp), *stamp & SEEDER != 0);
        }
    }

    /// What stamps of this window must be like at `now`.
    pub(super) fn wanted(self, now: Minute, age_max: u32, seeders: bool) -> Wanted {
        let oldest = now.get().saturating_sub(age_max).saturating_sub(self.0);
        Wanted {
            first: self.0.to_le_bytes()[0],
            least: u8::try_from(oldest).unwrap_or(u8::MAX),
            unwanted: if seeders { 0 } else { SEEDER },
        }
    }
}

/// A test of stamps: young enough, and no seeders if they are not wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    first: u8,
    least: u8,
    unwanted: u8,
}

impl Wanted {
    #[inline]
    pub(super) const fn fits(self, stamp: Stamp) -> bool {
        (stamp.wrapping_sub(self.first) & MINUTE >= self.least) & (stamp & self.unwanted == 0)
    }

    /// How many of the first stamps fit, one after the other.
    pub(super) fn run(self, stamps: &[Stamp]) -> usize {
        if self.all_fit(stamps) {
            return stamps.len();
        }
        stamps.iter().take_while(|&&stamp| self.fits(stamp)).count()
    }

    /// Whether all stamps fit. Sixteen are tested at a time, the last ones together with some before them.
    fn all_fit(self, stamps: &[Stamp]) -> bool {
        let Some(last) = stamps.last_chunk() else {
            return stamps.iter().fold(true, |all, &stamp| all & self.fits(stamp));
        };
        let sixteens = stamps.as_chunks().0;
        sixteens.iter().all(|sixteen| self.sixteen_fit(sixteen)) && self.sixteen_fit(last)
    }

    #[inline]
    fn sixteen_fit(self, stamps: &[Stamp; 16]) -> bool {
        stamps.iter().fold(true, |all, &stamp| all & self.fits(stamp))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn a_stamp_names_its_minute_within_the_window(now: u32, age_max: u8, ahead: u8, seeder: bool) -> bool {
            let age_max = u32::from(age_max % 123);
            let window = Window::set_at(Minute::new(now), age_max);
            let minute = Minute::new(now.saturating_add(u32::from(ahead) % (127 - age_max)));
            let stamp = window.stamp(minute, seeder);
            window.reaches(minute) && window.minute(stamp) == minute && (stamp & SEEDER != 0) == seeder
        }

        fn a_window_reaches_as_far_as_its_stamps_tell_minutes_apart(set: u16) -> bool {
            let window = Window(set.into());
            let reaches_as_stamps_tell = |ahead| {
                let minute = Minute::new(u32::from(set) + ahead);
                window.reaches(minute) == (window.minute(window.stamp(minute, false)) == minute)
            };
            (0..=255).all(reaches_as_stamps_tell)
        }

        fn a_stamp_fits_while_its_age_is_at_most_the_greatest(
            set: u16, age_max: u8, announced: u8, now: u32
        ) -> bool {
            let (set, age_max) = (u32::from(set) + 1000, u32::from(age_max % 123));
            let window = Window::set_at(Minute::new(set), age_max);
            let announced = Minute::new(set - age_max + u32::from(announced) % 127);
            let now = Minute::new(announced.get().saturating_add(now));
            let wanted = window.wanted(now, age_max, true);
            wanted.fits(window.stamp(announced, false)) == (now.saturating_since(announced) <= age_max)
        }

        fn moving_the_window_keeps_the_young_and_ages_nobody_into_youth(
            age_max: u8, ages: Vec<u8>, jump: u32
        ) -> bool {
            let age_max = u32::from(age_max % 123);
            let now = Minute::new(100_000);
            let window = Window::set_at(now, age_max);
            let minute = |age: &u8| Minute::new(now.get() - u32::from(*age) % (age_max + 1));
            let mut stamps: Vec<_> = ages.iter().map(|age| window.stamp(minute(age), false)).collect();
            let later = Minute::new(now.get().saturating_add(jump));
            let moved = Window::set_at(later, age_max);
            window.restamp(moved, &mut stamps);
            let wanted = moved.wanted(later, age_max, true);
            ages.iter().zip(stamps).all(|(age, stamp)| {
                let young = later.saturating_since(minute(age)) <= age_max;
                wanted.fits(stamp) == young && (!young || moved.minute(stamp) == minute(age))
            })
        }

        fn a_run_ends_at_the_first_that_does_not_fit(stamps: Vec<u8>, least: u8) -> bool {
            let wanted = Wanted { first: 0, least: least % 8, unwanted: SEEDER };
            let end = stamps.iter().position(|&stamp| !wanted.fits(stamp)).unwrap_or(stamps.len());
            wanted.run(&stamps) == end
        }
    }
}
