//! A protocol over TCP: a line with an info-hash asks how many seeders and leechers its torrent has.

use std::net::SocketAddr;
use std::time::Duration;

use etracker_core::http::Step;
use etracker_core::{InfoHash, Instant, Worker};
use etracker_runtime_common::{ConnectionFront, Protocol, Session, Transport};

/// The protocol that sockets are opened for.
pub const LINES: Protocol = Protocol::Other("LINES", Transport::Tcp);

/// Answers lines of 40 hexadecimal digits by two numbers, and others by a question mark.
#[derive(Clone, Copy, Debug)]
pub struct Lines;

impl ConnectionFront for Lines {
    fn open(&self, now: Instant, _: SocketAddr) -> Box<dyn Session> {
        Box::new(Line {
            input: Vec::new(),
            deadline: now.saturating_add(PATIENCE),
        })
    }
}

/// One connection.
#[derive(Debug)]
struct Line {
    /// What came and is not yet answered.
    input: Vec<u8>,
    deadline: Instant,
}

impl Session for Line {
    fn receive(&mut self, now: Instant, bytes: &[u8], worker: &mut Worker, reply: &mut [u8]) -> Step {
        self.input.extend_from_slice(bytes);
        self.respond(now, worker, reply)
    }

    fn respond(&mut self, now: Instant, worker: &mut Worker, reply: &mut [u8]) -> Step {
        let Some(len) = self.input.iter().position(|&byte| byte == b'\n') else {
            return if self.input.len() > LINE_MAX {
                Step::Close
            } else {
                Step::Read
            };
        };
        let line: Vec<u8> = self.input.drain(..=len).collect();
        self.deadline = now.saturating_add(PATIENCE);
        let answer = answer(&line[..len], worker);
        reply[..answer.len()].copy_from_slice(answer.as_bytes());
        Step::Write(answer.len())
    }

    fn end_of_input(&mut self, _: Instant, _: &mut Worker, _: &mut [u8]) -> Step {
        Step::Close
    }

    fn poll_timeout(&self) -> Instant {
        self.deadline
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Worker, _: &mut [u8]) -> Step {
        Step::Close
    }
}

fn answer(line: &[u8], worker: &Worker) -> String {
    match info_hash(line).map(|info_hash| worker.scrape(&info_hash)) {
        Some(counts) => format!("{} {}\n", counts.complete, counts.incomplete),
        None => "?\n".to_owned(),
    }
}

fn info_hash(line: &[u8]) -> Option<InfoHash> {
    let mut bytes = [0; 20];
    let digits = str::from_utf8(line).ok().filter(|line| line.len() == 40)?;
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(InfoHash(bytes))
}

/// How long a client may take for a line.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of a line without its end.
const LINE_MAX: usize = 40;
