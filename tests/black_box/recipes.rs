//! The recipes of docs/https.md and docs/proxies.md as they stand there, with other ports, names and folders.

use std::fs;

use crate::harness::{Folder, Tracker, happens};
use crate::pages::{BETWEEN_PAGES, json};
use crate::proxies::{FIRST, Proxy, announce, assert_clients_are_seen, assert_datagrams_are_seen};

/// The block of indented lines that holds `text`, without its indentation.
pub(crate) fn recipe(document: &str, text: &str) -> String {
    let mut blocks = vec![String::new()];
    for line in document.lines() {
        match line.strip_prefix("    ") {
            Some(line) => {
                let block = blocks.last_mut().unwrap();
                block.push_str(line);
                block.push('\n');
            }
            None => blocks.push(String::new()),
        }
    }
    let mut found = blocks.into_iter().filter(|block| block.contains(text));
    let block = found
        .next()
        .unwrap_or_else(|| panic!("there is no recipe with {text}"));
    assert_eq!(found.next(), None, "{text}");
    let indented = block.len() - block.trim_start().len();
    let lines = block.lines().map(|line| line.get(indented..).unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The options of a command `etracker` in a recipe, without the port of HTTP and UDP, which each test has of its own.
pub(crate) fn options(recipe: &str) -> Vec<String> {
    let command = recipe.lines().find_map(|line| line.strip_prefix("etracker "));
    let words = command.unwrap().split_whitespace().map(str::to_owned);
    let mut options: Vec<_> = words.collect();
    if options.first().is_some_and(|first| first == "-p") {
        options.drain(..2);
    }
    options
}

fn start(options: &[String]) -> Tracker {
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    Tracker::start(&options)
}

#[cfg(feature = "tls")]
pub(crate) const HTTPS: &str = include_str!("../../docs/https.md");
const PROXIES: &str = include_str!("../../docs/proxies.md");

#[test]
#[ignore = "needs nginx"]
fn nginx_at_a_path_of_its_own_keeps_connections_that_the_tracker_closes() {
    let mut options = options(&recipe(PROXIES, "--path-prefix /tracker"));
    options.extend(["-e", "1"].map(str::to_owned));
    let tracker = start(&options);
    let proxy = Proxy::nginx(&|root, port| {
        let locations = recipe(PROXIES, "location /tracker/ {");
        let (location, upstream) = locations.split_once("upstream ").unwrap();
        let upstream = upstream.replace("127.0.0.1:6969", &tracker.v4().to_string());
        format!(
            "http {{ access_log off; client_body_temp_path {root}/a; proxy_temp_path {root}/b;\n\
             fastcgi_temp_path {root}/c; uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;\n\
             upstream {upstream}\nserver {{ listen 127.0.0.1:{port}; listen [::1]:{port};\n{location}\n}} }}\n"
        )
    });
    assert_clients_are_seen(proxy.port, "/tracker/announce", "X-Forwarded-For: 9.9.9.9");
    // After a second the tracker closes what idles; the next client is served all the same.
    for _ in 0..3 {
        // The connection of the page alone.
        assert!(happens(BETWEEN_PAGES, || json(&tracker)["connections"]["open"] == 1));
        let (seen, _) = announce(FIRST.into(), proxy.v4(), "/tracker/announce", "Accept: */*").unwrap();
        assert_eq!(seen, FIRST);
    }
}

#[test]
#[ignore = "needs nginx"]
fn nginx_passes_streams_and_datagrams_on() {
    let tracker = start(&options(&recipe(PROXIES, "-p 7000")));
    let proxy = Proxy::nginx(&|_, port| {
        let streams = recipe(PROXIES, "stream {").replace("127.0.0.1:7000", &tracker.v4().to_string());
        let listen = |line: &str| match line.split_once("listen 6969") {
            Some((before, after)) => {
                let kind = if after.starts_with(" udp") { " udp" } else { "" };
                let rest = after.strip_prefix(kind).unwrap();
                format!("{before}listen 127.0.0.1:{port}{kind}; listen [::1]:{port}{kind}{rest}")
            }
            None => line.to_owned(),
        };
        streams.lines().map(listen).collect::<Vec<_>>().join("\n")
    });
    assert_clients_are_seen(proxy.port, "/announce", "X-Forwarded-For: 9.9.9.9");
    assert_datagrams_are_seen(&proxy);
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_sends_the_proxy_protocol() {
    let backend = recipe(PROXIES, "backend trackers");
    let tracker = start(&options(&recipe(
        PROXIES,
        "etracker -p 6969 --bind 127.0.0.1 --proxy-protocol",
    )));
    let (head, backend) = backend.split_once('\n').unwrap();
    assert_eq!(head, "backend trackers");
    let backend = backend.replace("127.0.0.1:6969", &tracker.v4().to_string());
    let proxy = Proxy::haproxy("tcp", &|_| format!("{backend}\n"));
    assert_clients_are_seen(proxy.port, "/announce", "X-Forwarded-For: 9.9.9.9");
}

#[test]
#[ignore = "needs caddy"]
fn caddy_names_clients() {
    let words = PROXIES.split("Caddy sends `X-Forwarded-For`").nth(1).unwrap();
    let options = words.split('`').nth(1).unwrap().split_whitespace();
    let tracker = start(&options.map(str::to_owned).collect::<Vec<_>>());
    let proxy = Proxy::caddy(&|port| {
        recipe(PROXIES, "reverse_proxy")
            .replace("tracker.example", &format!("http://tracker:{port}"))
            .replace("127.0.0.1:6969", &tracker.v4().to_string())
    });
    assert_clients_are_seen(proxy.port, "/announce", "X-Forwarded-For: 9.9.9.9");
}

/// haproxy stands for the content network, which sets the same field.
#[test]
#[ignore = "needs haproxy"]
fn a_content_network_of_a_file_names_clients() {
    let folder = Folder::new("recipe-cloudflare");
    let path = folder.path("cloudflare");
    fs::write(&path, "173.245.48.0/20\n127.0.0.1/32\n2400:cb00::/32\n").unwrap();
    let recipe = recipe(PROXIES, "ips-v4").replace("/etc/etracker/cloudflare", &path);
    let tracker = start(&options(&recipe));
    let proxy = Proxy::haproxy("http", &|_| {
        let to = tracker.v4();
        format!("http-request set-header CF-Connecting-IP %[src]\n server etracker {to}\n")
    });
    assert_clients_are_seen(proxy.port, "/announce", "CF-Connecting-IP: 9.9.9.9");
}

#[cfg(feature = "tls")]
mod https {
    use std::net::Ipv4Addr;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use rustix::process::Signal;

    use super::*;
    use crate::certificates::{Ca, Pair};
    use crate::harness::{command, free_port};
    use crate::tls::is_served;

    const NAME: &str = "tracker.example";

    #[test]
    #[ignore = "needs openssl"]
    fn a_ca_of_its_own_signs_a_certificate_that_is_served() {
        let folder = Folder::new("recipe-ca");
        let commands = recipe(HTTPS, "openssl req -x509");
        let made = Command::new("bash")
            .args(["-euc", &commands])
            .current_dir(folder.path(""))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let port = free_port();
        let options: Vec<_> = options(&recipe(HTTPS, "--tls-cert /etc/tracker"))
            .into_iter()
            .map(|option| match option.as_str() {
                "443" => port.to_string(),
                "/etc/tracker/fullchain.pem" => folder.path("cert.pem"),
                "/etc/tracker/privkey.pem" => folder.path("key.pem"),
                _ => option,
            })
            .collect();
        let _tracker = start(&options);
        assert!(is_served(
            (Ipv4Addr::LOCALHOST, port).into(),
            &folder.path("ca.pem")
        ));
    }

    #[test]
    #[ignore = "needs root"]
    fn the_hook_of_a_renewal_lets_a_tracker_without_rights_see_it() {
        let (folder, lineage) = (Folder::new("recipe-hook"), Folder::new("recipe-lineage"));
        fs::set_permissions(folder.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(lineage.path(""), fs::Permissions::from_mode(0o700)).unwrap();
        let ca = Ca::new(&lineage);
        let renew = |pair: &Pair| {
            fs::rename(&pair.certificate, lineage.path("fullchain.pem")).unwrap();
            fs::rename(&pair.key, lineage.path("privkey.pem")).unwrap();
            let certbot = recipe_of_hook();
            let hook = certbot
                .replace("-o etracker", "-o nobody")
                .replace("/etc/etracker/", &folder.path(""));
            let run = Command::new("sh")
                .args(["-euc", &hook])
                .env("RENEWED_LINEAGE", lineage.path(""))
                .output()
                .unwrap();
            assert!(run.status.success(), "{run:?}");
        };
        renew(&ca.valid(&[NAME], -80..10));
        let port = free_port();
        let (tls_port, cert, key) = (
            port.to_string(),
            folder.path("fullchain.pem"),
            folder.path("privkey.pem"),
        );
        let files = ["--tls-port", &tls_port, "--tls-cert", &cert, "--tls-key", &key];
        let mut tracker = Tracker::start(&[&files[..], &["--user", "nobody"]].concat());
        assert!(
            !tracker.said().iter().any(|line| line.contains("takes a restart")),
            "{:?}",
            tracker.said()
        );
        renew(&ca.valid(&[NAME], -1..89));
        tracker.signal(Signal::HUP);
        tracker.hears_of("89 days left");
        tracker.hears_of("the new certificates are in force");
        assert!(is_served((Ipv4Addr::LOCALHOST, port).into(), &ca.file));
    }

    fn recipe_of_hook() -> String {
        let certbot = recipe(HTTPS, "certbot renew --deploy-hook");
        certbot.split('\'').nth(1).unwrap().to_owned()
    }

    #[test]
    #[ignore = "needs systemd-analyze"]
    fn the_units_with_the_drop_ins_are_understood_and_their_environment_is_the_trackers() {
        let folder = Folder::new("recipe-units");
        let unit = |name: &str| fs::read_to_string(format!("packaging/{name}")).unwrap();
        let service = unit("etracker.service").replace("/usr/bin/etracker", "/bin/true");
        fs::write(folder.path("etracker.service"), service).unwrap();
        fs::write(folder.path("etracker.socket"), unit("etracker.socket")).unwrap();
        let drop_in = recipe(HTTPS, "LoadCredential=cert.pem");
        for (unit, content) in [
            ("etracker.service", &*drop_in),
            ("etracker.socket", "[Socket]\nListenStream=443\n"),
        ] {
            let folder = folder.path(&format!("{unit}.d"));
            fs::create_dir(&folder).unwrap();
            fs::write(format!("{folder}/override.conf"), content).unwrap();
        }
        let verified = Command::new("systemd-analyze")
            .args(["verify", "--man=no", &folder.path("etracker.service")])
            .env(
                "SYSTEMD_UNIT_PATH",
                format!("{}:", folder.path("").trim_end_matches('/')),
            )
            .output()
            .unwrap();
        let said = [verified.stdout, verified.stderr].concat();
        assert_eq!(
            (verified.status.success(), String::from_utf8_lossy(&said)),
            (true, "".into())
        );
        served_by(&drop_in);
    }

    /// Starts a tracker with the environment of the drop-in, and credentials as systemd hands them out: in a folder and files that
    /// the service can only read.
    fn served_by(drop_in: &str) {
        let credentials = Folder::new("recipe-credentials");
        let ca = Ca::new(&credentials);
        let pair = ca.pair(&[NAME]);
        for (from, to) in [(&pair.certificate, "cert.pem"), (&pair.key, "key.pem")] {
            let to = credentials.path(to);
            fs::rename(from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o400)).unwrap();
        }
        let port = free_port();
        let environment = drop_in.lines().find_map(|line| line.strip_prefix("Environment="));
        let mut command = command();
        for variable in environment.unwrap().split(' ') {
            let (name, value) = variable.split_once('=').unwrap();
            let value = value
                .replace("%d", credentials.path("").trim_end_matches('/'))
                .replace("443", &port.to_string());
            command.env(name, value);
        }
        let tracker = Tracker::start_by(command, free_port(), &[]).unwrap();
        assert!(is_served((Ipv4Addr::LOCALHOST, port).into(), &ca.file));
        assert!(tracker.stop(Signal::TERM).status.success());
    }
}

#[test]
fn recipes_are_found_by_what_they_hold() {
    let document = "Text\n\n    one\n      two\n\n- item:\n\n      three\n        four\n\nText\n";
    assert_eq!(recipe(document, "one"), "one\n  two");
    assert_eq!(recipe(document, "four"), "three\n  four");
    let ran = options("etracker -p 6969 --bind 127.0.0.1 -k");
    assert_eq!(ran, ["--bind", "127.0.0.1", "-k"]);
}
