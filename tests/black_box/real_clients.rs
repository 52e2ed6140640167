//! Real clients: one seeds a file, another downloads it, and they find each other only through the tracker.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use etracker_core::InfoHash;
use sha1::{Digest as _, Sha1};

#[cfg(feature = "tls")]
use crate::certificates::Ca;
use crate::clients::UdpClient;
use crate::harness::{self, Tracker, free_port};
#[cfg(feature = "tls")]
use crate::pages::json;

#[test]
#[ignore = "needs python3-libtorrent"]
fn libtorrent_fetches_over_http_and_ipv4() {
    exchange("http", V4, libtorrent, libtorrent);
}

#[test]
#[ignore = "needs python3-libtorrent"]
fn libtorrent_fetches_over_http_and_ipv6() {
    exchange("http", V6, libtorrent, libtorrent);
}

#[test]
#[ignore = "needs python3-libtorrent"]
fn libtorrent_fetches_over_udp_and_ipv4() {
    exchange("udp", V4, libtorrent, libtorrent);
}

#[test]
#[ignore = "needs python3-libtorrent"]
fn libtorrent_fetches_over_udp_and_ipv6() {
    exchange("udp", V6, libtorrent, libtorrent);
}

#[test]
#[ignore = "needs aria2"]
fn aria2_fetches_over_http_and_ipv4() {
    exchange("http", V4, aria2, aria2);
}

#[test]
#[ignore = "needs aria2"]
fn aria2_fetches_over_udp_and_ipv4() {
    exchange("udp", V4, aria2, aria2);
}

#[test]
#[ignore = "needs aria2 and transmission-daemon"]
fn aria2_fetches_from_transmission_over_http_and_ipv4() {
    exchange("http", V4, transmission, aria2);
}

