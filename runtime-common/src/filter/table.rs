//! Which sources are filtered, and for how long.

use std::time::Duration;

use etracker_core::Instant;
use etracker_core::ipnet::IpNet;

/// The sources that a socket filter drops.
///
/// Nobody sees whether a source that is filtered has calmed down. So a sample of its datagrams is let in after a while, and
/// then all; if it is reported again soon after that, it is filtered for twice as long.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(Vec<Entry>);

#[derive(Clone, Copy, Debug)]
struct Entry {
    network: IpNet,
    /// Until when all its datagrams are dropped.
    until: Instant,
    /// How long it is filtered this time.
    hold: Duration,
}

impl Table {
    /// Takes up the sources that are reported now, those that are dropped first, and lets go of those whose time is over.
    pub(crate) fn renew(&mut self, now: Instant, reported: impl IntoIterator<Item = IpNet>) {
        self.0
            .retain(|entry| now < entry.until.saturating_add(PROBATION.max(entry.hold)));
        for network in reported {
            if let Some(entry) = self.0.iter_mut().find(|entry| entry.network == network) {
                entry.report_again(now);
            // A source for which there is no room is received and dropped: dearer, but not answered either.
            } else if self.0.len() < NETWORKS_MAX {
                self.0.push(Entry {
                    network,
                    until: now.saturating_add(HOLD_FIRST),
                    hold: HOLD_FIRST,
                });
            }
        }
    }

    /// The networks of which nothing is let in now.
    pub(crate) fn networks(&self, now: Instant) -> Vec<IpNet> {
        let filtered = self.0.iter().filter(|entry| now < entry.until);
        filtered.map(|entry| entry.network).collect()
    }

    /// The networks of which a sample is let in now.
    pub(crate) fn sampled(&self, now: Instant) -> Vec<IpNet> {
        let is_sampled = |entry: &&Entry| {
            let until = entry.until.saturating_add(SAMPLED_FOR);
            entry.until <= now && now < until
        };
        let sampled = self.0.iter().filter(is_sampled);
        sampled.map(|entry| entry.network).collect()
    }
}

impl Entry {
    fn report_again(&mut self, now: Instant) {
        // What is reported of one that is filtered came before that.
        if now >= self.until {
            self.hold = (self.hold * 2).min(HOLD_MAX);
            self.until = now.saturating_add(self.hold);
        }
    }
}

/// The most networks that are filtered: their program fits the memory that Linux gives a socket for options, twice, as one
/// replaces the other (`net.core.optmem_max`, 20 KiB on old systems).
pub(crate) const NETWORKS_MAX: usize = 128;
/// How long a source is filtered at first.
const HOLD_FIRST: Duration = Duration::from_secs(4);
/// How long it is filtered at most.
const HOLD_MAX: Duration = Duration::from_secs(64);
/// How long a sample of it is let in after that.
const SAMPLED_FOR: Duration = Duration::from_secs(2);
/// How long it is remembered after it was filtered, at least.
const PROBATION: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    fn network(n: u8) -> IpNet {
        IpNet::new([192, 0, 2, n].into(), 32).unwrap()
    }

    /// The seconds in which a source is filtered that is reported in those for which `is_reported` says so, unless it was
    /// filtered in the one before.
    fn filtered(secs: std::ops::Range<u64>, is_reported: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut table = Table::default();
        let is_filtered = |&second: &u64| {
            let now = Instant::from_secs(second);
            let was_filtered = !table
                .networks(Instant::from_secs(second.saturating_sub(1)))
                .is_empty();
            table.renew(now, (is_reported(second) && !was_filtered).then(|| network(1)));
            !table.networks(now).is_empty()
        };
        secs.filter(is_filtered).collect()
    }

    #[test]
    fn a_source_is_filtered_for_a_while_and_then_free() {
        assert_eq!(filtered(100..200, |second| second == 110), [110, 111, 112, 113]);
    }

    #[test]
    fn a_source_that_goes_on_is_let_in_ever_more_rarely() {
        let filtered = filtered(0..1000, |_| true);
        let free = (0..1000).filter(|second| !filtered.contains(second));
        let free: Vec<u64> = free.collect();
        // Once for each time that it is filtered: after 4, 8, 16, 32 and then 64 seconds.
        assert_eq!(free[..6], [4, 13, 30, 63, 128, 193]);
        assert!(free.len() < 20);
    }

    #[test]
    fn a_source_that_was_calm_for_long_begins_anew() {
        let seconds = filtered(0..100, |second| [0, 5, 60].contains(&second));
        assert_eq!(seconds, [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 60, 61, 62, 63]);
    }

    #[test]
    fn a_sample_is_let_in_for_two_seconds_before_everything_is() {
        let mut table = Table::default();
        table.renew(Instant::from_secs(0), [network(1)]);
        let sampled: Vec<u64> = (0..20)
            .filter(|&second| !table.sampled(Instant::from_secs(second)).is_empty())
            .collect();
        assert_eq!(sampled, [4, 5]);
        table.renew(Instant::from_secs(5), [network(1)]);
        let now = Instant::from_secs(5);
        assert_eq!(
            (table.networks(now), table.sampled(now)),
            (vec![network(1)], vec![])
        );
    }

    #[test]
    fn a_full_table_takes_nobody_until_one_is_forgotten() {
        let mut table = Table::default();
        let many = |n: u32| (0..n).map(|n| IpNet::new(std::net::Ipv4Addr::from_bits(n).into(), 32).unwrap());
        table.renew(Instant::from_secs(0), many(1000));
        assert_eq!(table.networks(Instant::from_secs(0)).len(), NETWORKS_MAX);
        table.renew(Instant::from_secs(5), [network(1)]);
        assert!(table.networks(Instant::from_secs(5)).is_empty());
        table.renew(Instant::from_secs(14), [network(1)]);
        assert_eq!(table.networks(Instant::from_secs(14)), [network(1)]);
    }

    quickcheck! {
        fn the_table_is_bounded_and_each_source_is_free_in_the_end(reports: Vec<(u8, Vec<u8>)>) -> bool {
            let (mut table, mut now) = (Table::default(), Instant::from_secs(0));
            let bounded = reports.into_iter().all(|(secs, sources)| {
                now = now.saturating_add(Duration::from_secs(secs.into()));
                table.renew(now, sources.into_iter().map(network));
                table.0.len() <= NETWORKS_MAX
            });
            bounded && table.networks(now.saturating_add(HOLD_MAX)).is_empty()
        }
    }
}
