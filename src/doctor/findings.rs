//! Judges facts: findings, grades and remedies.

use std::ops::RangeInclusive;

use etracker_runtime_common::{OpenError, Transport};

use super::addresses::Absent;
use super::conntrack::Conntrack;
use super::facts::{
    Facts, Ipv6, LockedMemory, MemoryLimit, OpenFiles, ReceiveBuffer, RoundTrip, StepResult, is_in_use,
};
use super::finding::{Finding, Grade, answer, fault, ok, warning};
use super::https;
use super::probe::Answer;
use crate::failure::Failure;
use crate::finding::larger_buffers;
use crate::memory::{From as CapFrom, Mib};
use crate::privileges::PrivilegeError;
use crate::sockets::SocketError;
use crate::state::{StateContent, StateError};
use crate::steps::{CERTIFICATES, OPEN_FILES, PORT, STATE};

/// Judges all facts.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![open_files(facts.open_files, facts.workers)];
    findings.extend(facts.receive_buffer.map(receive_buffer));
    findings.extend(
        facts
            .conntrack
            .map(|conntrack| connection_tracking(conntrack, facts.port)),
    );
    findings.extend(facts.memory.and_then(memory_limit));
    findings.extend(facts.locked_memory.map(locked_memory));
    findings.push(ipv6(facts.ipv6));
    findings.extend(facts.steps.iter().filter_map(|taken| step(taken, facts)));
    findings.extend(facts.absent.iter().map(|absent| absent_address(*absent)));
    findings.extend(facts.state.as_ref().map(|content| state(content, facts)));
    if is_of_a_tracker(facts) {
        findings.extend(facts.round_trips.iter().map(round_trip));
    }
    findings.extend(facts.told.iter().cloned());
    findings.extend(environment(&facts.unknown_variables));
    findings.push(private_peers(facts));
    let interval = interval(facts);
    let is_first = facts.public.is_some() && interval.grade != Grade::Ok;
    findings.insert(if is_first { 0 } else { findings.len() }, interval);
    findings
}

fn open_files(files: OpenFiles, workers: usize) -> Finding {
    let about = "open files";
    let OpenFiles { hard, wanted, .. } = files;
    let raise = format!("ulimit -Hn {wanted} as root, or LimitNOFILE={wanted} in the unit");
    let Some(connections) = files.connections else {
        let what = format!("{hard} are allowed: no room for connections beside {workers} workers");
        return fault(about, what, format!("{raise}, or fewer --workers"));
    };
    let what = format!(
        "{} of {wanted} wanted: {connections} connections at once",
        files.soft
    );
    if files.soft >= wanted {
        ok(about, what)
    } else {
        warning(about, what, raise)
    }
}

fn receive_buffer(buffer: ReceiveBuffer) -> Finding {
    let about = "receive buffer";
    let ReceiveBuffer { wanted, granted } = buffer;
    let what = format!("{granted} of {wanted} bytes wanted");
    if granted >= wanted {
        return ok(about, what);
    }
    warning(
        about,
        format!("{what}: bursts of UDP requests are lost"),
        larger_buffers(wanted),
    )
}

fn connection_tracking(conntrack: Conntrack, port: u16) -> Finding {
    let about = "connection tracking";
    let Conntrack {
        count,
        max,
        tracks_port,
    } = conntrack;
    let table = format!("{count} of {max} entries in use");
    let is_half_full = count.saturating_mul(2) >= max;
    match tracks_port {
        Some(false) => ok(about, format!("UDP port {port} is not tracked; {table}")),
        Some(true) => warning(
            about,
            format!(
                "UDP port {port} is tracked, each client in an entry of its own; {table}, and a full table drops datagrams"
            ),
            "notrack for the port, as in packaging/nftables.conf",
        ),
        None if is_half_full => warning(
            about,
            format!("{table}, and a full table drops datagrams"),
            "etracker doctor as root says whether the tracker's port is in it; packaging/nftables.conf takes it out",
        ),
        None => ok(
            about,
            format!("{table}; root can see whether UDP port {port} is among them"),
        ),
    }
}

