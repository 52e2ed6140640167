//! Announces and their answers.

use std::net::{IpAddr, SocketAddr};

use crate::support::{HASH, House, ID, announce, endpoints, hash, reason};
use etracker_core::announce::{Counts, Event};
use etracker_core::bencode::Value;
use etracker_core::config::Intervals;
use etracker_core::http::query::{AnnounceQuery, PeerForm};
use etracker_core::http::request::encode_get;
use etracker_core::http::response::{AnnounceResponse, Failure, PeerList, Retry, ScrapeResponse};
use etracker_core::stats::Count;
use etracker_core::{Config, InfoHash, PeerId};

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
        (format!("{ID}&port=7"), "info_hash is missing"),
        (
            format!("{hash19}&{ID}&port=7"),
            "info_hash must be 20 bytes, not 19",
        ),
        (
            format!("{HASH}x&{ID}&port=7"),
            "info_hash must be 20 bytes, not 21",
        ),
        (format!("{hex40}&{ID}&port=7"), "not 40"),
        (format!("info_hash&{ID}&port=7"), "not 0"),
        (format!("{HASH}&{HASH}&{ID}&port=7"), "one info_hash"),
        (format!("{}&{ID}&port=7", HASH.replace('%', "%25")), "not 60"),
        (
            format!("{}&{ID}&port=7", HASH.replace("%13", "%zz")),
            "two hexadecimal digits",
        ),
        (
            format!("{}&{ID}&port=7", HASH.replace("%13", "%4")),
            "two hexadecimal digits",
        ),
        (
            format!("{}&{ID}&port=7", HASH.replace("%13", "%")),
            "two hexadecimal digits",
        ),
        (format!("{HASH}&port=7"), "peer_id is missing"),
        (format!("{HASH}&{ID}x&port=7"), "peer_id must be 20 bytes, not 21"),
        (
            format!("{HASH}&peer_id=short&port=7"),
            "peer_id must be 20 bytes, not 5",
        ),
        (format!("{HASH}&{ID}"), "port is missing"),
        (format!("{HASH}&{ID}&port=65536"), "from 0 to 65535"),
        (format!("{HASH}&{ID}&port=65537"), "from 0 to 65535"),
        (
            format!("{HASH}&{ID}&port=99999999999999999999999"),
            "from 0 to 65535",
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
            .exchange(announce(&format!("port=7&{left}")).as_bytes());
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
        "event=stopped&port=7&left=18446744073709551615",
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
    let literal = "AZaz09-_.~!*'()/:@,$=?;";
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
        (2, literal[..20].to_owned()),
        (3, encode(true)),
        (4, encode(false)),
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
fn a_plus_is_a_space_in_hashes_and_ids_of_announces_and_scrapes() {
    let house = House::new(Config::default());
    let spellings = ["aaaaaaaaa+a%2Baaaaaaaa", "aaaaaaaaa%20a%2baaaaaaaa"];
    for (number, hash) in spellings.iter().enumerate() {
        let id = ["+++++++++++++++++++%2B", "%20+%20++++++++++++++++%2B"][number];
        let head = format!("GET /announce?info_hash={hash}&peer_id={id}&port=1{number} HTTP/1.1\r\n\r\n");
        house.connect("198.51.100.7").exchange(head.as_bytes()).unwrap();
        let head = format!("GET /scrape?info_hash={hash} HTTP/1.1\r\n\r\n");
        let response = house.connect("198.51.100.7").exchange(head.as_bytes()).unwrap();
        let scraped: Vec<_> = ScrapeResponse::decode(&response.body).unwrap().iter().collect();
        let (info_hash, counts) = scraped[0];
        assert_eq!(
            (scraped.len(), info_hash),
            (1, InfoHash(*b"aaaaaaaaa a+aaaaaaaa"))
        );
        assert_eq!(
            counts.incomplete as usize,
            number + 1,
            "one swarm, however it is spelled"
        );
    }
    let head = format!(
        "GET /announce?info_hash={}&{ID}&port=9&compact=0 HTTP/1.1\r\n\r\n",
        spellings[0]
    );
    let response = house.connect("198.51.100.8").exchange(head.as_bytes()).unwrap();
    let body = AnnounceResponse::decode(&response.body).unwrap();
    let ids: Vec<_> = body.peers().map(|(_, id)| id).collect();
    assert_eq!(ids, [Some(PeerId(*b"                   +")); 2]);
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
        ("10.0.0.1", &["10.1.1.1, 10.2.2.2"], Ok("10.2.2.2")),
        ("10.0.0.1", &["10.1.1.1", "10.2.2.2"], Ok("10.2.2.2")),
        (
            "10.0.0.1",
            &["10.1.1.1, 203.0.113.9, 10.2.2.2"],
            Ok("203.0.113.9"),
        ),
        ("10.0.0.1", &["unknown, 10.2.2.2"], Err("no address")),
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
        let head = announce("port=7").replace("Host: tracker\r\n", &fields);
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
    let head = announce("port=7").replace("Host: tracker", "X-Forwarded-For: 203.0.113.9");
    let response = house.connect("10.0.0.1").exchange(head.as_bytes()).unwrap();
    let external = AnnounceResponse::decode(&response.body).unwrap().external_ip;
    assert_eq!(external, Some("10.0.0.1".parse().unwrap()), "the option is off");
}

#[test]
fn a_proxy_that_names_an_address_of_nobody_is_refused_with_a_reason() {
    let house = House::new(Config::default().with_trusted_proxies(vec!["10.0.0.0/8".parse().unwrap()]));
    for nobody in ["0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255"] {
        let named = format!("X-Forwarded-For: {nobody}");
        let head = announce("port=7").replace("Host: tracker", &named);
        let response = house.connect("10.0.0.1").exchange(head.as_bytes()).unwrap();
        assert_eq!(response.status, 200);
        let failure = Failure::decode(&response.body).unwrap();
        assert!(
            reason(&response.body).contains("no client can have"),
            "{nobody}: {failure:?}"
        );
        assert_eq!(failure.retry, Some(Retry::Never), "{nobody}");
    }
    assert_eq!(house.tracker.totals().torrents, 0);
    assert_eq!(house.count(Count::RefusedImpossibleAddress), 4);
}

#[test]
fn the_address_of_a_proxy_that_is_not_heeded_is_stored_by_nobody() {
    let cloud = Config::default().with_trusted_proxies(vec!["172.64.0.0/13".parse().unwrap()]);
    for config in [Config::default(), cloud] {
        for field in [
            "X-Forwarded-For: 203.0.113.9",
            "forwarded: for=203.0.113.9",
            "X-Real-IP: 203.0.113.9",
            "CF-CONNECTING-IP: 203.0.113.9",
        ] {
            let house = House::new(config.clone());
            let ask = |from: &str, field: &str| {
                let head = announce("port=6881").replace("Host: tracker", field);
                let response = house.connect(from).exchange(head.as_bytes()).unwrap();
                AnnounceResponse::decode(&response.body).unwrap().peers().count()
            };
            ask("198.51.100.7", "Host: tracker");
            for proxy in ["127.0.0.1", "10.0.0.1", "172.17.0.1"] {
                assert_eq!(ask(proxy, field), 1, "{proxy} {field}");
            }
            ask("::1", field);
            assert_eq!(house.tracker.totals().peers(), 1, "{field}");
            // From elsewhere a client can send what it likes, and these loopback addresses are bound by hand.
            ask("9.9.9.9", field);
            ask("127.0.0.9", field);
            assert_eq!(house.tracker.totals().peers(), 3, "{field}");
            assert_eq!(house.count(Count::HttpForwardedIgnored), 6, "{field}");
            assert_eq!(house.count(Count::HttpForwardedIgnoredLocal), 5, "{field}");
        }
    }
}

#[test]
fn ports_0_and_1_are_answered_with_peers_and_not_stored() {
    let house = House::new(Config::default());
    let ask = |query: &str| {
        let mut client = house.connect("198.51.100.9");
        let response = client.exchange(announce(query).as_bytes()).unwrap();
        let answer = AnnounceResponse::decode(&response.body).unwrap();
        let counts = (answer.complete, answer.incomplete, answer.downloaded);
        (counts, answer.peers().count())
    };
    ask("port=6881&left=5");
    let there = (Some(0), Some(1), Some(0));
    for port in [0, 1] {
        for query in ["left=5", "left=0", "left=0&event=completed"] {
            assert_eq!(ask(&format!("port={port}&{query}")), (there, 1), "{port} {query}");
        }
        assert_eq!(ask(&format!("port={port}&event=stopped")), (there, 0));
    }
    assert_eq!(house.tracker.totals().peers(), 1);
    assert_eq!(house.count(Count::AnnounceUnreachable), 6);
}

#[test]
fn what_is_full_says_when_to_come_back() {
    let house = House::new(Config::default().with_torrents_max(1).unwrap());
    house
        .connect("198.51.100.7")
        .exchange(announce("port=7").as_bytes())
        .unwrap();
    let other = announce("port=7").replace("%00", "%99");
    let response = house.connect("198.51.100.7").exchange(other.as_bytes()).unwrap();
    let failure = Failure::decode(&response.body).unwrap();
    assert_eq!(
        failure.retry,
        Some(Retry::Minutes(30)),
        "by then who is silent has expired"
    );
    assert_eq!(
        (failure.interval_secs, failure.interval_min_secs),
        (Some(1799), Some(899))
    );
}

fn intervals(min: u32, initial: u32, max: u32) -> Config {
    Config::default()
        .with_intervals(Intervals { initial, min, max })
        .unwrap()
}

#[test]
fn min_interval_is_half_of_the_interval_served_and_follows_it() {
    let served = |house: &House| {
        let response = house
            .connect("198.51.100.7")
            .exchange(announce("port=1").as_bytes());
        let body = response.unwrap().body;
        let response = AnnounceResponse::decode(&body).unwrap();
        (response.interval_secs, response.interval_min_secs.unwrap())
    };
    assert_eq!(served(&House::new(Config::default())), (1799, 899));
    assert_eq!(
        served(&House::new(intervals(300, 500, 1800))),
        (500, 300),
        "never below --min-interval"
    );
    let house = House::new(intervals(60, 600, 1800));
    assert_eq!(served(&house), (600, 300));
    for _ in 0..1200 {
        house.advance(1000);
        house.age([9.0; 3]);
    }
    let (interval, min) = served(&house);
    assert!(interval > 650 && min == interval / 2, "{interval} {min}");
}

#[test]
fn a_failure_says_when_to_come_back_in_the_words_that_clients_obey() {
    let config = intervals(60, 600, 1800).with_private_peers(false);
    let house = House::new(config.with_trusted_proxies(vec!["10.0.0.0/8".parse().unwrap()]));
    let cases = [
        // Mended any time by the operator, or by the way.
        ("10.0.0.1", announce("port=1"), (600, 300, None)),
        ("198.51.100.7", "GET / HT".to_owned(), (600, 300, None)),
        // Not understood later either.
        ("198.51.100.7", announce("port=none"), (1800, 900, None)),
        (
            "198.51.100.7",
            format!("GET /x/announce?{HASH} HTTP/1.1\r\n\r\n"),
            (1800, 900, None),
        ),
        (
            "198.51.100.7",
            "GET /scrape?info_hash=short HTTP/1.1\r\n\r\n".to_owned(),
            (1800, 900, None),
        ),
        (
            "198.51.100.7",
            "BREW /announce HTTP/1.1\r\n\r\n".to_owned(),
            (1800, 900, None),
        ),
        (
            "198.51.100.7",
            "GET /announce\r\n\r\n".to_owned(),
            (1800, 900, None),
        ),
        // Refused for good.
        ("192.168.0.1", announce("port=1"), (1800, 900, Some(Retry::Never))),
        (
            "198.51.100.7",
            "GET /scrape HTTP/1.1\r\n\r\n".to_owned(),
            (1800, 900, Some(Retry::Never)),
        ),
    ];
    for (ip, head, (interval, min, retry)) in cases {
        let mut client = house.connect(ip);
        client.send(head.as_bytes());
        client.end();
        let body = client.responses().remove(0).body;
        let failure = Failure::decode(&body).unwrap();
        let told = (failure.interval_secs, failure.interval_min_secs, failure.retry);
        assert_eq!(told, (Some(interval), Some(min), retry), "{head}");
    }
}

#[test]
fn announces_and_scrapes_are_found_where_real_urls_look_for_them() {
    let prefixed = Config::default().with_path_prefix("/a/b/").unwrap();
    for (config, before) in [
        (Config::default(), ""),
        (prefixed.clone(), ""),
        (prefixed, "/a/b"),
    ] {
        for form in [
            "/announce",
            "/announce/",
            "//announce",
            "/announce.php",
            "/announce/0123456789abcdef0123456789abcdef",
            "/announce/secret.key",
            "/0123456789abcdef0123456789abcdef/announce",
        ] {
            let house = House::new(config.clone());
            let head = announce("port=6881&left=0").replace("/announce", &format!("{before}{form}"));
            let response = house.connect("198.51.100.7").exchange(head.as_bytes()).unwrap();
            let complete = AnnounceResponse::decode(&response.body).map(|response| response.complete);
            assert_eq!(complete, Ok(Some(1)), "{before}{form}");
            let form = form.replace("announce", "scrape");
            let head = format!("GET {before}{form}?{HASH} HTTP/1.1\r\n\r\n");
            let response = house.connect("198.51.100.7").exchange(head.as_bytes()).unwrap();
            let scraped = ScrapeResponse::decode(&response.body).unwrap();
            assert!(
                scraped.iter().all(|(_, counts)| counts.complete == 1),
                "{before}{form}"
            );
        }
    }
}

#[test]
fn a_client_at_another_path_is_told_so_in_its_own_language() {
    let house = House::new(Config::default().with_path_prefix("/a").unwrap());
    for target in [
        &format!("/?{HASH}"),
        &format!("/?a=b&info%5Fhash={}", "%00".repeat(20)),
        "/stats?info_hash=",
        "/nothing?info_hash",
        "/a/?info_hash",
        "/x/announce",
        "/x/announce/",
        "/x/announce.php?a",
        "/x/scrape",
        "/tracker/announce",
        "/a/announcement?info_hash=1",
    ] {
        let head = format!("GET {target} HTTP/1.1\r\n\r\n");
        let response = house.connect("198.51.100.7").exchange(head.as_bytes()).unwrap();
        assert_eq!(response.status, 200, "{target}");
        assert!(
            reason(&response.body).contains("path is not the tracker's"),
            "{target}"
        );
    }
    for (target, status) in [
        ("/nothing?hash=info_hash", 404),
        ("/?a=b", 200),
        ("/a/", 200),
        ("/a", 404),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\n\r\n");
        let response = house.connect("198.51.100.7").exchange(head.as_bytes()).unwrap();
        assert_eq!(response.status, status, "{target}");
        assert_eq!(response.body.starts_with(b"etracker"), status == 200, "{target}");
    }
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
        let request = announce(&format!("port=7&numwant={numwant}"));
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
    encode_get("[::1]:6969", "/announce?k=v", &encoded, "test/1.0", &mut head);
    let response = house.connect("::1").exchange(&head).unwrap();
    let body = AnnounceResponse::decode(&response.body).unwrap();
    assert_eq!((body.complete, body.downloaded), (Some(1), Some(1)));
}
