//! The log: levels, formats, and that it never blocks.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use etracker_core::InfoHash;
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::clients::{UdpClient, connect, http_get, newcomer};
use crate::harness::{Folder, PATIENCE, Tracker, command, ended, free_port, wait_until};
use crate::supervised::{serving, try_serving};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

#[test]
fn each_evaluation_is_a_line_that_operators_know() {
    let mut tracker = Tracker::start(&["--interval", "600"]);
    tracker.hears_of(" TP ");
    let ended = tracker.stop(Signal::TERM);
    let line = ended.stdout.iter().find(|line| line.contains(" TP ")).unwrap();
    let names = [
        "TP", "TT", "TL", "MPT", "MPL", "MTL", "RP", "RT", "µs", "LA:", "ML:", "I:", "s", "RPS:",
    ];
    let words: Vec<_> = line.split_whitespace().collect();
    let found: Vec<_> = words
        .iter()
        .copied()
        .filter(|word| names.contains(word))
        .collect();
    assert_eq!(found, names, "{line}");
    assert!(line.contains(" I: 600 (600->"), "{line}");
    assert_eq!(line.split_whitespace().last().unwrap().split('/').count(), 4);
    assert!(ended.stderr.is_empty(), "quiet by default: {:?}", ended.stderr);
}

#[test]
fn json_is_one_object_a_line_with_the_evaluation_among_them() {
    let tracker = Tracker::start(&["--log-format", "json", "--log-level", "off"]);
    let line = tracker.complains("evaluation");
    let evaluation: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(evaluation["target"], "etracker::evaluation");
    assert_eq!(
        (&evaluation["interval_secs"], &evaluation["peers"]),
        (&1799.into(), &0.into())
    );
    let ended = tracker.stop(Signal::TERM);
    assert!(
        !ended.stdout.iter().any(|line| line.contains(" TP ")),
        "{ended:?}"
    );
}

#[test]
fn in_json_every_line_on_standard_error_is_an_object() {
    let folder = Folder::new("json");
    let (state, list) = (folder.path("state"), folder.path("list"));
    fs::write(&state, "no state").unwrap();
    fs::write(&list, "").unwrap();
    // What the tracker says while it serves, before its log begins and at its end.
    let json = ["--log-format", "json", "--locale", "xx_XX", "--deny-list", &list];
    let tracker = Tracker::start(&[&json[..], &["--state", &state]].concat());
    fs::write(&list, "no hash\n").unwrap();
    tracker.signal(Signal::HUP);
    let mut complaints = Vec::new();
    while !complaints
        .last()
        .is_some_and(|line: &String| line.contains("stay in force"))
    {
        complaints.push(tracker.complains(""));
    }
    for text in ["xx_XX is not known", "it is set aside", "stay in force"] {
        told(&complaints, text);
    }
    fs::write(&list, "").unwrap();
    let _half = connect(LOCALHOST, tracker.v4());
    tracker.signal(Signal::STOP);
    tracker.signal(Signal::TERM);
    tracker.signal(Signal::INT);
    tracker.signal(Signal::CONT);
    told(&tracker.wait().stderr, "ended at once");
    // What is refused once the options are understood, by the environment too.
    let bad_state = folder.path("nowhere/state");
    let holder = TcpListener::bind((LOCALHOST, 0)).unwrap();
    let taken = holder.local_addr().unwrap().port();
    for (port, arguments) in [
        (free_port(), &["--state", &bad_state][..]),
        (free_port(), &["--deny-list", &bad_state]),
        (taken, &["-f", "1", "--bind", "127.0.0.1"]),
    ] {
        let port = port.to_string();
        let mut command = command();
        command
            .env("ETRACKER_LOG_FORMAT", "json")
            .args(["--port", &port])
            .args(arguments);
        let ended = ended(&command.output().unwrap());
        assert_eq!(ended.status.code(), Some(1));
        told(&ended.stderr, "");
    }
    // What a supervisor says, and those whom it starts.
    let tracker = Tracker::start(&[&json[..], &["-f", "1"]].concat());
    let first = serving(tracker.pid());
    kill_process(first, Signal::KILL).unwrap();
    wait_until(|| try_serving(tracker.pid()).is_some_and(|next| next != first));
    told(&tracker.stop(Signal::TERM).stderr, "was killed by SIGKILL");
}

