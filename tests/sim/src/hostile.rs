//! Attackers, which forge, replay, garble, flood, spray, or are slow.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etracker_core::announce::Event;
use etracker_core::{InfoHash, PeerId};

use crate::chance::Chance;
use crate::client::{Out, Timer, torrent};
use crate::http::{self, Ask, Form, HttpAsk, HttpRequest};
use crate::network::REGIONS;
use crate::queue::{EPOCH, HOUR, MINUTE, Millis, SECOND};
use crate::scenario::{Hostility, Scenario};
use crate::wire::{self, ActorId, Meaning, PROTOCOL_ID, Packet, Wish};

/// The kind of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Craft {
    /// Forges senders, with invented connection ids or its own.
    Spoof,
    /// Replays datagrams of other clients, from its own address or with forged senders.
    Replay,
    /// Sends malformed or invalid requests.
    Garble,
    /// Sends all of that, hundreds at once.
    Flood,
    /// Announces ever new torrents and ports.
    Spray,
    /// Connects and announces in the name of hundreds at once, each another one.
    Forge,
    /// Announces up to thousands of random torrents at once, once or twice, and never again.
    Hashes,
    /// Keeps connections waiting, or sends nonsense over them.
    Slow,
    /// Scrapes and announces a thousand times a second, for up to a minute.
    Crawl,
    /// Announces endpoints of a network of its own, a /24 or a /48, into one swarm.
    Poison,
}

/// One attacker at one address.
#[derive(Debug)]
pub(crate) struct Attacker {
    craft: Craft,
    chance: Chance,
    pub(crate) region: u32,
    source: SocketAddr,
    connection: Option<(u64, Millis)>,
    /// Others' datagrams, kept to be sent later.
    kept: VecDeque<Packet>,
    /// The endpoints of a poisoner, each with its connection id, and its torrent.
    endpoints: Vec<(SocketAddr, Option<(u64, Millis)>)>,
    torrent: InfoHash,
    /// Until when a crawler crawls.
    until: Millis,
}

/// The datagrams that an eavesdropper has seen last.
pub(crate) type Tap = VecDeque<Packet>;

impl Attacker {
    pub(crate) fn new(number: ActorId, craft: Craft, seed: u64, scenario: &Scenario, out: &mut Out) -> Self {
        let mut chance = Chance::of(seed, "attacker", number);
        let [_, high, middle, low] = number.to_be_bytes();
        let ip: IpAddr = if chance.hit(0.2) {
            Ipv6Addr::new(0x2a00, 0xdb8, 0xbad, 0, 0, 0, middle.into(), low.into()).into()
        } else {
            Ipv4Addr::new(45, high, middle, low).into()
        };
        out.timers.push((EPOCH + chance.below(HOUR), Timer::Begin));
        let (region, source) = (chance.number() % REGIONS, SocketAddr::new(ip, chance.port()));
        let endpoints = if craft == Craft::Poison {
            foothold(&mut chance, number)
        } else {
            Vec::new()
        };
        Self {
            craft,
            region,
            source,
            connection: None,
            kept: VecDeque::new(),
            endpoints: endpoints.into_iter().map(|endpoint| (endpoint, None)).collect(),
            torrent: torrent(chance.number() % scenario.torrents.max(1)),
            until: 0,
            chance,
        }
    }

    /// Strikes once.
    pub(crate) fn wake(&mut self, now: Millis, tap: &Tap, scenario: &Scenario, out: &mut Out) {
        if now >= scenario.end {
            return;
        }
        let pause = self.pause(now, scenario.hostility.pause);
        out.timers.push((now + pause, Timer::Begin));
        // Some ids are kept for longer than they are good for.
        let stale = self
            .connection
            .is_none_or(|(_, came)| now > came + self.chance.below(5 * MINUTE));
        if stale && self.chance.hit(0.7) {
            let transaction = self.chance.number();
            out.packets.push(wire::connect(self.source, transaction));
        }
        match self.craft {
            Craft::Spoof => self.spoof(tap, out),
            Craft::Replay => self.replay(tap, out),
            Craft::Garble => self.garble(tap, out),
            Craft::Flood => {
                for _ in 0..self.chance.range(50..400) {
                    match self.chance.below(3) {
                        0 => self.spoof(tap, out),
                        1 => self.replay(tap, out),
                        _ => self.garble(tap, out),
                    }
                }
            }
            Craft::Spray => self.spray(out),
            Craft::Forge => self.forge(out),
            Craft::Hashes => self.flood_with_hashes(out),
            Craft::Slow => self.dawdle(out),
            Craft::Crawl => self.crawl(scenario, out),
            Craft::Poison => self.poison(now, out),
        }
    }

