//! A tracker, its clock, and clients that drive connections as a runtime does.

use std::cell::{Cell, RefCell};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use etracker_core::access::Access;
use etracker_core::announce::{Announce, Endpoint, Event};
use etracker_core::http::response::{AnnounceResponse, Failure};
use etracker_core::http::{Connection, Front, Misuse, REPLY_MAX, Response, Step};
use etracker_core::interval::LoadAverage;
use etracker_core::stats::Count;
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker, Worker};

/// A tracker with one worker.
pub(crate) struct House {
    pub(crate) tracker: Arc<Tracker>,
    front: Arc<Front>,
    worker: RefCell<Worker>,
    now: Cell<Instant>,
}

impl House {
    pub(crate) fn new(config: Config) -> Self {
        let now = Instant::from_secs(1_800_000_000);
        let front = Arc::new(Front::new(&config));
        let tracker = Arc::new(Tracker::new(config, Seed::new([7; 32]), now));
        Self {
            worker: RefCell::new(Worker::new(Arc::clone(&tracker))),
            tracker,
            front,
            now: Cell::new(now),
        }
    }

    /// A tracker with lists.
    pub(crate) fn with_access(config: Config, access: Access) -> Self {
        let house = Self::new(config.clone());
        let tracker = Tracker::new(config, Seed::new([7; 32]), house.now.get());
        let tracker = Arc::new(tracker.with_access(access));
        Self {
            worker: RefCell::new(Worker::new(Arc::clone(&tracker))),
            tracker,
            ..house
        }
    }

    pub(crate) fn advance(&self, millis: u64) {
        let now = self.now.get().saturating_add(Duration::from_millis(millis));
        self.now.set(now);
    }

    /// Lets the tracker do what is due at these load averages.
    pub(crate) fn age(&self, load: LoadAverage) {
        _ = self.tracker.handle_timeout(self.now.get(), load);
    }

    pub(crate) fn count(&self, count: Count) -> u64 {
        self.tracker.count(count)
    }

    /// A leecher at `ip` in the torrent with this number.
    pub(crate) fn announce(&self, ip: &str, torrent: u64) {
        let mut info_hash = InfoHash([0xa5; 20]);
        let scattered = torrent.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        info_hash.0[..8].copy_from_slice(&scattered.to_le_bytes());
        let announce = Announce {
            info_hash,
            peer_id: PeerId([b'p'; 20]),
            peer: Endpoint {
                ip: ip.parse().unwrap(),
                port: 6881,
            },
            left: 1,
            event: Event::Started,
            numwant: Some(0),
        };
        let mut worker = self.worker.borrow_mut();
        worker
            .announce_into_scratch(self.now.get(), &announce, false)
            .unwrap();
    }

    pub(crate) fn connect(&self, ip: &str) -> Client<'_> {
        self.connect_with_reply(ip, REPLY_MAX)
    }

    /// A client whose connection is driven with a reply buffer of `reply_len` bytes.
    pub(crate) fn connect_with_reply(&self, ip: &str, reply_len: usize) -> Client<'_> {
        let ip: IpAddr = ip.parse().unwrap();
        let peer = SocketAddr::new(ip, 40_000);
        Client {
            house: self,
            connection: Connection::new(self.now.get(), peer, &self.front),
            reply: vec![0; reply_len],
            received: Vec::new(),
            read: 0,
            open: true,
        }
    }
}

/// A client and the server's side of its connection.
pub(crate) struct Client<'a> {
    house: &'a House,
    connection: Connection,
    reply: Vec<u8>,
    received: Vec<u8>,
    /// Bytes of what was received that were returned as responses.
    read: usize,
    open: bool,
}

