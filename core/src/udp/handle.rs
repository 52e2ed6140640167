//! A batch of datagrams on its way from bytes to replies.

use core::net::SocketAddr;

use crate::announce::{Announce, Endpoint};
use crate::stats::Count;
use crate::swarm::{HINTED_TOGETHER, Handout, Prepared};
use crate::{InfoHash, Instant, Worker};

use super::packet::{
    ANNOUNCE, AnnounceRequest, AnnounceResponse, CONNECT, ConnectResponse, ERROR, ErrorResponse, PROTOCOL_ID,
    RequestHead, SCRAPE, ScrapeRequest, ScrapeResponse,
};
use super::{Datagram, Silence, Verdict, peers_max};

impl Worker {
    /// Answers a batch of datagrams: writes their replies and sets their verdicts. The work is linear in the batch.
    ///
    /// `hint` is told addresses that will be read soon; it may do nothing. A sender that has not proved its address is
    /// never sent more bytes than it sent.
    pub fn handle_datagrams<H: Fn(*const u8) + Copy>(
        &mut self,
        now: Instant,
        batch: &mut [Datagram<'_>],
        hint: H,
    ) {
        for piece in batch.chunks_mut(HINTED_TOGETHER) {
            match piece {
                [] => {}
                [_] => self.handle_piece::<1, H>(now, piece, hint),
                _ => self.handle_piece::<HINTED_TOGETHER, H>(now, piece, hint),
            }
        }
    }

    /// Reads and proves all, and only then carries out, so that what the requests touch is fetched meanwhile.
    fn handle_piece<const N: usize, H: Fn(*const u8) + Copy>(
        &mut self,
        now: Instant,
        piece: &mut [Datagram<'_>],
        hint: H,
    ) {
        let mut requests = [const { Request::Ignored(Silence::Unhandled) }; N];
        for (request, datagram) in requests.iter_mut().zip(piece.iter()) {
            *request = self.read(now, datagram.sender, datagram.payload);
        }
        let stages = if N > 1 { self.stages() } else { &[] };
        for &stage in stages {
            let announces = requests.iter_mut().filter_map(|request| match request {
                Request::Announce(_, announce, prepared) => Some((&*announce, prepared)),
                Request::Ignored(_) | Request::Connect(_) | Request::Scrape(_) | Request::Refused(..) => None,
            });
            self.hint(stage, announces, hint);
        }
        for (request, datagram) in requests.into_iter().zip(piece) {
            datagram.verdict = self.respond(now, request, datagram);
        }
    }

    fn read<'a>(&mut self, now: Instant, sender: SocketAddr, payload: &'a [u8]) -> Request<'a> {
        if !self.permits_address(sender.ip()) {
            return Request::Ignored(Silence::Denied);
        }
        let Some(head) = RequestHead::decode(payload) else {
            return Request::Ignored(Silence::Malformed);
        };
        // Nothing can be sent to port 0, and an answer to an error would be answered by an error.
        if sender.port() == 0 || head.action == ERROR {
            return Request::Ignored(Silence::Malformed);
        }
        if head.action == CONNECT {
            return if head.connection_id == PROTOCOL_ID {
                Request::Connect(head.transaction_id)
            } else {
                Request::Ignored(Silence::Malformed)
            };
        }
        if !self
            .tracker()
            .connection_ids()
            .check(now, sender.ip(), head.connection_id)
        {
            return Request::Ignored(without_proof(&head, payload));
        }
        self.read_proven(&head, sender, payload)
    }

