//! The queries of announces (BEP 3, 7, 21, 23) and scrapes (BEP 48), both ways.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use memchr::memchr;

use super::HEAD_MAX;
use crate::announce::{Announce, Endpoint, Event};
use crate::bencode::Decimal;
use crate::{InfoHash, PeerId};

/// An announce and the requested form of its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceQuery {
    /// The announce.
    pub announce: Announce,
    /// The requested form of peers.
    pub form: PeerForm,
}

/// How peers are written in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerForm {
    /// Address and port in 6 or 18 bytes (BEP 23, BEP 7).
    Compact,
    /// A dictionary for each peer (BEP 3).
    Dictionaries {
        /// Whether the peer id is wanted.
        ids: bool,
    },
}

impl AnnounceQuery {
    /// Parses the query of a client at `ip`; addresses within the query are ignored.
    ///
    /// Parameters come in any order. Unknown ones are ignored. Of repeated ones the last counts: clients append theirs to the
    /// announce URL, which may have parameters too. A malformed `left` makes a leecher; a malformed `numwant`, `event` or
    /// `compact` is ignored.
    ///
    /// # Errors
    /// The first fault in the order of [`QueryFault`].
    pub fn parse(query: &[u8], ip: IpAddr) -> Result<Self, QueryFault> {
        let raw = RawAnnounce::collect(query)?;
        let event = match raw.event.map(Decoded::<9>::decode).transpose()? {
            Some(decoded) => event(decoded.whole().unwrap_or_default()),
            None => Event::None,
        };
        let ids = raw.no_peer_id.is_none_or(|value| value == b"0");
        let form = match raw.compact {
            Some(value) if Decoded::<1>::decode(value)?.whole() == Some(b"0") => {
                PeerForm::Dictionaries { ids }
            }
            _ => PeerForm::Compact,
        };
        let announce = Announce {
            info_hash: info_hash(raw.info_hash.ok_or(QueryFault::InfoHashMissing)?)?,
            peer_id: peer_id(raw.peer_id.ok_or(QueryFault::PeerIdMissing)?)?,
            peer: Endpoint {
                ip,
                port: port(raw.port, event)?,
            },
            left: match raw.left.map(number).transpose()? {
                Some(Number::Exact(left)) => left,
                Some(Number::TooLarge | Number::Garbage) | None => LEFT_UNKNOWN,
            },
            event,
            numwant: match raw.numwant.map(number).transpose()? {
                Some(Number::Exact(wanted)) => Some(u32::try_from(wanted).unwrap_or(u32::MAX)),
                Some(Number::TooLarge) => Some(u32::MAX),
                Some(Number::Garbage) | None => None,
            },
        };
        Ok(Self { announce, form })
    }

    /// Writes the query as a client does. The address is left out: it is that of the connection.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let announce = &self.announce;
        parameter(b"info_hash", &announce.info_hash.0, out);
        parameter(b"peer_id", &announce.peer_id.0, out);
        parameter_number(b"port", announce.peer.port.into(), out);
        parameter_number(b"uploaded", 0, out);
        parameter_number(b"downloaded", 0, out);
        parameter_number(b"left", announce.left, out);
        if let Some(event) = event_name(announce.event) {
            parameter(b"event", event, out);
        }
        if let Some(numwant) = announce.numwant {
            parameter_number(b"numwant", numwant.into(), out);
        }
        match self.form {
            PeerForm::Compact => parameter(b"compact", b"1", out),
            PeerForm::Dictionaries { ids } => {
                parameter(b"compact", b"0", out);
                if !ids {
                    parameter(b"no_peer_id", b"1", out);
                }
            }
        }
    }
}

/// The torrents of a scrape, in the order asked; none asks for all.
#[derive(Clone, Debug)]
pub struct ScrapeQuery {
    info_hashes: [InfoHash; SCRAPE_MAX],
    /// Invariant: at most [`SCRAPE_MAX`].
    len: usize,
}

