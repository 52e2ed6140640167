//! Every socket of every worker is drained: whichever of them a client's packets come to, it is answered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etracker_core::InfoHash;

use crate::clients::{UdpClient, http_announce, newcomer};
use crate::harness::Tracker;

#[test]
fn one_worker_answers_all() {
    announce_from_many_ports(1);
}

#[test]
fn two_workers_answer_all() {
    announce_from_many_ports(2);
}

#[test]
fn seven_workers_answer_all() {
    announce_from_many_ports(7);
}

fn announce_from_many_ports(workers: u8) {
    let tracker = Tracker::start(&["--workers", &workers.to_string()]);
    let info_hash = InfoHash([workers; 20]);
    let loopbacks: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let mut peers = 0;
    for (number, ip) in (0..CLIENTS).zip(loopbacks.into_iter().cycle()) {
        let announce = newcomer(info_hash, (ip, 1000 + number).into());
        // Each client has a socket, and with it a source port, of its own.
        let client = UdpClient::connect(ip, tracker.at(ip));
        peers += 1;
        assert_eq!(client.announce(&announce).0.leechers, peers);
        http_announce(tracker.at(ip), &announce, None);
    }
    assert_eq!(peers, u32::from(CLIENTS));
}

const CLIENTS: u16 = 500;
