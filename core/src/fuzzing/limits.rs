//! What one source may ask, against buckets without a limit to their number.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use crate::governor::{Board, Class, Governor, Verdict};
use crate::{Config, Instant, Seed};

use super::{NOW, take};

/// Requests of eight sources, each behind a byte that says who asks for what, and one that says how much later and how often.
/// No source is limited that has asked for less than its limit, whatever others do; the limit holds; an unproven sender is
/// served or gets silence.
pub fn governor(mut data: &[u8]) {
    // As many as a request is weighed by: every request is.
    let rate = u32::from(take(&mut data) % 50).max(1);
    let config = Config::default().with_limit_rate(rate).unwrap_or_default();
    let board = Arc::new(Board::default());
    let mut governor = Governor::new(&config, &Seed::new([1; 32]), 1, Arc::clone(&board));
    let mut asked = BTreeMap::<_, Asked>::new();
    let (mut now, mut limited) = (NOW, 0);
    while !data.is_empty() {
        let (what, more) = (take(&mut data), take(&mut data));
        now = now.saturating_add(Duration::from_millis(u64::from(more >> 4).pow(3)));
        let source = what & 7;
        let class = CLASSES.get(usize::from(what >> 3) % CLASSES.len());
        let class = class.copied().unwrap_or(Class::Announce);
        let asked = asked.entry((source, purse(class))).or_default();
        let burst = burst(class, rate);
        for _ in 0..1 << (more & 7) {
            let verdict = governor.judge(now, source_at(source), class.into(), || false);
            let level = asked.all.add(now, class, rate);
            assert!(
                verdict == Verdict::Serve || level > burst - burst / 100,
                "a source below its limit is limited"
            );
            if verdict == Verdict::Serve {
                let level = asked.served.add(now, class, rate);
                assert!(
                    level <= burst + burst / 100,
                    "a source is served beyond its limit"
                );
            }
            assert!(
                class.is_proven() || matches!(verdict, Verdict::Serve | Verdict::Silence),
                "an unproven sender is answered"
            );
            limited += u64::from(verdict != Verdict::Serve);
        }
    }
    let counted = Board::sum(core::iter::once(&*board));
    let counted: u64 = counted.iter().map(|limited| limited.count).sum();
    assert!(counted == limited, "what is limited is not what is counted");
}

/// What a source has asked for, and what of that was served.
#[derive(Debug, Default)]
struct Asked {
    all: Bucket,
    served: Bucket,
}

/// Thousandths of an announce.
#[derive(Debug, Default)]
struct Bucket {
    level: u64,
    at: Instant,
}

impl Bucket {
    /// The level after one more request.
    fn add(&mut self, now: Instant, class: Class, rate: u32) -> u64 {
        let passed = now.as_millis() - self.at.as_millis();
        let leaked = passed.saturating_mul(rate.into()) / part(class);
        self.level = self.level.saturating_sub(leaked) + u64::from(class.tenths()) * 100;
        self.at = now;
        self.level
    }
}

/// What a source may ask for at once, in thousandths of an announce.
fn burst(class: Class, rate: u32) -> u64 {
    u64::from(rate) * 40_000 / part(class)
}

/// Connects, datagrams that are dropped anyway, and proven requests have limits of their own.
const fn purse(class: Class) -> u8 {
    match class {
        Class::Connect => 0,
        Class::WrongId | Class::Malformed => 1,
        Class::Announce
        | Class::Scrape
        | Class::FullScrape
        | Class::Connection
        | Class::Handshake
        | Class::BadRequest
        | Class::Page => 2,
    }
}

/// The limit of what is not proven is half of the other.
const fn part(class: Class) -> u64 {
    if class.is_proven() { 1 } else { 2 }
}

/// Each in a /20 of its own, so that none pays for another.
fn source_at(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(11, number, 0, 1))
}

/// Those that cost less than a burst at the lowest rate.
const CLASSES: [Class; 5] = [
    Class::Announce,
    Class::Connect,
    Class::WrongId,
    Class::Malformed,
    Class::Page,
];
