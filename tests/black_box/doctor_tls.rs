//! `etracker doctor` about HTTPS.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::certificates::{Ca, Pair};
use crate::harness::{Ended, Folder, Tracker, command, ended, free_port};

const NAME: &str = "tracker.example";

/// What doctor says of a certificate, on a host that trusts this CA alone.
fn doctor((port, tls_port): Ports, pair: &Pair, ca: &str, arguments: &[&str]) -> Ended {
    let (port, tls_port) = (port.to_string(), tls_port.to_string());
    let mut command = command();
    command
        .args([
            "doctor",
            "--bind",
            "127.0.0.1",
            "--port",
            &port,
            "--tls-port",
            &tls_port,
        ])
        .args(["--tls-cert", &pair.certificate, "--tls-key", &pair.key])
        .args(arguments)
        .env("SSL_CERT_FILE", ca)
        .env_remove("SSL_CERT_DIR");
    ended(&command.output().unwrap())
}

/// A port for HTTP and UDP, and one for HTTPS.
type Ports = (u16, u16);

fn ports() -> Ports {
    (free_port(), free_port())
}

/// The lines of this grade about this, each with its remedy.
fn lines(ended: &Ended, grade: &str, about: &str) -> Vec<String> {
    let start = format!("{grade:7}  {about} ");
    let mut lines = ended.stdout.iter().peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with(&start) {
            let remedy = lines.next_if(|line| line.trim_start().starts_with("-> "));
            found.push(line.clone() + remedy.map_or("", |remedy| remedy.trim_start()));
        }
    }
    found
}

#[test]
fn a_certificate_that_clients_trust_is_well_and_https_is_asked() {
    let folder = Folder::new("doctor-tls");
    let ca = Ca::new(&folder);
    let pair = ca.valid(&[NAME, "127.0.0.1"], -10..80);
    for arguments in [&[][..], &["--proxy-protocol"], &["--x-forwarded-for"]] {
        let ports = ports();
        let ended = doctor(ports, &pair, &ca.file, arguments);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let certificate = lines(&ended, "ok", "certificate").join("");
        for text in [NAME, "80 days left, chain whole", &ca.file, "ECDSA 256"] {
            assert!(certificate.contains(text), "{text}: {ended:?}");
        }
        assert_eq!(lines(&ended, "warning", "certificate"), [""; 0], "{ended:?}");
        let at = format!("HTTPS 127.0.0.1:{}", ports.1);
        let asked = lines(&ended, "ok", &at).join("");
        assert!(
            asked.contains("announce answered, asked as tracker.example"),
            "{ended:?}"
        );
    }
}

#[test]
fn what_clients_dislike_about_a_certificate_is_a_warning_and_what_they_refuse_a_fault() {
    let folder = Folder::new("doctor-tls-flaws");
    let ca = Ca::new(&folder);
    let own = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let self_signed = Pair {
        certificate: folder.path("self.pem"),
        key: folder.path("self-key.pem"),
    };
    fs::write(&self_signed.certificate, own.cert.pem()).unwrap();
    fs::write(&self_signed.key, own.signing_key.serialize_pem()).unwrap();
    let unknown = Ca::new(&Folder::new("doctor-tls-unknown"));
    for (pair, grade, what) in [
        (
            ca.valid(&[NAME], -90..-1),
            "fault",
            "has expired: clients refuse it",
        ),
        (ca.valid(&[NAME], 2..90), "fault", "is not valid yet"),
        (ca.valid(&[], -10..80), "fault", "names no host"),
        (
            ca.valid(&[NAME], -77..13),
            "warning",
            "expires soon: 13 days left",
        ),
        (
            without_issuer(ca.valid(&["a.example"], -10..80), &folder),
            "ok",
            "without the certificate of its issuer",
        ),
        (
            broken(ca.valid(&["b.example"], -10..80), &unknown),
            "warning",
            "chain broken",
        ),
        (
            self_signed,
            "warning",
            "self-signed: clients that were not given it",
        ),
    ] {
        let ended = doctor(ports(), &pair, &ca.file, &[]);
        let lines = lines(&ended, grade, "certificate").join("\n");
        assert!(lines.contains(what), "{what}: {ended:?}");
        assert!(grade == "ok" || lines.contains("-> "), "{what}: {ended:?}");
        assert_eq!(ended.status.success(), grade != "fault", "{ended:?}");
    }
}

/// Trusted all the same where its issuer is a root.
fn without_issuer(pair: Pair, folder: &Folder) -> Pair {
    let text = fs::read_to_string(&pair.certificate).unwrap();
    let certificate = folder.path("alone.pem");
    let end = text.find(END).unwrap() + END.len();
    fs::write(&certificate, &text[..end]).unwrap();
    Pair { certificate, ..pair }
}

/// With the certificate of another CA between.
fn broken(pair: Pair, other: &Ca) -> Pair {
    let text = fs::read_to_string(&pair.certificate).unwrap();
    let end = text.find(END).unwrap() + END.len();
    let other = other.pem();
    fs::write(&pair.certificate, format!("{}\n{other}", &text[..end])).unwrap();
    pair
}

const END: &str = "-----END CERTIFICATE-----";

