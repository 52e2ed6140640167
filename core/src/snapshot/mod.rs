//! Swarms as bytes, so that they outlive the process.
//!
//! A snapshot is [`MAGIC`], the [`VERSION`], and chunks. A chunk is the length of its body, a checksum over its number
//! and its body, and the body; so a chunk that is damaged, missing, doubled or moved is noticed. The first one has the
//! [`Header`], the last one the number of torrents and peers; those between stand for themselves: the minute they were
//! written in, then torrents, each with its peers. Numbers are little-endian, ports as they are sent.
//!
//! [`Encoder`] writes one step by step while the swarms are served, [`Decoder`] reads one piece by piece, and
//! [`Restorer`] puts what it shows into a new tracker.

mod decode;
mod encode;
mod restore;
#[cfg(test)]
mod tests;

use core::error::Error;
use core::fmt;
use core::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use crate::swarm::Peer;
use crate::{InfoHash, Instant, Seed};

pub use decode::Decoder;
pub use encode::Encoder;
pub use restore::{Restored, Restorer};

/// What a snapshot says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// When writing began.
    pub written: Instant,
    /// What the connection ids of its tracker are made with. It is secret, and so is every snapshot.
    pub seed: Seed,
}

/// A part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A torrent, before its peers. One with very many peers may come again, with 0 downloads then.
    Torrent {
        /// Its name.
        info_hash: InfoHash,
        /// How often it was downloaded.
        downloaded: u32,
    },
    /// A peer of the torrent before it.
    Peer {
        /// The torrent.
        info_hash: InfoHash,
        /// The peer.
        peer: Peer,
    },
}

/// Why bytes are no snapshot that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// They do not begin like one.
    Foreign,
    /// It has this version, which is another one.
    Version(u32),
    /// This chunk is not what was written; the first is 0.
    Chunk(u64),
    /// There is no end.
    Truncated,
    /// Something comes after the end.
    Trailing,
    /// There are not as many torrents and peers as the end says.
    Incomplete,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("it is no state of a tracker"),
            Self::Version(version) => write!(f, "it has version {version}, and this tracker reads {VERSION}"),
            Self::Chunk(number) => write!(f, "it is damaged in chunk {number}"),
            Self::Truncated => f.write_str("its end is missing"),
            Self::Trailing => f.write_str("it goes on after its end"),
            Self::Incomplete => f.write_str("it does not hold as much as its end says"),
        }
    }
}

impl Error for Damage {}

/// The first bytes of a snapshot.
pub const MAGIC: [u8; 8] = *b"etracker";
/// The version of the form described here.
pub const VERSION: u32 = 1;
/// Torrents and peers of one step, while one shard is locked: some tens of microseconds.
pub(crate) const STEP_WORK: usize = 1024;
/// Bytes of a chunk's body from which a new one is begun.
const CHUNK_LEN: usize = 1 << 16;
/// Bytes of the longest body that is read: no writer comes near it.
const CHUNK_LEN_MAX: usize = 1 << 20;
/// Bytes before a body: its length and its checksum.
const CHUNK_HEAD_LEN: usize = 4 + 8;

/// The first byte of a body.
const HEADER: u8 = 0;
const ENTRIES: u8 = 1;
const END: u8 = 2;

/// The bits of an entry's first byte.
const TORRENT: u8 = 0x80;
const HAS_DOWNLOADS: u8 = 0x01;
const IS_SEEDER: u8 = 0x01;
const IS_V6: u8 = 0x02;
const HAS_ID: u8 = 0x04;
/// It has been a seeder. Trackers that do not know this bit pass over it.
const BEEN_SEEDER: u8 = 0x08;

/// One chunk, so that bodies of any bytes reach what reads them.
#[cfg(feature = "fuzzing")]
pub(crate) fn chunk(number: u64, body: &[u8]) -> alloc::vec::Vec<u8> {
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [
        &len.to_le_bytes(),
        checksum(number, body).to_le_bytes().as_slice(),
        body,
    ]
    .concat()
}

/// Against accidents, not against malice: it has no secret key.
fn checksum(number: u64, body: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(&number.to_le_bytes());
    hasher.write(body);
    hasher.finish()
}
