//! The rules by which a tracker that serves is judged.

use std::time::Duration;

use etracker_core::governor::Pressure;
use etracker_core::overload::Level;
use etracker_core::stats::Count;
use etracker_runtime_common::RECEIVE_BUFFER;

use super::recent::{DATAGRAMS, Period, Recent};
use super::signs::{Signs, Subject};
use crate::finding::{Finding, Grade, fault, larger_buffers, let_in, warning};

/// All that is not well, in the order in which subjects are listed.
pub(super) fn judge(signs: &Signs<'_>, recent: &Recent) -> Vec<(Subject, Finding)> {
    let lately = recent.lately(signs.now, signs.figures);
    let mut findings = Vec::new();
    findings.extend(memory(signs));
    findings.extend(overload(signs));
    findings.extend(udp_drops(&lately));
    findings.extend(udp_silent(signs, recent));
    findings.extend(silent(signs, recent));
    findings.extend(load(signs));
    findings.extend(clients(signs));
    findings.extend(refusals(&lately, recent.before(signs.now).as_ref()));
    findings.extend(limits(&lately));
    findings.extend(state(signs));
    findings.extend(reloads(signs));
    findings.extend(certificates(signs));
    findings.extend(acme(signs));
    findings.extend(cluster(signs));
    findings
}

type Found = Option<(Subject, Finding)>;

fn found(grade: Grade, subject: Subject, what: String, remedy: impl Into<String>) -> (Subject, Finding) {
    let finding = match grade {
        Grade::Fault => fault(subject.about(), what, remedy),
        Grade::Ok | Grade::Warning => warning(subject.about(), what, remedy),
    };
    (subject, finding)
}

/// What short memory does; nothing while there is enough.
pub(crate) const fn shortage(pressure: Pressure) -> Option<&'static str> {
    match pressure {
        Pressure::Low => None,
        Pressure::High => {
            Some("memory of swarms is nine tenths full: a new torrent is served from its second announce on")
        }
        Pressure::Full => Some("memory of swarms is full: new torrents are refused"),
        Pressure::Exhausted => {
            Some("memory of swarms is used up: new torrents are refused, and new peers are not stored")
        }
    }
}

fn memory(signs: &Signs<'_>) -> Found {
    let pressure = signs.figures.memory.pressure;
    let grade = if pressure == Pressure::Exhausted {
        Grade::Fault
    } else {
        Grade::Warning
    };
    let what = shortage(pressure)?.to_owned();
    let remedy = "a larger --memory-max, if the machine has more, or --allow-list";
    Some(found(grade, Subject::Memory, what, remedy))
}

fn overload(signs: &Signs<'_>) -> Found {
    let (grade, given_up) = match signs.figures.overload {
        Level::None => return None,
        Level::Extras => (Grade::Warning, "full scrapes and pages"),
        Level::Connects => (Grade::Warning, "connects too"),
        Level::Scrapes => (Grade::Warning, "scrapes too"),
        Level::Renewals => (Grade::Warning, "peers for known peers too"),
        Level::NewPeers => (Grade::Fault, "new peers too"),
    };
    let what = format!(
        "a worker is overloaded: datagrams come faster than they are answered, and it gives up {given_up}"
    );
    let remedy =
        "more processors or --workers, or a longer --min-interval; `limits` on the pages tells a flood";
    Some(found(grade, Subject::Overload, what, remedy))
}

fn udp_drops(lately: &Period) -> Found {
    let dropped = lately.count(Count::UdpKernelDropped);
    let received: u64 = DATAGRAMS.into_iter().map(|count| lately.count(count)).sum();
    if dropped < DROPS_MIN || dropped.saturating_mul(DROPS_PART) < received {
        return None;
    }
    let what = format!(
        "the kernel dropped {dropped} datagrams beside {received} that were received in {}: a receive buffer was full",
        minutes(lately.time)
    );
    let remedy = format!(
        "{}; if doctor says that it is so, more processors or --workers",
        larger_buffers(RECEIVE_BUFFER)
    );
    Some(found(Grade::Warning, Subject::UdpDrops, what, remedy))
}

fn udp_silent(signs: &Signs<'_>, recent: &Recent) -> Found {
    let port = signs.udp?;
    let (time, announces) = recent.udp_silence(signs.now, signs.figures)?;
    if time < UDP_SILENCE_MIN || announces < EVIDENCE_MIN {
        return None;
    }
    let what = format!(
        "no datagram for {}, while {announces} announces came over HTTP: UDP is blocked, or nobody knows of it",
        minutes(time)
    );
    let remedy = format!("{}; --no-udp if nobody is meant to use it", let_in("udp", port));
    Some(found(Grade::Warning, Subject::UdpSilent, what, remedy))
}

fn silent(signs: &Signs<'_>, recent: &Recent) -> Found {
    let time = recent.silence(signs.now, signs.figures)?;
    if time < SILENCE_MIN {
        return None;
    }
    let what = format!("no client has asked anything for {}", minutes(time));
    let remedy = "etracker-client announce from another host, which shows whether the port is let in; nothing, if nobody \
                  knows the tracker yet";
    Some(found(Grade::Warning, Subject::Silent, what, remedy))
}

