//! HTTPS, as clients meet it.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use etracker_core::http::Response;
use etracker_core::http::response::AnnounceResponse;
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion,
    version,
};

use crate::certificates::Ca;
use crate::clients::{self, http_get};
use crate::harness::{Folder, PATIENCE, Tracker, free_port, happens, run, wait_until};
use crate::pages::{BETWEEN_PAGES, json, live_page, page};

const NAME: &str = "tracker.example";
const REQUEST: &[u8] = b"GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=6881&left=1&compact=1 HTTP/1.1\r\nHost: tracker.example\r\n\r\n";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// A tracker that serves HTTPS, and the files of its certificate.
struct Secured {
    tracker: Tracker,
    port: u16,
    folder: Folder,
}

impl Secured {
    /// Starts it on a port of its own, or the shared one.
    fn start(name: &str, is_shared: bool, arguments: &[&str]) -> Self {
        let folder = Folder::new(name);
        issue(&folder);
        loop {
            let (port, tls_port) = (free_port(), free_port());
            let tls_port = if is_shared { port } else { tls_port };
            let number = tls_port.to_string();
            let (cert, key) = (folder.path("cert.pem"), folder.path("key.pem"));
            let tls = ["--tls-port", &number, "--tls-cert", &cert, "--tls-key", &key];
            match Tracker::start_at(port, &[&tls, arguments].concat()) {
                Ok(tracker) => {
                    let port = tls_port;
                    return Self {
                        tracker,
                        port,
                        folder,
                    };
                }
                Err(ended) => assert!(
                    ended.stderr.iter().any(|line| line.contains("in use")),
                    "{ended:?}"
                ),
            }
        }
    }

    fn at(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        client(&self.folder, versions)
    }
}

/// Writes a new certificate, and its key, into `folder`. Clients find it in `root.pem` too.
fn issue(folder: &Folder) {
    let issued = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    fs::write(folder.path("root.pem"), issued.cert.pem()).unwrap();
    fs::write(folder.path("key.pem"), issued.signing_key.serialize_pem()).unwrap();
    fs::write(folder.path("cert.pem"), issued.cert.pem()).unwrap();
}

/// A client that trusts the certificate in `folder` alone.
fn client(folder: &Folder, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    believing(&folder.path("root.pem"), versions)
}

