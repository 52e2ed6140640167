//! Many who ask through one socket, each from an address of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use etracker_core::udp::packet::{AnnounceRequest, RequestHead, Response};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::drive::Request;
use crate::population::{Peer, Population};
use crate::sys::{self, Frame, Letter};
use crate::udp::{announce, encode, is_passing, put};

/// One of a crowd.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) ip: IpAddr,
    /// 0 until there is one.
    pub(super) connection_id: u64,
}

/// A socket that is bound to no address, and those who send through it.
pub(super) struct Crowd {
    target: SockAddr,
    socket: UdpSocket,
    pub(super) members: Vec<Member>,
    letters: Vec<Letter>,
    /// Letters that wait to be sent.
    written: usize,
    frames: Vec<Frame>,
}

/// What a socket has sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) datagrams: u64,
    pub(super) bytes: u64,
}

impl Crowd {
    pub(super) fn new(target: SocketAddr, members: impl IntoIterator<Item = IpAddr>) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::DGRAM, None)?;
        let any: IpAddr = if target.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            socket.set_freebind_v6(true)?;
            Ipv6Addr::UNSPECIFIED.into()
        };
        socket.bind(&SocketAddr::new(any, 0).into())?;
        // Nothing that came in time is to be taken for lost.
        if set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        socket.set_nonblocking(true)?;
        let members = members.into_iter().map(|ip| Member { ip, connection_id: 0 });
        Ok(Self {
            target: target.into(),
            socket: socket.into(),
            members: members.collect(),
            letters: (0..sys::BATCH_MAX).map(|_| Letter::new()).collect(),
            written: 0,
            frames: (0..sys::BATCH_MAX).map(|_| Frame::new()).collect(),
        })
    }

    /// Writes a datagram, which is sent with the next batch.
    pub(super) fn write(
        &mut self,
        source: IpAddr,
        fill: impl FnOnce(&mut [u8; sys::FRAME_LEN]) -> usize,
    ) -> io::Result<Sent> {
        self.write_with(|_, out| (source, fill(out)))
    }

    /// Writes a datagram, whose sender `fill` chooses too.
    pub(super) fn write_with(
        &mut self,
        fill: impl FnOnce(&[Member], &mut [u8; sys::FRAME_LEN]) -> (IpAddr, usize),
    ) -> io::Result<Sent> {
        let members = &self.members;
        self.letters[self.written].write(|out| fill(members, out));
        self.written += 1;
        if self.written == self.letters.len() {
            self.flush()
        } else {
            Ok(Sent::default())
        }
    }

    /// Sends what is written. What the network does not take is lost, as elsewhere.
    pub(super) fn flush(&mut self) -> io::Result<Sent> {
        let letters = &mut self.letters[..self.written];
        self.written = 0;
        let count = match sys::send_as(&self.socket, &self.target, letters) {
            Ok(count) => count,
            Err(error) if is_passing(&error) || error.kind() == io::ErrorKind::ConnectionRefused => 0,
            Err(error) => return Err(error),
        };
        let bytes = letters.iter().take(count).map(|letter| letter.len() as u64).sum();
        Ok(Sent {
            datagrams: count as u64,
            bytes,
        })
    }

    /// Shows `take` every answer that is there; how many there were.
    pub(super) fn receive(&mut self, mut take: impl FnMut(&mut [Member], &[u8])) -> io::Result<usize> {
        let mut total = 0;
        loop {
            let count = match sys::receive(&self.socket, &mut self.frames) {
                Ok(count) => count,
                Err(error) if is_passing(&error) || error.kind() == io::ErrorKind::ConnectionRefused => 0,
                Err(error) => return Err(error),
            };
            for frame in &self.frames[..count] {
                take(&mut self.members, frame.payload());
            }
            total += count;
            if count < sys::BATCH_MAX {
                return Ok(total);
            }
        }
    }

    /// Waits until there is an answer, but no longer than this.
    pub(super) fn wait(&self, span: Duration) -> io::Result<()> {
        let mut waiting = [PollFd::new(&self.socket, PollFlags::IN)];
        let span = Timespec::try_from(span).map_err(io::Error::other)?;
        match poll(&mut waiting, Some(&span)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gets everybody a connection id; how many have none.
    pub(super) fn connect(&mut self, population: &Population) -> io::Result<usize> {
        let count = self.members.len();
        let connects = |number| (number, Request::Connect);
        self.exchange(population, count, connects, |members, number, response| {
            if let (Some(member), Response::Connect(answer)) = (members.get_mut(number), response) {
                member.connection_id = answer.connection_id;
            }
        })
    }

    /// Asks `count` requests, each of a member, again and again until they are answered; how many never are.
    pub(super) fn exchange(
        &mut self,
        population: &Population,
        count: usize,
        request: impl Fn(usize) -> (usize, Request),
        mut took: impl FnMut(&mut [Member], usize, &Response<'_>),
    ) -> io::Result<usize> {
        let mut answered = vec![false; count];
        let mut left: Vec<usize> = (0..count).collect();
        for _ in 0..TRIES {
            for chunk in left.chunks(sys::BATCH_MAX) {
                self.ask(population, chunk, &request)?;
                let deadline = Instant::now() + PATIENCE;
                while chunk.iter().any(|&number| !answered[number]) && Instant::now() < deadline {
                    self.wait(PATIENCE)?;
                    self.receive(|members, bytes| {
                        let Some(response) = Response::decode(bytes) else {
                            return;
                        };
                        let number = response.transaction_id() as usize;
                        if let Some(is_answered) = answered.get_mut(number) {
                            *is_answered = true;
                            took(members, number, &response);
                        }
                    })?;
                }
            }
            left.retain(|&number| !answered[number]);
            if left.is_empty() {
                break;
            }
        }
        Ok(left.len())
    }

    fn ask(
        &mut self,
        population: &Population,
        numbers: &[usize],
        request: &impl Fn(usize) -> (usize, Request),
    ) -> io::Result<()> {
        for &number in numbers {
            let (member, request) = request(number);
            let member = self.members[member];
            let transaction_id = u32::try_from(number).unwrap_or(u32::MAX);
            self.write(member.ip, |out| {
                fill(population, request, member.connection_id, transaction_id, out)
            })?;
        }
        self.flush().map(drop)
    }
}

/// A request as it is sent. The only peer of a torrent is a seeder, all others are leechers.
pub(super) fn fill(
    population: &Population,
    request: Request,
    connection_id: u64,
    transaction_id: u32,
    out: &mut [u8],
) -> usize {
    match request {
        Request::Announce(peer) => {
            let left = u64::from(peer.size > 1);
            let request = announce(population, &peer, connection_id, transaction_id);
            put(&AnnounceRequest { left, ..request }.encode(), out)
        }
        Request::Connect => put(&RequestHead::connect(transaction_id).encode(), out),
        Request::Scrape(_) => encode(population, request, connection_id, transaction_id, out),
    }
}

/// Every peer of a population, client by client.
pub(super) fn peers(population: &Population) -> Vec<(u32, Peer)> {
    let of = |client| (0..population.peers_of(client)).map(move |nth| (client, population.peer(client, nth)));
    (0..population.clients()).flat_map(of).collect()
}

/// Bytes of answers that wait to be read.
const RECEIVE_BUFFER: usize = 64 << 20;
/// How long requests that have to be answered are waited for before they are sent again.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often they are sent.
const TRIES: u32 = 40;