fn load(signs: &Signs<'_>) -> Found {
    let (interval, load) = (&signs.figures.interval, signs.figures.host.load);
    let (limit, highest) = (interval.load_limit(), interval.bounds().max);
    let is_above = load.iter().all(|average| *average > limit);
    if !is_above || interval.served_secs() < highest {
        return None;
    }
    let [one, five, fifteen] = load;
    let what = format!(
        "the load averages {one:.2} {five:.2} {fifteen:.2} are above their limit of {limit:.2}, and the interval is at its \
         ceiling of {highest} s: clients cannot be slowed down further"
    );
    let remedy = "a longer --max-interval, fewer other programs, or a --max-load-avg that this machine bears";
    Some(found(Grade::Warning, Subject::Load, what, remedy))
}

fn clients(signs: &Signs<'_>) -> impl Iterator<Item = (Subject, Finding)> {
    let hidden = signs.hidden.iter().filter(|hidden| !hidden.finding.ordinary);
    hidden.map(|hidden| {
        let (what, remedy) = (hidden.what.clone(), hidden.remedy.as_str());
        found(Grade::Warning, Subject::Clients, what, remedy)
    })
}

/// Refusals are a matter of policy; that there are far more than before is not.
fn refusals(lately: &Period, before: Option<&Period>) -> Found {
    let (refused, requests) = (lately.refused(), lately.requests());
    let before = before?;
    let is_many = refused >= EVIDENCE_MIN && refused.saturating_mul(REFUSED_PART) >= requests;
    // Their share of all requests, without division: more clients are no reason.
    let now_scaled = refused.saturating_mul(before.requests());
    let before_scaled = before.refused().saturating_mul(requests);
    if !is_many || now_scaled < before_scaled.saturating_mul(RISE) {
        return None;
    }
    let reason = lately.main_refusal()?.name();
    let what = format!(
        "{refused} of {requests} requests were refused in {}, a share at least twice that of before, most as {reason}",
        minutes(lately.time)
    );
    let remedy =
        format!("docs/stats.md says what {reason} is; look what changed: lists, options, a proxy, a flood");
    Some(found(Grade::Warning, Subject::Refusals, what, remedy))
}

/// A few sources over their limits are every day's work; here so many requests are limited that clients may be among them.
fn limits(lately: &Period) -> Found {
    let (limited, requests) = (lately.limited, lately.requests());
    if limited < EVIDENCE_MIN || limited.saturating_mul(LIMITED_PART) < requests {
        return None;
    }
    let what = format!(
        "{limited} of {requests} requests in {} were over the limit of their source",
        minutes(lately.time)
    );
    let remedy = "nothing, if it is a flood; --log-addresses names the sources, --limit-exempt lets in who stands for many \
                  clients, --limit-rate raises the limit";
    Some(found(Grade::Warning, Subject::Limits, what, remedy))
}

fn state(signs: &Signs<'_>) -> Found {
    let failed = signs.state?.failed.as_ref()?;
    let what = format!("{}; a restart would lose what came since", failed.what);
    Some(found(
        Grade::Warning,
        Subject::State,
        what,
        failed.remedy.as_str(),
    ))
}

fn reloads(signs: &Signs<'_>) -> impl Iterator<Item = (Subject, Finding)> {
    let kinds = [
        (Subject::Lists, signs.reloads.lists.failed.as_ref()),
        (Subject::Certificates, signs.reloads.certificates.failed.as_ref()),
    ];
    kinds.into_iter().filter_map(|(subject, failed)| {
        let failed = failed?;
        let what = format!("not reloaded, and the old ones stay in force: {}", failed.what);
        Some(found(Grade::Warning, subject, what, failed.remedy.as_str()))
    })
}

fn certificates(signs: &Signs<'_>) -> impl Iterator<Item = (Subject, Finding)> {
    let findings = signs
        .certificates
        .iter()
        .flat_map(|certificate| &certificate.findings);
    findings.map(|finding| (Subject::Certificates, finding.clone()))
}

fn acme(signs: &Signs<'_>) -> impl Iterator<Item = (Subject, Finding)> {
    signs.renewals.iter().filter_map(|renewal| {
        let error = renewal.error.as_ref()?;
        let what = format!("no new certificate for {}: {error}", renewal.domain);
        let remedy = "etracker doctor with the same options, which looks before the directory does";
        Some(found(Grade::Warning, Subject::Acme, what, remedy))
    })
}

fn cluster(signs: &Signs<'_>) -> Found {
    let state = signs.cluster?;
    if state.broker.is_some() {
        return None;
    }
    let why = state
        .fault
        .as_ref()
        .map_or_else(String::new, |fault| format!(": {fault}"));
    let what =
        format!("connected to no broker of the cluster, so that nodes do not see each other's peers{why}");
    let remedy = "brokers that run and let this host in; the log says what was tried";
    Some(found(Grade::Warning, Subject::Cluster, what, remedy))
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        secs @ 0..120 => format!("{secs} s"),
        secs => format!("{} min", secs / 60),
    }
}

/// Requests that show something: as few as hidden clients are noticed by.
const EVIDENCE_MIN: u64 = 100;
/// Datagrams lost at least, and the part of those received: one in a thousand is a burst.
const DROPS_MIN: u64 = 10;
const DROPS_PART: u64 = 1000;
/// The part of the requests that is refused at least.
const REFUSED_PART: u64 = 10;
/// How many times as large the share of refusals is.
const RISE: u64 = 2;
/// The part of the requests that is over limits at least.
const LIMITED_PART: u64 = 20;
/// Without a datagram for so long, while others come over HTTP.
const UDP_SILENCE_MIN: Duration = Duration::from_secs(60);
/// Without any request for so long: clients come once in the longest usual interval.
const SILENCE_MIN: Duration = Duration::from_secs(60 * 60);
