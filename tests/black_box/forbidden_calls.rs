//! Where a filter of system calls forbids what the tracker does: containers, units and sandboxes have such.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket};
use std::thread;

use etracker_core::InfoHash;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::clients::{UdpClient, http_announce, newcomer};
use crate::harness::{Ended, Tracker};

const HASH: InfoHash = InfoHash([7; 20]);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A tracker to which these calls fail with this error. The filter is that of a thread which starts it, and is handed down.
fn start_without(calls: &'static [i64], error: i32, arguments: &'static [&'static str]) -> Tracker {
    let start = move || {
        let rules: BTreeMap<_, _> = calls.iter().map(|&call| (call, Vec::new())).collect();
        #[expect(clippy::cast_sign_loss, reason = "numbers of errors are positive")]
        let forbid = SeccompAction::Errno(error as u32);
        let this_machine = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, forbid, this_machine).unwrap();
        apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
        Tracker::start(arguments)
    };
    thread::spawn(start).join().unwrap()
}

fn stop(tracker: Tracker) -> Ended {
    tracker.stop(rustix::process::Signal::TERM)
}

#[test]
fn where_batches_are_forbidden_datagrams_are_answered_one_at_a_time_and_that_is_said() {
    for (error, reason) in [
        (libc::EPERM, "Operation not permitted"),
        (libc::ENOSYS, "Function not implemented"),
    ] {
        let tracker = start_without(&[libc::SYS_recvmmsg, libc::SYS_sendmmsg], error, &["-w", "2"]);
        for call in ["recvmmsg", "sendmmsg"] {
            let line = tracker.complains(call);
            assert!(line.contains(reason), "{line}");
        }
        let client = UdpClient::connect(LOCAL, tracker.v4());
        let (answer, _) = client.announce(&newcomer(HASH, (LOCAL, 6881).into()));
        assert_eq!(answer.leechers, 1);
        let ended = stop(tracker);
        assert!(ended.status.success(), "{ended:?}");
        let mentions = ended.stderr.iter().filter(|line| line.contains("mmsg"));
        assert_eq!(mentions.count(), 0, "it is said again: {ended:?}");
    }
}

#[test]
fn a_socket_that_cannot_be_read_at_all_is_said_at_once_and_http_is_served() {
    let tracker = start_without(
        &[libc::SYS_recvmmsg, libc::SYS_recvmsg],
        libc::EPERM,
        &["-w", "1"],
    );
    let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
    socket.send_to(b"a question", tracker.v4()).unwrap();
    let line = tracker.complains("cannot be received");
    for word in ["UDP", "Operation not permitted"] {
        assert!(line.contains(word), "{line}");
    }
    http_announce(tracker.v4(), &newcomer(HASH, (LOCAL, 6881).into()), None);
}

#[test]
fn connections_that_cannot_be_accepted_are_said_at_once_and_udp_is_served() {
    let tracker = start_without(&[libc::SYS_accept4], libc::EPERM, &["-w", "1"]);
    // The system completes it, and the tracker cannot take it.
    let waiting = TcpStream::connect(tracker.v4()).unwrap();
    (&waiting).write_all(b"GET").unwrap();
    let line = tracker.complains("cannot be received");
    for word in ["TCP", "Operation not permitted"] {
        assert!(line.contains(word), "{line}");
    }
    drop(UdpClient::connect(LOCAL, tracker.v4()));
}
