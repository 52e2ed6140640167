//! Measurements of simulated runs, by which operators choose settings.

use crate::client::LEARNED;
use crate::model::Note;
use crate::queue::{Millis, SECOND};

/// Sums and maxima of one run or of many.
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
    /// Peers handed out that had already left the swarm or crashed.
    pub peers_gone: u64,
    /// Sum over all peers handed out of the milliseconds since their last announce.
    pub peers_age_millis_total: u64,
    /// Requests that were limited.
    pub limited: u64,
    /// Answers in which one network had as much as it may have, and others the rest.
    pub shared: u64,
    /// Announces that were refused while memory was short, and how often torrents made room for others.
    pub refused_short: u64,
    /// See `refused_short`.
    pub evictions: u64,
    /// Downloads that clients began.
    pub downloads_begun: u64,
    /// For each number of [`LEARNED_PEERS`], the seconds from the beginning of a download until it knew so many peers.
    pub learned_secs: [Vec<u32>; LEARNED.len()],
    /// The most peers that were stored.
    pub peers_max: u64,
    /// The most bytes that the core held beyond those of a new tracker.
    pub memory_bytes_max: i64,
    /// Bytes that the core held beyond those of a new tracker after all peers had expired.
    pub memory_bytes_left: i64,
}

/// Numbers of peers: for each, the time is measured until a download knows so many.
pub const LEARNED_PEERS: [usize; LEARNED.len()] = LEARNED;

impl Tally {
    pub(crate) fn announced(&mut self, note: &Note) {
        self.announces += 1;
        self.peers_handed += note.handed as u64;
        self.shared += u64::from(note.shared);
        self.peers_age_millis_total += note.ages;
    }

    /// Counts a peer that was handed out, if its client no longer serves.
    pub(crate) const fn count_if_gone(&mut self, serving: bool) {
        if !serving {
            self.peers_gone += 1;
        }
    }

    /// Notes that a download knew `LEARNED_PEERS[at]` peers `after` its beginning.
    pub(crate) fn learned(&mut self, at: usize, after: Millis) {
        if let Some(times) = self.learned_secs.get_mut(at) {
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
        self.peers_age_millis_total += other.peers_age_millis_total;
        self.limited += other.limited;
        self.shared += other.shared;
        self.refused_short += other.refused_short;
        self.evictions += other.evictions;
        self.downloads_begun += other.downloads_begun;
        for (mine, others) in self.learned_secs.iter_mut().zip(&other.learned_secs) {
            mine.extend(others);
        }
        self.peers_max = self.peers_max.max(other.peers_max);
        self.memory_bytes_max = self.memory_bytes_max.max(other.memory_bytes_max);
        self.memory_bytes_left = self.memory_bytes_left.max(other.memory_bytes_left);
    }

    /// The seconds within which `percent` of all downloads (1 to 100) knew `LEARNED_PEERS[at]` peers. `None` if fewer did.
    #[must_use]
    pub fn learned_within(&self, at: usize, percent: u32) -> Option<u32> {
        let mut times = self.learned_secs.get(at)?.clone();
        times.sort_unstable();
        // Downloads that never knew so many have no time here, but count in the share.
        let downloads = (self.downloads_begun * u64::from(percent)).div_ceil(100);
        let slowest = usize::try_from(downloads).ok()?.checked_sub(1)?;
        times.get(slowest).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_downloads_is_timed_by_the_slowest_of_them() {
        let mut tally = Tally {
            downloads_begun: 10,
            ..Tally::default()
        };
        tally.learned_secs[0] = vec![9, 1, 8, 2, 7, 3, 6, 4, 10, 5];
        let times = [1, 10, 11, 50, 90, 91, 100].map(|percent| tally.learned_within(0, percent));
        assert_eq!(times, [1, 1, 2, 5, 9, 10, 10].map(Some));
        tally.downloads_begun = 11;
        assert_eq!(tally.learned_within(0, 90), Some(10));
        assert_eq!(
            tally.learned_within(0, 91),
            None,
            "one download never knew a peer"
        );
        assert_eq!(Tally::default().learned_within(0, 50), None);
    }
}
