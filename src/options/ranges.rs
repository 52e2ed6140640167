//! What numbers and names the options take, and what they are if nothing is given.

use std::ops::RangeInclusive;

use etracker_core::config::LOAD_LIMIT_MIN;

/// Ports that can be listened on.
pub(super) const PORTS: RangeInclusive<u16> = 1..=65535;
/// The port if none is given.
pub(super) const PORT_DEFAULT: u16 = 3000;
/// Worker threads: more than processors gain nothing, and each costs a socket of every kind.
pub(super) const WORKERS: RangeInclusive<u32> = 1..=256;
/// Bytes of memory that the process can be held to: less is hardly enough for the program and its workers, and more no machine
/// has.
pub(super) const MEMORY_MAX: RangeInclusive<u64> = 32 << 20..=16 << 40;
/// Bytes of a host's name in the DNS (RFC 1035, section 2.3.4).
pub(super) const HOST_LEN_MAX: usize = 253;
/// Load averages that can be a limit; the upper end is far beyond any machine that still answers.
pub(super) const LOAD_LIMITS: RangeInclusive<f64> = LOAD_LIMIT_MIN..=10_000.0;
/// The character set if none is given.
pub(super) const CHARSET_DEFAULT: &str = "utf-8";
/// The locale if none is given.
pub(super) const LOCALE_DEFAULT: &str = "en_US.UTF-8";
/// Restarts after failures; the most is as good as for ever, with pauses of seconds between them.
pub(super) const RESTARTS: RangeInclusive<u32> = 0..=1_000_000;
/// Seconds from one writing of the state to the next. A second is for trying it out; after a day most peers are gone.
pub(super) const STATE_PERIOD_SECS: RangeInclusive<u32> = 1..=86_400;
/// The default: what is lost by a crash is what clients tell again within one interval.
pub(super) const STATE_PERIOD_SECS_DEFAULT: u32 = 300;
/// The name of a cluster that is given none.
pub(super) const CLUSTER_NAME_DEFAULT: &str = "etracker";
