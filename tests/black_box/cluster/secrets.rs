//! Secrets and rights.

use std::os::unix::fs::PermissionsExt as _;

use etracker_core::InfoHash;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;

use super::{Broker, Site, alive, client, new_secret, peers, wait_for};
use crate::clients::{UdpClient, newcomer};
use crate::harness::Tracker;

#[test]
#[ignore = "needs nats-server"]
fn secrets_are_replaced_while_nodes_serve() {
    let (site, broker) = (Site::new("secrets"), Broker::start());
    let mut nodes = site.nodes(&broker.url(), &["a", "b"]);
    let old = std::fs::read_to_string(site.secret()).unwrap();
    let new = new_secret();
    let at = client(1);
    let before = UdpClient::connect(at.ip(), nodes[0].v4());
    for (number, secrets) in (2..).zip([&[&*old, &*new][..], &[&*new, &*old], &[&*new]]) {
        site.write_secrets("secret", secrets);
        for node in &mut nodes {
            node.signal(Signal::HUP);
            node.hears_again("the new secrets of the cluster are in force");
            if secrets.len() == 2 {
                // Of before, and made by either secret.
                before.turn_to(node.v4());
                before.announce(&newcomer(INFO_HASH, at));
            }
        }
        announce(&nodes[0], number);
        wait_for("the other node knows", || peers(&nodes[1]) == u64::from(number));
    }
    // The old one is worth nothing any more.
    site.write_secrets("secret", &[&old]);
    let stranger = site.node("c", &broker.url(), &[]);
    announce(&stranger, 100);
    announce(&nodes[0], 5);
    wait_for("the other node knows", || peers(&nodes[1]) == 5);
    assert_eq!(alive(&nodes[0]), 1);

    site.write_secrets("secret", &["no secret"]);
    nodes[0].signal(Signal::HUP);
    let line = nodes[0].complains("not reloaded");
    assert!(line.contains("line 1 is not 64 hexadecimal digits"), "{line}");
}

#[test]
#[ignore = "needs nats-server and root"]
fn files_are_read_before_rights_are_given_up_also_under_a_supervisor() {
    let (site, broker) = (Site::new("rights"), Broker::start());
    let only_root = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(site.secret(), only_root).unwrap();
    let root = site.folder.path("root");
    std::fs::create_dir_all(&root).unwrap();
    let a = site.node("a", &broker.url(), &["--user", "nobody", "--chroot", &root]);
    let b = site.node("b", &broker.url(), &["--user", "nobody", "--failed", "3"]);
    wait_for("the nodes hear each other", || alive(&a) == 1 && alive(&b) == 1);
    a.signal(Signal::HUP);
    a.complains("the secrets of the cluster are not reloaded");
    announce(&a, 2);
    wait_for("the other node knows", || peers(&b) == 1);
}

#[test]
#[ignore = "needs nats-server"]
fn a_broker_over_tls_wants_a_password_and_is_known_by_its_certificate() {
    let site = Site::new("tls");
    issue(&site);
    std::fs::write(site.folder.path("credentials"), "node:a password\n").unwrap();
    std::fs::write(site.folder.path("wrong"), "node:another password\n").unwrap();
    let file = |name: &str| site.folder.path(name);
    let broker = Broker::start_with(&[
        "--tls",
        "--tlscert",
        &file("broker.pem"),
        "--tlskey",
        &file("broker.key"),
        "--user",
        "node",
        "--pass",
        "a password",
    ]);
    let url = broker.url().replace("nats", "tls");
    let (ca, credentials) = (file("authority.pem"), file("credentials"));
    let right = ["--cluster-ca", &ca, "--cluster-credentials", &credentials];
    let nodes = ["a", "b"].map(|name| site.node(name, &url, &right));
    wait_for("the nodes hear each other", || {
        nodes.iter().all(|node| alive(node) == 1)
    });

    let wrong = ["--cluster-ca", &ca, "--cluster-credentials", &file("wrong")];
    let line = site.node("c", &url, &wrong).complains("goes on alone");
    assert!(line.contains("refuses the credentials"), "{line}");
    let foreign = [
        "--cluster-ca",
        &file("foreign.pem"),
        "--cluster-credentials",
        &credentials,
    ];
    let line = site.node("d", &url, &foreign).complains("goes on alone");
    assert!(line.contains("its certificate"), "{line}");
}

/// Certificates of a broker, of who vouches for it, and of who does not.
fn issue(site: &Site) {
    let write = |name: &str, text: &str| std::fs::write(site.folder.path(name), text).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let foreign = authority.self_signed(&KeyPair::generate().unwrap()).unwrap();
    write("foreign.pem", &foreign.pem());
    let key = KeyPair::generate().unwrap();
    write("authority.pem", &authority.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let broker = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    write("broker.pem", &broker.signed_by(&key, &issuer).unwrap().pem());
    write("broker.key", &key.serialize_pem());
}

fn announce(node: &Tracker, number: u8) {
    let at = client(number);
    UdpClient::connect(at.ip(), node.v4()).announce(&newcomer(INFO_HASH, at));
}

const INFO_HASH: InfoHash = InfoHash(*b"secrets come and go.");
