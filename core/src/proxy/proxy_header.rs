//! The PROXY protocol, versions 1 and 2, as haproxy's `proxy-protocol.txt` has it.

use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::{self, FromStr};

use memchr::memchr;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_till1, take_while1};
use nom::bytes::streaming;
use nom::character::complete::char;
use nom::combinator::{all_consuming, rest, value};
use nom::number::complete::{be_u16, be_u32, be_u128};
use nom::number::streaming::{be_u8, be_u16 as be_u16_streamed};
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};

/// What a proxy puts in front of a connection or a datagram that it passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// It passes on what a client sent.
    Client {
        /// The client, never a mapped address.
        source: SocketAddr,
        /// What the client sent it to.
        destination: SocketAddr,
    },
    /// It names no client: it speaks for itself, as to check the tracker's health (`LOCAL`), or for one without an Internet
    /// address (`UNKNOWN`, `AF_UNSPEC`, `AF_UNIX`).
    Nobody,
}

impl ProxyHeader {
    /// Reads the header that `input` begins with, and says how many bytes it takes; `None` if more have to come to tell. The
    /// transport that it names is not looked at: nginx writes `TCP4` in front of datagrams too. TLVs are skipped.
    ///
    /// # Errors
    /// What is wrong with it. [`ProxyFault::Absent`] if there is none.
    pub fn decode(input: &[u8]) -> Result<Option<(Self, usize)>, ProxyFault> {
        let read = match input.first() {
            None => return Ok(None),
            Some(b'P') => version_1(input),
            Some(_) => version_2(input),
        };
        match read {
            Ok((rest, header)) => Ok(Some((header, input.len() - rest.len()))),
            Err(nom::Err::Incomplete(_)) => Ok(None),
            Err(nom::Err::Error(fault) | nom::Err::Failure(fault)) => Err(fault.0),
        }
    }

    /// The client, if one is named.
    #[must_use]
    pub const fn client(&self) -> Option<SocketAddr> {
        match self {
            Self::Client { source, .. } => Some(*source),
            Self::Nobody => None,
        }
    }

    /// Writes the line of version 1.
    pub fn encode_v1(&self, out: &mut Vec<u8>) {
        let line = match *self {
            Self::Client { source, destination } => {
                let (family, from, to) = match (source.ip(), destination.ip()) {
                    (from @ IpAddr::V4(_), to @ IpAddr::V4(_)) => ("TCP4", from, to),
                    (from, to) => ("TCP6", mapped(from).into(), mapped(to).into()),
                };
                let (source, destination) = (source.port(), destination.port());
                format!("PROXY {family} {from} {to} {source} {destination}\r\n")
            }
            Self::Nobody => "PROXY UNKNOWN\r\n".into(),
        };
        out.extend_from_slice(line.as_bytes());
    }

    /// Writes the header of version 2 for `transport`, with `tlvs` behind the addresses as they are. False, and nothing is
    /// written, if they are too long for it.
    pub fn encode_v2(&self, transport: Transport, tlvs: &[u8], out: &mut Vec<u8>) -> bool {
        let mut body = Vec::new();
        let (command, family) = match *self {
            Self::Client { source, destination } => (
                PROXY,
                encode_addresses(source, destination, &mut body) | transport as u8,
            ),
            Self::Nobody => (LOCAL, UNSPECIFIED),
        };
        body.extend_from_slice(tlvs);
        let Ok(len) = u16::try_from(body.len()) else {
            return false;
        };
        out.extend_from_slice(SIGNATURE);
        out.extend_from_slice(&[command, family]);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&body);
        true
    }
}

/// What a header of version 2 stands in front of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Transport {
    /// A connection.
    Stream = 1,
    /// One datagram.
    Datagram = 2,
}

/// Why there is no header that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyFault {
    /// The bytes do not begin as a header of the PROXY protocol.
    Absent,
    /// The line of version 1 is not as it has to be, or longer than 107 bytes.
    Line,
    /// It is neither version 1 nor 2.
    Version,
    /// The command of version 2 is neither `LOCAL` nor `PROXY`.
    Command,
    /// The family or the transport of version 2 is unknown.
    Family,
    /// The length of version 2 is too short for the addresses of its family.
    Length,
    /// The header is longer than [`PROXY_HEADER_MAX`].
    TooLong,
}

impl fmt::Display for ProxyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no header of the PROXY protocol"),
            Self::Line => f.write_str("the line of the PROXY protocol is malformed"),
            Self::Version => f.write_str("neither version 1 nor 2 of the PROXY protocol"),
            Self::Command => f.write_str("an unknown command of the PROXY protocol"),
            Self::Family => f.write_str("an unknown family or transport of the PROXY protocol"),
            Self::Length => f.write_str("a header of the PROXY protocol that is too short for its addresses"),
            Self::TooLong => write!(
                f,
                "a header of the PROXY protocol of more than {PROXY_HEADER_MAX} bytes"
            ),
        }
    }
}

