//! How many peers of one network an answer carries.
//!
//! Whoever has a network has its addresses, and can fill a swarm with peers that nobody can reach. While there are peers
//! of other networks, an answer carries at most a quarter of one: an IPv4 /24 or an IPv6 /48.

use crate::announce::Family;

/// The network that a peer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network(u64);

impl Network {
    /// The network of a compact peer.
    #[inline]
    pub(super) fn of(compact: &[u8]) -> Self {
        // An IPv4 peer has six bytes, of which the first three count; an IPv6 peer has eighteen.
        Self(
            match (compact.len(), compact.first_chunk(), compact.first_chunk()) {
                (V4_LEN, Some(head), _) => u64::from(u32::from_le_bytes(*head) & 0x00ff_ffff),
                (_, _, Some(head)) => u64::from_le_bytes(*head) & 0xffff_ffff_ffff,
                _ => 0,
            },
        )
    }

    /// A number below `slots`, for tables in which networks may meet.
    #[inline]
    pub(super) const fn slot(self, slots: usize) -> usize {
        (((self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) * slots as u64) >> 32) as usize
    }
}

const V4_LEN: usize = Family::V4.compact_len();

/// Peers of one network in an answer with room for `wanted`, at most, while there are others. So few that there is no quarter
/// are not limited.
pub(super) const fn of_network_max(wanted: usize) -> usize {
    if wanted < 4 { wanted } else { wanted / 4 }
}

/// The networks that have more than their share of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crowds {
    networks: [Option<Network>; CROWDS_MAX],
}

/// Three have more than a quarter each at most.
const CROWDS_MAX: usize = 3;

impl Crowds {
    /// Those that more than `max` of some peers belong to, if there are any. `max` must be a quarter of the peers or more,
    /// or 1.
    pub(super) fn among(peers: impl Iterator<Item = Network> + Clone, max: usize) -> Option<Self> {
        let mut crowds = Self {
            networks: candidates(peers.clone()),
        };
        for candidate in &mut crowds.networks {
            let is_it = |network: &Network| Some(*network) == *candidate;
            if peers.clone().filter(is_it).count() <= max {
                *candidate = None;
            }
        }
        crowds.networks.iter().any(Option::is_some).then_some(crowds)
    }

    pub(super) fn has(&self, network: Network) -> bool {
        self.networks.contains(&Some(network))
    }
}

/// Three networks, among them every one that more than a quarter of the peers belong to (Misra and Gries, 1982): each peer
/// adds one to its network, or takes one from all three.
fn candidates(peers: impl Iterator<Item = Network>) -> [Option<Network>; CROWDS_MAX] {
    let mut counted = [(None, 0); CROWDS_MAX];
    for network in peers {
        let place = |found: &&mut (Option<Network>, usize)| found.0 == Some(network);
        if let Some((_, count)) = counted.iter_mut().find(place) {
            *count += 1;
        } else if let Some(free) = counted.iter_mut().find(|(_, count)| *count == 0) {
            *free = (Some(network), 1);
        } else {
            counted.iter_mut().for_each(|(_, count)| *count -= 1);
        }
    }
    counted.map(|(network, _)| network)
}

/// The networks that have had their share of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    /// Peers that one network may have.
    max: usize,
    full: [Option<Network>; FULL_MAX],
    len: usize,
}

/// An answer of seven peers is full with one each of seven networks; where two or more each are allowed, of five.
const FULL_MAX: usize = 7;

impl Quota {
    /// None has had any yet, of an answer with room for `wanted`.
    pub(super) fn new(wanted: usize) -> Self {
        Self {
            max: of_network_max(wanted),
            full: [None; FULL_MAX],
            len: 0,
        }
    }

    #[inline]
    pub(super) fn is_full(&self, network: Network) -> bool {
        let full = self.full.get(..self.len).unwrap_or_default();
        full.contains(&Some(network))
    }

    /// Takes note that a network has so many peers in the answer.
    pub(super) fn note(&mut self, network: Network, peers: usize) {
        if peers >= self.max
            && let Some(place) = self.full.get_mut(self.len)
        {
            *place = Some(network);
            self.len += 1;
        }
    }
}

/// That a network has more than its share of the peers handed out only where there were not enough others.
///
/// It holds where it is certain: in full answers, of swarms so small that all peers are looked at, in which draws soon meet a
/// peer of no crowd.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn assert_spread(
    family: Family,
    handed_out: &[u8],
    eligible: &[u8],
    stored: usize,
    wanted: usize,
) {
    use alloc::collections::BTreeMap;

    let max = of_network_max(wanted);
    let counted = |compact: &[u8]| {
        let mut counts = BTreeMap::new();
        for peer in compact.chunks_exact(family.compact_len()) {
            *counts.entry(Network::of(peer).0).or_insert(0) += 1;
        }
        counts
    };
    let (found, there) = (counted(handed_out), counted(eligible));
    let all: usize = there.values().sum();
    // Of more peers a sample is looked at, in which a network with a quarter of them may seem to have more.
    let surely = if stored <= 16 { max } else { max.min(all / 16) };
    let outsiders: usize = there.values().filter(|&&count| count <= surely).sum();
    let within: usize = there.values().map(|&count| max.min(count)).sum();
    if within < wanted || stored > 256 || all * 2 < stored || outsiders * 4 < all {
        return;
    }
    assert!(
        found.values().all(|&count| count <= max),
        "{max} of a network are allowed, of {there:?} were handed out {found:?}"
    );
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    fn compact(networks: &[u8]) -> Vec<u8> {
        let peer = |(host, &network): (usize, &u8)| [1, 2, network, host.to_le_bytes()[0], 0x1a, 0xe1];
        networks.iter().enumerate().flat_map(peer).collect()
    }

    quickcheck! {
        fn crowds_are_the_networks_above_a_quarter(networks: Vec<u8>) -> bool {
            // Few networks, so that some have many peers.
            let networks: Vec<_> = networks.iter().map(|network| network.leading_zeros().to_le_bytes()[0]).collect();
            let max = of_network_max(networks.len());
            let crowds = Crowds::among(compact(&networks).chunks_exact(6).map(Network::of), max);
            (0..=8).all(|network| {
                let count = networks.iter().filter(|&&other| other == network).count();
                let network = Network::of(&compact(&[network]));
                crowds.is_some_and(|crowds| crowds.has(network)) == (count > max)
            })
        }
    }

    #[test]
    fn networks_are_an_ipv4_24_and_an_ipv6_48() {
        let v4 = |host, port| Network::of(&[1, 2, 3, host, 0, port]);
        assert_eq!(v4(4, 5), v4(6, 7));
        assert_ne!(v4(4, 5), Network::of(&[1, 2, 4, 4, 0, 5]));
        let v6 = |byte: usize| {
            let mut peer = [7; 18];
            peer[byte] = 8;
            Network::of(&peer)
        };
        assert!((6..18).all(|byte| v6(byte) == Network::of(&[7; 18])));
        assert!((0..6).all(|byte| v6(byte) != Network::of(&[7; 18])));
    }
}