/// `None` if the limit follows from what the system has: then it is below.
fn memory_limit(memory: MemoryLimit) -> Option<Finding> {
    let about = "memory limit";
    let (cap, system) = (memory.cap.bytes, memory.system?);
    if !matches!(memory.cap.from, CapFrom::Option(_)) {
        return None;
    }
    let what = format!("{} of {} that the system gives", memory.cap, Mib(system));
    let wanted = cap + BESIDE_THE_CAP;
    if system >= wanted {
        return Some(ok(about, what));
    }
    let fits = system.saturating_sub(BESIDE_THE_CAP) >> 20;
    Some(warning(
        about,
        format!("{what}: the kernel ends the tracker before its own limit holds"),
        format!("MemoryMax={}M in the unit, or --memory-max {fits}M", wanted >> 20),
    ))
}

fn locked_memory(memory: LockedMemory) -> Finding {
    let about = "locked memory";
    let LockedMemory {
        least,
        wanted,
        granted,
        ..
    } = memory;
    if !memory.needed {
        return ok(about, "not needed by smol");
    }
    let what = format!("{granted} of {wanted} bytes wanted");
    if granted >= wanted {
        return ok(about, what);
    }
    let kib = wanted.div_ceil(1024);
    let raise = format!("ulimit -Hl {kib} as root, or LimitMEMLOCK={kib}K in the unit");
    let what = if granted < least {
        format!("{what}: glommio does not start")
    } else {
        format!("{what}: some workers may not start")
    };
    warning(about, what, raise)
}

fn ipv6(ipv6: Ipv6) -> Finding {
    let about = "IPv6";
    let Ipv6 {
        wanted,
        usable,
        global_addresses,
    } = ipv6;
    match (wanted, usable, global_addresses) {
        (false, ..) => ok(about, "not used: --bind has only IPv4 addresses"),
        (true, false, _) => warning(
            about,
            "not usable: only IPv4 is served",
            "sysctl -w net.ipv6.conf.all.disable_ipv6=0, and no ipv6.disable=1 in the kernel's command line",
        ),
        (true, true, 0) => warning(
            about,
            "usable, but no interface has a global address: clients elsewhere cannot connect over IPv6",
            "have the provider route a prefix to this host; then the tracker's name needs an AAAA record",
        ),
        (true, true, count) => ok(about, format!("usable, global addresses: {count}")),
    }
}

/// Whether a tracker may be behind the port: it is free, or at least one probe was answered. Otherwise another program has the
/// port, and its failure to answer as a tracker is not a separate fault.
pub(super) fn is_of_a_tracker(facts: &Facts) -> bool {
    !is_in_use(&facts.steps)
        || facts.round_trips.iter().any(|trip| trip.asked.is_ok())
        || https::is_answered(&facts.over_tls)
}

/// The finding about a step of the start, if there is one.
fn step(taken: &StepResult, facts: &Facts) -> Option<Finding> {
    let about = taken.about;
    match &taken.outcome {
        // Open files have a separate finding.
        _ if about == OPEN_FILES => None,
        // And so have certificates that can be read.
        Ok(()) if about == CERTIFICATES => None,
        Ok(()) if about == PORT => Some(port_finding(facts)),
        Err(Failure::Sockets(error)) => Some(port_fault(error, facts)),
        Err(failure) => Some(fault(about, failure.to_string(), remedy(failure))),
        Ok(()) if taken.told.is_empty() => None,
        Ok(()) => Some(ok(about, taken.told.join("; "))),
    }
}

/// The finding about unknown variables, if there are any.
fn environment(unknown: &[String]) -> Option<Finding> {
    let names = unknown.join(", ");
    let what = format!("not an option, and ignored: {names}");
    (!unknown.is_empty()).then(|| warning("environment", what, "the name of an option: etracker --help"))
}

fn port_finding(facts: &Facts) -> Finding {
    let port = facts.port;
    match &facts.broken {
        None => ok(PORT, format!("{port} is free and permitted")),
        Some(reason) => fault(
            PORT,
            format!("{port} is free, but serving failed: {reason}"),
            OTHER_RUNTIME,
        ),
    }
}

