//! Who may have how much, and what is done about the rest.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use super::board::Board;
use super::charge::{Charge, Class};
use super::heaviest::{Heaviest, Heavy};
use super::prefix::{Prefix, Width};
use super::sketch::{Amount, LINE_BYTES, Poured, Sketch};
use super::verdict::Verdict;
use crate::access::{AddressList, Network};
use crate::config::{Config, LimitMode};
use crate::proxy::Proxies;
use crate::seed::{Key, Random, Seed};
use crate::time::Instant;

/// What one worker lets each source have. Its memory is fixed.
///
/// While nobody uses more than half of what it may, only one request in eight is weighed, by chance, and eight times: what a
/// source has used is known to a few percent then, some of those that ask little are not seen at all, and one that
/// overdoes it is noticed a few requests sooner or later. From then on every request is weighed, until none was above
/// half for a second. Requests that cost more than two announces are always weighed.
#[derive(Debug)]
pub(crate) struct Governor {
    mode: LimitMode,
    /// Requests to pass before the next is weighed.
    pass: u32,
    /// How many requests the next one stands for.
    weight: u32,
    /// Of how many requests one is weighed while all is calm.
    sampled: u32,
    calm_from: Instant,
    exempt: AddressList,
    tariff: Tariff,
    key: Key,
    sketch: Sketch,
    random: Random,
    heaviest: Heaviest,
    /// All requests of sources that have used more than an eighth of what they may.
    busiest: Heaviest,
    board: Arc<Board>,
}

impl Governor {
    /// The governor of worker `number`, which shows on `board` what it limits.
    pub(crate) fn new(config: &Config, seed: &Seed, number: u64, board: Arc<Board>) -> Self {
        let limits = config.limits();
        let key = seed.key("governor");
        let proxies = config.proxies().map(Proxies::networks).unwrap_or_default();
        let exempt = limits.exempt().iter().chain(proxies).copied();
        Self {
            mode: limits.mode(),
            pass: 0,
            weight: 1,
            sampled: (limits.announces_per_sec() / SAMPLED_PART).clamp(1, SAMPLED_MAX),
            calm_from: Instant::default(),
            exempt: AddressList::new(&exempt.map(Network).collect::<Vec<_>>()),
            tariff: Tariff::new(limits.announces_per_sec(), config.swarms().workers()),
            key,
            sketch: Sketch::new(match limits.mode() {
                LimitMode::On | LimitMode::DryRun => LINES,
                LimitMode::Off => 1,
            }),
            random: key.random(number),
            heaviest: Heaviest::new(),
            busiest: Heaviest::new(),
            board,
        }
    }

    /// What is done about a request of `source`. Who `is_hidden` stands for many, and is never limited.
    #[inline]
    pub(crate) fn judge(
        &mut self,
        now: Instant,
        source: IpAddr,
        charge: Charge,
        is_hidden: impl FnOnce() -> bool,
    ) -> Verdict {
        if charge.tenths <= SAMPLED_MAX_TENTHS && self.pass > 0 {
            self.pass -= 1;
            return Verdict::Serve;
        }
        self.judge_closely(now, source, charge, is_hidden)
    }

    /// Apart, so that the way of most requests is short enough to be part of its caller.
    #[inline(never)]
    fn judge_closely(
        &mut self,
        now: Instant,
        source: IpAddr,
        charge: Charge,
        is_hidden: impl FnOnce() -> bool,
    ) -> Verdict {
        let is_cheap = charge.tenths <= SAMPLED_MAX_TENTHS;
        if self.mode == LimitMode::Off {
            self.pass = u32::MAX;
            return Verdict::Serve;
        }
        let weight = if is_cheap { self.weight } else { 1 };
        let over = self.weigh(now, source, charge, weight);
        if is_cheap {
            self.draw(now);
        }
        match over {
            Some(prefix) if !is_hidden() => self.limit(now, prefix, charge, weight),
            Some(_) | None => Verdict::Serve,
        }
    }

