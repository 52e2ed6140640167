//! `/health`, and the command that asks for it.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use etracker_core::http::Response;
use rustix::process::Signal;

use crate::clients::{connect, http_get};
use crate::harness::{Tracker, free_port, run, wait_until};
use crate::pages::WELL;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn a_tracker_that_serves_is_healthy_alive_and_ready() {
    let tracker = Tracker::start(WELL);
    for path in ["/health", "/health/live", "/health/ready", "//health/live/"] {
        let answer = http_get(LOCALHOST, tracker.v4(), path);
        assert_eq!((answer.status, &*answer.body), (200, &b"ok\n"[..]), "{path}");
    }
    for path in ["/health/well", "/health/live/now", "/x/health"] {
        assert_eq!(http_get(LOCALHOST, tracker.v4(), path).status, 404, "{path}");
    }
}

#[test]
fn checks_are_not_counted_against_the_pages() {
    let tracker = Tracker::start(&["--keep-alive"]);
    for _ in 0..3 {
        let requests = "GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n".repeat(100);
        let last = "GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        let mut stream = connect(LOCALHOST, tracker.v4());
        stream.write_all((requests + last).as_bytes()).unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 101);
    }
}

#[test]
fn a_check_on_the_host_needs_no_permission_and_one_from_elsewhere_does() {
    let options = [
        "--stats-from",
        "10.0.0.0/8",
        "--page-host",
        "tracker.example",
        "--path-prefix",
        "/t",
    ];
    let tracker = Tracker::start(&options);
    assert_eq!(http_get(LOCALHOST, tracker.v4(), "/t/health/live").status, 200);
    assert_eq!(http_get(LOCALHOST, tracker.v4(), "/t/stats").status, 404);
    assert_eq!(health(&tracker, &options), (Some(0), true));
    // A site that resolves its name to the tracker learns nothing.
    let mut stream = connect(LOCALHOST, tracker.v4());
    let request = b"GET /t/health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(Response::decode(&answer, true).unwrap().unwrap().status, 403);
    let stranger = SocketAddr::new(LOCALHOST, tracker.port());
    let named = Tracker::start(&["--stats-from", "10.0.0.0/8", "--x-forwarded-for"]);
    let ask = |tracker: &Tracker, field: &str| {
        let mut stream = connect(LOCALHOST, tracker.v4());
        let request = format!("GET /health HTTP/1.1\r\nHost: {stranger}\r\n{field}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Response::decode(&answer, true).unwrap().unwrap().status
    };
    assert_eq!(ask(&named, ""), 200);
    assert_eq!(ask(&named, "X-Forwarded-For: 198.51.100.7\r\n"), 404);
    assert_eq!(ask(&named, "X-Forwarded-For: 10.1.2.3\r\n"), 200);
}

#[test]
fn the_command_asks_behind_proxies_over_ipv6_and_where_there_is_only_udp() {
    for options in [
        &[][..],
        &["--proxy-protocol", "--trusted-proxy", "127.0.0.0/8"],
        &["--x-forwarded-for", "--stats-from", "10.0.0.0/8"],
        &["--bind", "::1"],
        &["--no-tcp"],
        &["--no-udp"],
    ] {
        let tracker = Tracker::start(options);
        assert_eq!(health(&tracker, options), (Some(0), true), "{options:?}");
    }
}

#[test]
fn the_command_fails_where_nobody_answers() {
    let port = free_port().to_string();
    for options in [
        &["--port", &port][..],
        &["--port", &port, "--no-tcp", "--bind", "127.0.0.1"],
    ] {
        let ended = run(&[&["health"], options].concat());
        assert_eq!(ended.status.code(), Some(1), "{ended:?}");
        assert_eq!(ended.stdout.len(), 1, "{ended:?}");
    }
}

#[test]
fn a_tracker_that_hangs_is_not_alive() {
    let tracker = Tracker::start(&["--bind", "127.0.0.1", "--workers", "1"]);
    assert_eq!(health(&tracker, &["--bind", "127.0.0.1"]), (Some(0), true));
    tracker.signal(Signal::STOP);
    wait_until(|| health(&tracker, &["--bind", "127.0.0.1"]).0 == Some(1));
    tracker.signal(Signal::CONT);
    wait_until(|| health(&tracker, &["--bind", "127.0.0.1"]).0 == Some(0));
}

/// The exit status of the command with the tracker's options, and whether it said something in one line or two.
fn health(tracker: &Tracker, options: &[&str]) -> (Option<i32>, bool) {
    let port = tracker.port().to_string();
    let ended = run(&[&["health", "--port", &port], options].concat());
    (
        ended.status.code(),
        (1..=2).contains(&ended.stdout.len()) && ended.stderr.is_empty(),
    )
}
