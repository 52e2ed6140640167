//! What the command does at its start and at its end.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use etracker_core::InfoHash;
use etracker_core::udp::packet::RequestHead;
use rustix::process::Signal;

use crate::clients::{UdpClient, http_announce, newcomer};
use crate::harness::{Ended, Folder, Tracker, command, free_port, other, run, uninterrupted};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn a_value_out_of_range_is_refused_by_one_line_with_option_value_and_range() {
    for (option, value, least, most) in [
        ("--port", "0", "1", "65535"),
        ("--port", "70000", "1", "65535"),
        ("-p", "-1", "1", "65535"),
        ("--interval", "59", "60", "7200"),
        ("--max-interval", "7201", "60", "7200"),
        ("--min-interval", "abc", "60", "7200"),
        ("--max-peers-per-response", "1001", "1", "1000"),
        ("-m", "0", "1", "1000"),
        ("--socket-timeout", "301", "1", "300"),
        ("--workers", "257", "1", "256"),
        ("-w", "-1", "1", "256"),
    ] {
        let ended = run(&[&format!("{option}={value}")]);
        let line = refusal(&ended, 2);
        let named = if option.starts_with("--") { option } else { "--" };
        for part in [named, value, least, most] {
            assert!(line.contains(part), "{option}={value}: {line}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_one_line_that_names_it() {
    for (arguments, named) in [
        (&["--no-tcp", "--no-udp"][..], "--no-udp"),
        (&["--bogus"], "--bogus"),
        (&["--bind", "example"], "example"),
        (&["--min-interval", "900", "--max-interval", "600"], "600"),
        (&["--private-peers", "maybe"], "maybe"),
        (&["stray"], "stray"),
    ] {
        let line = refusal(&run(arguments), 2).to_owned();
        assert!(line.contains(named), "{arguments:?}: {line}");
    }
}

#[test]
fn a_bad_value_in_the_environment_is_refused_by_the_name_of_its_variable() {
    let output = command().env("ETRACKER_WORKERS", "none").output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert!(
        line.contains("ETRACKER_WORKERS") && line.contains("none"),
        "{line}"
    );
}

#[test]
fn a_mistyped_variable_is_refused_and_a_strange_one_is_one_warning() {
    let mut mistyped = command();
    let output = mistyped.env("ETRACKER_DENYLIST", "/a/list").output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert!(line.contains("ETRACKER_DENYLIST") && line.contains("ETRACKER_DENY_LIST"));
    for arguments in [&["-f", "1"][..], &[]] {
        let mut strange = command();
        strange.env("ETRACKER_WEBSITE_THEME", "dark");
        // What Kubernetes says to all in its namespace, of a service that is called etracker.
        strange.env("ETRACKER_PORT", "tcp://10.0.0.1:6969");
        let tracker = Tracker::start_by(strange, free_port(), arguments).unwrap();
        let ended = tracker.stop(Signal::TERM);
        let [line] = &*ended.stderr else {
            panic!("not one line: {ended:?}");
        };
        assert!(line.contains("ETRACKER_WEBSITE_THEME"), "{line}");
    }
}

#[test]
fn an_error_blames_the_variable_that_it_came_from_and_has_no_number() {
    let missing = "/no such folder/file";
    for variable in [
        "ETRACKER_ALLOW_LIST",
        "ETRACKER_DENY_LIST",
        "ETRACKER_DENY_ADDRESS",
    ] {
        let mut command = command();
        command
            .env(variable, missing)
            .args(["-p", &free_port().to_string()]);
        let output = command.output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            line,
            format!("etracker: {variable}={missing}: No such file or directory\n")
        );
    }
    let port = free_port().to_string();
    for arguments in [
        ["-p", &port, "--allow-list", missing],
        ["-p", &port, "--state", missing],
        ["-p", &port, "--deny-list", "/"],
    ] {
        let line = refusal(&run(&arguments), 1).to_owned();
        assert!(!line.contains("os error"), "{line}");
    }
}

#[test]
fn words_that_are_no_options_get_an_answer_that_helps() {
    for (word, advice) in [
        ("docter", "did you mean `etracker doctor`?"),
        ("serve", "etracker serves without"),
    ] {
        let line = refusal(&run(&[word]), 2).to_owned();
        assert!(line.contains(word) && line.contains(advice), "{line}");
    }
    let help = run(&["help"]);
    assert_eq!(help.status.code(), Some(0));
    assert_eq!(help.stdout, run(&["--help"]).stdout);
}

#[test]
fn a_second_tracker_on_the_same_port_refuses_to_start() {
    let first = Tracker::start(&[]);
    let port = first.port().to_string();
    let ended = run(&["--port", &port]);
    assert!(refusal(&ended, 1).contains(&port), "{ended:?}");
    let to_one_address = run(&["--port", &port, "--bind", "127.0.0.1"]);
    assert!(refusal(&to_one_address, 1).contains(&port), "{to_one_address:?}");
    drop(UdpClient::connect(LOCALHOST, first.v4()));
}

#[test]
fn a_port_that_another_program_holds_for_one_protocol_is_refused() {
    let port = free_port();
    let tcp = TcpListener::bind((LOCALHOST, port)).unwrap();
    let ended = run(&["--port", &port.to_string()]);
    assert!(refusal(&ended, 1).contains(&port.to_string()), "{ended:?}");
    drop(tcp);
    let udp = UdpSocket::bind((LOCALHOST, port)).unwrap();
    let ended = run(&["--port", &port.to_string()]);
    assert!(refusal(&ended, 1).contains(&port.to_string()), "{ended:?}");
    drop(udp);
}

#[test]
fn the_start_shows_configuration_limits_and_where_it_listens() {
    let tracker = Tracker::start(&["--workers", "2"]);
    let port = tracker.port();
    let said = tracker.stop(Signal::TERM).stdout;
    for start in [
        "Revision: ",
        "Starting configuration:",
        &format!("  port = {port}"),
        "  workers = 2",
        "Current 7 -> soft=",
        "New 7 -> soft=",
        "Listening on TCP",
        "Listening on UDP",
    ] {
        assert!(
            said.iter().any(|line| line.starts_with(start)),
            "{start}: {said:#?}"
        );
    }
}

#[test]
fn the_last_line_of_a_start_says_what_is_served_and_where_the_page_is() {
    let mut tracker = Tracker::start(&["--bind", "127.0.0.1"]);
    let port = tracker.port();
    tracker.hears_of("Serving ");
    let at = format!("127.0.0.1:{port}");
    let last = tracker.said().last().unwrap();
    for part in [
        format!("http://{at}"),
        format!("udp://{at}"),
        format!("; page: http://{at}/"),
    ] {
        assert!(last.contains(&part), "{part}: {last}");
    }
    let mut tracker = Tracker::start(&["--no-tcp"]);
    let port = tracker.port();
    tracker.hears_of("Serving ");
    let last = tracker.said().last();
    assert_eq!(last, Some(&format!("Serving udp://localhost:{port}")));
}

/// Whichever thread is the first that the system refuses.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs root"]
fn a_limit_on_processes_is_told_by_one_line() {
    let folder = Folder::new("processes");
    // Where another user may run it too.
    let etracker = folder.path("etracker");
    fs::copy(env!("CARGO_BIN_EXE_etracker"), &etracker).unwrap();
    let (mut refused, mut served) = (0, 0);
    for processes in 1..=30 {
        let limit = format!("--nproc={processes}");
        let mut setpriv = other("setpriv");
        setpriv.args([
            "--reuid=61234",
            "--regid=61234",
            "--clear-groups",
            "prlimit",
            &limit,
            &etracker,
        ]);
        match Tracker::start_by(setpriv, free_port(), &["--workers", "4"]) {
            Err(ended) => {
                let line = refusal(&ended, 1);
                assert!(line.contains("limit on processes"), "{processes}: {line}");
                refused += 1;
            }
            Ok(tracker) => {
                drop(UdpClient::connect(LOCALHOST, tracker.v4()));
                assert_eq!(tracker.stop(Signal::TERM).stderr, Vec::<String>::new());
                served += 1;
            }
        }
    }
    assert!(refused > 10 && served > 5, "{refused} refused, {served} served");
}

#[test]
fn termination_prints_totals_and_exits_with_0() {
    ends_well(Signal::TERM);
}

#[test]
fn an_interrupt_prints_totals_and_exits_with_0() {
    ends_well(Signal::INT);
}

#[test]
fn one_protocol_can_be_left_out() {
    let without_udp = Tracker::start(&["--no-udp"]);
    assert!(!answers_udp(&without_udp));
    http_announce(without_udp.v4(), &newcomer(HASH, (LOCALHOST, 1).into()), None);
    let without_tcp = Tracker::start(&["--no-tcp"]);
    assert!(TcpStream::connect(without_tcp.v4()).is_err());
    assert!(answers_udp(&without_tcp));
}

#[test]
fn a_tracker_bound_to_one_address_answers_there_alone() {
    let tracker = Tracker::start(&["--bind", "127.0.0.2"]);
    let there: IpAddr = Ipv4Addr::new(127, 0, 0, 2).into();
    drop(UdpClient::connect(LOCALHOST, (there, tracker.port()).into()));
    assert!(TcpStream::connect(tracker.v4()).is_err());
    assert!(TcpStream::connect((there, tracker.port())).is_ok());
}

#[test]
fn a_reply_leaves_from_the_address_that_the_request_came_to() {
    let tracker = Tracker::start(&[]);
    for last in 2..9 {
        let there: IpAddr = Ipv4Addr::new(127, 0, 0, last).into();
        // The socket is connected: it takes nothing from another address.
        drop(UdpClient::connect(LOCALHOST, (there, tracker.port()).into()));
    }
}

#[test]
fn a_killed_tracker_comes_back_on_the_same_port() {
    comes_back(5);
}

#[test]
#[ignore = "starts a hundred times"]
fn a_tracker_killed_a_hundred_times_comes_back_on_the_same_port() {
    comes_back(100);
}

/// Kills a tracker, each time while clients of both protocols have it busy.
fn comes_back(times: u16) {
    let mut tracker = Tracker::start(&["--workers", "2", "--keep-alive"]);
    let port = tracker.port();
    for time in 1..=times {
        let connected = UdpClient::connect(LOCALHOST, tracker.v4());
        connected.announce(&newcomer(HASH, (LOCALHOST, 1).into()));
        http_announce(tracker.v4(), &newcomer(HASH, (LOCALHOST, 2).into()), None);
        let idle: Vec<_> = (0..20).map(|_| TcpStream::connect(tracker.v4())).collect();
        tracker.stop(Signal::KILL);
        let again = Tracker::start_at(port, &["--workers", "2", "--keep-alive"]);
        tracker = again.unwrap_or_else(|ended| panic!("time {time}: {ended:?}"));
        drop(idle);
    }
}

fn ends_well(signal: Signal) {
    let tracker = Tracker::start(&[]);
    UdpClient::connect(LOCALHOST, tracker.v4()).announce(&newcomer(HASH, (LOCALHOST, 1001).into()));
    http_announce(tracker.v4(), &newcomer(HASH, (LOCALHOST, 1002).into()), None);
    let Ended {
        status,
        stdout,
        stderr,
    } = tracker.stop(signal);
    assert_eq!((status.code(), stderr), (Some(0), Vec::new()));
    for total in [
        "  torrents = 1",
        "  leechers = 2",
        "  udp_connect = 1",
        "  udp_announce = 1",
        "  http_announce = 1",
    ] {
        assert!(stdout.iter().any(|line| line == total), "{total}: {stdout:#?}");
    }
}

fn answers_udp(tracker: &Tracker) -> bool {
    let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.connect(tracker.v4()).unwrap();
    let sent = socket.send(&RequestHead::connect(1).encode());
    sent.is_ok() && uninterrupted(|| socket.recv(&mut [0; 16])).is_ok()
}

/// The one line on standard error of a command that ended with `status`.
fn refusal(ended: &Ended, status: i32) -> &str {
    assert_eq!(ended.status.code(), Some(status), "{ended:?}");
    assert_eq!(ended.stderr.len(), 1, "one line: {ended:?}");
    &ended.stderr[0]
}

const HASH: InfoHash = InfoHash(*b"start and stop tests");
