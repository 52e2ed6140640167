//! Requests and what they are answered.

use std::net::{IpAddr, SocketAddr};

use crate::support::{Client, House, captures};
use etracker_core::announce::{Counts, Event};
use etracker_core::bencode::Value;
use etracker_core::http::query::{AnnounceQuery, PeerForm, ScrapeQuery};
use etracker_core::http::request::encode_get;
use etracker_core::http::response::{AnnounceResponse, Failure, PeerList, Retry, ScrapeResponse};
use etracker_core::http::{HEAD_MAX, Step};
use etracker_core::stats::Count;
use etracker_core::{Config, InfoHash, PeerId};

const HASH: &str = "info_hash=%00%01%02%03%04%05%06%07%08%09%0a%0b%0c%0d%0e%0f%10%11%12%13";
const ID: &str = "peer_id=-XX0001-abcdefghijkl";

fn hash() -> InfoHash {
    InfoHash(std::array::from_fn(|index| u8::try_from(index).unwrap()))
}

/// A request line for an announce of [`HASH`] with these further parameters, in a whole head.
fn announce(more: &str) -> String {
    format!("GET /announce?{HASH}&{ID}&{more} HTTP/1.1\r\nHost: tracker\r\n\r\n")
}

fn reason(body: &[u8]) -> String {
    let failure = Failure::decode(body).unwrap_or_else(|fault| panic!("{fault}: {}", body.escape_ascii()));
    String::from_utf8(failure.reason.to_vec()).unwrap()
}

fn endpoints(response: &AnnounceResponse<'_>) -> Vec<SocketAddr> {
    response.peers().map(|(peer, _)| peer).collect()
}

fn statuses(client: &mut Client<'_>) -> Vec<u16> {
    client
        .responses()
        .iter()
        .map(|response| response.status)
        .collect()
}

#[test]
fn every_recorded_request_is_answered_with_success() {
    let house = House::new(Config::default());
    let mut answered = 0;
    for (name, bytes) in captures("-http") {
        let ip = if name.contains("-http6-") {
            "2001:db8:77::2"
        } else {
            "203.0.113.2"
        };
        let mut client = house.connect(ip);
        let response = client
            .exchange(&bytes)
            .unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(response.status, 200, "{name}");
        if name.contains("scrape") {
            let scraped = ScrapeResponse::decode(&response.body).unwrap();
            let asked = bytes.windows(10).filter(|part| part == b"info_hash=").count();
            assert_eq!(scraped.iter().count(), asked, "{name}");
        } else {
            let announced = AnnounceResponse::decode(&response.body)
                .unwrap_or_else(|fault| panic!("{name}: {fault}: {}", response.body.escape_ascii()));
            assert_eq!(announced.external_ip, Some(ip.parse().unwrap()), "{name}");
            assert_eq!(announced.interval_secs, 1799, "{name}");
        }
        answered += 1;
    }
    assert_eq!(answered, 106, "captures over HTTP");
    assert_eq!(house.count(Count::HttpFailure), 0);
}

#[test]
fn hard_announces_are_understood() {
    let long = format!("port=6881&left=1&junk={}", "x".repeat(4000));
    let cases = [
        "port=6881",
        "port=65535&left=1",
        "port=6881&event=",
        "port=6881&event=empty",
        "port=6881&event=foo",
        "port=6881&event",
        "port=6881&supportcrypto&redundant=0&corrupt=0&trackerid=x&azver=3",
        "&&port=6881&&",
        "key=a=b&port=6881",
        "port=1&port=6881",
        "port=6881&numwant=-1",
        "port=6881&numwant=abc",
        "port=6881&numwant=4294967296",
        "port=6881&numwant=",
        "port=6881&uploaded=99999999999999999999&downloaded=-5",
        "port=6881&compact=0",
        "port=6881&compact=2",
        "port=6881&compact=abc&no_peer_id",
        "port=6881&compact=",
        "port=6881&key=%zz",
        "p%6Frt=%36881",
        "port=6881&ip=10.0.0.1&ipv4=10.0.0.2&ipv6=2001:db8::9",
        "event=paused&port=6881&left=5",
        "port=6881&a;b=c",
        &long,
    ];
    for more in cases {
        let house = House::new(Config::default());
        let response = house
            .connect("198.51.100.7")
            .exchange(announce(more).as_bytes())
            .unwrap();
        let body = AnnounceResponse::decode(&response.body);
        let body = body.unwrap_or_else(|fault| panic!("{more}: {fault}: {}", response.body.escape_ascii()));
        assert_eq!((response.status, body.incomplete), (200, Some(1)), "{more}");
        let other = announce("port=9").replace("abcdefghijkl", "lkjihgfedcba");
        let response = house.connect("198.51.100.8").exchange(other.as_bytes()).unwrap();
        let seen = AnnounceResponse::decode(&response.body).unwrap();
        let expected: SocketAddr = if more.contains("65535") {
            "198.51.100.7:65535"
        } else {
            "198.51.100.7:6881"
        }
        .parse()
        .unwrap();
        assert_eq!(endpoints(&seen), [expected], "{more}");
    }
}

