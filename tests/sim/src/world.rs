//! The runtime of a simulation: the core, a virtual clock and a seeded network, one event after the other.

use std::collections::VecDeque;
use std::hash::Hasher as _;
use std::net::SocketAddr;

use etracker_core::InfoHash;
use etracker_core::announce::{self, Announce, Counts, Endpoint};
use etracker_core::governor::Pressure;
use etracker_core::udp::Verdict;
use rustc_hash::FxHashMap;
use siphasher::sip::SipHasher13;

use crate::chance::Chance;
use crate::client::{Client, Moment, Out, Timer, torrent};
use crate::history::{Happened, History};
use crate::hostile::{Attacker, Craft, Tap, crafts};
use crate::http::HttpAsk;
use crate::limits::{Charge, Meters, Purse};
use crate::load::Load;
use crate::model::{Answer, Model, Note, Rules, udp_peers_max};
use crate::proofs::{Proof, Proofs};
use crate::queue::{EPOCH, HOUR, MINUTE, Millis, Queue};
use crate::scenario::Scenario;
use crate::server::Server;
use crate::streams::{Happening, Peers, Streams};
use crate::tally::Tally;
use crate::violation::{Violation, ensure};
use crate::wire::{self, ActorId, Meaning, Packet};

/// Everything of one run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) now: Millis,
    pub(crate) queue: Queue<Event>,
    pub(crate) server: Server,
    pub(crate) model: Model,
    pub(crate) streams: Streams,
    pub(crate) history: History,
    pub(crate) tally: Tally,
    pub(crate) load: Load,
    actors: Vec<Actor>,
    /// What waits in the sockets of the workers.
    inboxes: Vec<VecDeque<Packet>>,
    proofs: Proofs,
    meters: Meters,
    /// Who has sent from an address, and is sent what is sent there.
    routes: FxHashMap<SocketAddr, ActorId>,
    /// What every endpoint named by its owner is: serving its torrent, or no longer.
    truths: FxHashMap<(InfoHash, Endpoint), bool>,
    tap: Tap,
    trace: SipHasher13,
    steps: u64,
    chance: Chance,
}

/// What can happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// An actor asked to be woken.
    Timer(ActorId, Timer),
    /// A datagram reaches the tracker's socket.
    Arrive(Packet),
    /// A worker notices that there are datagrams.
    Wake(usize),
    /// A datagram reaches the one it was sent to.
    Deliver(SocketAddr, Vec<u8>, Note),
    /// Something happens to a connection.
    Stream(usize, Happening),
    /// An answer over HTTP, the interval and the peers or nothing, reaches its client.
    DeliverHttp(ActorId, HttpAsk, Option<Peers>, Note),
    /// The tracker's own duties are due.
    Maintenance,
    /// The load averages move.
    Load,
    /// Everything is compared.
    Compare,
}

impl Event {
    /// Whether it is the tracker's machine that does something.
    const fn is_of_machine(&self) -> bool {
        matches!(
            self,
            Self::Wake(_) | Self::Stream(..) | Self::Maintenance | Self::Compare
        )
    }
}

