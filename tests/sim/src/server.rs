//! The tracker as a runtime drives it: its core, its workers, its clock.

use std::cell::Cell;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use allocation_counter::AllocationInfo;
use etracker_core::access::{Access, TorrentList, Torrents};
use etracker_core::announce::Counts;
use etracker_core::governor::MemoryFigures;
use etracker_core::http;
use etracker_core::interval::LoadAverage;
use etracker_core::swarm::{Peer, Visit, WalkPosition};
use etracker_core::udp::{BATCH_MAX, Datagram, Front, REPLY_MAX, Verdict};
use etracker_core::{Config, InfoHash, Instant, Seed, Tracker, Worker};

use crate::chance::Chance;
use crate::model::{Held, HeldPeer, Shortage};
use crate::queue::{Millis, SECOND};
use crate::scenario::{FREEZE_MAX, Machine, Scenario};
use crate::violation::Violation;
use crate::wire::Packet;

/// A tracker with its workers. Every call into the core is watched for panics and counted allocations.
#[derive(Debug)]
pub(crate) struct Server {
    config: Config,
    seed: Seed,
    access: Access,
    front: Front,
    http_front: Arc<http::Front>,
    pub(crate) tracker: Arc<Tracker>,
    pub(crate) workers: Vec<Worker>,
    clock: Clock,
    replies: Vec<[u8; REPLY_MAX]>,
    pub(crate) http_reply: Vec<u8>,
    /// The memory of swarms before the last request.
    before: MemoryFigures,
    /// Bytes that the core holds, and those it held when it was new.
    memory: i64,
    memory_base: i64,
}

impl Server {
    pub(crate) fn start(seed: u64, scenario: &Scenario, now: Millis) -> Result<Self, Violation> {
        let config = scenario.config.clone();
        let core_seed = crate::chance::core_seed(seed);
        let denied: Vec<_> = scenario.denied.map(crate::client::torrent).into_iter().collect();
        let access = Access {
            torrents: Torrents::AllBut(TorrentList::new(denied)),
            ..Access::default()
        };
        let ((tracker, workers), used) =
            watched(|| tracker(&config, &core_seed, &access, scenario.workers, now))?;
        let http_front = Arc::new(http::Front::new(&config));
        Ok(Self {
            config,
            front: Front::new(&core_seed),
            http_front,
            seed: core_seed,
            access,
            tracker,
            workers,
            clock: Clock {
                chance: Chance::of(seed, "clock", 0),
                last: now,
                frozen_until: 0,
            },
            replies: vec![[0; REPLY_MAX]; BATCH_MAX],
            http_reply: vec![0; http::REPLY_MAX],
            before: MemoryFigures::default(),
            memory: used.bytes_current,
            memory_base: used.bytes_current,
        })
    }

    /// The tracker is stopped and another one with the same seed takes its place.
    pub(crate) fn restart(&mut self, now: Millis) -> Result<(), Violation> {
        let (config, seed, access) = (&self.config, &self.seed, &self.access);
        let ((tracker, workers), used) = watched(|| tracker(config, seed, access, self.workers.len(), now))?;
        self.tracker = tracker;
        self.workers = workers;
        self.memory = used.bytes_current;
        self.memory_base = used.bytes_current;
        Ok(())
    }

    /// The tracker's time at `now`, for one of its workers.
    pub(crate) fn time(&mut self, now: Millis, machine: &Machine) -> Millis {
        self.clock.read(now, machine)
    }

    /// How many datagrams to answer at once: one where memory is limited, so that it is known which of them found it short.
    pub(crate) fn batch_max(&self) -> usize {
        match self.config.swarms().memory() {
            Some(_) => 1,
            None => BATCH_MAX,
        }
    }

    /// What the last request found of memory, and what was done about it.
    pub(crate) fn shortage(&self) -> Shortage {
        let (before, now) = (self.before, self.tracker.swarms().memory());
        Shortage {
            pressure: before.pressure,
            evicted: now.evicted > before.evicted,
            unstored: now.unstored > before.unstored,
        }
    }

    /// Answers up to [`BATCH_MAX`] datagrams. Gives the verdicts, and how often memory was allocated.
    pub(crate) fn answer(
        &mut self,
        worker: usize,
        now: Millis,
        packets: &[Packet],
    ) -> Result<(Vec<Verdict>, u64), Violation> {
        let mut batch: Vec<_> = packets
            .iter()
            .zip(&mut self.replies)
            .map(|(packet, reply)| Datagram::new(packet.source, &packet.bytes, reply))
            .collect();
        self.before = self.tracker.swarms().memory();
        let (front, worker) = (&self.front, &mut self.workers[worker]);
        let ((), used) = watched(|| _ = front.handle(worker, Instant::from_millis(now), &mut batch))?;
        self.memory += used.bytes_current;
        Ok((batch.iter().map(Datagram::verdict).collect(), used.count_total))
    }