fn port_fault(error: &SocketError, facts: &Facts) -> Finding {
    let port = facts.port;
    let remedy = match error {
        SocketError::Open(OpenError::InUse(..)) if is_of_a_tracker(facts) => {
            return ok(
                PORT,
                format!("{port} is in use by a tracker, which is checked instead"),
            );
        }
        SocketError::Open(OpenError::InUse(_, at)) => format!(
            "stop the other program (as root, ss -lntup 'sport = :{}' shows it), or take another port",
            at.port()
        ),
        SocketError::Open(OpenError::NotPermitted(..)) => {
            "start as root with --user NAME, or by the units of packaging/, or take a port from 1024 on"
                .to_owned()
        }
        SocketError::Open(OpenError::NotLocal(..)) => ADDRESS_ABSENT.to_owned(),
        SocketError::Open(OpenError::NoInterface(_)) => {
            "an interface that `ip link` shows, or -f COUNT, which tries again if it comes up later"
                .to_owned()
        }
        SocketError::Open(_) => AS_THE_SYSTEM_SAYS.to_owned(),
        SocketError::Kind { .. } | SocketError::Unwanted(_) => {
            "let the socket unit pass sockets of the protocols that the options turn on".to_owned()
        }
    };
    fault(PORT, error.to_string(), remedy)
}

/// Linux allows to listen on such an address, but no client can reach it.
fn absent_address(absent: Absent) -> Finding {
    let Absent { ip, is_shown } = absent;
    if is_shown {
        let what = format!("{ip} is an address of this host that cannot be used yet");
        return fault("address", what, ADDRESS_TENTATIVE);
    }
    fault(
        "address",
        format!("this host has no address {ip}, or not yet"),
        ADDRESS_ABSENT,
    )
}

const ADDRESS_ABSENT: &str = "--bind an address of this host; nothing is to do if this one comes up later";
const ADDRESS_TENTATIVE: &str =
    "wait a moment if `ip -6 address` calls it tentative; if it says dadfailed, another host has the address";

/// The remedy for a failed step.
fn remedy(failure: &Failure) -> String {
    match failure {
        Failure::Lists(error) => error.remedy(),
        Failure::Certificates(error) => error.remedy().to_owned(),
        Failure::Privileges(error) => privilege_remedy(error),
        Failure::State(error) => error.remedy(),
        Failure::Acme(error) => error.remedy(),
        Failure::Secrets(_) => "a file that `etracker cluster secret` made, the same for all trackers of the cluster".to_owned(),
        Failure::Cluster(_) => {
            "NATS credentials or user:password for --cluster-credentials, certificates in PEM for --cluster-ca".to_owned()
        }
        Failure::Notify(_) => "leave NOTIFY_SOCKET out of the environment: systemd sets it".to_owned(),
        Failure::Runtime(_) => OTHER_RUNTIME.to_owned(),
        Failure::Memory(_) => "a larger --memory-max, fewer --workers, or smaller lists".to_owned(),
        Failure::Seed(_)
        | Failure::Signals(_)
        | Failure::Thread(_)
        | Failure::Threads { .. }
        | Failure::Files { .. }
        | Failure::Sockets(_)
        | Failure::Supervisor(_)
        | Failure::Spawn(_)
        | Failure::Serve(_) => AS_THE_SYSTEM_SAYS.to_owned(),
    }
}

fn privilege_remedy(error: &PrivilegeError) -> String {
    match error {
        PrivilegeError::NoUser(_) => "a user that `getent passwd` shows, or make one: useradd --system NAME",
        PrivilegeError::RootUser(_) => "--user nobody, or a user made for this: useradd --system NAME",
        PrivilegeError::NotRoot(_) => "start as root, or leave --user and --chroot out",
        PrivilegeError::Failed(..) | PrivilegeError::Kept(_) => AS_THE_SYSTEM_SAYS,
        PrivilegeError::NoRoot(..) => "make that folder, or give another for --chroot",
    }
    .to_owned()
}

/// The finding about a usable state file and its content.
fn state(content: &Result<StateContent, StateError>, facts: &Facts) -> Finding {
    let by = match &facts.state_taken {
        // The tracker that has the port is probably the one that holds the state: that is as it should be.
        Some(StateError::Taken { by, .. }) if is_in_use(&facts.steps) && is_of_a_tracker(facts) => {
            let pid = by.map_or_else(String::new, |pid| format!(", process {pid},"));
            format!("; a running tracker{pid} uses it now")
        }
        Some(taken) => return fault(STATE, taken.to_string(), taken.remedy()),
        None => String::new(),
    };
    match content {
        Ok(StateContent::None(path)) => ok(STATE, format!("{}: none yet{by}", path.display())),
        Ok(StateContent::Peers(path, peers)) => ok(STATE, format!("{}: {peers} peers{by}", path.display())),
        Ok(StateContent::Damaged(path, damage)) => warning(
            STATE,
            format!(
                "{}: {damage}: the tracker sets it aside and starts without torrents",
                path.display()
            ),
            "restore it from a backup, if there is one",
        ),
        Err(error) => fault(
            STATE,
            error.to_string(),
            "a file that the tracker's user can read",
        ),
    }
}

