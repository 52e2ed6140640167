//! Honest clients: sessions that start, download, seed, and end well or badly, as seen by a tracker.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etracker_core::announce::{Endpoint, Event};
use etracker_core::{InfoHash, PeerId};

use crate::chance::{Chance, scaled};
use crate::http::{self, Ask, Form, HttpAsk, HttpRequest};
use crate::model::Note;
use crate::network::REGIONS;
use crate::queue::{EPOCH, MINUTE, Millis, SECOND};
use crate::scenario::Scenario;
use crate::streams::Peers;
use crate::violation::Violation;
use crate::wire::{self, ActorId, Packet, Wish};

/// The actions of an actor in one step, carried out by the world.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) packets: Vec<Packet>,
    pub(crate) requests: Vec<HttpRequest>,
    pub(crate) timers: Vec<(Millis, Timer)>,
    /// Endpoints that their owners have begun or ceased to serve a torrent at.
    pub(crate) truths: Vec<(InfoHash, Endpoint, bool)>,
    /// Places in [`LEARNED`], and how long it took a leecher to know so many peers.
    pub(crate) learned: Vec<(usize, Millis)>,
    /// Sessions of leechers that began.
    pub(crate) leechers: u64,
    pub(crate) violation: Option<Violation>,
}

/// When something happens to an actor, under which rules, and what comes of it.
pub(crate) struct Moment<'a> {
    pub(crate) now: Millis,
    pub(crate) scenario: &'a Scenario,
    pub(crate) out: &'a mut Out,
}

/// Numbers of peers: for each, the time is measured until a leecher knows so many.
pub(crate) const LEARNED: [usize; 4] = [1, 5, 20, 50];

/// What an actor asked to be woken for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    /// A session begins, or an attacker strikes.
    Begin,
    /// The session of this number ends.
    Leave(u32),
    /// A download of this session is complete.
    Complete(u32, usize),
    /// An announcer of this session has something to do, unless it has done something since.
    Due {
        session: u32,
        announcer: usize,
        turn: u32,
    },
}

/// One client with all its sessions.
#[derive(Debug)]
pub(crate) struct Client {
    chance: Chance,
    number: ActorId,
    pub(crate) region: u32,
    addresses: Vec<IpAddr>,
    http: bool,
    keep_alive: bool,
    dictionaries: bool,
    /// Its clock's seconds for each real one.
    rate: f64,
    /// Retransmissions before it gives up, at most 8 as BEP 15 has it.
    retransmissions_max: u32,
    /// The connection id of each address, and when it came.
    connections: Vec<Option<(u64, Millis)>>,
    sockets: Vec<u16>,
    sessions: u32,
    session: Option<Session>,
}

#[derive(Debug)]
struct Session {
    began: Millis,
    peer_id: PeerId,
    port: u16,
    leaving: bool,
    announcers: Vec<Announcer>,
}

/// A client of one torrent at one address.
#[derive(Debug)]
struct Announcer {
    info_hash: InfoHash,
    /// Which of the client's addresses it uses.
    address: usize,
    left: u64,
    event: Event,
    state: State,
    turn: u32,
    retransmissions: u32,
    luck: Luck,
    known: BTreeSet<Endpoint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Resting,
    Waiting { transaction: u32, since: Millis },
    Gone,
}

/// The tolerance for bad luck.
#[derive(Debug)]
struct Luck {
    /// The probability of having had no answer for as long as there was none.
    silence: f64,
    /// The probability of having been handed no seeder by as many uniform choices.
    missed: f64,
    learned: bool,
}

/// An outcome that is less probable than this is a fault.
const LUCK_MIN: f64 = 1e-12;

