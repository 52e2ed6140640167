//! Overload: how a worker sees it, and what it gives up then, in which order.
//!
//! Nothing here is configured. A [`QueueWatch`] for each UDP socket judges whether its receive queue keeps up; an
//! [`Overload`] for each worker turns what they find into the [`Level`] by which requests are shed.

use core::time::Duration;

use crate::Instant;
use crate::announce::Event;
use crate::governor::Verdict;
use crate::udp::BATCH_MAX;

/// What a worker gives up, in this order. Each level gives up what those before it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing: everything is served.
    #[default]
    None,
    /// Full scrapes and pages.
    Extras,
    /// Connects beyond a share of each batch: see [`connects_max`](Self::connects_max).
    Connects,
    /// Scrapes.
    Scrapes,
    /// Peer lists for announces of stored peers: the peer is renewed, and answered without peers and with the longest interval.
    Renewals,
    /// New peers.
    NewPeers,
}

impl Level {
    /// Every level, in order.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Extras,
        Self::Connects,
        Self::Scrapes,
        Self::Renewals,
        Self::NewPeers,
    ];

    /// The stable name of this level.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Extras => "extras",
            Self::Connects => "connects",
            Self::Scrapes => "scrapes",
            Self::Renewals => "renewals",
            Self::NewPeers => "new_peers",
        }
    }

    /// The level with this place in [`ALL`](Self::ALL), the last one for every place beyond.
    #[must_use]
    pub fn nth(place: usize) -> Self {
        Self::ALL.get(place).copied().unwrap_or(Self::NewPeers)
    }

    fn higher(self) -> Self {
        Self::nth(self as usize + 1)
    }

    fn lower_by(self, steps: usize) -> Self {
        Self::nth((self as usize).saturating_sub(steps))
    }
}

impl Level {
    /// Connects that are answered in a batch of so many datagrams. While connects are shed, these are at most three for each ten
    /// datagrams of the batch, begun tens included:
    /// anybody can send connects under forged addresses, and a client needs one for all that it asks in two minutes.
    #[must_use]
    pub const fn connects_max(self, datagrams: usize) -> usize {
        match self {
            Self::None | Self::Extras => datagrams,
            Self::Connects | Self::Scrapes | Self::Renewals | Self::NewPeers => datagrams.div_ceil(10) * 3,
        }
    }

    /// What is done about an announce with this event. `started` counts as a new peer, every other event as a stored one;
    /// `stopped` is always served.
    pub const fn verdict(self, event: Event) -> Verdict {
        match event {
            Event::Stopped => Verdict::Serve,
            Event::Started => match self {
                Self::NewPeers => Verdict::Silence,
                Self::None | Self::Extras | Self::Connects | Self::Scrapes | Self::Renewals => Verdict::Serve,
            },
            Event::None | Event::Completed | Event::Paused => match self {
                Self::Renewals | Self::NewPeers => Verdict::Short,
                Self::None | Self::Extras | Self::Connects | Self::Scrapes => Verdict::Serve,
            },
        }
    }
}

/// How well a worker keeps up with one of its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// At least three quarters of the batches had room for more datagrams.
    Idle,
    /// More than a quarter of the batches were full, and the worker keeps up.
    Busy,
    /// The queue was never empty, and datagrams were lost or waited for longer than [`DELAY_MAX_MILLIS`]; or some were lost in each
    /// of several windows.
    Overloaded,
}

/// The level of one worker. It rises by one in each window of overload, and falls when there is none.
#[derive(Clone, Debug, Default)]
pub struct Overload {
    level: Level,
    /// When a socket was overloaded last.
    overloaded: Instant,
    /// When the level moved last, or overload was seen for the first time.
    moved: Instant,
    /// The time of the last [`update`](Self::update).
    updated: Instant,
    /// Connects that are still answered in this batch.
    connects_left: usize,
    /// Connects until now. It may wrap around.
    connects: u64,
    thinning: Thinning,
    /// Totals at the last [`update`](Self::update): datagrams received, and those from proven senders.
    received: u64,
    proven: u64,
}

impl Overload {
    /// What the worker gives up now.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Whether overload was seen within the last second, be it in one window alone.
    #[must_use]
    pub fn is_recent(&self, now: Instant) -> bool {
        now.saturating_since(self.overloaded) <= FALL_BUSY
    }