#[test]
fn refused_announces_say_why_with_status_200() {
    let hash19 = HASH.replace("%13", "");
    let hex40 = "info_hash=000102030405060708090a0b0c0d0e0f10111213";
    let cases: &[(String, &str)] = &[
        (format!("{ID}&port=1"), "info_hash is missing"),
        (
            format!("{hash19}&{ID}&port=1"),
            "info_hash must be 20 bytes, not 19",
        ),
        (
            format!("{HASH}x&{ID}&port=1"),
            "info_hash must be 20 bytes, not 21",
        ),
        (format!("{hex40}&{ID}&port=1"), "not 40"),
        (format!("info_hash&{ID}&port=1"), "not 0"),
        (format!("{HASH}&{HASH}&{ID}&port=1"), "one info_hash"),
        (format!("{}&{ID}&port=1", HASH.replace('%', "%25")), "not 60"),
        (
            format!("{}&{ID}&port=1", HASH.replace("%13", "%zz")),
            "two hexadecimal digits",
        ),
        (
            format!("{}&{ID}&port=1", HASH.replace("%13", "%4")),
            "two hexadecimal digits",
        ),
        (
            format!("{}&{ID}&port=1", HASH.replace("%13", "%")),
            "two hexadecimal digits",
        ),
        (format!("{HASH}&port=1"), "peer_id is missing"),
        (format!("{HASH}&{ID}x&port=1"), "peer_id must be 20 bytes, not 21"),
        (
            format!("{HASH}&peer_id=short&port=1"),
            "peer_id must be 20 bytes, not 5",
        ),
        (format!("{HASH}&{ID}"), "port is missing"),
        (format!("{HASH}&{ID}&port=0"), "from 1 to 65535"),
        (format!("{HASH}&{ID}&port=65536"), "from 1 to 65535"),
        (format!("{HASH}&{ID}&port=65537"), "from 1 to 65535"),
        (
            format!("{HASH}&{ID}&port=99999999999999999999999"),
            "from 1 to 65535",
        ),
        (format!("{HASH}&{ID}&port=-1"), "decimal number"),
        (format!("{HASH}&{ID}&port=abc"), "decimal number"),
        (format!("{HASH}&{ID}&port="), "decimal number"),
        (format!("{HASH}&{ID}&port=080"), "decimal number"),
        (format!("{HASH}&{ID}&port=%3080"), "decimal number"),
        (format!("{HASH}&{ID}&port=+80"), "decimal number"),
        (format!("{HASH}&{ID}&port=%2080"), "decimal number"),
        (format!("{HASH}&{ID}&port=abc&event=stopped"), "decimal number"),
    ];
    let house = House::new(Config::default());
    for (query, expected) in cases {
        let head = format!("GET /announce?{query} HTTP/1.1\r\n\r\n");
        let response = house.connect("198.51.100.7").exchange(head.as_bytes()).unwrap();
        let reason = reason(&response.body);
        assert_eq!(response.status, 200, "{query}");
        assert!(reason.contains(expected), "{query}: {reason}");
        assert!(reason.len() <= 255 && reason.chars().all(|char| (' '..='~').contains(&char)));
    }
    assert_eq!(house.tracker.totals().torrents, 0, "nothing is stored");
    assert_eq!(house.count(Count::HttpFailure), cases.len() as u64);
}

#[test]
fn only_left_of_0_makes_a_seeder() {
    for (left, seeder) in [
        ("left=0", true),
        ("left=%30", true),
        ("left=1", false),
        ("left=4294967296", false),
        ("left=9223372036854775807", false),
        ("left=18446744073709551615", false),
        ("left=18446744073709551616", false),
        ("left=-1", false),
        ("left=-0", false),
        ("left=abc", false),
        ("left=", false),
        ("left", false),
        ("x=1", false),
    ] {
        let house = House::new(Config::default());
        house
            .connect("198.51.100.7")
            .exchange(announce(&format!("port=1&{left}")).as_bytes());
        let Counts {
            complete, incomplete, ..
        } = house.tracker.swarms().scrape(&hash());
        assert_eq!(
            (complete, incomplete),
            if seeder { (1, 0) } else { (0, 1) },
            "{left}"
        );
    }
}

