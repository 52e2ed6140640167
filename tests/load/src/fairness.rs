//! Whether a tracker that is flooded over one protocol serves the clients of the other.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use etracker_core::udp::packet::{RequestHead, Response};
use etracker_runtime_common::Plain;
use socket2::{Domain, Socket, Type};

use crate::compare::{Process, Server, servers};
use crate::drive::Request;
use crate::http::{body, write_request};
use crate::population::{Population, source};
use crate::quota::{Limits, Quota};
use crate::report::{complain, machine, say};
use crate::round::Protocol;
use crate::stats::{Spread, percentile};
use crate::sys::{self, Frame};
use crate::udp::encode;

/// The settings of a measurement.
pub(crate) struct Fairness<'a> {
    /// Whether the flood uses UDP, or else HTTP. Honest clients use the other protocol.
    pub(crate) flood: Protocol,
    pub(crate) servers: &'a Path,
    pub(crate) population: &'a Population,
    /// How long each half of a round takes: the flood alone, and beside honest clients.
    pub(crate) span: Duration,
    pub(crate) rounds: usize,
    /// Hundredths of a processor that each server is held to.
    pub(crate) quota: Option<u32>,
    /// How many requests have to be answered.
    pub(crate) requests: usize,
}

/// A server and its results.
struct Contestant {
    name: String,
    flooded: SocketAddr,
    asked: SocketAddr,
    latencies_us: Vec<u32>,
    lost: usize,
    /// Answers to the flood a second: alone, and beside honest clients.
    alone: Vec<f64>,
    beside: Vec<f64>,
    /// Before its quota, which it has to leave.
    _process: Process,
    _quota: Option<Quota>,
}

/// Measures all servers in turn and prints a table. Whether every request was answered, and there were as many as there had
/// to be.
///
/// # Errors
/// No server is to be measured.
pub(crate) fn measure(fairness: &Fairness<'_>) -> Result<bool, String> {
    let mut contestants: Vec<Contestant> = servers(fairness.servers)?
        .into_iter()
        .filter_map(|server| {
            let name = server.name.clone();
            let started = Contestant::start(server, fairness).transpose()?;
            started
                .inspect_err(|error| say(format_args!("!!! SKIPPED: {name}: {}", Plain(error))))
                .ok()
        })
        .collect();
    if contestants.is_empty() {
        return Err("no server of the file can be measured".to_owned());
    }
    for first in 0..fairness.rounds {
        for step in 0..contestants.len() {
            let number = (first + step) % contestants.len();
            let contestant = &mut contestants[number];
            contestant
                .round(fairness)
                .map_err(|error| format!("{}: {}", contestant.name, Plain(&error)))?;
        }
    }
    say(title(fairness));
    let rows = contestants.iter_mut().map(|contestant| contestant.row(fairness));
    let right = rows.fold(true, |right, (row, is_right)| {
        say(row);
        right & is_right
    });
    if !right {
        eprintln!(
            "etracker-load: requests were lost, or fewer than {} answered",
            fairness.requests
        );
    }
    Ok(right)
}

impl Contestant {
    /// Nothing, if it does not speak both.
    fn start(server: Server, fairness: &Fairness<'_>) -> io::Result<Option<Self>> {
        let (Some(udp), Some(http)) = (server.udp, server.http_close) else {
            return Ok(None);
        };
        let quota = fairness
            .quota
            .map(|percent| {
                let limits = Limits {
                    percent: Some(percent),
                    memory: None,
                };
                Quota::new(limits, &udp.port().to_string())
            })
            .transpose()
            .map_err(|error| io::Error::other(format!("there is no cgroup to be had: {}", Plain(&error))))?;
        let process = Process::start(&server.command, udp, Protocol::Udp, None)?;
        if let Some(quota) = &quota {
            quota.hold(process.id())?;
        }
        let (flooded, asked) = match fairness.flood {
            Protocol::Udp => (udp, http),
            Protocol::Http | Protocol::HttpClose | Protocol::Https | Protocol::HttpsClose(_) => (http, udp),
        };
        Ok(Some(Self {
            name: server.name,
            flooded,
            asked,
            latencies_us: Vec::new(),
            lost: 0,
            alone: Vec::new(),
            beside: Vec::new(),
            _process: process,
            _quota: quota,
        }))
    }

