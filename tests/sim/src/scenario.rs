//! The scenario of a run, drawn from its seed.

use etracker_core::config::{Config, INTERVAL_SECS, Intervals, MemoryLimits};

use crate::chance::{Chance, scaled};
use crate::network::Network;
use crate::queue::{DAY, EPOCH, HOUR, MINUTE, Millis, SECOND};

/// The bounds that scenarios are drawn within.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Clients at most; a run has at least a fifth of them.
    pub clients: u32,
    /// Hours of simulated time at most.
    pub hours: u32,
    /// The largest share of datagrams that is lost.
    pub loss: f64,
}

impl Bounds {
    /// Half of all runs take a day, a tenth takes the longest time, the others something between.
    fn span(&self, chance: &mut Chance) -> Millis {
        let longest = u64::from(self.hours) * HOUR;
        let day = longest.min(DAY);
        match chance.below(10) {
            0 => longest,
            1..=4 => chance.range(day..longest + 1),
            _ => day,
        }
    }
}

/// One run, before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) config: Config,
    /// Worker threads of the tracker, among which senders are spread.
    pub(crate) workers: usize,
    /// When the actors fall silent. Some hours are added for all to expire.
    pub(crate) end: Millis,
    pub(crate) clients: u32,
    pub(crate) torrents: u32,
    /// The torrent that the tracker does not serve.
    pub(crate) denied: Option<u32>,
    pub(crate) network: Network,
    pub(crate) habits: Habits,
    pub(crate) hostility: Hostility,
    pub(crate) machine: Machine,
    /// The times during which the machine is suspended: it hears nothing, and its timers stand still.
    suspensions: Vec<(Millis, Millis)>,
}

/// The behaviour of clients: probabilities and mean times.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) http: f64,
    pub(crate) keep_alive: f64,
    pub(crate) dictionaries: f64,
    pub(crate) v6_only: f64,
    pub(crate) dual_stack: f64,
    /// Clients that share one public IPv4 address.
    pub(crate) behind_nat: f64,
    pub(crate) private_address: f64,
    /// A translator gives an open socket another port.
    pub(crate) rebinding: f64,
    pub(crate) crash: f64,
    pub(crate) seeder_at_start: f64,
    pub(crate) paused: f64,
    pub(crate) scrape: f64,
    /// Options of BEP 41 or padding after an announce.
    pub(crate) tail: f64,
    /// By how much a client's clock may run fast or slow.
    pub(crate) clock_skew: f64,
    pub(crate) online: Millis,
    pub(crate) offline: Millis,
    pub(crate) download: Millis,
    /// Clients come within this time; short is a flash crowd.
    pub(crate) arrival: Millis,
}

/// How many attackers of each kind, and how busy they are.
#[derive(Clone, Debug)]
pub(crate) struct Hostility {
    pub(crate) spoofers: u32,
    pub(crate) replayers: u32,
    pub(crate) garblers: u32,
    pub(crate) flooders: u32,
    pub(crate) sprayers: u32,
    pub(crate) slow: u32,
    pub(crate) forgers: u32,
    pub(crate) hash_floods: u32,
    pub(crate) crawlers: u32,
    pub(crate) poisoners: u32,
    /// Time between two attacks of one attacker.
    pub(crate) pause: Millis,
}

/// The machine that the tracker runs on.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The load that a request per second makes.
    pub(crate) load_per_rate: f64,
    /// The load of everything else.
    pub(crate) load_base: f64,
    /// A worker takes up to this long to notice a datagram.
    pub(crate) wake: Millis,
    /// Probability of a stall at a wake-up, and how long it takes at most.
    pub(crate) stall: f64,
    pub(crate) stall_max: Millis,
    /// Probability, at each reading of the clock, that a spell begins in which it stands still or has gone back.
    pub(crate) clock_freeze: f64,
    /// Workers read the clock up to this much before they act: less than it takes a client to hear and to answer.
    pub(crate) clock_spread: Millis,
    /// Probability that the tracker is restarted during an hour, with the same seed.
    pub(crate) restart: f64,
}

