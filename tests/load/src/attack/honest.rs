//! Honest clients: what they ask, when it is due, and what becomes of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use etracker_core::announce::{Family, compact_peers};
use etracker_core::udp::packet::Response;

use super::crowd::{Crowd, fill};
use super::kind::Kind;
use crate::drive::{Request, SCRAPED};
use crate::population::Population;
use crate::stats::percentile;

/// A stretch of time in which honest clients are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Before,
    During,
    /// The attack is over, and its last datagrams are in queues: nothing is measured.
    Settling,
    After,
    Over,
}

impl Phase {
    pub(super) const MEASURED: [(Self, &'static str); 3] = [
        (Self::Before, "before"),
        (Self::During, "during"),
        (Self::After, "after"),
    ];
}

/// The phase that is now, which all threads see.
#[derive(Debug)]
pub(super) struct Now(AtomicU8);

impl Now {
    pub(super) const fn new() -> Self {
        Self(AtomicU8::new(Phase::Before as u8))
    }

    pub(super) fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Relaxed);
    }

    pub(super) fn get(&self) -> Phase {
        let number = self.0.load(Relaxed);
        let phases = [Phase::Before, Phase::During, Phase::Settling, Phase::After];
        phases
            .into_iter()
            .find(|phase| *phase as u8 == number)
            .unwrap_or(Phase::Over)
    }
}

/// A request, and what came of it.
struct Asked {
    client: u32,
    due: Instant,
    phase: Phase,
    request: Request,
    answer: Answer,
}

enum Answer {
    None,
    Refused(u32),
    /// After so many microseconds, with so many peers, of which so many are an attacker's.
    Given {
        us: u32,
        peers: u16,
        theirs: u16,
    },
}

/// Honest clients and all that they have asked.
pub(super) struct Honest<'p> {
    population: &'p Population,
    crowd: Crowd,
    kind: Kind,
    asked: Vec<Asked>,
    /// How many of them are not answered.
    unanswered: usize,
    complaint: Option<String>,
}

/// What came of the requests of a phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) asked: u64,
    pub(super) lost: u64,
    /// Announces and scrapes, which prove an id.
    pub(super) proven: u64,
    pub(super) proven_lost: u64,
    pub(super) refused: u64,
    /// Announces that were answered.
    pub(super) announced: u64,
    /// Answered without peers, although there are some.
    pub(super) empty: u64,
    pub(super) peers: u64,
    pub(super) theirs: u64,
    pub(super) latencies_us: Vec<u32>,
}

impl<'p> Honest<'p> {
    pub(super) const fn new(population: &'p Population, crowd: Crowd, kind: Kind) -> Self {
        Self {
            population,
            crowd,
            kind,
            asked: Vec::new(),
            unanswered: 0,
            complaint: None,
        }
    }

    /// Asks as often as `rate` says until all is over, and waits for the last answers.
    pub(super) fn run(&mut self, rate: u32, patience: Duration, now: &Now) -> io::Result<()> {
        let step = Duration::from_secs(1) / rate.max(1);
        let mut rng = fastrand::Rng::with_seed(7);
        let mut due = Instant::now();
        loop {
            let phase = now.get();
            if phase == Phase::Over {
                break;
            }
            while due <= Instant::now() {
                let (client, request) = choose(self.population, self.kind, &mut rng);
                self.ask(client, request, due, phase)?;
                due += step;
            }
            self.crowd.flush()?;
            self.crowd.wait(due.saturating_duration_since(Instant::now()))?;
            self.receive()?;
        }
        self.await_last(patience)
    }

    /// Asks all of this, evenly over `span`.
    pub(super) fn run_once(
        &mut self,
        requests: &[(u32, Request)],
        span: Duration,
        patience: Duration,
    ) -> io::Result<()> {
        let step = span / u32::try_from(requests.len()).unwrap_or(u32::MAX).max(1);
        let mut due = Instant::now();
        for &(client, request) in requests {
            while Instant::now() < due {
                self.crowd.flush()?;
                self.crowd.wait(due.saturating_duration_since(Instant::now()))?;
                self.receive()?;
            }
            self.ask(client, request, due, Phase::During)?;
            due += step;
        }
        self.crowd.flush()?;
        self.await_last(patience)
    }