/// A client that trusts the certificate in this file alone.
fn believing(root: &str, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

fn connect(at: SocketAddr, config: &Arc<ClientConfig>) -> Connection {
    connect_from(Ipv4Addr::LOCALHOST, at, config)
}

fn connect_from(from: Ipv4Addr, at: SocketAddr, config: &Arc<ClientConfig>) -> Connection {
    let name = ServerName::try_from(NAME).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    StreamOwned::new(connection, clients::connect(from.into(), at))
}

/// Whether an announce is answered there under a certificate of this CA.
pub(crate) fn is_served(at: SocketAddr, ca: &str) -> bool {
    announce_as(Ipv4Addr::LOCALHOST.into(), at, ca).is_some()
}

/// The address that the tracker sees of a client at `from`; nothing if it does not answer the announce.
pub(crate) fn announce_as(from: IpAddr, at: SocketAddr, ca: &str) -> Option<IpAddr> {
    let config = believing(ca, &VERSIONS);
    let name = ServerName::try_from(NAME).unwrap();
    let tls = ClientConnection::new(config, name).unwrap();
    let mut connection = StreamOwned::new(tls, clients::connect(from, at));
    let answer = ask(&mut connection, REQUEST).ok()?;
    let response = Response::decode(&answer, true).unwrap().unwrap();
    AnnounceResponse::decode(&response.body).ok()?.external_ip
}

/// Sends `request` and gives what comes until the tracker closes.
fn ask(connection: &mut Connection, request: &[u8]) -> io::Result<Vec<u8>> {
    connection.write_all(request)?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    Ok(answer)
}

fn is_announce(answer: &[u8]) -> bool {
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n");
    answer.starts_with(b"HTTP/1.1 200 OK\r\n")
        && body.is_some_and(|at| answer[at + 4..].starts_with(b"d8:complete"))
}

#[test]
fn announces_are_answered_over_each_version_and_sessions_are_resumed() {
    let secured = Secured::start("tls-versions", false, &["-w", "2"]);
    for version in VERSIONS {
        let config = secured.client(&[version]);
        for kind in [
            HandshakeKind::Full,
            HandshakeKind::Resumed,
            HandshakeKind::Resumed,
        ] {
            let mut connection = connect(secured.at(), &config);
            let answer = ask(&mut connection, REQUEST).unwrap();
            assert!(is_announce(&answer), "{}", String::from_utf8_lossy(&answer));
            assert_eq!(connection.conn.handshake_kind(), Some(kind));
            assert_eq!(connection.conn.protocol_version(), Some(version.version));
        }
    }
    let ended = secured.tracker.stop(Signal::TERM);
    for line in ["  tls_full = 2", "  tls_resumed = 4"] {
        assert!(ended.stdout.iter().any(|said| said == line), "{line}: {ended:?}");
    }
}

#[test]
fn one_port_serves_both_and_a_port_for_tls_alone_says_what_it_is() {
    let plain = |at| {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(REQUEST).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    };
    let shared = Secured::start("tls-shared", true, &[]);
    assert!(is_announce(&plain(shared.at())));
    let mut connection = connect(shared.at(), &shared.client(&VERSIONS));
    assert!(is_announce(&ask(&mut connection, REQUEST).unwrap()));
    let alone = Secured::start("tls-alone", false, &[]);
    let told = plain(alone.at());
    assert!(told.starts_with(b"HTTP/1.1 400 ") && told.ends_with(b"this port speaks HTTPS\n"));
    assert!(is_announce(&plain(alone.tracker.v4())));
}

#[test]
fn however_the_requests_of_a_connection_are_cut_the_answers_are_those_of_plain_http() {
    let secured = Secured::start("tls-cut", false, &["-k"]);
    let requests: Vec<u8> = [
        REQUEST,
        b"GET /scrape?info_hash=aaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /announce HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ]
    .concat();
    let config = secured.client(&VERSIONS);
    let dated = |answers: &[u8]| {
        let text = String::from_utf8_lossy(answers).into_owned();
        let lines = text.lines().filter(|line| !line.starts_with("Date:"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let mut plain = TcpStream::connect(secured.tracker.v4()).unwrap();
    plain.write_all(&requests).unwrap();
    let mut expected = Vec::new();
    plain.read_to_end(&mut expected).unwrap();
    assert!(expected.len() > 200);
    for len in [1, 7, 64, 1000] {
        let mut connection = connect(secured.at(), &config);
        for piece in requests.chunks(len) {
            // A record for each piece.
            connection.write_all(piece).unwrap();
        }
        let mut answers = Vec::new();
        connection.read_to_end(&mut answers).unwrap();
        assert_eq!(dated(&answers), dated(&expected), "{len}");
    }
}

#[test]
fn certificates_are_reloaded_on_a_signal_and_when_they_change_and_bad_ones_are_refused() {
    let arguments: &[&str] = if cfg!(feature = "testing") {
        &["--look-at-certificates", "20"]
    } else {
        &[]
    };
    let mut secured = Secured::start("tls-reload", false, arguments);
    let serves = |secured: &Secured| {
        let mut connection = connect(secured.at(), &secured.client(&VERSIONS));
        ask(&mut connection, REQUEST).is_ok_and(|answer| is_announce(&answer))
    };
    assert!(serves(&secured));
    issue(&secured.folder);
    if cfg!(feature = "testing") {
        secured
            .tracker
            .hears_of("certificates have changed: the new certificates are in force");
    } else {
        secured.tracker.signal(Signal::HUP);
        secured.tracker.hears_of("the new certificates are in force");
    }
    assert!(serves(&secured));
    let key = fs::read(secured.folder.path("key.pem")).unwrap();
    for (content, complaint) in [
        (&b"nothing"[..], "holds no private key"),
        (
            &rcgen::KeyPair::generate().unwrap().serialize_pem().into_bytes(),
            "holds the key of another certificate",
        ),
    ] {
        fs::write(secured.folder.path("key.pem"), content).unwrap();
        secured.tracker.signal(Signal::HUP);
        let line = secured.tracker.complains(complaint);
        assert!(
            line.contains("the certificates are not reloaded") && line.contains("--tls-key="),
            "{line}"
        );
        assert!(serves(&secured));
    }
    fs::write(secured.folder.path("key.pem"), key).unwrap();
    secured.tracker.signal(Signal::HUP);
    secured.tracker.hears_again("the new certificates are in force");
    assert!(serves(&secured));
}

#[test]
fn pages_show_certificates_and_handshakes() {
    let folder = Folder::new("tls-pages");
    let ca = Ca::new(&folder);
    let pairs = [
        ca.valid(&[NAME, "*.b.example"], -20..70),
        ca.valid(&["c.example"], -80..10),
    ];
    let tls_port = free_port();
    let number = tls_port.to_string();
    let files = pairs
        .each_ref()
        .map(|pair| ["--tls-cert", &pair.certificate, "--tls-key", &pair.key]);
    let tracker = Tracker::start(&[&["--tls-port", &number], &files.concat()[..]].concat());
    tracker.complains("the certificate expires soon: 10 days left");
    fs::copy(&ca.file, folder.path("root.pem")).unwrap();
    let at = (Ipv4Addr::LOCALHOST, tls_port).into();
    assert!(is_announce(
        &ask(&mut connect(at, &client(&folder, &VERSIONS)), REQUEST).unwrap()
    ));
    let mut plain = TcpStream::connect(at).unwrap();
    plain.write_all(REQUEST).unwrap();
    plain.read_to_end(&mut Vec::new()).unwrap();
    assert!(happens(BETWEEN_PAGES, || json(&tracker)["counts"]["tls_plain"] == 1));
    let json = json(&tracker);
    assert_eq!(json["counts"]["tls_full"], 1);
    let shown = json["certificates"].as_array().unwrap();
    assert_eq!(shown[0]["names"], serde_json::json!([NAME, "*.b.example"]));
    for (certificate, days, flaws) in [(&shown[0], 70, 0), (&shown[1], 10, 1)] {
        assert_eq!(
            (&certificate["days_left"], &certificate["chain"]),
            (&days.into(), &"whole".into())
        );
        assert_eq!(
            (&certificate["issuer"], &certificate["key"]),
            (&ca.file.clone().into(), &"ECDSA 256".into())
        );
        assert_eq!(certificate["flaws"].as_array().unwrap().len(), flaws);
        assert_eq!(certificate["renewed"], false);
    }
    let text = page(&tracker, "/stats");
    for line in [
        &*format!(
            "certificate = {NAME}, *.b.example: 70 days left, chain whole, issued by {}",
            ca.file
        ),
        "certificate_flaw = c.example: the certificate expires soon: 10 days left",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let metrics = page(&tracker, "/metrics");
    for line in [
        "etracker_tls_handshakes_total{outcome=\"full\"} 1\n",
        "etracker_tls_handshakes_total{outcome=\"plain\"} 1\n",
        "etracker_tls_certificate_flaws{name=\"c.example\",key=\"ECDSA 256\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let expires = shown[1]["expires"].as_u64().unwrap();
    let line = format!(
        "etracker_tls_certificate_expiry_seconds{{name=\"c.example\",key=\"ECDSA 256\"}} {expires}\n"
    );
    assert!(metrics.contains(&line), "{line}: {metrics}");
}

#[test]
#[ignore = "needs chromium"]
fn the_live_page_shows_certificates_and_handshakes() {
    let secured = Secured::start("tls-live", false, &[]);
    assert!(ask(&mut connect(secured.at(), &secured.client(&VERSIONS)), REQUEST).is_ok());
    assert!(happens(
        BETWEEN_PAGES,
        || json(&secured.tracker)["counts"]["tls_full"] == 1
    ));
    thread::sleep(Duration::from_millis(1100));
    let dom = live_page(&secured.tracker);
    let days = json(&secured.tracker)["certificates"][0]["days_left"].to_string();
    for text in [
        format!("https://127.0.0.1:{}/announce", secured.port),
        format!("<th scope=\"row\">{NAME}</th>"),
        format!("id=\"certificate_days_0\" data-value=\"{days}\""),
        "id=\"tls_full\" data-value=\"1\"".to_owned(),
    ] {
        assert!(dom.contains(&text), "{text}: {dom}");
    }
}

#[test]
#[ignore = "needs root"]
fn in_a_new_root_certificates_are_read_again_once_they_are_there() {
    let (folder, root) = (Folder::new("tls-outside"), Folder::new("tls-root"));
    fs::set_permissions(root.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let ca = Ca::new(&folder);
    let pair = ca.valid(&[NAME], -80..30);
    let port = free_port();
    let number = port.to_string();
    let at = (Ipv4Addr::LOCALHOST, port).into();
    let tls = [
        "--tls-port",
        &number,
        "--tls-cert",
        &pair.certificate,
        "--tls-key",
        &pair.key,
    ];
    let rights = ["--user", "nobody", "--chroot", &root.path("")];
    let mut tracker = Tracker::start(&[&tls[..], &rights].concat());
    for file in [&pair.certificate, &pair.key] {
        let said = format!("={file}: No such file or directory");
        assert!(
            tracker.said().iter().any(|line| line.contains(&said)),
            "{:?}",
            tracker.said()
        );
    }
    assert!(is_served(at, &ca.file));
    // What is renewed outside is out of reach: that is said, and the old certificate stays.
    tracker.signal(Signal::HUP);
    let line = tracker.complains("the certificates are not reloaded");
    assert!(line.contains("No such file or directory"), "{line}");
    assert!(is_served(at, &ca.file));
    let renewed = ca.valid(&[NAME], -1..89);
    for (from, to) in [
        (&renewed.certificate, &pair.certificate),
        (&renewed.key, &pair.key),
    ] {
        let inside = root.path(to.trim_start_matches('/'));
        fs::create_dir_all(Path::new(&inside).parent().unwrap()).unwrap();
        fs::copy(from, &inside).unwrap();
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o644)).unwrap();
    }
    tracker.signal(Signal::HUP);
    tracker.hears_of("89 days left");
    tracker.hears_of("the new certificates are in force");
    assert!(is_served(at, &ca.file));
}

#[test]
fn a_hundred_reloads_under_load_fail_no_request() {
    let mut secured = Secured::start("tls-load", false, &["-w", "2"]);
    // The same root is trusted throughout: the files are written anew with the same content.
    let config = secured.client(&VERSIONS);
    let (stop, asked, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let at = secured.at();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let answer = ask(&mut connect(at, &config), REQUEST);
                    asked.fetch_add(1, Ordering::Relaxed);
                    if !answer.is_ok_and(|answer| is_announce(&answer)) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let mut before = 0;
        for round in 0..100 {
            secured.tracker.signal(Signal::HUP);
            secured.tracker.hears_again("the new certificates are in force");
            if round == 9 {
                before = secured.tracker.memory_kib();
            }
        }
        let asked_so_far = asked.load(Ordering::Relaxed);
        wait_until(|| asked.load(Ordering::Relaxed) > asked_so_far);
        stop.store(true, Ordering::Relaxed);
        let after = secured.tracker.memory_kib();
        assert!(after < before + 4096, "{before} KiB, then {after} KiB");
    });
    assert_eq!(failed.load(Ordering::Relaxed), 0);
}

#[test]
fn a_handshake_that_does_not_end_is_closed_and_hostile_bytes_harm_nobody() {
    let secured = Secured::start("tls-hostile", false, &["-e", "1"]);
    let mut slow = TcpStream::connect(secured.at()).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    slow.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    assert_eq!(slow.read(&mut [0; 100]).unwrap_or(0), 0);
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let mut stream = TcpStream::connect(secured.at()).unwrap();
        let mut bytes: Vec<u8> = (0..random.usize(1..3000)).map(|_| random.u8(..)).collect();
        if random.bool() {
            bytes[0] = 0x16;
        }
        let _ = stream.write_all(&bytes);
    }
    let mut connection = connect(secured.at(), &secured.client(&VERSIONS));
    assert!(is_announce(&ask(&mut connection, REQUEST).unwrap()));
    let ended = secured.tracker.stop(Signal::TERM);
    assert!(ended.status.success(), "{ended:?}");
    assert!(
        ended
            .stdout
            .iter()
            .any(|line| line.starts_with("  tls_malformed = ")),
        "{ended:?}"
    );
}

#[test]
fn a_source_of_too_many_handshakes_is_turned_away_whether_it_completes_them_or_not_and_others_are_served() {
    let limits = [
        "-w",
        "1",
        "--limit-exempt",
        "none",
        "--limit-rate",
        "1",
        "--limits",
        "on",
    ];
    let secured = Secured::start("handshakes", false, &limits);
    let config = secured.client(&VERSIONS);
    let other = Ipv4Addr::new(127, 77, 0, 1);
    // Begins a handshake, and leaves after the tracker's part of it; whether there was one.
    let begin = || {
        let mut abandoned = connect(secured.at(), &config);
        abandoned.conn.write_tls(&mut abandoned.sock).unwrap();
        abandoned.sock.read(&mut [0; 16 << 10]).unwrap_or_default() > 0
    };
    // Forty announces' worth at once, and as much again.
    let made = (0..1000).find(|_| !begin());
    assert!(made.is_some_and(|made| made >= 4), "{made:?}");
    assert!(ask(&mut connect(secured.at(), &config), REQUEST).is_err());
    let answer = ask(&mut connect_from(other, secured.at(), &config), REQUEST).unwrap();
    assert!(is_announce(&answer), "{}", answer.escape_ascii());

    let metrics = http_get(other.into(), secured.tracker.v4(), "/metrics");
    let metrics = String::from_utf8(metrics.body).unwrap();
    let sample = "etracker_limited_total{class=\"handshake\",prefix=\"32\",verdict=\"silence\"} ";
    assert!(metrics.lines().any(|line| line.starts_with(sample)), "{metrics}");
    let shown = http_get(other.into(), secured.tracker.v4(), "/stats.json");
    let shown: serde_json::Value = serde_json::from_slice(&shown.body).unwrap();
    let limited = shown["limits"]["limited"].as_array().unwrap();
    assert!(
        limited.iter().any(|one| one["class"] == "handshake"),
        "{limited:?}"
    );
}

#[test]
fn who_is_not_trusted_names_no_client_over_tls_either() {
    let secured = Secured::start(
        "tls-forged",
        false,
        &["--x-forwarded-for", "--trusted-proxy", "192.0.2.1"],
    );
    let forged = b"GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=6881&left=1&compact=1 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n";
    let answer = ask(&mut connect(secured.at(), &secured.client(&VERSIONS)), forged).unwrap();
    let own = b"11:external ip4:\x7f\0\0\x01";
    assert!(
        answer.windows(own.len()).any(|window| window == own),
        "{answer:?}"
    );
}

#[test]
fn the_header_of_the_proxy_protocol_comes_before_tls() {
    let secured = Secured::start(
        "tls-proxied",
        false,
        &["--proxy-protocol", "--trusted-proxy", "127.0.0.1"],
    );
    let config = secured.client(&VERSIONS);
    let announced = |client: &str, request: &[u8]| {
        let mut connection = connect(secured.at(), &config);
        write!(connection.sock, "PROXY TCP4 {client} 192.0.2.1 50000 443\r\n").unwrap();
        ask(&mut connection, request).unwrap()
    };
    assert!(is_announce(&announced("9.9.9.9", REQUEST)));
    let other = String::from_utf8(REQUEST.to_vec())
        .unwrap()
        .replace("bbbb", "cccc");
    let answer = announced("9.9.9.8", other.as_bytes());
    assert!(answer.windows(6).any(|window| window == [9, 9, 9, 9, 0x1a, 0xe1]));
}

#[test]
fn files_that_are_no_pair_are_refused_by_name_at_the_start() {
    let folder = Folder::new("tls-refused");
    issue(&folder);
    let (cert, key, missing) = (
        folder.path("cert.pem"),
        folder.path("key.pem"),
        folder.path("none.pem"),
    );
    let port = free_port().to_string();
    for (cert, key, complaint) in [
        (
            &missing,
            &key,
            format!("--tls-cert={missing}: No such file or directory"),
        ),
        (
            &cert,
            &missing,
            format!("--tls-key={missing}: No such file or directory"),
        ),
        (
            &key,
            &key,
            format!("--tls-cert={key}: holds no certificate (BEGIN CERTIFICATE)"),
        ),
        (&cert, &cert, format!("--tls-key={cert}: holds no private key")),
    ] {
        let ended = run(&[
            "--port",
            &free_port().to_string(),
            "--tls-port",
            &port,
            "--tls-cert",
            cert,
            "--tls-key",
            key,
        ]);
        assert_eq!(ended.status.code(), Some(1));
        assert!(
            ended.stderr.iter().any(|line| line.contains(&complaint)),
            "{complaint}: {ended:?}"
        );
    }
}

#[test]
#[ignore = "needs curl"]
fn curl_announces() {
    let secured = Secured::start("tls-curl", false, &[]);
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
        let (root, port) = (secured.folder.path("root.pem"), secured.port);
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--cacert", &root, "--resolve"])
            .arg(format!("{NAME}:{port}:127.0.0.1"))
            .args(version)
            .arg(format!(
                "https://{NAME}:{port}/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=6881&left=1"
            ))
            .output()
            .unwrap();
        assert!(output.stdout.starts_with(b"d8:complete"), "{output:?}");
    }
}

#[test]
#[ignore = "needs openssl"]
fn openssl_agrees_on_each_version_without_a_name_too_and_not_on_older_ones() {
    let secured = Secured::start("tls-openssl", false, &[]);
    let at = secured.at().to_string();
    for (arguments, succeeds) in [
        (&["-tls1_3"][..], true),
        (&["-tls1_2"], true),
        (&["-tls1_2", "-noservername"], true),
        (&["-tls1_1"], false),
        (&["-tls1_2", "-cipher", "AES128-SHA"], false),
    ] {
        let output = Command::new("openssl")
            .args([
                "s_client",
                "-connect",
                &at,
                "-CAfile",
                &secured.folder.path("root.pem"),
                "-verify_return_error",
            ])
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.success(), succeeds, "{arguments:?}: {output:?}");
    }
}