    fn read_proven<'a>(&mut self, head: &RequestHead, sender: SocketAddr, payload: &'a [u8]) -> Request<'a> {
        let refused = |fault| Request::Refused(head.transaction_id, fault);
        match head.action {
            ANNOUNCE => {
                let Some((request, _options)) = AnnounceRequest::decode(payload) else {
                    return refused(Fault::AnnounceShort);
                };
                let announce = meaning(&request, sender);
                let prepared = self.prepare(&announce);
                Request::Announce(request.transaction_id, announce, prepared)
            }
            SCRAPE => ScrapeRequest::decode(payload)
                .filter(|request| !request.info_hashes.is_empty())
                .map_or_else(|| refused(Fault::ScrapeEmpty), Request::Scrape),
            _ => refused(Fault::ActionUnknown),
        }
    }

    fn respond(&self, now: Instant, request: Request<'_>, datagram: &mut Datagram<'_>) -> Verdict {
        let (sender, reply) = (datagram.sender, &mut *datagram.reply);
        let (count, len) = match request {
            Request::Ignored(silence) => return self.silent(silence),
            Request::Connect(transaction_id) => {
                let room = reply.len().min(datagram.payload.len());
                // The one answer to the unproven is given no more room than they took.
                let reply = reply.get_mut(..room).unwrap_or_default();
                self.connect_to(now, sender, transaction_id, reply)
            }
            Request::Announce(transaction_id, announce, prepared) => {
                self.announce_to(now, transaction_id, &announce, prepared, reply)
            }
            Request::Scrape(scrape) => self.scrape_to(&scrape, reply),
            Request::Refused(transaction_id, fault) => refuse(transaction_id, fault.reason(), reply),
        };
        if len < RESPONSE_HEAD_LEN {
            return Verdict::Silent(Silence::NoRoom);
        }
        self.count(count);
        Verdict::Reply(len)
    }

    fn silent(&self, silence: Silence) -> Verdict {
        match silence {
            Silence::Malformed => self.count(Count::UdpMalformed),
            Silence::Unproven => self.count(Count::UdpUnproven),
            Silence::Denied => self.count(Count::UdpDenied),
            Silence::Unhandled | Silence::NoRoom => {}
        }
        Verdict::Silent(silence)
    }

    fn connect_to(
        &self,
        now: Instant,
        sender: SocketAddr,
        transaction_id: u32,
        reply: &mut [u8],
    ) -> (Count, usize) {
        let response = ConnectResponse {
            transaction_id,
            connection_id: self.tracker().connection_ids().make(now, sender.ip()),
        };
        let len = reply.first_chunk_mut().map_or(0, |place| {
            *place = response.encode();
            place.len()
        });
        (Count::UdpConnect, len)
    }

    fn announce_to(
        &self,
        now: Instant,
        transaction_id: u32,
        announce: &Announce,
        prepared: Prepared,
        reply: &mut [u8],
    ) -> (Count, usize) {
        let family = announce.peer.family();
        let wanted = self.tracker().config().peers_wanted(announce.numwant);
        let Some((head, peers)) = reply.split_first_chunk_mut() else {
            return (Count::UdpAnnounce, 0);
        };
        let mut peers = Handout::new(family, wanted.min(peers_max(family)), peers);
        match self.announce_prepared(now, announce, prepared, &mut peers) {
            Ok(announced) => {
                let response = AnnounceResponse {
                    transaction_id,
                    interval_secs: announced.interval_secs,
                    leechers: announced.counts.incomplete,
                    seeders: announced.counts.complete,
                };
                *head = response.encode();
                (
                    Count::UdpAnnounce,
                    head.len() + peers.len() * family.compact_len(),
                )
            }
            Err(refusal) => refuse(transaction_id, refusal.reason(), reply),
        }
    }

    fn scrape_to(&self, request: &ScrapeRequest<'_>, reply: &mut [u8]) -> (Count, usize) {
        let info_hashes = request.info_hashes.iter();
        let counts = info_hashes.map(|&info_hash| self.scrape(&InfoHash(info_hash)));
        let len = ScrapeResponse::encode(request.transaction_id, counts, reply);
        (Count::UdpScrape, len)
    }
}

/// What a datagram means. It borrows nothing but the info-hashes of a scrape.
#[derive(Clone, Debug)]
enum Request<'a> {
    /// Nothing that is answered.
    Ignored(Silence),
    /// A connect, with its transaction id.
    Connect(u32),
    /// A proven announce, with its transaction id.
    Announce(u32, Announce, Prepared),
    /// A proven scrape.
    Scrape(ScrapeRequest<'a>),
    /// A proven request that cannot be carried out, with its transaction id.
    Refused(u32, Fault),
}

/// What a datagram is that proves nothing: a request with a foreign id, or no request at all.
fn without_proof(head: &RequestHead, payload: &[u8]) -> Silence {
    let is_request = match head.action {
        ANNOUNCE => AnnounceRequest::decode(payload).is_some(),
        SCRAPE => ScrapeRequest::decode(payload).is_some_and(|request| !request.info_hashes.is_empty()),
        _ => false,
    };
    if is_request {
        Silence::Unproven
    } else {
        Silence::Malformed
    }
}

/// What is wrong with a proven request.
#[derive(Clone, Copy, Debug)]
enum Fault {
    ActionUnknown,
    AnnounceShort,
    ScrapeEmpty,
}

impl Fault {
    /// What the client is told.
    const fn reason(self) -> &'static str {
        match self {
            Self::ActionUnknown => "unknown action",
            Self::AnnounceShort => "an announce takes at least 98 bytes",
            Self::ScrapeEmpty => "a scrape takes at least one info-hash",
        }
    }
}

/// Bytes that every response begins with: action and transaction id.
const RESPONSE_HEAD_LEN: usize = 8;

/// The announce without what only UDP knows. The address is the one seen, never the one claimed.
fn meaning(request: &AnnounceRequest, sender: SocketAddr) -> Announce {
    Announce {
        info_hash: request.info_hash,
        peer_id: request.peer_id,
        peer: Endpoint {
            ip: sender.ip(),
            port: request.port,
        },
        left: request.left,
        event: request.event,
        numwant: u32::try_from(request.numwant).ok(),
    }
}

fn refuse(transaction_id: u32, reason: &str, reply: &mut [u8]) -> (Count, usize) {
    let response = ErrorResponse {
        transaction_id,
        message: reason.as_bytes(),
    };
    (Count::UdpError, response.encode(reply))
}
