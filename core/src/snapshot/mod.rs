//! Snapshots of the swarms, which survive the process.
//!
//! A snapshot is [`MAGIC`], the [`VERSION`], and chunks. A chunk is the length of its body, a checksum over its number
//! and its body, and the body, so that damaged, missing, doubled and moved chunks are detected. The first chunk holds the
//! [`Header`], the last one the number of torrents and peers. Each one between can be decoded alone: it holds the minute of its
//! writing, then torrents, each with its peers. Numbers are little-endian, ports big-endian as in messages.
//!
//! [`Encoder`] works in steps between requests, [`Decoder`] takes pieces of any size, and [`Restorer`] puts the decoded entries
//! into a new tracker.

mod decode;
mod encode;
mod restore;
mod survey;
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
pub use survey::{PeersOfTorrent, Survey};

/// The header of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// When writing began.
    pub written: Instant,
    /// The seed of the tracker's connection ids. It is secret, and so is every snapshot.
    pub seed: Seed,
}

/// An entry of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A torrent, before its peers. One with very many peers may appear again, with 0 downloads.
    Torrent {
        /// Its info-hash.
        info_hash: InfoHash,
        /// Completed downloads.
        downloaded: u32,
    },
    /// A peer of the last torrent.
    Peer {
        /// The torrent.
        info_hash: InfoHash,
        /// The peer.
        peer: Peer,
    },
}

/// Why a snapshot cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The magic is missing.
    Foreign,
    /// The version is this one, which is not known.
    Version(u32),
    /// The chunk of this number is damaged; the first is 0.
    Chunk(u64),
    /// The last chunk is missing.
    Truncated,
    /// Bytes follow the last chunk.
    Trailing,
    /// The number of torrents or peers is not the one in the last chunk.
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
/// The version of the format described here.
pub const VERSION: u32 = 1;
/// Torrents and peers of one step, while one shard is locked: some tens of microseconds.
pub(crate) const STEP_WORK: usize = 1024;
/// Bytes of a body after which a new chunk begins.
const CHUNK_LEN: usize = 1 << 16;
/// Bytes of the longest body that is decoded: far more than encoders write.
const CHUNK_LEN_MAX: usize = 1 << 20;
/// Bytes before a body: length and checksum.
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
/// The peer has been a seeder. Older versions ignore this bit.
const BEEN_SEEDER: u8 = 0x08;

/// One chunk with a valid checksum, for tests and fuzzers of bodies.
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

/// A checksum against accidents. Its key is not secret, so it does not detect forgeries.
fn checksum(number: u64, body: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(&number.to_le_bytes());
    hasher.write(body);
    hasher.finish()
}
