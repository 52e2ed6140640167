//! Addresses and interfaces that come later than the tracker, as they do at boot. Each test has a network of its own.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use etracker_core::udp::packet::{RequestHead, Response};
use nix::sched::{CloneFlags, unshare};

use crate::harness::{Tracker, command, free_port, happens, run};

/// An address that is nobody's, for examples.
const ABSENT: &str = "192.0.2.1";

#[test]
fn an_address_that_this_host_does_not_have_is_listened_on_and_that_is_said() {
    for restarts in [&[][..], &["-f", "1"]] {
        let bind = ["--bind", "127.0.0.1", "--bind", ABSENT];
        let tracker = Tracker::start(&[&bind[..], restarts].concat());
        let line = tracker.complains("has no address");
        assert!(line.contains(ABSENT) && line.contains("not yet"), "{line}");
        assert!(is_answered(tracker.v4()));
        let ended = tracker.stop(rustix::process::Signal::TERM);
        assert!(ended.status.success(), "{ended:?}");
        assert!(
            ended.stdout.iter().any(|line| line.contains("UDP 192.0.2.1:")),
            "{ended:?}"
        );
        assert!(
            !ended.stderr.iter().any(|line| line.contains(ABSENT)),
            "twice: {ended:?}"
        );
    }
}

#[test]
fn an_interface_that_is_not_there_is_one_line() {
    let ended = run(&["--bind", "fe80::1%nowhere", "-p", &free_port().to_string()]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert_eq!(
        ended.stderr,
        ["etracker: cannot listen on fe80::1%nowhere: this host has no interface nowhere"]
    );
}

#[test]
fn sockets_that_were_handed_in_come_before_options_and_that_is_said() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = socket.local_addr().unwrap();
    let mut with_socket = command();
    let parent_fd = OwnedFd::from(socket);
    let child_fd = 3;
    with_socket
        .fd_mappings(vec![FdMapping { parent_fd, child_fd }])
        .unwrap();
    with_socket.env("LISTEN_FDS", "1");
    let mut tracker = Tracker::start_by(with_socket, 1, &["--bind", ABSENT]).unwrap();
    assert!(is_answered(at));
    tracker.hears_of("Connections at once");
    let ended = tracker.stop(rustix::process::Signal::TERM);
    let said = |text: &str| ended.stdout.iter().any(|line| line.contains(text));
    assert!(
        said("Sockets passed in: 1, which override --port and --bind"),
        "{ended:?}"
    );
    assert!(said(&format!("Listening on UDP {at}")), "{ended:?}");
    assert!(!said("Listening on TCP"), "{ended:?}");
}

#[test]
#[ignore = "needs root: a network of its own"]
fn an_address_that_comes_later_is_served_then() {
    in_a_network_of_its_own(|| {
        for late in ["192.0.2.7", "2001:db8::7"] {
            let tracker = Tracker::start(&["--bind", late]);
            tracker.complains("has no address");
            ip(&format!("address add {late} dev lo"));
            let at = SocketAddr::new(late.parse().unwrap(), tracker.port());
            assert!(happens(Duration::from_millis(50), || is_answered(at)), "{late}");
        }
    });
}

#[test]
#[ignore = "needs root: a network of its own"]
fn a_tentative_address_is_bound_and_doctor_does_not_take_it_for_one_that_is_there() {
    in_a_network_of_its_own(|| {
        add_link("one");
        // An address is tentative until nobody has objected to it so often.
        std::fs::write("/proc/sys/net/ipv6/conf/one/dad_transmits", "100").unwrap();
        ip("address add 2001:db8::8/64 dev one");
        let tracker = Tracker::start(&["--bind", "2001:db8::8"]);
        tracker.complains("2001:db8::8");
        drop(tracker);
        let port = free_port().to_string();
        let doctor = run(&["doctor", "--bind", "2001:db8::8", "-p", &port]);
        let said = doctor.stdout.join("\n");
        assert!(
            said.contains("2001:db8::8 is an address of this host that cannot be used yet"),
            "{said}"
        );
        assert!(said.contains("tentative"), "{said}");
        let doctor = run(&["doctor", "--bind", ABSENT, "-p", &port]);
        let said = doctor.stdout.join("\n");
        assert!(
            said.contains("this host has no address 192.0.2.1, or not yet"),
            "{said}"
        );
        assert_eq!(doctor.status.code(), Some(1));
    });
}

#[test]
#[ignore = "needs root: a network of its own"]
fn an_address_of_a_link_is_served_by_the_interface_that_is_named_or_numbered() {
    in_a_network_of_its_own(|| {
        add_link("one");
        ip("address add fe80::77/64 dev one nodad");
        let number = nix::net::if_::if_nametoindex("one").unwrap();
        for zone in ["one".to_owned(), number.to_string()] {
            let tracker = Tracker::start(&["--bind", &format!("fe80::77%{zone}")]);
            let of_link = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
            let at = SocketAddrV6::new(of_link, tracker.port(), 0, number);
            assert!(is_answered(at.into()), "{zone}");
        }
    });
}

#[test]
#[ignore = "needs root: a network of its own"]
fn a_supervisor_waits_for_an_interface_that_comes_later() {
    in_a_network_of_its_own(|| {
        let mut supervisor = command();
        let port = free_port();
        supervisor.args(["-p", &port.to_string(), "--bind", "fe80::78%late", "-f", "200"]);
        let mut supervisor = Killed(supervisor.spawn().unwrap());
        let mut errors = BufReader::new(supervisor.0.stderr.take().unwrap()).lines();
        let line = errors.next().unwrap().unwrap();
        assert!(
            line.contains("no interface late, or not yet; trying again"),
            "{line}"
        );
        add_link("late");
        ip("address add fe80::78/64 dev late nodad");
        let number = nix::net::if_::if_nametoindex("late").unwrap();
        let of_link = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x78);
        let at = SocketAddrV6::new(of_link, port, 0, number);
        assert!(happens(Duration::from_millis(50), || is_answered(at.into())));
        drop((supervisor, errors));
    });
}

/// A process that is gone when the test is.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `test` on a thread that shares its network, with loopback up, with those alone that it starts.
fn in_a_network_of_its_own(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        test();
    });
    thread.join().unwrap();
}

fn add_link(name: &str) {
    ip(&format!("link add {name} type veth peer name other"));
    ip(&format!("link set {name} up"));
    ip("link set other up");
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Whether a tracker answers there within a moment.
fn is_answered(at: SocketAddr) -> bool {
    let any = match at.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let client = UdpSocket::bind((any, 0)).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let request = RequestHead::connect(7).encode();
    for _ in 0..10 {
        let mut answer = [0; 64];
        if client.send_to(&request, at).is_err() {
            return false;
        }
        if let Ok((len, from)) = client.recv_from(&mut answer) {
            return from == at && matches!(Response::decode(&answer[..len]), Some(Response::Connect(_)));
        }
    }
    false
}
