//! What clients send over UDP (BEP 15), written from the specification and not with the core's own code, and what it
//! means.

use std::net::{IpAddr, SocketAddr};

use etracker_core::announce::{Announce, Endpoint, Event};
use etracker_core::{InfoHash, PeerId};

/// The number of an actor: a client or an attacker.
pub(crate) type ActorId = u32;

/// A datagram on its way to the tracker.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// The address that the tracker will see.
    pub(crate) source: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    pub(crate) meaning: Meaning,
}

/// What a tracker should understand, if it believes the sender.
#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    Connect {
        transaction: u32,
    },
    Announce {
        transaction: u32,
        connection_id: u64,
        wish: Wish,
    },
    Scrape {
        transaction: u32,
        connection_id: u64,
        info_hashes: Vec<InfoHash>,
    },
    /// A request that cannot be carried out: an error for those who have proved their address.
    Faulty {
        transaction: u32,
        connection_id: u64,
    },
    /// Nothing that is ever answered.
    Noise,
}

/// An announce as its sender means it; the address is the one that it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) info_hash: InfoHash,
    pub(crate) peer_id: PeerId,
    pub(crate) port: u16,
    pub(crate) left: u64,
    pub(crate) event: Event,
    pub(crate) numwant: Option<u32>,
}

impl Wish {
    /// The announce that reaches the tracker from `ip`.
    pub(crate) const fn from(self, ip: IpAddr) -> Announce {
        Announce {
            info_hash: self.info_hash,
            peer_id: self.peer_id,
            peer: Endpoint { ip, port: self.port },
            left: self.left,
            event: self.event,
            numwant: self.numwant,
        }
    }
}

pub(crate) fn connect(source: SocketAddr, transaction: u32) -> Packet {
    let bytes = [
        PROTOCOL_ID.to_be_bytes().as_slice(),
        &0u32.to_be_bytes(),
        &transaction.to_be_bytes(),
    ]
    .concat();
    Packet {
        source,
        bytes,
        meaning: Meaning::Connect { transaction },
    }
}

/// An announce, followed by `tail`: nothing, padding, or the options of BEP 41.
pub(crate) fn announce(
    source: SocketAddr,
    transaction: u32,
    connection_id: u64,
    wish: Wish,
    tail: &[u8],
) -> Packet {
    let event: u32 = match wish.event {
        Event::None => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
        Event::Paused => 4,
    };
    let numwant = wish
        .numwant
        .map_or(-1, |wanted| i32::try_from(wanted).unwrap_or(i32::MAX));
    let mut bytes = request(connection_id, 1, transaction);
    bytes.extend_from_slice(&wish.info_hash.0);
    bytes.extend_from_slice(&wish.peer_id.0);
    for amount in [0, wish.left, 0] {
        bytes.extend_from_slice(&amount.to_be_bytes());
    }
    bytes.extend_from_slice(&event.to_be_bytes());
    // The address that the client claims and its key, which a tracker must not believe.
    bytes.extend_from_slice(&[203, 0, 113, 99, 1, 2, 3, 4]);
    bytes.extend_from_slice(&numwant.to_be_bytes());
    bytes.extend_from_slice(&wish.port.to_be_bytes());
    bytes.extend_from_slice(tail);
    let meaning = Meaning::Announce {
        transaction,
        connection_id,
        wish,
    };
    Packet {
        source,
        bytes,
        meaning,
    }
}

pub(crate) fn scrape(
    source: SocketAddr,
    transaction: u32,
    connection_id: u64,
    info_hashes: Vec<InfoHash>,
) -> Packet {
    let mut bytes = request(connection_id, 2, transaction);
    info_hashes
        .iter()
        .for_each(|info_hash| bytes.extend_from_slice(&info_hash.0));
    let meaning = Meaning::Scrape {
        transaction,
        connection_id,
        info_hashes,
    };
    Packet {
        source,
        bytes,
        meaning,
    }
}

/// The 16 bytes that requests begin with.
pub(crate) fn request(connection_id: u64, action: u32, transaction: u32) -> Vec<u8> {
    [
        connection_id.to_be_bytes().as_slice(),
        &action.to_be_bytes(),
        &transaction.to_be_bytes(),
    ]
    .concat()
}

/// The number that connects carry in place of a connection id.
pub(crate) const PROTOCOL_ID: u64 = 0x0417_2710_1980;

/// The big-endian number at `at`; 0 where the datagram is too short.
pub(crate) fn number(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_be_bytes(*field))
}

/// Compact peers of the family of `asker` (BEP 15, BEP 7).
pub(crate) fn compact_peers(bytes: &[u8], asker: IpAddr, peers: &mut Vec<(Endpoint, Option<PeerId>)>) {
    peers.clear();
    if asker.is_ipv4() {
        peers.extend(
            bytes
                .as_chunks::<6>()
                .0
                .iter()
                .map(|[a, b, c, d, port @ ..]| (endpoint([*a, *b, *c, *d].into(), *port), None)),
        );
    } else {
        peers.extend(bytes.as_chunks::<18>().0.iter().map(|peer| {
            let ip: [u8; 16] = std::array::from_fn(|at| peer[at]);
            (endpoint(ip.into(), [peer[16], peer[17]]), None)
        }));
    }
}

const fn endpoint(ip: IpAddr, port: [u8; 2]) -> Endpoint {
    Endpoint {
        ip,
        port: u16::from_be_bytes(port),
    }
}