    fn await_last(&mut self, patience: Duration) -> io::Result<()> {
        let end = Instant::now() + patience;
        while self.unanswered > 0 && Instant::now() < end {
            self.crowd.wait(patience / 20)?;
            self.receive()?;
        }
        Ok(())
    }

    fn ask(&mut self, client: u32, request: Request, due: Instant, phase: Phase) -> io::Result<()> {
        let member = self.crowd.members[client as usize];
        // Who has no id yet cannot ask for more.
        let request = if member.connection_id == 0 {
            Request::Connect
        } else {
            request
        };
        let transaction_id = u32::try_from(self.asked.len()).unwrap_or(u32::MAX);
        self.unanswered += 1;
        self.asked.push(Asked {
            client,
            due,
            phase,
            request,
            answer: Answer::None,
        });
        let population = self.population;
        self.crowd
            .write(member.ip, |out| {
                fill(population, request, member.connection_id, transaction_id, out)
            })
            .map(drop)
    }

    fn receive(&mut self) -> io::Result<()> {
        let (asked, kind, complaint) = (&mut self.asked, self.kind, &mut self.complaint);
        let unanswered = &mut self.unanswered;
        self.crowd.receive(|members, bytes| {
            let Some(response) = Response::decode(bytes) else {
                return;
            };
            let number = response.transaction_id() as usize;
            let Some(asked) = asked
                .get_mut(number)
                .filter(|asked| matches!(asked.answer, Answer::None))
            else {
                return;
            };
            let us = u32::try_from(asked.due.elapsed().as_micros()).unwrap_or(u32::MAX);
            asked.answer = answer(kind, &response, us);
            *unanswered -= 1;
            if let Response::Connect(answer) = response {
                members[asked.client as usize].connection_id = answer.connection_id;
            }
            if let Response::Error(error) = response {
                complaint.get_or_insert_with(|| String::from_utf8_lossy(error.message).into_owned());
            }
        })?;
        Ok(())
    }

    /// What came of a phase, to clients of this patience.
    pub(super) fn outcome(&self, phase: Phase, patience: Duration) -> Outcome {
        let mut outcome = Outcome::default();
        for asked in self.asked.iter().filter(|asked| asked.phase == phase) {
            outcome.count(asked, u32::try_from(patience.as_micros()).unwrap_or(u32::MAX));
        }
        outcome
    }

    /// The first refusal.
    pub(super) fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    pub(super) const fn crowd(&mut self) -> &mut Crowd {
        &mut self.crowd
    }
}

impl Outcome {
    fn count(&mut self, asked: &Asked, patience_us: u32) {
        let is_proven = !matches!(asked.request, Request::Connect);
        self.asked += 1;
        self.proven += u64::from(is_proven);
        let us = match asked.answer {
            Answer::Given { us, .. } | Answer::Refused(us) if us <= patience_us => us,
            Answer::None | Answer::Given { .. } | Answer::Refused(_) => {
                self.lost += 1;
                self.proven_lost += u64::from(is_proven);
                return;
            }
        };
        self.latencies_us.push(us);
        match (&asked.request, &asked.answer) {
            (_, Answer::Refused(_)) => self.refused += 1,
            (Request::Announce(peer), Answer::Given { peers, theirs, .. }) => {
                self.announced += 1;
                self.empty += u64::from(*peers == 0 && peer.wanted > 0);
                self.peers += u64::from(*peers);
                self.theirs += u64::from(*theirs);
            }
            (Request::Connect | Request::Scrape(_), _) | (Request::Announce(_), Answer::None) => {}
        }
    }

    pub(super) const fn answered(&self) -> u64 {
        self.asked - self.lost
    }

