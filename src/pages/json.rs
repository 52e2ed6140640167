//! `/stats.json`: every figure under a stable name. docs/stats.md explains them.

use std::collections::BTreeMap;

use etracker_core::cluster::Rejection;
use etracker_core::governor::MemoryFigures;
use etracker_core::stats::{Count, History, Operation, Removed, Sample, Series};
use etracker_core::swarm::Totals;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::about::Moment;
use super::text::error_name;
use crate::members::{ClusterState, MemberState};
use crate::reloads::Reloaded;

/// The page, with a history that is rendered already.
pub(super) fn page(moment: &Moment<'_>, history: &RawValue) -> Vec<u8> {
    let Moment { about, figures, .. } = moment;
    let (previous, required) = figures.interval.moving_secs();
    let bounds = figures.interval.bounds();
    let (soft, hard) = about.open_files;
    let page = Page {
        time: moment.now.as_secs(),
        verdict: verdict(moment),
        process: json!({
            "revision": about.revision,
            "start_time": about.started.as_secs(),
            "uptime_secs": moment.uptime_secs(),
            "failures": about.failures,
            "workers": figures.workers,
        }),
        listen: json!({ "port": about.port, "http": about.tcp, "udp": about.udp, "tls_port": about.tls_port }),
        load: json!({ "average": figures.host.load, "limit": figures.interval.load_limit() }),
        interval_secs: json!({
            "served": figures.interval.served_secs(),
            "previous": previous,
            "required": required,
            "min": bounds.min,
            "max": bounds.max,
        }),
        certificates: certificates(moment),
        connections: json!({
            "open": moment.open_connections(),
            "open_files_soft": soft,
            "open_files_hard": hard,
        }),
        memory_bytes: json!({
            "resident": moment.memory.resident_bytes,
            "resident_max": moment.memory.resident_max_bytes,
            "max": about.memory_max,
            "swarms": figures.memory.swarms_bytes,
            "swarms_max": figures.memory.swarms_max,
        }),
        memory_shortage: memory_shortage(&figures.memory),
        allocations: allocations(moment),
        requests_per_second: json!({
            "ipv4": { "http": figures.rates.tcp_v4, "udp": figures.rates.udp_v4 },
            "ipv6": { "http": figures.rates.tcp_v6, "udp": figures.rates.udp_v6 },
        }),
        overload: json!({ "level": figures.overload as u64, "gives_up": figures.overload.name() }),
        swarms: swarms(moment),
        sweep: sweep(moment),
        counts: Count::ALL
            .iter()
            .map(|&count| (count.name(), figures.count(count)))
            .collect(),
        limits: limits(moment),
        errors: errors(moment),
        hidden_clients: hidden_clients(moment),
        acme: acme(moment),
        cluster: moment.cluster.as_ref().map(cluster),
        state: state(moment),
        reloads: json!({
            "lists": reloaded(&moment.reloads.lists),
            "certificates": reloaded(&moment.reloads.certificates),
        }),
        history,
    };
    serde_json::to_vec(&page).unwrap_or_default()
}

/// The history, which changes only when one of its steps ends.
pub(super) fn history(history: &History) -> Box<RawValue> {
    let series = json!({ "hour": series(&history.hour), "day": series(&history.day) });
    serde_json::value::to_raw_value(&series).unwrap_or_default()
}

#[derive(Serialize)]
struct Page<'a> {
    time: u64,
    verdict: Value,
    process: Value,
    listen: Value,
    load: Value,
    interval_secs: Value,
    certificates: Value,
    connections: Value,
    memory_bytes: Value,
    memory_shortage: Value,
    allocations: Value,
    overload: Value,
    requests_per_second: Value,
    swarms: Value,
    sweep: Value,
    counts: BTreeMap<&'static str, u64>,
    limits: Value,
    errors: Value,
    hidden_clients: Value,
    acme: Value,
    /// `null` without a cluster.
    cluster: Option<Value>,
    state: Value,
    reloads: Value,
    history: &'a RawValue,
}

fn verdict(moment: &Moment<'_>) -> Value {
    let verdict = &moment.verdict;
    let findings = verdict.findings().iter().map(|(subject, finding)| {
        json!({
            "name": subject.name(),
            "grade": finding.grade.name(),
            "about": finding.about,
            "what": finding.what,
            "remedy": finding.remedy,
        })
    });
    json!({
        "grade": verdict.grade().name(),
        "line": verdict.line(),
        "findings": findings.collect::<Value>(),
    })
}

