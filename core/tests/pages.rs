//! Pages made outside of the core, as readers get them over a connection.

use std::net::IpAddr;
use std::sync::Arc;

use etracker_core::http::request::Request;
use etracker_core::http::{Connection, Found, Front, Page, Pages, Response, Step};
use etracker_core::stats::Count;
use etracker_core::{Config, Instant, Seed, Tracker, Worker};

const NOW: Instant = Instant::from_secs(1_700_000_000);

/// `/big` for everyone, `/mine` for one reader, `/foreign` for no request like this, `/busy` for nobody at the moment.
#[derive(Debug)]
struct Shelf;

const MINE: &str = "192.0.2.1";

fn big() -> Vec<u8> {
    (0..100_000u32).flat_map(u32::to_be_bytes).collect()
}

impl Pages for Shelf {
    fn find(&self, _now: Instant, request: &Request<'_>, reader: IpAddr, _tracker: &Tracker) -> Found {
        let made = |body: &[u8]| Page {
            content_type: "application/x-shelf".into(),
            body: body.into(),
        };
        let page = |body: &[u8]| Found::Page(made(body));
        match request.path {
            b"/big" => page(&big()),
            b"/mine" if reader.to_string() == MINE => page(b"mine"),
            b"/empty" => page(b""),
            b"/foreign" => Found::Forbidden(made(b"not under this name")),
            b"/busy" => Found::Busy,
            _ => Found::Nothing,
        }
    }
}

struct Reader {
    front: Arc<Front>,
    worker: Worker,
    reply: Vec<u8>,
}

impl Reader {
    fn new(config: Config, reply_len: usize) -> Self {
        let front = Arc::new(Front::new(&config).with_pages(Arc::new(Shelf)));
        let tracker = Tracker::new(config, Seed::new([7; 32]), NOW);
        Self {
            front,
            worker: Worker::new(Arc::new(tracker)),
            reply: vec![0; reply_len],
        }
    }

    /// What comes over one connection in answer to `requests`, and the lengths of its pieces.
    fn fetch(&mut self, peer: &str, requests: &str) -> (Vec<u8>, Vec<usize>) {
        let ip: IpAddr = peer.parse().expect("an address");
        let mut connection = Connection::new(NOW, (ip, 9).into(), &self.front);
        let (mut received, mut pieces) = (Vec::new(), Vec::new());
        let mut step = connection.receive(NOW, requests.as_bytes(), &mut self.worker, &mut self.reply);
        while let Step::Write(len) = step {
            received.extend_from_slice(&self.reply[..len]);
            pieces.push(len);
            step = connection.respond(NOW, &mut self.worker, &mut self.reply);
        }
        (received, pieces)
    }