#[test]
fn one_who_leaves_needs_no_port() {
    let house = House::new(Config::default());
    for more in [
        "event=stopped",
        "event=stopped&port=0",
        "event=stopped&port=1&left=18446744073709551615",
    ] {
        let response = house
            .connect("198.51.100.7")
            .exchange(announce(more).as_bytes())
            .unwrap();
        let body = AnnounceResponse::decode(&response.body).unwrap();
        assert_eq!((body.peers().count(), body.incomplete), (0, Some(0)), "{more}");
    }
    assert_eq!(house.tracker.totals().torrents, 0);
}

#[test]
fn the_same_hash_in_any_spelling_is_one_torrent() {
    let literal = "AZaz09-_.~!*'()+/:@,$=?;";
    let bytes: Vec<u8> = literal.bytes().take(20).collect();
    let encode = |upper: bool| -> String {
        let spell = |byte: &u8| {
            if upper {
                format!("%{byte:02X}")
            } else {
                format!("%{byte:02x}")
            }
        };
        bytes.iter().map(spell).collect()
    };
    let house = House::new(Config::default());
    for (port, spelling) in [
        (1, literal[..20].to_owned()),
        (2, encode(true)),
        (3, encode(false)),
    ] {
        for name in ["info_hash", "info%5Fhash"] {
            let query = format!("{ID}&port={port}&{name}={spelling}");
            let head = format!("GET /announce?{query} HTTP/1.1\r\n\r\n");
            house.connect("198.51.100.7").exchange(head.as_bytes()).unwrap();
        }
    }
    let counts = house
        .tracker
        .swarms()
        .scrape(&InfoHash(bytes.try_into().unwrap()));
    assert_eq!((house.tracker.totals().torrents, counts.incomplete), (1, 3));
}

#[test]
fn raw_bytes_are_bytes() {
    let house = House::new(Config::default());
    let mut head = b"GET /announce?key=\xff\xfe\x01&port=7&info_hash=".to_vec();
    head.extend((0x80..0x94).collect::<Vec<u8>>());
    head.extend(format!("&{ID} HTTP/1.1\r\n\r\n").bytes());
    house.connect("198.51.100.7").exchange(&head).unwrap();
    let hash = InfoHash(std::array::from_fn(|index| 0x80 + u8::try_from(index).unwrap()));
    assert_eq!(house.tracker.swarms().scrape(&hash).incomplete, 1);
}

#[test]
fn dictionaries_hold_ids_of_any_bytes_in_the_askers_family() {
    let house = House::new(Config::default());
    let id: String = (0..20u8)
        .map(|byte| format!("%{:02x}", byte.wrapping_mul(13)))
        .collect();
    let seed = format!("GET /announce?{HASH}&peer_id={id}&port=6881&left=0 HTTP/1.1\r\n\r\n");
    for ip in ["198.51.100.7", "2001:db8::7"] {
        house.connect(ip).exchange(seed.as_bytes()).unwrap();
    }
    for (ip, expected) in [
        ("198.51.100.8", "198.51.100.7:6881"),
        ("2001:db8::8", "[2001:db8::7]:6881"),
    ] {
        let response = house
            .connect(ip)
            .exchange(announce("port=5&compact=0").as_bytes())
            .unwrap();
        let body = AnnounceResponse::decode(&response.body).unwrap();
        let peers: Vec<_> = body.peers().collect();
        let id = PeerId(std::array::from_fn(|index| {
            u8::try_from(index).unwrap().wrapping_mul(13)
        }));
        let expected: SocketAddr = expected.parse().unwrap();
        assert_eq!(peers, [(expected, Some(id))]);
        assert!(matches!(body.peers, PeerList::Dictionaries(_)) && body.peers6.is_none());

        let request = announce("port=5&compact=0&no_peer_id=1");
        let response = house.connect(ip).exchange(request.as_bytes()).unwrap();
        let body = AnnounceResponse::decode(&response.body).unwrap();
        assert_eq!(endpoints(&body), [expected]);
        assert!(body.peers().all(|(_, id)| id.is_none()));
    }
    let house = House::new(Config::default().with_peer_ids(false));
    house.connect("198.51.100.7").exchange(seed.as_bytes()).unwrap();
    let response = house
        .connect("198.51.100.8")
        .exchange(announce("port=5&compact=0").as_bytes())
        .unwrap();
    let body = AnnounceResponse::decode(&response.body).unwrap();
    assert_eq!(body.peers().map(|(_, id)| id).collect::<Vec<_>>(), [None]);
}

