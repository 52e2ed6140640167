//! Real clients: one seeds a file, another downloads it, and they find each other only through the tracker.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use etracker_core::InfoHash;
use sha1::{Digest as _, Sha1};

use crate::clients::UdpClient;
use crate::harness::{Tracker, free_port};

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

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// What a client needs to take part.
struct Part<'a> {
    torrent: &'a Path,
    /// Where the file is, or is to be.
    folder: &'a Path,
    ip: IpAddr,
    port: u16,
}

/// Starts two clients, one of which has the file, and waits until the other one has it too.
fn exchange(
    scheme: &str,
    ip: IpAddr,
    seeder: impl Fn(&Part<'_>) -> Command,
    leecher: impl Fn(&Part<'_>) -> Command,
) {
    // Clients that are told to come back later would try the patience of the test.
    let tracker = Tracker::start(&["--interval", "60", "--min-interval", "60"]);
    let folder = Folder::new(tracker.port());
    let file = file();
    let torrent = folder.0.join("file.torrent");
    let announce = format!("{scheme}://{}/announce", tracker.at(ip));
    let information = information_of(&file);
    let announce = format!("d8:announce{}:{announce}4:info", announce.len());
    fs::write(&torrent, [announce.as_bytes(), &information, b"e"].concat()).unwrap();

    let [seeding, leeching] = ["seeder", "leecher"].map(|name| folder.0.join(name));
    fs::create_dir(&seeding).unwrap();
    fs::create_dir(&leeching).unwrap();
    fs::write(seeding.join(FILE_NAME), &file).unwrap();
    let part = |folder| Part {
        torrent: &torrent,
        folder,
        ip,
        port: free_port(),
    };
    let end = Instant::now() + EXCHANGE_PATIENCE;
    let _seeder = Client::start(seeder(&part(&seeding)), &seeding);
    let info_hash = InfoHash(Sha1::digest(&information).into());
    while UdpClient::connect(V4, tracker.v4()).scrape(&[info_hash])[0].complete == 0 {
        assert!(Instant::now() < end, "no seeder\n{}", logs(&[&seeding]));
        thread::sleep(POLL_PERIOD);
    }
    let _leecher = Client::start(leecher(&part(&leeching)), &leeching);

    while fs::read(leeching.join(FILE_NAME)).is_ok_and(|received| received != file)
        || !leeching.join(FILE_NAME).exists()
    {
        assert!(Instant::now() < end, "no file\n{}", logs(&[&seeding, &leeching]));
        thread::sleep(POLL_PERIOD);
    }
}

fn libtorrent(part: &Part<'_>) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/black_box/libtorrent_peer.py");
    command.arg(script).arg(part.torrent).arg(part.folder);
    command.args([part.ip.to_string(), part.port.to_string()]);
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

const FILE_NAME: &str = "file.bin";
const LOG_NAME: &str = "client.log";
const PIECE_LEN: usize = 32 * 1024;
const POLL_PERIOD: Duration = Duration::from_millis(100);
/// Clients wait up to half a minute before they take up a new peer.
const EXCHANGE_PATIENCE: Duration = Duration::from_secs(120);