    /// Whether this is an address of the attacker's own.
    pub(crate) fn is_at(&self, address: SocketAddr) -> bool {
        address == self.source || self.endpoints.iter().any(|(endpoint, _)| *endpoint == address)
    }

    pub(crate) fn receive(&mut self, now: Millis, to: SocketAddr, bytes: &[u8]) {
        if wire::number(bytes, 0) != 0 || bytes.len() != 16 {
            return;
        }
        let id = u64::from(wire::number(bytes, 8)) << 32 | u64::from(wire::number(bytes, 12));
        let mut endpoints = self.endpoints.iter_mut();
        match endpoints.find(|(endpoint, _)| *endpoint == to) {
            Some((_, connection)) => *connection = Some((id, now)),
            None => self.connection = Some((id, now)),
        }
    }

    /// The time until the next strike.
    fn pause(&mut self, now: Millis, pause: Millis) -> Millis {
        match self.craft {
            Craft::Flood | Craft::Forge => self.chance.about(pause * 60),
            Craft::Hashes => self.chance.about(pause * 20),
            Craft::Crawl if now < self.until => SECOND,
            Craft::Crawl => {
                let pause = self.chance.about(pause * 360);
                self.until = now + pause + self.chance.range(5..60) * SECOND;
                pause
            }
            Craft::Spoof | Craft::Replay | Craft::Garble | Craft::Spray | Craft::Slow | Craft::Poison => {
                self.chance.about(pause)
            }
        }
    }

    fn spoof(&mut self, tap: &Tap, out: &mut Out) {
        let Some(victim) = tap.get(self.chance.index(tap.len())) else {
            return;
        };
        let chance = &mut self.chance;
        if chance.hit(0.3) {
            out.packets.push(wire::connect(victim.source, chance.number()));
            return;
        }
        let own = self.connection.map_or(0, |(id, _)| id);
        let id = match chance.below(6) {
            0 => chance.wide(),
            1 => PROTOCOL_ID,
            2 => 0,
            // The right tick, and a guess at the rest.
            3 => own & 0xff << 56 | chance.wide() >> 8,
            4 => own ^ 1 << chance.below(56),
            _ => own,
        };
        let wish = match &victim.meaning {
            Meaning::Announce { wish, .. } => Wish {
                port: chance.port(),
                event: chance
                    .pick(&[Event::Stopped, Event::None, Event::Completed])
                    .unwrap_or_default(),
                ..*wish
            },
            Meaning::Connect { .. } | Meaning::Scrape { .. } | Meaning::Faulty { .. } | Meaning::Noise => {
                own_wish(chance, torrent(0))
            }
        };
        out.packets
            .push(wire::announce(victim.source, chance.number(), id, wish, b""));
    }

    fn replay(&mut self, tap: &Tap, out: &mut Out) {
        let Some(seen) = tap.get(self.chance.index(tap.len())) else {
            return;
        };
        let mut stolen = seen.clone();
        if self.chance.hit(0.7) {
            stolen.source = self.source;
        }
        if self.chance.hit(0.5) {
            self.kept.push_back(stolen);
        } else {
            out.packets.push(stolen);
        }
        if self.kept.len() > KEPT_MAX {
            out.packets.extend(self.kept.pop_front());
        }
    }

    fn garble(&mut self, tap: &Tap, out: &mut Out) {
        let own = self.connection.map_or(0, |(id, _)| id);
        let chance = &mut self.chance;
        let transaction = chance.number();
        let (bytes, meaning) = match chance.below(8) {
            0 => {
                let len = chance.index(2000);
                (chance.vec(len), Meaning::Noise)
            }
            1 => (damaged(chance, tap), Meaning::Noise),
            2 => (wire::request(PROTOCOL_ID + 1, 0, transaction), Meaning::Noise),
            // An error is never answered: two trackers would go on for ever.
            3 => (wire::request(own, 3, transaction), Meaning::Noise),
            4 => {
                let padding = chance.index(60);
                let bytes = [wire::connect(self.source, transaction).bytes, vec![0; padding]].concat();
                (bytes, Meaning::Connect { transaction })
            }
            kind => {
                let (action, rest) = match kind {
                    5 => (1, chance.index(82)),
                    6 => (2, chance.index(20)),
                    _ => (chance.number().max(4), chance.index(200)),
                };
                let mut bytes = wire::request(own, action, transaction);
                bytes.extend(chance.vec(rest));
                let meaning = Meaning::Faulty {
                    transaction,
                    connection_id: own,
                };
                (bytes, meaning)
            }
        };
        out.packets.push(Packet {
            source: self.source,
            bytes,
            meaning,
        });
    }

