//! Allocations of HTTP requests and connections.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::net::SocketAddr;
use std::sync::Arc;

use allocation_counter::{AllocationInfo, measure};
use etracker_core::http::{Connection, Front, HEAD_MAX, REPLY_MAX, Step};
use etracker_core::{Config, Instant, Seed, Tracker, Worker};

const NOW: Instant = Instant::from_secs(1_800_000_000);

#[test]
fn an_announce_on_an_open_connection_allocates_nothing() {
    let mut server = Server::new();
    let mut connection = server.connect();
    for form in ["compact=1", "compact=0"] {
        let head = announce(form);
        server.answer(&mut connection, head.as_bytes());
        let spent = measure(|| (0..100).for_each(|_| server.answer(&mut connection, head.as_bytes())));
        assert_eq!(spent.count_total, 0, "{form}");
    }
}

#[test]
fn a_scrape_and_a_refusal_allocate_nothing() {
    let mut server = Server::new();
    let mut connection = server.connect();
    for head in [
        "GET /scrape?info_hash=aaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n\r\n",
        "GET /announce HTTP/1.1\r\n\r\n",
        "GET /x HTTP/1.1\r\n\r\n",
    ] {
        let spent = measure(|| server.answer(&mut connection, head.as_bytes()));
        assert_eq!(spent.count_total, 0, "{head}");
    }
}

#[test]
fn memory_for_input_in_parts_is_bounded_and_given_back() {
    let mut server = Server::new();
    let mut connection = server.connect();
    let long = format!("GET /x HTTP/1.1\r\nlong: {}\r\n\r\n", "x".repeat(16_000));
    let pipelined = long.repeat(3);
    let spent: AllocationInfo = measure(|| {
        for part in pipelined.as_bytes().chunks(9_000) {
            server.answer(&mut connection, part);
        }
    });
    // A head and a read; while it grows, once again half and twice as much.
    let bound = 3 * (HEAD_MAX as u64 + 9_000);
    assert!(spent.bytes_max <= bound, "{} bytes", spent.bytes_max);
    assert_eq!(spent.bytes_current, 0, "an idle connection holds none of it");
}

#[test]
fn what_comes_after_the_last_request_is_not_kept() {
    let mut server = Server::new();
    let mut connection = server.connect();
    let last = format!("GET / HTTP/1.0\r\n\r\n{}", "x".repeat(60_000));
    let spent = measure(|| {
        let step = connection.receive(NOW, last.as_bytes(), &mut server.worker, &mut server.reply);
        assert!(matches!(step, Step::Write(_)));
    });
    assert_eq!(spent.count_total, 0);
}

#[test]
fn an_idle_connection_takes_little() {
    assert!(size_of::<Connection>() <= 256, "{}", size_of::<Connection>());
    let server = Server::new();
    assert_eq!(measure(|| drop(server.connect())).count_total, 0);
}

fn announce(form: &str) -> String {
    let query = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=7&left=0";
    format!("GET /announce?{query}&{form} HTTP/1.1\r\nHost: tracker\r\nUser-Agent: test\r\n\r\n")
}

struct Server {
    front: Arc<Front>,
    worker: Worker,
    reply: Vec<u8>,
}

impl Server {
    fn new() -> Self {
        let config = Config::default().with_keep_alive(true);
        let front = Arc::new(Front::new(&config));
        let tracker = Arc::new(Tracker::new(config, Seed::new([1; 32]), NOW));
        Self {
            front,
            worker: Worker::new(tracker),
            reply: vec![0; REPLY_MAX],
        }
    }

    fn connect(&self) -> Connection {
        let peer: SocketAddr = "192.0.2.1:4000".parse().unwrap();
        Connection::new(NOW, peer, &self.front)
    }

    /// Serves `bytes` and all that follows from them.
    fn answer(&mut self, connection: &mut Connection, bytes: &[u8]) {
        let mut step = connection.receive(NOW, bytes, &mut self.worker, &mut self.reply);
        while step != Step::Read {
            assert!(matches!(step, Step::Write(_)));
            step = connection.respond(NOW, &mut self.worker, &mut self.reply);
        }
    }
}
