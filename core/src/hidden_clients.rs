//! Detection of proxies and address translators that hide the clients from the tracker.
//!
//! Behind a proxy whose header is ignored, or behind an address translator, all clients have one address: they are stored under
//! that or refused, and no client finds another. Workers count the evidence; [`Tracker::hidden_clients`](crate::Tracker::hidden_clients) judges.

mod votes;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::governor::Heavy;
use crate::scope::Scope;
use crate::stats::{Count, Counters};
use crate::time::Instant;
use votes::Tally;
pub(crate) use votes::Votes;

/// Why clients are hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A proxy names its clients in a forwarding header that is ignored.
    HeaderIgnored,
    /// A trusted proxy sends no valid forwarding header.
    HeaderMissing,
    /// Most announces over HTTP come from one address.
    OneAddressHttp,
    /// Most announces over UDP come from one address.
    OneAddressUdp,
    /// Peers of a private address are refused by the limit for each address.
    AddressFull,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 5] = [
        Self::HeaderIgnored,
        Self::HeaderMissing,
        Self::OneAddressHttp,
        Self::OneAddressUdp,
        Self::AddressFull,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeaderIgnored => "header_ignored",
            Self::HeaderMissing => "header_missing",
            Self::OneAddressHttp => "one_address_http",
            Self::OneAddressUdp => "one_address_udp",
            Self::AddressFull => "address_full",
        }
    }
}

/// A cause that hides clients now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// When it was detected.
    pub since: Instant,
    /// The address that hides them, if it is known and not global.
    pub address: Option<IpAddr>,
    /// Whether there is a harmless explanation: clients on the tracker's host, a single client with one port, or a source that is
    /// limited.
    pub ordinary: bool,
    /// Whether the one address is a global one that was over its limit: it is limited, and more likely a flood than a proxy.
    pub limited: bool,
}

/// Judges the evidence of all workers, in fixed memory.
#[derive(Debug, Default)]
pub(crate) struct Detector {
    /// Ignored forwarding headers from private addresses: only a proxy sends them.
    ignored: EventRun,
    missing: EventRun,
    full: EventRun,
    http: Majority,
    udp: Majority,
    /// When most announces over HTTP had an ignored header, from several global addresses.
    forwarded: Option<Instant>,
}

impl Detector {
    /// Judges at `now`. A cause without new evidence for `patience` is dropped. `heaviest` are the sources that were over their
    /// limits lately. Meant to be called once a second; further calls are harmless.
    pub(crate) fn update(
        &mut self,
        now: Instant,
        patience: Duration,
        workers: &[Arc<Counters>],
        heaviest: &[Heavy],
    ) -> Vec<Finding> {
        let count = |count| {
            workers
                .iter()
                .fold(0u64, |sum, worker| sum.wrapping_add(worker.get(count)))
        };
        self.ignored
            .update(now, patience, count(Count::HttpForwardedIgnoredLocal));
        let missing = [
            Count::HttpForwardedMissing,
            Count::HttpProxyMalformed,
            Count::UdpUnnamed,
        ];
        let missing = missing.map(count).into_iter().fold(0, u64::wrapping_add);
        self.missing.update(now, patience, missing);
        self.full.update(now, patience, count(Count::AddressFullLocal));
        self.update_http(now, patience, workers);
        let udp = Tally::of(workers.iter().map(|worker| &worker.votes.udp));
        if self.udp.update(now, patience, udp) {
            workers.iter().for_each(|worker| worker.votes.udp.close());
        }
        for majority in [&mut self.http, &mut self.udp] {
            majority.note_limited(heaviest);
        }
        self.findings(now)
    }

    /// Whether `ip` is an address that many clients were found to have.
    pub(crate) fn stands_for_many(&self, ip: IpAddr) -> bool {
        let found = [&self.http, &self.udp];
        let mut found = found.into_iter().filter(|majority| !majority.is_ordinary());
        found.any(|majority| majority.address() == Some(ip))
    }

    fn update_http(&mut self, now: Instant, patience: Duration, workers: &[Arc<Counters>]) {
        let http = Tally::of(workers.iter().map(|worker| &worker.votes.http));
        let forwarded = Tally::of(workers.iter().map(|worker| &worker.votes.forwarded));
        let is_decided = http.seen >= EVIDENCE_MIN;
        if self.forwarded.is_some() {
            // Dropped only below a third, so that the finding does not flicker around one half.
            self.forwarded = self
                .forwarded
                .filter(|_| !is_decided || forwarded.seen * 3 >= http.seen);
        } else if forwarded.seen >= EVIDENCE_MIN
            && forwarded.seen * 2 > http.seen
            && forwarded.by_candidate * 2 <= forwarded.seen
        {
            self.forwarded = Some(now);
        }
        if self.http.update(now, patience, http) {
            for worker in workers {
                worker.votes.http.close();
                worker.votes.forwarded.close();
            }
        }
        if self.http.is_silent(now, patience) {
            self.forwarded = None;
        }
    }

