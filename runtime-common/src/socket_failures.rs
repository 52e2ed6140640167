//! Failures of sockets that leave clients unserved, logged at once and then once a minute.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use etracker_core::Instant;
use tracing::error;

use crate::{Plain, Transport};

/// Says that requests by `transport` do not reach the tracker, unless that was said in the last minute: what fails often is
/// counted, and summed up once a minute.
pub(crate) fn log_socket_failure(now: Instant, transport: Transport, error: &io::Error) {
    static LOGGED: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
    let [tcp, udp] = &LOGGED;
    let logged = match transport {
        Transport::Tcp => tcp,
        Transport::Udp => udp,
    };
    if is_due(logged, now) {
        let reason = Plain(error);
        error!("requests over {transport} cannot be received: {reason}; trying again ten times a second");
    }
}

/// Whether a minute has passed since it was due last.
pub(crate) fn is_due(logged: &AtomicU64, now: Instant) -> bool {
    // 0 is never.
    let now = now.as_secs() + 1;
    let due = |logged: u64| (logged == 0 || logged + PAUSE_SECS <= now).then_some(now);
    // Of the workers that fail together one gets to say it.
    logged.fetch_update(Relaxed, Relaxed, due).is_ok()
}

/// Seconds between two lines.
const PAUSE_SECS: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_logged_at_once_and_then_once_a_minute() {
        let logged = AtomicU64::new(0);
        let due = [0, 0, 59, 60, 61, 120].map(|secs| is_due(&logged, Instant::from_secs(secs)));
        assert_eq!(due, [true, false, false, true, false, true]);
    }
}
