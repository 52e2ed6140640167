//! The messages of BEP 15, each with both directions: the tracker decodes requests and encodes responses, a client encodes
//! requests and decodes responses. Integers are big-endian. Bytes after a message are ignored.

use core::net::Ipv4Addr;

use crate::announce::{Announce, Counts, Event};
use crate::{InfoHash, PeerId};

use super::options::Options;

/// The 16 bytes that every request begins with. A connect request is nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The proof of the sender's address; [`PROTOCOL_ID`] in a connect request.
    pub connection_id: u64,
    /// [`CONNECT`], [`ANNOUNCE`], [`SCRAPE`], or something else.
    pub action: u32,
    /// Chosen by the client and sent back to it.
    pub transaction_id: u32,
}

impl RequestHead {
    /// Bytes of the encoded head.
    pub const LEN: usize = 16;

    /// The request for a connection id.
    #[must_use]
    pub const fn connect(transaction_id: u32) -> Self {
        Self {
            connection_id: PROTOCOL_ID,
            action: CONNECT,
            transaction_id,
        }
    }

    /// Decodes a head; `None` if `bytes` are too few.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        Some(Self {
            connection_id: reader.u64()?,
            action: reader.u32()?,
            transaction_id: reader.u32()?,
        })
    }

    /// The head as it is sent.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        Writer::new(&mut out)
            .put(&self.connection_id.to_be_bytes())
            .put(&self.action.to_be_bytes())
            .put(&self.transaction_id.to_be_bytes());
        out
    }
}

/// An announce request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// The proof of the sender's address.
    pub connection_id: u64,
    /// Chosen by the client and sent back to it.
    pub transaction_id: u32,
    /// The torrent.
    pub info_hash: InfoHash,
    /// The name that the client chose.
    pub peer_id: PeerId,
    /// Bytes downloaded in this session.
    pub downloaded: u64,
    /// Bytes still to download.
    pub left: u64,
    /// Bytes uploaded in this session.
    pub uploaded: u64,
    /// Why the client announces. 4 is read as paused (BEP 21), anything above as none.
    pub event: Event,
    /// The address that the client claims. The tracker uses the sender's address instead.
    pub ip: Ipv4Addr,
    /// A number that identifies the client when its address changes. The tracker ignores it.
    pub key: u32,
    /// Peers wanted; a negative number is the default of the tracker.
    pub numwant: i32,
    /// The port that the client takes connections at.
    pub port: u16,
}

impl AnnounceRequest {
    /// Bytes of the encoded request, without options.
    pub const LEN: usize = 98;

    /// The request of a client for this announce. Fields that an announce does not have are 0: the tracker ignores them.
    #[must_use]
    pub fn of(announce: &Announce, connection_id: u64, transaction_id: u32) -> Self {
        Self {
            connection_id,
            transaction_id,
            info_hash: announce.info_hash,
            peer_id: announce.peer_id,
            downloaded: 0,
            left: announce.left,
            uploaded: 0,
            event: announce.event,
            ip: Ipv4Addr::UNSPECIFIED,
            key: 0,
            numwant: announce
                .numwant
                .map_or(-1, |wanted| i32::try_from(wanted).unwrap_or(i32::MAX)),
            port: announce.peer.port,
        }
    }

    /// Decodes an announce and the options after it; `None` if `bytes` are too few. The action is not checked.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, Options<'_>)> {
        let (request, options) = bytes.split_first_chunk::<{ Self::LEN }>()?;
        let mut reader = Reader(request);
        let head = RequestHead::decode(&reader.take::<{ RequestHead::LEN }>()?)?;
        let request = Self {
            connection_id: head.connection_id,
            transaction_id: head.transaction_id,
            info_hash: InfoHash(reader.take()?),
            peer_id: PeerId(reader.take()?),
            downloaded: reader.u64()?,
            left: reader.u64()?,
            uploaded: reader.u64()?,
            event: event_of(reader.u32()?),
            ip: Ipv4Addr::from_bits(reader.u32()?),
            key: reader.u32()?,
            numwant: i32::from_be_bytes(reader.take()?),
            port: u16::from_be_bytes(reader.take()?),
        };
        Some((request, Options::new(options)))
    }

    /// The request as it is sent.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let head = RequestHead {
            connection_id: self.connection_id,
            action: ANNOUNCE,
            transaction_id: self.transaction_id,
        };
        let mut out = [0; Self::LEN];
        Writer::new(&mut out)
            .put(&head.encode())
            .put(&self.info_hash.0)
            .put(&self.peer_id.0)
            .put(&self.downloaded.to_be_bytes())
            .put(&self.left.to_be_bytes())
            .put(&self.uploaded.to_be_bytes())
            .put(&number_of(self.event).to_be_bytes())
            .put(&self.ip.octets())
            .put(&self.key.to_be_bytes())
            .put(&self.numwant.to_be_bytes())
            .put(&self.port.to_be_bytes());
        out
    }
}

