//! The other nodes, as this one hears them.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::Instant;

use super::envelope::{FORMAT, Header, NodeId, Rejection};
use super::heartbeat::Heartbeat;
use super::window::Window;

/// Another node.
#[derive(Clone, Debug)]
pub struct Member {
    window: Window,
    since: Instant,
    heard: Instant,
    reads: u8,
    /// The clock of this node less that of the member at the last messages, in milliseconds: what lies between the clocks, and the
    /// time that each message took. The least is the nearest to the former.
    delay_millis: Delay,
    messages: u64,
    heartbeat: Option<Heartbeat>,
}

/// The delays of the messages of a member, by the difference of two clocks.
#[derive(Clone, Copy, Debug, Default)]
struct Delay {
    last: i64,
    /// The least of this period and of the one before.
    least: i64,
    least_before: Option<i64>,
    period: u64,
}

impl Member {
    /// When it was heard first.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// When it was heard last.
    #[must_use]
    pub const fn heard(&self) -> Instant {
        self.heard
    }

    /// What it said of itself last, if it has.
    #[must_use]
    pub const fn heartbeat(&self) -> Option<&Heartbeat> {
        self.heartbeat.as_ref()
    }

    /// Messages received.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// Messages that were sent to all and did not arrive: gaps of the sequence.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.window.lost()
    }

    /// By how many milliseconds its clock is behind that of this node, and the time that the fastest message took with it; negative
    /// if it is ahead.
    #[must_use]
    pub fn clock_behind_millis(&self) -> i64 {
        let Delay {
            least, least_before, ..
        } = self.delay_millis;
        least_before.map_or(least, |before| before.min(least))
    }

    /// How much longer its last message took than the fastest one of the last minute.
    #[must_use]
    pub fn lag(&self) -> Duration {
        let lag = self.delay_millis.last.saturating_sub(self.clock_behind_millis());
        Duration::from_millis(u64::try_from(lag).unwrap_or(0))
    }

    /// Whether its clock differs by more than [`CLOCK_DIFFERENCE_MAX`] from that of this node.
    #[must_use]
    pub fn clock_differs(&self) -> bool {
        u128::from(self.clock_behind_millis().unsigned_abs()) > CLOCK_DIFFERENCE_MAX.as_millis()
    }

    /// Whether it is heard still.
    #[must_use]
    pub fn is_alive(&self, now: Instant) -> bool {
        now.saturating_since(self.heard) <= SILENCE_MAX
    }

    fn new(now: Instant, header: &Header) -> Self {
        let mut delay_millis = Delay::default();
        delay_millis.begin(now, header);
        Self {
            window: Window::begin(header.sequence),
            since: now,
            heard: now,
            reads: header.reads,
            delay_millis,
            messages: 0,
            heartbeat: None,
        }
    }

    fn hear(&mut self, now: Instant, header: &Header) {
        self.heard = now;
        self.reads = header.reads;
        self.delay_millis.hear(now, header);
        self.messages += 1;
    }
}

impl Delay {
    fn begin(&mut self, now: Instant, header: &Header) {
        self.last = behind(now, header);
        (self.least, self.period) = (self.last, now.as_secs() / PERIOD_SECS);
    }

    fn hear(&mut self, now: Instant, header: &Header) {
        let before = (now.as_secs() / PERIOD_SECS != self.period).then_some(self.least);
        if before.is_some() {
            self.least_before = before;
            self.begin(now, header);
        }
        self.last = behind(now, header);
        self.least = self.least.min(self.last);
    }
}

fn behind(now: Instant, header: &Header) -> i64 {
    let millis = |instant: Instant| i64::try_from(instant.as_millis()).unwrap_or(i64::MAX);
    millis(now).saturating_sub(millis(header.clock))
}

/// The other nodes, at most [`MEMBERS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Members {
    all: BTreeMap<NodeId, Member>,
    /// Messages that members lost which are forgotten.
    lost_before: u64,
}

impl Members {
    /// Admits a message that a node sent to all, once. Whether the node is a new member.
    pub(crate) fn admit(&mut self, now: Instant, header: &Header) -> Result<bool, Rejection> {
        if header.sequence == 0 {
            return Err(Rejection::Malformed);
        }
        if let Some(member) = self.all.get_mut(&header.node) {
            if !member.window.accept(header.sequence) {
                return Err(Rejection::Replay);
            }
            member.hear(now, header);
            return Ok(false);
        }
        if self.all.len() >= MEMBERS_MAX && !self.forget_silent(now) {
            return Err(Rejection::Members);
        }
        let mut member = Member::new(now, header);
        member.hear(now, header);
        self.all.insert(header.node, member);
        Ok(true)
    }

    /// Takes what a member says of itself. Whether its clock differs now, and did not before.
    pub(crate) fn tell(&mut self, node: NodeId, heartbeat: Heartbeat) {
        if let Some(member) = self.all.get_mut(&node) {
            member.heartbeat = Some(heartbeat);
        }
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Member> {
        self.all.get(&node)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.all.iter().map(|(node, member)| (*node, member))
    }

    /// The newest format that all members read which are heard.
    pub(crate) fn format(&self, now: Instant) -> u8 {
        let alive = self.all.values().filter(|member| member.is_alive(now));
        alive
            .map(|member| member.reads)
            .min()
            .unwrap_or(FORMAT)
            .clamp(1, FORMAT)
    }

    /// Messages lost, of all members.
    pub(crate) fn lost(&self) -> u64 {
        self.all
            .values()
            .fold(self.lost_before, |sum, member| sum.saturating_add(member.lost()))
    }

    /// Forgets members that have been silent for long. Until then their sequence is kept, so that nothing of them is replayed.
    pub(crate) fn expire(&mut self, now: Instant) {
        let Self { all, lost_before } = self;
        all.retain(|_, member| {
            let stays = now.saturating_since(member.heard) <= MEMBER_KEPT;
            if !stays {
                *lost_before = lost_before.saturating_add(member.lost());
            }
            stays
        });
    }

    /// Forgets the member that has been silent longest, if it is not alive.
    fn forget_silent(&mut self, now: Instant) -> bool {
        let silent = self.all.iter().filter(|(_, member)| !member.is_alive(now));
        let Some(node) = silent
            .min_by_key(|(_, member)| member.heard)
            .map(|(node, _)| *node)
        else {
            return false;
        };
        if let Some(member) = self.all.remove(&node) {
            self.lost_before = self.lost_before.saturating_add(member.lost());
        }
        true
    }
}

/// Members at most: several times what full replication makes sense for, so that nodes that start again and again have room.
pub const MEMBERS_MAX: usize = 64;
/// How much the clocks of two nodes may differ before it is told.
pub const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(5);
/// Silence after which a member counts as gone: three heartbeats.
pub const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Silence after which a member is forgotten. Its messages are too old to be accepted long before.
const MEMBER_KEPT: Duration = Duration::from_secs(600);
/// Seconds of which the fastest message tells how far clocks are apart.
const PERIOD_SECS: u64 = 60;