#[test]
fn a_ca_that_this_system_does_not_know_and_a_short_key_are_told() {
    let folder = Folder::new("doctor-tls-stranger");
    let (ca, other) = (Ca::new(&folder), Folder::new("doctor-tls-trusted"));
    let trusted = Ca::new(&other);
    let ended = doctor(ports(), &ca.pair(&[NAME]), &trusted.file, &[]);
    let said = lines(&ended, "warning", "certificate").join("");
    assert!(
        said.contains("this system has no CA that its chain leads to"),
        "{ended:?}"
    );
    let weak = concat!(env!("CARGO_MANIFEST_DIR"), "/tls/src/testing/weak.pem").to_owned();
    let weak = Pair {
        certificate: weak.clone(),
        key: weak,
    };
    let ended = doctor(ports(), &weak, &trusted.file, &[]);
    let said = lines(&ended, "fault", "certificates").join("");
    assert!(said.contains("an RSA key of fewer than 2048 bits"), "{ended:?}");
}

/// A client is shown the one with the key that costs less; doctor looks at the other one too.
#[test]
fn each_certificate_of_a_name_is_judged() {
    let folder = Folder::new("doctor-tls-each");
    let ca = Ca::new(&folder);
    let own = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let (certificate, key) = (folder.path("second.pem"), folder.path("second-key.pem"));
    fs::write(&certificate, own.cert.pem()).unwrap();
    fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let second = ["--tls-cert", &certificate, "--tls-key", &key];
    let ended = doctor(ports(), &ca.valid(&[NAME], -10..80), &ca.file, &second);
    let warnings = lines(&ended, "warning", "certificate");
    assert!(
        matches!(&warnings[..], [line] if line.contains(&certificate) && line.contains("self-signed")),
        "{ended:?}"
    );
}

#[test]
fn a_running_tracker_that_serves_another_certificate_is_noticed() {
    let folder = Folder::new("doctor-tls-running");
    let ca = Ca::new(&folder);
    let (old, new) = (ca.valid(&[NAME], -70..20), ca.valid(&[NAME], -1..89));
    let (tracker, ports) = loop {
        let (port, tls_port) = ports();
        let number = tls_port.to_string();
        let tls = [
            "--tls-port",
            &number,
            "--tls-cert",
            &old.certificate,
            "--tls-key",
            &old.key,
        ];
        let started = Tracker::start_at(port, &[&["--bind", "127.0.0.1"], &tls[..]].concat());
        match started {
            Ok(tracker) => break (tracker, (port, tls_port)),
            Err(ended) => assert!(
                ended.stderr.iter().any(|line| line.contains("in use")),
                "{ended:?}"
            ),
        }
    };
    let at = format!("HTTPS 127.0.0.1:{}", ports.1);
    let memory = ["--memory-max", "256M"];
    let ended = doctor(ports, &old, &ca.file, &memory);
    assert!(
        lines(&ended, "ok", &at).join("").contains("announce answered"),
        "{ended:?}"
    );
    let memory_lines = lines(&ended, "ok", "memory").join("");
    assert!(
        memory_lines.contains(" connections at most") && !memory_lines.contains(" 0 connections"),
        "{ended:?}"
    );
    let ended = doctor(ports, &new, &ca.file, &[]);
    let said = lines(&ended, "warning", &at).join("");
    assert!(
        said.contains("another certificate than the files hold"),
        "{ended:?}"
    );
    drop(tracker);
}

#[test]
#[ignore = "needs root"]
fn files_that_the_user_cannot_read_again_are_told_by_doctor_and_at_the_start() {
    let folder = Folder::new("doctor-tls-user");
    fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let ca = Ca::new(&folder);
    let pair = ca.pair(&[NAME]);
    fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o600)).unwrap();
    let said = format!("--tls-key={}: Permission denied", pair.key);
    let ended = doctor(ports(), &pair, &ca.file, &["--user", "nobody"]);
    assert!(
        lines(&ended, "warning", "certificate").join("").contains(&said),
        "{ended:?}"
    );
    assert!(
        !lines(&ended, "warning", "certificate")
            .join("")
            .contains("--tls-cert="),
        "{ended:?}"
    );
    // In a new root neither files are there nor the CAs of this system, which were read before.
    let root = Folder::new("doctor-tls-root");
    let ended = doctor(
        ports(),
        &pair,
        &ca.file,
        &["--user", "nobody", "--chroot", &root.path("")],
    );
    let warnings = lines(&ended, "warning", "certificate");
    assert!(
        matches!(&warnings[..], [first, second] if [first, second].iter().all(|line| line.contains("No such file"))),
        "{ended:?}"
    );
    let port = free_port().to_string();
    let arguments = [
        "--tls-port",
        &port,
        "--tls-cert",
        &pair.certificate,
        "--tls-key",
        &pair.key,
    ];
    let mut tracker = Tracker::start(&[&arguments[..], &["--user", "nobody"]].concat());
    assert!(
        tracker.said().iter().any(|line| line.contains(&said)),
        "{:?}",
        tracker.said()
    );
    // What can be read again is read.
    fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o644)).unwrap();
    tracker.signal(rustix::process::Signal::HUP);
    tracker.hears_of("the new certificates are in force");
}
