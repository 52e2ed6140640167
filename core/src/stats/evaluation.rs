//! The figures of one evaluation of the interval, and their line in the log.

use core::fmt;
use core::time::Duration;

use super::Rates;
use crate::interval::LoadAverage;
use crate::swarm::{Fullest, Totals};
use crate::time::Instant;

/// The figures of the last evaluation of the interval.
///
/// Shown as a line of the log, without the time: the legend is in the README.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Evaluation {
    /// When the interval was evaluated.
    pub at: Instant,
    /// Torrents and peers.
    pub totals: Totals,
    /// Peers of the largest swarm.
    pub swarm_max: u32,
    /// The fullest shards, and the torrents kept in tables of their own.
    pub fullest: Fullest,
    /// Peers that the sweep removed since the evaluation before.
    pub peers_removed: u64,
    /// Torrents that the sweep removed since the evaluation before.
    pub torrents_removed: u64,
    /// Time that the sweep took since the evaluation before.
    pub sweep_time: Duration,
    /// Load averages over 1, 5 and 15 minutes.
    pub load: LoadAverage,
    /// The load average above which the interval grows.
    pub load_limit: f64,
    /// The interval served.
    pub served_secs: u32,
    /// The interval before the evaluation.
    pub previous_secs: u32,
    /// The interval that is required from now on.
    pub required_secs: u32,
    /// Requests of the last full second.
    pub rates: Rates,
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            totals,
            fullest,
            rates,
            ..
        } = self;
        write!(
            f,
            "{:7} TP {:7} TT {:7} TL ",
            totals.peers(),
            totals.torrents,
            fullest.large
        )?;
        write!(
            f,
            "{:7} MPT {:7} MPL {:7} MTL ",
            self.swarm_max, fullest.peers, fullest.torrents
        )?;
        write!(f, "{:7} RP {:7} RT ", self.peers_removed, self.torrents_removed)?;
        write!(f, "{:7} µs  ", self.sweep_time.as_micros())?;
        let [one, five, fifteen] = self.load;
        write!(
            f,
            "LA: {one:.2} {five:.2} {fifteen:.2}  ML: {:.2}  ",
            self.load_limit
        )?;
        let (previous, required) = (self.previous_secs, self.required_secs);
        write!(f, "I: {} ({previous}->{required}) s  ", self.served_secs)?;
        write!(
            f,
            "RPS: {}/{}/{}/{}",
            rates.tcp_v4, rates.udp_v4, rates.tcp_v6, rates.udp_v6
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn the_line_is_the_one_that_operators_know() {
        let evaluation = Evaluation {
            totals: Totals {
                torrents: 193_966,
                seeders_v4: 333_000,
                leechers_v6: 225,
                ..Totals::default()
            },
            swarm_max: 500,
            fullest: Fullest {
                peers: 245,
                torrents: 25,
                large: 13,
            },
            torrents_removed: 649,
            sweep_time: Duration::from_micros(97_638),
            load: [0.55, 0.52, 0.46],
            load_limit: 0.5,
            served_secs: 239,
            previous_secs: 239,
            required_secs: 239,
            rates: Rates {
                tcp_v4: 2071,
                udp_v4: 8,
                tcp_v6: 0,
                udp_v6: 4,
            },
            ..Evaluation::default()
        };
        let line = " 333225 TP  193966 TT      13 TL     500 MPT     245 MPL      25 MTL       0 RP     649 RT   \
                    97638 µs  LA: 0.55 0.52 0.46  ML: 0.50  I: 239 (239->239) s  RPS: 2071/8/0/4";
        assert_eq!(format!("{evaluation}"), line);
    }
}
