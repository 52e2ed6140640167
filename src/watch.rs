//! The thread that reports to the operator: the line of each evaluation, and sums of refusals and errors.

use std::cmp::Reverse;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use etracker_core::governor::{Heavy, Limited, Pressure};
use etracker_core::hidden_clients::Finding;
use etracker_core::stats::{Count, Evaluation, Failed, Figures, Operation};
use etracker_core::{Instant, Tracker};
use etracker_runtime_common::{ADDRESSES, Clock};
use jiff::tz::TimeZone;
use tracing::{info, warn};

use crate::hidden_clients::Hidden;
use crate::logs::{EVALUATION, LogFormat};
use crate::pages::{error_name, local_time};
use crate::terminal::{dropped, say};
use crate::tls::Ageing;
use crate::verdict::{Judge, shortage};

/// Watches `tracker` until the process ends.
///
/// # Errors
/// The operating system gives no thread.
pub(crate) fn begin(
    tracker: Arc<Tracker>,
    clock: Clock,
    format: LogFormat,
    zone: TimeZone,
    (judge, mut ageing): (Arc<Judge>, Option<Ageing>),
) -> io::Result<()> {
    let mut watch = Watch {
        evaluated: Instant::default(),
        before: tracker.figures(),
        dropped: 0,
        hidden: Vec::new(),
        shortage: Shortage::default(),
        clock,
        format,
        zone,
        tracker,
    };
    thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || {
            for second in 1u64.. {
                thread::sleep(Duration::from_secs(1));
                judge.note(watch.clock.now(), &watch.tracker);
                watch.evaluation();
                watch.hidden_clients();
                watch.memory();
                if second.is_multiple_of(SUMMARY_SECS) {
                    watch.summary();
                    if let Some(ageing) = &mut ageing {
                        ageing.look(UNIX_EPOCH + Duration::from_secs(watch.clock.now().as_secs()));
                    }
                }
            }
        })
        .map(drop)
}

/// How short memory was when that was told last.
#[derive(Debug, Default)]
struct Shortage {
    told: Pressure,
    /// For how many seconds it has been less short since.
    better_secs: u64,
}

impl Shortage {
    /// How short memory is in this second, if that is to be told: worse at once, better after a minute. Memory that is full
    /// has room for a moment whenever a torrent leaves.
    fn news(&mut self, pressure: Pressure) -> Option<Pressure> {
        self.better_secs = if pressure < self.told {
            self.better_secs + 1
        } else {
            0
        };
        if pressure <= self.told && self.better_secs < SUMMARY_SECS {
            return None;
        }
        *self = Self {
            told: pressure,
            better_secs: 0,
        };
        Some(pressure)
    }
}

struct Watch {
    tracker: Arc<Tracker>,
    clock: Clock,
    format: LogFormat,
    zone: TimeZone,
    /// When the evaluation was that was told last.
    evaluated: Instant,
    /// The figures of the last summary.
    before: Figures,
    dropped: u64,
    /// What hides clients, and was told.
    hidden: Vec<Hidden>,
    shortage: Shortage,
}

impl Watch {
    /// Tells what hides clients, once until it is gone, and again if it turns out to be a source over its limit.
    fn hidden_clients(&mut self) {
        let hidden = Hidden::all(self.clock.now(), &self.tracker);
        let is_told = |hidden: &Hidden| {
            let mut told = self.hidden.iter().map(|told| told.finding);
            let key = |finding: Finding| (finding.cause, finding.since, finding.limited);
            told.any(|told| key(told) == key(hidden.finding))
        };
        for new in hidden.iter().filter(|hidden| !is_told(hidden)) {
            let (cause, what, remedy) = (new.finding.cause.name(), &new.what, &new.remedy);
            if new.finding.ordinary {
                info!(cause, "{what} -> {remedy}");
            } else {
                warn!(cause, "{what} -> {remedy}");
            }
        }
        self.hidden = hidden;
    }

    /// Tells how short memory is, when that changes.
    fn memory(&mut self) {
        let memory = self.tracker.swarms().memory();
        let Some(pressure) = self.shortage.news(memory.pressure) else {
            return;
        };
        let swarms_mib = memory.swarms_bytes >> 20;
        let max_mib = memory.swarms_max.unwrap_or_default() >> 20;
        match shortage(pressure) {
            None => info!(
                swarms_mib,
                max_mib, "memory of swarms is below nine tenths of its limit again"
            ),
            Some(what) => warn!(
                swarms_mib,
                max_mib, "{what}; --memory-max sets the limit of the process"
            ),
        }
    }

