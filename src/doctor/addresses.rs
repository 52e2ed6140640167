//! The addresses of this host.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use etracker_core::scope::Scope;
use etracker_runtime_common::{Listen, is_absent};
use nix::ifaddrs::getifaddrs;

use crate::sockets;

/// The addresses to listen on; none for all.
pub(super) fn bound(listen: &Listen) -> Vec<IpAddr> {
    let addresses = sockets::addresses(listen).into_iter();
    addresses.map(|address| address.ip).collect()
}

/// Addresses at which this host reaches a tracker that listens on `bound`, or on all addresses if `bound` is empty.
pub(super) fn reachable(bound: &[IpAddr]) -> Vec<IpAddr> {
    let mut targets = targets(bound, &of_this_host());
    targets.retain(|ip| !is_absent(SocketAddr::new(*ip, 0)));
    targets
}

/// An address to listen on that this host does not have, or cannot use yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absent {
    pub(super) ip: IpAddr,
    /// Whether an interface has the address, so that it is tentative.
    pub(super) is_shown: bool,
}

/// The addresses of `bound` that this host does not have, or cannot use yet.
pub(super) fn absent(bound: &[IpAddr]) -> Vec<Absent> {
    let shown = of_this_host();
    let absent = bound.iter().filter(|ip| is_absent(SocketAddr::new(**ip, 0)));
    absent
        .map(|&ip| Absent {
            ip,
            is_shown: shown.contains(&ip),
        })
        .collect()
}

/// Whether sockets of IPv6 can be opened.
pub(super) fn ipv6_is_usable() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// The number of global IPv6 addresses of the host.
pub(super) fn global_ipv6_addresses() -> usize {
    let is_counted = |ip: &&IpAddr| ip.is_ipv6() && is_global(**ip);
    of_this_host().iter().filter(is_counted).count()
}

/// Empty if the system does not list them.
fn of_this_host() -> Vec<IpAddr> {
    let interfaces = getifaddrs().into_iter().flatten();
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    });
    addresses.collect()
}

fn targets(bound: &[IpAddr], host: &[IpAddr]) -> Vec<IpAddr> {
    let bound_v4 = bound.iter().any(IpAddr::is_ipv4);
    // Without an IPv4 address beside it, an IPv6 wildcard takes IPv4 too.
    let covers = |wildcard: &IpAddr, ip: &IpAddr| {
        wildcard.is_ipv4() == ip.is_ipv4() || (wildcard.is_ipv6() && !bound_v4)
    };
    let mut targets: Vec<IpAddr> = Vec::new();
    let mut add = |ip: IpAddr| {
        if !is_link_local(ip) && !targets.contains(&ip) && targets.len() < TARGETS_MAX {
            targets.push(ip);
        }
    };
    if bound.is_empty() {
        host.iter().copied().for_each(&mut add);
    }
    for wanted in bound.iter().map(IpAddr::to_canonical) {
        if wanted.is_unspecified() {
            host.iter()
                .copied()
                .filter(|ip| covers(&wanted, ip))
                .for_each(&mut add);
        } else {
            add(wanted);
        }
    }
    targets
}

/// Whether the address needs an interface to be reached.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Whether the address is global.
pub(super) fn is_global(ip: IpAddr) -> bool {
    Scope::of(ip) == Scope::Global
}

/// Addresses that are probed: more would only lengthen the output.
const TARGETS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn targets_of(bound: &[&str]) -> Vec<String> {
        let ips =
            |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let host = ips(&["127.0.0.1", "::1", "192.0.2.7", "2001:db8::7", "fe80::1"]);
        targets(&ips(bound), &host)
            .iter()
            .map(IpAddr::to_string)
            .collect()
    }

    #[test]
    fn wildcards_are_asked_at_every_address_that_they_cover() {
        let all = ["127.0.0.1", "::1", "192.0.2.7", "2001:db8::7"];
        assert_eq!(targets_of(&[]), all);
        assert_eq!(targets_of(&["::"]), all);
        assert_eq!(targets_of(&["0.0.0.0"]), ["127.0.0.1", "192.0.2.7"]);
        assert_eq!(
            targets_of(&["::", "127.0.0.1"]),
            ["::1", "2001:db8::7", "127.0.0.1"]
        );
        assert_eq!(targets_of(&["192.0.2.7", "::ffff:192.0.2.7"]), ["192.0.2.7"]);
    }

    #[test]
    fn addresses_of_private_networks_are_not_global() {
        for (ip, expected) in [
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.1.1", false),
            ("100.64.0.1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("::1", false),
            ("9.9.9.9", true),
            ("2620:fe::fe", true),
        ] {
            assert_eq!(is_global(ip.parse().unwrap()), expected, "{ip}");
        }
    }

    #[test]
    fn a_host_has_loopback() {
        assert!(reachable(&[]).iter().any(IpAddr::is_loopback));
    }
}