/// A scrape request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeRequest<'a> {
    /// The proof of the sender's address.
    pub connection_id: u64,
    /// Chosen by the client and sent back to it.
    pub transaction_id: u32,
    /// The torrents, at most [`SCRAPE_MAX`].
    pub info_hashes: &'a [[u8; 20]],
}

impl<'a> ScrapeRequest<'a> {
    /// Bytes of the longest encoded request.
    pub const LEN_MAX: usize = RequestHead::LEN + 20 * SCRAPE_MAX;

    /// Decodes a scrape of the first [`SCRAPE_MAX`] torrents; `None` if `bytes` are too few. The action is not checked.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<{ RequestHead::LEN }>()?;
        let head = RequestHead::decode(head)?;
        let (info_hashes, _partial) = rest.as_chunks();
        Some(Self {
            connection_id: head.connection_id,
            transaction_id: head.transaction_id,
            info_hashes: info_hashes.get(..SCRAPE_MAX).unwrap_or(info_hashes),
        })
    }

    /// Writes the request and returns its length. Torrents that do not fit into `out` are omitted.
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let head = RequestHead {
            connection_id: self.connection_id,
            action: SCRAPE,
            transaction_id: self.transaction_id,
        };
        let mut writer = Writer::new(out);
        writer.put(&head.encode());
        for info_hash in self.info_hashes.iter().take(SCRAPE_MAX) {
            writer.put(info_hash);
        }
        writer.len
    }
}

/// A response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response<'a> {
    /// The answer to a connect request.
    Connect(ConnectResponse),
    /// The answer to an announce, and the compact peers that follow it, of the family that the packet came over.
    Announce(AnnounceResponse, &'a [u8]),
    /// The answer to a scrape.
    Scrape(ScrapeResponse<'a>),
    /// The request was refused.
    Error(ErrorResponse<'a>),
}

impl<'a> Response<'a> {
    /// Decodes any response; `None` if `bytes` are none.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        match Reader(bytes).u32()? {
            CONNECT => ConnectResponse::decode(bytes).map(Self::Connect),
            ANNOUNCE => {
                AnnounceResponse::decode(bytes).map(|(response, peers)| Self::Announce(response, peers))
            }
            SCRAPE => ScrapeResponse::decode(bytes).map(Self::Scrape),
            ERROR => ErrorResponse::decode(bytes).map(Self::Error),
            _ => None,
        }
    }

    /// The transaction of the request.
    #[must_use]
    pub const fn transaction_id(&self) -> u32 {
        match self {
            Self::Connect(response) => response.transaction_id,
            Self::Announce(response, _) => response.transaction_id,
            Self::Scrape(response) => response.transaction_id,
            Self::Error(response) => response.transaction_id,
        }
    }
}

/// A connect response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    /// The transaction of the request.
    pub transaction_id: u32,
    /// The connection id for further requests, valid for two minutes.
    pub connection_id: u64,
}

impl ConnectResponse {
    /// Bytes of the encoded response.
    pub const LEN: usize = 16;

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes.get(4..)?);
        Some(Self {
            transaction_id: reader.u32()?,
            connection_id: reader.u64()?,
        })
    }

    /// The response as it is sent.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        Writer::new(&mut out)
            .head(CONNECT, self.transaction_id)
            .put(&self.connection_id.to_be_bytes());
        out
    }
}

/// An announce response; compact peers follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceResponse {
    /// The transaction of the request.
    pub transaction_id: u32,
    /// Seconds after which to announce again.
    pub interval_secs: u32,
    /// Leechers.
    pub leechers: u32,
    /// Seeders.
    pub seeders: u32,
}

