//! The tracker and its workers.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use core::time::Duration;

use crate::announce::{Announce, Announced, Counts, Event, Family, Refusal};
use crate::config::{PEERS_PER_RESPONSE, SWEEP_PERIOD_MILLIS, SWEEP_WORK, is_private};
use crate::interval::{IntervalController, LoadAverage};
use crate::lock::Lock;
use crate::seed::{Random, Seed};
use crate::stats::{Count, Counters};
use crate::swarm::{Handout, Prepared, SHARDS, Stage, Swarms, SweepPosition, Swept, Totals};
use crate::time::Instant;
use crate::udp::ConnectionIds;
use crate::{Config, InfoHash, PeerId};

/// What all workers share: configuration, swarms, interval.
///
/// It is aged by one caller: wait until [`poll_timeout`](Self::poll_timeout), call
/// [`handle_timeout`](Self::handle_timeout), and so on. Early and repeated calls are harmless.
#[derive(Debug)]
pub struct Tracker {
    config: Config,
    seed: Seed,
    connection_ids: ConnectionIds,
    swarms: Swarms,
    interval_secs: AtomicU32,
    upkeep: Lock<Upkeep>,
    counters: Lock<Vec<Arc<Counters>>>,
    full_scrape: AtomicBool,
}

impl Tracker {
    /// A tracker without torrents, whose secrets and choices come from `seed`.
    #[must_use]
    pub fn new(config: Config, seed: Seed, now: Instant) -> Self {
        let interval = IntervalController::new(now, config.intervals(), config.load_limit());
        Self {
            swarms: Swarms::new(config.swarms(), &seed),
            connection_ids: ConnectionIds::new(&seed),
            interval_secs: AtomicU32::new(interval.served_secs()),
            upkeep: Lock::new(Upkeep {
                interval,
                sweep: Sweep::new(now),
            }),
            counters: Lock::default(),
            full_scrape: AtomicBool::new(false),
            config,
            seed,
        }
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The seed that everything is derived from.
    #[must_use]
    pub const fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The connection ids of UDP clients.
    #[must_use]
    pub const fn connection_ids(&self) -> &ConnectionIds {
        &self.connection_ids
    }

    /// Torrents and peers.
    #[must_use]
    pub const fn swarms(&self) -> &Swarms {
        &self.swarms
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.upkeep
            .with(|upkeep| upkeep.interval.poll_timeout().min(upkeep.sweep.due))
    }

    /// Does what is due at `now`: a step of the sweep, a move of the interval. Bounded by [`SWEEP_WORK`].
    pub fn handle_timeout(&self, now: Instant, load: LoadAverage) -> Upkept {
        self.upkeep.with(|upkeep| {
            let evaluated = upkeep.interval.handle_timeout(now, load);
            self.interval_secs.store(upkeep.interval.served_secs(), Relaxed);
            let swept = if now < upkeep.sweep.due {
                Swept::default()
            } else {
                upkeep.sweep.step(now, &self.swarms)
            };
            Upkept { evaluated, swept }
        })
    }

    /// A copy of the interval controller, for those who show it.
    #[must_use]
    pub fn interval(&self) -> IntervalController {
        self.upkeep.with(|upkeep| upkeep.interval.clone())
    }

    /// The sum of one count over all workers.
    #[must_use]
    pub fn count(&self, count: Count) -> u64 {
        self.counters.with(|all| {
            all.iter()
                .fold(0u64, |sum, counters| sum.wrapping_add(counters.get(count)))
        })
    }

    /// What all swarms hold.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.swarms.totals()
    }

    /// Whether a full scrape is running, for the one that claims it.
    pub(crate) const fn full_scrape(&self) -> &AtomicBool {
        &self.full_scrape
    }

    fn add_counters(&self) -> (u64, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let number = self.counters.with(|all| {
            all.push(Arc::clone(&counters));
            all.len() as u64
        });
        (number, counters)
    }
}