    fn evaluation(&mut self) {
        let evaluation = self.tracker.evaluation();
        if evaluation.at == self.evaluated {
            return;
        }
        self.evaluated = evaluation.at;
        match self.format {
            LogFormat::Text => say(format_args!(
                "{} {evaluation}",
                clock_time(evaluation.at, &self.zone)
            )),
            LogFormat::Json => log(&evaluation),
        }
    }

    /// Tells how often sources were over their limits since the last summary, each kind in one line.
    fn limited(&self, figures: &Figures) {
        let before = |limited: &Limited| {
            let kind = |one: &Limited| (one.class, one.width, one.verdict);
            let mut before = self.before.limited.iter();
            before
                .find(|before| kind(before) == kind(limited))
                .map_or(0, |before| before.count)
        };
        for limited in &figures.limited {
            let times = limited.count.wrapping_sub(before(limited));
            let (class, prefix, verdict) = (
                limited.class.name(),
                limited.width.prefix_len(),
                limited.verdict.name(),
            );
            if times > 0 {
                warn!(
                    class,
                    prefix, verdict, times, "over the limits in the last minute"
                );
            }
        }
        let since = self.clock.now().as_secs().saturating_sub(SUMMARY_SECS);
        let mut heaviest = self.tracker.heaviest(Instant::from_secs(since));
        heaviest.sort_unstable_by_key(|heavy| Reverse(heavy.per_sec));
        heaviest.truncate(HEAVIEST_TOLD);
        tell_heaviest(&heaviest);
    }

    /// Tells what was refused and what failed since the last summary, each kind in one line however often it was.
    fn summary(&mut self) {
        let figures = self.tracker.figures();
        for &count in Count::ALL.iter().filter(|count| count.is_refusal()) {
            let times = figures.count(count).wrapping_sub(self.before.count(count));
            if times > 0 {
                info!(
                    what = count.name(),
                    times, "refused or not understood in the last minute"
                );
            }
        }
        for failed in &figures.failures {
            let same =
                |before: &&Failed| (before.operation, before.error) == (failed.operation, failed.error);
            let before = self.before.failures.iter().find(same);
            let times = failed.count - before.map_or(0, |before| before.count);
            if times > 0 {
                tell_failed(failed, times);
            }
        }
        self.limited(&figures);
        let dropped = dropped();
        if dropped > self.dropped {
            warn!(
                lines = dropped - self.dropped,
                "dropped: nobody read them, or they could not be written"
            );
        }
        (self.before, self.dropped) = (figures, dropped);
    }
}

/// Tells which sources were over their limits, where addresses may be named.
fn tell_heaviest(heaviest: &[Heavy]) {
    for heavy in heaviest {
        let (network, per_second, proven) = (heavy.network, heavy.per_sec, heavy.proven);
        info!(target: ADDRESSES, %network, per_second, proven, "over its limit");
    }
}

fn tell_failed(failed: &Failed, times: u64) {
    let (call, errno, error) = (failed.operation.name(), failed.error, error_name(failed.error));
    if is_of_clients(failed) {
        info!(
            call,
            errno, error, times, "clients hung up or cannot be reached: calls failed in the last minute"
        );
    } else {
        warn!(call, errno, error, times, "calls failed in the last minute");
    }
}

/// Whether a client alone can cause this: by hanging up, by vanishing, or by sending from where nothing can be sent to.
fn is_of_clients(failed: &Failed) -> bool {
    let kind = io::Error::from_raw_os_error(failed.error).kind();
    let is_of_network = matches!(
        kind,
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    );
    is_of_network
        || matches!(
            (failed.operation, failed.error),
            // Datagrams from port 0, and from a broadcast address.
            (Operation::SendUdp, libc::EINVAL | libc::EACCES)
            // Linux hands an error of the new connection's network on.
            | (Operation::Accept, libc::EPROTO)
        )
}

fn log(evaluation: &Evaluation) {
    let [load1, load5, load15] = evaluation.load;
    info!(
        target: EVALUATION,
        time = evaluation.at.as_secs(),
        peers = evaluation.totals.peers(),
        torrents = evaluation.totals.torrents,
        torrents_large = evaluation.fullest.large,
        peers_of_largest_torrent = evaluation.swarm_max,
        peers_of_fullest_shard = evaluation.fullest.peers,
        torrents_of_fullest_shard = evaluation.fullest.torrents,
        peers_removed = evaluation.peers_removed,
        torrents_removed = evaluation.torrents_removed,
        sweep_secs = evaluation.sweep_time.as_secs_f64(),
        load1,
        load5,
        load15,
        load_limit = evaluation.load_limit,
        interval_secs = evaluation.served_secs,
        interval_previous_secs = evaluation.previous_secs,
        interval_required_secs = evaluation.required_secs,
        http_ipv4_per_second = evaluation.rates.tcp_v4,
        udp_ipv4_per_second = evaluation.rates.udp_v4,
        http_ipv6_per_second = evaluation.rates.tcp_v6,
        udp_ipv6_per_second = evaluation.rates.udp_v6,
        "evaluation"
    );
}