    fn spray(&mut self, out: &mut Out) {
        let Some((id, _)) = self.connection else {
            return;
        };
        let chance = &mut self.chance;
        let same = torrent(chance.number() % 2);
        let ports = chance.hit(0.3);
        for _ in 0..chance.range(1..40) {
            let info_hash = if ports { same } else { InfoHash(chance.bytes()) };
            let wish = own_wish(chance, info_hash);
            out.truths
                .push((info_hash, wish.from(self.source.ip()).peer, true));
            out.packets
                .push(wire::announce(self.source, chance.number(), id, wish, b""));
        }
    }

    fn forge(&mut self, out: &mut Out) {
        let chance = &mut self.chance;
        for _ in 0..chance.range(100..FORGED_MAX) {
            let source = SocketAddr::new(
                Ipv4Addr::from_bits(chance.number() | 0x5000_0000).into(),
                chance.port(),
            );
            let packet = if chance.hit(0.9) {
                wire::connect(source, chance.number())
            } else {
                let wish = own_wish(chance, torrent(0));
                wire::announce(source, chance.number(), chance.wide(), wish, b"")
            };
            out.packets.push(packet);
        }
    }

    /// Below what one source may send at once, so that each is stored.
    fn flood_with_hashes(&mut self, out: &mut Out) {
        let Some((id, _)) = self.connection else {
            return;
        };
        let chance = &mut self.chance;
        let twice = chance.hit(0.5);
        for _ in 0..chance.range(100..HASHES_MAX) {
            let info_hash = InfoHash(chance.bytes());
            let wish = own_wish(chance, info_hash);
            out.truths
                .push((info_hash, wish.from(self.source.ip()).peer, true));
            for _ in 0..=u32::from(twice) {
                out.packets
                    .push(wire::announce(self.source, chance.number(), id, wish, b""));
            }
        }
    }

    /// A second of it. A crawler has one port, as a client has.
    fn crawl(&mut self, scenario: &Scenario, out: &mut Out) {
        let Some((id, _)) = self.connection else {
            return;
        };
        let (source, chance) = (self.source, &mut self.chance);
        for _ in 0..CRAWLED {
            let transaction = chance.number();
            if chance.hit(0.5) {
                let asked = (0..chance.range(1..20)).map(|_| torrent(chance.number() % scenario.torrents));
                out.packets
                    .push(wire::scrape(source, transaction, id, asked.collect()));
                continue;
            }
            let info_hash = torrent(chance.number() % scenario.torrents);
            let wish = Wish {
                port: source.port(),
                ..own_wish(chance, info_hash)
            };
            out.truths.push((info_hash, wish.from(source.ip()).peer, true));
            out.packets
                .push(wire::announce(source, transaction, id, wish, b""));
        }
    }

    fn poison(&mut self, now: Millis, out: &mut Out) {
        let chance = &mut self.chance;
        for _ in 0..POISONED {
            let at = chance.index(self.endpoints.len());
            let Some((source, connection)) = self.endpoints.get(at).copied() else {
                return;
            };
            let transaction = chance.number();
            let Some((id, _)) = connection.filter(|(_, came)| now < came + MINUTE) else {
                out.packets.push(wire::connect(source, transaction));
                continue;
            };
            let wish = Wish {
                port: source.port(),
                event: Event::None,
                ..own_wish(chance, self.torrent)
            };
            out.truths.push((self.torrent, wish.from(source.ip()).peer, true));
            out.packets
                .push(wire::announce(source, transaction, id, wish, b""));
        }
    }

