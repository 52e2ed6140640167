//! `/metrics`: OpenMetrics, or the older text format, with names by the conventions of Prometheus. docs/stats.md lists them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use etracker_core::access::Torrents;
use etracker_core::cluster::Rejection;
use etracker_core::config::LimitMode;
use etracker_core::hidden_clients::Cause;
use etracker_core::http::request::Request;
use etracker_core::stats::{Count, TURN_MILLIS, Turns};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::about::Moment;
use crate::members::{ClusterState, MemberState};
use crate::renewals::Renewal;
use crate::revision::VERSION;
use crate::verdict::Subject;

/// The two forms of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus, where the name of a counter ends in `_total` everywhere.
    Text,
}

impl Format {
    /// The format that `Accept` prefers (RFC 9110, section 12.5.1): OpenMetrics if it is named with at least the weight of text.
    pub(super) fn wanted(request: &Request<'_>) -> Self {
        let (mut open_metrics, mut text) = (0.0, 0.0);
        let values = request
            .fields("accept")
            .filter_map(|value| str::from_utf8(value).ok());
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let parameter = |name: &str| {
                let mut pairs = parts.clone().filter_map(|part| part.split_once('='));
                let found = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.trim().trim_matches('"'))
            };
            let liked = parameter("q")
                .map_or(Some(1.0), |q| q.parse().ok())
                .unwrap_or(0.0);
            if name.eq_ignore_ascii_case("text/plain") {
                text = f64::max(text, liked);
            }
            let is_known = parameter("version").is_none_or(|version| version == "1.0.0");
            if name.eq_ignore_ascii_case("application/openmetrics-text") && is_known {
                open_metrics = f64::max(open_metrics, liked);
            }
        }
        if open_metrics > 0.0 && open_metrics >= text {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// The value of the page's `Content-Type`.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The page.
pub(super) fn page(moment: &Moment<'_>, format: Format) -> String {
    let mut families = Families::default();
    process(moment, &mut families);
    verdict(moment, &mut families);
    state(moment, &mut families);
    files(moment, &mut families);
    memory(moment, &mut families);
    allocations(moment, &mut families);
    requests(moment, &mut families);
    overload(moment, &mut families);
    connections(moment, &mut families);
    tls(moment, &mut families);
    swarms(moment, &mut families);
    sweep(moment, &mut families);
    hidden_clients(moment, &mut families);
    acme(moment, &mut families);
    if let Some(state) = &moment.cluster {
        cluster(state, &mut families);
        lost_records(state, &mut families);
        members(state, &mut families);
    }
    let mut out = String::with_capacity(16 * 1024);
    // Writing to a string cannot fail.
    let _ = match format {
        Format::OpenMetrics => {
            let mut registry = Registry::default();
            registry.register_collector(Box::new(families));
            encode(&mut out, &registry)
        }
        Format::Text => families
            .0
            .iter()
            .try_for_each(|family| family.write_text(&mut out)),
    };
    out
}

fn process(moment: &Moment<'_>, to: &mut Families) {
    let (about, figures) = (moment.about, &moment.figures);
    to.gauge(
        "process_start_time",
        Some(Unit::Seconds),
        "Unix time of the start",
    )
    .number([], about.started.as_secs());
    to.gauge("process_resident_memory", Some(Unit::Bytes), "Memory in use")
        .number([], moment.memory.resident_bytes);
    if let Some(open) = moment.usage.open_files {
        to.gauge("process_open_fds", None, "Files and sockets that are open")
            .number([], open);
    }
    to.gauge("process_max_fds", None, "Files that may be open")
        .number([], about.open_files.0);
    to.counter("process_cpu", Some(Unit::Seconds), "Time of processors")
        .fraction([], moment.usage.processors.as_secs_f64());
    let labels = [
        ("version", VERSION.to_owned()),
        ("revision", about.revision.clone()),
        ("runtime", about.runtime.to_owned()),
    ];
    to.gauge(
        "etracker_info",
        None,
        "Which build this is, and what drives it; always 1",
    )
    .number(labels, 1);
    to.gauge("etracker_failures", None, "Failures before this start")
        .number([], about.failures.into());
    to.gauge("etracker_workers", None, "Workers")
        .number([], figures.workers as u64);
    let mut load = to.gauge("etracker_load_average", None, "Load averages as last read");
    for (minutes, average) in ["1", "5", "15"].into_iter().zip(figures.host.load) {
        load = load.fraction([("minutes", minutes.to_owned())], average);
    }
    to.gauge(
        "etracker_load_average_limit",
        None,
        "Load average above which the interval grows",
    )
    .fraction([], figures.interval.load_limit());
    to.gauge(
        "etracker_announce_interval",
        Some(Unit::Seconds),
        "Announce interval served",
    )
    .number([], figures.interval.served_secs().into());
}

/// Nothing without a state.
fn state(moment: &Moment<'_>, to: &mut Families) {
    let Some(writes) = &moment.state else {
        return;
    };
    to.counter(
        "etracker_state_writes",
        None,
        "Writes of the state that succeeded",
    )
    .number([], writes.writes);
    to.counter(
        "etracker_state_write_failures",
        None,
        "Writes of the state that failed",
    )
    .number([], writes.failures);
    let help = "Time of the writes of the state that succeeded";
    to.counter("etracker_state_write", Some(Unit::Seconds), help)
        .fraction([], writes.time.as_secs_f64());
    let Some(last) = writes.last else {
        return;
    };
    to.gauge(
        "etracker_state_last_write_timestamp",
        Some(Unit::Seconds),
        "Unix time of the last write of the state",
    )
    .number([], last.at.as_secs());
    to.gauge(
        "etracker_state_size",
        Some(Unit::Bytes),
        "Size of the state as it was written last",
    )
    .number([], last.bytes);
}

/// The lists that are configured, and what came of reading files again.
fn files(moment: &Moment<'_>, to: &mut Families) {
    let label = |list: &str| [("list", list.to_owned())];
    if let Some(access) = &moment.access {
        let mut entries = to.gauge(
            "etracker_list_entries",
            None,
            "Entries of the lists in force: info-hashes, and ranges of addresses",
        );
        match &access.torrents {
            Torrents::Any => {}
            Torrents::Only(list) => entries = entries.number(label("allowed_torrents"), list.len() as u64),
            Torrents::AllBut(list) => entries = entries.number(label("denied_torrents"), list.len() as u64),
        }
        entries
            .number(label("denied_addresses"), access.denied.len() as u64)
            .number(label("trusted_proxies"), access.proxies.len() as u64);
    }
    let kinds = [
        ("lists", &moment.reloads.lists),
        ("certificates", &moment.reloads.certificates),
    ];
    let label = |files: &str| [("files", files.to_owned())];
    let mut reloads = to.counter("etracker_reloads", None, "Times that files were read again");
    for (files, reloaded) in kinds {
        reloads = reloads.number(label(files), reloaded.reloads);
    }
    let help = "Times that files were refused when they were read again";
    let mut failures = to.counter("etracker_reload_failures", None, help);
    for (files, reloaded) in kinds {
        failures = failures.number(label(files), reloaded.failures);
    }
}

fn verdict(moment: &Moment<'_>, to: &mut Families) {
    let help =
        "What the tracker finds about itself, the gravest of each name: 0 well, 1 a warning, 2 a fault";
    let mut findings = to.gauge("etracker_finding", None, help);
    for subject in Subject::ALL {
        let grade = moment.verdict.grade_of(subject);
        findings = findings.number([("name", subject.name().to_owned())], grade as u64);
    }
}

fn memory(moment: &Moment<'_>, to: &mut Families) {
    let memory = moment.figures.memory;
    let bytes = Some(Unit::Bytes);
    if let Some(max) = moment.about.memory_max {
        to.gauge(
            "etracker_memory_max",
            bytes.clone(),
            "Memory that the process may take",
        )
        .number([], max);
    }
    to.gauge(
        "etracker_swarms_memory",
        bytes.clone(),
        "Memory of torrents and peers",
    )
    .number([], memory.swarms_bytes);
    if let Some(max) = memory.swarms_max {
        to.gauge(
            "etracker_swarms_memory_max",
            bytes,
            "Memory that torrents and peers may take",
        )
        .number([], max);
    }
    let announce = |announce: &str| [("announce", announce.to_owned())];
    to.counter(
        "etracker_memory_refused_torrents",
        None,
        "Announces of unknown torrents that were refused because memory is short",
    )
    .number(announce("first"), memory.refused_first)
    .number(
        announce("later"),
        memory.refused.saturating_sub(memory.refused_first),
    );
    to.counter(
        "etracker_memory_evicted_torrents",
        None,
        "Torrents that made room for others",
    )
    .number([], memory.evicted);
    to.counter(
        "etracker_memory_unstored_peers",
        None,
        "New peers of known torrents that were answered and not stored",
    )
    .number([], memory.unstored);
}

fn allocations(moment: &Moment<'_>, to: &mut Families) {
    let allocations = &moment.allocations;
    let mut calls = to.counter("etracker_allocations", None, "Memory asked for, by call");
    for (call, count) in [
        ("malloc", allocations.malloc),
        ("calloc", allocations.calloc),
        ("realloc", allocations.realloc),
    ] {
        calls = calls.number([("call", call.to_owned())], count);
    }
    to.counter("etracker_frees", None, "Memory given back")
        .number([], allocations.free);
}

fn requests(moment: &Moment<'_>, to: &mut Families) {
    let count = |count: Count| moment.figures.count(count);
    to.counter(
        "etracker_requests",
        None,
        "HTTP requests and UDP datagrams received",
    )
    .number(by("http", "ipv4"), count(Count::HttpRequest4))
    .number(by("http", "ipv6"), count(Count::HttpRequest6))
    .number(by("udp", "ipv4"), count(Count::UdpReceived4))
    .number(by("udp", "ipv6"), count(Count::UdpReceived6));
    let answer = |protocol: &str, kind: &str| [("protocol", protocol.to_owned()), ("kind", kind.to_owned())];
    to.counter(
        "etracker_answers",
        None,
        "Requests answered, by what they asked for",
    )
    .number(answer("http", "announce"), count(Count::HttpAnnounce))
    .number(answer("http", "scrape"), count(Count::HttpScrape))
    .number(answer("http", "page"), count(Count::HttpPage))
    .number(answer("http", "failure"), count(Count::HttpFailure))
    .number(answer("udp", "connect"), count(Count::UdpConnect))
    .number(answer("udp", "announce"), count(Count::UdpAnnounce))
    .number(answer("udp", "scrape"), count(Count::UdpScrape))
    .number(answer("udp", "error"), count(Count::UdpError));
    to.counter("etracker_full_scrapes", None, "Scrapes of all torrents")
        .number([], count(Count::HttpFullScrape));
    let slow = "Scrapes of all torrents ended because the client was too slow";
    to.counter("etracker_full_scrapes_slow", None, slow)
        .number([], count(Count::HttpFullScrapeSlow));
    unanswered(moment, to);
    let mut statuses = to.counter("etracker_http_responses", None, "HTTP responses by status");
    let mut refused = Vec::new();
    for &one in Count::ALL {
        if let Some(status) = one
            .name()
            .strip_prefix("http_")
            .filter(|rest| rest.parse::<u16>().is_ok())
        {
            statuses = statuses.number([("status", status.to_owned())], count(one));
        } else if let Some(reason) = one.name().strip_prefix("refused_") {
            refused.push((reason.to_owned(), count(one)));
        }
    }
    let mut refusals = to.counter(
        "etracker_refused_announces",
        None,
        "Announces refused by policy or a limit",
    );
    for (reason, count) in refused {
        refusals = refusals.number([("reason", reason)], count);
    }
    limits(moment, to);
    to.counter("etracker_received", Some(Unit::Bytes), "Bytes received")
        .number([("protocol", "http".to_owned())], count(Count::HttpReceivedBytes))
        .number([("protocol", "udp".to_owned())], count(Count::UdpReceivedBytes));
    to.counter("etracker_sent", Some(Unit::Bytes), "Bytes sent")
        .number([("protocol", "http".to_owned())], count(Count::HttpSentBytes))
        .number([("protocol", "udp".to_owned())], count(Count::UdpSentBytes));
}

fn limits(moment: &Moment<'_>, to: &mut Families) {
    let rate = "Announces a second that a source may send; 0 if sources are not limited";
    let is_limited = moment.limits.mode() == LimitMode::On;
    let per_sec = if is_limited {
        moment.limits.announces_per_sec()
    } else {
        0
    };
    to.gauge("etracker_limit_announces_per_second", None, rate)
        .number([], per_sec.into());
    let over = "Requests of sources over their limits, by what was done";
    let mut limited = to.counter("etracker_limited", None, over);
    for one in &moment.figures.limited {
        let labels = [
            ("class", one.class.name().to_owned()),
            ("prefix", one.width.prefix_len().to_string()),
            ("verdict", one.verdict.name().to_owned()),
        ];
        limited = limited.number(labels, one.count);
    }
}

fn unanswered(moment: &Moment<'_>, to: &mut Families) {
    let count = |count: Count| moment.figures.count(count);
    let reason = |reason: &str| [("reason", reason.to_owned())];
    to.counter("etracker_unanswered", None, "Datagrams left unanswered")
        .number(reason("malformed"), count(Count::UdpMalformed))
        .number(reason("unproven"), count(Count::UdpUnproven))
        .number(reason("denied"), count(Count::UdpDenied))
        .number(reason("unnamed"), count(Count::UdpUnnamed));
}

fn overload(moment: &Moment<'_>, to: &mut Families) {
    let count = |count: Count| moment.figures.count(count);
    to.gauge(
        "etracker_overload_level",
        None,
        "What the worker that is overloaded most gives up: 0 nothing, 1 full scrapes and pages, 2 connects, 3 scrapes, 4 peers \
         for those that are stored, 5 new peers; each what those before it do",
    )
    .number([], moment.figures.overload as u64);
    to.counter(
        "etracker_overloaded",
        Some(Unit::Seconds),
        "Time that workers were overloaded",
    )
    .fraction(
        [],
        Duration::from_millis(count(Count::OverloadedMillis)).as_secs_f64(),
    );
    let mut shed = to.counter("etracker_shed", None, "Requests given up under overload");
    for &one in Count::ALL {
        if let Some(kind) = one.name().strip_prefix("shed_") {
            shed = shed.number([("kind", kind.to_owned())], count(one));
        }
    }
    to.gauge(
        "etracker_udp_queue",
        Some(Unit::Seconds),
        "How long the datagram at the end of a receive queue waits, the longest of all workers",
    )
    .fraction([], moment.figures.queue_delay.as_secs_f64());
    turns(&moment.figures.turns, to);
    to.counter(
        "etracker_udp_kernel_drops",
        None,
        "Datagrams that the kernel dropped because a receive buffer was full",
    )
    .number([], count(Count::UdpKernelDropped));
    to.counter(
        "etracker_udp_filtered",
        None,
        "Datagrams that a socket filter dropped",
    )
    .number([], count(Count::UdpFiltered));
}

fn turns(turns: &Turns, to: &mut Families) {
    let bounds = TURN_MILLIS
        .iter()
        .map(|&millis| Duration::from_millis(millis).as_secs_f64());
    let bounds = bounds.chain([f64::INFINITY]);
    to.histogram(
        "etracker_turn",
        Some(Unit::Seconds),
        "How long workers take to come back to what is due: to a socket with more datagrams, and once a second to a timer",
    )
    .histogram(Histogram {
        classes: bounds.zip(turns.classes).collect(),
        sum: turns.time.as_secs_f64(),
    });
}

/// Nothing without HTTPS.
fn tls(moment: &Moment<'_>, to: &mut Families) {
    if moment.about.tls_port.is_none() {
        return;
    }
    let mut handshakes = to.counter(
        "etracker_tls_handshakes",
        None,
        "TLS handshakes by what came of them",
    );
    for &one in Count::ALL {
        if let Some(outcome) = one.name().strip_prefix("tls_") {
            handshakes = handshakes.number([("outcome", outcome.to_owned())], moment.figures.count(one));
        }
    }
    certificates(moment, to);
}

/// Of several certificates that have one name and one kind of key, as while files are moved, the one that expires first.
fn certificates(moment: &Moment<'_>, to: &mut Families) {
    let mut certificates = BTreeMap::new();
    for certificate in &moment.certificates {
        let name = certificate.names.first().map_or("", String::as_str);
        let first = certificates
            .entry((name, &*certificate.key))
            .or_insert(certificate);
        if certificate.expires_secs < first.expires_secs {
            *first = certificate;
        }
    }
    let labels = |(name, key): (&str, &str)| [("name", name.to_owned()), ("key", key.to_owned())];
    let mut expiry = to.gauge(
        "etracker_tls_certificate_expiry",
        Some(Unit::Seconds),
        "Unix time at which a certificate expires, by its first name",
    );
    for (&key, certificate) in &certificates {
        expiry = expiry.number(labels(key), certificate.expires_secs);
    }
    let mut flaws = to.gauge(
        "etracker_tls_certificate_flaws",
        None,
        "What clients dislike about a certificate: that it expires soon, a chain that is not whole, and the like",
    );
    for (&key, certificate) in &certificates {
        flaws = flaws.number(labels(key), certificate.flaws.len() as u64);
    }
    let mut info = to.gauge(
        "etracker_tls_certificate_info",
        None,
        "Who issued a certificate, and how its chain looks; always 1",
    );
    for (&key, certificate) in &certificates {
        let [name, key] = labels(key);
        let issuer = ("issuer", certificate.issuer.clone());
        info = info.number([name, key, issuer, ("chain", certificate.chain.to_owned())], 1);
    }
}

fn connections(moment: &Moment<'_>, to: &mut Families) {
    let count = |count: Count| moment.figures.count(count);
    to.gauge("etracker_connections_open", None, "TCP connections open")
        .number([], moment.open_connections());
    if let Some(max) = moment.about.connections_max {
        to.gauge(
            "etracker_connections_max",
            None,
            "TCP connections that may be open",
        )
        .number([], max as u64);
    }
    to.counter(
        "etracker_connections",
        None,
        "TCP connections by what became of them",
    )
    .number([("event", "accepted".to_owned())], count(Count::AcceptPassed))
    .number([("event", "denied".to_owned())], count(Count::AcceptDenied))
    .number([("event", "foreign".to_owned())], count(Count::HttpForeign))
    .number([("event", "closed".to_owned())], count(Count::Closed));
    let mut errors = to.counter(
        "etracker_errors",
        None,
        "Calls of the system that failed, by error number",
    );
    for failed in &moment.figures.failures {
        let labels = [
            ("call", failed.operation.name().to_owned()),
            ("errno", failed.error.to_string()),
        ];
        errors = errors.number(labels, failed.count);
    }
}

fn swarms(moment: &Moment<'_>, to: &mut Families) {
    let figures = &moment.figures;
    let totals = &figures.totals;
    to.gauge(
        "etracker_torrents",
        None,
        "Torrents, those without peers included",
    )
    .number([], totals.torrents);
    let peer = |family: &str, state: &str| [("family", family.to_owned()), ("state", state.to_owned())];
    to.gauge("etracker_peers", None, "Peers")
        .number(peer("ipv4", "seeder"), totals.seeders_v4)
        .number(peer("ipv4", "leecher"), totals.leechers_v4)
        .number(peer("ipv6", "seeder"), totals.seeders_v6)
        .number(peer("ipv6", "leecher"), totals.leechers_v6);
    to.gauge("etracker_torrent_peers_max", None, "Peers of the largest torrent")
        .number([], figures.sweeps.swarm_max().into());
}

fn sweep(moment: &Moment<'_>, to: &mut Families) {
    let sweeps = &moment.figures.sweeps;
    to.counter(
        "etracker_sweep_passes",
        None,
        "Passes of the sweep over all peers",
    )
    .number([], sweeps.passes);
    to.counter(
        "etracker_swept_peers",
        None,
        "Peers removed because they were silent",
    )
    .number([], sweeps.total.peers);
    to.counter(
        "etracker_swept_torrents",
        None,
        "Torrents removed because they had no peers",
    )
    .number([], sweeps.total.torrents);
    to.counter("etracker_sweep", Some(Unit::Seconds), "Time spent in the sweep")
        .fraction([], sweeps.total.time.as_secs_f64());
    to.gauge(
        "etracker_sweep_step_max",
        Some(Unit::Seconds),
        "The longest step of the sweep",
    )
    .fraction([], sweeps.step_max.as_secs_f64());
}

fn hidden_clients(moment: &Moment<'_>, to: &mut Families) {
    let count = |count: Count| moment.figures.count(count);
    let label = |cause: Cause| [("cause", cause.name().to_owned())];
    let mut hidden = to.gauge(
        "etracker_clients_hidden",
        None,
        "Whether this hides clients from the tracker: 1 if it does",
    );
    for cause in Cause::ALL {
        let mut found = moment.hidden.iter().map(|hidden| hidden.finding);
        let is_so = found.any(|finding| finding.cause == cause && !finding.ordinary);
        hidden = hidden.number(label(cause), is_so.into());
    }
    to.counter(
        "etracker_hidden_announces",
        None,
        "Announces by which hidden clients are noticed",
    )
    .number(label(Cause::HeaderIgnored), count(Count::HttpForwardedIgnored))
    .number(label(Cause::HeaderMissing), count(Count::HttpForwardedMissing))
    .number(label(Cause::AddressFull), count(Count::AddressFullLocal));
    to.counter(
        "etracker_unreachable_announces",
        None,
        "Announces of peers that nobody can reach, which are not stored",
    )
    .number([], count(Count::AnnounceUnreachable));
}

fn acme(moment: &Moment<'_>, to: &mut Families) {
    if moment.renewals.is_empty() {
        return;
    }
    let domain = |renewal: &Renewal| [("domain", renewal.domain.clone())];
    let mut failures = to.gauge(
        "etracker_acme_failures",
        None,
        "Attempts to get a certificate that failed since the last that did not",
    );
    for renewal in &moment.renewals {
        failures = failures.number(domain(renewal), renewal.failures.into());
    }
    let mut next = to.gauge(
        "etracker_acme_next_try",
        Some(Unit::Seconds),
        "Unix time of the next attempt to get a certificate",
    );
    for renewal in &moment.renewals {
        next = next.number(domain(renewal), renewal.tries().1);
    }
}

fn cluster(state: &ClusterState, to: &mut Families) {
    let figures = &state.figures;
    let records = figures.records;
    let counters = [
        (
            "etracker_cluster_records_sent",
            "Changes of peers told to other nodes",
            figures.records_sent,
        ),
        (
            "etracker_cluster_records_applied",
            "Records of other nodes that changed something",
            records.applied,
        ),
        (
            "etracker_cluster_records_stale",
            "Records of other nodes older than what is known",
            records.stale,
        ),
        (
            "etracker_cluster_records_refused",
            "Records refused by a list or for want of memory",
            records.refused,
        ),
        (
            "etracker_cluster_batches_sent",
            "Messages sent",
            figures.messages_sent,
        ),
        (
            "etracker_cluster_batches_received",
            "Messages of other nodes that were accepted",
            figures.messages_received,
        ),
        (
            "etracker_cluster_batches_lost",
            "Messages of other nodes that did not arrive",
            figures.messages_lost,
        ),
    ];
    for (name, help, value) in counters {
        to.counter(name, None, help).number([], value);
    }
    to.counter(
        "etracker_cluster_sent",
        Some(Unit::Bytes),
        "Bytes of messages sent",
    )
    .number([], figures.bytes_sent);
    to.counter(
        "etracker_cluster_received",
        Some(Unit::Bytes),
        "Bytes of messages accepted",
    )
    .number([], figures.bytes_received);
    to.gauge(
        "etracker_cluster_records_waiting",
        None,
        "Records that wait for the bus",
    )
    .number([], state.waiting);
    to.gauge("etracker_cluster_connected", None, "Whether there is a broker")
        .number([], state.broker.is_some().into());
    to.gauge(
        "etracker_cluster_whole",
        None,
        "Whether this node holds what the others hold",
    )
    .number([], state.whole.into());
}

fn lost_records(state: &ClusterState, to: &mut Families) {
    let figures = &state.figures;
    let mut rejected = to.counter(
        "etracker_cluster_batches_rejected",
        None,
        "Messages that changed nothing, by reason",
    );
    for reason in Rejection::ALL {
        rejected = rejected.number([("reason", reason.name().to_owned())], figures.rejected(reason));
    }
    to.counter(
        "etracker_cluster_records_dropped",
        None,
        "Records that were not told, as too many waited",
    )
    .number([("kind", "change".to_owned())], figures.changes_dropped)
    .number([("kind", "refresh".to_owned())], figures.refreshes_dropped);
}

fn members(state: &ClusterState, to: &mut Families) {
    let alive = || state.members.iter().filter(|member| member.alive);
    to.gauge("etracker_cluster_members", None, "Other nodes that are heard")
        .number([], alive().count() as u64);
    let label = |member: &MemberState| [("node", member.name.clone()), ("id", member.id.clone())];
    let secs = |millis: i64| Duration::from_millis(millis.unsigned_abs()).as_secs_f64();
    let help = "Difference of a node's clock, with the time that its fastest message took";
    let mut clocks = to.gauge(
        "etracker_cluster_member_clock_difference",
        Some(Unit::Seconds),
        help,
    );
    for member in alive() {
        clocks = clocks.fraction(label(member), secs(member.clock_behind_millis));
    }
    let help = "By how much the last message of a node took longer than its fastest one";
    let mut lags = to.gauge("etracker_cluster_member_lag", Some(Unit::Seconds), help);
    for member in alive() {
        lags = lags.fraction(
            label(member),
            Duration::from_millis(member.lag_millis).as_secs_f64(),
        );
    }
}

fn by(protocol: &str, family: &str) -> [(&'static str, String); 2] {
    [("protocol", protocol.to_owned()), ("family", family.to_owned())]
}

/// All families of metrics, in the order of the page.
#[derive(Debug, Default)]
struct Families(Vec<Family>);

#[derive(Debug)]
struct Family {
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    kind: Kind,
    samples: Vec<(Labels, Value)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

type Labels = Vec<(&'static str, String)>;

#[derive(Clone, Debug)]
enum Value {
    Number(u64),
    Fraction(f64),
    Histogram(Histogram),
}

/// How many there were up to each bound and above the one before, and their sum. The last bound is infinity.
#[derive(Clone, Debug)]
struct Histogram {
    classes: Vec<(f64, u64)>,
    sum: f64,
}

impl Histogram {
    fn count(&self) -> u64 {
        self.classes.iter().map(|(_, count)| count).sum()
    }

    fn write_text(&self, name: &str, out: &mut String) -> fmt::Result {
        let mut below = 0;
        for &(bound, count) in &self.classes {
            below += count;
            if bound.is_finite() {
                writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {below}")?;
            } else {
                writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {below}")?;
            }
        }
        writeln!(out, "{name}_sum {}\n{name}_count {}", self.sum, self.count())
    }
}

impl Families {
    fn counter(&mut self, name: &'static str, unit: Option<Unit>, help: &'static str) -> &mut Family {
        self.family(Kind::Counter, name, unit, help)
    }

    fn gauge(&mut self, name: &'static str, unit: Option<Unit>, help: &'static str) -> &mut Family {
        self.family(Kind::Gauge, name, unit, help)
    }

    fn histogram(&mut self, name: &'static str, unit: Option<Unit>, help: &'static str) -> &mut Family {
        self.family(Kind::Histogram, name, unit, help)
    }

    fn family(
        &mut self,
        kind: Kind,
        name: &'static str,
        unit: Option<Unit>,
        help: &'static str,
    ) -> &mut Family {
        self.0.push_mut(Family {
            name,
            unit,
            help,
            kind,
            samples: Vec::new(),
        })
    }
}

impl Family {
    fn number<const N: usize>(&mut self, labels: [(&'static str, String); N], value: u64) -> &mut Self {
        self.samples.push((labels.into(), Value::Number(value)));
        self
    }

    fn fraction<const N: usize>(&mut self, labels: [(&'static str, String); N], value: f64) -> &mut Self {
        self.samples.push((labels.into(), Value::Fraction(value)));
        self
    }

    fn histogram(&mut self, value: Histogram) -> &mut Self {
        self.samples.push((Labels::new(), Value::Histogram(value)));
        self
    }
}

impl Family {
    /// Writes the family in the older format, which the library does not support.
    fn write_text(&self, out: &mut String) -> fmt::Result {
        let unit = self.unit.as_ref().map(|unit| format!("_{}", unit.as_str()));
        let total = match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        let name = format!("{}{}{total}", self.name, unit.unwrap_or_default());
        let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
        writeln!(out, "# HELP {name} {help}")?;
        writeln!(out, "# TYPE {name} {}", self.kind.name())?;
        for (labels, value) in &self.samples {
            let labels: Vec<_> = labels.iter().map(shown_label).collect();
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", labels.join(","))
            };
            match value {
                Value::Number(value) => writeln!(out, "{name}{labels} {value}")?,
                Value::Fraction(value) => writeln!(out, "{name}{labels} {value}")?,
                Value::Histogram(value) => value.write_text(&name, out)?,
            }
        }
        Ok(())
    }
}

fn shown_label((name, value): &(&str, String)) -> String {
    let value = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Value {
    fn encode(&self, kind: Kind, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match (kind, self) {
            (Kind::Counter, &Self::Number(value)) => ConstCounter::new(value).encode(encoder),
            (Kind::Counter, &Self::Fraction(value)) => ConstCounter::new(value).encode(encoder),
            (_, &Self::Number(value)) => ConstGauge::new(value).encode(encoder),
            (_, &Self::Fraction(value)) => ConstGauge::new(value).encode(encoder),
            (_, Self::Histogram(value)) => {
                encoder.encode_histogram::<Labels>(value.sum, value.count(), &value.classes, None)
            }
        }
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let unit = family.unit.as_ref();
            let mut metric = encoder.encode_descriptor(family.name, family.help, unit, kind)?;
            for (labels, value) in &family.samples {
                if labels.is_empty() {
                    // No braces without labels.
                    value.encode(family.kind, metric)?;
                    break;
                }
                value.encode(family.kind, metric.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}
