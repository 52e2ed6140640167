//! The command against the tracker of this project and against the floor: every request is accounted for.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use etracker_core::udp::packet::RequestHead;
use etracker_core::{Config, Seed, Tracker};
use etracker_runtime_common::{Clock, Control, Fronts, Job, Listen, Protocol, ServeError, open};

/// A tracker that serves until this is dropped.
struct Server {
    control: Arc<Control>,
    target: String,
    serving: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Server {
    fn start() -> Self {
        let local = [[127, 0, 0, 1].into()];
        let listen = Listen::new(1)
            .bind(Protocol::Http, &local, 0)
            .bind(Protocol::Udp, &local, 0);
        // A free TCP port may be taken over UDP; then another is tried.
        let opened = (0..20).find_map(|_| open(&listen).ok()).unwrap();
        let clock = Clock::start();
        let config = Config::default().with_keep_alive(true);
        let control = Arc::new(Control::new());
        let fronts = Fronts::new(&Seed::new([1; 32]), &config);
        let job = Job {
            tracker: Arc::new(Tracker::new(config, Seed::new([1; 32]), clock.now())),
            fronts,
            sockets: opened.workers,
            clock,
            control: Arc::clone(&control),
            connections_max: 1000,
        };
        Self {
            control,
            target: opened.local[0].at.to_string(),
            serving: Some(thread::spawn(|| etracker_smol::serve(job))),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.control.stop();
        let served = self.serving.take().unwrap().join();
        assert!(thread::panicking() || served.is_ok_and(|served| served.is_ok()));
    }
}

const LOAD: &str = env!("CARGO_BIN_EXE_etracker-load");

/// Measures a second of a small population, and gives what is printed about it.
fn measured(arguments: &[&str]) -> String {
    let few = [
        "--torrents",
        "300",
        "--peers",
        "2000",
        "--clients",
        "8",
        "--seconds",
        "1",
    ];
    let output = Command::new(LOAD).args(arguments).args(few).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The number that follows the first `name` behind `start`.
fn number(text: &str, start: &str, name: &str) -> u64 {
    let (_, text) = text.split_once(start).unwrap();
    let (_, text) = text.split_once(name).unwrap();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().unwrap()
}

fn all_accounted_for(text: &str) {
    assert_eq!(number(text, "filled: ", "sent "), 2000, "{text}");
    let of = |name| number(text, "\nsent", name);
    let sent = number(text, "\n", "sent ");
    assert_eq!(sent, of("answered ") + of("lost "), "{text}");
    let answers = ["connects ", "announces ", "scrapes "].map(of);
    assert_eq!(of("answered "), answers.iter().sum::<u64>(), "{text}");
    assert!(
        answers[1] > 0 && of("refused ") == 0 && of("wrong ") == 0,
        "{text}"
    );
}

#[test]
fn every_request_to_our_tracker_is_accounted_for() {
    let server = Server::start();
    let pid = std::process::id().to_string();
    for protocol in ["udp", "http", "http-close"] {
        let text = measured(&[protocol, "--target", &server.target, "--pid", &pid]);
        all_accounted_for(&text);
        assert!(text.contains(" responses per CPU-second, "), "{text}");
    }
    // A population of the same numbers is there already.
    let text = measured(&["udp", "--target", &server.target, "--filled", "--rate", "1000"]);
    assert!(
        text.contains(", asked late by ") && text.contains(" wrong 0"),
        "{text}"
    );
}

#[test]
fn the_floor_answers_like_a_tracker() {
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let target = format!("127.0.0.1:{port}");
    let mut floor = Command::new(LOAD)
        .args(["floor", "--bind", &target])
        .spawn()
        .unwrap();
    let measured = thread::spawn(move || {
        await_answer(&target);
        measured(&["udp", "--target", &target])
    })
    .join();
    floor.kill().unwrap();
    floor.wait().unwrap();
    all_accounted_for(&measured.unwrap());
}

/// Asks until somebody answers. To bind there and see whether that can be done would keep the server from it.
fn await_answer(target: &str) {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(target).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    // Nobody at the port is an error of the next call.
    while client.send(&RequestHead::connect(1).encode()).is_err() || client.recv(&mut [0; 64]).is_err() {
        thread::yield_now();
    }
}

#[test]
#[ignore = "needs root, for a network of its own"]
fn honest_clients_are_measured_beside_an_attacker() {
    let path = std::env::temp_dir().join(format!("etracker-load-attack-{}.toml", std::process::id()));
    let server = format!(
        "[[server]]\nname = 'it'\ncommand = ['{LOAD}', 'floor', '--bind', '127.0.0.1:7077']\nudp = '127.0.0.1:7077'\n"
    );
    std::fs::write(&path, server).unwrap();
    let attacked = |bars: &[&str]| {
        Command::new(LOAD)
            .args([
                "attack",
                "connects",
                "--seconds",
                "1",
                "--patience",
                "20",
                "--attack-rate",
                "2000",
                "--servers",
            ])
            .arg(&path)
            .args(bars)
            .output()
            .unwrap()
    };
    let held = attacked(&["--answered-min", "90"]);
    let text = String::from_utf8_lossy(&held.stdout).into_owned();
    assert!(held.status.success(), "{held:?}");
    for phase in ["before", "during", "after"] {
        assert!(text.contains(&format!("| it | {phase} | ")), "{text}");
    }
    assert!(
        text.contains(" | 1.00 |\n"),
        "a connect is answered with as many bytes: {text}"
    );
    let missed = attacked(&["--resident-max", "0"]);
    std::fs::remove_file(path).unwrap();
    assert!(!missed.status.success(), "{missed:?}");
    assert!(
        String::from_utf8_lossy(&missed.stderr).contains("MiB were resident"),
        "{missed:?}"
    );
}

#[test]
fn a_reader_of_the_help_who_goes_away_does_no_harm() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["udp", "--help"],
        &["--nonsense"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(LOAD)
            .args(arguments)
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .spawn()
            .and_then(|mut child| child.wait())
            .unwrap();
        assert!(matches!(output.code(), Some(0 | 1)), "{arguments:?}: {output}");
    }
}

#[test]
fn a_server_that_is_not_there_is_left_out_loudly() {
    let path = std::env::temp_dir().join(format!("etracker-load-{}.toml", std::process::id()));
    std::fs::write(
        &path,
        "[[server]]\nname = 'nobody'\ncommand = ['no-such-tracker']\nudp = '127.0.0.1:9'\n",
    )
    .unwrap();
    let output = Command::new(LOAD)
        .args(["compare", "udp", "--unpinned", "--servers"])
        .arg(&path)
        .output()
        .unwrap();
    std::fs::remove_file(path).unwrap();
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("!!! SKIPPED: nobody"),
        "{output:?}"
    );
}
