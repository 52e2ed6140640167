//! A runtime as its users see it, over loopback sockets: `crate::serve` of the test that this is a module of.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use etracker_core::announce::Event;
use etracker_core::http::request::Request;
use etracker_core::http::{Found, Pages};
use etracker_core::stats::Count;
use etracker_core::udp::packet::{AnnounceRequest, RequestHead, Response, ScrapeRequest};
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker};
use etracker_runtime_common::{Clock, Control, Fronts, Job, Listen, Protocol, ServeError, open};

/// A tracker that serves until this is dropped.
struct Server {
    tracker: Arc<Tracker>,
    control: Arc<Control>,
    port: u16,
    serving: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Server {
    fn start(workers: usize, connections_max: usize, config: Config) -> Self {
        Self::start_with(workers, connections_max, config, |fronts, _| fronts)
    }

    fn start_with(
        workers: usize,
        connections_max: usize,
        config: Config,
        furnish: impl FnOnce(Fronts, &Config) -> Fronts,
    ) -> Self {
        let local = [[127, 0, 0, 1].into(), "::1".parse().unwrap()];
        let listen = Listen::new(workers)
            .bind(Protocol::Http, &local, 0)
            .bind(Protocol::Udp, &local, 0);
        // A free TCP port may be taken over UDP; then another is tried.
        let opened = (0..20).find_map(|_| open(&listen).ok()).unwrap();
        let clock = Clock::start();
        let fronts = furnish(Fronts::new(&Seed::new([1; 32]), &config), &config);
        let tracker = Arc::new(Tracker::new(config, Seed::new([1; 32]), clock.now()));
        let control = Arc::new(Control::new());
        let job = Job {
            tracker: Arc::clone(&tracker),
            fronts,
            sockets: opened.workers,
            clock,
            control: Arc::clone(&control),
            connections_max,
        };
        Self {
            tracker,
            control,
            port: opened.local[0].at.port(),
            serving: Some(thread::spawn(|| crate::serve(job))),
        }
    }

    fn stop(&mut self) -> Result<(), ServeError> {
        self.control.stop();
        self.serving
            .take()
            .map_or(Ok(()), |serving| serving.join().unwrap())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((IpAddr::from([127, 0, 0, 1]), self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn wait_for(&self, count: Count, at_least: u64) {
        for _ in 0..PATIENCE.as_millis() / 5 {
            if self.tracker.count(count) >= at_least {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{count:?} stays at {}", self.tracker.count(count));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped = self.stop();
        if !thread::panicking() {
            stopped.unwrap();
        }
    }
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

fn config() -> Config {
    Config::default().with_socket_timeout_secs(1).unwrap()
}

fn keep_alive() -> Config {
    config().with_keep_alive(true)
}

fn announce(connection_id: u64, port: u16) -> [u8; AnnounceRequest::LEN] {
    AnnounceRequest {
        connection_id,
        transaction_id: port.into(),
        info_hash: InfoHash([9; 20]),
        peer_id: PeerId([8; 20]),
        downloaded: 0,
        left: 1,
        uploaded: 0,
        event: Event::Started,
        ip: [0; 4].into(),
        key: 0,
        numwant: -1,
        port,
    }
    .encode()
}

/// Connects and announces over UDP; whether both are answered.
fn announces(client: &UdpSocket, server: SocketAddr) -> bool {
    let mut answer = [0; 2048];
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(&RequestHead::connect(1).encode(), server).unwrap();
    let len = client.recv(&mut answer).unwrap_or(0);
    let Some(Response::Connect(connected)) = Response::decode(&answer[..len]) else {
        return false;
    };
    let port = client.local_addr().unwrap().port();
    client
        .send_to(&announce(connected.connection_id, port), server)
        .unwrap();
    let len = client.recv(&mut answer).unwrap_or(0);
    matches!(Response::decode(&answer[..len]), Some(Response::Announce(..)))
}

/// Everything up to the end; an error if the connection was reset.
fn rest(stream: &mut TcpStream) -> io::Result<String> {
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// One answer of a connection that stays open.
fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    let lower = text.to_lowercase();
    let len = lower.split("content-length: ").nth(1).unwrap();
    let len: usize = len.split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; len];
    stream.read_exact(&mut body).unwrap();
    text + &String::from_utf8_lossy(&body)
}

fn get(port: u16) -> String {
    let hash = "%09".repeat(20);
    format!(
        "GET /announce?info_hash={hash}&peer_id=-XX0000-000000000000&port={port}&uploaded=0&downloaded=0&left=1 HTTP/1.1\r\n\
         Host: localhost\r\n\r\n"
    )
}

#[test]
fn announces_from_500_ports_are_all_answered_by_any_number_of_workers() {
    for workers in [1, 2, 7] {
        let server = Server::start(workers, 100, config());
        for address in [IpAddr::from([127, 0, 0, 1]), "::1".parse().unwrap()] {
            let at = SocketAddr::new(address, server.port);
            let clients: Vec<UdpSocket> = (0..500).map(|_| UdpSocket::bind((address, 0)).unwrap()).collect();
            let answered = clients.iter().filter(|client| announces(client, at));
            assert_eq!(answered.count(), 500, "{workers} workers at {at}");
        }
        assert_eq!(server.tracker.count(Count::UdpReceived4), 1000);
        assert_eq!(server.tracker.count(Count::UdpReceived6), 1000);
        assert_eq!(server.tracker.totals().peers(), 1000);
    }
}

#[test]
fn a_request_is_answered_and_the_connection_closed_in_good_order() {
    let server = Server::start(2, 100, config());
    for n in 0..20 {
        let mut client = server.connect();
        client.write_all(get(1000 + n).as_bytes()).unwrap();
        // Bytes that nobody asked for must not take the answer back.
        client.write_all(&[b'x'; 10_000]).unwrap();
        let answer = rest(&mut client).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("8:interval"),
            "{answer}"
        );
    }
    server.wait_for(Count::Closed, 20);
    assert_eq!(server.tracker.count(Count::HttpAnnounce), 20);
    assert_eq!(server.tracker.count(Count::AcceptPassed), 20);
}

#[test]
fn requests_in_one_write_and_split_anywhere_are_answered_in_order() {
    let server = Server::start(1, 100, keep_alive());
    let mut client = server.connect();
    client.write_all((get(1) + &get(2) + &get(3)).as_bytes()).unwrap();
    for _ in 0..3 {
        assert!(answer(&mut client).starts_with("HTTP/1.1 200 "));
    }
    for piece in get(4).as_bytes().chunks(50) {
        client.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    assert!(answer(&mut client).starts_with("HTTP/1.1 200 "));
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client).unwrap(), "");
    assert_eq!(server.tracker.count(Count::HttpAnnounce), 4);
}

#[test]
fn a_client_that_ends_its_side_early_is_answered() {
    let server = Server::start(1, 100, config());
    let mut client = server.connect();
    client.write_all(get(1).as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(rest(&mut client).unwrap().starts_with("HTTP/1.1 200 "));
}

#[test]
fn clients_that_send_nothing_or_part_of_a_request_are_not_waited_for() {
    let server = Server::start(1, 100, keep_alive());
    let mut silent = server.connect();
    let mut half = server.connect();
    half.write_all(b"GET /announce HTTP/1.1\r\nHost").unwrap();
    let mut idle = server.connect();
    idle.write_all(get(1).as_bytes()).unwrap();
    assert!(answer(&mut idle).starts_with("HTTP/1.1 200 "));
    assert_eq!(rest(&mut silent).unwrap(), "");
    assert!(rest(&mut half).unwrap().starts_with("HTTP/1.1 408 "));
    assert_eq!(rest(&mut idle).unwrap(), "");
    server.wait_for(Count::Closed, 3);
}

#[test]
fn a_request_of_one_byte_now_and_then_is_not_waited_for() {
    let server = Server::start(1, 100, config());
    let mut client = server.connect();
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = Vec::new();
    for byte in get(1).bytes().cycle().take(200) {
        let _ = client.write_all(&[byte]);
        match client.read_to_end(&mut answer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => break,
        }
    }
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 408 "));
    assert_eq!(server.tracker.count(Count::HttpAnnounce), 0);
}

#[test]
fn a_client_that_never_reads_is_cut_off_and_others_are_served_meanwhile() {
    let server = Server::start(1, 100, keep_alive());
    let mut greedy = server.connect();
    greedy
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let request = get(1);
    let mut sent = 0;
    while greedy.write_all(request.as_bytes()).is_ok() {
        sent += 1;
        assert!(sent < 10_000_000, "it is answered without end");
    }
    let mut other = server.connect();
    other.write_all(get(2).as_bytes()).unwrap();
    assert!(answer(&mut other).starts_with("HTTP/1.1 200 "));
    server.wait_for(Count::HttpSendFailed, 1);
    server.wait_for(Count::Closed, 1);
}

#[test]
fn idle_connections_give_way_when_there_is_no_room() {
    let config = Config::default()
        .with_keep_alive(true)
        .with_socket_timeout_secs(300)
        .unwrap();
    let server = Server::start(1, 10, config);
    // They are accepted in the order in which they begin to ask.
    let (request, mut idle) = (get(1), Vec::new());
    for n in 1..=10 {
        let mut client = server.connect();
        client.write_all(&request.as_bytes()[..1]).unwrap();
        server.wait_for(Count::HttpReceivedBytes, n);
        idle.push(client);
    }
    // The first one is served, so the second one is the one that idles longest.
    idle[0].write_all(&request.as_bytes()[1..]).unwrap();
    answer(&mut idle[0]);
    let mut served = Vec::new();
    for n in 0..3 {
        let mut client = server.connect();
        client.write_all(get(10 + n).as_bytes()).unwrap();
        assert!(answer(&mut client).starts_with("HTTP/1.1 200 "));
        let given = &mut idle[1 + usize::from(n)];
        assert_eq!(rest(given).unwrap(), "");
        served.push(client);
    }
    idle[0].write_all(get(2).as_bytes()).unwrap();
    assert!(answer(&mut idle[0]).starts_with("HTTP/1.1 200 "));
}

#[test]
fn what_is_in_hand_is_finished_before_stopping() {
    let mut server = Server::start(2, 100, Config::default().with_keep_alive(true));
    let mut half = server.connect();
    let request = get(1);
    half.write_all(&request.as_bytes()[..20]).unwrap();
    let mut idle = server.connect();
    server.wait_for(Count::HttpReceivedBytes, 20);
    server.wait_for(Count::AcceptPassed, 2);
    server.control.stop();
    assert_eq!(rest(&mut idle).unwrap(), "");
    half.write_all(&request.as_bytes()[20..]).unwrap();
    assert!(rest(&mut half).unwrap().starts_with("HTTP/1.1 200 "));
    server.stop().unwrap();
    let refused = TcpStream::connect((IpAddr::from([127, 0, 0, 1]), server.port));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn every_worker_keeps_its_pulse_while_it_serves() {
    let server = Server::start(3, 10, config());
    // Once before its work begins, and then by a timer: a beat that a first one is not followed by is no pulse.
    for _ in 0..3 {
        let before = server.control.oldest_beat();
        for _ in 0..PATIENCE.as_millis() / 5 {
            if server.control.oldest_beat() > before {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        assert!(server.control.oldest_beat() > before, "a worker is silent");
    }
}

#[test]
fn clients_that_reset_their_connections_do_no_harm() {
    let server = Server::start(1, 50, config());
    for _ in 0..200 {
        let client = server.connect();
        socket2::SockRef::from(&client)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
    let mut client = server.connect();
    client.write_all(get(1).as_bytes()).unwrap();
    assert!(rest(&mut client).unwrap().starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_worker_that_cannot_go_on_ends_all() {
    let clock = Clock::start();
    let listen = Listen::new(3).bind(Protocol::Http, &[[127, 0, 0, 1].into()], 0);
    let mut opened = open(&listen).unwrap();
    // One that does not listen cannot accept.
    let broken = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    broken.set_nonblocking(true).unwrap();
    opened.workers[1].tcp[0].socket = broken.into();
    let job = Job {
        tracker: Arc::new(Tracker::new(config(), Seed::new([1; 32]), clock.now())),
        fronts: Fronts::new(&Seed::new([1; 32]), &config()),
        sockets: opened.workers,
        clock,
        control: Arc::new(Control::new()),
        connections_max: 10,
    };
    let error = crate::serve(job).unwrap_err();
    assert!(matches!(error, ServeError::Failed { worker: 2, .. }), "{error}");
}

/// Notes, in the worker itself, how far it has come with one protocol when it turns to the other.
#[derive(Debug, Default)]
struct Witness {
    /// Requests over HTTP.
    requests: AtomicU64,
    /// Datagrams that were received when the latest of them was looked at.
    datagrams: AtomicU64,
    /// The number of datagrams that is waited for, and the number of requests that there were when it was reached.
    awaited: AtomicU64,
    reached_at: AtomicU64,
}

impl Pages for Witness {
    fn find(&self, _: Instant, _: &Request<'_>, _: IpAddr, tracker: &Tracker) -> Found {
        let requests = self.requests.fetch_add(1, SeqCst) + 1;
        let datagrams = received(tracker);
        self.datagrams.store(datagrams, SeqCst);
        if datagrams >= self.awaited.load(SeqCst) {
            self.awaited.store(u64::MAX, SeqCst);
            self.reached_at.store(requests, SeqCst);
        }
        Found::Nothing
    }
}

/// Datagrams over both families.
fn received(tracker: &Tracker) -> u64 {
    tracker.count(Count::UdpReceived4) + tracker.count(Count::UdpReceived6)
}

fn witnessed(workers: usize) -> (Server, Arc<Witness>) {
    let witness = Arc::new(Witness::default());
    witness.awaited.store(u64::MAX, SeqCst);
    let pages = Arc::clone(&witness);
    let server = Server::start_with(workers, 100, keep_alive(), |fronts, config| {
        fronts.with_pages(config, pages)
    });
    (server, witness)
}

const PAGE: &[u8] = b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n";

/// Does `flood` on some threads until this is dropped.
struct Flood {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    fn start(threads: usize, flood: impl Fn(&AtomicBool) + Clone + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let threads = (0..threads).map(|_| {
            let (is_over, flood) = (Arc::clone(&is_over), flood.clone());
            thread::spawn(move || flood(&is_over))
        });
        Self {
            threads: threads.collect(),
            is_over,
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Sends datagrams faster than they are answered, and lets the answers drop: scrapes of as many torrents as there is room
/// for, from a proven sender.
fn flood_of_datagrams(ip: IpAddr, port: u16) -> impl Fn(&AtomicBool) + Clone {
    move |is_over| {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.connect((ip, port)).unwrap();
        let scrape = scrape(connection_id(&socket));
        while !is_over.load(SeqCst) {
            let _ = socket.send(&scrape);
        }
    }
}

fn connection_id(client: &UdpSocket) -> u64 {
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = [0; 64];
    loop {
        client.send(&RequestHead::connect(1).encode()).unwrap();
        // Another's flood may have taken it.
        let len = client.recv(&mut answer).unwrap_or(0);
        if let Some(Response::Connect(connected)) = Response::decode(&answer[..len]) {
            return connected.connection_id;
        }
    }
}

fn scrape(connection_id: u64) -> Vec<u8> {
    let request = ScrapeRequest {
        connection_id,
        transaction_id: 1,
        info_hashes: &[[9; 20]; 74],
    };
    let mut out = vec![0; ScrapeRequest::LEN_MAX];
    let len = request.encode(&mut out);
    out.truncate(len);
    out
}

/// Sends requests as fast as they are taken, on a connection whose answers another thread reads.
fn flood_of_requests(port: u16) -> impl Fn(&AtomicBool) + Clone {
    move |is_over| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut answers = stream.try_clone().unwrap();
        let reader = thread::spawn(move || while answers.read(&mut [0; 1 << 16]).is_ok_and(|len| len > 0) {});
        let requests = PAGE.repeat(1000);
        while !is_over.load(SeqCst) {
            stream.write_all(&requests).unwrap();
        }
        let _ = stream.shutdown(Shutdown::Both);
        reader.join().unwrap();
    }
}

#[test]
fn a_flood_of_datagrams_does_not_keep_connections_waiting() {
    let (server, witness) = witnessed(1);
    // Its worker has a socket for each family, and neither is ever empty.
    let _floods = [[127, 0, 0, 1].into(), "::1".parse().unwrap()]
        .map(|ip| Flood::start(1, flood_of_datagrams(ip, server.port)));
    server.wait_for(Count::GaveWay, 100);
    let mut batches = Vec::new();
    for number in 0..40 {
        // New connections and ones that were kept.
        let mut client = server.connect();
        for _ in 0..1 + number % 2 {
            client.write_all(PAGE).unwrap();
            let before = received(&server.tracker);
            answer(&mut client);
            let at = witness.datagrams.load(SeqCst);
            batches.push(at.saturating_sub(before) / 64);
        }
    }
    let worst = batches.iter().max().unwrap();
    assert!(
        *worst <= BATCHES_WAITED_MAX,
        "{worst} batches came first: {batches:?}"
    );
}

#[test]
fn a_flood_of_requests_does_not_keep_datagrams_waiting() {
    let (server, witness) = witnessed(1);
    let _flood = Flood::start(8, flood_of_requests(server.port));
    server.wait_for(Count::GaveWay, 100);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(("127.0.0.1", server.port)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut requests = Vec::new();
    for number in 1..=40 {
        witness.awaited.store(number, SeqCst);
        client.send(&RequestHead::connect(1).encode()).unwrap();
        let before = witness.requests.load(SeqCst);
        assert!(client.recv(&mut [0; 64]).is_ok());
        while witness.awaited.load(SeqCst) != u64::MAX {
            thread::sleep(Duration::from_millis(1));
        }
        requests.push(witness.reached_at.load(SeqCst).saturating_sub(before));
    }
    let worst = requests.iter().max().unwrap();
    assert!(
        *worst <= REQUESTS_WAITED_MAX,
        "{worst} requests came first: {requests:?}"
    );
}

/// Batches of datagrams that are answered at most while a connection is accepted, read from and answered: few, where it
/// had been thousands.
const BATCHES_WAITED_MAX: u64 = 40;
/// Requests that are answered at most before a datagram is: a few from each connection, and as many again as it takes until
/// the worker looks.
const REQUESTS_WAITED_MAX: u64 = 400;

/// Pages whose maker panics.
#[derive(Debug)]
struct Faulty;

impl Pages for Faulty {
    fn find(&self, _: Instant, _: &Request<'_>, _: IpAddr, _: &Tracker) -> Found {
        panic!("a task panics, as it should");
    }
}

#[test]
fn a_panic_of_a_task_ends_all() {
    let clock = Clock::start();
    let listen = Listen::new(2).bind(Protocol::Http, &[[127, 0, 0, 1].into()], 0);
    let opened = open(&listen).unwrap();
    let tracker = Tracker::new(config(), Seed::new([1; 32]), clock.now());
    let fronts = Fronts::new(&Seed::new([1; 32]), &config()).with_pages(&config(), Arc::new(Faulty));
    let job = Job {
        tracker: Arc::new(tracker),
        fronts,
        sockets: opened.workers,
        clock,
        control: Arc::new(Control::new()),
        connections_max: 10,
    };
    let serving = thread::spawn(|| crate::serve(job));
    let mut client = TcpStream::connect(opened.local[0].at).unwrap();
    client
        .write_all(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let error = serving.join().unwrap().unwrap_err();
    assert!(matches!(error, ServeError::Panicked { .. }), "{error}");
}

/// Whether a client has its connect answered at once.
#[cfg(target_os = "linux")]
fn is_let_in(client: &UdpSocket, server: SocketAddr) -> bool {
    client.send_to(&RequestHead::connect(1).encode(), server).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut answer = [0; 2048];
    // Answers to announces that came before the filter may be among them.
    let mut answers = std::iter::from_fn(|| client.recv(&mut answer).ok().map(|len| answer[..len].to_vec()));
    answers.any(|answer| matches!(Response::decode(&answer), Some(Response::Connect(_))))
}

#[test]
#[cfg(target_os = "linux")]
fn a_source_far_over_its_limit_is_filtered_by_the_kernel_and_freed_when_it_is_calm() {
    let limited = config()
        .with_limit_rate(10)
        .unwrap()
        .with_limit_exempt(Vec::new());
    for workers in [1, 2] {
        let server = Server::start(workers, 100, limited.clone());
        let at = SocketAddr::from(([127, 0, 0, 1], server.port));
        let bound = |ip: [u8; 4]| UdpSocket::bind((IpAddr::from(ip), 0)).unwrap();
        let (heavy, honest) = (bound([127, 77, 0, 1]), bound([127, 0, 0, 1]));
        assert!(announces(&heavy, at) && announces(&honest, at));
        let ids = Fronts::new(&Seed::new([1; 32]), &limited).udp;
        let id = ids
            .connection_ids()
            .make(Clock::start().now(), [127, 77, 0, 1].into());
        let filtered = || server.tracker.count(Count::UdpFiltered);
        for _ in 0..PATIENCE.as_millis() / 5 {
            if filtered() > 0 {
                break;
            }
            for port in 0..100 {
                heavy.send_to(&announce(id, 1000 + port), at).unwrap();
            }
            thread::sleep(Duration::from_millis(5));
        }
        assert!(filtered() > 0, "nothing was filtered");
        assert!(!is_let_in(&heavy, at));
        assert!(announces(&honest, at));
        assert!((0..400).any(|_| is_let_in(&heavy, at)), "it is never freed");
    }
}
