//! When a peer last announced, and whether it is or has been a seeder, in one byte.

use core::num::NonZero;

use crate::time::Minute;

/// Six bits of the [`Tick`] and two for [`SEEDER`] and [`BEEN_SEEDER`].
///
/// The bits name a tick together with the [`Window`] of the page or bucket that the stamp stands in.
pub(super) type Stamp = u8;

/// The bit of a seeder.
pub(super) const SEEDER: Stamp = 0x80;
/// The bit of a peer that has been a seeder since it came: it has completed. A seeder has it too.
pub(super) const BEEN_SEEDER: Stamp = 0x40;
const STATE: Stamp = SEEDER | BEEN_SEEDER;
const TICK: Stamp = 0x3f;

/// The clock of stamps: a minute or more, see [`minutes_per_step`](crate::config::SwarmConfig::minutes_per_step).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick(u32);

impl Tick {
    /// The tick that `minute` lies in, if each has so many minutes.
    pub(super) const fn of(minute: Minute, minutes_per_tick: NonZero<u32>) -> Self {
        Self(minute.get() / minutes_per_tick.get())
    }

    /// Ticks since an earlier one; 0 if it is later.
    pub(super) const fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }

    /// The first minute of this tick.
    pub(super) const fn minute(self, minutes_per_tick: NonZero<u32>) -> Minute {
        Minute::new(self.0.saturating_mul(minutes_per_tick.get()))
    }
}

/// The 64 ticks that the stamps of one page or bucket can name.
///
/// The first of them was already too old when the window was set, and stands for all earlier ones. So an age is read
/// right however far the clock has jumped, and what comes later than the window has it moved first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window(u32);

impl Window {
    /// The window for stamps that are made from `now` on, of peers that may become `age_max` ticks old.
    pub(super) fn set_at(now: Tick, age_max: u32) -> Self {
        Self(now.0.saturating_sub(age_max.saturating_add(1)))
    }

