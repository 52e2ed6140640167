//! One tracker, filled and measured.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::drive::{Pace, Request, announce, announce_all, drive, mix};
use crate::http::HttpClient;
use crate::population::Population;
use crate::process::{CpuTime, resident_mib_of_family};
use crate::stats::percentile;
use crate::tally::Tally;
use crate::tls::{Handshake, Tls};
use crate::udp::UdpClient;

/// The protocol of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// UDP.
    Udp,
    /// HTTP, many requests on a connection.
    Http,
    /// HTTP, a connection for each request.
    HttpClose,
    /// HTTP over TLS 1.3, many requests on a connection.
    Https,
    /// HTTP over TLS, a connection and a handshake for each request.
    HttpsClose(Handshake),
}

impl Protocol {
    /// Every protocol, and its name on the command line.
    pub(crate) const NAMED: [(&str, Self); 7] = [
        ("udp", Self::Udp),
        ("http", Self::Http),
        ("http-close", Self::HttpClose),
        ("https", Self::Https),
        ("https-full", Self::HttpsClose(Handshake::Full13)),
        ("https-full-1.2", Self::HttpsClose(Handshake::Full12)),
        ("https-resumed-1.2", Self::HttpsClose(Handshake::Resumed12)),
    ];

    /// Whether many requests go over a connection.
    const fn keeps_alive(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// How its clients agree on TLS, if they do.
    const fn handshake(self) -> Option<Handshake> {
        match self {
            Self::Udp | Self::Http | Self::HttpClose => None,
            Self::Https => Some(Handshake::Full13),
            Self::HttpsClose(handshake) => Some(handshake),
        }
    }
}

/// The results of a round.
pub(crate) struct Round {
    pub(crate) tally: Tally,
    pub(crate) secs: f64,
    /// The tracker's use of the processor, if its process is known.
    pub(crate) server: Option<(CpuTime, u64)>,
    /// Answers within that time.
    pub(crate) answered: u64,
    /// The percentiles of [`LATENCIES`]; none where requests were not paced.
    pub(crate) latencies_us: Vec<u32>,
    /// How late the load itself asked, but for one request in a thousand.
    pub(crate) late_us: Option<u32>,
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
impl Round {
    pub(crate) fn per_second(&self) -> f64 {
        self.answered as f64 / self.secs
    }

    /// Responses for each second of processor time that the tracker used.
    pub(crate) fn per_cpu_second(&self) -> Option<f64> {
        let (cpu, _) = self.server?;
        (cpu.total_secs > 0.0).then(|| self.answered as f64 / cpu.total_secs)
    }

