//! Heads of HTTP responses and how bodies are framed (RFC 9112), both ways.

use alloc::vec::Vec;
use core::fmt;

use nom::bytes::complete::tag;
use nom::character::complete::{satisfy, space1};
use nom::combinator::recognize;
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};

use super::request::{Method, Request, Version, field, head_end, line};
use crate::bencode::Decimal;
use crate::stats::Count;

/// The statuses of the tracker's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    ContentTooLarge,
    TooManyRequests,
    ServiceUnavailable,
}

impl Status {
    /// The count of answers with this status.
    pub(super) const fn count(self) -> Count {
        match self {
            Self::Ok => Count::Http200,
            Self::BadRequest => Count::Http400,
            Self::Forbidden => Count::Http403,
            Self::NotFound => Count::Http404,
            Self::MethodNotAllowed => Count::Http405,
            Self::RequestTimeout => Count::Http408,
            Self::ContentTooLarge => Count::Http413,
            Self::TooManyRequests => Count::Http429,
            Self::ServiceUnavailable => Count::Http503,
        }
    }

    /// The status line, with the header fields that belong to the status.
    const fn line(self) -> &'static [u8] {
        match self {
            Self::Ok => b"HTTP/1.1 200 OK\r\n",
            Self::BadRequest => b"HTTP/1.1 400 Bad Request\r\n",
            Self::Forbidden => b"HTTP/1.1 403 Forbidden\r\n",
            Self::NotFound => b"HTTP/1.1 404 Not Found\r\n",
            Self::MethodNotAllowed => b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n",
            Self::RequestTimeout => b"HTTP/1.1 408 Request Timeout\r\n",
            Self::ContentTooLarge => b"HTTP/1.1 413 Content Too Large\r\n",
            Self::TooManyRequests => b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n",
            Self::ServiceUnavailable => b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\n",
        }
    }
}

/// How an answer is framed on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Framing {
    /// Whether the connection stays open.
    pub(super) keep_alive: bool,
    /// Whether the body is sent, or only described (HEAD).
    pub(super) body: bool,
    /// Whether the client understands chunks.
    pub(super) chunks: bool,
}

impl Framing {
    /// The framing of the answer to a malformed request: the connection closes.
    pub(super) const CLOSE: Self = Self {
        keep_alive: false,
        body: true,
        chunks: false,
    };

    /// The framing that `request` allows, if `keep_alive` says that the tracker keeps connections open.
    pub(super) const fn of(request: &Request<'_>, keep_alive: bool) -> Self {
        Self {
            // The body of a request is not read, so the next request could not be found.
            keep_alive: keep_alive && request.wants_keep_alive() && !request.body,
            body: !matches!(request.method, Method::Head),
            chunks: matches!(request.version, Version::Http11),
        }
    }

    const fn connection(self) -> &'static [u8] {
        if self.keep_alive {
            b"Connection: keep-alive\r\n\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        }
    }
}