/// `null` without a state.
fn state(moment: &Moment<'_>) -> Value {
    let Some(writes) = &moment.state else {
        return Value::Null;
    };
    let last = writes.last.map(|last| {
        json!({
            "time": last.at.as_secs(),
            "took_secs": last.time.as_secs_f64(),
            "bytes": last.bytes,
            "torrents": last.torrents,
            "peers": last.peers,
        })
    });
    json!({
        "writes": writes.writes,
        "write_failures": writes.failures,
        "write_secs": writes.time.as_secs_f64(),
        "last_write": last,
        "error": writes.failed.as_ref().map(|failed| &failed.what),
    })
}

fn reloaded(reloaded: &Reloaded) -> Value {
    json!({
        "reloads": reloaded.reloads,
        "failures": reloaded.failures,
        "error": reloaded.failed.as_ref().map(|failed| &failed.what),
    })
}

fn certificates(moment: &Moment<'_>) -> Value {
    let certificates = moment.certificates.iter().map(|certificate| {
        json!({
            "names": certificate.names,
            "issuer": certificate.issuer,
            "key": certificate.key,
            "chain": certificate.chain,
            "expires": certificate.expires_secs,
            "days_left": certificate.days_left,
            "renewed": certificate.is_renewed,
            "flaws": certificate.flaws,
        })
    });
    certificates.collect()
}

fn allocations(moment: &Moment<'_>) -> Value {
    let allocations = &moment.allocations;
    json!({
        "malloc": allocations.malloc,
        "calloc": allocations.calloc,
        "realloc": allocations.realloc,
        "free": allocations.free,
        "held": allocations.held(),
    })
}

fn memory_shortage(memory: &MemoryFigures) -> Value {
    json!({
        "pressure": memory.pressure.name(),
        "refused_torrents": memory.refused,
        "refused_at_first_announce": memory.refused_first,
        "evicted_torrents": memory.evicted,
        "unstored_peers": memory.unstored,
    })
}

fn swarms(moment: &Moment<'_>) -> Value {
    let figures = &moment.figures;
    let totals = &figures.totals;
    json!({
        "torrents": totals.torrents,
        "torrents_large": figures.fullest.large,
        "peers": totals.peers(),
        "seeders": { "ipv4": totals.seeders_v4, "ipv6": totals.seeders_v6 },
        "leechers": { "ipv4": totals.leechers_v4, "ipv6": totals.leechers_v6 },
        "peers_of_largest_torrent": figures.sweeps.swarm_max(),
        "peers_of_fullest_shard": figures.fullest.peers,
        "torrents_of_fullest_shard": figures.fullest.torrents,
    })
}

fn sweep(moment: &Moment<'_>) -> Value {
    let sweeps = &moment.figures.sweeps;
    let removed = |removed: &Removed| {
        json!({
            "peers_removed": removed.peers,
            "torrents_removed": removed.torrents,
            "time_secs": removed.time.as_secs_f64(),
        })
    };
    json!({
        "passes": sweeps.passes,
        "total": removed(&sweeps.total),
        "last_period": removed(&sweeps.period_before),
        "last_pass": removed(&sweeps.pass_before.removed),
        "last_pass_steps": sweeps.pass_before.steps,
        "longest_step_secs": sweeps.step_max.as_secs_f64(),
    })
}

fn limits(moment: &Moment<'_>) -> Value {
    let limited = moment.figures.limited.iter().map(|one| {
        json!({
            "class": one.class.name(),
            "prefix": one.width.prefix_len(),
            "verdict": one.verdict.name(),
            "count": one.count,
        })
    });
    json!({
        "mode": moment.limits.mode().name(),
        "announces_per_second": moment.limits.announces_per_sec(),
        "limited": limited.collect::<Value>(),
    })
}

fn hidden_clients(moment: &Moment<'_>) -> Value {
    let hidden = moment.hidden.iter().map(|hidden| {
        json!({
            "cause": hidden.finding.cause.name(),
            "since": hidden.finding.since.as_secs(),
            "address": hidden.finding.address,
            "ordinary": hidden.finding.ordinary,
            "limited": hidden.finding.limited,
            "what": hidden.what,
            "remedy": hidden.remedy,
        })
    });
    hidden.collect()
}

