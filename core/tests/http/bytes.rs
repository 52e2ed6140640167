//! Connections fed with anything, in any pieces.

use crate::support::{House, captures};
use etracker_core::Config;
use etracker_core::bencode::Value;
use quickcheck::{Arbitrary, Gen, QuickCheck, quickcheck};

/// Bytes made of what requests are made of, so that many of them nearly are requests.
#[derive(Clone, Debug)]
struct Soup(Vec<u8>);

const INGREDIENTS: &[&str] = &[
    "GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=7&left=0 HTTP/1.1\r\n\r\n",
    "GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=2&compact=0 HTTP/1.1\r\n",
    "GET /scrape?info_hash=%ff%00aaaaaaaaaaaaaaaaaa HTTP/1.1\r\n",
    "GET /scrape HTTP/1.1\r\n\r\n",
    "GET /scrape HTTP/1.0\r\n\r\n",
    "GET ",
    "POST / HTTP/1.1\r\n\r\n",
    "/announce?",
    "info_hash=",
    "%4",
    "&",
    " HTTP/1.1",
    " HTTP/1.0",
    "http://",
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\n\n",
    " ",
    ":",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Content-Length: 5\r\n",
    "X-Forwarded-For: 1.2.3.4\r\n",
    "folded: a\r\n b\r\n",
];

impl Arbitrary for Soup {
    fn arbitrary(g: &mut Gen) -> Self {
        let mut soup = Vec::new();
        for _ in 0..g.size() / 4 {
            match u8::arbitrary(g) % 16 {
                0 => soup.push(u8::arbitrary(g)),
                1 => soup.extend(std::iter::repeat_n(b'x', usize::from(u16::arbitrary(g) % 9000))),
                _ => soup.extend(g.choose(INGREDIENTS).unwrap().bytes()),
            }
        }
        Self(soup)
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        Box::new(self.0.shrink().map(Self))
    }
}

fn config() -> Config {
    Config::default().with_keep_alive(true).with_full_scrape(true)
}

/// What a client receives that sends `pieces` one after the other and then no more.
fn answers<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let house = House::new(config());
    let mut client = house.connect("198.51.100.7");
    pieces.for_each(|piece| client.send(piece));
    client.end();
    assert!(!client.is_open());
    client.received().to_vec()
}

/// `bytes` cut after as many as each of `lengths` says, over and over.
fn cut<'a>(bytes: &'a [u8], lengths: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        let len = lengths.next().map_or(rest.len(), |len| usize::from(*len) + 1);
        let (piece, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[test]
fn bytes_in_pieces_are_answered_as_in_one() {
    fn property(soup: Soup, lengths: Vec<u8>, heads: bool) -> bool {
        let mut bytes = soup.0;
        if heads {
            bytes = String::from_utf8_lossy(&bytes)
                .replace("GET", "HEAD")
                .into_bytes();
        }
        let whole = answers(std::iter::once(bytes.as_slice()));
        whole == answers(cut(&bytes, &lengths)) && whole == answers(bytes.chunks(1))
    }
    QuickCheck::new()
        .tests(300)
        .quickcheck(property as fn(Soup, Vec<u8>, bool) -> bool);
}

#[test]
fn recorded_requests_in_pieces_are_answered_as_in_one() {
    let all: Vec<u8> = captures("-http")
        .into_iter()
        .flat_map(|(_, bytes)| bytes)
        .collect();
    let keep = String::from_utf8_lossy(&all).replace("Connection: close\r\n", "");
    let keep = keep.replace("HTTP/1.0\r\n", "HTTP/1.1\r\n").into_bytes();
    let whole = answers(std::iter::once(keep.as_slice()));
    let count = whole
        .windows(15)
        .filter(|part| part == b"HTTP/1.1 200 OK")
        .count();
    assert_eq!(count, captures("-http").len(), "pipelined, all are answered");
    for lengths in [[0, 0], [1, 2], [100, 7], [255, 254]] {
        assert!(whole == answers(cut(&keep, &lengths)), "cut at {lengths:?}");
    }
}

/// All of `received` is HTTP responses with right lengths, and all of their bodies but the front page's are bencode.
fn assert_valid(soup: &[u8]) {
    let house = House::new(config());
    let mut client = house.connect("198.51.100.7");
    client.send(soup);
    client.end();
    for response in client.responses() {
        let bencoded = Value::parse(&response.body).is_ok_and(|value| value.as_dictionary().is_some());
        let front = response.status == 200 && response.body.starts_with(b"etracker");
        assert!(bencoded || front, "{}", response.body.escape_ascii());
        assert!([200, 400, 403, 404, 405, 413].contains(&response.status));
    }
}

quickcheck! {
    fn every_answer_is_http_and_bencode(soup: Soup) -> bool {
        assert_valid(&soup.0);
        true
    }

    fn no_bytes_are_too_strange(bytes: Vec<u8>, line: Vec<u8>, field: Vec<u8>) -> bool {
        assert_valid(&bytes);
        assert_valid(&[b"GET /announce?", line.as_slice(), b" HTTP/1.1\r\n\r\n"].concat());
        assert_valid(&[b"GET / HTTP/1.1\r\n", field.as_slice(), b"\r\n\r\n"].concat());
        true
    }

    fn requests_without_an_end_do_not_pile_up(lengths: Vec<u8>) -> bool {
        let house = House::new(config());
        let mut client = house.connect("198.51.100.7");
        let mut sent = 0;
        for piece in cut(&[b'x'; 40_000], &lengths) {
            client.send(piece);
            sent += piece.len();
            if !client.is_open() {
                let status = client.responses().pop().unwrap().status;
                return status == 413 && sent >= 16 * 1024 && sent - piece.len() < 16 * 1024;
            }
        }
        false
    }
}