impl AnnounceResponse {
    /// Bytes before the peers.
    pub const LEN: usize = 20;

    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = Reader(bytes.get(4..)?);
        let response = Self {
            transaction_id: reader.u32()?,
            interval_secs: reader.u32()?,
            leechers: reader.u32()?,
            seeders: reader.u32()?,
        };
        Some((response, reader.0))
    }

    /// The response as it is sent, up to the peers.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        Writer::new(&mut out)
            .head(ANNOUNCE, self.transaction_id)
            .put(&self.interval_secs.to_be_bytes())
            .put(&self.leechers.to_be_bytes())
            .put(&self.seeders.to_be_bytes());
        out
    }
}

/// A scrape response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeResponse<'a> {
    /// The transaction of the request.
    pub transaction_id: u32,
    entries: &'a [[u8; 12]],
}

impl<'a> ScrapeResponse<'a> {
    /// Bytes of the longest encoded response.
    pub const LEN_MAX: usize = 8 + 12 * SCRAPE_MAX;

    fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes.get(4..)?);
        Some(Self {
            transaction_id: reader.u32()?,
            entries: reader.0.as_chunks().0,
        })
    }

    /// The counts, in the order of the request.
    pub fn counts(&self) -> impl Iterator<Item = Counts> + 'a {
        self.entries.iter().filter_map(|entry| {
            let mut reader = Reader(entry);
            Some(Counts {
                complete: reader.u32()?,
                downloaded: reader.u32()?,
                incomplete: reader.u32()?,
            })
        })
    }

    /// Writes a response and returns its length. Torrents that do not fit into `out` are omitted.
    pub fn encode(transaction_id: u32, counts: impl Iterator<Item = Counts>, out: &mut [u8]) -> usize {
        let mut writer = Writer::new(out);
        writer.head(SCRAPE, transaction_id);
        for counts in counts {
            let mut entry = [0; 12];
            Writer::new(&mut entry)
                .put(&counts.complete.to_be_bytes())
                .put(&counts.downloaded.to_be_bytes())
                .put(&counts.incomplete.to_be_bytes());
            writer.put(&entry);
        }
        writer.len
    }
}

/// An error response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorResponse<'a> {
    /// The transaction of the request.
    pub transaction_id: u32,
    /// The reason, for a person to read.
    pub message: &'a [u8],
}

impl<'a> ErrorResponse<'a> {
    fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes.get(4..)?);
        Some(Self {
            transaction_id: reader.u32()?,
            message: reader.0,
        })
    }

    /// Writes the response and returns its length. A message that does not fit into `out` is omitted.
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let mut writer = Writer::new(out);
        writer.head(ERROR, self.transaction_id).put(self.message);
        writer.len
    }
}

/// What a connect request carries in place of a connection id.
pub const PROTOCOL_ID: u64 = 0x417_2710_1980;
/// The action that asks for a connection id.
pub const CONNECT: u32 = 0;
/// The action that announces a peer.
pub const ANNOUNCE: u32 = 1;
/// The action that asks for counts.
pub const SCRAPE: u32 = 2;
/// The action of a response that refuses.
pub const ERROR: u32 = 3;
/// Torrents in one scrape: the limit of BEP 15, by which a request fits an unfragmented datagram.
pub const SCRAPE_MAX: usize = 74;

const fn event_of(number: u32) -> Event {
    match number {
        1 => Event::Completed,
        2 => Event::Started,
        3 => Event::Stopped,
        4 => Event::Paused,
        _ => Event::None,
    }
}

const fn number_of(event: Event) -> u32 {
    match event {
        Event::None => 0,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
        Event::Paused => 4,
    }
}

/// Reads fields from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

/// Writes fields one after the other. One that does not fit is omitted, and so are all after it.
struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
    full: bool,
}

impl<'a> Writer<'a> {
    const fn new(out: &'a mut [u8]) -> Self {
        Self {
            out,
            len: 0,
            full: false,
        }
    }

    fn put(&mut self, field: &[u8]) -> &mut Self {
        let end = self.len + field.len();
        match self.out.get_mut(self.len..end) {
            Some(place) if !self.full => {
                place.copy_from_slice(field);
                self.len = end;
            }
            _ => self.full = true,
        }
        self
    }