impl Client {
    pub(crate) fn new(number: ActorId, seed: u64, scenario: &Scenario, out: &mut Out) -> Self {
        let mut chance = Chance::of(seed, "client", number);
        let habits = &scenario.habits;
        let addresses = addresses(&mut chance, number, scenario);
        let skew = (chance.share() * 2.0 - 1.0) * habits.clock_skew;
        out.timers
            .push((EPOCH + chance.below(habits.arrival), Timer::Begin));
        Self {
            region: chance.number() % REGIONS,
            http: chance.hit(habits.http),
            keep_alive: chance.hit(habits.keep_alive),
            dictionaries: chance.hit(habits.dictionaries),
            rate: 1.0 + skew,
            retransmissions_max: if chance.hit(0.5) {
                8
            } else {
                chance.number() % 6 + 1
            },
            connections: vec![None; addresses.len()],
            sockets: addresses
                .iter()
                .map(|_| socket(&mut chance, number, scenario))
                .collect(),
            addresses,
            sessions: 0,
            session: None,
            number,
            chance,
        }
    }

    pub(crate) fn wake(&mut self, moment: &mut Moment<'_>, timer: Timer) {
        match timer {
            Timer::Begin => self.begin(moment),
            Timer::Leave(session) if session == self.sessions => self.leave(moment),
            Timer::Complete(session, announcer) if session == self.sessions => {
                self.complete(moment, announcer);
            }
            Timer::Due {
                session,
                announcer,
                turn,
            } if session == self.sessions => self.due(moment, announcer, turn),
            Timer::Leave(_) | Timer::Complete(..) | Timer::Due { .. } => {}
        }
    }

    /// A datagram has come.
    pub(crate) fn receive(&mut self, moment: &mut Moment<'_>, to: SocketAddr, bytes: &[u8], note: Note) {
        let (action, transaction) = (wire::number(bytes, 0), wire::number(bytes, 4));
        let Some(at) = self.waiting_for(to.ip(), transaction) else {
            return;
        };
        match action {
            CONNECTED => {
                let id = u64::from(wire::number(bytes, 8)) << 32 | u64::from(wire::number(bytes, 12));
                if let Some(announcer) = self.announcer(at) {
                    announcer.luck.silence = 1.0;
                    let address = announcer.address;
                    self.connections[address] = Some((id, moment.now));
                    self.transmit(moment, at);
                }
            }
            ANNOUNCED => {
                let mut peers = Vec::new();
                wire::compact_peers(bytes.get(20..).unwrap_or_default(), to.ip(), &mut peers);
                let peers = peers.iter().map(|(peer, _)| *peer);
                self.answered(moment, at, wire::number(bytes, 8), peers, note);
            }
            _ => self.refused(moment, at),
        }
    }

    /// An answer over HTTP has come: the interval and the peers, or none if the announce was refused.
    pub(crate) fn receive_http(
        &mut self,
        moment: &mut Moment<'_>,
        ask: &HttpAsk,
        answer: Option<Peers>,
        note: Note,
    ) {
        let Some(at) = self.waiting_for(ask.ip, ask.transaction) else {
            return;
        };
        match answer {
            Some((interval, peers)) => {
                self.answered(moment, at, interval, peers.into_iter(), note);
            }
            None => self.refused(moment, at),
        }
    }

    fn begin(&mut self, moment: &mut Moment<'_>) {
        if moment.now >= moment.scenario.end {
            return;
        }
        self.sessions += 1;
        let chance = &mut self.chance;
        let habits = &moment.scenario.habits;
        let port = if chance.hit(0.04) {
            u16::from(chance.hit(0.5))
        } else {
            chance.port()
        };
        let mut session = Session {
            began: moment.now,
            peer_id: PeerId(chance.bytes()),
            port,
            leaving: false,
            announcers: Vec::new(),
        };
        let torrents: BTreeSet<_> = (0..=chance.index(3))
            .map(|_| popular(chance, moment.scenario.torrents))
            .collect();
        for info_hash in torrents.into_iter().map(torrent) {
            let left = left_at_start(chance, habits.seeder_at_start);
            let completes = moment.now + chance.about(habits.download);
            if left > 0 {
                moment.out.leechers += 1;
            }
            for address in 0..self.addresses.len() {
                if left > 0 {
                    moment.out.timers.push((
                        completes,
                        Timer::Complete(self.sessions, session.announcers.len()),
                    ));
                }
                session.announcers.push(Announcer::new(info_hash, address, left));
            }
        }
        moment.out.timers.push((
            moment.now + chance.about(habits.online),
            Timer::Leave(self.sessions),
        ));
        for announcer in 0..session.announcers.len() {
            let at = moment.now + chance.below(10 * SECOND);
            moment.out.timers.push((at, due(self.sessions, announcer, 0)));
        }
        self.session = Some(session);
    }

