//! A thread that tells the operator what goes on: the line of each evaluation, and sums of what went wrong.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use etracker_core::stats::{Count, Evaluation, Figures};
use etracker_core::{Instant, Tracker};
use jiff::tz::TimeZone;
use tracing::{info, warn};

use crate::logs::{EVALUATION, LogFormat};
use crate::pages::{error_name, local_time};
use crate::terminal::{dropped, say};

/// Watches `tracker` until the process ends.
///
/// # Errors
/// The operating system gives no thread.
pub(crate) fn begin(tracker: Arc<Tracker>, format: LogFormat, zone: TimeZone) -> io::Result<()> {
    let mut watch = Watch {
        evaluated: Instant::default(),
        before: tracker.figures(),
        dropped: 0,
        format,
        zone,
        tracker,
    };
    thread::Builder::new()
        .name("watch".to_owned())
        .spawn(move || {
            for second in 1u64.. {
                thread::sleep(Duration::from_secs(1));
                watch.evaluation();
                if second.is_multiple_of(SUMMARY_SECS) {
                    watch.summary();
                }
            }
        })
        .map(drop)
}

struct Watch {
    tracker: Arc<Tracker>,
    format: LogFormat,
    zone: TimeZone,
    /// When the evaluation was that was told last.
    evaluated: Instant,
    /// The figures of the last summary.
    before: Figures,
    dropped: u64,
}

impl Watch {
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
            let same = |before: &&etracker_core::stats::Failed| {
                (before.operation, before.error) == (failed.operation, failed.error)
            };
            let before = self.before.failures.iter().find(same);
            let times = failed.count - before.map_or(0, |before| before.count);
            if times > 0 {
                let (call, error) = (failed.operation.name(), error_name(failed.error));
                warn!(
                    call,
                    errno = failed.error,
                    error,
                    times,
                    "calls failed in the last minute"
                );
            }
        }
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

/// Seconds between two summaries.
const SUMMARY_SECS: u64 = 60;
