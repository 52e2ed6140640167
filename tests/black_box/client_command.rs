//! The command `etracker-client`, asking a tracker.

use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Tracker, free_port};

#[test]
fn the_manual_page_names_every_command_and_option() {
    let page = Command::new(env!("CARGO_BIN_EXE_etracker-client"))
        .arg("man")
        .output()
        .unwrap();
    assert!(page.status.success(), "{page:?}");
    let page = String::from_utf8(page.stdout).unwrap().replace('\\', "");
    assert!(page.contains(".TH"), "{page}");
    for name in [
        "announce",
        "scrape",
        "--event",
        "--left",
        "--numwant",
        "--timeout",
        "--json",
    ] {
        assert!(page.contains(name), "{name} is not in {page}");
    }
}

#[test]
fn clients_of_both_protocols_see_each_other_in_the_right_family_and_agree_on_counts() {
    let tracker = Tracker::start(&[]);
    let port = tracker.port();
    let hosts = ["127.0.0.1", "[::1]"];
    for (host, peer_port) in hosts.into_iter().zip([1001, 1002]) {
        let url = format!("udp://{host}:{port}");
        done(&[
            "announce",
            &url,
            HASH,
            "--event",
            "started",
            "--left",
            "0",
            "--port",
            &peer_port.to_string(),
        ]);
    }
    for (host, ip, peer_port) in [("127.0.0.1", "127.0.0.1", 1001), ("[::1]", "::1", 1002)] {
        let url = format!("http://{host}:{port}/announce");
        let answer = json(&[
            "announce", &url, HASH, "--event", "started", "--port", "2000", "--json",
        ]);
        assert_eq!(
            answer["peers"],
            serde_json::json!([{ "ip": ip, "port": peer_port }]),
            "{answer}"
        );
        assert_eq!(answer["complete"], 2);
        assert_eq!(answer["external ip"], ip);
    }
    for url in [
        format!("udp://127.0.0.1:{port}"),
        format!("http://[::1]:{port}/announce"),
    ] {
        let answer = json(&["scrape", &url, HASH, "--json"]);
        let counts = serde_json::json!({ "complete": 2, "incomplete": 2, "downloaded": 0 });
        assert_eq!(answer["files"][HASH], counts, "{url}");
    }
}

#[test]
fn the_answer_is_readable() {
    let tracker = Tracker::start(&["--min-interval", "1799"]);
    let url = format!("http://localhost:{}/announce", tracker.port());
    done(&["announce", &url, HASH, "--left", "0", "--port", "1001"]);
    let text = done(&["announce", &url, HASH, "--port", "1002"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines.starts_with(&[
            "interval     1799 s",
            "min interval 1799 s",
            "complete     1",
            "incomplete   1"
        ]),
        "{text}"
    );
    assert!(lines.last().unwrap().ends_with(":1001"), "{text}");
    let text = done(&["scrape", &url, HASH]);
    assert_eq!(text, format!("{HASH}  complete 1  incomplete 1  downloaded 0\n"));
}

#[test]
fn a_refusal_is_shown_and_ends_with_1() {
    let tracker = Tracker::start(&[]);
    for url in [
        format!("udp://127.0.0.1:{}", tracker.port()),
        format!("http://127.0.0.1:{}/announce", tracker.port()),
    ] {
        let output = client(&["announce", &url, HASH, "--port", "0"]);
        let shown = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}");
        assert!(shown.contains("port"), "{url}: {shown}");
        let output = client(&["announce", &url, HASH, "--port", "0", "--json"]);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}");
        assert!(
            answer["failure reason"].as_str().unwrap().contains("port"),
            "{url}: {answer}"
        );
    }
}

#[test]
fn a_tracker_that_is_not_there_ends_with_1_and_bad_arguments_with_2() {
    let port = free_port();
    for url in [
        format!("udp://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/announce"),
    ] {
        assert_eq!(client(&["scrape", &url, HASH]).status.code(), Some(1), "{url}");
    }
    for arguments in [
        &["announce", "ftp://127.0.0.1", HASH][..],
        &["announce", "udp://127.0.0.1:1", "12"],
        &["announce", "udp://127.0.0.1:1"],
        &["announce", "udp://127.0.0.1:1", HASH, "--event", "moved"],
        &["announce", "udp://127.0.0.1:1", HASH, "--numwant", "many"],
        &["scrape", "udp://127.0.0.1:1"],
        &[],
    ] {
        let output = client(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_client_that_is_suspended_while_it_waits_goes_on() {
    let tracker = Tracker::start(&[]);
    let port = tracker.port();
    for url in [
        format!("udp://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/announce"),
    ] {
        tracker.signal(Signal::STOP);
        let client = command(&["scrape", &url, HASH]).spawn().unwrap();
        for signal in [Signal::STOP, Signal::CONT].repeat(10) {
            thread::sleep(Duration::from_millis(20));
            kill_process(Pid::from_child(&client), signal).unwrap();
        }
        tracker.signal(Signal::CONT);
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{url}: {output:?}");
    }
}

fn client(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etracker-client"));
    command
        .args(arguments)
        .args(arguments.first().map(|_| "--timeout=10"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The output of a client that must succeed.
fn done(arguments: &[&str]) -> String {
    let output = client(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&done(arguments)).unwrap()
}

const HASH: &str = "0123456789abcdef0123456789abcdef01234567";
