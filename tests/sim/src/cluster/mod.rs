//! A cluster: nodes on a bus that loses, delays, doubles and reorders messages, with partitions, crashes, joins and clocks that
//! differ, and clients that announce to any of them.
//!
//! A run has a storm, in which all of that happens, and a calm after it, in which messages are only late. The model says of every
//! client at any time whether each node may hand it out, and whether it must.

mod bus;
mod client;
mod model;
mod nodes;

use std::fmt;

use etracker_core::config::{Config, Intervals};

use crate::chance::Chance;
use crate::queue::{EPOCH, MINUTE, Millis, Queue, SECOND};
use bus::Bus;
use client::Client;
use model::Model;
use nodes::Nodes;

/// The size of a run.
#[derive(Clone, Copy, Debug)]
pub struct ClusterBounds {
    /// Nodes, one of which joins in the calm.
    pub nodes: usize,
    /// Clients.
    pub clients: u32,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterPassed {
    /// Announces.
    pub announces: u64,
    /// Messages between nodes that arrived.
    pub delivered: u64,
    /// Messages that the bus lost.
    pub lost: u64,
    /// Answers that were checked.
    pub checked: u64,
    /// Nodes that crashed.
    pub crashes: u64,
}

/// A run in which a node did what it must not.
#[derive(Clone, Debug)]
pub struct ClusterFailed {
    /// The seed that plays it again.
    pub seed: u64,
    /// What happened.
    pub what: String,
}

impl fmt::Display for ClusterFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} fails: {}", self.seed, self.what)
    }
}

/// Plays one run of a cluster.
///
/// # Errors
/// A node handed out what it must not, or did not hand out what it must.
pub fn play_cluster(seed: u64, bounds: &ClusterBounds) -> Result<ClusterPassed, Box<ClusterFailed>> {
    let played = World::new(seed, bounds).play();
    played.map_err(|what| Box::new(ClusterFailed { seed, what }))
}

/// What happens at a time.
#[derive(Debug)]
enum Event {
    /// A node does what is due.
    Tick(usize),
    /// A message arrives at a node, if it has not been started again since.
    Arrive {
        node: usize,
        start: u32,
        message: Vec<u8>,
    },
    /// A client does what it has planned.
    Act(u32),
    /// The answers of all nodes are checked.
    Check,
    /// A node crashes, and starts again empty some time later.
    Crash(usize),
    Start(usize),
    /// The connection of a node to the bus breaks, or is there again.
    Cut(usize),
    Mend(usize),
}

/// One run.
struct World {
    chance: Chance,
    queue: Queue<Event>,
    bus: Bus,
    nodes: Nodes,
    clients: Vec<Client>,
    model: Model,
    end: Millis,
    passed: ClusterPassed,
}

impl World {
    fn new(seed: u64, bounds: &ClusterBounds) -> Self {
        let chance = &mut Chance::of(seed, "cluster", 0);
        let interval = chance.pick(&[120, 300, 600, 1799]).unwrap_or(600);
        let calm = EPOCH + chance.range(20..60) * MINUTE;
        let config = config(interval);
        let heals = model::heals(&config);
        let end = calm + heals + 20 * MINUTE;
        let bus = Bus::draw(chance, bounds.nodes, calm);
        let nodes = Nodes::new(seed, bounds.nodes, &config, chance);
        let torrents = chance.range(1..8);
        let clients: Vec<_> = (0..bounds.clients)
            .map(|number| Client::draw(seed, number, torrents, bounds.nodes, interval))
            .collect();
        let mut world = Self {
            model: Model::new(&config, calm, bus.is_gentle()),
            chance: Chance::of(seed, "cluster run", 0),
            queue: Queue::new(),
            bus,
            nodes,
            clients,
            end,
            passed: ClusterPassed::default(),
        };
        world.plan(calm);
        world
    }

