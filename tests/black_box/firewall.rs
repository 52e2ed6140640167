//! `packaging/nftables.conf` before a tracker, in a network of its own with a client beside it.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use etracker_core::udp::packet::{RequestHead, Response};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use crate::harness::Tracker;

#[test]
#[ignore = "needs root, for networks of its own, and nft"]
fn the_firewall_tracks_no_datagram_and_drops_those_of_a_flood_alone() {
    let host = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        run("ip link set lo up");
        let (asks, client) = client_beside();
        let tracker = Tracker::start(&[]);
        // As the rules of most hosts do, this one has connections tracked.
        nft(STATEFUL);
        assert!(is_answered(&asks, &client, V4, tracker.port()));
        assert!(
            tracked() > 0,
            "connections are not tracked here, so that this test shows nothing"
        );

        assert!(
            doctor(&tracker).contains("warning  connection tracking"),
            "{}",
            doctor(&tracker)
        );

        let rules = fs::read_to_string("packaging/nftables.conf").unwrap();
        let rules = rules.replace(
            "etracker_port = 6969",
            &format!("etracker_port = {}", tracker.port()),
        );
        assert!(rules.contains(&tracker.port().to_string()), "{rules}");
        // The second time they replace themselves.
        nft(&rules);
        nft(&rules);
        let before = tracked();
        for from in [V4, V6] {
            assert!(is_answered(&asks, &client, from, tracker.port()), "{from}");
        }
        assert_eq!(tracked(), before, "a datagram to the tracker was tracked");
        for (from, other, counter) in [(V4, OTHER_V4, "over_limit4"), (V6, OTHER_V6, "over_limit6")] {
            assert_eq!(dropped(counter), 0);
            let floods = (0..FLOODS_MAX).any(|_| {
                asks.send(Ask::Flood(from, tracker.port())).unwrap();
                client.recv().unwrap();
                dropped(counter) > 0
            });
            assert!(floods, "a flood from {from} is never dropped");
            assert!(is_answered(&asks, &client, other, tracker.port()), "{other}");
        }
        drop(asks);
    });
    host.join().unwrap();
}

/// What the client beside the host does.
enum Ask {
    /// Says whether it is answered.
    Once(&'static str, u16),
    /// Sends many datagrams.
    Flood(&'static str, u16),
}

/// Starts a client in another network, with a link to this one. Each address has a peer beside it in this network.
fn client_beside() -> (Sender<Ask>, Receiver<bool>) {
    let ((asks, asked), (answers, answered)) = (channel(), channel());
    let (ids, id) = channel();
    run("ip link add here type veth peer name there");
    run("ip address add 198.51.100.1/24 dev here");
    run("ip address add 2001:db8::1/32 dev here nodad");
    run("ip link set here up");
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ids.send(gettid()).unwrap();
        // The link is there once the first question comes.
        for ask in asked {
            let is_answered = match ask {
                Ask::Once(from, port) => ask_once(from, port),
                Ask::Flood(from, port) => flood(from, port),
            };
            answers.send(is_answered).unwrap();
        }
    });
    let id = id.recv().unwrap();
    run(&format!("ip link set there netns {id}"));
    for address in ["198.51.100.2/24", "198.51.100.3/24"] {
        run_in(id.as_raw(), &format!("ip address add {address} dev there"));
    }
    for address in ["2001:db8:0:2::1/32", "2001:db8:0:3::1/32"] {
        run_in(id.as_raw(), &format!("ip address add {address} dev there nodad"));
    }
    run_in(id.as_raw(), "ip link set there up");
    (asks, answered)
}

fn is_answered(asks: &Sender<Ask>, client: &Receiver<bool>, from: &'static str, port: u16) -> bool {
    asks.send(Ask::Once(from, port)).unwrap();
    client.recv().unwrap()
}

fn ask_once(from: &str, port: u16) -> bool {
    let client = client_at(from, port);
    client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    (0..20).any(|_| {
        let mut answer = [0; 64];
        let asked = client.send(&RequestHead::connect(7).encode());
        asked.is_ok()
            && client
                .recv(&mut answer)
                .is_ok_and(|len| matches!(Response::decode(&answer[..len]), Some(Response::Connect(_))))
    })
}

fn flood(from: &str, port: u16) -> bool {
    let client = client_at(from, port);
    let request = RequestHead::connect(7).encode();
    (0..BURST).filter(|_| client.send(&request).is_ok()).count() > 0
}

fn client_at(from: &str, port: u16) -> UdpSocket {
    let from: IpAddr = from.parse().unwrap();
    let to: IpAddr = match from {
        IpAddr::V4(_) => [198, 51, 100, 1].into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let client = UdpSocket::bind(SocketAddr::new(from, 0)).unwrap();
    client.connect((to, port)).unwrap();
    client
}

/// Connections that are tracked in this network.
fn tracked() -> u64 {
    let count = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap();
    count.trim().parse().unwrap()
}

/// What doctor says of connection tracking.
fn doctor(tracker: &Tracker) -> String {
    let ended = crate::harness::run(&["doctor", "--port", &tracker.port().to_string()]);
    let mut lines = ended.stdout.iter();
    lines
        .find(|line| line.contains("connection tracking"))
        .cloned()
        .unwrap_or_default()
}

fn nft(rules: &str) {
    let path = std::env::temp_dir().join(format!("etracker-{}.nft", std::process::id()));
    fs::write(&path, rules).unwrap();
    let status = Command::new("nft").arg("-f").arg(&path).status().unwrap();
    fs::remove_file(path).unwrap();
    assert!(status.success(), "{rules}");
}

/// Datagrams that a counter of the rules has counted.
fn dropped(counter: &str) -> u64 {
    let output = Command::new("nft")
        .args(["list", "counter", "inet", "etracker", counter])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, packets) = text.split_once("packets ").unwrap();
    packets.split(' ').next().unwrap().parse().unwrap()
}

fn run(command: &str) {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{command}");
}

/// Runs a command in the network of another thread.
fn run_in(thread: i32, command: &str) {
    run(&format!("nsenter --net=/proc/{thread}/ns/net {command}"));
}

const STATEFUL: &str = "
table inet host {
    chain input {
        type filter hook input priority filter
        ct state invalid drop
    }
}
";
const V4: &str = "198.51.100.2";
const OTHER_V4: &str = "198.51.100.3";
const V6: &str = "2001:db8:0:2::1";
const OTHER_V6: &str = "2001:db8:0:3::1";
/// Datagrams of a flood that are sent before its counter is looked at.
const BURST: usize = 20_000;
/// A flood is dropped once it is faster than the limit for longer than its burst: how often it is tried.
const FLOODS_MAX: usize = 200;
