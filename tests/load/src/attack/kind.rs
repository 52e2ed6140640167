//! The attacks that there are: who sends what, and how fast.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use etracker_core::announce::Event;
use etracker_core::udp::packet::{AnnounceRequest, RequestHead, ScrapeRequest};
use etracker_core::{InfoHash, PeerId};

use super::crowd::Member;
use crate::population::{PORT_MIN, Population};
use crate::sys::FRAME_LEN;
use crate::udp::{announce, put};

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: honest clients are measured alone.
    Calm,
    /// One address with a connection id announces known torrents.
    Proven,
    /// Connects in the name of others, each from another address.
    Connects,
    /// Announces of random torrents, each once.
    Hashes,
    /// Announces of random torrents, each once more later.
    HashesTwice,
    /// Scrapes and announces of all that is known, a thousand a second from each address.
    Crawler,
    /// 250 addresses of one /24 announce themselves into the honest clients' torrent.
    Poison24,
    /// 2000 /64s of one /48 do.
    Poison48,
    /// Datagrams that are no requests, or prove nothing.
    Junk,
    /// No attack: a thousand clients behind one address restart at once, with 20 torrents each.
    Nat,
    /// Connections over TLS, each with a handshake and an announce.
    Handshakes,
    /// Connections over TLS that are abandoned as soon as the tracker has signed.
    Hellos,
}

/// How fast an attacker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speed {
    /// As fast as the machine sends.
    Full,
    /// So many datagrams a second.
    Rate(u32),
    /// As fast as they are answered.
    Answered,
}

impl Kind {
    const NAMES: [(&'static str, Self); 12] = [
        ("calm", Self::Calm),
        ("proven", Self::Proven),
        ("connects", Self::Connects),
        ("hashes", Self::Hashes),
        ("hashes-twice", Self::HashesTwice),
        ("crawler", Self::Crawler),
        ("poison-24", Self::Poison24),
        ("poison-48", Self::Poison48),
        ("junk", Self::Junk),
        ("nat", Self::Nat),
        ("handshakes", Self::Handshakes),
        ("hellos", Self::Hellos),
    ];

    pub(super) fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, kind)| *kind == self);
        named.map(|(name, _)| *name).unwrap_or_default()
    }

    /// Addresses that have connection ids, unless the options say how many.
    pub(super) const fn sources(self) -> u32 {
        match self {
            Self::Proven | Self::Nat | Self::Handshakes | Self::Hellos => 1,
            Self::Hashes | Self::HashesTwice => 10_000,
            Self::Crawler => 16,
            Self::Poison24 => 250,
            Self::Poison48 => 2000,
            Self::Calm | Self::Connects | Self::Junk => 0,
        }
    }

    pub(super) const fn speed(self) -> Speed {
        match self {
            Self::Calm | Self::Nat => Speed::Rate(0),
            Self::Proven | Self::Connects | Self::Junk | Self::Handshakes | Self::Hellos => Speed::Full,
            Self::Hashes | Self::HashesTwice => Speed::Answered,
            Self::Crawler => Speed::Rate(16_000),
            Self::Poison24 | Self::Poison48 => Speed::Rate(5000),
        }
    }

    pub(crate) const fn is_poison(self) -> bool {
        matches!(self, Self::Poison24 | Self::Poison48)
    }

    /// Whether it comes over TLS.
    pub(super) const fn is_encrypted(self) -> bool {
        matches!(self, Self::Handshakes | Self::Hellos)
    }

    pub(super) const fn is_v6(self) -> bool {
        matches!(self, Self::Poison48)
    }

    /// An attacker's address.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower bits are what is wanted"
    )]
    pub(super) fn source(self, number: u32) -> IpAddr {
        match self {
            Self::Poison24 => Ipv4Addr::new(45, 9, 9, number as u8 + 1).into(),
            Self::Poison48 => Ipv6Addr::new(0x2a0f, 0xbad, 0, number as u16, 0, 0, 0, 1).into(),
            // Spread over networks: an odd factor gives each number another address.
            Self::Hashes | Self::HashesTwice | Self::Handshakes | Self::Hellos => {
                Ipv4Addr::from_bits(45 << 24 | number.wrapping_mul(0x9e37_79b1) & 0xff_ffff).into()
            }
            Self::Crawler => Ipv4Addr::new(45, number as u8, 1, 1).into(),
            Self::Calm | Self::Proven | Self::Connects | Self::Junk | Self::Nat => {
                Ipv4Addr::new(45, 1, 1, 1).into()
            }
        }
    }

    /// Whether an address that was handed out is an attacker's.
    pub(super) fn is_attackers(self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => ip.octets()[0] == 45,
            IpAddr::V6(ip) => ip.segments()[..3] == [0x2a0f, 0xbad, 0],
        }
    }

    /// Writes an attacker's next datagram: where it is said to come from, and how long it is.
    pub(super) fn write(self, next: &mut Next<'_>, out: &mut [u8; FRAME_LEN]) -> (IpAddr, usize) {
        let nth = next.nth;
        match self {
            Self::Connects => {
                let connect = RequestHead::connect(next.rng.u32(..));
                (forged(next.rng), put(&connect.encode(), out))
            }
            Self::Junk => (forged(next.rng), junk(next.rng, out)),
            Self::Crawler if nth.is_multiple_of(2) => {
                let member = next.member(nth / 2);
                (member.ip, crawl(next, member, out))
            }
            Self::Hashes => next.announce_of(random_hash(nth), nth, out),
            Self::HashesTwice => {
                let (block, rest) = (nth / (2 * AGAIN_AFTER), nth % AGAIN_AFTER);
                next.announce_of(random_hash(block * AGAIN_AFTER + rest), nth, out)
            }
            Self::Poison24 | Self::Poison48 => {
                let hash = next.population.info_hash(0);
                next.announce_of(InfoHash(hash), nth, out)
            }
            Self::Calm | Self::Proven | Self::Nat | Self::Crawler | Self::Handshakes | Self::Hellos => {
                let torrent = next.rng.u32(..next.population.torrents());
                next.announce_of(InfoHash(next.population.info_hash(torrent)), nth, out)
            }
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let named = Self::NAMES.iter().find(|(known, _)| *known == name);
        named.map(|(_, kind)| *kind).ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name).join(", ");
            format!("there are {names}")
        })
    }
}

