//! The scenarios of the original's functional tests, under this tracker's rules.
//!
//! A peer is its address and port, so peer N is at 127.0.0.N:12345 over IPv4 and at [::1]:12345+N over IPv6, by either
//! protocol. The announcer is not in its own list, and one that leaves is given none. So that each scenario still shows
//! who is in the swarm, a newcomer of the same family looks at it afterwards, and leaves.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use etracker_core::announce::{Announce, Counts, Endpoint, Event, Family, compact_peers};
use etracker_core::http::query::PeerForm;
use etracker_core::http::response::{AnnounceResponse, PeerList};
use etracker_core::{InfoHash, PeerId};

use crate::clients::{UdpClient, http_announce, newcomer};
use crate::harness::Tracker;

#[test]
fn leechers_come_and_go() {
    play(BASE);
}

#[test]
fn http_and_udp_over_ipv4_share_a_swarm() {
    play(IPV4);
}

#[test]
fn http_over_ipv6_hands_out_ipv6_peers() {
    play(IPV6_HTTP);
}

#[test]
fn udp_over_ipv6_hands_out_ipv6_peers() {
    play(IPV6_UDP);
}

#[test]
fn families_are_counted_together_and_handed_out_apart() {
    play(MIXED);
}

#[test]
fn lists_are_compact_by_default() {
    play(FORM_DEFAULT);
}

#[test]
fn the_same_client_over_both_families_is_two_peers() {
    play(MIXED_PEERS);
}

#[test]
fn no_scenario_is_missing_and_most_expect_peers() {
    let tables = [BASE, IPV4, IPV6_HTTP, IPV6_UDP, MIXED, FORM_DEFAULT, MIXED_PEERS];
    let all: Vec<_> = tables.into_iter().flat_map(scenarios).collect();
    let numbered: Vec<_> = all
        .iter()
        .filter(|scenario| !scenario.name.contains('-'))
        .collect();
    let mut names: Vec<u32> = numbered
        .iter()
        .map(|scenario| scenario.name.parse().unwrap())
        .collect();
    names.sort_unstable();
    assert!(names.into_iter().eq(1..=71));
    assert_eq!(all.len() - numbered.len(), 4);
    let expecting = numbered.iter().filter(|scenario| !scenario.seen.is_empty());
    assert_eq!(expecting.count(), 60);
}

/// One line of a table.
struct Scenario {
    name: &'static str,
    by: Protocol,
    family: Family,
    event: Event,
    peer: u8,
    torrent: InfoHash,
    form: Form,
    leechers: u32,
    given: Vec<u8>,
    seen: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http,
    Udp,
}

/// How a list is asked for over HTTP.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Default,
    Compact,
    Dictionaries,
    /// Dictionaries without peer ids.
    Nameless,
}

fn scenarios(table: &'static str) -> Vec<Scenario> {
    let rows = table.lines().filter(|row| !row.trim().is_empty()).skip(1);
    rows.map(scenario).collect()
}

fn scenario(row: &'static str) -> Scenario {
    let columns: Vec<_> = row.split_whitespace().collect();
    let [name, by, event, peer, torrent, form, leechers, given, seen] = columns[..] else {
        panic!("nine columns: {row}");
    };
    let (by, family) = match by {
        "http4" => (Protocol::Http, Family::V4),
        "http6" => (Protocol::Http, Family::V6),
        "udp4" => (Protocol::Udp, Family::V4),
        "udp6" => (Protocol::Udp, Family::V6),
        _ => panic!("{row}"),
    };
    Scenario {
        name,
        by,
        family,
        event: match event {
            "started" => Event::Started,
            "stopped" => Event::Stopped,
            _ => panic!("{row}"),
        },
        peer: peer.parse().unwrap(),
        torrent: match torrent {
            "A" => InfoHash(*b"11112222333344445555"),
            "B" => InfoHash(*b"22223333444455551111"),
            "C" => InfoHash([2; 20]),
            _ => panic!("{row}"),
        },
        form: match form {
            "-" | "default" => Form::Default,
            "compact" => Form::Compact,
            "dictionaries" => Form::Dictionaries,
            "nameless" => Form::Nameless,
            _ => panic!("{row}"),
        },
        leechers: leechers.parse().unwrap(),
        given: peers(given),
        seen: peers(seen),
    }
}

fn peers(list: &str) -> Vec<u8> {
    if list == "-" {
        return Vec::new();
    }
    list.split(',').map(|peer| peer.parse().unwrap()).collect()
}

/// Plays all scenarios of a table on one tracker, in order.
fn play(table: &'static str) {
    let tracker = Tracker::start(&["--min-interval", "1799"]);
    for scenario in scenarios(table) {
        let name = scenario.name;
        let given = ask(&tracker, &scenario, &scenario.announce());
        assert_eq!(given.leechers, scenario.leechers, "leechers of {name}");
        assert_eq!(given.peers, scenario.addresses(&scenario.given), "list of {name}");

        let mut newcomer = newcomer(scenario.torrent, scenario.newcomer());
        let seen = ask(&tracker, &scenario, &newcomer);
        assert_eq!(seen.leechers, scenario.leechers + 1, "leechers after {name}");
        assert_eq!(
            seen.peers,
            scenario.addresses(&scenario.seen),
            "list after {name}"
        );
        newcomer.event = Event::Stopped;
        let left = ask(&tracker, &scenario, &newcomer);
        assert_eq!(
            (left.leechers, left.peers),
            (scenario.leechers, Vec::new()),
            "after {name}"
        );
    }
}

