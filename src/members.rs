//! What is known of the cluster, for pages.

use etracker_core::cluster::NodeFigures;

use crate::shared::Shared;

/// What this node knows of its cluster; shared by the thread that is in it and by pages. Nothing before that thread has begun, and
/// without a cluster.
pub(crate) type ClusterView = Shared<Option<ClusterState>>;

/// A node and its cluster at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterState {
    /// The name of the cluster.
    pub(crate) cluster: String,
    /// The name of this node.
    pub(crate) node: String,
    /// Its number, another one at each start.
    pub(crate) id: String,
    /// The broker that it is connected to.
    pub(crate) broker: Option<String>,
    /// Why there is none.
    pub(crate) fault: Option<String>,
    /// Whether this node holds what the others hold.
    pub(crate) whole: bool,
    /// Records that it sent and applied in the last seconds, per second.
    pub(crate) sent_per_sec: f64,
    /// See `sent_per_sec`.
    pub(crate) applied_per_sec: f64,
    /// Records that wait for the bus.
    pub(crate) waiting: u64,
    pub(crate) figures: NodeFigures,
    /// The other nodes, those included that went within the last minutes.
    pub(crate) members: Vec<MemberState>,
}

/// Another node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MemberState {
    /// Its number.
    pub(crate) id: String,
    /// What it is called; its number until it has said so.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Whether it is heard.
    pub(crate) alive: bool,
    /// Whether it holds what the others hold.
    pub(crate) whole: bool,
    /// Seconds since it was heard first.
    pub(crate) age_secs: u64,
    /// Seconds since it was heard last.
    pub(crate) silent_secs: u64,
    /// Milliseconds that its last message took longer than the fastest one.
    pub(crate) lag_millis: u64,
    /// Its messages that did not arrive here.
    pub(crate) lost: u64,
    /// Milliseconds that its clock is behind that of this node; negative if it is ahead.
    pub(crate) clock_behind_millis: i64,
    /// Whether that is too much.
    pub(crate) clock_differs: bool,
    pub(crate) torrents: u64,
    pub(crate) peers: u64,
    pub(crate) requests_per_sec: u64,
    pub(crate) sent: u64,
    pub(crate) applied: u64,
}