#[test]
fn compact_answers_always_hold_peers_and_ipv6_ones_stand_apart() {
    let house = House::new(Config::default());
    for ip in ["2001:db8::7", "::ffff:198.51.100.7", "198.51.100.9"] {
        let response = house
            .connect(ip)
            .exchange(announce("port=258").as_bytes())
            .unwrap();
        let root = Value::parse(&response.body).unwrap().as_dictionary().unwrap();
        let keys: Vec<_> = root
            .iter()
            .map(|(key, _)| String::from_utf8(key.to_vec()).unwrap())
            .collect();
        let mut expected = vec![
            "complete",
            "downloaded",
            "external ip",
            "incomplete",
            "interval",
            "min interval",
            "peers",
        ];
        if ip == "2001:db8::7" {
            expected.push("peers6");
        }
        assert_eq!(keys, expected, "{ip}");
        let external = root.get(b"external ip").unwrap().as_bytes().unwrap();
        assert_eq!(external.len(), if ip == "2001:db8::7" { 16 } else { 4 }, "{ip}");
    }
    let response = house
        .connect("198.51.100.9")
        .exchange(announce("port=258").as_bytes())
        .unwrap();
    let body = AnnounceResponse::decode(&response.body).unwrap();
    assert_eq!(body.peers, PeerList::Compact(&[198, 51, 100, 7, 1, 2]));
}

#[test]
fn scrapes_are_sorted_and_unique_whatever_was_asked() {
    let house = House::new(Config::default());
    house
        .connect("198.51.100.7")
        .exchange(announce("port=1&left=0").as_bytes())
        .unwrap();
    let asked: Vec<InfoHash> = [9u8, 200, 3, 9, 255, 3, 128]
        .map(|byte| InfoHash([byte; 20]))
        .to_vec();
    let mut query = Vec::new();
    ScrapeQuery::encode(&[asked.clone(), vec![hash()]].concat(), &mut query);
    let mut head = Vec::new();
    encode_get("tracker", "/scrape", &query, &mut head);
    let response = house.connect("198.51.100.7").exchange(&head).unwrap();
    let files: Vec<_> = ScrapeResponse::decode(&response.body).unwrap().iter().collect();
    let zeros = Counts::default();
    let one = Counts { complete: 1, ..zeros };
    let mut expected = vec![(hash(), one)];
    expected.extend([3u8, 9, 128, 200, 255].map(|byte| (InfoHash([byte; 20]), zeros)));
    assert_eq!(files, expected);
    assert_eq!(house.tracker.totals().torrents, 1, "a scrape creates nothing");
}

#[test]
fn as_many_scrapes_as_a_head_holds_are_answered() {
    let house = House::new(Config::default());
    let mut head = b"GET /scrape?".to_vec();
    let mut asked = 0u16;
    while head.len() + 31 + 13 <= HEAD_MAX {
        // Letters and digits need no escapes: the shortest parameter there is.
        head.extend(format!("info_hash=a-shortest-hash{asked:05}&").bytes());
        asked += 1;
    }
    head.extend(b" HTTP/1.1\r\n\r\n");
    assert!(head.len() <= HEAD_MAX && head.len() > HEAD_MAX - 40);
    let response = house.connect("198.51.100.7").exchange(&head).unwrap();
    assert_eq!(
        ScrapeResponse::decode(&response.body).unwrap().iter().count(),
        usize::from(asked)
    );
}

#[test]
fn a_bad_hash_fails_a_scrape() {
    let house = House::new(Config::default());
    for (query, expected) in [
        ("info_hash=abc", "not 3"),
        ("info_hash=", "not 0"),
        (&format!("{HASH}&info_hash=%zz"), "hexadecimal"),
    ] {
        let head = format!("GET /scrape?{query} HTTP/1.1\r\n\r\n");
        let response = house.connect("198.51.100.7").exchange(head.as_bytes()).unwrap();
        assert_eq!(response.status, 200);
        assert!(reason(&response.body).contains(expected), "{query}");
    }
}

#[test]
fn broken_requests_have_their_statuses_and_bencoded_bodies() {
    let too_long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000));
    let cases = [
        ("GET\r\n\r\n", 400),
        ("GET /announce\r\n\r\n", 400),
        ("GET /announce HTTP/2.0\r\n\r\n", 400),
        ("GET /announce HTTP/1.1 x\r\n\r\n", 400),
        ("GET announce HTTP/1.1\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nname : value\r\n\r\n", 400),
        ("\x16\x03\x01\x02\0\x01\0\x01\n\n", 400),
        ("GET /scrape HTTP/1.1\r\n\r\n", 403),
        ("GET /nothing HTTP/1.1\r\n\r\n", 404),
        ("GET /x/announce HTTP/1.1\r\n\r\n", 404),
        ("GET /announce.php HTTP/1.1\r\n\r\n", 404),
        ("GET /announce/ HTTP/1.1\r\n\r\n", 404),
        ("POST /announce HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        ("BREW /nothing HTTP/1.1\r\n\r\n", 405),
        (&too_long, 413),
    ];
    let house = House::new(Config::default().with_keep_alive(true));
    for (head, status) in cases {
        let mut client = house.connect("198.51.100.7");
        let response = client.exchange(head.as_bytes()).unwrap();
        assert_eq!(response.status, status, "{head}");
        assert!(!reason(&response.body).is_empty());
        let may_stay = matches!(status, 403 | 404);
        assert_eq!(client.is_open(), may_stay, "{head}");
    }
    let mut client = house.connect("198.51.100.7");
    client.send(b"PUT / HTTP/1.1\r\n\r\n");
    assert!(
        client
            .received()
            .windows(18)
            .any(|part| part == b"Allow: GET, HEAD\r\n")
    );
}