    fn findings(&self, now: Instant) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |cause, since: Option<Instant>, address: Option<IpAddr>, ordinary, limited| {
            findings.extend(since.map(|since| Finding {
                cause,
                since,
                address: address.filter(|ip| Scope::of(*ip) == Scope::Local),
                ordinary: ordinary || limited,
                limited,
            }));
        };
        let ignored = self.ignored.since.or(self.forwarded);
        add(Cause::HeaderIgnored, ignored, self.http.address(), false, false);
        add(Cause::HeaderMissing, self.missing.since, None, false, false);
        for (cause, majority) in [
            (Cause::OneAddressHttp, &self.http),
            (Cause::OneAddressUdp, &self.udp),
        ] {
            // The ignored header explains the one address already.
            let since = majority
                .since
                .filter(|_| cause == Cause::OneAddressUdp || ignored.is_none())
                .filter(|_| majority.is_judged(now));
            add(
                cause,
                since,
                majority.address(),
                majority.is_ordinary(),
                majority.limited,
            );
        }
        add(Cause::AddressFull, self.full.since, None, false, false);
        findings
    }
}

/// A kind of request that is evidence by itself, counted since a quiet period.
#[derive(Debug, Default)]
struct EventRun {
    /// The count at the end of the quiet period.
    before: u64,
    count: u64,
    /// When the count rose last.
    at: Instant,
    since: Option<Instant>,
}

impl EventRun {
    fn update(&mut self, now: Instant, patience: Duration, count: u64) {
        if count != self.count {
            (self.count, self.at) = (count, now);
        } else if now.saturating_since(self.at) > patience {
            (self.before, self.since) = (count, None);
        }
        if self.since.is_none() && count.wrapping_sub(self.before) >= EVIDENCE_MIN {
            self.since = Some(now);
        }
    }
}

/// Whether one address is behind most announces.
#[derive(Debug, Default)]
struct Majority {
    last: Tally,
    /// When the tally changed last.
    at: Instant,
    since: Option<Instant>,
    /// The tally that showed or confirmed the majority.
    found: Tally,
    /// Whether its address was over its limit. It stays so while the address has the majority: what is said of it does not change
    /// with each lull of a flood.
    limited: bool,
}

impl Majority {
    /// True if the votes have to start again.
    fn update(&mut self, now: Instant, patience: Duration, tally: Tally) -> bool {
        if tally != self.last {
            (self.last, self.at) = (tally, now);
        } else if self.is_silent(now, patience) {
            self.since = None;
            return tally.seen > 0;
        }
        if tally.seen < EVIDENCE_MIN {
            return false;
        }
        if tally.by_candidate * 2 > tally.seen && tally.by_candidate >= EVIDENCE_MIN {
            self.limited &= self.address() == Some(tally.address());
            self.since = self.since.or(Some(now));
            self.found = tally;
            return true;
        }
        if self.since.is_some() && tally.by_candidate * 3 < tally.seen {
            self.since = None;
            return true;
        }
        tally.seen >= WINDOW
    }

    /// A private address is not limited once it is found, so that its first second says nothing about it.
    fn note_limited(&mut self, heaviest: &[Heavy]) {
        self.limited |= self.address().is_some_and(|ip| {
            let is_it = |heavy: &Heavy| heavy.proven && heavy.hosts() == 1 && heavy.network.contains(&ip);
            Scope::of(ip) == Scope::Global && heaviest.iter().any(is_it)
        });
    }

    /// False while a global address may still turn out to be over its limit, as a flood is and a proxy is not.
    fn is_judged(&self, now: Instant) -> bool {
        let is_old = self
            .since
            .is_some_and(|since| now.saturating_since(since) >= FLOOD_LIMITED_AFTER);
        is_old || self.limited || self.address().is_some_and(|ip| Scope::of(ip) == Scope::Local)
    }

    fn is_silent(&self, now: Instant, patience: Duration) -> bool {
        now.saturating_since(self.at) > patience
    }

    fn address(&self) -> Option<IpAddr> {
        self.since.map(|_| self.found.address())
    }

    /// Clients behind a proxy or translator announce different ports; a single client announces one port for all torrents.
    fn is_ordinary(&self) -> bool {
        self.found.address().is_loopback() || self.found.port_changes * 10 < self.found.by_candidate
    }
}