    /// Floods it alone, and then beside honest clients.
    fn round(&mut self, fairness: &Fairness<'_>) -> io::Result<()> {
        for is_asked in [false, true] {
            let (is_over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
            let rate = thread::scope(|scope| {
                let flood = |number| {
                    let (is_over, answered) = (&is_over, &answered);
                    let (population, at) = (fairness.population, self.flooded);
                    move || match fairness.flood {
                        Protocol::Udp => flood_with_datagrams(population, at, number, is_over, answered),
                        Protocol::Http | Protocol::HttpClose | Protocol::Https | Protocol::HttpsClose(_) => {
                            flood_with_requests(population, at, number, is_over, answered)
                        }
                    }
                };
                let threads = match fairness.flood {
                    Protocol::Udp => UDP_FLOODERS,
                    Protocol::Http | Protocol::HttpClose | Protocol::Https | Protocol::HttpsClose(_) => {
                        HTTP_FLOODERS
                    }
                };
                let flooders: Vec<_> = (0..threads).map(|number| scope.spawn(flood(number))).collect();
                sleep(SETTLE);
                let (before, began) = (answered.load(Relaxed), Instant::now());
                let until = began + fairness.span;
                if is_asked {
                    self.ask(fairness, until);
                } else {
                    sleep(fairness.span);
                }
                #[expect(clippy::cast_precision_loss, reason = "for people to read")]
                let rate = (answered.load(Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
                is_over.store(true, Relaxed);
                for flooder in flooders {
                    flooder
                        .join()
                        .map_err(|_| io::Error::other("a flooder panicked"))??;
                }
                Ok::<_, io::Error>(rate)
            })?;
            if is_asked {
                &mut self.beside
            } else {
                &mut self.alone
            }
            .push(rate);
        }
        Ok(())
    }

    /// Has honest clients ask, each one request at a time.
    fn ask(&mut self, fairness: &Fairness<'_>, until: Instant) {
        let (at, population) = (self.asked, fairness.population);
        let outcomes = thread::scope(|scope| {
            let clients: Vec<_> = (0..HONEST)
                .map(|number| {
                    scope.spawn(move || {
                        let mut outcomes = Vec::new();
                        let mut rng = fastrand::Rng::with_seed(number.into());
                        while Instant::now() < until {
                            // They come when they like, not when the server has just had time for them.
                            sleep(Duration::from_micros(rng.u64(..PAUSE_MICROS)));
                            let began = Instant::now();
                            let answered = match fairness.flood {
                                Protocol::Udp => announce_over_http(population, at, HONEST_FIRST + number),
                                Protocol::Http
                                | Protocol::HttpClose
                                | Protocol::Https
                                | Protocol::HttpsClose(_) => {
                                    announce_over_udp(population, at, HONEST_FIRST + number)
                                }
                            };
                            outcomes.push(answered.map(|()| began.elapsed()));
                        }
                        outcomes
                    })
                })
                .collect();
            clients
                .into_iter()
                .filter_map(|client| client.join().ok())
                .flatten()
                .collect::<Vec<_>>()
        });
        for outcome in outcomes {
            match outcome {
                Ok(took) => self
                    .latencies_us
                    .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX)),
                Err(error) => {
                    complain(format_args!("{}: lost: {}", self.name, Plain(&error)));
                    self.lost += 1;
                }
            }
        }
    }

    /// Its line of the table, and whether it is as it should be.
    fn row(&mut self, fairness: &Fairness<'_>) -> (String, bool) {
        let answered = self.latencies_us.len();
        let mut millis = |share| {
            percentile(&mut self.latencies_us, share)
                .map_or_else(|| "-".to_owned(), |us| format!("{:.0}", f64::from(us) / 1000.0))
        };
        let latencies = [0.5, 0.95, 0.99, 1.0].map(&mut millis).join(" | ");
        let ratios = self
            .alone
            .iter()
            .zip(&self.beside)
            .map(|(alone, beside)| beside / alone);
        let spread = |figures: &mut dyn Iterator<Item = f64>, digits: usize| {
            Spread::of(figures).map_or_else(
                || "-".to_owned(),
                |Spread { median, min, max }| format!("{median:.digits$} ({min:.digits$}..{max:.digits$})"),
            )
        };
        let row = format!(
            "| {} | {answered} | {} | {latencies} | {} | {} | {} |",
            self.name,
            self.lost,
            spread(&mut self.alone.iter().copied(), 0),
            spread(&mut self.beside.iter().copied(), 0),
            spread(&mut ratios.into_iter(), 3),
        );
        (row, self.lost == 0 && answered >= fairness.requests)
    }
}

fn title(fairness: &Fairness<'_>) -> String {
    let (flood, honest, who) = match fairness.flood {
        Protocol::Udp => (
            "UDP",
            "HTTP",
            format!("{UDP_FLOODERS} proven senders of announces"),
        ),
        Protocol::Http | Protocol::HttpClose | Protocol::Https | Protocol::HttpsClose(_) => (
            "HTTP",
            "UDP",
            format!("{HTTP_FLOODERS} clients, each with one connection after the other"),
        ),
    };
    let quota = fairness.quota.map_or_else(String::new, |percent| {
        format!("; each server held to {percent} % of a processor")
    });
    format!(
        "\n### A flood over {flood}, and honest clients over {honest}\n\n{}{quota}; flood: {who}; honest: {HONEST} clients, each \
         one announce at a time and up to 100 ms of pause, lost after {} s; {} rounds of {} s alone and {} s together\n\n\
         | | answered | lost | p50 ms | p95 ms | p99 ms | max ms | flood answered a second, alone (min..max) | beside (min..max) | \
         ratio (min..max) |\n|---|---|---|---|---|---|---|---|---|---|",
        machine(),
        PATIENCE.as_secs(),
        fairness.rounds,
        fairness.span.as_secs_f64(),
        fairness.span.as_secs_f64(),
    )
}

/// Sends announces as fast as the network takes them, and counts the answers.
fn flood_with_datagrams(
    population: &Population,
    at: SocketAddr,
    number: u32,
    is_over: &AtomicBool,
    answered: &AtomicU64,
) -> io::Result<()> {
    let socket = bound(Type::DGRAM, at, number)?;
    // A server that answers in bursts has them counted too.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect(&at.into())?;
    let socket = UdpSocket::from(socket);
    let Some(connection_id) = connection_id(&socket, is_over)? else {
        return Ok(());
    };
    let mut out = [0; sys::FRAME_LEN];
    let mut frames: Vec<Frame> = (0..sys::BATCH_MAX).map(|_| Frame::new()).collect();
    let (mut requests, mut nth) = (Vec::new(), 0);
    let mut len = 0;
    for _ in 0..SENT_TOGETHER * 16 {
        nth = (nth + 1) % population.peers_of(number);
        let request = Request::Announce(population.peer(number, nth));
        len = encode(population, request, connection_id, 1, &mut out);
        requests.extend_from_slice(&out[..len]);
    }
    sys::cut_into(&socket, i32::try_from(len).unwrap_or(i32::MAX))?;
    for batch in requests.chunks(SENT_TOGETHER * len).cycle() {
        if is_over.load(Relaxed) {
            break;
        }
        // A full send buffer drops the datagram: a flood does not wait.
        drop(socket.send(batch));
        while let Ok(count) = sys::receive(&socket, &mut frames) {
            let announces = frames[..count]
                .iter()
                .filter(|frame| matches!(Response::decode(frame.payload()), Some(Response::Announce(..))));
            answered.fetch_add(announces.count() as u64, Relaxed);
            if count < sys::BATCH_MAX {
                break;
            }
        }
    }
    Ok(())
}

/// Asks until it is given one: in a flood datagrams are lost.
fn connection_id(socket: &UdpSocket, is_over: &AtomicBool) -> io::Result<Option<u64>> {
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut answer = [0; sys::FRAME_LEN];
    while !is_over.load(Relaxed) {
        socket.send(&RequestHead::connect(1).encode())?;
        let len = socket.recv(&mut answer).unwrap_or(0);
        if let Some(Response::Connect(connected)) = Response::decode(&answer[..len]) {
            return Ok(Some(connected.connection_id));
        }
    }
    Ok(None)
}

/// Announces on one connection after the other, and counts the answers.
fn flood_with_requests(
    population: &Population,
    at: SocketAddr,
    number: u32,
    is_over: &AtomicBool,
    answered: &AtomicU64,
) -> io::Result<()> {
    while !is_over.load(Relaxed) {
        if announce_over_http(population, at, number).is_ok() {
            answered.fetch_add(1, Relaxed);
        }
    }
    Ok(())
}

fn announce_over_http(population: &Population, at: SocketAddr, number: u32) -> io::Result<()> {
    let began = Instant::now();
    let socket = bound(Type::STREAM, at, number)?;
    socket.connect_timeout(&at.into(), PATIENCE)?;
    let mut stream = TcpStream::from(socket);
    let mut request = Vec::new();
    write_request(
        population,
        &population.peer(number % population.clients(), 0),
        false,
        &mut request,
    );
    stream.write_all(&request)?;
    let (mut input, mut piece) = (Vec::new(), [0; 4096]);
    while body(&input).is_none() {
        stream.set_read_timeout(Some(left(began)?))?;
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => input.extend_from_slice(&piece[..len]),
        }
    }
    Ok(())
}

