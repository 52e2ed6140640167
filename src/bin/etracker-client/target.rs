//! Where a tracker is.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use ::http::Uri;

use crate::answer::Failure;

/// A tracker's announce URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    /// Host and port as they were given.
    pub(crate) authority: String,
    /// A name or an address, the latter without brackets.
    pub(crate) host: String,
    port: u16,
    /// Path and query, beginning with a slash.
    pub(crate) path: String,
}

/// The protocol that a tracker is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
    Udp,
}

impl Target {
    /// The addresses that the host's name stands for.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>, Failure> {
        let addresses = (self.host.as_str(), self.port).to_socket_addrs();
        Ok(addresses.map_err(|_| Failure::NoAddress)?.collect())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Udp => "udp",
        };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl FromStr for Target {
    type Err = BadUrl;

    fn from_str(url: &str) -> Result<Self, BadUrl> {
        let uri: Uri = url.parse().map_err(|_| BadUrl::NotUrl)?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("udp") => Scheme::Udp,
            Some("https") if cfg!(feature = "tls") => Scheme::Https,
            Some("https") => return Err(BadUrl::Tls),
            _ => return Err(BadUrl::Scheme),
        };
        let authority = uri.authority().ok_or(BadUrl::NotUrl)?;
        let port = match (authority.port_u16(), scheme) {
            (Some(port), _) => port,
            (None, Scheme::Http) => HTTP_PORT,
            (None, Scheme::Https) => HTTPS_PORT,
            (None, Scheme::Udp) => return Err(BadUrl::PortMissing),
        };
        let host = authority.host();
        if host.is_empty() {
            return Err(BadUrl::NotUrl);
        }
        let unbracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Ok(Self {
            scheme,
            authority: authority.as_str().to_owned(),
            host: unbracketed.unwrap_or(host).to_owned(),
            port,
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }
}

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadUrl {
    NotUrl,
    Scheme,
    Tls,
    PortMissing,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUrl => "it is no URL",
            Self::Scheme => "it must begin with http://, https:// or udp://",
            Self::Tls => {
                "this build has no TLS (feature tls): give the tracker's http:// or udp:// URL, if it has one"
            }
            Self::PortMissing => "a udp:// URL needs a port",
        })
    }
}

impl std::error::Error for BadUrl {}

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target: Target = "udp://[::1]:6969/announce?key=a".parse().unwrap();
        let expected = Target {
            scheme: Scheme::Udp,
            authority: "[::1]:6969".to_owned(),
            host: "::1".to_owned(),
            port: 6969,
            path: "/announce?key=a".to_owned(),
        };
        assert_eq!(target, expected);
        let short: Target = "http://tracker.example".parse().unwrap();
        assert_eq!(
            (short.host.as_str(), short.port, short.path.as_str()),
            ("tracker.example", 80, "/")
        );
        let secured = "https://tracker.example".parse::<Target>();
        if cfg!(feature = "tls") {
            assert_eq!(
                secured.map(|target| (target.scheme, target.port)),
                Ok((Scheme::Https, 443))
            );
        } else {
            assert_eq!(secured, Err(BadUrl::Tls));
        }
    }

    #[test]
    fn what_no_tracker_listens_to_is_refused() {
        for (url, fault) in [
            ("ftp://tracker.example", BadUrl::Scheme),
            ("tracker.example:80", BadUrl::Scheme),
            ("/announce", BadUrl::Scheme),
            ("udp://tracker.example", BadUrl::PortMissing),
            ("http://a b/", BadUrl::NotUrl),
            ("http://:80/", BadUrl::NotUrl),
            ("", BadUrl::NotUrl),
        ] {
            assert_eq!(url.parse::<Target>(), Err(fault), "{url}");
        }
    }
}
