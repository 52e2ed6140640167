//! Addresses to listen on, as an operator writes them.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address to listen on; one that is of a link alone, with the interface to that (RFC 4007, section 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address itself.
    pub ip: IpAddr,
    /// The interface, by name or number. Only addresses of `fe80::/10` have one, and all of them.
    pub zone: Option<String>,
}

impl<I: Into<IpAddr>> From<I> for Address {
    fn from(ip: I) -> Self {
        let (ip, zone) = (ip.into(), None);
        Self { ip, zone }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "{}%{zone}", self.ip),
            None => self.ip.fmt(f),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (ip, zone) = match text.split_once('%') {
            Some((_, "")) => return Err(AddressError::Malformed),
            Some((ip, zone)) => (ip, Some(zone.to_owned())),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| AddressError::Malformed)?;
        let is_of_link = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        match (is_of_link, &zone) {
            (true, None) => Err(AddressError::NoZone),
            (false, Some(_)) => Err(AddressError::NeedlessZone),
            (true, Some(_)) | (false, None) => Ok(Self { ip, zone }),
        }
    }
}

/// What an address is not. Displayed as what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// It is none.
    Malformed,
    /// Every link has such addresses.
    NoZone,
    /// It is the same on every interface.
    NeedlessZone,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "an IPv4 or IPv6 address without a port",
            Self::NoZone => "followed by its interface, as in fe80::1%eth0: every link has such addresses",
            Self::NeedlessZone => "without an interface: only addresses of fe80::/10 have one",
        })
    }
}

impl Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_link_have_an_interface_and_no_others() {
        for text in [
            "fe80::1%eth0",
            "fe80::1%3",
            "febf::1%br-lan",
            "10.0.0.1",
            "2001:db8::1",
            "::",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for (text, error) in [
            ("fe80::1", AddressError::NoZone),
            ("fe80::1%", AddressError::Malformed),
            ("%eth0", AddressError::Malformed),
            ("10.0.0.1%eth0", AddressError::NeedlessZone),
            ("2001:db8::1%eth0", AddressError::NeedlessZone),
            ("localhost", AddressError::Malformed),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
    }
}