    /// The heaviest sources of proven traffic that exceeded their limits in the last full second, the heaviest first.
    pub(crate) fn heaviest(&mut self, now: Instant) -> Vec<Heavy> {
        let heaviest = self.heaviest.of_last(now.as_secs());
        let mut proven: Vec<_> = heaviest.filter(|heavy| heavy.proven).collect();
        proven.sort_unstable_by_key(|heavy| core::cmp::Reverse(heavy.per_sec));
        proven
    }

    /// The sources of proven traffic that have used more than an eighth of what they may, with all their requests in the last full
    /// second or in this one, whichever are more.
    pub(crate) fn busiest(&mut self, now: Instant) -> impl Iterator<Item = Heavy> + '_ {
        self.busiest.of_recent(now.as_secs())
    }

    /// Puts a request into the buckets of its source; the narrowest one that has no room, if one has none.
    fn weigh(&mut self, now: Instant, source: IpAddr, charge: Charge, weight: u32) -> Option<Prefix> {
        if self.exempt.contains(source) {
            return None;
        }
        let purse = Purse::of(charge.class);
        for prefix in Prefix::all_of(source) {
            let amount = self
                .tariff
                .amount(purse, prefix, charge.tenths.saturating_mul(weight));
            match self.sketch.pour(now, self.hash(purse, prefix), amount, BURST) {
                Poured::Fits(level) => {
                    if level > ALARMING {
                        self.calm_from = now.saturating_add(CALM_AFTER);
                    }
                    if level > NOTED {
                        self.note_busy(now, prefix, purse, weight);
                    }
                }
                Poured::Over => {
                    self.calm_from = now.saturating_add(CALM_AFTER);
                    self.note_busy(now, prefix, purse, weight);
                    return Some(prefix);
                }
            }
        }
        None
    }

    fn note_busy(&mut self, now: Instant, prefix: Prefix, purse: Purse, weight: u32) {
        // Forged sources are never filtered, and would take the places of others.
        if purse == Purse::Proven {
            self.busiest.note(now.as_secs(), prefix, true, weight);
        }
    }

    /// Chooses the next request to weigh.
    fn draw(&mut self, now: Instant) {
        (self.pass, self.weight) = if now < self.calm_from {
            (0, 1)
        } else {
            // On average one in `sampled`, and none can be sent so that it falls between.
            (self.random.u32(0..self.sampled * 2 - 1), self.sampled)
        };
    }

    /// What is done about a request for which `prefix` has no room. Up to the limit each source has its requests served; up to
    /// once more they are answered short, then by a failure, and all beyond is left unanswered.
    fn limit(&mut self, now: Instant, prefix: Prefix, charge: Charge, weight: u32) -> Verdict {
        let class = charge.class;
        let verdict = if class.is_proven() {
            self.exceed(now, prefix, charge, weight)
        } else {
            Verdict::Silence
        };
        let verdict = verdict.on(class);
        if verdict == Verdict::Serve {
            return verdict;
        }
        self.board.add(class, prefix.width(), verdict, weight);
        let second = now.as_secs();
        if self.heaviest.note(second, prefix, class.is_proven(), weight) {
            self.board.publish_heaviest(now, self.heaviest.of_last(second));
        }
        match self.mode {
            LimitMode::On => verdict,
            LimitMode::DryRun | LimitMode::Off => Verdict::Serve,
        }
    }

    fn exceed(&mut self, now: Instant, prefix: Prefix, charge: Charge, weight: u32) -> Verdict {
        let hash = self.hash(Purse::Excess, prefix);
        let amount = self
            .tariff
            .amount(Purse::Excess, prefix, charge.tenths.saturating_mul(weight));
        match self.sketch.pour(now, hash, amount, BURST_OF_EXCESS) {
            Poured::Fits(level) if level <= BURST => Verdict::Short,
            Poured::Fits(_) => Verdict::Failure,
            Poured::Over => Verdict::Silence,
        }
    }

    fn hash(&self, purse: Purse, prefix: Prefix) -> u64 {
        let mut message = [0; 10];
        let (bits, kind) = message.split_at_mut(8);
        bits.copy_from_slice(&prefix.bits().to_le_bytes());
        kind.copy_from_slice(&[prefix.width() as u8, purse as u8]);
        self.key.hash(&message)
    }
}

