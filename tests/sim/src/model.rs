//! The reference model of a tracker's peers and answers. It follows the rules and shares no code with the core.
//!
//! The model is told each request as its sender meant it, and what the tracker answered. Where the rules leave a choice
//! (a peer past its time is removed somewhen within [`Rules::lateness`]), the model holds every possibility and rules
//! out what the answers rule out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use etracker_core::announce::{Announce, Counts, Endpoint, Event, Family, Refusal};
use etracker_core::config::Config;
use etracker_core::governor::Pressure;
use etracker_core::{InfoHash, PeerId};

use crate::queue::{MINUTE, Millis, SECOND};
use crate::violation::{Violation, ensure};

/// The torrents and peers that the tracker should hold.
#[derive(Debug)]
pub(crate) struct Model {
    rules: Rules,
    torrents: BTreeMap<InfoHash, Torrent>,
    /// The minutes at which torrents were announced last while memory was short and they were not known.
    asked: BTreeMap<InfoHash, Millis>,
}

/// What a request found of memory, and what was done about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shortage {
    pub(crate) pressure: Pressure,
    /// A torrent made room for another one.
    pub(crate) evicted: bool,
    /// A new peer was answered and not stored.
    pub(crate) unstored: bool,
}

/// The settings that matter here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    peer_ids: bool,
    private_peers: bool,
    peers_per_address_max: Option<usize>,
    peers_per_torrent_max: usize,
    torrents_max: usize,
    /// The torrent that is not served.
    denied: Option<InfoHash>,
    /// The step of the clock of swarms, and for how many a silent peer is stored.
    step: Millis,
    age_max_steps: u64,
    /// How long after its time a peer may still be counted.
    lateness: Millis,
    /// For how long a first announce is remembered at least, and how long a torrent has to prove itself, where memory is short.
    remembered: Millis,
    probation: Millis,
}

impl Rules {
    pub(crate) fn of(config: &Config, denied: Option<InfoHash>, lateness: Millis) -> Self {
        let swarms = config.swarms();
        // A peer may miss the longest interval by a minute and a second; the clock of swarms counts whole minutes, or every
        // second of them where a peer may be older than 62.
        let age_max = (u64::from(config.intervals().max) + 61) * SECOND;
        let step = if age_max > 62 * MINUTE { 2 * MINUTE } else { MINUTE };
        Self {
            peer_ids: swarms.peer_ids(),
            private_peers: swarms.private_peers(),
            peers_per_address_max: swarms.peers_per_address_max().map(|max| max as usize),
            peers_per_torrent_max: swarms.peers_per_torrent_max() as usize,
            torrents_max: swarms.torrents_max() as usize,
            denied,
            step,
            age_max_steps: age_max.div_ceil(step),
            lateness,
            remembered: 2 * age_max.div_ceil(MINUTE) * MINUTE,
            probation: (u64::from(config.intervals().min).div_ceil(60) + 2) * MINUTE,
        }
    }

    /// From when on a peer that announced at `announced` is not handed out.
    const fn deadline(&self, announced: Millis) -> Millis {
        (announced / self.step + self.age_max_steps + 1) * self.step
    }
}

/// The tracker's answer to an announce.
#[derive(Debug)]
pub(crate) enum Answer<'a> {
    Refused(&'a [u8]),
    Given {
        complete: u32,
        incomplete: u32,
        /// In any order; sorted here. Ids where the answer has them.
        peers: &'a mut [(Endpoint, Option<PeerId>)],
        /// How many peers such an answer may hold.
        peers_max: usize,
    },
}

/// The value of an answer for its client, for statistics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Note {
    /// Peers that could have been handed out, and the seeders among them.
    pub(crate) eligible: usize,
    pub(crate) seeders: usize,
    /// Peers that were handed out, and whether a seeder was among them.
    pub(crate) handed: usize,
    pub(crate) seeder_handed: bool,
    /// Milliseconds since their announces, summed over the peers handed out.
    pub(crate) ages: u64,
    /// Whether the announcer was stored before, in time, and is stored as it was but for the time.
    pub(crate) refreshed: bool,
    /// Whether a network had as many of these peers as it may have, and more were there.
    pub(crate) shared: bool,
}