/// What a call of [`Tracker::handle_timeout`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkept {
    /// Whether the interval was evaluated.
    pub evaluated: bool,
    /// What the sweep removed.
    pub swept: Swept,
}

/// One worker's way into the tracker: its share of chance, its counters, its scratch space.
#[derive(Debug)]
pub struct Worker {
    tracker: Arc<Tracker>,
    counters: Arc<Counters>,
    random: Random,
    scratch: Scratch,
}

impl Worker {
    /// The next worker of `tracker`. Workers made in the same order make the same choices.
    #[must_use]
    pub fn new(tracker: Arc<Tracker>) -> Self {
        let (number, counters) = tracker.add_counters();
        let random = tracker.seed.key("peer choice").random(number);
        Self {
            tracker,
            counters,
            random,
            scratch: Scratch::new(),
        }
    }

    /// The tracker that this worker serves.
    #[must_use]
    pub const fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }

    /// This worker's counters, for what its driver counts.
    #[must_use]
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Works out what [`hint`](Self::hint) and [`announce_prepared`](Self::announce_prepared) need to know.
    pub fn prepare(&mut self, announce: &Announce) -> Prepared {
        self.tracker.swarms.prepare(announce, &mut self.random)
    }

    /// Tells `hint` addresses that this announce will read: see [`Swarms::hint`].
    pub fn hint<H: Fn(*const u8) + Copy>(
        &self,
        stage: Stage,
        announce: &Announce,
        prepared: &Prepared,
        hint: H,
    ) {
        self.tracker.swarms.hint(stage, announce, prepared, hint);
    }

    /// Carries out one announce, writing the peers to `peers`.
    ///
    /// # Errors
    /// The announce is refused by policy or a limit; nothing has changed then.
    pub fn announce(
        &mut self,
        now: Instant,
        announce: &Announce,
        peers: &mut Handout<'_>,
    ) -> Result<Announced, Refusal> {
        let prepared = self.prepare(announce);
        self.announce_prepared(now, announce, prepared, peers)
    }

    /// Carries out an announce that was prepared, writing the peers to `peers`.
    ///
    /// # Errors
    /// The announce is refused by policy or a limit; nothing has changed then.
    pub fn announce_prepared(
        &self,
        now: Instant,
        announce: &Announce,
        prepared: Prepared,
        peers: &mut Handout<'_>,
    ) -> Result<Announced, Refusal> {
        execute(&self.tracker, &self.counters, now, announce, prepared, peers)
    }

    /// Carries out one announce, with the peers kept here until the next call. `ids` says whether peer ids are wanted.
    ///
    /// # Errors
    /// The announce is refused by policy or a limit; nothing has changed then.
    pub fn announce_apart(
        &mut self,
        now: Instant,
        announce: &Announce,
        ids: bool,
    ) -> Result<(Announced, Peers<'_>), Refusal> {
        let Self {
            tracker,
            counters,
            random,
            scratch,
        } = self;
        let family = announce.peer.family();
        let max = tracker.config.peers_wanted(announce.numwant);
        let mut handout = Handout::new(family, max, &mut scratch.compact);
        if ids {
            handout = handout.with_ids(&mut scratch.ids);
        }
        let prepared = tracker.swarms.prepare(announce, random);
        let announced = execute(tracker, counters, now, announce, prepared, &mut handout)?;
        let len = handout.len();
        let compact = scratch
            .compact
            .get(..len * family.compact_len())
            .unwrap_or_default();
        let ids = scratch.ids.get(..if ids { len } else { 0 }).unwrap_or_default();
        Ok((announced, Peers { family, compact, ids }))
    }

    /// The counts of a torrent: zeros if it is not known.
    #[must_use]
    pub fn scrape(&self, info_hash: &InfoHash) -> Counts {
        self.tracker.swarms.scrape(info_hash)
    }

    /// Adds one to a count of this worker.
    pub fn count(&self, count: Count) {
        self.counters.add(count, 1);
    }
}