/// What requests are paid from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purse {
    Connect,
    /// Datagrams that are dropped anyway. They can be forged, and must not use up the connects of the address that they name.
    Dropped,
    Proven,
    /// What is over the limit.
    Excess,
}

impl Purse {
    const fn of(class: Class) -> Self {
        match class {
            Class::Connect => Self::Connect,
            Class::WrongId | Class::Malformed => Self::Dropped,
            Class::Announce
            | Class::Scrape
            | Class::FullScrape
            | Class::Connection
            | Class::Handshake
            | Class::BadRequest
            | Class::Page => Self::Proven,
        }
    }
}

/// What a tenth of an announce costs a source of each width.
#[derive(Debug)]
struct Tariff {
    proven: [Amount; Width::ALL.len()],
    unproven: [Amount; Width::ALL.len()],
}

impl Tariff {
    /// Prices for one of so many workers, where a host may send `announces_per_sec`.
    ///
    /// A host's limit is not divided by the workers: the kernel gives all that one socket sends to one of them. What a network sends
    /// comes from many sockets, and is spread.
    fn new(announces_per_sec: u32, workers: usize) -> Self {
        let workers = u32::try_from(workers.max(1)).unwrap_or(u32::MAX);
        let price = |width: Width, part| {
            let shared = if width.is_narrow() { 1 } else { workers };
            let rate = announces_per_sec.saturating_mul(width.hosts()) / shared;
            Amount::one_of(u64::from(rate.max(announces_per_sec)) * 10 / part)
        };
        Self {
            proven: Width::ALL.map(|width| price(width, 1)),
            // A connect is answered with as much as it brought, and a client needs one in two minutes.
            unproven: Width::ALL.map(|width| price(width, 2)),
        }
    }

    fn amount(&self, purse: Purse, prefix: Prefix, tenths: u32) -> Amount {
        let prices = match purse {
            Purse::Connect | Purse::Dropped => &self.unproven,
            Purse::Proven | Purse::Excess => &self.proven,
        };
        let price = prices.get(prefix.width() as usize);
        price.copied().unwrap_or_default().times(tenths)
    }
}

