//! A tracker under `-f`: it may die, but nobody is refused.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpStream};

use etracker_core::InfoHash;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::clients::{UdpClient, http_announce, newcomer};
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

fn try_serving(supervisor: Pid) -> Option<Pid> {
    let pid = supervisor.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HASH: InfoHash = InfoHash(*b"supervised trackers.");