    /// What every response begins with.
    fn head(&mut self, action: u32, transaction_id: u32) -> &mut Self {
        self.put(&action.to_be_bytes()).put(&transaction_id.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;
    use crate::announce::Endpoint;

    impl Arbitrary for RequestHead {
        fn arbitrary(g: &mut Gen) -> Self {
            Self {
                connection_id: u64::arbitrary(g),
                action: u32::arbitrary(g),
                transaction_id: u32::arbitrary(g),
            }
        }
    }

    impl Arbitrary for AnnounceRequest {
        fn arbitrary(g: &mut Gen) -> Self {
            Self {
                connection_id: u64::arbitrary(g),
                transaction_id: u32::arbitrary(g),
                info_hash: InfoHash(core::array::from_fn(|_| u8::arbitrary(g))),
                peer_id: PeerId(core::array::from_fn(|_| u8::arbitrary(g))),
                downloaded: u64::arbitrary(g),
                left: u64::arbitrary(g),
                uploaded: u64::arbitrary(g),
                event: Event::arbitrary(g),
                ip: Ipv4Addr::arbitrary(g),
                key: u32::arbitrary(g),
                numwant: i32::arbitrary(g),
                port: u16::arbitrary(g),
            }
        }
    }

    fn info_hash(number: u32) -> [u8; 20] {
        *[number.to_be_bytes(); 5].as_flattened().first_chunk().unwrap()
    }

    fn counts((complete, incomplete, downloaded): (u32, u32, u32)) -> Counts {
        Counts {
            complete,
            incomplete,
            downloaded,
        }
    }

    quickcheck! {
        fn heads_survive_the_wire(head: RequestHead, more: Vec<u8>) -> bool {
            let sent = [&head.encode()[..], &more].concat();
            RequestHead::decode(&sent) == Some(head)
        }

        fn announces_survive_the_wire(request: AnnounceRequest, more: Vec<u8>) -> bool {
            let sent = [&request.encode()[..], &more].concat();
            let (received, options) = AnnounceRequest::decode(&sent).expect("it is long enough");
            received == request && options == Options::new(&more)
        }

        fn scrapes_survive_the_wire(connection_id: u64, transaction_id: u32, hashes: Vec<u32>) -> bool {
            let info_hashes: Vec<[u8; 20]> = hashes.iter().map(|&hash| info_hash(hash)).collect();
            let asked = &info_hashes[..info_hashes.len().min(SCRAPE_MAX)];
            let request = ScrapeRequest { connection_id, transaction_id, info_hashes: &info_hashes };
            let mut sent = [0; ScrapeRequest::LEN_MAX];
            let len = request.encode(&mut sent);
            ScrapeRequest::decode(&sent[..len]) == Some(ScrapeRequest { info_hashes: asked, ..request })
        }

        fn connect_responses_survive_the_wire(transaction_id: u32, connection_id: u64) -> bool {
            let response = ConnectResponse { transaction_id, connection_id };
            Response::decode(&response.encode()) == Some(Response::Connect(response))
        }

        fn announce_responses_survive_the_wire(numbers: (u32, u32, u32, u32), peers: Vec<u8>) -> bool {
            let (transaction_id, interval_secs, leechers, seeders) = numbers;
            let response = AnnounceResponse { transaction_id, interval_secs, leechers, seeders };
            let sent = [&response.encode()[..], &peers].concat();
            Response::decode(&sent) == Some(Response::Announce(response, &peers))
        }

        fn scrape_responses_survive_the_wire(transaction_id: u32, numbers: Vec<(u32, u32, u32)>) -> bool {
            let mut sent = vec![0; 8 + 12 * numbers.len()];
            let all = || numbers.iter().copied().map(counts);
            let len = ScrapeResponse::encode(transaction_id, all(), &mut sent);
            let Some(Response::Scrape(received)) = Response::decode(&sent[..len]) else {
                return false;
            };
            len == sent.len() && received.transaction_id == transaction_id && received.counts().eq(all())
        }

        fn error_responses_survive_the_wire(transaction_id: u32, message: Vec<u8>) -> bool {
            let response = ErrorResponse { transaction_id, message: &message };
            let mut sent = vec![0; 8 + message.len()];
            let len = response.encode(&mut sent);
            Response::decode(&sent[..len]) == Some(Response::Error(response))
        }

        fn a_response_names_its_transaction(transaction_id: u32) -> bool {
            [CONNECT, ANNOUNCE, SCRAPE, ERROR].into_iter().all(|action| {
                let head = [action.to_be_bytes(), transaction_id.to_be_bytes()];
                let response = [head.as_flattened(), &[0; 12]].concat();
                Response::decode(&response).is_some_and(|response| response.transaction_id() == transaction_id)
            })
        }

        fn no_number_of_peers_is_written_as_minus_one(numwant: Option<u32>) -> bool {
            let peer = Endpoint { ip: Ipv4Addr::LOCALHOST.into(), port: 1 };
            let (info_hash, peer_id) = (InfoHash([1; 20]), PeerId([2; 20]));
            let meant = Announce { info_hash, peer_id, peer, left: 0, event: Event::None, numwant };
            let written = AnnounceRequest::of(&meant, 3, 4).numwant;
            numwant.map_or(written == -1, |numwant| i64::from(written) == i64::from(numwant).min(i32::MAX.into()))
        }

        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) -> bool {
            let transaction_id = bytes.get(4..8).map(|id| u32::from_be_bytes(id.try_into().unwrap()));
            AnnounceRequest::decode(&bytes).is_some() == (bytes.len() >= AnnounceRequest::LEN)
                && ScrapeRequest::decode(&bytes).is_some() == (bytes.len() >= RequestHead::LEN)
                && Response::decode(&bytes).is_none_or(|read| Some(read.transaction_id()) == transaction_id)
        }
    }

    #[test]
    fn an_announce_has_the_layout_of_bep_15() {
        let request = AnnounceRequest {
            connection_id: 0x0102_0304_0506_0708,
            transaction_id: 0x0a0b_0c0d,
            info_hash: InfoHash([0x11; 20]),
            peer_id: PeerId([0x22; 20]),
            downloaded: 0x33,
            left: 0x44,
            uploaded: 0x55,
            event: Event::Started,
            ip: Ipv4Addr::new(1, 2, 3, 4),
            key: 0x66,
            numwant: -1,
            port: 6881,
        };
        let sent = request.encode();
        assert_eq!(
            sent[..16],
            [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0x0a, 0x0b, 0x0c, 0x0d]
        );
        assert_eq!((sent[16], sent[35], sent[36], sent[55]), (0x11, 0x11, 0x22, 0x22));
        assert_eq!((sent[63], sent[71], sent[79]), (0x33, 0x44, 0x55));
        assert_eq!(sent[80..92], [0, 0, 0, 2, 1, 2, 3, 4, 0, 0, 0, 0x66]);
        assert_eq!(sent[92..], [0xff, 0xff, 0xff, 0xff, 0x1a, 0xe1]);
    }

    #[test]
    fn the_longest_scrape_takes_the_room_that_is_named() {
        let request = ScrapeRequest {
            connection_id: 1,
            transaction_id: 2,
            info_hashes: &[[3; 20]; SCRAPE_MAX],
        };
        assert_eq!(request.encode(&mut [0; 2000]), ScrapeRequest::LEN_MAX);
        let entries = [counts((1, 2, 3)); SCRAPE_MAX];
        let len = ScrapeResponse::encode(2, entries.into_iter(), &mut [0; 2000]);
        assert_eq!(len, ScrapeResponse::LEN_MAX);
    }

    #[test]
    fn an_unknown_event_is_none() {
        for number in [0u32, 5, 0x0100_0000, u32::MAX] {
            let mut sent = [0; AnnounceRequest::LEN];
            sent[80..84].copy_from_slice(&number.to_be_bytes());
            let (request, _) = AnnounceRequest::decode(&sent).unwrap();
            assert_eq!(request.event, Event::None, "{number}");
        }
    }

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let response = ErrorResponse {
            transaction_id: 7,
            message: b"reason",
        };
        let mut out = [0xee; 12];
        assert_eq!(response.encode(&mut out), 8);
        assert_eq!(out[8..], [0xee; 4]);
        assert_eq!(response.encode(&mut out[..6]), 4);
        // Nothing comes after what was left out, even if it would fit.
        let short = ErrorResponse {
            message: b"no",
            ..response
        };
        assert_eq!(short.encode(&mut out[..6]), 4);
        let entries = [counts((1, 2, 3)), counts((4, 5, 6))];
        assert_eq!(ScrapeResponse::encode(7, entries.into_iter(), &mut [0; 31]), 20);
    }
}
