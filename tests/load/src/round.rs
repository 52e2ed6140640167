//! One tracker, filled and measured.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::drive::{Pace, Request, announce, announce_all, drive, mix};
use crate::http::HttpClient;
use crate::population::Population;
use crate::process::{CpuTime, resident_mib};
use crate::stats::percentile;
use crate::tally::Tally;
use crate::udp::UdpClient;

/// What clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// UDP.
    Udp,
    /// HTTP, many requests on a connection.
    Http,
    /// HTTP, a connection for each request.
    HttpClose,
}

/// What came of one round.
pub(crate) struct Round {
    pub(crate) tally: Tally,
    pub(crate) secs: f64,
    /// What the tracker used, where its process is known.
    pub(crate) server: Option<(CpuTime, u64)>,
    pub(crate) p50_us: Option<u32>,
    pub(crate) p99_us: Option<u32>,
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
impl Round {
    pub(crate) fn per_second(&self) -> f64 {
        self.tally.answered() as f64 / self.secs
    }

    /// Responses for each second of processor time that the tracker used.
    pub(crate) fn per_cpu_second(&self) -> Option<f64> {
        let (cpu, _) = self.server?;
        (cpu.total_secs() > 0.0).then(|| self.tally.answered() as f64 / cpu.total_secs())
    }

    /// Share of a processor that the tracker used, more than 1 with several.
    pub(crate) fn cpu_share(&self) -> Option<f64> {
        self.server.map(|(cpu, _)| cpu.total_secs() / self.secs)
    }
}

/// The clients of a tracker.
pub(crate) enum Load<'p> {
    Udp(&'p Population, Vec<UdpClient<'p>>),
    Http(&'p Population, Vec<HttpClient<'p>>),
}

impl<'p> Load<'p> {
    pub(crate) fn new(
        protocol: Protocol,
        target: SocketAddr,
        population: &'p Population,
    ) -> io::Result<Self> {
        let clients = 0..population.clients();
        if protocol == Protocol::Udp {
            let clients = clients.map(|number| UdpClient::new(population, target, number));
            return Ok(Self::Udp(population, clients.collect::<io::Result<_>>()?));
        }
        let keep_alive = protocol == Protocol::Http;
        let clients = clients.map(|number| HttpClient::new(population, target, number, keep_alive));
        Ok(Self::Http(population, clients.collect()))
    }

    /// Has every peer announce itself once.
    pub(crate) fn fill(&mut self) -> io::Result<Tally> {
        let everyone = |population| announce_all(population);
        match self {
            Self::Udp(population, clients) => {
                connect(clients)?;
                drive(clients, Pace::Window(UDP_WINDOW), None, everyone(population))
            }
            Self::Http(population, clients) => drive(clients, Pace::Window(1), None, everyone(population)),
        }
    }

    /// Asks for so long, with so many requests a second or as many as are answered.
    pub(crate) fn ask(&mut self, span: Duration, rate: Option<u32>) -> io::Result<Tally> {
        let mut rng = fastrand::Rng::with_seed(SEED);
        let pace = |window| {
            rate.map_or(Pace::Window(window), |per_second| Pace::Rate {
                per_second,
                window,
            })
        };
        match self {
            Self::Udp(population, clients) => {
                connect(clients)?;
                let mut rolls = vec![(0, 0); clients.len()];
                drive(clients, pace(UDP_WINDOW), Some(span), |client| {
                    let (roll, asked) = &mut rolls[client as usize];
                    if *asked % UDP_WINDOW == 0 {
                        *roll = rng.u32(0..101);
                    }
                    *asked += 1;
                    Some(mix(population, &mut rng, client, *roll))
                })
            }
            Self::Http(population, clients) => drive(clients, pace(1), Some(span), |client| {
                Some(announce(population, &mut rng, client))
            }),
        }
    }

    /// Warms up, asks, and takes what the tracker used meanwhile.
    pub(crate) fn round(&mut self, span: Duration, rate: Option<u32>, pid: Option<u32>) -> io::Result<Round> {
        self.ask(span.min(WARM_UP), rate)?;
        let before = pid.map(CpuTime::of).transpose()?;
        let began = Instant::now();
        let mut tally = self.ask(span, rate)?;
        let secs = began.elapsed().as_secs_f64();
        let server = match (pid, before) {
            (Some(pid), Some(before)) => Some((CpuTime::of(pid)?.since(before), resident_mib(pid)?)),
            _ => None,
        };
        let p50_us = percentile(&mut tally.latencies_us, 0.5);
        let p99_us = percentile(&mut tally.latencies_us, 0.99);
        Ok(Round {
            tally,
            secs,
            server,
            p50_us,
            p99_us,
        })
    }
}

/// Gets a connection id for each client.
fn connect(clients: &mut [UdpClient<'_>]) -> io::Result<()> {
    for _ in 0..CONNECT_TRIES {
        let mut is_asked = vec![false; clients.len()];
        let tally = drive(clients, Pace::Window(1), None, |client| {
            let is_asked = &mut is_asked[client as usize];
            (!std::mem::replace(is_asked, true)).then_some(Request::Connect)
        })?;
        if tally.connects == clients.len() as u64 {
            return Ok(());
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "not every client gets a connection id",
    ))
}

/// Requests that a UDP client has under way: with 32 clients 192 datagrams, which the smallest receive buffer that trackers
/// have by default holds.
const UDP_WINDOW: usize = 6;
const CONNECT_TRIES: usize = 5;
/// How long caches and processors get to know what comes.
const WARM_UP: Duration = Duration::from_millis(500);
/// Everyone is asked in the same order.
const SEED: u64 = 1;
