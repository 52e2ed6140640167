//! The settings of an operator, and every limit with its unit and reason.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;
use core::time::Duration;

use ipnet::IpNet;

use crate::cluster::{EPOCH_MINUTES, Secrets};
use crate::proxy::Proxies;
use crate::seed::Key;
use crate::time::Minute;

/// The settings of a tracker. One that exists is valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Invariant: `intervals.min <= intervals.initial <= intervals.max`, all within [`INTERVAL_SECS`].
    intervals: Intervals,
    load_limit: f64,
    peers_per_response_max: u32,
    socket_timeout: Duration,
    keep_alive: bool,
    full_scrape: bool,
    /// Invariant: empty, or as [`with_path_prefix`](Self::with_path_prefix) takes it, without a slash at its end.
    path_prefix: String,
    proxies: Option<Proxies>,
    external: Option<ExternalAddresses>,
    limits: Limits,
    swarms: SwarmConfig,
    /// The key of the epochs of a cluster.
    cluster: Option<Key>,
}

/// What one source may ask of the tracker.
#[derive(Clone, Debug)]
pub struct Limits {
    mode: LimitMode,
    /// Invariant: within [`LIMIT_RATE`].
    announces_per_sec: u32,
    exempt: Vec<IpNet>,
}

/// Whether sources are limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitMode {
    /// They are.
    #[default]
    On,
    /// What would be limited is counted, and served.
    DryRun,
    /// They are not.
    Off,
}

impl LimitMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::On, Self::DryRun, Self::Off];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::DryRun => "dry-run",
            Self::Off => "off",
        }
    }
}

/// The bounds of the announce interval, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// The first interval served.
    pub initial: u32,
    /// The shortest interval served, and the least `min interval`.
    pub min: u32,
    /// The longest interval served.
    pub max: u32,
}

impl Intervals {
    /// The `min interval` beside the interval `secs`: half of it. rtorrent announces after `min interval`, so a constant one
    /// would defeat an interval that follows the load.
    #[must_use]
    pub const fn min_beside(self, secs: u32) -> u32 {
        if secs / 2 > self.min { secs / 2 } else { self.min }
    }
}

/// The part of the settings that swarms need. It is taken from a [`Config`], and valid as that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwarmConfig {
    peer_ids: bool,
    peers_per_address_max: Option<u32>,
    private_peers: bool,
    /// Invariant: within [`TORRENTS`].
    torrents_max: u32,
    /// Invariant: within [`PEERS_PER_TORRENT`].
    peers_per_torrent_max: u32,
    /// Invariant: what [`peer_age_max_minutes`] makes of intervals within [`INTERVAL_SECS`], and in a cluster an epoch more.
    peer_age_max_minutes: u32,
    /// Minutes of the shortest interval, rounded up.
    interval_min_minutes: u32,
    workers: usize,
    memory: Option<MemoryLimits>,
}

/// Memory that swarms may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes of torrents and peers, by the store's own account. New peers of known torrents may take a
    /// [`RESERVE`](Self::RESERVE)th part of it more.
    pub swarms_max: usize,
    /// Bytes that tell torrents which were announced once from others, where memory is short. They are taken only then.
    pub admissions_max: usize,
}

impl MemoryLimits {
    /// The part of the swarms' memory that is kept for new peers of known torrents: without it a flood of torrents would
    /// keep peers out of swarms that were there before.
    pub const RESERVE: usize = 16;
}

impl Default for Config {
    fn default() -> Self {
        let intervals = Intervals {
            initial: 1799,
            min: 239,
            max: 1799,
        };
        Self {
            intervals,
            load_limit: LOAD_LIMIT_MIN,
            peers_per_response_max: 60,
            socket_timeout: Duration::from_secs(3),
            keep_alive: false,
            full_scrape: false,
            path_prefix: String::new(),
            proxies: None,
            external: None,
            limits: Limits {
                mode: LimitMode::On,
                announces_per_sec: 500,
                exempt: PRIVATE_NETWORKS.to_vec(),
            },
            swarms: SwarmConfig {
                peer_ids: true,
                peers_per_address_max: Some(64),
                private_peers: true,
                torrents_max: *TORRENTS.end(),
                peers_per_torrent_max: *PEERS_PER_TORRENT.end(),
                peer_age_max_minutes: peer_age_max_minutes(intervals),
                interval_min_minutes: intervals.min.div_ceil(60),
                workers: 1,
                memory: None,
            },
            cluster: None,
        }
    }
}