#[test]
#[ignore = "needs aria2 and transmission-daemon"]
fn aria2_fetches_from_transmission_over_udp_and_ipv4() {
    exchange("udp", V4, transmission, aria2);
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs curl"]
fn curl_announces_over_https() {
    let (tracker, tls) = secured(&[]);
    for (port, (ip, host)) in [(V4, "127.0.0.1"), (V6, "[::1]"), (V4, "localhost")]
        .into_iter()
        .enumerate()
    {
        let url = format!(
            "https://{host}:{}/announce?info_hash=curlcurlcurlcurlcurl&peer_id=-CU0000-curlcurlcurl",
            tls.port
        );
        let url = format!("{url}&left=0&uploaded=0&downloaded=0&port={}", 1000 + port);
        let curl = |ca: &str| {
            Command::new("curl")
                .args(["-sS", "--cacert", ca, &url])
                .output()
                .unwrap()
        };
        let output = curl(&tls.ca);
        assert!(
            output.status.success() && output.stdout.starts_with(b"d8:complete"),
            "{host}: {output:?}"
        );
        let complete =
            UdpClient::connect(ip, tracker.at(ip)).scrape(&[InfoHash(*b"curlcurlcurlcurlcurl")])[0].complete;
        assert_eq!(complete as usize, port + 1);
        // It does check.
        assert_eq!(curl(&tls.stranger).status.code(), Some(60), "{host}");
    }
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs python3-libtorrent, transmission-daemon, qbittorrent-nox and rtorrent"]
fn clients_announce_nothing_to_a_tracker_whose_certificate_they_do_not_believe() {
    // aria2 completes the handshake and leaves without an alert, as if nothing were wrong.
    let clients: [fn(&Part<'_>) -> Command; 4] = [libtorrent, transmission, qbittorrent, rtorrent];
    for client in clients {
        let (tracker, mut tls) = secured(&[]);
        tls.ca.clone_from(&tls.stranger);
        let exchange = Exchange::new(&tracker, "https", V4, Some(&tls));
        let folder = exchange.folder.0.join("seeder");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(FILE_NAME), &exchange.file).unwrap();
        let _seeder = exchange.start(&folder, client);
        while !is_distrusted(&tracker) {
            assert!(
                Instant::now() < exchange.end,
                "it does not come\n{}",
                logs(&[&folder])
            );
            thread::sleep(POLL_PERIOD);
        }
        let counts = UdpClient::connect(V4, tracker.v4()).scrape(&[exchange.info_hash]);
        assert_eq!(counts[0].complete, 0);
    }
}

/// Whether a client ended a handshake because it does not believe the certificate.
#[cfg(feature = "tls")]
fn is_distrusted(tracker: &Tracker) -> bool {
    json(tracker)["counts"]["tls_distrusted"].as_u64().unwrap() > 0
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs python3-libtorrent"]
fn libtorrent_fetches_over_https_and_ipv4() {
    exchange("https", V4, libtorrent, libtorrent);
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs python3-libtorrent"]
fn libtorrent_fetches_over_https_and_ipv6() {
    exchange("https", V6, libtorrent, libtorrent);
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs aria2"]
fn aria2_fetches_over_https_and_ipv4() {
    exchange("https", V4, aria2, aria2);
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs aria2 and python3-libtorrent"]
fn aria2_fetches_over_https_and_ipv6() {
    exchange("https", V6, libtorrent, aria2);
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs aria2 and transmission-daemon"]
fn aria2_fetches_from_transmission_over_https_and_ipv4() {
    exchange("https", V4, transmission, aria2);
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs python3-libtorrent and transmission-daemon"]
fn libtorrent_fetches_from_transmission_over_https_and_ipv6() {
    exchange("https", V6, transmission, libtorrent);
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs qbittorrent-nox and python3-libtorrent"]
fn qbittorrent_fetches_over_https_and_ipv4() {
    exchange("https", V4, libtorrent, qbittorrent);
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs qbittorrent-nox and python3-libtorrent"]
fn qbittorrent_fetches_over_https_and_ipv6() {
    exchange("https", V6, libtorrent, qbittorrent);
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs rtorrent and python3-libtorrent"]
fn libtorrent_fetches_from_rtorrent_over_https_and_ipv4() {
    exchange("https", V4, rtorrent, libtorrent);
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs rtorrent"]
fn rtorrent_announces_over_https_and_ipv6() {
    // It takes no connections over IPv6.
    let (tracker, tls) = secured(&[]);
    let exchange = Exchange::new(&tracker, "https", V6, Some(&tls));
    let _seeder = exchange.seed(rtorrent);
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// What a client needs to take part.
struct Part<'a> {
    torrent: &'a Path,
    /// Where the file is, or is to be.
    folder: &'a Path,
    ip: IpAddr,
    port: u16,
    /// Whose certificates it believes (PEM), where it is to speak TLS.
    ca: Option<&'a str>,
}

/// The port of a tracker for TLS, and CAs.
struct Secured {
    port: u16,
    /// The CA of its certificate (PEM).
    ca: String,
    /// Another one.
    #[cfg(feature = "tls")]
    stranger: String,
    _folders: [harness::Folder; 2],
}

/// A tracker with a certificate of an own CA, for its addresses and its name.
#[cfg(feature = "tls")]
fn secured(arguments: &[&str]) -> (Tracker, Secured) {
    let port = free_port();
    let folders = ["ca", "stranger"].map(|name| harness::Folder::new(&format!("exchange-{name}-{port}")));
    let [ca, stranger] = folders.each_ref().map(Ca::new);
    let pair = ca.pair(&["localhost", "127.0.0.1", "::1"]);
    let number = port.to_string();
    let tls = [
        "--tls-port",
        &number,
        "--tls-cert",
        &pair.certificate,
        "--tls-key",
        &pair.key,
    ];
    let tracker = Tracker::start(&[&tls[..], arguments].concat());
    let secured = Secured {
        port,
        ca: ca.file,
        stranger: stranger.file,
        _folders: folders,
    };
    (tracker, secured)
}

#[cfg(not(feature = "tls"))]
fn secured(_: &[&str]) -> (Tracker, Secured) {
    unreachable!("tests of TLS are not built")
}

/// Starts two clients, one of which has the file, and waits until the other one has it too.
fn exchange(
    scheme: &str,
    ip: IpAddr,
    seeder: impl Fn(&Part<'_>) -> Command,
    leecher: impl Fn(&Part<'_>) -> Command,
) {
    // Clients that are told to come back later would try the patience of the test.
    let often = ["--interval", "60", "--min-interval", "60"];
    let (tracker, tls) = if scheme == "https" {
        let (tracker, tls) = secured(&often);
        (tracker, Some(tls))
    } else {
        (Tracker::start(&often), None)
    };
    let exchange = Exchange::new(&tracker, scheme, ip, tls.as_ref());
    let _seeder = exchange.seed(seeder);
    exchange.leech(leecher);
}

/// A torrent of one file, and folders of those who have it and want it.
struct Exchange<'a> {
    tracker: &'a Tracker,
    ip: IpAddr,
    tls: Option<&'a Secured>,
    folder: Folder,
    file: Vec<u8>,
    info_hash: InfoHash,
    end: Instant,
}

impl<'a> Exchange<'a> {
    fn new(tracker: &'a Tracker, scheme: &str, ip: IpAddr, tls: Option<&'a Secured>) -> Self {
        let folder = Folder::new(tracker.port());
        let file = file();
        let port = tls.map_or_else(|| tracker.port(), |tls| tls.port);
        let announce = format!("{scheme}://{}/announce", SocketAddr::new(ip, port));
        let information = information_of(&file);
        let announce = format!("d8:announce{}:{announce}4:info", announce.len());
        fs::write(
            folder.0.join(TORRENT_NAME),
            [announce.as_bytes(), &information, b"e"].concat(),
        )
        .unwrap();
        Self {
            tracker,
            ip,
            tls,
            folder,
            file,
            info_hash: InfoHash(Sha1::digest(&information).into()),
            end: Instant::now() + EXCHANGE_PATIENCE,
        }
    }

    /// Starts a client that has the file, and waits until the tracker knows.
    fn seed(&self, client: impl Fn(&Part<'_>) -> Command) -> Client {
        let folder = self.folder.0.join("seeder");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(FILE_NAME), &self.file).unwrap();
        let seeder = self.start(&folder, client);
        let tracker = UdpClient::connect(V4, self.tracker.v4());
        while tracker.scrape(&[self.info_hash])[0].complete == 0 {
            assert!(Instant::now() < self.end, "no seeder\n{}", logs(&[&folder]));
            thread::sleep(POLL_PERIOD);
        }
        seeder
    }

    /// Starts a client that wants the file, and waits until it has it.
    fn leech(&self, client: impl Fn(&Part<'_>) -> Command) {
        let folder = self.folder.0.join("leecher");
        fs::create_dir(&folder).unwrap();
        let _leecher = self.start(&folder, client);
        let received = folder.join(FILE_NAME);
        while fs::read(&received).is_ok_and(|received| received != self.file) || !received.exists() {
            let folders = [&self.folder.0.join("seeder"), &folder];
            assert!(
                Instant::now() < self.end,
                "no file\n{}",
                logs(&folders.map(PathBuf::as_path))
            );
            thread::sleep(POLL_PERIOD);
        }
    }

    fn start(&self, folder: &Path, client: impl Fn(&Part<'_>) -> Command) -> Client {
        let part = Part {
            torrent: &self.folder.0.join(TORRENT_NAME),
            folder,
            ip: self.ip,
            port: free_port(),
            ca: self.tls.map(|tls| tls.ca.as_str()),
        };
        Client::start(client(&part), folder)
    }
}

fn libtorrent(part: &Part<'_>) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/black_box/libtorrent_peer.py");
    command.arg(script).arg(part.torrent).arg(part.folder);
    command.args([part.ip.to_string(), part.port.to_string()]);
    command.envs(part.ca.map(|ca| ("SSL_CERT_FILE", ca)));
    command
}

/// It takes up the torrent from its command line, and knows the same library as [`libtorrent`].
#[cfg(feature = "tls")]
fn qbittorrent(part: &Part<'_>) -> Command {
    let configuration = part.folder.join("qBittorrent/config");
    fs::create_dir_all(&configuration).unwrap();
    let (port, pages) = (part.port, free_port());
    let settings = format!(
        "[LegalNotice]\nAccepted=true\n[BitTorrent]\nSession\\Port={port}\nSession\\DHTEnabled=false\n\
         Session\\LSDEnabled=false\nSession\\PeXEnabled=false\nSession\\MultiConnectionsPerIp=true\n\
         Session\\ValidateHTTPSTrackerCertificate=true\nSession\\DefaultSavePath={}\n[Network]\n\
         PortForwardingEnabled=false\n[Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\Port={pages}\n",
        part.folder.display()
    );
    fs::write(configuration.join("qBittorrent.conf"), settings).unwrap();
    let mut command = Command::new("qbittorrent-nox");
    command.arg(format!("--profile={}", part.folder.display()));
    command
        .args(["--skip-dialog=true", "--add-paused=false"])
        .arg(part.torrent);
    command.envs(part.ca.map(|ca| ("SSL_CERT_FILE", ca)));
    command
}

/// It seeds alone: of its answers it takes up no peer at a loopback address.
#[cfg(feature = "tls")]
fn rtorrent(part: &Part<'_>) -> Command {
    let session = part.folder.join("session");
    fs::create_dir(&session).unwrap();
    let settings = format!(
        "system.daemon.set = true\nsession.path.set = {}\ndirectory.default.set = {}\n\
         network.port_range.set = {port}-{port}\nnetwork.port_random.set = no\ndht.mode.set = disable\n\
         protocol.pex.set = no\ntrackers.use_udp.set = no\npieces.hash.on_completion.set = no\n\
         network.http.ssl_verify_peer.set = 1\nnetwork.http.ssl_verify_host.set = 1\n\
         network.http.cacert.set = {}\nload.start = {}\n",
        session.display(),
        part.folder.display(),
        part.ca.unwrap_or_default(),
        part.torrent.display(),
        port = part.port,
    );
    let configuration = part.folder.join("rtorrent.rc");
    fs::write(&configuration, settings).unwrap();
    let mut command = Command::new("rtorrent");
    command
        .arg("-n")
        .arg("-o")
        .arg(format!("import={}", configuration.display()));
    command.env("HOME", part.folder).env("TERM", "dumb");
    command
}

fn aria2(part: &Part<'_>) -> Command {
    let mut command = Command::new("aria2c");
    command.args([
        "--no-conf",
        "--show-console-readout=false",
        "--summary-interval=0",
        // Its UDP trackers need the socket of its DHT, which knows no nodes and is barred by the torrent.
        "--enable-dht=true",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        "--check-integrity=true",
        "--file-allocation=none",
        "--seed-ratio=0",
        "--seed-time=10",
    ]);
    command.args(part.ca.map(|ca| format!("--ca-certificate={ca}")));
    command.arg(format!("--listen-port={}", part.port));
    command.arg(format!("--dht-listen-port={}", free_port()));
    command.arg(format!("--dht-file-path={}", part.folder.join("dht").display()));
    command.arg("--dir").arg(part.folder).arg(part.torrent);
    command
}

/// It seeds alone: it would not connect to a loopback address.
fn transmission(part: &Part<'_>) -> Command {
    let configuration = part.folder.join("configuration");
    fs::create_dir(&configuration).unwrap();
    let settings = r#"{ "rpc-enabled": false, "lpd-enabled": false, "pex-enabled": false, "dht-enabled": false,
        "port-forwarding-enabled": false, "utp-enabled": false, "watch-dir-enabled": true, "trash-original-torrent-files": false,
        "start-added-torrents": true }"#;
    fs::write(configuration.join("settings.json"), settings).unwrap();
    let watched = part.folder.join("watched");
    fs::create_dir(&watched).unwrap();
    fs::copy(part.torrent, watched.join("file.torrent")).unwrap();
    let mut command = Command::new("transmission-daemon");
    command.arg("--foreground");
    command.arg("--config-dir").arg(configuration);
    command
        .arg("--download-dir")
        .arg(part.folder)
        .arg("--no-incomplete-dir");
    command.arg("--watch-dir").arg(watched);
    command.args([
        "--peerport",
        &part.port.to_string(),
        "--no-dht",
        "--no-lpd",
        "--no-portmap",
    ]);
    if let Some(ca) = part.ca {
        // Without the first it believes any certificate.
        command.env("TR_CURL_SSL_VERIFY", "1").env("CURL_CA_BUNDLE", ca);
    }
    command
}

/// A running client, ended with the test.
struct Client(Child);

impl Client {
    fn start(mut command: Command, folder: &Path) -> Self {
        let log = fs::File::create(folder.join(LOG_NAME)).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(number: u16) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("exchange-{number}"));
        // Left behind by a test that was killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn logs(folders: &[&Path]) -> String {
    let logs = folders
        .iter()
        .map(|folder| fs::read_to_string(folder.join(LOG_NAME)).unwrap_or_default());
    logs.collect::<Vec<_>>().join("\n")
}

/// Some hundred kilobytes that are different each time.
fn file() -> Vec<u8> {
    let mut file = vec![0; 300_000];
    fastrand::Rng::new().fill(&mut file);
    file
}

/// The info dictionary (BEP 3) of one file, private: peers are to come from the tracker alone (BEP 27).
fn information_of(file: &[u8]) -> Vec<u8> {
    let pieces: Vec<u8> = file.chunks(PIECE_LEN).flat_map(Sha1::digest).collect();
    let before = format!(
        "d6:lengthi{}e4:name{}:{FILE_NAME}12:piece lengthi{PIECE_LEN}e6:pieces{}:",
        file.len(),
        FILE_NAME.len(),
        pieces.len(),
    );
    [before.as_bytes(), &pieces, b"7:privatei1ee"].concat()
}

const TORRENT_NAME: &str = "file.torrent";
const FILE_NAME: &str = "file.bin";
const LOG_NAME: &str = "client.log";
const PIECE_LEN: usize = 32 * 1024;
const POLL_PERIOD: Duration = Duration::from_millis(100);
/// Clients wait up to half a minute before they take up a new peer.
const EXCHANGE_PATIENCE: Duration = Duration::from_secs(120);