impl ScrapeQuery {
    /// Parses a query. Parameters other than `info_hash` are ignored.
    ///
    /// # Errors
    /// An info-hash is malformed, or there are more than [`SCRAPE_MAX`].
    pub fn parse(query: &[u8]) -> Result<Self, QueryFault> {
        let mut parsed = Self {
            info_hashes: [InfoHash::default(); SCRAPE_MAX],
            len: 0,
        };
        for (name, value) in parameters(query) {
            if name == Name::InfoHash {
                let slot = parsed.info_hashes.get_mut(parsed.len);
                *slot.ok_or(QueryFault::InfoHashesTooMany)? = info_hash(value)?;
                parsed.len += 1;
            }
        }
        Ok(parsed)
    }

    /// Writes a query as a client does.
    pub fn encode(info_hashes: &[InfoHash], out: &mut Vec<u8>) {
        for info_hash in info_hashes {
            parameter(b"info_hash", &info_hash.0, out);
        }
    }

    /// Sorts the torrents and removes duplicates, as canonical bencode requires, and returns them.
    pub fn sorted(&mut self) -> &[InfoHash] {
        let asked = self.info_hashes.get_mut(..self.len).unwrap_or_default();
        asked.sort_unstable();
        self.len = unique(asked);
        self.info_hashes.get(..self.len).unwrap_or_default()
    }

    /// The torrents, in the order asked.
    #[must_use]
    pub fn info_hashes(&self) -> &[InfoHash] {
        self.info_hashes.get(..self.len).unwrap_or_default()
    }
}

/// Whether a query names a torrent: only clients send one.
#[must_use]
pub fn names_torrent(query: &[u8]) -> bool {
    parameters(query).any(|(name, _)| name == Name::InfoHash)
}

/// Why a query is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryFault {
    /// More than one info-hash in an announce.
    InfoHashRepeated,
    /// A value holds a `%` without two hexadecimal digits.
    Percent,
    /// No info-hash in an announce.
    InfoHashMissing,
    /// An info-hash of this many bytes.
    InfoHashLength(usize),
    /// No peer id.
    PeerIdMissing,
    /// A peer id of this many bytes.
    PeerIdLength(usize),
    /// No port.
    PortMissing,
    /// The port is not a decimal number.
    PortNotANumber,
    /// The port is above 65535.
    PortOutOfRange,
    /// More info-hashes in a scrape than [`SCRAPE_MAX`].
    InfoHashesTooMany,
}

impl fmt::Display for QueryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::InfoHashRepeated => f.write_str("an announce is for one info_hash"),
            Self::Percent => f.write_str("a % must be followed by two hexadecimal digits"),
            Self::InfoHashMissing => f.write_str("info_hash is missing"),
            Self::InfoHashLength(40) => f.write_str(
                "info_hash must be 20 bytes, not 40: send the bytes percent-encoded, not their hexadecimal digits",
            ),
            Self::InfoHashLength(32) => {
                f.write_str("info_hash must be 20 bytes, not 32: of a v2 hash send the first 20 (BEP 52)")
            }
            Self::InfoHashLength(len) => write!(f, "info_hash must be 20 bytes, not {len}"),
            Self::PeerIdMissing => f.write_str("peer_id is missing"),
            Self::PeerIdLength(len) => write!(f, "peer_id must be 20 bytes, not {len}"),
            Self::PortMissing => f.write_str("port is missing"),
            Self::PortNotANumber => f.write_str("port must be a decimal number from 0 to 65535"),
            Self::PortOutOfRange => f.write_str("port must be from 0 to 65535"),
            Self::InfoHashesTooMany => write!(f, "a scrape is for at most {SCRAPE_MAX} torrents"),
        }
    }
}

impl core::error::Error for QueryFault {}

/// Torrents in one scrape: as many as fit into a head, so that every scrape that fits is served.
pub const SCRAPE_MAX: usize = HEAD_MAX / "info_hash=01234567890123456789&".len();

/// `left` of a client that does not send it: such a client is a leecher, as only `left=0` makes a seeder.
const LEFT_UNKNOWN: u64 = u64::MAX;

/// The known parameters of an announce, still encoded.
#[derive(Clone, Copy, Debug, Default)]
struct RawAnnounce<'a> {
    info_hash: Option<&'a [u8]>,
    peer_id: Option<&'a [u8]>,
    port: Option<&'a [u8]>,
    left: Option<&'a [u8]>,
    event: Option<&'a [u8]>,
    numwant: Option<&'a [u8]>,
    compact: Option<&'a [u8]>,
    no_peer_id: Option<&'a [u8]>,
}

