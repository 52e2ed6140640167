//! What a service manager like systemd hears of a tracker.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Folder, PATIENCE, command, free_port};

#[test]
fn a_manager_is_told_of_start_life_and_end() {
    heard("alone", &[]);
}

#[test]
fn a_manager_is_told_so_by_a_supervised_tracker_too() {
    heard("supervised", &["-f", "1"]);
}

fn heard(name: &str, arguments: &[&str]) {
    let folder = Folder::new(&format!("manager-{name}"));
    let manager = UnixDatagram::bind(folder.path("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let tracker = command()
        .args(["-p", &free_port().to_string()])
        .args(arguments)
        .env("NOTIFY_SOCKET", folder.path("notify"))
        .env("WATCHDOG_USEC", "200000")
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut tracker = Managed(tracker);
    assert_eq!(next(&manager), "READY=1");
    assert_eq!(next(&manager), "WATCHDOG=1");
    assert_eq!(next(&manager), "WATCHDOG=1");
    kill_process(Pid::from_child(&tracker.0), Signal::TERM).unwrap();
    while next(&manager) != "STOPPING=1" {}
    assert_eq!(tracker.0.wait().unwrap().code(), Some(0));
}

fn next(manager: &UnixDatagram) -> String {
    let mut message = [0; 64];
    let len = manager.recv(&mut message).unwrap();
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
