//! What a node knows, in the form that pages show.

use std::collections::VecDeque;

use etracker_core::Instant;
use etracker_core::cluster::{Member, Node, NodeFigures, NodeId};
use etracker_core::prefetch::Prefetch;

use crate::members::{ClusterState, MemberState};

/// The broker that a node is connected to, and why there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Broker {
    pub(super) name: Option<String>,
    pub(super) fault: Option<String>,
}

/// Records sent and applied in the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// Time, records sent and records applied, the oldest first.
    seen: VecDeque<(Instant, u64, u64)>,
}

impl Rates {
    pub(super) fn note(&mut self, now: Instant, figures: &NodeFigures) {
        let applied = figures.records.applied + figures.records.stale;
        self.seen.push_back((now, figures.records_sent, applied));
        while self.seen.len() > SEEN_MAX {
            self.seen.pop_front();
        }
    }

    /// Records sent and applied, per second.
    fn per_sec(&self) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.seen.front(), self.seen.back()) else {
            return (0.0, 0.0);
        };
        let secs = last.0.saturating_since(first.0).as_secs_f64();
        let rate = |from: u64, to: u64| {
            let records = u32::try_from(to - from).unwrap_or(u32::MAX);
            if secs > 0.0 {
                f64::from(records) / secs
            } else {
                0.0
            }
        };
        (rate(first.1, last.1), rate(first.2, last.2))
    }
}

/// The state of a node.
pub(super) fn state<P: Prefetch>(
    now: Instant,
    node: &Node<P>,
    rates: &Rates,
    broker: Broker,
) -> ClusterState {
    let settings = node.settings();
    let (sent_per_sec, applied_per_sec) = rates.per_sec();
    ClusterState {
        cluster: settings.cluster.to_string(),
        node: settings.node.to_string(),
        id: settings.id.to_string(),
        broker: broker.name,
        fault: broker.fault,
        whole: node.is_whole(),
        sent_per_sec,
        applied_per_sec,
        waiting: node.waiting() as u64,
        figures: node.figures(),
        members: node
            .members()
            .map(|(id, member)| member_state(now, id, member))
            .collect(),
    }
}

fn member_state(now: Instant, id: NodeId, member: &Member) -> MemberState {
    let heartbeat = member.heartbeat();
    let number = |of: fn(&etracker_core::cluster::Heartbeat) -> u64| heartbeat.map_or(0, of);
    MemberState {
        id: id.to_string(),
        name: heartbeat.map_or_else(|| id.to_string(), |heartbeat| heartbeat.name.to_string()),
        version: heartbeat.map_or_else(String::new, |heartbeat| heartbeat.version.clone()),
        alive: member.is_alive(now),
        whole: heartbeat.is_some_and(|heartbeat| heartbeat.whole),
        age_secs: now.saturating_since(member.since()).as_secs(),
        silent_secs: now.saturating_since(member.heard()).as_secs(),
        lag_millis: u64::try_from(member.lag().as_millis()).unwrap_or(u64::MAX),
        lost: member.lost(),
        clock_behind_millis: member.clock_behind_millis(),
        clock_differs: member.clock_differs(),
        torrents: number(|heartbeat| heartbeat.torrents),
        peers: number(|heartbeat| heartbeat.peers),
        requests_per_sec: number(|heartbeat| heartbeat.requests_per_sec),
        sent: number(|heartbeat| heartbeat.sent),
        applied: number(|heartbeat| heartbeat.applied),
    }
}

/// Looks of which the first and the last are compared: ten seconds.
const SEEN_MAX: usize = 11;
