//! Detection of proxies and translators that hide clients.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use etracker_core::http::query::{AnnounceQuery, PeerForm};
use etracker_core::http::response::AnnounceResponse;
use etracker_core::{InfoHash, announce::Counts};
use rustix::process::Signal;
use serde_json::Value;

use crate::clients::{UdpClient, connect, http_announce, http_get, newcomer, read_response};
use crate::harness::{Folder, Tracker, free_port, run, wait_until};
use crate::pages::{WELL, live_page};

#[test]
#[ignore = "needs nginx"]
fn a_proxy_that_is_not_heeded_is_noticed_and_its_address_stored_by_nobody() {
    let tracker = Tracker::start(&[]);
    let proxy = Nginx::before(&tracker);
    for number in 0..150 {
        proxy.announce([127, 0, 1, 1].into(), number);
    }
    let line = tracker.complains("not heeded");
    assert!(
        line.contains("WARN") && line.contains("a proxy at 127.0.0.1"),
        "{line}"
    );
    assert!(line.contains("--x-forwarded-for"), "{line}");
    assert_told_everywhere(&tracker, &[], "header_ignored");
    assert_eq!(counts(&tracker), Counts::default(), "nobody is stored");
    assert_said_once(tracker);
}

#[test]
#[ignore = "needs nginx"]
fn behind_a_proxy_that_is_heeded_clients_are_seen() {
    let tracker = Tracker::start(&["--x-forwarded-for"]);
    let proxy = Nginx::before(&tracker);
    for number in 0..150u8 {
        proxy.announce([127, 0, 1, number].into(), number.into());
    }
    assert_eq!(counts(&tracker).incomplete, 150);
    assert_eq!(hidden(&tracker), Vec::<Value>::new());
    let peers = proxy.announce([127, 0, 2, 1].into(), 1);
    assert!(!peers.is_empty());
    assert!(
        peers.iter().all(|peer| peer.ip() != Ipv4Addr::LOCALHOST),
        "{peers:?}"
    );
}

#[test]
#[ignore = "needs nginx"]
fn a_proxy_that_other_trusted_ones_replace_is_noticed_and_stored_by_nobody() {
    let options = ["--x-forwarded-for", "--trusted-proxy", "172.64.0.0/13"];
    let tracker = Tracker::start(&options);
    let proxy = Nginx::before(&tracker);
    for number in 0..150 {
        proxy.announce([127, 0, 1, 1].into(), number);
    }
    let line = tracker.complains("not heeded");
    assert!(
        line.contains("WARN") && line.contains("--trusted-proxy 127.0.0.1"),
        "{line}"
    );
    assert_told_everywhere(&tracker, &options, "header_ignored");
    assert_eq!(counts(&tracker), Counts::default(), "nobody is stored");
    assert_said_once(tracker);
}

#[test]
fn the_hundredth_header_that_is_not_heeded_is_told_and_the_ninety_ninth_is_not() {
    let tracker = Tracker::start(&[]);
    let announce = |number: u16| forwarded(&tracker, "X-Real-IP: 9.9.9.9", number);
    (0..99).for_each(announce);
    let page = http_get(Ipv4Addr::LOCALHOST.into(), tracker.v4(), "/stats.json");
    let stats: Value = serde_json::from_slice(&page.body).unwrap();
    assert_eq!(stats["counts"]["http_forwarded_ignored_local"], 99);
    assert_eq!(stats["hidden_clients"], Value::Array(Vec::new()));
    announce(99);
    tracker.complains("not heeded");
    assert_told_everywhere(&tracker, &[], "header_ignored");
    assert_eq!(counts(&tracker), Counts::default());
}

#[test]
#[ignore = "needs chromium"]
fn the_live_page_shows_what_hides_clients_and_nothing_that_is_in_order() {
    let tracker = Tracker::start(&[&["--log-level", "info"], WELL].concat());
    let home = IpAddr::from(Ipv4Addr::LOCALHOST);
    for port in 7000..7100 {
        http_announce(tracker.v4(), &newcomer(HASH, (home, port).into()), None);
    }
    tracker.complains("most announces over HTTP");
    assert!(live_page(&tracker).contains("data-findings=\"\">All well<"));
    (0..100).for_each(|number| forwarded(&tracker, "Forwarded: for=9.9.9.9", number));
    tracker.complains("not heeded");
    let dom = live_page(&tracker);
    assert!(
        dom.contains("data-findings=\"clients\"") && dom.contains("--x-forwarded-for"),
        "{dom}"
    );
}

#[test]
fn one_private_address_behind_all_and_the_peers_that_it_is_refused_are_told() {
    let tracker = Tracker::start(&["--x-forwarded-for"]);
    for number in 0..200 {
        forwarded(&tracker, "X-Forwarded-For: 172.17.0.1", number);
    }
    let line = tracker.complains("most announces over HTTP come from 172.17.0.1");
    assert!(line.contains("WARN"), "{line}");
    assert_told_everywhere(&tracker, &["--x-forwarded-for"], "one_address_http");
    assert_told_everywhere(&tracker, &["--x-forwarded-for"], "address_full");
}

#[test]
fn proxies_that_name_no_client_are_told() {
    let tracker = Tracker::start(&["--x-forwarded-for"]);
    (0..100).for_each(|number| forwarded(&tracker, "Accept: */*", number));
    tracker.complains("without a valid X-Forwarded-For");
    assert_told_everywhere(&tracker, &["--x-forwarded-for"], "header_missing");
}