/// Requests that are enough evidence for a finding.
const EVIDENCE_MIN: u64 = 100;
/// A source that sends a third more than its limit has used up by then what it may send at once.
const FLOOD_LIMITED_AFTER: Duration = Duration::from_secs(120);
/// Announces of all workers after which the votes start again.
const WINDOW: u64 = 1000;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::announce::Endpoint;

    const START: Instant = Instant::from_secs(1_700_000_000);
    const PATIENCE: Duration = Duration::from_secs(1860);

    struct Scene {
        detector: Detector,
        workers: Vec<Arc<Counters>>,
        now: Instant,
        heaviest: Vec<Heavy>,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                detector: Detector::default(),
                workers: vec![Arc::default(), Arc::default(), Arc::default()],
                now: START,
                heaviest: Vec::new(),
            }
        }

        fn udp(&self, number: u16, ip: &str, port: u16) {
            let ip = ip.parse().unwrap();
            self.workers[usize::from(number) % 3]
                .votes
                .udp(Endpoint { ip, port });
        }

        fn http(&self, number: u32, ip: IpAddr, ignored: bool) {
            let port = number.to_le_bytes();
            let port = u16::from_le_bytes([port[0], port[1]]);
            self.workers[number as usize % 3]
                .votes
                .http(Endpoint { ip, port }, ignored);
        }

        fn count(&self, count: Count, more: u64) {
            self.workers[0].add(count, more);
        }

        fn after(&mut self, secs: u64) -> Vec<Finding> {
            self.now = self.now.saturating_add(Duration::from_secs(secs));
            self.detector
                .update(self.now, PATIENCE, &self.workers, &self.heaviest)
        }

        fn causes(&mut self) -> Vec<(Cause, bool)> {
            let findings = self.after(1);
            findings
                .iter()
                .map(|finding| (finding.cause, finding.ordinary))
                .collect()
        }
    }

    fn client(number: u32) -> IpAddr {
        core::net::Ipv4Addr::from_bits(0x0900_0000 + number).into()
    }

    #[test]
    fn the_hundredth_announce_of_one_private_address_is_noticed() {
        let mut scene = Scene::new();
        for number in 0..99 {
            scene.udp(number, "172.17.0.1", 7000 + number);
        }
        assert_eq!(scene.causes(), []);
        scene.udp(99, "172.17.0.1", 7);
        let found = scene.after(1);
        assert_eq!(found[0].cause, Cause::OneAddressUdp);
        assert_eq!(found[0].address, Some([172, 17, 0, 1].into()));
        assert!(!found[0].ordinary);
        assert_eq!(scene.after(1), found, "it lasts");
    }

    #[test]
    fn one_client_and_clients_on_loopback_are_ordinary_and_one_global_address_is_not_named() {
        for (ip, one_port, ordinary) in [
            ("192.168.1.7", true, true),
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("192.168.1.7", false, false),
            ("fd00::7", false, false),
            ("9.9.9.9", false, false),
        ] {
            let mut scene = Scene::new();
            for number in 0..150 {
                scene.udp(number, ip, if one_port { 6881 } else { number });
            }
            scene.after(1);
            let found = scene.after(FLOOD_LIMITED_AFTER.as_secs());
            assert_eq!(found.len(), 1, "{ip}");
            assert_eq!(
                (found[0].cause, found[0].ordinary),
                (Cause::OneAddressUdp, ordinary),
                "{ip}"
            );
            assert_eq!(found[0].address.is_none(), ip == "9.9.9.9", "{ip}");
        }
    }

    #[test]
    fn a_global_address_over_its_limit_is_said_to_be_limited_for_as_long_as_it_has_the_majority() {
        for (ip, network, proven, limited) in [
            ("9.9.9.9", "9.9.9.9/32", true, true),
            ("2620:fe::9", "2620:fe::/64", true, true),
            ("9.9.9.9", "9.9.9.8/32", true, false),
            ("9.9.9.9", "9.9.9.0/24", true, false),
            ("9.9.9.9", "9.9.9.9/32", false, false),
            ("172.17.0.1", "172.17.0.1/32", true, false),
        ] {
            let mut scene = Scene::new();
            (0..150).for_each(|number| scene.udp(number, ip, number));
            let waits = Scope::of(ip.parse().unwrap()) == Scope::Global;
            let told = [(Cause::OneAddressUdp, false)];
            assert_eq!(scene.causes(), &told[usize::from(waits)..], "{ip}");
            scene.heaviest = vec![Heavy {
                network: network.parse().unwrap(),
                proven,
                per_sec: 1000,
            }];
            let found = scene.after(1);
            let of_flood = found.iter().map(|finding| finding.limited);
            assert_eq!(
                of_flood.collect::<Vec<_>>(),
                vec![limited; usize::from(limited || !waits)],
                "{ip}"
            );
            scene.heaviest.clear();
            let after = scene.after(FLOOD_LIMITED_AFTER.as_secs());
            assert_eq!((after[0].limited, after[0].ordinary), (limited, limited), "{ip}");
            // Another address is judged anew.
            (0..300).for_each(|number| scene.udp(number, "10.0.0.2", number));
            assert_eq!(scene.causes(), [(Cause::OneAddressUdp, false)], "{ip}");
        }
    }

    #[test]
    fn an_address_among_many_is_nothing_and_what_it_was_is_gone_when_others_come() {
        let mut scene = Scene::new();
        for number in 0..5000 {
            let ip = if number % 3 == 0 {
                "10.0.0.1".parse().unwrap()
            } else {
                client(number)
            };
            scene.http(number, ip, false);
            if number % 50 == 0 {
                assert_eq!(scene.causes(), []);
            }
        }
        scene.after(1);
        let mut reached = Vec::new();
        for round in [[10, 0, 0, 1].into(), client(0), [10, 0, 0, 1].into()] {
            for number in 0..3000 {
                let one = IpAddr::from([10, 0, 0, 1]);
                scene.http(number, if round == one { one } else { client(number) }, false);
                if number % 50 == 0 {
                    scene.after(1);
                }
            }
            reached.push(scene.causes().len());
        }
        assert_eq!(reached, [1, 0, 1]);
    }

    #[test]
    fn headers_from_private_addresses_tell_and_are_gone_when_none_came_for_a_while() {
        let mut scene = Scene::new();
        for _ in 0..2 {
            scene.count(Count::HttpForwardedIgnoredLocal, 99);
            assert_eq!(scene.causes(), []);
            scene.count(Count::HttpForwardedIgnoredLocal, 1);
            assert_eq!(scene.causes(), [(Cause::HeaderIgnored, false)]);
            assert_eq!(scene.after(PATIENCE.as_secs()).len(), 1);
            assert_eq!(scene.after(1), []);
        }
    }

    #[test]
    fn a_proxy_in_front_of_all_is_one_finding() {
        let mut scene = Scene::new();
        for number in 0..100 {
            scene.http(number, [127, 0, 0, 1].into(), false);
            scene.count(Count::HttpForwardedIgnoredLocal, 1);
        }
        let found = scene.after(1);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].cause, found[0].address),
            (Cause::HeaderIgnored, Some([127, 0, 0, 1].into()))
        );
    }

    #[test]
    fn one_client_that_sends_headers_from_a_global_address_raises_no_alarm_and_many_proxies_do() {
        let mut scene = Scene::new();
        // One among others, and then alone with one port: neither is a proxy.
        for number in 0..2000 {
            let mine = number % 2 == 0;
            scene.http(
                number,
                if mine { [9, 9, 9, 9].into() } else { client(number) },
                mine,
            );
        }
        assert_eq!(scene.causes(), []);
        let mut scene = Scene::new();
        let one = Endpoint {
            ip: [9, 9, 9, 9].into(),
            port: 6881,
        };
        (0..500).for_each(|_| scene.workers[0].votes.http(one, true));
        scene.after(FLOOD_LIMITED_AFTER.as_secs());
        scene.after(FLOOD_LIMITED_AFTER.as_secs() - 1);
        assert_eq!(scene.causes(), [(Cause::OneAddressHttp, true)]);
        // A service of many proxies, with some clients beside it.
        let mut scene = Scene::new();
        for number in 0..130 {
            let through = number % 5 != 0;
            scene.http(
                number,
                if through {
                    client(number % 40)
                } else {
                    client(number)
                },
                through,
            );
        }
        assert_eq!(scene.causes(), [(Cause::HeaderIgnored, false)]);
        for number in 0..3000 {
            scene.http(number, client(number), false);
            if number % 100 == 0 {
                scene.after(1);
            }
        }
        assert_eq!(scene.causes(), []);
    }

    #[test]
    fn proxies_that_name_nobody_and_full_private_addresses_are_noticed() {
        let mut scene = Scene::new();
        scene.count(Count::HttpForwardedMissing, 100);
        scene.count(Count::AddressFullLocal, 100);
        assert_eq!(
            scene.causes(),
            [(Cause::HeaderMissing, false), (Cause::AddressFull, false)]
        );
    }
}
