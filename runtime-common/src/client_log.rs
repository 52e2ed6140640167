//! Which clients were refused: for operators who ask for their addresses.

use std::cell::Cell;
use std::fmt::Debug;
use std::net::SocketAddr;

use etracker_core::Instant;
use tracing::{Level, enabled, info};

/// The target of everything that is logged with the address of a client. Nothing else names one.
pub const ADDRESSES: &str = "etracker::addresses";

/// Logs that `what` became of a client, if addresses are logged at all and this worker has not logged
/// [`LINES_PER_SECOND`] in this second.
pub(crate) fn log_client(now: Instant, client: SocketAddr, what: impl Debug) {
    if logs_addresses() && is_affordable(now) {
        info!(target: ADDRESSES, %client, ?what);
    }
}

/// Whether addresses are logged.
pub(crate) fn logs_addresses() -> bool {
    enabled!(target: ADDRESSES, Level::INFO)
}

/// Lines with addresses that one worker logs in a second: enough to see who it is, too few to fill a disk.
const LINES_PER_SECOND: u32 = 10;

fn is_affordable(now: Instant) -> bool {
    thread_local! {
        static SECOND: Cell<(u64, u32)> = const { Cell::new((0, 0)) };
    }
    let (second, logged) = SECOND.get();
    let logged = if second == now.as_secs() { logged } else { 0 };
    SECOND.set((now.as_secs(), logged.saturating_add(1)));
    logged < LINES_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_a_second() {
        let affordable = |second| {
            let tries = (0..1000).filter(|_| is_affordable(Instant::from_secs(second)));
            tries.count()
        };
        assert_eq!([7, 8, 8, 9].map(affordable), [10, 10, 0, 10]);
    }
}