impl Scenario {
    pub(crate) fn draw(seed: u64, bounds: &Bounds) -> Self {
        let chance = &mut Chance::of(seed, "scenario", 0);
        let span = bounds.span(chance);
        let clients = u64::from(bounds.clients);
        let clients = chance.range(clients.div_ceil(5).max(1)..clients + 1);
        let busiest = (span / SECOND * clients * 2 / ANNOUNCES_MAX).max(u64::from(*INTERVAL_SECS.start()));
        let (config, ideal) = draw_config(chance, narrow(busiest));
        let config = draw_limits(seed, config);
        let end = EPOCH + span;
        let machine = draw_machine(chance, clients, ideal, config.load_limit());
        let mut network = Network::draw(chance, bounds.loss, EPOCH, end);
        let suspensions = draw_suspensions(seed, config.intervals().max, end);
        for (from, to) in &suspensions {
            network.cut_all(*from, *to);
        }
        Self {
            config,
            workers: chance.index(4) + 1,
            end,
            clients: narrow(clients),
            torrents: narrow(chance.range(1..clients / 4 + 2)),
            denied: chance.hit(0.2).then_some(1),
            network,
            habits: draw_habits(chance, span),
            hostility: draw_hostility(chance),
            machine,
            suspensions,
        }
    }

    /// Clients in one torrent that behave, at one interval and one loss: what an operator asks about.
    pub(crate) fn plain(clients: u32, hours: u32, interval_secs: u32, loss: f64) -> Self {
        let intervals = Intervals {
            initial: interval_secs,
            min: interval_secs,
            max: interval_secs,
        };
        Self {
            config: Config::default().with_intervals(intervals).unwrap_or_default(),
            workers: 1,
            end: EPOCH + u64::from(hours) * HOUR,
            clients,
            torrents: 1,
            denied: None,
            network: Network::lossy(loss),
            habits: Habits::ORDINARY,
            hostility: Hostility::NONE,
            machine: Machine::quick(),
            suspensions: Vec::new(),
        }
    }

    /// How long after its time a peer may still be stored: the sweep passes once a minute, and later if it is called late.
    pub(crate) fn lateness(&self) -> Millis {
        let awake = MINUTE
            + 2 * (self.machine.stall_max + self.machine.wake)
            + FREEZE_MAX
            + self.machine.clock_spread;
        awake + self.longest_sleep(awake)
    }

    /// The most time in suspensions between which the machine is never awake for so long.
    fn longest_sleep(&self, awake: Millis) -> Millis {
        let (mut longest, mut sum, mut woken) = (0, 0, 0);
        for &(from, to) in &self.suspensions {
            if from - woken >= awake {
                sum = 0;
            }
            sum += to - from;
            woken = to;
            longest = longest.max(sum);
        }
        longest
    }

    /// The suspension of the machine at `now`: when it began and when it ends.
    pub(crate) fn suspended(&self, now: Millis) -> Option<(Millis, Millis)> {
        let mut suspensions = self.suspensions.iter().copied();
        suspensions.find(|(from, to)| (*from..*to).contains(&now))
    }

    /// Simulated seconds until the actors fall silent.
    pub(crate) const fn span_secs(&self) -> u64 {
        (self.end - EPOCH) / SECOND
    }

    /// Clients and attackers.
    pub(crate) fn actors(&self) -> u32 {
        self.clients + self.hostility.attackers()
    }

    /// Whether nothing but the interval changes the load, so that the controller can be held to its word.
    pub(crate) fn is_steady(&self) -> bool {
        let hostile = &self.hostility;
        let busy = [
            hostile.flooders,
            hostile.sprayers,
            hostile.garblers,
            hostile.spoofers,
            hostile.replayers,
            hostile.forgers,
            hostile.hash_floods,
            hostile.crawlers,
            hostile.poisoners,
        ];
        let calm = busy.iter().all(|&attackers| attackers == 0);
        calm && self.denied.is_none()
            && self.config.swarms().memory().is_none()
            && self.clients >= 100
            && self.end - EPOCH >= DAY
            && self.machine.restart == 0.0
            && self.suspensions.is_empty()
    }
}

