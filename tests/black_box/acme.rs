//! Certificates from a directory: pebble, Let's Encrypt's server for tests, which rejects a fifth of all nonces here.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::process::{Child, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::Signal;

use super::harness::{Ended, Folder, Tracker, free_port, other, run};
use super::recipes::{HTTPS, options, recipe};

#[test]
#[ignore = "needs pebble, openssl and curl, and takes a minute"]
fn a_certificate_is_issued_served_renewed_and_kept() {
    let folder = Folder::new("acme");
    let tls_port = free_port();
    let mut pebble = Pebble::new(&folder, tls_port);

    // Without a directory there is no certificate, and clients get an alert.
    let tracker = start(&folder, &pebble, tls_port);
    tracker.complains("there is no new certificate");
    let handshake = handshake(tls_port);
    assert!(handshake.contains("alert"), "{handshake}");

    let began = Instant::now();
    pebble.serve();
    wait_long(|| announces(&pebble, tls_port));
    assert!(began.elapsed() < ISSUED_WITHIN);
    let first = served(tls_port);
    assert_eq!(first, serial(&pebble.kept_at(&folder)));
    let mode = fs::metadata(pebble.kept_at(&folder))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // Renewed while it serves, also by a directory that has forgotten the account.
    wait_long(|| served(tls_port) != first);
    pebble.stop();
    pebble.serve();
    wait_long(|| announces(&pebble, tls_port));

    // Kept for the next start, which serves it without a directory.
    pebble.stop();
    assert!(tracker.stop(Signal::TERM).status.success());
    let last = serial(&pebble.kept_at(&folder));
    let _tracker = start(&folder, &pebble, tls_port);
    assert_eq!(served(tls_port), last);
}

#[test]
#[ignore = "needs pebble, openssl and curl"]
fn of_a_name_that_leads_elsewhere_one_line_tells_and_the_certificate_stays() {
    let folder = Folder::new("acme-elsewhere");
    let (tls_port, elsewhere) = (free_port(), free_port());
    let mut pebble = Pebble::new(&folder, elsewhere);
    pebble.serve();
    let before = keep_old_certificate(&pebble.kept_at(&folder));
    let tracker = start(&folder, &pebble, tls_port);
    let line = tracker.complains("there is no new certificate");
    assert!(
        line.contains(NAME) && line.contains("does not see that the name leads here"),
        "{line}"
    );
    assert!(line.contains(&format!("127.0.0.1:{elsewhere}")), "{line}");
    assert_eq!(served(tls_port), before);
}