/// Writes a whole response to the start of `reply` and returns its length; `body` writes the body where it belongs.
/// `None` if it does not fit.
pub(super) fn encode(
    status: Status,
    framing: Framing,
    reply: &mut [u8],
    body: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> Option<usize> {
    let around = [
        status.line(),
        CONTENT_TYPE_TEXT,
        LENGTH,
        LINE_END,
        framing.connection(),
    ];
    let around_len: usize = around.iter().map(|piece| piece.len()).sum();
    // The body is written before its length is known: where it belongs if that has three digits, as for most bodies. A body of
    // another length is moved.
    let body_start = around_len + 3;
    let body_len = body(reply.get_mut(body_start..)?)?;
    let digits = Decimal::new(body_len as u64);
    let head_len = around_len + digits.as_bytes().len();
    reply.get(..head_len + body_len)?;
    if head_len != body_start {
        reply.copy_within(body_start..body_start + body_len, head_len);
    }
    let [line, content, length, line_end, connection] = around;
    put(
        reply,
        &[line, content, length, digits.as_bytes(), line_end, connection],
    )?;
    Some(if framing.body {
        head_len + body_len
    } else {
        head_len
    })
}

/// Writes the head of a response whose body comes in pieces, and returns its length.
pub(super) fn encode_stream(framing: Framing, reply: &mut [u8]) -> Option<usize> {
    // Without chunks the end of the connection ends the body: the caller has turned `keep_alive` off.
    let coding = if framing.chunks { CHUNKED } else { b"" };
    put(
        reply,
        &[Status::Ok.line(), CONTENT_TYPE_TEXT, coding, framing.connection()],
    )
}

/// Writes the head of a page, whose body of `len` bytes follows as it is, and returns its length.
pub(super) fn encode_page(
    status: Status,
    framing: Framing,
    content_type: &str,
    len: usize,
    reply: &mut [u8],
) -> Option<usize> {
    let content_type = [b"Content-Type: ", content_type.as_bytes(), LINE_END];
    let digits = Decimal::new(len as u64);
    let length = [LENGTH, digits.as_bytes(), LINE_END];
    let mut head_len = 0;
    for pieces in [
        &[status.line()][..],
        &content_type,
        PAGE,
        &length,
        &[framing.connection()],
    ] {
        head_len += put(reply.get_mut(head_len..)?, pieces)?;
    }
    Some(head_len)
}

/// Writes one piece of a body, which must not be empty, and the end if it is the `last`. Returns the length.
pub(super) fn encode_piece(
    framing: Framing,
    last: bool,
    reply: &mut [u8],
    body: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> Option<usize> {
    if !framing.chunks {
        return body(reply);
    }
    let end = if last { CHUNK_END_LAST } else { LINE_END };
    let room = reply
        .len()
        .min(CHUNK_MAX)
        .checked_sub(CHUNK_LINE_LEN + end.len())?;
    let (line, rest) = reply.split_at_mut_checked(CHUNK_LINE_LEN)?;
    let len = body(rest.get_mut(..room)?)?;
    for (index, digit) in line.iter_mut().rev().skip(LINE_END.len()).enumerate() {
        let value = len >> (4 * index) & 15;
        *digit = b"0123456789abcdef".get(value).copied()?;
    }
    put(line.get_mut(CHUNK_LINE_LEN - LINE_END.len()..)?, &[LINE_END])?;
    Some(CHUNK_LINE_LEN + len + put(rest.get_mut(len..)?, &[end])?)
}

/// A response as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The three digits of the status line.
    pub status: u16,
    /// The body, without what framed it.
    pub body: Vec<u8>,
    /// Bytes of the whole response; the next one on the connection follows.
    pub len: usize,
}

impl Response {
    /// Reads a response from all that was `received` so far; `ended` is whether no more will come. `None` is a response
    /// that is not yet whole.
    ///
    /// # Errors
    /// The bytes are not a response, or it is incomplete.
    pub fn decode(received: &[u8], ended: bool) -> Result<Option<Self>, ResponseFault> {
        let whole = Self::decode_whole(received, ended)?;
        if whole.is_none() && ended {
            return Err(ResponseFault::Truncated);
        }
        Ok(whole)
    }

    fn decode_whole(received: &[u8], ended: bool) -> Result<Option<Self>, ResponseFault> {
        let Some(head_len) = head_end(received, &mut 0) else {
            return Ok(None);
        };
        let (head, rest) = received
            .split_at_checked(head_len)
            .ok_or(ResponseFault::NotHttp)?;
        let (fields, status) = status_line(head).map_err(|_| ResponseFault::NotHttp)?;
        let body = match BodyLength::of(fields)? {
            BodyLength::Bytes(len) => rest.get(..len).map(|body| (body.to_vec(), len)),
            BodyLength::Chunks => decode_chunked(rest)?,
            BodyLength::UntilEnd => ended.then(|| (rest.to_vec(), rest.len())),
        };
        Ok(body.map(|(body, body_len)| Self {
            status,
            body,
            len: head_len + body_len,
        }))
    }
}

/// Why bytes are not a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseFault {
    /// The head is not HTTP.
    NotHttp,
    /// The framing of the body is unknown or malformed.
    Framing,
    /// The connection ended within the response.
    Truncated,
}

impl fmt::Display for ResponseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttp => "the answer is not HTTP",
            Self::Framing => "the answer has another Transfer-Encoding than chunked, or a malformed Content-Length or chunk",
            Self::Truncated => "the connection ended before the answer did",
        })
    }
}

