//! The pages: what they show, to whom, and that they agree.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::thread;
use std::time::Duration;

use etracker_core::InfoHash;
use etracker_core::http::Response;
use serde_json::Value;

use crate::clients::{UdpClient, http_announce, http_get, newcomer};
use crate::harness::{Tracker, happens};
use crate::monitoring::Prometheus;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
const LOCALHOST6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

/// A page as text.
pub(crate) fn page(tracker: &Tracker, path: &str) -> String {
    let response = http_get(LOCALHOST, tracker.v4(), path);
    assert_eq!(response.status, 200, "{path}");
    String::from_utf8(response.body).unwrap()
}

/// `/stats.json`.
pub(crate) fn json(tracker: &Tracker) -> Value {
    serde_json::from_str(&page(tracker, "/stats.json")).unwrap()
}

/// `/metrics` as Prometheus asks for it.
pub(crate) fn open_metrics(tracker: &Tracker) -> String {
    let mut stream = crate::clients::connect(LOCALHOST, tracker.v4());
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                   Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n\r\n";
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
    String::from_utf8(Response::decode(&answer, true).unwrap().unwrap().body).unwrap()
}

/// The number on the line of the stats page that begins with `name`.
fn text(tracker: &Tracker, name: &str) -> u64 {
    let page = page(tracker, "/stats");
    let line = page
        .lines()
        .find(|line| line.split(" = ").next().unwrap().trim() == name);
    let value = line
        .unwrap_or_else(|| panic!("{name} is not in {page}"))
        .split(" = ")
        .nth(1)
        .unwrap();
    let value = value.trim().split(' ').next().unwrap();
    value.replace(',', "").parse().unwrap()
}

fn metric(tracker: &Tracker, name: &str) -> f64 {
    let page = page(tracker, "/metrics");
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in {page}"))
        .parse()
        .unwrap()
}

/// Three peers: one over each protocol and family that differ, one of them a seeder.
fn populate(tracker: &Tracker) {
    let info_hash = InfoHash([7; 20]);
    let mut seeder = newcomer(info_hash, (LOCALHOST, 1001).into());
    seeder.left = 0;
    http_announce(tracker.v4(), &seeder, None);
    UdpClient::connect(LOCALHOST, tracker.v4()).announce(&newcomer(info_hash, (LOCALHOST, 1002).into()));
    let other = newcomer(InfoHash([8; 20]), (LOCALHOST6, 1003).into());
    UdpClient::connect(LOCALHOST6, tracker.v6()).announce(&other);
}

/// Waits until pages show what `populate` did: they are written once a second.
fn shown(tracker: &Tracker) {
    assert!(happens(BETWEEN_PAGES, || json(tracker)["swarms"]["peers"] == 3));
    thread::sleep(Duration::from_millis(1100));
}

/// So slow that the tracker does not tell a reader to ask for pages less often.
pub(crate) const BETWEEN_PAGES: Duration = Duration::from_millis(100);

/// Options with which a tracker is well on a machine that other tests keep busy.
pub(crate) const WELL: &[&str] = &["--max-load-avg", "100"];

#[test]
fn text_json_and_metrics_show_the_same_numbers() {
    let tracker = Tracker::start(&[]);
    populate(&tracker);
    shown(&tracker);
    let json = json(&tracker);
    let swarms = &json["swarms"];
    assert_eq!(swarms["torrents"], 2);
    assert_eq!(swarms["seeders"], serde_json::json!({ "ipv4": 1, "ipv6": 0 }));
    assert_eq!(swarms["leechers"], serde_json::json!({ "ipv4": 1, "ipv6": 1 }));
    for (name, value) in [
        ("torrents", 2),
        ("peers", 3),
        ("seeders.ipv4", 1),
        ("leechers.ipv6", 1),
    ] {
        assert_eq!(text(&tracker, name), value, "{name}");
    }
    let counts = [
        (
            "stats.announce",
            "http_announce",
            "etracker_answers_total{protocol=\"http\",kind=\"announce\"}",
            1,
        ),
        (
            "stats.announce_udp",
            "udp_announce",
            "etracker_answers_total{protocol=\"udp\",kind=\"announce\"}",
            2,
        ),
        (
            "stats.connect_udp",
            "udp_connect",
            "etracker_answers_total{protocol=\"udp\",kind=\"connect\"}",
            2,
        ),
        (
            "stats.send_pass_udp",
            "udp_sent",
            "etracker_peers{family=\"ipv4\",state=\"seeder\"}",
            4,
        ),
        (
            "stats.recv_bytes_udp",
            "udp_received_bytes",
            "etracker_received_bytes_total{protocol=\"udp\"}",
            2 * (16 + 98),
        ),
    ];
    for (line, name, sample, value) in counts {
        assert_eq!(text(&tracker, line), value, "{line}");
        assert_eq!(json["counts"][name], value, "{name}");
        if !sample.contains("peers") {
            assert!(
                (metric(&tracker, sample) - f64::from(u32::try_from(value).unwrap())).abs() < 0.5,
                "{sample}"
            );
        }
    }
    assert!((metric(&tracker, "etracker_torrents") - 2.0).abs() < 0.5);
    assert!(open_metrics(&tracker).ends_with("# EOF\n"));
}