/// What a source may send at once: all that it may send in 40 seconds. By default 20,000 announces, which is a thousand clients
/// behind one address that begin with twenty torrents each.
const BURST: Amount = Amount::leaking_in(Duration::from_secs(40));
/// What it may send beyond that and have answered: half of it short, half by a failure.
const BURST_OF_EXCESS: Amount = Amount::leaking_in(Duration::from_secs(80));
/// A source that uses more than half of what it may is looked at more closely.
const ALARMING: Amount = Amount::leaking_in(Duration::from_secs(20));
/// The requests of a source that has used more than an eighth of what it may are noted: should the worker be overloaded, they show
/// who floods it before anybody has used up what it may send at once.
const NOTED: Amount = Amount::leaking_in(Duration::from_secs(5));
/// How long after the last such source all is calm.
const CALM_AFTER: Duration = Duration::from_secs(1);
/// While all is calm, one in so many requests is weighed at most.
const SAMPLED_MAX: u32 = 8;
/// Where the limit is low, more of them are: what one stands for is a fiftieth of a second's limit or less.
const SAMPLED_PART: u32 = 50;
/// The price of the dearest requests of which only some are weighed.
const SAMPLED_MAX_TENTHS: u32 = 20;
/// Lines of a sketch: a mebibyte, which holds 131,072 sources at once. At the default limits a bucket is empty two milliseconds
/// after an announce, so that it holds those of any tracker, and a flood of millions a second.
const LINES: usize = 1 << 14;
/// Bytes of memory for the sources of one worker, as far as there are sources. No more are used, whatever comes.
pub const BYTES_PER_WORKER: usize = LINES * LINE_BYTES;

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    const START: Instant = Instant::from_secs(1_790_000_000);

    fn after(millis: u64) -> Instant {
        START.saturating_add(Duration::from_millis(millis))
    }

    fn source(number: u32) -> IpAddr {
        IpAddr::from((0x0b00_0000 + number).to_be_bytes())
    }

    struct Scene {
        governor: Governor,
        board: Arc<Board>,
    }

    impl Scene {
        fn new(config: &Config) -> Self {
            let board = Arc::new(Board::default());
            Self {
                governor: Governor::new(config, &Seed::new([5; 32]), 1, Arc::clone(&board)),
                board,
            }
        }

        fn judge(&mut self, now: Instant, ip: IpAddr, charge: impl Into<Charge>) -> Verdict {
            self.governor.judge(now, ip, charge.into(), || false)
        }

        /// How often each verdict was given to `requests` of `ip`, evenly from `from` on for so many milliseconds.
        fn flood(&mut self, from: Instant, ip: IpAddr, class: Class, requests: u64, millis: u64) -> [u64; 4] {
            let mut counts = [0; 4];
            for number in 0..requests {
                let now = from.saturating_add(Duration::from_millis(number * millis / requests));
                counts[self.judge(now, ip, class) as usize] += 1;
            }
            counts
        }
    }

    #[test]
    fn a_thousand_clients_behind_one_address_that_begin_with_twenty_torrents_are_served() {
        for ip in [source(1), "2001:db8:77::1".parse().unwrap()] {
            for workers in [1, 16] {
                let mut scene = Scene::new(&Config::default().with_workers(workers));
                for client in 0..1000u64 {
                    let now = after(client * 60);
                    assert_eq!(scene.judge(now, ip, Class::Connect), Verdict::Serve, "{client}");
                    for _ in 0..20 {
                        assert_eq!(scene.judge(now, ip, Class::Announce), Verdict::Serve, "{client}");
                    }
                }
                // All at once, but for what sampling may be off by.
                let mut scene = Scene::new(&Config::default().with_workers(workers));
                assert_eq!(scene.flood(START, ip, Class::Announce, 19_000, 0)[0], 19_000);
            }
        }
    }

    #[test]
    fn a_source_in_full_flight_is_served_its_limit_and_the_rest_is_short_then_refused_then_silent() {
        let mut scene = Scene::new(&Config::default());
        // 200 seconds of 5,000 a second.
        let counts = scene.flood(START, source(1), Class::Announce, 1_000_000, 200_000);
        let [served, short, failed, silent] = counts;
        assert!((119_000..121_000).contains(&served), "{counts:?}");
        assert!((19_000..40_000).contains(&short), "{counts:?}");
        assert!((100_000..120_000).contains(&failed), "{counts:?}");
        assert_eq!(short + failed, 1_000_000 - served - silent);
        assert!((136_000..140_000).contains(&(short + failed)), "{counts:?}");
        // Its neighbours do not notice.
        assert_eq!(
            scene.judge(after(200_000), source(2), Class::Announce),
            Verdict::Serve
        );
        // It is forgiven when it has been calm for a while.
        assert_eq!(
            scene.judge(after(241_000), source(1), Class::Announce),
            Verdict::Serve
        );
    }

    #[test]
    fn a_network_of_sources_below_their_limits_is_limited_as_a_whole() {
        for (ips, expected) in [
            // 200 addresses of a /24 with 100 a second each: 20,000 of 4,000.
            ((0..200).map(source).collect::<Vec<_>>(), Width::V4Of24),
            // The same in a /48, each in a /56 of its own.
            (
                (0..200u16)
                    .map(|net| IpAddr::from([0x2001, 0xdb8, 1, net << 8, 0, 0, 0, 1]))
                    .collect(),
                Width::V6Of48,
            ),
        ] {
            let mut scene = Scene::new(&Config::default());
            for second in 0..60 {
                for round in 0..100 {
                    for ip in &ips {
                        let _ = scene.judge(after(second * 1000 + round * 10), *ip, Class::Announce);
                    }
                }
            }
            let limited = Board::sum([&*scene.board].into_iter());
            assert!(!limited.is_empty());
            assert!(
                limited.iter().all(|limited| limited.width == expected),
                "{limited:?}"
            );
        }
    }

    #[test]
    fn what_is_forged_in_the_name_of_a_source_costs_its_proven_traffic_nothing() {
        let mut scene = Scene::new(&Config::default());
        let [served, _, _, silent] = scene.flood(START, source(1), Class::Connect, 100_000, 1000);
        assert!((9_500..11_500).contains(&served), "{served}");
        assert_eq!(silent, 100_000 - served);
        for class in [Class::WrongId, Class::Malformed] {
            let _ = scene.flood(after(40_000), source(1), class, 100_000, 1000);
            // Nor does it keep the source from getting an id, once its connects are below their limit.
            let counts = scene.flood(after(41_000), source(1), Class::Connect, 100, 1000);
            assert_eq!(counts, [100, 0, 0, 0], "{class:?}");
        }
        let counts = scene.flood(after(42_000), source(1), Class::Announce, 19_000, 1000);
        assert_eq!(counts, [19_000, 0, 0, 0]);
        assert_eq!(
            scene.governor.heaviest(after(43_000)),
            [],
            "forged sources are no case for a filter"
        );
    }

    #[test]
    fn the_dearer_a_request_the_fewer_there_may_be() {
        for (charge, at_once) in [
            (Charge::from(Class::FullScrape), 20),
            (Charge::scrape(74), 2380),
            (Charge::from(Class::Page), 4000),
        ] {
            let mut scene = Scene::new(&Config::default());
            let served = (0..20_000)
                .take_while(|_| scene.judge(START, source(1), charge) == Verdict::Serve)
                .count();
            assert_eq!(served, at_once, "{charge:?}");
            assert_eq!(scene.judge(START, source(1), charge), Verdict::Failure);
        }
    }

    #[test]
    fn a_connection_is_closed_only_when_its_requests_would_not_be_answered() {
        let mut scene = Scene::new(&Config::default());
        let [served, short, failed, _] = scene.flood(START, source(1), Class::Connection, 100_000, 0);
        assert_eq!([short, failed], [0, 0]);
        assert!((29_000..31_000).contains(&served), "{served}");
    }

    #[test]
    fn handshakes_are_made_up_to_twice_the_limit_and_abandoned_ones_count() {
        let mut scene = Scene::new(&Config::default());
        let [served, short, failed, silent] = scene.flood(START, source(1), Class::Handshake, 10_000, 0);
        assert_eq!([served, short, failed, silent], [2000, 0, 0, 8000]);
        let limited = Board::sum([&*scene.board].into_iter());
        assert!(limited.iter().all(|limited| limited.class == Class::Handshake));
        assert_eq!(limited.iter().map(|limited| limited.count).sum::<u64>(), 8000);
        // Announces are paid from the same account.
        assert_ne!(scene.judge(START, source(1), Class::Announce), Verdict::Serve);
        assert_eq!(
            scene.judge(after(1000), source(1), Class::Announce),
            Verdict::Serve
        );
    }

    #[test]
    fn exempt_networks_trusted_proxies_and_what_hides_clients_are_never_limited() {
        let exempt = vec!["11.0.0.0/30".parse().unwrap()];
        let config = Config::default()
            .with_trusted_proxies(vec!["11.0.0.4/32".parse().unwrap()])
            .with_limit_exempt(exempt);
        let mut scene = Scene::new(&config);
        for number in 0..5 {
            let counts = scene.flood(START, source(number), Class::Announce, 100_000, 0);
            assert_eq!(counts[0], 100_000, "{number}");
        }
        assert!(scene.flood(START, source(5), Class::Announce, 100_000, 0)[0] < 22_000);
        assert!(scene.flood(START, "127.0.0.1".parse().unwrap(), Class::Announce, 100_000, 0)[0] < 22_000);
        for _ in 0..100_000 {
            let verdict = scene
                .governor
                .judge(START, source(6), Class::Announce.into(), || true);
            assert_eq!(verdict, Verdict::Serve);
        }
        let mut scene = Scene::new(&Config::default());
        for ip in ["127.0.0.1", "::1", "10.1.2.3", "fd00::1"] {
            let counts = scene.flood(START, ip.parse().unwrap(), Class::Announce, 100_000, 0);
            assert_eq!(counts[0], 100_000, "{ip}");
        }
    }

    #[test]
    fn a_dry_run_counts_and_serves_and_off_does_neither() {
        for (mode, counted) in [(LimitMode::DryRun, true), (LimitMode::Off, false)] {
            let mut scene = Scene::new(&Config::default().with_limit_mode(mode));
            let counts = scene.flood(START, source(1), Class::Announce, 100_000, 1000);
            assert_eq!(counts[0], 100_000);
            assert_eq!(!Board::sum([&*scene.board].into_iter()).is_empty(), counted);
        }
    }

    #[test]
    fn the_heaviest_are_known_with_their_rates_until_they_calm_down() {
        let mut scene = Scene::new(&Config::default().with_limit_rate(10).unwrap());
        for millis in 0..3000 {
            for (ip, every) in [(1, 1), (2, 2), (3, 10)] {
                if millis % every == 0 {
                    let _ = scene.judge(after(millis), source(ip), Class::Announce);
                }
            }
        }
        let heaviest = scene.governor.heaviest(after(3000));
        let names: Vec<_> = heaviest.iter().map(|heavy| heavy.network.addr()).collect();
        assert_eq!(names, [source(1), source(2), source(3)][..names.len()]);
        assert!(names.len() >= 2);
        assert!((980..=1000).contains(&heaviest[0].per_sec), "{heaviest:?}");
        assert_eq!(scene.board.heaviest(after(4000)), []);
        assert!(!scene.board.heaviest(START).is_empty());
        assert_eq!(scene.governor.heaviest(after(5000)), []);
    }

    /// Forged connects of `sources` addresses, a million a second, with somebody known among them.
    fn forge(sources: u32) {
        let mut scene = Scene::new(&Config::default());
        let known = source(0);
        let mut silenced = 0u32;
        for number in 0..sources {
            let now = after((number / 1000).into());
            // No address comes twice.
            let forged = IpAddr::from(number.wrapping_mul(0x9e37_79b1).to_be_bytes());
            silenced += u32::from(scene.judge(now, forged, Class::Connect) != Verdict::Serve);
            if number % 10_000 == 0 {
                assert_eq!(scene.judge(now, known, Class::Connect), Verdict::Serve);
            }
            if number % 4000 == 0 {
                assert_eq!(scene.judge(now, known, Class::Announce), Verdict::Serve);
            }
        }
        assert_eq!(silenced, 0, "each has asked once");
        // Who overdoes it meanwhile is found all the same.
        let millis = u64::from(sources / 1000);
        let mut served = 0;
        for number in 0..30_000u32 {
            let now = after(millis + u64::from(number / 50));
            for forged in 0..20 {
                let forged = IpAddr::from((number * 20 + forged).wrapping_mul(0x85eb_ca6b).to_be_bytes());
                let _ = scene.judge(now, forged, Class::Connect);
            }
            served += u32::from(scene.judge(now, source(7), Class::Announce) == Verdict::Serve);
        }
        assert!((19_500..22_500).contains(&served), "{served}");
    }

    #[test]
    fn forged_sources_change_nothing_for_those_who_are_known() {
        forge(200_000);
    }

    /// Four seconds of an optimized build, and minutes of another.
    #[cfg(not(debug_assertions))]
    #[test]
    fn a_hundred_million_forged_sources_change_nothing_for_those_who_are_known() {
        forge(100_000_000);
    }

    /// Sampling finds a source that overdoes it after about as many requests as counting each would.
    #[test]
    fn whatever_the_chance_the_limit_is_off_by_a_few_percent() {
        for seed in 0..8 {
            let board = Arc::new(Board::default());
            let mut governor = Governor::new(&Config::default(), &Seed::new([seed; 32]), 1, board);
            let served = (0..40_000).filter(|number| {
                // Others ask in between, in no pattern that the source could fall out of.
                if number % 3 == 0 {
                    let _ = governor.judge(
                        START,
                        source(number % 1000 + 8192),
                        Class::Announce.into(),
                        || false,
                    );
                }
                governor.judge(START, source(1), Class::Announce.into(), || false) == Verdict::Serve
            });
            let served = served.count();
            assert!((18_500..=21_500).contains(&served), "{served}");
        }
    }
}
