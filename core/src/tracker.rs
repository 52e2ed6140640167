//! The tracker and its workers.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::time::Duration;

use ipnet::IpNet;

use crate::access::{Access, AccessView, AccessViews};
use crate::announce::{Announce, AnnounceOutcome, Change, Counts, Event, Family, Refusal};
use crate::cluster::{Outbox, Replication};
use crate::config::{LimitMode, PEER_GRACE_SECS, PEERS_PER_RESPONSE};
use crate::governor::{self, Board, Charge, Governor, Heavy, Pressure};
use crate::hidden_clients::{self, Detector};
use crate::host::Host;
use crate::interval::IntervalController;
use crate::lock::Lock;
use crate::maintenance::{Maintenance, TimeoutOutcome};
use crate::overload::{Level, Overload, Queue, QueueWatch};
use crate::prefetch::Prefetch;
use crate::scope::Scope;
use crate::seed::{Random, Seed};
use crate::stats::{Count, Counters, ERRORS, Evaluation, Failed, Figures, History, Operation, Rates, Turns};
use crate::swarm::{self, Handout, Member, PackedPrefetched, Swarms, Totals};
use crate::time::Instant;
use crate::{Config, InfoHash, PeerId};

/// The state that all workers share: configuration, swarms, lists, interval, statistics.
///
/// One caller drives its periodic work: wait until [`poll_timeout`](Self::poll_timeout), call
/// [`handle_timeout`](Self::handle_timeout), and so on. Early and repeated calls are harmless.
#[derive(Debug)]
pub struct Tracker {
    config: Config,
    seed: Seed,
    swarms: Swarms,
    interval_secs: AtomicU32,
    maintenance: Lock<Maintenance>,
    counters: Lock<Vec<Arc<Counters>>>,
    detector: Lock<Detector>,
    /// What each worker has limited.
    boards: Lock<Vec<Arc<Board>>>,
    /// The lists in force; `None` if the tracker was made without.
    views: Option<AccessViews>,
    /// What it shares with other nodes; `None` if it is alone.
    replication: Option<Replication>,
}

impl Tracker {
    /// A tracker without torrents, whose secrets and choices come from `seed`.
    #[must_use]
    pub fn new(config: Config, seed: Seed, now: Instant) -> Self {
        let maintenance = Maintenance::new(&config, now);
        Self {
            swarms: Swarms::new(config.swarms(), &seed),
            interval_secs: AtomicU32::new(maintenance.interval().served_secs()),
            maintenance: Lock::new(maintenance),
            counters: Lock::default(),
            detector: Lock::default(),
            boards: Lock::default(),
            views: None,
            replication: config.cluster().map(|key| Replication::new(&config, key, &seed)),
            config,
            seed,
        }
    }