impl Scenario {
    fn announce(&self) -> Announce {
        Announce {
            peer_id: PeerId([self.peer; 20]),
            event: self.event,
            ..newcomer(self.torrent, self.address(self.peer))
        }
    }

    fn address(&self, peer: u8) -> SocketAddr {
        match self.family {
            Family::V4 => (Ipv4Addr::new(127, 0, 0, peer), 12345).into(),
            Family::V6 => (Ipv6Addr::LOCALHOST, 12345 + u16::from(peer)).into(),
        }
    }

    fn newcomer(&self) -> SocketAddr {
        match self.family {
            Family::V4 => (Ipv4Addr::new(127, 0, 0, 99), 9).into(),
            Family::V6 => (Ipv6Addr::LOCALHOST, 9).into(),
        }
    }

    fn addresses(&self, peers: &[u8]) -> Vec<SocketAddr> {
        peers.iter().map(|&peer| self.address(peer)).collect()
    }
}

/// What an announce was answered.
struct Given {
    leechers: u32,
    /// Sorted.
    peers: Vec<SocketAddr>,
}

fn ask(tracker: &Tracker, scenario: &Scenario, announce: &Announce) -> Given {
    let to = tracker.at(announce.peer.ip);
    let mut given = match scenario.by {
        Protocol::Http => ask_http(to, announce, scenario),
        Protocol::Udp => ask_udp(to, announce),
    };
    given.peers.sort_unstable();
    given
}

fn ask_http(to: SocketAddr, announce: &Announce, scenario: &Scenario) -> Given {
    let form = match scenario.form {
        Form::Default => None,
        Form::Compact => Some(PeerForm::Compact),
        Form::Dictionaries => Some(PeerForm::Dictionaries { ids: true }),
        Form::Nameless => Some(PeerForm::Dictionaries { ids: false }),
    };
    let body = http_announce(to, announce, form);
    let response = AnnounceResponse::decode(&body).unwrap();
    let dictionaries = matches!(response.peers, PeerList::Dictionaries(_));
    let expected = matches!(scenario.form, Form::Dictionaries | Form::Nameless);
    assert_eq!(dictionaries, expected, "form of {}", scenario.name);
    for (peer, id) in response.peers() {
        let named = (1..9)
            .find(|&number| peer == scenario.address(number))
            .map(|number| PeerId([number; 20]));
        let expected = named.filter(|_| scenario.form == Form::Dictionaries);
        assert_eq!(id, expected, "id of {peer} in {}", scenario.name);
    }
    assert_eq!(
        (response.interval_secs, response.interval_min_secs),
        (1799, Some(1799))
    );
    assert_eq!((response.complete, response.downloaded), (Some(0), Some(0)));
    assert_eq!(response.external_ip, Some(announce.peer.ip));
    Given {
        leechers: response.incomplete.unwrap(),
        peers: response.peers().map(|(peer, _)| peer).collect(),
    }
}

fn ask_udp(to: SocketAddr, announce: &Announce) -> Given {
    let Endpoint { ip, .. } = announce.peer;
    let client = UdpClient::connect(ip, to);
    let (response, compact) = client.announce(announce);
    assert_eq!((response.interval_secs, response.seeders), (1799, 0));
    let scraped = Counts {
        incomplete: response.leechers,
        ..Counts::default()
    };
    let unknown = InfoHash([1; 20]);
    assert_eq!(
        client.scrape(&[unknown, announce.info_hash]),
        [Counts::default(), scraped]
    );
    Given {
        leechers: response.leechers,
        peers: compact_peers(Family::of(ip), &compact)
            .map(SocketAddr::from)
            .collect(),
    }
}

/// Leechers come and go, on three torrents, over HTTP and UDP.
const BASE: &str = "
    #     by     event    peer  torrent  list asked    leechers  list given  list of a newcomer
    01    http4  started  1     A        dictionaries  1         -           1
    02    http4  started  1     A        compact       1         -           1
    03    http4  started  2     A        dictionaries  2         1           1,2
    04    http4  started  2     A        compact       2         1           1,2
    05    http4  started  3     A        dictionaries  3         1,2         1,2,3
    06    http4  started  3     A        compact       3         1,2         1,2,3
    01-1  http4  started  1     B        dictionaries  1         -           1
    11    http4  started  1     B        nameless      1         -           1
    02-1  http4  started  1     B        compact       1         -           1
    07    http4  stopped  2     A        dictionaries  2         -           1,3
    08    http4  stopped  2     A        compact       2         -           1,3
    09    http4  stopped  3     A        dictionaries  1         -           1
    10    http4  stopped  1     A        dictionaries  0         -           -
    12    http4  stopped  1     B        compact       0         -           -
    13    udp4   started  1     C        -             1         -           1
    14    udp4   started  2     C        -             2         1           1,2
