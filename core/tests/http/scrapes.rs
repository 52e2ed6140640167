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
        .exchange(announce("port=7&left=0").as_bytes())
        .unwrap();
    let asked: Vec<InfoHash> = [9u8, 200, 3, 9, 255, 3, 128]
        .map(|byte| InfoHash([byte; 20]))
        .to_vec();
    let mut query = Vec::new();
    ScrapeQuery::encode(&[asked.clone(), vec![hash()]].concat(), &mut query);
    let mut head = Vec::new();
    encode_get("tracker", "/scrape", &query, "test/1.0", &mut head);
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

const ALL: &[u8] = b"GET /scrape HTTP/1.1\r\n\r\n";

/// A tracker of so many torrents, which answers scrapes of all of them.
fn full_house(torrents: u64) -> House {
    let house = House::new(Config::default().with_full_scrape(true));
    for number in 0..torrents {
        house.announce(&format!("198.51.{}.{}", number / 250, number % 250), number);
    }
    house
}

#[test]
fn slow_readers_of_full_scrapes_keep_nobody_out_and_give_way() {
    let house = full_house(10_000);
    let slow: Vec<_> = (0..6)
        .map(|_| {
            let mut client = house.connect("198.51.100.7");
            let mut step = client.give(ALL);
            while step == Step::Again {
                step = client.go_on();
            }
            assert!(matches!(step, Step::Write(_)));
            client
        })
        .collect();
    let response = house.connect("198.51.100.7").exchange(ALL).unwrap();
    assert_eq!(
        ScrapeResponse::decode(&response.body).unwrap().iter().count(),
        10_000
    );
    // Each takes a piece every two seconds, which is less than 64 KiB/s and in time for the socket timeout of three.
    let mut slow = slow;
    let mut took = 0;
    while !slow.is_empty() {
        took += 1;
        house.advance(2000);
        slow.retain_mut(|client| {
            if client.is_late() {
                client.time_out();
            }
            client.is_open() && matches!(client.go_on(), Step::Write(_))
        });
        assert_eq!(slow.len(), if took < 5 { 6 } else { 0 }, "after {took} pieces");
    }
    assert_eq!(house.count(Count::HttpFullScrapeSlow), 6);
    assert_eq!(house.count(Count::HttpFullScrape), 7);
}

#[test]
fn a_reader_fast_enough_gets_all_of_a_full_scrape_however_long_it_takes() {
    let house = full_house(20_000);
    let mut client = house.connect("198.51.100.7");
    let mut step = client.give(ALL);
    let mut pieces = 0;
    while step != Step::Close {
        if let Step::Write(_) = step {
            // Some 75 KiB/s, in pieces of about 23 KiB.
            house.advance(300);
            assert!(!client.is_late(), "after {pieces} pieces");
            pieces += 1;
        }
        step = client.go_on();
    }
    assert!(pieces > 50, "{pieces} pieces in 17 seconds");
    assert_eq!(house.count(Count::HttpFullScrapeSlow), 0);
}

#[test]
fn full_scrapes_have_places_for_some_and_fewer_of_one_address() {
    let house = full_house(10);
    let begin = |ip: &str| {
        let mut client = house.connect(ip);
        (client.give(ALL), client)
    };
    let of_one: Vec<_> = (0..16).map(|_| begin("198.51.100.7")).collect();
    let mut of_other: Vec<_> = (0..16).map(|host| begin(&format!("2001:db8::{host}"))).collect();
    assert!(
        of_one
            .iter()
            .chain(&of_other)
            .all(|(step, _)| *step == Step::Again)
    );
    let refused = |ip: &str| {
        let response = house.connect(ip).exchange(ALL).unwrap();
        let failure = Failure::decode(&response.body).unwrap();
        assert_eq!((response.status, failure.retry), (200, Some(Retry::Minutes(1))));
    };
    refused("198.51.100.8");
    of_other.pop();
    refused("198.51.100.7");
    let response = house.connect("198.51.100.8").exchange(ALL).unwrap();
    assert_eq!(ScrapeResponse::decode(&response.body).unwrap().iter().count(), 10);
    let mut client = house.connect("198.51.100.8");
    client.send(b"HEAD /scrape HTTP/1.1\r\n\r\n");
    assert!(client.received().ends_with(b"Connection: close\r\n\r\n"));
}

#[test]
fn who_comes_within_a_minute_reads_what_another_has_collected() {
    let house = full_house(1000);
    let torrents = |client: &mut crate::support::Client<'_>, step| {
        client.follow(step);
        let body = client.responses().remove(0).body;
        ScrapeResponse::decode(&body).unwrap().iter().count()
    };
    let collected = || {
        let mut client = house.connect("198.51.100.7");
        let mut step = client.give(ALL);
        while step == Step::Again {
            step = client.go_on();
        }
        (client, step)
    };
    let (mut first, first_step) = collected();
    house.announce("198.51.100.7", 1000);
    house.advance(1000);
    // It finds all collected: its first step writes, and it does not see the newest torrent.
    let mut second = house.connect("198.51.100.8");
    let second_step = second.give(ALL);
    assert!(matches!(second_step, Step::Write(_)));
    assert_eq!(torrents(&mut second, second_step), 1000);
    // After a minute the next one collects anew; the first still has its own.
    house.advance(60_000);
    let (mut third, third_step) = collected();
    assert_eq!(torrents(&mut third, third_step), 1001);
    assert_eq!(torrents(&mut first, first_step), 1000);
    // Who left in the middle leaves the rest of collecting to the others.
    let mut leaving = house.connect("198.51.100.7");
    assert_eq!(leaving.give(ALL), Step::Again);
    let mut staying = house.connect("198.51.100.8");
    let step = staying.give(ALL);
    drop(leaving);
    assert_eq!(torrents(&mut staying, step), 1001);
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
