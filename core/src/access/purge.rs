//! Dropping what new lists deny, in bounded steps.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Access, Torrents};
use crate::announce::{Announce, Counts, Endpoint, Event};
use crate::seed::Random;
use crate::swarm::{Handout, Peer, Swarms, Visit, WalkPosition};
use crate::{InfoHash, Instant, PeerId};

/// One walk through all swarms.
#[derive(Debug)]
pub struct Purge {
    access: Arc<Access>,
    position: WalkPosition,
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
        })
    }

    /// Looks at about `work` torrents and peers.
    pub fn step(&mut self, now: Instant, work: usize, swarms: &Swarms, random: &mut Random) -> Purged {
        let mut denied = Denied {
            access: &self.access,
            torrents: Vec::new(),
            peers: Vec::new(),
        };
        let done = swarms.walk(work, &mut self.position, &mut denied);
        let Denied { torrents, peers, .. } = denied;
        for info_hash in &torrents {
            swarms.remove(info_hash);
        }
        for (info_hash, peer) in &peers {
            stop(now, swarms, random, *info_hash, *peer);
        }
        Purged {
            torrents: torrents.len() as u64,
            peers: peers.len() as u64,
            done,
        }
    }
}

/// What one step of a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Torrents dropped with all their peers.
    pub torrents: u64,
    /// Peers dropped from torrents that stay.
    pub peers: u64,
    /// Whether the purge is over.
    pub done: bool,
}

/// Collects what is denied, since nothing can be removed while it is shown.
struct Denied<'a> {
    access: &'a Access,
    torrents: Vec<InfoHash>,
    peers: Vec<(InfoHash, Endpoint)>,
}

impl Visit for Denied<'_> {
    fn torrent(&mut self, info_hash: &InfoHash, _counts: Counts) {
        if !self.access.permits_torrent(info_hash) {
            self.torrents.push(*info_hash);
        }
    }

    fn peer(&mut self, info_hash: &InfoHash, peer: &Peer) {
        if self.torrents.last() != Some(info_hash) && !self.access.permits_address(peer.endpoint.ip) {
            self.peers.push((*info_hash, peer.endpoint));
        }
    }
}

/// Makes a peer leave, as if it had said so.
fn stop(now: Instant, swarms: &Swarms, random: &mut Random, info_hash: InfoHash, peer: Endpoint) {
    let announce = Announce {
        info_hash,
        peer_id: PeerId::default(),
        peer,
        left: 0,
        event: Event::Stopped,
        numwant: Some(0),
    };
    let mut nobody = Handout::new(peer.family(), 0, &mut []);
    // Nothing keeps a peer from leaving.
    let prepared = swarms.prepare(&announce, random);
    let _ = swarms.announce(now, &announce, prepared, &mut nobody);
}