    pub(super) const fn from_le_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(bytes))
    }

    pub(super) const fn to_le_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    /// Whether stamps can name `tick` exactly, or it lies before all of them.
    pub(super) fn reaches(self, tick: Tick) -> bool {
        tick.0.saturating_sub(self.0) <= TICK.into()
    }

    pub(super) fn later(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// The stamp of a leecher.
    pub(super) fn stamp(self, tick: Tick) -> Stamp {
        // Past either end the nearest is named: one older than the window reads as too old, which it is.
        let nearest = tick.0.clamp(self.0, self.0.saturating_add(TICK.into()));
        nearest.to_le_bytes()[0] & TICK
    }

    pub(super) fn tick(self, stamp: Stamp) -> Tick {
        let after = stamp.wrapping_sub(self.0.to_le_bytes()[0]) & TICK;
        Tick(self.0.saturating_add(after.into()))
    }

    /// Rewrites stamps of this window so that they can be read in `to`, which is no earlier one.
    pub(super) fn restamp(self, to: Self, stamps: &mut [Stamp]) {
        for stamp in stamps {
            *stamp = to.stamp(self.tick(*stamp)) | (*stamp & STATE);
        }
    }

    /// What stamps of this window must be like at `now`.
    pub(super) fn wanted(self, now: Tick, age_max: u32, seeders: bool) -> Wanted {
        // Where all that the window names are young, 0 lets all pass.
        let oldest = now.0.saturating_sub(age_max).saturating_sub(self.0);
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
        (stamp.wrapping_sub(self.first) & TICK >= self.least) & (stamp & self.unwanted == 0)
    }

    /// How many of the first stamps fit, one after the other.
    pub(super) fn run(self, stamps: &[Stamp]) -> usize {
        // Nearly always: a loop without an early end is compiled to vector instructions.
        if self.all_fit(stamps) {
            return stamps.len();
        }
        stamps.iter().take_while(|&&stamp| self.fits(stamp)).count()
    }

    /// Whether all stamps fit. Sixteen are tested at a time, the last ones together with some before them.
    fn all_fit(self, stamps: &[Stamp]) -> bool {
        // Fewer than sixteen: the usual page.
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
    use crate::config::STEPS_MAX;

    const AGES: u8 = STEPS_MAX.to_le_bytes()[0] + 1;

    quickcheck! {
        fn a_stamp_names_its_tick_within_the_window(now: u32, age_max: u8, ahead: u8) -> bool {
            let age_max = u32::from(age_max % AGES);
            let window = Window::set_at(Tick(now), age_max);
            let tick = Tick(now.saturating_add(u32::from(ahead) % (63 - age_max)));
            let stamp = window.stamp(tick);
            window.reaches(tick) && window.tick(stamp) == tick && stamp & STATE == 0
        }

        fn a_window_reaches_as_far_as_its_stamps_tell_ticks_apart(set: u16) -> bool {
            let window = Window(set.into());
            let reaches_as_stamps_tell = |ahead| {
                let tick = Tick(u32::from(set) + ahead);
                window.reaches(tick) == (window.tick(window.stamp(tick)) == tick)
            };
            (0..=255).all(reaches_as_stamps_tell)
        }

        fn a_stamp_fits_while_its_age_is_at_most_the_greatest(
            set: u16, age_max: u8, announced: u8, now: u32
        ) -> bool {
            let (set, age_max) = (u32::from(set) + 1000, u32::from(age_max % AGES));
            let window = Window::set_at(Tick(set), age_max);
            let announced = Tick(set - age_max + u32::from(announced) % 63);
            let now = Tick(announced.0.saturating_add(now));
            let wanted = window.wanted(now, age_max, true);
            wanted.fits(window.stamp(announced)) == (now.0 - announced.0 <= age_max)
        }

        fn moving_the_window_keeps_the_young_and_ages_nobody_into_youth(
            age_max: u8, ages: Vec<(u8, u8)>, jump: u32
        ) -> bool {
            let age_max = u32::from(age_max % AGES);
            let now = Tick(100_000);
            let window = Window::set_at(now, age_max);
            let tick = |age: &u8| Tick(now.0 - u32::from(*age) % (age_max + 1));
            let stamp = |(age, state): &(u8, u8)| window.stamp(tick(age)) | (state & STATE);
            let mut stamps: Vec<_> = ages.iter().map(stamp).collect();
            let later = Tick(now.0.saturating_add(jump));
            let moved = Window::set_at(later, age_max);
            window.restamp(moved, &mut stamps);
            let wanted = moved.wanted(later, age_max, true);
            ages.iter().zip(stamps).all(|((age, state), stamp)| {
                let young = later.0 - tick(age).0 <= age_max;
                wanted.fits(stamp) == young
                    && (!young || moved.tick(stamp) == tick(age))
                    && stamp & STATE == state & STATE
            })
        }

        fn seeders_are_left_out_if_they_are_not_wanted(stamp: u8, least: u8) -> bool {
            let wanted = |unwanted| Wanted { first: 0, least: least % 64, unwanted };
            let is_seeder = stamp & SEEDER != 0;
            wanted(SEEDER).fits(stamp) == (wanted(0).fits(stamp) && !is_seeder)
        }

        fn a_run_ends_at_the_first_that_does_not_fit(stamps: Vec<u8>, least: u8) -> bool {
            let wanted = Wanted { first: 0, least: least % 8, unwanted: SEEDER };
            let end = stamps.iter().position(|&stamp| !wanted.fits(stamp)).unwrap_or(stamps.len());
            wanted.run(&stamps) == end
        }

        fn the_first_minute_of_a_tick_is_of_that_tick(minute: u32, minutes: u8) -> bool {
            let minutes = NonZero::new(u32::from(minutes)).unwrap_or(NonZero::<u32>::MIN);
            let tick = Tick::of(Minute::new(minute), minutes);
            let first = tick.minute(minutes);
            Tick::of(first, minutes) == tick && Minute::new(minute).saturating_since(first) < minutes.get()
        }
    }
}
