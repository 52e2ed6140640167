//! Which addresses and ports take part.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use etracker_core::InfoHash;
use etracker_core::announce::{Announce, Counts, Event};
use etracker_core::http::query::{AnnounceQuery, PeerForm};
use etracker_core::http::response::{AnnounceResponse, Failure};

use crate::clients::{UdpClient, connect, http_announce, newcomer, read_response};
use crate::harness::Tracker;

#[test]
fn ports_0_and_1_are_answered_with_peers_over_both_protocols_and_stored_by_neither() {
    let tracker = Tracker::start(&[]);
    let (there, asker) = (IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 3]));
    UdpClient::connect(there, tracker.v4()).announce(&newcomer(HASH, (there, 6881).into()));
    let udp = UdpClient::connect(asker, tracker.v4());
    for port in [0, 1] {
        let finished = Announce {
            left: 0,
            event: Event::Completed,
            ..newcomer(HASH, (asker, port).into())
        };
        for announce in [newcomer(HASH, (asker, port).into()), finished] {
            let (answer, peers) = udp.announce(&announce);
            assert_eq!((answer.seeders, answer.leechers), (0, 1), "{announce:?}");
            assert_eq!(peers, [127, 0, 0, 2, 0x1a, 0xe1], "{announce:?}");
            let body = http_announce(tracker.v4(), &announce, Some(PeerForm::Compact));
            let answer = AnnounceResponse::decode(&body).unwrap();
            let counts = (answer.complete, answer.incomplete, answer.downloaded);
            assert_eq!(counts, (Some(0), Some(1), Some(0)), "{announce:?}");
            assert_eq!(answer.peers().count(), 1, "{announce:?}");
        }
    }
    let counts = Counts {
        incomplete: 1,
        ..Counts::default()
    };
    assert_eq!(udp.scrape(&[HASH]), [counts]);
}

#[test]
fn a_proxy_cannot_make_a_peer_of_what_is_no_clients_address() {
    let tracker = Tracker::start(&["--x-forwarded-for"]);
    for nobody in ["0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255", "::"] {
        let body = announced_for(&tracker, nobody);
        assert!(
            Failure::decode(&body).is_ok_and(|failure| failure.reason.starts_with(b"no client can have")),
            "{nobody}: {}",
            body.escape_ascii()
        );
    }
    assert_eq!(peers_of(&tracker, "9.9.9.9"), Some(0));
    assert_eq!(announced_port_of_first(&tracker), 6881);
}

#[test]
fn with_private_peers_denied_only_global_addresses_take_part() {
    let tracker = Tracker::start(&["--x-forwarded-for", "--private-peers", "deny"]);
    for local in [
        "192.168.1.1",
        "100.64.1.1",
        "0.1.2.3",
        "240.0.0.1",
        "224.0.0.5",
        "203.0.113.7",
        "fec0::1",
        "fd00::1",
        "2002:c0a8:101::1",
        "64:ff9b::c0a8:101",
        "::8.8.8.8",
        "::ffff:192.168.1.1",
        "2001:db8::1",
    ] {
        assert_eq!(peers_of(&tracker, local), None, "{local}");
    }
    for global in ["8.8.8.8", "2a01:4f8::1", "2002:808:808::1", "::ffff:8.8.4.4"] {
        assert!(peers_of(&tracker, global).is_some(), "{global}");
    }
}

/// The peers that a client is handed for which a proxy asks; none if it is refused.
fn peers_of(tracker: &Tracker, client: &str) -> Option<usize> {
    let answer = announced_for(tracker, client);
    Some(AnnounceResponse::decode(&answer).ok()?.peers().count())
}

fn announced_port_of_first(tracker: &Tracker) -> u16 {
    let answer = announced_for(tracker, "8.8.8.8");
    let answer = AnnounceResponse::decode(&answer).unwrap();
    answer.peers().next().unwrap().0.port()
}

/// A proxy on this host announces for `client`.
fn announced_for(tracker: &Tracker, client: &str) -> Vec<u8> {
    let loopback = Ipv4Addr::LOCALHOST.into();
    let query = AnnounceQuery {
        announce: newcomer(HASH, (loopback, 6881).into()),
        form: PeerForm::Compact,
    };
    let mut parameters = Vec::new();
    query.encode(&mut parameters);
    let parameters = String::from_utf8(parameters).unwrap();
    let mut stream = connect(loopback, tracker.v4());
    write!(
        stream,
        "GET /announce?{parameters} HTTP/1.1\r\nHost: tracker\r\nX-Forwarded-For: {client}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    read_response(&mut stream).body
}

const HASH: InfoHash = InfoHash(*b"who takes part here?");
