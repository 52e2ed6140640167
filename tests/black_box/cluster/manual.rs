//! The commands of docs/cluster.md work as they stand.

use std::env;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::{Broker, Site, wait_for};
use crate::harness::{command, ended, free_port, other};

#[test]
#[ignore = "needs nats-server"]
fn two_nodes_of_the_manual_are_one_tracker() {
    let site = Site::new("manual");
    let [start, announce] = blocks();
    let ports = [
        ("4222", free_port()),
        ("6969", free_port()),
        ("6970", free_port()),
    ];
    let [start, announce] = [start, announce].map(|block| {
        let with_port = |block: String, (named, port): &(&str, u16)| block.replace(named, &port.to_string());
        ports.iter().fold(block, with_port)
    });
    let mut all = bash(
        &site,
        &format!("trap 'kill $(jobs -p); wait' EXIT\n{start}\nread -r _"),
    );
    let (first, second) = announce.split_once('\n').unwrap();
    wait_for("the first node answers", || run(&site, first).status.success());
    wait_for("the other node hands out what was announced", || {
        let shown = ended(&run(&site, second)).stdout.join("\n");
        shown.contains("127.0.0.1:6881")
    });
    // Its end ends what it started.
    drop(all.stdin.take());
    all.wait().unwrap();
}

#[test]
#[ignore = "needs nats-server"]
fn doctor_asks_the_broker_and_the_nodes() {
    let (site, broker) = (Site::new("doctor"), Broker::start());
    let _nodes = site.nodes(&broker.url(), &["left", "right"]);
    let (port, secret) = (free_port().to_string(), site.secret());
    let ask = |url: &str| {
        let arguments = [
            "doctor",
            "--port",
            &port,
            "--cluster",
            url,
            "--cluster-secret",
            &secret,
        ];
        ended(&command().args(arguments).output().unwrap())
            .stdout
            .join("\n")
    };
    let found = ask(&broker.url());
    for part in [&*broker.url(), "node left", "node right", "its clock within"] {
        assert!(found.contains(part), "{part} is not in {found}");
    }
    let nobody = Broker::stopped();
    let found = ask(&nobody.url());
    assert!(
        found.contains("cluster broker") && found.contains("refused"),
        "{found}"
    );
}

/// The commands that start nodes, and those that ask them.
fn blocks() -> [String; 2] {
    let manual = include_str!("../../../docs/cluster.md");
    let section = manual.split("\n## ").nth(1).unwrap();
    let is_command = |line: &&str| line.starts_with("    ");
    let lines: Vec<_> = section.lines().filter(is_command).map(str::trim).collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with("etracker-client"))
        .unwrap();
    assert!(at >= 4 && lines.len() == at + 2, "{lines:?}");
    [&lines[..at], &lines[at..]].map(|lines| lines.join("\n"))
}

fn bash(site: &Site, script: &str) -> Child {
    let mut bash = in_folder(site, script);
    bash.stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    bash.spawn().unwrap()
}

fn run(site: &Site, line: &str) -> Output {
    in_folder(site, line).output().unwrap()
}

/// A script in the folder of the site, with the commands of this build.
fn in_folder(site: &Site, script: &str) -> Command {
    let commands = Path::new(env!("CARGO_BIN_EXE_etracker")).parent().unwrap();
    let others = env::var("PATH").unwrap();
    let mut bash = other("bash");
    bash.args(["-ec", script])
        .current_dir(site.folder.path(""))
        .env("PATH", format!("{}:{others}", commands.display()));
    bash
}
