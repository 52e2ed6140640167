//! The clients, and their worker.
#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers of peers and torrents are small"
)]

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use etracker_core::announce::{Announce, Endpoint, Event, Family};
use etracker_core::cluster::{Secret, Secrets};
use etracker_core::config::LimitMode;
use etracker_core::seed::Random;
use etracker_core::swarm::{Handout, Swarms};
use etracker_core::udp::packet::{AnnounceRequest, RequestHead, Response, ScrapeRequest};
use etracker_core::{Config, InfoHash, Instant, PeerId, Seed, Tracker};
use etracker_runtime_common::{Clock, Control, Fronts, Job, Listen, Protocol, open};
use etracker_smol::Stepped;
use socket2::{Domain, Socket, Type};

/// Has one kind of request carried out so many times.
pub(crate) fn hold() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, count] = arguments.as_slice() else {
        return Err("usage: instructions KIND COUNT".into());
    };
    let count = count.parse()?;
    let config = Config::default().with_keep_alive(true);
    match kind.as_str() {
        "udp-connect" => Scene::set(config)?.datagrams(count, BATCH, connect),
        "udp-announce" => Scene::set(config)?.datagrams(count, BATCH, announce),
        "udp-announce-limited" => Scene::set(limited(config))?.datagrams(count, BATCH, announce),
        "udp-announce-cluster" => Scene::set(clustered(config))?.datagrams(count, BATCH, announce),
        "udp-announce-unlimited" => Scene::set(unlimited(config))?.datagrams(count, BATCH, announce),
        "udp-announce-flood" => Scene::set(config)?.datagrams(count, FLOOD, announce),
        "udp-scrape" => Scene::set(config)?.datagrams(count, BATCH, scrape),
        "http-announce" => Scene::set(config)?.requests(count, "keep-alive"),
        "http-connection" => Scene::set(config)?.requests(count, "close"),
        "store-announce" => announce_in_the_store(count),
        _ => Err(format!("there is no kind {kind}").into()),
    }
}

/// Limits for these clients as for those from elsewhere: loopback is exempt by default.
fn limited(config: Config) -> Config {
    config.with_limit_exempt(Vec::new())
}

/// As a node of a cluster, the others of which are idle.
fn clustered(config: Config) -> Config {
    config.with_cluster(&Secrets::new(Secret::new([7; 32])))
}

fn unlimited(config: Config) -> Config {
    config.with_limit_mode(LimitMode::Off)
}

/// What is counted of a conversation: what the worker does between a batch of requests and its rest.
#[inline(never)]
fn measured_step(worker: &mut Stepped) -> io::Result<bool> {
    let pending = worker.step()?.is_pending();
    Ok(black_box(pending))
}

/// What is counted of the store.
#[inline(never)]
fn measured_announces(swarms: &Swarms, random: &mut Random, announces: &[Announce], compact: &mut [u8]) {
    for announce in announces {
        let prepared = swarms.prepare(&announce.info_hash, random);
        let mut peers = Handout::new(Family::V4, WANTED, compact);
        let counts = swarms.announce(NOW, announce, &prepared, &mut peers);
        black_box(&counts).as_ref().expect("there is room for all");
    }
}

/// A worker that knows all peers, and its clients.
struct Scene {
    worker: Stepped,
    at: SocketAddr,
    clients: Vec<Client>,
    is_measured: bool,
}

/// One address that announces from many ports.
struct Client {
    ip: Ipv4Addr,
    socket: UdpSocket,
    connection_id: u64,
}

impl Scene {
    fn set(config: Config) -> Result<Self, Box<dyn Error>> {
        let local = [Ipv4Addr::LOCALHOST.into()];
        let listen = Listen::new(1)
            .bind(Protocol::Http, &local, 0)
            .bind(Protocol::Udp, &local, 0);
        let opened = open(&listen)?;
        let at = opened.local.first().ok_or("there is no socket")?.at;
        let job = Job {
            fronts: Fronts::new(&Seed::new([7; 32]), &config),
            tracker: Arc::new(Tracker::new(config, Seed::new([7; 32]), NOW)),
            sockets: opened.workers,
            clock: Clock::fixed(NOW),
            control: Arc::new(Control::new()),
            connections_max: 64,
        };
        let worker = job.divide().next().ok_or("there is no worker")?;
        let mut scene = Self {
            worker: Stepped::new(worker)?,
            at,
            clients: (1..=CLIENTS)
                .map(|host| Client::new(host, at))
                .collect::<Result<_, _>>()?,
            is_measured: false,
        };
        scene.turn()?;
        scene.exchange(0, CLIENTS.into(), connect)?;
        for first in (0..PEERS).step_by(BATCH) {
            scene.exchange(first, BATCH, announce)?;
        }
        Ok(scene)
    }

