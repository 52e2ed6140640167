//! Limits on torrents, peers and sources, as operators set them.

use std::net::{IpAddr, Ipv4Addr};

use etracker_core::InfoHash;
use etracker_core::announce::{Announce, Event};

use crate::clients::{UdpClient, http_announce, http_get, newcomer};
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

#[test]
fn a_source_over_its_limit_is_answered_short_then_refused_and_shown_and_another_is_served() {
    // Each worker has an account of its own.
    let arguments = [
        "-w",
        "1",
        "--limit-exempt",
        "none",
        "--limit-rate",
        "1",
        "--limits",
        "on",
    ];
    let tracker = Tracker::start(&arguments);
    let seeder = Announce {
        left: 0,
        ..newcomer(InfoHash([1; 20]), ([127, 0, 0, 2], 2001).into())
    };
    UdpClient::connect(seeder.peer.ip, tracker.v4()).announce(&seeder);
    let greedy = Announce {
        event: Event::None,
        ..newcomer(InfoHash([1; 20]), ([127, 0, 0, 3], 2001).into())
    };
    let client = UdpClient::connect(greedy.peer.ip, tracker.v4());
    // Forty at once, and as many short ones as the machine has seconds for.
    let answered = |_: &u32| client.announce(&greedy).1.is_empty();
    assert!((0..10_000).find(answered).is_some_and(|served| served >= 40));
    let refused = |_: &u32| client.refusal(&greedy).is_some();
    assert!((0..10_000).any(|number| refused(&number)));
    let answer = http_announce(tracker.v4(), &greedy, None);
    assert!(
        answer.starts_with(b"d14:failure reason"),
        "{}",
        answer.escape_ascii()
    );
    assert!(
        answer.ends_with(b"8:intervali1799e12:min intervali899e8:retry ini30ee"),
        "{}",
        answer.escape_ascii()
    );
    let another = newcomer(InfoHash([1; 20]), ([127, 0, 0, 4], 2001).into());
    let (_, peers) = UdpClient::connect(another.peer.ip, tracker.v4()).announce(&another);
    assert!(!peers.is_empty());

    let limits = &json(&tracker)["limits"];
    assert_eq!(
        (&limits["mode"], &limits["announces_per_second"]),
        (&"on".into(), &1.into())
    );
    let kind = |one: &serde_json::Value| format!("{}/{}/{}", one["class"], one["prefix"], one["verdict"]);
    let kinds: Vec<_> = limits["limited"].as_array().unwrap().iter().map(kind).collect();
    for expected in ["\"announce\"/32/\"short\"", "\"announce\"/32/\"failure\""] {
        assert!(kinds.iter().any(|kind| kind == expected), "{kinds:?}");
    }
    let metrics = http_get([127, 0, 0, 5].into(), tracker.v4(), "/metrics");
    let metrics = String::from_utf8(metrics.body).unwrap();
    let sample = "etracker_limited_total{class=\"announce\",prefix=\"32\",verdict=\"short\"} ";
    assert!(metrics.contains(sample), "{metrics}");
}

#[test]
fn a_dry_run_serves_what_it_counts_and_loopback_is_not_limited_by_default() {
    for (arguments, is_counted) in [
        (&["--limit-exempt", "none", "--limits", "dry-run"][..], true),
        (&["--limits", "off", "--limit-exempt", "none"], false),
        (&[], false),
    ] {
        let tracker = Tracker::start(&[arguments, &["--limit-rate", "1"]].concat());
        let announce = newcomer(InfoHash([1; 20]), ([127, 0, 0, 3], 2001).into());
        let client = UdpClient::connect(announce.peer.ip, tracker.v4());
        for _ in 0..200 {
            assert_eq!(client.refusal(&announce), None);
        }
        let limited = &json(&tracker)["limits"]["limited"];
        assert_eq!(
            !limited.as_array().unwrap().is_empty(),
            is_counted,
            "{arguments:?}"
        );
    }
}