    /// Begins a batch of so many datagrams.
    pub fn begin_batch(&mut self, datagrams: usize) {
        self.connects_left = self.level.connects_max(datagrams);
    }

    /// Whether one more connect of the batch is answered.
    pub fn admit_connect(&mut self) -> bool {
        self.connects = self.connects.wrapping_add(1);
        let is_admitted = self.connects_left > 0;
        self.connects_left = self.connects_left.saturating_sub(1);
        is_admitted
    }

    /// The share of connects that the system should let through before it queues them, in parts of 2^32; `None` for all. To be
    /// called once a second, and in each window of overload. `received` is how many datagrams the worker has received in all,
    /// and `dropped` how many full queues have dropped.
    pub fn connects_kept(&mut self, now: Instant, received: u64, dropped: u64) -> Option<u32> {
        let totals = Totals {
            connects: self.connects,
            received,
            dropped,
        };
        // The level outlasts a flood by a second, in which what is received says nothing of what the worker can do.
        let is_overloaded = self.level >= Level::Connects && self.overloaded == now;
        self.thinning.decide(now, is_overloaded, totals)
    }

    /// Moves the level by what was found about one socket. `received` is how many datagrams the worker has received in all,
    /// and `proven` how many of them had senders that had proven their addresses; both may wrap around. Returns how long
    /// the worker has been at a level above [`Level::None`] since the last call.
    pub fn update(&mut self, now: Instant, pressure: Pressure, received: u64, proven: u64) -> Duration {
        let highest = self.highest_useful(received, proven);
        let spent = now.saturating_since(self.updated);
        self.updated = now;
        let spent = if self.level > Level::None {
            spent
        } else {
            Duration::ZERO
        };
        if pressure == Pressure::Overloaded {
            self.rise(now, highest);
        } else {
            self.fall(now, pressure);
        }
        spent
    }

    /// The highest level that is worth taking. If fewer than one datagram in [`PROVEN_PART`] comes from a proven sender, the level
    /// stops at [`Level::Connects`]: shedding scrapes and announces would save little.
    fn highest_useful(&mut self, received: u64, proven: u64) -> Level {
        let new = (
            received.wrapping_sub(self.received),
            proven.wrapping_sub(self.proven),
        );
        (self.received, self.proven) = (received, proven);
        if new.1 < new.0 / PROVEN_PART {
            Level::Connects
        } else {
            Level::NewPeers
        }
    }

    fn rise(&mut self, now: Instant, highest: Level) {
        let since = now.saturating_since(self.overloaded);
        self.overloaded = now;
        // A single window of overload is a burst, which the buffer absorbs. The level rises if overload is seen again within
        // FALL_BUSY.
        if self.level == Level::None && since > FALL_BUSY {
            self.moved = now;
        } else if now.saturating_since(self.moved) >= WINDOW {
            self.level = self.level.higher().min(highest);
            self.moved = now;
        }
    }

    fn fall(&mut self, now: Instant, pressure: Pressure) {
        // A busy worker would probably be overloaded at the next lower level, so that level is tried only once in FALL_BUSY.
        let pace = if pressure == Pressure::Busy {
            FALL_BUSY
        } else {
            WINDOW
        };
        let calm = now.saturating_since(self.moved.max(self.overloaded));
        let steps = calm.as_millis() / pace.as_millis();
        if steps > 0 && self.level > Level::None {
            self.level = self.level.lower_by(usize::try_from(steps).unwrap_or(usize::MAX));
            self.moved = now;
        }
    }
}

/// Decides which share of the connects a socket filter lets through.
///
/// A flood of connects under forged addresses takes the places of everybody else in the receive queue, however fast its datagrams
/// are dropped from there. A filter cannot tell honest connects from forged ones, but it can leave three tenths of what the
/// worker can do to connects, and the rest to those who hold an id.
#[derive(Clone, Debug, Default)]
struct Thinning {
    decided: Instant,
    /// The totals at `decided`.
    before: Totals,
    /// Datagrams a second that the worker could do when it was overloaded last.
    capacity: u64,
    kept: Option<u32>,
}

/// Datagrams since the start, which may wrap around.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    connects: u64,
    received: u64,
    dropped: u64,
}

