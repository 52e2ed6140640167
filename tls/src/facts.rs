//! What a certificate says of itself.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::public_key::PublicKey;
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
    /// Who issued it: the common name, else the organisation, else all that its issuer's name holds.
    pub issuer: String,
    /// Its key, as `ECDSA 256`, `RSA 2048` or `Ed25519`.
    pub key: String,
    /// Why clients may refuse how it, or one of its chain, is signed.
    pub weakness: Option<Weakness>,
}

/// What is weak in a certificate, or in one of its chain. Displayed as words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Weakness {
    /// A signature with SHA-1 or MD5. That of a root, which nobody checks, does not count.
    Signature,
    /// An RSA key of fewer than 2048 bits.
    Key,
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signature => "signed with SHA-1 or MD5",
            Self::Key => "an RSA key of fewer than 2048 bits",
        })
    }
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
    /// Whether its own key is an RSA key that is too short.
    pub(crate) fn has_short_key(chain: &[CertificateDer<'_>]) -> bool {
        let own = chain.first().and_then(|own| parse(own).ok());
        own.is_some_and(|own| has_short_key(&own))
    }

    /// What the first of these certificates says; nothing if there is none.
    pub(crate) fn of(chain: &[CertificateDer<'_>]) -> Result<Option<Self>, Unreadable> {
        let chain: Vec<_> = chain.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(chain.first().map(|own| Self {
            names: names(own),
            not_before: time(own.validity().not_before),
            not_after: time(own.validity().not_after),
            chain: linked(own, &chain),
            issuer: issuer(own),
            key: key(own),
            weakness: chain.iter().find_map(weakness),
        }))
    }

    /// The time from when it is valid until it expires; nothing if it ends before it begins.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.not_after.duration_since(self.not_before).unwrap_or_default()
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

fn issuer(certificate: &X509Certificate<'_>) -> String {
    let issuer = certificate.issuer();
    let name = issuer.iter_common_name().chain(issuer.iter_organization()).next();
    let name = name
        .and_then(|name| name.as_str().ok())
        .filter(|name| !name.is_empty());
    let name = name.map_or_else(|| issuer.to_string(), str::to_owned);
    // It is shown in lines of text.
    name.replace(char::is_control, " ")
}

fn key(certificate: &X509Certificate<'_>) -> String {
    let key = certificate.public_key();
    match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => format!("RSA {}", rsa.key_size()),
        Ok(PublicKey::EC(point)) => format!("ECDSA {}", point.key_size()),
        _ if key.algorithm.algorithm.to_id_string() == ED25519 => "Ed25519".to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn weakness(certificate: &X509Certificate<'_>) -> Option<Weakness> {
    if has_short_key(certificate) {
        return Some(Weakness::Key);
    }
    let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
    let is_checked = certificate.issuer().as_raw() != certificate.subject().as_raw();
    (is_checked && BROKEN_SIGNATURES.contains(&algorithm.as_str())).then_some(Weakness::Signature)
}

fn has_short_key(certificate: &X509Certificate<'_>) -> bool {
    matches!(certificate.public_key().parsed(), Ok(PublicKey::RSA(rsa)) if rsa.key_size() < RSA_BITS_MIN)
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
/// Bits of an RSA key that clients accept (CA/Browser Forum, Baseline Requirements, section 6.1.5).
const RSA_BITS_MIN: usize = 2048;
/// RFC 8410, section 3.
const ED25519: &str = "1.3.101.112";
/// RSA with MD5 and with SHA-1 (RFC 8017, appendix A.2.4), ECDSA with SHA-1 (RFC 3279, section 2.2.3).
const BROKEN_SIGNATURES: [&str; 3] = [
    "1.2.840.113549.1.1.4",
    "1.2.840.113549.1.1.5",
    "1.2.840.10045.4.1",
];

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
    };

    use rustls::pki_types::pem::PemObject as _;

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
    fn issuer_key_and_life_are_told() {
        let (mut root, root_key) = ca("An Authority");
        let own_key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let issuer = Issuer::new(root.clone(), root_key);
        let own = own(&["a.example"]);
        let signed = facts(&[own.signed_by(&own_key, &issuer).unwrap().der().clone()]);
        assert_eq!((&*signed.issuer, &*signed.key), ("An Authority", "Ed25519"));
        assert_eq!(signed.life().as_secs(), 90 * SECS_PER_DAY);
        assert_eq!(signed.weakness, None);
        root.distinguished_name = DistinguishedName::new();
        root.distinguished_name
            .push(DnType::OrganizationName, "A\nCompany");
        let key = KeyPair::generate().unwrap();
        let own_issued = facts(&[root.self_signed(&key).unwrap().der().clone()]);
        assert_eq!(
            (&*own_issued.issuer, &*own_issued.key),
            ("A Company", "ECDSA 256")
        );
    }

    #[test]
    fn short_keys_and_broken_signatures_are_weak() {
        let chain = |pem| {
            let certificates = CertificateDer::pem_slice_iter(pem);
            certificates.map(Result::unwrap).collect::<Vec<_>>()
        };
        let short = facts(&chain(include_bytes!("testing/weak.pem")));
        assert_eq!((short.weakness, &*short.key), (Some(Weakness::Key), "RSA 1024"));
        let signed = chain(include_bytes!("testing/sha1.pem"));
        assert_eq!(facts(&signed).weakness, Some(Weakness::Signature));
        // The root alone: nobody checks its signature.
        let root = facts(&signed[1..]);
        assert_eq!((root.weakness, &*root.issuer), (None, "Old Authority"));
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
