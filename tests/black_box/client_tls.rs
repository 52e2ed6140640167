//! The command `etracker-client` at https:// URLs, against small servers that do one thing each.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::{Ca, Pair};
use crate::harness::Folder;

#[test]
fn a_tracker_with_a_certificate_of_the_named_ca_is_asked() {
    let folder = Folder::new("client-tls-ca");
    let ca = Ca::new(&folder);
    let url = served(&ca.pair(&["localhost", "127.0.0.1"]), End::InOrder);
    for url in [&url, &url.replace("localhost", "127.0.0.1")] {
        let output = client(&[url, HASH, "--ca", &ca.file]);
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(
            output.status.success() && text.contains("complete     7"),
            "{output:?}"
        );
    }
    assert!(client(&[&url, HASH, "--insecure"]).status.success());
    let magnet = format!("magnet:?xt=urn:btih:{HASH}&tr={url}");
    assert!(client(&[&magnet, "--ca", &ca.file]).status.success());
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let folder = Folder::new("client-tls-wrong");
    let (ca, other) = (Ca::new(&folder), Folder::new("client-tls-other"));
    let stranger = Ca::new(&other);
    let right = served(&ca.pair(&["localhost"]), End::InOrder);
    let elsewhere = served(&ca.pair(&["tracker.example"]), End::InOrder);
    let expired = served(&ca.valid(&["localhost"], -90..-1), End::InOrder);
    for (url, ca, fault) in [
        (
            &right,
            &stranger.file,
            "is of an unknown issuer: name its CA with --ca FILE",
        ),
        (&elsewhere, &ca.file, "tracker.example"),
        (&expired, &ca.file, "its certificate has expired"),
    ] {
        refused(&[url, HASH, "--ca", ca], fault);
    }
    refused(&[&right, HASH], "is of an unknown issuer");
    assert!(client(&[&elsewhere, HASH, "--insecure"]).status.success());
}

#[test]
fn what_is_no_tls_is_said() {
    let folder = Folder::new("client-tls-none");
    let ca = Ca::new(&folder);
    let plain = listening(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    refused(
        &[&plain, HASH, "--ca", &ca.file],
        "it may speak plain HTTP at this port",
    );
    let cut = listening(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.shutdown(Shutdown::Both);
    });
    refused(&[&cut, HASH, "--ca", &ca.file], "it cuts the handshake off");
    let silent = listening(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let arguments = [&silent, HASH, "--ca", &ca.file, "--timeout", "1"];
    refused(&arguments, "it does not answer the handshake");
}

#[test]
fn an_answer_that_ends_without_close_notify_is_read() {
    let folder = Folder::new("client-tls-cut");
    let ca = Ca::new(&folder);
    let url = served(&ca.pair(&["localhost"]), End::Cut);
    let output = client(&[&url, HASH, "--ca", &ca.file]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_ca_that_is_none_is_refused_in_one_line() {
    let folder = Folder::new("client-tls-options");
    let ca = Ca::new(&folder);
    let empty = folder.path("empty.pem");
    std::fs::write(&empty, "nothing\n").unwrap();
    let url = "https://localhost:1/announce";
    for (arguments, fault) in [
        (&["--ca", &empty][..], "it holds no certificate (PEM)"),
        (&["--ca", "/no/such/file"], "/no/such/file"),
        (&["--ca", &ca.file, "--insecure"], "--insecure"),
    ] {
        let output = client(&[&[url, HASH], arguments].concat());
        let shown = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(shown.contains(fault), "{shown}");
    }
}

/// How a server ends a connection.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// With close_notify.
    InOrder,
    /// Without, as many do.
    Cut,
}

/// A server that answers each request with an announce's answer, whose end is that of the connection. Its URL.
fn served(pair: &Pair, end: End) -> String {
    let certificate = CertificateDer::from_pem_file(&pair.certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let config = builder
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    let config = Arc::new(config.unwrap());
    listening(move |stream| {
        let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(tls, stream);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut piece = [0; 4096];
            match stream.read(&mut piece) {
                Ok(len) if len > 0 => request.extend_from_slice(&piece[..len]),
                _ => return,
            }
        }
        let body = b"HTTP/1.1 200 OK\r\n\r\nd8:completei7e8:intervali60e5:peers0:e";
        let _ = stream.write_all(body);
        if end == End::InOrder {
            stream.conn.send_close_notify();
        }
        let _ = stream.flush();
        let _ = stream.sock.shutdown(Shutdown::Write);
        // A close with bytes unread would be a reset.
        let _ = stream.sock.read_to_end(&mut Vec::new());
    })
}

/// The https:// URL of a server that does this with each connection.
fn listening(serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    format!("https://localhost:{port}/announce")
}

/// The client fails, and says one line, which holds `fault`.
#[track_caller]
fn refused(arguments: &[&str], fault: &str) {
    let output = client(arguments);
    let shown = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(shown.contains(fault) && shown.lines().count() == 1, "{shown}");
}

fn client(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etracker-client"));
    command.arg("announce").args(arguments).output().unwrap()
}

const HASH: &str = "0123456789abcdef0123456789abcdef01234567";