impl core::error::Error for ProxyFault {}

/// Bytes of the longest header that is read: room for the addresses and some certificates in TLVs.
pub const PROXY_HEADER_MAX: usize = 8 * 1024;

/// A fault as parsers hand it on.
#[derive(Debug)]
struct Flaw(ProxyFault);

impl<I> nom::error::ParseError<I> for Flaw {
    fn from_error_kind(_: I, _: nom::error::ErrorKind) -> Self {
        Self(ProxyFault::Absent)
    }

    fn append(_: I, _: nom::error::ErrorKind, other: Self) -> Self {
        other
    }
}

fn fail<T>(fault: ProxyFault) -> Result<T, nom::Err<Flaw>> {
    Err(nom::Err::Failure(Flaw(fault)))
}

fn version_1(input: &[u8]) -> IResult<&[u8], ProxyHeader, Flaw> {
    let (after, _) = streaming::tag(&b"PROXY "[..]).parse(input)?;
    let line_max = LINE_MAX - (input.len() - after.len());
    let Some(end) = memchr(b'\n', after.get(..line_max).unwrap_or(after)) else {
        return match after.len() < line_max {
            true => Err(nom::Err::Incomplete(nom::Needed::Unknown)),
            false => fail(ProxyFault::Line),
        };
    };
    let (line, after) = after.split_at_checked(end + 1).unwrap_or((after, &[]));
    let fields = line.strip_suffix(b"\r\n").unwrap_or_default();
    match all_consuming(line_fields).parse(fields) {
        Ok((_, header)) => Ok((after, header)),
        Err(_) => fail(ProxyFault::Line),
    }
}

/// What stands behind `PROXY`.
fn line_fields(input: &[u8]) -> IResult<&[u8], ProxyHeader> {
    alt((
        preceded(tag(&b"TCP4 "[..]), line_addresses::<Ipv4Addr>),
        preceded(tag(&b"TCP6 "[..]), line_addresses::<Ipv6Addr>),
        value(ProxyHeader::Nobody, (tag(&b"UNKNOWN"[..]), rest)),
    ))
    .parse(input)
}

fn line_addresses<A: FromStr + Into<IpAddr>>(input: &[u8]) -> IResult<&[u8], ProxyHeader> {
    let address = || take_till1(|byte| byte == b' ').map_opt(parsed::<A>);
    let digits = || take_while1(|byte: u8| byte.is_ascii_digit()).map_opt(parsed::<u16>);
    let spaced = (
        terminated(address(), char(' ')),
        terminated(address(), char(' ')),
        terminated(digits(), char(' ')),
        digits(),
    );
    spaced
        .map(|(source, destination, from, to)| client(source.into(), from, destination.into(), to))
        .parse(input)
}

fn parsed<T: FromStr>(text: &[u8]) -> Option<T> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn version_2(input: &[u8]) -> IResult<&[u8], ProxyHeader, Flaw> {
    let (after, (_, command)) = (streaming::tag(SIGNATURE), be_u8).parse(input)?;
    match command {
        LOCAL | PROXY => {}
        _ if command >> 4 == 2 => return fail(ProxyFault::Command),
        _ => return fail(ProxyFault::Version),
    }
    let (after, (family, len)) = (be_u8, be_u16_streamed).parse(after)?;
    let Some(addresses_len) = addresses_len(family) else {
        return fail(ProxyFault::Family);
    };
    let len = usize::from(len);
    if len < addresses_len && command == PROXY {
        return fail(ProxyFault::Length);
    }
    if input.len() - after.len() + len > PROXY_HEADER_MAX {
        return fail(ProxyFault::TooLong);
    }
    let (after, body) = streaming::take(len).parse(after)?;
    // What a proxy says of its own connection is not looked at, as the specification has it.
    let header = match command {
        PROXY => addresses(family, body).unwrap_or(ProxyHeader::Nobody),
        _ => ProxyHeader::Nobody,
    };
    Ok((after, header))
}

/// Bytes of the addresses of a family and transport; nothing if these are unknown.
const fn addresses_len(family: u8) -> Option<usize> {
    match family {
        UNSPECIFIED => Some(0),
        0x11 | 0x12 => Some(12),
        0x21 | 0x22 => Some(36),
        0x31 | 0x32 => Some(216),
        _ => None,
    }
}

