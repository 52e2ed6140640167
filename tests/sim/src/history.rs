//! The last events of a run, for people to read when it fails.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use crate::queue::{DAY, EPOCH, HOUR, MINUTE, Millis, SECOND};
use crate::wire::{self, Meaning, Packet, Wish};

/// The last events, oldest first.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<(u64, Millis, Happened)>);

impl History {
    pub(crate) fn note(&mut self, step: u64, now: Millis, happened: Happened) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((step, now, happened));
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.0.iter();
        lines
            .map(|(step, now, happened)| format!("{step:>9} {} {happened}", clock(*now)))
            .collect()
    }
}

/// Something that happened to the tracker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happened {
    Datagram {
        source: SocketAddr,
        what: What,
        reply: Option<(u32, usize)>,
    },
    Announced(SocketAddr, Wish, u16),
    Answered(SocketAddr, u16),
    Closed(SocketAddr),
    Compared(u64),
    Restarted,
}

impl Happened {
    pub(crate) fn datagram(packet: &Packet, reply: Option<&[u8]>) -> Self {
        let what = match &packet.meaning {
            Meaning::Connect { .. } => What::Connect,
            Meaning::Announce { wish, .. } => What::Announce(*wish),
            Meaning::Scrape { info_hashes, .. } => What::Scrape(info_hashes.len()),
            Meaning::Faulty { .. } => What::Faulty,
            Meaning::Noise => What::Noise(packet.bytes.len()),
        };
        Self::Datagram {
            source: packet.source,
            what,
            reply: reply.map(|reply| (wire::number(reply, 0), reply.len())),
        }
    }
}

/// What a datagram was meant to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Connect,
    Announce(Wish),
    Scrape(usize),
    Faulty,
    Noise(usize),
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Datagram { source, what, reply } => {
                write!(f, "udp  {source} {what}")?;
                match reply {
                    Some((3, len)) => write!(f, " -> an error of {len} bytes"),
                    Some((_, len)) => write!(f, " -> {len} bytes"),
                    None => f.write_str(" -> silence"),
                }
            }
            Self::Announced(source, wish, status) => {
                write!(f, "http {source} {} -> {status}", What::Announce(*wish))
            }
            Self::Answered(source, status) => write!(f, "http {source} -> {status}"),
            Self::Closed(source) => write!(f, "http {source} is closed"),
            Self::Compared(peers) => write!(f, "compared with the model: {peers} peers"),
            Self::Restarted => f.write_str("the tracker was restarted"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connects"),
            Self::Announce(wish) => {
                let [.., a, b, c, d] = wish.info_hash.0;
                let torrent = u32::from_be_bytes([a, b, c, d]);
                let Wish {
                    port, left, event, ..
                } = wish;
                write!(
                    f,
                    "announces port {port} for torrent {torrent}, {event:?}, left {left}"
                )
            }
            Self::Scrape(torrents) => write!(f, "scrapes {torrents} torrents"),
            Self::Faulty => f.write_str("sends a faulty request"),
            Self::Noise(len) => write!(f, "sends {len} bytes of noise"),
        }
    }
}

/// Simulated time since the beginning, as days, hours, minutes, seconds.
pub(crate) fn clock(now: Millis) -> String {
    let since = now.saturating_sub(EPOCH);
    let (days, hours) = (since / DAY, since % DAY / HOUR);
    let (minutes, secs) = (since % HOUR / MINUTE, since % MINUTE / SECOND);
    format!("{days}d {hours:02}:{minutes:02}:{secs:02}.{:03}", since % SECOND)
}

/// Events that are remembered.
const REMEMBERED: usize = 24;
