//! What of the memory that the process may take is for what.

use std::error::Error;
use std::fmt;

use etracker_core::config::MemoryLimits;

use super::{Cap, From, Mib};

/// What takes memory beside swarms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// What the process keeps in use before it serves, lists included.
    pub(crate) resident: u64,
    /// The lists once more, which are there twice while they are reloaded.
    pub(crate) lists: u64,
    pub(crate) workers: usize,
    /// Bytes of the limits by source of one worker.
    pub(crate) sketch: u64,
    /// Connections that open files leave room for; 0 without HTTP.
    pub(crate) connections: usize,
    /// Whether all torrents can be asked for at once, which takes a list of them.
    pub(crate) full_scrape: bool,
    pub(crate) peer_ids: bool,
}

/// How the memory is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) limits: MemoryLimits,
    /// Connections at once.
    pub(crate) connections: usize,
}

impl Budget {
    /// Divides the memory.
    ///
    /// # Errors
    /// The operator has named a cap that leaves too little for swarms. Where the system has set it, swarms have a share
    /// all the same: a tracker that does not start serves nobody.
    pub(crate) fn divide(cap: &Cap, needs: &Needs) -> Result<Self, TooSmall> {
        let workers = needs.workers as u64;
        let mut fixed = needs.resident + needs.lists + PROCESS + workers * WORKER;
        let connections = (cap.bytes / CONNECTIONS_SHARE / CONNECTION).max(workers);
        let connections = needs
            .connections
            .min(usize::try_from(connections).unwrap_or(usize::MAX));
        fixed += connections as u64 * CONNECTION;
        let small = cap.bytes / SMALL_SHARE;
        let sketches = workers * needs.sketch;
        let admissions = small.saturating_sub(sketches).max(small / 4).min(ADMISSIONS_MAX);
        fixed += sketches + admissions;
        let least = cap.bytes / SWARMS_SHARE_MIN;
        let mut rest = cap.bytes.saturating_sub(fixed);
        if rest < least {
            if let From::Option(_) = cap.from {
                let wanted = fixed.saturating_mul(SWARMS_SHARE_MIN) / (SWARMS_SHARE_MIN - 1);
                return Err(TooSmall { cap: *cap, wanted });
            }
            rest = least;
        }
        if needs.full_scrape {
            let torrent = if needs.peer_ids { TORRENT_WITH_ID } else { TORRENT };
            rest = rest / (torrent + LISTED) * torrent;
        }
        let reserve = MemoryLimits::RESERVE as u64;
        let swarms = rest / (reserve + 1) * reserve / ALLOCATED * ACCOUNTED;
        let bytes = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(Self {
            limits: MemoryLimits {
                swarms_max: bytes(swarms),
                admissions_max: bytes(admissions),
            },
            connections,
        })
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limits, connections } = self;
        let swarms = Mib(limits.swarms_max as u64);
        write!(f, "{swarms} for swarms, {connections} connections at most")
    }
}

/// A cap that leaves too little for swarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooSmall {
    cap: Cap,
    /// What would do, in bytes.
    wanted: u64,
}

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = (self.wanted >> 20) + 1;
        write!(
            f,
            "memory of {} leaves too little for swarms beside the program, its lists, workers and connections: at least \
             {wanted}M, fewer --workers, or smaller lists",
            self.cap
        )
    }
}

impl Error for TooSmall {}