fn acme(moment: &Moment<'_>) -> Value {
    let renewals = moment.renewals.iter().map(|renewal| {
        let (last_try, next_try) = renewal.tries();
        json!({
            "domain": renewal.domain,
            "last_try": last_try,
            "next_try": next_try,
            "failures": renewal.failures,
            "error": renewal.error,
        })
    });
    renewals.collect()
}

fn cluster(state: &ClusterState) -> Value {
    let figures = &state.figures;
    let rejected = Rejection::ALL
        .iter()
        .map(|&reason| (reason.name().to_owned(), figures.rejected(reason).into()));
    json!({
        "name": state.cluster,
        "node": state.node,
        "id": state.id,
        "broker": state.broker,
        "fault": state.fault,
        "whole": state.whole,
        "records_sent_per_second": tenths(state.sent_per_sec),
        "records_received_per_second": tenths(state.applied_per_sec),
        "records_waiting": state.waiting,
        "records_sent": figures.records_sent,
        "record_bytes_sent": figures.record_bytes_sent,
        "records_applied": figures.records.applied,
        "records_stale": figures.records.stale,
        "records_refused": figures.records.refused,
        "snapshot_peers_applied": figures.snapshot.applied,
        "refreshes_dropped": figures.refreshes_dropped,
        "changes_dropped": figures.changes_dropped,
        "messages_sent": figures.messages_sent,
        "bytes_sent": figures.bytes_sent,
        "messages_received": figures.messages_received,
        "bytes_received": figures.bytes_received,
        "messages_lost": figures.messages_lost,
        "messages_rejected": rejected.collect::<Map<_, _>>(),
        "members": state.members.iter().map(member).collect::<Value>(),
    })
}

fn member(member: &MemberState) -> Value {
    json!({
        "id": member.id,
        "name": member.name,
        "version": member.version,
        "alive": member.alive,
        "whole": member.whole,
        "age_secs": member.age_secs,
        "silent_secs": member.silent_secs,
        "lag_millis": member.lag_millis,
        "messages_lost": member.lost,
        "clock_behind_millis": member.clock_behind_millis,
        "clock_differs": member.clock_differs,
        "torrents": member.torrents,
        "peers": member.peers,
        "requests_per_second": member.requests_per_sec,
        "records_sent": member.sent,
        "records_applied": member.applied,
    })
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn errors(moment: &Moment<'_>) -> Value {
    let errors_of = |operation: &Operation| {
        let failed = moment
            .figures
            .failures
            .iter()
            .filter(|failed| failed.operation == *operation);
        let errors: Value = failed
            .map(|failed| json!({ "errno": failed.error, "name": error_name(failed.error), "count": failed.count }))
            .collect();
        (operation.name().to_owned(), errors)
    };
    Value::Object(Operation::ALL.iter().map(errors_of).collect())
}

/// A series as columns: shorter than rows, and what a chart needs. `null` is a gap.
fn series(series: &Series) -> Value {
    let mut columns = Map::new();
    columns.insert("step_secs".to_owned(), series.step_secs().into());
    columns.insert("end_time".to_owned(), series.end_secs().into());
    for (name, value) in COLUMNS {
        let column: Vec<Option<Value>> = series.samples().map(|sample| sample.map(value)).collect();
        columns.insert((*name).to_owned(), column.into());
    }
    Value::Object(columns)
}

type Column = (&'static str, fn(&Sample) -> Value);

const COLUMNS: &[Column] = &[
    ("http_ipv4", |sample| sample.rates.tcp_v4.into()),
    ("udp_ipv4", |sample| sample.rates.udp_v4.into()),
    ("http_ipv6", |sample| sample.rates.tcp_v6.into()),
    ("udp_ipv6", |sample| sample.rates.udp_v6.into()),
    ("refused", |sample| sample.refused.into()),
    ("torrents", |sample| sample.level.totals.torrents.into()),
    ("seeders", |sample| seeders(&sample.level.totals).into()),
    ("leechers", |sample| leechers(&sample.level.totals).into()),
    ("interval_secs", |sample| sample.level.interval_secs.into()),
    ("load", |sample| {
        ((sample.level.load * 100.0).round() / 100.0).into()
    }),
    ("memory_bytes", |sample| sample.level.memory_bytes.into()),
];

const fn seeders(totals: &Totals) -> u64 {
    totals.seeders_v4 + totals.seeders_v6
}

const fn leechers(totals: &Totals) -> u64 {
    totals.leechers_v4 + totals.leechers_v6
}