    fn plan(&mut self, calm: Millis) {
        let late = self.nodes.len() - 1;
        for node in 0..late {
            self.queue
                .plan(EPOCH + self.chance.below(SECOND), Event::Start(node));
        }
        // The last one joins in the calm.
        self.queue.plan(calm + MINUTE, Event::Start(late));
        for number in 0..u32::try_from(self.clients.len()).unwrap_or(0) {
            let at = EPOCH + SECOND + self.chance.below(20 * MINUTE);
            self.queue.plan(at, Event::Act(number));
        }
        self.queue.plan(EPOCH + MINUTE, Event::Check);
        for (at, node, lasts, is_crash) in self.bus.disasters(&mut self.chance, late) {
            let (begin, end) = if is_crash {
                (Event::Crash(node), Event::Start(node))
            } else {
                (Event::Cut(node), Event::Mend(node))
            };
            self.queue.plan(at, begin);
            self.queue.plan(at + lasts, end);
        }
    }

    fn play(mut self) -> Result<ClusterPassed, String> {
        while let Some((now, event)) = self.queue.next() {
            if now >= self.end {
                break;
            }
            self.carry_out(now, event)?;
        }
        if self.passed.checked == 0 {
            return Err("nothing was checked".into());
        }
        Ok(self.passed)
    }

    fn carry_out(&mut self, now: Millis, event: Event) -> Result<(), String> {
        match event {
            // One that another came before is out of date.
            Event::Tick(node) if self.nodes.is_planned(now, node) => self.tick(now, node),
            Event::Tick(_) => {}
            Event::Arrive { node, start, message } => {
                if self.nodes.receive(now, node, start, &message)? {
                    self.passed.delivered += 1;
                    self.hurry(now, node);
                }
            }
            Event::Act(client) => self.act(now, client),
            Event::Check => {
                self.passed.checked += self.model.check(now, &mut self.nodes, &self.clients)?;
                self.queue.plan(now + MINUTE, Event::Check);
            }
            Event::Crash(node) => {
                self.passed.crashes += 1;
                self.nodes.crash(node);
            }
            Event::Start(node) => {
                self.nodes.start(now, node);
                self.tick(now, node);
            }
            Event::Cut(node) => self.nodes.connect(now, node, false),
            Event::Mend(node) => {
                self.nodes.connect(now, node, true);
                self.hurry(now, node);
            }
        }
        Ok(())
    }

    /// A tick of a node, and the next one a second later: sooner, where it has something to tell.
    fn tick(&mut self, now: Millis, node: usize) {
        self.nodes.tick_planned(node, None);
        if !self.nodes.is_up(node) {
            return;
        }
        for (from, to, message) in self.nodes.tick(now, node) {
            for (receiver, start) in self.nodes.receivers(to) {
                for at in self.bus.arrivals(&mut self.chance, now, from, receiver) {
                    match at {
                        None => self.passed.lost += 1,
                        Some(at) => {
                            let message = message.clone();
                            let node = receiver;
                            self.queue.plan(at, Event::Arrive { node, start, message });
                        }
                    }
                }
            }
        }
        self.plan_tick(now + SECOND, node);
    }

    /// Has the node drain its outbox soon.
    fn hurry(&mut self, now: Millis, node: usize) {
        self.plan_tick(now + 50, node);
    }

    fn plan_tick(&mut self, at: Millis, node: usize) {
        if self.nodes.tick_planned(node, Some(at)) {
            self.queue.plan(at, Event::Tick(node));
        }
    }

    fn act(&mut self, now: Millis, number: u32) {
        let Some(client) = self.clients.get_mut(number as usize) else {
            return;
        };
        let nodes = &self.nodes;
        let deed = client.act(now, |node| nodes.is_up(node));
        if let Some(deed) = deed {
            self.passed.announces += 1;
            self.nodes.announce(now, &deed);
            self.model.note(now, number, &deed);
            self.hurry(now, deed.node);
        }
        if let Some(client) = self.clients.get(number as usize) {
            self.queue.plan(client.due(), Event::Act(number));
        }
    }
}

/// All nodes have the same intervals, and hand out all peers of a torrent.
fn config(interval_secs: u64) -> Config {
    let secs = u32::try_from(interval_secs).unwrap_or(600);
    let intervals = Intervals {
        initial: secs,
        min: 60,
        max: secs,
    };
    Config::default()
        .with_intervals(intervals)
        .and_then(|config| config.with_peers_per_response_max(1000))
        .unwrap_or_default()
        .with_cluster(&nodes::secrets())
}