    pub(super) fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.lost += other.lost;
        self.proven += other.proven;
        self.proven_lost += other.proven_lost;
        self.refused += other.refused;
        self.announced += other.announced;
        self.empty += other.empty;
        self.peers += other.peers;
        self.theirs += other.theirs;
        self.latencies_us.extend(other.latencies_us);
    }

    /// A percentile of the answers that came, in milliseconds.
    pub(super) fn millis(&mut self, share: f64) -> Option<f64> {
        percentile(&mut self.latencies_us, share).map(|us| f64::from(us) / 1000.0)
    }
}

fn answer(kind: Kind, response: &Response<'_>, us: u32) -> Answer {
    match response {
        Response::Error(_) => Answer::Refused(us),
        Response::Announce(_, compact) => {
            let family = if kind.is_v6() { Family::V6 } else { Family::V4 };
            let theirs = compact_peers(family, compact).filter(|peer| kind.is_attackers(peer.ip));
            let narrow = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
            Answer::Given {
                us,
                peers: narrow(compact.len() / family.compact_len()),
                theirs: narrow(theirs.count()),
            }
        }
        Response::Connect(_) | Response::Scrape(_) => Answer::Given {
            us,
            peers: 0,
            theirs: 0,
        },
    }
}

/// Connects, announces and scrapes as 50 : 50 : 1. The second half of each client's peers stays silent: what becomes of them
/// shows what a tracker forgets.
fn choose(population: &Population, kind: Kind, rng: &mut fastrand::Rng) -> (u32, Request) {
    let client = rng.u32(..population.clients());
    let request = match rng.u32(..101) {
        0..50 => Request::Connect,
        50..100 => {
            let peers = population.peers_of(client);
            let nth = rng.u32(
                ..if kind.is_poison() {
                    peers
                } else {
                    peers.div_ceil(2)
                },
            );
            Request::Announce(population.peer(client, nth))
        }
        _ => Request::Scrape([(); SCRAPED].map(|()| rng.u32(..population.torrents()))),
    };
    (client, request)
}

/// The address of an honest client: each in a network of its own.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower bits are what is wanted"
)]
pub(super) fn source(kind: Kind, client: u32) -> IpAddr {
    // Odd factors give each client another network.
    let spread = client.wrapping_mul(0x9e37_79b1);
    if kind.is_v6() {
        let (high, low) = ((spread >> 16) as u16, spread as u16);
        return Ipv6Addr::new(0x2a01, high, low, 1, 0, 0, 0, 1).into();
    }
    Ipv4Addr::from_bits(130 << 24 | spread & 0x0fff_ffff).into()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn honest_clients_are_in_networks_of_their_own() {
        for kind in [Kind::Proven, Kind::Poison48] {
            let sources: HashSet<_> = (0..5000).map(|client| source(kind, client)).collect();
            let networks: HashSet<_> = sources
                .iter()
                .map(|ip| match ip {
                    IpAddr::V4(ip) => u64::from(ip.to_bits() >> 8),
                    IpAddr::V6(ip) => (ip.to_bits() >> 80) as u64,
                })
                .collect();
            assert_eq!(sources.len(), 5000);
            assert!(networks.len() > 4900, "{}", networks.len());
            assert!(sources.iter().all(|&ip| !kind.is_attackers(ip)));
        }
    }

    #[test]
    fn what_comes_late_is_lost() {
        let asked = |us| Asked {
            client: 0,
            due: Instant::now(),
            phase: Phase::During,
            request: Request::Connect,
            answer: Answer::Given {
                us,
                peers: 0,
                theirs: 0,
            },
        };
        let mut outcome = Outcome::default();
        [asked(10), asked(1000), asked(1001)]
            .iter()
            .for_each(|asked| outcome.count(asked, 1000));
        assert_eq!(
            (outcome.asked, outcome.lost, outcome.latencies_us.len()),
            (3, 1, 2)
        );
        assert_eq!(outcome.millis(1.0), Some(1.0));
    }

    #[test]
    fn phases_are_what_they_were_set_to() {
        let now = Now::new();
        for phase in [
            Phase::Before,
            Phase::During,
            Phase::Settling,
            Phase::After,
            Phase::Over,
        ] {
            now.set(phase);
            assert_eq!(now.get(), phase);
        }
    }
}
