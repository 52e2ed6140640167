//! An attacker that has the tracker make handshakes, in a thread of its own.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;

use super::attacker::{NICE, Progress};
use super::kind::{Kind, Speed};
use crate::drive::{Client, Pace, Request, announce, drive};
use crate::http::{HttpClient, connect_from};
use crate::population::{Peer, Population};
use crate::tally::Tally;
use crate::tls::{Handshake, Tls};

/// Those who open connections until it is over.
pub(super) struct Shaker<'a> {
    population: &'a Population,
    pace: Pace,
    crowd: Crowd<'a>,
    progress: &'a Progress,
    rng: fastrand::Rng,
}

enum Crowd<'a> {
    Abandoning(Vec<Hello>),
    Complete(Vec<HttpClient<'a>>),
}

impl<'a> Shaker<'a> {
    /// Attackers at these addresses.
    pub(super) fn new(
        kind: Kind,
        speed: Speed,
        sources: u32,
        target: SocketAddr,
        population: &'a Population,
        progress: &'a Progress,
    ) -> io::Result<Self> {
        let tls = Tls::new(Handshake::Full13)?;
        let from = (0..AT_ONCE.max(sources)).map(|number| kind.source(number % sources.max(1)));
        let crowd = if kind == Kind::Hellos {
            let hello = tls.session()?.hello()?;
            let new = |from| Hello::new(target, from, hello.clone());
            Crowd::Abandoning(from.map(new).collect())
        } else {
            let new = |from| HttpClient::new(population, target, 0, false, Some(tls.clone())).at(from);
            Crowd::Complete(from.map(new).collect())
        };
        let pace = match speed {
            Speed::Rate(per_second) => Pace::Rate {
                per_second,
                window: 1,
            },
            Speed::Full | Speed::Answered => Pace::Window(1),
        };
        Ok(Self {
            population,
            pace,
            crowd,
            progress,
            rng: fastrand::Rng::with_seed(11),
        })
    }

    /// Attacks until all is over.
    pub(super) fn run(mut self) -> io::Result<()> {
        // On a processor that honest clients run on too, they come first.
        let _ = setpriority_process(None, NICE);
        let mut first = 0;
        while !self.progress.is_over.load(Relaxed) {
            // Few at a time, as one processor has no more under way: all addresses have their turn.
            let (population, rng) = (self.population, &mut self.rng);
            let next = |number: u32| match announce(population, rng, number % population.clients()) {
                // Attackers join the swarms, which are larger for it.
                Request::Announce(peer) => Some(Request::Announce(Peer {
                    size: u32::MAX,
                    ..peer
                })),
                other @ (Request::Connect | Request::Scrape(_)) => Some(other),
            };
            let tally = match &mut self.crowd {
                Crowd::Abandoning(clients) => {
                    drive(some(clients, &mut first), self.pace, Some(TURN), next, |_| Ok(()))?
                }
                Crowd::Complete(clients) => {
                    drive(some(clients, &mut first), self.pace, Some(TURN), next, |_| Ok(()))?
                }
            };
            self.progress.sent.fetch_add(tally.sent, Relaxed);
            self.progress.answered.fetch_add(tally.announces, Relaxed);
        }
        Ok(())
    }
}

/// The next clients to attack.
fn some<'c, C>(clients: &'c mut [C], first: &mut usize) -> &'c mut [C] {
    let begin = if *first < clients.len() { *first } else { 0 };
    let end = (begin + AT_ONCE as usize).min(clients.len());
    *first = end;
    &mut clients[begin..end]
}

/// One who sends the beginning of a handshake, waits for the tracker's part, which is the dear one, and leaves.
struct Hello {
    target: SocketAddr,
    from: IpAddr,
    hello: Vec<u8>,
    stream: Option<TcpStream>,
    due: Option<Instant>,
}

impl Hello {
    const fn new(target: SocketAddr, from: IpAddr, hello: Vec<u8>) -> Self {
        Self {
            target,
            from,
            hello,
            stream: None,
            due: None,
        }
    }
}

impl Client for Hello {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(TcpStream::as_fd)
    }

    fn under_way(&self) -> usize {
        usize::from(self.stream.is_some())
    }

    fn send(&mut self, _: &[Request], due: Option<Instant>, tally: &mut Tally) -> io::Result<()> {
        let mut stream = connect_from(self.from, self.target)?;
        // No two are the same. A new key each would cost the attacker as much as the tracker.
        fastrand::fill(&mut self.hello[RANDOM]);
        // It fits into any socket's buffer, and who does not take it is found when it is read from.
        let _ = stream.write_all(&self.hello);
        (self.stream, self.due) = (Some(stream), due);
        tally.sent += 1;
        Ok(())
    }

    fn receive(&mut self, tally: &mut Tally) -> io::Result<()> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        match stream.read(&mut [0; 8192]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Ok(1..) => tally.announces += 1,
            Ok(0) | Err(_) => tally.lost += 1,
        }
        tally.took(self.due);
        self.stream = None;
        Ok(())
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn give_up(&mut self, tally: &mut Tally) {
        tally.lost += self.under_way() as u64;
        self.stream = None;
    }
}

/// Where the random bytes of a client hello are, in its record (RFC 8446, section 4.1.2).
const RANDOM: std::ops::Range<usize> = 11..43;
/// Connections at a time.
const AT_ONCE: u32 = 64;
/// How long some attack before others do.
const TURN: Duration = Duration::from_millis(200);
/// How long a handshake may wait for others.
const PATIENCE: Duration = Duration::from_secs(2);