impl Config {
    /// Sets the announce intervals.
    ///
    /// # Errors
    /// If one is outside [`INTERVAL_SECS`] or they are not in the order min, initial, max.
    pub fn with_intervals(mut self, intervals: Intervals) -> Result<Self, OutOfRange> {
        let Intervals { initial, min, max } = intervals;
        check("minimum interval", min, INTERVAL_SECS)?;
        check("maximum interval", max, min..=*INTERVAL_SECS.end())?;
        check("interval", initial, min..=max)?;
        self.swarms.interval_min_minutes = intervals.min.div_ceil(60);
        self.intervals = intervals;
        Ok(self.with_ages())
    }

    /// Makes the tracker a node of the cluster with these secrets. Its peers live five minutes longer, as what other nodes know of
    /// them may be so much older.
    #[must_use]
    pub fn with_cluster(mut self, secrets: &Secrets) -> Self {
        self.cluster = Some(secrets.first().epoch_key());
        self.with_ages()
    }

    fn with_ages(mut self) -> Self {
        let later = if self.cluster.is_some() { EPOCH_MINUTES } else { 0 };
        self.swarms.peer_age_max_minutes = peer_age_max_minutes(self.intervals) + later;
        self
    }

    /// Sets the load average above which the interval grows. Less than 0.5, or NaN, becomes 0.5.
    #[must_use]
    pub fn with_load_limit(mut self, limit: f64) -> Self {
        self.load_limit = limit.max(LOAD_LIMIT_MIN);
        self
    }

    /// Sets how many peers one answer may hold.
    ///
    /// # Errors
    /// If `peers` is outside [`PEERS_PER_RESPONSE`].
    pub fn with_peers_per_response_max(mut self, peers: u32) -> Result<Self, OutOfRange> {
        self.peers_per_response_max = check("peers per response", peers, PEERS_PER_RESPONSE)?;
        Ok(self)
    }

    /// Sets how long an HTTP client may take over a request head, an answer, or idleness, in seconds.
    ///
    /// # Errors
    /// If `secs` is outside [`SOCKET_TIMEOUT_SECS`].
    pub fn with_socket_timeout_secs(mut self, secs: u32) -> Result<Self, OutOfRange> {
        let secs = check("socket timeout", secs, SOCKET_TIMEOUT_SECS)?;
        self.socket_timeout = Duration::from_secs(secs.into());
        Ok(self)
    }

    /// Sets whether HTTP connections serve more than one request.
    #[must_use]
    pub fn with_keep_alive(mut self, keep_alive: bool) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets whether a scrape without info-hashes lists every torrent.
    #[must_use]
    pub fn with_full_scrape(mut self, full_scrape: bool) -> Self {
        self.full_scrape = full_scrape;
        self
    }

    /// Sets a path such as `/a/b` under which a proxy forwards requests: everything served at `/` is served there too.
    ///
    /// # Errors
    /// If it does not begin with a slash, is longer than [`PATH_PREFIX_MAX`], or has an empty segment, `.`, `..`, one with other
    /// characters than letters, digits and `-._~`, or `announce` or `scrape`, which come after it. One slash may end it.
    pub fn with_path_prefix(mut self, prefix: &str) -> Result<Self, BadPathPrefix> {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let segments = prefix.strip_prefix('/').ok_or(BadPathPrefix)?;
        if prefix.len() > PATH_PREFIX_MAX || !segments.split('/').all(is_plain_segment) {
            return Err(BadPathPrefix);
        }
        prefix.clone_into(&mut self.path_prefix);
        Ok(self)
    }

    /// Takes the client's address from `X-Forwarded-For`, if the connection is from these networks.
    #[must_use]
    pub fn with_trusted_proxies(self, networks: Vec<IpNet>) -> Self {
        self.with_proxies(Proxies::new(networks))
    }

