//! A tracker over UDP with several workers: sockets and batches are this crate's, the loop is the program's own.
//!
//! `cargo run --package etracker-runtime-common --example udp_loop -- 6969` serves udp://127.0.0.1:6969, and every other
//! address of this host.
#![expect(clippy::print_stdout, reason = "a program says where it listens")]

use std::error::Error;
use std::net::UdpSocket;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{env, io, thread};

use etracker_core::{Config, Seed, Tracker, Worker};
use etracker_runtime_common::{
    Bound, Clock, Fronts, Listen, Protocol, UdpBatch, UdpFront, exchange, load_average, open,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).map_or(Ok(6969), |port| port.parse())?;
    let workers = thread::available_parallelism()?.get();
    let opened = open(&Listen::new(workers).bind(Protocol::Udp, &[], port))?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let (seed, clock) = (Seed::new(seed), Clock::start());
    let config = Config::default().with_workers(workers);
    let front = Fronts::new(&seed, &config).udp;
    let tracker = Arc::new(Tracker::new(config, seed, clock.now()));
    for listening in &opened.local {
        println!("Listening on {listening}");
    }
    let (failed, failure) = mpsc::channel();
    for sockets in opened.workers {
        let (front, tracker, failed) = (Arc::clone(&front), Arc::clone(&tracker), failed.clone());
        thread::spawn(move || failed.send(serve(&sockets.udp, clock, &front, &tracker)));
    }
    // Workers serve until one fails. The program ends with it: nobody else drains that worker's sockets.
    Ok(failure.recv()??)
}

/// Answers what comes to these sockets. The worker that finds the tracker's time-out due handles it.
fn serve(
    sockets: &[Bound<UdpSocket>],
    clock: Clock,
    front: &UdpFront,
    tracker: &Arc<Tracker>,
) -> io::Result<()> {
    let mut worker = Worker::new(Arc::clone(tracker));
    let mut batch = UdpBatch::new();
    loop {
        let due = tracker.poll_timeout().saturating_since(clock.now());
        if due.is_zero() {
            tracker.handle_timeout(clock.now(), load_average());
            continue;
        }
        wait(sockets, due)?;
        for bound in sockets {
            // What a full batch leaves at the socket ends the next wait at once.
            exchange(clock.now(), &mut batch, &bound.socket, front, &mut worker)?;
        }
    }
}

/// Waits until a socket is readable, or the time has passed.
fn wait(sockets: &[Bound<UdpSocket>], time: Duration) -> io::Result<()> {
    let mut readable: Vec<PollFd<'_>> = sockets
        .iter()
        .map(|bound| PollFd::new(&bound.socket, PollFlags::IN))
        .collect();
    let time = Timespec::try_from(time).map_err(io::Error::other)?;
    match poll(&mut readable, Some(&time)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