#[derive(Debug, Default)]
struct Torrent {
    peers: BTreeMap<Endpoint, Entry>,
    /// The deadlines of those that were in time when last looked, and of those that were past it.
    /// Invariant: each peer is in one of the two.
    due: [BTreeSet<(Millis, Endpoint)>; 2],
    /// Seeders and leechers of each of the two.
    counts: [[u32; 2]; 2],
    /// Every value that `downloaded` may have. Invariant: ascending, not empty except before the first announce.
    downloaded: Vec<u32>,
    /// The earliest and the latest time at which the last peer that left can have been removed.
    emptied: (Millis, Millis),
    /// When it was stored, if memory was short then or may have been.
    admitted: Option<Millis>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seeder: bool,
    been_seeder: Been,
    announced: Millis,
    deadline: Millis,
    /// Whether it was past its deadline when last looked: it may or may not be stored.
    over: bool,
    id: PeerId,
}

/// Whether a peer has been a seeder since it was stored first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Been {
    Never,
    /// Only if it was still stored when it announced past its time.
    Perhaps,
    Surely,
}

impl Been {
    /// What is known of a peer that announces past its time: it may have been forgotten.
    const fn weakened(self) -> Self {
        match self {
            Self::Never => Self::Never,
            Self::Perhaps | Self::Surely => Self::Perhaps,
        }
    }

    const fn may_be(self, been: bool) -> bool {
        match self {
            Self::Never => !been,
            Self::Perhaps => true,
            Self::Surely => been,
        }
    }
}

