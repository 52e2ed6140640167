//! A tracker under `-f`: after a crash no client is refused.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use etracker_core::InfoHash;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::clients::{UdpClient, http_announce, newcomer, try_http_announce};
use crate::harness::{Folder, Tracker, wait_until};

#[test]
fn a_killed_tracker_is_followed_by_another_on_the_same_sockets() {
    let tracker = Tracker::start(&["-f", "2", "--workers", "3"]);
    let udp = UdpClient::connect(V4, tracker.v4());
    for signal in [Signal::KILL, Signal::ABORT] {
        let serving = serving(tracker.pid());
        kill_process(serving, signal).unwrap();
        wait_until(|| try_serving(tracker.pid()).is_some_and(|next| next != serving));
        // Asked at once, from many ports: requests wait in the sockets until somebody answers them.
        for port in 1000..1100 {
            udp.announce(&newcomer(HASH, (V4, port).into()));
            drop(UdpClient::connect(V4, tracker.v4()));
            http_announce(tracker.v4(), &newcomer(HASH, (V4, port).into()), None);
        }
    }
    let ended = tracker.stop(Signal::TERM);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(
        ended.stderr.iter().any(|line| line.contains("SIGKILL")),
        "{ended:?}"
    );
    assert!(
        ended.stderr.iter().any(|line| line.contains("SIGABRT")),
        "{ended:?}"
    );
    assert!(
        ended
            .stdout
            .iter()
            .any(|line| line == "Failures before this start: 2"),
        "{ended:?}"
    );
}

#[test]
fn requests_are_not_refused_while_nobody_serves() {
    let tracker = Tracker::start(&["-f", "1"]);
    let udp = UdpClient::connect(V4, tracker.v4());
    kill_process(serving(tracker.pid()), Signal::KILL).unwrap();
    // There is no serving process for a moment, but a connection is taken and the datagram kept.
    drop(TcpStream::connect(tracker.v4()).unwrap());
    udp.announce(&newcomer(HASH, (V4, 1).into()));
    http_announce(tracker.v4(), &newcomer(HASH, (V4, 2).into()), None);
}

#[test]
fn a_death_under_load_costs_no_more_than_the_requests_in_flight() {
    let tracker = Tracker::start(&["-f", "3", "--workers", "2"]);
    let (at, counted) = (tracker.v4(), Counted::default());
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let counted = &counted;
            scope.spawn(move || load_over_udp(at, number, counted));
            scope.spawn(move || load_over_http(at, number, counted));
        }
        for _ in 0..KILLS {
            counted.await_load();
            let serving = serving(tracker.pid());
            kill_process(serving, Signal::KILL).unwrap();
            wait_until(|| try_serving(tracker.pid()).is_some_and(|next| next != serving));
        }
        counted.await_load();
        counted.enough.store(true, Ordering::Relaxed);
    });
    println!("{counted:?}");
    // Each client waits for one answer at a time.
    let in_flight = KILLS * CLIENTS;
    for lost in [&counted.udp_lost, &counted.http_lost] {
        assert!(lost.load(Ordering::Relaxed) <= in_flight, "{counted:?}");
    }
    let ended = tracker.stop(Signal::TERM);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

/// Requests of all clients that were answered, and those that had to be asked again.
#[derive(Debug, Default)]
struct Counted {
    udp: AtomicUsize,
    udp_lost: AtomicUsize,
    http: AtomicUsize,
    http_lost: AtomicUsize,
    enough: AtomicBool,
}

impl Counted {
    /// Waits until many more have been answered over either protocol.
    fn await_load(&self) {
        let counts = || [&self.udp, &self.http].map(|count| count.load(Ordering::Relaxed));
        let before = counts();
        wait_until(|| {
            let more = counts().into_iter().zip(before);
            more.min_by_key(|(now, before)| now - before)
                .is_some_and(|(now, before)| now - before >= LOAD)
        });
    }
}

fn load_over_udp(at: SocketAddr, number: usize, counted: &Counted) {
    let client = UdpClient::connect(V4, at);
    for port in ports(number, counted) {
        // With the connection id that was given before all deaths.
        let tries = client.announce_again_after(&newcomer(HASH, (V4, port).into()), RETRY);
        counted.udp.fetch_add(1, Ordering::Relaxed);
        counted
            .udp_lost
            .fetch_add(usize::from(tries > 1), Ordering::Relaxed);
    }
}

