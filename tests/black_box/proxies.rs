//! The client's address, whatever stands between the client and the tracker: docs/proxies.md has the same configurations.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};

use etracker_core::InfoHash;
use etracker_core::http::query::{AnnounceQuery, PeerForm};
use etracker_core::http::response::{AnnounceResponse, Failure};
use etracker_core::proxy::{ProxyHeader, Transport};
use etracker_core::udp::packet::RequestHead;
use rustix::process::Signal;

use crate::clients::{UdpClient, connect, http_get, newcomer, read_response};
use crate::harness::{Folder, PATIENCE, Tracker, free_port, run, wait_until};

#[test]
#[ignore = "needs nginx"]
fn nginx_names_clients_in_each_header_at_a_path_of_its_own_over_kept_connections() {
    for (name, value) in [
        ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
        ("Forwarded", "$forwarded"),
        ("X-Real-IP", "$remote_addr"),
    ] {
        let options = ["--client-address-from", name, "--path-prefix", "/tracker", "-k"];
        let tracker = Tracker::start(&[TRUSTED, &options].concat());
        let proxy = Proxy::nginx(&|root, port| {
            format!(
                "http {{ access_log off; client_body_temp_path {root}/a; proxy_temp_path {root}/b;\n\
                 fastcgi_temp_path {root}/c; uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;\n\
                 map $remote_addr $node {{ ~: '\"[$remote_addr]\"'; default $remote_addr; }}\n\
                 map $http_forwarded $forwarded {{ '' for=$node; default '$http_forwarded, for=$node'; }}\n\
                 upstream etracker {{ server {}; keepalive 16; }}\n\
                 server {{ listen 127.0.0.1:{port}; listen [::1]:{port};\n\
                 location /tracker/ {{ proxy_pass http://etracker; proxy_http_version 1.1;\n\
                 proxy_set_header Connection ''; proxy_set_header {name} {value}; }} }} }}\n",
                tracker.v4()
            )
        });
        let own = format!(
            "{name}: {}",
            if name == "Forwarded" {
                "for=9.9.9.9"
            } else {
                "9.9.9.9"
            }
        );
        assert_clients_are_seen(proxy.port, "/tracker/announce", &own);
        // A client that begins a quote hides nothing.
        let refused = announce(
            FIRST.into(),
            proxy.v4(),
            "/tracker/announce",
            &format!("{name}: for=\"x"),
        );
        assert!(!matches!(refused, Ok((ip, _)) if ip != FIRST), "{refused:?}");
    }
}

