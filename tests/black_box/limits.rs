//! Limits on torrents and peers, as operators set them.

use std::net::{IpAddr, Ipv4Addr};

use etracker_core::InfoHash;

use crate::clients::{UdpClient, http_announce, newcomer};
use crate::harness::Tracker;
use crate::pages::json;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a client at `port` is told over UDP and over HTTP: the reason of a refusal, or nothing.
fn refusals(tracker: &Tracker, torrent: u8, port: u16) -> [Option<String>; 2] {
    let announce = newcomer(InfoHash([torrent; 20]), (LOCALHOST, port).into());
    let udp = UdpClient::connect(LOCALHOST, tracker.v4()).refusal(&announce);
    let http = http_announce(tracker.v4(), &announce, None);
    let http = String::from_utf8_lossy(&http).into_owned();
    let reason = http.split_once("14:failure reason").map(|(_, reason)| {
        let (len, text) = reason.split_once(':').unwrap_or_default();
        text.get(..len.parse().unwrap()).unwrap_or_default().to_owned()
    });
    [udp, reason]
}

#[test]
fn one_torrent_or_peer_more_than_the_limits_is_refused_over_both_protocols_and_counted() {
    let limits = ["--max-torrents", "2", "--max-peers-per-torrent", "3"];
    let tracker = Tracker::start(&limits);
    for (torrent, port) in [(1, 2001), (1, 2002), (1, 2003), (2, 2001)] {
        assert_eq!(refusals(&tracker, torrent, port), [None, None]);
    }
    for (torrent, port, expected) in [(1, 2004, "this swarm is full"), (3, 2001, "the tracker is full")] {
        for reason in refusals(&tracker, torrent, port) {
            assert!(
                reason.as_ref().is_some_and(|reason| reason.starts_with(expected)),
                "{reason:?}"
            );
        }
    }
    // Who is there already stays, and comes again.
    assert_eq!(refusals(&tracker, 1, 2003), [None, None]);
    let json = json(&tracker);
    assert_eq!(
        (&json["swarms"]["torrents"], &json["swarms"]["peers"]),
        (&2.into(), &4.into())
    );
    for (count, expected) in [("refused_swarm_full", 2), ("refused_torrents_full", 2)] {
        assert_eq!(json["counts"][count], expected, "{count}");
    }
}
