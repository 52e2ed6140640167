//! What a check has in its hand: fresh hashes and clients, requests over HTTP and UDP, and the record of both.

mod http;
mod udp;

pub(crate) use http::{Announced, Counts, Reply, Request};
pub(crate) use udp::Link;

use crate::{
    audit::Audit,
    finding::Stop,
    needs::{HTTP, HTTP6, Needs, UDP, UDP6},
    target::{Family, Settings, Told},
    transcript::{Transcript, Way},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    thread,
    time::Duration,
};

/// The 20 bytes that name a swarm.
pub(crate) type Hash = [u8; 20];

/// A simulated peer.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) family: Family,
    /// The address it sends from; `None` leaves it to the system.
    pub(crate) source: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) peer_id: [u8; 20],
}

impl Client {
    /// The same peer at another port.
    pub(crate) fn at_port(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    /// Another peer at the same address and port.
    pub(crate) fn renamed(&self, peer_id: [u8; 20]) -> Self {
        Self {
            peer_id,
            ..self.clone()
        }
    }
}

/// One check at work.
#[derive(Debug)]
pub(crate) struct Probe<'a> {
    settings: &'a Settings,
    check_id: &'static str,
    needs: Needs,
    audit: &'a Audit,
    log: Transcript,
    random: fastrand::Rng,
    block: u32,
    clients: u32,
}

impl<'a> Probe<'a> {
    /// `number` is the place of the check in the catalogue: it gives each its own source addresses.
    pub(crate) fn new(
        settings: &'a Settings,
        check_id: &'static str,
        needs: Needs,
        number: usize,
        audit: &'a Audit,
    ) -> Self {
        let block = u32::try_from(number).unwrap_or_default();
        Self {
            settings,
            check_id,
            needs,
            audit,
            log: Transcript::default(),
            random: fastrand::Rng::new(),
            block,
            clients: 0,
        }
    }

    /// A hash that nobody has used.
    pub(crate) fn hash(&mut self) -> Hash {
        self.twenty()
    }

    /// Twenty random bytes.
    pub(crate) fn twenty(&mut self) -> [u8; 20] {
        let mut bytes = [0; 20];
        self.random.fill(&mut bytes);
        bytes
    }

    /// A random transaction id, key and so on.
    pub(crate) fn word(&mut self) -> u32 {
        self.random.u32(..)
    }

    /// A random 64-bit number.
    pub(crate) fn double(&mut self) -> u64 {
        self.random.u64(..)
    }

    /// A client of its own address, over IPv4 where the check's URLs allow it.
    pub(crate) fn client(&mut self) -> Client {
        let family = self.family();
        self.client_of(family)
    }

    /// A client of a family.
    pub(crate) fn client_of(&mut self, family: Family) -> Client {
        self.clients += 1;
        let source = self.source(family, self.clients);
        let mut peer_id = *b"-CT0100-............";
        for byte in &mut peer_id[8..] {
            *byte = self.random.alphanumeric() as u8;
        }
        Client {
            family,
            source,
            port: self.random.u16(1025..65_500),
            peer_id,
        }
    }

    /// Many clients, each of its own address where that is possible, and each of its own port.
    pub(crate) fn clients(&mut self, count: u16) -> Vec<Client> {
        let first = self.random.u16(1025..30_000);
        let family = self.family();
        (0..count)
            .map(|number| {
                let client = self.client_of(family);
                client.at_port(first + number)
            })
            .collect()
    }

    /// Whether every client of [`Self::client`] has an address of its own.
    pub(crate) fn has_many_sources(&self) -> bool {
        self.settings.many_sources() && self.family() == Family::V4
    }

    /// The family that this check's plain clients use: IPv4 if every URL it needs is given for it.
    pub(crate) fn family(&self) -> Family {
        let lacks_http = self.needs(HTTP) && self.settings.http.is_none();
        let lacks_udp = self.needs(UDP) && self.settings.udp.is_none();
        let only_v6 = (self.needs(HTTP6) || self.needs(UDP6))
            && self.settings.http.is_none()
            && self.settings.udp.is_none();
        if lacks_http || lacks_udp || only_v6 {
            Family::V6
        } else {
            Family::V4
        }
    }

    pub(crate) fn settings(&self) -> &'a Settings {
        self.settings
    }

    pub(crate) fn told(&self) -> &'a Told {
        &self.settings.told
    }

    pub(crate) fn audit(&self) -> &'a Audit {
        self.audit
    }

    pub(crate) fn patience(&self) -> Duration {
        self.settings.patience
    }

    /// How long a connection may stay open that should be closed: short, or long with `--slow`.
    pub(crate) fn close_patience(&self) -> Duration {
        let patience = if self.settings.slow {
            CLOSE_PATIENCE_SLOW
        } else {
            CLOSE_PATIENCE
        };
        self.hurried(patience)
    }

    /// Waits, by the target's clock.
    pub(crate) fn wait(&self, duration: Duration) {
        thread::sleep(self.hurried(duration));
    }

    /// A time of the target's clock, in the world's.
    pub(crate) fn hurried(&self, duration: Duration) -> Duration {
        duration / self.settings.hurry.max(1)
    }

    /// What to say of a connection that was still open after [`Self::close_patience`].
    pub(crate) fn still_open(&self, what: &str) -> Stop {
        let waited = self.close_patience().as_secs();
        if self.settings.slow {
            Stop::Failed(format!("{what}: still open after {waited} s"))
        } else {
            Stop::NotRun(format!(
                "{what}: still open after {waited} s; --slow waits longer"
            ))
        }
    }

    /// Writes a remark into the transcript.
    pub(crate) fn say(&mut self, text: &str) {
        self.log.add(Way::Remark, text.as_bytes());
    }

    pub(crate) fn log(&mut self, way: Way, bytes: &[u8]) {
        self.log.add(way, bytes);
    }

    pub(crate) fn transcript(&self) -> &Transcript {
        &self.log
    }

    pub(crate) fn check_id(&self) -> &'static str {
        self.check_id
    }

    fn needs(&self, need: Needs) -> bool {
        self.needs.has(need)
    }

    /// The address of the client with a number: of 127.0.0.0/8 if the target is there, else the system's choice.
    fn source(&self, family: Family, number: u32) -> Option<IpAddr> {
        match family {
            Family::V4 if self.settings.many_sources() => {
                let host = number % SOURCES_PER_CHECK;
                let third = (self.block % 4) * 64 + host / 254;
                let octets = [127, 64 + self.block / 4, third, 1 + host % 254];
                let octets = octets.map(|octet| u8::try_from(octet).unwrap_or(1));
                Some(IpAddr::V4(Ipv4Addr::from(octets)))
            }
            Family::V4 => None,
            Family::V6 => {
                let endpoint = self.settings.http6.as_ref().or(self.settings.udp6.as_ref())?;
                endpoint
                    .address
                    .ip()
                    .is_loopback()
                    .then_some(IpAddr::V6(Ipv6Addr::LOCALHOST))
            }
        }
    }
}

/// Addresses that a check has for itself: 64 times 254.
const SOURCES_PER_CHECK: u32 = 64 * 254;
/// How long a connection that should be closed is watched.
const CLOSE_PATIENCE: Duration = Duration::from_secs(20);
/// The same with `--slow`: trackers with time-outs of a minute are fair.
const CLOSE_PATIENCE_SLOW: Duration = Duration::from_secs(90);
