//! Notifications to a service manager like systemd.

use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Folder, PATIENCE, command, free_port, of_threads, uninterrupted, wait_until};

#[test]
fn a_manager_is_told_of_start_life_and_end() {
    heard("alone", &[]);
}

#[test]
fn a_manager_is_told_so_by_a_supervised_tracker_too() {
    heard("supervised", &["-f", "1"]);
}

#[test]
fn one_worker_that_hangs_is_not_alive() {
    let folder = Folder::new("manager-hangs");
    let (manager, tracker) = managed(&folder, &["--workers", "3"]);
    assert_eq!(next(&manager), "READY=1");
    let pid = Pid::from_child(&tracker.0);
    for worker in ["etracker-1", "etracker-2", "etracker-3"] {
        assert_eq!(next(&manager), "WATCHDOG=1");
        let hanging = Hanging::new(thread_named(pid, worker));
        assert!(falls_silent(&manager), "{worker} hangs, and nobody says so");
        drop(hanging);
    }
    assert_eq!(next(&manager), "WATCHDOG=1");
}

fn heard(name: &str, arguments: &[&str]) {
    let folder = Folder::new(&format!("manager-{name}"));
    let (manager, mut tracker) = managed(&folder, arguments);
    assert_eq!(next(&manager), "READY=1");
    assert_eq!(next(&manager), "WATCHDOG=1");
    assert_eq!(next(&manager), "WATCHDOG=1");
    kill_process(Pid::from_child(&tracker.0), Signal::TERM).unwrap();
    while next(&manager) != "STOPPING=1" {}
    assert_eq!(tracker.0.wait().unwrap().code(), Some(0));
}

/// A manager, and the tracker that tells it how it is five times a second.
fn managed(folder: &Folder, arguments: &[&str]) -> (UnixDatagram, Managed) {
    let manager = UnixDatagram::bind(folder.path("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let tracker = command()
        .args(["-p", &free_port().to_string()])
        .args(arguments)
        .env("NOTIFY_SOCKET", folder.path("notify"))
        .env("WATCHDOG_USEC", "400000")
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    (manager, Managed(tracker))
}

/// A thread of the tracker, which may be about to start.
fn thread_named(process: Pid, name: &str) -> nix::unistd::Pid {
    let mut found = None;
    wait_until(|| {
        let mut threads = of_threads(process, "comm").into_iter();
        found = threads.find(|(_, comm)| comm.trim_end() == name);
        found.is_some()
    });
    nix::unistd::Pid::from_raw(found.unwrap().0.as_raw_nonzero().get())
}

/// A thread that is stopped, whatever the others of its process do.
struct Hanging(nix::unistd::Pid);

impl Hanging {
    fn new(thread: nix::unistd::Pid) -> Self {
        ptrace::attach(thread).unwrap();
        let hanging = Self(thread);
        let stopped = waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
        hanging
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // Not so if it has ended. Without this nobody could wait for the end of its process.
        let _ = ptrace::detach(self.0, None);
    }
}

/// Waits until nothing is heard for a while.
fn falls_silent(manager: &UnixDatagram) -> bool {
    manager.set_read_timeout(Some(SILENCE / 10)).unwrap();
    let began = Instant::now();
    let mut heard = began;
    while heard.elapsed() < SILENCE && began.elapsed() < PATIENCE {
        match manager.recv(&mut [0; 64]) {
            Ok(_) => heard = Instant::now(),
            Err(error) => assert!(matches!(error.kind(), WouldBlock | Interrupted), "{error}"),
        }
    }
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    heard.elapsed() >= SILENCE
}

/// Many times what lies between two signs of life.
const SILENCE: Duration = Duration::from_secs(2);

fn next(manager: &UnixDatagram) -> String {
    let mut message = [0; 64];
    let len = uninterrupted(|| manager.recv(&mut message)).unwrap();
    String::from_utf8_lossy(&message[..len]).into_owned()
}

struct Managed(Child);

impl Drop for Managed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