/// Peers as they were handed out.
#[derive(Clone, Copy, Debug)]
pub struct Peers<'a> {
    /// The family of all of them.
    pub family: Family,
    /// Compact peers, one after the other (BEP 23, BEP 7).
    pub compact: &'a [u8],
    /// Their ids in the same order, if they were wanted.
    pub ids: &'a [PeerId],
}

/// The one way into the swarms, whatever protocol the announce came by.
fn execute(
    tracker: &Tracker,
    counters: &Counters,
    now: Instant,
    announce: &Announce,
    prepared: Prepared,
    peers: &mut Handout<'_>,
) -> Result<Announced, Refusal> {
    let admitted = admit(tracker, announce);
    let counts = admitted.and_then(|()| tracker.swarms.announce(now, announce, prepared, peers));
    let counts = counts.inspect_err(|&refusal| counters.add(count_of(refusal), 1))?;
    Ok(Announced {
        counts,
        interval_secs: tracker.interval_secs.load(Relaxed),
        interval_min_secs: tracker.config.intervals().min,
    })
}

/// What policy says about an announce, before swarms are asked. Leaving is always allowed.
fn admit(tracker: &Tracker, announce: &Announce) -> Result<(), Refusal> {
    if announce.event == Event::Stopped {
        return Ok(());
    }
    if announce.peer.port == 0 {
        return Err(Refusal::PortZero);
    }
    if !tracker.config.swarms().private_peers && is_private(announce.peer.ip) {
        return Err(Refusal::PrivateAddress);
    }
    Ok(())
}

const fn count_of(refusal: Refusal) -> Count {
    match refusal {
        Refusal::PortZero => Count::RefusedPortZero,
        Refusal::PrivateAddress => Count::RefusedPrivateAddress,
        Refusal::TorrentsFull => Count::RefusedTorrentsFull,
        Refusal::SwarmFull => Count::RefusedSwarmFull,
        Refusal::AddressFull => Count::RefusedAddressFull,
    }
}

/// Room for the peers of one answer, so that none is made for each.
#[derive(Debug)]
struct Scratch {
    compact: Box<[u8]>,
    ids: Box<[PeerId]>,
}

impl Scratch {
    fn new() -> Self {
        let peers = *PEERS_PER_RESPONSE.end() as usize;
        Self {
            compact: vec![0; peers * Family::V6.compact_len()].into_boxed_slice(),
            ids: vec![PeerId::default(); peers].into_boxed_slice(),
        }
    }
}

#[derive(Debug)]
struct Upkeep {
    interval: IntervalController,
    sweep: Sweep,
}

/// The sweep: one pass over all peers a minute, in steps spread over the first half of it.
#[derive(Debug)]
struct Sweep {
    position: SweepPosition,
    /// When the next step is due.
    due: Instant,
    /// When this pass began.
    began: Instant,
    /// Steps that this pass has taken, and that the one before took in all.
    steps: u64,
    steps_before: u64,
}

impl Sweep {
    fn new(now: Instant) -> Self {
        Self {
            position: SweepPosition::default(),
            due: now,
            began: now,
            steps: 0,
            steps_before: SHARDS as u64,
        }
    }

    fn step(&mut self, now: Instant, swarms: &Swarms) -> Swept {
        let swept = swarms.sweep(now, SWEEP_WORK, &mut self.position);
        self.steps += 1;
        if swept.done {
            self.began = self
                .began
                .saturating_add(Duration::from_millis(SWEEP_PERIOD_MILLIS))
                .max(now);
            self.due = self.began;
            (self.steps_before, self.steps) = (self.steps, 0);
        } else {
            self.due = self.next_step(now);
        }
        swept
    }

    /// Steps are spread so that a pass as long as the last takes half a period; one that is late does not wait.
    fn next_step(&self, now: Instant) -> Instant {
        let half = SWEEP_PERIOD_MILLIS / 2;
        let planned = half * self.steps / self.steps_before.max(self.steps);
        self.began.saturating_add(Duration::from_millis(planned)).max(now)
    }
}
