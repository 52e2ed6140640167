//! The loop that keeps clients busy, whatever they speak.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::population::{Peer, Population};
use crate::tally::Tally;

/// The requests of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// For a connection id; over HTTP there is no such request.
    Connect,
    /// For peers.
    Announce(Peer),
    /// For the counts of some torrents, by their numbers.
    Scrape([u32; SCRAPED]),
}

/// A client with its own address.
pub(crate) trait Client {
    /// The descriptor to poll while requests are outstanding.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// How many requests are under way.
    fn under_way(&self) -> usize;

    /// Sends all of these requests at once. Without `due` latencies are not measured.
    fn send(&mut self, requests: &[Request], due: Option<Instant>, tally: &mut Tally) -> io::Result<()>;

    /// Takes the answers that are there.
    fn receive(&mut self, tally: &mut Tally) -> io::Result<()>;

    /// How long an answer may take before it counts as lost.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// Waits no longer for any answer.
    fn give_up(&mut self, tally: &mut Tally);
}

/// How fast to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Each client has this many outstanding requests, and sends as many again when all are answered.
    Window(usize),
    /// This many requests a second over all clients, one by one; a client has up to this many outstanding.
    Rate { per_second: u32, window: usize },
}

/// Has `clients` ask what `next` gives each, until there is nothing more or, where it is given, the time is over; shows
/// `at_end` what came of it until then, and waits for what is still under way. Never sleeps: a tracker that had to wake its
/// clients would pay for that, and those in other machines it does not wake.
pub(crate) fn drive<C: Client>(
    clients: &mut [C],
    pace: Pace,
    span: Option<Duration>,
    mut next: impl FnMut(u32) -> Option<Request>,
    at_end: impl FnOnce(&Tally) -> io::Result<()>,
) -> io::Result<Tally> {
    let mut at_end = Some(at_end);
    let mut clock = Clock::new(pace, span, clients.len());
    let mut tally = Tally::default();
    loop {
        let asked = match pace {
            Pace::Window(window) => ask_all(clients, window, &mut clock, &mut next, &mut tally)?,
            Pace::Rate { window, .. } => ask_in_turn(clients, window, &mut clock, &mut next, &mut tally)?,
        };
        if let Some(at_end) = at_end.take_if(|_| clock.is_over) {
            at_end(&tally)?;
        }
        let answered = take_answers(clients, &mut clock, &mut tally)?;
        if !asked && clock.is_over && clients.iter().all(|client| client.under_way() == 0) {
            return Ok(tally);
        }
        if !asked && !answered {
            // By the time before answers were looked for: the load itself may have been kept from running since.
            for (client, heard) in clients.iter_mut().zip(&mut clock.heard) {
                if client.under_way() > 0 && clock.now.duration_since(*heard) > client.patience() {
                    client.give_up(&mut tally);
                    *heard = clock.now;
                }
            }
            rustix::thread::sched_yield();
            clock.tick();
        }
    }
}

/// Lets every client without outstanding requests send as many as it may.
fn ask_all<C: Client>(
    clients: &mut [C],
    window: usize,
    clock: &mut Clock,
    next: &mut impl FnMut(u32) -> Option<Request>,
    tally: &mut Tally,
) -> io::Result<bool> {
    if clock.is_over {
        return Ok(false);
    }
    let mut asked = false;
    for ((client, number), heard) in clients.iter_mut().zip(0..).zip(&mut clock.heard) {
        if client.under_way() > 0 {
            continue;
        }
        let mut requests = [Request::Connect; WINDOW_MAX];
        let mut count = 0;
        for (slot, request) in requests[..window]
            .iter_mut()
            .zip(std::iter::from_fn(|| next(number)))
        {
            *slot = request;
            count += 1;
        }
        if count > 0 {
            client.send(&requests[..count], None, tally)?;
            *heard = clock.now;
            asked = true;
        }
    }
    // A client that may send and has nothing to send is done.
    clock.is_over = !asked && clients.iter().all(|client| client.under_way() == 0);
    clock.tick_sometimes();
    Ok(asked)
}

