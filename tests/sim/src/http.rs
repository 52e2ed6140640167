//! What clients send over HTTP, written from BEP 3 and BEP 48 and not with the core's own code, and what it means.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use etracker_core::InfoHash;
use etracker_core::announce::Event;

use crate::chance::Chance;
use crate::queue::Millis;
use crate::wire::Wish;

/// One connection to be opened, and all that will be sent over it.
#[derive(Debug)]
pub(crate) struct HttpRequest {
    pub(crate) source: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    /// What is asked, in order. A tracker that closes the connection need not answer all.
    pub(crate) asks: Vec<Ask>,
    /// The pieces in which the bytes are sent, and the time between two.
    pub(crate) pieces: usize,
    pub(crate) pause: Millis,
    /// Whether the client reads what it is sent.
    pub(crate) reads: bool,
    /// Whether the client says that it will send no more.
    pub(crate) ends: bool,
}

impl HttpRequest {
    /// An ordinary request, sent at once by a client that waits for the answer.
    pub(crate) const fn new(source: SocketAddr, bytes: Vec<u8>, asks: Vec<Ask>) -> Self {
        Self {
            source,
            bytes,
            asks,
            pieces: 1,
            pause: 0,
            reads: true,
            ends: false,
        }
    }
}

/// One request of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Announce(HttpAsk),
    Scrape(Vec<InfoHash>),
    FullScrape,
    /// Nothing that is carried out: answered with a failure or an error, if at all.
    Nonsense,
}

/// An announce over HTTP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpAsk {
    pub(crate) ip: IpAddr,
    /// Not sent: tells the client which of its announces was answered.
    pub(crate) transaction: u32,
    pub(crate) wish: Wish,
    pub(crate) form: Form,
}

/// How peers are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Compact,
    Dictionaries,
    DictionariesWithoutIds,
}

/// The head of an announce.
pub(crate) fn announce(chance: &mut Chance, ask: &HttpAsk, keep_alive: bool) -> Vec<u8> {
    let wish = &ask.wish;
    let mut parameters = vec![
        format!("info_hash={}", percent(chance, &wish.info_hash.0)),
        format!("peer_id={}", percent(chance, &wish.peer_id.0)),
        format!("port={}", wish.port),
        format!("left={}", wish.left),
        "uploaded=0".to_owned(),
        "downloaded=0".to_owned(),
        // What a tracker must not believe.
        "ip=203.0.113.99".to_owned(),
    ];
    match wish.event {
        Event::None => {}
        Event::Started => parameters.push("event=started".to_owned()),
        Event::Stopped => parameters.push("event=stopped".to_owned()),
        Event::Completed => parameters.push("event=completed".to_owned()),
        Event::Paused => parameters.push("event=paused".to_owned()),
    }
    parameters.extend(wish.numwant.map(|wanted| format!("numwant={wanted}")));
    match ask.form {
        Form::Compact if chance.hit(0.5) => parameters.push("compact=1".to_owned()),
        Form::Compact => {}
        Form::Dictionaries => parameters.push("compact=0".to_owned()),
        Form::DictionariesWithoutIds => parameters.push("compact=0&no_peer_id=1".to_owned()),
    }
    let first = chance.index(parameters.len());
    parameters.rotate_left(first);
    head("announce", &parameters.join("&"), keep_alive)
}

/// The head of a scrape; without info-hashes, of a full one.
pub(crate) fn scrape(chance: &mut Chance, info_hashes: &[InfoHash], keep_alive: bool) -> Vec<u8> {
    let parameters: Vec<_> = info_hashes
        .iter()
        .map(|info_hash| format!("info_hash={}", percent(chance, &info_hash.0)))
        .collect();
    head("scrape", &parameters.join("&"), keep_alive)
}

fn head(path: &str, query: &str, keep_alive: bool) -> Vec<u8> {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    format!("GET /{path}?{query} HTTP/1.1\r\nHost: tracker:6969\r\nConnection: {connection}\r\n\r\n")
        .into_bytes()
}

/// Percent-coding as clients do it: of all but the unreserved characters, in either case.
fn percent(chance: &mut Chance, bytes: &[u8]) -> String {
    let upper = chance.hit(0.5);
    let mut text = String::new();
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(byte.into());
        } else if upper {
            // Writing to a string cannot fail.
            _ = write!(text, "%{byte:02X}");
        } else {
            _ = write!(text, "%{byte:02x}");
        }
    }
    text
}
