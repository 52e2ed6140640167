//! Heads, statuses, connections that stay open, and those that take too long.

use crate::support::{HASH, House, ID, announce, captures, reason, statuses};
use etracker_core::Config;
use etracker_core::http::request::Request;
use etracker_core::http::response::{AnnounceResponse, ScrapeResponse};
use etracker_core::http::{Misuse, Step};
use etracker_core::stats::Count;

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
fn a_client_client_is_done_when_it_says_so_and_sends_nothing_more() {
    let cases = [
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", true),
        ("\r\nHEAD / HTTP/1.1\r\nConnection: Close\r\n\r\n", true),
        ("GET / HTTP/1.0\r\n\r\n", true),
        ("GET /nothing HTTP/1.0\r\n\r\n", true),
        ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.0\r\n\r\n", true),
        ("GET / HTTP/1.1\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nContent-Length: 3\r\n\r\n", false),
        ("POST / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.1\r\n\r\nno HTTP\r\n\r\n", false),
    ];
    for keep_alive in [true, false] {
        let house = House::new(Config::default().with_keep_alive(keep_alive));
        for (sent, client_is_done) in cases {
            let mut client = house.connect("198.51.100.7");
            client.send(sent.as_bytes());
            let pipelined = !keep_alive && sent.starts_with("GET / HTTP/1.1\r\n\r\nG");
            assert_eq!(client.client_is_done(), client_is_done && !pipelined, "{sent}");
        }
    }
}

