//! Clients that violate the protocol: the tracker keeps answering, its memory is freed, its log stays short.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use etracker_core::InfoHash;
use rustix::process::Signal;
use socket2::SockRef;

use crate::clients::{UdpClient, connect, http_announce, newcomer, read_response};
use crate::harness::{Tracker, happens};

#[test]
fn random_bytes_over_both_protocols_do_no_harm() {
    survives(&["--socket-timeout", "1"], |tracker| {
        let mut random = fastrand::Rng::with_seed(7);
        let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
        for _ in 0..2000 {
            socket.send_to(&noise(&mut random, 1500), tracker.v4()).unwrap();
        }
        for _ in 0..200 {
            let mut stream = connect(LOCALHOST, tracker.v4());
            // The tracker may close before it has read all.
            let _ = stream.write_all(&noise(&mut random, 40_000));
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
}

#[test]
fn an_oversize_head_is_refused_and_costs_nothing() {
    survives(&[], |tracker| {
        for len in [20_000, 1 << 20] {
            let mut stream = connect(LOCALHOST, tracker.v4());
            let mut sender = stream.try_clone().unwrap();
            let head = [b"GET /announce?".as_slice(), &vec![b'a'; len]].concat();
            // Written beside, because the tracker answers before it has all.
            let writing = thread::spawn(move || {
                let _ = sender.write_all(&head);
            });
            assert_eq!(read_response(&mut stream).status, 413, "{len} bytes");
            writing.join().unwrap();
        }
    });
}

#[test]
fn tls_on_the_plain_port_is_closed_at_once_and_without_a_word() {
    survives(&["--socket-timeout", "300"], |tracker| {
        for opening in [b"\x16\x03\x01\x02\x00\x01".as_slice(), b"\x13BitTorrent protocol"] {
            let mut stream = connect(LOCALHOST, tracker.v4());
            stream.write_all(opening).unwrap();
            let mut received = Vec::new();
            // A tracker that waits for more reaches the time-out of the read.
            stream.read_to_end(&mut received).unwrap();
            assert!(received.is_empty(), "{}", received.escape_ascii());
        }
    });
}

#[test]
fn a_head_that_comes_one_byte_a_second_is_cut_off() {
    survives(&["--socket-timeout", "2"], |tracker| {
        let mut stream = connect(LOCALHOST, tracker.v4());
        let mut sender = stream.try_clone().unwrap();
        let writing = thread::spawn(move || {
            for byte in b"GET /announce?info_hash=a HTTP/1.1" {
                if sender.write_all(&[*byte]).is_err() {
                    return;
                }
                thread::sleep(Duration::from_secs(1));
            }
            panic!("the tracker reads on and on");
        });
        let response = read_response(&mut stream);
        assert_eq!(response.status, 408);
        drop(stream);
        writing.join().unwrap();
    });
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    survives(&["--keep-alive", "--socket-timeout", "2"], |tracker| {
        let mut stream = connect(LOCALHOST, tracker.v4());
        SockRef::from(&stream).set_recv_buffer_size(4096).unwrap();
        let request = b"GET /announce HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
        // Its end is an error of the write: the tracker has closed.
        while stream.write_all(&request).is_ok() {}
    });
}

#[test]
fn connections_that_are_reset_do_no_harm() {
    survives(&[], |tracker| {
        for number in 0..2000 {
            let mut stream = connect(LOCALHOST, tracker.v4());
            if number % 2 == 0 {
                stream.write_all(b"GET /announce HTTP/1.1\r\n\r\n").unwrap();
            }
            // Closing with a linger time of zero sends a reset.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    });
}

#[test]
fn hundreds_of_idle_connections_are_closed_and_hinder_nobody() {
    idle(500);
}

#[test]
#[ignore = "opens 10,000 connections: needs a limit of 10,500 open files"]
fn ten_thousand_idle_connections_are_closed_and_hinder_nobody() {
    idle(10_000);
}

#[test]
fn a_flood_of_garbage_datagrams_does_no_harm() {
    flood(Duration::from_secs(1));
}

#[test]
#[ignore = "keeps a processor busy for ten seconds"]
fn ten_seconds_of_garbage_datagrams_do_no_harm() {
    flood(Duration::from_secs(10));
}

fn idle(connections: u64) {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(limit >= connections + 500, "only {limit} files can be open");
    survives(&["--socket-timeout", "3"], |tracker| {
        let mut idle: Vec<TcpStream> = Vec::new();
        // A few addresses, because one has not enough ports for all.
        for (_, host) in (0..connections).zip((1..=8).cycle()) {
            let from = Ipv4Addr::new(127, 0, 2, host);
            idle.push(connect(from.into(), tracker.v4()));
        }
        serves(tracker);
        for mut stream in idle {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).unwrap();
        }
    });
}

fn flood(duration: Duration) {
    survives(&[], |tracker| {
        let address = tracker.v4();
        let flooding = thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(7);
            let datagrams: Vec<_> = (0..1000).map(|_| noise(&mut random, 1500)).collect();
            let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
            let end = Instant::now() + duration;
            for datagram in datagrams.iter().cycle() {
                // A full buffer drops datagrams: that is the flood's loss.
                let _ = socket.send_to(datagram, address);
                if Instant::now() > end {
                    break;
                }
            }
        });
        while !flooding.is_finished() {
            http_announce(address, &newcomer(HASH, (LOCALHOST, 1).into()), None);
        }
        flooding.join().unwrap();
        // What is sent while the queue is full is lost, and `serves` sends once.
        thread::sleep(Duration::from_millis(500));
    });
}

/// Starts a tracker, lets `attack` loose on it until one leaves nothing behind, and sees that it is as it was before.
fn survives(arguments: &[&str], attack: impl Fn(&Tracker)) {
    let tracker = Tracker::start(arguments);
    serves(&tracker);
    let workers = thread::available_parallelism().unwrap().get();
    let mut descriptors = tracker.descriptors() + workers * WORKER_DESCRIPTORS;
    let mut attack = || {
        attack(&tracker);
        serves(&tracker);
        let settled = happens(BETWEEN_LOOKS, || tracker.descriptors() <= descriptors);
        assert!(
            settled,
            "{} descriptors, not {descriptors}",
            tracker.descriptors()
        );
        descriptors = tracker.descriptors();
    };
    let settles_at = |kib| happens(BETWEEN_LOOKS, || tracker.memory_kib() <= kib);
    let memory = tracker.memory_kib();
    attack();
    let settled = settles_at(memory + MEMORY_KEPT_KIB);
    assert!(settled, "{} KiB, {memory} at first", tracker.memory_kib());
    let mut levels = vec![tracker.memory_kib()];
    attack();
    while !settles_at(levels.iter().max().unwrap() + MEMORY_LEVEL_KIB) {
        levels.push(tracker.memory_kib());
        assert!(
            levels.len() < ATTACKS_MAX,
            "every attack takes memory: {levels:?} KiB"
        );
        attack();
    }
    let mut ended = tracker.stop(Signal::TERM);
    // A flood may be more than a busy machine can do.
    ended.stderr.retain(|line| !line.contains("overload"));
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
    assert!(ended.stdout.len() <= LINES_MAX, "{:#?}", ended.stdout);
}

/// Sees that both protocols are answered.
fn serves(tracker: &Tracker) {
    let announce = newcomer(HASH, SocketAddr::new(LOCALHOST, 1));
    UdpClient::connect(LOCALHOST, tracker.v4()).announce(&announce);
    http_announce(tracker.v4(), &announce, None);
}

fn noise(random: &mut fastrand::Rng, len_max: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.usize(..len_max)];
    random.fill(&mut bytes);
    bytes
}

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HASH: InfoHash = InfoHash(*b"hostile input tests.");
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// What a worker that was still starting when others served may open afterwards.
const WORKER_DESCRIPTORS: usize = 8;
/// What an allocator may keep after the first attack: about a kilobyte for each of ten thousand connections.
const MEMORY_KEPT_KIB: u64 = 12 * 1024;
/// What one more attack of the same kind may add: it should find all that it needs. The level after each of many attacks
/// varies by a megabyte, on glommio by four (45 attacks), and hardly rises.
const MEMORY_LEVEL_KIB: u64 = 2048;
/// After so many attacks of which each took memory, it is lost.
const ATTACKS_MAX: usize = 5;
/// Lines of start and end, none for what clients do.
const LINES_MAX: usize = 120;
