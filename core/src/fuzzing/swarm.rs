//! The packed store compared with the plain one.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::announce::{Announce, Change, Counts, Endpoint, Event, Refusal, compact_peers};
use crate::config::{Intervals, OutOfRange, SwarmConfig};
use crate::prefetch::NoPrefetch;
use crate::seed::{Key, Random};
use crate::swarm::{Handout, Member, Packed, Peer, Plain, Prepared, Room, Store, Visit, assert_spread};
use crate::time::Minute;
use crate::{Config, InfoHash, Instant, PeerId, Seed};

use super::{NOW, address, take};

/// Operations of four bytes: both stores give the same counts, hold the same peers, and hand out only eligible ones.
///
/// It is the stores that are compared, each as it stands in one shard, so that torrents share their pages.
pub fn swarm_ops(mut data: &[u8]) {
    let settings = take(&mut data);
    let config = config(settings).unwrap_or_default();
    let mut pair = Pair::new(config.swarms());
    for op in data.as_chunks::<4>().0 {
        if pair.work > WORK_MAX {
            break;
        }
        pair.carry_out(*op);
    }
    pair.compare();
}

/// The settings that the bits of a byte choose.
fn config(settings: u8) -> Result<Config, OutOfRange> {
    let per_address = [0, 1, 4, 64].into_iter().nth((settings >> 1 & 3).into());
    // Peers are kept for 31, 3, 62 and 122 minutes.
    let longest = match settings >> 5 & 3 {
        0 => 1799,
        1 => 60,
        2 => 3600,
        _ => 7200,
    };
    let intervals = Intervals {
        initial: longest,
        min: 60,
        max: longest,
    };
    Config::default()
        .with_peer_ids(settings & 1 != 0)
        .with_peers_per_address_max(per_address.unwrap_or_default())?
        .with_peers_per_torrent_max(if settings & 8 == 0 { 1 << 24 } else { 40 })?
        .with_torrents_max(if settings & 16 == 0 { 1 << 20 } else { 3 })?
        .with_intervals(intervals)
}

/// Announces, and peers looked at by a comparison, after which an input ends: some milliseconds, enough for swarms of
/// several tables. A longer sequence seldom finds what a shorter one does not.
const WORK_MAX: usize = 1000;
/// What a comparison of empty stores costs.
const COMPARE_WORK: usize = 10;
/// Of a crowd, every so many ask for peers.
const CROWD_ASKS: u8 = 8;
/// Of a peer that asks for more than this, all that it might be handed are looked at.
const WANTED_UNSEEN: usize = 16;

struct Pair {
    now: Instant,
    packed: Packed,
    plain: Plain,
    key: Key,
    random: Random,
    config: SwarmConfig,
    /// What was done so far, in the unit of [`WORK_MAX`].
    work: usize,
    buffers: Buffers,
}

/// Room that is used again and again: a sanitizer makes memory costly to get.
#[derive(Default)]
struct Buffers {
    peers: Vec<u8>,
    candidates: Vec<u8>,
    /// Of all endpoints that there are, those that may be handed out and were not yet.
    open: Vec<bool>,
    packed: Held,
    plain: Held,
}

impl Pair {
    fn new(config: &SwarmConfig) -> Self {
        let key = Seed::new([1; 32]).key("fuzzing");
        Self {
            now: NOW,
            packed: Packed::new(config, key),
            plain: Plain::new(config, key),
            key,
            random: key.random(0),
            config: *config,
            work: 0,
            buffers: Buffers::default(),
        }
    }

    fn carry_out(&mut self, [kind, torrent, peer, detail]: [u8; 4]) {
        let few = torrent % 8;
        match kind % 16 {
            0 => {
                let wait = Duration::from_secs(u64::from(detail) * 20);
                self.now = self.now.saturating_add(wait);
            }
            1 => self.sweep(usize::from(detail) + 1),
            2 => self.remove(few),
            3 => self.compare(),
            // A whole crowd at once, so that swarms grow large: of seeders, or of leechers.
            4 => (0..=detail).for_each(|port| self.join(few, peer, port, 8 | torrent & 16)),
            5 => (0..=detail).for_each(|port| self.join(few, peer, port, 3)),
            // One peer in many torrents, so that there are many pages.
            6 => (0..=detail).for_each(|many| self.announce(many, peer, kind >> 4, torrent)),
            7 => self.restore(torrent, peer, detail),
            _ => self.announce(few, peer, detail, kind),
        }
    }

    /// One of a crowd announces.
    fn join(&mut self, torrent: u8, peer: u8, port: u8, detail: u8) {
        let asks = port.is_multiple_of(CROWD_ASKS);
        let wanted = if asks { usize::from(detail) * 2 } else { 0 };
        self.announce_wanting(torrent, peer, port, detail, wanted);
    }

    fn announce(&mut self, torrent: u8, peer: u8, port: u8, detail: u8) {
        self.announce_wanting(torrent, peer, port, detail, usize::from(detail) * 2);
    }

