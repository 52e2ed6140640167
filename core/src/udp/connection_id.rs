//! Stateless connection ids, which prove that a sender receives datagrams at its address (BEP 15).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::Instant;
use crate::lock::Once;
use crate::seed::{Key, Seed};

/// Makes and checks connection ids. Trackers with the same seed accept each other's.
///
/// An id is 8 bits of a tick of 16 seconds and 56 bits of a MAC over the whole tick and the address. The port is left
/// out, because address translators change it.
#[derive(Clone, Debug)]
pub struct ConnectionIds {
    keys: Keys,
}

#[derive(Clone, Debug)]
struct Keys {
    key: Key,
    /// The keys of ids that are accepted beside.
    others: Vec<Key>,
    /// What has replaced these keys: they are read for each datagram, where a lock would be waited for.
    later: Once<Box<Self>>,
}

impl ConnectionIds {
    /// The ids of trackers with this seed.
    #[must_use]
    pub fn new(seed: &Seed) -> Self {
        Self {
            keys: Keys::new(seed),
        }
    }

    /// The same ids, which accept those of trackers with another seed too. Each is tried for every id that the ones before did not
    /// make.
    #[must_use]
    pub fn accepting(mut self, seed: &Seed) -> Self {
        self.keys.others.push(key_of(seed));
        self
    }

    /// Makes the ids of `seed` from now on, and accepts those of `others` too. The keys before them are kept in memory, and accepted no
    /// more. False if that was done [`REPLACED_MAX`] times before: nothing changes then.
    #[must_use]
    pub fn replace(&self, seed: &Seed, others: &[Seed]) -> bool {
        let mut keys = &self.keys;
        for _ in 0..REPLACED_MAX {
            let later = || {
                Box::new(Keys {
                    others: others.iter().map(key_of).collect(),
                    ..Keys::new(seed)
                })
            };
            match keys.later.get() {
                Some(later) => keys = later,
                // Another thread that is faster has replaced them with its own: those stay.
                None => return keys.later.set(later()).is_ok(),
            }
        }
        false
    }

    /// The id for a client at `ip`.
    #[must_use]
    pub fn make(&self, now: Instant, ip: IpAddr) -> u64 {
        of_tick(&self.keys.in_force().key, tick(now), ip)
    }

    /// Whether `id` was made for `ip` during this tick, the eight before it, or the next one: the clock of another tracker with
    /// this seed may be ahead.
    #[must_use]
    pub fn check(&self, now: Instant, ip: IpAddr, id: u64) -> bool {
        let next = tick(now) + 1;
        let age = (next.wrapping_sub(id >> MAC_BITS)) & 0xff;
        if age > AGE_MAX_TICKS + 1 || next < age {
            return false;
        }
        let is_of = |key: &Key| of_tick(key, next - age, ip) == id;
        let keys = self.keys.in_force();
        is_of(&keys.key) || keys.others.iter().any(is_of)
    }
}

impl Keys {
    fn new(seed: &Seed) -> Self {
        Self {
            key: key_of(seed),
            others: Vec::new(),
            later: Once::new(),
        }
    }

    #[inline]
    fn in_force(&self) -> &Self {
        let mut keys = self;
        while let Some(later) = keys.later.get() {
            keys = later;
        }
        keys
    }
}

fn key_of(seed: &Seed) -> Key {
    seed.key("udp connection ids")
}

fn of_tick(key: &Key, tick: u64, ip: IpAddr) -> u64 {
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let message = u128::from(tick).to_le_bytes();
    let mac = key.mac([message, ip.octets()].as_flattened());
    (tick << MAC_BITS) | (mac >> (u64::BITS - MAC_BITS))
}

/// Ticks for which an id is accepted after its own: at least two minutes in all, as BEP 15 asks, and less than three.
const AGE_MAX_TICKS: u64 = 8;
/// How often keys can be replaced: an operator does so once in months.
pub const REPLACED_MAX: usize = 64;
/// Milliseconds of a tick.
const TICK_MILLIS: u64 = 16_000;
const MAC_BITS: u32 = 56;

