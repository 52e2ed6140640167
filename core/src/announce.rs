//! What clients ask and what swarms answer, the same for UDP and HTTP.

use core::net::{IpAddr, SocketAddr};

use crate::config::Intervals;
use crate::{InfoHash, PeerId};

/// Where a peer takes connections. A peer *is* its endpoint: the same one twice is one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address that the announce came from, never a mapped one.
    pub ip: IpAddr,
    /// The port that the announce named.
    pub port: u16,
}

impl Endpoint {
    /// The family of the address.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.ip)
    }

    /// Whether others could connect to it. Who cannot take connections announces port 0, or as libtorrent port 1.
    #[must_use]
    pub const fn is_reachable(&self) -> bool {
        self.port > 1
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint.ip, endpoint.port)
    }
}

/// An address family. Peers are handed out to askers of their own family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4: a compact peer takes 6 bytes (BEP 23).
    V4,
    /// IPv6: a compact peer takes 18 bytes (BEP 7).
    V6,
}

impl Family {
    /// The family of `ip`.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Bytes of a compact peer of this family.
    #[must_use]
    pub const fn compact_len(self) -> usize {
        match self {
            Self::V4 => 6,
            Self::V6 => 18,
        }
    }
}

/// The peers of a compact list (BEP 23, BEP 7). Bytes left over at its end are no peer.
pub fn compact_peers(family: Family, compact: &[u8]) -> impl Iterator<Item = Endpoint> {
    compact.chunks_exact(family.compact_len()).filter_map(|peer| {
        let (ip, port) = peer.split_last_chunk()?;
        let ip4 = <[u8; 4]>::try_from(ip).map(IpAddr::from);
        let ip = ip4.or_else(|_| <[u8; 16]>::try_from(ip).map(IpAddr::from));
        Some(Endpoint {
            ip: ip.ok()?,
            port: u16::from_be_bytes(*port),
        })
    })
}

/// Why a client announces (BEP 3, BEP 15, BEP 21).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Event {
    /// One of the announces at regular intervals.
    #[default]
    None,
    /// The first announce of a session.
    Started,
    /// The client leaves.
    Stopped,
    /// The download has just finished.
    Completed,
    /// A partial seed: it wants no more pieces (BEP 21).
    Paused,
}

/// One announce, whatever protocol it came by. Parsers make it, swarms execute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The id that the client chose.
    pub peer_id: PeerId,
    /// Source address and announced port.
    pub peer: Endpoint,
    /// Bytes still to download; 0 makes a seeder, nothing else does.
    pub left: u64,
    /// Why the client announces.
    pub event: Event,
    /// Peers wanted; `None` is the default of the tracker.
    pub numwant: Option<u32>,
}

impl Announce {
    /// Whether the client has everything.
    #[must_use]
    pub const fn is_seeder(&self) -> bool {
        self.left == 0
    }

    /// Whether others could [connect](Endpoint::is_reachable) to the peer.
    #[must_use]
    pub const fn is_reachable(&self) -> bool {
        self.peer.is_reachable()
    }
}

/// The counts of one torrent, over both address families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Seeders.
    pub complete: u32,
    /// Leechers.
    pub incomplete: u32,
    /// How often a download was reported as finished.
    pub downloaded: u32,
}

/// The answer to an announce, beside the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceOutcome {
    /// The counts after the announce, the announcer included.
    pub counts: Counts,
    /// Seconds after which the client should announce again.
    pub interval_secs: u32,
    /// Seconds before which the client should not announce again.
    pub interval_min_secs: u32,
    /// What the announce changed in its swarm.
    pub change: Change,
}

/// What happened to one stored peer. Observers of swarms, such as replication, need nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Nothing: the peer cannot be reached, or it stopped and was not stored.
    None,
    /// The peer was not stored before.
    Added {
        /// Whether `downloaded` rose.
        completed: bool,
    },
    /// The peer was stored before.
    Renewed {
        /// Minutes since its last announce, in the [steps](crate::config::SwarmConfig::minutes_per_step) of the store. A
        /// peer past its expiry may have been silent for longer than this says.
        after_minutes: u32,
        /// Whether it was a seeder before.
        was_seeder: bool,
        /// Whether `downloaded` rose.
        completed: bool,
    },
    /// The peer was stored and is removed.
    Removed {
        /// Whether it was a seeder.
        was_seeder: bool,
    },
}

impl AnnounceOutcome {
    /// The same answer with the longest interval.
    pub(crate) const fn postponed(self, intervals: Intervals) -> Self {
        Self {
            interval_secs: intervals.max,
            interval_min_secs: intervals.min_beside(intervals.max),
            ..self
        }
    }
}

/// Why a well-formed announce is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// No client can have the address: see [`Scope::Invalid`](crate::scope::Scope::Invalid).
    ImpossibleAddress,
    /// The address is not global, and the configuration refuses such peers.
    PrivateAddress,
    /// The tracker does not serve this torrent.
    TorrentDenied,
    /// The tracker does not serve this address.
    AddressDenied,
    /// The tracker holds as many torrents as it may.
    TorrentsFull,
    /// The swarm holds as many peers as it may.
    SwarmFull,
    /// The swarm holds as many peers of this address (IPv6: this /64) as it may.
    AddressFull,
}

impl Refusal {
    /// What the client is told: printable ASCII, short.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ImpossibleAddress => "no client can have your address: a proxy may have made it up",
            Self::PrivateAddress => "private addresses are not accepted here",
            Self::TorrentDenied => "this torrent is not served here",
            Self::AddressDenied => "your address is not served here",
            Self::TorrentsFull => "the tracker is full: no new torrents at the moment",
            Self::SwarmFull => "this swarm is full: no new peers at the moment",
            Self::AddressFull => "too many peers from your address in this swarm",
        }
    }
}

#[cfg(test)]
impl quickcheck::Arbitrary for Event {
    fn arbitrary(g: &mut quickcheck::Gen) -> Self {
        let events = [
            Self::None,
            Self::Started,
            Self::Stopped,
            Self::Completed,
            Self::Paused,
        ];
        *g.choose(&events).unwrap()
    }
}
