//! The UDP side: one thread a socket.

use super::{
    State,
    fault::Fault,
    swarm::{Announce, Event, Hash, unmapped},
};
use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

pub(crate) fn serve(state: &Arc<State>, socket: &UdpSocket) {
    let _ = socket.set_read_timeout(Some(Duration::from_millis(100)));
    let mut buffer = vec![0; 65_535];
    while !state.stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let denied = state
            .setup
            .denied_source
            .is_some_and(|source| from.ip() == IpAddr::V4(source));
        if denied || from.port() == 0 {
            continue;
        }
        if let Some(reply) = state.datagram(&buffer[..length], from) {
            let _ = socket.send_to(&reply, from);
        }
    }
}

const MAGIC: u64 = 0x0417_2710_1980;

impl State {
    fn datagram(&self, packet: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        if self.has(Fault::EmptyDatagrams) {
            return Some(Vec::new());
        }
        let (id, action) = (
            u64::from_be_bytes(at(packet, 0)?),
            u32::from_be_bytes(at(packet, 8)?),
        );
        let transaction: [u8; 4] = at(packet, 12)?;
        let action = if self.has(Fault::ActionOrderGuessed) && action == 1 << 24 {
            1
        } else {
            action
        };
        if action == 0 {
            let right = id == MAGIC || self.has(Fault::MagicNotChecked);
            let sized = packet.len() == 16 || !self.has(Fault::ConnectOnlyExact);
            return (right && sized).then(|| self.reply(0, transaction, &self.issue(from).to_be_bytes()));
        }
        if !self.proves(id, from) {
            let scolds = self.has(Fault::LongErrors);
            return scolds.then(|| {
                self.reply(
                    3,
                    transaction,
                    b"the connection id is not one that was given to this address",
                )
            });
        }
        match action {
            1 => self.announce_udp(packet, transaction, from),
            2 => self.scrape_udp(packet, transaction),
            3 if !self.has(Fault::ErrorsAnswered) => None,
            _ => Some(self.reply(3, transaction, b"unknown action")),
        }
    }

    fn reply(&self, action: u32, transaction: [u8; 4], body: &[u8]) -> Vec<u8> {
        let mut transaction = transaction;
        if self.has(Fault::TransactionWrong) {
            transaction[0] ^= 1;
        }
        [&action.to_be_bytes(), transaction.as_slice(), body].concat()
    }

    /// The id of an address at a tick of 16 s.
    fn id(&self, from: SocketAddr, tick: u64) -> u64 {
        if let (IpAddr::V4(ip), true) = (from.ip(), self.has(Fault::IdsAreAffine)) {
            return 0x1234_5678_9ABC_DEF0 ^ (u64::from(u32::from(ip)) << 24);
        }
        let mut hasher = DefaultHasher::new();
        (std::ptr::from_ref(self).addr(), from.ip(), tick).hash(&mut hasher);
        hasher.finish()
    }

    fn issue(&self, from: SocketAddr) -> u64 {
        if self.has(Fault::IdIsConstant) {
            return 0x0102_0304_0506_0708;
        }
        if self.has(Fault::IdIsCounter) {
            return self.counter.fetch_add(1, Ordering::Relaxed);
        }
        self.id(from, self.now() / TICK)
    }

    fn proves(&self, id: u64, from: SocketAddr) -> bool {
        if self.has(Fault::AnyIdProves) || self.has(Fault::IdIsConstant) || self.has(Fault::IdIsCounter) {
            return true;
        }
        let now = self.now() / TICK;
        let oldest = match (self.has(Fault::IdsNeverExpire), self.has(Fault::IdsExpireSoon)) {
            (true, _) => 0,
            (_, true) => now.saturating_sub(2),
            _ => now.saturating_sub(8),
        };
        (oldest..=now).any(|tick| self.id(from, tick) == id)
    }

