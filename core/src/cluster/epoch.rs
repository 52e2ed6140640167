//! Which re-announces are told to other nodes.

use core::net::IpAddr;

use crate::InfoHash;
use crate::announce::Endpoint;
use crate::config::SwarmConfig;
use crate::seed::Key;
use crate::time::Minute;

use super::EPOCH_MINUTES;

/// The epochs of peers: five minutes each, which begin at another minute for each peer, so that the traffic is even.
///
/// The nodes of a cluster have the same key. Then a peer that announces to several of them is told once in an epoch, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epochs {
    key: Key,
    minutes_per_step: u32,
}

impl Epochs {
    pub(crate) const fn new(key: Key, config: &SwarmConfig) -> Self {
        Self {
            key,
            minutes_per_step: config.minutes_per_step(),
        }
    }

    /// The minute that stores tell apart: the first one of the step of `minute`.
    pub(crate) const fn step(&self, minute: Minute) -> Minute {
        Minute::new(minute.get() / self.minutes_per_step * self.minutes_per_step)
    }

    /// Whether an epoch of the peer began within the last `after_minutes` before the step `now`, or at it.
    #[inline]
    pub(crate) fn crosses(
        &self,
        now: Minute,
        after_minutes: u32,
        info_hash: &InfoHash,
        peer: &Endpoint,
    ) -> bool {
        match after_minutes {
            // Most announces of clients that announce often, and most of all: neither has to be hashed.
            0 => false,
            EPOCH_MINUTES.. => true,
            _ => {
                let offset = self.hash(info_hash, peer) % u64::from(EPOCH_MINUTES);
                let epoch = |minute: u32| (u64::from(minute) + offset) / u64::from(EPOCH_MINUTES);
                epoch(now.get()) != epoch(now.get().saturating_sub(after_minutes))
            }
        }
    }

    /// A hash of the peer, the same on all nodes.
    pub(crate) fn hash(&self, info_hash: &InfoHash, peer: &Endpoint) -> u64 {
        let mut bytes = [0; 20 + 16 + 2];
        let ip = match peer.ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let parts = info_hash
            .0
            .into_iter()
            .chain(ip.octets())
            .chain(peer.port.to_be_bytes());
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        self.key.hash(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use quickcheck::quickcheck;

    use crate::config::Config;
    use crate::seed::Seed;

    use super::*;

    fn epochs() -> Epochs {
        Epochs::new(Seed::new([1; 32]).key("epochs"), Config::default().swarms())
    }

    fn peer(number: u16) -> Endpoint {
        Endpoint {
            ip: IpAddr::from([192, 0, 2, 1]),
            port: number,
        }
    }

    /// The minutes at which a peer that announces at these is told.
    fn told(port: u16, minutes: impl Iterator<Item = u32>) -> vec::Vec<u32> {
        let (epochs, info_hash) = (epochs(), InfoHash([1; 20]));
        let mut last = None;
        minutes
            .filter(|&minute| {
                let after = minute - last.replace(minute).unwrap_or(minute);
                epochs.crosses(Minute::new(minute), after, &info_hash, &peer(port))
            })
            .collect()
    }

    quickcheck! {
        fn no_gap_is_longer_than_an_epoch_and_an_interval(port: u16, gaps: vec::Vec<u8>) -> bool {
            let mut minute = 1_000_000;
            let announces: vec::Vec<_> = gaps.iter().map(|gap| { minute += u32::from(gap % 32); minute }).collect();
            let told = told(port, announces.iter().copied());
            let longest = gaps.iter().map(|gap| u32::from(gap % 32)).max().unwrap_or(0);
            told.windows(2).all(|pair| pair[1] - pair[0] < EPOCH_MINUTES + longest.max(1))
        }
    }

    #[test]
    fn a_peer_that_announces_each_minute_is_told_once_in_an_epoch_and_all_minutes_have_as_many() {
        let mut minutes = [0; EPOCH_MINUTES as usize];
        for port in 0..5000 {
            let told = told(port, 1_000_000..1_000_301);
            assert_eq!(told.len(), 60, "{port}");
            minutes[told[0] as usize % minutes.len()] += 1;
        }
        assert!(
            minutes.iter().all(|&peers| (900..1100).contains(&peers)),
            "{minutes:?}"
        );
    }
}
