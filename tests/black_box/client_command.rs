//! The command `etracker-client`, asking a tracker.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
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
        "--raw",
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
    let tracker = Tracker::start(&["--allow-list", "/dev/null"]);
    for url in [
        format!("udp://127.0.0.1:{}", tracker.port()),
        format!("http://127.0.0.1:{}/announce", tracker.port()),
    ] {
        let output = client(&["announce", &url, HASH]);
        let shown = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}");
        assert!(shown.contains("torrent"), "{url}: {shown}");
        let output = client(&["announce", &url, HASH, "--json"]);
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{url}");
        assert!(
            answer["failure reason"].as_str().unwrap().contains("torrent"),
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
        &["announce", "udp://127.0.0.1:1", HASH, HASH],
        &["announce", "magnet:?dn=x&tr=udp://127.0.0.1:1"],
        &["announce", &magnet(&["wss://127.0.0.1/announce"])],
        &["announce", &magnet(&["udp://127.0.0.1:1"]), HASH],
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

#[test]
fn what_is_wrong_with_an_answer_is_named_and_the_rest_is_read() {
    let peers = "5:peers6:\x7f\0\0\x01\x04\x01";
    let whole = format!("d8:completei7e8:intervali60e{peers}e");
    for (body, fault) in [
        (format!("{whole}\r\n"), "something follows the bencoded value"),
        (format!("d{peers}8:intervali60e8:completei7ee"), "ascending order"),
        (format!("d8:completei07e8:intervali60e{peers}e"), "canonical form"),
        (
            format!("d8:complete1:78:intervali60e{peers}e"),
            "\"complete\" makes no sense",
        ),
    ] {
        let (url, _server) = answering(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let output = client(&["announce", &url, HASH, "--json"]);
        let shown = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(
            shown.contains("fault of the tracker: ") && shown.contains(fault),
            "{body}: {shown}"
        );
        assert_eq!(output.status.code(), Some(0), "{body}: {output:?}");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["complete"], 7, "{body}: {answer}");
        assert_eq!(answer["interval"], 60);
        assert_eq!(
            answer["peers"],
            serde_json::json!([{ "ip": "127.0.0.1", "port": 1025 }])
        );
        assert!(answer["notes"][0].as_str().unwrap().contains(fault));
    }
}

#[test]
fn keys_that_are_no_text_and_values_that_are_missing_do_not_hide_the_others() {
    let answer =
        b"HTTP/1.0 200 OK\r\n\r\nd8:completei7e5:peers7:\x7f\0\0\x01\x04\x01\xff2:\xff\xfei1ee".to_vec();
    let (url, _server) = answering(answer);
    let output = client(&["announce", &url, HASH]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = String::from_utf8(output.stderr).unwrap();
    for fault in [
        r#"the key "\xff\xfe" is not UTF-8"#,
        r#"the answer has no "interval""#,
        r#""peers" has 7 bytes, but peers of 6 each"#,
    ] {
        assert!(
            shown.contains(&format!("etracker-client: fault of the tracker: {fault}\n")),
            "{shown}"
        );
    }
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "complete     7\npeers        1\n  127.0.0.1:1025\n"
    );
    // A body that is shorter than was said.
    let (url, _server) = answering("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nd8:intervali60e5:peers0:e");
    let output = client(&["announce", &url, HASH]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("ended before the answer did")
    );
}

#[test]
fn a_scrape_is_read_whatever_the_order_of_its_hashes() {
    let hash: Vec<u8> = (0..20)
        .map(|index| u8::from_str_radix(&HASH[2 * index..][..2], 16).unwrap())
        .collect();
    let entry =
        |hash: &[u8], complete: &str| [b"20:", hash, b"d8:complete", complete.as_bytes(), b"e"].concat();
    let body = [
        b"HTTP/1.1 200 OK\r\n\r\nd5:filesd".to_vec(),
        entry(&[0xff; 20], "i1e"),
        entry(&hash, "i5e"),
        b"3:abci1eee".to_vec(),
    ];
    let (url, _server) = answering(body.concat());
    let output = client(&["scrape", &url, HASH]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown, format!("{HASH}  complete 5  incomplete 0  downloaded 0\n"));
    let faults = String::from_utf8(output.stderr).unwrap();
    assert!(
        faults.contains("ascending order") && faults.contains("an entry of \"files\""),
        "{faults}"
    );
    assert!(!faults.contains("UTF-8"), "info-hashes are no text: {faults}");
}

#[test]
fn an_info_hash_that_a_tracker_writes_as_text_is_understood() {
    let text: String = (0..20)
        .map(|index| char::from(u8::from_str_radix(&HASH[2 * index..][..2], 16).unwrap()))
        .collect();
    assert!(text.len() > 20);
    let body = format!("d5:filesd{}:{text}d8:completei5eeee", text.len());
    let (url, _server) = answering(format!("HTTP/1.1 200 OK\r\n\r\n{body}"));
    let output = client(&["scrape", &url, HASH]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown, format!("{HASH}  complete 5  incomplete 0  downloaded 0\n"));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("is written as UTF-8")
    );
}

