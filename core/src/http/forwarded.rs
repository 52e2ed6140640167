//! Whom a proxy speaks for: `X-Forwarded-For`.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::request::{Request, elements};
use crate::scope::Scope;

/// The address of the client that sent `request` over a connection from `peer`.
///
/// Without `trusted` networks, and from a peer outside of them, it is the peer's own, whatever the header says. A
/// trusted peer speaks for the right-most address that is not trusted, the last header field counting as the
/// right-most part. If all are trusted, it speaks for the right-most: the one that it has seen itself, as what stands to the left
/// of that is the client's own text.
///
/// # Errors
/// A trusted peer sends no such header, or what stands to the right of the client is not an address: the peer's own
/// address is never taken instead, for it would be handed out as that of a client.
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

/// Whether the header of `request` is not heeded: the peer is not trusted to send one.
pub fn is_ignored(request: &Request<'_>, peer: IpAddr, trusted: Option<&[IpNet]>) -> bool {
    let networks = trusted.unwrap_or_default();
    request.forwarded && !networks.iter().any(|network| network.contains(&peer))
}

/// Whether `peer`, who sends a header that is not heeded, passes on what others ask, so that its address is no client's.
///
/// A proxy of the tracker's own has a private address, or from the same host the first one of loopback: others are only
/// those of programs that bind them by hand. From elsewhere a client can send what it likes, and is where it comes from.
pub fn is_proxy(peer: IpAddr) -> bool {
    match peer {
        IpAddr::V4(ip) if ip.is_loopback() => ip == Ipv4Addr::LOCALHOST,
        IpAddr::V4(_) | IpAddr::V6(_) => Scope::of(peer) == Scope::Local,
    }
}

/// Why it is not known whom a proxy speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedFault {
    /// The header is missing or empty.
    Missing,
    /// Something in it is not an address.
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