#[test]
#[ignore = "needs root, pebble, openssl and curl"]
fn without_rights_and_in_a_new_root_a_certificate_is_issued_renewed_and_kept() {
    for is_inside in [false, true] {
        let folder = Folder::new("acme-rights");
        let tls_port = free_port();
        let mut pebble = Pebble::new(&folder, tls_port);
        pebble.serve();
        let root = Folder::new("acme-root");
        for folder in [&folder, &root] {
            fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
            chown(folder.path(""), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        // Inside of the root the path is relative to it.
        let (outside, inside) = (folder.path("state"), root.path("state"));
        let (state, seen) = if is_inside {
            ("/state", &inside)
        } else {
            (&*outside, &outside)
        };
        let jail = root.path("");
        let rights = ["--user", "nobody", "--chroot", &jail];
        let rights = &rights[..if is_inside { 4 } else { 2 }];
        let tracker = start_with(&pebble, tls_port, state, rights);
        wait_long(|| announces(&pebble, tls_port));
        let first = served(tls_port);
        wait_long(|| served(tls_port) != first);
        let kept = format!("{seen}/127.0.0.1-{}-dir/{NAME}.pem", pebble.port);
        assert_eq!(fs::metadata(&kept).unwrap().uid(), NOBODY);
        pebble.stop();
        assert!(tracker.stop(Signal::TERM).status.success());
        let last = serial(&kept);
        let _tracker = start_with(&pebble, tls_port, state, rights);
        assert_eq!(served(tls_port), last);
    }
}

#[test]
#[ignore = "needs root"]
fn a_folder_that_the_user_cannot_write_ends_the_start() {
    let folder = Folder::new("acme-not-nobodys");
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let state = folder.path("state");
    let ended = start_that_ends(&state, &["--user", "nobody"]);
    let line = ended.stderr.last().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(
        line.contains(&state) && line.contains("Permission denied"),
        "{line}"
    );
}

#[test]
fn a_folder_that_cannot_be_written_ends_the_start() {
    let folder = Folder::new("acme-folder");
    fs::write(folder.path("file"), "").unwrap();
    for path in ["/proc/acme", "/nowhere/at/all", &folder.path("file")] {
        let ended = start_that_ends(path, &[]);
        let line = ended.stderr.last().unwrap();
        assert!(!ended.status.success(), "{ended:?}");
        assert!(line.contains("--acme-state") && line.contains(path), "{line}");
    }
}

/// A tracker that wants a certificate, and cannot keep it in this folder.
fn start_that_ends(state: &str, rights: &[&str]) -> Ended {
    let (port, tls_port) = (free_port().to_string(), free_port().to_string());
    let ports = ["--port", &port, "--tls-port", &tls_port];
    let acme = ["--acme", NAME, "--acme-state", state];
    run(&[&ports[..], &acme, rights].concat())
}

/// A directory, and a name server by which every name leads to loopback.
struct Pebble {
    port: u16,
    management: u16,
    config: String,
    authority: String,
    root: String,
    log: String,
    names_at: String,
    names: Child,
    server: Option<Child>,
}

impl Pebble {
    /// A directory that is not served yet. It looks for proofs at this port.
    fn new(folder: &Folder, proofs_at: u16) -> Self {
        issue_for_directory(folder);
        let [port, management, names_at, unused] = [(); 4].map(|()| free_port());
        let config = format!(
            r#"{{"pebble": {{"listenAddress": "127.0.0.1:{port}", "managementListenAddress": "127.0.0.1:{management}",
                "certificate": "{}", "privateKey": "{}", "httpPort": 1, "tlsPort": {proofs_at},
                "certificateValidityPeriod": {LIFE_SECS}}}}}"#,
            folder.path("directory.pem"),
            folder.path("directory.key"),
        );
        fs::write(folder.path("pebble.json"), config).unwrap();
        let names_at = format!("127.0.0.1:{names_at}");
        let names = other("pebble-challtestsrv")
            .args(["-dns01", &names_at, "-management", &format!("127.0.0.1:{unused}")])
            .args([
                "-defaultIPv6",
                "",
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self {
            port,
            management,
            config: folder.path("pebble.json"),
            authority: folder.path("authority.pem"),
            root: folder.path("root.pem"),
            log: folder.path("pebble.log"),
            names_at,
            names: names.unwrap(),
            server: None,
        }
    }

    /// Starts it. It knows no account, no order, and has a new key.
    fn serve(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let server = other("pebble")
            .args(["-config", &self.config, "-dnsserver", &self.names_at])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "20")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.server = Some(server.unwrap());
        wait_long(|| self.has_root());
    }

    /// Ends it, and its memory with it.
    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Takes the certificate that clients are to trust.
    fn has_root(&self) -> bool {
        let url = format!("https://127.0.0.1:{}/roots/0", self.management);
        let asked = other("curl")
            .args(["-sf", "--cacert", &self.authority, "-o", &self.root, &url])
            .status();
        asked.unwrap().success()
    }

    fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// Where the tracker keeps the certificate.
    fn kept_at(&self, folder: &Folder) -> String {
        folder.path(&format!("state/127.0.0.1-{}-dir/{NAME}.pem", self.port))
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
        // It may have ended already.
        let _ = self.names.kill();
        let _ = self.names.wait();
    }
}

/// A tracker that gets its certificate from the directory.
fn start(folder: &Folder, pebble: &Pebble, tls_port: u16) -> Tracker {
    start_with(pebble, tls_port, &folder.path("state"), &[])
}

