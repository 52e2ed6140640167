//! Encodes snapshots.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::announce::Counts;
use crate::swarm::{Peer, Swarms, Visit, WalkPosition};
use crate::time::Minute;
use crate::{InfoHash, Instant, PeerId, Seed};

use super::{
    BEEN_SEEDER, CHUNK_HEAD_LEN, CHUNK_LEN, END, ENTRIES, HAS_DOWNLOADS, HAS_ID, HEADER, IS_SEEDER, IS_V6,
    MAGIC, STEP_WORK, TORRENT, VERSION, checksum,
};

/// Encodes a snapshot: [`begin`](Self::begin), then [`step`](Self::step) until it returns true.
///
/// Torrents and peers that exist throughout are written exactly once; those that come or go meanwhile, at most once.
#[derive(Debug)]
pub struct Encoder {
    position: WalkPosition,
    chunks: u64,
    torrents: u64,
    peers: u64,
}

impl Encoder {
    /// Begins a snapshot of a tracker whose connection ids come from `seed`, appending to `out`.
    #[must_use]
    pub fn begin(now: Instant, seed: &Seed, out: &mut Vec<u8>) -> Self {
        let mut encoder = Self {
            position: WalkPosition::default(),
            chunks: 0,
            torrents: 0,
            peers: 0,
        };
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        let start = open(out, HEADER);
        out.extend(now.as_millis().to_le_bytes());
        out.extend(seed.secret());
        encoder.close(out, start);
        encoder
    }

    /// Appends about 1024 more torrents and peers to `out` while it locks one shard; true at the end.
    #[must_use]
    pub fn step(&mut self, now: Instant, swarms: &Swarms, out: &mut Vec<u8>) -> bool {
        let mut position = core::mem::take(&mut self.position);
        let start = open(out, ENTRIES);
        out.extend(now.minute().get().to_le_bytes());
        let mut chunk = Chunk {
            encoder: self,
            out,
            start,
            minute: now.minute(),
            torrent: None,
        };
        let done = swarms.walk(STEP_WORK, &mut position, &mut chunk);
        let (start, is_empty) = (chunk.start, chunk.torrent.is_none());
        if is_empty {
            out.truncate(start);
        } else {
            self.close(out, start);
        }
        self.position = position;
        if done {
            let start = open(out, END);
            out.extend(self.torrents.to_le_bytes());
            out.extend(self.peers.to_le_bytes());
            self.close(out, start);
        }
        done
    }

    /// Torrents and peers written so far.
    #[must_use]
    pub const fn written(&self) -> (u64, u64) {
        (self.torrents, self.peers)
    }

    /// Writes length and checksum of the chunk that begins at `start`, now that its body is complete.
    fn close(&mut self, out: &mut [u8], start: usize) {
        let Some((head, body)) = out
            .get_mut(start..)
            .and_then(|chunk| chunk.split_at_mut_checked(CHUNK_HEAD_LEN))
        else {
            return;
        };
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let (len_place, sum_place) = head.split_at_mut(size_of::<u32>());
        len_place.copy_from_slice(&len.to_le_bytes());
        sum_place.copy_from_slice(&checksum(self.chunks, body).to_le_bytes());
        self.chunks += 1;
    }
}

/// Begins a chunk and returns its start.
fn open(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.extend([0; CHUNK_HEAD_LEN]);
    out.push(kind);
    start
}

/// Appends visited entries to a chunk.
struct Chunk<'a> {
    encoder: &'a mut Encoder,
    out: &'a mut Vec<u8>,
    start: usize,
    minute: Minute,
    /// The torrent that this chunk named last.
    torrent: Option<InfoHash>,
}

impl Chunk<'_> {
    fn write_torrent(&mut self, info_hash: &InfoHash, downloaded: u32) {
        if self.out.len() - self.start > CHUNK_LEN {
            self.encoder.close(self.out, self.start);
            self.start = open(self.out, ENTRIES);
            self.out.extend(self.minute.get().to_le_bytes());
        }
        let flag = if downloaded > 0 { HAS_DOWNLOADS } else { 0 };
        self.out.push(TORRENT | flag);
        self.out.extend(info_hash.0);
        if downloaded > 0 {
            self.out.extend(downloaded.to_le_bytes());
        }
        self.torrent = Some(*info_hash);
    }
}

impl Visit for Chunk<'_> {
    fn torrent(&mut self, info_hash: &InfoHash, counts: Counts) {
        self.write_torrent(info_hash, counts.downloaded);
        self.encoder.torrents += 1;
    }

    fn peer(&mut self, info_hash: &InfoHash, peer: &Peer) {
        if self.torrent != Some(*info_hash) {
            self.write_torrent(info_hash, 0);
        }
        let has_id = peer.id != PeerId::default();
        let flags = if peer.seeder { IS_SEEDER } else { 0 }
            | if peer.endpoint.ip.is_ipv6() { IS_V6 } else { 0 }
            | if has_id { HAS_ID } else { 0 }
            | if peer.been_seeder { BEEN_SEEDER } else { 0 };
        let age = self.minute.saturating_since(peer.announced);
        self.out.extend([flags, u8::try_from(age).unwrap_or(u8::MAX)]);
        match peer.endpoint.ip {
            IpAddr::V4(ip) => self.out.extend(ip.octets()),
            IpAddr::V6(ip) => self.out.extend(ip.octets()),
        }
        self.out.extend(peer.endpoint.port.to_be_bytes());
        if has_id {
            self.out.extend(peer.id.0);
        }
        self.encoder.peers += 1;
    }
}