/// What a datagram is made of.
pub(super) struct Next<'a> {
    pub(super) population: &'a Population,
    pub(super) members: &'a [Member],
    pub(super) rng: &'a mut fastrand::Rng,
    /// Datagrams written before.
    pub(super) nth: u64,
}

impl Next<'_> {
    fn member(&self, nth: u64) -> Member {
        self.members[index(nth, self.members.len())]
    }

    /// The announce of a torrent by the next member, each time it comes round from another port.
    fn announce_of(&self, info_hash: InfoHash, nth: u64, out: &mut [u8]) -> (IpAddr, usize) {
        let member = self.member(nth);
        let round = nth / self.members.len() as u64;
        let peer = self.population.peer(0, 0);
        let request = AnnounceRequest {
            info_hash,
            peer_id: PeerId(random_hash(nth).0),
            left: round % 2,
            event: Event::Started,
            numwant: 50,
            port: PORT_MIN + (round % PORTS) as u16,
            ..announce(self.population, &peer, member.connection_id, 1)
        };
        (member.ip, put(&request.encode(), out))
    }
}

fn crawl(next: &mut Next<'_>, member: Member, out: &mut [u8]) -> usize {
    let (population, torrents) = (next.population, next.population.torrents());
    let hashes = [(); CRAWLED].map(|()| population.info_hash(next.rng.u32(..torrents)));
    let request = ScrapeRequest {
        connection_id: member.connection_id,
        transaction_id: 1,
        info_hashes: &hashes,
    };
    request.encode(out)
}

/// Bytes by chance, an announce with a made-up id, or half of one.
fn junk(rng: &mut fastrand::Rng, out: &mut [u8; FRAME_LEN]) -> usize {
    let len = rng.usize(1..JUNK_MAX);
    match rng.u8(..3) {
        0 => rng.fill(&mut out[..len]),
        kind => {
            rng.fill(&mut out[..AnnounceRequest::LEN]);
            out[8..12].copy_from_slice(&1_u32.to_be_bytes());
            if kind == 1 {
                return AnnounceRequest::LEN;
            }
            return len % AnnounceRequest::LEN;
        }
    }
    len
}

