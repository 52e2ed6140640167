//! Results of requests, and checks of answers.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use etracker_core::announce::{Family, compact_peers};

use crate::population::{PORT_MIN, Peer};

/// The results of all requests of a run. Each is answered or lost.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Requests that were sent.
    pub(crate) sent: u64,
    /// Connects that were answered.
    pub(crate) connects: u64,
    /// Announces that were answered with peers, or with none where there are none.
    pub(crate) announces: u64,
    /// Scrapes that were answered.
    pub(crate) scrapes: u64,
    /// Requests that were answered with an error.
    pub(crate) refused: u64,
    /// Answers that are not right.
    pub(crate) wrong: u64,
    /// Requests without an answer in time.
    pub(crate) lost: u64,
    /// Answers that came after their time, to requests that were counted as lost.
    pub(crate) late: u64,
    /// Peers in all answers to announces.
    pub(crate) peers: u64,
    /// Announces of which each peer was looked at.
    pub(crate) looked_at: u64,
    /// Connections whose TLS was resumed.
    pub(crate) resumed: u64,
    /// How long answers took, in microseconds from when the requests were due.
    pub(crate) latencies_us: Vec<u32>,
    /// How late requests were sent, in microseconds from when they were due.
    pub(crate) lateness_us: Vec<u32>,
    /// The first wrong or refusing answer.
    pub(crate) complaint: Option<String>,
}

impl Tally {
    /// Requests that were answered, rightly or not.
    pub(crate) const fn answered(&self) -> u64 {
        self.connects + self.announces + self.scrapes + self.refused + self.wrong
    }

    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub(crate) fn peers_per_announce(&self) -> f64 {
        self.peers as f64 / self.announces.max(1) as f64
    }

    pub(crate) fn took(&mut self, due: Option<Instant>) {
        self.latencies_us.extend(due.map(|due| micros(due.elapsed())));
    }

    pub(crate) fn sent_late(&mut self, late: Duration) {
        self.lateness_us.push(micros(late));
    }

    pub(crate) fn complain(&mut self, what: impl FnOnce() -> String) {
        self.complaint.get_or_insert_with(what);
    }

    /// Counts an answer to an announce.
    pub(crate) fn announced(&mut self, asked: &Peer, answer: &Announced<'_>) {
        let count = answer.compact.len() / answer.family.compact_len();
        let is_sampled = self.announces.is_multiple_of(SAMPLE);
        self.looked_at += u64::from(is_sampled);
        match answer.fault(asked, count, is_sampled) {
            Some(fault) => {
                self.wrong += 1;
                self.complain(|| format!("{fault}: {asked:?} was answered {answer:?}"));
            }
            None => {
                self.announces += 1;
                self.peers += count as u64;
            }
        }
    }
}

fn micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}

/// The answer to an announce, over whatever protocol.
#[derive(Debug)]
pub(crate) struct Announced<'a> {
    /// Peers that the tracker counts.
    pub(crate) counted: u64,
    pub(crate) family: Family,
    /// Compact peers.
    pub(crate) compact: &'a [u8],
    /// Whom the tracker was asked at.
    pub(crate) target: IpAddr,
}

impl Announced<'_> {
    fn fault(&self, asked: &Peer, count: usize, is_sampled: bool) -> Option<&'static str> {
        if !self.compact.len().is_multiple_of(self.family.compact_len()) {
            return Some("half a peer");
        }
        if count > asked.wanted as usize {
            return Some("more peers than were asked for");
        }
        // Some trackers count before the asker is in: none is as right as one then.
        if self.counted > u64::from(asked.size) {
            return Some("a count of peers that are not there");
        }
        if !is_sampled {
            return None;
        }
        let mut peers: Vec<_> = compact_peers(self.family, self.compact)
            .map(|peer| (peer.ip, peer.port))
            .collect();
        let is_foreign =
            |&(ip, port): &(IpAddr, u16)| port < PORT_MIN || ip.is_loopback() != self.target.is_loopback();
        if peers.iter().any(is_foreign) {
            return Some("a peer that never announced");
        }
        peers.sort_unstable();
        peers.dedup();
        (peers.len() < count).then_some("a peer twice")
    }
}

/// One announce in this many has each of its peers checked.
const SAMPLE: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Peer = Peer {
        torrent: 1,
        port: 2000,
        wanted: 2,
        size: 3,
    };

    fn fault(counted: u64, compact: &[u8]) -> Option<&'static str> {
        let mut tally = Tally::default();
        let answer = Announced {
            counted,
            family: Family::V4,
            compact,
            target: [127, 0, 0, 1].into(),
        };
        tally.announced(&ASKED, &answer);
        assert_eq!((tally.answered(), tally.looked_at), (1, 1));
        assert_eq!(tally.wrong, u64::from(tally.complaint.is_some()));
        answer.fault(&ASKED, compact.len() / 6, true)
    }

    #[test]
    fn right_answers_are_right_and_each_fault_is_found() {
        let (one, other) = ([127, 1, 0, 1, 8, 0], [127, 1, 0, 2, 8, 0]);
        assert_eq!(fault(3, &[one, other].concat()), None);
        assert_eq!(fault(0, &[]), None);
        assert!(fault(3, &[one, one].concat()).is_some_and(|fault| fault.contains("twice")));
        assert!(fault(3, &[one, other, other].concat()).is_some_and(|fault| fault.contains("more peers")));
        assert!(fault(4, &one).is_some_and(|fault| fault.contains("count")));
        assert!(fault(3, &one[..5]).is_some_and(|fault| fault.contains("half")));
        assert!(fault(3, &[127, 1, 0, 1, 0, 9]).is_some_and(|fault| fault.contains("never announced")));
        assert!(fault(3, &[9, 1, 0, 1, 8, 0]).is_some_and(|fault| fault.contains("never announced")));
    }
}
