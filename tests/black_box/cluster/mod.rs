//! Several trackers that answer as one, over the broker of NATS.

mod answers;
mod bus;
mod hostile;
mod join;
mod loss;
mod manual;
#[cfg(feature = "tls")]
mod secrets;
mod wire;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clients::http_get;
use crate::harness::{Folder, Tracker, free_port, other, run};

/// Waits for something that happens by itself, on a machine however slow.
#[track_caller]
fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        sleep(Duration::from_millis(100));
    }
}

/// A broker on loopback, which is gone when the test is.
struct Broker {
    port: u16,
    arguments: Vec<String>,
    server: Option<Child>,
}

impl Broker {
    /// A broker that serves.
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// A broker with these arguments beside its place.
    fn start_with(arguments: &[&str]) -> Self {
        let mut broker = Self::stopped();
        broker.arguments = arguments.iter().map(ToString::to_string).collect();
        broker.serve();
        broker
    }

    /// The place of a broker that does not serve.
    fn stopped() -> Self {
        Self {
            port: free_port(),
            arguments: Vec::new(),
            server: None,
        }
    }

    fn serve(&mut self) {
        let server = other("nats-server")
            .args(["--addr", "127.0.0.1", "--port", &self.port.to_string()])
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.server = Some(server.unwrap());
        wait_for("the broker listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        });
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // It may have ended already.
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the nodes of one cluster share.
struct Site {
    folder: Folder,
}

impl Site {
    fn new(name: &str) -> Self {
        let site = Self {
            folder: Folder::new(&format!("cluster-{name}")),
        };
        site.write_secrets("secret", &[&new_secret()]);
        site
    }

    /// Writes a file of secrets.
    fn write_secrets(&self, name: &str, secrets: &[&str]) {
        std::fs::write(self.folder.path(name), secrets.join("\n")).unwrap();
    }

    fn secret(&self) -> String {
        self.folder.path("secret")
    }

    /// A node with these arguments beside those that make it one.
    fn node(&self, name: &str, url: &str, arguments: &[&str]) -> Tracker {
        let secret = self.secret();
        let all = [
            &[
                "--cluster",
                url,
                "--cluster-secret",
                &secret,
                "--cluster-node",
                name,
                "--workers",
                "2",
            ],
            arguments,
        ];
        Tracker::start(&all.concat())
    }

    /// Nodes that hear each other.
    fn nodes(&self, url: &str, names: &[&str]) -> Vec<Tracker> {
        let nodes: Vec<_> = names.iter().map(|name| self.node(name, url, &[])).collect();
        for node in &nodes {
            wait_for("the nodes hear each other", || alive(node) + 1 == nodes.len());
        }
        nodes
    }
}

fn new_secret() -> String {
    let made = run(&["cluster", "secret"]);
    assert!(made.status.success(), "{made:?}");
    made.stdout.concat()
}

/// What a node says of its cluster.
fn cluster(node: &Tracker) -> Value {
    json(node)["cluster"].clone()
}

fn json(node: &Tracker) -> Value {
    let began = Instant::now();
    loop {
        let page = http_get(LOCALHOST, node.v4(), "/stats.json");
        match page.status {
            200 => return serde_json::from_slice(&page.body).unwrap(),
            // More than twenty pages in a second.
            429 if began.elapsed() < PATIENCE => sleep(Duration::from_millis(200)),
            status => panic!("status {status}"),
        }
    }
}

/// The members that a node hears.
fn alive(node: &Tracker) -> usize {
    let cluster = cluster(node);
    let members = cluster["members"].as_array();
    members.map_or(0, |members| {
        members.iter().filter(|member| member["alive"] == true).count()
    })
}

/// Peers that a node counts.
fn peers(node: &Tracker) -> u64 {
    json(node)["swarms"]["peers"].as_u64().unwrap()
}

/// The address of a peer in documentation's part of loopback.
fn client(number: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, number), 6881).into()
}

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(60);