#[test]
fn what_is_no_answer_is_said_to_be_none() {
    for (answer, reason) in [
        (
            "HTTP/1.1 200 OK\r\n\r\n<html>",
            "no bencoded value begins where one should",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nle", "not a bencoded dictionary"),
        (
            "HTTP/1.1 301 Moved\r\nLocation: https://t.example/a\r\n\r\n",
            "status 301, which leads to https://t.example/a",
        ),
        (
            "HTTP/1.1 404 No\r\n\r\nd14:failure reason2:noe",
            "the tracker refuses: no",
        ),
        ("SSH-2.0\r\n\r\n", "not HTTP"),
    ] {
        let (url, _server) = answering(answer);
        let output = client(&["announce", &url, HASH]);
        let shown = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{answer}");
        assert!(shown.contains(reason), "{answer}: {shown}");
    }
}

#[test]
fn the_bytes_of_an_answer_are_shown() {
    let tracker = Tracker::start(&[]);
    let port = tracker.port();
    let text = done(&[
        "scrape",
        &format!("http://127.0.0.1:{port}/announce"),
        HASH,
        "--raw",
    ]);
    assert!(
        text.starts_with("000000  48 54 54 50 2f 31 2e 31 20 32 30 30 20 4f 4b 0d  HTTP/1.1 200 OK.\n"),
        "{text}"
    );
    assert!(
        text.ends_with(&format!("\n\n{HASH}  complete 0  incomplete 0  downloaded 0\n")),
        "{text}"
    );
    let answer = json(&[
        "scrape",
        &format!("udp://127.0.0.1:{port}"),
        HASH,
        "--raw",
        "--json",
    ]);
    let raw = answer["raw"].as_str().unwrap();
    assert!(raw.starts_with("00000002") && raw.len() == 2 * 20, "{raw}");
}

#[test]
fn a_magnet_link_is_asked_about_at_the_first_of_its_plain_trackers_that_answers() {
    let tracker = Tracker::start(&[]);
    let port = tracker.port();
    let nobody = format!("http://127.0.0.1:{}/announce", free_port());
    let there = format!("http://127.0.0.1:{port}/announce");
    let link = magnet(&["wss://t.example/announce", &nobody, &there]);
    let output = client(&["announce", &link, "--port", "1001", "--left", "0"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(out.starts_with(&format!("tracker      {there}\n")), "{out}");
    assert!(
        err.contains("wss://t.example/announce is left out: it must begin with"),
        "{err}"
    );
    assert!(
        err.contains(&format!("{nobody}: the tracker cannot be reached")),
        "{err}"
    );
    // The same torrent in base 32, whose only tracker needs no mention.
    let link =
        format!("magnet:?xt=urn:btih:AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH&tr=udp%3A%2F%2F127.0.0.1%3A{port}");
    let answer = json(&["scrape", &link, "--json", "-"]);
    let counts = serde_json::json!({ "complete": 1, "incomplete": 0, "downloaded": 0 });
    assert_eq!(answer, serde_json::json!({ "files": { HASH: counts } }));
}

#[test]
fn a_reader_who_goes_away_does_no_harm() {
    let commands = [
        env!("CARGO_BIN_EXE_etracker"),
        env!("CARGO_BIN_EXE_etracker-client"),
    ];
    for command in commands {
        for argument in ["--help", "--version", "man", "--nonsense"] {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let status = Command::new(command)
                .arg(argument)
                .stdin(Stdio::null())
                .stdout(writer.try_clone().unwrap())
                .stderr(writer)
                .spawn()
                .and_then(|mut child| child.wait())
                .unwrap();
            assert!(
                matches!(status.code(), Some(0..=2)),
                "{command} {argument}: {status}"
            );
        }
    }
}

/// A tracker at this URL that answers one request with these bytes.
fn answering(answer: impl Into<Vec<u8>>) -> (String, thread::JoinHandle<()>) {
    let (listener, answer) = (TcpListener::bind("127.0.0.1:0").unwrap(), answer.into());
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut piece = [0; 1024];
            let len = stream.read(&mut piece).unwrap();
            request.extend_from_slice(&piece[..len]);
        }
        stream.write_all(&answer).unwrap();
    });
    (url, server)
}

/// A link to the torrent [`HASH`] with these trackers.
fn magnet(trackers: &[&str]) -> String {
    let trackers: String = trackers.iter().map(|url| format!("&tr={url}")).collect();
    format!("magnet:?xt=urn:btih:{HASH}{trackers}")
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