    /// Takes the client's address from trusted proxies.
    #[must_use]
    pub fn with_proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Sets the addresses under which peers of the tracker's own network are stored and handed out.
    #[must_use]
    pub const fn with_external_addresses(mut self, external: ExternalAddresses) -> Self {
        self.external = Some(external);
        self
    }

    /// Sets whether sources are limited.
    #[must_use]
    pub fn with_limit_mode(mut self, mode: LimitMode) -> Self {
        self.limits.mode = mode;
        self
    }

    /// Sets how many announces a second one IPv4 address or IPv6 /64 may send; 40 times as many at once.
    ///
    /// # Errors
    /// If `announces` is outside [`LIMIT_RATE`].
    pub fn with_limit_rate(mut self, announces: u32) -> Result<Self, OutOfRange> {
        self.limits.announces_per_sec = check("announces per second of a source", announces, LIMIT_RATE)?;
        Ok(self)
    }

    /// Sets the networks that are never limited, instead of [`PRIVATE_NETWORKS`]. Trusted proxies never are.
    #[must_use]
    pub fn with_limit_exempt(mut self, networks: Vec<IpNet>) -> Self {
        self.limits.exempt = networks;
        self
    }

    /// Sets whether peer ids are kept.
    #[must_use]
    pub fn with_peer_ids(mut self, peer_ids: bool) -> Self {
        self.swarms.peer_ids = peer_ids;
        self
    }

    /// Sets how many peers of one address one torrent may hold; 0 is no limit.
    ///
    /// # Errors
    /// If `peers` is outside [`PEERS_PER_ADDRESS`].
    pub fn with_peers_per_address_max(mut self, peers: u32) -> Result<Self, OutOfRange> {
        let peers = check("peers per address", peers, PEERS_PER_ADDRESS)?;
        self.swarms.peers_per_address_max = (peers > 0).then_some(peers);
        Ok(self)
    }

    /// Sets whether addresses that are [`Local`](crate::scope::Scope::Local), as loopback and private ones, may take part.
    #[must_use]
    pub fn with_private_peers(mut self, allowed: bool) -> Self {
        self.swarms.private_peers = allowed;
        self
    }

    /// Sets how many torrents there may be.
    ///
    /// # Errors
    /// If `torrents` is outside [`TORRENTS`].
    pub fn with_torrents_max(mut self, torrents: u32) -> Result<Self, OutOfRange> {
        self.swarms.torrents_max = check("torrents", torrents, TORRENTS)?;
        Ok(self)
    }

    /// Sets how many peers one torrent may hold.
    ///
    /// # Errors
    /// If `peers` is outside [`PEERS_PER_TORRENT`].
    pub fn with_peers_per_torrent_max(mut self, peers: u32) -> Result<Self, OutOfRange> {
        self.swarms.peers_per_torrent_max = check("peers per torrent", peers, PEERS_PER_TORRENT)?;
        Ok(self)
    }

    /// Sets for how many workers the shards are sized: this many rarely contend. More may be created.
    #[must_use]
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.swarms.workers = workers;
        self
    }

    /// Sets how much memory swarms may take. Without this they take what they need.
    #[must_use]
    pub fn with_memory_limits(mut self, limits: MemoryLimits) -> Self {
        self.swarms.memory = Some(limits);
        self
    }

    /// The announce intervals.
    #[must_use]
    pub const fn intervals(&self) -> Intervals {
        self.intervals
    }

    /// The load average above which the interval grows.
    #[must_use]
    pub const fn load_limit(&self) -> f64 {
        self.load_limit
    }

    /// How many peers one answer may hold.
    #[must_use]
    pub const fn peers_per_response_max(&self) -> u32 {
        self.peers_per_response_max
    }

    /// How many peers a request for `numwant` gets at most.
    #[must_use]
    pub fn peers_wanted(&self, numwant: Option<u32>) -> usize {
        numwant
            .unwrap_or(NUMWANT_DEFAULT)
            .min(self.peers_per_response_max) as usize
    }

    /// How long an HTTP client may take over a request head, an answer, or idleness.
    #[must_use]
    pub const fn socket_timeout(&self) -> Duration {
        self.socket_timeout
    }

    /// Whether HTTP connections serve more than one request.
    #[must_use]
    pub const fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether a scrape without info-hashes lists every torrent.
    #[must_use]
    pub const fn full_scrape(&self) -> bool {
        self.full_scrape
    }

    /// The path under which all is served too; empty if there is none.
    #[must_use]
    pub const fn path_prefix(&self) -> &str {
        self.path_prefix.as_str()
    }

    /// Who may name clients, and by what; `None` if nobody is asked for them.
    #[must_use]
    pub const fn proxies(&self) -> Option<&Proxies> {
        self.proxies.as_ref()
    }

    /// The addresses under which peers of the tracker's own network are stored and handed out; `None` if these are their own.
    #[must_use]
    pub const fn external_addresses(&self) -> Option<&ExternalAddresses> {
        self.external.as_ref()
    }

    /// What one source may ask of the tracker.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The key of the epochs of its cluster; `None` if the tracker is alone.
    pub(crate) const fn cluster(&self) -> Option<Key> {
        self.cluster
    }

    /// The settings of swarms.
    #[must_use]
    pub const fn swarms(&self) -> &SwarmConfig {
        &self.swarms
    }
}

