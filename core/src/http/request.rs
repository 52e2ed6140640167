//! Heads of HTTP requests (RFC 9112). Only heads with an ambiguous meaning are refused.

use alloc::vec::Vec;
use core::fmt;

use memchr::{memchr, memchr3};
use nom::bytes::complete::{tag, tag_no_case, take_till, take_while1};
use nom::character::complete::{one_of, satisfy, space1};
use nom::combinator::{eof, opt, recognize};
use nom::error::{Error, ErrorKind};
use nom::multi::many0_count;
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};

/// A request, borrowed from its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The path of the target, as it was sent.
    pub path: &'a [u8],
    /// The query of the target without its `?`, as it was sent; empty if there is none.
    pub query: &'a [u8],
    /// The version of the protocol.
    pub version: Version,
    /// Whether a `Connection` field holds the token `close`.
    pub close: bool,
    /// Whether a `Connection` field holds the token `keep-alive`.
    pub keep_alive: bool,
    /// Whether a body may follow. It is never read, and the connection closes: to find its end is where request smuggling
    /// begins (RFC 9112, section 11.2).
    pub body: bool,
    /// Whether there is a field by which proxies name the client: `X-Forwarded-For`, `Forwarded` (RFC 7239), `X-Real-IP` or
    /// `CF-Connecting-IP`.
    pub forwarded: bool,
    /// Invariant: a head that was parsed.
    head: &'a [u8],
}

impl<'a> Request<'a> {
    /// Parses a head, the empty line at its end included. Takes time linear in its length, and no memory.
    ///
    /// # Errors
    /// The part that is not valid HTTP.
    pub fn parse(head: &'a [u8]) -> Result<Self, RequestFault> {
        let (fields, line) = line(head).map_err(|_| RequestFault::RequestLine)?;
        let (target, method) = method(line).map_err(|_| RequestFault::RequestLine)?;
        let (version, target) = target_before_version(target).map_err(|_| RequestFault::RequestLine)?;
        let (_, version) = version_at_end(version).map_err(|_| RequestFault::Version)?;
        let (path, query) = path_and_query(target).ok_or(RequestFault::Target)?;
        let mut request = Self {
            method,
            path,
            query,
            version,
            close: false,
            keep_alive: false,
            body: false,
            forwarded: false,
            head,
        };
        let mut rest = fields;
        while empty_line(rest).is_err() {
            let (after, (name, value)) = field(rest).map_err(|_| RequestFault::Field)?;
            request.note(name, value);
            rest = after;
        }
        Ok(request)
    }

    /// The same request for another path.
    #[must_use]
    pub const fn at(self, path: &'a [u8]) -> Self {
        Self { path, ..self }
    }

    /// The values of all fields called `name`, in the order they came in.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = line(self.head).map_or([].as_slice(), |(fields, _)| fields);
        core::iter::from_fn(move || {
            let (after, found) = field(rest).ok()?;
            rest = after;
            Some(found)
        })
        .filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| value)
    }

    /// The host and port of a target in absolute-form, which come before those of `Host` (RFC 9112, section 3.2.2); `None` for
    /// a target in origin-form.
    #[must_use]
    pub fn authority(&self) -> Option<&'a [u8]> {
        // Looked for again, as only pages ask: to note it for each announce, or to call the parsers from a second place, takes
        // 20 instructions of a request.
        let mut words = self
            .head
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty());
        let target = words.nth(1)?;
        if target.starts_with(b"/") {
            return None;
        }
        // Any other target that was parsed is a URL of HTTP.
        let (_, after) = target.split_at_checked(target.windows(2).position(|pair| pair == b"//")?)?;
        after.get(2..)?.split(|byte| matches!(byte, b'/' | b'?')).next()
    }

    /// Whether the client leaves the connection open for another request.
    #[must_use]
    pub const fn wants_keep_alive(&self) -> bool {
        match self.version {
            Version::Http10 => self.keep_alive && !self.close,
            Version::Http11 => !self.close,
        }
    }

    /// Whether the client said that this is its last request.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self.method, Method::Get | Method::Head) && !self.wants_keep_alive() && !self.body
    }

    /// Evaluates a header field that governs the connection or names a proxy's client.
    fn note(&mut self, name: &[u8], value: &[u8]) {
        let is = |field: &[u8]| name.eq_ignore_ascii_case(field);
        // The length decides first: most fields are none of these, and a comparison of names costs more.
        match name.len() {
            10 if is(b"connection") => {
                for token in elements(value) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if is(b"content-length") => self.body |= value.trim_ascii() != b"0",
            17 if is(b"transfer-encoding") => self.body = true,
            9 => self.forwarded |= is(b"forwarded") || is(b"x-real-ip"),
            15 => self.forwarded |= is(b"x-forwarded-for"),
            16 => self.forwarded |= is(b"cf-connecting-ip"),
            _ => {}
        }
    }
}

/// Writes the head of a GET request, as the client called `agent` sends it. The connection closes after the answer.
pub fn encode_get(authority: &str, path: &str, query: &[u8], agent: &str, out: &mut Vec<u8>) {
    let pieces: [&[u8]; 9] = [
        b"GET ",
        path.as_bytes(),
        if path.contains('?') { b"&" } else { b"?" },
        query,
        b" HTTP/1.1\r\nHost: ",
        authority.as_bytes(),
        b"\r\nUser-Agent: ",
        agent.as_bytes(),
        b"\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n",
    ];
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
}

