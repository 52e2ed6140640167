//! Honest clients beside an attacker: what they lose, how long they wait, and what the tracker takes.

mod attacker;
mod crowd;
mod honest;
mod kind;
mod network;
mod row;
mod shaker;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use etracker_core::announce::Counts;
use etracker_core::udp::packet::Response;
use etracker_runtime_common::Plain;

use crate::compare::{Process, Server, servers};
use crate::drive::{Request, SCRAPED};
use crate::population::{PORT_MIN, Peer, Population};
use crate::process::{CpuTime, family, resident_mib};
use crate::quota::{Limits, Quota};
use crate::report::{complain, machine, say};
use crate::round::Protocol;
use attacker::{Attacker, Progress};
use crowd::{Crowd, peers};
use honest::{Honest, Now, Phase, source};
pub(crate) use kind::Kind;
use kind::Speed;
pub(crate) use row::Bars;
use row::{Row, Stored, table};
use shaker::Shaker;

/// What to measure.
pub(crate) struct Attack<'a> {
    pub(crate) kind: Kind,
    pub(crate) servers: &'a Path,
    /// The one server to measure, where it is not all of them.
    pub(crate) only: Option<&'a str>,
    /// Who is honest.
    pub(crate) population: &'a Population,
    /// Requests of honest clients a second.
    pub(crate) rate: u32,
    pub(crate) patience: Duration,
    /// How long each of before, during and after is.
    pub(crate) span: Duration,
    pub(crate) rounds: usize,
    /// Datagrams that the attack consists of; without, it takes the span.
    pub(crate) count: Option<u64>,
    /// Datagrams of the attack a second; without, as the kind is.
    pub(crate) attack_rate: Option<u32>,
    /// Addresses that attack; without, as the kind is.
    pub(crate) sources: Option<u32>,
    pub(crate) limits: Limits,
    pub(crate) bars: Bars,
}

/// The one swarm that a poisoner comes into.
pub(crate) fn swarm() -> Result<Population, String> {
    Population::new(1, 200, 200, 50)
}

/// Attacks all servers in turn and prints a table. Whether each is there at the end, and all bars are held.
///
/// # Errors
/// There is no network to be had, or no server to be attacked.
pub(crate) fn measure(attack: &Attack<'_>) -> Result<bool, String> {
    network::enter().map_err(|error| format!("there is no network to be had: {}", Plain(&error)))?;
    let servers = chosen(attack)?;
    let mut rows: Vec<_> = servers.iter().map(|(server, _)| Row::new(&server.name)).collect();
    for first in 0..attack.rounds {
        for step in 0..servers.len() {
            let number = (first + step) % servers.len();
            let (server, target) = &servers[number];
            if rows[number].failure.is_none()
                && let Err(error) = round(attack, server, *target, &mut rows[number])
            {
                rows[number].failure = Some(Plain(&error).to_string());
            }
        }
    }
    say(title(attack));
    say(table(&mut rows, attack.count));
    let failures: Vec<_> = rows
        .iter_mut()
        .flat_map(|row| row.failures(&attack.bars))
        .collect();
    for failure in &failures {
        complain(failure);
    }
    Ok(failures.is_empty() && !rows.is_empty())
}

/// Where a server is asked, and where it is attacked if that is not over UDP.
#[derive(Clone, Copy, Debug)]
struct Target {
    udp: SocketAddr,
    https: Option<SocketAddr>,
    /// Where the server runs, and where all others do. What clients of a flood of handshakes take from the server's processor is not
    /// its fault.
    cpus: Option<(usize, usize)>,
}

impl Target {
    /// Nowhere, if the server does not speak what it takes.
    fn of(server: &Server, kind: Kind) -> Option<Self> {
        let udp = if kind.is_v6() { server.udp_v6 } else { server.udp }?;
        let https = server.https_close.filter(|_| kind.is_encrypted());
        let are_two = thread::available_parallelism().is_ok_and(|count| count.get() > 1);
        let cpus = (kind.is_encrypted() && are_two).then_some((0, 1));
        (https.is_some() == kind.is_encrypted()).then_some(Self { udp, https, cpus })
    }
}

