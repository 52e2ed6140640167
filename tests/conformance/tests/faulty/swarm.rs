//! The swarms: who is there, and who is given whom.

use super::{State, fault::Fault};
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    sync::PoisonError,
};

pub(crate) type Hash = [u8; 20];

#[derive(Debug, Default)]
pub(crate) struct Swarms(BTreeMap<Hash, Swarm>);

#[derive(Debug, Default)]
struct Swarm {
    peers: BTreeMap<Key, Peer>,
    downloaded: i64,
    turn: usize,
}

type Key = (SocketAddr, [u8; 20]);

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) at: SocketAddr,
    pub(crate) id: [u8; 20],
    left: u64,
    /// Whether it has been a seeder since it came.
    been_seeder: bool,
    paused: bool,
    seen: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    None,
    Started,
    Completed,
    Stopped,
    Paused,
}

#[derive(Clone, Debug)]
pub(crate) struct Announce {
    pub(crate) hash: Hash,
    pub(crate) id: [u8; 20],
    pub(crate) at: SocketAddr,
    pub(crate) left: u64,
    pub(crate) event: Event,
    pub(crate) numwant: Option<i64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) complete: i64,
    pub(crate) incomplete: i64,
    pub(crate) downloaded: i64,
    pub(crate) downloaders: i64,
    pub(crate) peers: Vec<Peer>,
}

impl State {
    /// Why a hash is not served, if so. A list that cannot be read changes nothing.
    pub(crate) fn refusal(&self, hash: &Hash) -> Option<&'static str> {
        let setup = &self.setup;
        let path = setup.deny_list.as_ref().or(setup.allow_list.as_ref())?;
        let text = fs::read_to_string(path).unwrap_or_default();
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let is_entry = |line: &str| line.is_empty() || line.starts_with('#') || line.len() >= 40;
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if text.lines().all(is_entry) || self.has(Fault::BrokenListLoaded) {
            *list = text
                .lines()
                .filter_map(|line| line.get(..40))
                .map(str::to_ascii_lowercase)
                .collect();
        }
        let refused = list.contains(&hex) == setup.deny_list.is_some();
        if refused {
            self.swarms().0.remove(hash);
        }
        refused.then_some("this torrent is not allowed here")
    }

    /// Takes an announce and chooses peers for it.
    pub(crate) fn announce(&self, announce: &Announce) -> Answer {
        let now = self.now();
        let mut swarms = self.swarms();
        let swarm = swarms.0.entry(announce.hash).or_default();
        swarm.expire(self, now);
        swarm.update(self, announce, now);
        let mut answer = swarm.counts(self);
        let gives = announce.event != Event::Stopped || self.has(Fault::StoppedGivenPeers);
        if gives && !self.has(Fault::NoPeers) {
            answer.peers = swarm.choose(self, announce);
        }
        if swarm.peers.is_empty() && swarm.downloaded == 0 {
            swarms.0.remove(&announce.hash);
        }
        answer
    }

    /// The counts of a hash.
    pub(crate) fn scrape(&self, hash: &Hash) -> Answer {
        let now = self.now();
        let mut swarms = self.swarms();
        if self.has(Fault::ScrapeMakesPeers) {
            let at = SocketAddr::from(([127, 0, 0, 1], 9));
            let peer = Peer {
                at,
                id: [0; 20],
                left: 1,
                been_seeder: false,
                paused: false,
                seen: now,
            };
            swarms
                .0
                .entry(*hash)
                .or_default()
                .peers
                .insert((at, [0; 20]), peer);
        }
        match swarms.0.get_mut(hash) {
            Some(swarm) => {
                swarm.expire(self, now);
                swarm.counts(self)
            }
            None => Answer::default(),
        }
    }

    /// All hashes, in order.
    pub(crate) fn hashes(&self) -> Vec<Hash> {
        self.swarms().0.keys().copied().collect()
    }

    fn is_seeder(&self, peer: &Peer) -> bool {
        let left = if self.has(Fault::LeftIs32Bits) {
            peer.left & 0xFFFF_FFFF
        } else {
            peer.left
        };
        (left == 0 && !self.has(Fault::SeedersAreLeechers))
            || (peer.paused && self.has(Fault::PausedAreSeeders))
    }

    /// Most peers of one answer, by the asker's family.
    fn cap(&self, v6: bool) -> usize {
        match (self.has(Fault::NoCap), v6) {
            (true, _) => usize::MAX,
            (false, false) => 200,
            (false, true) => 60,
        }
    }
}

