//! The UDP protocol in front of a tracker: from bytes to replies, in batches.

use core::net::SocketAddr;

use crate::announce::{Announce, Endpoint};
use crate::governor::{self, Charge, Class};
use crate::overload::Level;
use crate::prefetch::{NoPrefetch, Prefetch};
use crate::proxy::{Proxies, ProxyHeader};
use crate::stats::Count;
use crate::swarm::{Handout, PREFETCHED_TOGETHER};
use crate::{InfoHash, Instant, Prepared, Seed, Worker};

use super::datagram::{Datagram, DropReason, Handled, Room, Verdict};
use super::packet::{
    ANNOUNCE, AnnounceRequest, AnnounceResponse, CONNECT, ConnectResponse, ERROR, ErrorResponse, PROTOCOL_ID,
    RequestHead, SCRAPE, SCRAPE_MAX, ScrapeRequest, ScrapeResponse,
};
use super::{ConnectionIds, peers_max};

/// The UDP protocol. All workers share one, so that each accepts the connection ids of the others.
#[derive(Clone, Debug)]
pub struct Front<P = NoPrefetch> {
    connection_ids: ConnectionIds,
    prefetch: P,
}

impl Front {
    /// A front whose connection ids come from `seed`. Fronts with the same seed accept each other's.
    #[must_use]
    pub fn new(seed: &Seed) -> Self {
        Self {
            connection_ids: ConnectionIds::new(seed),
            prefetch: NoPrefetch,
        }
    }

    /// The same front, which accepts connection ids that come from another seed too.
    #[must_use]
    pub fn accepting(mut self, seed: &Seed) -> Self {
        self.connection_ids = self.connection_ids.accepting(seed);
        self
    }
}

impl<P: Prefetch> Front<P> {
    /// The same front with a prefetcher for the memory of a batch.
    #[must_use]
    pub fn with_prefetch<Q: Prefetch>(self, prefetch: Q) -> Front<Q> {
        Front {
            connection_ids: self.connection_ids,
            prefetch,
        }
    }

    /// The connection ids of clients. [`ConnectionIds::replace`] changes their keys while the front is used.
    #[must_use]
    pub const fn connection_ids(&self) -> &ConnectionIds {
        &self.connection_ids
    }

    /// Handles a batch of datagrams for `worker`, and writes the replies. The work is linear in the batch.
    ///
    /// A reply to an unproven sender is never longer than its request.
    pub fn handle<'b, 'a>(
        &self,
        worker: &mut Worker,
        now: Instant,
        batch: &'b mut [Datagram<'a>],
    ) -> Handled<'b, 'a> {
        worker.begin_batch(batch.len());
        for piece in batch.chunks_mut(PREFETCHED_TOGETHER) {
            match piece {
                [] => {}
                [_] => self.handle_piece::<1>(worker, now, piece),
                _ => self.handle_piece::<PREFETCHED_TOGETHER>(worker, now, piece),
            }
        }
        Handled::new(batch)
    }

    /// Parses and proves all datagrams before it carries out the first request: meanwhile the memory that they read is
    /// prefetched.
    fn handle_piece<const N: usize>(&self, worker: &mut Worker, now: Instant, piece: &mut [Datagram<'_>]) {
        let proxies = worker.tracker().config().proxies();
        let has_proxies = proxies.is_some_and(Proxies::protocol);
        let mut requests = [const { Request::Dropped(DropReason::Unhandled) }; N];
        for (request, datagram) in requests.iter_mut().zip(piece.iter_mut()) {
            if has_proxies && !find_client(worker, datagram) {
                *request = Request::Dropped(DropReason::Unnamed);
            } else {
                *request = self.read(worker, now, datagram.sender(), datagram.payload());
            }
        }
        // A single announce has no other work to overlap with a prefetch.
        if N > 1 {
            worker.prefetch(&mut requests, Request::prepared_mut, &self.prefetch);
        }
        for (request, datagram) in requests.iter().zip(piece) {
            datagram.verdict = self.respond(worker, now, request, datagram);
        }
    }

    fn read(&self, worker: &mut Worker, now: Instant, sender: SocketAddr, payload: &[u8]) -> Request {
        if !worker.permits_address(sender.ip()) {
            return Request::Dropped(DropReason::Denied);
        }
        let Some(head) = RequestHead::decode(payload) else {
            return malformed(worker, now, sender);
        };
        // No reply can be sent to port 0. A reply to an error could start a loop of two trackers.
        if sender.port() == 0 || head.action == ERROR {
            return malformed(worker, now, sender);
        }
        if head.action == CONNECT {
            if head.connection_id != PROTOCOL_ID {
                return malformed(worker, now, sender);
            }
            if worker.sheds_connect() {
                return Request::Dropped(DropReason::Shed);
            }
            return match worker.judge(now, sender.ip(), Class::Connect) {
                governor::Verdict::Serve => Request::Connect(head.transaction_id),
                governor::Verdict::Short | governor::Verdict::Failure | governor::Verdict::Silence => {
                    Request::Dropped(DropReason::Limited)
                }
            };
        }
        if !self.connection_ids.check(now, sender.ip(), head.connection_id) {
            if !is_request(&head, payload) {
                return malformed(worker, now, sender);
            }
            // It is dropped whatever the verdict.
            let _ = worker.judge(now, sender.ip(), Class::WrongId);
            return Request::Dropped(DropReason::Unproven);
        }
        read_proven(worker, now, &head, sender, payload)
    }

    fn respond(
        &self,
        worker: &Worker,
        now: Instant,
        request: &Request,
        datagram: &mut Datagram<'_>,
    ) -> Verdict {
        let (count, len) = match *request {
            Request::Dropped(reason) => return drop_datagram(worker, reason),
            Request::Connect(transaction_id) => {
                let (client, room) = (datagram.sender(), datagram.len());
                let reply = datagram.reply_buffer();
                // The sender is unproven: a reply longer than the request would amplify forged ones.
                let reply = reply.get_mut(..room).unwrap_or_default();
                self.connect_to(now, client, transaction_id, reply)
            }
            Request::Announce(transaction_id, ref prepared, verdict) => {
                let reply = datagram.reply_buffer();
                announce_to(worker, now, transaction_id, prepared, verdict, reply)
            }
            Request::Scrape(transaction_id) => scrape_to(worker, transaction_id, &mut datagram.room),
            Request::Refused(transaction_id, fault) => {
                refuse(transaction_id, fault.reason(), datagram.reply_buffer())
            }
        };
        if len < RESPONSE_HEAD_LEN {
            return Verdict::Drop(DropReason::NoRoom);
        }
        worker.count(count);
        Verdict::Reply(len)
    }

    fn connect_to(
        &self,
        now: Instant,
        client: SocketAddr,
        transaction_id: u32,
        reply: &mut [u8],
    ) -> (Count, usize) {
        let response = ConnectResponse {
            transaction_id,
            connection_id: self.connection_ids.make(now, client.ip()),
        };
        let len = reply.first_chunk_mut().map_or(0, |place| {
            *place = response.encode();
            place.len()
        });
        (Count::UdpConnect, len)
    }
}

