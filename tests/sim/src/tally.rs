//! What a run measured, for operators.

use crate::client::LEARNED;
use crate::model::Note;
use crate::queue::{Millis, SECOND};

/// Sums of one run or of many.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Datagrams that reached the tracker.
    pub datagrams: u64,
    /// Requests over HTTP that were answered.
    pub http_requests: u64,
    /// Announces carried out.
    pub announces: u64,
    /// Peers handed out.
    pub peers_handed: u64,
    /// Those of them that had left or crashed by then.
    pub peers_gone: u64,
    /// Milliseconds since their last announces, summed over the peers handed out.
    pub peers_age: u64,
    /// Downloads that clients began.
    pub leechers: u64,
    /// Seconds from the beginning of a download to knowing as many peers as [`LEARNED_PEERS`] says.
    pub learned_secs: [Vec<u32>; LEARNED.len()],
    /// The most peers that were stored.
    pub peers_max: u64,
    /// The most bytes that the core held beyond those of a new tracker, and what was left when all had expired.
    pub memory_max: i64,
    /// See `memory_max`.
    pub memory_left: i64,
}

/// Numbers of peers whose learning is timed.
pub const LEARNED_PEERS: [usize; LEARNED.len()] = LEARNED;

impl Tally {
    pub(crate) fn announced(&mut self, note: &Note) {
        self.announces += 1;
        self.peers_handed += note.handed as u64;
        self.peers_age += note.ages;
    }

    pub(crate) const fn handed(&mut self, serving: bool) {
        if !serving {
            self.peers_gone += 1;
        }
    }

    pub(crate) fn learned(&mut self, wanted: usize, after: Millis) {
        if let Some(times) = self.learned_secs.get_mut(wanted) {
            times.push(crate::scenario::narrow(after / SECOND));
        }
    }

    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.datagrams += other.datagrams;
        self.http_requests += other.http_requests;
        self.announces += other.announces;
        self.peers_handed += other.peers_handed;
        self.peers_gone += other.peers_gone;
        self.peers_age += other.peers_age;
        self.leechers += other.leechers;
        for (mine, others) in self.learned_secs.iter_mut().zip(&other.learned_secs) {
            mine.extend(others);
        }
        self.peers_max = self.peers_max.max(other.peers_max);
        self.memory_max = self.memory_max.max(other.memory_max);
        self.memory_left = self.memory_left.max(other.memory_left);
    }

    /// The time, in seconds, within which this share of the downloads had learned of `LEARNED_PEERS[at]` peers. `None` if
    /// fewer did.
    #[must_use]
    pub fn learned_within(&self, at: usize, share: f64) -> Option<u32> {
        let mut times = self.learned_secs.get(at)?.clone();
        times.sort_unstable();
        let rank = usize::try_from(crate::chance::scaled(self.leechers, share)).ok()?;
        times.get(rank).copied()
    }
}
