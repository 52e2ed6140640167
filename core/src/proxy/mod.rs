//! Proxies in front of the tracker, and how they name the clients that they speak for.
//!
//! A [`ClientHeader`] is a field of each HTTP request; a [`ProxyHeader`] of the PROXY protocol stands in front of a whole
//! connection or of a datagram. Either counts from a trusted proxy alone, as [`Proxies`] says.

mod client_header;
mod proxy_header;

use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

pub use client_header::{BadFieldName, ClientHeader, FIELD_NAME_MAX};
pub use proxy_header::{PROXY_HEADER_MAX, ProxyFault, ProxyHeader, Transport};

/// The proxies that are trusted, and by what they name clients.
#[derive(Clone, Debug)]
pub struct Proxies {
    networks: Vec<IpNet>,
    header: Option<ClientHeader>,
    protocol: bool,
}

impl Proxies {
    /// Proxies in these networks, which name clients by `X-Forwarded-For`.
    #[must_use]
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self {
            networks,
            header: Some(ClientHeader::X_FORWARDED_FOR),
            protocol: false,
        }
    }

    /// Sets the field that names clients; without one, no field does.
    #[must_use]
    pub fn with_header(mut self, header: Option<ClientHeader>) -> Self {
        self.header = header;
        self
    }

    /// Sets whether the proxies speak the PROXY protocol. Then they have to: whom they do not name by it cannot announce.
    #[must_use]
    pub const fn with_protocol(mut self, protocol: bool) -> Self {
        self.protocol = protocol;
        self
    }

    /// The networks, without those of [lists](crate::access::Access::proxies).
    #[must_use]
    pub fn networks(&self) -> &[IpNet] {
        &self.networks
    }

    /// The field that names clients.
    #[must_use]
    pub const fn header(&self) -> Option<&ClientHeader> {
        self.header.as_ref()
    }

    /// Whether the proxies speak the PROXY protocol.
    #[must_use]
    pub const fn protocol(&self) -> bool {
        self.protocol
    }

    /// Whether one of the networks holds `ip`.
    #[must_use]
    pub fn contain(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }
}
