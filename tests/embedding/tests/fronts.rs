//! Protocols of others are served beside those of the tracker, on runtimes that know nothing of them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use etracker_core::announce::{Announce, Endpoint, Event};
use etracker_core::stats::Count;
use etracker_core::udp::packet::{RequestHead, Response};
use etracker_core::{Config, InfoHash, PeerId, Seed, Tracker, Worker};
use etracker_embedding::{ECHO, Echo, LINES, Lines};
use etracker_runtime_common::{Clock, Control, Fronts, Job, Listen, Protocol, ServeError, open};

type Serve = fn(Job) -> Result<(), ServeError>;

const RUNTIMES: [Serve; 2] = [etracker_smol::serve, etracker_embedding::serve];

struct Server {
    tracker: Arc<Tracker>,
    control: Arc<Control>,
    clock: Clock,
    /// UDP, echo, lines.
    at: [SocketAddr; 3],
    serving: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Server {
    fn start(serve: Serve) -> Self {
        let (job, at) = job(true);
        Self {
            tracker: Arc::clone(&job.tracker),
            control: Arc::clone(&job.control),
            clock: job.clock,
            at,
            serving: Some(thread::spawn(move || serve(job))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control.stop();
        let served = self.serving.take().unwrap().join();
        assert!(
            served.as_ref().is_ok_and(Result::is_ok) || thread::panicking(),
            "{served:?}"
        );
    }
}

/// Two workers that listen for the tracker's protocol and both others; with their fronts, or without.
fn job(with_fronts: bool) -> (Job, [SocketAddr; 3]) {
    let local = [[127, 0, 0, 1].into()];
    let listen = [Protocol::Udp, ECHO, LINES]
        .into_iter()
        .zip(free_ports())
        .fold(Listen::new(2), |listen, (protocol, port)| {
            listen.bind(protocol, &local, port)
        });
    let opened = open(&listen).unwrap();
    let at = [0, 1, 2].map(|entry: usize| opened.local[entry].at);
    let (clock, config, seed) = (Clock::start(), Config::default(), Seed::new([1; 32]));
    let mut fronts = Fronts::new(&seed, &config);
    if with_fronts {
        fronts = fronts.with_datagrams(ECHO, Echo).with_connections(LINES, Lines);
    }
    let job = Job {
        fronts,
        tracker: Arc::new(Tracker::new(config, seed, clock.now())),
        sockets: opened.workers,
        clock,
        control: Arc::new(Control::new()),
        connections_max: 100,
    };
    (job, at)
}

/// Ports that are free, and differ.
fn free_ports() -> [u16; 3] {
    let sockets = [0; 3].map(|port| UdpSocket::bind(("127.0.0.1", port)).unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

fn client(at: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(at).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn datagrams_of_another_protocol_are_answered_beside_those_of_the_tracker() {
    for serve in RUNTIMES {
        let server = Server::start(serve);
        let [udp, echo, _] = server.at;
        for len in 1..200 {
            let (client, mut answer) = (client(echo), [0; 256]);
            let sent: Vec<u8> = (0..len).collect();
            client.send(&[]).unwrap();
            client.send(&sent).unwrap();
            let len = client.recv(&mut answer).unwrap();
            assert_eq!(answer[..len], sent);
        }
        let (client, mut answer) = (client(udp), [0; 64]);
        client.send(&RequestHead::connect(7).encode()).unwrap();
        let len = client.recv(&mut answer).unwrap();
        assert_eq!(Response::decode(&answer[..len]).unwrap().transaction_id(), 7);
        assert_eq!(server.tracker.count(Count::UdpConnect), 1);
    }
}

#[test]
fn connections_of_another_protocol_are_served_and_ask_the_same_tracker() {
    for serve in RUNTIMES {
        let server = Server::start(serve);
        announce(&server);
        let mut client = TcpStream::connect(server.at[2]).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let known = "09".repeat(20) + "\n";
        let lines = format!("{known}no hash\n{known}");
        for piece in lines.as_bytes().chunks(33) {
            client.write_all(piece).unwrap();
        }
        let mut answers = [0; 10];
        client.read_exact(&mut answers).unwrap();
        assert_eq!(&answers, b"0 1\n?\n0 1\n");
        // One that sends nothing more is closed at the deadline of its protocol, and one that sends too much at once.
        assert_eq!(client.read(&mut answers).unwrap(), 0);
        let mut endless = TcpStream::connect(server.at[2]).unwrap();
        endless.write_all(&[b'x'; 41]).unwrap();
        endless.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(endless.read(&mut answers).unwrap(), 0);
        assert_eq!(server.tracker.count(Count::AcceptPassed), 2);
        assert_eq!(server.tracker.count(Count::HttpReceivedBytes), 0);
    }
}

/// Stores a leecher of the torrent 0909...
fn announce(server: &Server) {
    let announce = Announce {
        info_hash: InfoHash([9; 20]),
        peer_id: PeerId([8; 20]),
        peer: Endpoint {
            ip: IpAddr::from([192, 0, 2, 1]),
            port: 6881,
        },
        left: 1,
        event: Event::Started,
        numwant: None,
    };
    let mut worker = Worker::new(Arc::clone(&server.tracker));
    let announced = worker.announce_into_scratch(server.clock.now(), &announce, false);
    assert!(announced.is_ok());
}

#[test]
fn a_socket_whose_protocol_has_no_front_is_an_error_at_the_start() {
    for serve in RUNTIMES {
        let error = serve(job(false).0).unwrap_err().to_string();
        assert!(error.ends_with("no front serves ECHO"), "{error}");
    }
}
