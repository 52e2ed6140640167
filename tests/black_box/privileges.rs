//! A tracker started as root serves as an unprivileged user. The tests read /proc, so they need Linux.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt as _, chown};

use etracker_core::InfoHash;
use rustix::process::{Pid, Signal};

use crate::clients::{UdpClient, newcomer};
use crate::harness::{Folder, Tracker, free_port, of_threads, run};
use crate::supervised::serving;

#[test]
#[ignore = "needs root"]
fn the_serving_process_is_nobody_in_its_own_root_and_keeps_its_state_there() {
    let root = jail("alone");
    let arguments = [
        "--user",
        "nobody",
        "--chroot",
        &root.path(""),
        "--state",
        "/state",
    ];
    let tracker = Tracker::start(&arguments);
    is_nobody_in(tracker.pid(), &root);
    let udp = UdpClient::connect(V4, tracker.v4());
    udp.announce(&newcomer(HASH, (V4, 7).into()));
    let ended = tracker.stop(Signal::TERM);
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
    assert!(root.holds("state", &HASH.0));
    let tracker = Tracker::start(&arguments);
    udp.turn_to(tracker.v4());
    assert_eq!(udp.scrape(&[HASH])[0].incomplete, 1);
}

#[test]
#[ignore = "needs root"]
fn under_a_supervisor_every_serving_process_gives_up_its_rights() {
    let root = jail("supervised");
    let tracker = Tracker::start(&["-f", "1", "--user", "nobody", "--chroot", &root.path("")]);
    let first = serving(tracker.pid());
    is_nobody_in(first, &root);
    rustix::process::kill_process(first, Signal::KILL).unwrap();
    drop(UdpClient::connect(V4, tracker.v4()));
    is_nobody_in(serving(tracker.pid()), &root);
}

#[test]
#[ignore = "needs root"]
fn a_state_that_the_user_may_not_write_is_refused_at_the_start() {
    let folder = Folder::new("privileges-state");
    let state = folder.path("state");
    let ended = run(&[
        "-p",
        &free_port().to_string(),
        "--user",
        "nobody",
        "--state",
        &state,
    ]);
    assert_eq!(
        (ended.status.code(), ended.stderr.len()),
        (Some(1), 1),
        "{ended:?}"
    );
    let line = &ended.stderr[0];
    let named = format!(
        "user nobody must be able to read and write the folder {}",
        folder.path("")
    );
    assert!(
        line.contains(&state) && line.contains(named.trim_end_matches('/')),
        "{line}"
    );
}

#[test]
#[ignore = "needs root"]
fn a_root_that_is_not_there_or_a_user_with_rights_is_refused() {
    for arguments in [
        ["--user", "nobody", "--chroot", "/no such folder"],
        ["--user", "root", "--chroot", "/"],
        ["--user", "nobody at all", "--chroot", "/"],
    ] {
        let port = free_port().to_string();
        let ended = run(&[&["-p", &port][..], &arguments].concat());
        assert_eq!(
            (ended.status.code(), ended.stderr.len()),
            (Some(1), 1),
            "{ended:?}"
        );
        // Not only what is wrong, but with which option and value.
        let line = &ended.stderr[0];
        let wrong = format!("{}={}", arguments[0], arguments[1]);
        let chroot = format!("{}={}", arguments[2], arguments[3]);
        assert!(line.contains(&wrong) || line.contains(&chroot), "{line}");
    }
}

/// A folder that nobody owns, since the tracker writes its state into it.
fn jail(name: &str) -> Folder {
    let folder = Folder::new(&format!("privileges-{name}"));
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o700)).unwrap();
    chown(folder.path(""), Some(NOBODY), Some(NOBODY)).unwrap();
    folder
}

fn is_nobody_in(process: Pid, root: &Folder) {
    for (_, status) in of_threads(process, "status") {
        let fields = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let nobody = NOBODY.to_string();
        assert!(fields("Uid:").iter().all(|id| *id == nobody), "{status}");
        assert!(fields("Gid:").iter().all(|id| *id == nobody), "{status}");
        assert_eq!(fields("Groups:"), [nobody], "{status}");
        assert_eq!(fields("CapEff:"), ["0000000000000000"], "{status}");
        assert_eq!(fields("NoNewPrivs:"), ["1"], "{status}");
    }
    let its_root = fs::read_link(format!("/proc/{}/root", process.as_raw_nonzero())).unwrap();
    assert_eq!(its_root.to_str().unwrap(), root.path("").trim_end_matches('/'));
}

const NOBODY: u32 = 65534;
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HASH: InfoHash = InfoHash(*b"given up privileges.");