fn round_trip(trip: &RoundTrip) -> Finding {
    let (protocol, rule) = match trip.transport {
        Transport::Tcp => ("HTTP", "tcp"),
        Transport::Udp => ("UDP", "udp"),
    };
    answer(protocol, rule, trip.at, trip.asked.as_ref())
}

/// The interval served now is graded. A shorter one that the options allow later is a remark, as only the load decides it.
fn interval(facts: &Facts) -> Finding {
    let about = "interval";
    let served = facts.round_trips.iter().filter_map(|trip| match trip.asked {
        Ok(Answer::Interval(secs)) => Some(secs),
        _ => None,
    });
    let (lowest, highest) = LISTED_SECS.into_inner();
    let secs = served
        .max_by_key(|&secs| lowest.saturating_sub(secs).max(secs.saturating_sub(highest)))
        .unwrap_or(facts.intervals.initial);
    let min = facts.intervals.min;
    let lists = format!("public lists of trackers take {lowest} to {highest} s");
    let lift = format!("--min-interval {lowest}");
    if secs < lowest {
        warning(about, format!("{secs} s is served: {lists}"), lift)
    } else if secs > highest {
        let lower = format!("--max-interval {highest} at the most");
        warning(about, format!("{secs} s is served: {lists}"), lower)
    } else if min < lowest && facts.public.is_some() {
        warning(
            about,
            format!("{secs} s, and down to {min} while the load is low: {lists}"),
            format!("{lift}: the first thing to change for a tracker with a public address"),
        )
    } else if min < lowest {
        Finding {
            remedy: Some(format!("{lift} to be on them all the time: {lists}")),
            ..ok(
                about,
                format!("{secs} s, and down to {min} while the load is low"),
            )
        }
    } else {
        ok(
            about,
            format!("{secs} s, within what public lists of trackers take"),
        )
    }
}

fn private_peers(facts: &Facts) -> Finding {
    let about = "private peers";
    match facts.public.filter(|_| facts.private_peers) {
        Some(public) => warning(
            about,
            format!(
                "allowed: 192.168.1.1 and the like are handed to clients who come to {public} from anywhere"
            ),
            "--private-peers deny, unless the tracker is for a network of your own",
        ),
        None if facts.private_peers => ok(about, "allowed: no address that is listened on is global"),
        None => ok(about, "refused"),
    }
}

/// Bytes that the kernel takes for a process beside those that the process counts.
const BESIDE_THE_CAP: u64 = 50 << 20;
/// Announce intervals that public lists of trackers take: 5 minutes to 3 hours.
const LISTED_SECS: RangeInclusive<u32> = 300..=10_800;
/// The remedy for a runtime that does not start.
const OTHER_RUNTIME: &str = "another --runtime, if this build has one";
/// The remedy for other errors of the system.
const AS_THE_SYSTEM_SAYS: &str = "what the system says; then try again";
#[cfg(test)]
mod tests {
    use etracker_core::config::Intervals;

    use etracker_runtime_common::Protocol;

    use super::*;
    use crate::doctor::https::Https;
    use crate::doctor::probe::ProbeError;
    use crate::finding::BUFFER_LIMIT;
    use crate::lists::ListError;
    use crate::memory::Cap;
    use crate::options::name::{DENY_LIST, MEMORY_MAX, USER};
    use crate::options::{Setting, Source};

    const AT: &str = "192.0.2.7:6969";

