//! An attacker, in a thread of its own.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;

use super::crowd::Crowd;
use super::kind::{Kind, Next, Speed};
use crate::population::Population;
use crate::sys::BATCH_MAX;

/// What an attacker has done so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// No more is to be sent.
    pub(super) is_over: AtomicBool,
    pub(super) sent: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) answered_bytes: AtomicU64,
}

/// One who attacks until it is over.
pub(super) struct Attacker<'a> {
    kind: Kind,
    speed: Speed,
    /// Datagrams after which it has sent all that it wants.
    sent_max: Option<u64>,
    population: &'a Population,
    crowd: Crowd,
    progress: &'a Progress,
    rng: fastrand::Rng,
    /// Datagrams that were written.
    written: u64,
    /// Datagrams that may still be answered.
    outstanding: u64,
    began: Instant,
    proven: Instant,
    heard: Instant,
}

impl<'a> Attacker<'a> {
    /// One with connection ids for all its addresses.
    ///
    /// # Errors
    /// The tracker does not give them.
    pub(super) fn new(
        kind: Kind,
        speed: Speed,
        sent_max: Option<u64>,
        population: &'a Population,
        mut crowd: Crowd,
        progress: &'a Progress,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let without = crowd.connect(population)?;
        if without > 0 {
            return Err(io::Error::other(format!(
                "{without} attackers get no connection id"
            )));
        }
        Ok(Self {
            kind,
            speed,
            sent_max,
            population,
            crowd,
            progress,
            rng: fastrand::Rng::with_seed(11),
            written: 0,
            outstanding: 0,
            began: now,
            proven: now,
            heard: now,
        })
    }

    /// Attacks until all is sent, or all is over.
    pub(super) fn run(mut self) -> io::Result<()> {
        // On a processor that honest clients run on too, they come first.
        let _ = setpriority_process(None, NICE);
        (self.began, self.heard) = (Instant::now(), Instant::now());
        while !self.progress.is_over.load(Relaxed) && self.sent_max.is_none_or(|max| self.written < max) {
            if self.proven.elapsed() > ID_LIFE {
                self.crowd.connect(self.population)?;
                self.proven = Instant::now();
            }
            if self.may_send() {
                self.send()?;
            } else {
                self.crowd.wait(PAUSE)?;
            }
            self.receive()?;
        }
        Ok(())
    }

    fn may_send(&self) -> bool {
        match self.speed {
            Speed::Full => true,
            Speed::Rate(rate) => {
                self.began.elapsed().as_micros() * u128::from(rate) / 1_000_000 > self.written.into()
            }
            Speed::Answered => self.outstanding < WINDOW,
        }
    }

    /// Sends a batch.
    fn send(&mut self) -> io::Result<()> {
        for _ in 0..BATCH_MAX {
            let (kind, population, rng, nth) = (self.kind, self.population, &mut self.rng, self.written);
            let sent = self.crowd.write_with(|members, out| {
                kind.write(
                    &mut Next {
                        population,
                        members,
                        rng,
                        nth,
                    },
                    out,
                )
            })?;
            self.written += 1;
            self.outstanding += sent.datagrams;
            self.progress.sent.fetch_add(sent.datagrams, Relaxed);
            self.progress.sent_bytes.fetch_add(sent.bytes, Relaxed);
        }
        Ok(())
    }

    /// Takes what is answered.
    fn receive(&mut self) -> io::Result<()> {
        let mut bytes = 0;
        let count = self.crowd.receive(|_, payload| bytes += payload.len() as u64)? as u64;
        self.progress.answered.fetch_add(count, Relaxed);
        self.progress.answered_bytes.fetch_add(bytes, Relaxed);
        self.outstanding = self.outstanding.saturating_sub(count);
        if count > 0 {
            self.heard = Instant::now();
        } else if self.heard.elapsed() > SILENCE {
            // What is not answered by now never is.
            self.outstanding = 0;
            self.heard = Instant::now();
        }
        Ok(())
    }
}

/// How much later than honest clients a processor turns to an attacker.
pub(super) const NICE: i32 = 19;
/// Connection ids are good for two minutes (BEP 15).
const ID_LIFE: Duration = Duration::from_secs(60);
/// Datagrams that wait for an answer, fewer than a receive buffer holds.
const WINDOW: u64 = 1024;
/// How long an answer is waited for before others are asked for.
const SILENCE: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_millis(1);
