//! Magnet links (BEP 9, BEP 53): a torrent and its trackers in one.

use std::fmt;

use data_encoding::BASE32;
use etracker_core::InfoHash;

use crate::target::{BadUrl, Target};

/// What a magnet link tells that matters to a tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Magnet {
    pub(crate) info_hash: InfoHash,
    /// The trackers that can be asked, in the order of the link. Invariant: at least one.
    pub(crate) trackers: Vec<Target>,
    /// Those that cannot, and why.
    pub(crate) left_out: Vec<(String, BadUrl)>,
}

impl Magnet {
    /// Whether `text` means to be a magnet link.
    pub(crate) fn is_meant(text: &str) -> bool {
        let scheme = text.split(':').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("magnet")
    }

    /// Understands a link.
    pub(crate) fn read(link: &str) -> Result<Self, BadMagnet> {
        let (_, query) = link.split_once(":?").ok_or(BadMagnet::NoLink)?;
        let (mut v1, mut v2) = (None, None);
        let (mut trackers, mut left_out) = (Vec::new(), Vec::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            // Names may be numbered: tr.1, tr.2.
            match name.split('.').next().unwrap_or_default() {
                "xt" => {
                    v1 = v1.or(topic(&value, "urn:btih:", v1_hash)?);
                    v2 = v2.or(topic(&value, "urn:btmh:", v2_hash)?);
                }
                "tr" => match value.parse() {
                    Ok(target) => trackers.push(target),
                    Err(fault) => left_out.push((value.into_owned(), fault)),
                },
                _ => {}
            }
        }
        let info_hash = v1.or(v2).ok_or(BadMagnet::NoTorrent)?;
        if trackers.is_empty() {
            let needs_tls = left_out.iter().any(|(_, fault)| *fault == BadUrl::Tls);
            return Err(if needs_tls {
                BadMagnet::TlsAlone
            } else {
                BadMagnet::NoTracker
            });
        }
        Ok(Self {
            info_hash,
            trackers,
            left_out,
        })
    }
}

/// The info-hash of a topic that begins with `urn`; of other topics nothing.
fn topic(
    value: &str,
    urn: &str,
    hash: impl FnOnce(&str) -> Option<InfoHash>,
) -> Result<Option<InfoHash>, BadMagnet> {
    match value.split_at_checked(urn.len()) {
        Some((start, digits)) if start.eq_ignore_ascii_case(urn) => {
            hash(digits).map(Some).ok_or(BadMagnet::BadTorrent)
        }
        _ => Ok(None),
    }
}

/// 40 hexadecimal digits, or 32 of base 32.
fn v1_hash(digits: &str) -> Option<InfoHash> {
    if digits.len() == 40 {
        return InfoHash::from_hex(digits.as_bytes());
    }
    let bytes = BASE32.decode(digits.to_ascii_uppercase().as_bytes()).ok()?;
    bytes.try_into().ok().map(InfoHash)
}

/// 64 hexadecimal digits after what says that they are SHA-256 (a multihash).
fn v2_hash(digits: &str) -> Option<InfoHash> {
    let digits = digits.strip_prefix("1220").filter(|digits| digits.len() == 64)?;
    InfoHash::from_hex(digits.as_bytes())
}

/// What is wrong with a magnet link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadMagnet {
    NoLink,
    NoTorrent,
    BadTorrent,
    NoTracker,
    TlsAlone,
}

impl fmt::Display for BadMagnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoLink => "a magnet link begins with magnet:?",
            Self::NoTorrent => "the magnet link names no torrent: it needs xt=urn:btih:INFO-HASH",
            Self::BadTorrent => {
                "the info-hash of the magnet link is none: btih has 40 hexadecimal or 32 base-32 digits, btmh has 1220 and 64 hexadecimal digits"
            }
            Self::NoTracker => "the magnet link names no tracker by an http://, https:// or udp:// URL (tr=URL)",
            Self::TlsAlone => {
                "the trackers of the magnet link are at https:// alone, and this build has no TLS (feature tls)"
            }
        })
    }
}

impl std::error::Error for BadMagnet {}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef01234567";

    fn hash() -> InfoHash {
        InfoHash::from_hex(HEX.as_bytes()).unwrap()
    }

    #[test]
    fn a_link_names_a_torrent_in_either_base_and_its_trackers() {
        let base32 = BASE32.encode(&hash().0);
        for hash_text in [HEX.to_owned(), HEX.to_uppercase(), base32.to_lowercase(), base32] {
            let link = format!(
                "magnet:?xt=urn:btih:{hash_text}&dn=a+name&tr=udp%3A%2F%2Ft.example%3A6969&tr.2=wss://s.example/announce&tr=http://h.example/announce%3Fa%3Db"
            );
            assert!(Magnet::is_meant(&link));
            let magnet = Magnet::read(&link).unwrap();
            assert_eq!(magnet.info_hash, hash(), "{link}");
            let urls: Vec<_> = magnet.trackers.iter().map(ToString::to_string).collect();
            assert_eq!(urls, ["udp://t.example:6969/", "http://h.example/announce?a=b"]);
            assert_eq!(
                magnet.left_out,
                [("wss://s.example/announce".to_owned(), BadUrl::Scheme)]
            );
        }
    }

    #[test]
    fn a_hybrid_torrent_is_asked_about_by_its_v1_hash_and_a_v2_torrent_by_its_own() {
        let v2 = "ab".repeat(32);
        let tracker = "tr=udp://t.example:1";
        let hybrid = format!("magnet:?xt=urn:btmh:1220{v2}&xt=urn:btih:{HEX}&{tracker}");
        assert_eq!(Magnet::read(&hybrid).unwrap().info_hash, hash());
        let pure = format!("MAGNET:?xt=urn:btmh:1220{v2}&{tracker}");
        assert_eq!(Magnet::read(&pure).unwrap().info_hash, InfoHash([0xab; 20]));
    }

    #[test]
    fn a_link_that_cannot_be_followed_says_what_it_lacks() {
        let torrent = format!("xt=urn:btih:{HEX}");
        for (link, fault) in [
            ("magnet:", BadMagnet::NoLink),
            ("magnet:?tr=udp://t.example:1", BadMagnet::NoTorrent),
            (
                "magnet:?xt=urn:sha1:AAAA&tr=udp://t.example:1",
                BadMagnet::NoTorrent,
            ),
            (
                "magnet:?xt=urn:btih:12&tr=udp://t.example:1",
                BadMagnet::BadTorrent,
            ),
            (
                "magnet:?xt=urn:btmh:1114aa&tr=udp://t.example:1",
                BadMagnet::BadTorrent,
            ),
            (&format!("magnet:?{torrent}"), BadMagnet::NoTracker),
            (
                &format!("magnet:?{torrent}&tr=wss://t.example"),
                BadMagnet::NoTracker,
            ),
        ] {
            assert_eq!(Magnet::read(link), Err(fault), "{link}");
        }
        let secured = Magnet::read(&format!("magnet:?{torrent}&tr=https://t.example/announce"));
        if cfg!(feature = "tls") {
            assert_eq!(secured.unwrap().trackers.len(), 1);
        } else {
            assert_eq!(secured, Err(BadMagnet::TlsAlone));
        }
    }
}
