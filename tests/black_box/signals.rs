//! Signals that a tracker handles, and those that it ignores.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::clients::{UdpClient, connect, http_get};
use crate::harness::{Folder, Tracker, by, free_port, wait_until};
use crate::supervised::{serving, try_serving};

#[test]
#[cfg(target_os = "linux")]
fn signals_that_mean_nothing_end_neither_a_tracker_nor_its_supervisor() {
    let tracker = Tracker::start(&["-f", "1"]);
    let serving = serving(tracker.pid());
    for process in [serving, tracker.pid()] {
        for signal in [
            Signal::XFSZ,
            Signal::USR1,
            Signal::USR2,
            Signal::ALARM,
            Signal::VTALARM,
            Signal::PROF,
            Signal::IO,
            Signal::POWER,
            Signal::PIPE,
            Signal::STKFLT,
            Signal::TTIN,
            Signal::TTOU,
        ] {
            kill_process(process, signal).unwrap();
        }
        for real_time in [34, 40, 64] {
            kill_by_number(process, real_time);
        }
    }
    // All of them came before this one.
    let ended = tracker.stop(Signal::TERM);
    assert_eq!(
        (ended.status.code(), &ended.stderr),
        (Some(0), &Vec::new()),
        "{ended:?}"
    );
}

#[test]
fn quit_and_faults_still_end_a_tracker() {
    for signal in [Signal::QUIT, Signal::ABORT] {
        let ended = Tracker::start(&[]).stop(signal);
        assert_eq!(ended.status.code(), None, "{ended:?}");
    }
}

#[test]
fn usr1_has_the_lists_read_again_as_hup_does() {
    let folder = Folder::new("usr1");
    let list = folder.path("list");
    fs::write(&list, "").unwrap();
    for supervised in [&["--deny-list", &list][..], &["-f", "1", "--deny-list", &list]] {
        let mut tracker = Tracker::start(supervised);
        for signal in [Signal::USR1, Signal::HUP] {
            fs::write(&list, format!("{}\n", "11".repeat(20))).unwrap();
            tracker.signal(signal);
            tracker.hears_of(": 1 info-hashes denied");
            fs::write(&list, "").unwrap();
            tracker.signal(signal);
            tracker.hears_of(": 0 info-hashes denied");
        }
        assert_eq!(tracker.stop(Signal::TERM).stderr, Vec::<String>::new());
    }
}

/// `timeout` sends its signal to the process and to the group of both.
#[test]
fn a_signal_that_comes_twice_within_a_moment_is_one() {
    for supervised in [&[][..], &["-f", "1"]] {
        let port = free_port().to_string();
        let mut timeout = by(&["timeout", "2"]);
        let output = timeout.args(["--port", &port]).args(supervised).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(TIMED_OUT), "{errors}");
        assert!(!errors.contains("ended at once"), "{errors}");
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("Totals:"),
            "{output:?}"
        );
    }
}

/// On a busy machine a moment between two signals can be a long one, but not each time.
#[test]
fn a_request_for_the_end_that_comes_again_at_once_is_one_with_the_first() {
    let ends_well = |supervised: &[&str]| {
        let mut tracker = Tracker::start(supervised);
        // Somebody whom the tracker waits for.
        let mut half = connect(V4, tracker.v4());
        half.write_all(b"GET /announce").unwrap();
        // It has been heard, since this one was served after it.
        drop(http_get(V4, tracker.v4(), "/announce"));
        tracker.signal(Signal::TERM);
        tracker.hears_of("SIGTERM: stopping");
        tracker.signal(Signal::TERM);
        let ended = tracker.wait();
        ended.status.code() == Some(0) && ended.stderr.is_empty()
    };
    for supervised in [&[][..], &["-f", "1"]] {
        assert!((0..5).any(|_| ends_well(supervised)), "{supervised:?}");
    }
}

#[test]
fn a_second_request_for_the_end_that_comes_later_is_obeyed_at_once() {
    let tracker = Tracker::start(&[]);
    // Somebody whom the tracker would wait for.
    let _half = connect(V4, tracker.v4());
    tracker.signal(Signal::STOP);
    tracker.signal(Signal::TERM);
    tracker.signal(Signal::INT);
    tracker.signal(Signal::CONT);
    let ended = tracker.wait();
    let status = ended.status.code().unwrap();
    assert!([130, 143].contains(&status), "{ended:?}");
}

#[test]
fn a_reload_that_is_asked_for_while_a_tracker_starts_does_not_end_it() {
    let mut tracker = Tracker::start(&["-f", "3"]);
    for failure in 1..=3 {
        let first = serving(tracker.pid());
        kill_process(first, Signal::KILL).unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(1) {
            tracker.signal(Signal::HUP);
            sleep(Duration::from_micros(200));
        }
        wait_until(|| try_serving(tracker.pid()).is_some_and(|next| next != first));
        tracker.hears_of(&format!("Failures before this start: {failure}"));
        drop(UdpClient::connect(V4, tracker.v4()));
    }
    let ended = tracker.stop(Signal::TERM);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(ended.stderr.len(), 3, "killed three times: {ended:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_limit_on_the_size_of_files_does_not_end_a_tracker_whose_lines_go_to_one() {
    let folder = Folder::new("fsize-output");
    let output = folder.path("output");
    let mut limited = by(&["prlimit", "--fsize=2048"]);
    limited.stdout(File::create(&output).unwrap());
    let port = free_port();
    let mut child = limited.args(["--port", &port.to_string()]).spawn().unwrap();
    let at = (V4, port).into();
    let pid = Pid::from_child(&child);
    wait_until(|| std::net::TcpStream::connect(at).is_ok());
    wait_until(|| {
        kill_process(pid, Signal::HUP).unwrap();
        fs::metadata(&output).unwrap().len() == 2048
    });
    kill_process(pid, Signal::HUP).unwrap();
    drop(UdpClient::connect(V4, at));
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Sends a signal that has no name of its own.
fn kill_by_number(process: Pid, number: i32) {
    let kill = format!("kill -{number} {}", process.as_raw_nonzero());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The exit status of `timeout` when it had to end its command.
const TIMED_OUT: i32 = 124;