#[test]
#[ignore = "needs nginx"]
fn nginx_passes_streams_and_datagrams_on_by_the_proxy_protocol() {
    let tracker = Tracker::start(&[TRUSTED, &["--proxy-protocol"]].concat());
    let proxy = Proxy::nginx(&|_, port| {
        let to = tracker.v4();
        format!(
            "stream {{ server {{ listen 127.0.0.1:{port}; listen [::1]:{port}; proxy_pass {to}; proxy_protocol on; }}\n\
             server {{ listen 127.0.0.1:{port} udp; listen [::1]:{port} udp; proxy_pass {to}; proxy_protocol on;\n\
             proxy_requests 1; proxy_responses 1; proxy_timeout 5s; }} }}\n"
        )
    });
    assert_clients_are_seen(proxy.port, "/announce", "X-Forwarded-For: 9.9.9.9");
    assert_datagrams_are_seen(&proxy);
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_names_clients_by_both_versions_of_the_proxy_protocol_and_checks_the_trackers_health() {
    for send in ["send-proxy", "send-proxy-v2", "send-proxy-v2 check-send-proxy"] {
        let tracker = Tracker::start(&[TRUSTED, &["--proxy-protocol"]].concat());
        let state = free_port();
        let proxy = Proxy::haproxy("tcp", &|_| {
            format!(
                "option httpchk GET /\n timeout check 20s\n server etracker {} {send} check inter 500ms\n\
                 listen state\n mode http\n bind 127.0.0.1:{state}\n stats enable\n stats uri /state\n",
                tracker.v4()
            )
        });
        assert_clients_are_seen(proxy.port, "/announce", "X-Forwarded-For: 9.9.9.9");
        wait_until(|| {
            let at = (Ipv4Addr::LOCALHOST, state).into();
            let csv = http_get(Ipv4Addr::LOCALHOST.into(), at, "/state;csv");
            String::from_utf8_lossy(&csv.body).contains("L7OK")
        });
    }
}

/// TLS is the tracker's: haproxy passes it on behind its header, and to the port that speaks plain HTTP too.
#[cfg(feature = "tls")]
#[test]
#[ignore = "needs haproxy"]
fn haproxy_passes_tls_on_behind_the_proxy_protocol() {
    use crate::certificates::Ca;
    use crate::tls::announce_as;
    let folder = Folder::new("proxies-tls");
    let ca = Ca::new(&folder);
    let pair = ca.pair(&["tracker.example"]);
    for is_shared in [false, true] {
        for send in ["send-proxy", "send-proxy-v2"] {
            let files = ["--tls-cert", &pair.certificate, "--tls-key", &pair.key];
            let (tracker, tls_port) = loop {
                let port = free_port();
                let tls_port = if is_shared { port } else { free_port() };
                let number = tls_port.to_string();
                let options = [TRUSTED, &["--proxy-protocol", "--tls-port", &number], &files].concat();
                match Tracker::start_at(port, &options) {
                    Ok(tracker) => break (tracker, tls_port),
                    Err(ended) => assert!(
                        ended.stderr.iter().any(|line| line.contains("in use")),
                        "{ended:?}"
                    ),
                }
            };
            let proxy = Proxy::haproxy("tcp", &|_| {
                format!("server etracker 127.0.0.1:{tls_port} {send}\n")
            });
            for client in [FIRST, SECOND].map(IpAddr::from) {
                assert_eq!(announce_as(client, proxy.v4(), &ca.file), Some(client), "{send}");
                // Without the header, who is not a proxy is itself.
                let direct = (Ipv4Addr::LOCALHOST, tls_port).into();
                assert_eq!(announce_as(client, direct, &ca.file), Some(client));
            }
            let home = Ipv4Addr::LOCALHOST.into();
            assert_eq!(
                announce_as(home, (Ipv4Addr::LOCALHOST, tls_port).into(), &ca.file),
                None
            );
            drop(tracker);
        }
    }
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_names_clients_in_a_header() {
    for (name, line) in [
        ("X-Forwarded-For", "option forwardfor"),
        (
            "CF-Connecting-IP",
            "http-request set-header CF-Connecting-IP %[src]",
        ),
    ] {
        let tracker = Tracker::start(&[TRUSTED, &["--client-address-from", name]].concat());
        let proxy = Proxy::haproxy("http", &|_| {
            format!("{line}\n server etracker {}\n", tracker.v4())
        });
        assert_clients_are_seen(proxy.port, "/announce", &format!("{name}: 9.9.9.9"));
    }
}

#[test]
fn who_is_trusted_names_clients_by_the_proxy_protocol_and_nobody_else_does() {
    let tracker = Tracker::start(&[TRUSTED, &["--proxy-protocol"]].concat());
    let home = IpAddr::from(Ipv4Addr::LOCALHOST);
    let client: IpAddr = [9, 9, 9, 9].into();
    for header in headers((client, 50_000).into()) {
        let named = announce_behind(home, tracker.v4(), &header);
        assert_eq!(named.unwrap().0, client);
        let stranger = announce_behind(FIRST.into(), tracker.v4(), &header);
        assert!(stranger.is_err(), "{stranger:?}");
    }
    let refused = announce(home, tracker.v4(), "/announce", "X-Forwarded-For: 9.9.9.9").unwrap_err();
    assert!(refused.contains("PROXY protocol"), "{refused}");
    assert_eq!(http_get(home, tracker.v4(), "/stats.json").status, 200);
    let direct = announce(
        SECOND.into(),
        tracker.v4(),
        "/announce",
        "X-Forwarded-For: 9.9.9.9",
    )
    .unwrap();
    assert_eq!(direct, (SECOND.into(), vec![client]));
    let ended = tracker.stop(Signal::TERM);
    assert!(
        ended
            .stdout
            .iter()
            .any(|line| line.contains("http_forwarded_missing = 1")),
        "{ended:?}"
    );
}

#[test]
fn a_malformed_header_of_a_proxy_closes_the_connection_and_is_counted() {
    let tracker = Tracker::start(&[TRUSTED, &["--proxy-protocol"]].concat());
    let mut stream = connect(Ipv4Addr::LOCALHOST.into(), tracker.v4());
    stream
        .write_all(b"PROXY TCP4 9.9.9.9\r\nGET / HTTP/1.1\r\n\r\n")
        .unwrap();
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert_eq!(received, b"");
    let ended = tracker.stop(Signal::TERM);
    assert!(
        ended
            .stdout
            .iter()
            .any(|line| line.contains("http_proxy_malformed = 1")),
        "{ended:?}"
    );
}

#[test]
fn datagrams_of_a_proxy_are_the_clients_and_those_without_a_header_are_dropped() {
    let tracker = Tracker::start(&[TRUSTED, &["--proxy-protocol"]].concat());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(tracker.v4()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let connect = RequestHead::connect(7).encode();
    // The first is left without an answer: what comes is to the others.
    socket.send(&connect).unwrap();
    let mut reply = [0; 2048];
    let ids = headers("9.9.9.9:50000".parse().unwrap()).map(|header| {
        socket.send(&[&header, &connect[..]].concat()).unwrap();
        let len = socket.recv(&mut reply).unwrap();
        reply[8..len].to_vec()
    });
    assert_eq!(ids[0], ids[1], "the id is the client's");
    let ended = tracker.stop(Signal::TERM);
    for line in ["udp_unnamed = 1", "udp_connect = 2"] {
        assert!(ended.stdout.iter().any(|said| said.contains(line)), "{ended:?}");
    }
}

#[test]
fn trusted_proxies_of_a_file_are_read_again_on_a_signal() {
    let folder = Folder::new(&format!("proxies-{}", free_port()));
    let path = folder.path("cdn");
    let write = |proxy: Ipv4Addr| std::fs::write(&path, format!("# of today\n{proxy}/32\n")).unwrap();
    write(FIRST);
    let mut tracker = Tracker::start(&[
        "--client-address-from",
        "CF-Connecting-IP",
        "--trusted-proxy",
        &path,
    ]);
    let seen = |tracker: &Tracker, from: Ipv4Addr| {
        announce(
            from.into(),
            tracker.v4(),
            "/announce",
            "CF-Connecting-IP: 9.9.9.9",
        )
        .unwrap()
        .0
    };
    let client = IpAddr::from([9, 9, 9, 9]);
    assert_eq!(
        [seen(&tracker, FIRST), seen(&tracker, SECOND)],
        [client, SECOND.into()]
    );
    write(SECOND);
    tracker.signal(Signal::HUP);
    tracker.hears_of("the new lists are in force");
    assert_eq!(
        [seen(&tracker, FIRST), seen(&tracker, SECOND)],
        [FIRST.into(), client]
    );
    std::fs::write(&path, "192.0.2.0/33\n").unwrap();
    tracker.signal(Signal::HUP);
    tracker.complains("line 1: neither an address nor a network");
    assert_eq!(seen(&tracker, SECOND), client, "the list before stays");
}

#[test]
fn peers_of_the_own_network_are_handed_to_others_under_the_external_address() {
    let options = [
        "--external-address",
        "192.0.2.200",
        "--x-forwarded-for",
        "--trusted-proxy",
        "127.0.0.1",
    ];
    let tracker = Tracker::start(&options);
    UdpClient::connect(FIRST.into(), tracker.v4()).announce(&newcomer(HASH, (FIRST, 7001).into()));
    let home = IpAddr::from(Ipv4Addr::LOCALHOST);
    let (seen, peers) = announce(home, tracker.v4(), "/announce", "X-Forwarded-For: 192.168.0.9").unwrap();
    let external = IpAddr::from([192, 0, 2, 200]);
    assert_eq!((seen, peers), (external, vec![external]));
    let (seen, peers) = announce(home, tracker.v4(), "/announce", "X-Forwarded-For: 9.9.9.9").unwrap();
    assert_eq!((seen, peers), ([9, 9, 9, 9].into(), vec![external; 2]));
}

#[test]
fn each_family_has_an_external_address_of_its_own() {
    let options = [
        "--external-address",
        "11.0.0.200",
        "--external-address",
        "2620:fe::200",
        "--private-peers",
        "deny",
        "--client-address-from",
        "Forwarded",
        "--trusted-proxy",
        "127.0.0.1",
    ];
    let tracker = Tracker::start(&options);
    let home = IpAddr::from(Ipv4Addr::LOCALHOST);
    let seen = |client: &str| {
        let field = format!("Forwarded: for={client}");
        announce(home, tracker.v4(), "/announce", &field).map(|(seen, _)| seen)
    };
    for (client, expected) in [
        ("192.168.0.9", "11.0.0.200"),
        ("127.0.0.1", "11.0.0.200"),
        ("\"[fd00::9]:4711\"", "2620:fe::200"),
        ("\"[fe80::9]\"", "2620:fe::200"),
        ("\"[2001:470::9]\"", "2001:470::9"),
        ("9.9.9.9", "9.9.9.9"),
    ] {
        assert_eq!(seen(client), Ok(expected.parse().unwrap()), "{client}");
    }
    for nobody in ["unknown", "_hidden", "\"_hidden:_port\""] {
        assert!(seen(nobody).is_err(), "{nobody}");
    }
}

#[test]
fn doctor_asks_as_a_proxy_does_where_its_address_is_trusted() {
    for options in [
        &["--proxy-protocol"][..],
        &["--client-address-from", "Forwarded"],
        &["--proxy-protocol", "--trusted-proxy", "192.0.2.0/24"],
        &["--proxy-protocol", "--client-address-from", "CF-Connecting-IP"],
    ] {
        let port = free_port().to_string();
        let place = ["doctor", "--bind", "127.0.0.1", "--port", &port];
        let ended = run(&[&place, options].concat());
        assert!(ended.status.success(), "{options:?}: {ended:?}");
        let tracker = Tracker::start(&[&["--bind", "127.0.0.1"], options].concat());
        let port = tracker.port().to_string();
        let ended = run(&[&["doctor", "--bind", "127.0.0.1", "--port", &port], options].concat());
        let refused = ended
            .stdout
            .iter()
            .find(|line| line.contains("refuse") || line.contains("no answer"));
        assert_eq!(refused, None, "{options:?}");
    }
}

/// Announces through a proxy from several addresses, over both families and with a header of the client's own, each time as the
/// client that it is.
pub(crate) fn assert_clients_are_seen(port: u16, path: &str, own: &str) {
    let (v4, v6) = (
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        (Ipv6Addr::LOCALHOST, port).into(),
    );
    let mut peers = Vec::new();
    for client in [FIRST, SECOND, Ipv4Addr::new(127, 0, 1, 3)].map(IpAddr::from) {
        for field in ["Accept: */*", own] {
            let (seen, handed) = announce(client, v4, path, field).unwrap();
            assert_eq!(seen, client, "{field}");
            assert!(
                handed.iter().all(|peer| peers.contains(peer)),
                "{handed:?} of {peers:?}"
            );
        }
        peers.push(client);
    }
    let home = IpAddr::from(Ipv6Addr::LOCALHOST);
    let (seen, handed) = announce(home, v6, path, own).unwrap();
    assert_eq!((seen, handed), (home, vec![]));
}

pub(crate) fn assert_datagrams_are_seen(proxy: &Proxy) {
    let clients = [4, 5, 6].map(|host| Ipv4Addr::new(127, 0, 1, host));
    for client in clients {
        let udp = UdpClient::connect(client.into(), proxy.v4());
        let (_, peers) = udp.announce(&newcomer(HASH, (client, PORT).into()));
        let (peers, rest) = peers.as_chunks::<6>();
        assert!(rest.is_empty());
        assert!(
            peers
                .iter()
                .all(|peer| peer[..4] != [127, 0, 0, 1] && peer[..4] != client.octets()),
            "{peers:?}"
        );
    }
    let at = SocketAddr::from((Ipv6Addr::LOCALHOST, proxy.port));
    let home = IpAddr::from(Ipv6Addr::LOCALHOST);
    let (answer, _) = UdpClient::connect(home, at).announce(&newcomer(HASH, (home, PORT).into()));
    // Three over UDP, as many over TCP, and the one at ::1 over both.
    assert_eq!(answer.leechers, 7);
}

/// The address that the tracker sees and the addresses of the peers that it hands out, or why it refuses.
pub(crate) fn announce(
    from: IpAddr,
    to: SocketAddr,
    path: &str,
    field: &str,
) -> Result<(IpAddr, Vec<IpAddr>), String> {
    exchange(from, to, &request(path, field))
}

/// The same for a request behind a header of the PROXY protocol.
fn announce_behind(from: IpAddr, to: SocketAddr, header: &[u8]) -> Result<(IpAddr, Vec<IpAddr>), String> {
    exchange(from, to, &[header, &request("/announce", "Accept: */*")].concat())
}

fn exchange(from: IpAddr, to: SocketAddr, request: &[u8]) -> Result<(IpAddr, Vec<IpAddr>), String> {
    let mut stream = connect(from, to);
    stream.write_all(request).unwrap();
    let mut first = [0; 1];
    if !matches!(stream.peek(&mut first), Ok(1)) {
        return Err("closed".to_owned());
    }
    let response = read_response(&mut stream);
    match AnnounceResponse::decode(&response.body) {
        Ok(answer) => Ok((
            answer.external_ip.unwrap(),
            answer.peers().map(|(peer, _)| peer.ip()).collect(),
        )),
        Err(_) => Err(Failure::decode(&response.body).map_or_else(
            |_| format!("status {}", response.status),
            |failure| String::from_utf8_lossy(failure.reason).into_owned(),
        )),
    }
}

fn request(path: &str, field: &str) -> Vec<u8> {
    let query = AnnounceQuery {
        announce: newcomer(HASH, (Ipv4Addr::UNSPECIFIED, PORT).into()),
        form: PeerForm::Compact,
    };
    let mut parameters = Vec::new();
    query.encode(&mut parameters);
    let start = format!("GET {path}?");
    let end = format!(" HTTP/1.1\r\nHost: tracker\r\n{field}\r\nConnection: close\r\n\r\n");
    [start.as_bytes(), &parameters, end.as_bytes()].concat()
}

/// A header of each version.
fn headers(source: SocketAddr) -> [Vec<u8>; 2] {
    let header = ProxyHeader::Client {
        source,
        destination: "192.0.2.1:6969".parse().unwrap(),
    };
    let [mut line, mut binary] = [vec![], vec![]];
    header.encode_v1(&mut line);
    // Behind the addresses: a type that nobody has defined.
    assert!(header.encode_v2(Transport::Stream, &[0xe7, 0, 2, 1, 2], &mut binary));
    [line, binary]
}

/// A proxy on this host, which is gone when the test is.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) port: u16,
    _folder: Folder,
}

impl Proxy {
    /// nginx with this configuration of a folder and a port.
    pub(crate) fn nginx(configuration: &dyn Fn(&str, u16) -> String) -> Self {
        Self::start("nginx", &|root, port| {
            format!(
                "{STREAMS}daemon off; master_process off; pid {root}/pid; error_log stderr crit; events {{}}\n{}",
                configuration(root, port)
            )
        })
    }

    /// haproxy with this backend, by its port.
    pub(crate) fn haproxy(mode: &str, backend: &dyn Fn(u16) -> String) -> Self {
        Self::start("haproxy", &|_, port| {
            format!(
                "defaults\n mode {mode}\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
                 frontend clients\n bind 127.0.0.1:{port}\n bind [::1]:{port}\n default_backend trackers\n\
                 backend trackers\n {}",
                backend(port)
            )
        })
    }

    /// Caddy with this configuration of a site, by its port.
    pub(crate) fn caddy(site: &dyn Fn(u16) -> String) -> Self {
        Self::start("caddy", &|_, port| {
            // Neither its port of administration nor certificates of its own.
            format!(
                "{{\n admin off\n auto_https off\n log {{\n level ERROR\n }}\n}}\n{}\n",
                site(port)
            )
        })
    }

    fn start(program: &str, configuration: &dyn Fn(&str, u16) -> String) -> Self {
        let port = free_port();
        let folder = Folder::new(&format!("{program}-{port}"));
        let (root, path) = (folder.path(""), folder.path("conf"));
        std::fs::write(&path, configuration(&root, port)).unwrap();
        let arguments: &[&str] = match program {
            "nginx" => &["-p", &root, "-c", &path],
            "caddy" => &["run", "--adapter", "caddyfile", "--config", &path],
            _ => &["-db", "-f", &path],
        };
        let mut command = Command::new(program);
        // Where Caddy keeps what it has done; it says a lot of that.
        command.env("XDG_CONFIG_HOME", &root).env("XDG_DATA_HOME", &root);
        if program == "caddy" {
            command.stderr(Stdio::null());
        }
        let child = command.args(arguments).stdin(Stdio::null()).spawn().unwrap();
        let proxy = Self {
            child,
            port,
            _folder: folder,
        };
        wait_until(|| TcpStream::connect(proxy.v4()).is_ok());
        proxy
    }

    pub(crate) fn v4(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian has it in a package of its own.
const STREAMS: &str = "load_module /usr/lib/nginx/modules/ngx_stream_module.so; ";
/// Only the proxy's own address, as clients are on this host too.
const TRUSTED: &[&str] = &["--trusted-proxy", "127.0.0.1"];
pub(crate) const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 2);
const PORT: u16 = 6881;
const HASH: InfoHash = InfoHash(*b"who stands behind it");