impl core::error::Error for ResponseFault {}

/// How the end of a response's body is known.
enum BodyLength {
    Bytes(usize),
    Chunks,
    UntilEnd,
}

impl BodyLength {
    fn of(fields: &[u8]) -> Result<Self, ResponseFault> {
        let mut length = Self::UntilEnd;
        let mut rest = fields;
        while let Ok((after, (name, value))) = field(rest) {
            rest = after;
            let value = value.trim_ascii();
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                let chunked = value.eq_ignore_ascii_case(b"chunked");
                length = if chunked {
                    Self::Chunks
                } else {
                    return Err(ResponseFault::Framing);
                };
            // Transfer-Encoding overrides Content-Length (RFC 9112, 6.3).
            } else if name.eq_ignore_ascii_case(b"content-length") && !matches!(length, Self::Chunks) {
                length = Self::Bytes(parse_number(value, 10).ok_or(ResponseFault::Framing)?);
            }
        }
        Ok(length)
    }
}

/// Of answers in bencode: clients ignore it, and browsers show it.
const CONTENT_TYPE_TEXT: &[u8] = b"Content-Type: text/plain\r\n";
/// The header fields of pages: revalidated each time, as pages change every second; no sniffing of types; only scripts and
/// styles that are files of this site; no frames.
const PAGE: &[&[u8]] = &[
    b"Cache-Control: no-cache\r\n",
    b"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n",
    b"X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n",
];
const LENGTH: &[u8] = b"Content-Length: ";
const CHUNKED: &[u8] = b"Transfer-Encoding: chunked\r\n";
const LINE_END: &[u8] = b"\r\n";
/// Bytes of the line before a chunk: always six hexadecimal digits, as the body is written before its length is known.
const CHUNK_LINE_LEN: usize = 6 + LINE_END.len();
/// Bytes of a chunk with its framing: the most that six digits express.
const CHUNK_MAX: usize = 0xff_ffff;
/// The end of the last chunk, and the empty one that ends the body.
const CHUNK_END_LAST: &[u8] = b"\r\n0\r\n\r\n";

/// Writes `pieces` to the start of `out`. Returns their length, or `None` if they do not fit.
fn put(out: &mut [u8], pieces: &[&[u8]]) -> Option<usize> {
    let mut len = 0;
    for piece in pieces {
        let end = len + piece.len();
        out.get_mut(len..end)?.copy_from_slice(piece);
        len = end;
    }
    Some(len)
}

fn status_line(input: &[u8]) -> IResult<&[u8], u16> {
    let digit = || satisfy(|digit| digit.is_ascii_digit());
    let version = (tag(&b"HTTP/1."[..]), digit(), space1);
    let status = recognize((digit(), digit(), digit())).map_opt(|digits| parse_number(digits, 10));
    terminated(preceded(version, status), line).parse(input)
}

/// The body of a chunked response and the bytes that its chunks take; `None` if it is incomplete.
fn decode_chunked(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, ResponseFault> {
    let mut body = Vec::new();
    let mut rest = input;
    while let Ok((after, size)) = line(rest) {
        let digits = size.split(|byte| *byte == b';').next().unwrap_or_default();
        let size: usize = parse_number(digits.trim_ascii(), 16).ok_or(ResponseFault::Framing)?;
        let Some((data, after)) = after.split_at_checked(size) else {
            break;
        };
        let Ok((after, end)) = line(after) else {
            break;
        };
        if !end.is_empty() {
            // Only a line end may follow a chunk. Trailers after the last one are refused: no tracker sends them.
            return Err(ResponseFault::Framing);
        }
        if size == 0 {
            return Ok(Some((body, input.len() - after.len())));
        }
        body.extend_from_slice(data);
        rest = after;
    }
    Ok(None)
}

/// A number of digits alone, without a sign.
fn parse_number<T: TryFrom<u64>>(digits: &[u8], radix: u32) -> Option<T> {
    let digits = core::str::from_utf8(digits).ok()?;
    let number = u64::from_str_radix(digits, radix).ok()?;
    T::try_from(number).ok().filter(|_| !digits.starts_with('+'))
}