#[test]
fn heads_are_taken_as_clients_write_them() {
    let target = format!("/announce?{HASH}&{ID}&port=1");
    let fields: String = (0..40)
        .map(|number| format!("X-Field-{number}: {}\r\n", "v".repeat(200)))
        .collect();
    let cases = [
        format!("GET {target} HTTP/1.0\r\n\r\n"),
        format!("GET {target} HTTP/1.1\n\n"),
        format!("GET {target} HTTP/1.1\nhost: x\n\r\n"),
        format!("\r\n\r\nGET {target} HTTP/1.1\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: 2001:db8::1:80\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nx-folded: a\r\n b\r\n\tc\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nempty:\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\n{fields}\r\n"),
        format!("GET {target} HTTP/1.9\r\n\r\n"),
        format!("GET http://tracker.example:80{target} HTTP/1.1\r\n\r\n"),
        format!("GET HTTPS://[2001:db8::1]{target} HTTP/1.1\r\n\r\n"),
        format!("GET /0123456789abcdef0123456789abcdef{target} HTTP/1.1\r\n\r\n"),
    ];
    for head in cases {
        let house = House::new(Config::default());
        let response = house.connect("198.51.100.7").exchange(head.as_bytes()).unwrap();
        assert_eq!(response.status, 200, "{head}");
        assert_eq!(
            AnnounceResponse::decode(&response.body).unwrap().incomplete,
            Some(1),
            "{head}"
        );
    }
}

#[test]
fn keep_alive_is_for_those_who_may_and_want_to() {
    let kept = |allowed: bool, version: &str, fields: &str| {
        let house = House::new(Config::default().with_keep_alive(allowed));
        let mut client = house.connect("198.51.100.7");
        client.send(format!("GET / HTTP/{version}\r\n{fields}\r\n").as_bytes());
        let told = client
            .received()
            .windows(24)
            .any(|part| part == b"Connection: keep-alive\r\n");
        assert_eq!(told, client.is_open(), "{version} {fields}");
        told
    };
    assert!(kept(true, "1.1", ""));
    assert!(kept(true, "1.1", "content-length: 0\r\n"));
    assert!(kept(true, "1.0", "connection: Keep-Alive\r\n"));
    assert!(!kept(true, "1.0", ""));
    assert!(!kept(true, "1.1", "CONNECTION: x, Close\r\n"));
    assert!(!kept(true, "1.1", "Content-Length: 9\r\n"));
    assert!(!kept(true, "1.1", "Transfer-Encoding: chunked\r\n"));
    assert!(!kept(
        true,
        "1.1",
        "Transfer-Encoding: x\r\nContent-Length: 0\r\n"
    ));
    assert!(!kept(false, "1.1", "Connection: keep-alive\r\n"));
    assert!(!kept(false, "1.0", "Connection: keep-alive\r\n"));
}

#[test]
fn pipelined_requests_are_answered_in_order_and_a_body_is_no_request() {
    let house = House::new(Config::default().with_keep_alive(true));
    let mut client = house.connect("198.51.100.7");
    client
        .send(b"GET / HTTP/1.1\r\n\r\nGET /x HTTP/1.1\r\n\r\nGET / HTTP/1.1\nConnection: close\n\nGET / HT");
    assert_eq!(statuses(&mut client), [200, 404, 200]);
    assert!(!client.is_open());

    let mut client = house.connect("198.51.100.7");
    client.send(b"GET / HTTP/1.1\r\nContent-Length: 19\r\n\r\nGET /x HTTP/1.1\r\n\r\n");
    assert_eq!(statuses(&mut client), [200]);
    assert!(!client.is_open());

    let mut client = house.connect("198.51.100.7");
    client.send(b"\r\nGET / HTTP/1.1\r\n\r\nGET /x HT");
    client.send(b"TP/1.1\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\nG");
    assert_eq!(statuses(&mut client), [200, 404, 200]);
    client.end();
    assert_eq!(statuses(&mut client), [400]);
}

