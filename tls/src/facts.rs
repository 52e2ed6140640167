//! What a certificate says of itself.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

/// What an operator wants to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// The names and addresses that it is for, in its order. Names are in lower case, and may begin with `*.`.
    pub names: Vec<String>,
    /// When it becomes valid.
    pub not_before: SystemTime,
    /// When it expires.
    pub not_after: SystemTime,
    /// How its chain looks.
    pub chain: Chain,
}

/// How the certificates that are sent hang together. Displayed as words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Chain {
    /// Each is issued by the next one.
    Whole,
    /// One certificate, that issued itself: clients have to be given it.
    SelfSigned,
    /// One certificate, without that of its issuer: clients refuse it, unless they have the issuer's.
    Alone,
    /// One is not issued by the next one: most clients refuse it.
    Broken,
}

impl Chain {
    /// The stable name of this.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::SelfSigned => "self_signed",
            Self::Alone => "alone",
            Self::Broken => "broken",
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole => "chain whole",
            Self::SelfSigned => "self-signed",
            Self::Alone => "without the certificate of its issuer",
            Self::Broken => "chain broken",
        })
    }
}

impl Facts {
    /// What the first of these certificates says; nothing if there is none.
    pub(crate) fn of(chain: &[CertificateDer<'_>]) -> Result<Option<Self>, Unreadable> {
        let chain: Vec<_> = chain.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(chain.first().map(|own| Self {
            names: names(own),
            not_before: time(own.validity().not_before),
            not_after: time(own.validity().not_after),
            chain: linked(own, &chain),
        }))
    }

    /// Whole days until it expires, negative once it has.
    #[must_use]
    pub fn days_left(&self, now: SystemTime) -> i64 {
        let days = |duration: Duration| i64::try_from(duration.as_secs() / SECS_PER_DAY).unwrap_or(i64::MAX);
        match self.not_after.duration_since(now) {
            Ok(left) => days(left),
            Err(over) => -days(over.duration()) - 1,
        }
    }

    /// Whether the certificate is for `name`: a wildcard stands for one label (RFC 6125, section 6.4.3).
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let under = name.split_once('.').map(|(_, under)| under);
        self.names.iter().any(|own| match own.strip_prefix("*.") {
            Some(suffix) => under.is_some_and(|under| under.eq_ignore_ascii_case(suffix)),
            None => own.eq_ignore_ascii_case(name),
        })
    }
}

/// A certificate that is none.
#[derive(Debug)]
pub(crate) struct Unreadable;

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Unreadable> {
    match parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(Unreadable),
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    // Clients look at nothing else: the common name is out of use (RFC 9525, section 2).
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "mail addresses and the like name no server"
)]
fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
            let v6 = || <[u8; 16]>::try_from(*octets).map(|octets| IpAddr::from(Ipv6Addr::from(octets)));
            v4.or_else(|_| v6()).ok().map(|ip| ip.to_string())
        }
        _ => None,
    }
}

fn linked(own: &X509Certificate<'_>, chain: &[X509Certificate<'_>]) -> Chain {
    let is_issued_by_next = |pair: &[X509Certificate<'_>]| match pair {
        [issued, issuer] => issued.issuer().as_raw() == issuer.subject().as_raw(),
        _ => true,
    };
    match chain.len() {
        1 if own.issuer().as_raw() == own.subject().as_raw() => Chain::SelfSigned,
        1 => Chain::Alone,
        _ if chain.windows(2).all(is_issued_by_next) => Chain::Whole,
        _ => Chain::Broken,
    }
}

fn time(time: ASN1Time) -> SystemTime {
    let secs = Duration::from_secs(time.timestamp().unsigned_abs());
    let moved = if time.timestamp() < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(secs)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(secs)
    };
    moved.unwrap_or(SystemTime::UNIX_EPOCH)
}

const SECS_PER_DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
    };

    use super::*;

    fn own(names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 4, 1);
        params
    }

    fn ca(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().unwrap())
    }

    fn facts(chain: &[CertificateDer<'_>]) -> Facts {
        Facts::of(chain).unwrap().unwrap()
    }

    #[test]
    fn names_addresses_and_days_are_read() {
        let key = KeyPair::generate().unwrap();
        let params = own(&["A.example", "*.b.example", "192.0.2.1", "2001:db8::1"]);
        let facts = facts(&[params.self_signed(&key).unwrap().der().clone()]);
        assert_eq!(
            facts.names,
            ["a.example", "*.b.example", "192.0.2.1", "2001:db8::1"]
        );
        let day = Duration::from_secs(SECS_PER_DAY);
        let left = |now| facts.days_left(now);
        assert_eq!(left(facts.not_before), 90);
        assert_eq!(left(facts.not_after - day), 1);
        assert_eq!(left(facts.not_after - day + Duration::from_secs(1)), 0);
        assert_eq!(left(facts.not_after + Duration::from_secs(1)), -1);
        for name in ["a.example", "A.EXAMPLE", "x.b.example", "192.0.2.1"] {
            assert!(facts.is_for(name), "{name}");
        }
        for name in ["b.example", "x.y.b.example", "a.example.", ".b.example.c", ""] {
            assert!(!facts.is_for(name), "{name}");
        }
    }

    #[test]
    fn a_chain_is_whole_if_each_is_issued_by_the_next() {
        let (root, root_key) = ca("root");
        let (middle, middle_key) = ca("middle");
        let root_der = root.self_signed(&root_key).unwrap().der().clone();
        let root = Issuer::new(root, root_key);
        let middle_der = middle.signed_by(&middle_key, &root).unwrap().der().clone();
        let middle = Issuer::new(middle, middle_key);
        let key = KeyPair::generate().unwrap();
        let own_der = own(&["a.example"])
            .signed_by(&key, &middle)
            .unwrap()
            .der()
            .clone();
        let chain = |chain: &[&CertificateDer<'static>]| {
            facts(&chain.iter().map(|&der| der.clone()).collect::<Vec<_>>()).chain
        };
        assert_eq!(chain(&[&own_der]), Chain::Alone);
        assert_eq!(chain(&[&own_der, &middle_der]), Chain::Whole);
        assert_eq!(chain(&[&own_der, &middle_der, &root_der]), Chain::Whole);
        assert_eq!(chain(&[&own_der, &root_der]), Chain::Broken);
        assert_eq!(chain(&[&own_der, &root_der, &middle_der]), Chain::Broken);
        assert_eq!(chain(&[&root_der]), Chain::SelfSigned);
    }
}
