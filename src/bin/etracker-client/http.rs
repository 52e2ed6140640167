//! Asking over HTTP (BEP 3, 7, 23, 48), plain or over TLS.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use etracker_core::http::query::{AnnounceQuery, PeerForm, ScrapeQuery};
use etracker_core::http::request::encode_get;
use etracker_core::http::{Response, ResponseFault};

use crate::answer::{Answer, Failure, Notes, printable};
use crate::options::{Options, Question};
use crate::reading::Reading;
#[cfg(feature = "tls")]
use crate::target::Scheme;
use crate::target::Target;
use crate::timed::Timed;
#[cfg(feature = "tls")]
use crate::tls;

/// Asks the tracker at `address`.
pub(crate) fn ask(
    address: SocketAddr,
    target: &Target,
    options: &Options,
    deadline: Instant,
    notes: &mut Notes,
) -> Result<Answer, Failure> {
    let question = &options.question;
    let request = request(target, question)?;
    let stream = Timed::connect(address, deadline)?;
    let Response { status, body, .. } = converse(stream, target, options, &request, notes)?;
    let location = location(&notes.raw);
    let reading = Reading::of(&body, notes);
    if let Some(reason) = reading.as_ref().ok().and_then(Reading::failure) {
        return Err(Failure::Refused(reason));
    }
    if status != 200 {
        let status = format!("it has HTTP status {status}");
        let to = location.map_or_else(String::new, |to| format!(", which leads to {to}"));
        return Err(Failure::Unreadable(status + &to));
    }
    match question {
        Question::Announce(_) => Ok(reading?.announced()),
        Question::Scrape(info_hashes) => reading?.scraped(info_hashes),
    }
}

/// Asks over TLS where the URL wants that.
#[cfg(feature = "tls")]
fn converse(
    stream: Timed,
    target: &Target,
    options: &Options,
    request: &[u8],
    notes: &mut Notes,
) -> Result<Response, Failure> {
    if target.scheme == Scheme::Https {
        return exchange(
            tls::secured(stream, &target.host, &options.trust)?,
            request,
            notes,
        );
    }
    exchange(stream, request, notes)
}

/// Asks in plain HTTP: without TLS there are no other URLs.
#[cfg(not(feature = "tls"))]
fn converse(
    stream: Timed,
    _: &Target,
    _: &Options,
    request: &[u8],
    notes: &mut Notes,
) -> Result<Response, Failure> {
    exchange(stream, request, notes)
}

/// Where a redirection leads to. It is not followed, so that the answer is that of the tracker asked.
fn location(response: &[u8]) -> Option<String> {
    let head = response
        .split(|byte| *byte == b'\n')
        .take_while(|line| !line.trim_ascii().is_empty());
    let mut fields = head.filter_map(|line| line.split_at_checked(b"location:".len()));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case(b"location:"))?;
    Some(printable(value.trim_ascii()))
}

fn request(target: &Target, question: &Question) -> Result<Vec<u8>, Failure> {
    let (mut query, mut request) = (Vec::new(), Vec::new());
    match question {
        Question::Announce(announce) => {
            let (announce, form) = (*announce, PeerForm::Compact);
            AnnounceQuery { announce, form }.encode(&mut query);
            encode_get(&target.authority, &target.path, &query, AGENT, &mut request);
        }
        Question::Scrape(info_hashes) => {
            ScrapeQuery::encode(info_hashes, &mut query);
            let path = scrape_path(&target.path).ok_or(Failure::NoScrape)?;
            encode_get(&target.authority, &path, &query, AGENT, &mut request);
        }
    }
    Ok(request)
}

/// The path to scrape at: that of announces, with `announce` at the beginning of its last part replaced (BEP 48).
fn scrape_path(path: &str) -> Option<String> {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let (folder, page) = path.rsplit_once('/')?;
    if page.starts_with("scrape") {
        return Some(format!("{path}{query}"));
    }
    let rest = page.strip_prefix("announce")?;
    Some(format!("{folder}/scrape{rest}{query}"))
}

fn exchange(mut stream: impl Read + Write, request: &[u8], notes: &mut Notes) -> Result<Response, Failure> {
    stream.write_all(request)?;
    notes.raw.clear();
    let mut piece = [0; 16 * 1024];
    loop {
        let len = match stream.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A tracker that closes before it has read all resets the connection. One that ends TLS without
            // close_notify is like many. What they said counts.
            Err(error) if is_end(&error) && !notes.raw.is_empty() => 0,
            read => read?,
        };
        notes.raw.extend_from_slice(piece.get(..len).unwrap_or_default());
        match Response::decode(&notes.raw, len == 0) {
            Ok(Some(response)) => return Ok(response),
            Ok(None) if notes.raw.len() <= RESPONSE_MAX => {}
            Ok(None) => return Err(Failure::Unreadable("it is too long".to_owned())),
            Err(fault) => return cut_short(fault, notes),
        }
    }
}

/// Whether the connection ended, if not in order.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}

/// What can be made of a response that ended too early: its body, as far as it goes.
fn cut_short(fault: ResponseFault, notes: &mut Notes) -> Result<Response, Failure> {
    let unreadable = || Failure::Unreadable(fault.to_string());
    let head_end = head_end_of(&notes.raw).filter(|_| fault == ResponseFault::Truncated);
    let (head, body) = notes.raw.split_at(head_end.ok_or_else(unreadable)?);
    // With nothing said about its length, a body ends with the connection.
    let line_end = head.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let bare = [head.get(..line_end).unwrap_or_default(), b"\r\n", body].concat();
    let response = Response::decode(&bare, true).ok().flatten();
    let response = response
        .filter(|response| !response.body.is_empty())
        .ok_or_else(unreadable)?;
    notes.fault(fault);
    Ok(response)
}

/// Where a head ends.
fn head_end_of(response: &[u8]) -> Option<usize> {
    let end = response.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    Some(end + 4)
}

/// What the tracker is told to be asked by.
const AGENT: &str = concat!("etracker-client/", env!("CARGO_PKG_VERSION"));
/// Bytes of the longest answer that is read.
const RESPONSE_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scrape_url_is_derived_from_the_announce_url() {
        for (announce, scrape) in [
            ("/announce", Some("/scrape")),
            ("/x/announce.php", Some("/x/scrape.php")),
            ("/key/announce?a=/b", Some("/key/scrape?a=/b")),
            ("/scrape", Some("/scrape")),
            ("/announce/x", None),
            ("/", None),
        ] {
            assert_eq!(scrape_path(announce).as_deref(), scrape, "{announce}");
        }
    }
}