#[test]
fn head_is_answered_with_the_length_and_no_body() {
    let house = House::new(Config::default());
    let mut client = house.connect("198.51.100.7");
    client.send(announce("port=1").replace("GET", "HEAD").as_bytes());
    let text = String::from_utf8(client.received().to_vec()).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n"),
        "{text}"
    );
    let mut other = house.connect("198.51.100.7");
    let whole = other.exchange(announce("port=1").as_bytes()).unwrap();
    assert!(text.contains(&format!("Content-Length: {}\r\n", whole.body.len())));
}

#[test]
fn requests_cut_to_single_bytes_are_answered_and_half_closed_ones_too() {
    let house = House::new(Config::default());
    let mut client = house.connect("198.51.100.7");
    for byte in announce("port=1").as_bytes() {
        client.send(&[*byte]);
    }
    assert_eq!(client.responses().len(), 1);

    let mut client = house.connect("198.51.100.7");
    client.send(announce("port=1").as_bytes());
    client.end();
    assert_eq!(client.responses().len(), 1);

    let mut client = house.connect("198.51.100.7");
    client.send(b"GET / HT");
    client.end();
    assert_eq!(client.responses()[0].status, 400);

    let mut client = house.connect("198.51.100.7");
    client.end();
    assert!(client.received().is_empty() && !client.is_open());
    assert_eq!(house.count(Count::HttpReceivedEnd), 1);
}

#[test]
fn a_head_has_to_come_in_time_from_its_first_byte() {
    let house = House::new(Config::default().with_keep_alive(true));
    let mut client = house.connect("198.51.100.7");
    house.advance(2900);
    client.send(b"\r\nG");
    for byte in b"ET " {
        house.advance(900);
        client.time_out();
        client.send(&[*byte]);
    }
    assert!(client.is_open() && client.received().is_empty());
    house.advance(300);
    client.time_out();
    assert_eq!(client.responses()[0].status, 408);
    assert!(!client.is_open());
    assert_eq!(house.count(Count::Http408), 1);
}

