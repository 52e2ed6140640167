use std::sync::Arc;
use std::time::{Duration, SystemTime};

use etracker_core::config::Intervals;
use etracker_core::hidden_clients::{Cause, Finding as HiddenFinding};
use etracker_core::stats::Count;
use etracker_core::{Config, Seed, Worker};

use super::*;
use crate::certificate::Certificate;
use crate::finding::{Failed, warning};
use crate::hidden_clients::Hidden;
use crate::reloads::{Reloaded, Reloads};
use crate::renewals::Renewal;
use crate::state::Writes;

const START: Instant = Instant::from_secs(1_700_000_000);

/// A tracker, a judge that takes note of it each second, and what else it is judged by.
struct Case {
    worker: Worker,
    judge: Judge,
    now: Instant,
    hidden: Vec<Hidden>,
    certificates: Vec<Certificate>,
    renewals: Vec<Renewal>,
    state: Option<Writes>,
    reloads: Reloads,
    load: [f64; 3],
}

impl Case {
    fn new() -> Self {
        let intervals = Intervals {
            initial: 600,
            min: 600,
            max: 600,
        };
        let config = Config::default()
            .with_intervals(intervals)
            .unwrap()
            .with_load_limit(1.5);
        let tracker = Tracker::new(config, Seed::new([1; 32]), START);
        Self {
            worker: Worker::new(Arc::new(tracker)),
            judge: Judge::new(START),
            now: START,
            hidden: Vec::new(),
            certificates: Vec::new(),
            renewals: Vec::new(),
            state: None,
            reloads: Reloads::default(),
            load: [0.1; 3],
        }
    }

    /// Passes so many seconds, in each of which these are counted.
    fn pass(&mut self, secs: u64, counts: &[(Count, u64)]) {
        for _ in 0..secs {
            for &(count, more) in counts {
                self.worker.counters().add(count, more);
            }
            self.now = self.now.saturating_add(Duration::from_secs(1));
            self.judge.note(self.now, self.worker.tracker());
        }
    }

    fn verdict(&self) -> Verdict {
        let tracker = self.worker.tracker();
        tracker.handle_timeout(self.now, self.load);
        self.judge.judge(&Signs {
            now: self.now,
            figures: &tracker.figures(),
            udp: Some(6969),
            hidden: &self.hidden,
            certificates: &self.certificates,
            renewals: &self.renewals,
            state: self.state.as_ref(),
            reloads: &self.reloads,
            cluster: None,
        })
    }

    /// The only finding, as "name: line".
    fn told(&self) -> String {
        let verdict = self.verdict();
        let [(subject, _)] = verdict.findings() else {
            panic!("not one finding: {verdict:?}");
        };
        assert!(verdict.grade() > Grade::Ok && verdict.grade_of(*subject) == verdict.grade());
        format!("{}: {}", subject.name(), verdict.line())
    }

    fn assert_well(&self) {
        assert_eq!(self.verdict().line(), "All well");
        assert_eq!(self.verdict().grade(), Grade::Ok);
    }
}

/// A second of a healthy tracker.
const USUAL: &[(Count, u64)] = &[
    (Count::UdpReceived4, 100),
    (Count::HttpRequest4, 10),
    (Count::HttpAnnounce, 10),
    (Count::UdpUnproven, 2),
    (Count::RefusedPrivateAddress, 1),
];

#[test]
fn a_healthy_tracker_is_well_at_any_age() {
    let mut case = Case::new();
    case.assert_well();
    for _ in 0..200 {
        case.pass(20, USUAL);
        case.assert_well();
    }
}

#[test]
fn datagrams_that_the_kernel_drops_are_told_for_some_minutes() {
    let mut case = Case::new();
    case.pass(600, USUAL);
    case.pass(1, &[(Count::UdpKernelDropped, 9)]);
    case.assert_well();
    case.pass(1, &[(Count::UdpKernelDropped, 1000)]);
    let told = case.told();
    assert!(
        told.starts_with("udp_drops: the kernel dropped 1009 datagrams"),
        "{told}"
    );
    assert!(told.contains("rmem_max") || told.contains("maxsockbuf"), "{told}");
    case.pass(400, USUAL);
    case.assert_well();
}

#[test]
fn udp_that_is_silent_while_http_is_not_is_told() {
    let mut case = Case::new();
    let http = &USUAL[1..3];
    case.pass(120, USUAL);
    case.pass(59, http);
    case.assert_well();
    case.pass(1, http);
    let told = case.told();
    assert!(
        told.starts_with("udp_silent: no datagram for 60 s, while 600 announces"),
        "{told}"
    );
    assert!(told.contains("let udp port 6969 in"), "{told}");
    case.pass(1, USUAL);
    case.assert_well();
    let mut few = Case::new();
    few.pass(99, &[(Count::HttpAnnounce, 1)]);
    few.assert_well();
}