impl<'a> RawAnnounce<'a> {
    fn collect(query: &'a [u8]) -> Result<Self, QueryFault> {
        let mut raw = Self::default();
        for (name, value) in parameters(query) {
            let slot = match name {
                Name::InfoHash if raw.info_hash.is_some() => return Err(QueryFault::InfoHashRepeated),
                Name::InfoHash => &mut raw.info_hash,
                Name::PeerId => &mut raw.peer_id,
                Name::Port => &mut raw.port,
                Name::Left => &mut raw.left,
                Name::Event => &mut raw.event,
                Name::Numwant => &mut raw.numwant,
                Name::Compact => &mut raw.compact,
                Name::NoPeerId => &mut raw.no_peer_id,
            };
            *slot = Some(value);
        }
        Ok(raw)
    }
}

/// The known parameters of a query, with their encoded values.
fn parameters(query: &[u8]) -> impl Iterator<Item = (Name, &[u8])> {
    let mut rest = Some(query);
    let parameters = core::iter::from_fn(move || {
        let (parameter, after) = split_once(rest?, b'&');
        rest = after;
        Some(parameter)
    });
    parameters.filter_map(|parameter| {
        let (name, value) = split_once(parameter, b'=');
        Some((Name::of(name)?, value.unwrap_or_default()))
    })
}

/// The bytes before the first `separator`, and those after it if there is one.
fn split_once(bytes: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let split = memchr(separator, bytes).and_then(|position| bytes.split_at_checked(position));
    split.map_or((bytes, None), |(before, after)| (before, after.get(1..)))
}

/// A known parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    InfoHash,
    PeerId,
    Port,
    Left,
    Event,
    Numwant,
    Compact,
    NoPeerId,
}

impl Name {
    /// The parameter of this name. Names may be percent-encoded; one that cannot be decoded is unknown.
    fn of(name: &[u8]) -> Option<Self> {
        let spelled_out = || Self::plain(Decoded::<NAME_MAX>::decode(name).ok()?.whole()?);
        Self::plain(name).or_else(|| name.contains(&b'%').then(spelled_out)?)
    }

    const fn plain(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"info_hash" => Self::InfoHash,
            b"peer_id" => Self::PeerId,
            b"port" => Self::Port,
            b"left" => Self::Left,
            b"event" => Self::Event,
            b"numwant" => Self::Numwant,
            b"compact" => Self::Compact,
            b"no_peer_id" => Self::NoPeerId,
            _ => return None,
        })
    }
}

/// Bytes of the longest known name.
const NAME_MAX: usize = "no_peer_id".len();

/// A percent-decoded value (RFC 3986, section 2.1) of which the first `N` bytes are kept.
#[derive(Clone, Copy, Debug)]
struct Decoded<const N: usize> {
    bytes: [u8; N],
    /// Bytes of the whole value.
    len: usize,
}

impl<const N: usize> Decoded<N> {
    fn decode(value: &[u8]) -> Result<Self, QueryFault> {
        let mut decoded = Self {
            bytes: [0; N],
            len: 0,
        };
        for byte in bytes(value) {
            let byte = byte?;
            if let Some(slot) = decoded.bytes.get_mut(decoded.len) {
                *slot = byte;
            }
            decoded.len += 1;
        }
        Ok(decoded)
    }

    /// The value, if it is no longer than `N`.
    fn whole(&self) -> Option<&[u8]> {
        self.bytes.get(..self.len)
    }

    /// The value if it is exactly `N` bytes, otherwise its length.
    fn exact(self) -> Result<[u8; N], usize> {
        if self.len == N {
            Ok(self.bytes)
        } else {
            Err(self.len)
        }
    }
}