/// Local time without the year, as the first 19 letters of `ctime` are.
fn clock_time(at: Instant, zone: &TimeZone) -> String {
    let mut time = local_time(at, zone);
    time.truncate("Sat Oct 17 15:51:09".len());
    time
}

/// Sources over their limits that are named in a summary.
const HEAVIEST_TOLD: usize = 10;
/// Seconds between two summaries.
const SUMMARY_SECS: u64 = 60;

#[cfg(test)]
mod tests {
    use etracker_core::governor::Class;
    use etracker_core::{Config, Seed, Worker};
    use tracing::Level;

    use super::*;
    use crate::logs::testing::logged;

    /// What a summary logs, from `level` on, after these calls have failed.
    fn summary(level: Level, failures: &[(Operation, i32)], act: impl FnOnce(&mut Worker)) -> String {
        let tracker = Tracker::new(Config::default(), Seed::new([1; 32]), Instant::default());
        let tracker = Arc::new(tracker);
        let mut watch = Watch {
            evaluated: Instant::default(),
            before: tracker.figures(),
            dropped: 0,
            hidden: Vec::new(),
            shortage: Shortage::default(),
            clock: Clock::start(),
            format: LogFormat::Text,
            zone: TimeZone::UTC,
            tracker: Arc::clone(&tracker),
        };
        let mut worker = Worker::new(tracker);
        for &(operation, error) in failures {
            worker.counters().fail(operation, error);
        }
        act(&mut worker);
        logged(level, || watch.summary())
    }

    #[test]
    fn sources_over_their_limits_are_told_by_kind_and_the_heaviest_by_name() {
        let flood = |worker: &mut Worker| {
            let now = Clock::start().now();
            for millis in 0..2000 {
                let now = now.saturating_add(Duration::from_millis(millis));
                for _ in 0..50 {
                    let _ = worker.judge(now, [11, 0, 0, 1].into(), Class::Announce);
                }
            }
        };
        let told = summary(Level::INFO, &[], flood);
        assert!(
            told.contains("class=\"announce\" prefix=32 verdict=\"short\""),
            "{told}"
        );
        assert!(told.contains("network=11.0.0.1/32"), "{told}");
    }

    #[test]
    fn shortage_of_memory_is_told_when_it_grows_and_when_it_has_been_over_for_a_minute() {
        let mut shortage = Shortage::default();
        let mut told = |pressures: &[(Pressure, u64)]| {
            let seconds = pressures
                .iter()
                .flat_map(|&(pressure, secs)| (0..secs).map(move |_| pressure));
            seconds
                .filter_map(|pressure| shortage.news(pressure))
                .collect::<Vec<_>>()
        };
        use Pressure::{Full, High, Low};
        assert_eq!(told(&[(Low, 100), (High, 100), (Full, 5)]), [High, Full]);
        assert_eq!(told(&[(High, 59), (Full, 1), (High, 59), (Full, 1)]), []);
        assert_eq!(told(&[(High, 60), (Low, 60), (Full, 1)]), [High, Low, Full]);
    }

    #[test]
    fn what_a_client_alone_can_cause_is_no_warning() {
        let of_clients = [
            (Operation::Receive, libc::ECONNRESET),
            (Operation::Send, libc::EPIPE),
            (Operation::Send, libc::ECONNRESET),
            (Operation::Receive, libc::ETIMEDOUT),
            (Operation::Receive, libc::EHOSTUNREACH),
            (Operation::Accept, libc::ECONNABORTED),
            (Operation::Accept, libc::EPROTO),
            (Operation::SendUdp, libc::EINVAL),
            (Operation::SendUdp, libc::EACCES),
            (Operation::SendUdp, libc::ENETUNREACH),
        ];
        assert_eq!(summary(Level::WARN, &of_clients, |_| {}), "");
        let told = summary(Level::INFO, &of_clients, |_| {});
        assert_eq!(told.lines().count(), of_clients.len(), "{told}");
    }

    #[test]
    fn what_the_host_is_short_of_or_forbids_is_a_warning() {
        let of_host = [
            (Operation::Accept, libc::EMFILE),
            (Operation::SendUdp, libc::ENOBUFS),
            (Operation::SendUdp, libc::EPERM),
            (Operation::ReceiveUdp, libc::EPERM),
        ];
        let told = summary(Level::WARN, &of_host, |_| {});
        assert_eq!(told.lines().count(), of_host.len(), "{told}");
    }
}