/// Any address but those of others here.
fn forged(rng: &mut fastrand::Rng) -> IpAddr {
    Ipv4Addr::from_bits(rng.u32(60 << 24..127 << 24)).into()
}

fn random_hash(number: u64) -> InfoHash {
    let mut rng = fastrand::Rng::with_seed(number);
    let mut hash = [0; 20];
    rng.fill(&mut hash);
    InfoHash(hash)
}

fn index(nth: u64, len: usize) -> usize {
    usize::try_from(nth % len.max(1) as u64).unwrap_or_default()
}

/// Ports that an attacker announces, one after the other.
const PORTS: u64 = 64;
/// Torrents between the two announces of one.
const AGAIN_AFTER: u64 = 65_536;
/// Torrents that a crawler scrapes at once.
const CRAWLED: usize = 60;
const JUNK_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    /// What a number of datagrams of a kind are: sources and bytes.
    fn written(kind: Kind, count: u64) -> Vec<(IpAddr, Vec<u8>)> {
        let population = Population::new(20, 50, 5, 30).unwrap();
        let members: Vec<_> = (0..kind.sources())
            .map(|number| Member {
                ip: kind.source(number),
                connection_id: 7,
            })
            .collect();
        let (mut rng, mut out) = (fastrand::Rng::with_seed(1), [0; FRAME_LEN]);
        let write = |nth| {
            let mut next = Next {
                population: &population,
                members: &members,
                rng: &mut rng,
                nth,
            };
            let (ip, len) = kind.write(&mut next, &mut out);
            (ip, out[..len].to_vec())
        };
        (0..count).map(write).collect()
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, kind) in Kind::NAMES {
            assert_eq!((name.parse(), kind.name()), (Ok(kind), name));
        }
        assert!("x".parse::<Kind>().is_err());
    }

    #[test]
    fn attackers_are_where_they_are_said_to_be() {
        for (_, kind) in Kind::NAMES {
            let sources: HashSet<_> = (0..kind.sources()).map(|number| kind.source(number)).collect();
            assert_eq!(sources.len(), kind.sources() as usize, "{kind:?}");
            assert!(sources.iter().all(|&ip| kind.is_attackers(ip)), "{kind:?}");
        }
        let prefixes = |kind: Kind| -> HashSet<_> {
            (0..kind.sources())
                .map(|number| match kind.source(number) {
                    IpAddr::V4(ip) => u64::from(ip.to_bits() >> 8),
                    IpAddr::V6(ip) => (ip.to_bits() >> 80) as u64,
                })
                .collect()
        };
        assert_eq!(
            (prefixes(Kind::Poison24).len(), prefixes(Kind::Poison48).len()),
            (1, 1)
        );
        assert!(prefixes(Kind::Hashes).len() > 5000);
    }

    #[test]
    fn hashes_come_as_often_as_they_should() {
        for (kind, count, times) in [(Kind::Hashes, 1000, 1), (Kind::HashesTwice, 4 * AGAIN_AFTER, 2)] {
            let mut seen = HashMap::new();
            for (ip, bytes) in written(kind, count) {
                let (request, _) = AnnounceRequest::decode(&bytes).unwrap();
                seen.entry(request.info_hash)
                    .or_insert_with(HashSet::new)
                    .insert(ip);
            }
            assert!(seen.values().all(|sources| sources.len() == times), "{kind:?}");
        }
    }

    #[test]
    fn forged_datagrams_prove_nothing() {
        let connects = written(Kind::Connects, 1000);
        assert!(
            connects
                .iter()
                .all(|(_, bytes)| RequestHead::decode(bytes).is_some() && bytes.len() == 16)
        );
        assert!(connects.iter().collect::<HashSet<_>>().len() > 990);
        assert!(
            written(Kind::Junk, 1000)
                .iter()
                .all(|(ip, _)| !Kind::Junk.is_attackers(*ip))
        );
    }
}