    /// Both stores carry it out: the same counts, and the packed one hands out as many peers as it should, of those that
    /// may be.
    fn announce_wanting(&mut self, torrent: u8, peer: u8, port: u8, detail: u8, wanted: usize) {
        let announce = announce(torrent, peer, port, detail);
        let (now, room) = (self.now.minute(), self.room());
        let random = self.random.fork();
        let plainly = Prepared::new(&self.key, &announce.info_hash, random.clone());
        let mut prepared = Prepared::new(&self.key, &announce.info_hash, random);
        if detail & 32 != 0 {
            let member = Member::of(&announce);
            for &stage in Packed::STAGES {
                self.packed.prefetch(stage, &member, &mut prepared, &NoPrefetch);
            }
        }
        let Buffers {
            peers,
            candidates,
            open,
            ..
        } = &mut self.buffers;
        let mut question = Question {
            now,
            announce: &announce,
            room,
            wanted,
        };
        let (found, peers) = question.ask(&mut self.packed, &prepared, peers);
        // The plain store names all that may be handed out.
        let all = if wanted > WANTED_UNSEEN {
            found.map_or(0, |(counts, _)| (counts.complete + counts.incomplete) as usize)
        } else {
            0
        };
        self.work += 1 + all / 16;
        question.wanted = wanted.max(all);
        let (expected, candidates) = question.ask(&mut self.plain, &plainly, candidates);
        let in_time = |outcome| in_time(&self.config, now, outcome);
        let (found, expected) = (in_time(found), in_time(expected));
        assert!(
            found == expected,
            "{announce:?} gives {found:?}, should give {expected:?}"
        );
        let stride = announce.peer.family().compact_len();
        let (handed_out, there) = (peers.len() / stride, candidates.len() / stride);
        assert!(
            handed_out == there.min(wanted),
            "{announce:?} is handed {handed_out} of {there}"
        );
        if wanted > WANTED_UNSEEN {
            check_peers(&announce, peers, candidates, open);
            let stored = found.map_or(0, |(counts, _)| (counts.complete + counts.incomplete) as usize);
            assert_spread(announce.peer.family(), peers, candidates, stored, wanted);
        }
    }

    fn room(&self) -> Room {
        if self.plain.torrents() < u64::from(self.config.torrents_max()) {
            Room::Some
        } else {
            Room::None
        }
    }

    fn restore(&mut self, torrent: u8, ago: u8, downloaded: u8) {
        let (info_hash, room) = (info_hash(torrent), self.room());
        let vacated = Minute::new(self.now.minute().get() - u32::from(ago % 64));
        let hash = self.key.hash(&info_hash.0);
        let known = self
            .packed
            .restore(vacated, &info_hash, hash, downloaded.into(), room);
        let expected = self
            .plain
            .restore(vacated, &info_hash, hash, downloaded.into(), room);
        assert!(known == expected, "one store restores what the other does not");
    }

    fn remove(&mut self, torrent: u8) {
        let info_hash = info_hash(torrent);
        let hash = self.key.hash(&info_hash.0);
        let known = self.packed.remove(&info_hash, hash);
        let expected = self.plain.remove(&info_hash, hash);
        assert!(known == expected, "one store knows what the other does not");
    }

    /// Sweeps both stores whole, the packed one in steps of `work`.
    fn sweep(&mut self, work: usize) {
        sweep(&mut self.packed, self.now, work);
        sweep(&mut self.plain, self.now, usize::MAX - 1);
        self.compare();
    }

    fn compare(&mut self) {
        let (config, now) = (self.config, self.now.minute());
        let is_too_old = |announced| config.is_too_old(now, announced);
        let Buffers { packed, plain, .. } = &mut self.buffers;
        packed.take(&self.packed, is_too_old);
        plain.take(&self.plain, is_too_old);
        assert!(packed == plain, "{packed:?} is held, should be {plain:?}");
        assert!(
            self.packed.totals() == self.plain.totals(),
            "the stores count differently"
        );
        self.work += COMPARE_WORK + packed.torrents.len() + packed.peers.len();
    }
}

const fn info_hash(torrent: u8) -> InfoHash {
    InfoHash([torrent; 20])
}

fn number_of(hash: &InfoHash) -> u8 {
    let [number, ..] = hash.0;
    assert!(*hash == info_hash(number), "{hash} was never announced");
    number
}

fn announce(torrent: u8, peer: u8, port: u8, detail: u8) -> Announce {
    Announce {
        info_hash: info_hash(torrent),
        peer_id: PeerId([port; 20]),
        peer: Endpoint {
            ip: address(peer >> 1, peer & 1 != 0),
            // Nobody can be reached at the first two.
            port: port.into(),
        },
        left: u64::from(detail & 16 != 0),
        event: match detail & 7 {
            1 => Event::Started,
            2 => Event::Completed,
            3 => Event::Stopped,
            4 => Event::Paused,
            _ => Event::None,
        },
        numwant: None,
    }
}