#[test]
fn the_idle_are_closed_without_a_word_and_so_are_those_who_do_not_read() {
    let house = House::new(Config::default().with_keep_alive(true));
    let mut client = house.connect("198.51.100.7");
    house.advance(2999);
    client.time_out();
    assert!(client.is_open());
    house.advance(1);
    client.time_out();
    assert!(client.received().is_empty() && !client.is_open());

    let mut client = house.connect("198.51.100.7");
    client.exchange(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    house.advance(3000);
    client.time_out();
    assert!(client.responses().is_empty() && !client.is_open());

    let mut client = house.connect("198.51.100.7");
    let step = client.give(b"GET / HTTP/1.1\r\n\r\n");
    assert!(matches!(step, Step::Write(_)));
    house.advance(3000);
    client.time_out();
    assert!(!client.is_open(), "the answer was not taken");
}

#[test]
fn proxies_speak_for_the_right_most_untrusted_address() {
    let trusted = ["127.0.0.0/8", "10.0.0.0/8", "::1/128"].map(|text| text.parse().unwrap());
    let cases: &[(&str, &[&str], Result<&str, &str>)] = &[
        ("10.0.0.1", &["203.0.113.9"], Ok("203.0.113.9")),
        ("10.0.0.1", &["6.6.6.6, 203.0.113.9"], Ok("203.0.113.9")),
        ("10.0.0.1", &["rubbish, 203.0.113.9, 10.0.0.2"], Ok("203.0.113.9")),
        ("10.0.0.1", &["6.6.6.6", "203.0.113.9"], Ok("203.0.113.9")),
        ("10.0.0.1", &["203.0.113.9:4711"], Ok("203.0.113.9")),
        ("10.0.0.1", &["2001:db8::9"], Ok("2001:db8::9")),
        ("10.0.0.1", &["[2001:db8::9]"], Ok("2001:db8::9")),
        ("::1", &["[2001:db8::9]:4711"], Ok("2001:db8::9")),
        ("10.0.0.1", &["::ffff:203.0.113.9"], Ok("203.0.113.9")),
        ("10.0.0.1", &["10.1.1.1, 10.2.2.2"], Ok("10.1.1.1")),
        ("10.0.0.1", &[], Err("did not send")),
        ("10.0.0.1", &[" ", ","], Err("did not send")),
        ("10.0.0.1", &["unknown"], Err("no address")),
        ("10.0.0.1", &["203.0.113.9, unknown"], Err("no address")),
        ("10.0.0.1", &["203.0.113.9, [2001:db8::9"], Err("no address")),
        ("198.51.100.7", &["203.0.113.9"], Ok("198.51.100.7")),
        ("198.51.100.7", &[], Ok("198.51.100.7")),
    ];
    for (peer, values, expected) in cases {
        let house = House::new(Config::default().with_trusted_proxies(trusted.to_vec()));
        let fields: String = values
            .iter()
            .map(|value| format!("x-FORWARDED-for: {value}\r\n"))
            .collect();
        let head = announce("port=1").replace("Host: tracker\r\n", &fields);
        let response = house.connect(peer).exchange(head.as_bytes()).unwrap();
        match expected {
            Ok(ip) => {
                let body = AnnounceResponse::decode(&response.body).unwrap();
                assert_eq!(
                    body.external_ip,
                    Some(ip.parse::<IpAddr>().unwrap()),
                    "{peer} {values:?}"
                );
            }
            Err(text) => {
                assert!(reason(&response.body).contains(text), "{peer} {values:?}");
                assert_eq!(house.tracker.totals().peers(), 0);
            }
        }
    }
    let house = House::new(Config::default());
    let head = announce("port=1").replace("Host: tracker", "X-Forwarded-For: 203.0.113.9");
    let response = house.connect("10.0.0.1").exchange(head.as_bytes()).unwrap();
    let external = AnnounceResponse::decode(&response.body).unwrap().external_ip;
    assert_eq!(external, Some("10.0.0.1".parse().unwrap()), "the option is off");
}

#[test]
fn what_is_full_says_when_to_come_back() {
    let house = House::new(Config::default().with_torrents_max(1).unwrap());
    house
        .connect("198.51.100.7")
        .exchange(announce("port=1").as_bytes())
        .unwrap();
    let other = announce("port=1").replace("%00", "%99");
    let response = house.connect("198.51.100.7").exchange(other.as_bytes()).unwrap();
    let failure = Failure::decode(&response.body).unwrap();
    assert!(matches!(failure.retry, Some(Retry::Minutes(1..))));
}

#[test]
fn a_full_scrape_lists_every_torrent_in_order_whatever_the_version() {
    let house = House::new(Config::default().with_full_scrape(true).with_keep_alive(true));
    let torrents = 3000;
    for number in 0..torrents as u64 {
        house.announce(&format!("198.51.{}.{}", number / 250, number % 250), number);
    }
    for (version, chunked) in [("1.1", true), ("1.0", false)] {
        let mut client = house.connect("198.51.100.7");
        client.send(format!("GET /scrape HTTP/{version}\r\nConnection: keep-alive\r\n\r\n").as_bytes());
        assert_eq!(
            client.is_open(),
            chunked,
            "without chunks the end is the end of the connection"
        );
        let text = client.received();
        assert_eq!(
            text.windows(26).any(|part| part == b"Transfer-Encoding: chunked"),
            chunked
        );
        let response = client.responses().remove(0);
        let files: Vec<_> = ScrapeResponse::decode(&response.body).unwrap().iter().collect();
        assert_eq!(files.len(), torrents);
        assert!(files.iter().all(|(_, counts)| counts.incomplete == 1));
    }
    assert_eq!(house.count(Count::HttpFullScrape), 2);
}

#[test]
fn one_full_scrape_runs_at_a_time_and_a_gone_client_frees_the_place() {
    let house = House::new(Config::default().with_full_scrape(true));
    let request = b"GET /scrape HTTP/1.1\r\n\r\n";
    let mut first = house.connect("198.51.100.7");
    assert_eq!(first.give(request), Step::Again);
    let response = house.connect("198.51.100.8").exchange(request).unwrap();
    let failure = Failure::decode(&response.body).unwrap();
    assert_eq!((response.status, failure.retry), (200, Some(Retry::Minutes(1))));
    drop(first);
    let response = house.connect("198.51.100.8").exchange(request).unwrap();
    assert_eq!(response.body, b"d5:filesdee");
    let mut client = house.connect("198.51.100.8");
    client.send(b"HEAD /scrape HTTP/1.1\r\n\r\n");
    assert!(client.received().ends_with(b"Connection: close\r\n\r\n"));
}

#[test]
fn torrents_that_go_during_a_full_scrape_are_shown_with_zeros() {
    let house = House::new(Config::default().with_full_scrape(true));
    for number in 0..10 {
        house.announce("198.51.100.7", number);
    }
    let mut client = house.connect("198.51.100.8");
    let mut step = client.give(b"GET /scrape HTTP/1.1\r\n\r\n");
    while step == Step::Again {
        step = client.go_on();
    }
    client.follow(step);
    let complete = client.responses().remove(0);
    let listed: Vec<_> = ScrapeResponse::decode(&complete.body).unwrap().iter().collect();
    assert_eq!(listed.len(), 10);

    let mut client = house.connect("198.51.100.8");
    let step = client.give(b"GET /scrape HTTP/1.1\r\n\r\n");
    // The shards are walked in order, so that by half of the steps some torrents are collected and others are not.
    let step = (0..32).fold(step, |_, _| client.go_on());
    for (info_hash, _) in &listed {
        assert!(house.tracker.swarms().remove(info_hash));
    }
    client.follow(step);
    let body = client.responses().remove(0).body;
    let left: Vec<_> = ScrapeResponse::decode(&body).unwrap().iter().collect();
    assert!((1..10).contains(&left.len()), "{} of 10", left.len());
    assert!(left.iter().all(|(_, counts)| *counts == Counts::default()));
}

#[test]
fn as_many_peers_are_given_as_are_wanted_and_allowed() {
    let house = House::new(Config::default());
    for number in 0..80 {
        let request = announce(&format!("port={}&left=1", 1000 + number));
        house
            .connect(&format!("198.51.100.{number}"))
            .exchange(request.as_bytes())
            .unwrap();
    }
    for (numwant, given) in [
        ("", 50),
        ("0", 0),
        ("7", 7),
        ("60", 60),
        ("61", 60),
        ("1000000", 60),
        ("4294967295", 60),
        ("4294967296", 60),
        ("4294967297", 60),
        ("18446744073709551616", 60),
        ("-1", 50),
        ("abc", 50),
    ] {
        let request = announce(&format!("port=1&numwant={numwant}"));
        let response = house
            .connect("198.51.100.200")
            .exchange(request.as_bytes())
            .unwrap();
        let body = AnnounceResponse::decode(&response.body).unwrap();
        assert_eq!(body.peers().count(), given, "numwant={numwant}");
    }
}

#[test]
fn a_thousand_dictionaries_fit_and_a_small_buffer_gets_fewer_peers() {
    let config = Config::default().with_peers_per_response_max(1000).unwrap();
    let house = House::new(config.with_peers_per_address_max(0).unwrap());
    for number in 0..1200u16 {
        let ip = format!("2001:db8:1234:5678:1234:5678:9abc:{:x}", 0x1000 + number);
        let request = announce(&format!("port={}", 60_000 + number));
        house.connect(&ip).exchange(request.as_bytes()).unwrap();
    }
    let request = announce("port=5&numwant=1000&compact=0");
    let response = house.connect("2001:db8::1").exchange(request.as_bytes()).unwrap();
    assert_eq!(
        AnnounceResponse::decode(&response.body).unwrap().peers().count(),
        1000
    );

    let mut client = house.connect_with_reply("2001:db8::1", 4000);
    let response = client.exchange(request.as_bytes()).unwrap();
    let peers = AnnounceResponse::decode(&response.body).unwrap().peers().count();
    assert!((20..60).contains(&peers), "{peers}");

    let mut client = house.connect_with_reply("2001:db8::1", 50);
    client.send(request.as_bytes());
    assert!(client.received().is_empty() && !client.is_open());
}

#[test]
fn a_clients_own_requests_mean_what_they_say() {
    let house = House::new(Config::default());
    let query = AnnounceQuery::parse(
        format!("{HASH}&{ID}&port=9&left=0").as_bytes(),
        "::1".parse().unwrap(),
    );
    let mut query = query.unwrap();
    query.announce.event = Event::Completed;
    query.form = PeerForm::Dictionaries { ids: true };
    let mut encoded = Vec::new();
    query.encode(&mut encoded);
    let mut head = Vec::new();
    encode_get("[::1]:6969", "/announce?k=v", &encoded, &mut head);
    let response = house.connect("::1").exchange(&head).unwrap();
    let body = AnnounceResponse::decode(&response.body).unwrap();
    assert_eq!((body.complete, body.downloaded), (Some(1), Some(1)));
}

#[test]
fn what_happens_is_counted() {
    let house = House::new(Config::default().with_keep_alive(true));
    let mut client = house.connect("2001:db8::7");
    client.exchange(announce("port=1").as_bytes()).unwrap();
    client
        .exchange(format!("GET /scrape?{HASH} HTTP/1.1\r\n\r\n").as_bytes())
        .unwrap();
    client.exchange(b"GET /announce HTTP/1.1\r\n\r\n").unwrap();
    house
        .connect("198.51.100.7")
        .exchange(b"GET /x HTTP/1.0\r\n\r\n")
        .unwrap();
    let counted = [
        (Count::HttpRequest6, 3),
        (Count::HttpRequest4, 1),
        (Count::HttpAnnounce, 1),
        (Count::HttpScrape, 1),
        (Count::HttpFailure, 2),
        (Count::Http200, 3),
        (Count::Http404, 1),
        (Count::HttpKeptAlive, 3),
        (Count::HttpNotKeptAlive, 1),
    ];
    for (count, expected) in counted {
        assert_eq!(house.count(count), expected, "{}", count.name());
    }
}
