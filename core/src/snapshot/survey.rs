//! Which torrents of a snapshot are read when not all of them have room: those with the most peers first.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::config::MemoryLimits;
use crate::swarm::Peer;
use crate::time::Minute;
use crate::{InfoHash, Instant, Tracker};

use super::Entry;

/// Counts the peers of each torrent of a snapshot, and says in which order to read it.
#[derive(Debug)]
pub struct Survey<'a> {
    tracker: &'a Tracker,
    now: Minute,
    /// Bytes of the torrents with so many peers; those with [`PEERS_APART`] and more together.
    bytes: [u64; PEERS_APART + 1],
    /// Peers of the torrent that is being read, and its bytes; 0 for one that nobody shares or has downloaded.
    peers: usize,
    torrent: u64,
    /// Peers of all torrents.
    total: u64,
}

impl<'a> Survey<'a> {
    /// Nothing is counted yet. Peers that are too old for `tracker` at `now` do not count.
    #[must_use]
    pub fn new(now: Instant, tracker: &'a Tracker) -> Self {
        Self {
            tracker,
            now: now.minute(),
            bytes: [0; PEERS_APART + 1],
            peers: 0,
            torrent: 0,
            total: 0,
        }
    }

    /// Counts one entry.
    pub fn show(&mut self, entry: &Entry) {
        match entry {
            Entry::Torrent { downloaded, .. } => {
                self.close();
                self.torrent = if *downloaded > 0 { TORRENT } else { 0 };
            }
            Entry::Peer { peer, .. } if is_fresh(self.tracker, self.now, peer) => {
                self.peers += 1;
                self.total += 1;
                self.torrent = self.torrent.max(TORRENT) + self.bytes_of(peer);
            }
            Entry::Peer { .. } => {}
        }
    }

    /// Peers that are not too old.
    #[must_use]
    pub const fn peers(&self) -> u64 {
        self.total
    }

    /// The numbers of peers of the torrents that are to be read, one reading after the other. What is not named has no room.
    #[must_use]
    pub fn readings(&mut self) -> Vec<PeersOfTorrent> {
        self.close();
        let limits = self.tracker.config().swarms().memory();
        // What was stored before a restart may take the part of new peers too.
        let max = limits.map_or(u64::MAX, |limits| {
            (limits.swarms_max + limits.swarms_max / MemoryLimits::RESERVE) as u64
        });
        let mut sum = 0u64;
        let more = |bytes: &u64| {
            sum = sum.saturating_add(*bytes);
            sum > max
        };
        match self.bytes.iter().rposition(more) {
            None => [PeersOfTorrent::ANY].into(),
            // Of those with this number some have room still. The bytes are an estimate, so the rest comes last if it was too high.
            Some(peers) => {
                let exactly = |min, max| PeersOfTorrent { min, max };
                let few = peers.checked_sub(1).map(|most| exactly(0, most));
                let some = match peers {
                    PEERS_APART => PeersOfTorrent::from(PEERS_APART),
                    peers => exactly(peers, peers),
                };
                let many = (peers < PEERS_APART).then(|| PeersOfTorrent::from(peers + 1));
                many.into_iter().chain([some]).chain(few).collect()
            }
        }
    }

    fn close(&mut self) {
        if let Some(bytes) = self.bytes.get_mut(self.peers.min(PEERS_APART)) {
            *bytes += self.torrent + self.torrent / SPARE;
        }
        (self.peers, self.torrent) = (0, 0);
    }

    fn bytes_of(&self, peer: &Peer) -> u64 {
        let id = if self.tracker.config().swarms().peer_ids() {
            20
        } else {
            0
        };
        id + match peer.endpoint.ip {
            IpAddr::V4(_) => 7,
            IpAddr::V6(_) => 19,
        }
    }
}

/// Torrents by the number of their peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeersOfTorrent {
    min: usize,
    max: usize,
}

