//! Clients that speak UDP (BEP 15).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Instant;

use etracker_core::announce::{Event, Family};
use etracker_core::udp::packet::{AnnounceRequest, RequestHead, Response, ScrapeRequest};
use etracker_core::{InfoHash, PeerId};
use socket2::{Domain, Socket, Type};

use crate::drive::{Client, Request, SCRAPED, WINDOW_MAX};
use crate::population::{Peer, Population, source};
use crate::sys::{self, Frame};
use crate::tally::{Announced, Tally};

/// A socket and its outstanding requests.
pub(crate) struct UdpClient<'p> {
    population: &'p Population,
    target: SocketAddr,
    socket: UdpSocket,
    connection_id: u64,
    slots: Vec<Option<Pending>>,
    under_way: usize,
    /// Counted up with every request, so that a late answer is not taken for another's.
    sequence: u32,
    frames: Vec<Frame>,
    /// Requests of one length, which go out together.
    output: Vec<u8>,
    /// That length.
    cut: usize,
}

struct Pending {
    transaction_id: u32,
    request: Request,
    due: Option<Instant>,
}

impl<'p> UdpClient<'p> {
    /// # Errors
    /// There is no socket to be had, or the address is not one of this host.
    pub(crate) fn new(population: &'p Population, target: SocketAddr, number: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::DGRAM, None)?;
        socket.bind(&SocketAddr::new(source(target.ip(), number), 0).into())?;
        socket.connect(&target.into())?;
        Ok(Self {
            population,
            target,
            socket: socket.into(),
            connection_id: 0,
            slots: (0..WINDOW_MAX).map(|_| None).collect(),
            under_way: 0,
            sequence: 0,
            frames: (0..WINDOW_MAX).map(|_| Frame::new()).collect(),
            output: Vec::new(),
            cut: 0,
        })
    }

    /// Notes a request, and gives it a transaction id that tells its slot.
    fn note(&mut self, request: Request, due: Option<Instant>) -> u32 {
        let slot = self.slots.iter().position(Option::is_none).unwrap_or_default();
        self.sequence = self.sequence.wrapping_add(1);
        #[expect(clippy::cast_possible_truncation, reason = "slots are few")]
        let transaction_id = self.sequence << SLOT_BITS | slot as u32;
        self.slots[slot] = Some(Pending {
            transaction_id,
            request,
            due,
        });
        self.under_way += 1;
        transaction_id
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.socket.send(&self.output) {
                Ok(_) => self.output.clear(),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, transaction_id: u32) -> Option<Pending> {
        let slot = self.slots.get_mut((transaction_id % (1 << SLOT_BITS)) as usize)?;
        let pending = slot.take_if(|pending| pending.transaction_id == transaction_id)?;
        self.under_way -= 1;
        Some(pending)
    }

    /// Counts the answer in a frame.
    fn answered(&mut self, index: usize, tally: &mut Tally) {
        let Some(transaction_id) = self.frames[index].payload().get(4..8) else {
            tally.late += 1;
            return;
        };
        let transaction_id = transaction_id
            .iter()
            .fold(0, |id, &byte| id << 8 | u32::from(byte));
        let Some(pending) = self.take(transaction_id) else {
            tally.late += 1;
            return;
        };
        tally.took(pending.due);
        match (pending.request, Response::decode(self.frames[index].payload())) {
            (Request::Connect, Some(Response::Connect(answer))) => {
                self.connection_id = answer.connection_id;
                tally.connects += 1;
            }
            (Request::Announce(peer), Some(Response::Announce(answer, compact))) => {
                let answer = Announced {
                    counted: u64::from(answer.leechers) + u64::from(answer.seeders),
                    family: Family::of(self.target.ip()),
                    compact,
                    target: self.target.ip(),
                };
                tally.announced(&peer, &answer);
            }
            (Request::Scrape(_), Some(Response::Scrape(answer))) if answer.counts().count() == SCRAPED => {
                tally.scrapes += 1;
            }
            (request, Some(Response::Error(error))) => {
                tally.refused += 1;
                let reason = String::from_utf8_lossy(error.message);
                tally.complain(|| format!("{request:?} was refused: {reason}"));
            }
            (request, answer) => {
                tally.wrong += 1;
                tally.complain(|| format!("{request:?} was answered {answer:?}"));
            }
        }
    }
}

impl Client for UdpClient<'_> {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn under_way(&self) -> usize {
        self.under_way
    }

    fn send(&mut self, requests: &[Request], due: Option<Instant>, tally: &mut Tally) -> io::Result<()> {
        let mut out = [0; sys::FRAME_LEN];
        for &request in requests {
            let transaction_id = self.note(request, due);
            let len = encode(
                self.population,
                request,
                self.connection_id,
                transaction_id,
                &mut out,
            );
            if len != self.cut {
                self.flush()?;
                sys::cut_into(&self.socket, i32::try_from(len).unwrap_or(i32::MAX))?;
                self.cut = len;
            }
            self.output.extend_from_slice(&out[..len]);
        }
        self.flush()?;
        tally.sent += requests.len() as u64;
        Ok(())
    }

    fn receive(&mut self, tally: &mut Tally) -> io::Result<()> {
        let frames = &mut self.frames[..self.under_way.max(1)];
        let count = match sys::receive(&self.socket, frames) {
            Ok(count) => count,
            Err(error) if is_passing(&error) => 0,
            Err(error) => return Err(error),
        };
        for index in 0..count {
            self.answered(index, tally);
        }
        Ok(())
    }

    fn give_up(&mut self, tally: &mut Tally) {
        tally.lost += self.under_way as u64;
        self.under_way = 0;
        self.slots.fill_with(|| None);
    }
}