/// By the command of docs/https.md, for this directory.
fn start_with(pebble: &Pebble, tls_port: u16, state: &str, rights: &[&str]) -> Tracker {
    let options: Vec<_> = options(&recipe(HTTPS, "--acme tracker.example.org"))
        .into_iter()
        .map(|option| match option.as_str() {
            "443" => tls_port.to_string(),
            "tracker.example.org" => NAME.to_owned(),
            _ => option,
        })
        .collect();
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let directory = pebble.directory();
    let trial = [
        "--acme-contact",
        "admin@tracker.test",
        "--acme-directory",
        &directory,
        "--acme-ca",
        &pebble.authority,
        "--acme-state",
        state,
    ];
    Tracker::start(&[&options, &trial[..], rights].concat())
}

/// Whether a client that trusts the directory's root, and no other, has an announce answered.
fn announces(pebble: &Pebble, tls_port: u16) -> bool {
    let query = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=6881&uploaded=0&downloaded=0&left=1";
    let answer = other("curl")
        .args(["-sf", "--cacert", &pebble.root])
        .args(["--resolve", &format!("{NAME}:{tls_port}:127.0.0.1")])
        .arg(format!("https://{NAME}:{tls_port}/announce?{query}"))
        .output()
        .unwrap();
    answer.status.success() && text(&answer).contains("8:interval")
}

/// What `openssl` says of a handshake with the tracker.
fn handshake(tls_port: u16) -> String {
    let at = format!("127.0.0.1:{tls_port}");
    let said = other("openssl")
        .args(["s_client", "-connect", &at, "-servername", NAME])
        .output()
        .unwrap();
    text(&said)
}

/// The serial number of the certificate that clients get.
fn served(tls_port: u16) -> String {
    let folder = Folder::new(&format!("acme-served-{tls_port}"));
    fs::write(folder.path("served"), handshake(tls_port)).unwrap();
    serial(&folder.path("served"))
}

/// The serial number of the certificate in a file.
fn serial(path: &str) -> String {
    let serial = other("openssl")
        .args(["x509", "-noout", "-serial", "-in", path])
        .output()
        .unwrap();
    assert!(serial.status.success(), "{serial:?}");
    text(&serial)
}

fn text(output: &Output) -> String {
    [&*output.stdout, &output.stderr]
        .map(String::from_utf8_lossy)
        .concat()
}

/// The certificate by which the directory is known, and that of its authority.
fn issue_for_directory(folder: &Folder) {
    let (mut authority, key) = (CertificateParams::default(), KeyPair::generate().unwrap());
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // By default both certificates have the same name, which looks as if each had issued itself.
    authority.distinguished_name.push(DnType::CommonName, "authority");
    let certificate = authority.self_signed(&key).unwrap();
    fs::write(folder.path("authority.pem"), certificate.pem()).unwrap();
    let (issuer, key) = (Issuer::new(authority, key), KeyPair::generate().unwrap());
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    fs::write(folder.path("directory.pem"), certificate.pem()).unwrap();
    fs::write(folder.path("directory.key"), key.serialize_pem()).unwrap();
}

/// Puts a certificate where the tracker keeps it that is valid, and beyond two thirds of its life. Returns its serial number.
fn keep_old_certificate(path: &str) -> String {
    let (mut params, key) = (
        CertificateParams::new([NAME.to_owned()]).unwrap(),
        KeyPair::generate().unwrap(),
    );
    params.not_before = (SystemTime::now() - 21 * DAY).into();
    params.not_after = (SystemTime::now() + 9 * DAY).into();
    let certificate = params.self_signed(&key).unwrap();
    fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
    fs::write(path, key.serialize_pem() + &certificate.pem()).unwrap();
    serial(path)
}

/// Waits for something that takes as long as a certificate may.
#[track_caller]
fn wait_long(mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < ISSUED_WITHIN, "it does not happen");
        sleep(Duration::from_millis(100));
    }
}

const NAME: &str = "tracker.test";
const NOBODY: u32 = 65534;
/// Certificates are renewed after two thirds of it.
const LIFE_SECS: u64 = 30;
const ISSUED_WITHIN: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