    fn dawdle(&mut self, out: &mut Out) {
        let chance = &mut self.chance;
        let source = SocketAddr::new(self.source.ip(), chance.port());
        let wish = own_wish(chance, torrent(1));
        let ask = HttpAsk {
            ip: source.ip(),
            transaction: 0,
            wish,
            form: Form::Compact,
        };
        let whole = http::announce(chance, &ask, true);
        let mut request = HttpRequest::new(source, whole, vec![Ask::Announce(ask)]);
        match chance.below(8) {
            // A byte a second, which the deadline cuts off.
            0 => (request.pieces, request.pause) = (request.bytes.len(), SECOND),
            // Nothing at all.
            1 => (request.bytes, request.asks) = (Vec::new(), Vec::new()),
            2 => request.reads = false,
            // Half a request, and then either silence or the end.
            3 => {
                request.bytes.truncate(chance.index(request.bytes.len()));
                request.asks = vec![Ask::Nonsense];
                request.ends = chance.hit(0.5);
            }
            4 => {
                let len = chance.index(40_000);
                (request.bytes, request.asks) = (chance.vec(len), vec![Ask::Nonsense; 99]);
            }
            5 => {
                let endless = [b"GET /announce?".to_vec(), vec![b'a'; 40_000]].concat();
                (request.bytes, request.asks) = (endless, vec![Ask::Nonsense]);
            }
            6 => {
                let text = chance.pick(&NONSENSE).unwrap_or_default();
                (request.bytes, request.asks) = (text.to_vec(), vec![Ask::Nonsense]);
            }
            _ => {
                let times = chance.index(40) + 1;
                (request.bytes, request.asks) =
                    (request.bytes.repeat(times), vec![Ask::Announce(ask); times]);
            }
        }
        let endpoint = wish.from(source.ip()).peer;
        out.truths.push((wish.info_hash, endpoint, true));
        out.requests.push(request);
    }
}

/// The crafts of all attackers of a run.
pub(crate) fn crafts(hostility: &Hostility) -> Vec<Craft> {
    let counts = [
        (Craft::Spoof, hostility.spoofers),
        (Craft::Replay, hostility.replayers),
        (Craft::Garble, hostility.garblers),
        (Craft::Flood, hostility.flooders),
        (Craft::Spray, hostility.sprayers),
        (Craft::Slow, hostility.slow),
        (Craft::Forge, hostility.forgers),
        (Craft::Hashes, hostility.hash_floods),
        (Craft::Crawl, hostility.crawlers),
        (Craft::Poison, hostility.poisoners),
    ];
    let each = counts
        .into_iter()
        .flat_map(|(craft, count)| (0..count).map(move |_| craft));
    each.collect()
}

/// Some endpoints of a /24, or of as many /64s of a /48.
fn foothold(chance: &mut Chance, number: ActorId) -> Vec<SocketAddr> {
    let [_, _, middle, low] = number.to_be_bytes();
    let v6 = chance.hit(0.4);
    let ends = 1..u8::try_from(chance.range(20..255)).unwrap_or(u8::MAX);
    let address = |host: u8| -> IpAddr {
        if v6 {
            Ipv6Addr::new(0x2a00, 0xdb8, 0xd000 | u16::from(low), host.into(), 0, 0, 0, 1).into()
        } else {
            Ipv4Addr::new(46, middle, low, host).into()
        }
    };
    ends.map(|host| SocketAddr::new(address(host), chance.port()))
        .collect()
}

fn own_wish(chance: &mut Chance, info_hash: InfoHash) -> Wish {
    Wish {
        info_hash,
        peer_id: PeerId(chance.bytes()),
        port: chance.port(),
        left: chance.below(2),
        event: chance
            .pick(&[Event::Started, Event::None, Event::Completed, Event::Paused])
            .unwrap_or_default(),
        numwant: Some(chance.number() % 300),
    }
}

/// A client's announce or scrape with flipped bits or a missing end, without a valid connection id.
fn damaged(chance: &mut Chance, tap: &Tap) -> Vec<u8> {
    let proven =
        |packet: &&Packet| matches!(packet.meaning, Meaning::Announce { .. } | Meaning::Scrape { .. });
    let Some(victim) = tap.iter().find(proven) else {
        return Vec::new();
    };
    let mut bytes = victim.bytes.clone();
    for _ in 0..chance.index(5) {
        let at = chance.index(bytes.len());
        bytes[at] ^= 1 << chance.below(8);
    }
    if chance.hit(0.5) {
        bytes.truncate(chance.index(bytes.len()));
    }
    bytes
}

/// Datagrams that a replayer holds back.
const KEPT_MAX: usize = 20;
const NONSENSE: [&[u8]; 7] = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /announce?info_hash=%zz HTTP/1.1\r\n\r\n",
    b"GET /announce?port=7&left=0 HTTP/1.0\r\n\r\n",
    b"POST /announce HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /scrape?info_hash=short HTTP/1.1\r\nHost: t\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /nothing HTTP/1.1\nHost: t\n\n",
];
/// Datagrams that a forger sends at once.
const FORGED_MAX: u64 = 1000;
/// Requests of a crawler in a second, and of a poisoner at once.
const CRAWLED: u32 = 1000;
const POISONED: u32 = 40;
/// Torrents of a flood of hashes: one source may announce 20,000 at once.
const HASHES_MAX: u64 = 2000;