    /// Share of a processor that the tracker used, more than 1 with several.
    pub(crate) fn cpu_share(&self) -> Option<f64> {
        self.server.map(|(cpu, _)| cpu.total_secs / self.secs)
    }
}

/// The clients of a tracker.
pub(crate) struct Load<'p> {
    population: &'p Population,
    clients: Clients<'p>,
    /// Which of the random sequences of requests comes next.
    seed: u64,
}

enum Clients<'p> {
    Udp(Vec<UdpClient<'p>>),
    Http(Vec<HttpClient<'p>>),
}

impl<'p> Load<'p> {
    pub(crate) fn new(
        protocol: Protocol,
        target: SocketAddr,
        population: &'p Population,
    ) -> io::Result<Self> {
        let numbers = 0..population.clients();
        let clients = if protocol == Protocol::Udp {
            let clients = numbers.map(|number| UdpClient::new(population, target, number));
            Clients::Udp(clients.collect::<io::Result<_>>()?)
        } else {
            let keep_alive = protocol.keeps_alive();
            let tls = protocol.handshake().map(Tls::new).transpose()?;
            let new = |number| HttpClient::new(population, target, number, keep_alive, tls.clone());
            let clients = numbers.map(new);
            Clients::Http(clients.collect())
        };
        Ok(Self {
            population,
            clients,
            seed: 0,
        })
    }

    /// Has every peer announce itself once.
    pub(crate) fn fill(&mut self) -> io::Result<Tally> {
        let everyone = announce_all(self.population);
        match &mut self.clients {
            Clients::Udp(clients) => {
                connect(clients)?;
                drive(clients, Pace::Window(UDP_WINDOW), None, everyone, ignore)
            }
            Clients::Http(clients) => drive(clients, Pace::Window(1), None, everyone, ignore),
        }
    }

    /// Asks for so long, with so many requests a second or as many as are answered; shows `at_end` what came of it then.
    fn ask(
        &mut self,
        span: Duration,
        rate: Option<u32>,
        at_end: impl FnOnce(&Tally) -> io::Result<()>,
    ) -> io::Result<Tally> {
        // Every tracker is asked the same, but none twice: it would answer out of its caches.
        self.seed += 1;
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let population = self.population;
        let pace = |window| {
            rate.map_or(Pace::Window(window), |per_second| Pace::Rate {
                per_second,
                window,
            })
        };
        match &mut self.clients {
            Clients::Udp(clients) => {
                connect(clients)?;
                let mut rolls = vec![(0, 0); clients.len()];
                let next = |client| {
                    let (roll, asked) = &mut rolls[client as usize];
                    if *asked % UDP_WINDOW == 0 {
                        *roll = rng.u32(0..101);
                    }
                    *asked += 1;
                    Some(mix(population, &mut rng, client, *roll))
                };
                drive(clients, pace(UDP_WINDOW), Some(span), next, at_end)
            }
            Clients::Http(clients) => {
                clients.iter_mut().for_each(HttpClient::hang_up);
                let next = |client| Some(announce(population, &mut rng, client));
                drive(clients, pace(1), Some(span), next, at_end)
            }
        }
    }

    /// Warms up, asks, and takes what the tracker used meanwhile.
    pub(crate) fn round(&mut self, span: Duration, rate: Option<u32>, pid: Option<u32>) -> io::Result<Round> {
        self.ask(span.min(WARM_UP), rate, ignore)?;
        let cpu_time = || pid.map(CpuTime::of_family).transpose();
        let (began, before) = (Instant::now(), cpu_time()?);
        let (mut secs, mut after, mut answered) = (0.0, None, 0);
        // What comes after the end is counted, but is no part of what is measured: nothing more is asked then.
        let mut tally = self.ask(span, rate, |tally| {
            (after, secs, answered) = (cpu_time()?, began.elapsed().as_secs_f64(), tally.answered());
            Ok(())
        })?;
        let server = match (pid, before, after) {
            (Some(pid), Some(before), Some(after)) => {
                Some((after.since(before), resident_mib_of_family(pid)?))
            }
            _ => None,
        };
        let latencies_us = LATENCIES
            .iter()
            .filter_map(|&(_, share)| percentile(&mut tally.latencies_us, share));
        Ok(Round {
            secs,
            answered,
            server,
            latencies_us: latencies_us.collect(),
            late_us: percentile(&mut tally.lateness_us, 0.999),
            tally,
        })
    }
}

/// Gets a connection id for each client.
fn connect(clients: &mut [UdpClient<'_>]) -> io::Result<()> {
    for _ in 0..CONNECT_TRIES {
        let mut is_asked = vec![false; clients.len()];
        let next = |client: u32| {
            let is_asked = &mut is_asked[client as usize];
            (!std::mem::replace(is_asked, true)).then_some(Request::Connect)
        };
        let tally = drive(clients, Pace::Window(1), None, next, ignore)?;
        if tally.connects == clients.len() as u64 {
            return Ok(());
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "not every client gets a connection id",
    ))
}

/// At the end nothing is to be done.
#[expect(clippy::unnecessary_wraps, reason = "others may fail")]
fn ignore(_: &Tally) -> io::Result<()> {
    Ok(())
}

/// Latencies that are given, and the share of the answers that did not take longer.
pub(crate) const LATENCIES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];
/// Requests that a UDP client has under way: with 32 clients 160 datagrams. The receive buffer that trackers have by
/// default loses some of 192, because Linux counts up to a quarter of it as taken after it was read.
const UDP_WINDOW: usize = 5;
const CONNECT_TRIES: usize = 5;
/// How long caches and processors get to know what comes.
const WARM_UP: Duration = Duration::from_millis(500);
