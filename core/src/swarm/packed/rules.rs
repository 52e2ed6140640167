//! What the tables of a store have in common.

use core::num::NonZero;

use crate::InfoHash;
use crate::announce::Family;
use crate::config::SwarmConfig;
use crate::seed::Key;
use crate::time::Minute;

use super::compact::Compact;
use super::peers::Shape;
use super::stamp::{Tick, Wanted, Window};

/// The settings of a store, and the key of its tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) config: SwarmConfig,
    minutes_per_tick: NonZero<u32>,
    /// Ticks that a peer may be old.
    age_max: u32,
    key: Key,
}

impl Rules {
    pub(super) fn new(config: &SwarmConfig, key: Key) -> Self {
        Self {
            config: *config,
            // Not 0 by construction; the compiler divides without a check then.
            minutes_per_tick: NonZero::new(config.minutes_per_step()).unwrap_or(NonZero::<u32>::MIN),
            age_max: config.age_max_steps(),
            key,
        }
    }

    /// Which page a torrent belongs to.
    pub(super) fn torrent_hash(&self, info_hash: &InfoHash) -> u64 {
        self.key.hash(&info_hash.0)
    }

    /// Which bucket of its set a peer belongs to.
    ///
    /// Where the number of peers of one address is limited, all of them are in one bucket, to be counted there, and
    /// the limit bounds the bucket. Where it is not, the port takes part, so that they are spread.
    pub(super) fn peer_hash(&self, peer: &Compact) -> u64 {
        // An operator who lifts the limit must not get one bucket with all peers of an address.
        let limited = self.config.peers_of_address_max(peer.ip()).is_some();
        self.key.hash(if limited { peer.address() } else { peer.bytes() })
    }

    pub(super) const fn shape(&self, family: Family) -> Shape {
        Shape {
            family,
            ids: self.config.peer_ids(),
        }
    }

    pub(super) const fn tick(&self, minute: Minute) -> Tick {
        Tick::of(minute, self.minutes_per_tick)
    }

    /// The first minute of a tick.
    pub(super) const fn minute(&self, tick: Tick) -> Minute {
        tick.minute(self.minutes_per_tick)
    }

    /// Minutes from one tick to another.
    pub(super) const fn minutes_between(&self, earlier: Tick, later: Tick) -> u32 {
        later.since(earlier).saturating_mul(self.minutes_per_tick.get())
    }

    pub(super) fn window(&self, now: Tick) -> Window {
        Window::set_at(now, self.age_max)
    }

    pub(super) fn wanted(&self, window: Window, now: Tick, seeders: bool) -> Wanted {
        window.wanted(now, self.age_max, seeders)
    }
}
