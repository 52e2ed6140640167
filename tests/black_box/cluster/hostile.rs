//! Strangers on the bus.

use std::time::{Duration, SystemTime};

use etracker_core::cluster::{ClusterName, FORMAT, Header, Keys, Kind, NodeId, Secrets};
use etracker_core::{InfoHash, Instant};

use super::wire::Wire;
use super::{Broker, Site, alive, client, cluster, new_secret, peers, wait_for};
use crate::clients::{UdpClient, newcomer};
use crate::harness::Tracker;

#[test]
#[ignore = "needs nats-server"]
fn what_strangers_say_changes_nothing_and_is_counted_by_its_reason() {
    let (site, broker) = (Site::new("hostile"), Broker::start());
    let nodes = site.nodes(&broker.url(), &["a", "b"]);
    let mut wire = Wire::connect(broker.port);
    wire.subscribe(ALL);
    let at = client(2);
    let asking = UdpClient::connect(at.ip(), nodes[0].v4());
    asking.announce(&newcomer(InfoHash(*b"strangers on the bus"), at));
    let batch = wire.next(|message| message[KIND] == BATCH);
    wait_for("the other node has it", || peers(&nodes[1]) == 1);

    wire.publish(ALL, &batch);
    let mut turned = batch.clone();
    *turned.last_mut().unwrap() ^= 1;
    wire.publish(ALL, &turned);
    wire.publish(ALL, b"not a message");
    let own = std::fs::read(site.secret()).unwrap();
    let (other, name) = (new_secret(), ClusterName::nearest("etracker"));
    wire.publish(ALL, &sealed(other.as_bytes(), &name, FORMAT));
    wire.publish(ALL, &sealed(&own, &ClusterName::nearest("other"), FORMAT));
    // As a node of a later version would that does not know of these.
    wire.publish(ALL, &sealed(&own, &name, FORMAT + 1));
    for (reason, times) in [
        ("replay", 1),
        ("mac", 2),
        ("malformed", 1),
        ("name", 1),
        ("format", 1),
    ] {
        wait_for(reason, || rejected(&nodes[1], reason) == times);
    }
    assert_eq!(peers(&nodes[1]), 1);
    assert_eq!(alive(&nodes[1]), 1);
}

#[test]
#[ignore = "needs nats-server"]
fn nodes_with_other_secrets_or_another_name_are_none() {
    let (site, other, broker) = (Site::new("own"), Site::new("other"), Broker::start());
    let a = site.node("a", &broker.url(), &[]);
    let stranger = other.node("b", &broker.url(), &[]);
    let elsewhere = site.node("c", &broker.url(), &["--cluster-name", "elsewhere"]);
    wait_for("both count each other's messages", || {
        rejected(&a, "mac") > 1 && rejected(&stranger, "mac") > 1
    });
    for node in [&a, &stranger, &elsewhere] {
        assert_eq!(cluster(node)["members"].as_array().map(Vec::len), Some(0));
    }
}

/// A heartbeat that says nothing, sealed.
fn sealed(secrets: &[u8], name: &ClusterName, format: u8) -> Vec<u8> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let header = Header {
        format,
        reads: format,
        kind: Kind::Heartbeat,
        node: NodeId(7),
        sequence: 1,
        clock: Instant::default().saturating_add(since.unwrap_or(Duration::ZERO)),
    };
    let mut message = Vec::new();
    Keys::new(name, &Secrets::parse(secrets).unwrap()).seal(&header, &mut message, |_| {});
    message
}

fn rejected(node: &Tracker, reason: &str) -> u64 {
    cluster(node)["messages_rejected"][reason].as_u64().unwrap()
}

const ALL: &str = "etracker.etracker.all";
/// Where a message says what it is, and what a batch says there.
const KIND: usize = 2;
const BATCH: u8 = 1;