impl PeersOfTorrent {
    /// All torrents.
    pub const ANY: Self = Self::from(0);

    const fn from(min: usize) -> Self {
        Self { min, max: usize::MAX }
    }
}

/// Lets the torrents through that have so many peers. A torrent waits until it is known whether it has.
#[derive(Debug)]
pub(super) struct Selection {
    wanted: PeersOfTorrent,
    /// What came of the torrent so far. Invariant: at most one more than `wanted.min` or `wanted.max`, the torrent itself.
    waiting: Vec<Entry>,
    torrent: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It waits.
    Open,
    /// It has as many peers as are wanted.
    Through,
    /// It has too many.
    Out,
}

impl Selection {
    pub(super) const fn new(wanted: PeersOfTorrent) -> Self {
        Self {
            wanted,
            waiting: Vec::new(),
            torrent: Fate::Open,
        }
    }

    /// Takes an entry, and gives `through` what turns out to be wanted. `is_known` says of a torrent that it is there
    /// already: the rest of one that comes in parts follows its first part.
    pub(super) fn take(
        &mut self,
        entry: Entry,
        is_known: impl FnOnce(&InfoHash) -> bool,
        through: &mut impl FnMut(Entry),
    ) {
        if let Entry::Torrent { info_hash, .. } = &entry {
            self.close(through);
            let PeersOfTorrent { min, max } = self.wanted;
            self.torrent = match max {
                usize::MAX if min == 0 || is_known(info_hash) => Fate::Through,
                _ => Fate::Open,
            };
        }
        match self.torrent {
            Fate::Through => return through(entry),
            Fate::Out => return,
            Fate::Open => self.waiting.push(entry),
        }
        let peers = self.waiting.len() - 1;
        if peers > self.wanted.max {
            self.waiting.clear();
            self.torrent = Fate::Out;
        } else if self.wanted.max == usize::MAX && peers >= self.wanted.min {
            self.torrent = Fate::Through;
            self.waiting.drain(..).for_each(through);
        }
    }

    /// Decides about the torrent that waits: all of it is there.
    pub(super) fn close(&mut self, through: &mut impl FnMut(Entry)) {
        let PeersOfTorrent { min, max } = self.wanted;
        let peers = self.waiting.len().saturating_sub(1);
        if (min..=max).contains(&peers) {
            self.waiting.drain(..).for_each(through);
        }
        self.waiting.clear();
    }
}

/// Whether a peer is not too old to be read.
pub(super) fn is_fresh(tracker: &Tracker, now: Minute, peer: &Peer) -> bool {
    // The clock may have been set back.
    !tracker.config().swarms().is_too_old(now, peer.announced.min(now))
}