/// The client of a header with Internet addresses.
fn addresses(family: u8, body: &[u8]) -> Option<ProxyHeader> {
    let v4 = || be_u32.map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits)));
    let v6 = || be_u128.map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)));
    let read: IResult<_, _> = match family & 0xf0 {
        INET => (v4(), v4(), be_u16, be_u16).parse(body),
        INET6 => (v6(), v6(), be_u16, be_u16).parse(body),
        _ => return None,
    };
    let (_, (source, destination, from, to)) = read.ok()?;
    Some(client(source, from, destination, to))
}

/// Writes both addresses, and gives their family.
fn encode_addresses(source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) -> u8 {
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice([from.octets(), to.octets()].as_flattened());
            INET
        }
        (from, to) => {
            out.extend_from_slice([mapped(from).octets(), mapped(to).octets()].as_flattened());
            INET6
        }
    };
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()];
    out.extend_from_slice(ports.as_flattened());
    family
}

fn client(source: IpAddr, from: u16, destination: IpAddr, to: u16) -> ProxyHeader {
    ProxyHeader::Client {
        source: SocketAddr::new(source.to_canonical(), from),
        destination: SocketAddr::new(destination.to_canonical(), to),
    }
}

const fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Bytes of the longest line of version 1, its end included.
const LINE_MAX: usize = 107;
/// What version 2 begins with: no protocol does that takes lines.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and the command for what the proxy does on its own.
const LOCAL: u8 = 0x20;
/// Version 2, and the command for what it passes on.
const PROXY: u8 = 0x21;
/// No family, and no transport.
const UNSPECIFIED: u8 = 0;
const INET: u8 = 0x10;
const INET6: u8 = 0x20;

#[cfg(test)]
mod tests {
    use alloc::vec;
    use std::string::ToString as _;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    impl Arbitrary for ProxyHeader {
        fn arbitrary(g: &mut Gen) -> Self {
            if u8::arbitrary(g) % 8 == 0 {
                return Self::Nobody;
            }
            // Both ends of a connection are of one family, but for the proxy that translates.
            let (source, mut destination) = (IpAddr::arbitrary(g), IpAddr::arbitrary(g));
            if bool::arbitrary(g) {
                destination = source;
            }
            client(source, u16::arbitrary(g), destination, u16::arbitrary(g))
        }
    }

    fn v1(text: &str) -> Result<Option<(ProxyHeader, usize)>, ProxyFault> {
        ProxyHeader::decode(text.as_bytes())
    }

    fn v2(
        command: u8,
        family: u8,
        len: u16,
        body: &[u8],
    ) -> Result<Option<(ProxyHeader, usize)>, ProxyFault> {
        let head = [command, family];
        ProxyHeader::decode(&[SIGNATURE, &head, &len.to_be_bytes(), body].concat())
    }