#[test]
fn a_tracker_that_nobody_asks_for_an_hour_is_told() {
    let mut case = Case::new();
    // What scanners and readers ask is no sign of clients.
    case.pass(3599, &[(Count::HttpPage, 1), (Count::HttpRequest4, 1)]);
    case.assert_well();
    case.pass(1, &[]);
    assert!(
        case.told()
            .starts_with("silent: no client has asked anything for 60 min"),
        "{}",
        case.told()
    );
    case.pass(1, &[(Count::HttpFailure, 1)]);
    case.assert_well();
}

#[test]
fn a_load_above_its_limit_is_told_where_the_interval_cannot_grow() {
    let mut case = Case::new();
    for (load, is_told) in [
        ([1.4, 9.0, 9.0], false),
        ([9.0, 9.0, 1.5], false),
        ([2.0, 1.9, 1.8], true),
    ] {
        case.load = load;
        case.pass(1, USUAL);
        assert_eq!(case.verdict().grade_of(Subject::Load) == Grade::Warning, is_told);
    }
    let told = case.told();
    assert!(
        told.contains("2.00 1.90 1.80") && told.contains("ceiling of 600 s"),
        "{told}"
    );
}

#[test]
fn refusals_are_told_when_their_share_doubles_and_not_when_clients_do() {
    let refusing = [USUAL, &[(Count::RefusedTorrentDenied, 30)]].concat();
    let twice: Vec<_> = USUAL.iter().map(|&(count, more)| (count, 2 * more)).collect();
    let mut case = Case::new();
    case.pass(1200, &refusing);
    case.assert_well();
    let mut case = Case::new();
    case.pass(1200, USUAL);
    case.pass(300, &twice);
    case.assert_well();
    case.pass(300, &refusing);
    let told = case.told();
    assert!(
        told.starts_with("refusals: ") && told.contains("most as refused_torrent_denied"),
        "{told}"
    );
    // What lasts for an hour is how things are.
    case.pass(3600, &refusing);
    case.assert_well();
}

#[test]
fn what_is_written_reloaded_and_renewed_is_told_when_it_fails() {
    let failed = || Failed {
        what: "no space left".to_owned(),
        remedy: "make room".to_owned(),
    };
    let mut case = Case::new();
    case.state = Some(Writes::default());
    case.assert_well();
    case.state = Some(Writes {
        failed: Some(failed()),
        ..Writes::default()
    });
    let told = case.told();
    assert!(
        told.starts_with("state: no space left") && told.ends_with("-> make room"),
        "{told}"
    );
    case.state = None;
    let reloaded = Reloaded {
        failed: Some(failed()),
        ..Reloaded::default()
    };
    case.reloads.lists = reloaded.clone();
    assert!(case.told().starts_with("lists: not reloaded"), "{}", case.told());
    case.reloads = Reloads {
        certificates: reloaded,
        ..Reloads::default()
    };
    assert!(
        case.told().starts_with("certificates: not reloaded"),
        "{}",
        case.told()
    );
    case.reloads = Reloads::default();
    case.renewals = vec![Renewal {
        domain: "t.example".to_owned(),
        last: None,
        next: SystemTime::UNIX_EPOCH,
        error: Some("timed out".to_owned()),
        failures: 1,
    }];
    assert!(
        case.told()
            .starts_with("acme: no new certificate for t.example: timed out"),
        "{}",
        case.told()
    );
}

#[test]
fn several_findings_are_one_line_with_the_gravest_first() {
    let mut case = Case::new();
    let hidden = |ordinary| Hidden {
        finding: HiddenFinding {
            cause: Cause::HeaderIgnored,
            since: START,
            address: None,
            ordinary,
            limited: false,
        },
        what: "clients are hidden".to_owned(),
        remedy: "--x-forwarded-for".to_owned(),
    };
    case.hidden = vec![hidden(true)];
    case.assert_well();
    case.hidden = vec![hidden(false), hidden(false)];
    let dying = |finding| Certificate {
        names: Vec::new(),
        issuer: String::new(),
        key: String::new(),
        chain: "whole",
        expires_secs: 0,
        days_left: 0,
        is_renewed: false,
        flaws: Vec::new(),
        findings: vec![finding],
    };
    case.certificates = vec![
        dying(warning("certificate", "it ends soon", "renew it")),
        dying(crate::finding::fault("certificate", "it has ended", "renew it")),
    ];
    let verdict = case.verdict();
    assert_eq!(
        verdict.line(),
        "it has ended -> renew it (also not well: clients, certificate)"
    );
    assert_eq!(
        (verdict.grade(), verdict.grade_of(Subject::Clients)),
        (Grade::Fault, Grade::Warning)
    );
}

#[test]
fn what_is_remembered_does_not_grow() {
    let mut case = Case::new();
    case.pass(3600 * 2, USUAL);
    let recent = case.judge.0.lock().unwrap();
    assert!(recent.notes() <= 62, "{}", recent.notes());
}
