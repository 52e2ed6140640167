//! A tracker over UDP without any runtime: the core, driven from a plain loop.
//!
//! `cargo run --package etracker-core --example blocking -- 6969` serves udp://127.0.0.1:6969.
#![expect(clippy::print_stdout, reason = "a program says where it listens")]
#![expect(clippy::disallowed_methods, reason = "a driver brings the time")]

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant as Monotonic, SystemTime};
use std::{env, io};

use etracker_core::udp::{Datagram, Front, REPLY_MAX};
use etracker_core::{Config, Host, Instant, Seed, Tracker, Worker};

fn main() -> io::Result<()> {
    let port = env::args()
        .nth(1)
        .and_then(|port| port.parse().ok())
        .unwrap_or(6969);
    let socket = UdpSocket::bind(("127.0.0.1", port))?;
    println!("Listening on UDP {}", socket.local_addr()?);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    let clock = Clock::start();
    let seed = Seed::new(seed);
    let front = Front::new(&seed);
    let tracker = Arc::new(Tracker::new(Config::default(), seed, clock.now()));
    let mut worker = Worker::new(Arc::clone(&tracker));
    let (mut input, mut reply) = ([0; 2048], [0; REPLY_MAX]);
    loop {
        // However busy the socket is, and however quiet, the tracker ages when it is time to.
        let due = tracker.poll_timeout().saturating_since(clock.now());
        if due.is_zero() {
            tracker.handle_timeout(clock.now(), Host::default());
            continue;
        }
        socket.set_read_timeout(Some(due.max(Duration::from_millis(1))))?;
        let (len, sender) = match socket.recv_from(&mut input) {
            Ok(received) => received,
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        };
        let mut batch = [Datagram::new(sender, &input[..len], &mut reply)];
        for (_, reply) in front.handle(&mut worker, clock.now(), &mut batch).replies() {
            // A reply that cannot be sent is dropped, as the network might: who is not answered asks again.
            drop(socket.send_to(reply, sender));
        }
    }
}

/// Nothing came in time, a signal did, or an earlier reply met a closed port.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
    [ConnectionRefused, Interrupted, TimedOut, WouldBlock].contains(&error.kind())
}

/// The wall time at the start, and what has passed since: it never goes back.
struct Clock(Instant, Monotonic);

impl Clock {
    fn start() -> Self {
        let wall = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self(Instant::default().saturating_add(wall), Monotonic::now())
    }

    fn now(&self) -> Instant {
        self.0.saturating_add(self.1.elapsed())
    }
}