impl Habits {
    const ORDINARY: Self = Self {
        http: 0.0,
        keep_alive: 0.0,
        dictionaries: 0.0,
        v6_only: 0.0,
        dual_stack: 0.0,
        behind_nat: 0.2,
        private_address: 0.0,
        rebinding: 0.0,
        crash: 0.2,
        seeder_at_start: 0.2,
        paused: 0.0,
        scrape: 0.1,
        tail: 0.0,
        clock_skew: 0.001,
        online: 8 * HOUR,
        offline: 2 * HOUR,
        download: 2 * HOUR,
        arrival: 2 * HOUR,
    };
}

impl Hostility {
    const NONE: Self = Self {
        spoofers: 0,
        replayers: 0,
        garblers: 0,
        flooders: 0,
        sprayers: 0,
        slow: 0,
        forgers: 0,
        hash_floods: 0,
        crawlers: 0,
        poisoners: 0,
        pause: HOUR,
    };

    /// Attackers of all kinds.
    const fn attackers(&self) -> u32 {
        self.spoofers
            + self.replayers
            + self.garblers
            + self.flooders
            + self.sprayers
            + self.slow
            + self.forgers
            + self.hash_floods
            + self.crawlers
            + self.poisoners
    }
}

impl Machine {
    const fn quick() -> Self {
        Self {
            load_per_rate: 0.0,
            load_base: 0.0,
            wake: 1,
            stall: 0.0,
            stall_max: 0,
            clock_freeze: 0.0,
            clock_spread: 0,
            restart: 0.0,
        }
    }
}

fn draw_config(chance: &mut Chance, busiest: u32) -> (Config, u32) {
    let busiest = busiest.min(7000);
    let (min, max) = if chance.hit(0.3) {
        (busiest.max(239), 1799.max(busiest + 200))
    } else {
        let min = chance
            .range(busiest.into()..u64::from(busiest) * 2 + 60)
            .min(7000);
        (narrow(min), narrow(chance.range(min..7201)))
    };
    let initial = if chance.hit(0.5) {
        max
    } else {
        narrow(chance.range(min.into()..u64::from(max) + 1))
    };
    let ideal = narrow(chance.range(min.into()..u64::from(max) + 1));
    let mut config = Config::default()
        .with_intervals(Intervals { initial, min, max })
        .unwrap_or_default()
        .with_load_limit(0.5 + chance.share() * 3.0)
        .with_keep_alive(chance.hit(0.5))
        .with_full_scrape(chance.hit(0.5))
        .with_peer_ids(chance.hit(0.7))
        .with_private_peers(chance.hit(0.7));
    if chance.hit(0.4) {
        let peers = narrow(chance.pick(&[1, 2, 5, 20, 200, 1000]).unwrap_or(60));
        config = config.with_peers_per_response_max(peers).unwrap_or_default();
    }
    if chance.hit(0.4) {
        let peers = narrow(chance.pick(&[0, 1, 2, 8]).unwrap_or(64));
        config = config.with_peers_per_address_max(peers).unwrap_or_default();
    }
    if chance.hit(0.2) {
        config = config
            .with_torrents_max(narrow(chance.range(1..200)))
            .unwrap_or_default();
    }
    if chance.hit(0.2) {
        config = config
            .with_peers_per_torrent_max(narrow(chance.range(1..100)))
            .unwrap_or_default();
    }
    (config, ideal)
}

/// The limits by source, and how much memory swarms may take: so little that a flood of info-hashes uses it up.
fn draw_limits(seed: u64, config: Config) -> Config {
    let chance = &mut Chance::of(seed, "limits", 0);
    let rate = chance.pick(&[200, 500]).unwrap_or(500);
    let config = config.with_limit_rate(rate).unwrap_or_default();
    if !chance.hit(0.3) {
        return config;
    }
    config.with_memory_limits(MemoryLimits {
        swarms_max: narrow(chance.range(24..200)) as usize * 1024,
        admissions_max: narrow(chance.range(16..128)) as usize * 1024,
    })
}

fn draw_machine(chance: &mut Chance, clients: u64, ideal: u32, limit: f64) -> Machine {
    let load_base = chance.share() * limit / 2.0;
    // Clients are online about three quarters of the time and announce for one to three torrents.
    let announces_per_second = 1.3 * f64::from(narrow(clients)) / f64::from(ideal);
    let stalls = chance.hit(0.2);
    Machine {
        load_per_rate: (limit - load_base) / announces_per_second,
        load_base,
        wake: chance.range(1..20),
        stall: if stalls { 0.0005 } else { 0.0 },
        stall_max: if stalls { 4 * SECOND } else { 0 },
        clock_freeze: chance.weight(0.0002),
        clock_spread: if chance.hit(0.5) { chance.below(4) } else { 0 },
        restart: if chance.hit(0.2) { 0.03 } else { 0.0 },
    }
}