/// Bytes of pages, of a state that is being written, of logs and of threads that do not serve.
const PROCESS: u64 = 4 << 20;
/// Bytes of a worker: its stack, batches of datagrams, and what its allocator keeps for itself.
const WORKER: u64 = 1 << 20;
/// Bytes of a connection: its task, and a head that comes in pieces (16 KiB, which the vector that it grows in can exceed).
const CONNECTION: u64 = 20 << 10;
/// The part of the memory that connections may take at most.
const CONNECTIONS_SHARE: u64 = 8;
/// The part of the memory that limits by source and the memory of admissions take.
const SMALL_SHARE: u64 = 16;
/// Bytes of the memory of admissions at most: enough for 10^8 torrents in two periods.
const ADMISSIONS_MAX: u64 = 128 << 20;
/// The part of the memory that swarms have at least.
const SWARMS_SHARE_MIN: u64 = 8;
/// Bytes of a torrent of one peer, which is what there are most of, by the store's account (core/benches/swarm_memory.rs).
const TORRENT: u64 = 31;
const TORRENT_WITH_ID: u64 = 53;
/// Bytes of a torrent in the two lists that readers of full scrapes may hold.
const LISTED: u64 = 2 * 20;
/// What is resident for what the store accounts for: 96 to 105 hundredths in seven populations (core/benches/swarm_memory.rs).
const ALLOCATED: u64 = 105;
const ACCOUNTED: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs = Needs {
        resident: 6 << 20,
        lists: 0,
        workers: 2,
        sketch: 4 << 20,
        connections: 60_000,
        full_scrape: false,
        peer_ids: true,
    };

    fn cap(mib: u64) -> Cap {
        Cap {
            bytes: mib << 20,
            from: From::Machine(0),
        }
    }

    fn divide(mib: u64, needs: &Needs) -> Budget {
        Budget::divide(&cap(mib), needs).unwrap()
    }

    #[test]
    fn all_parts_together_take_no_more_than_the_cap() {
        for mib in [64, 100, 256, 1024, 64 << 10] {
            for needs in [
                NEEDS,
                Needs {
                    workers: 1,
                    connections: 0,
                    ..NEEDS
                },
            ] {
                let Budget { limits, connections } = divide(mib, &needs);
                let swarms = limits.swarms_max as u64 / ACCOUNTED * ALLOCATED / 16 * 17;
                let others = (6 << 20) + PROCESS + needs.workers as u64 * (WORKER + needs.sketch);
                let sum = swarms + others + limits.admissions_max as u64 + connections as u64 * CONNECTION;
                assert!(sum <= mib << 20, "{mib} {sum}");
                assert!(sum + (1 << 20) >= mib << 20 || mib < 100, "{mib} {sum}");
            }
        }
    }

    #[test]
    fn connections_take_an_eighth_at_most_and_their_place_is_left_to_swarms_without_http() {
        assert_eq!(divide(256, &NEEDS).connections, (32 << 20) / 20480);
        assert_eq!(divide(64 << 10, &NEEDS).connections, 60_000);
        let udp = divide(
            256,
            &Needs {
                connections: 0,
                ..NEEDS
            },
        );
        assert!(udp.limits.swarms_max > divide(256, &NEEDS).limits.swarms_max + (24 << 20));
    }

    #[test]
    fn lists_of_full_scrapes_take_from_the_swarms() {
        let without = divide(1024, &NEEDS).limits.swarms_max;
        let with = divide(
            1024,
            &Needs {
                full_scrape: true,
                ..NEEDS
            },
        )
        .limits
        .swarms_max;
        assert!(
            (without / 2..without * 6 / 10).contains(&with),
            "{without} {with}"
        );
    }

    #[test]
    fn a_cap_of_the_system_leaves_swarms_their_least_share_and_one_that_is_named_is_refused() {
        let small = divide(12, &NEEDS).limits.swarms_max;
        assert!(small > 1 << 20, "{small}");
        let lists = Needs {
            lists: 900 << 20,
            resident: 906 << 20,
            ..NEEDS
        };
        let source = crate::options::Source::Argument(crate::options::name::MEMORY_MAX);
        let named = Cap {
            from: From::Option(source),
            ..cap(1024)
        };
        let refused = Budget::divide(&named, &lists).unwrap_err().to_string();
        assert!(
            refused.contains("1024 MiB (--memory-max)") && refused.contains("at least 2"),
            "{refused}"
        );
    }
}
