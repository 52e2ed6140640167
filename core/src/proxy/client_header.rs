//! The field of HTTP requests in which a proxy names the client: `X-Forwarded-For`, `Forwarded` (RFC 7239), or another one.

use alloc::borrow::{Cow, ToOwned as _};
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::str;

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_while1};
use nom::character::complete::{anychar, multispace0};
use nom::combinator::{opt, recognize};
use nom::multi::many0_count;
use nom::sequence::{delimited, preceded, separated_pair};
use nom::{IResult, Parser};

/// A field that names clients. Every name but `Forwarded` means a field as `X-Forwarded-For` is: addresses between commas, of
/// which there may be one alone, as in `CF-Connecting-IP` and `X-Real-IP`.
#[derive(Clone, Debug)]
pub struct ClientHeader {
    /// Invariant: a token of at most [`FIELD_NAME_MAX`] bytes.
    name: Cow<'static, str>,
    /// Whether it is written as RFC 7239 has it.
    has_parameters: bool,
}

impl ClientHeader {
    /// `X-Forwarded-For`.
    pub const X_FORWARDED_FOR: Self = Self {
        name: Cow::Borrowed("X-Forwarded-For"),
        has_parameters: false,
    };

    /// The field called `name`, in whatever case.
    ///
    /// # Errors
    /// It is no name of a field.
    pub fn named(name: &str) -> Result<Self, BadFieldName> {
        if !(1..=FIELD_NAME_MAX).contains(&name.len()) || !name.bytes().all(is_token) {
            return Err(BadFieldName);
        }
        Ok(Self {
            name: Cow::Owned(name.to_owned()),
            has_parameters: name.eq_ignore_ascii_case("Forwarded"),
        })
    }

    /// The name, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whom a field of this name names, in its order; nothing in the place of what is no address: an obfuscated name,
    /// `unknown`, an element without `for`, and all from a malformed element on. Addresses are never mapped ones.
    pub fn addresses<'a>(&self, value: &'a [u8]) -> impl Iterator<Item = Option<IpAddr>> + use<'a> {
        let element = if self.has_parameters {
            forwarded_element
        } else {
            list_element
        };
        let mut rest = Some(value);
        core::iter::from_fn(move || {
            let (named, after) = element(rest?);
            rest = after;
            Some(named)
        })
        .flatten()
    }
}

impl PartialEq for ClientHeader {
    fn eq(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
    }
}

impl Eq for ClientHeader {}

/// A name of a field that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadFieldName;

impl fmt::Display for BadFieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the name of a header field, such as X-Forwarded-For, Forwarded or CF-Connecting-IP: 1 to {FIELD_NAME_MAX} \
             letters, digits and !#$%&'*+-.^_`|~"
        )
    }
}

impl core::error::Error for BadFieldName {}

/// Bytes of the name of a field: twice the longest in use.
pub const FIELD_NAME_MAX: usize = 64;

/// An element of a value, and what comes after its comma. The element is `None` if it is empty and means nothing, `Some(None)`
/// if it names no address.
type Element<'a> = (Option<Option<IpAddr>>, Option<&'a [u8]>);

/// An element between commas.
fn list_element(input: &[u8]) -> Element<'_> {
    let (element, after) = match input.iter().position(|byte| *byte == b',') {
        Some(comma) => (input.get(..comma), input.get(comma + 1..)),
        None => (Some(input), None),
    };
    let element = element.unwrap_or_default().trim_ascii();
    let named = (!element.is_empty()).then(|| address(element));
    (named, after)
}

/// An element of `Forwarded`. After a malformed one it is not known where others begin.
fn forwarded_element(input: &[u8]) -> Element<'_> {
    let (mut rest, mut named, mut is_empty) = (input, None, true);
    loop {
        let Ok((after, pair)) = pair(rest) else {
            return (Some(None), None);
        };
        if let Some((name, node)) = pair {
            is_empty = false;
            if name.eq_ignore_ascii_case(b"for") {
                // A parameter that is there twice names nobody.
                named = Some(if named.is_none() { address(node) } else { None });
            }
        }
        rest = match after {
            [b';', after @ ..] => after,
            [b',', after @ ..] => return (element_of(named, is_empty), Some(after)),
            [] => return (element_of(named, is_empty), None),
            _ => return (Some(None), None),
        };
    }
}

fn element_of(named: Option<Option<IpAddr>>, is_empty: bool) -> Option<Option<IpAddr>> {
    (!is_empty).then(|| named.flatten())
}

/// A parameter and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// A parameter and its value without quotes, if one is there. The space around it may be that of a folded line. A value need not
/// be quoted where that does no harm.
fn pair(input: &[u8]) -> IResult<&[u8], Option<Pair<'_>>> {
    let quoted = delimited(
        tag(&b"\""[..]),
        recognize(many0_count(alt((
            is_not(&b"\\\""[..]).map(|_| ()),
            preceded(tag(&b"\\"[..]), anychar).map(|_| ()),
        )))),
        tag(&b"\""[..]),
    );
    let plain = take_while1(|byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';'));
    let pair = separated_pair(take_while1(is_token), tag(&b"="[..]), alt((quoted, plain)));
    delimited(multispace0, opt(pair), multispace0).parse(input)
}