impl Thinning {
    fn decide(&mut self, now: Instant, is_overloaded: bool, totals: Totals) -> Option<u32> {
        let elapsed = now.saturating_since(self.decided);
        // The first share is decided as soon as the flood is seen; a later one when it is known what the last one did.
        let patience = if self.kept.is_some() {
            SHARE_PERIOD_MIN
        } else {
            WINDOW
        };
        if elapsed < patience {
            return self.kept;
        }
        let rate = |now: u64, before: u64| {
            let new = u32::try_from(now.wrapping_sub(before)).unwrap_or(u32::MAX);
            u64::from(per_second(new, elapsed))
        };
        let connects = rate(totals.connects, self.before.connects);
        let received = rate(totals.received, self.before.received);
        let dropped = rate(totals.dropped, self.before.dropped);
        (self.decided, self.before) = (now, totals);
        if is_overloaded {
            self.capacity = received;
        } else {
            // What was measured may have been too little, and nothing shows it while a filter keeps the worker idle.
            self.capacity += self.capacity / 16;
        }
        let sent = match self.kept {
            // The filter let this share through: as many connects were sent as make it whole.
            Some(kept) => connects * SHARE_ALL / u64::from(kept),
            // No filter was attached yet: connects had the same share of the dropped datagrams as of the received ones.
            None if is_overloaded => connects + connects * dropped / received.max(1),
            None => return None,
        };
        let others = received.saturating_sub(connects);
        let can_do_all = !is_overloaded && sent + others <= self.capacity;
        self.kept = if can_do_all { None } else { self.share(sent) };
        self.kept
    }

    /// The share that is let through of so many connects a second.
    fn share(&self, connects: u64) -> Option<u32> {
        let wanted = self.capacity / 10 * 3;
        let share = (connects > wanted).then(|| wanted * SHARE_ALL / connects)?;
        // Some have to come through, or nobody would see the flood end.
        Some(u32::try_from(share).unwrap_or(u32::MAX).max(KEPT_MIN))
    }
}

/// What the system tells of the receive queue of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Bytes of memory that the datagrams in it take, with what the system adds to each.
    pub queued_bytes: u32,
    /// Bytes of memory that they may take.
    pub buffer_bytes: u32,
    /// Datagrams that the socket has dropped since it was opened. It wraps around.
    pub drops: u32,
    /// Whether a filter is attached, whose drops the system counts among `drops`.
    pub has_filter: bool,
}

/// What was found out about a socket in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// How well the worker keeps up with it.
    pub pressure: Pressure,
    /// How long the datagram at the end of the queue waits; zero if the queue was empty in the window.
    pub delay: Duration,
    /// Datagrams that the full queue dropped.
    pub overflowed: u32,
    /// Datagrams that the filter dropped.
    pub filter_dropped: u32,
    /// The size that the buffer should have, if that is another one.
    pub buffer_bytes: Option<u32>,
}

/// Watches the receive queue of one socket, in windows of [`WINDOW`].
///
/// The driver reports each batch to [`receive`](Self::receive). When that returns true, once in a window because reading the queue
/// takes a system call, the driver passes the state of the queue to [`observe`](Self::observe).
#[derive(Clone, Debug)]
pub struct QueueWatch {
    began: Instant,
    /// When the window is over.
    due: Instant,
    received: u32,
    batches: u32,
    batches_full: u32,
    /// Windows in a row in which datagrams were lost.
    losing_windows: u32,
    /// When the socket was overloaded last.
    overloaded: Instant,
    /// Datagrams received in a second, on average over the last overloaded windows; 0 before the first.
    rate: u32,
    /// Bytes of the queue that a datagram takes.
    datagram_bytes: u32,
    /// The queue when it was looked at last; `None` before the first time.
    before: Option<Queue>,
    /// The size that the buffer had at first.
    buffer_bytes_initial: u32,
}

