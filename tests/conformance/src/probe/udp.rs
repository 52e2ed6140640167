//! Connects, announces and scrapes over UDP, and the proof that silence is not death.

use super::{Client, Hash, Probe};
use crate::plain;
use crate::{
    finding::Stop,
    target::Family,
    transcript::Way,
    wire::udp::{self, Announce, Announced, Scraped},
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// A client's socket, and the connection id it was given.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) socket: UdpSocket,
    pub(crate) to: SocketAddr,
    pub(crate) id: u64,
    pub(crate) v6: bool,
}

impl Link {
    /// The port that datagrams leave from.
    pub(crate) fn port(&self) -> u16 {
        self.socket.local_addr().map_or(0, |address| address.port())
    }
}

impl Probe<'_> {
    /// A socket of a client, without a connection id.
    pub(crate) fn socket(&self, client: &Client) -> Result<Link, Stop> {
        let settings = self.settings();
        let endpoint = settings
            .udp_of(client.family)
            .or(settings.udp.as_ref())
            .or(settings.udp6.as_ref());
        let endpoint = endpoint.unwrap_or_else(|| unreachable!("a check that uses UDP needs a UDP URL"));
        let v6 = endpoint.address.is_ipv6();
        let any = if v6 {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        let from = SocketAddr::new(client.source.unwrap_or(any), 0);
        let socket = UdpSocket::bind(from)
            .map_err(|error| Stop::NotRun(format!("cannot bind {from}: {}", plain(&error))))?;
        Ok(Link {
            socket,
            to: endpoint.address,
            id: 0,
            v6,
        })
    }

    /// A socket of a client, connected.
    pub(crate) fn link(&mut self, client: &Client) -> Result<Link, Stop> {
        let mut link = self.socket(client)?;
        link.id = self.connect(&link)?;
        Ok(link)
    }

    /// A socket of a new client of a family, connected.
    pub(crate) fn link_of(&mut self, family: Family) -> Result<(Client, Link), Stop> {
        let client = self.client_of(family);
        let link = self.link(&client)?;
        Ok((client, link))
    }

    /// Asks for a connection id.
    pub(crate) fn connect(&mut self, link: &Link) -> Result<u64, Stop> {
        let transaction = self.word();
        let reply = self.ask(link, &udp::connect(transaction), transaction)?;
        udp::read_connected(&reply).map_err(|why| Stop::Failed(format!("connect: {why}")))
    }

    /// Sends a datagram.
    pub(crate) fn send(&mut self, link: &Link, bytes: &[u8]) -> Result<(), Stop> {
        self.log(Way::UdpOut, bytes);
        let sent = link.socket.send_to(bytes, link.to);
        sent.map(|_| ())
            .map_err(|error| Stop::Failed(format!("cannot send {} bytes: {}", bytes.len(), plain(&error))))
    }

    /// Sends a datagram, again if need be, and waits for the reply with its transaction id.
    pub(crate) fn ask(&mut self, link: &Link, bytes: &[u8], transaction: u32) -> Result<Vec<u8>, Stop> {
        let mut strange = None;
        for _ in 0..TRIES {
            self.send(link, bytes)?;
            let deadline = Instant::now() + self.patience() / TRIES;
            while let Some((reply, from)) = self.receive(link, deadline) {
                if udp::transaction(&reply) == Some(transaction) && from == link.to {
                    return Ok(reply);
                }
                strange = Some((reply, from));
            }
        }
        Err(Stop::Failed(match strange {
            None => "no reply in time".to_owned(),
            Some((_, from)) if from != link.to => format!("the reply came from {from}, not from {}", link.to),
            Some((reply, _)) => match udp::transaction(&reply) {
                Some(other) => {
                    format!("the reply has transaction id {other:#010x}, the request {transaction:#010x}")
                }
                None => format!("a reply of {} bytes has no transaction id", reply.len()),
            },
        }))
    }

    /// The next datagram before a deadline.
    pub(crate) fn receive(&mut self, link: &Link, deadline: Instant) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            link.socket.set_read_timeout(Some(left)).ok()?;
            match link.socket.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    buffer.truncate(length);
                    self.log(Way::UdpIn, &buffer);
                    return Some((buffer, from));
                }
                Err(error) if is_refusal(&error) => {
                    self.say("the system says that nobody listens at the port");
                    return None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Sends datagrams that may go unanswered, then proves with a connect that the tracker lives.
    /// Returns the replies to the datagrams.
    pub(crate) fn provoke(&mut self, link: &Link, datagrams: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Stop> {
        for datagram in datagrams {
            self.send(link, datagram)?;
        }
        let (mut replies, mut own) = (Vec::new(), Vec::new());
        for _ in 0..TRIES {
            let transaction = self.word();
            own.push(transaction);
            self.send(link, &udp::connect(transaction))?;
            let mut deadline = Instant::now() + self.patience() / TRIES;
            let mut alive = false;
            while let Some((reply, _)) = self.receive(link, deadline) {
                let is_own = udp::transaction(&reply).is_some_and(|transaction| own.contains(&transaction));
                if is_own && udp::read_connected(&reply).is_ok() {
                    alive = true;
                    deadline = Instant::now() + SILENCE;
                } else {
                    replies.push(reply);
                }
            }
            if alive {
                return Ok(replies);
            }
        }
        Err(Stop::failed("the tracker answers no connect afterwards"))
    }

    /// Datagrams that must not be taken for what they are not: silence or an error is right.
    pub(crate) fn expect_unprocessed(
        &mut self,
        link: &Link,
        datagrams: &[Vec<u8>],
        what: &str,
    ) -> Result<Vec<Vec<u8>>, Stop> {
        let replies = self.provoke(link, datagrams)?;
        for reply in &replies {
            if udp::action(reply) != Some(udp::ERROR) {
                let action =
                    udp::action(reply).map_or_else(|| "none".to_owned(), |action| action.to_string());
                return Err(Stop::Failed(format!(
                    "{what} was answered with {} bytes of action {action}",
                    reply.len()
                )));
            }
        }
        Ok(replies)
    }

    /// A valid announce of a client: a leecher, started, the default number of peers.
    pub(crate) fn packet(&mut self, link: &Link, client: &Client, hash: &Hash) -> Announce {
        Announce {
            id: link.id,
            action: udp::ANNOUNCE,
            transaction: self.word(),
            hash: *hash,
            peer_id: client.peer_id,
            left: 1000,
            event: 2,
            ip: 0,
            key: self.word(),
            numwant: -1,
            port: client.port,
            tail: Vec::new(),
        }
    }

    /// Sends an announce that must succeed. The asker's own endpoint is taken out of the peers, so that this one
    /// habit fails the checks that are about it and no others.
    pub(crate) fn announce_udp(&mut self, link: &Link, packet: &Announce) -> Result<Announced, Stop> {
        let reply = self.ask(link, &packet.bytes(), packet.transaction)?;
        let read = udp::read_announced(&reply, link.v6);
        let mut answer = read.map_err(|why| Stop::Failed(format!("announce: {why}")))?;
        let source = link
            .socket
            .local_addr()
            .map(|address| address.ip())
            .ok()
            .filter(IpAddr::is_loopback);
        let before = answer.peers.len();
        answer
            .peers
            .retain(|at| at.port() != packet.port || source.is_some_and(|source| source != at.ip()));
        answer.own = answer.peers.len() < before;
        Ok(answer)
    }

    /// A new client connects and begins, leeching or seeding.
    pub(crate) fn begin_udp(&mut self, client: &Client, hash: &Hash, left: u64) -> Result<Announced, Stop> {
        let link = self.link(client)?;
        let packet = Announce {
            left,
            ..self.packet(&link, client, hash)
        };
        self.announce_udp(&link, &packet)
    }

    /// A new leecher looks who is there.
    pub(crate) fn look_udp(&mut self, hash: &Hash) -> Result<Announced, Stop> {
        let client = self.client();
        let link = self.link(&client)?;
        let packet = Announce {
            numwant: 50,
            ..self.packet(&link, &client, hash)
        };
        self.announce_udp(&link, &packet)
    }

    /// What a scrape over UDP says of hashes.
    pub(crate) fn scrape_udp(&mut self, hashes: &[Hash]) -> Result<Vec<Scraped>, Stop> {
        let client = self.client();
        let link = self.link(&client)?;
        let transaction = self.word();
        let reply = self.ask(&link, &udp::scrape(link.id, transaction, hashes), transaction)?;
        let entries = udp::read_scraped(&reply).map_err(|why| Stop::Failed(format!("scrape: {why}")))?;
        if entries.len() != hashes.len() {
            return Err(Stop::Failed(format!(
                "a scrape of {} hashes has {} entries",
                hashes.len(),
                entries.len()
            )));
        }
        Ok(entries)
    }

    /// The counts of one hash over UDP.
    pub(crate) fn counts_udp(&mut self, hash: &Hash) -> Result<Scraped, Stop> {
        self.scrape_udp(&[*hash])?
            .pop()
            .ok_or_else(|| Stop::failed("an empty scrape"))
    }

    /// Requires the seeders and leechers of a hash to be so many.
    pub(crate) fn expect_counts_udp(
        &mut self,
        hash: &Hash,
        seeders: i32,
        leechers: i32,
    ) -> Result<Scraped, Stop> {
        let counts = self.counts_udp(hash)?;
        if (counts.seeders, counts.leechers) == (seeders, leechers) {
            return Ok(counts);
        }
        Err(Stop::Failed(format!(
            "the scrape counts {} seeders and {} leechers, there are {seeders} and {leechers}",
            counts.seeders, counts.leechers
        )))
    }

    /// Begins many clients at once, a window of announces in flight, each from its own socket.
    pub(crate) fn crowd_udp(&mut self, clients: &[Client], hash: &Hash, left: u64) -> Result<(), Stop> {
        for client in clients {
            self.begin_udp(client, hash, left)?;
        }
        Ok(())
    }

    /// Begins a peer at each of many ports, all from one socket.
    pub(crate) fn ports_udp(
        &mut self,
        link: &Link,
        client: &Client,
        hash: &Hash,
        count: u16,
    ) -> Result<Vec<Client>, Stop> {
        let peers: Vec<Client> = (0..count)
            .map(|number| client.at_port(2000 + number).renamed(self.twenty()))
            .collect();
        for peer in &peers {
            let packet = self.packet(link, peer, hash);
            self.announce_udp(link, &packet)?;
        }
        Ok(peers)
    }
}

/// Whether a peer of a UDP answer is a client; by its port alone where its address is not known.
pub(crate) fn is_client(at: &SocketAddr, client: &Client) -> bool {
    at.port() == client.port && client.source.is_none_or(|source| source == at.ip())
}

impl Announced {
    /// Whether a client is handed out.
    pub(crate) fn has(&self, client: &Client) -> bool {
        self.peers.iter().any(|at| is_client(at, client))
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

/// Times that a datagram is sent before its reply is missed.
const TRIES: u32 = 2;
/// How long after a later reply an earlier one may still come.
const SILENCE: Duration = Duration::from_millis(120);
/// The longest datagram there is.
const DATAGRAM_MAX: usize = 65_535;