#[test]
fn only_those_who_may_see_pages_see_them() {
    let tracker = Tracker::start(&["--stats-from", "127.0.0.1", "--stats-from", "10.0.0.0/8"]);
    for path in ["/stats", "/stats.json", "/stats.html", "/metrics"] {
        assert_eq!(http_get(LOCALHOST, tracker.v4(), path).status, 200, "{path}");
        assert_eq!(http_get(NEIGHBOUR, tracker.v4(), path).status, 404, "{path}");
        assert_eq!(http_get(LOCALHOST6, tracker.v6(), path).status, 404, "{path}");
    }
    assert!(page(&tracker, "/").starts_with("<!doctype html>"));
    let front = http_get(NEIGHBOUR, tracker.v4(), "/");
    assert!(front.status == 200 && front.body.len() < 200);
    let announce = newcomer(InfoHash([1; 20]), (NEIGHBOUR, 1001).into());
    http_announce(tracker.v4(), &announce, None);
}

#[test]
fn chosen_readers_ask_under_the_trackers_own_names_alone() {
    let tracker = Tracker::start(&["--stats-from", "127.0.0.0/8", "--page-host", "tracker.example"]);
    let own = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let address = tracker.v4().to_string();
    for (host, status) in [
        (address.as_str(), 200),
        ("localhost", 200),
        ("tracker.example:6969", 200),
        (&own, 200),
        ("evil.example", 403),
    ] {
        for path in ["/", "/page.js", "/stats.json", "/metrics"] {
            let mut stream = crate::clients::connect(LOCALHOST, tracker.v4());
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
            let response = Response::decode(&answer, true).unwrap().unwrap();
            assert_eq!(response.status, status, "{host} {path}");
            let body = String::from_utf8(response.body).unwrap();
            assert_eq!(body.contains("--page-host evil.example"), status == 403, "{body}");
        }
        // So slow that the budget of this one address is enough.
        thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn strangers_who_use_up_their_pages_do_not_blind_the_operator() {
    let tracker = Tracker::start(&["--keep-alive"]);
    for _ in 0..5 {
        let mut refused = 0;
        for stranger in 1..8 {
            let from = Ipv4Addr::new(127, 0, 1, stranger).into();
            let mut stream = crate::clients::connect(from, tracker.v4());
            let requests = "HEAD / HTTP/1.1\r\nHost: t\r\n\r\n".repeat(30) + "HEAD / HTTP/1.0\r\n\r\n";
            std::io::Write::write_all(&mut stream, requests.as_bytes()).unwrap();
            let mut answers = String::new();
            std::io::Read::read_to_string(&mut stream, &mut answers).unwrap();
            refused += answers.matches("HTTP/1.1 429 ").count();
        }
        assert!(refused > 0, "they did not ask too often");
        assert_eq!(http_get(LOCALHOST, tracker.v4(), "/metrics").status, 200);
    }
}

#[test]
fn charset_and_locale_are_the_operators() {
    let tracker = Tracker::start(&["--charset", "koi8-r", "--locale", "de_DE.UTF-8"]);
    let page = page(&tracker, "/stats");
    let rss = page
        .lines()
        .find(|line| line.starts_with("rusage.ru_maxrss"))
        .unwrap();
    let (_, value) = rss.split_once('=').unwrap();
    let value = value.trim().trim_end_matches(" (KiB)");
    assert!(value.contains('.') && !value.contains(','), "{value}");
    let mut stream = crate::clients::connect(LOCALHOST, tracker.v4());
    std::io::Write::write_all(&mut stream, b"HEAD /stats HTTP/1.0\r\n\r\n").unwrap();
    let mut head = String::new();
    std::io::Read::read_to_string(&mut stream, &mut head).unwrap();
    assert!(
        head.contains("Content-Type: text/plain; charset=koi8-r\r\n"),
        "{head}"
    );
}

#[test]
fn readers_who_ask_too_often_are_told_and_announces_are_not_held_up() {
    let tracker = Tracker::start(&["--workers", "1"]);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let to = tracker.v4();
                scope.spawn(move || {
                    let statuses = (0..100).map(|_| http_get(LOCALHOST, to, "/stats.json").status);
                    statuses.filter(|&status| status == 429).count()
                })
            })
            .collect();
        let client = UdpClient::connect(LOCALHOST, tracker.v4());
        for port in 1..1000 {
            client.announce(&newcomer(InfoHash([9; 20]), (LOCALHOST, port).into()));
        }
        let refused: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(refused > 0, "eight hundred pages were not too many");
    });
    assert_eq!(
        http_get(NEIGHBOUR, tracker.v4(), "/stats").status,
        200,
        "others still read"
    );
}