impl QueueWatch {
    /// Watches a socket from `now` on.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self {
            began: now,
            due: now.saturating_add(WINDOW),
            received: 0,
            batches: 0,
            batches_full: 0,
            losing_windows: 0,
            overloaded: Instant::from_millis(0),
            rate: 0,
            datagram_bytes: DATAGRAM_BYTES,
            before: None,
            buffer_bytes_initial: 0,
        }
    }

    /// Takes note of a batch. True if the window is over: then [`observe`](Self::observe) is due.
    #[inline]
    pub fn receive(&mut self, now: Instant, datagrams: usize) -> bool {
        self.received = self
            .received
            .saturating_add(u32::try_from(datagrams).unwrap_or(u32::MAX));
        self.batches = self.batches.saturating_add(1);
        self.batches_full = self
            .batches_full
            .saturating_add(u32::from(datagrams >= BATCH_MAX));
        self.is_due(now)
    }

    /// Whether the window is over.
    #[inline]
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// Learns how much of the queue a datagram takes, from a batch that emptied it: network cards differ by a factor of five.
    pub fn measure(&mut self, queued_bytes: u32, datagrams: usize) {
        if (1..BATCH_MAX).contains(&datagrams) {
            let measured = queued_bytes / u32::try_from(datagrams).unwrap_or(u32::MAX);
            let measured = measured.clamp(DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX);
            self.datagram_bytes = (self.datagram_bytes * 3 + measured) / 4;
        }
    }

    /// Ends the window by what the system tells of the queue.
    pub fn observe(&mut self, now: Instant, queue: Queue) -> Observed {
        let window = now.saturating_since(self.began).max(WINDOW);
        let dropped = self
            .before
            .map_or(0, |before| queue.drops.wrapping_sub(before.drops));
        if self.before.is_none() {
            self.buffer_bytes_initial = queue.buffer_bytes;
        }
        let never_emptied = self.batches > 0 && self.batches == self.batches_full;
        let (overflowed, filter_dropped) = self.attribute(dropped, queue, never_emptied);
        let rate = per_second(self.received, window);
        let delay = if never_emptied {
            self.delay(queue, rate)
        } else {
            Duration::ZERO
        };
        let pressure = self.judge(now, rate, delay, overflowed, never_emptied);
        let buffer_bytes = self.fit_buffer(now, queue, pressure);
        self.before = Some(queue);
        (self.began, self.due) = (now, now.saturating_add(WINDOW));
        (self.received, self.batches, self.batches_full) = (0, 0, 0);
        Observed {
            pressure,
            delay,
            overflowed,
            filter_dropped,
            buffer_bytes,
        }
    }

    /// Divides drops into those of the full queue and those of the filter, for which the system has one counter. With a filter
    /// they are the queue's if it was never empty in the window and is at least half full, and the filter's otherwise.
    fn attribute(&self, dropped: u32, queue: Queue, never_emptied: bool) -> (u32, u32) {
        let had_filter = queue.has_filter || self.before.is_some_and(|before| before.has_filter);
        let is_full = never_emptied && queue.queued_bytes >= queue.buffer_bytes / 2;
        if had_filter && !is_full {
            (0, dropped)
        } else {
            (dropped, 0)
        }
    }

    fn judge(
        &mut self,
        now: Instant,
        rate: u32,
        delay: Duration,
        overflowed: u32,
        never_emptied: bool,
    ) -> Pressure {
        self.losing_windows = if overflowed > 0 {
            self.losing_windows.saturating_add(1)
        } else {
            0
        };
        let delayed = delay > Duration::from_millis(DELAY_MAX_MILLIS);
        // A worker that the scheduler pauses (a quota of its cgroup) empties the queue whenever it runs, and datagrams are lost
        // during the pauses.
        let is_losing = overflowed > 0 && (never_emptied || self.losing_windows >= LOSING_WINDOWS);
        if delayed || is_losing {
            self.overloaded = now;
            self.rate = if self.rate == 0 {
                rate
            } else {
                (self.rate / 4 * 3).saturating_add(rate / 4)
            };
            Pressure::Overloaded
        } else if self.batches_full > self.batches / 4 {
            Pressure::Busy
        } else {
            Pressure::Idle
        }
    }

    /// The time until the last queued datagram is received at this rate.
    fn delay(&self, queue: Queue, rate: u32) -> Duration {
        let datagrams = u64::from(queue.queued_bytes / self.datagram_bytes);
        Duration::from_millis(datagrams * 1000 / u64::from(rate.max(1)))
    }

    /// The size that the buffer should have, if that is another one. Clients give up waiting: a queue of more than
    /// [`BUFFER_MILLIS_MAX`] of work only adds late answers, and delays the others.
    fn fit_buffer(&self, now: Instant, queue: Queue, pressure: Pressure) -> Option<u32> {
        let current = queue.buffer_bytes;
        if pressure != Pressure::Overloaded {
            let is_over = now.saturating_since(self.overloaded) >= BUFFER_RESTORED;
            return (is_over && current < self.buffer_bytes_initial).then_some(self.buffer_bytes_initial);
        }
        let work = u64::from(self.rate) * BUFFER_MILLIS_MAX / 1000 * u64::from(self.datagram_bytes);
        let work = u32::try_from(work).unwrap_or(u32::MAX);
        let wanted = work.max(BUFFER_BYTES_MIN).min(self.buffer_bytes_initial);
        // A rate is never quite the same: a buffer that is about right stays.
        let is_right = wanted.abs_diff(current) <= current / 4;
        (!is_right).then_some(wanted)
    }
}