    /// Datagrams, so many at once.
    fn datagrams(mut self, count: usize, batch: usize, request: Encode) -> Result<(), Box<dyn Error>> {
        for first in (0..count + batch).step_by(batch) {
            // The first ones find caches and buffers empty.
            self.is_measured = first > 0;
            self.exchange(first, batch, request)?;
        }
        Ok(())
    }

    /// Sends so many datagrams, has them answered, and looks at each answer.
    fn exchange(&mut self, first: usize, count: usize, request: Encode) -> Result<(), Box<dyn Error>> {
        for number in first..first + count {
            let client = &self.clients[number % self.clients.len()];
            client.socket.send(&request(number, client.connection_id))?;
        }
        self.turn()?;
        for number in first..first + count {
            let index = number % self.clients.len();
            self.clients[index].is_answered()?;
        }
        Ok(())
    }

    /// Announces over HTTP, one at a time, on one connection or each on one of its own.
    fn requests(mut self, count: usize, connection: &str) -> Result<(), Box<dyn Error>> {
        let mut stream = None;
        for number in 0..=count {
            self.is_measured = number > 0;
            let client = &self.clients[number % self.clients.len()];
            let mut open: TcpStream = match stream.take() {
                Some(stream) => stream,
                None => client.connect(self.at)?,
            };
            open.write_all(&get(number, connection))?;
            self.turn()?;
            let mut answer = [0; 4096];
            let len = open.read(&mut answer).map_err(disturbed)?;
            if !answer[..len].starts_with(b"HTTP/1.1 200 ") || len < 6 * WANTED {
                return Err(format!("an odd answer: {}", answer[..len].escape_ascii()).into());
            }
            stream = (connection == "keep-alive").then_some(open);
        }
        Ok(())
    }

    /// Lets the worker do all that it can.
    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        let is_pending = if self.is_measured {
            measured_step(&mut self.worker)?
        } else {
            self.worker.step()?.is_pending()
        };
        is_pending
            .then_some(())
            .ok_or_else(|| "the worker has ended".into())
    }
}

impl Client {
    fn new(host: u8, at: SocketAddr) -> io::Result<Self> {
        let ip = Ipv4Addr::new(127, 1, 0, host);
        let socket = UdpSocket::bind((ip, 0))?;
        socket.connect(at)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            ip,
            socket,
            connection_id: 0,
        })
    }

    fn connect(&self, at: SocketAddr) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((self.ip, 0)).into())?;
        socket.connect(&at.into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket.into())
    }

    /// Takes an answer, which must be a right one.
    fn is_answered(&mut self) -> Result<(), Box<dyn Error>> {
        let mut answer = [0; 2048];
        let len = self.socket.recv(&mut answer).map_err(disturbed)?;
        match Response::decode(&answer[..len]) {
            Some(Response::Connect(connected)) => self.connection_id = connected.connection_id,
            Some(Response::Announce(..)) => {}
            Some(Response::Scrape(scraped)) if scraped.counts().count() == SCRAPED => {}
            odd => return Err(format!("an odd answer: {odd:?}").into()),
        }
        Ok(())
    }
}

/// Writes the request of a number, proven by a connection id.
type Encode = fn(usize, u64) -> Vec<u8>;

fn connect(number: usize, _: u64) -> Vec<u8> {
    RequestHead::connect(low(number)).encode().to_vec()
}

