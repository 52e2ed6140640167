//! What was counted lately, for judgements that totals since the start are too slow for.

use std::collections::VecDeque;
use std::time::Duration;

use etracker_core::stats::{Count, Figures};
use etracker_core::{Instant, Tracker};

/// The counts of each minute of the last hour, in fixed memory, and when clients were heard last.
#[derive(Debug)]
pub(super) struct Recent {
    /// Invariant: not empty, the oldest first.
    noted: VecDeque<Noted>,
    /// The last UDP datagram, and the announces over HTTP until then.
    udp: Heard,
    /// The last request of a client.
    clients: Heard,
}

/// All counts at one time.
#[derive(Debug)]
struct Noted {
    at: Instant,
    /// In the order of [`Count::ALL`].
    counts: Vec<u64>,
    limited: u64,
}

impl Noted {
    fn of(at: Instant, figures: &Figures) -> Self {
        Self {
            at,
            counts: Count::ALL.iter().map(|&count| figures.count(count)).collect(),
            limited: figures.limited.iter().map(|limited| limited.count).sum(),
        }
    }
}

/// When something was counted last.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Instant,
    count: u64,
    /// Announces over HTTP until then.
    http: u64,
}

impl Heard {
    fn note(&mut self, at: Instant, count: u64, http: u64) {
        if count != self.count {
            *self = Self { at, count, http };
        }
    }
}

impl Recent {
    pub(super) fn new(started: Instant) -> Self {
        let (count, http) = (0, 0);
        let heard = Heard {
            at: started,
            count,
            http,
        };
        let nothing = Noted {
            at: started,
            counts: vec![0; Count::ALL.len()],
            limited: 0,
        };
        Self {
            noted: VecDeque::from([nothing]),
            udp: heard,
            clients: heard,
        }
    }

    /// Takes note of the counts, all of them once a minute. Meant to be called once a second; further calls are harmless.
    pub(super) fn note(&mut self, now: Instant, tracker: &Tracker) {
        let sum = |counts: &[Count]| counts.iter().map(|&count| tracker.count(count)).sum();
        let http = sum(&[Count::HttpAnnounce]);
        self.udp.note(now, sum(&DATAGRAMS), http);
        self.clients.note(now, sum(&CLIENTS), http);
        let last = self.noted.back().map(|noted| noted.at).unwrap_or_default();
        if now.saturating_since(last) >= STEP {
            if self.noted.len() > STEPS_MAX {
                self.noted.pop_front();
            }
            self.noted.push_back(Noted::of(now, &tracker.figures()));
        }
    }

    /// The last five to six minutes, or less after a start.
    pub(super) fn lately(&self, now: Instant, figures: &Figures) -> Period {
        let end = Noted::of(now, figures);
        Period::between(self.turn(now), Some(&end))
    }

    /// The time before [`lately`](Self::lately), up to an hour; `None` if it is shorter than five minutes.
    pub(super) fn before(&self, now: Instant) -> Option<Period> {
        let period = Period::between(self.noted.front(), self.turn(now));
        (period.time >= LATELY).then_some(period)
    }

    /// The time since the last UDP datagram, and the announces over HTTP since.
    pub(super) fn udp_silence(&self, now: Instant, figures: &Figures) -> Option<(Duration, u64)> {
        let is_silent = figures.sum(&DATAGRAMS) == self.udp.count;
        let announces = figures.count(Count::HttpAnnounce).saturating_sub(self.udp.http);
        is_silent.then(|| (now.saturating_since(self.udp.at), announces))
    }

    /// The time since the last request of a client.
    pub(super) fn silence(&self, now: Instant, figures: &Figures) -> Option<Duration> {
        let is_silent = figures.sum(&CLIENTS) == self.clients.count;
        is_silent.then(|| now.saturating_since(self.clients.at))
    }

    #[cfg(test)]
    pub(super) fn notes(&self) -> usize {
        self.noted.len()
    }

    /// What was noted where `lately` begins.
    fn turn(&self, now: Instant) -> Option<&Noted> {
        let is_before = |noted: &&Noted| now.saturating_since(noted.at) >= LATELY;
        self.noted
            .iter()
            .rev()
            .find(is_before)
            .or_else(|| self.noted.front())
    }
}

/// What was counted in some time.
#[derive(Debug)]
pub(super) struct Period {
    pub(super) time: Duration,
    counts: Vec<u64>,
    /// Requests of sources over their limits.
    pub(super) limited: u64,
}

impl Period {
    fn between(begin: Option<&Noted>, end: Option<&Noted>) -> Self {
        let (Some(begin), Some(end)) = (begin, end) else {
            return Self {
                time: Duration::ZERO,
                counts: Vec::new(),
                limited: 0,
            };
        };
        let counts = end.counts.iter().zip(&begin.counts);
        Self {
            time: end.at.saturating_since(begin.at),
            counts: counts.map(|(end, begin)| end.saturating_sub(*begin)).collect(),
            limited: end.limited.saturating_sub(begin.limited),
        }
    }

    pub(super) fn count(&self, count: Count) -> u64 {
        self.counts.get(count as usize).copied().unwrap_or_default()
    }

    /// Datagrams received, and requests over HTTP.
    pub(super) fn requests(&self) -> u64 {
        let http = [Count::HttpRequest4, Count::HttpRequest6];
        let counts = DATAGRAMS.into_iter().chain(http);
        counts.map(|count| self.count(count)).sum()
    }

    /// Requests that were refused, left unanswered or not understood.
    pub(super) fn refused(&self) -> u64 {
        self.refusals().map(|(_, times)| times).sum()
    }

    /// Why most were refused.
    pub(super) fn main_refusal(&self) -> Option<Count> {
        let main = self.refusals().max_by_key(|&(_, times)| times);
        main.filter(|&(_, times)| times > 0).map(|(count, _)| count)
    }

    fn refusals(&self) -> impl Iterator<Item = (Count, u64)> {
        let refusals = Count::ALL.iter().filter(|count| count.is_refusal());
        refusals.map(|&count| (count, self.count(count)))
    }
}

/// Datagrams received.
pub(super) const DATAGRAMS: [Count; 2] = [Count::UdpReceived4, Count::UdpReceived6];
/// What clients ask. Pages and strangers' requests are not among it.
const CLIENTS: [Count; 5] = [
    Count::UdpReceived4,
    Count::UdpReceived6,
    Count::HttpAnnounce,
    Count::HttpScrape,
    Count::HttpFailure,
];
/// What "lately" is at least.
const LATELY: Duration = Duration::from_secs(5 * 60);
/// Between two notes of all counts.
const STEP: Duration = Duration::from_secs(60);
/// Notes that are kept beside the newest.
const STEPS_MAX: usize = 60;