    fn from(source: &str, destination: &str) -> ProxyHeader {
        ProxyHeader::Client {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    #[test]
    fn lines_of_version_1_name_the_client() {
        for (line, header) in [
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n",
                from("192.0.2.7:56324", "198.51.100.1:443"),
            ),
            (
                "PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n",
                from("[2001:db8::7]:1", "[2001:db8::1]:65535"),
            ),
            (
                "PROXY TCP6 ::ffff:192.0.2.7 ::1 0 0\r\n",
                from("192.0.2.7:0", "[::1]:0"),
            ),
            ("PROXY UNKNOWN\r\n", ProxyHeader::Nobody),
            (
                "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
                ProxyHeader::Nobody,
            ),
        ] {
            assert_eq!(v1(line), Ok(Some((header, line.len()))), "{line}");
            let more = [line, "GET / HTTP/1.1\r\n"].concat();
            assert_eq!(v1(&more), Ok(Some((header, line.len()))), "{line}");
        }
    }

    #[test]
    fn lines_that_are_not_as_they_have_to_be_are_refused() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.07 198.51.100.1 1 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
            "PROXY tcp4 192.0.2.7 198.51.100.1 1 2\r\n",
        ] {
            assert_eq!(v1(line), Err(ProxyFault::Line), "{line}");
        }
        let long = ["PROXY UNKNOWN ", &"x".repeat(LINE_MAX)].concat();
        assert_eq!(v1(&long), Err(ProxyFault::Line));
        assert_eq!(v1(long.get(..LINE_MAX - 1).unwrap()), Ok(None));
        assert_eq!(v1(long.get(..LINE_MAX).unwrap()), Err(ProxyFault::Line));
    }

    #[test]
    fn what_begins_otherwise_is_no_header() {
        for text in [
            "GET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\n",
            "PROXYTCP4",
            "\r\nGET /",
            "\r\n\r\n\r\n",
            "\x16\x03\x01",
            "proxy TCP4",
        ] {
            assert_eq!(v1(text), Err(ProxyFault::Absent), "{text:?}");
        }
        for begun in ["", "P", "PROXY", "PROXY TCP4 1", "\r", "\r\n\r\n\0\r\nQUIT"] {
            assert_eq!(v1(begun), Ok(None), "{begun:?}");
        }
    }

    #[test]
    fn version_2_names_the_client_whatever_the_transport_and_whatever_follows_the_addresses() {
        let body = [192, 0, 2, 7, 198, 51, 100, 1, 0x1a, 0xe1, 0, 80];
        let header = from("192.0.2.7:6881", "198.51.100.1:80");
        let with_tlvs = [&body[..], &[0xea, 0, 2, 1, 2, 0x04, 0xff]].concat();
        for family in [0x11, 0x12] {
            assert_eq!(v2(PROXY, family, 12, &body), Ok(Some((header, 28))));
            assert_eq!(v2(PROXY, family, 19, &with_tlvs), Ok(Some((header, 35))));
        }
    }

    #[test]
    fn version_2_without_an_internet_address_names_nobody() {
        let nobody = |len: usize| Ok(Some((ProxyHeader::Nobody, 16 + len)));
        assert_eq!(v2(LOCAL, 0, 0, &[]), nobody(0));
        assert_eq!(v2(LOCAL, 0x11, 0, &[]), nobody(0));
        assert_eq!(v2(LOCAL, 0x11, 12, &[7; 12]), nobody(12));
        assert_eq!(v2(LOCAL, 0x21, 3, &[7; 3]), nobody(3));
        assert_eq!(v2(PROXY, 0, 0, &[]), nobody(0));
        assert_eq!(v2(PROXY, 0, 40, &[7; 40]), nobody(40));
        assert_eq!(v2(PROXY, 0x31, 216, &[b'/'; 216]), nobody(216));
        assert_eq!(v2(PROXY, 0x32, 300, &[b'/'; 300]), nobody(300));
    }

    #[test]
    fn version_2_is_refused_where_it_lies_or_is_unknown() {
        for (family, addresses) in [(0x11, 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216)] {
            let short = v2(PROXY, family, addresses - 1, &[0; 400]);
            assert_eq!(short, Err(ProxyFault::Length), "{family:x}");
            // What is said to follow has not come yet.
            assert_eq!(v2(PROXY, family, 300, &[0; 299]), Ok(None), "{family:x}");
        }
        assert_eq!(v2(0x22, 0x11, 12, &[0; 12]), Err(ProxyFault::Command));
        assert_eq!(v2(0x11, 0x11, 12, &[0; 12]), Err(ProxyFault::Version));
        assert_eq!(v2(0x31, 0x11, 12, &[0; 12]), Err(ProxyFault::Version));
        for family in [0x01, 0x10, 0x13, 0x20, 0x33, 0x41, 0xff] {
            assert_eq!(
                v2(PROXY, family, 12, &[0; 12]),
                Err(ProxyFault::Family),
                "{family:x}"
            );
        }
        let max = u16::try_from(PROXY_HEADER_MAX - 16).unwrap();
        assert_eq!(v2(PROXY, 0x11, max, &[0; 12]), Ok(None));
        assert_eq!(v2(PROXY, 0x11, max + 1, &[0; 12]), Err(ProxyFault::TooLong));
        assert!(ProxyFault::TooLong.to_string().contains("8192"));
    }

    fn both(header: ProxyHeader, transport: Transport, tlvs: &[u8]) -> [Vec<u8>; 2] {
        let (mut line, mut binary) = (vec![], vec![]);
        header.encode_v1(&mut line);
        assert!(header.encode_v2(transport, tlvs, &mut binary));
        [line, binary]
    }

    quickcheck! {
        fn headers_survive_being_written_and_read(header: ProxyHeader, datagram: bool, tlvs: Vec<u8>) -> bool {
            let tlvs = &tlvs[..tlvs.len().min(1000)];
            let transport = if datagram { Transport::Datagram } else { Transport::Stream };
            both(header, transport, tlvs)
                .iter()
                .all(|written| ProxyHeader::decode(written) == Ok(Some((header, written.len()))))
        }

        fn a_header_that_is_not_whole_is_waited_for(header: ProxyHeader, tlvs: u8) -> bool {
            both(header, Transport::Stream, &vec![7; tlvs.into()])
                .iter()
                .all(|written| (0..written.len()).all(|len| ProxyHeader::decode(&written[..len]) == Ok(None)))
        }

        fn tlvs_that_are_too_long_are_not_written(header: ProxyHeader) -> bool {
            let mut out = vec![];
            !header.encode_v2(Transport::Stream, &vec![0; 65_536], &mut out) && out.is_empty()
        }
    }
}
