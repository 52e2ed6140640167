//! State files of arbitrary bytes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::announce::Endpoint;
use crate::prefetch::NoPrefetch;
use crate::snapshot::{Damage, Decoder, Encoder, Entry, Header, MAGIC, Restored, Restorer, VERSION, chunk};
use crate::swarm::Peer;
use crate::{Config, InfoHash, Seed, Tracker};

use super::{NOW, take};

/// A state, after a byte that says how it is cut and one that selects a file or bodies of chunks, each after its length. Pieces give
/// the same entries as the whole, no more peers are restored than decoded, limits hold, and restored swarms stay the same when
/// they are encoded and restored again.
pub fn state_file(mut data: &[u8]) {
    let cut = usize::from(take(&mut data)) + 1;
    let settings = take(&mut data);
    let framed = (settings & 1 != 0).then(|| frame(data));
    let bytes = framed.as_deref().unwrap_or(data);
    let whole = read(core::iter::once(bytes));
    assert!(whole == read(bytes.chunks(cut)), "pieces are read otherwise");
    let (entries, Ok(header)) = whole else {
        return;
    };
    let config = config(settings);
    let (tracker, restored) = restore(config.clone(), &header, &entries);
    check_limits(&tracker, restored, &entries);
    let again = write(&tracker);
    let (entries, header) = read(core::iter::once(again.as_slice()));
    assert!(header.is_ok(), "what was written cannot be read");
    let Ok(header) = header else {
        return;
    };
    let held = Held::of(&entries);
    let (tracker, _) = restore(config, &header, &entries);
    let (entries, _) = read(core::iter::once(write(&tracker).as_slice()));
    assert!(held == Held::of(&entries), "swarms change on their way");
}

fn config(settings: u8) -> Config {
    let mut config = Config::default()
        .with_peer_ids(settings & 2 != 0)
        .with_private_peers(settings & 4 != 0);
    if settings & 8 != 0 {
        config = config.with_peers_per_address_max(2).unwrap_or_default();
    }
    if settings & 16 != 0 {
        config = config.with_torrents_max(TORRENTS_MAX).unwrap_or_default();
    }
    config
}

/// A limit that small inputs can reach.
const TORRENTS_MAX: u32 = 3;

/// A file of chunks with these bodies, each after its length in two bytes.
fn frame(mut bodies: &[u8]) -> Vec<u8> {
    let mut bytes = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
    for number in 0.. {
        let Some((len, rest)) = bodies.split_first_chunk() else {
            break;
        };
        let len = u16::from_le_bytes(*len).into();
        let (body, rest) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        bytes.extend(chunk(number, body));
        bodies = rest;
    }
    bytes
}

/// All decoded entries, and the outcome.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Entry>, Result<Header, Damage>) {
    let (mut decoder, mut entries) = (Decoder::new(), Vec::new());
    for piece in pieces {
        if let Err(damage) = decoder.feed(piece, &mut |_, entry| entries.push(entry)) {
            return (entries, Err(damage));
        }
    }
    (entries, decoder.finish())
}

fn restore(config: Config, header: &Header, entries: &[Entry]) -> (Tracker, Restored) {
    let tracker = Tracker::new(config, Seed::new([1; 32]), NOW);
    let mut restorer = Restorer::new(NOW, &tracker);
    for entry in entries {
        restorer.restore(header, *entry, &NoPrefetch);
    }
    let restored = restorer.finish(&NoPrefetch);
    (tracker, restored)
}

fn check_limits(tracker: &Tracker, restored: Restored, entries: &[Entry]) {
    let peers = entries.iter().filter(|entry| matches!(entry, Entry::Peer { .. }));
    let shown = peers.count() as u64;
    assert!(
        restored.peers + restored.peers_too_old + restored.peers_refused == shown,
        "{restored:?} of {shown} peers"
    );
    let totals = tracker.totals();
    assert!(totals.peers() <= restored.peers, "more is held than was restored");
    assert!(
        totals.torrents <= u64::from(tracker.config().swarms().torrents_max()),
        "there are too many torrents"
    );
}

fn write(tracker: &Tracker) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::begin(NOW, &Seed::new([2; 32]), &mut bytes);
    while !encoder.step(NOW, tracker.swarms(), &mut bytes) {}
    bytes
}

/// The entries in a fixed order.
#[derive(Default, PartialEq, Eq)]
struct Held {
    downloaded: BTreeMap<InfoHash, u32>,
    peers: BTreeMap<(InfoHash, Endpoint), Peer>,
}

impl Held {
    fn of(entries: &[Entry]) -> Self {
        let mut held = Self::default();
        for entry in entries {
            match *entry {
                Entry::Torrent {
                    info_hash,
                    downloaded,
                } => *held.downloaded.entry(info_hash).or_default() += downloaded,
                Entry::Peer { info_hash, peer } => {
                    let twice = held.peers.insert((info_hash, peer.endpoint), peer);
                    assert!(twice.is_none(), "a peer is written twice");
                }
            }
        }
        let has_torrent = |(info_hash, _): &(InfoHash, Endpoint)| held.downloaded.contains_key(info_hash);
        assert!(held.peers.keys().all(has_torrent), "a peer has no torrent");
        held
    }
}
