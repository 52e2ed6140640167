//! Decodes snapshots.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::announce::Endpoint;
use crate::swarm::Peer;
use crate::time::Minute;
use crate::{InfoHash, Instant, PeerId, Seed};

use super::{
    BEEN_SEEDER, CHUNK_LEN_MAX, Damage, END, ENTRIES, Entry, HAS_DOWNLOADS, HAS_ID, HEADER, Header,
    IS_SEEDER, IS_V6, MAGIC, TORRENT, VERSION, checksum,
};

/// Decodes a snapshot in pieces of any size: [`feed`](Self::feed) each, then [`finish`](Self::finish).
///
/// Only `finish` shows that the snapshot is whole: after an error, discard all entries that `on_entry` has received.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The bytes of an incomplete chunk.
    pending: Vec<u8>,
    begun: bool,
    chunks: u64,
    header: Option<Header>,
    ended: bool,
    torrents: u64,
    peers: u64,
}

impl Decoder {
    /// A decoder before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes, and passes each entry of the chunks that they complete to `on_entry`.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn feed(&mut self, bytes: &[u8], on_entry: &mut impl FnMut(&Header, Entry)) -> Result<(), Damage> {
        let mut pending = core::mem::take(&mut self.pending);
        pending.extend(bytes);
        let mut rest = pending.as_slice();
        if !self.begun {
            rest = self.begin(rest)?;
        }
        while self.begun
            && let Some((body, after)) = self.chunk(rest)?
        {
            self.read_chunk(body, on_entry)?;
            self.chunks += 1;
            rest = after;
        }
        let read = pending.len() - rest.len();
        pending.drain(..read);
        self.pending = pending;
        Ok(())
    }

    /// Ends the input and returns the header.
    ///
    /// # Errors
    /// The snapshot is truncated.
    pub fn finish(self) -> Result<Header, Damage> {
        self.header.filter(|_| self.ended).ok_or(Damage::Truncated)
    }

    /// Checks magic and version. Returns the bytes after them, or all `bytes` while the two are incomplete. A wrong beginning is
    /// refused even then.
    fn begin<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Damage> {
        let Some((magic, rest)) = bytes.split_first_chunk() else {
            return if MAGIC.starts_with(bytes) {
                Ok(bytes)
            } else {
                Err(Damage::Foreign)
            };
        };
        if *magic != MAGIC {
            return Err(Damage::Foreign);
        }
        let Some((version, rest)) = rest.split_first_chunk() else {
            return Ok(bytes);
        };
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(Damage::Version(version));
        }
        self.begun = true;
        Ok(rest)
    }

    /// The body of the next chunk, if it is complete, and the bytes after it.
    fn chunk<'a>(&self, bytes: &'a [u8]) -> Result<Option<BodyAndRest<'a>>, Damage> {
        if self.ended && !bytes.is_empty() {
            return Err(Damage::Trailing);
        }
        let Some((len, rest)) = bytes.split_first_chunk() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*len) as usize;
        if len > CHUNK_LEN_MAX {
            return Err(Damage::Chunk(self.chunks));
        }
        let Some((sum, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let Some((body, after)) = rest.split_at_checked(len) else {
            return Ok(None);
        };
        if u64::from_le_bytes(*sum) != checksum(self.chunks, body) {
            return Err(Damage::Chunk(self.chunks));
        }
        Ok(Some((body, after)))
    }

    fn read_chunk(&mut self, body: &[u8], on_entry: &mut impl FnMut(&Header, Entry)) -> Result<(), Damage> {
        let wrong = Damage::Chunk(self.chunks);
        let (kind, body) = body.split_first().ok_or(wrong)?;
        match (*kind, &self.header) {
            (HEADER, None) => self.header = Some(read_header(body).ok_or(wrong)?),
            (ENTRIES, Some(header)) => {
                let (torrents, peers) =
                    read_entries(body, &mut |entry| on_entry(header, entry)).ok_or(wrong)?;
                self.torrents += torrents;
                self.peers += peers;
            }
            (END, Some(_)) => {
                let mut body = Bytes(body);
                let (torrents, peers) = body.number().zip(body.number()).ok_or(wrong)?;
                // The writer counts a torrent once; here it was counted in each chunk that has peers of it.
                if peers != self.peers || torrents > self.torrents {
                    return Err(Damage::Incomplete);
                }
                self.ended = true;
            }
            _ => return Err(wrong),
        }
        Ok(())
    }
}

/// The body of a chunk, and the bytes after the chunk.
type BodyAndRest<'a> = (&'a [u8], &'a [u8]);

fn read_header(body: &[u8]) -> Option<Header> {
    let mut body = Bytes(body);
    Some(Header {
        written: Instant::from_millis(body.number()?),
        seed: Seed::new(body.array()?),
    })
}

/// Passes the entries of one chunk to `on_entry`, and counts torrents and peers.
fn read_entries(body: &[u8], on_entry: &mut impl FnMut(Entry)) -> Option<(u64, u64)> {
    let mut body = Bytes(body);
    // The ages of the chunk's peers count back from this minute.
    let minute = u32::from_le_bytes(body.array()?);
    let (mut torrent, mut torrents, mut peers) = (None, 0, 0);
    while let Some([flags]) = body.array() {
        if flags & TORRENT != 0 {
            let info_hash = InfoHash(body.array()?);
            let downloaded = match flags & HAS_DOWNLOADS {
                0 => 0,
                _ => u32::from_le_bytes(body.array()?),
            };
            torrent = Some(info_hash);
            torrents += 1;
            on_entry(Entry::Torrent {
                info_hash,
                downloaded,
            });
        } else {
            let info_hash = torrent?;
            let peer = read_peer(&mut body, flags, minute)?;
            peers += 1;
            on_entry(Entry::Peer { info_hash, peer });
        }
    }
    Some((torrents, peers))
}

fn read_peer(body: &mut Bytes<'_>, flags: u8, minute: u32) -> Option<Peer> {
    let [age] = body.array()?;
    let ip = match flags & IS_V6 {
        0 => IpAddr::from(body.array::<4>()?),
        _ => IpAddr::from(body.array::<16>()?),
    };
    // Big-endian, unlike other numbers here: endpoints are stored as on the wire.
    let port = u16::from_be_bytes(body.array()?);
    let id = match flags & HAS_ID {
        0 => PeerId::default(),
        _ => PeerId(body.array()?),
    };
    Some(Peer {
        endpoint: Endpoint { ip, port },
        id,
        seeder: flags & IS_SEEDER != 0,
        been_seeder: flags & (IS_SEEDER | BEEN_SEEDER) != 0,
        announced: Minute::new(minute.saturating_sub(age.into())),
    })
}

/// The rest of a body.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