#[test]
fn the_last_answer_is_known_for_the_last_while_it_is_written() {
    let house = House::new(Config::default().with_keep_alive(true));
    for (sent, is_ending) in [
        ("GET / HTTP/1.1\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", true),
        ("GET\r\n\r\n", true),
        ("GET / HTTP/1.1\r\n", false),
    ] {
        let mut client = house.connect("198.51.100.7");
        let _ = client.give(sent.as_bytes());
        assert_eq!(client.is_ending(), is_ending, "{sent}");
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
        ("GET ?a HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nname : value\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n name: folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\na: b\0c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\na: b\rc\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\na: b\r\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\na: b\r\n c\0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\na: b\r\n c\rd\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\na\0: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\na\x01: b\r\n\r\n", 400),
        ("GET /\0 HTTP/1.1\r\n\r\n", 400),
        ("GET /?a\rb HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\rX-Forwarded-For: 1.2.3.4\r\n\r\n", 400),
        ("GET /scrape HTTP/1.1\r\n\r\n", 403),
        ("GET /nothing HTTP/1.1\r\n\r\n", 404),
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
fn what_begins_as_no_http_can_is_closed_at_its_first_byte_and_counted() {
    let house = House::new(Config::default().with_keep_alive(true));
    let handshake = [b"\x13BitTorrent protocol".as_slice(), &[0; 48]].concat();
    let openings: [&[u8]; 7] = [
        b"\x16",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
        b"\x80\x2e\x01",
        b"\x05\x01\0",
        b"\0",
        &handshake,
    ];
    for (number, opening) in (1u64..).zip(openings) {
        let mut client = house.connect("198.51.100.7");
        client.send(opening);
        assert!(
            client.received().is_empty() && !client.is_open(),
            "{}",
            opening.escape_ascii()
        );
        assert!(client.client_is_done(), "closing waits for nothing");
        assert_eq!(house.count(Count::HttpForeign), number);
    }
    let mut client = house.connect("198.51.100.7");
    client.exchange(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    client.send(b"\x16");
    assert!(
        !client.is_open() && client.responses().is_empty(),
        "after a request too"
    );
    for opening in [b"G".as_slice(), b" ", b"{\"a\"", b"\r", b"\n", b"~"] {
        let mut client = house.connect("198.51.100.7");
        client.send(opening);
        assert!(client.is_open(), "{} may be text", opening.escape_ascii());
    }
    assert_eq!(house.count(Count::HttpForeign), 8);
    assert_eq!(
        (house.count(Count::Http400), house.count(Count::HttpFailure)),
        (0, 0)
    );
}

#[test]
fn heads_are_taken_as_clients_write_them() {
    let target = format!("/announce?{HASH}&{ID}&port=7");
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
        // HTTP/1.1 without Host, on purpose; other control bytes than NUL and CR may stay (RFC 9110, section 5.5).
        format!("GET {target} HTTP/1.1\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\na:\x01\t\x7f\u{e9}\r\n\r\n"),
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
fn a_url_may_go_without_a_path() {
    let house = House::new(Config::default());
    let mut client = house.connect("198.51.100.7");
    let response = client.exchange(b"GET http://tracker.example?a HTTP/1.1\r\n\r\n");
    assert_eq!(response.unwrap().status, 200);
}

#[test]
fn a_url_names_its_host_and_a_path_does_not() {
    for (target, authority) in [
        ("/stats", None),
        ("http://tracker.example:80/stats", Some("tracker.example:80")),
        ("HTTPS://[2001:db8::1]?a", Some("[2001:db8::1]")),
        ("http:///stats", Some("")),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: other.example\r\n\r\n");
        let request = Request::parse(head.as_bytes()).unwrap();
        assert_eq!(request.authority(), authority.map(str::as_bytes), "{target}");
        let hosts: Vec<_> = request.fields("host").map(<[u8]>::trim_ascii).collect();
        assert_eq!(hosts, [b"other.example"]);
    }
}

#[test]
fn the_front_page_is_at_any_number_of_slashes() {
    for path in ["/", "//", "///"] {
        let house = House::new(Config::default());
        let head = format!("GET {path} HTTP/1.1\r\n\r\n");
        let response = house.connect("198.51.100.7").exchange(head.as_bytes()).unwrap();
        assert_eq!(response.status, 200, "{path}");
        assert!(response.body.starts_with(b"etracker, "), "{path}");
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
    client.send(announce("port=7").replace("GET", "HEAD").as_bytes());
    let text = String::from_utf8(client.received().to_vec()).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n"),
        "{text}"
    );
    let mut other = house.connect("198.51.100.7");
    let whole = other.exchange(announce("port=7").as_bytes()).unwrap();
    assert!(text.contains(&format!("Content-Length: {}\r\n", whole.body.len())));
}

#[test]
fn requests_cut_to_single_bytes_are_answered_and_half_closed_ones_too() {
    let house = House::new(Config::default());
    let mut client = house.connect("198.51.100.7");
    for byte in announce("port=7").as_bytes() {
        client.send(&[*byte]);
    }
    assert_eq!(client.responses().len(), 1);

    let mut client = house.connect("198.51.100.7");
    client.send(announce("port=7").as_bytes());
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
fn what_happens_is_counted() {
    let house = House::new(Config::default().with_keep_alive(true));
    let mut client = house.connect("2001:db8::7");
    client.exchange(announce("port=7").as_bytes()).unwrap();
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

#[test]
fn a_call_out_of_order_closes_the_connection_and_is_named() {
    let house = House::new(Config::default());
    let request = b"GET /scrape HTTP/1.1\r\n\r\n";
    let mut client = house.connect("192.0.2.1");
    assert_eq!(client.misuse(), None);
    assert_eq!(client.go_on(), Step::Close);
    assert_eq!(client.misuse(), Some(Misuse::RespondedWhileReading));
    assert_eq!(client.go_on(), Step::Close);
    assert_eq!(
        client.misuse(),
        Some(Misuse::RespondedWhileReading),
        "the first is kept"
    );

    let mut client = house.connect("192.0.2.1");
    assert!(matches!(client.give(request), Step::Write(_)));
    assert_eq!(client.give(request), Step::Close);
    assert_eq!(client.misuse(), Some(Misuse::ReceivedWhileWriting));

    let mut client = house.connect("192.0.2.1");
    assert!(matches!(client.give(request), Step::Write(_)));
    assert_eq!((client.go_on(), client.misuse()), (Step::Close, None));
    assert_eq!(client.give(request), Step::Close);
    assert_eq!(client.misuse(), Some(Misuse::ReceivedAfterClose));
}