impl Client<'_> {
    /// Whether the client announced its last request.
    pub(crate) const fn client_is_done(&self) -> bool {
        self.connection.client_is_done()
    }

    /// Whether what is to be written is the last.
    pub(crate) const fn is_ending(&self) -> bool {
        self.connection.is_ending()
    }

    /// Has a PROXY header name the client at `ip`.
    pub(crate) fn named(mut self, ip: &str) -> Self {
        let ip: IpAddr = ip.parse().unwrap();
        self.connection.set_client(SocketAddr::new(ip, 50_000));
        self
    }

    /// What the driver did out of order.
    pub(crate) const fn misuse(&self) -> Option<Misuse> {
        self.connection.misuse()
    }

    /// Hands `bytes` to the connection and carries out all that follows.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if self.open {
            let step = self.give(bytes);
            self.follow(step);
        }
    }

    /// Hands `bytes` to the connection and carries out nothing.
    pub(crate) fn give(&mut self, bytes: &[u8]) -> Step {
        let worker = &mut self.house.worker.borrow_mut();
        let now = self.house.now.get();
        self.connection.receive(now, bytes, worker, &mut self.reply)
    }

    /// Tells the connection that its last step is carried out.
    pub(crate) fn go_on(&mut self) -> Step {
        let worker = &mut self.house.worker.borrow_mut();
        self.connection
            .respond(self.house.now.get(), worker, &mut self.reply)
    }

    /// Ends the client's side.
    pub(crate) fn end(&mut self) {
        if self.open {
            let now = self.house.now.get();
            let step = {
                let worker = &mut self.house.worker.borrow_mut();
                self.connection.end_of_input(now, worker, &mut self.reply)
            };
            self.follow(step);
        }
    }

    /// Lets the connection look at the clock.
    pub(crate) fn time_out(&mut self) {
        let now = self.house.now.get();
        let step = {
            let worker = &mut self.house.worker.borrow_mut();
            self.connection.handle_timeout(now, worker, &mut self.reply)
        };
        self.follow(step);
    }

    /// Whether the step under way takes longer than it may.
    pub(crate) fn is_late(&self) -> bool {
        self.house.now.get() >= self.connection.poll_timeout()
    }

    /// Sends a request and reads the response to it, if one comes.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Option<Response> {
        self.send(request);
        let mut responses = self.responses();
        assert!(responses.len() <= 1, "more than was asked for");
        responses.pop()
    }

    /// What was received since the last call, which must be whole responses.
    pub(crate) fn responses(&mut self) -> Vec<Response> {
        let mut responses = Vec::new();
        while self.read < self.received.len() {
            let response = Response::decode(&self.received[self.read..], !self.open);
            let response = response.unwrap().unwrap();
            self.read += response.len;
            responses.push(response);
        }
        responses
    }

    /// All that was received.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Carries out `step` and all that follows, until there is something to read.
    pub(crate) fn follow(&mut self, mut step: Step) {
        loop {
            match step {
                Step::Read => return,
                Step::Write(len) => self.received.extend_from_slice(&self.reply[..len]),
                Step::Again => {}
                Step::Close => {
                    self.open = false;
                    return;
                }
            }
            let is_last = self.connection.is_ending();
            step = self.go_on();
            // A driver says goodbye along with what it is told is the last.
            assert!(!is_last || step == Step::Close, "{step:?}");
        }
    }
}

/// The recorded requests whose names contain `part`.
pub(crate) fn captures(part: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = paths.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    let mut captures: Vec<_> = named
        .filter(|(name, _)| name.contains(part))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect();
    captures.sort();
    captures
}

pub(crate) const HASH: &str = "info_hash=%00%01%02%03%04%05%06%07%08%09%0a%0b%0c%0d%0e%0f%10%11%12%13";
pub(crate) const ID: &str = "peer_id=-XX0001-abcdefghijkl";

pub(crate) fn hash() -> InfoHash {
    InfoHash(std::array::from_fn(|index| u8::try_from(index).unwrap()))
}

/// A request line for an announce of [`HASH`] with these further parameters, in a whole head.
pub(crate) fn announce(more: &str) -> String {
    format!("GET /announce?{HASH}&{ID}&{more} HTTP/1.1\r\nHost: tracker\r\n\r\n")
}

pub(crate) fn reason(body: &[u8]) -> String {
    let failure = Failure::decode(body).unwrap_or_else(|fault| panic!("{fault}: {}", body.escape_ascii()));
    String::from_utf8(failure.reason.to_vec()).unwrap()
}

pub(crate) fn endpoints(response: &AnnounceResponse<'_>) -> Vec<SocketAddr> {
    response.peers().map(|(peer, _)| peer).collect()
}

pub(crate) fn statuses(client: &mut Client<'_>) -> Vec<u16> {
    client
        .responses()
        .iter()
        .map(|response| response.status)
        .collect()
}