    /// The same tracker with lists in force. Without this call none can be [put in force](Self::replace_access) later.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.views = Some(AccessViews::new(Arc::new(access)));
        self
    }

    /// The same tracker without torrents and peers.
    #[must_use]
    pub fn without_swarms(mut self) -> Self {
        self.swarms = Swarms::new(self.config.swarms(), &self.seed);
        self
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

    /// Torrents and peers.
    #[must_use]
    pub const fn swarms(&self) -> &Swarms {
        &self.swarms
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.maintenance.with(|maintenance| maintenance.poll_timeout())
    }

    /// Does the work due at `now`: a step of the sweep, a step of a purge by new lists, a move of the interval, the statistics of
    /// a second. Each step is bounded by [`SWEEP_WORK`](crate::config::SWEEP_WORK).
    pub fn handle_timeout(&self, now: Instant, host: impl Into<Host>) -> TimeoutOutcome {
        self.maintenance.with(|maintenance| {
            let outcome =
                maintenance.handle_timeout(now, host.into(), &self.swarms, |count| self.count(count));
            self.interval_secs
                .store(maintenance.interval().served_secs(), Relaxed);
            outcome
        })
    }

    /// Puts other lists in force. When this returns, they apply to every request. Denied torrents and peers are dropped from the
    /// next [`handle_timeout`](Self::handle_timeout) on. False if the tracker was made without lists.
    pub fn replace_access(&self, access: Access) -> bool {
        let access = Arc::new(access);
        let Some(views) = &self.views else {
            return false;
        };
        let before = views.replace(&access);
        // A purge by the old lists may still hold them.
        self.maintenance
            .with(|maintenance| maintenance.begin_purge(access));
        // The old lists are freed here, outside of all locks: that can take tens of milliseconds.
        drop(before);
        true
    }

    /// The lists in force, if there are any.
    #[must_use]
    pub fn access(&self) -> Option<Arc<Access>> {
        self.views.as_ref().map(AccessViews::access)
    }

    /// A copy of the interval controller, for pages.
    #[must_use]
    pub fn interval(&self) -> IntervalController {
        self.maintenance
            .with(|maintenance| maintenance.interval().clone())
    }

    /// The figures of the last evaluation of the interval.
    #[must_use]
    pub fn evaluation(&self) -> Evaluation {
        self.maintenance.with(|maintenance| maintenance.evaluation())
    }

    /// A copy of the history.
    #[must_use]
    pub fn history(&self) -> History {
        self.maintenance.with(|maintenance| maintenance.history().clone())
    }

    /// All figures at this moment.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let (rates, sweeps, interval, host) = self.maintenance.with(|maintenance| {
            let interval = maintenance.interval().clone();
            (
                maintenance.rates(),
                maintenance.sweeps(),
                interval,
                maintenance.host(),
            )
        });
        let mut counts = [0u64; Count::ALL.len()];
        for (sum, count) in counts.iter_mut().zip(Count::ALL) {
            *sum = self.count(*count);
        }
        Figures {
            counts,
            failures: self.failures(),
            limited: self
                .boards
                .with(|boards| Board::sum(boards.iter().map(AsRef::as_ref))),
            totals: self.swarms.totals(),
            fullest: self.swarms.fullest(),
            memory: self.swarms.memory(),
            rates,
            sweeps,
            interval,
            host,
            overload: self.overload(),
            queue_delay: self.queue_delay(),
            turns: self
                .counters
                .with(|all| Turns::sum(all.iter().map(|counters| &counters.turns))),
            workers: self.counters.with(|all| all.len()),
        }
    }

    /// What the worker that is overloaded most gives up.
    #[must_use]
    pub fn overload(&self) -> Level {
        let highest = |all: &mut Vec<Arc<Counters>>| all.iter().map(|counters| counters.overload()).max();
        self.counters.with(highest).unwrap_or_default()
    }

    fn queue_delay(&self) -> Duration {
        let longest = |all: &mut Vec<Arc<Counters>>| all.iter().map(|counters| counters.queue_delay()).max();
        self.counters.with(longest).unwrap_or_default()
    }

    /// The causes that hide clients from the tracker now. Each call judges the requests since the last one: call it once a second
    /// and tell the operator; more calls are harmless.
    #[must_use]
    pub fn hidden_clients(&self, now: Instant) -> Vec<hidden_clients::Finding> {
        let patience = Duration::from_secs((self.config.intervals().max + PEER_GRACE_SECS).into());
        let workers = self.counters.with(|all| all.clone());
        let since = Instant::from_secs(now.as_secs().saturating_sub(LIMITED_SECS));
        let heaviest = self.heaviest(since);
        self.detector
            .with(|detector| detector.update(now, patience, &workers, &heaviest))
    }

    /// The heaviest sources over their limits, each as one worker saw it in the last second in which it limited something, if
    /// that was at `since` or later.
    #[must_use]
    pub fn heaviest(&self, since: Instant) -> Vec<Heavy> {
        self.boards
            .with(|boards| boards.iter().flat_map(|board| board.heaviest(since)).collect())
    }

    /// The sum of one count over all workers.
    #[must_use]
    pub fn count(&self, count: Count) -> u64 {
        self.counters.with(|all| {
            all.iter()
                .fold(0u64, |sum, counters| sum.wrapping_add(counters.get(count)))
        })
    }

    /// Torrents and peers of all swarms.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.swarms.totals()
    }

    /// The announce interval that is served now.
    pub(crate) fn interval_served_secs(&self) -> u32 {
        self.interval_secs.load(Relaxed)
    }

    fn failures(&self) -> Vec<Failed> {
        let sum = |operation, error| {
            self.counters.with(|all| {
                let failures = all.iter().map(|counters| counters.failures(operation, error));
                failures.fold(0u64, u64::wrapping_add)
            })
        };
        let errors = |&operation| {
            (0..).zip(0..ERRORS).map(move |(error, index)| Failed {
                operation,
                error,
                count: sum(operation, index),
            })
        };
        let failures = Operation::ALL.iter().flat_map(errors);
        failures.filter(|failed| failed.count > 0).collect()
    }

    /// Requests of the last full second.
    pub(crate) fn rates(&self) -> Rates {
        self.maintenance.with(|maintenance| maintenance.rates())
    }

    pub(crate) const fn replication(&self) -> Option<&Replication> {
        self.replication.as_ref()
    }

    pub(crate) const fn views(&self) -> Option<&AccessViews> {
        self.views.as_ref()
    }

    /// Whether what hides clients has the address `ip`, so that it stands for many. It is never a global one: whoever sends most
    /// announces could make itself that.
    fn stands_for_many(&self, ip: IpAddr) -> bool {
        Scope::of(ip) == Scope::Local && self.detector.with(|detector| detector.stands_for_many(ip))
    }

    #[cfg_attr(
        not(feature = "std"),
        expect(clippy::arc_with_non_send_sync, reason = "without `std` there is one thread")
    )]
    fn add_board(&self) -> Arc<Board> {
        let board = Arc::new(Board::default());
        self.boards.with(|all| all.push(Arc::clone(&board)));
        board
    }

    fn add_outbox(&self) -> Option<Arc<Outbox>> {
        let replication = self.replication.as_ref()?;
        Some(replication.add_outbox(&self.config))
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

/// A worker's handle of the tracker, with its own random numbers, counters and scratch buffer.
#[derive(Debug)]
pub struct Worker {
    tracker: Arc<Tracker>,
    counters: Arc<Counters>,
    view: Option<Arc<AccessView>>,
    outbox: Option<Arc<Outbox>>,
    governor: Governor,
    random: Random,
    scratch: Scratch,
    overload: Overload,
}

impl Worker {
    /// The next worker of `tracker`. With the same seed, workers made in the same order make the same random choices.
    #[must_use]
    pub fn new(tracker: Arc<Tracker>) -> Self {
        let (number, counters) = tracker.add_counters();
        let random = tracker.seed.key("peer choice").random(number);
        let board = tracker.add_board();
        Self {
            view: tracker.views.as_ref().map(AccessViews::add),
            outbox: tracker.add_outbox(),
            governor: Governor::new(&tracker.config, &tracker.seed, number, board),
            tracker,
            counters,
            random,
            scratch: Scratch::new(),
            overload: Overload::default(),
        }
    }

    /// The tracker that this worker serves.
    #[must_use]
    pub const fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }

    /// This worker's counters, for the counts of its driver.
    #[must_use]
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
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
    ) -> Result<AnnounceOutcome, Refusal> {
        let prepared = self.prepare(*announce);
        self.announce_prepared(now, &prepared, peers)
    }

    /// Carries out one announce; the peers borrow this worker's scratch buffer. `ids` says whether peer ids are wanted.
    ///
    /// # Errors
    /// The announce is refused by policy or a limit; nothing has changed then.
    pub fn announce_into_scratch(
        &mut self,
        now: Instant,
        announce: &Announce,
        ids: bool,
    ) -> Result<(AnnounceOutcome, Peers<'_>), Refusal> {
        let prepared = self.prepare(*announce);
        let Self {
            tracker,
            counters,
            view,
            outbox,
            scratch,
            ..
        } = self;
        let family = announce.peer.family();
        let max = tracker.config.peers_wanted(announce.numwant);
        let mut handout = Handout::new(family, max, &mut scratch.compact);
        if ids {
            handout = handout.with_ids(&mut scratch.ids);
        }
        let context = (view.as_deref(), outbox.as_deref());
        let announced = execute(tracker, counters, context, now, &prepared, &mut handout)?;
        let len = handout.len();
        let compact = scratch
            .compact
            .get(..len * family.compact_len())
            .unwrap_or_default();
        let ids = scratch.ids.get(..if ids { len } else { 0 }).unwrap_or_default();
        Ok((announced, Peers { family, compact, ids }))
    }

    /// Begins an announce of a batch: [`prefetch`](Self::prefetch) follows for the whole batch, and then
    /// [`announce_prepared`](Self::announce_prepared) for each.
    pub fn prepare(&mut self, mut announce: Announce) -> Prepared {
        if let Some(external) = self.tracker.config.external_addresses() {
            announce.peer.ip = external.of(announce.peer.ip);
        }
        let state = self.tracker.swarms.prepare(&announce.info_hash, &mut self.random);
        Prepared { announce, state }
    }

    /// Prefetches the memory that a batch of announces will read. `prepared` picks the announces among the requests.
    ///
    /// Nothing changes, and the call may be left out. It does nothing while the processor's caches hold all swarms.
    pub fn prefetch<R>(
        &self,
        requests: &mut [R],
        prepared: impl Fn(&mut R) -> Option<&mut Prepared>,
        prefetch: &impl Prefetch,
    ) {
        for &stage in self.tracker.swarms.stages() {
            let announces = requests.iter_mut().filter_map(&prepared);
            let announces = announces.map(|Prepared { announce, state }| (Member::of(announce), state));
            self.tracker.swarms.prefetch(stage, announces, prefetch);
        }
    }

    /// Carries out an announce that was prepared, writing the peers to `peers`.
    ///
    /// # Errors
    /// The announce is refused by policy or a limit; nothing has changed then.
    pub fn announce_prepared(
        &self,
        now: Instant,
        prepared: &Prepared,
        peers: &mut Handout<'_>,
    ) -> Result<AnnounceOutcome, Refusal> {
        let Self {
            tracker,
            counters,
            view,
            outbox,
            ..
        } = self;
        let context = (view.as_deref(), outbox.as_deref());
        execute(tracker, counters, context, now, prepared, peers)
    }

    /// The counts of a torrent: zeros if it is not known, or not served.
    #[must_use]
    pub fn scrape(&self, info_hash: &InfoHash) -> Counts {
        if self
            .view
            .as_ref()
            .is_some_and(|view| view.with(|access| !access.permits_torrent(info_hash)))
        {
            return Counts::default();
        }
        self.tracker.swarms.scrape(info_hash)
    }

    /// What is given up now: nothing, unless this worker is overloaded.
    #[must_use]
    pub const fn overload(&self) -> Level {
        self.overload.level()
    }

    /// Whether requests are given up that `level` gives up first. Counts one.
    pub(crate) fn sheds(&self, level: Level, count: Count) -> bool {
        let is_shed = self.overload.level() >= level;
        if is_shed {
            self.count(count);
        }
        is_shed
    }

    /// What overload has done about an announce with this event.
    pub(crate) fn shed_announce(&self, event: Event) -> governor::Verdict {
        let verdict = self.overload.level().verdict(event);
        match verdict {
            governor::Verdict::Serve => {}
            governor::Verdict::Short => self.count(Count::ShedRenewal),
            governor::Verdict::Failure | governor::Verdict::Silence => self.count(Count::ShedNewPeer),
        }
        verdict
    }

    /// Begins a batch of so many datagrams.
    pub(crate) fn begin_batch(&mut self, datagrams: usize) {
        self.overload.begin_batch(datagrams);
    }

    /// Whether a connect is given up.
    pub(crate) fn sheds_connect(&mut self) -> bool {
        let is_shed = !self.overload.admit_connect();
        if is_shed {
            self.count(Count::ShedConnect);
        }
        is_shed
    }

    /// Judges a socket of this worker by what the system tells of its receive queue, and moves the level of overload. Returns
    /// the size that the receive buffer should have, in bytes, if that is another one. To be called when `watch` says that it is
    /// due, and once a second when no datagram comes.
    pub fn observe(&mut self, now: Instant, watch: &mut QueueWatch, queue: Queue) -> Option<u32> {
        let observed = watch.observe(now, queue);
        let count = |count| self.counters.get(count);
        let received = self.udp_received();
        let proven = PROVEN.iter().fold(0u64, |sum, &one| sum.wrapping_add(count(one)));
        let spent = self.overload.update(now, observed.pressure, received, proven);
        let millis = u64::try_from(spent.as_millis()).unwrap_or(u64::MAX);
        self.counters.add(Count::OverloadedMillis, millis);
        self.counters
            .add(Count::UdpKernelDropped, observed.overflowed.into());
        self.counters
            .add(Count::UdpFiltered, observed.filter_dropped.into());
        self.counters.show_overload(self.overload.level());
        self.counters.show_queue_delay(observed.delay);
        observed.buffer_bytes
    }

    /// Whether `ip` is a trusted proxy's: its [network](crate::proxy::Proxies::networks) is trusted, or in the
    /// [list](Access::proxies) in force.
    #[must_use]
    pub fn trusts(&self, ip: IpAddr) -> bool {
        trusts(&self.tracker.config, self.view.as_deref(), ip)
    }

    /// Whether requests from this address are answered. Drivers check it before they read from a connection;
    /// [`udp::Front`](crate::udp::Front) checks it for datagrams.
    #[must_use]
    pub fn permits_address(&self, ip: IpAddr) -> bool {
        let permits = |view: &Arc<AccessView>| view.with(|access| access.permits_address(ip));
        self.view.as_ref().is_none_or(permits)
    }

    /// Whether this worker was overloaded within the last second.
    #[must_use]
    pub fn was_overloaded(&self, now: Instant) -> bool {
        self.overload.is_recent(now)
    }

    /// The sources that a socket filter should drop before they are queued: those that have proven their addresses, and send at
    /// several times their limit. Under overload those are among them that have not used up what they may send at once. To be
    /// called once a second, and in each window of overload.
    pub fn filtered_sources(&mut self, now: Instant) -> Vec<IpNet> {
        let limits = self.tracker.config.limits();
        if limits.mode() != LimitMode::On {
            return Vec::new();
        }
        let rate = limits.announces_per_sec();
        let floods =
            |heavy: &Heavy, factor: u32| heavy.per_sec / factor >= heavy.hosts().saturating_mul(rate);
        let mut heavy = self.governor.heaviest(now);
        heavy.retain(|heavy| floods(heavy, FLOOD_FACTOR));
        if self.overload.is_recent(now) {
            let busiest = self.governor.busiest(now);
            heavy.extend(busiest.filter(|heavy| floods(heavy, FLOOD_FACTOR + 1)));
        }
        let networks = heavy.into_iter().map(|heavy| heavy.network);
        let tracker = &self.tracker;
        networks
            .filter(|network| !tracker.stands_for_many(network.addr()))
            .collect()
    }

    /// The share of connects that a socket filter should let through: see [`Overload::connects_kept`].
    pub fn connects_kept(&mut self, now: Instant) -> Option<u32> {
        let (received, dropped) = (self.udp_received(), self.counters.get(Count::UdpKernelDropped));
        self.overload.connects_kept(now, received, dropped)
    }

    fn udp_received(&self) -> u64 {
        let count = |count| self.counters.get(count);
        count(Count::UdpReceived4).wrapping_add(count(Count::UdpReceived6))
    }

    /// Charges `source` for what it asks, and says how it is to be treated. For a front: once for each request, before it
    /// is carried out.
    #[inline]
    pub fn judge(&mut self, now: Instant, source: IpAddr, charge: impl Into<Charge>) -> governor::Verdict {
        let Self {
            tracker,
            view,
            governor,
            ..
        } = self;
        let stands_for_many =
            || tracker.stands_for_many(source) || trusts(&tracker.config, view.as_deref(), source);
        governor.judge(now, source, charge.into(), stands_for_many)
    }

    /// Adds one to a count of this worker.
    pub fn count(&self, count: Count) {
        self.counters.add(count, 1);
    }
}

