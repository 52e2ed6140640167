//! A network between a node and its broker that loses messages, or is cut.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{sleep, spawn};
use std::time::Duration;

use etracker_core::InfoHash;
use etracker_core::announce::Announce;

use super::{Broker, Site, alive, client, cluster, peers, wait_for};
use crate::clients::{UdpClient, newcomer};
use crate::harness::Tracker;

#[test]
#[ignore = "needs nats-server, and takes half a minute"]
fn messages_that_are_lost_are_counted_and_mended_by_what_comes_later() {
    let (site, broker) = (Site::new("loss"), Broker::start());
    let network = Network::to(broker.port);
    let a = site.node("a", &broker.url(), &[]);
    let b = site.node("b", &network.url(), &[]);
    wait_for("the nodes hear each other", || alive(&a) == 1 && alive(&b) == 1);
    network.loses.store(true, SeqCst);
    let mut announced = 0;
    // A message counts as lost once a hundred and more behind it have come.
    wait_for("loss is counted", || {
        for _ in 0..5 {
            announced += 1;
            announce(&a, announced, 1);
            sleep(Duration::from_millis(60));
        }
        cluster(&b)["messages_lost"].as_u64() > Some(0)
    });
    assert!(network.lost.load(SeqCst) > 0);
    network.loses.store(false, SeqCst);
    // They complete, which is told whenever it happens.
    for port in 1..=announced {
        announce(&a, port, 0);
    }
    for node in [&a, &b] {
        wait_for("both know all", || peers(node) == u64::from(announced));
    }
}

#[test]
#[ignore = "needs nats-server, and takes half a minute"]
fn a_node_that_is_cut_off_goes_on_and_both_sides_are_equal_afterwards() {
    let (site, broker) = (Site::new("cut"), Broker::start());
    let network = Network::to(broker.port);
    let a = site.node("a", &broker.url(), &[]);
    let b = site.node("b", &network.url(), &[]);
    wait_for("the nodes hear each other", || alive(&a) == 1 && alive(&b) == 1);
    network.is_cut.store(true, SeqCst);
    for port in 1..=100 {
        announce(&a, port, 1);
        announce(&b, port + 1000, 1);
    }
    // It notices by itself that nothing comes.
    b.complains("the broker is gone");
    wait_for("the other side misses it", || alive(&a) == 0);
    for port in 101..=200 {
        announce(&a, port, 1);
        announce(&b, port + 1000, 1);
    }
    wait_for("each has its own", || peers(&a) == 200 && peers(&b) == 200);
    network.is_cut.store(false, SeqCst);
    wait_for("what the node noted once it knew is told", || peers(&a) >= 300);
    wait_for("the nodes hear each other again", || {
        alive(&a) == 1 && alive(&b) == 1
    });
    // What was on its way when the network was cut, and what was told without the node, is mended by the next change of each peer.
    for port in 1..=200 {
        announce(&a, port, 0);
        announce(&b, port + 1000, 0);
    }
    for node in [&a, &b] {
        wait_for("both know all", || peers(node) == 400);
    }
}

fn announce(node: &Tracker, port: u16, left: u64) {
    let ip = client(2).ip();
    let announce = newcomer(
        InfoHash(*b"a network that loses"),
        SocketAddr::new(ip, 2000 + port),
    );
    UdpClient::connect(ip, node.v4()).announce(&Announce { left, ..announce });
}

/// Carries connections to a broker.
struct Network {
    port: u16,
    /// Whether each tenth message to the node is lost.
    loses: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
    /// Whether nothing passes.
    is_cut: Arc<AtomicBool>,
}

impl Network {
    fn to(broker: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let network = Self {
            port: listener.local_addr().unwrap().port(),
            loses: Arc::default(),
            lost: Arc::default(),
            is_cut: Arc::default(),
        };
        let (loses, lost, is_cut) = (
            network.loses.clone(),
            network.lost.clone(),
            network.is_cut.clone(),
        );
        // It ends with the test.
        spawn(move || {
            for node in listener.incoming().flatten() {
                let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, broker)) else {
                    continue;
                };
                let (up_from, up_to) = (node.try_clone().unwrap(), broker.try_clone().unwrap());
                let cut = is_cut.clone();
                spawn(move || up(up_from, up_to, &cut));
                let (loses, lost, cut) = (loses.clone(), lost.clone(), is_cut.clone());
                spawn(move || down(broker, node, &loses, &lost, &cut));
            }
        });
        network
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

fn up(mut from: impl Read, mut to: impl Write, is_cut: &AtomicBool) {
    let mut piece = [0; 16 << 10];
    while let Ok(len @ 1..) = from.read(&mut piece) {
        pass(is_cut);
        if to.write_all(&piece[..len]).is_err() {
            break;
        }
    }
}

/// Carries what a broker says, message by message.
fn down(from: TcpStream, mut to: TcpStream, loses: &AtomicBool, lost: &AtomicU64, is_cut: &AtomicBool) {
    let mut from = BufReader::new(from);
    let mut number = 0_u64;
    loop {
        let mut frame = Vec::new();
        if !matches!(from.read_until(b'\n', &mut frame), Ok(1..)) {
            break;
        }
        if frame.starts_with(b"MSG ") {
            let head = String::from_utf8(frame.clone()).unwrap();
            let len: usize = head.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
            let mut payload = vec![0; len + 2];
            if from.read_exact(&mut payload).is_err() {
                break;
            }
            frame.extend(payload);
            number += 1;
            if loses.load(SeqCst) && number.is_multiple_of(10) {
                lost.fetch_add(1, SeqCst);
                continue;
            }
        }
        pass(is_cut);
        if to.write_all(&frame).is_err() {
            break;
        }
    }
    // The other direction ends with this one.
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.into_inner().shutdown(std::net::Shutdown::Both);
}

/// Waits while the network is cut.
fn pass(is_cut: &AtomicBool) {
    while is_cut.load(SeqCst) {
        sleep(Duration::from_millis(20));
    }
}
