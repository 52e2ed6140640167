//! The client behind a proxy: `X-Forwarded-For`.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::request::{Request, elements};
use crate::scope::Scope;

/// The address of the client that sent `request` over a connection from `peer`.
///
/// Without `trusted` networks, and for a peer outside of them, it is the peer's address, whatever the header says. For a
/// trusted peer it is the right-most address that is not trusted; several header fields count as one list. If all addresses
/// are trusted, it is the right-most, which the proxy saw itself: the client can write anything to the left of it.
///
/// # Errors
/// A trusted peer sends no such header, or an element on the way from the right to the client is not an address. The peer's own
/// address is not used instead: it would be handed out as a client's.
pub fn client(
    request: &Request<'_>,
    peer: IpAddr,
    trusted: Option<&[IpNet]>,
) -> Result<IpAddr, ForwardedFault> {
    let trusted = trusted.unwrap_or_default();
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(&ip));
    if !is_trusted(peer) {
        return Ok(peer);
    }
    let mut found = Err(ForwardedFault::Missing);
    for element in request.fields("x-forwarded-for").flat_map(elements) {
        let is_open = match found {
            Err(ForwardedFault::Missing) => true,
            Err(ForwardedFault::NoAddress) => false,
            Ok(ip) => is_trusted(ip),
        };
        match address(element) {
            None => found = Err(ForwardedFault::NoAddress),
            Some(ip) if !is_trusted(ip) || is_open => found = Ok(ip),
            Some(_) => {}
        }
    }
    found
}

/// Whether `request` has a forwarding header that is ignored because the peer is not trusted.
pub fn is_ignored(request: &Request<'_>, peer: IpAddr, trusted: Option<&[IpNet]>) -> bool {
    let networks = trusted.unwrap_or_default();
    request.forwarded && !networks.iter().any(|network| network.contains(&peer))
}

/// Whether `peer`, which sends an ignored forwarding header, is a proxy whose address must not be stored as a client's.
///
/// The operator's own proxy connects from a private address, or on the same host from 127.0.0.1 or ::1; other loopback
/// addresses are bound by hand. From any global address the header may be a client's invention.
pub fn is_proxy(peer: IpAddr) -> bool {
    match peer {
        IpAddr::V4(ip) if ip.is_loopback() => ip == Ipv4Addr::LOCALHOST,
        IpAddr::V4(_) | IpAddr::V6(_) => Scope::of(peer) == Scope::Local,
    }
}

/// Why the client behind a proxy is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedFault {
    /// The header is missing or empty.
    Missing,
    /// An element is not an address.
    NoAddress,
}

impl fmt::Display for ForwardedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the proxy did not send X-Forwarded-For, so your address is not known",
            Self::NoAddress => "the proxy sent an X-Forwarded-For that holds no address of yours",
        })
    }
}

impl core::error::Error for ForwardedFault {}

/// An address with or without brackets and port; a mapped one is unmapped.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(element).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let ip: Option<IpAddr> = text.parse().ok();
    let ip = ip.or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()));
    ip.or_else(|| bracketed().map(IpAddr::V6))
        .map(|ip| ip.to_canonical())
}