/// The decoded bytes of `value`. A `+` is a space: form encoders write it so (Python's `urlencode` and `requests`, Java's
/// `URLEncoder`, tracker checkers), while clients send 0x2B as `%2B`.
fn bytes(value: &[u8]) -> impl Iterator<Item = Result<u8, QueryFault>> {
    let mut rest = value.iter();
    core::iter::from_fn(move || {
        let byte = match *rest.next()? {
            b'%' => hex_digit(rest.next())
                .zip(hex_digit(rest.next()))
                .map(|(high, low)| high << 4 | low)
                .ok_or(QueryFault::Percent),
            b'+' => Ok(b' '),
            byte => Ok(byte),
        };
        Some(byte)
    })
}

fn hex_digit(digit: Option<&u8>) -> Option<u8> {
    let digit = *digit?;
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn info_hash(value: &[u8]) -> Result<InfoHash, QueryFault> {
    let bytes = Decoded::decode(value)?.exact();
    bytes.map(InfoHash).map_err(QueryFault::InfoHashLength)
}

fn peer_id(value: &[u8]) -> Result<PeerId, QueryFault> {
    let bytes = Decoded::decode(value)?.exact();
    bytes.map(PeerId).map_err(QueryFault::PeerIdLength)
}

/// The announced port. A client that leaves needs none, as no peer will connect to it.
fn port(value: Option<&[u8]>, event: Event) -> Result<u16, QueryFault> {
    let Some(value) = value else {
        return if event == Event::Stopped {
            Ok(0)
        } else {
            Err(QueryFault::PortMissing)
        };
    };
    let decoded = Decoded::<2>::decode(value)?;
    if decoded.len > 1 && decoded.bytes.starts_with(b"0") {
        return Err(QueryFault::PortNotANumber);
    }
    match number(value)? {
        Number::Exact(port) => u16::try_from(port).map_err(|_| QueryFault::PortOutOfRange),
        Number::TooLarge => Err(QueryFault::PortOutOfRange),
        Number::Garbage => Err(QueryFault::PortNotANumber),
    }
}

enum Number {
    Exact(u64),
    TooLarge,
    Garbage,
}

fn number(value: &[u8]) -> Result<Number, QueryFault> {
    let mut number = Some(0u64);
    let mut digits = 0usize;
    for byte in bytes(value) {
        let Some(digit) = char::from(byte?).to_digit(10) else {
            return Ok(Number::Garbage);
        };
        digits += 1;
        number = number
            .and_then(|number| number.checked_mul(10))
            .and_then(|number| number.checked_add(digit.into()));
    }
    Ok(match number {
        _ if digits == 0 => Number::Garbage,
        Some(number) => Number::Exact(number),
        None => Number::TooLarge,
    })
}

/// An unknown event counts as none, like `empty` and an absent one, so that it does not cost the announce.
const fn event(name: &[u8]) -> Event {
    match name {
        b"started" => Event::Started,
        b"stopped" => Event::Stopped,
        b"completed" => Event::Completed,
        b"paused" => Event::Paused,
        _ => Event::None,
    }
}

const fn event_name(event: Event) -> Option<&'static [u8]> {
    match event {
        Event::None => None,
        Event::Started => Some(b"started"),
        Event::Stopped => Some(b"stopped"),
        Event::Completed => Some(b"completed"),
        Event::Paused => Some(b"paused"),
    }
}

fn parameter(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b'&');
    }
    out.extend_from_slice(name);
    out.push(b'=');
    for &byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            let digits = [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
            out.push(b'%');
            out.extend(
                digits
                    .iter()
                    .flatten()
                    .map(|digit| digit.to_ascii_uppercase() as u8),
            );
        }
    }
}

fn parameter_number(name: &[u8], value: u64, out: &mut Vec<u8>) {
    parameter(name, Decimal::new(value).as_bytes(), out);
}