fn announce(number: usize, connection_id: u64) -> Vec<u8> {
    let (info_hash, port) = peer(number);
    AnnounceRequest {
        connection_id,
        transaction_id: low(number),
        info_hash,
        peer_id: PEER_ID,
        downloaded: 0,
        left: 1,
        uploaded: 0,
        event: Event::None,
        ip: Ipv4Addr::UNSPECIFIED,
        key: 0,
        numwant: i32::try_from(WANTED).unwrap_or(i32::MAX),
        port,
    }
    .encode()
    .to_vec()
}

fn scrape(number: usize, connection_id: u64) -> Vec<u8> {
    let info_hashes: [[u8; 20]; SCRAPED] = std::array::from_fn(|nth| info_hash(number + nth).0);
    let request = ScrapeRequest {
        connection_id,
        transaction_id: low(number),
        info_hashes: &info_hashes,
    };
    let mut out = vec![0; ScrapeRequest::LEN_MAX];
    let len = request.encode(&mut out);
    out.truncate(len);
    out
}

fn get(number: usize, connection: &str) -> Vec<u8> {
    let (info_hash, port) = peer(number);
    let hash: String = info_hash.0.iter().map(|byte| format!("%{byte:02x}")).collect();
    let peer_id = String::from_utf8_lossy(&PEER_ID.0);
    format!(
        "GET /announce?info_hash={hash}&peer_id={peer_id}&port={port}&uploaded=0&downloaded=0&left=1&compact=1&numwant={WANTED} \
         HTTP/1.1\r\nHost: tracker.example\r\nUser-Agent: recorded/1.0\r\nAccept-Encoding: gzip\r\nConnection: {connection}\r\n\r\n"
    )
    .into_bytes()
}

/// The torrent and the port of a peer; its client is known by the same number.
fn peer(number: usize) -> (InfoHash, u16) {
    let number = number % PEERS;
    let torrent = number / usize::from(CLIENTS);
    let nth = torrent / TORRENTS;
    (info_hash(torrent), 10_000 + nth as u16)
}

fn info_hash(torrent: usize) -> InfoHash {
    let mut random = fastrand::Rng::with_seed((torrent % TORRENTS) as u64);
    InfoHash(std::array::from_fn(|_| random.u8(..)))
}

fn announce_in_the_store(count: usize) -> Result<(), Box<dyn Error>> {
    let config = Config::default();
    let swarms = Swarms::new(config.swarms(), &Seed::new([7; 32]));
    let mut random = Random::with_seed(7);
    let mut compact = [0; 6 * WANTED];
    let announces: Vec<Announce> = (0..count.max(PEERS)).map(in_the_store).collect();
    for announce in &announces[..PEERS] {
        let prepared = swarms.prepare(&announce.info_hash, &mut random);
        let mut peers = Handout::new(Family::V4, 0, &mut []);
        swarms
            .announce(NOW, announce, &prepared, &mut peers)
            .map_err(|refusal| format!("{refusal:?}"))?;
    }
    measured_announces(&swarms, &mut random, &announces[..count], &mut compact);
    Ok(())
}

fn in_the_store(number: usize) -> Announce {
    let (info_hash, port) = peer(number);
    let host = 1 + (number % usize::from(CLIENTS)) as u8;
    Announce {
        info_hash,
        peer_id: PEER_ID,
        peer: Endpoint {
            ip: Ipv4Addr::new(127, 1, 0, host).into(),
            port,
        },
        left: 1,
        event: Event::None,
        numwant: None,
    }
}

fn low(number: usize) -> u32 {
    number as u32
}

fn disturbed(error: io::Error) -> String {
    format!("the network was late, count again: {error}")
}

const NOW: Instant = Instant::from_secs(1_800_000_000);
const PEER_ID: PeerId = PeerId(*b"-XX0000-abcdefghijkl");
const TORRENTS: usize = 32;
const CLIENTS: u8 = 4;
/// A hundred of each torrent, so that fifty can be handed out.
const PEERS: usize = 100 * TORRENTS;
const WANTED: usize = 50;
/// Torrents in a scrape.
const SCRAPED: usize = 10;
/// Datagrams that wait for a worker that is not busy.
const BATCH: usize = 16;
/// Datagrams that wait for one that is: six full batches, which any receive buffer holds.
const FLOOD: usize = 384;
/// How long an answer is waited for that the worker has sent already.
const PATIENCE: Duration = Duration::from_secs(1);
