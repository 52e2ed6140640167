//! `etracker doctor`: findings and exit status.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;

use crate::harness::{Ended, Folder, Tracker, command, free_port, run};

#[test]
fn a_host_that_serves_is_told_so_for_every_address() {
    for (bind, at) in [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")] {
        let port = free_port().to_string();
        let ended = run(&["doctor", "--port", &port, "--bind", bind, "--min-interval", "300"]);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(has(&ended, &format!("ok       UDP {at}:{port}")), "{ended:?}");
        assert!(has(&ended, &format!("ok       HTTP {at}:{port}")), "{ended:?}");
        assert!(has(&ended, "ok       interval"), "{ended:?}");
    }
}

#[test]
fn all_addresses_are_asked_and_behind_a_proxy_too() {
    let port = free_port().to_string();
    let ended = run(&["doctor", "--port", &port, "--x-forwarded-for"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    for line in ["UDP 127.0.0.1", "HTTP 127.0.0.1", "UDP [::1]", "HTTP [::1]"] {
        assert!(has(&ended, &format!("ok       {line}:{port}")), "{ended:?}");
    }
    // The answer, and not a refusal for want of the proxy's header.
    assert!(
        !ended
            .stdout
            .iter()
            .any(|line| line.contains("announce refused: ")),
        "{ended:?}"
    );
}

#[test]
fn a_tracker_that_has_the_port_is_asked() {
    let tracker = Tracker::start(&["--bind", "127.0.0.1"]);
    let port = tracker.port().to_string();
    let ended = run(&["doctor", "--port", &port, "--bind", "127.0.0.1"]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(
        ended
            .stdout
            .iter()
            .any(|line| line.contains("in use by a tracker")),
        "{ended:?}"
    );
    assert!(
        has(&ended, &format!("ok       UDP 127.0.0.1:{port}")),
        "{ended:?}"
    );
}

#[test]
fn a_state_that_a_running_tracker_has_is_said_to_be_taken() {
    let folder = Folder::new("doctor-taken");
    let state = folder.path("state");
    let tracker = Tracker::start(&["--bind", "127.0.0.1", "--state", &state]);
    let pid = tracker.pid().as_raw_nonzero();
    let doctor = |port: &str| run(&["doctor", "-p", port, "--bind", "127.0.0.1", "--state", &state]);
    // Asked about the tracker that runs, all is well.
    let ended = doctor(&tracker.port().to_string());
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let has_it = format!("; a running tracker, process {pid}, uses it now");
    let is_said = |line: &String| line.starts_with("ok       state ") && line.ends_with(&has_it);
    assert!(ended.stdout.iter().any(is_said), "{ended:?}");
    // A second tracker would not start.
    let ended = doctor(&free_port().to_string());
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(has_fault_with_remedy(&ended, "state"), "{ended:?}");
}

#[test]
fn a_start_at_a_port_in_use_points_to_doctor() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let ended = run(&["--port", &port, "--bind", "127.0.0.1"]);
    assert_eq!(
        (ended.status.code(), ended.stderr.len()),
        (Some(1), 1),
        "{ended:?}"
    );
    let line = &ended.stderr[0];
    assert!(
        line.ends_with("in use by another program; `etracker doctor` with the same options says what to do"),
        "{line}"
    );
}

#[test]
fn a_port_that_another_program_has_is_a_fault() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let ended = run(&["doctor", "--port", &port, "--bind", "127.0.0.1"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(has(&ended, "fault    port"), "{ended:?}");
    assert!(
        ended.stdout.iter().any(|line| line.contains("ss -lntup")),
        "{ended:?}"
    );
    let faults = ended.stdout.iter().filter(|line| line.starts_with("fault"));
    assert_eq!(faults.count(), 1, "{ended:?}");
}

#[test]
fn what_a_start_refuses_is_a_fault_with_a_remedy() {
    let folder = Folder::new("doctor");
    let (bad, good, missing) = (
        folder.path("bad"),
        folder.path("good"),
        folder.path("no such folder/state"),
    );
    fs::write(&bad, "no info-hash\n").unwrap();
    fs::write(&good, format!("{}\n", "ab".repeat(20))).unwrap();
    for (arguments, faults) in [
        (&["--allow-list", &bad][..], &["lists"][..]),
        (&["--deny-list", "/no such list"], &["lists"]),
        (&["--deny-address", &good], &["lists"]),
        (&["--state", &missing], &["state"]),
        (&["--allow-list", &bad, "--state", &missing], &["lists", "state"]),
        (&["--user", "no such user"], &["user"]),
        (&["--user", "nobody", "--chroot", "/no such folder"], &["user"]),
    ] {
        let port = free_port().to_string();
        let common = ["--port", &port, "--bind", "127.0.0.1"];
        let start = run(&[&common, arguments].concat());
        assert_eq!(start.status.code(), Some(1), "{start:?}");
        let ended = run(&[&["doctor"], &common[..], arguments].concat());
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        for fault in faults {
            assert!(has_fault_with_remedy(&ended, fault), "{fault}: {ended:?}");
        }
    }
}

#[test]
fn lists_and_state_that_serve_are_shown_and_left_as_they_are() {
    let folder = Folder::new("doctor-well");
    let (list, state) = (folder.path("list"), folder.path("state"));
    fs::write(&list, format!("{}\n", "ab".repeat(20))).unwrap();
    let port = free_port().to_string();
    let arguments = [
        "doctor",
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--deny-list",
        &list,
        "--state",
        &state,
    ];
    let ended = run(&arguments);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let shown = |ended: &Ended, about: &str, what: &str| {
        let mut lines = ended.stdout.iter();
        lines.any(|line| line.starts_with(&format!("ok       {about} ")) && line.contains(what))
    };
    assert!(shown(&ended, "lists", "1 info-hashes denied"), "{ended:?}");
    assert!(shown(&ended, "state", "none yet"), "{ended:?}");
    assert_eq!(names(&folder), ["list"]);
    // A damaged state stays where it is: the tracker alone sets it aside.
    fs::write(&state, "no state").unwrap();
    let ended = run(&arguments);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(has(&ended, "warning  state"), "{ended:?}");
    assert_eq!(names(&folder), ["list", "state"]);
    assert_eq!(fs::read(&state).unwrap(), b"no state");
}

fn names(folder: &Folder) -> Vec<String> {
    let names = fs::read_dir(folder.path("")).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// Whether there is this fault, and the line after it says what to do.
fn has_fault_with_remedy(ended: &Ended, about: &str) -> bool {
    let start = format!("fault    {about} ");
    let mut lines = ended.stdout.iter();
    lines.any(|line| line.starts_with(&start)) && lines.next().is_some_and(|line| line.contains("-> "))
}

#[test]
fn an_address_of_another_host_is_a_fault() {
    let ended = run(&[
        "doctor",
        "--port",
        &free_port().to_string(),
        "--bind",
        "192.0.2.1",
    ]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let about = if cfg!(target_os = "linux") {
        "address"
    } else {
        "port"
    };
    assert!(has(&ended, &format!("fault    {about}")), "{ended:?}");
}

#[test]
fn too_few_open_files_are_a_fault() {
    let etracker = command().get_program().to_owned();
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 70; exec \"$@\"", "sh"])
        .arg(etracker)
        .args(["doctor", "--bind", "127.0.0.1", "--workers", "8", "--port"])
        .arg(free_port().to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("fault    open files"), "{said}");
}

fn has(ended: &Ended, start: &str) -> bool {
    ended.stdout.iter().any(|line| line.starts_with(start))
}
