//! What to listen for, and where.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Socket, Type};

use crate::{Address, OpenError, Protocol, Transport, sys};

/// What to listen for, and where: one entry for each socket of a worker.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Protocols with the address and port of each.
    pub binds: Vec<Bind>,
    /// How many workers share every address; at least one.
    pub workers: usize,
}

/// A protocol, and one place where its clients are listened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// What is served there.
    pub protocol: Protocol,
    /// The address; nothing is all addresses, of both families where the host has both.
    pub address: Option<Address>,
    /// The port; 0 takes a free one, the same for all that have port 0.
    pub port: u16,
}

impl Listen {
    /// Nothing yet, for this many workers.
    #[must_use]
    pub const fn new(workers: usize) -> Self {
        let binds = Vec::new();
        Self { binds, workers }
    }

    /// Adds a protocol at each of these addresses, at all if there are none.
    #[must_use]
    pub fn bind(mut self, protocol: Protocol, addresses: &[Address], port: u16) -> Self {
        let bind = |address| Bind {
            protocol,
            address,
            port,
        };
        if addresses.is_empty() {
            self.binds.push(bind(None));
        }
        self.binds
            .extend(addresses.iter().map(|address| bind(Some(address.clone()))));
        self
    }

    /// Whether anything is listened for that this carries.
    #[must_use]
    pub fn uses(&self, transport: Transport) -> bool {
        self.binds
            .iter()
            .any(|bind| bind.protocol.transport() == transport)
    }

    /// Whether a protocol is listened for.
    #[must_use]
    pub fn serves(&self, protocol: Protocol) -> bool {
        self.binds.iter().any(|bind| bind.protocol == protocol)
    }
}

/// An address to open sockets at, the number of its interface if it needs one, and whether an IPv6 wildcard takes IPv4 too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) protocol: Protocol,
    pub(crate) ip: IpAddr,
    pub(crate) scope: u32,
    pub(crate) dual: bool,
    pub(crate) port: u16,
}

impl Place {
    /// This place, at `port`.
    pub(crate) const fn at(&self, port: u16) -> SocketAddr {
        match self.ip {
            IpAddr::V4(_) => SocketAddr::new(self.ip, port),
            IpAddr::V6(ip) => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, self.scope)),
        }
    }
}

/// Where sockets are opened for these: no address twice, none that a wildcard covers.
pub(crate) fn places(binds: &[Bind]) -> Result<Vec<Place>, OpenError> {
    let mut places = Vec::new();
    for bind in binds {
        if let Some(place) = place(bind, binds)?
            && !places.contains(&place)
        {
            places.push(place);
        }
    }
    Ok(places)
}

/// Where sockets are opened for one of these; nowhere if another one covers it.
fn place(bind: &Bind, all: &[Bind]) -> Result<Option<Place>, OpenError> {
    let shares = |other: &&Bind| other.protocol == bind.protocol && other.port == bind.port;
    let Some(address) = &bind.address else {
        return Ok(Some(everywhere(bind)));
    };
    // An IPv4-mapped address is the IPv4 one: opened as both, the second one would be in use.
    let ip = address.ip.to_canonical();
    let mut dual = true;
    for other in all.iter().filter(shares) {
        let Some(other) = other.address.as_ref().map(|other| other.ip.to_canonical()) else {
            // A wildcard socket takes this address already: to bind it once more fails as in use.
            return Ok(None);
        };
        if other.is_unspecified() && !ip.is_unspecified() && other.is_ipv4() == ip.is_ipv4() {
            return Ok(None);
        }
        // Both families in one socket would take the IPv4 addresses of the others.
        dual &= other.is_ipv6();
    }
    Ok(Some(Place {
        protocol: bind.protocol,
        ip,
        scope: scope(address)?,
        dual,
        port: bind.port,
    }))
}