    fn status(&mut self, peer: &str, path: &str) -> u16 {
        let (received, _) = self.fetch(peer, &format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
        Response::decode(&received, true)
            .expect("a response")
            .expect("a whole one")
            .status
    }
}

#[test]
fn a_page_larger_than_the_buffer_comes_in_pieces() {
    for reply_len in [700, 4096, 1 << 20] {
        let mut reader = Reader::new(Config::default(), reply_len);
        let (received, pieces) = reader.fetch("192.0.2.9", "GET /big?x=1 HTTP/1.1\r\nHost: t\r\n\r\n");
        let response = Response::decode(&received, true)
            .expect("a response")
            .expect("a whole one");
        assert!(response.status == 200 && response.body == big(), "{reply_len}");
        assert!(pieces.len() > 400_000 / reply_len && pieces.iter().all(|&len| len <= reply_len));
        let head = String::from_utf8_lossy(&received[..600]).into_owned();
        assert!(
            head.contains("Content-Type: application/x-shelf\r\n")
                && head.contains("Content-Length: 400000\r\n")
        );
        assert_eq!(reader.worker.tracker().count(Count::HttpPage), 1);
    }
}

#[test]
fn a_buffer_too_small_for_the_head_ends_the_connection() {
    let mut reader = Reader::new(Config::default(), 50);
    let (received, _) = reader.fetch("192.0.2.9", "GET /big HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(received.is_empty());
}

#[test]
fn the_requests_after_a_page_are_answered() {
    let mut reader = Reader::new(Config::default().with_keep_alive(true), 4096);
    let requests = ["GET /big", "HEAD /big", "GET /empty", "GET /busy"];
    let requests: String = requests
        .iter()
        .map(|line| format!("{line} HTTP/1.1\r\nHost: t\r\n\r\n"))
        .collect();
    let (received, _) = reader.fetch("192.0.2.9", &requests);
    let text = String::from_utf8_lossy(&received);
    let statuses: Vec<_> = text
        .match_indices("HTTP/1.1 ")
        .map(|(at, name)| &text[at + name.len()..][..3])
        .collect();
    assert_eq!(statuses, ["200", "200", "200", "429"]);
    assert_eq!(text.matches("Content-Length: 400000").count(), 2);
    assert!(received.len() < 402_500, "HEAD is answered without a body");
    assert!(text.ends_with('e') && text.contains("Retry-After: 1\r\n"));
}

#[test]
fn every_page_tells_browsers_what_may_be_done_with_it() {
    let mut reader = Reader::new(Config::default(), 1 << 20);
    for (path, status) in [("/big", "200 OK"), ("/foreign", "403 Forbidden"), ("/", "200 OK")] {
        for method in ["GET", "HEAD"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: t\r\n\r\n");
            let (received, _) = reader.fetch("192.0.2.9", &request);
            let text = String::from_utf8_lossy(&received).into_owned();
            let (head, _) = text.split_once("\r\n\r\n").expect("a head");
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
            let policy = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Security-Policy: "))
                .expect("a policy");
            assert!(policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"));
            assert!(!policy.contains("unsafe"), "{policy}");
            for field in [
                "X-Content-Type-Options: nosniff",
                "X-Frame-Options: DENY",
                "Referrer-Policy: no-referrer",
            ] {
                assert!(
                    head.lines().any(|line| line == field),
                    "{path}: no {field} in {head}"
                );
            }
        }
    }
    assert_eq!(reader.worker.tracker().count(Count::Http403), 2);
    assert_eq!(reader.worker.tracker().count(Count::HttpPage), 2);
}

#[test]
fn a_page_is_there_for_its_readers_alone() {
    let mut reader = Reader::new(Config::default(), 4096);
    assert_eq!(reader.status(MINE, "/mine"), 200);
    assert_eq!(reader.status("192.0.2.2", "/mine"), 404);
    assert_eq!(reader.status(&format!("::ffff:{MINE}"), "/mine"), 200);
    assert_eq!(reader.status("192.0.2.2", "/announce"), 200);
}

#[test]
fn a_proxy_asks_for_its_client() {
    let proxies = vec!["10.0.0.0/8".parse().expect("a network")];
    let mut reader = Reader::new(Config::default().with_trusted_proxies(proxies), 4096);
    let mut status = |peer: &str, forwarded: &str| {
        let request = format!("GET /mine HTTP/1.1\r\nHost: t\r\n{forwarded}\r\n");
        let (received, _) = reader.fetch(peer, &request);
        Response::decode(&received, true)
            .expect("a response")
            .expect("a whole one")
            .status
    };
    let mine = format!("X-Forwarded-For: {MINE}\r\n");
    assert_eq!(status("10.0.0.1", &mine), 200);
    assert_eq!(status("192.0.2.2", &mine), 404);
    assert_eq!(status(MINE, "X-Forwarded-For: 192.0.2.2\r\n"), 200);
    assert_eq!(status("10.0.0.1", "X-Forwarded-For: 192.0.2.2\r\n"), 404);
    assert_eq!(status("10.0.0.1", ""), 404);
}