/// The live page as a browser shows it.
pub(crate) fn live_page(tracker: &Tracker) -> String {
    let profile = std::env::temp_dir().join(format!(
        "etracker-chromium-{}-{}",
        std::process::id(),
        tracker.port()
    ));
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--virtual-time-budget=3000", "--dump-dom"])
        .arg(format!("http://{}/", tracker.v4()))
        .output()
        .unwrap();
    let _ = std::fs::remove_dir_all(&profile);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs chromium"]
fn the_live_page_shows_the_numbers_of_the_json() {
    let tracker = Tracker::start(&[]);
    populate(&tracker);
    shown(&tracker);
    let dom = live_page(&tracker);
    let json = json(&tracker);
    let sum = |value: &Value| value["ipv4"].as_u64().unwrap() + value["ipv6"].as_u64().unwrap();
    let swarms = &json["swarms"];
    for (id, value) in [
        ("torrents", swarms["torrents"].as_u64().unwrap()),
        ("peers", swarms["peers"].as_u64().unwrap()),
        ("seeders", sum(&swarms["seeders"])),
        ("leechers", sum(&swarms["leechers"])),
        ("interval_secs", json["interval_secs"]["served"].as_u64().unwrap()),
        // Beside the value is the limit: 500 announces a second.
        ("limits", 500),
    ] {
        let tile = dom
            .split(&format!("id=\"{id}\""))
            .nth(1)
            .unwrap_or_else(|| panic!("no {id} in {dom}"));
        let (_, shown) = tile.split_once('>').unwrap();
        let digits: String = shown
            .split('<')
            .next()
            .unwrap()
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        assert_eq!(digits, value.to_string(), "{id}");
    }
    for url in [
        format!("http://{}/announce", tracker.v4()),
        format!("udp://{}/announce", tracker.v4()),
    ] {
        assert!(dom.contains(&url), "{url}");
    }
    assert_eq!(dom.matches("<svg").count(), 7);
    assert!(
        !dom.contains("style="),
        "the policy forbids styles within the page"
    );
    assert!(dom.contains("<p id=\"trouble\" role=\"status\"></p>"), "{dom}");
}

#[test]
#[ignore = "needs promtool"]
fn promtool_has_nothing_to_say_about_the_metrics_in_either_form() {
    let tracker = Tracker::start(&[]);
    populate(&tracker);
    let text = page(&tracker, "/metrics");
    promtool(&text);
    assert!(text.contains("# TYPE etracker_answers_total counter\n"), "{text}");
    promtool(&prometheus_text(&open_metrics(&tracker)));
}

fn promtool(metrics: &str) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// `OpenMetrics` as the older format that promtool reads: there the names of counters end with `_total` everywhere.
fn prometheus_text(metrics: &str) -> String {
    let counters: Vec<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let lines = metrics
        .lines()
        .filter(|line| !line.starts_with("# UNIT") && *line != "# EOF");
    let lines = lines.map(|line| {
        let counter = counters.iter().find(|name| line.split(' ').nth(2) == Some(name));
        match counter.filter(|_| line.starts_with("# ")) {
            Some(name) => line.replacen(name, &format!("{name}_total"), 1),
            None => line.to_owned(),
        }
    });
    lines.map(|line| line + "\n").collect()
}

#[test]
#[ignore = "needs prometheus"]
fn prometheus_scrapes_the_metrics() {
    let tracker = Tracker::start(&["--stats-from", "127.0.0.1"]);
    populate(&tracker);
    let prometheus = Prometheus::before(&tracker);
    let is = |query: &str, value: &str| {
        let found = prometheus.query(query).unwrap_or_default();
        found.first().is_some_and(|found| found["value"][1] == value)
    };
    let scraped = happens(BETWEEN_PAGES, || is("up", "1") && is("etracker_torrents", "2"));
    let counted = is("etracker_answers_total{protocol=\"udp\",kind=\"announce\"}", "2");
    assert!(scraped && counted, "scraped: {scraped}, counted: {counted}");
}
