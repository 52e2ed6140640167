//! A tracker restores the swarms of the previous one from its state.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use etracker_core::announce::Event;
use etracker_core::http::query::PeerForm;
use etracker_core::http::response::{AnnounceResponse, PeerList};
use etracker_core::{InfoHash, PeerId};
use rustix::process::Signal;

use crate::clients::{UdpClient, http_announce, newcomer};
use crate::harness::{Folder, Tracker, by, free_port, run, wait_until};

#[test]
fn peers_counts_downloads_and_connection_ids_outlive_the_tracker() {
    let folder = Folder::new("warm");
    let state = folder.path("state");
    let tracker = Tracker::start(&["--state", &state]);
    let udp = UdpClient::connect(V4, tracker.v4());
    let mut seeder = newcomer(HASH, (V4, 1001).into());
    (seeder.left, seeder.event) = (0, Event::Completed);
    udp.announce(&seeder);
    http_announce(tracker.v6(), &newcomer(HASH, (V6, 1002).into()), None);
    let mut gone = newcomer(OTHER, (V4, 1003).into());
    (gone.left, gone.event) = (0, Event::Completed);
    udp.announce(&gone);
    gone.event = Event::Stopped;
    udp.announce(&gone);
    let ended = tracker.stop(Signal::TERM);
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));

    let tracker = Tracker::start(&["--state", &state]);
    // No connect: the id is the one that the first tracker gave.
    udp.turn_to(tracker.v4());
    let counts = udp.scrape(&[HASH, OTHER]);
    assert_eq!(
        (counts[0].complete, counts[0].incomplete, counts[0].downloaded),
        (1, 1, 1)
    );
    assert_eq!(
        (counts[1].complete, counts[1].incomplete, counts[1].downloaded),
        (0, 0, 1)
    );
    let (_, compact) = udp.announce(&newcomer(HASH, (V4, 1004).into()));
    assert_eq!(compact, [127, 0, 0, 1, 3, 233]);
    let body = http_announce(
        tracker.v4(),
        &newcomer(HASH, (V4, 1004).into()),
        Some(PeerForm::Dictionaries { ids: true }),
    );
    assert_eq!(ids(&body), [seeder.peer_id]);
    let body = http_announce(
        tracker.v6(),
        &newcomer(HASH, (V6, 1005).into()),
        Some(PeerForm::Dictionaries { ids: true }),
    );
    assert_eq!(ids(&body).len(), 1);
}

#[test]
fn without_a_state_a_tracker_forgets_and_connection_ids_end_with_it() {
    let tracker = Tracker::start(&[]);
    let udp = UdpClient::connect(V4, tracker.v4());
    udp.announce(&newcomer(HASH, (V4, 1001).into()));
    tracker.stop(Signal::TERM);
    let tracker = Tracker::start(&[]);
    let udp = UdpClient::connect(V4, tracker.v4());
    assert_eq!(udp.scrape(&[HASH])[0].incomplete, 0);
}

#[test]
fn a_tracker_that_is_killed_loses_no_more_than_one_period() {
    let folder = Folder::new("killed");
    let state = folder.path("state");
    let tracker = Tracker::start(&["--state", &state, "--state-period", "1"]);
    let udp = UdpClient::connect(V4, tracker.v4());
    udp.announce(&newcomer(HASH, (V4, 1001).into()));
    wait_until(|| folder.holds("state", &HASH.0));
    tracker.stop(Signal::KILL);
    let tracker = Tracker::start(&["--state", &state]);
    udp.turn_to(tracker.v4());
    assert_eq!(udp.scrape(&[HASH])[0].incomplete, 1);
}

#[test]
fn a_damaged_state_is_set_aside_with_a_clear_line() {
    let folder = Folder::new("damaged");
    let state = folder.path("state");
    fs::write(&state, b"GIF89a, and certainly no state").unwrap();
    let tracker = Tracker::start(&["--state", &state]);
    let ended = tracker.stop(Signal::TERM);
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.stderr.len(), 1);
    let aside = folder.path("state.refused");
    assert!(
        ended.stderr[0].contains(&state) && ended.stderr[0].contains(&aside),
        "{ended:?}"
    );
    assert!(fs::read(aside).unwrap().starts_with(b"GIF89a"));
    assert!(fs::read(state).unwrap().starts_with(b"etracker"));
}

#[test]
fn a_state_that_cannot_be_written_is_refused_at_the_start() {
    let folder = Folder::new("place");
    let state = folder.path("no such folder/state");
    let ended = run(&["--port", &free_port().to_string(), "--state", &state]);
    assert_eq!(
        (ended.status.code(), ended.stderr.len()),
        (Some(1), 1),
        "{ended:?}"
    );
    assert!(ended.stderr[0].contains(&state), "{ended:?}");
}

/// Of a state that may not grow beyond a length the system refuses the rest, as a full disk does.
#[test]
#[cfg(target_os = "linux")]
fn a_limit_on_the_size_of_files_is_an_error_and_leaves_the_state_of_before() {
    let folder = Folder::new("fsize");
    let state = folder.path("state");
    let tracker = Tracker::start(&["--state", &state]);
    let udp = UdpClient::connect(V4, tracker.v4());
    udp.announce(&newcomer(HASH, (V4, 1001).into()));
    tracker.stop(Signal::TERM);
    let before = fs::read(&state).unwrap();
    for limit in [1, before.len() - 1] {
        let prlimit = by(&["prlimit", &format!("--fsize={limit}")]);
        let arguments = ["--state", &state, "--state-period", "1"];
        let tracker = Tracker::start_by(prlimit, free_port(), &arguments).unwrap();
        // More than once: it serves on.
        for _ in 0..2 {
            let line = tracker.complains("cannot write the state");
            assert!(line.contains(&state) && line.contains("too large"), "{line}");
        }
        udp.turn_to(tracker.v4());
        assert_eq!(udp.scrape(&[HASH])[0].incomplete, 1);
        let ended = tracker.stop(Signal::TERM);
        assert_eq!(ended.status.code(), Some(1), "the state is not kept: {ended:?}");
        assert_eq!(fs::read(&state).unwrap(), before);
    }
    let tracker = Tracker::start(&["--state", &state]);
    udp.turn_to(tracker.v4());
    assert_eq!(udp.scrape(&[HASH])[0].incomplete, 1);
    assert!(!Path::new(&folder.path("state.refused")).exists());
}

fn ids(body: &[u8]) -> Vec<PeerId> {
    match AnnounceResponse::decode(body).unwrap().peers {
        PeerList::Dictionaries(peers) => peers.iter().filter_map(|(_, id)| id).collect(),
        PeerList::Compact(_) => panic!("asked for dictionaries"),
    }
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const HASH: InfoHash = InfoHash(*b"warm restarts, one..");
const OTHER: InfoHash = InfoHash(*b"warm restarts, two..");