/// The servers that can be attacked, each with its addresses.
fn chosen(attack: &Attack<'_>) -> Result<Vec<(Server, Target)>, String> {
    let all = servers(attack.servers)?.into_iter();
    let wanted = all.filter(|server| attack.only.is_none_or(|only| server.name == only));
    let chosen: Vec<_> = wanted
        .filter(|server| {
            let is_there = is_installed(&server.command);
            if !is_there {
                say(format_args!(
                    "!!! SKIPPED: {}: {:?} is not installed",
                    server.name,
                    server.command.first()
                ));
            }
            is_there
        })
        .filter_map(|server| {
            let target = Target::of(&server, attack.kind)?;
            Some((server, target))
        })
        .collect();
    if chosen.is_empty() {
        return Err("no server of the file can be attacked".to_owned());
    }
    Ok(chosen)
}

/// Whether there is a program of this command, here or on the `PATH`.
fn is_installed(command: &[String]) -> bool {
    let Some(program) = command.first() else {
        return false;
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    if program.contains('/') {
        Path::new(program).exists()
    } else {
        folders.any(|folder| folder.join(program).exists())
    }
}

/// Starts a server, attacks it, and stops it.
fn round(attack: &Attack<'_>, server: &Server, target: Target, row: &mut Row) -> io::Result<()> {
    let quota = Quota::new(attack.limits, &target.udp.port().to_string())
        .map_err(|error| io::Error::other(format!("there is no cgroup to be had: {}", Plain(&error))))?;
    let command = quota.held(&server.command);
    let mut process = Process::start(&command, target.udp, Protocol::Udp, target.cpus)?;
    let watch = Watch::new(process.id());
    let population = attack.population;
    let members = (0..population.clients()).map(|client| source(attack.kind, client));
    let mut honest = Honest::new(population, Crowd::new(target.udp, members)?, attack.kind);
    fill(&mut honest, population)?;
    let before = scrape(honest.crowd(), population)?;
    phases(attack, target, &mut honest, &watch, row)?;
    row.stored
        .add(&Stored::of(&before, &scrape(honest.crowd(), population)?));
    row.killed += quota.killed();
    row.restarts += watch.restarts(process.id());
    row.resident_mib = row.resident_mib.max(watch.peak_mib.load(Relaxed));
    if let Some(complaint) = honest.complaint() {
        row.complaint.get_or_insert_with(|| complaint.to_owned());
    }
    match process.ended() {
        Some(status) => Err(io::Error::other(format!("it ended: {status}"))),
        None => Ok(()),
    }
}

/// Has all honest clients announce all that they have.
fn fill(honest: &mut Honest<'_>, population: &Population) -> io::Result<()> {
    let crowd = honest.crowd();
    let peers = peers(population);
    let announce = |number: usize| {
        let (client, peer) = peers[number];
        (client as usize, Request::Announce(peer))
    };
    let without = crowd.connect(population)?;
    let unanswered = crowd.exchange(population, peers.len(), announce, |_, _, _| {})?;
    if without + unanswered > 0 {
        return Err(io::Error::other(format!(
            "{unanswered} honest announces are never answered"
        )));
    }
    Ok(())
}

/// What the tracker counts in each torrent of honest clients.
fn scrape(crowd: &mut Crowd, population: &Population) -> io::Result<Vec<Counts>> {
    let torrents = population.torrents();
    let mut counts = vec![Counts::default(); torrents as usize];
    // The last scrape asks for the last torrent again and again.
    let of = |number: usize| {
        let first = u32::try_from(number * SCRAPED).unwrap_or(u32::MAX);
        let mut next = first..;
        [(); SCRAPED].map(|()| next.next().unwrap_or_default().min(torrents - 1))
    };
    let clients = population.clients() as usize;
    let ask = |number: usize| (number % clients, Request::Scrape(of(number)));
    crowd.connect(population)?;
    crowd.exchange(
        population,
        counts.len().div_ceil(SCRAPED),
        ask,
        |_, number, response| {
            if let Response::Scrape(answer) = response {
                for (torrent, found) in of(number).into_iter().zip(answer.counts()) {
                    counts[torrent as usize] = found;
                }
            }
        },
    )?;
    Ok(counts)
}

/// Measures honest clients before, during and after the attack.
fn phases(
    attack: &Attack<'_>,
    target: Target,
    honest: &mut Honest<'_>,
    watch: &Watch,
    row: &mut Row,
) -> io::Result<()> {
    let (now, progress) = (Now::new(), Progress::default());
    let secs = thread::scope(|scope| {
        let asking = scope.spawn(|| honest.run(attack.rate, attack.patience, &now));
        let attacked = conduct(attack, target, &now, &progress, watch, row);
        now.set(Phase::Over);
        asking
            .join()
            .map_err(|_| io::Error::other("honest clients panicked"))??;
        attacked
    })?;
    row.answered
        .push(honest.outcome(Phase::During, attack.patience).answered());
    for (phase, outcome) in Phase::MEASURED.iter().zip(&mut row.outcomes) {
        outcome.add(honest.outcome(phase.0, attack.patience));
    }
    row.attack.secs += secs;
    for (sum, count) in [
        (&mut row.attack.sent, &progress.sent),
        (&mut row.attack.sent_bytes, &progress.sent_bytes),
        (&mut row.attack.answered, &progress.answered),
        (&mut row.attack.answered_bytes, &progress.answered_bytes),
    ] {
        *sum += count.load(Relaxed);
    }
    Ok(())
}

/// Goes through the phases; how many seconds the attack took.
fn conduct(
    attack: &Attack<'_>,
    target: Target,
    now: &Now,
    progress: &Progress,
    watch: &Watch,
    row: &mut Row,
) -> io::Result<f64> {
    watch.over(attack.span);
    let attacker = Enemy::new(attack, target, progress)?;
    now.set(Phase::During);
    let (began, used) = (Instant::now(), watch.cpu_secs());
    match attacker {
        Some(attacker) => thread::scope(|scope| {
            let attacking = scope.spawn(|| attacker.run());
            if attack.count.is_none() {
                watch.over(attack.span);
                progress.is_over.store(true, Relaxed);
            }
            while !attacking.is_finished() {
                watch.over(BEAT);
            }
            attacking
                .join()
                .map_err(|_| io::Error::other("an attacker panicked"))?
        })?,
        None => restart_behind_one_address(attack, target, row)?,
    }
    let secs = began.elapsed().as_secs_f64();
    row.cpu_secs.push(watch.cpu_secs() - used);
    now.set(Phase::Settling);
    watch.over(SETTLE);
    now.set(Phase::After);
    watch.over(attack.span);
    Ok(secs)
}

/// Who attacks.
enum Enemy<'a> {
    ByDatagrams(Box<Attacker<'a>>),
    ByHandshakes(Shaker<'a>),
}

impl<'a> Enemy<'a> {
    /// Nobody, if the kind is no attack.
    fn new(attack: &Attack<'a>, target: Target, progress: &'a Progress) -> io::Result<Option<Self>> {
        let (kind, population) = (attack.kind, attack.population);
        let addresses = attack.sources.unwrap_or_else(|| kind.sources());
        let speed = attack.attack_rate.map_or_else(|| kind.speed(), Speed::Rate);
        let enemy = match target.https {
            _ if kind == Kind::Nat => return Ok(None),
            Some(https) => {
                let shaker = Shaker::new(kind, speed, addresses, https, population, progress)?;
                Self::ByHandshakes(shaker)
            }
            None => {
                let crowd = Crowd::new(target.udp, (0..addresses).map(|number| kind.source(number)))?;
                let attacker = Attacker::new(kind, speed, attack.count, population, crowd, progress)?;
                Self::ByDatagrams(attacker.into())
            }
        };
        Ok(Some(enemy))
    }

    fn run(self) -> io::Result<()> {
        match self {
            Self::ByDatagrams(attacker) => attacker.run(),
            Self::ByHandshakes(shaker) => shaker.run(),
        }
    }
}

/// A thousand clients behind one address announce 20 torrents each, within the span.
fn restart_behind_one_address(attack: &Attack<'_>, target: Target, row: &mut Row) -> io::Result<()> {
    let population = attack.population;
    let address = attack.kind.source(0);
    let mut crowd = Crowd::new(target.udp, (0..NAT_CLIENTS).map(|_| address))?;
    crowd.connect(population)?;
    let requests = requests_behind_one_address(population);
    let mut restarted = Honest::new(population, crowd, attack.kind);
    restarted.run_once(&requests, attack.span, attack.patience)?;
    if let Some(complaint) = restarted.complaint() {
        row.complaint.get_or_insert_with(|| complaint.to_owned());
    }
    row.restarted
        .get_or_insert_default()
        .add(restarted.outcome(Phase::During, attack.patience));
    Ok(())
}

/// What they ask: torrents that somebody else has, each as likely as the others. How many of one swarm may be behind one address
/// is another limit.
fn requests_behind_one_address(population: &Population) -> Vec<(u32, Request)> {
    let mut known: Vec<Peer> = peers(population).into_iter().map(|(_, peer)| peer).collect();
    known.sort_unstable_by_key(|peer| peer.torrent);
    known.dedup_by_key(|peer| peer.torrent);
    let mut rng = fastrand::Rng::with_seed(3);
    let clients = (0..NAT_CLIENTS).flat_map(|client| [client; NAT_TORRENTS]);
    let request = |client: u32| {
        let peer = known[rng.usize(..known.len())];
        let request = Request::Announce(Peer {
            port: PORT_MIN + u16::try_from(client).unwrap_or_default(),
            wanted: peer.size.min(30),
            // With this one.
            size: peer.size + 1,
            ..peer
        });
        (client, request)
    };
    clients.map(request).collect()
}

fn title(attack: &Attack<'_>) -> String {
    let Attack {
        population,
        rate,
        patience,
        span,
        rounds,
        ..
    } = attack;
    let percent = attack.limits.percent;
    let percent = percent.map(|percent| format!("; each server held to {percent} % of a processor"));
    let memory = attack.limits.memory;
    let memory = memory.map(|bytes| format!("; each server in a cgroup of {} MiB", bytes >> 20));
    format!(
        "\n### {}\n\n{}{}{}; honest: {} clients, {} torrents, {} peers, {rate} requests/s, lost after {} s; {rounds} rounds of \
         {} s before, during and after\n",
        attack.kind.name(),
        machine(),
        percent.unwrap_or_default(),
        memory.unwrap_or_default(),
        population.clients(),
        population.torrents(),
        population.peers(),
        patience.as_secs_f64(),
        span.as_secs_f64(),
    )
}

/// What a server's processes are seen to do.
struct Watch {
    pid: u32,
    peak_mib: AtomicU64,
    first: BTreeSet<u32>,
    seen: std::cell::RefCell<BTreeSet<u32>>,
}

impl Watch {
    fn new(pid: u32) -> Self {
        let first: BTreeSet<_> = family(pid).into_iter().collect();
        Self {
            pid,
            peak_mib: AtomicU64::new(0),
            seen: first.clone().into(),
            first,
        }
    }

    /// Looks at them again and again for this long.
    fn over(&self, span: Duration) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            let family = family(self.pid);
            let resident = family.iter().filter_map(|pid| resident_mib(*pid).ok()).sum();
            self.peak_mib.fetch_max(resident, Relaxed);
            self.seen.borrow_mut().extend(family);
            sleep(BEAT.min(end.saturating_duration_since(Instant::now())));
        }
    }

    /// Processor time of those that are there.
    fn cpu_secs(&self) -> f64 {
        let times = family(self.pid)
            .into_iter()
            .filter_map(|pid| CpuTime::of(pid).ok());
        times.map(|time| time.total_secs).sum()
    }

    /// Processes that came later.
    fn restarts(&self, pid: u32) -> u64 {
        self.seen.borrow_mut().extend(family(pid));
        self.seen.borrow().difference(&self.first).count() as u64
    }
}

/// How long an attack may echo before honest clients are to be served as they were.
const SETTLE: Duration = Duration::from_secs(2);
/// How often a server's processes are looked at.
const BEAT: Duration = Duration::from_millis(100);
const NAT_CLIENTS: u32 = 1000;
const NAT_TORRENTS: usize = 20;
