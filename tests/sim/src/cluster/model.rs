//! What each node may hand out, and what it must.

use std::collections::BTreeMap;

use etracker_core::Config;
use etracker_core::announce::{Endpoint, Event};
use etracker_core::cluster::EPOCH_MINUTES;

use crate::queue::{MINUTE, Millis, SECOND};

use super::bus::LATE_MAX;
use super::client::{Client, Deed};
use super::nodes::{Nodes, SKEW_MAX};

/// What was announced, and from that what each node must know.
#[derive(Debug)]
pub(super) struct Model {
    /// When the storm ends.
    calm: Millis,
    /// Whether there is no storm.
    is_gentle: bool,
    interval: Millis,
    /// Time after which a peer is gone everywhere, whatever happened.
    expiry: Millis,
    heals: Millis,
    known: BTreeMap<u32, Known>,
}

/// What one client announced last.
#[derive(Clone, Copy, Debug)]
struct Known {
    deed: Deed,
    at: Millis,
    /// When it came, and when it last announced to another node than before: a clock there may be behind, so that older
    /// records seem newer until it has announced again.
    since: Millis,
    hopped: Millis,
}

/// Time after the last fault in which announces have healed what was lost: an epoch, an interval, and what is between clocks.
pub(super) fn heals(config: &Config) -> Millis {
    let interval = Millis::from(config.intervals().max) * SECOND;
    interval + Millis::from(EPOCH_MINUTES) * MINUTE + 2 * MINUTE + SETTLES
}

impl Model {
    pub(super) fn new(config: &Config, calm: Millis, is_gentle: bool) -> Self {
        let age_max = config.swarms().peer_age_max_minutes() + 3 * config.swarms().minutes_per_step();
        Self {
            calm,
            is_gentle,
            interval: Millis::from(config.intervals().max) * SECOND,
            expiry: Millis::from(age_max) * MINUTE + SKEW_MAX + SETTLES,
            heals: heals(config),
            known: BTreeMap::new(),
        }
    }

    /// Notes what a client announced.
    pub(super) fn note(&mut self, now: Millis, client: u32, deed: &Deed) {
        let before = self.known.get(&client);
        // One that was silent for longer than an interval may have expired meanwhile: it comes anew.
        let was_there = before.is_some_and(|known| {
            known.deed.event != Event::Stopped && now - known.at <= self.interval + 30 * SECOND
        });
        let is_same = before.is_none_or(|known| known.deed.node == deed.node);
        let known = Known {
            deed: *deed,
            at: now,
            since: before.filter(|_| was_there).map_or(now, |known| known.since),
            hopped: if is_same {
                before.map_or(0, |known| known.hopped)
            } else {
                now
            },
        };
        self.known.insert(client, known);
    }

    /// Compares what all nodes hand out with what they may, and must. Returns how many answers that were.
    pub(super) fn check(&self, now: Millis, nodes: &mut Nodes, clients: &[Client]) -> Result<u64, String> {
        let mut checked = 0;
        let torrents: BTreeMap<_, _> = self
            .known
            .values()
            .map(|known| (known.deed.info_hash, known.deed))
            .collect();
        for node in (0..nodes.len())
            .filter(|&node| nodes.is_up(node))
            .collect::<Vec<_>>()
        {
            for deed in torrents.values() {
                let handed_out = nodes.handed_out(now, node, deed);
                checked += 1;
                let whole = nodes.whole_since(node).map(|(whole, _)| whole);
                let of_torrent = self
                    .known
                    .iter()
                    .filter(|(_, known)| known.deed.info_hash == deed.info_hash);
                for (number, known) in of_torrent {
                    let is_there = handed_out.contains(&known.deed.peer);
                    let is_offline = clients.get(*number as usize).is_none_or(Client::is_offline);
                    self.check_peer(now, whole, known, is_there, is_offline)
                        .map_err(|what| {
                            format!("{what} by node {node}: client {number}, {known:?}, now {now}")
                        })?;
                }
                self.check_strangers(&handed_out)?;
            }
        }
        Ok(checked)
    }

    fn check_peer(
        &self,
        now: Millis,
        whole: Option<Millis>,
        known: &Known,
        is_there: bool,
        is_offline: bool,
    ) -> Result<(), String> {
        let stopped = known.deed.event == Event::Stopped;
        if is_there && now - known.at > self.expiry {
            return Err("a peer that was silent for too long is handed out".into());
        }
        if is_there && stopped && now - known.at > SETTLES && self.is_told(known) {
            return Err("a peer that stopped is handed out".into());
        }
        let Some(whole) = whole else { return Ok(()) };
        // It announces at its intervals still, and this node holds what the others hold.
        let lives = !stopped && !is_offline && now - known.at <= self.interval + 30 * SECOND;
        if is_there || !lives || now - whole <= SETTLES {
            return Ok(());
        }
        let healed = now - self.calm.min(now) > self.heals && now - known.since > self.heals;
        let told = now - known.since > SETTLES && known.since > whole && self.is_told(known);
        if healed || told {
            return Err("a peer that announced a while ago is not handed out".into());
        }
        Ok(())
    }

    /// Whether the last announce, and what brought the peer, reached all nodes without a fault, and no other clock was asked.
    fn is_told(&self, known: &Known) -> bool {
        let is_calm = self.is_gentle || known.since > self.calm + SETTLES;
        is_calm && known.at - known.hopped.min(known.at) > 2 * MINUTE
    }

    fn check_strangers(&self, handed_out: &[Endpoint]) -> Result<(), String> {
        let is_known = |peer: &&Endpoint| self.known.values().any(|known| known.deed.peer == **peer);
        match handed_out.iter().find(|peer| !is_known(peer)) {
            Some(stranger) => Err(format!("{stranger:?} is handed out, and never announced")),
            None => Ok(()),
        }
    }
}

/// Time in which a record has reached all nodes: it waits for a tick, and may be overtaken.
const SETTLES: Millis = LATE_MAX + 2 * SECOND;
