//! Six faults, put in by hand: each is named by the verdict, by doctor, by a metric and by an alert.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use etracker_core::InfoHash;
use nix::sched::{CloneFlags, unshare};
use rustix::process::Signal;

use crate::clients::{connect, http_announce, newcomer, read_response};
use crate::harness::{Folder, Tracker, run};
use crate::monitoring::Prometheus;
use crate::pages::json;

/// A fault, and what names it.
struct Fault {
    what: &'static str,
    /// Options of the tracker beside `--bind`.
    options: Vec<String>,
    put: fn(&Tracker, &Folder),
    /// In the verdict and as the label of `etracker_finding`.
    finding: &'static str,
    /// How a line of doctor begins.
    doctor: &'static str,
    /// A query that finds something.
    metric: &'static str,
    alert: &'static str,
}

#[test]
#[ignore = "needs root, for a network and a disk of its own, and nft and prometheus"]
fn six_faults_are_named_by_the_verdict_by_doctor_by_a_metric_and_by_an_alert() {
    let host = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        command("ip link set lo up");
        command("mount --make-rprivate /");
        let folder = Folder::new("faults");
        command(&format!("mount -t tmpfs -o size=256k tmpfs {}", folder.path("")));
        for fault in faults(&folder) {
            fault.is_named(&folder);
        }
        command(&format!("umount {}", folder.path("")));
    });
    host.join().unwrap();
}

fn faults(folder: &Folder) -> Vec<Fault> {
    let owned = |options: &[&str]| options.iter().map(|&option| option.to_owned()).collect();
    let (state, list) = (folder.path("state"), folder.path("list"));
    fs::write(&list, format!("{}\n", "ab".repeat(20))).unwrap();
    vec![
        Fault {
            what: "a proxy that is not heeded",
            options: Vec::new(),
            put: |tracker, _| (0..100).for_each(|number| forwarded(tracker, number)),
            finding: "clients",
            doctor: "warning  clients",
            metric: "etracker_clients_hidden{cause=\"header_ignored\"} == 1",
            alert: "EtrackerClientsHidden",
        },
        Fault {
            what: "a bad list",
            options: owned(&["--deny-list", &list]),
            put: |tracker, folder| {
                fs::write(folder.path("list"), "no info-hash\n").unwrap();
                tracker.signal(Signal::HUP);
            },
            finding: "lists",
            doctor: "fault    lists",
            metric: "etracker_reload_failures_total{files=\"lists\"} == 1",
            alert: "EtrackerListsNotReloaded",
        },
        Fault {
            what: "a full disk",
            options: owned(&["--state", &state, "--state-period", "1"]),
            put: fill_disk,
            finding: "state",
            doctor: "warning  state",
            metric: "etracker_state_write_failures_total > 0",
            alert: "EtrackerStateNotWritten",
        },
        Fault {
            what: "a load that is too high",
            options: owned(&["--max-load-avg", "0.5", "--min-interval", "1799"]),
            put: |_, _| raise_load(),
            finding: "load",
            doctor: "warning  load",
            metric: "etracker_load_average{minutes=\"15\"} > on (instance) group_left etracker_load_average_limit",
            alert: "EtrackerLoad",
        },
        Fault {
            what: "datagrams that the kernel drops",
            options: owned(&["--workers", "1"]),
            put: |tracker, _| flood(tracker),
            finding: "udp_drops",
            doctor: "warning  UDP drops",
            metric: "etracker_udp_kernel_drops_total >= 10",
            alert: "EtrackerUdpDrops",
        },
        Fault {
            what: "a port that is blocked",
            options: Vec::new(),
            put: |tracker, _| block_udp(tracker),
            finding: "udp_silent",
            doctor: "fault    UDP 127.0.0.1",
            metric: "etracker_finding{name=\"udp_silent\"} == 1",
            alert: "EtrackerUdpSilent",
        },
    ]
}

