//! The clients of a cluster.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etracker_core::announce::{Endpoint, Event};
use etracker_core::{InfoHash, PeerId};

use crate::chance::Chance;
use crate::queue::{MINUTE, Millis, SECOND};

/// A client with one torrent.
#[derive(Debug)]
pub(super) struct Client {
    chance: Chance,
    pub(super) info_hash: InfoHash,
    pub(super) peer: Endpoint,
    id: PeerId,
    interval: Millis,
    nodes: usize,
    /// The node that it announces to, mostly.
    home: usize,
    hops: f64,
    crashes: f64,
    state: State,
    due: Millis,
    ends: Millis,
    downloaded_at: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Offline,
    Leecher,
    Seeder,
}

/// What a client announces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deed {
    pub(super) node: usize,
    pub(super) info_hash: InfoHash,
    pub(super) peer: Endpoint,
    pub(super) id: PeerId,
    pub(super) event: Event,
    pub(super) is_seeder: bool,
}

impl Client {
    pub(super) fn draw(seed: u64, number: u32, torrents: u64, nodes: usize, interval_secs: u64) -> Self {
        let mut chance = Chance::of(seed, "cluster client", number);
        let torrent = u8::try_from(chance.below(torrents)).unwrap_or(0);
        let ip: IpAddr = if chance.hit(0.25) {
            Ipv6Addr::from_bits((0x2a01 << 112) | u128::from(number) << 64 | 1).into()
        } else {
            Ipv4Addr::from_bits(0x0b00_0000 + number).into()
        };
        // Some announce much more often than they are asked to.
        let interval = if chance.hit(0.3) {
            chance.range(30..interval_secs.max(31))
        } else {
            interval_secs
        };
        Self {
            info_hash: InfoHash([torrent; 20]),
            peer: Endpoint {
                ip,
                port: chance.port(),
            },
            id: PeerId(chance.bytes()),
            interval: interval * SECOND,
            nodes,
            home: chance.index(nodes),
            hops: chance.weight(0.5),
            crashes: chance.weight(0.5),
            state: State::Offline,
            due: 0,
            ends: 0,
            downloaded_at: 0,
            chance,
        }
    }

    pub(super) const fn due(&self) -> Millis {
        self.due
    }

    /// What the client does now, if it is an announce to a node that is up.
    pub(super) fn act(&mut self, now: Millis, is_up: impl Fn(usize) -> bool) -> Option<Deed> {
        if self.state != State::Offline && now >= self.ends && self.chance.hit(self.crashes) {
            self.leave(now);
            return None;
        }
        let node = if self.chance.hit(self.hops) {
            self.chance.index(self.nodes)
        } else {
            self.home
        };
        if !is_up(node) {
            // It tries another one soon, as clients do.
            self.due = now + 15 * SECOND;
            self.home = self.chance.index(self.nodes);
            return None;
        }
        let event = self.next_event(now);
        let is_seeder = self.state == State::Seeder;
        if event == Event::Stopped {
            self.leave(now);
        }
        Some(Deed {
            node,
            info_hash: self.info_hash,
            peer: self.peer,
            id: self.id,
            event,
            is_seeder,
        })
    }

    fn next_event(&mut self, now: Millis) -> Event {
        self.due = now + self.interval;
        match self.state {
            State::Offline => {
                self.ends = now + self.chance.range(MINUTE..90 * MINUTE);
                self.downloaded_at = now + self.chance.range(MINUTE..60 * MINUTE);
                let is_seeder = self.chance.hit(0.3);
                self.state = if is_seeder { State::Seeder } else { State::Leecher };
                Event::Started
            }
            State::Leecher | State::Seeder if now >= self.ends => Event::Stopped,
            State::Leecher if now >= self.downloaded_at => {
                self.state = State::Seeder;
                Event::Completed
            }
            State::Leecher | State::Seeder => Event::None,
        }
    }

    fn leave(&mut self, now: Millis) {
        self.state = State::Offline;
        // Some start again at once.
        let short = self.chance.hit(0.2);
        self.due = now
            + if short {
                5 * SECOND
            } else {
                self.chance.range(MINUTE..40 * MINUTE)
            };
    }

    /// Whether it has left, perhaps without a word.
    pub(super) fn is_offline(&self) -> bool {
        self.state == State::Offline
    }
}