const fn tick(now: Instant) -> u64 {
    now.as_millis() / TICK_MILLIS
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::collections::BTreeSet;

    use quickcheck::quickcheck;

    use super::*;

    fn ids() -> ConnectionIds {
        ConnectionIds::new(&Seed::new([7; 32]))
    }

    quickcheck! {
        fn an_id_holds_for_two_minutes_and_not_for_three(millis: u64, later: u8, ip: IpAddr) -> bool {
            let made = Instant::from_millis(millis / 2);
            let id = ids().make(made, ip);
            let later = Duration::from_secs(later.into());
            let accepted = ids().check(made.saturating_add(later), ip, id);
            match later.as_secs() {
                0..=128 => accepted,
                129..144 => true,
                _ => !accepted,
            }
        }

        fn an_id_holds_for_its_address_alone(ip: IpAddr, other: IpAddr) -> bool {
            let now = Instant::from_secs(1_000_000);
            ids().check(now, other, ids().make(now, ip)) == (ip == other)
        }

        fn one_changed_bit_spoils_an_id(bit: u8, ip: IpAddr) -> bool {
            let now = Instant::from_secs(1_000_000);
            !ids().check(now, ip, ids().make(now, ip) ^ (1 << (bit % 64)))
        }

        fn another_seed_makes_other_ids_which_are_accepted_where_they_are_to_be(seed: u8, ip: IpAddr) -> bool {
            let now = Instant::from_secs(1_000_000);
            let other = ConnectionIds::new(&Seed::new([seed; 32]));
            let id = ids().make(now, ip);
            other.check(now, ip, id) == (seed == 7)
                && other.accepting(&Seed::new([9; 32])).accepting(&Seed::new([7; 32])).check(now, ip, id)
        }

        fn an_id_holds_where_the_clock_is_up_to_a_tick_behind(millis: u64, ahead: u16, ip: IpAddr) -> bool {
            let now = Instant::from_millis(millis / 2);
            let ahead = Duration::from_millis(ahead.into());
            let accepted = ids().check(now, ip, ids().make(now.saturating_add(ahead), ip));
            match u64::try_from(ahead.as_millis()).unwrap() {
                0..=TICK_MILLIS => accepted,
                millis if millis < 2 * TICK_MILLIS => true,
                _ => !accepted,
            }
        }
    }

    #[test]
    fn replaced_keys_make_and_accept_their_ids_alone_and_not_without_end() {
        let (now, ip) = (Instant::from_secs(1_000_000), IpAddr::from([192, 0, 2, 1]));
        let seed = |number: usize| Seed::new([u8::try_from(number).unwrap(); 32]);
        let of = |number| ConnectionIds::new(&seed(number)).make(now, ip);
        let ids = ConnectionIds::new(&seed(0)).accepting(&seed(100));
        for number in 1..=REPLACED_MAX {
            assert!(ids.replace(&seed(number), &[seed(number + 100)]));
            assert_eq!(ids.make(now, ip), of(number));
            assert!(ids.check(now, ip, of(number)) && ids.check(now, ip, of(number + 100)));
            assert!(!ids.check(now, ip, of(number - 1)) && !ids.check(now, ip, of(number + 99)));
        }
        assert!(!ids.replace(&seed(99), &[]));
        assert_eq!(ids.make(now, ip), of(REPLACED_MAX));
    }

    #[test]
    fn an_id_does_not_come_back_when_the_short_tick_does() {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let made = Instant::from_secs(1_000_000);
        let round = Duration::from_millis(256 * TICK_MILLIS);
        assert!(!ids().check(made.saturating_add(round), ip, ids().make(made, ip)));
    }

    #[test]
    fn the_beginning_of_time_has_no_earlier_ids() {
        let ip = IpAddr::from([192, 0, 2, 1]);
        for id in [0, u64::MAX, 0xff << MAC_BITS, 0xf8 << MAC_BITS] {
            assert!(!ids().check(Instant::from_millis(0), ip, id), "{id:x}");
        }
    }

    #[test]
    fn ids_of_neighbours_and_of_following_ticks_have_no_common_difference() {
        let mut differences = BTreeSet::new();
        let mut last = 0;
        for number in 0..10_000u32 {
            let ip = IpAddr::from((0x0a00_0000 + number / 10).to_be_bytes());
            let id = ids().make(Instant::from_millis(u64::from(number % 10) * TICK_MILLIS), ip) << 8;
            differences.insert(id.wrapping_sub(last));
            last = id;
        }
        assert_eq!(differences.len(), 10_000);
    }
}