    fn leave(&mut self, moment: &mut Moment<'_>) {
        let habits = &moment.scenario.habits;
        moment.out.timers.push((
            moment.now + MINUTE + self.chance.about(habits.offline),
            Timer::Begin,
        ));
        let Some(session) = &mut self.session else {
            return;
        };
        for announcer in &session.announcers {
            let ip = self.addresses[announcer.address];
            moment.out.truths.push((
                announcer.info_hash,
                Endpoint {
                    ip,
                    port: session.port,
                },
                false,
            ));
        }
        if self.chance.hit(habits.crash) {
            self.session = None;
            return;
        }
        session.leaving = true;
        for at in 0..session.announcers.len() {
            self.ask(moment, at, Event::Stopped);
        }
    }

    fn complete(&mut self, moment: &mut Moment<'_>, at: usize) {
        let leaving = self.session.as_ref().is_none_or(|session| session.leaving);
        let partial = self.chance.hit(moment.scenario.habits.paused);
        let Some(announcer) = self.announcer(at).filter(|_| !leaving) else {
            return;
        };
        if partial {
            self.ask(moment, at, Event::Paused);
        } else {
            announcer.left = 0;
            self.ask(moment, at, Event::Completed);
        }
    }

    /// Begins to announce `event`, whatever was under way.
    fn ask(&mut self, moment: &mut Moment<'_>, at: usize, event: Event) {
        if let Some(announcer) = self.announcer(at) {
            announcer.event = event;
            announcer.retransmissions = 0;
            self.transmit(moment, at);
        }
    }

    fn due(&mut self, moment: &mut Moment<'_>, at: usize, turn: u32) {
        let (http, region) = (self.http, self.region);
        let retransmissions_max = if http { 0 } else { self.retransmissions_max };
        let leaving = self.session.as_ref().is_some_and(|session| session.leaving);
        let pause = self.chance.range(5 * MINUTE..20 * MINUTE);
        let sessions = self.sessions;
        let Some(announcer) = self.announcer(at).filter(|announcer| announcer.turn == turn) else {
            return;
        };
        if let State::Waiting { since, .. } = announcer.state {
            announcer.luck.unheard(moment, http, region, since);
            if announcer.retransmissions >= retransmissions_max.min(if leaving { 2 } else { 8 }) {
                announcer.state = if leaving { State::Gone } else { State::Resting };
                announcer.turn += 1;
                moment
                    .out
                    .timers
                    .push((moment.now + pause, due(sessions, at, announcer.turn)));
                return;
            }
            announcer.retransmissions += 1;
        } else {
            announcer.retransmissions = 0;
        }
        self.transmit(moment, at);
    }