    /// The facts of a healthy host.
    fn healthy() -> Facts {
        let trip = |transport| RoundTrip {
            transport,
            at: AT.parse().unwrap(),
            asked: Ok(Answer::Interval(1799)),
        };
        Facts {
            workers: 2,
            port: 6969,
            open_files: OpenFiles {
                soft: 64_000,
                hard: 1 << 20,
                wanted: 64_000,
                connections: Some(63_000),
            },
            receive_buffer: Some(ReceiveBuffer {
                wanted: 4 << 20,
                granted: 4 << 20,
            }),
            conntrack: None,
            memory: None,
            locked_memory: None,
            ipv6: Ipv6 {
                wanted: true,
                usable: true,
                global_addresses: 1,
            },
            absent: Vec::new(),
            public: None,
            steps: vec![taken(PORT, Ok(()))],
            state: None,
            state_taken: None,
            broken: None,
            round_trips: vec![trip(Transport::Udp), trip(Transport::Tcp)],
            https: Https::default(),
            over_tls: Vec::new(),
            told: Vec::new(),
            acme: None,
            cluster: None,
            unknown_variables: Vec::new(),
            intervals: Intervals {
                initial: 1799,
                min: 300,
                max: 1799,
            },
            private_peers: false,
        }
    }

    fn taken(about: &'static str, outcome: Result<(), Failure>) -> StepResult {
        StepResult {
            about,
            told: Vec::new(),
            outcome,
        }
    }

    fn not_opened(error: OpenError) -> Vec<StepResult> {
        vec![taken(PORT, Err(Failure::Sockets(SocketError::Open(error))))]
    }

    /// The only finding that is not ok, as "grade about: what -> remedy".
    fn trouble(spoil: impl FnOnce(&mut Facts)) -> String {
        let mut facts = healthy();
        spoil(&mut facts);
        let findings = judge(&facts);
        let bad: Vec<_> = findings
            .iter()
            .filter(|finding| finding.grade != Grade::Ok)
            .collect();
        let [bad] = bad.as_slice() else {
            panic!("not one finding: {findings:?}");
        };
        let remedy = bad.remedy.as_deref().expect("what is not well has a remedy");
        format!("{} {}: {} -> {remedy}", bad.grade.name(), bad.about, bad.what)
    }

    fn assert_all_ok(facts: &Facts) {
        let findings = judge(facts);
        assert!(
            findings.iter().all(|finding| finding.grade == Grade::Ok),
            "{findings:?}"
        );
    }

    #[test]
    fn a_good_host_is_ok() {
        assert_all_ok(&healthy());
        assert_eq!(judge(&healthy()).len(), 8);
    }

    #[test]
    fn small_receive_buffers_are_a_warning_with_the_setting() {
        let line = trouble(|facts| facts.receive_buffer.as_mut().unwrap().granted = 212_992);
        assert!(
            line.starts_with("warning receive buffer: 212992 of 4194304 bytes"),
            "{line}"
        );
        assert!(
            line.contains(&format!("sysctl -w {BUFFER_LIMIT}=4194304")),
            "{line}"
        );
    }

    #[test]
    fn few_open_files_are_a_warning_and_too_few_a_fault() {
        let line = trouble(|facts| {
            (facts.open_files.soft, facts.open_files.hard) = (1024, 1024);
            facts.open_files.connections = Some(900);
        });
        assert!(
            line.starts_with("warning open files: 1024 of 64000 wanted: 900 connections"),
            "{line}"
        );
        assert!(line.contains("LimitNOFILE=64000"), "{line}");
        let line = trouble(|facts| {
            (facts.open_files.hard, facts.open_files.connections) = (40, None);
        });
        assert!(
            line.starts_with("fault open files: 40 are allowed: no room"),
            "{line}"
        );
    }

    #[test]
    fn ipv6_that_is_not_there_is_a_warning_if_it_was_wanted() {
        let line = trouble(|facts| facts.ipv6.usable = false);
        assert!(line.starts_with("warning IPv6: not usable"), "{line}");
        let line = trouble(|facts| facts.ipv6.global_addresses = 0);
        assert!(line.contains("no interface has a global address"), "{line}");
        let mut facts = healthy();
        facts.ipv6 = Ipv6 {
            wanted: false,
            usable: false,
            global_addresses: 0,
        };
        assert_all_ok(&facts);
    }