/// Every other suspension ends when the peers of before it are about as old as one byte can tell.
fn draw_suspensions(seed: u64, interval_max: u32, end: Millis) -> Vec<(Millis, Millis)> {
    let chance = &mut Chance::of(seed, "suspensions", 0);
    let mut suspensions = Vec::new();
    if !chance.hit(0.2) {
        return suspensions;
    }
    let between = chance.range(2 * HOUR..12 * HOUR);
    let ages = if interval_max < 3660 { AGES } else { 2 * AGES };
    let wrap = ages.saturating_sub(u64::from(interval_max) / 60 + 4) * MINUTE;
    let mut from = EPOCH + chance.about(between);
    while from < end {
        let length = if chance.hit(0.5) {
            wrap + chance.below(4 * MINUTE)
        } else {
            chance.range(MINUTE..ages * MINUTE)
        };
        suspensions.push((from, from + length));
        from += length + chance.about(between);
    }
    suspensions
}

fn draw_habits(chance: &mut Chance, span: Millis) -> Habits {
    Habits {
        http: chance.weight(0.6),
        keep_alive: chance.share(),
        dictionaries: chance.weight(0.5),
        v6_only: chance.weight(0.3),
        dual_stack: chance.weight(0.7),
        behind_nat: chance.weight(0.6),
        private_address: chance.weight(0.2),
        rebinding: chance.weight(0.2),
        crash: chance.weight(1.0),
        seeder_at_start: chance.weight(0.6),
        paused: chance.weight(0.1),
        scrape: chance.weight(0.5),
        tail: chance.weight(0.5),
        clock_skew: chance.weight(0.01),
        online: chance.range(20 * MINUTE..span.clamp(HOUR, 12 * HOUR)),
        offline: chance.range(MINUTE..3 * HOUR),
        download: chance.range(10 * MINUTE..6 * HOUR),
        arrival: if chance.hit(0.2) {
            2 * MINUTE
        } else {
            chance.range(10 * MINUTE..4 * HOUR)
        },
    }
}

fn draw_hostility(chance: &mut Chance) -> Hostility {
    if chance.hit(0.3) {
        return Hostility::NONE;
    }
    let mut some = || narrow(scaled(4, chance.weight(1.0)));
    let [spoofers, replayers, garblers, flooders, sprayers, slow] = std::array::from_fn(|_| some());
    let pause = chance.range(20 * SECOND..10 * MINUTE);
    let mut few = || narrow(chance.below(3));
    let [forgers, hash_floods] = std::array::from_fn(|_| few());
    let crawlers = u32::from(chance.hit(0.3));
    let poisoners = narrow(chance.below(3));
    Hostility {
        spoofers,
        replayers,
        garblers,
        flooders,
        sprayers,
        slow,
        forgers,
        hash_floods,
        crawlers,
        poisoners,
        pause,
    }
}

/// A number that is known to be small.
pub(crate) fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// About how many announces a run may hold: intervals are drawn to match, so that long runs of many clients end.
const ANNOUNCES_MAX: u64 = 120_000;
/// Minutes that the store tells apart in the age of a peer; twice as many where the longest interval is above an hour.
const AGES: u64 = 64;
/// The longest spell for which the tracker's clock stands still.
pub(crate) const FREEZE_MAX: Millis = 30 * SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_wakes_for_a_moment_has_slept_on_as_far_as_peers_go() {
        let mut scenario = Scenario::plain(1, 24, 1800, 0.0);
        let never = scenario.lateness();
        let slept = [(1, 2), (4, 5)].map(|(from, to)| (EPOCH + from * HOUR, EPOCH + to * HOUR));
        let again = (slept[0].1 + SECOND, slept[0].1 + SECOND + HOUR);
        scenario.suspensions = vec![slept[0], again, slept[1]];
        assert_eq!(scenario.lateness() - never, 2 * HOUR);
    }
}