/// Has clients ask in turn, each request when it is due.
fn ask_in_turn<C: Client>(
    clients: &mut [C],
    window: usize,
    clock: &mut Clock,
    next: &mut impl FnMut(u32) -> Option<Request>,
    tally: &mut Tally,
) -> io::Result<bool> {
    clock.tick();
    let mut asked = false;
    while !clock.is_over && clock.due <= clock.now {
        let free = (0..clients.len())
            .map(|step| (clock.turn + step) % clients.len())
            .find(|&number| clients[number].under_way() < window);
        // All clients wait. A request that becomes due meanwhile is sent late; its latency counts from its due time.
        let Some(number) = free else { break };
        let Some(request) = u32::try_from(number).ok().and_then(&mut *next) else {
            break;
        };
        if clients[number].under_way() == 0 {
            clock.heard[number] = clock.now;
        }
        tally.sent_late(clock.now.duration_since(clock.due));
        clients[number].send(&[request], Some(clock.due), tally)?;
        clock.turn = number + 1;
        clock.due += clock.step;
        asked = true;
    }
    Ok(asked)
}

fn take_answers<C: Client>(clients: &mut [C], clock: &mut Clock, tally: &mut Tally) -> io::Result<bool> {
    clock.ready.clear();
    let (mut waiting, mut numbers) = (
        Vec::with_capacity(clients.len()),
        Vec::with_capacity(clients.len()),
    );
    for (number, client) in clients.iter().enumerate() {
        if let Some(descriptor) = client.descriptor().filter(|_| client.under_way() > 0) {
            waiting.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
            numbers.push(number);
        }
    }
    poll(&mut waiting, Some(&Timespec::default()))?;
    let ready = waiting
        .iter()
        .zip(&numbers)
        .filter(|(waiting, _)| !waiting.revents().is_empty());
    clock.ready.extend(ready.map(|(_, &number)| number));
    drop(waiting);
    for &number in &clock.ready {
        clients[number].receive(tally)?;
        clock.heard[number] = clock.now;
    }
    Ok(!clock.ready.is_empty())
}

/// Where the loop stands.
struct Clock {
    now: Instant,
    until: Option<Instant>,
    /// Nothing more is asked.
    is_over: bool,
    /// When the next request is due, where they are paced.
    due: Instant,
    step: Duration,
    /// Whose turn it is.
    turn: usize,
    /// When each client asked or was answered last.
    heard: Vec<Instant>,
    /// Clients with answers, kept for its memory.
    ready: Vec<usize>,
    ticks: u32,
}

impl Clock {
    fn new(pace: Pace, span: Option<Duration>, clients: usize) -> Self {
        let now = Instant::now();
        let step = match pace {
            Pace::Window(_) => Duration::ZERO,
            Pace::Rate { per_second, .. } => Duration::from_secs(1) / per_second,
        };
        Self {
            now,
            until: span.map(|span| now + span),
            is_over: false,
            due: now,
            step,
            turn: 0,
            heard: vec![now; clients],
            ready: Vec::with_capacity(clients),
            ticks: 0,
        }
    }

    fn tick(&mut self) {
        self.now = Instant::now();
        self.is_over |= self.until.is_some_and(|until| self.now >= until);
    }

    fn tick_sometimes(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(64) {
            self.tick();
        }
    }
}

/// What clients ask while they are measured: connects, announces and scrapes as 50 : 50 : 1, of random peers. `roll`, up
/// to 100, says which; what goes out together is best of one kind.
pub(crate) fn mix(population: &Population, rng: &mut fastrand::Rng, client: u32, roll: u32) -> Request {
    match roll {
        0..50 => Request::Connect,
        50..100 => announce(population, rng, client),
        _ => Request::Scrape([(); SCRAPED].map(|()| rng.u32(0..population.torrents()))),
    }
}

/// An announce of a random peer of a client.
pub(crate) fn announce(population: &Population, rng: &mut fastrand::Rng, client: u32) -> Request {
    Request::Announce(population.peer(client, rng.u32(0..population.peers_of(client))))
}

/// Has every client announce all its peers.
pub(crate) fn announce_all(population: &Population) -> impl FnMut(u32) -> Option<Request> {
    let mut announced = vec![0; population.clients() as usize];
    move |client| {
        let nth = &mut announced[client as usize];
        (*nth < population.peers_of(client)).then(|| {
            *nth += 1;
            Request::Announce(population.peer(client, *nth - 1))
        })
    }
}

/// Torrents in a scrape.
pub(crate) const SCRAPED: usize = 10;
/// Requests that one client may have under way.
pub(crate) const WINDOW_MAX: usize = 64;
/// No tracker takes that long, and a lost datagram is found soon.
const PATIENCE: Duration = Duration::from_millis(100);
