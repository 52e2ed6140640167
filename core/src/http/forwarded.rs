//! The client behind a proxy, as a header field or the PROXY protocol names it.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use super::request::Request;
use crate::proxy::Proxies;
use crate::scope::Scope;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The other end of the connection, or the client that a PROXY header named in its place.
    pub ip: IpAddr,
    /// Whether a PROXY header named it.
    pub is_named: bool,
}

/// The address of the client that sent `request` from `origin`. `is_trusted` tells trusted proxies by their addresses.
///
/// Without `proxies`, and for an origin that is not trusted, it is the origin's address, whatever the header says. For a
/// trusted one it is the right-most address that is not trusted; several header fields count as one list. If all addresses
/// are trusted, it is the right-most, which the proxy saw itself: the client can write anything to the left of it.
///
/// # Errors
/// A trusted proxy sends no such header, or an element on the way from the right to the client is not an address. The proxy's own
/// address is not used instead: it would be handed out as a client's.
pub fn client(
    request: &Request<'_>,
    origin: Origin,
    proxies: Option<&Proxies>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Result<IpAddr, ForwardedFault> {
    let Some(proxies) = proxies.filter(|_| is_trusted(origin.ip)) else {
        return Ok(origin.ip);
    };
    if proxies.protocol() && !origin.is_named {
        return Err(ForwardedFault::NoProxyHeader);
    }
    let Some(header) = proxies.header() else {
        return Ok(origin.ip);
    };
    let mut found = Err(ForwardedFault::Missing);
    let fields = request.fields(header.name());
    for address in fields.flat_map(|value| header.addresses(value)) {
        let is_open = match found {
            Err(ForwardedFault::Missing) => true,
            Err(ForwardedFault::NoAddress | ForwardedFault::NoProxyHeader) => false,
            Ok(ip) => is_trusted(ip),
        };
        match address {
            None => found = Err(ForwardedFault::NoAddress),
            Some(ip) if !is_trusted(ip) || is_open => found = Ok(ip),
            Some(_) => {}
        }
    }
    found
}

/// Whether `request` has a forwarding header that is ignored because its origin is not trusted.
pub fn is_ignored(request: &Request<'_>, origin: Origin, is_trusted: impl Fn(IpAddr) -> bool) -> bool {
    // A proxy that speaks the PROXY protocol has named the client, whatever other headers it adds.
    request.forwarded && !origin.is_named && !is_trusted(origin.ip)
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
    /// Something in it is not an address.
    NoAddress,
    /// The connection does not begin with a PROXY header that names a client.
    NoProxyHeader,
}

impl fmt::Display for ForwardedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the proxy did not send the header with your address, so it is not known",
            Self::NoAddress => "the proxy sent a header that holds no address of yours",
            Self::NoProxyHeader => {
                "the proxy did not send your address by the PROXY protocol, so it is not known"
            }
        })
    }
}

impl core::error::Error for ForwardedFault {}