/// The addresses by which the Internet reaches the tracker's own network, one of each family at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExternalAddresses {
    /// For IPv4.
    pub v4: Option<Ipv4Addr>,
    /// For IPv6.
    pub v6: Option<Ipv6Addr>,
}

impl ExternalAddresses {
    /// The address under which a peer at `ip` is stored and handed out: another one than its own if it is in one of
    /// [`PRIVATE_NETWORKS`] or link-local.
    #[must_use]
    pub fn of(&self, ip: IpAddr) -> IpAddr {
        match (ip, self) {
            (IpAddr::V4(_), Self { v4: Some(v4), .. }) if Self::are_for(ip) => (*v4).into(),
            (IpAddr::V6(_), Self { v6: Some(v6), .. }) if Self::are_for(ip) => (*v6).into(),
            _ => ip,
        }
    }

    /// Whether `ip` is of the tracker's own network, so that others know it by another address.
    #[must_use]
    pub fn are_for(ip: IpAddr) -> bool {
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        is_link_local || PRIVATE_NETWORKS.iter().any(|network| network.contains(&ip))
    }
}

impl Limits {
    /// Whether sources are limited.
    #[must_use]
    pub const fn mode(&self) -> LimitMode {
        self.mode
    }

    /// Announces a second that one IPv4 address or IPv6 /64 may send to a worker.
    #[must_use]
    pub const fn announces_per_sec(&self) -> u32 {
        self.announces_per_sec
    }

    /// Networks that are never limited, beside trusted proxies.
    #[must_use]
    pub fn exempt(&self) -> &[IpNet] {
        &self.exempt
    }
}

impl SwarmConfig {
    /// Whether peer ids are kept for dictionary answers, at 20 bytes a peer.
    #[must_use]
    pub const fn peer_ids(&self) -> bool {
        self.peer_ids
    }

    /// Peers of one address (IPv6: one /64) in one torrent; `None` is no limit. Loopback is never limited.
    #[must_use]
    pub const fn peers_per_address_max(&self) -> Option<u32> {
        self.peers_per_address_max
    }

    /// Whether addresses that are [`Local`](crate::scope::Scope::Local), as loopback and private ones, may take part.
    #[must_use]
    pub const fn private_peers(&self) -> bool {
        self.private_peers
    }

    /// Torrents in all.
    #[must_use]
    pub const fn torrents_max(&self) -> u32 {
        self.torrents_max
    }

    /// Peers in one torrent.
    #[must_use]
    pub const fn peers_per_torrent_max(&self) -> u32 {
        self.peers_per_torrent_max
    }

    /// Minutes of silence after which a peer expires, on the coarse clock: a peer is kept while its age is at most this,
    /// rounded up to whole [steps](Self::minutes_per_step). On a fine clock that can be up to one step more.
    #[must_use]
    pub const fn peer_age_max_minutes(&self) -> u32 {
        self.peer_age_max_minutes
    }