fn announce_over_udp(population: &Population, at: SocketAddr, number: u32) -> io::Result<()> {
    let began = Instant::now();
    let socket = bound(Type::DGRAM, at, number)?;
    socket.connect(&at.into())?;
    let socket = UdpSocket::from(socket);
    let mut buffer = [0; sys::FRAME_LEN];
    let mut exchange = |request: Request, connection_id| -> io::Result<u64> {
        let len = encode(population, request, connection_id, 1, &mut buffer);
        socket.send(&buffer[..len])?;
        socket.set_read_timeout(Some(left(began)?))?;
        let len = socket.recv(&mut buffer)?;
        match Response::decode(&buffer[..len]) {
            Some(Response::Connect(connected)) => Ok(connected.connection_id),
            Some(Response::Announce(..)) => Ok(0),
            odd => Err(io::Error::other(format!("an odd answer: {odd:?}"))),
        }
    };
    let connection_id = exchange(Request::Connect, 0)?;
    let peer = population.peer(number % population.clients(), 0);
    exchange(Request::Announce(peer), connection_id).map(|_| ())
}

/// A socket at the address of a client.
fn bound(kind: Type, at: SocketAddr, number: u32) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), kind, None)?;
    socket.bind(&SocketAddr::new(source(at.ip(), number), 0).into())?;
    Ok(socket)
}

/// The rest of a client's timeout.
fn left(began: Instant) -> io::Result<Duration> {
    PATIENCE
        .checked_sub(began.elapsed())
        .filter(|left| !left.is_zero())
        .ok_or_else(|| io::ErrorKind::TimedOut.into())
}

/// Senders of a flood over UDP: more than one server answers.
const UDP_FLOODERS: u32 = 2;
/// Clients of a flood over HTTP, whose next request waits for the answer to the last.
const HTTP_FLOODERS: u32 = 64;
/// Bytes of receive buffer that a flooder asks for.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Announces that a flooder hands to the network at once.
const SENT_TOGETHER: usize = 32;
/// Few, so that their requests take a negligible part of the quota from the flood.
const HONEST: u32 = 3;
/// The longest that an honest client pauses after an answer: the period of a quota, so that it comes at any time of one.
const PAUSE_MICROS: u64 = 100_000;
/// The first of the honest clients; those of a flood come before.
const HONEST_FIRST: u32 = 100;
/// How long an honest client waits.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a flood takes until it is one.
const SETTLE: Duration = Duration::from_millis(300);