/// Numbers of peers that are told apart: beyond this one, torrents are few.
const PEERS_APART: usize = 64;
/// Bytes that a torrent takes beside its peers.
const TORRENT: u64 = 24;
/// The part that tables and the allocator take besides: a twelfth is never less than 98 % of the store's account
/// (benches/swarm_memory.rs). A little too much only has the state read in an order that was not needed.
const SPARE: u64 = 12;

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;
    use std::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;
    use crate::announce::Endpoint;
    use crate::{Config, PeerId, Seed};

    const NOW: Instant = Instant::from_secs(1_700_000_000);

    fn entries(torrents: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (number, &peers) in (0u8..).zip(torrents) {
            let info_hash = InfoHash([number; 20]);
            entries.push(Entry::Torrent {
                info_hash,
                downloaded: 0,
            });
            entries.extend((0..peers).map(|peer| Entry::Peer {
                info_hash,
                peer: Peer {
                    endpoint: Endpoint {
                        ip: Ipv4Addr::new(1, 2, 3, 4).into(),
                        port: 1000 + u16::from(peer),
                    },
                    id: PeerId::default(),
                    seeder: true,
                    been_seeder: true,
                    announced: NOW.minute(),
                },
            }));
        }
        entries
    }

    fn tracker(swarms_max: usize) -> Tracker {
        let config = Config::default().with_memory_limits(MemoryLimits {
            swarms_max,
            admissions_max: 0,
        });
        Tracker::new(config, Seed::new([1; 32]), NOW)
    }

    fn readings(tracker: &Tracker, torrents: &[u8]) -> Vec<PeersOfTorrent> {
        let mut survey = Survey::new(NOW, tracker);
        entries(torrents).iter().for_each(|entry| survey.show(entry));
        survey.readings()
    }

    /// The peers of the torrents that come through, one after the other.
    fn through(wanted: PeersOfTorrent, torrents: &[u8]) -> Vec<u8> {
        let (mut selection, mut come) = (Selection::new(wanted), Vec::new());
        let mut take = |entry| match entry {
            Entry::Torrent { .. } => come.push(0),
            Entry::Peer { .. } => *come.last_mut().unwrap() += 1,
        };
        for entry in entries(torrents) {
            selection.take(entry, |_| false, &mut take);
            assert!(selection.waiting.len() <= wanted.min.max(wanted.max.min(300)) + 1);
        }
        selection.close(&mut take);
        come
    }

    #[test]
    fn torrents_with_many_peers_are_read_before_those_with_few() {
        // Torrents of 24 bytes and peers of 27, and a twelfth more.
        let torrents = [1, 2, 3, 2, 1, 200];
        let bytes = |torrents: &[u8]| {
            let bytes = torrents.iter().map(|&count| 24 + 27 * usize::from(count));
            bytes.map(|bytes| bytes + bytes / 12).sum::<usize>()
        };
        let within = |min, max| PeersOfTorrent { min, max };
        let at_least = PeersOfTorrent::from;
        for (room, expected) in [
            (bytes(&torrents), [PeersOfTorrent::ANY].to_vec()),
            (
                bytes(&torrents) - 10,
                [at_least(2), within(1, 1), within(0, 0)].to_vec(),
            ),
            (
                bytes(&[200, 3, 2]),
                [at_least(3), within(2, 2), within(0, 1)].to_vec(),
            ),
            (bytes(&[200]), [at_least(4), within(3, 3), within(0, 2)].to_vec()),
            (bytes(&[100]), [at_least(64), within(0, 63)].to_vec()),
        ] {
            // With the sixteenth on top it is as much, or a byte more.
            let swarms_max = (0..=room).find(|max| max + max / 16 >= room).unwrap_or(room);
            assert_eq!(readings(&tracker(swarms_max), &torrents), expected, "{room}");
        }
    }

    #[test]
    fn peers_that_are_too_old_take_no_room() {
        let tracker = tracker(60);
        let mut survey = Survey::new(
            NOW.saturating_add(core::time::Duration::from_secs(7200)),
            &tracker,
        );
        entries(&[50, 60]).iter().for_each(|entry| survey.show(entry));
        assert_eq!(survey.readings(), [PeersOfTorrent::ANY]);
    }

    #[test]
    fn the_rest_of_a_torrent_that_is_there_already_comes_through() {
        let (mut selection, mut come) = (Selection::new(PeersOfTorrent::from(5)), 0);
        for entry in entries(&[2, 2]) {
            selection.take(entry, |info_hash| info_hash.0[0] == 1, &mut |_| come += 1);
        }
        assert_eq!(come, 3);
    }

    quickcheck! {
        fn a_selection_lets_the_torrents_with_the_wanted_numbers_of_peers_through(
            torrents: Vec<u8>, min: u8, one: bool
        ) -> bool {
            let max = if one { min.into() } else { usize::MAX };
            let wanted = PeersOfTorrent { min: min.into(), max };
            let expected = torrents
                .iter()
                .copied()
                .filter(|&peers| (wanted.min..=wanted.max).contains(&peers.into()));
            through(wanted, &torrents) == expected.collect::<Vec<_>>()
        }
    }
}
