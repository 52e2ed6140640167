//! `/stats`: plain text, one figure per line.

use std::fmt::Write as _;
use std::io;

use etracker_core::Instant;
use etracker_core::stats::{Count, Operation};
use etracker_runtime_common::Plain;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::about::Moment;

/// The page: the lines of the original in their order, then new ones.
pub(super) fn page(moment: &Moment<'_>) -> String {
    let mut page = Text {
        moment,
        out: String::with_capacity(8 * 1024),
    };
    page.host();
    page.allocations();
    page.swarms();
    page.answers();
    page.traffic();
    page.refusals();
    page.limits();
    page.overload();
    page.sweep();
    page.errors();
    page.tls();
    page.acme();
    page.hidden();
    page.out
}

/// Local time as `ctime` shows it.
pub(crate) fn local_time(at: Instant, zone: &TimeZone) -> String {
    let at = i64::try_from(at.as_secs())
        .ok()
        .and_then(|secs| Timestamp::from_second(secs).ok());
    let at = at.unwrap_or_default().to_zoned(zone.clone());
    at.strftime("%a %b %e %H:%M:%S %Y").to_string()
}

struct Text<'a> {
    moment: &'a Moment<'a>,
    out: String,
}

impl Text<'_> {
    fn host(&mut self) {
        let Moment { about, figures, .. } = self.moment;
        let started = local_time(about.started, &about.zone);
        let days = self.moment.uptime_secs() / SECS_PER_DAY;
        self.line(format_args!(
            "etracker {} - open-source BitTorrent tracker",
            about.revision
        ));
        self.verdict();
        self.gap();
        self.line(format_args!(
            "start_time = {started} ({days}d) ({}f)",
            about.failures
        ));
        self.line(format_args!("workers = {}", figures.workers));
        self.gap();
        let [one, five, fifteen] = figures.host.load;
        self.line(format_args!(
            "load_avg = {one:.2} {five:.2} {fifteen:.2} (max {:.2})",
            figures.interval.load_limit()
        ));
        let (previous, required) = figures.interval.moving_secs();
        self.line(format_args!(
            "interval = {} ({previous}->{required})",
            figures.interval.served_secs()
        ));
        let (soft, hard) = about.open_files;
        let [open, soft, hard] =
            [self.moment.open_connections(), soft, hard].map(|number| about.grouping.show(number));
        self.line(format_args!("active_sockets = {open} (rlimit {soft}/{hard})"));
        self.gap();
        let rates = &figures.rates;
        for (family, tcp, udp) in [
            ("ipv4", rates.tcp_v4, rates.udp_v4),
            ("ipv6", rates.tcp_v6, rates.udp_v6),
        ] {
            self.line(format_args!(
                "requests_per_second {family} = tcp: {tcp}, udp: {udp}"
            ));
        }
        self.gap();
        self.figure(
            "rusage.ru_maxrss",
            self.moment.memory.resident_max_bytes / 1024,
            " (KiB)",
        );
        self.figure("rss", self.moment.memory.resident_bytes / 1024, " (KiB)");
        self.memory();
        self.gap();
    }

    /// The verdict, and each finding.
    fn verdict(&mut self) {
        let verdict = &self.moment.verdict;
        self.line(format_args!("verdict = {}", verdict.line()));
        for (subject, finding) in verdict.findings() {
            let (grade, name, what) = (finding.grade.name(), subject.name(), &finding.what);
            let remedy = finding.remedy.as_deref().unwrap_or_default();
            self.line(format_args!("{grade} = {name}: {what} -> {remedy}"));
        }
    }

    fn memory(&mut self) {
        let memory = self.moment.figures.memory;
        if let Some(bytes) = self.moment.about.memory_max {
            self.figure("memory.max", bytes / 1024, " (KiB)");
        }
        self.figure("memory.swarms", memory.swarms_bytes / 1024, " (KiB)");
        if let Some(bytes) = memory.swarms_max {
            self.figure("memory.swarms_max", bytes / 1024, " (KiB)");
        }
        self.figure("memory.refused_torrents", memory.refused, "");
        self.figure("memory.refused_at_first_announce", memory.refused_first, "");
        self.figure("memory.evicted_torrents", memory.evicted, "");
        self.figure("memory.unstored_peers", memory.unstored, "");
    }

    fn allocations(&mut self) {
        let allocations = self.moment.allocations;
        self.figure("malloc", allocations.malloc, "");
        self.figure("calloc", allocations.calloc, "");
        self.figure("*alloc", allocations.pieces(), "");
        self.figure("free", allocations.free, "");
        self.figure("*alloc - free", allocations.held(), "");
        self.figure("realloc", allocations.realloc, "");
        self.gap();
    }

    fn swarms(&mut self) {
        let figures = &self.moment.figures;
        let totals = &figures.totals;
        self.figure("torrents", totals.torrents, "");
        self.figure("peers", totals.peers(), "");
        self.figure("seeders.ipv4", totals.seeders_v4, "");
        self.figure("seeders.ipv6", totals.seeders_v6, "");
        self.figure("leechers.ipv4", totals.leechers_v4, "");
        self.figure("leechers.ipv6", totals.leechers_v6, "");
        self.figure("peers_of_largest_torrent", figures.sweeps.swarm_max().into(), "");
        self.gap();
    }

    fn answers(&mut self) {
        for (count, note) in STATUSES {
            self.count(count.name(), &[*count], note);
        }
        self.gap();
        self.count("close_pass", &[Count::Closed], "");
        self.count("send_pass", &[Count::HttpSent], "");
        self.count("recv_pass", &[Count::HttpRequest4, Count::HttpRequest6], "");
        self.count("accept_pass", &[Count::AcceptPassed], "");
        self.gap();
        self.count("send_failed", &[Count::HttpSendFailed], "");
        self.count("recv_failed", &[Count::HttpReceiveFailed, Count::Http413], "");
        self.count("accept_failed", &[Count::AcceptFailed], "");
        self.gap();
        self.count("recv_failed_read_0", &[Count::HttpReceivedEnd], "");
        self.count("recv_failed_read_sub_0", &[Count::HttpReceiveFailed], "");
        self.gap();
        self.count("send_pass_udp", &[Count::UdpSent], "");
        self.count("recv_pass_udp", &[Count::UdpReceived4, Count::UdpReceived6], "");
        self.gap();
        self.count("send_failed_udp", &[Count::UdpSendFailed], "");
        self.count("recv_failed_udp", &[Count::UdpReceiveFailed], "");
        self.gap();
    }

    fn traffic(&mut self) {
        self.count("keep_alive", &[Count::HttpKeptAlive], "");
        self.count("no_keep_alive", &[Count::HttpNotKeptAlive], "");
        self.gap();
        self.count("sent_bytes", &[Count::HttpSentBytes], "");
        self.count("recv_bytes", &[Count::HttpReceivedBytes], "");
        self.gap();
        self.count("sent_bytes_udp", &[Count::UdpSentBytes], "");
        self.count("recv_bytes_udp", &[Count::UdpReceivedBytes], "");
        self.gap();
        self.count("announce", &[Count::HttpAnnounce], "");
        self.count("scrape", &[Count::HttpScrape], "");
        self.count("full_scrape", &[Count::HttpFullScrape], "");
        self.count("page", &[Count::HttpPage], "");
        self.gap();
        self.count("connect_udp", &[Count::UdpConnect], "");
        self.count("announce_udp", &[Count::UdpAnnounce], "");
        self.count("scrape_udp", &[Count::UdpScrape], "");
        self.gap();
    }

    fn refusals(&mut self) {
        self.count(
            "failure",
            &[Count::HttpFailure],
            " (HTTP answers with a failure reason)",
        );
        self.count("error_udp", &[Count::UdpError], "");
        self.count("malformed_udp", &[Count::UdpMalformed], " (no answer)");
        self.count(
            "unproven_udp",
            &[Count::UdpUnproven],
            " (connection id too old or foreign: no answer)",
        );
        self.count("denied_udp", &[Count::UdpDenied], " (--deny-address: no answer)");
        self.count(
            "unnamed_udp",
            &[Count::UdpUnnamed],
            " (--proxy-protocol: a trusted proxy names no client: no answer)",
        );
        self.count("denied_accept", &[Count::AcceptDenied], " (--deny-address)");
        self.count(
            "foreign",
            &[Count::HttpForeign],
            " (TLS or another protocol on the port of HTTP: closed)",
        );
        for count in Count::ALL {
            if count.name().starts_with("refused_") {
                self.count(count.name(), &[*count], "");
            }
        }
        self.gap();
    }

    fn limits(&mut self) {
        let limits = &self.moment.limits;
        self.line(format_args!(
            "limits = {} ({} announces a second of one source)",
            limits.mode().name(),
            limits.announces_per_sec()
        ));
        for one in &self.moment.figures.limited {
            let (class, bits, verdict) = (one.class.name(), one.width.prefix_len(), one.verdict.name());
            self.figure(&format!("limited.{class}/{bits}.{verdict}"), one.count, "");
        }
        self.gap();
    }

    fn overload(&mut self) {
        let level = self.moment.figures.overload;
        self.line(format_args!("overload = {} ({})", level as u64, level.name()));
        self.count("overloaded_millis", &[Count::OverloadedMillis], "");
        self.count(
            "kernel_drops_udp",
            &[Count::UdpKernelDropped],
            " (receive buffer full)",
        );
        self.count("filtered_udp", &[Count::UdpFiltered], " (socket filter)");
        for count in Count::ALL {
            if count.name().starts_with("shed_") {
                self.count(count.name(), &[*count], "");
            }
        }
        self.gap();
    }

    fn sweep(&mut self) {
        let sweeps = &self.moment.figures.sweeps;
        let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.figure("sweep.passes", sweeps.passes, "");
        self.figure("sweep.removed_peers", sweeps.total.peers, "");
        self.figure("sweep.removed_torrents", sweeps.total.torrents, "");
        self.figure("sweep.time", micros(sweeps.total.time), " (µs)");
        self.figure(
            "sweep.last_pass_time",
            micros(sweeps.pass_before.removed.time),
            " (µs)",
        );
        self.figure("sweep.last_pass_steps", sweeps.pass_before.steps, "");
        self.figure("sweep.longest_step", micros(sweeps.step_max), " (µs)");
        self.gap();
    }

    fn errors(&mut self) {
        let figures = &self.moment.figures;
        for operation in Operation::ALL {
            let (call, protocol) = match operation.name().split_once('_') {
                Some((call, protocol)) => (call, format!("_{protocol}")),
                None => (operation.name(), String::new()),
            };
            self.line(format_args!("{call}_errno{protocol}:"));
            for failed in figures
                .failures
                .iter()
                .filter(|failed| failed.operation == *operation)
            {
                let count = self.moment.about.grouping.show(failed.count).to_string();
                let name = error_name(failed.error);
                self.line(format_args!(
                    "  errno = {:3} count = {count:>9} name = '{name}'",
                    failed.error
                ));
            }
        }
    }

    /// Nothing without HTTPS.
    fn tls(&mut self) {
        let moment = self.moment;
        if moment.about.tls_port.is_none() {
            return;
        }
        self.gap();
        for count in Count::ALL {
            if count.name().starts_with("tls_") {
                self.count(count.name(), &[*count], "");
            }
        }
        for certificate in &moment.certificates {
            let names = certificate.names.join(", ");
            let (days, chain, issuer) = (certificate.days_left, certificate.chain, &certificate.issuer);
            self.line(format_args!(
                "certificate = {names}: {days} days left, chain {chain}, issued by {issuer}"
            ));
            for flaw in &certificate.flaws {
                self.line(format_args!("certificate_flaw = {names}: {flaw}"));
            }
        }
    }

    fn acme(&mut self) {
        let moment = self.moment;
        if !moment.renewals.is_empty() {
            self.gap();
        }
        for renewal in &moment.renewals {
            let shown = |secs| local_time(Instant::from_secs(secs), &moment.about.zone);
            let (last, next) = renewal.tries();
            let last = last.map_or_else(|| "none".to_owned(), shown);
            let next = shown(next);
            let error = renewal.error.as_ref();
            let error = error.map_or_else(String::new, |error| format!(", failed: {error}"));
            self.line(format_args!(
                "acme.{} = last try: {last}, next try: {next}{error}",
                renewal.domain
            ));
        }
    }

    fn hidden(&mut self) {
        self.gap();
        let moment = self.moment;
        for hidden in moment.hidden.iter().filter(|hidden| !hidden.finding.ordinary) {
            let cause = hidden.finding.cause.name();
            self.line(format_args!(
                "clients_hidden = {cause}: {} -> {}",
                hidden.what, hidden.remedy
            ));
        }
    }

    fn count(&mut self, name: &str, counts: &[Count], note: &str) {
        self.figure(&format!("stats.{name}"), self.moment.figures.sum(counts), note);
    }

    fn figure(&mut self, name: &str, value: u64, note: &str) {
        let value = self.moment.about.grouping.show(value).to_string();
        self.line(format_args!("{name:<32} = {value:>16}{note}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "{line}");
    }

    fn gap(&mut self) {
        self.out.push('\n');
    }
}

/// The system's name of an error.
pub(crate) fn error_name(error: i32) -> String {
    if error == 0 {
        return "unknown".to_owned();
    }
    Plain(&io::Error::from_raw_os_error(error)).to_string()
}

const SECS_PER_DAY: u64 = 24 * 60 * 60;

const STATUSES: &[(Count, &str)] = &[
    (Count::Http200, ""),
    (Count::Http400, ""),
    (Count::Http403, " (Full Scrape)"),
    (Count::Http404, ""),
    (Count::Http405, " (Not GET)"),
    (Count::Http408, " (Timeout)"),
    (Count::Http413, " (Oversize)"),
    (Count::Http429, " (Too many pages)"),
    (Count::Http503, " (Overload)"),
];
