//! Requests per second.

use super::Count;
use crate::time::Instant;

/// Requests of one second, by protocol and family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// HTTP requests over IPv4.
    pub tcp_v4: u64,
    /// UDP datagrams over IPv4.
    pub udp_v4: u64,
    /// HTTP requests over IPv6.
    pub tcp_v6: u64,
    /// UDP datagrams over IPv6.
    pub udp_v6: u64,
}

impl Rates {
    /// All requests.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.tcp_v4 + self.udp_v4 + self.tcp_v6 + self.udp_v6
    }
}

/// Measures the requests of each full second of the clock.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    /// Invariant: the first instant of a second.
    since: Instant,
    before: [u64; MEASURED.len()],
    rates: Rates,
}

impl Meter {
    /// A meter that begins with the second after `now`, and ignores earlier counts.
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            since: Instant::from_secs(now.as_secs()),
            before: [0; MEASURED.len()],
            rates: Rates {
                tcp_v4: 0,
                udp_v4: 0,
                tcp_v6: 0,
                udp_v6: 0,
            },
        }
    }

    /// When the current second ends.
    pub(crate) const fn due(&self) -> Instant {
        Instant::from_secs(self.since.as_secs() + 1)
    }

    /// Ends the current second if it is over. A call that is late by seconds divides the requests among them.
    pub(crate) fn measure(&mut self, now: Instant, count: impl Fn(Count) -> u64) {
        let secs = now.as_secs().saturating_sub(self.since.as_secs());
        if secs == 0 {
            return;
        }
        let counts = MEASURED.map(&count);
        let mut rates = [0; MEASURED.len()];
        for ((rate, count), before) in rates.iter_mut().zip(counts).zip(self.before) {
            *rate = count.wrapping_sub(before).div_ceil(secs);
        }
        let [tcp_v4, udp_v4, tcp_v6, udp_v6] = rates;
        self.rates = Rates {
            tcp_v4,
            udp_v4,
            tcp_v6,
            udp_v6,
        };
        self.before = counts;
        self.since = Instant::from_secs(now.as_secs());
    }

    /// The last full second.
    pub(crate) const fn rates(&self) -> Rates {
        self.rates
    }
}

/// The measured counts, in the order of the fields of [`Rates`].
const MEASURED: [Count; 4] = [
    Count::HttpRequest4,
    Count::UdpReceived4,
    Count::HttpRequest6,
    Count::UdpReceived6,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_full_second_is_shown_until_the_next_is_over() {
        let mut meter = Meter::new(Instant::from_millis(10_400));
        assert_eq!(meter.due(), Instant::from_secs(11));
        let counted = |more: u64| move |count: Count| more + if count == Count::UdpReceived6 { 1 } else { 0 };
        meter.measure(Instant::from_millis(10_999), counted(5));
        assert_eq!(meter.rates(), Rates::default());
        meter.measure(Instant::from_millis(11_000), counted(5));
        let first = meter.rates();
        assert_eq!(
            (first.tcp_v4, first.udp_v4, first.tcp_v6, first.udp_v6),
            (5, 5, 5, 6)
        );
        meter.measure(Instant::from_millis(11_999), counted(50));
        assert_eq!(meter.rates(), first);
        meter.measure(Instant::from_millis(12_000), counted(50));
        assert_eq!((meter.rates().tcp_v4, meter.rates().total()), (45, 180));
    }

    #[test]
    fn a_late_call_shares_the_requests_among_the_seconds() {
        let mut meter = Meter::new(Instant::from_secs(0));
        meter.measure(Instant::from_secs(10), |_| 1000);
        assert_eq!(meter.rates().tcp_v6, 100);
        assert_eq!(meter.due(), Instant::from_secs(11));
    }
}