/// The methods that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: as GET, answered without a body.
    Head,
    /// Any other.
    Other,
}

/// The versions that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.0: the connection closes after the answer unless the client asks for more.
    Http10,
    /// 1.1, or a later 1.x.
    Http11,
}

/// Why a head is not valid HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestFault {
    /// The first line is not a method, a target and a version, or holds a NUL or a bare CR.
    RequestLine,
    /// The target is neither a path nor an absolute URL of HTTP.
    Target,
    /// The version is not 1.x.
    Version,
    /// A header field is not a name, a colon and a value, or holds a NUL or a bare CR.
    Field,
}

impl fmt::Display for RequestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestLine => {
                "the request line is not a method, a target and a version, or holds a NUL or a bare CR"
            }
            Self::Target => "the request target must be a path or an http URL",
            Self::Version => "only HTTP/1.0 and HTTP/1.1 are spoken here",
            Self::Field => "a header field is not a name, a colon and a value, or holds a NUL or a bare CR",
        })
    }
}

impl core::error::Error for RequestFault {}

/// Whether `byte` can begin neither a request nor typed text. It is of another protocol then, such as the 0x16 of a TLS
/// handshake or the 0x13 of a BitTorrent handshake.
pub(super) const fn is_foreign(byte: u8) -> bool {
    !matches!(byte, b'\r' | b'\n' | b' '..=b'~')
}

/// Finds the end of a head: the first empty line after its start. `scanned` is where the search continues, and moves on, so
/// that each byte is searched about once, however a head is split.
pub(super) fn head_end(input: &[u8], scanned: &mut usize) -> Option<usize> {
    loop {
        let rest = input.get(*scanned..)?;
        let Some(position) = memchr(b'\n', rest) else {
            *scanned = input.len();
            return None;
        };
        let line_end = *scanned + position + 1;
        match input.get(line_end..)? {
            [b'\n', ..] => return Some(line_end + 1),
            [b'\r', b'\n', ..] => return Some(line_end + 2),
            // The next bytes decide: search from this line end again.
            [] | [b'\r'] => {
                *scanned = line_end - 1;
                return None;
            }
            _ => *scanned = line_end,
        }
    }
}

/// The elements of a comma-separated value, trimmed, without empty ones (RFC 9110, section 5.6.1).
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// A line without its end, which may be a bare LF. A line with a NUL or a bare CR is refused: a proxy may see a line end there,
/// and another request (RFC 9112, section 2.2; RFC 9110, section 5.5).
pub(super) fn line(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let end = memchr3(b'\n', b'\r', b'\0', input).and_then(|end| input.split_at_checked(end));
    match end {
        Some((line, [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..])) => Ok((rest, line)),
        Some(_) | None => Err(nom::Err::Error(Error::new(input, ErrorKind::CrLf))),
    }
}

fn empty_line(input: &[u8]) -> IResult<&[u8], &[u8]> {
    recognize((opt(tag(&b"\r"[..])), tag(&b"\n"[..]))).parse(input)
}

fn method(input: &[u8]) -> IResult<&[u8], Method> {
    let (rest, name) = terminated(take_while1(is_token), space1).parse(input)?;
    let method = match name {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        _ => Method::Other,
    };
    Ok((rest, method))
}

fn target_before_version(input: &[u8]) -> IResult<&[u8], &[u8]> {
    terminated(take_while1(|byte| byte != b' '), space1).parse(input)
}

fn version_at_end(input: &[u8]) -> IResult<&[u8], Version> {
    let minor = satisfy(|digit| digit.is_ascii_digit());
    let (rest, minor) = delimited(tag(&b"HTTP/1."[..]), minor, eof).parse(input)?;
    let version = if minor == '0' {
        Version::Http10
    } else {
        Version::Http11
    };
    Ok((rest, version))
}

/// The path and the query of a target in origin-form or absolute-form (RFC 9112, section 3.2).
fn path_and_query(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let (target, is_url) = authority(target).map_or((target, false), |(rest, _)| (rest, true));
    let query_start = memchr(b'?', target);
    let (path, query) = match query_start.and_then(|start| target.split_at_checked(start)) {
        Some((path, query)) => (path, query.get(1..).unwrap_or_default()),
        None => (target, [].as_slice()),
    };
    match path.first() {
        Some(b'/') => Some((path, query)),
        // An absolute URL may have no path, which means `/`.
        None if is_url => Some((b"/", query)),
        Some(_) | None => None,
    }
}

fn authority(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let scheme = (
        tag_no_case(&b"http"[..]),
        opt(tag_no_case(&b"s"[..])),
        tag(&b"://"[..]),
    );
    preceded(scheme, take_till(|byte| byte == b'/' || byte == b'?')).parse(input)
}

/// A header field: its name, and its value with the space around it and, if it is folded, within it.
pub(super) fn field(input: &[u8]) -> IResult<&[u8], (&[u8], &[u8])> {
    let name = terminated(take_while1(is_token), tag(&b":"[..]));
    let folded = many0_count((one_of(" \t"), line));
    (name, recognize((line, folded))).parse(input)
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}