    fn announce_udp(&self, packet: &[u8], transaction: [u8; 4], from: SocketAddr) -> Option<Vec<u8>> {
        let mut packet = packet.to_vec();
        if packet.len() < 98 && self.has(Fault::ShortAnnouncesTaken) {
            packet.resize(98, 1);
        }
        if packet.len() < 98 {
            return Some(self.reply(3, transaction, b"a short packet"));
        }
        if self.has(Fault::OptionsRefused) && packet.len() > 98 && packet[98] > 2 {
            return Some(self.reply(3, transaction, b"an unknown option"));
        }
        let mut announce = self.read_packet(&packet, from)?;
        if self.has(Fault::ProtocolsApart) {
            announce.hash[0] ^= 0x55;
        }
        if let Some(reason) = self.refusal(&announce.hash) {
            return Some(self.reply(3, transaction, reason.as_bytes()));
        }
        let answer = self.announce(&announce);
        let mut body = 1800_u32.to_be_bytes().to_vec();
        let counts = if self.has(Fault::CountsSwapped) {
            [answer.complete, answer.incomplete]
        } else {
            [answer.incomplete, answer.complete]
        };
        body.extend(counts.iter().flat_map(|count| small(*count)));
        for peer in &answer.peers {
            let mut endpoint = self.endpoint(peer);
            if self.has(Fault::SixBytesForAll) && endpoint.len() == 18 {
                endpoint.drain(..12);
            }
            body.extend(endpoint);
        }
        Some(self.reply(1, transaction, &body))
    }

    fn read_packet(&self, packet: &[u8], from: SocketAddr) -> Option<Announce> {
        let word = |place| at(packet, place).map(u32::from_be_bytes);
        let event = match (word(80)?, self.has(Fault::EventsInOtherOrder)) {
            (1, false) | (2, true) => Event::Completed,
            (2, false) | (1, true) => Event::Started,
            (3, _) => Event::Stopped,
            (4, _) if self.has(Fault::UnknownEventStops) => Event::Stopped,
            _ => Event::None,
        };
        let mut ip = unmapped(from.ip());
        if self.has(Fault::ClaimsBelieved) && word(84)? != 0 {
            ip = IpAddr::V4(Ipv4Addr::from(word(84)?));
        }
        let field = u16::from_be_bytes(at(packet, 96)?);
        let port = if self.has(Fault::DatagramPortTaken) {
            from.port()
        } else {
            field
        };
        Some(Announce {
            hash: at(packet, 16)?,
            id: at(packet, 36)?,
            at: SocketAddr::new(ip, port),
            left: u64::from_be_bytes(at(packet, 64)?),
            event,
            numwant: Some(i64::from(i32::from_be_bytes(at(packet, 92)?))),
        })
    }

    fn scrape_udp(&self, packet: &[u8], transaction: [u8; 4]) -> Option<Vec<u8>> {
        let rest = packet.get(16..)?;
        let mut hashes: Vec<Hash> = rest
            .chunks_exact(20)
            .filter_map(|chunk| chunk.try_into().ok())
            .collect();
        if rest.len() % 20 != 0 && self.has(Fault::PartialHashAnswered) {
            hashes.push([0; 20]);
        }
        if self.has(Fault::ScrapeSorted) {
            hashes.sort_unstable();
        }
        let most = if self.has(Fault::ScrapeOfSeventy) { 70 } else { 74 };
        let mut body = Vec::new();
        for mut hash in hashes.into_iter().take(most) {
            if self.has(Fault::ProtocolsApart) {
                hash[0] ^= 0x55;
            }
            let counts = self.scrape(&hash);
            body.extend(
                [counts.complete, counts.downloaded, counts.incomplete]
                    .iter()
                    .flat_map(|count| small(*count)),
            );
        }
        Some(self.reply(2, transaction, &body))
    }
}

fn small(count: i64) -> [u8; 4] {
    u32::try_from(count).unwrap_or_default().to_be_bytes()
}

fn at<const N: usize>(packet: &[u8], place: usize) -> Option<[u8; N]> {
    packet.get(place..place + N)?.try_into().ok()
}

/// Seconds for which one connection id is given.
const TICK: u64 = 16;