    /// The first bytes of the reply to the datagram at this place of the batch.
    pub(crate) fn reply(&self, at: usize, len: usize) -> &[u8] {
        &self.replies[at][..len]
    }

    /// Opens the tracker's end of a connection.
    pub(crate) fn accept(&self, now: Millis, from: SocketAddr) -> http::Connection {
        http::Connection::new(Instant::from_millis(now), from, &self.http_front)
    }

    /// Has a connection do something.
    pub(crate) fn converse(
        &mut self,
        worker: usize,
        act: impl FnOnce(&mut Worker, &mut [u8]) -> http::Step,
    ) -> Result<http::Step, Violation> {
        self.before = self.tracker.swarms().memory();
        let (worker, reply) = (&mut self.workers[worker], &mut self.http_reply);
        let (step, used) = watched(|| act(worker, reply))?;
        self.memory += used.bytes_current;
        Ok(step)
    }

    /// Drops a connection that is closed.
    pub(crate) fn release(&mut self, connection: http::Connection) -> Result<(), Violation> {
        let ((), used) = watched(|| drop(connection))?;
        self.memory += used.bytes_current;
        Ok(())
    }

    /// Does what is due, and says when there will be something next.
    pub(crate) fn maintain(&mut self, now: Millis, load: LoadAverage) -> Result<Millis, Violation> {
        let tracker = &self.tracker;
        let (next, used) = watched(|| {
            tracker.handle_timeout(Instant::from_millis(now), load);
            tracker.poll_timeout()
        })?;
        self.memory += used.bytes_current;
        Ok(next.as_millis())
    }

    pub(crate) fn scrape(&self, info_hash: &InfoHash) -> Counts {
        self.tracker.swarms().scrape(info_hash)
    }

    /// All that is stored.
    pub(crate) fn held(&self) -> Held {
        let mut held = Held::default();
        let mut position = WalkPosition::default();
        while !self.tracker.swarms().walk(1000, &mut position, &mut held) {}
        held
    }

    /// Bytes held beyond those of a new tracker.
    pub(crate) const fn memory(&self) -> i64 {
        self.memory - self.memory_base
    }
}

impl Visit for Held {
    fn torrent(&mut self, info_hash: &InfoHash, counts: Counts) {
        self.shown_twice |= self.torrents.insert(*info_hash, counts).is_some();
    }

    fn peer(&mut self, info_hash: &InfoHash, peer: &Peer) {
        let held = HeldPeer {
            seeder: peer.seeder,
            been_seeder: peer.been_seeder,
            minute: peer.announced.get().into(),
            id: peer.id,
        };
        self.shown_twice |= self.peers.insert((*info_hash, peer.endpoint), held).is_some();
    }
}

/// The clock of the machine, as a runtime hands it on: it may stand still, and never goes back.
#[derive(Debug)]
struct Clock {
    chance: Chance,
    last: Millis,
    frozen_until: Millis,
}

impl Clock {
    fn read(&mut self, now: Millis, machine: &Machine) -> Millis {
        if now < self.frozen_until {
            return self.last;
        }
        if self.chance.hit(machine.clock_freeze) {
            // The machine's time was set back; what a runtime hands on waits for it.
            self.frozen_until = now + self.chance.range(SECOND..FREEZE_MAX);
        }
        self.last = self.last.max(now);
        // Others may have read the clock since, and been quicker.
        self.last - self.chance.below(machine.clock_spread + 1)
    }
}

/// A tracker and its workers.
fn tracker(
    config: &Config,
    seed: &Seed,
    access: &Access,
    workers: usize,
    now: Millis,
) -> (Arc<Tracker>, Vec<Worker>) {
    let tracker = Tracker::new(config.clone(), seed.clone(), Instant::from_millis(now));
    let tracker = Arc::new(tracker.with_access(access.clone()));
    let workers = (0..workers).map(|_| Worker::new(Arc::clone(&tracker))).collect();
    (tracker, workers)
}

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread, now, is caught and told as a violation.
#[must_use]
pub fn catches_panic() -> bool {
    cfg!(panic = "unwind") && WATCHED.get()
}

/// Runs `act`, which is the core's work: counts its allocations, and takes its panic for a violation.
fn watched<R>(act: impl FnOnce() -> R) -> Result<(R, AllocationInfo), Violation> {
    let mut result = None;
    WATCHED.set(true);
    let used = allocation_counter::measure(|| {
        result = Some(panic::catch_unwind(AssertUnwindSafe(act)));
    });
    WATCHED.set(false);
    match result {
        Some(Ok(result)) => Ok((result, used)),
        Some(Err(panicked)) => {
            let text = panicked
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panicked.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("for an unknown reason");
            Err(Violation::new("X-12", format!("the core panicked: {text}")))
        }
        None => Err(Violation::new("X-12", "the core was not run")),
    }
}