fn trusts(config: &Config, view: Option<&AccessView>, ip: IpAddr) -> bool {
    let is_listed = |view: &AccessView| view.with(|access| access.proxies.contains(ip));
    config
        .proxies()
        .is_some_and(|proxies| proxies.contain(ip) || view.is_some_and(is_listed))
}

/// An announce of a batch, with its hashes and the lookups so far.
#[derive(Clone, Debug)]
pub struct Prepared {
    announce: Announce,
    state: swarm::Prepared<PackedPrefetched>,
}

impl Prepared {
    /// The announce.
    #[must_use]
    pub const fn announce(&self) -> &Announce {
        &self.announce
    }
}

/// Peers handed out.
#[derive(Clone, Copy, Debug)]
pub struct Peers<'a> {
    /// The family of all of them.
    pub family: Family,
    /// Compact peers, one after the other (BEP 23, BEP 7).
    pub compact: &'a [u8],
    /// Their ids in the same order, if they were wanted.
    pub ids: &'a [PeerId],
}

/// Carries out an announce of any protocol: policy, lists, then the swarm.
fn execute(
    tracker: &Tracker,
    counters: &Counters,
    (view, outbox): (Option<&AccessView>, Option<&Outbox>),
    now: Instant,
    prepared: &Prepared,
    peers: &mut Handout<'_>,
) -> Result<AnnounceOutcome, Refusal> {
    let Prepared { announce, state } = prepared;
    let mut act = |access: Option<&Access>| {
        check_policy(tracker, access, announce)?;
        tracker.swarms.announce(now, announce, state, peers)
    };
    // The gate stays locked until the announce is carried out: what replaces the lists waits, so that its purge finds
    // every peer that was let in before.
    let outcome = match view {
        Some(view) => view.with(|access| act(Some(access))),
        None => act(None),
    };
    let (counts, change) = outcome.inspect_err(|&refusal| {
        counters.add(count_of(refusal), 1);
        if refusal == Refusal::AddressFull && Scope::of(announce.peer.ip) == Scope::Local {
            counters.add(Count::AddressFullLocal, 1);
        }
    })?;
    if let Some(outbox) = outbox {
        outbox.note(now, announce, change);
    }
    if !announce.is_reachable() && announce.event != Event::Stopped {
        counters.add(Count::AnnounceUnreachable, 1);
    }
    let interval_secs = interval_secs(tracker, counts, change);
    Ok(AnnounceOutcome {
        counts,
        interval_secs,
        interval_min_secs: tracker.config.intervals().min_beside(interval_secs),
        change,
    })
}

