//! What clients get from nodes.

use etracker_core::InfoHash;
use etracker_core::announce::{Announce, Event};

use super::{Broker, Site, client, wait_for};
use crate::clients::{UdpClient, http_announce, newcomer};
use crate::harness::Tracker;

#[test]
#[ignore = "needs nats-server"]
fn what_is_announced_to_one_node_is_handed_out_by_the_other_and_gone_when_it_stops() {
    let (site, broker) = (Site::new("answers"), Broker::start());
    let nodes = site.nodes(&broker.url(), &["a", "b"]);
    let seeder = Announce {
        left: 0,
        ..newcomer(INFO_HASH, client(2))
    };
    http_announce(nodes[0].v4(), &seeder, None);
    let leecher = newcomer(INFO_HASH, client(3));
    wait_for("the seeder of one node is handed out by the other", || {
        peers_for(&nodes[1], &leecher) == [[127, 0, 0, 2, 0x1a, 0xe1]]
    });
    wait_for("both nodes count alike", || {
        nodes.iter().all(|node| counts(node) == (1, 1))
    });
    let stopped = Announce {
        event: Event::Stopped,
        ..seeder
    };
    // A client whose node is gone tells another one.
    http_announce(nodes[1].v4(), &stopped, None);
    wait_for("the seeder is gone everywhere", || {
        nodes.iter().all(|node| counts(node) == (0, 1))
    });
}

#[test]
#[ignore = "needs nats-server"]
fn connection_ids_of_one_node_are_accepted_by_the_other() {
    let (site, broker) = (Site::new("ids"), Broker::start());
    let nodes = site.nodes(&broker.url(), &["a", "b"]);
    for number in 1..=100 {
        let at = client(number);
        let asking = UdpClient::connect(at.ip(), nodes[0].v4());
        asking.turn_to(nodes[1].v4());
        let (answer, _) = asking.announce(&newcomer(INFO_HASH, at));
        assert_eq!(answer.leechers, u32::from(number));
    }
}

/// The peers that a node hands out over UDP.
fn peers_for(node: &Tracker, announce: &Announce) -> Vec<Vec<u8>> {
    let asking = UdpClient::connect(announce.peer.ip, node.v4());
    let (_, peers) = asking.announce(announce);
    peers.chunks(6).map(<[u8]>::to_vec).collect()
}

/// Seeders and leechers that a node counts.
fn counts(node: &Tracker) -> (u32, u32) {
    let asking = UdpClient::connect(client(1).ip(), node.v4());
    let counts = asking.scrape(&[INFO_HASH])[0];
    (counts.complete, counts.incomplete)
}

const INFO_HASH: InfoHash = InfoHash(*b"all nodes answer so.");
