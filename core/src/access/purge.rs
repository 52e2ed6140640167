//! Dropping what new lists deny, in bounded steps.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Access, Torrents};
use crate::announce::{Counts, Endpoint};
use crate::swarm::{Member, Peer, Swarms, Visit, WalkPosition};
use crate::{InfoHash, Instant};

/// One walk through all swarms.
#[derive(Debug)]
pub struct Purge {
    access: Arc<Access>,
    position: WalkPosition,
    /// Whether the walk has come to its end.
    walked: bool,
    /// Found and still to be dropped. Denied torrents and peers cannot come back meanwhile.
    found: Vec<Found>,
}

/// Something that is denied.
#[derive(Clone, Copy, Debug)]
enum Found {
    Torrent(InfoHash),
    /// A peer, and whether it is a seeder.
    Peer(InfoHash, Endpoint, bool),
}

impl Purge {
    /// A walk that drops what `access` denies; `None` if it denies nothing.
    #[must_use]
    pub fn new(access: Arc<Access>) -> Option<Self> {
        if matches!(access.torrents, Torrents::Any) && access.denied.is_empty() {
            return None;
        }
        Some(Self {
            access,
            position: WalkPosition::default(),
            walked: false,
            found: Vec::new(),
        })
    }

    /// Visits about `work` torrents and peers; a dropped one counts as 64.
    pub fn step(&mut self, now: Instant, work: usize, swarms: &Swarms) -> Purged {
        let mut purged = Purged::default();
        let mut left = work;
        while left > 0 && !purged.done {
            match self.found.pop() {
                Some(Found::Torrent(info_hash)) => {
                    purged.torrents += u64::from(swarms.remove(&info_hash));
                    left = left.saturating_sub(DROP_WORK);
                }
                Some(Found::Peer(info_hash, peer, seeder)) => {
                    let member = Member {
                        info_hash: &info_hash,
                        peer: &peer,
                        seeder,
                    };
                    purged.peers += u64::from(swarms.take(now, &member).peer.is_some());
                    left = left.saturating_sub(DROP_WORK);
                }
                None if self.walked => purged.done = true,
                None => left = left.saturating_sub(1 + self.look(left, swarms)),
            }
        }
        purged
    }

    /// Visits about `work` torrents and peers and collects the denied ones. Returns how many it visited.
    fn look(&mut self, work: usize, swarms: &Swarms) -> usize {
        let mut denied = Denied {
            access: &self.access,
            found: &mut self.found,
            torrent: None,
            seen: 0,
        };
        self.walked = swarms.walk(work, &mut self.position, &mut denied);
        denied.seen
    }
}

/// The cost of dropping a torrent or a peer, in visits: some kilobytes are moved.
const DROP_WORK: usize = 64;

/// What one step of a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purged {
    /// Torrents dropped with all their peers.
    pub torrents: u64,
    /// Peers dropped from torrents that stay.
    pub peers: u64,
    /// Whether the purge is over.
    pub done: bool,
}

/// Collects denied torrents and peers: a store cannot remove them during a walk.
struct Denied<'a> {
    access: &'a Access,
    found: &'a mut Vec<Found>,
    /// The denied torrent that is being walked: its peers go with it.
    torrent: Option<InfoHash>,
    seen: usize,
}

impl Visit for Denied<'_> {
    fn torrent(&mut self, info_hash: &InfoHash, _counts: Counts) {
        self.seen += 1;
        if !self.access.permits_torrent(info_hash) {
            self.torrent = Some(*info_hash);
            self.found.push(Found::Torrent(*info_hash));
        }
    }

    fn peer(&mut self, info_hash: &InfoHash, peer: &Peer) {
        self.seen += 1;
        if self.torrent != Some(*info_hash) && !self.access.permits_address(peer.endpoint.ip) {
            self.found
                .push(Found::Peer(*info_hash, peer.endpoint, peer.seeder));
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use crate::access::{AddressList, Entry as _, Network, TorrentList};
    use crate::announce::{Announce, Event};
    use crate::config::SWEEP_WORK;
    use crate::swarm::{Work, take_work};
    use crate::{Config, PeerId, Seed, Tracker, Worker};

    use super::*;

    const NOW: Instant = Instant::from_secs(1_700_000_000);

    /// Peers that come to a torrent.
    fn fill(worker: &mut Worker, torrent: u8, peers: u32) {
        for number in 0..peers {
            let announce = Announce {
                info_hash: InfoHash([torrent; 20]),
                peer_id: PeerId::default(),
                peer: Endpoint {
                    ip: Ipv4Addr::from_bits(0x0100_0000 + number).into(),
                    port: 6881,
                },
                left: (number % 3).into(),
                event: Event::Started,
                numwant: Some(0),
            };
            worker.announce_into_scratch(NOW, &announce, false).unwrap();
        }
    }

    /// A step of a sweep and one of a purge, each as much as [`SWEEP_WORK`] allows.
    fn assert_bounded(work: Work, after: usize) {
        assert!(
            work.blocks <= SWEEP_WORK / 4
                && work.peers <= 4 * SWEEP_WORK
                && work.bytes <= 200 * SWEEP_WORK
                && work.freed <= SWEEP_WORK / 8,
            "call {after}: {work:?}"
        );
    }

    #[test]
    fn no_call_does_much_while_what_new_lists_deny_is_dropped() {
        let all = Network::parse(b"1.0.0.0/8").unwrap();
        let large = TorrentList::new([InfoHash([1; 20])]);
        for access in [
            Access {
                torrents: Torrents::AllBut(large.clone()),
                ..Access::default()
            },
            Access {
                torrents: Torrents::Only(TorrentList::default()),
                ..Access::default()
            },
            Access {
                denied: AddressList::new(&[all]),
                ..Access::default()
            },
        ] {
            let tracker = Tracker::new(Config::default(), Seed::new([7; 32]), NOW);
            let mut worker = Worker::new(Arc::new(tracker.with_access(Access::default())));
            fill(&mut worker, 1, 60_000);
            (2..200).for_each(|torrent| fill(&mut worker, torrent, 50));
            let tracker = Arc::clone(worker.tracker());
            tracker.replace_access(access.clone());
            let (mut now, mut freed, mut sweeps) = (NOW, 0, 0);
            take_work();
            for call in 0.. {
                let upkept = tracker.handle_timeout(now, [0.0; 3]);
                let work = take_work();
                assert_bounded(work, call);
                freed += work.freed;
                now = tracker.poll_timeout().max(now);
                // One whole sweep after the purge gives back what is left.
                sweeps += u32::from(upkept.purged.is_none() && upkept.swept.done);
                if sweeps == 2 {
                    break;
                }
            }
            let left = if access.permits_torrent(&InfoHash([2; 20])) && access.denied.is_empty() {
                198 * 50
            } else {
                0
            };
            assert_eq!(tracker.totals().peers(), left);
            assert!(freed >= 60_000 / 100, "{freed} buckets freed");
        }
    }
}