    /// Minutes that a torrent which was admitted while memory was short has to be announced again: the shortest interval and
    /// two minutes for a client that is late.
    #[must_use]
    pub const fn probation_minutes(&self) -> u32 {
        self.interval_min_minutes + 2
    }

    /// Minutes after which an announce of a stored peer counts for the [credit](crate::governor) of its source: the shortest
    /// interval, less what the clock of swarms may be off by.
    #[must_use]
    pub const fn renewal_minutes(&self) -> u32 {
        let minutes = self.interval_min_minutes.saturating_sub(self.minutes_per_step());
        if minutes == 0 { 1 } else { minutes }
    }

    /// How much memory swarms may take; `None` is no limit.
    #[must_use]
    pub const fn memory(&self) -> Option<MemoryLimits> {
        self.memory
    }

    /// Workers that share the swarms.
    #[must_use]
    pub const fn workers(&self) -> usize {
        self.workers
    }

    /// Minutes of a step of the coarse clock: one, or more where the longest age exceeds 62 steps.
    #[must_use]
    pub const fn minutes_per_step(&self) -> u32 {
        match self.peer_age_max_minutes.div_ceil(STEPS_MAX) {
            0 => 1,
            minutes => minutes,
        }
    }

    /// Whether a peer that last announced at `since` has expired at `now`.
    #[must_use]
    pub const fn is_too_old(&self, now: Minute, since: Minute) -> bool {
        let step = self.minutes_per_step();
        (now.get() / step).saturating_sub(since.get() / step) > self.age_max_steps()
    }

    /// The greatest age of a peer, in steps.
    pub(crate) const fn age_max_steps(&self) -> u32 {
        self.peer_age_max_minutes.div_ceil(self.minutes_per_step())
    }

    /// How many peers of the address `ip` one torrent may hold; `None` is no limit.
    #[must_use]
    pub fn peers_of_address_max(&self, ip: IpAddr) -> Option<u32> {
        if ip.is_loopback() {
            None
        } else {
            self.peers_per_address_max
        }
    }
}

/// A setting that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutOfRange {
    /// The setting.
    pub what: &'static str,
    /// The refused value.
    pub value: u32,
    /// The smallest value allowed.
    pub min: u32,
    /// The largest value allowed.
    pub max: u32,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            value,
            min,
            max,
        } = self;
        write!(f, "{what} is {value}, but must be from {min} to {max}")
    }
}

impl core::error::Error for OutOfRange {}

/// A path prefix that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadPathPrefix;

impl fmt::Display for BadPathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a path like /tracker or /a/b, which announce and scrape come after: at most {PATH_PREFIX_MAX} bytes, letters, \
             digits and -._~ between slashes"
        )
    }
}

impl core::error::Error for BadPathPrefix {}