/// Moves the distinct elements of a sorted slice to its front, and returns their number.
fn unique(sorted: &mut [InfoHash]) -> usize {
    let mut kept = 0;
    for next in 0..sorted.len() {
        if kept == 0 || sorted.get(kept - 1) != sorted.get(next) {
            sorted.swap(kept, next);
            kept += 1;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    impl Arbitrary for AnnounceQuery {
        fn arbitrary(g: &mut Gen) -> Self {
            let forms = [
                PeerForm::Compact,
                PeerForm::Dictionaries { ids: false },
                PeerForm::Dictionaries { ids: true },
            ];
            let announce = Announce {
                info_hash: InfoHash(core::array::from_fn(|_| u8::arbitrary(g))),
                peer_id: PeerId(core::array::from_fn(|_| u8::arbitrary(g))),
                peer: Endpoint {
                    ip: IpAddr::arbitrary(g),
                    port: u16::arbitrary(g),
                },
                left: u64::arbitrary(g),
                event: Event::arbitrary(g),
                numwant: Option::arbitrary(g),
            };
            let form = *g.choose(&forms).unwrap();
            Self { announce, form }
        }
    }

    fn raw(bytes: &[u8]) -> Result<Vec<u8>, QueryFault> {
        super::bytes(bytes).collect()
    }

    quickcheck! {
        fn announces_round_trip(query: AnnounceQuery) -> bool {
            let mut encoded = Vec::new();
            query.encode(&mut encoded);
            AnnounceQuery::parse(&encoded, query.announce.peer.ip) == Ok(query)
        }

        fn announces_mean_the_same_in_any_order_and_among_others(query: AnnounceQuery, turn: usize) -> bool {
            let mut encoded = Vec::new();
            query.encode(&mut encoded);
            let mut parameters: Vec<&[u8]> = encoded.split(|byte| *byte == b'&').collect();
            parameters.push(b"");
            parameters.push(b"key=%zz&trackerid&info_hashes=1&%=&=");
            let turn = turn % parameters.len();
            parameters.rotate_left(turn);
            AnnounceQuery::parse(&parameters.join(&b'&'), query.announce.peer.ip) == Ok(query)
        }

        fn scrapes_round_trip(hashes: Vec<u8>) -> bool {
            let hashes: Vec<_> = hashes.iter().map(|byte| InfoHash([*byte; 20])).collect();
            let mut encoded = Vec::new();
            ScrapeQuery::encode(&hashes, &mut encoded);
            let mut parsed = ScrapeQuery::parse(&encoded).unwrap();
            let sorted: BTreeSet<_> = hashes.iter().copied().collect();
            parsed.info_hashes() == hashes && parsed.sorted().iter().eq(&sorted)
        }

        fn any_bytes_are_parsed_or_refused(query: Vec<u8>, syntax: Vec<u8>) -> bool {
            let pieces = ["info_hash", "peer_id", "port", "left", "=", "&", "%", "0", "a", "\0"];
            let syntax: Vec<u8> =
                syntax.iter().flat_map(|byte| pieces[usize::from(byte % 10)].bytes()).collect();
            [query, syntax].iter().all(|query| {
                let ip = IpAddr::from([1, 2, 3, 4]);
                AnnounceQuery::parse(query, ip).is_err() && ScrapeQuery::parse(query).is_ok_and(|query| {
                    query.info_hashes().is_empty()
                }) || query.windows(9).any(|part| part == b"info_hash")
            })
        }
    }

    #[test]
    fn a_plus_is_a_space_and_a_percent_coded_one_a_plus() {
        assert_eq!(raw(b"+a+%2B+%20"), Ok(b" a +  ".to_vec()));
        let spaces = b"info_hash=++++++++++++++++++++&peer_id=+%2B++++++++++++++++++&port=1";
        let parsed = AnnounceQuery::parse(spaces, IpAddr::from([1, 2, 3, 4])).unwrap();
        assert_eq!(parsed.announce.info_hash, InfoHash([b' '; 20]));
        assert_eq!(parsed.announce.peer_id.0[..3], *b" + ");
        let scraped = ScrapeQuery::parse(b"info_hash=+%20++++++++++++++++++").unwrap();
        assert_eq!(scraped.info_hashes(), [InfoHash([b' '; 20])]);
    }

    #[test]
    fn percent_coding_is_exact() {
        assert_eq!(raw(b"%41%6a%4A%2b%00%ff%25"), Ok(b"AjJ+\0\xff%".to_vec()));
        for bad in ["%", "%4", "%zz", "%4z", "%-1", "% 1", "%%41", "%+1"] {
            assert_eq!(raw(bad.as_bytes()), Err(QueryFault::Percent), "{bad}");
        }
    }
}
