//! Scrapes, of some torrents and of all.

use crate::support::{HASH, House, announce, hash, reason};
use etracker_core::announce::Counts;
use etracker_core::http::query::ScrapeQuery;
use etracker_core::http::request::encode_get;
use etracker_core::http::response::{Failure, Retry, ScrapeResponse};
use etracker_core::http::{HEAD_MAX, Step};
use etracker_core::stats::Count;
use etracker_core::{Config, InfoHash};

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
    // The 32 shards are walked in order, so that by half of the steps some torrents are collected and others are not.
    let step = (0..16).fold(step, |_, _| client.go_on());
    for (info_hash, _) in &listed {
        assert!(house.tracker.swarms().remove(info_hash));
    }
    client.follow(step);
    let body = client.responses().remove(0).body;
    let left: Vec<_> = ScrapeResponse::decode(&body).unwrap().iter().collect();
    assert!((1..10).contains(&left.len()), "{} of 10", left.len());
    assert!(left.iter().all(|(_, counts)| *counts == Counts::default()));
}