/// The number of the interface of an address; 0 for one that needs none.
fn scope(address: &Address) -> Result<u32, OpenError> {
    // Every link has its own fe80::/10: only the interface tells which one is meant (RFC 4007, section 6).
    let Some(zone) = &address.zone else {
        return Ok(0);
    };
    sys::interface(zone).ok_or_else(|| OpenError::NoInterface(address.clone()))
}

/// Both families in one socket where the host has both.
fn everywhere(bind: &Bind) -> Place {
    // One socket for both families (RFC 3493, section 5.3): half as many to wait for.
    let dual = has_both_families();
    Place {
        protocol: bind.protocol,
        ip: if dual {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        },
        scope: 0,
        dual,
        port: bind.port,
    }
}

/// Tries it: a kernel without IPv6 makes no socket, one where it is disabled binds none.
fn has_both_families() -> bool {
    let bound = Socket::new(Domain::IPV6, Type::DGRAM, None).and_then(|socket| {
        socket.set_only_v6(false)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())
    });
    bound.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(addresses: &[&str]) -> Vec<Bind> {
        let addresses: Vec<Address> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        Listen::new(1).bind(Protocol::Udp, &addresses, 0).binds
    }

    fn shown(binds: &[Bind]) -> Vec<String> {
        let places = places(binds).unwrap();
        let shown = |place: &Place| format!("{} {} {}", place.protocol, place.at(place.port), place.dual);
        places.iter().map(shown).collect()
    }

    #[test]
    fn addresses_are_listened_on_once() {
        assert_eq!(shown(&of(&["::1", "::1"])), ["UDP [::1]:0 true"]);
        assert_eq!(
            shown(&of(&["::ffff:127.0.0.1", "127.0.0.1"])),
            ["UDP 127.0.0.1:0 false"]
        );
        assert_eq!(
            shown(&of(&["::", "::1", "0.0.0.0", "127.0.0.1"])),
            ["UDP [::]:0 false", "UDP 0.0.0.0:0 false"]
        );
        assert_eq!(shown(&of(&["::"])), ["UDP [::]:0 true"]);
    }

    #[test]
    fn a_wildcard_covers_its_own_protocol_and_port_alone() {
        let local: Address = [127, 0, 0, 1].into();
        let other = Protocol::Other("ECHO", Transport::Udp);
        let listen = Listen::new(1)
            .bind(Protocol::Udp, &["0.0.0.0".parse().unwrap()], 1)
            .bind(Protocol::Udp, std::slice::from_ref(&local), 1)
            .bind(Protocol::Udp, std::slice::from_ref(&local), 2)
            .bind(other, std::slice::from_ref(&local), 1);
        assert_eq!(
            shown(&listen.binds),
            [
                "UDP 0.0.0.0:1 false",
                "UDP 127.0.0.1:2 false",
                "ECHO 127.0.0.1:1 false"
            ]
        );
        assert!(listen.serves(other) && !listen.serves(Protocol::Http));
    }

    #[test]
    fn all_addresses_cover_any() {
        let listen = Listen::new(1)
            .bind(Protocol::Http, &["127.0.0.1".parse().unwrap()], 1)
            .bind(Protocol::Http, &[], 1);
        assert_eq!(places(&listen.binds).unwrap().len(), 1);
    }

    #[test]
    fn an_interface_is_found_by_name_or_number_and_one_that_is_not_there_is_named() {
        let of_link = |zone: &str| places(&of(&[&format!("fe80::1%{zone}")]));
        #[cfg(target_os = "linux")]
        {
            let by_name = of_link("lo").unwrap();
            assert_eq!(by_name, of_link(&by_name[0].scope.to_string()).unwrap());
            assert!(by_name[0].at(9).to_string().starts_with("[fe80::1%"));
        }
        for missing in ["none", "4294967295"] {
            let error = of_link(missing).unwrap_err();
            assert!(error.is_of_a_host_that_starts());
            let expected =
                format!("cannot listen on fe80::1%{missing}: this host has no interface {missing}");
            assert_eq!(error.to_string(), expected);
        }
    }
}