    #[test]
    fn a_port_in_use_is_a_fault_unless_a_tracker_answers_there() {
        let at = AT.parse().unwrap();
        let in_use = || not_opened(OpenError::InUse(Protocol::Http, at));
        let mut facts = healthy();
        facts.steps = in_use();
        assert_all_ok(&facts);
        // One fault, and not one more for each address where no tracker answers.
        let line = trouble(|facts| {
            facts.steps = in_use();
            for trip in &mut facts.round_trips {
                trip.asked = Err(ProbeError::Silent);
            }
        });
        assert!(
            line.starts_with("fault port: cannot listen on TCP 192.0.2.7:6969"),
            "{line}"
        );
        assert!(line.contains("ss -lntup 'sport = :6969'"), "{line}");
        let line = trouble(|facts| {
            facts.steps = not_opened(OpenError::NotPermitted(Protocol::Udp, at));
            facts.round_trips.clear();
        });
        assert!(
            line.starts_with("fault port") && line.contains("--user NAME"),
            "{line}"
        );
    }

    #[test]
    fn a_step_that_a_start_fails_at_is_a_fault_with_its_remedy() {
        let nosuch = Setting {
            source: Source::Argument(USER),
            value: "nosuch".to_owned(),
        };
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let list = ListError::Unreadable(Source::Argument(DENY_LIST), "/no/list".into(), missing);
        for (failure, named, remedy) in [
            (Failure::Lists(list), "/no/list", "--deny-list"),
            (
                Failure::Privileges(PrivilegeError::NoUser(nosuch)),
                "--user=nosuch",
                "useradd",
            ),
            (
                Failure::Privileges(PrivilegeError::NotRoot(Source::Argument(USER))),
                "--user",
                "start as root",
            ),
            (
                Failure::Runtime("no io_uring".to_owned()),
                "io_uring",
                "--runtime",
            ),
        ] {
            let line = trouble(|facts| facts.steps.push(taken("step", Err(failure))));
            let (what, to_do) = line.split_once(" -> ").unwrap();
            assert!(what.starts_with("fault step: ") && what.contains(named), "{line}");
            assert!(to_do.contains(remedy), "{line}");
        }
    }

    #[test]
    fn variables_that_are_no_options_are_one_warning() {
        let line = trouble(|facts| facts.unknown_variables = vec!["ETRACKER_A".into(), "ETRACKER_B".into()]);
        assert!(line.starts_with("warning environment"), "{line}");
        assert!(line.contains("ETRACKER_A, ETRACKER_B"), "{line}");
    }

    #[test]
    fn the_shortest_interval_is_the_first_thing_to_change_for_a_public_tracker() {
        let mut facts = healthy();
        (facts.intervals.min, facts.public) = (239, Some([9, 9, 9, 9].into()));
        let findings = judge(&facts);
        let first = &findings[0];
        assert_eq!((first.grade, &*first.about), (Grade::Warning, "interval"));
        let remedy = first.remedy.as_deref().unwrap();
        assert!(
            remedy.starts_with("--min-interval 300: the first thing"),
            "{remedy}"
        );
        facts.intervals.min = 300;
        assert_all_ok(&facts);
    }

    #[test]
    fn answers_that_do_not_come_or_come_from_elsewhere_are_faults() {
        for (unanswered, expected) in [
            (
                ProbeError::Silent,
                "fault UDP 192.0.2.7:6969: no answer -> let udp port 6969 in",
            ),
            (
                ProbeError::From("192.0.2.8:6969".parse().unwrap()),
                "fault UDP 192.0.2.7:6969: the answer came from 192.0.2.8:6969",
            ),
            (
                ProbeError::Unreadable,
                "fault UDP 192.0.2.7:6969: another program answers there, not a tracker",
            ),
        ] {
            let line = trouble(|facts| facts.round_trips[0].asked = Err(unanswered));
            assert!(line.starts_with(expected), "{line}");
        }
        let mut facts = healthy();
        facts.round_trips[1].asked = Ok(Answer::Refused("not allowed".to_owned()));
        assert_all_ok(&facts);
    }

    #[test]
    fn intervals_that_lists_do_not_take_are_a_warning() {
        let serving = |secs| trouble(|facts| facts.round_trips[0].asked = Ok(Answer::Interval(secs)));
        let line = serving(239);
        assert!(line.starts_with("warning interval: 239 s is served"), "{line}");
        assert!(line.ends_with("-> --min-interval 300"), "{line}");
        assert!(serving(11_000).ends_with("-> --max-interval 10800 at the most"));
        let line = trouble(|facts| {
            facts.round_trips.clear();
            facts.intervals.initial = 299;
        });
        assert!(line.starts_with("warning interval: 299 s"), "{line}");
    }

