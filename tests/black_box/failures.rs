//! Failure messages for clients and for people with `curl`.

use std::io::Write as _;

use etracker_core::http::Response;
use etracker_core::http::response::{AnnounceResponse, Failure, Retry};

use crate::clients::{connect, read_response};
use crate::harness::Tracker;

#[test]
fn a_refused_announce_has_status_200_and_a_readable_reason() {
    let tracker = Tracker::start(&[]);
    for (query, named) in [
        ("peer_id=-XX0100-abcdefghijkl&port=7", "info_hash"),
        (
            "info_hash=1234567890123456789&peer_id=-XX0100-abcdefghijkl&port=7",
            "info_hash",
        ),
        ("info_hash=12345678901234567890&port=7", "peer_id"),
        ("info_hash=12345678901234567890&peer_id=short&port=7", "peer_id"),
        (
            "info_hash=12345678901234567890&peer_id=-XX0100-abcdefghijkl",
            "port",
        ),
        (
            "info_hash=%zz345678901234567890&peer_id=-XX0100-abcdefghijkl&port=7",
            "%",
        ),
    ] {
        let response = get(&tracker, &format!("/announce?{query}"));
        let reason = reason(&response);
        assert_eq!(response.status, 200, "{query}");
        assert!(reason.contains(named), "{query}: {reason}");
    }
}

#[test]
fn a_full_scrape_is_forbidden_unless_it_is_turned_on() {
    let response = get(&Tracker::start(&[]), "/scrape");
    assert_eq!(response.status, 403);
    assert!(reason(&response).contains("scrape"));
    let response = get(&Tracker::start(&["--full-scrape"]), "/scrape");
    assert_eq!(
        (response.status, response.body.as_slice()),
        (200, &b"d5:filesdee"[..])
    );
}

#[test]
fn an_unknown_page_is_not_found() {
    let response = get(&Tracker::start(&[]), "/nothing/here");
    assert_eq!(response.status, 404);
    reason(&response);
}

#[test]
fn a_client_at_a_path_of_its_own_is_told_so_and_not_shown_a_page() {
    let tracker = Tracker::start(&[]);
    for target in [
        "/?info_hash=12345678901234567890&peer_id=-XX0100-abcdefghijkl&port=1",
        "/stats?info_hash=12345678901234567890",
        "/x/announce",
        "/tracker/scrape",
    ] {
        let response = get(&tracker, target);
        assert_eq!(response.status, 200, "{target}");
        assert!(reason(&response).contains("path"), "{target}");
    }
    assert!(get(&tracker, "/").body.starts_with(b"<!"), "people see a page");
}

#[test]
fn all_is_served_under_the_path_prefix_too() {
    let tracker = Tracker::start(&["--path-prefix", "/a/b"]);
    for before in ["", "/a/b"] {
        let query = "info_hash=12345678901234567890&peer_id=-XX0100-abcdefghijkl&port=1";
        let announced = get(&tracker, &format!("{before}/announce?{query}"));
        assert!(AnnounceResponse::decode(&announced.body).is_ok(), "{before}");
        assert!(
            get(&tracker, &format!("{before}/")).body.starts_with(b"<!"),
            "{before}"
        );
        let stats = get(&tracker, &format!("{before}/stats.json"));
        assert!(stats.status == 200 && stats.body.starts_with(b"{"), "{before}");
    }
}

#[test]
fn a_refusal_tells_the_longest_interval_to_those_who_do_not_heed_retry_in() {
    let tracker = Tracker::start(&[
        "--private-peers",
        "deny",
        "--interval",
        "600",
        "--max-interval",
        "1800",
    ]);
    let query = "info_hash=12345678901234567890&peer_id=-XX0100-abcdefghijkl&port=1";
    let response = get(&tracker, &format!("/announce?{query}"));
    let failure = Failure::decode(&response.body).unwrap();
    assert_eq!(failure.retry, Some(Retry::Never));
    assert_eq!(
        (failure.interval_secs, failure.interval_min_secs),
        (Some(1800), Some(900))
    );
}

fn get(tracker: &Tracker, target: &str) -> Response {
    let mut stream = connect(tracker.v4().ip(), tracker.v4());
    write!(stream, "GET {target} HTTP/1.1\r\nHost: tracker\r\n\r\n").unwrap();
    read_response(&mut stream)
}

fn reason(response: &Response) -> String {
    let failure = Failure::decode(&response.body).unwrap();
    String::from_utf8(failure.reason.to_vec()).unwrap()
}