    /// Sends what is to be sent next: a connect, an announce, a request over HTTP.
    fn transmit(&mut self, moment: &mut Moment<'_>, at: usize) {
        let fresh = self.chance.number();
        let Some((address, wish)) = self.wish(at) else {
            return;
        };
        let transaction = match self.announcer(at) {
            // Some clients repeat themselves to the byte, others begin a new transaction.
            Some(Announcer {
                state: State::Waiting { transaction, .. },
                ..
            }) if fresh.is_multiple_of(2) => *transaction,
            Some(_) | None => fresh,
        };
        let ip = self.addresses[address];
        if wish.event != Event::Stopped {
            moment.out.truths.push((wish.info_hash, wish.from(ip).peer, true));
        }
        let wait = if self.http {
            moment
                .out
                .requests
                .push(self.http_request(address, transaction, wish, moment.scenario));
            HTTP_WAIT
        } else {
            self.send(moment, address, transaction, wish);
            let retransmissions = self
                .announcer(at)
                .map_or(0, |announcer| announcer.retransmissions);
            (15 * SECOND) << retransmissions
        };
        let (wait, session) = (scaled(wait, self.rate), self.sessions);
        if let Some(announcer) = self.announcer(at) {
            announcer.turn += 1;
            announcer.state = State::Waiting {
                transaction,
                since: moment.now,
            };
            moment
                .out
                .timers
                .push((moment.now + wait, due(session, at, announcer.turn)));
        }
    }

    fn wish(&mut self, at: usize) -> Option<(usize, Wish)> {
        let numwant = self.chance.pick(&NUMWANT).flatten();
        let session = self.session.as_ref()?;
        let announcer = session.announcers.get(at)?;
        let wish = Wish {
            info_hash: announcer.info_hash,
            peer_id: session.peer_id,
            port: session.port,
            left: announcer.left,
            event: announcer.event,
            numwant,
        };
        Some((announcer.address, wish))
    }

    fn send(&mut self, moment: &mut Moment<'_>, address: usize, transaction: u32, wish: Wish) {
        let chance = &mut self.chance;
        let habits = &moment.scenario.habits;
        if chance.hit(habits.rebinding) {
            self.sockets[address] = socket(chance, self.number, moment.scenario);
        }
        let source = SocketAddr::new(self.addresses[address], self.sockets[address]);
        let Some((id, _)) = self.connections[address].filter(|(_, came)| moment.now < came + MINUTE) else {
            moment.out.packets.push(wire::connect(source, transaction));
            return;
        };
        let tail = if chance.hit(habits.tail) {
            chance.pick(&TAILS).unwrap_or_default()
        } else {
            b""
        };
        moment
            .out
            .packets
            .push(wire::announce(source, transaction, id, wish, tail));
        if chance.hit(habits.scrape) {
            let torrents =
                (0..=chance.index(80)).map(|_| torrent(popular(chance, moment.scenario.torrents + 3)));
            let info_hashes = torrents.collect();
            moment
                .out
                .packets
                .push(wire::scrape(source, chance.number(), id, info_hashes));
        }
    }

    fn http_request(
        &mut self,
        address: usize,
        transaction: u32,
        wish: Wish,
        scenario: &Scenario,
    ) -> HttpRequest {
        let chance = &mut self.chance;
        let ip = self.addresses[address];
        let source = SocketAddr::new(ip, chance.port());
        let form = match self.dictionaries.then(|| chance.hit(0.7)) {
            None => Form::Compact,
            Some(true) => Form::Dictionaries,
            Some(false) => Form::DictionariesWithoutIds,
        };
        let ask = HttpAsk {
            ip,
            transaction,
            wish,
            form,
        };
        let mut bytes = http::announce(chance, &ask, self.keep_alive);
        let mut asks = vec![Ask::Announce(ask)];
        if chance.hit(scenario.habits.scrape) {
            let info_hashes: Vec<_> = (0..chance.index(60))
                .map(|_| torrent(popular(chance, scenario.torrents + 3)))
                .collect();
            bytes.extend(http::scrape(chance, &info_hashes, self.keep_alive));
            asks.push(if info_hashes.is_empty() {
                Ask::FullScrape
            } else {
                Ask::Scrape(info_hashes)
            });
        }
        HttpRequest {
            pieces: if chance.hit(0.1) { chance.index(30) + 1 } else { 1 },
            ends: chance.hit(0.1),
            ..HttpRequest::new(source, bytes, asks)
        }
    }