impl Model {
    pub(crate) const fn new(rules: Rules) -> Self {
        Self {
            rules,
            torrents: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// An announce was answered: checks the answer and takes the announce into account.
    pub(crate) fn announced(
        &mut self,
        now: Millis,
        ask: &Announce,
        answer: Answer<'_>,
        shortage: Shortage,
    ) -> Result<Note, Violation> {
        self.settle(now, ask.info_hash);
        if self.torrents.len() >= self.rules.torrents_max {
            // The limit counts all torrents.
            self.settle_all(now);
        }
        match answer {
            Answer::Refused(reason) => {
                let refusal = self.refused(now, ask, reason, shortage)?;
                if refusal == Refusal::TorrentsFull && shortage.pressure != Pressure::Low {
                    self.note_asked(now, ask.info_hash);
                }
                Ok(Note::default())
            }
            Answer::Given {
                complete,
                incomplete,
                peers,
                peers_max,
            } => {
                let refreshed = if shortage.unstored {
                    false
                } else {
                    self.check_admission(ask)?;
                    self.store(now, ask, shortage)
                };
                let note = if ask.event == Event::Stopped {
                    ensure(peers.is_empty(), "X-04", || {
                        format!("a stopped peer was handed {} peers", peers.len())
                    })?;
                    Note::default()
                } else {
                    self.check_peers(now, ask, peers, peers_max)?
                };
                self.check_counts(ask.info_hash, complete, incomplete)?;
                Ok(Note { refreshed, ..note })
            }
        }
    }

    /// A torrent made room for another one: finds out which, by what is still `stored`, and whether it may go. Only what came
    /// while memory was short, has no second peer and was not announced again may.
    pub(crate) fn evicted(
        &mut self,
        now: Millis,
        shortage: Shortage,
        stored: impl Fn(&InfoHash) -> bool,
    ) -> Result<(), Violation> {
        // Others that went are found by the next comparison, or sooner.
        let admitted = self
            .torrents
            .iter()
            .filter(|(_, torrent)| torrent.admitted.is_some());
        let gone: Vec<_> = admitted
            .map(|(info_hash, _)| *info_hash)
            .filter(|info_hash| !stored(info_hash))
            .collect();
        for info_hash in gone {
            self.settle(now, info_hash);
            // One that has no peers and was not downloaded looks as if it were gone, and is swept later.
            let is_gone = |torrent: &&Torrent| torrent.live() > 0 || !torrent.downloaded.contains(&0);
            let Some(torrent) = self.torrents.get(&info_hash).filter(is_gone) else {
                continue;
            };
            let may_go = torrent.may_go(&self.rules, now) && shortage.pressure >= Pressure::Full;
            ensure(may_go, "M-01", || {
                format!("{info_hash} was evicted at {:?}: {torrent:?}", shortage.pressure)
            })?;
            self.torrents.remove(&info_hash);
        }
        Ok(())
    }

    /// A torrent that is not known was announced while memory was short. Where there may be too many torrents, that is not noted.
    fn note_asked(&mut self, now: Millis, info_hash: InfoHash) {
        if self.torrents.len() < self.rules.torrents_max {
            self.asked.insert(info_hash, now / MINUTE * MINUTE);
        }
    }

    /// The counts of a torrent were read, by a scrape or directly.
    pub(crate) fn scraped(
        &mut self,
        now: Millis,
        info_hash: InfoHash,
        counts: Counts,
    ) -> Result<(), Violation> {
        self.settle(now, info_hash);
        self.check_counts(info_hash, counts.complete, counts.incomplete)?;
        let Some(torrent) = self.torrents.get_mut(&info_hash) else {
            return ensure(counts.downloaded == 0, "X-02", || {
                format!(
                    "{info_hash} is not known and was downloaded {} times",
                    counts.downloaded
                )
            });
        };
        ensure(torrent.downloaded.contains(&counts.downloaded), "X-02", || {
            format!(
                "{info_hash} says downloaded = {}, expected is one of {:?}",
                counts.downloaded, torrent.downloaded
            )
        })?;
        torrent.downloaded = vec![counts.downloaded];
        Ok(())
    }

    /// Everything that the tracker holds was read at `now`: checks it, and forgets what turned out to be gone.
    pub(crate) fn compare(&mut self, now: Millis, held: &Held) -> Result<(), Violation> {
        self.settle_all(now);
        ensure(!held.shown_twice, "X-01", || {
            "a walk shows something twice".to_owned()
        })?;
        for (key, entry) in &held.peers {
            let (info_hash, endpoint) = key;
            let expected = self
                .torrents
                .get(info_hash)
                .and_then(|torrent| torrent.peers.get(endpoint));
            let Some(expected) = expected else {
                return Err(Violation::new(
                    "X-01",
                    format!("{endpoint:?} of {info_hash} is stored and should not be: {entry:?}"),
                ));
            };
            let id = if self.rules.peer_ids {
                expected.id
            } else {
                PeerId::default()
            };
            // Of one past its time the store need not know for how long.
            let in_time = |minute| now < self.rules.deadline(minute * MINUTE);
            ensure(
                entry.seeder == expected.seeder
                    && expected.been_seeder.may_be(entry.been_seeder)
                    && (entry.minute * MINUTE == expected.announced / self.rules.step * self.rules.step
                        || expected.over && !in_time(entry.minute))
                    && entry.id == id,
                "X-01",
                || format!("{endpoint:?} of {info_hash} is stored as {entry:?}, expected {expected:?}"),
            )?;
        }
        for (info_hash, torrent) in &mut self.torrents {
            for (endpoint, entry) in &torrent.peers {
                ensure(
                    entry.over || held.peers.contains_key(&(*info_hash, *endpoint)),
                    "X-01",
                    || format!("{endpoint:?} of {info_hash} should be stored: {entry:?}"),
                )?;
            }
            torrent.drop_swept(now, |endpoint| held.peers.contains_key(&(*info_hash, *endpoint)));
            let counts = held.torrents.get(info_hash);
            ensure(torrent.may_hold(counts), "X-02", || {
                format!("{info_hash} holds {counts:?}, expected {torrent:?}")
            })?;
            torrent.downloaded = vec![counts.map_or(0, |counts| counts.downloaded)];
        }
        for (info_hash, counts) in &held.torrents {
            ensure(self.torrents.contains_key(info_hash), "X-11", || {
                format!("{info_hash} is stored and should be forgotten: {counts:?}")
            })?;
            self.check_counts(*info_hash, counts.complete, counts.incomplete)?;
        }
        self.torrents
            .retain(|info_hash, _| held.torrents.contains_key(info_hash));
        Ok(())
    }

    /// A tracker that was started anew holds nothing.
    pub(crate) fn clear(&mut self) {
        self.torrents.clear();
        self.asked.clear();
    }

    /// Whether `endpoint` is stored as a peer of the torrent, in time.
    fn knows(&self, now: Millis, info_hash: InfoHash, endpoint: Endpoint) -> bool {
        let torrent = self.torrents.get(&info_hash);
        let entry = torrent.and_then(|torrent| torrent.peers.get(&endpoint));
        entry.is_some_and(|entry| now < entry.deadline)
    }

    /// Stores or removes the announcer. True if nothing but its time has changed.
    fn store(&mut self, now: Millis, ask: &Announce, shortage: Shortage) -> bool {
        let rules = self.rules;
        if ask.event == Event::Stopped {
            let torrent = self.torrents.get_mut(&ask.info_hash);
            let Some((torrent, entry)) = torrent.and_then(|torrent| {
                let entry = torrent.take(ask.peer)?;
                Some((torrent, entry))
            }) else {
                return true;
            };
            // One that was past its time may have been removed since then.
            let earliest = now.min(entry.deadline);
            torrent.left(earliest, now);
            return false;
        }
        if !is_reachable(ask) {
            return true;
        }
        if shortage.pressure != Pressure::Low && !self.torrents.contains_key(&ask.info_hash) {
            self.note_asked(now, ask.info_hash);
        }
        let torrent = self.torrents.entry(ask.info_hash).or_default();
        if torrent.live() == 0 {
            torrent.admitted = (shortage.pressure != Pressure::Low).then_some(now);
        }
        if torrent.downloaded.is_empty() {
            torrent.downloaded.push(0);
        }
        let before = torrent.take(ask.peer);
        let known = before.filter(|before| now < before.deadline);
        let been_seeder = match (before, known) {
            (None, _) => Been::Never,
            (Some(before), Some(_)) => before.been_seeder,
            (Some(before), None) => before.been_seeder.weakened(),
        };
        let seeder = ask.left == 0;
        let entry = Entry {
            seeder,
            been_seeder: if seeder { Been::Surely } else { been_seeder },
            announced: now,
            deadline: rules.deadline(now),
            over: false,
            id: ask.peer_id,
        };
        torrent.put(ask.peer, entry);
        if ask.event == Event::Completed && seeder {
            match been_seeder {
                Been::Surely => {}
                Been::Perhaps => torrent.maybe_downloaded(),
                Been::Never => torrent.downloaded.iter_mut().for_each(|count| *count += 1),
            }
        }
        known.is_some_and(|before| before.seeder == entry.seeder && before.id == entry.id)
    }

    fn refused(
        &self,
        now: Millis,
        ask: &Announce,
        reason: &[u8],
        shortage: Shortage,
    ) -> Result<Refusal, Violation> {
        let all = [
            Refusal::ImpossibleAddress,
            Refusal::PrivateAddress,
            Refusal::TorrentDenied,
            Refusal::AddressDenied,
            Refusal::TorrentsFull,
            Refusal::SwarmFull,
            Refusal::AddressFull,
        ];
        let named = all
            .into_iter()
            .find(|refusal| refusal.reason().as_bytes() == reason);
        let possible = named.filter(|refusal| self.may_refuse(now, ask, *refusal, shortage));
        possible.ok_or_else(|| {
            let reason = reason.escape_ascii();
            Violation::new("X-04", format!("{ask:?} was refused: {reason}, {shortage:?}"))
        })
    }

    /// Whether a torrent that is not known may be refused for want of memory: at its first announce, or where none can make room.
    fn is_short(&self, now: Millis, info_hash: InfoHash, pressure: Pressure) -> bool {
        let asked = self.asked.get(&info_hash);
        let is_second = asked.is_some_and(|asked| now / MINUTE * MINUTE - asked <= self.rules.remembered);
        pressure > Pressure::High || pressure == Pressure::High && !is_second
    }

    fn check_admission(&self, ask: &Announce) -> Result<(), Violation> {
        let refused = self.must_refuse(ask);
        ensure(refused.is_none(), "X-04", || {
            format!("{ask:?} was carried out in spite of {refused:?}")
        })
    }

    /// Whether the rules allow this refusal, seen from what may be stored.
    fn may_refuse(&self, now: Millis, ask: &Announce, refusal: Refusal, shortage: Shortage) -> bool {
        let torrent = self.torrents.get(&ask.info_hash);
        let room = |max: usize, of: &dyn Fn(&Endpoint) -> bool| {
            torrent.is_some_and(|torrent| torrent.peers.keys().filter(|peer| of(peer)).count() >= max)
        };
        if ask.event == Event::Stopped {
            return refusal == Refusal::TorrentDenied && self.rules.denied == Some(ask.info_hash);
        }
        let stranger = !self.knows(now, ask.info_hash, ask.peer);
        match refusal {
            // No simulated client has such an address.
            Refusal::ImpossibleAddress => false,
            Refusal::PrivateAddress => !self.rules.private_peers && is_private(ask.peer.ip),
            Refusal::TorrentDenied => self.rules.denied == Some(ask.info_hash),
            // No address is denied here.
            Refusal::AddressDenied => false,
            Refusal::TorrentsFull | Refusal::SwarmFull | Refusal::AddressFull if !is_reachable(ask) => false,
            Refusal::TorrentsFull => {
                let surely_there = torrent.is_some_and(|torrent| torrent.live() > 0);
                let full = self.torrents.len() >= self.rules.torrents_max;
                let full = full || self.is_short(now, ask.info_hash, shortage.pressure);
                stranger && !surely_there && full
            }
            Refusal::SwarmFull => stranger && room(self.rules.peers_per_torrent_max, &|_| true),
            Refusal::AddressFull => {
                let near = |peer: &Endpoint| is_neighbour(peer.ip, ask.peer.ip);
                stranger && self.address_max(ask).is_some_and(|max| room(max, &near))
            }
            // One that this model does not know yet is a finding.
            _ => false,
        }
    }

    /// A refusal that the rules demand, seen from what is surely stored.
    fn must_refuse(&self, ask: &Announce) -> Option<Refusal> {
        let rules = &self.rules;
        if rules.denied == Some(ask.info_hash) {
            return Some(Refusal::TorrentDenied);
        }
        if ask.event == Event::Stopped {
            return None;
        }
        if !rules.private_peers && is_private(ask.peer.ip) {
            return Some(Refusal::PrivateAddress);
        }
        if !is_reachable(ask) {
            return None;
        }
        let Some(torrent) = self.torrents.get(&ask.info_hash) else {
            let full =
                self.torrents.len() >= rules.torrents_max && self.torrents_surely() >= rules.torrents_max;
            return full.then_some(Refusal::TorrentsFull);
        };
        if torrent.peers.contains_key(&ask.peer) {
            return None;
        }
        if torrent.live() >= rules.peers_per_torrent_max {
            return Some(Refusal::SwarmFull);
        }
        let max = self.address_max(ask)?;
        let peers = torrent.peers.iter();
        let near = peers.filter(|(peer, entry)| !entry.over && is_neighbour(peer.ip, ask.peer.ip));
        (near.count() >= max).then_some(Refusal::AddressFull)
    }

    fn address_max(&self, ask: &Announce) -> Option<usize> {
        self.rules
            .peers_per_address_max
            .filter(|_| !ask.peer.ip.is_loopback())
    }

    /// Torrents that have a peer that is in time.
    fn torrents_surely(&self) -> usize {
        self.torrents
            .values()
            .filter(|torrent| torrent.live() > 0)
            .count()
    }

    /// The peers handed out must be of those that the rules allow, and as many as there are or fit.
    fn check_peers(
        &self,
        now: Millis,
        ask: &Announce,
        peers: &mut [(Endpoint, Option<PeerId>)],
        peers_max: usize,
    ) -> Result<Note, Violation> {
        peers.sort_unstable_by_key(|(peer, _)| *peer);
        let twice = peers.windows(2).find(|pair| pair[0].0 == pair[1].0);
        ensure(twice.is_none(), "X-03", || format!("handed out twice: {twice:?}"))?;
        let mut note = Note {
            handed: peers.len(),
            ..Note::default()
        };
        let mut given = peers.iter().peekable();
        let mut eligible = Vec::new();
        let stored = self
            .torrents
            .get(&ask.info_hash)
            .into_iter()
            .flat_map(|torrent| &torrent.peers);
        for (peer, entry) in stored {
            if peer.family() != ask.peer.family()
                || *peer == ask.peer
                || (ask.left == 0 && entry.seeder)
                || entry.deadline <= now
            {
                continue;
            }
            note.eligible += 1;
            eligible.push(*peer);
            note.seeders += usize::from(entry.seeder);
            let Some((_, id)) = given.next_if(|(given, _)| given == peer) else {
                continue;
            };
            note.seeder_handed |= entry.seeder;
            note.ages += now.saturating_sub(entry.announced);
            ensure(id.is_none_or(|id| id == entry.id), "A-31", || {
                format!("{peer:?} was handed out as {id:?}, not as {:?}", entry.id)
            })?;
        }
        if let Some((stray, _)) = given.next() {
            return Err(self.stray(now, ask, *stray));
        }
        ensure(note.handed == peers_max.min(note.eligible), "X-03", || {
            format!(
                "{} peers handed out, of {} with room for {peers_max}",
                note.handed, note.eligible
            )
        })?;
        let stored = self.torrents.get(&ask.info_hash);
        let stored = stored.map_or(0, |torrent| torrent.peers.len());
        if stored <= 256 && eligible.len() * 2 >= stored {
            note.shared = check_networks(ask, peers, &eligible, peers_max)?;
        }
        Ok(note)
    }

    /// Says what is wrong with a peer that should not have been handed out.
    fn stray(&self, now: Millis, ask: &Announce, peer: Endpoint) -> Violation {
        let entry = self
            .torrents
            .get(&ask.info_hash)
            .and_then(|torrent| torrent.peers.get(&peer));
        let (invariant, what) = match entry {
            None => ("X-04", "which is stopped, expired long ago, or never was a peer"),
            Some(_) if peer == ask.peer => ("A-04", "which is the asker itself"),
            Some(_) if peer.family() != ask.peer.family() => ("V-02", "which is of the other family"),
            Some(entry) if entry.deadline <= now => ("X-04", "which is past its time"),
            Some(_) => ("A-45", "a seeder to a seeder"),
        };
        Violation::new(
            invariant,
            format!("{:?} of {} was handed {peer:?}, {what}", ask.peer, ask.info_hash),
        )
    }

    fn check_counts(&self, info_hash: InfoHash, complete: u32, incomplete: u32) -> Result<(), Violation> {
        let torrent = self.torrents.get(&info_hash);
        let [surely, maybe] = torrent.map_or([[0; 2]; 2], |torrent| torrent.counts);
        let fits = |count: u32, side: usize| (surely[side]..=surely[side] + maybe[side]).contains(&count);
        ensure(fits(complete, 0) && fits(incomplete, 1), "X-01", || {
            format!(
                "{info_hash} counts {complete} seeders and {incomplete} leechers, expected are {surely:?} and up to \
                 {maybe:?} past their time"
            )
        })
    }

    /// Forgets what must be gone by `now`.
    fn settle(&mut self, now: Millis, info_hash: InfoHash) {
        let rules = self.rules;
        if let Some(torrent) = self.torrents.get_mut(&info_hash)
            && torrent.settle(&rules, now)
        {
            self.torrents.remove(&info_hash);
        }
    }

    fn settle_all(&mut self, now: Millis) {
        let rules = self.rules;
        self.torrents.retain(|_, torrent| !torrent.settle(&rules, now));
    }
}

impl Torrent {
    /// Peers that are surely stored.
    fn live(&self) -> usize {
        self.due[0].len()
    }

    /// Whether it may make room for another torrent.
    fn may_go(&self, rules: &Rules, now: Millis) -> bool {
        self.admitted.is_some_and(|admitted| {
            let renewed = |peer: &Entry| peer.announced / rules.step != admitted / rules.step;
            let overdue = now / MINUTE * MINUTE - admitted / MINUTE * MINUTE >= rules.probation;
            overdue && self.live() <= 1 && !self.peers.values().any(|peer| !peer.over && renewed(peer))
        })
    }

    fn put(&mut self, peer: Endpoint, entry: Entry) {
        let over = usize::from(entry.over);
        self.due[over].insert((entry.deadline, peer));
        self.counts[over][usize::from(!entry.seeder)] += 1;
        self.peers.insert(peer, entry);
    }

    fn take(&mut self, peer: Endpoint) -> Option<Entry> {
        let entry = self.peers.remove(&peer)?;
        let over = usize::from(entry.over);
        self.due[over].remove(&(entry.deadline, peer));
        self.counts[over][usize::from(!entry.seeder)] -= 1;
        Some(entry)
    }

    fn maybe_downloaded(&mut self) {
        let more: Vec<u32> = self.downloaded.iter().map(|count| count + 1).collect();
        self.downloaded.extend(more);
        self.downloaded.sort_unstable();
        self.downloaded.dedup();
    }

    /// A peer went, between `earliest` and `latest`.
    fn left(&mut self, earliest: Millis, latest: Millis) {
        self.emptied = (self.emptied.0.max(earliest), self.emptied.1.max(latest));
    }

    /// Takes what may and what must have happened by `now` into account; true if the torrent must be forgotten.
    fn settle(&mut self, rules: &Rules, now: Millis) -> bool {
        while let Some(&(deadline, peer)) = self.due[0].first().filter(|(deadline, _)| *deadline <= now) {
            if let Some(entry) = self.take(peer) {
                self.put(peer, Entry { over: true, ..entry });
                self.emptied.0 = self.emptied.0.max(deadline);
            }
        }
        let gone = |(deadline, _): &&(Millis, Endpoint)| *deadline + rules.lateness < now;
        while let Some(&(deadline, peer)) = self.due[1].first().filter(gone) {
            self.take(peer);
            self.left(deadline, deadline + rules.lateness);
        }
        if self.live() > 0 {
            return false;
        }
        if !self.downloaded.contains(&0) && rules.deadline(self.emptied.0) <= now {
            self.downloaded.insert(0, 0);
        }
        let forgotten_last = if self.downloaded == [0] {
            self.emptied.1
        } else {
            rules.deadline(self.emptied.1) + rules.lateness
        };
        self.peers.is_empty() && forgotten_last < now
    }

    /// Drops the peers that are no longer `stored`.
    fn drop_swept(&mut self, now: Millis, stored: impl Fn(&Endpoint) -> bool) {
        let swept: Vec<_> = self.peers.keys().copied().filter(|peer| !stored(peer)).collect();
        for peer in swept {
            if let Some(entry) = self.take(peer) {
                self.left(entry.deadline, now);
            }
        }
    }

    /// Whether a tracker may hold this torrent with `counts`, or, without them, not at all.
    fn may_hold(&self, counts: Option<&Counts>) -> bool {
        match counts {
            Some(counts) => {
                let must_be_forgotten = self.peers.is_empty() && self.downloaded == [0];
                !must_be_forgotten && self.downloaded.contains(&counts.downloaded)
            }
            None => self.peers.is_empty() && self.downloaded.contains(&0),
        }
    }
}

/// All that a tracker holds.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) torrents: BTreeMap<InfoHash, Counts>,
    pub(crate) peers: BTreeMap<(InfoHash, Endpoint), HeldPeer>,
    /// Whether a walk has shown something more than once.
    pub(crate) shown_twice: bool,
}

/// A peer that a tracker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldPeer {
    pub(crate) seeder: bool,
    pub(crate) been_seeder: bool,
    pub(crate) minute: u64,
    pub(crate) id: PeerId,
}

