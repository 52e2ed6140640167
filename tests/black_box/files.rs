//! Files of the operator, and other kinds of files at their paths.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::clients::UdpClient;
use crate::harness::{Ended, Folder, Tracker, free_port, run, wait_until};

const OPTIONS: [&str; 4] = ["--allow-list", "--deny-list", "--deny-address", "--state"];

#[test]
fn what_is_no_file_is_refused_at_the_start_by_its_kind() {
    let folder = Folder::new("kinds");
    make_fifo(&folder.path("fifo"));
    fs::create_dir(folder.path("folder")).unwrap();
    let _socket = UnixListener::bind(folder.path("socket")).unwrap();
    symlink(folder.path("fifo"), folder.path("link")).unwrap();
    for (place, kind) in [
        (folder.path("fifo"), "is a FIFO"),
        (folder.path("link"), "is a FIFO"),
        (folder.path("folder"), "is a folder"),
        (folder.path("socket"), "is a socket"),
        ("/dev/zero".to_owned(), "is a device"),
    ] {
        for option in OPTIONS.into_iter().filter(|_| place != "/dev/zero") {
            let ended = start(&[option, &place]);
            assert_eq!(
                (ended.status.code(), ended.stderr.len()),
                (Some(1), 1),
                "{ended:?}"
            );
            let line = &ended.stderr[0];
            assert!(line.contains(&place) && line.contains(kind), "{line}");
        }
        assert!(!Path::new(&format!("{place}.refused")).exists());
    }
    let ended = start(&["--deny-list", "/dev/zero"]);
    assert!(ended.stderr[0].contains("is a device"), "{ended:?}");
}

#[test]
fn a_list_that_becomes_a_fifo_leaves_the_old_one_and_further_reloads() {
    let folder = Folder::new("becomes-fifo");
    let list = folder.path("list");
    fs::write(&list, "").unwrap();
    let mut tracker = Tracker::start(&["--deny-list", &list]);
    fs::remove_file(&list).unwrap();
    make_fifo(&list);
    for _ in 0..2 {
        tracker.signal(Signal::HUP);
        assert!(tracker.complains("stay in force").contains("is a FIFO"));
    }
    fs::remove_file(&list).unwrap();
    fs::write(&list, format!("{}\n", "11".repeat(20))).unwrap();
    tracker.signal(Signal::HUP);
    tracker.hears_of(": 1 info-hashes denied");
    assert_eq!(tracker.stop(Signal::TERM).status.code(), Some(0));
}

#[test]
fn the_null_device_is_an_empty_list_and_a_state_that_keeps_nothing() {
    for option in ["--deny-list", "--deny-address", "--state"] {
        let tracker = Tracker::start(&[option, "/dev/null"]);
        drop(UdpClient::connect(V4, tracker.v4()));
        let ended = tracker.stop(Signal::TERM);
        assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
    }
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn lists_behind_symbolic_links_are_read() {
    let folder = Folder::new("links");
    let (list, link) = (folder.path("list"), folder.path("link"));
    fs::write(&list, format!("{}\n", "11".repeat(20))).unwrap();
    symlink("list", &link).unwrap();
    let mut tracker = Tracker::start(&["--deny-list", &link]);
    let said = tracker.said();
    assert!(said.iter().any(|line| line.ends_with(": 1 info-hashes denied")));
    fs::write(&list, "").unwrap();
    tracker.signal(Signal::HUP);
    tracker.hears_of(": 0 info-hashes denied");
}

#[test]
fn a_second_tracker_on_one_state_refuses_to_start_and_says_who_has_it() {
    let folder = Folder::new("two");
    let state = folder.path("state");
    let first = Tracker::start(&["--state", &state]);
    wait_until(|| Path::new(&state).exists());
    let ended = start(&["--state", &state]);
    assert_eq!(
        (ended.status.code(), ended.stderr.len()),
        (Some(1), 1),
        "{ended:?}"
    );
    let line = &ended.stderr[0];
    let pid = format!("process {}", first.pid().as_raw_nonzero());
    assert!(line.contains(&pid) && line.contains(&state), "{line}");
    let found = faults(&["--state", &state]);
    assert!(found.iter().any(|line| line.contains(&pid)), "{found:?}");
    // However the first one ends, the state is free then.
    first.stop(Signal::KILL);
    let second = Tracker::start(&["--state", &state]);
    assert_eq!(second.stop(Signal::TERM).status.code(), Some(0));
    let third = Tracker::start(&["--state", &state, "-f", "1"]);
    assert_eq!(third.stop(Signal::TERM).stderr, Vec::<String>::new());
}

#[test]
#[ignore = "needs root"]
fn in_a_root_of_its_own_a_tracker_locks_its_state_and_refuses_what_is_no_file() {
    let folder = Folder::new("jail");
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o700)).unwrap();
    chown(folder.path(""), Some(NOBODY), Some(NOBODY)).unwrap();
    let root = folder.path("");
    let jail = ["--user", "nobody", "--chroot", &root];
    let first = Tracker::start(&[&jail[..], &["--state", "/state"]].concat());
    let ended = start(&[&jail[..], &["--state", "/state"]].concat());
    let pid = format!("process {}", first.pid().as_raw_nonzero());
    assert!(ended.stderr[0].contains(&pid), "{ended:?}");
    make_fifo(&folder.path("fifo"));
    let ended = start(&[&jail[..], &["--deny-list", "/fifo"]].concat());
    assert!(ended.stderr[0].contains("is a FIFO"), "{ended:?}");
}

#[test]
fn doctor_finds_what_is_no_file() {
    let folder = Folder::new("doctor-kinds");
    let fifo = folder.path("fifo");
    make_fifo(&fifo);
    for option in OPTIONS {
        let found = faults(&[option, &fifo]);
        assert!(found.iter().any(|line| line.contains("is a FIFO")), "{found:?}");
    }
}

/// The faults that doctor finds, of which there must be some.
fn faults(arguments: &[&str]) -> Vec<String> {
    let port = free_port().to_string();
    let ended = run(&[&["doctor", "--port", &port][..], arguments].concat());
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let found = ended.stdout.into_iter();
    found.filter(|line| line.starts_with("fault")).collect()
}

/// Runs a tracker that cannot start.
fn start(arguments: &[&str]) -> Ended {
    let port = free_port().to_string();
    run(&[&["--port", &port][..], arguments].concat())
}

fn make_fifo(path: &str) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

const NOBODY: u32 = 65534;
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