    fn answered(
        &mut self,
        moment: &mut Moment<'_>,
        at: usize,
        interval_secs: u32,
        peers: impl Iterator<Item = Endpoint>,
        note: Note,
    ) {
        let wait = scaled(u64::from(interval_secs) * SECOND, self.rate);
        let wait = wait + self.chance.below(wait / 20 + 1);
        let session = self.sessions;
        let Some((began, announcer)) = self.session.as_mut().and_then(|session| {
            session
                .announcers
                .get_mut(at)
                .map(|announcer| (session.began, announcer))
        }) else {
            return;
        };
        announcer.luck.heard(&note, announcer.left > 0, moment.out);
        announcer.learn(peers, moment.now - began, moment.out);
        announcer.turn += 1;
        announcer.state = if announcer.event == Event::Stopped {
            State::Gone
        } else {
            State::Resting
        };
        if !matches!(announcer.event, Event::Paused | Event::Stopped) {
            announcer.event = Event::None;
        }
        if announcer.state == State::Resting && moment.now < moment.scenario.end {
            moment
                .out
                .timers
                .push((moment.now + wait, due(session, at, announcer.turn)));
        }
    }

    /// The tracker has said no: the client tries again later.
    fn refused(&mut self, moment: &mut Moment<'_>, at: usize) {
        let wait = self.chance.range(10 * MINUTE..40 * MINUTE);
        let session = self.sessions;
        if let Some(announcer) = self.announcer(at) {
            announcer.luck.silence = 1.0;
            announcer.turn += 1;
            announcer.state = State::Resting;
            moment
                .out
                .timers
                .push((moment.now + wait, due(session, at, announcer.turn)));
        }
    }

    fn waiting_for(&self, ip: IpAddr, expected: u32) -> Option<usize> {
        let announcers = &self.session.as_ref()?.announcers;
        announcers.iter().position(|announcer| {
            matches!(announcer.state, State::Waiting { transaction, .. } if transaction == expected)
                && self.addresses[announcer.address] == ip
        })
    }

    fn announcer(&mut self, at: usize) -> Option<&mut Announcer> {
        let announcer = self.session.as_mut()?.announcers.get_mut(at);
        announcer.filter(|announcer| announcer.state != State::Gone)
    }
}

impl Announcer {
    const fn new(info_hash: InfoHash, address: usize, left: u64) -> Self {
        Self {
            info_hash,
            address,
            left,
            event: Event::Started,
            state: State::Resting,
            turn: 0,
            retransmissions: 0,
            luck: Luck {
                silence: 1.0,
                missed: 1.0,
                learned: false,
            },
            known: BTreeSet::new(),
        }
    }

    fn learn(&mut self, peers: impl Iterator<Item = Endpoint>, after: Millis, out: &mut Out) {
        let most = LEARNED[LEARNED.len() - 1];
        if self.left == 0 || self.known.len() >= most {
            return;
        }
        let before = self.known.len();
        self.known.extend(peers);
        for (at, wanted) in LEARNED.into_iter().enumerate() {
            if before < wanted && wanted <= self.known.len() {
                out.learned.push((at, after));
            }
        }
    }
}

impl Luck {
    /// An answer has come.
    fn heard(&mut self, note: &Note, leecher: bool, out: &mut Out) {
        self.silence = 1.0;
        if !leecher || self.learned || note.seeders == 0 {
            return;
        }
        self.learned = note.seeder_handed;
        // A uniform choice of some of the eligible misses all seeders with this probability.
        for taken in 0..note.handed {
            let left = note.eligible.saturating_sub(taken);
            let others = left.saturating_sub(note.seeders);
            self.missed *= share(others, left);
        }
        if !self.learned && self.missed < LUCK_MIN {
            out.violation = Some(Violation::new(
                "a leecher learns of a seeder",
                format!(
                    "a leecher was not told of one in spite of chances that leave {:.0e}",
                    self.missed
                ),
            ));
        }
    }