impl Fault {
    fn is_named(&self, folder: &Folder) {
        let options: Vec<_> = self.options.iter().map(String::as_str).collect();
        // All but one of them are well on a machine that is busy.
        let bears: &[&str] = if self.finding == "load" {
            &[]
        } else {
            &["--max-load-avg", "1000"]
        };
        let options = [&["--bind", "127.0.0.1"], bears, &options[..]].concat();
        let tracker = Tracker::start(&options);
        let prometheus = Prometheus::before(&tracker);
        let finds = |query: &str| prometheus.query(query).is_some_and(|found| !found.is_empty());
        comes(self.what, "scrapes", || finds("count_over_time(up[1m]) >= 2"));
        if self.finding != "load" {
            assert!(!finds(self.metric), "{}: before the fault", self.what);
        }
        (self.put)(&tracker, folder);
        comes(self.what, "verdict", || {
            let verdict = &json(&tracker)["verdict"];
            let findings = verdict["findings"].as_array().unwrap();
            let is_there = findings.iter().any(|finding| finding["name"] == self.finding);
            is_there && verdict["grade"] == "warning"
        });
        comes(self.what, "metric", || finds(self.metric));
        let query = format!("etracker_finding{{name=\"{}\"}} == 1", self.finding);
        comes(self.what, "finding", || finds(&query));
        comes(self.what, "alert", || {
            prometheus.alerts().iter().any(|name| name == self.alert)
        });
        let port = tracker.port().to_string();
        let doctor = run(&[&["doctor", "--port", &port], &options[..]].concat());
        let lines: Vec<_> = doctor
            .stdout
            .iter()
            .filter(|line| line.starts_with(self.doctor))
            .collect();
        assert!(!lines.is_empty(), "{}: {doctor:?}", self.what);
    }
}

/// Waits for a minute and a half: an alert takes several scrapes, and silence is told after a minute.
fn comes(what: &str, by: &str, mut is_there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(
            began.elapsed() < Duration::from_secs(90),
            "{what} is not named by the {by}"
        );
        // So slow that the tracker does not tell a reader to ask for pages less often.
        thread::sleep(Duration::from_millis(200));
    }
}

fn announce(tracker: &Tracker, number: u16) {
    let home = IpAddr::from(Ipv4Addr::LOCALHOST);
    let [high, low] = number.to_be_bytes();
    let mut info_hash = [7; 20];
    (info_hash[0], info_hash[1]) = (high, low);
    http_announce(
        tracker.v4(),
        &newcomer(InfoHash(info_hash), (home, 7000).into()),
        None,
    );
}

/// An announce as a proxy on this host passes it on.
fn forwarded(tracker: &Tracker, number: u16) {
    let mut stream = connect(Ipv4Addr::LOCALHOST.into(), tracker.v4());
    let request = format!(
        "GET /announce?info_hash=can%20you%20see%20us%20there&peer_id=-XX0000-abcdefghijkl&port={}&left=1 HTTP/1.1\r\n\
         Host: tracker\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n",
        7000 + number
    );
    stream.write_all(request.as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream).status, 200);
}

/// Leaves no room for the next state, whatever the size of a block.
fn fill_disk(tracker: &Tracker, folder: &Folder) {
    let mut filler = fs::File::create(folder.path("filler")).unwrap();
    while filler.write_all(&[1; 512]).is_ok() {}
    (0..200).for_each(|number| announce(tracker, number));
}

fn block_udp(tracker: &Tracker) {
    command("nft add table inet faults");
    command("nft add chain inet faults in { type filter hook input priority 0; }");
    command(&format!(
        "nft add rule inet faults in udp dport {} drop",
        tracker.port()
    ));
    (0..100).for_each(|number| announce(tracker, number));
}

/// Keeps processors busy until the averages show it.
fn raise_load() {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let began = Instant::now();
        let averages = || fs::read_to_string("/proc/loadavg").unwrap();
        let is_high = |averages: &str| {
            averages
                .split(' ')
                .take(3)
                .all(|average| average.parse::<f64>().unwrap() > 0.6)
        };
        while !is_high(&averages()) && began.elapsed() < Duration::from_secs(120) {
            thread::sleep(Duration::from_secs(1));
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

/// Sends more datagrams than a receive buffer holds, while nobody receives them.
fn flood(tracker: &Tracker) {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    tracker.signal(Signal::STOP);
    for _ in 0..30_000 {
        // The sender's own buffer may be full.
        let _ = client.send_to(&[0; 98], tracker.v4());
    }
    tracker.signal(Signal::CONT);
}

#[track_caller]
fn command(line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{line}");
}