impl Swarm {
    fn expire(&mut self, state: &State, now: u64) {
        if !state.has(Fault::PeersStayForEver) {
            self.peers.retain(|_, peer| now - peer.seen <= TTL);
        }
    }

    fn update(&mut self, state: &State, announce: &Announce, now: u64) {
        let id = if state.has(Fault::KeyedByPeerId) {
            announce.id
        } else {
            [0; 20]
        };
        let key = (announce.at, id);
        let old = self.peers.get(&key).cloned();
        if announce.event == Event::Stopped {
            if !state.has(Fault::StoppedIgnored) {
                self.peers.remove(&key);
            }
            return;
        }
        if announce.at.port() <= 1 && !state.has(Fault::UnreachableStored) {
            if announce.event == Event::Completed && state.has(Fault::UnreachableComplete) {
                self.downloaded += 1;
            }
            return;
        }
        let mut left = announce.left;
        if let Some(old) = &old {
            let silent = announce.event == Event::None;
            if silent && old.left > 0 && left == 0 && state.has(Fault::NeedsCompleted) {
                left = old.left;
            }
            if old.left == 0 && state.has(Fault::OnceASeeder) {
                left = 0;
            }
        }
        let been_seeder = old.as_ref().is_some_and(|old| {
            if state.has(Fault::LeechingForgetsCompleted) {
                old.left == 0
            } else {
                old.been_seeder
            }
        });
        let counts = !been_seeder || state.has(Fault::CompletedCountsAgain);
        if announce.event == Event::Completed && announce.left == 0 && counts {
            self.downloaded += 1;
        }
        if announce.left == 0
            && old.is_none()
            && announce.event != Event::Completed
            && state.has(Fault::SeedersDownloaded)
        {
            self.downloaded += 1;
        }
        let paused = announce.event == Event::Paused;
        let again = announce.event == Event::Started && old.is_some() && state.has(Fault::StartedAgainIsNew);
        let key = if again { (announce.at, [1; 20]) } else { key };
        self.peers.insert(
            key,
            Peer {
                at: announce.at,
                id: announce.id,
                left,
                been_seeder: been_seeder || left == 0,
                paused,
                seen: now,
            },
        );
    }

    fn counts(&self, state: &State) -> Answer {
        let count = |wanted: &dyn Fn(&Peer) -> bool| {
            i64::try_from(self.peers.values().filter(|peer| wanted(peer)).count())
        };
        let complete = count(&|peer| state.is_seeder(peer)).unwrap_or_default();
        let incomplete = count(&|peer| !state.is_seeder(peer)).unwrap_or_default();
        let downloaders = count(&|peer| !state.is_seeder(peer) && !peer.paused).unwrap_or_default();
        let downloaders = if state.has(Fault::PausedAreDownloaders) {
            incomplete
        } else {
            downloaders
        };
        Answer {
            complete,
            incomplete,
            downloaded: self.downloaded,
            downloaders,
            peers: Vec::new(),
        }
    }

    fn choose(&mut self, state: &State, announce: &Announce) -> Vec<Peer> {
        let v6 = announce.at.is_ipv6();
        let cap = state.cap(v6);
        let count = match announce.numwant {
            Some(0) if !state.has(Fault::NumwantZeroIsDefault) => 0,
            Some(count) if count > 0 && !state.has(Fault::NumwantIgnored) => {
                usize::try_from(count).unwrap_or(cap).min(cap)
            }
            Some(count) if count < 0 && state.has(Fault::NegativeNumwantIsNone) => 0,
            _ => DEFAULT_PEERS.min(cap),
        };
        let fits = |peer: &Peer| peer.at.is_ipv6() == v6 || state.has(Fault::FamiliesMixed);
        let is_self = |peer: &Peer| peer.at == announce.at && !state.has(Fault::OwnEndpointListed);
        let mut peers: Vec<Peer> = self
            .peers
            .values()
            .filter(|peer| fits(peer) && !is_self(peer))
            .cloned()
            .collect();
        if !peers.is_empty() && !state.has(Fault::AlwaysTheFirst) {
            let length = peers.len();
            peers.rotate_left(self.turn % length);
            self.turn += count.max(1);
        }
        if state.has(Fault::Duplicates) && peers.len() > 1 {
            peers[1] = peers[0].clone();
        }
        peers.truncate(count);
        peers
    }
}

/// An IPv4 address if it is one in IPv6 clothes.
pub(crate) fn unmapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// Seconds until a peer is forgotten.
pub(crate) const TTL: u64 = 1800;
/// Peers of an answer to one who does not say how many.
const DEFAULT_PEERS: usize = 50;