fn load_over_http(at: SocketAddr, number: usize, counted: &Counted) {
    for port in ports(number, counted) {
        let announce = newcomer(HASH, (V4, port).into());
        let tried = try_http_announce(at, &announce);
        if let Err(error) = &tried {
            assert_ne!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            http_announce(at, &announce, None);
        }
        counted.http.fetch_add(1, Ordering::Relaxed);
        counted
            .http_lost
            .fetch_add(usize::from(tried.is_err()), Ordering::Relaxed);
    }
}

/// Peers of one client until it is enough.
fn ports(number: usize, counted: &Counted) -> impl Iterator<Item = u16> {
    let first = 1000 * u16::try_from(number + 1).unwrap();
    let ports = (first..first + 1000).cycle();
    ports.take_while(|_| !counted.enough.load(Ordering::Relaxed))
}

#[test]
fn when_no_restarts_are_left_the_command_fails() {
    let tracker = Tracker::start(&["-f", "1"]);
    let first = serving(tracker.pid());
    kill_process(first, Signal::KILL).unwrap();
    wait_until(|| try_serving(tracker.pid()).is_some_and(|next| next != first));
    kill_process(serving(tracker.pid()), Signal::KILL).unwrap();
    let ended = tracker.wait();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(
        ended.stderr.last().unwrap().contains("no restarts are left"),
        "{ended:?}"
    );
}

#[test]
#[cfg(feature = "testing")]
fn a_restart_is_forgotten_after_some_time_of_service() {
    let tracker = Tracker::start(&["-f", "1", "--forget-restarts", "500"]);
    for _ in 0..3 {
        let serving = serving(tracker.pid());
        // Not a deadline: the longer it serves, the surer the restart is forgotten.
        thread::sleep(Duration::from_millis(600));
        kill_process(serving, Signal::KILL).unwrap();
        wait_until(|| try_serving(tracker.pid()).is_some_and(|next| next != serving));
    }
    let ended = tracker.stop(Signal::TERM);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let steady = |line: &&String| line.contains("0 restarts are left after that");
    assert_eq!(ended.stderr.iter().filter(steady).count(), 3, "{ended:?}");
}

#[test]
fn the_serving_process_ends_with_its_supervisor() {
    let tracker = Tracker::start(&["-f", "3"]);
    let serving = serving(tracker.pid());
    kill_process(tracker.pid(), Signal::KILL).unwrap();
    wait_until(|| test_kill_process(serving).is_err());
    drop(tracker.wait());
}

#[test]
fn a_supervised_tracker_keeps_its_state() {
    let folder = Folder::new("supervised");
    let state = folder.path("state");
    let arguments = ["-f", "1", "--state", &state, "--state-period", "1"];
    let tracker = Tracker::start(&arguments);
    let udp = UdpClient::connect(V4, tracker.v4());
    udp.announce(&newcomer(HASH, (V4, 7).into()));
    wait_until(|| folder.holds("state", &HASH.0));
    kill_process(serving(tracker.pid()), Signal::KILL).unwrap();
    assert_eq!(udp.scrape(&[HASH])[0].incomplete, 1);
    let ended = tracker.stop(Signal::INT);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let tracker = Tracker::start(&arguments);
    udp.turn_to(tracker.v4());
    assert_eq!(udp.scrape(&[HASH])[0].incomplete, 1);
}

/// The one child of a supervisor.
pub(crate) fn serving(supervisor: Pid) -> Pid {
    wait_until(|| try_serving(supervisor).is_some());
    try_serving(supervisor).unwrap()
}

/// The same, if there is one now.
pub(crate) fn try_serving(supervisor: Pid) -> Option<Pid> {
    let pid = supervisor.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HASH: InfoHash = InfoHash(*b"supervised trackers.");
/// Clients of each protocol.
const CLIENTS: usize = 4;
const KILLS: usize = 3;
/// Requests of each protocol from one death to the next.
const LOAD: usize = 1000;
/// How long a client waits before it asks again.
const RETRY: Duration = Duration::from_secs(2);