fn per_second(count: u32, time: Duration) -> u32 {
    let millis = time.as_millis().max(1);
    u32::try_from(u128::from(count) * 1000 / millis).unwrap_or(u32::MAX)
}

/// The time that a socket is judged over, and that the level stays for at least.
pub const WINDOW: Duration = Duration::from_millis(100);
/// Milliseconds that datagrams may wait in a queue that is never empty.
pub const DELAY_MAX_MILLIS: u64 = 50;
/// Milliseconds of work that a receive buffer may hold under overload.
pub const BUFFER_MILLIS_MAX: u64 = 200;

/// If fewer than one datagram in so many is from a proven sender, levels above [`Level::Connects`] are not taken.
const PROVEN_PART: u64 = 4;
/// All connects, in parts of 2^32.
const SHARE_ALL: u64 = u32::MAX as u64;
/// The time that a share of connects stays for at least: less than a second, so that a call each second is never too early.
const SHARE_PERIOD_MIN: Duration = Duration::from_millis(900);
/// The least share of connects, in parts of 2^32: one in 1024.
const KEPT_MIN: u32 = 1 << 22;
/// The time without overload after which a worker that is still busy tries the level below.
const FALL_BUSY: Duration = Duration::from_secs(1);
/// The time without overload after which a buffer gets its first size again.
const BUFFER_RESTORED: Duration = Duration::from_secs(1);
/// Consecutive windows with losses after which a queue that is emptied in each of them counts as overloaded.
const LOSING_WINDOWS: u32 = 3;
/// Bytes that a short datagram takes in the queue of Linux when it comes over the loopback interface.
const DATAGRAM_BYTES: u32 = 832;
/// Bytes that a datagram takes at least in the queue: a lower measure is raised to this.
const DATAGRAM_BYTES_MIN: u32 = 512;
/// Bytes that a datagram takes at most in the queue, two pages and what the system adds: a higher measure is lowered to this.
const DATAGRAM_BYTES_MAX: u32 = 9 * 1024;
/// Bytes of the smallest buffer: about a batch of datagrams.
const BUFFER_BYTES_MIN: u32 = 64 * 1024;

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;
    use std::vec::Vec;

    use super::*;

    const START: Instant = Instant::from_secs(1_000_000);
    const BUFFER: u32 = 8 << 20;

    fn after(millis: u64) -> Instant {
        START.saturating_add(Duration::from_millis(millis))
    }

    fn queue(queued_bytes: u32, drops: u32) -> Queue {
        Queue {
            queued_bytes,
            buffer_bytes: BUFFER,
            drops,
            has_filter: false,
        }
    }

    /// A watch that has looked at its queue once.
    fn watch() -> QueueWatch {
        let mut watch = QueueWatch::new(START);
        let observed = watch.observe(START, queue(0, 5));
        assert_eq!((observed.pressure, observed.overflowed), (Pressure::Idle, 0));
        watch
    }

    /// A window of 100 ms in which `full` batches were full and `others` were not.
    fn window(watch: &mut QueueWatch, full: usize, others: usize, queue: Queue) -> Observed {
        let end = watch.began.saturating_add(WINDOW);
        for _ in 0..full {
            watch.receive(watch.began, BATCH_MAX);
        }
        for _ in 0..others {
            watch.receive(watch.began, 1);
        }
        assert!(watch.is_due(end));
        watch.observe(end, queue)
    }

    #[test]
    fn full_batches_alone_are_work_and_no_overload() {
        let mut watch = watch();
        assert_eq!(
            window(&mut watch, 500, 0, queue(832 * 200, 5)).pressure,
            Pressure::Busy
        );
        assert_eq!(
            window(&mut watch, 500, 10, queue(832 * 200, 5)).pressure,
            Pressure::Busy
        );
        assert_eq!(window(&mut watch, 1, 10, queue(0, 5)).pressure, Pressure::Idle);
    }

    #[test]
    fn a_queue_that_is_never_empty_and_loses_datagrams_is_overload() {
        let mut watch = watch();
        let observed = window(&mut watch, 500, 0, queue(BUFFER, 25));
        assert_eq!(
            (observed.pressure, observed.overflowed),
            (Pressure::Overloaded, 20)
        );
        let observed = window(&mut watch, 500, 0, queue(BUFFER, 25));
        assert_eq!((observed.pressure, observed.overflowed), (Pressure::Busy, 0));
    }

    #[test]
    fn a_queue_whose_datagrams_wait_too_long_is_overload() {
        let mut watch = watch();
        // 640 datagrams in a window are 6400 a second: 320 of them are 50 ms of work.
        assert_eq!(
            window(&mut watch, 10, 0, queue(832 * 320, 5)).pressure,
            Pressure::Busy
        );
        assert_eq!(
            window(&mut watch, 10, 0, queue(832 * 330, 5)).pressure,
            Pressure::Overloaded
        );
        // With larger datagrams the same bytes are fewer datagrams, so the wait is shorter.
        for _ in 0..20 {
            watch.measure(2304 * 30, 30);
        }
        assert_eq!(
            window(&mut watch, 10, 0, queue(832 * 330, 5)).pressure,
            Pressure::Busy
        );
        // It was emptied meanwhile.
        assert_eq!(
            window(&mut watch, 10, 1, queue(BUFFER, 5)).pressure,
            Pressure::Busy
        );
    }

    #[test]
    fn losses_of_a_queue_that_is_emptied_are_overload_when_they_go_on() {
        let mut watch = watch();
        let pressures: Vec<Pressure> = (1..=3)
            .map(|n| window(&mut watch, 1, 10, queue(0, 5 + n)).pressure)
            .collect();
        assert_eq!(pressures, [Pressure::Idle, Pressure::Idle, Pressure::Overloaded]);
        assert_eq!(window(&mut watch, 1, 10, queue(0, 8)).pressure, Pressure::Idle);
        assert_eq!(window(&mut watch, 1, 10, queue(0, 9)).pressure, Pressure::Idle);
    }

    #[test]
    fn drops_of_a_filter_are_no_overload_and_counted_apart() {
        let mut watch = watch();
        let filtered = |queued, drops| Queue {
            has_filter: true,
            ..queue(queued, drops)
        };
        for n in 1..5 {
            let observed = window(&mut watch, 500, 1, filtered(0, 5 + 10 * n));
            assert_eq!((observed.overflowed, observed.filter_dropped), (0, 10));
            assert_eq!(observed.pressure, Pressure::Busy);
        }
        // First the drops of the filter before it was detached, then those of a full queue.
        assert_eq!(window(&mut watch, 1, 1, queue(0, 50)).filter_dropped, 5);
        assert_eq!(window(&mut watch, 500, 0, filtered(BUFFER, 60)).overflowed, 10);
    }

    #[test]
    fn a_counter_that_wraps_around_is_followed() {
        let mut watch = watch();
        let _ = watch.observe(START, queue(0, u32::MAX));
        assert_eq!(window(&mut watch, 0, 1, queue(0, 9)).overflowed, 10);
    }

    #[test]
    fn a_buffer_of_more_than_200_ms_of_work_is_shrunk_and_restored() {
        let mut watch = watch();
        // 64,000 a second: 12,800 in 200 ms, which the buffer does not hold.
        assert_eq!(window(&mut watch, 100, 0, queue(BUFFER, 6)).buffer_bytes, None);
        let mut watch = self::watch();
        let shrunk = window(&mut watch, 10, 0, queue(BUFFER, 6)).buffer_bytes.unwrap();
        assert_eq!(shrunk, 6400 / 5 * 832);
        let smaller = |drops| Queue {
            buffer_bytes: shrunk,
            ..queue(0, drops)
        };
        assert_eq!(window(&mut watch, 11, 0, smaller(7)).buffer_bytes, None);
        for _ in 0..9 {
            assert_eq!(window(&mut watch, 0, 1, smaller(7)).buffer_bytes, None);
        }
        assert_eq!(window(&mut watch, 0, 1, smaller(7)).buffer_bytes, Some(BUFFER));
        assert_eq!(window(&mut watch, 0, 1, queue(0, 7)).buffer_bytes, None);
    }

    #[test]
    fn a_buffer_is_never_smaller_than_a_batch() {
        let mut watch = watch();
        let end = watch.began.saturating_add(Duration::from_secs(9));
        watch.receive(end, BATCH_MAX);
        let observed = watch.observe(end, queue(BUFFER, 6));
        assert_eq!(observed.buffer_bytes, Some(BUFFER_BYTES_MIN));
    }

    #[test]
    fn the_level_rises_with_each_window_and_falls_as_fast_when_the_worker_idles() {
        let mut overload = Overload::default();
        let levels =
            |pressure: Pressure, windows: core::ops::Range<u64>, overload: &mut Overload| -> Vec<Level> {
                windows
                    .map(|n| {
                        overload.update(after(n * 100), pressure, 0, 0);
                        overload.level()
                    })
                    .collect()
            };
        let rising = levels(Pressure::Overloaded, 0..7, &mut overload);
        assert_eq!(rising[..6], Level::ALL);
        assert_eq!(rising[6], Level::NewPeers);
        let falling = levels(Pressure::Idle, 7..12, &mut overload);
        let expected: Vec<Level> = Level::ALL.iter().rev().skip(1).copied().collect();
        assert_eq!(falling, expected);
    }

    #[test]
    fn one_window_of_loss_is_no_overload() {
        let mut overload = Overload::default();
        for n in 0..10 {
            overload.update(after(n * 5000), Pressure::Overloaded, 0, 0);
            overload.update(after(n * 5000 + 100), Pressure::Busy, 0, 0);
            assert_eq!(overload.level(), Level::None);
        }
    }

    #[test]
    fn a_busy_worker_tries_the_level_below_once_a_second() {
        let mut overload = Overload::default();
        for n in 0..3 {
            overload.update(after(n * 100), Pressure::Overloaded, 0, 0);
        }
        assert_eq!(overload.level(), Level::Connects);
        for n in 3..12 {
            overload.update(after(n * 100), Pressure::Busy, 0, 0);
            assert_eq!(overload.level(), Level::Connects);
        }
        overload.update(after(1200), Pressure::Busy, 0, 0);
        assert_eq!(overload.level(), Level::Extras);
    }

    #[test]
    fn scrapes_and_announces_are_not_shed_while_few_datagrams_are_proven() {
        let mut overload = Overload::default();
        for n in 0..20 {
            // One in five has proven its address.
            overload.update(after(n * 100), Pressure::Overloaded, n * 1000, n * 200);
        }
        assert_eq!(overload.level(), Level::Connects);
        overload.update(after(2000), Pressure::Overloaded, 21_000, 4300);
        assert_eq!(overload.level(), Level::Scrapes);
    }

    #[test]
    fn a_worker_that_hears_nothing_for_long_serves_everything_again() {
        let mut overload = Overload::default();
        let mut spent = Duration::ZERO;
        for n in 0..20 {
            spent += overload.update(after(n * 100), Pressure::Overloaded, 0, 0);
        }
        assert_eq!(spent, Duration::from_millis(1800));
        spent += overload.update(after(3000), Pressure::Idle, 0, 0);
        assert_eq!(
            (overload.level(), spent),
            (Level::None, Duration::from_millis(2900))
        );
        assert_eq!(overload.update(after(9000), Pressure::Idle, 0, 0), Duration::ZERO);
    }

    /// A worker that handles 1000 datagrams a second, and each second gets 100 announces and the connects that the
    /// filter lets through.
    #[derive(Default)]
    struct Flooded {
        overload: Overload,
        second: u64,
        received: u64,
        dropped: u64,
        kept: Option<u32>,
    }

    impl Flooded {
        /// How many connects come through in each of so many seconds.
        fn through(&mut self, secs: usize, connects: u64) -> Vec<u64> {
            (0..secs).map(|_| self.second(connects)).collect()
        }

        fn second(&mut self, connects: u64) -> u64 {
            let begins = after(self.second * 1000);
            let through = connects * self.kept.map_or(SHARE_ALL, u64::from) / SHARE_ALL;
            let handled = through.min(900);
            self.overload.begin_batch(0);
            for _ in 0..handled {
                self.overload.admit_connect();
            }
            self.received += handled + 100;
            self.dropped += through - handled;
            let pressure = if through > handled {
                Pressure::Overloaded
            } else {
                Pressure::Idle
            };
            for window in 0..10 {
                let now = begins.saturating_add(WINDOW * window);
                self.overload.update(now, pressure, self.received, 0);
            }
            let ends = begins.saturating_add(WINDOW * 9);
            self.kept = self.overload.connects_kept(ends, self.received, self.dropped);
            self.second += 1;
            through
        }
    }

    #[test]
    fn a_flood_of_connects_is_thinned_to_three_tenths_of_what_the_worker_can_do() {
        let mut flooded = Flooded::default();
        assert_eq!(flooded.through(3, 500), [500; 3]);
        let through = flooded.through(10, 100_000);
        assert_eq!(through[0], 100_000);
        assert!(
            through[1..4].iter().all(|through| (200..=360).contains(through)),
            "{through:?}"
        );
        // That holds although the worker is not overloaded any more; it only tries slowly whether it can do more.
        assert!(through[4..].iter().all(|&through| through < 600), "{through:?}");
        assert_eq!(flooded.overload.level(), Level::None);
        // A second after the flood all come through again.
        assert_eq!(flooded.through(5, 250)[2..], [250; 3]);
    }

    #[test]
    fn connects_are_thinned_again_when_the_worker_tried_to_do_more_than_it_can() {
        let mut flooded = Flooded::default();
        let through = flooded.through(120, 100_000);
        assert!(through[10..].iter().any(|&through| through > 900), "{through:?}");
        let overloaded = through[1..].iter().filter(|&&through| through > 900).count();
        assert!(overloaded <= 10, "{through:?}");
    }

    #[test]
    fn connects_are_not_thinned_after_a_flood_of_something_else() {
        let mut overload = Overload::default();
        let (mut received, mut kept) = (0, Vec::new());
        for n in 0..60 {
            // Three seconds of 1000 datagrams a second, one in a hundred a connect; then a filter drops the flood, and 20 of 40
            // in a tenth of a second are connects.
            let is_flood = n < 30;
            let (new, connects) = if is_flood { (100, 1) } else { (40, 20) };
            overload.begin_batch(0);
            for _ in 0..connects {
                overload.admit_connect();
            }
            received += new;
            let pressure = if is_flood {
                Pressure::Overloaded
            } else {
                Pressure::Idle
            };
            overload.update(after(n * 100), pressure, received, received);
            kept.push(overload.connects_kept(after(n * 100), received, n.min(30) * 1000));
        }
        assert!(kept.iter().all(Option::is_none), "{kept:?}");
    }

    #[test]
    fn few_connects_are_never_thinned() {
        let mut flooded = Flooded::default();
        for n in 0..10 {
            flooded
                .overload
                .update(after(n * 100), Pressure::Overloaded, n * 100, n * 100);
        }
        assert!(flooded.overload.level() > Level::Connects);
        flooded.received = 2000;
        assert_eq!(flooded.overload.connects_kept(after(1000), 2000, 50_000), None);
    }

    quickcheck! {
        fn levels_rise_one_at_a_time_under_overload_alone_and_buffers_stay_in_bounds(steps: Vec<(u16, u8, u32, u32, bool)>) -> bool {
            let (mut watch, mut overload, mut now) = (QueueWatch::new(START), Overload::default(), START);
            steps.into_iter().all(|(millis, datagrams, queued_bytes, drops, has_filter)| {
                now = now.saturating_add(Duration::from_millis(millis.into()));
                watch.measure(queued_bytes, datagrams.into());
                watch.receive(now, datagrams.into());
                let queue = Queue { queued_bytes, buffer_bytes: BUFFER, drops, has_filter };
                let before = overload.level();
                let observed = watch.observe(now, queue);
                overload.update(now, observed.pressure, 0, 0);
                overload.level() <= before.higher()
                    && (overload.level() <= before || observed.pressure == Pressure::Overloaded)
                    && observed.buffer_bytes.is_none_or(|bytes| (BUFFER_BYTES_MIN..=BUFFER).contains(&bytes))
            })
        }
    }
}