pub(crate) fn encode(
    population: &Population,
    request: Request,
    connection_id: u64,
    transaction_id: u32,
    out: &mut [u8],
) -> usize {
    match request {
        Request::Connect => put(&RequestHead::connect(transaction_id).encode(), out),
        Request::Announce(peer) => {
            let request = announce(population, &peer, connection_id, transaction_id);
            put(&request.encode(), out)
        }
        Request::Scrape(torrents) => {
            let request = ScrapeRequest {
                connection_id,
                transaction_id,
                info_hashes: &torrents.map(|torrent| population.info_hash(torrent)),
            };
            request.encode(out)
        }
    }
}

/// The announce of a leecher.
pub(crate) fn announce(
    population: &Population,
    peer: &Peer,
    connection_id: u64,
    transaction_id: u32,
) -> AnnounceRequest {
    AnnounceRequest {
        connection_id,
        transaction_id,
        info_hash: InfoHash(population.info_hash(peer.torrent)),
        peer_id: PEER_ID,
        downloaded: 0,
        left: 1,
        uploaded: 0,
        event: Event::None,
        ip: Ipv4Addr::UNSPECIFIED,
        key: 0,
        numwant: i32::try_from(peer.wanted).unwrap_or(i32::MAX),
        port: peer.port,
    }
}

pub(crate) fn put(message: &[u8], out: &mut [u8]) -> usize {
    out[..message.len()].copy_from_slice(message);
    message.len()
}

pub(crate) fn is_passing(error: &io::Error) -> bool {
    [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind())
}

/// The peer id of all clients: trackers identify peers by their addresses.
pub(crate) const PEER_ID: PeerId = PeerId(*b"-LD0100-loadloadload");
const SLOT_BITS: u32 = 6;
const _: () = assert!(WINDOW_MAX == 1 << SLOT_BITS, "a transaction id tells the slot");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_a_tracker_reads() {
        let population = Population::new(10, 100, 1, 30).unwrap();
        let peer = population.peer(0, 7);
        let mut out = [0; sys::FRAME_LEN];
        let len = encode(&population, Request::Announce(peer), 5, 6, &mut out);
        let (read, _) = AnnounceRequest::decode(&out[..len]).unwrap();
        assert_eq!((read.connection_id, read.transaction_id, read.left), (5, 6, 1));
        assert_eq!(read.info_hash.0, population.info_hash(peer.torrent));
        assert_eq!(
            (read.port, read.numwant),
            (peer.port, i32::try_from(peer.wanted).unwrap())
        );

        let torrents = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        let len = encode(&population, Request::Scrape(torrents), 5, 6, &mut out);
        let read = ScrapeRequest::decode(&out[..len]).unwrap();
        assert_eq!(
            read.info_hashes,
            torrents.map(|torrent| population.info_hash(torrent))
        );

        let len = encode(&population, Request::Connect, 5, 6, &mut out);
        assert_eq!(RequestHead::decode(&out[..len]), Some(RequestHead::connect(6)));
    }

    #[test]
    fn an_answer_counts_once_and_only_to_what_was_asked() {
        let population = Population::new(10, 100, 1, 30).unwrap();
        let mut client = UdpClient::new(&population, "127.0.0.1:9".parse().unwrap(), 0).unwrap();
        let ids = [(); WINDOW_MAX].map(|()| client.note(Request::Connect, None));
        assert_eq!(client.under_way(), WINDOW_MAX);
        assert!(client.take(ids[3] ^ 1 << 20).is_none());
        for id in ids {
            assert!(client.take(id).is_some() && client.take(id).is_none());
        }
        client.note(Request::Connect, None);
        let mut tally = Tally::default();
        client.give_up(&mut tally);
        assert_eq!((client.under_way(), tally.lost), (0, 1));
    }
}