/// A parsed datagram. It borrows nothing, so that the reply may overwrite the datagram.
#[derive(Clone, Debug)]
enum Request {
    /// A datagram that is not answered.
    Dropped(DropReason),
    /// A connect, with its transaction id.
    Connect(u32),
    /// A proven announce, with its transaction id, and how it is to be treated.
    Announce(u32, Prepared, governor::Verdict),
    /// A proven scrape, with its transaction id; its info-hashes are read when it is answered.
    Scrape(u32),
    /// A proven but invalid request, with its transaction id.
    Refused(u32, Fault),
}

impl Request {
    const fn prepared_mut(&mut self) -> Option<&mut Prepared> {
        match self {
            Self::Announce(_, prepared, _) => Some(prepared),
            Self::Dropped(_) | Self::Connect(_) | Self::Scrape(_) | Self::Refused(..) => None,
        }
    }
}

/// Finds the client of a datagram from a trusted proxy in the header of the PROXY protocol; false if it names none, as it has to.
///
/// What a proxy passes on is proven by the connection id as all else is: the id is the client's, and its reply goes through the
/// proxy.
#[cold]
#[inline(never)]
fn find_client(worker: &Worker, datagram: &mut Datagram<'_>) -> bool {
    if !worker.trusts(datagram.sender().ip()) {
        return true;
    }
    match ProxyHeader::decode(datagram.payload()) {
        Ok(Some((ProxyHeader::Client { source, .. }, len))) => {
            datagram.remove_header(source, len);
            true
        }
        Ok(Some((ProxyHeader::Nobody, _)) | None) | Err(_) => false,
    }
}

fn malformed(worker: &mut Worker, now: Instant, sender: SocketAddr) -> Request {
    // It is dropped whatever the verdict.
    let _ = worker.judge(now, sender.ip(), Class::Malformed);
    Request::Dropped(DropReason::Malformed)
}

fn read_proven(
    worker: &mut Worker,
    now: Instant,
    head: &RequestHead,
    sender: SocketAddr,
    payload: &[u8],
) -> Request {
    let refused = |fault| Request::Refused(head.transaction_id, fault);
    match head.action {
        ANNOUNCE => match AnnounceRequest::decode(payload) {
            Some((request, _options)) => read_announce(worker, now, &request, sender),
            None => refused(Fault::AnnounceShort),
        },
        SCRAPE => match ScrapeRequest::decode(payload) {
            Some(request) if !request.info_hashes.is_empty() => {
                let charge = Charge::scrape(request.info_hashes.len());
                match worker.judge(now, sender.ip(), charge) {
                    governor::Verdict::Serve if worker.sheds(Level::Scrapes, Count::ShedScrape) => {
                        Request::Dropped(DropReason::Shed)
                    }
                    governor::Verdict::Serve => Request::Scrape(request.transaction_id),
                    governor::Verdict::Silence => Request::Dropped(DropReason::Limited),
                    governor::Verdict::Short | governor::Verdict::Failure => refused(Fault::Limited),
                }
            }
            _ => refused(Fault::ScrapeEmpty),
        },
        _ => refused(Fault::ActionUnknown),
    }
}