/// As it is, but of a peer past its expiry it is only known that it was silent for too long.
fn in_time(config: &SwarmConfig, now: Minute, mut outcome: Outcome) -> Outcome {
    if let Ok((_, Change::Renewed { after_minutes, .. })) = &mut outcome {
        let before = Minute::new(now.get().saturating_sub(*after_minutes));
        if config.is_too_old(now, before) {
            *after_minutes = u32::MAX;
        }
    }
    outcome
}

type Outcome = Result<(Counts, Change), Refusal>;

/// What both stores are asked.
struct Question<'a> {
    now: Minute,
    announce: &'a Announce,
    room: Room,
    wanted: usize,
}

impl Question<'_> {
    fn ask<'b, S: Store>(
        &self,
        store: &mut S,
        prepared: &Prepared<S::Prefetched>,
        buffer: &'b mut Vec<u8>,
    ) -> (Outcome, &'b [u8]) {
        let family = self.announce.peer.family();
        let len = self.wanted * family.compact_len();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let mut handout = Handout::new(family, self.wanted, buffer);
        let outcome = store.announce(self.now, self.announce, prepared, self.room, &mut handout);
        let len = handout.len() * family.compact_len();
        (outcome, buffer.get(..len).unwrap_or_default())
    }
}

/// What was handed out may be, nothing comes twice, and nobody is handed to itself.
fn check_peers(announce: &Announce, peers: &[u8], candidates: &[u8], open: &mut Vec<bool>) {
    let family = announce.peer.family();
    open.resize(ENDPOINTS, false);
    let mut set = |endpoint: &Endpoint, to| {
        let place = open.get_mut(place_of(endpoint));
        place.map(|place| core::mem::replace(place, to))
    };
    for candidate in compact_peers(family, candidates) {
        set(&candidate, true);
    }
    let own = place_of(&announce.peer);
    for peer in compact_peers(family, peers) {
        assert!(place_of(&peer) != own, "a peer is handed to itself");
        assert!(
            set(&peer, false) == Some(true),
            "{peer:?} is handed out twice, or should not be"
        );
    }
    for candidate in compact_peers(family, candidates) {
        set(&candidate, false);
    }
}

/// Where an endpoint stands among all that announce. By numbers: a fuzzer makes it costly to compare bytes.
fn place_of(endpoint: &Endpoint) -> usize {
    let v6 = endpoint.ip.is_ipv6();
    let number = match (endpoint.ip, address(0, v6)) {
        (IpAddr::V4(ip), IpAddr::V4(first)) => ip.to_bits().wrapping_sub(first.to_bits()).into(),
        (IpAddr::V6(ip), IpAddr::V6(first)) => ip.to_bits().wrapping_sub(first.to_bits()).rotate_right(80),
        _ => u128::MAX,
    };
    assert!(number < 128, "nobody announced from {endpoint:?}");
    usize::from(endpoint.port) << 8 | (number as usize) << 1 | usize::from(v6)
}

/// Places of endpoints: ports up to 255, and addresses of seven bits in two families.
const ENDPOINTS: usize = 256 << 8;

fn sweep<S: Store>(store: &mut S, now: Instant, work: usize) {
    let mut position = S::Sweep::default();
    while !store.sweep(now.minute(), work, &mut position).done {}
}

/// All that a store holds, in the order of torrents and endpoints. Of peers that are too old only that is known, not for how
/// long.
#[derive(Debug, Default, PartialEq)]
struct Held {
    torrents: Vec<(u8, Counts)>,
    peers: Vec<((u8, usize), Peer)>,
}

impl Held {
    fn take<S: Store>(&mut self, store: &S, is_too_old: impl Fn(Minute) -> bool) {
        self.torrents.clear();
        self.peers.clear();
        let mut position = S::Walk::default();
        while !store.walk(100, &mut position, self) {}
        self.torrents.sort_unstable_by_key(|(torrent, _)| *torrent);
        self.peers.sort_unstable_by_key(|(place, _)| *place);
        let mut torrents = self.torrents.array_windows();
        let mut peers = self.peers.array_windows();
        assert!(
            torrents.all(|[one, next]| one.0 < next.0),
            "a torrent is shown twice"
        );
        assert!(peers.all(|[one, next]| one.0 < next.0), "a peer is shown twice");
        for (_, peer) in &mut self.peers {
            if is_too_old(peer.announced) {
                peer.announced = Minute::default();
            }
        }
    }
}

impl Visit for Held {
    fn torrent(&mut self, info_hash: &InfoHash, counts: Counts) {
        self.torrents.push((number_of(info_hash), counts));
    }

    fn peer(&mut self, info_hash: &InfoHash, peer: &Peer) {
        let place = (number_of(info_hash), place_of(&peer.endpoint));
        self.peers.push((place, *peer));
    }
}