#[derive(Debug)]
struct Actor {
    network: Chance,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Client(Box<Client>),
    Attacker(Box<Attacker>),
    /// Left out of this run.
    Absent,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        scenario: Scenario,
        cast: &dyn Fn(ActorId) -> bool,
    ) -> Result<Self, Violation> {
        let server = Server::start(seed, &scenario, EPOCH)?;
        let mut world = Self {
            now: EPOCH,
            queue: Queue::new(),
            model: Model::new(Rules::of(
                &scenario.config,
                scenario.denied.map(torrent),
                scenario.lateness(),
            )),
            streams: Streams::default(),
            history: History::default(),
            tally: Tally::default(),
            load: Load::new(&scenario),
            actors: Vec::new(),
            inboxes: vec![VecDeque::new(); scenario.workers],
            proofs: Proofs::default(),
            meters: Meters::new(&scenario.config),
            routes: FxHashMap::default(),
            truths: FxHashMap::default(),
            tap: Tap::new(),
            trace: SipHasher13::new(),
            steps: 0,
            chance: Chance::of(seed, "world", 0),
            server,
            scenario,
        };
        world.populate(seed, cast);
        world.queue.plan(EPOCH, Event::Maintenance);
        world.queue.plan(EPOCH, Event::Load);
        world.queue.plan(EPOCH + HOUR, Event::Compare);
        Ok(world)
    }

    /// Takes one step; false at the end of time.
    pub(crate) fn step(&mut self) -> Result<bool, Violation> {
        let Some((at, event)) = self.queue.next().filter(|(at, _)| *at <= self.last()) else {
            return Ok(false);
        };
        self.now = at;
        self.steps += 1;
        if let Some((from, to)) = self.scenario.suspended(at).filter(|_| event.is_of_machine()) {
            // A timer counts the time during which the machine is awake; all else waits for it to wake up.
            let asleep = matches!(event, Event::Maintenance)
                .then_some(at - from)
                .unwrap_or_default();
            self.queue.plan(to + asleep, event);
            return Ok(true);
        }
        match event {
            // All fall silent, so that what they left behind can be seen to expire.
            Event::Timer(..) | Event::Deliver(..) | Event::DeliverHttp(..)
                if at > self.scenario.end + LEAVING => {}
            Event::Timer(actor, timer) => self.wake_actor(actor, timer)?,
            Event::Arrive(packet) => self.arrive(packet),
            Event::Wake(worker) => self.drain(worker)?,
            Event::Deliver(to, bytes, note) => self.deliver(to, &bytes, note)?,
            Event::Stream(stream, happening) => self.happen(stream, happening)?,
            Event::DeliverHttp(actor, ask, answer, note) => self.deliver_http(actor, &ask, answer, note)?,
            Event::Maintenance => self.maintain()?,
            Event::Load => {
                self.load
                    .sample(self.now, self.server.tracker.interval().served_secs());
                self.queue.plan(self.now + Load::PERIOD, Event::Load);
            }
            Event::Compare => self.compare()?,
        }
        Ok(true)
    }

    /// What must hold at the end: everybody has expired.
    pub(crate) fn finish(&mut self) -> Result<(), Violation> {
        let totals = self.server.tracker.totals();
        ensure(totals.peers() == 0 && totals.torrents == 0, "X-11", || {
            format!("all have gone long ago, and the tracker holds {totals:?}")
        })?;
        let admissions = self.scenario.config.swarms().memory();
        let admissions = admissions.map_or(0, |limits| i64::try_from(limits.admissions_max).unwrap_or(0));
        ensure(
            self.server.memory() <= MEMORY_LEFT_MAX + admissions,
            "X-11",
            || {
                format!(
                    "all have gone long ago, and {} bytes are held",
                    self.server.memory()
                )
            },
        )?;
        self.tally.memory_bytes_left = self.server.memory();
        self.load.judge(&self.scenario)
    }

    pub(crate) const fn steps(&self) -> u64 {
        self.steps
    }

    /// A hash of all that went in and out.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// When the last has expired.
    fn last(&self) -> Millis {
        let age_max = Millis::from(self.scenario.config.intervals().max) * 1000 + 2 * MINUTE;
        // Peers first, then the counts of the torrents that they leave behind.
        self.scenario.end + 3 * (age_max + self.scenario.lateness()) + HOUR
    }

    fn populate(&mut self, seed: u64, cast: &dyn Fn(ActorId) -> bool) {
        let clients = self.scenario.clients;
        let crafts = crafts(&self.scenario.hostility);
        let attackers = crafts.into_iter().map(Some);
        let everybody = (0..clients).map(|_| None).chain(attackers);
        for (number, craft) in (0..).zip(everybody) {
            let mut out = Out::default();
            let kind = self.actor(seed, number, craft, cast, &mut out);
            self.actors.push(Actor {
                network: Chance::of(seed, "network", number),
                kind,
            });
            for (at, timer) in out.timers {
                self.queue.plan(at, Event::Timer(number, timer));
            }
        }
    }

    fn actor(
        &self,
        seed: u64,
        number: ActorId,
        craft: Option<Craft>,
        cast: &dyn Fn(ActorId) -> bool,
        out: &mut Out,
    ) -> Kind {
        match craft {
            _ if !cast(number) => Kind::Absent,
            None => Kind::Client(Box::new(Client::new(number, seed, &self.scenario, out))),
            Some(craft) => Kind::Attacker(Box::new(Attacker::new(number, craft, seed, &self.scenario, out))),
        }
    }

    fn wake_actor(&mut self, number: ActorId, timer: Timer) -> Result<(), Violation> {
        let mut out = Out::default();
        let Some(actor) = self.actors.get_mut(number as usize) else {
            return Ok(());
        };
        match &mut actor.kind {
            Kind::Client(client) => client.wake(
                &mut Moment {
                    now: self.now,
                    scenario: &self.scenario,
                    out: &mut out,
                },
                timer,
            ),
            Kind::Attacker(attacker) => attacker.wake(self.now, &self.tap, &self.scenario, &mut out),
            Kind::Absent => {}
        }
        self.carry_out(number, out)
    }

    fn deliver(&mut self, to: SocketAddr, bytes: &[u8], note: Note) -> Result<(), Violation> {
        let Some(&number) = self.routes.get(&to) else {
            return Ok(());
        };
        let mut out = Out::default();
        match &mut self.actors[number as usize].kind {
            Kind::Client(client) => client.receive(
                &mut Moment {
                    now: self.now,
                    scenario: &self.scenario,
                    out: &mut out,
                },
                to,
                bytes,
                note,
            ),
            Kind::Attacker(attacker) => attacker.receive(self.now, to, bytes),
            Kind::Absent => {}
        }
        self.carry_out(number, out)
    }

    fn deliver_http(
        &mut self,
        number: ActorId,
        ask: &HttpAsk,
        answer: Option<Peers>,
        note: Note,
    ) -> Result<(), Violation> {
        let mut out = Out::default();
        if let Kind::Client(client) = &mut self.actors[number as usize].kind {
            let mut moment = Moment {
                now: self.now,
                scenario: &self.scenario,
                out: &mut out,
            };
            client.receive_http(&mut moment, ask, answer, note);
        }
        self.carry_out(number, out)
    }

    /// Does what an actor wants done.
    fn carry_out(&mut self, number: ActorId, out: Out) -> Result<(), Violation> {
        for (info_hash, endpoint, serving) in out.truths {
            self.truths.insert((info_hash, endpoint), serving);
        }
        for (at, timer) in out.timers {
            self.queue.plan(at, Event::Timer(number, timer));
        }
        for packet in out.packets {
            self.send(number, packet);
        }
        for request in out.requests {
            self.open(number, request);
        }
        self.tally.downloads_begun += out.leechers;
        for (at, after) in out.learned {
            self.tally.learned(at, after);
        }
        out.violation.map_or(Ok(()), Err)
    }

    fn send(&mut self, number: ActorId, packet: Packet) {
        let region = self.region(number);
        let actor = &mut self.actors[number as usize];
        match &actor.kind {
            Kind::Client(_) => {
                self.routes.insert(packet.source, number);
                if self.tap.len() >= TAP_MAX {
                    self.tap.pop_front();
                }
                self.tap.push_back(packet.clone());
            }
            Kind::Attacker(attacker) if attacker.is_at(packet.source) => {
                self.routes.insert(packet.source, number);
            }
            Kind::Attacker(_) | Kind::Absent => {}
        }
        let network = &self.scenario.network;
        let [first, second] = network.arrivals(&mut actor.network, region, self.now);
        if let Some(at) = second {
            self.queue.plan(at, Event::Arrive(packet.clone()));
        }
        if let Some(at) = first {
            self.queue.plan(at, Event::Arrive(packet));
        }
    }

    fn arrive(&mut self, packet: Packet) {
        // As a kernel spreads senders over sockets.
        let worker = usize::from(packet.source.port()) % self.inboxes.len();
        let inbox = &mut self.inboxes[worker];
        inbox.push_back(packet);
        if inbox.len() == 1 {
            let machine = &self.scenario.machine;
            let stalls = self.chance.hit(machine.stall);
            let longest = if stalls { machine.stall_max } else { machine.wake };
            self.queue
                .plan(self.now + self.chance.below(longest + 1), Event::Wake(worker));
        }
    }

    fn drain(&mut self, worker: usize) -> Result<(), Violation> {
        let mut waiting: Vec<_> = self.inboxes[worker].drain(..).collect();
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(self.server.batch_max()));
            self.answer(worker, &waiting)?;
            waiting = rest;
        }
        Ok(())
    }

    /// One batch of datagrams goes into the core, and what comes out is checked and sent.
    fn answer(&mut self, worker: usize, packets: &[Packet]) -> Result<(), Violation> {
        let now = self.server.time(self.now, &self.scenario.machine);
        let (verdicts, allocations) = self.server.answer(worker, now, packets)?;
        self.load.served(packets.len());
        self.tally.datagrams += packets.len() as u64;
        let mut touched = Vec::new();
        // What is remembered while memory is short takes its memory then.
        let mut may_allocate = self.scenario.config.swarms().memory().is_some();
        for (at, (packet, verdict)) in packets.iter().zip(verdicts).enumerate() {
            let reply = match verdict {
                Verdict::Reply(len) => Some(self.server.reply(at, len).to_vec()),
                Verdict::Drop(_) => None,
            };
            self.note_datagram(packet, reply.as_deref());
            let (note, executed) = self.check(now, worker, packet, reply.as_deref())?;
            if executed && let Meaning::Announce { wish, .. } = &packet.meaning {
                may_allocate |= !note.refreshed;
                touched.push(wish.info_hash);
            }
            if let Some(reply) = reply {
                self.send_back(packet.source, reply, note);
            }
        }
        ensure(may_allocate || allocations == 0, "X-12", || {
            format!("a batch in which no peer comes, goes or changes sides allocates {allocations} times")
        })?;
        touched.sort_unstable();
        touched.dedup();
        for info_hash in touched {
            self.model
                .scraped(now, info_hash, self.server.scrape(&info_hash))?;
        }
        Ok(())
    }

    fn send_back(&mut self, to: SocketAddr, reply: Vec<u8>, note: Note) {
        let Some(&number) = self.routes.get(&to) else {
            return;
        };
        let region = self.region(number);
        let network = &self.scenario.network;
        let arrivals = network.arrivals(&mut self.actors[number as usize].network, region, self.now);
        for at in arrivals.into_iter().flatten() {
            self.queue.plan(at, Event::Deliver(to, reply.clone(), note));
        }
    }

    /// Checks the verdict on one datagram against what its sender meant. True if it was carried out.
    fn check(
        &mut self,
        now: Millis,
        worker: usize,
        packet: &Packet,
        reply: Option<&[u8]>,
    ) -> Result<(Note, bool), Violation> {
        let ip = packet.source.ip();
        let (transaction, connection_id) = match &packet.meaning {
            Meaning::Noise => {
                ensure(reply.is_none(), "U-07", || {
                    format!("noise was answered: {packet:?}")
                })?;
                return Ok((Note::default(), false));
            }
            Meaning::Connect { transaction } => {
                let charge = charge(worker, packet);
                if self.judge(now, packet, &charge, reply.is_none())? {
                    self.check_connect(now, packet, *transaction, reply)?;
                }
                return Ok((Note::default(), false));
            }
            Meaning::Announce {
                transaction,
                connection_id,
                ..
            }
            | Meaning::Scrape {
                transaction,
                connection_id,
                ..
            }
            | Meaning::Faulty {
                transaction,
                connection_id,
            } => (*transaction, *connection_id),
        };
        let proof = self.proofs.of(now, ip, connection_id);
        let is_limited = reply.is_none_or(|reply| reply.get(8..) == Some(TOO_MANY));
        if proof != Proof::Foreign && !matches!(packet.meaning, Meaning::Faulty { .. }) {
            // One that is ageing may be dropped, for whatever it is charged.
            let is_limited = is_limited && (proof == Proof::Valid || reply.is_some());
            self.judge(now, packet, &charge(worker, packet), is_limited)?;
        }
        let Some(reply) = reply else {
            let is_faulty = matches!(packet.meaning, Meaning::Faulty { .. });
            ensure(proof != Proof::Valid || !is_faulty, "U-10", || {
                format!("a proven request was not answered: {packet:?}")
            })?;
            return Ok((Note::default(), false));
        };
        ensure(proof != Proof::Foreign, "X-05", || {
            format!("a connection id that does not belong to the sender was accepted: {packet:?}")
        })?;
        ensure(wire::number(reply, 4) == transaction, "U-14", || {
            format!("another transaction was answered than {transaction}")
        })?;
        if is_limited {
            return Ok((Note::default(), false));
        }
        let note = match &packet.meaning {
            Meaning::Announce { wish, .. } => {
                self.check_announce(now, &wish.from(ip), &charge(worker, packet), reply)?
            }
            Meaning::Scrape { info_hashes, .. } => self.check_scrape(now, info_hashes, reply)?,
            Meaning::Faulty { .. } | Meaning::Connect { .. } | Meaning::Noise => {
                ensure(wire::number(reply, 0) == ERROR, "U-18", || {
                    format!("a faulty request was not answered with an error: {packet:?}")
                })?;
                Note::default()
            }
        };
        Ok((note, true))
    }

    /// Charges the source of a request, which is limited or not. True if it is not.
    ///
    /// What may be limited is left to a reference that counts every request; a client's own proven traffic never is.
    fn judge(
        &mut self,
        now: Millis,
        packet: &Packet,
        charge: &Charge,
        is_limited: bool,
    ) -> Result<bool, Violation> {
        let may_limit = self.meters.may_limit(now, charge);
        ensure(!is_limited || may_limit, "G-01", || {
            format!("a request of a source that is below its limits was limited: {packet:?}")
        })?;
        if is_limited {
            self.tally.limited += 1;
            let owner = self.routes.get(&packet.source);
            let owner = owner.map(|&number| &self.actors[number as usize].kind);
            let is_honest = charge.purse == Purse::Proven && matches!(owner, Some(Kind::Client(_)));
            return ensure(!is_honest, "G-02", || format!("a client was limited: {packet:?}"))
                .map(|()| false);
        }
        // An announce that is answered short is not served in full: it is counted where its answer is seen.
        if !matches!(packet.meaning, Meaning::Announce { .. }) {
            self.served(now, charge)?;
        }
        Ok(true)
    }

    fn served(&mut self, now: Millis, charge: &Charge) -> Result<(), Violation> {
        ensure(self.meters.is_within(now, charge), "G-03", || {
            format!("more is served than a source may have: {charge:?}")
        })
    }

    /// An announce was answered: has the model check it, with what the tracker found of memory.
    pub(crate) fn announced(
        &mut self,
        now: Millis,
        ask: &Announce,
        answer: Answer<'_>,
    ) -> Result<Note, Violation> {
        let shortage = self.server.shortage();
        if shortage.evicted {
            let swarms = self.server.tracker.swarms();
            self.model.evicted(now, shortage, |info_hash| {
                swarms.scrape(info_hash) != Counts::default()
            })?;
        }
        if matches!(answer, Answer::Refused(_)) && shortage.pressure != Pressure::Low {
            self.tally.refused_short += 1;
        }
        self.tally.evictions += u64::from(shortage.evicted);
        self.model.announced(now, ask, answer, shortage)
    }

    fn check_connect(
        &mut self,
        now: Millis,
        packet: &Packet,
        transaction: u32,
        reply: Option<&[u8]>,
    ) -> Result<(), Violation> {
        let reply = reply.unwrap_or_default();
        ensure(reply.len() <= packet.bytes.len(), "U-23", || {
            format!(
                "an unproven sender gets {} bytes for {}",
                reply.len(),
                packet.bytes.len()
            )
        })?;
        let right = reply.len() == 16 && wire::number(reply, 0) == 0 && wire::number(reply, 4) == transaction;
        ensure(right, "U-01", || {
            format!("{packet:?} was answered with {reply:?}")
        })?;
        let id = u64::from(wire::number(reply, 8)) << 32 | u64::from(wire::number(reply, 12));
        self.proofs.issued(now, packet.source.ip(), id);
        Ok(())
    }

    fn check_announce(
        &mut self,
        now: Millis,
        ask: &Announce,
        charge: &Charge,
        reply: &[u8],
    ) -> Result<Note, Violation> {
        let mut peers = Vec::new();
        let answer = if wire::number(reply, 0) == ERROR {
            Answer::Refused(&reply[8..])
        } else {
            ensure(wire::number(reply, 0) == 1 && reply.len() >= 20, "N-01", || {
                format!("an announce was answered with {reply:?}")
            })?;
            self.check_interval(wire::number(reply, 8))?;
            wire::compact_peers(&reply[20..], ask.peer.ip, &mut peers);
            self.check_truth(ask.info_hash, peers.iter().map(|(peer, _)| *peer))?;
            let cap = self.scenario.config.peers_per_response_max() as usize;
            let wanted = ask.numwant.map_or(50, |wanted| wanted as usize);
            let mut peers_max = wanted.min(cap).min(udp_peers_max(ask.peer.family()));
            let short = if ask.event == announce::Event::Started {
                peers_max.min(SHORT)
            } else {
                0
            };
            // A source over its limits has a few peers where it begins, and else none.
            if peers.len() <= short && self.meters.is_near(charge) {
                peers_max = short;
            } else {
                self.served(now, charge)?;
            }
            Answer::Given {
                incomplete: wire::number(reply, 12),
                complete: wire::number(reply, 16),
                peers: &mut peers,
                peers_max,
            }
        };
        let note = self.announced(now, ask, answer)?;
        self.tally.announced(&note);
        Ok(note)
    }

    /// The interval served must be the controller's, within its bounds.
    pub(crate) fn check_interval(&self, secs: u32) -> Result<(), Violation> {
        let bounds = self.scenario.config.intervals();
        ensure((bounds.min..=bounds.max).contains(&secs), "A-53", || {
            format!("an interval of {secs} s is served, outside {bounds:?}")
        })
    }

    /// No peer is handed out that its owner has not announced from its own address.
    pub(crate) fn check_truth(
        &mut self,
        info_hash: InfoHash,
        peers: impl Iterator<Item = Endpoint>,
    ) -> Result<(), Violation> {
        for peer in peers {
            let serving = self.truths.get(&(info_hash, peer)).ok_or_else(|| {
                Violation::new(
                    "X-05",
                    format!("{peer:?} was handed out, and nobody there announced {info_hash}"),
                )
            })?;
            self.tally.count_if_gone(*serving);
        }
        Ok(())
    }

    fn check_scrape(
        &mut self,
        now: Millis,
        info_hashes: &[InfoHash],
        reply: &[u8],
    ) -> Result<Note, Violation> {
        let (entries, rest) = reply[8..].as_chunks::<12>();
        let asked = info_hashes.len().min(74);
        let right = wire::number(reply, 0) == 2 && entries.len() == asked && rest.is_empty();
        ensure(right, "R-01", || {
            format!("a scrape of {asked} torrents was answered with {reply:?}")
        })?;
        for (info_hash, entry) in info_hashes.iter().zip(entries) {
            let counts = Counts {
                complete: wire::number(entry, 0),
                downloaded: wire::number(entry, 4),
                incomplete: wire::number(entry, 8),
            };
            self.model.scraped(now, *info_hash, counts)?;
        }
        Ok(Note::default())
    }

    fn maintain(&mut self) -> Result<(), Violation> {
        let now = self.server.time(self.now, &self.scenario.machine);
        let next = self.server.maintain(now, self.load.averages())?;
        let late = self.chance.below(self.scenario.machine.wake + 1);
        // The tracker's clock may be behind.
        let wait = next.saturating_sub(now).max(1) + late;
        self.queue.plan(self.now + wait, Event::Maintenance);
        Ok(())
    }

    /// Compares all that the tracker holds with the model.
    fn compare(&mut self) -> Result<(), Violation> {
        let now = self.server.time(self.now, &self.scenario.machine);
        let held = self.server.held();
        self.model.compare(now, &held)?;
        let totals = self.server.tracker.totals();
        let seeders = held.peers.values().filter(|peer| peer.seeder).count() as u64;
        ensure(
            totals.torrents == held.torrents.len() as u64
                && totals.peers() == held.peers.len() as u64
                && totals.seeders_v4 + totals.seeders_v6 == seeders,
            "X-02",
            || {
                format!(
                    "{totals:?} are said to be held, found are {} peers",
                    held.peers.len()
                )
            },
        )?;
        self.proofs.forget(now);
        self.tally.peers_max = self.tally.peers_max.max(totals.peers());
        self.tally.memory_bytes_max = self.tally.memory_bytes_max.max(self.server.memory());
        self.note(Happened::Compared(totals.peers()));
        if self.chance.hit(self.scenario.machine.restart) {
            self.server.restart(now)?;
            self.model.clear();
            self.meters.clear();
            self.close_all();
            self.note(Happened::Restarted);
        }
        self.queue.plan(self.now + HOUR, Event::Compare);
        Ok(())
    }

    pub(crate) fn region(&self, number: ActorId) -> u32 {
        match &self.actors[number as usize].kind {
            Kind::Client(client) => client.region,
            Kind::Attacker(attacker) => attacker.region,
            Kind::Absent => 0,
        }
    }

    /// How long something takes between an actor and the tracker; nothing if they are cut off.
    pub(crate) fn stream_delay(&mut self, number: ActorId) -> Option<Millis> {
        let region = self.region(number);
        let network = &self.scenario.network;
        let delay = network.delay(&mut self.actors[number as usize].network, region);
        (!network.is_cut(region, self.now, self.now + delay)).then_some(delay)
    }

    /// Takes a datagram and its reply into the transcript.
    fn note_datagram(&mut self, packet: &Packet, reply: Option<&[u8]>) {
        self.trace.write(&packet.bytes);
        self.trace.write(reply.unwrap_or_default());
        self.note(Happened::datagram(packet, reply));
    }

    pub(crate) fn note(&mut self, happened: Happened) {
        self.trace.write_u64(self.now);
        self.history.note(self.steps, self.now, happened);
    }

    /// Takes bytes of a connection into the transcript.
    pub(crate) fn note_bytes(&mut self, bytes: &[u8]) {
        self.trace.write_u64(self.now);
        self.trace.write(bytes);
    }
}

/// What a datagram costs its source.
fn charge(worker: usize, packet: &Packet) -> Charge {
    let (purse, price) = match &packet.meaning {
        Meaning::Connect { .. } => (Purse::Connect, 1.0),
        Meaning::Scrape { info_hashes, .. } => {
            let info_hashes = u32::try_from(info_hashes.len()).unwrap_or(u32::MAX);
            (Purse::Proven, 1.0 + 0.1 * f64::from(info_hashes))
        }
        Meaning::Announce { .. } | Meaning::Faulty { .. } | Meaning::Noise => (Purse::Proven, 1.0),
    };
    Charge {
        worker,
        ip: packet.source.ip(),
        purse,
        price,
    }
}

/// What a request is told whose source is over its limits.
const TOO_MANY: &[u8] = b"too many requests from your network: come back later";
/// The peers of a session that begins while its source is over its limits.
const SHORT: usize = 8;
/// Time that actors have to end what they are at.
const LEAVING: Millis = 5 * MINUTE;
/// Bytes that an empty tracker may hold beyond those of a new one.
const MEMORY_LEFT_MAX: i64 = 128 * 1024;
/// Datagrams that an eavesdropper remembers.
const TAP_MAX: usize = 64;
const ERROR: u32 = 3;