    /// No answer has come to what was sent `since`.
    fn unheard(&mut self, moment: &mut Moment<'_>, http: bool, region: u32, since: Millis) {
        // Over TCP, only a network that is cut off keeps answers back.
        let failure = moment.scenario.network.failure(region, since, moment.now);
        self.silence *= if http && failure < 1.0 { 0.0 } else { failure };
        if self.silence < LUCK_MIN {
            moment.out.violation = Some(Violation::new(
                "a client is answered",
                format!(
                    "a client had no answer in spite of chances that leave {:.0e}",
                    self.silence
                ),
            ));
        }
    }
}

/// The torrent of this number.
pub(crate) fn torrent(number: u32) -> InfoHash {
    let mut bytes = [0x2d; 20];
    // Neighbours are not to share a prefix, as hashes do not.
    bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_le_bytes());
    bytes[16..].copy_from_slice(&number.to_be_bytes());
    InfoHash(bytes)
}

/// One of so many torrents, of which few are popular.
fn popular(chance: &mut Chance, torrents: u32) -> u32 {
    let share = chance.share();
    crate::scenario::narrow(scaled(torrents.into(), share * share * share))
}

fn left_at_start(chance: &mut Chance, seeder: f64) -> u64 {
    if chance.hit(seeder) {
        return 0;
    }
    // Multiples of 2^32 and the largest number have deceived trackers that count in 32 bits.
    let odd = [1 << 32, 3 << 32, u64::MAX, 1];
    if chance.hit(0.1) {
        chance.pick(&odd).unwrap_or(1)
    } else {
        chance.range(1..1 << 35)
    }
}

fn addresses(chance: &mut Chance, number: ActorId, scenario: &Scenario) -> Vec<IpAddr> {
    let habits = &scenario.habits;
    let [_, high, middle, low] = number.to_be_bytes();
    let v4 = if chance.hit(habits.behind_nat) {
        // Translators that each serve some of the clients.
        Ipv4Addr::new(100, 64, 0, chance.byte() % 8)
    } else if chance.hit(habits.private_address) {
        Ipv4Addr::new(10, high, middle, low)
    } else {
        Ipv4Addr::new(20, high, middle, low)
    };
    // Two clients share a home, which has a /64 of its own in a /48 of its own.
    let home = 0x2a00_0db8_0000_0000_u64 + (u64::from(number / 2) << 16);
    let v6 = Ipv6Addr::from_bits(u128::from(home) << 64 | u128::from(number));
    if chance.hit(habits.v6_only) {
        vec![v6.into()]
    } else if chance.hit(habits.dual_stack) {
        vec![v4.into(), v6.into()]
    } else {
        vec![v4.into()]
    }
}

/// A port to send datagrams from. Translators give no two clients the same: one would get the other's answers.
fn socket(chance: &mut Chance, number: ActorId, scenario: &Scenario) -> u16 {
    let clients = u64::from(scenario.clients).clamp(1, u64::from(PORTS));
    let own = u64::from(PORTS) / clients;
    let port = chance.below(own) * clients + u64::from(number) % clients;
    u16::MAX - u16::try_from(port).unwrap_or_default()
}

const fn due(session: u32, announcer: usize, turn: u32) -> Timer {
    Timer::Due {
        session,
        announcer,
        turn,
    }
}

#[expect(clippy::cast_precision_loss, reason = "swarms are far smaller than 2^52")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

/// Ports above the well-known ones.
const PORTS: u16 = u16::MAX - 1023;
const CONNECTED: u32 = 0;
const ANNOUNCED: u32 = 1;
/// How long a client waits for an answer over HTTP.
const HTTP_WAIT: Millis = MINUTE;
const NUMWANT: [Option<u32>; 10] = [
    None,
    None,
    None,
    None,
    Some(0),
    Some(1),
    Some(30),
    Some(80),
    Some(200),
    Some(u32::MAX),
];
/// What stands after an announce: padding, a URL, an unknown option, one that is cut short.
const TAILS: [&[u8]; 4] = [
    b"\x00\x00",
    b"\x02\x09/announce\x00",
    b"\x07\x02xx\x01\x02\x01/",
    b"\x02\xff/",
];