/// The interval that is told with these counts.
fn interval_secs(tracker: &Tracker, counts: Counts, change: Change) -> u32 {
    let is_new = matches!(change, Change::Added { .. }) && counts.complete + counts.incomplete == 1;
    if is_new && tracker.swarms.pressure() != Pressure::Low {
        // The torrent is safe from eviction once it is announced again.
        return tracker.config.intervals().min;
    }
    tracker.interval_served_secs()
}

/// Checks policy before the swarm. `stopped` is always allowed for a torrent that is served.
fn check_policy(tracker: &Tracker, access: Option<&Access>, announce: &Announce) -> Result<(), Refusal> {
    if access.is_some_and(|access| !access.permits_torrent(&announce.info_hash)) {
        return Err(Refusal::TorrentDenied);
    }
    if announce.event == Event::Stopped {
        return Ok(());
    }
    check_peer(tracker, access, announce.peer.ip)
}

/// What policy says about the address of a peer that is to be stored.
pub(crate) fn check_peer(tracker: &Tracker, access: Option<&Access>, ip: IpAddr) -> Result<(), Refusal> {
    if access.is_some_and(|access| !access.permits_address(ip)) {
        return Err(Refusal::AddressDenied);
    }
    match Scope::of(ip) {
        Scope::Invalid => Err(Refusal::ImpossibleAddress),
        Scope::Local if !tracker.config.swarms().private_peers() => Err(Refusal::PrivateAddress),
        Scope::Local | Scope::Global => Ok(()),
    }
}

const fn count_of(refusal: Refusal) -> Count {
    match refusal {
        Refusal::ImpossibleAddress => Count::RefusedImpossibleAddress,
        Refusal::PrivateAddress => Count::RefusedPrivateAddress,
        Refusal::TorrentDenied => Count::RefusedTorrentDenied,
        Refusal::AddressDenied => Count::RefusedAddressDenied,
        Refusal::TorrentsFull => Count::RefusedTorrentsFull,
        Refusal::SwarmFull => Count::RefusedSwarmFull,
        Refusal::AddressFull => Count::RefusedAddressFull,
    }
}

/// How many times its limit a source sends beyond it when it is filtered. One that exceeds it by less may be many clients behind
/// one address: they have short answers.
const FLOOD_FACTOR: u32 = 3;
/// For how long a source counts as limited after it was over its limit.
const LIMITED_SECS: u64 = 60;

/// What becomes of datagrams whose sender has proven its address.
const PROVEN: [Count; 5] = [
    Count::UdpAnnounce,
    Count::UdpScrape,
    Count::UdpError,
    Count::ShedScrape,
    Count::ShedNewPeer,
];

/// A buffer for the peers of one answer, reused so that an announce does not allocate.
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