/// An address with or without brackets and port, which may be obfuscated (RFC 7239, section 6.2); a mapped one is unmapped.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(element).ok()?;
    let text = text.split_once(":_").map_or(text, |(node, _)| node);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let ip: Option<IpAddr> = text.parse().ok();
    let ip = ip.or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()));
    ip.or_else(|| bracketed().map(IpAddr::V6))
        .map(|ip| ip.to_canonical())
}

/// Whether a token may have this character (RFC 9110, section 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::{String, ToString as _};
    use std::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    fn addresses(name: &str, value: &str) -> Vec<String> {
        let header = ClientHeader::named(name).unwrap();
        let named = header.addresses(value.as_bytes());
        named
            .map(|ip| ip.map_or_else(|| "nobody".into(), |ip| ip.to_string()))
            .collect()
    }

    #[test]
    fn lists_are_read_in_every_form_of_address() {
        for (value, expected) in [
            ("", &[][..]),
            (" , ,", &[]),
            ("192.0.2.7", &["192.0.2.7"]),
            ("192.0.2.7:4711,2001:db8::7", &["192.0.2.7", "2001:db8::7"]),
            ("[2001:db8::7], [2001:db8::8]:1", &["2001:db8::7", "2001:db8::8"]),
            ("::ffff:192.0.2.7", &["192.0.2.7"]),
            ("unknown, 192.0.2.7", &["nobody", "192.0.2.7"]),
            ("192.0.2.7 192.0.2.8", &["nobody"]),
            ("for=192.0.2.7", &["nobody"]),
        ] {
            assert_eq!(addresses("X-Real-IP", value), expected, "{value}");
        }
    }

    #[test]
    fn forwarded_is_read_with_quotes_ports_and_obfuscated_names() {
        for (value, expected) in [
            ("", &[][..]),
            (" ,; ,", &[]),
            ("for=192.0.2.7", &["192.0.2.7"]),
            ("For=\"[2001:db8:cafe::17]:4711\"", &["2001:db8:cafe::17"]),
            ("for=\"192.0.2.7:_gazonk\"", &["192.0.2.7"]),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", &["192.0.2.60"]),
            (
                "for=192.0.2.43, for=198.51.100.17",
                &["192.0.2.43", "198.51.100.17"],
            ),
            (
                "host=\"a,b;for=1.1.1.1\" ; for=192.0.2.7 ,FOR=\"[2001:db8::7]\"",
                &["192.0.2.7", "2001:db8::7"],
            ),
            (
                "for=[2001:db8::7],for=2001:db8::8",
                &["2001:db8::7", "2001:db8::8"],
            ),
            ("for=\"::ffff:192.0.2.7\"", &["192.0.2.7"]),
            ("for=_hidden, for=192.0.2.7", &["nobody", "192.0.2.7"]),
            ("for=unknown", &["nobody"]),
            ("proto=https", &["nobody"]),
            ("for=192.0.2.7;for=192.0.2.8", &["nobody"]),
            // Whoever opens a quote cannot hide in it what the proxy adds.
            ("for=192.0.2.7, for=\"x, for=9.9.9.9", &["192.0.2.7", "nobody"]),
            ("for=1.1.1.1;x=\", for=\"[2001:db8::7]\"", &["nobody"]),
            ("for=\"192.0.2.7\\\", for=192.0.2.8", &["nobody"]),
            ("for = 192.0.2.7, for=192.0.2.8", &["nobody"]),
            ("192.0.2.7, for=192.0.2.8", &["nobody"]),
        ] {
            assert_eq!(addresses("forwarded", value), expected, "{value}");
        }
    }

    #[test]
    fn names_are_tokens_of_some_length() {
        assert_eq!(
            ClientHeader::named("x-forwarded-for"),
            Ok(ClientHeader::X_FORWARDED_FOR)
        );
        assert_eq!(ClientHeader::named("Forwarded").unwrap().name(), "Forwarded");
        for name in ["", "X Forwarded", "Forwarded:", "\u{e4}", &"x".repeat(65)] {
            assert_eq!(ClientHeader::named(name), Err(BadFieldName), "{name}");
        }
        assert!(BadFieldName.to_string().contains("64"));
    }

    quickcheck! {
        fn any_address_is_read_back(ips: Vec<IpAddr>, port: Option<u16>) -> bool {
            let expected: Vec<_> = ips.iter().map(|ip| Some(ip.to_canonical())).collect();
            let written = |quote: &dyn Fn(String) -> String| -> String {
                let texts = ips.iter().map(|ip| quote(match port {
                    Some(port) => SocketAddr::new(*ip, port).to_string(),
                    None => ip.to_string(),
                }));
                texts.collect::<Vec<_>>().join(", ")
            };
            let list = written(&|text| text);
            let forwarded = written(&|text| format!("proto=https;for=\"{text}\""));
            let read = |name: &str, value: &str| -> Vec<_> {
                ClientHeader::named(name).unwrap().addresses(value.as_bytes()).collect()
            };
            read("X-Forwarded-For", &list) == expected && read("Forwarded", &forwarded) == expected
        }

        fn any_bytes_are_read_to_their_end(value: Vec<u8>) -> bool {
            let commas = value.iter().filter(|byte| **byte == b',').count();
            ["X", "Forwarded"]
                .iter()
                .all(|name| ClientHeader::named(name).unwrap().addresses(&value).count() <= commas + 1)
        }
    }
}