/// Every line is an object as one of the log is, and the message of one holds `text`.
#[track_caller]
fn told(lines: &[String], text: &str) {
    let mut messages = lines.iter().map(|line| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        let word = |key: &str| {
            object[key]
                .as_str()
                .unwrap_or_else(|| panic!("no {key}: {line}"))
                .to_owned()
        };
        assert!(word("timestamp").ends_with('Z') && !word("level").is_empty() && !word("target").is_empty());
        word("message")
    });
    let about = messages.by_ref().filter(|message| message.contains(text)).count();
    assert!(about > 0, "{text}: {lines:?}");
}

#[test]
fn addresses_are_logged_when_asked_for_and_never_otherwise() {
    let strange = |tracker: &Tracker| {
        for _ in 0..100 {
            http_get(NEIGHBOUR, tracker.v4(), "/announce");
        }
    };
    let quiet = Tracker::start(&["--log-level", "trace"]);
    strange(&quiet);
    let ended = quiet.stop(Signal::TERM);
    assert!(
        !ended.stderr.iter().any(|line| line.contains("127.0.0.3")),
        "{ended:?}"
    );
    let talkative = Tracker::start(&["--log-addresses"]);
    strange(&talkative);
    let ended = talkative.stop(Signal::TERM);
    let lines = ended.stderr.iter().filter(|line| line.contains("127.0.0.3"));
    assert!((1..100).contains(&lines.count()), "some, but no flood: {ended:?}");
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_neither_announces_nor_the_end() {
    let port = free_port();
    let child = command()
        .args([
            "--port",
            &port.to_string(),
            "--log-addresses",
            "--log-level",
            "trace",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Unread(child);
    let pid = Pid::from_child(&child.0);
    let to = SocketAddr::from((LOCALHOST, port));
    wait_until(|| TcpStream::connect(to).is_ok());
    let client = UdpClient::connect(LOCALHOST, to);
    let announce = newcomer(InfoHash([3; 20]), (LOCALHOST, 1001).into());
    // Every SIGHUP is answered by a line, or some of them by one; a pipe holds a thousand lines or so.
    let disturb = || {
        kill_process(pid, Signal::HUP).unwrap();
        client.announce(&announce);
    };
    let began = Instant::now();
    while child.unread() < PIPE_BYTES {
        assert!(
            began.elapsed() < PATIENCE,
            "the pipe does not fill: {} bytes",
            child.unread()
        );
        disturb();
    }
    for _ in 0..1000 {
        disturb();
    }
    kill_process(pid, Signal::TERM).unwrap();
    wait_until(|| child.0.try_wait().unwrap().is_some());
}

/// As README.md has it: the file is appended to, and cut to nothing once it is copied.
#[test]
#[ignore = "needs logrotate"]
fn a_file_that_is_appended_to_is_rotated_and_goes_on_without_a_gap() {
    let folder = Folder::new("rotated");
    let (log, config, state) = (folder.path("log"), folder.path("config"), folder.path("state"));
    let rules = "{\n daily\n rotate 14\n copytruncate\n missingok\n}\n";
    fs::write(&config, format!("{log} {rules}")).unwrap();
    // logrotate takes neither from who could have been anybody.
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let file = File::options().create(true).append(true).open(&log).unwrap();
    let port = free_port().to_string();
    let child = command().args(["--port", &port]).stdout(file).spawn();
    let mut child = Unread(child.unwrap());
    let holds = |text: &str| fs::read_to_string(&log).unwrap().contains(text);
    wait_until(|| holds("Connections at once"));
    let mut logrotate = Command::new("/usr/sbin/logrotate");
    let rotated = logrotate.args(["--force", "--state", &state, &config]).status();
    assert!(rotated.unwrap().success());
    let old = fs::read_to_string(folder.path("log.1")).unwrap();
    assert!(
        old.starts_with("Revision: ") && old.contains("Connections at once"),
        "{old}"
    );
    let pid = Pid::from_child(&child.0);
    kill_process(pid, Signal::HUP).unwrap();
    wait_until(|| holds("nothing to reload"));
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    let new = fs::read(&log).unwrap();
    assert!(!new.contains(&0) && !new.is_empty());
}

/// Bytes that a pipe holds, less the line that did not fit.
const PIPE_BYTES: u64 = 65_536 - 4096;

/// A tracker whose lines nobody reads, gone when the test is.
struct Unread(Child);

impl Unread {
    /// Bytes that wait in the pipe.
    fn unread(&self) -> u64 {
        ioctl_fionread(self.0.stdout.as_ref().unwrap()).unwrap()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
