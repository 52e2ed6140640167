//! Nodes that come, die and come again.

use std::net::SocketAddr;

use etracker_core::InfoHash;
use rustix::process::Signal;

use super::{Broker, Site, client, cluster, peers, wait_for};
use crate::clients::{UdpClient, newcomer};
use crate::harness::Tracker;

#[test]
#[ignore = "needs nats-server"]
fn a_node_that_was_killed_comes_back_whole_and_serves_meanwhile() {
    let (site, broker) = (Site::new("killed"), Broker::start());
    let mut nodes = site.nodes(&broker.url(), &["a", "b"]);
    announce(&nodes[0], 0..400);
    announce(&nodes[1], 400..800);
    for node in &nodes {
        wait_for("the nodes are whole", || is_whole(node));
        wait_for("both know all", || peers(node) == 800);
    }
    nodes.remove(1).stop(Signal::KILL);
    announce(&nodes[0], 800..900);
    let b = site.node("b", &broker.url(), &[]);
    announce(&b, 900..1000);
    wait_for("it is whole again", || is_whole(&b));
    for node in [&nodes[0], &b] {
        wait_for("both know all again", || peers(node) == 1000);
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_node_without_others_is_whole_and_the_next_gets_what_it_holds() {
    let (site, broker) = (Site::new("alone"), Broker::start());
    let a = site.node("a", &broker.url(), &[]);
    announce(&a, 0..100);
    wait_for("nobody holds more", || is_whole(&a));
    let mut b = site.node("b", &broker.url(), &[]);
    b.hears_of("Cluster: whole, with 100 peers of a snapshot");
    wait_for("both know all", || peers(&b) == 100);
}

fn is_whole(node: &Tracker) -> bool {
    cluster(node)["whole"] == true
}

/// Announces clients of these ports.
fn announce(node: &Tracker, ports: std::ops::Range<u16>) {
    let ip = client(2).ip();
    let asking = UdpClient::connect(ip, node.v4());
    for port in ports {
        let info_hash = InfoHash([u8::try_from(port % 7).unwrap(); 20]);
        asking.announce(&newcomer(info_hash, SocketAddr::new(ip, 1000 + port)));
    }
}