/// No network has more than a quarter of an answer that could have been filled with peers of others. Checked where there are
/// so few peers, or so many of other networks, that the tracker looks at enough of them.
fn check_networks(
    ask: &Announce,
    peers: &[(Endpoint, Option<PeerId>)],
    eligible: &[Endpoint],
    peers_max: usize,
) -> Result<bool, Violation> {
    let counted = |endpoints: &mut dyn Iterator<Item = Endpoint>| {
        let mut counts = BTreeMap::new();
        for endpoint in endpoints {
            *counts.entry(network(endpoint.ip)).or_insert(0) += 1;
        }
        counts
    };
    // A quarter of so few is none.
    let share = if peers_max < 4 { peers_max } else { peers_max / 4 };
    let there = counted(&mut eligible.iter().copied());
    let within: usize = there.values().map(|&count: &usize| count.min(share)).sum();
    // The tracker may look at a sample, in which a network with a quarter of the peers may seem to have more.
    let surely = share.min(eligible.len() / 16);
    let outsiders: usize = there.values().filter(|&&count| count <= surely).sum();
    if ask.peer.ip.is_loopback() || within < peers_max || outsiders * 4 < eligible.len() {
        return Ok(false);
    }
    let handed = counted(&mut peers.iter().map(|(peer, _)| *peer));
    ensure(handed.values().all(|&count| count <= share), "X-03", || {
        format!("{share} peers of a network are allowed, and of {there:?} were handed out {handed:?}")
    })?;
    let shared = |(network, count): (&_, &usize)| *count == share && there.get(network) > Some(count);
    Ok(handed.iter().any(shared))
}

/// The IPv4 /24 or the IPv6 /48 that an address is in, by its first bits.
const fn network(ip: IpAddr) -> (bool, u128) {
    match ip {
        IpAddr::V4(ip) => (false, ip.to_bits() as u128 >> 8),
        IpAddr::V6(ip) => (true, ip.to_bits() >> 80),
    }
}

/// Whether two addresses count as one where peers of one address are limited.
fn is_neighbour(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one == other,
        (IpAddr::V6(one), IpAddr::V6(other)) => one.octets()[..8] == other.octets()[..8],
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Whether the port is one that others could connect to.
const fn is_reachable(ask: &Announce) -> bool {
    ask.peer.port > 1
}

/// Loopback, link-local, private and shared by the clients of a provider: what there is here that is not global.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => match ip.octets() {
            [10 | 127, ..] | [192, 168, ..] | [169, 254, ..] | [100, 64..128, ..] => true,
            [172, second, ..] => (16..32).contains(&second),
            _ => false,
        },
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            ip.to_bits() <= 1 || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
        }
    }
}

/// How many peers an answer over UDP may hold.
pub(crate) const fn udp_peers_max(family: Family) -> usize {
    match family {
        Family::V4 => 242,
        Family::V6 => 67,
    }
}