/// Announce intervals, in seconds.
pub const INTERVAL_SECS: RangeInclusive<u32> = 60..=7200;
/// Seconds by which one evaluation changes the interval.
pub(crate) const INTERVAL_STEP_SECS: u32 = 60;
/// Seconds that a peer may be late with its announce before it expires.
pub(crate) const PEER_GRACE_SECS: u32 = 61;
/// Greatest age of a peer in steps of the coarse clock: six bits hold these ages and one value for "older". A step is a minute
/// up to a longest interval of an hour, and two minutes up to two hours; in a cluster an epoch earlier, and up to three minutes.
pub(crate) const STEPS_MAX: u32 = 62;
/// The load average limit is never below this: an idle machine reaches a few tenths.
pub const LOAD_LIMIT_MIN: f64 = 0.5;
/// Peers in one answer. A thousand dictionaries fit [`crate::http::REPLY_MAX`].
pub const PEERS_PER_RESPONSE: RangeInclusive<u32> = 1..=1000;
/// Peers for a client without `numwant`.
const NUMWANT_DEFAULT: u32 = 50;
/// Seconds an HTTP client may keep the tracker waiting.
pub const SOCKET_TIMEOUT_SECS: RangeInclusive<u32> = 1..=300;
/// Announces a second of one source. The lower end is for trying it out; at the upper end a source is no longer limited by more
/// than what a processor does.
pub const LIMIT_RATE: RangeInclusive<u32> = 1..=10_000;
/// Loopback, and networks that are nobody else's (RFC 1918, RFC 4193).
pub const PRIVATE_NETWORKS: [IpNet; 6] = [
    v4_network([127, 0, 0, 0], 8),
    v4_network([10, 0, 0, 0], 8),
    v4_network([172, 16, 0, 0], 12),
    v4_network([192, 168, 0, 0], 16),
    v6_network(Ipv6Addr::LOCALHOST, 128),
    v6_network(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
];
/// Readers of full scrapes at once; one more is told to come back in a minute.
pub(crate) const FULL_SCRAPE_READERS_MAX: usize = 32;
/// Of those, readers of one address (IPv6: one /64), so that others find places.
pub(crate) const FULL_SCRAPE_READERS_OF_ADDRESS_MAX: usize = 16;
/// Lists of all torrents that are kept for readers of full scrapes, at 20 bytes for each torrent.
pub(crate) const FULL_SCRAPE_LISTS_MAX: usize = 2;
/// How long a collected list is shared with further readers of full scrapes. The counts are always current.
pub(crate) const FULL_SCRAPE_AGE_MAX: Duration = Duration::from_secs(60);
/// Bytes a second that a reader of a full scrape has to take on average. A slower one is closed.
pub(crate) const FULL_SCRAPE_RATE_MIN: u64 = 64 * 1024;
/// How long a full scrape waits for its reader in all before the rate counts.
pub(crate) const FULL_SCRAPE_GRACE: Duration = Duration::from_secs(10);
/// Bytes of a path prefix: more than any proxy adds.
pub const PATH_PREFIX_MAX: usize = 255;
/// Peers of one address in one torrent; 0 is no limit. The upper end bounds the work of counting them.
pub const PEERS_PER_ADDRESS: RangeInclusive<u32> = 0..=1024;
/// Torrents in all. The upper end is some thirty times the largest public trackers.
pub const TORRENTS: RangeInclusive<u32> = 1..=1 << 27;
/// Peers in one torrent. The upper end is ten times the largest swarms seen.
pub const PEERS_PER_TORRENT: RangeInclusive<u32> = 1..=1 << 24;
/// Peers and torrents looked at in one step of the sweep: some tens of microseconds.
pub const SWEEP_WORK: usize = 4096;
/// Milliseconds within which the sweep looks at each peer once, so that none outlives its time by more than this.
pub(crate) const SWEEP_PERIOD_MILLIS: u64 = 60_000;

const fn v4_network([a, b, c, d]: [u8; 4], prefix_len: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix_len)
}

const fn v6_network(ip: Ipv6Addr, prefix_len: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V6(ip), prefix_len)
}

fn check(what: &'static str, value: u32, range: RangeInclusive<u32>) -> Result<u32, OutOfRange> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(OutOfRange {
        what,
        value,
        min: *range.start(),
        max: *range.end(),
    })
}

/// Whether clients and proxies send this segment unchanged: they resolve `.` and `..`, and may escape other characters.
fn is_plain_segment(segment: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    !matches!(segment, "" | "." | ".." | "announce" | "scrape") && segment.bytes().all(plain)
}

/// An announce lies anywhere within its step of the clock, and expiry at the beginning of one: a peer is kept for at least its
/// time, rounded up to steps, and for less than one step more.
const fn peer_age_max_minutes(intervals: Intervals) -> u32 {
    (intervals.max + PEER_GRACE_SECS).div_ceil(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_intervals_the_age_of_peers_fits_the_steps_that_stamps_have() {
        for max in INTERVAL_SECS {
            let intervals = Intervals {
                initial: max,
                min: 60,
                max,
            };
            let alone = Config::default().with_intervals(intervals).unwrap();
            let secrets = Secrets::new(crate::cluster::Secret::new([1; 32]));
            for (config, longer) in [(alone.clone(), 0), (alone.with_cluster(&secrets), EPOCH_MINUTES)] {
                let swarms = config.swarms();
                assert!((1..=STEPS_MAX).contains(&swarms.age_max_steps()), "{max}");
                assert!((swarms.peer_age_max_minutes() - longer) * 60 > max, "{max}");
            }
        }
    }
}