";

/// HTTP and UDP over IPv4 share a swarm, and a peer that changes the protocol stays one.
const IPV4: &str = "
    #     by     event    peer  torrent  list asked    leechers  list given  list of a newcomer
    15    http4  started  1     A        dictionaries  1         -           1
    16    http4  started  2     A        dictionaries  2         1           1,2
    17    udp4   started  2     A        -             2         1           1,2
    18    udp4   started  3     A        -             3         1,2         1,2,3
    19    http4  started  3     A        dictionaries  3         1,2         1,2,3
    20    udp4   stopped  3     A        -             2         -           1,2
    21    http4  started  4     A        dictionaries  3         1,2         1,2,4
    22    udp4   stopped  4     A        -             2         -           1,2
    23    http4  stopped  1     A        dictionaries  1         -           2
    24    http4  stopped  2     A        dictionaries  0         -           -
";

/// HTTP over IPv6.
const IPV6_HTTP: &str = "
    #     by     event    peer  torrent  list asked    leechers  list given  list of a newcomer
    25    http6  started  1     A        dictionaries  1         -           1
    26    http6  started  2     A        compact       2         1           1,2
    27    http6  started  3     A        nameless      3         1,2         1,2,3
    28    http6  stopped  2     A        compact       2         -           1,3
    29    http6  stopped  1     A        nameless      1         -           3
    30    http6  stopped  3     A        dictionaries  0         -           -
";

/// UDP over IPv6.
const IPV6_UDP: &str = "
    #     by     event    peer  torrent  list asked    leechers  list given  list of a newcomer
    31    udp6   started  1     A        -             1         -           1
    32    udp6   started  2     A        -             2         1           1,2
    33    udp6   started  3     A        -             3         1,2         1,2,3
    34    udp6   stopped  3     A        -             2         -           1,2
    35    udp6   stopped  2     A        -             1         -           1
    36    udp6   stopped  1     A        -             0         -           -
";

/// One swarm over both families and protocols: counted together, handed out by family.
const MIXED: &str = "
    #     by     event    peer  torrent  list asked    leechers  list given  list of a newcomer
    37    http4  started  1     A        dictionaries  1         -           1
    38    udp4   started  2     A        -             2         1           1,2
    39    http6  started  3     A        nameless      3         -           3
    40    udp6   started  4     A        -             4         3           3,4
    41    http4  started  1     A        dictionaries  4         2           1,2
    42    udp4   started  2     A        -             4         1           1,2
    43    http6  started  3     A        nameless      4         4           3,4
    44    udp6   started  4     A        -             4         3           3,4
    45    http4  stopped  1     A        dictionaries  3         -           2
    46    udp4   stopped  2     A        -             2         -           -
    47    http6  stopped  3     A        nameless      1         -           4
    48    udp6   stopped  4     A        -             0         -           -
";

/// Without `compact`, lists are compact; leaving over one family does not leave the other.
const FORM_DEFAULT: &str = "
    #     by     event    peer  torrent  list asked    leechers  list given  list of a newcomer
    49    http6  started  3     A        default       1         -           3
    50    http4  started  4     A        default       2         -           4
    51    udp6   stopped  4     A        -             2         -           3
    52    udp6   stopped  3     A        -             1         -           -
";

/// The same peers over both families are two each.
const MIXED_PEERS: &str = "
    #     by     event    peer  torrent  list asked    leechers  list given  list of a newcomer
    53    http4  started  1     A        dictionaries  1         -           1
    54    udp4   started  1     A        -             1         -           1
    55    http6  started  2     A        dictionaries  2         -           2
    56    udp6   started  2     A        -             2         -           2
    57    http4  started  2     A        dictionaries  3         1           1,2
    58    udp4   started  2     A        -             3         1           1,2
    59    http6  started  1     A        dictionaries  4         2           1,2
    60    udp6   started  1     A        -             4         2           1,2
    61    http4  started  3     A        dictionaries  5         1,2         1,2,3
    62    udp4   started  4     A        -             6         1,2,3       1,2,3,4
    63    http6  started  5     A        dictionaries  7         1,2         1,2,5
    64    udp6   started  6     A        -             8         1,2,5       1,2,5,6
    65    http4  stopped  1     A        dictionaries  7         -           2,3,4
    66    http4  stopped  2     A        dictionaries  6         -           3,4
    67    http4  stopped  3     A        dictionaries  5         -           4
    68    http4  stopped  4     A        dictionaries  4         -           -
    68-1  http6  stopped  7     A        dictionaries  4         -           1,2,5,6
    69    http4  stopped  5     A        dictionaries  4         -           -
    69-1  http6  stopped  7     A        dictionaries  4         -           1,2,5,6
    70    http4  stopped  6     A        dictionaries  4         -           -
    71    http6  stopped  7     A        dictionaries  4         -           1,2,5,6
";