#[test]
fn clients_on_loopback_are_ordinary() {
    let tracker = Tracker::start(&["--log-level", "info"]);
    let home = IpAddr::from(Ipv4Addr::LOCALHOST);
    for port in 7000..7100 {
        http_announce(tracker.v4(), &newcomer(HASH, (home, port).into()), None);
    }
    let line = tracker.complains("most announces over HTTP come from 127.0.0.1");
    assert!(line.contains("INFO"), "{line}");
    let hidden = hidden(&tracker);
    assert_eq!(
        (&hidden[0]["cause"], &hidden[0]["ordinary"]),
        (&"one_address_http".into(), &true.into())
    );
    assert_eq!(gauge(&tracker, "one_address_http"), "0");
    assert_eq!(counts(&tracker).incomplete, 100);
}

/// On the pages, as a metric, and by doctor.
fn assert_told_everywhere(tracker: &Tracker, options: &[&str], cause: &str) {
    wait_until(|| hidden(tracker).iter().any(|hidden| hidden["cause"] == cause));
    wait_until(|| gauge(tracker, cause) == "1");
    wait_until(|| page(tracker, "/stats").contains(&format!("clients_hidden = {cause}: ")));
    let port = tracker.port().to_string();
    let ended = run(&[&["doctor", "--bind", "127.0.0.1", "--port", &port], options].concat());
    let hidden = hidden(tracker);
    let told = hidden.iter().find(|hidden| hidden["cause"] == cause).unwrap();
    let what = told["what"].as_str().unwrap();
    let mut lines = ended.stdout.iter();
    assert!(
        lines.any(|line| line.starts_with("warning  clients") && line.contains(what)),
        "{ended:?}"
    );
}

fn assert_said_once(tracker: Tracker) {
    let ended = tracker.stop(Signal::TERM);
    let again = ended.stderr.iter().filter(|line| line.contains("not heeded"));
    assert_eq!(again.count(), 0, "{ended:?}");
}

fn page(tracker: &Tracker, path: &str) -> String {
    let response = http_get(Ipv4Addr::LOCALHOST.into(), tracker.v4(), path);
    String::from_utf8(response.body).unwrap()
}

fn hidden(tracker: &Tracker) -> Vec<Value> {
    let stats: Value = serde_json::from_str(&page(tracker, "/stats.json")).unwrap();
    stats["hidden_clients"].as_array().unwrap().clone()
}

fn gauge(tracker: &Tracker, cause: &str) -> String {
    let metrics = page(tracker, "/metrics");
    let start = format!("etracker_clients_hidden{{cause=\"{cause}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&start));
    value.unwrap().to_owned()
}

fn counts(tracker: &Tracker) -> Counts {
    UdpClient::connect(Ipv4Addr::LOCALHOST.into(), tracker.v4()).scrape(&[HASH])[0]
}

/// An announce as a proxy on this host passes it on, from a client of its own port.
fn forwarded(tracker: &Tracker, field: &str, number: u16) {
    let mut stream = connect(Ipv4Addr::LOCALHOST.into(), tracker.v4());
    stream.write_all(&request(field, number)).unwrap();
    assert_eq!(read_response(&mut stream).status, 200);
}

fn request(field: &str, number: u16) -> Vec<u8> {
    let query = AnnounceQuery {
        announce: newcomer(HASH, (Ipv4Addr::UNSPECIFIED, 7000 + number).into()),
        form: PeerForm::Compact,
    };
    let mut parameters = Vec::new();
    query.encode(&mut parameters);
    let start = b"GET /announce?".as_slice();
    let end = format!(" HTTP/1.1\r\nHost: tracker\r\n{field}\r\nConnection: close\r\n\r\n");
    [start, &parameters, end.as_bytes()].concat()
}

/// nginx in front of a tracker, as its manual says.
struct Nginx {
    child: Child,
    at: SocketAddr,
    _folder: Folder,
}

impl Nginx {
    fn before(tracker: &Tracker) -> Self {
        let port = free_port();
        let folder = Folder::new(&format!("nginx-{port}"));
        let configuration = folder.path("nginx.conf");
        let root = folder.path("");
        let text = format!(
            "daemon off; master_process off; pid {root}/pid; error_log stderr crit; events {{}}\n\
             http {{ access_log off; client_body_temp_path {root}/a; proxy_temp_path {root}/b;\n\
             fastcgi_temp_path {root}/c; uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;\n\
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{}; proxy_set_header Host $host;\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }} }}\n",
            tracker.v4()
        );
        std::fs::write(&configuration, text).unwrap();
        let child = Command::new("nginx")
            .args(["-p", &root, "-c", &configuration])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until(|| TcpStream::connect(at).is_ok());
        Self {
            child,
            at,
            _folder: folder,
        }
    }

    /// Announces from `from` through the proxy, and gives the peers.
    fn announce(&self, from: IpAddr, number: u16) -> Vec<SocketAddr> {
        let mut stream = connect(from, self.at);
        stream.write_all(&request("Accept: */*", number)).unwrap();
        let response = read_response(&mut stream);
        assert_eq!(response.status, 200);
        let answer = AnnounceResponse::decode(&response.body).unwrap();
        answer.peers().map(|(peer, _)| peer).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const HASH: InfoHash = InfoHash(*b"can you see us there");