    #[test]
    fn a_lower_bound_that_lists_do_not_take_is_a_remark() {
        let mut facts = healthy();
        facts.intervals.min = 239;
        assert_all_ok(&facts);
        let findings = judge(&facts);
        let interval = findings
            .iter()
            .find(|finding| finding.about == "interval")
            .unwrap();
        assert_eq!(interval.what, "1799 s, and down to 239 while the load is low");
        let remark = interval.remedy.as_deref().unwrap();
        assert!(remark.starts_with("--min-interval 300"), "{remark}");
    }

    #[test]
    fn private_peers_are_a_warning_where_a_public_address_is_listened_on() {
        let line = trouble(|facts| {
            (facts.private_peers, facts.public) = (true, Some([9, 9, 9, 9].into()));
        });
        assert!(line.starts_with("warning private peers: allowed"), "{line}");
        assert!(
            line.contains("who come to 9.9.9.9") && line.contains("-> --private-peers deny"),
            "{line}"
        );
        for (allowed, public) in [(true, None), (false, Some([9, 9, 9, 9].into())), (false, None)] {
            let mut facts = healthy();
            (facts.private_peers, facts.public) = (allowed, public);
            assert_all_ok(&facts);
        }
    }

    #[test]
    fn a_tracked_port_and_a_table_that_fills_are_warnings() {
        let table = |count, tracks_port| Conntrack {
            count,
            max: 1000,
            tracks_port,
        };
        let line = trouble(|facts| facts.conntrack = Some(table(3, Some(true))));
        assert!(
            line.starts_with("warning connection tracking: UDP port 6969 is tracked"),
            "{line}"
        );
        assert!(
            line.contains("3 of 1000 entries") && line.ends_with("packaging/nftables.conf"),
            "{line}"
        );
        let line = trouble(|facts| facts.conntrack = Some(table(500, None)));
        assert!(
            line.starts_with("warning connection tracking: 500 of 1000 entries"),
            "{line}"
        );
        for fine in [table(999, Some(false)), table(499, None)] {
            let mut facts = healthy();
            facts.conntrack = Some(fine);
            assert_all_ok(&facts);
        }
    }

    #[test]
    fn a_memory_limit_above_what_the_system_gives_is_a_warning() {
        let limit = |from, system| MemoryLimit {
            cap: Cap {
                bytes: 256 << 20,
                from,
            },
            system,
        };
        let given = CapFrom::Option(Source::Argument(MEMORY_MAX));
        let line = trouble(|facts| facts.memory = Some(limit(given, Some(300 << 20))));
        assert!(
            line.starts_with("warning memory limit: 256 MiB (--memory-max) of 300 MiB"),
            "{line}"
        );
        assert!(
            line.ends_with("MemoryMax=306M in the unit, or --memory-max 250M"),
            "{line}"
        );
        let of_cgroup = CapFrom::Cgroup(300 << 20);
        for fine in [
            limit(given, Some(306 << 20)),
            limit(given, None),
            limit(of_cgroup, Some(300 << 20)),
        ] {
            let mut facts = healthy();
            facts.memory = Some(fine);
            assert_all_ok(&facts);
        }
    }

    #[test]
    fn too_little_locked_memory_is_a_warning_where_glommio_serves() {
        let memory = |granted, needed| LockedMemory {
            needed,
            least: 512 << 10,
            wanted: 1536 << 10,
            granted,
        };
        let line = trouble(|facts| facts.locked_memory = Some(memory(64 << 10, true)));
        assert!(
            line.starts_with("warning locked memory: 65536 of 1572864 bytes wanted: glommio does not start"),
            "{line}"
        );
        assert!(line.ends_with("LimitMEMLOCK=1536K in the unit"), "{line}");
        let line = trouble(|facts| facts.locked_memory = Some(memory(1 << 20, true)));
        assert!(line.contains("some workers may not start"), "{line}");
        for fine in [memory(64 << 10, false), memory(8 << 20, true)] {
            let mut facts = healthy();
            facts.locked_memory = Some(fine);
            assert_all_ok(&facts);
        }
    }
}