fn read_announce(
    worker: &mut Worker,
    now: Instant,
    request: &AnnounceRequest,
    sender: SocketAddr,
) -> Request {
    let verdict = worker.judge(now, sender.ip(), Class::Announce);
    let shed = worker.shed_announce(request.event);
    if shed > verdict && shed == governor::Verdict::Silence {
        return Request::Dropped(DropReason::Shed);
    }
    let verdict = verdict.max(shed);
    match verdict {
        governor::Verdict::Serve | governor::Verdict::Short => {
            let mut announce = meaning(request, sender);
            // Before the address of a peer of the tracker's own network is replaced.
            worker.counters().votes.udp(announce.peer);
            announce.numwant = verdict.numwant(&announce);
            Request::Announce(request.transaction_id, worker.prepare(announce), verdict)
        }
        governor::Verdict::Failure => Request::Refused(request.transaction_id, Fault::Limited),
        governor::Verdict::Silence => Request::Dropped(DropReason::Limited),
    }
}

fn drop_datagram(worker: &Worker, reason: DropReason) -> Verdict {
    match reason {
        DropReason::Malformed => worker.count(Count::UdpMalformed),
        DropReason::Unproven => worker.count(Count::UdpUnproven),
        DropReason::Denied => worker.count(Count::UdpDenied),
        DropReason::Unnamed => worker.count(Count::UdpUnnamed),
        // What is limited is counted by the governor, and what is shed by what it was.
        DropReason::Unhandled | DropReason::NoRoom | DropReason::Limited | DropReason::Shed => {}
    }
    Verdict::Drop(reason)
}

fn announce_to(
    worker: &Worker,
    now: Instant,
    transaction_id: u32,
    prepared: &Prepared,
    verdict: governor::Verdict,
    reply: &mut [u8],
) -> (Count, usize) {
    let family = prepared.announce().peer.family();
    let wanted = worker
        .tracker()
        .config()
        .peers_wanted(prepared.announce().numwant);
    let Some((head, peers)) = reply.split_first_chunk_mut() else {
        return (Count::UdpAnnounce, 0);
    };
    let mut peers = Handout::new(family, wanted.min(peers_max(family)), peers);
    match worker.announce_prepared(now, prepared, &mut peers) {
        Ok(mut outcome) => {
            if verdict.postpones(prepared.announce().event) {
                outcome = outcome.postponed(worker.tracker().config().intervals());
            }
            let response = AnnounceResponse {
                transaction_id,
                interval_secs: outcome.interval_secs,
                leechers: outcome.counts.incomplete,
                seeders: outcome.counts.complete,
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

fn scrape_to(worker: &Worker, transaction_id: u32, room: &mut Room<'_>) -> (Count, usize) {
    let counts = |info_hash: &[u8; 20]| worker.scrape(&InfoHash(*info_hash));
    let len = match room {
        Room::Apart { payload, reply } => {
            let info_hashes = info_hashes(payload).iter();
            ScrapeResponse::encode(transaction_id, info_hashes.map(counts), reply)
        }
        Room::Shared { buffer, len } => {
            // The reply overwrites the info-hashes while they are still needed.
            let mut copies = [[0; 20]; SCRAPE_MAX];
            let asked = info_hashes(buffer.get(..*len).unwrap_or_default());
            let count = asked.len();
            for (copy, info_hash) in copies.iter_mut().zip(asked) {
                *copy = *info_hash;
            }
            let info_hashes = copies.iter().take(count);
            ScrapeResponse::encode(transaction_id, info_hashes.map(counts), buffer)
        }
    };
    (Count::UdpScrape, len)
}

fn info_hashes(payload: &[u8]) -> &[[u8; 20]] {
    ScrapeRequest::decode(payload).map_or(&[], |request| request.info_hashes)
}

/// Whether a datagram that proves nothing is a request with a foreign id, or no request at all.
fn is_request(head: &RequestHead, payload: &[u8]) -> bool {
    match head.action {
        ANNOUNCE => AnnounceRequest::decode(payload).is_some(),
        SCRAPE => ScrapeRequest::decode(payload).is_some_and(|request| !request.info_hashes.is_empty()),
        _ => false,
    }
}

/// Why a proven request is invalid.
#[derive(Clone, Copy, Debug)]
enum Fault {
    ActionUnknown,
    AnnounceShort,
    ScrapeEmpty,
    /// Its source is over its limit.
    Limited,
}

impl Fault {
    /// The error message for the client.
    const fn reason(self) -> &'static str {
        match self {
            Self::ActionUnknown => "unknown action",
            Self::AnnounceShort => "an announce takes at least 98 bytes",
            Self::Limited => governor::TOO_MANY,
            Self::ScrapeEmpty => "a scrape takes at least one info-hash",
        }
    }
}

/// Bytes that every response begins with: action and transaction id.
const RESPONSE_HEAD_LEN: usize = 8;

/// The announce in the form that both protocols share. The address is the sender's; the one in the request is ignored.
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
