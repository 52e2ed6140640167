//! Clients behind proxies, whatever names them.

use std::net::IpAddr;

use etracker_core::access::{Access, AddressList, Entry as _, Network};
use etracker_core::config::ExternalAddresses;
use etracker_core::http::response::AnnounceResponse;
use etracker_core::proxy::{ClientHeader, Proxies};
use etracker_core::stats::Count;
use etracker_core::{Config, Tracker};

use crate::support::{Client, House, announce, reason};

const CLIENT: &str = "203.0.113.9";
const PROXY: &str = "10.0.0.1";
const STRANGER: &str = "198.51.100.7";

fn proxies() -> Proxies {
    Proxies::new(vec!["10.0.0.0/8".parse().unwrap()])
}

fn heeding(name: &str) -> Config {
    Config::default().with_proxies(proxies().with_header(ClientHeader::named(name).ok()))
}

/// The PROXY protocol alone, or a field of that name behind it.
fn spoken(header: Option<&str>) -> Config {
    let header = header.map(|name| ClientHeader::named(name).unwrap());
    Config::default().with_proxies(proxies().with_header(header).with_protocol(true))
}

/// Announces with `field`, and gives the address that the tracker sees or the reason of a failure.
fn seen(mut client: Client<'_>, field: &str) -> Result<IpAddr, String> {
    let head = announce("port=6881").replace("Host: tracker", field);
    let response = client.exchange(head.as_bytes()).unwrap();
    assert_eq!(response.status, 200);
    match AnnounceResponse::decode(&response.body) {
        Ok(answer) => Ok(answer.external_ip.unwrap()),
        Err(_) => Err(reason(&response.body)),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn each_header_names_the_client_alone_and_from_a_trusted_proxy_alone() {
    for (name, field) in [
        (
            "Forwarded",
            "forwarded: for=1.1.1.1, for=203.0.113.9;proto=https, for=10.2.2.2",
        ),
        (
            "FORWARDED",
            "Forwarded: for=\"203.0.113.9:_port\"\r\nForwarded: by=x;FOR=\"10.9.9.9:80\"",
        ),
        (
            "CF-Connecting-IP",
            "CF-Connecting-IP: 203.0.113.9\r\nX-Forwarded-For: 1.1.1.1",
        ),
        ("x-real-ip", "X-Real-IP: 203.0.113.9\r\nForwarded: for=1.1.1.1"),
        (
            "Fly-Client-IP",
            "fly-client-ip: 1.1.1.1\r\nFly-Client-IP: 203.0.113.9",
        ),
    ] {
        let house = House::new(heeding(name));
        assert_eq!(seen(house.connect(PROXY), field), Ok(ip(CLIENT)), "{field}");
        assert_eq!(seen(house.connect(STRANGER), field), Ok(ip(STRANGER)), "{field}");
    }
}

#[test]
fn a_proxy_that_hides_the_client_is_refused_and_nobody_stored() {
    for (field, refusal) in [
        ("X-Forwarded-For: 203.0.113.9", "did not send"),
        ("Forwarded: for=203.0.113.9, for=_proxy", "no address"),
        ("Forwarded: for=203.0.113.9, for=unknown", "no address"),
        ("Forwarded: for=203.0.113.9, proto=https", "no address"),
        ("Forwarded: for=203.0.113.9, for=\"x", "no address"),
        ("Forwarded: for=203.0.113.9\r\nForwarded: for=\"", "no address"),
    ] {
        let house = House::new(heeding("Forwarded"));
        let refused = seen(house.connect(PROXY), field).unwrap_err();
        assert!(refused.contains(refusal), "{field}: {refused}");
        assert_eq!(house.tracker.totals().peers(), 0);
        assert_eq!(house.count(Count::HttpForwardedMissing), 1);
    }
}

#[test]
fn who_is_trusted_has_to_speak_the_proxy_protocol_for_announces_and_scrapes() {
    let house = House::new(spoken(None));
    assert_eq!(
        seen(house.connect(PROXY).named(CLIENT), "Host: t"),
        Ok(ip(CLIENT))
    );
    assert_eq!(
        seen(house.connect(PROXY).named("2001:db8::9"), "Host: t"),
        Ok(ip("2001:db8::9"))
    );
    // A header beside it is neither heeded nor a sign of a proxy that is not.
    let both = seen(
        house.connect(PROXY).named("192.168.0.9"),
        "X-Forwarded-For: 1.1.1.1",
    );
    assert_eq!(both, Ok(ip("192.168.0.9")));
    assert_eq!(house.count(Count::HttpForwardedIgnored), 0);
    assert_eq!(house.tracker.totals().peers(), 3);

    let refused = seen(house.connect(PROXY), "X-Forwarded-For: 203.0.113.9").unwrap_err();
    assert!(refused.contains("PROXY protocol"), "{refused}");
    let scrape = "GET /scrape?info_hash=01234567890123456789 HTTP/1.1\r\nHost: t\r\n\r\n";
    let response = house.connect(PROXY).exchange(scrape.as_bytes()).unwrap();
    assert!(reason(&response.body).contains("PROXY protocol"));
    assert_eq!(house.count(Count::HttpForwardedMissing), 2);
    for path in ["/", "/health"] {
        let page = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
        let response = house.connect(PROXY).exchange(page.as_bytes()).unwrap();
        assert_eq!(response.status, if path == "/" { 200 } else { 404 });
    }
    assert_eq!(seen(house.connect(STRANGER), "Host: t"), Ok(ip(STRANGER)));
    assert_eq!(house.tracker.totals().peers(), 4);
}

#[test]
fn a_header_is_heeded_behind_the_proxy_protocol_if_both_are_wanted() {
    let house = House::new(spoken(Some("CF-Connecting-IP")));
    let field = "CF-Connecting-IP: 203.0.113.9";
    // A content network connects to a balancer; both are trusted.
    assert_eq!(
        seen(house.connect(PROXY).named("10.7.7.7"), field),
        Ok(ip(CLIENT))
    );
    assert_eq!(
        seen(house.connect(PROXY).named(STRANGER), field),
        Ok(ip(STRANGER))
    );
    let refused = seen(house.connect(PROXY).named("10.7.7.7"), "Host: t").unwrap_err();
    assert!(refused.contains("did not send the header"), "{refused}");
    let refused = seen(house.connect(PROXY), field).unwrap_err();
    assert!(refused.contains("PROXY protocol"), "{refused}");
}

#[test]
fn whom_a_stranger_names_by_the_proxy_protocol_is_nobody() {
    let house = House::new(spoken(None));
    for header in [
        &b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc6\x33\x64\x01\x1a\xe1\0\x50",
    ] {
        let mut stranger = house.connect(STRANGER);
        let response = stranger.exchange(&[header, announce("port=6881").as_bytes()].concat());
        assert!(response.is_none_or(|response| response.status == 400));
        assert!(!stranger.is_open());
    }
    assert_eq!(house.tracker.totals().peers(), 0);
}

fn listed(networks: &[&str]) -> Access {
    let networks = networks
        .iter()
        .map(|line| Network::parse(line.as_bytes()).unwrap());
    Access {
        proxies: AddressList::new(&networks.collect::<Vec<_>>()),
        ..Access::default()
    }
}

#[test]
fn proxies_of_a_list_are_trusted_beside_the_others_until_another_list_is_in_force() {
    let config = heeding("CF-Connecting-IP");
    let house = House::with_access(config.clone(), listed(&["198.51.100.0/24", "2001:db8:1::/48"]));
    let field = "CF-Connecting-IP: 203.0.113.9";
    let seen_from = |proxy: &str| seen(house.connect(proxy), field);
    for proxy in [PROXY, STRANGER, "2001:db8:1::7"] {
        assert_eq!(seen_from(proxy), Ok(ip(CLIENT)), "{proxy}");
    }
    assert!(Tracker::replace_access(&house.tracker, listed(&["192.0.2.0/24"])));
    assert_eq!(seen_from("192.0.2.1"), Ok(ip(CLIENT)));
    assert_eq!(seen_from(PROXY), Ok(ip(CLIENT)));
    assert_eq!(seen_from(STRANGER), Ok(ip(STRANGER)));
    // Without a header to heed nobody is trusted.
    let house = House::with_access(Config::default(), listed(&["198.51.100.0/24"]));
    assert_eq!(seen(house.connect(STRANGER), field), Ok(ip(STRANGER)));
}

#[test]
fn peers_of_the_own_network_are_stored_and_told_their_external_address() {
    let external = ExternalAddresses {
        v4: Some([192, 0, 2, 200].into()),
        v6: None,
    };
    let house = House::new(Config::default().with_external_addresses(external));
    for (peer, stored) in [
        ("192.168.1.7", "192.0.2.200"),
        ("127.0.0.1", "192.0.2.200"),
        ("169.254.1.1", "192.0.2.200"),
        ("100.64.0.1", "100.64.0.1"),
        ("9.9.9.9", "9.9.9.9"),
        ("fd00::7", "fd00::7"),
    ] {
        assert_eq!(seen(house.connect(peer), "Host: t"), Ok(ip(stored)), "{peer}");
    }
    let mut asker = house.connect("198.51.100.1");
    let response = asker.exchange(announce("port=1&compact=1").as_bytes()).unwrap();
    let answer = AnnounceResponse::decode(&response.body).unwrap();
    let mut peers: Vec<_> = answer.peers().map(|(peer, _)| peer.ip()).collect();
    peers.sort_unstable();
    assert_eq!(peers, ["9.9.9.9", "100.64.0.1", "192.0.2.200"].map(ip));
    // Who leaves takes the peer along that it came as.
    let stopped = house
        .connect("192.168.1.7")
        .exchange(announce("port=6881&event=stopped").as_bytes());
    assert_eq!(stopped.unwrap().status, 200);
    assert_eq!(house.tracker.totals().peers(), 3);
}
