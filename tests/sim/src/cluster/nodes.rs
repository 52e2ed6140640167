//! The nodes of a cluster: trackers with a clock of their own, and the state machine that a bus drives.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use etracker_core::announce::{Announce, Endpoint, Event, Family, compact_peers};
use etracker_core::cluster::{ClusterName, Node, NodeId, Recipient, Rejection, Secret, Secrets, Settings};
use etracker_core::prefetch::NoPrefetch;
use etracker_core::{Config, Instant, PeerId, Tracker, Worker};

use crate::chance::{Chance, core_seed};
use crate::queue::{Millis, SECOND};

use super::client::Deed;

/// All nodes of a run.
pub(super) struct Nodes {
    seed: u64,
    config: Config,
    all: Vec<Place>,
}

/// A place for a node, which may be started several times.
struct Place {
    /// How far its clock is ahead of the one that is furthest behind.
    skew: Millis,
    /// How often it was started.
    start: u32,
    tick_at: Option<Millis>,
    running: Option<Running>,
}

struct Running {
    worker: Worker,
    node: Node<NoPrefetch>,
    began: Millis,
    whole_at: Option<Millis>,
}

impl Nodes {
    pub(super) fn new(seed: u64, nodes: usize, config: &Config, chance: &mut Chance) -> Self {
        let place = |_| Place {
            skew: chance.below(SKEW_MAX),
            start: 0,
            tick_at: None,
            running: None,
        };
        Self {
            seed,
            config: config.clone(),
            all: (0..nodes).map(place).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_up(&self, node: usize) -> bool {
        self.all.get(node).is_some_and(|place| place.running.is_some())
    }

    /// Starts a node without any state, under another id.
    pub(super) fn start(&mut self, now: Millis, node: usize) {
        let Some(place) = self.all.get_mut(node) else {
            return;
        };
        place.start += 1;
        let number = (node as u64) << 32 | u64::from(place.start);
        let clock = place.clock(now);
        let seed = core_seed(self.seed ^ number.rotate_left(17));
        let tracker = Arc::new(Tracker::new(self.config.clone(), seed, clock));
        let settings = Settings {
            cluster: name(),
            node: ClusterName::nearest(&format!("node-{node}")),
            version: "1".into(),
            secrets: secrets(),
            id: NodeId(number),
        };
        let node = Node::new(clock, settings, Arc::clone(&tracker), NoPrefetch);
        place.running = node.map(|mut node| {
            node.handle_connected(clock);
            Running {
                worker: Worker::new(tracker),
                node,
                began: now,
                whole_at: None,
            }
        });
    }

    pub(super) fn crash(&mut self, node: usize) {
        if let Some(place) = self.all.get_mut(node) {
            place.running = None;
        }
    }

    pub(super) fn connect(&mut self, now: Millis, node: usize, connected: bool) {
        let Some(place) = self.all.get_mut(node) else {
            return;
        };
        let clock = place.clock(now);
        if let Some(running) = &mut place.running {
            if connected {
                running.node.handle_connected(clock);
            } else {
                running.node.handle_disconnected(clock);
            }
        }
    }

    /// Whether a tick of a node is planned for now.
    pub(super) fn is_planned(&self, now: Millis, node: usize) -> bool {
        self.all.get(node).is_some_and(|place| place.tick_at == Some(now))
    }

    /// Notes when the next tick of a node is planned. False if one is planned earlier.
    pub(super) fn tick_planned(&mut self, node: usize, at: Option<Millis>) -> bool {
        let Some(place) = self.all.get_mut(node) else {
            return false;
        };
        let is_news = at.is_none()
            || place
                .tick_at
                .is_none_or(|planned| at.is_some_and(|at| at < planned));
        if is_news {
            place.tick_at = at;
        }
        is_news
    }

    /// Does what is due at a node, and returns what it sends, with who sends it.
    pub(super) fn tick(&mut self, now: Millis, number: usize) -> Vec<(usize, Recipient, Vec<u8>)> {
        let mut sent = Vec::new();
        let Some(place) = self.all.get_mut(number) else {
            return sent;
        };
        let clock = place.clock(now);
        let Some(running) = &mut place.running else {
            return sent;
        };
        let tracker = running.worker.tracker();
        while tracker.poll_timeout() <= clock {
            let before = tracker.poll_timeout();
            let _ = tracker.handle_timeout(clock, [0.0; 3]);
            if tracker.poll_timeout() == before {
                break;
            }
        }
        running.node.handle_timeout(clock);
        let mut message = Vec::new();
        while let Some(recipient) = running.node.poll_transmit(clock, &mut message) {
            sent.push((number, recipient, message.clone()));
        }
        if running.node.is_whole() {
            running.whole_at.get_or_insert(now);
        }
        sent
    }

    /// The nodes that receive a message, each with how often it was started. The bus echoes.
    pub(super) fn receivers(&self, recipient: Recipient) -> Vec<(usize, u32)> {
        let is_meant = |place: &&Place| {
            place.running.as_ref().is_some_and(|running| match recipient {
                Recipient::All => true,
                Recipient::Node(id) => running.node.settings().id == id,
            })
        };
        let places = self.all.iter().enumerate();
        places
            .filter(|(_, place)| is_meant(place))
            .map(|(number, place)| (number, place.start))
            .collect()
    }

    /// Hands a message to a node. Whether it arrived.
    pub(super) fn receive(
        &mut self,
        now: Millis,
        node: usize,
        start: u32,
        message: &[u8],
    ) -> Result<bool, String> {
        let Some(place) = self.all.get_mut(node).filter(|place| place.start == start) else {
            return Ok(false);
        };
        let clock = place.clock(now);
        let Some(running) = &mut place.running else {
            return Ok(false);
        };
        match running.node.handle_message(clock, message) {
            // Doubled, overtaken by too many, or of a transfer that has ended.
            Ok(()) | Err(Rejection::Replay | Rejection::Transfer) => Ok(true),
            Err(rejection) => Err(format!("node {node} rejects an honest message: {rejection}")),
        }
    }

    pub(super) fn announce(&mut self, now: Millis, deed: &Deed) {
        let Some(place) = self.all.get_mut(deed.node) else {
            return;
        };
        let clock = place.clock(now);
        let Some(running) = &mut place.running else { return };
        let announce = Announce {
            info_hash: deed.info_hash,
            peer_id: deed.id,
            peer: deed.peer,
            left: (!deed.is_seeder).into(),
            event: deed.event,
            numwant: Some(0),
        };
        let _ = running.worker.announce_into_scratch(clock, &announce, false);
    }

    /// The peers of a torrent that a node hands out to a newcomer. It cannot be reached, and so leaves no trace.
    pub(super) fn handed_out(&mut self, now: Millis, node: usize, deed: &Deed) -> Vec<Endpoint> {
        let Some(place) = self.all.get_mut(node) else {
            return Vec::new();
        };
        let clock = place.clock(now);
        let Some(running) = &mut place.running else {
            return Vec::new();
        };
        let mut handed_out = Vec::new();
        for (family, ip) in [
            (Family::V4, IpAddr::from(Ipv4Addr::new(8, 8, 8, 8))),
            (Family::V6, Ipv6Addr::from_bits(0x2a02 << 112 | 1).into()),
        ] {
            let announce = Announce {
                info_hash: deed.info_hash,
                peer_id: PeerId::default(),
                peer: Endpoint { ip, port: 0 },
                left: 1,
                event: Event::None,
                numwant: Some(1000),
            };
            if let Ok((_, peers)) = running.worker.announce_into_scratch(clock, &announce, false) {
                handed_out.extend(compact_peers(family, peers.compact));
            }
        }
        handed_out
    }

    /// Since when a node holds what the others hold, and since when it runs.
    pub(super) fn whole_since(&self, node: usize) -> Option<(Millis, Millis)> {
        let running = self.all.get(node)?.running.as_ref()?;
        Some((running.whole_at?, running.began))
    }
}

impl Place {
    const fn clock(&self, now: Millis) -> Instant {
        Instant::from_millis(now + self.skew)
    }
}

pub(super) fn secrets() -> Secrets {
    Secrets::new(Secret::new([0x5e; 32]))
}

fn name() -> ClusterName {
    ClusterName::nearest("simulated")
}

/// How far two clocks are apart at most: further than what is told to operators.
pub(super) const SKEW_MAX: Millis = 20 * SECOND;
