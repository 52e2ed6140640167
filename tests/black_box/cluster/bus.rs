//! Brokers that come and go.

use std::time::Duration;

use etracker_core::InfoHash;
use rustix::process::Signal;

use super::{Broker, Site, alive, client, cluster, peers, wait_for};
use crate::clients::{UdpClient, newcomer};

#[test]
#[ignore = "needs nats-server"]
fn without_a_broker_a_node_serves_and_joins_when_there_is_one() {
    let (site, mut broker) = (Site::new("late"), Broker::stopped());
    let a = site.node("a", &broker.url(), &[]);
    let b = site.node("b", &broker.url(), &[]);
    let line = a.complains("goes on alone");
    assert!(line.contains(&broker.url()) && line.contains("refused"), "{line}");
    announce(1, &a);
    wait_for("it is counted", || peers(&a) == 1);
    assert!(cluster(&a)["broker"].is_null());
    broker.serve();
    wait_for("the nodes hear each other", || alive(&a) == 1 && alive(&b) == 1);
    wait_for("what changed before is told", || peers(&b) == 1);

    // The broker goes and comes: nothing is refused meanwhile, and all is told afterwards.
    broker.stop();
    a.complains("the broker is gone");
    for number in 2..10 {
        announce(number, &a);
        announce(number + 100, &b);
    }
    wait_for("all are counted", || (peers(&a), peers(&b)) == (9, 9));
    broker.serve();
    wait_for("both know all", || peers(&a) == 17 && peers(&b) == 17);
    for node in [a, b] {
        let ended = node.stop(Signal::TERM);
        assert!(ended.status.success(), "{ended:?}");
    }
}

/// Announces a client, which must be answered at once.
fn announce(number: u8, node: &crate::harness::Tracker) {
    let at = client(number);
    let asking = UdpClient::connect(at.ip(), node.v4());
    let announce = newcomer(InfoHash(*b"the broker is away.."), at);
    assert_eq!(asking.announce_again_after(&announce, Duration::from_secs(20)), 1);
}
