//! Lists of torrents and addresses, as operators keep them in files.

use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use etracker_core::InfoHash;
use etracker_core::announce::Counts;
use etracker_core::udp::packet::RequestHead;
use rustix::process::Signal;

use crate::clients::{UdpClient, connect, http_announce, newcomer};
use crate::harness::{Tracker, happens, run};
use crate::pages::{BETWEEN_PAGES, json};

const LISTED: InfoHash = InfoHash([0x11; 20]);
const OTHER: InfoHash = InfoHash([0x22; 20]);
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// A file that is gone when the test is.
struct List(PathBuf);

impl List {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("etracker-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for List {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What a client over UDP is told about a torrent: the reason of a refusal, or nothing.
fn refusal(client: &UdpClient, info_hash: InfoHash) -> Option<String> {
    client.refusal(&newcomer(info_hash, (LOCALHOST, 1001).into()))
}

/// Tries until `done`.
fn until(done: impl Fn() -> bool) {
    assert!(happens(BETWEEN_PAGES, done), "it never happens");
}

#[test]
fn a_listed_torrent_is_refused_over_both_protocols_and_others_are_served() {
    let list = List::new("deny", &format!("# a comment\r\n{LISTED} # and one more\r\n\r\n"));
    let tracker = Tracker::start(&["--deny-list", list.path()]);
    let client = UdpClient::connect(LOCALHOST, tracker.v4());
    assert!(refusal(&client, LISTED).is_some_and(|reason| reason.contains("not served")));
    assert_eq!(refusal(&client, OTHER), None);
    let peer = (LOCALHOST, 1002).into();
    let refused = http_announce(tracker.v4(), &newcomer(LISTED, peer), None);
    let refused = String::from_utf8_lossy(&refused).into_owned();
    assert!(
        refused.contains("14:failure reason") && refused.contains("8:retry in5:never"),
        "{refused}"
    );
    let served = http_announce(tracker.v4(), &newcomer(OTHER, peer), None);
    assert!(!String::from_utf8_lossy(&served).contains("failure"));
    let nothing = Counts::default();
    let counts = client.scrape(&[LISTED, OTHER]);
    assert_eq!((counts[0], counts[1].incomplete), (nothing, 2));
}

#[test]
fn an_allow_list_serves_its_own_and_an_empty_one_nothing() {
    let list = List::new("allow", &format!("{}\n", "11".repeat(32)));
    let tracker = Tracker::start(&["--allow-list", list.path()]);
    let client = UdpClient::connect(LOCALHOST, tracker.v4());
    assert_eq!(refusal(&client, LISTED), None);
    assert!(refusal(&client, OTHER).is_some());
    list.write("# nothing\n");
    tracker.signal(Signal::HUP);
    until(|| refusal(&client, LISTED).is_some());
}

#[test]
fn a_reload_takes_a_second_at_most_drops_the_swarm_and_loses_no_request() {
    let list = List::new("reload", "");
    let tracker = Tracker::start(&["--deny-list", list.path()]);
    let clients = [LISTED, OTHER].map(|_| UdpClient::connect(LOCALHOST, tracker.v4()));
    for (client, info_hash) in clients.iter().zip([LISTED, OTHER]) {
        assert_eq!(refusal(client, info_hash), None);
    }
    let to = tracker.v4();
    let (done, answered) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        // A request that is lost would wait for its answer until patience ends.
        scope.spawn(|| {
            let client = UdpClient::connect(LOCALHOST, to);
            while !done.load(Ordering::Relaxed) {
                assert_eq!(refusal(&client, OTHER), None);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        for round in 0..10 {
            list.write(&if round % 2 == 0 {
                format!("{LISTED}\n")
            } else {
                String::new()
            });
            tracker.signal(Signal::HUP);
            until(|| refusal(&clients[0], LISTED).is_some() == (round % 2 == 0));
        }
        list.write(&format!("{LISTED}\n"));
        tracker.signal(Signal::HUP);
        until(|| json(&tracker)["swarms"]["torrents"] == 1);
        done.store(true, Ordering::Relaxed);
    });
    assert!(answered.load(Ordering::Relaxed) > 100);
    assert_eq!(clients[0].scrape(&[OTHER])[0].incomplete, 1);
}

#[test]
fn a_bad_line_is_told_by_its_number_and_the_old_list_stays() {
    let list = List::new("bad", &format!("{LISTED}\nnonsense\n"));
    let ended = run(&["--port", "1", "--deny-list", list.path()]);
    assert_eq!(ended.status.code(), Some(1));
    let complaint = format!("{}: line 2: not an info-hash", list.path());
    assert!(
        ended.stderr.iter().any(|line| line.contains(&complaint)),
        "{ended:?}"
    );

    list.write(&format!("{LISTED}\n"));
    let tracker = Tracker::start(&["--deny-list", list.path()]);
    let client = UdpClient::connect(LOCALHOST, tracker.v4());
    list.write(&format!("{OTHER}\n\n\nnonsense\n"));
    tracker.signal(Signal::HUP);
    assert!(tracker.complains("stay in force").contains("line 4"));
    assert!(refusal(&client, LISTED).is_some() && refusal(&client, OTHER).is_none());
    fs::remove_file(list.path()).unwrap();
    tracker.signal(Signal::HUP);
    let missing = format!("--deny-list={}: ", list.path());
    assert!(tracker.complains("stay in force").contains(&missing));
    assert!(refusal(&client, LISTED).is_some());
}

#[test]
fn a_reload_says_what_came_into_force_or_every_line_that_is_bad_up_to_ten() {
    let hashes = List::new("many", &format!("{LISTED}\n"));
    let networks = List::new("networks", "");
    let arguments = ["--deny-list", hashes.path(), "--deny-address", networks.path()];
    let mut tracker = Tracker::start(&arguments);
    hashes.write(&format!("{LISTED}\n{OTHER}\n"));
    networks.write("192.0.2.0/24\n");
    tracker.signal(Signal::HUP);
    tracker.hears_of(&format!("{}: 2 info-hashes denied", hashes.path()));
    tracker.hears_of(&format!("{}: 1 networks denied", networks.path()));
    tracker.hears_of("SIGHUP: the new lists are in force");
    hashes.write(&format!("no\n{LISTED}\nno\n"));
    networks.write(&"no\n".repeat(20));
    tracker.signal(Signal::HUP);
    let line = tracker.complains("stay in force");
    let hashes_bad = format!("{}: lines 1, 3: not an info-hash", hashes.path());
    let networks_bad = format!(
        "{}: lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10: neither",
        networks.path()
    );
    assert!(
        line.contains(&hashes_bad) && line.contains(&networks_bad),
        "{line}"
    );
    // Nothing of either is in force, and nothing is said to be.
    let client = UdpClient::connect(LOCALHOST, tracker.v4());
    assert!(refusal(&client, OTHER).is_some());
    let ended = tracker.stop(Signal::TERM);
    let counts = ended.stdout.iter().filter(|line| line.ends_with(" denied"));
    assert_eq!(counts.count(), 4, "{ended:?}");
}

#[test]
fn a_reload_without_lists_says_that_there_are_none() {
    let mut tracker = Tracker::start(&[]);
    tracker.signal(Signal::HUP);
    tracker.hears_of("SIGHUP: nothing to reload: there are no lists");
    tracker.signal(Signal::USR1);
    tracker.hears_of("SIGUSR1: nothing to reload: there are no lists");
}

#[test]
fn two_lists_of_torrents_are_refused() {
    let ended = run(&["--deny-list", "/a", "--allow-list", "/b"]);
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        ended
            .stderr
            .iter()
            .any(|line| line.contains("exclude each other")),
        "{ended:?}"
    );
}

#[test]
fn a_denied_address_gets_silence_and_a_closed_connection_and_is_counted() {
    let list = List::new("addresses", "127.0.0.2/31\n");
    let tracker = Tracker::start(&["--deny-address", list.path()]);
    let denied = UdpSocket::bind((NEIGHBOUR, 0)).unwrap();
    denied.connect(tracker.v4()).unwrap();
    denied.send(&RequestHead::connect(7).encode()).unwrap();
    let mut stream = connect(NEIGHBOUR, tracker.v4());
    // Closed, or cut off because there was something to read.
    assert!(matches!(stream.read(&mut [0; 100]), Ok(0) | Err(_)));
    until(|| {
        let counts = &json(&tracker)["counts"];
        counts["udp_denied"] == 1 && counts["accept_denied"] == 1
    });
    let client = UdpClient::connect(LOCALHOST, tracker.v4());
    assert_eq!(refusal(&client, OTHER), None);
    list.write("");
    tracker.signal(Signal::HUP);
    denied.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    until(|| {
        denied.send(&RequestHead::connect(8).encode()).unwrap();
        denied.recv(&mut [0; 100]).is_ok()
    });
}
