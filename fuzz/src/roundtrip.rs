//! Round trips of messages, in both directions.

use std::net::{IpAddr, Ipv4Addr};

use arbitrary::{Arbitrary, Unstructured};
use etracker_core::announce::{Announce, Counts, Endpoint, Event};
use etracker_core::bencode::Value;
use etracker_core::http::query::{AnnounceQuery, PeerForm};
use etracker_core::http::response::{
    AnnounceResponse, Failure, PeerList, Retry, ScrapeResponse, encode_scrape,
};
use etracker_core::udp::packet::{
    self as udp, AnnounceRequest, ConnectResponse, ErrorResponse, RequestHead, Response, ScrapeRequest,
};
use etracker_core::{InfoHash, PeerId};

/// A byte that selects the message, then bytes to decode or a value to encode: an encoded value decodes to the same value, and
/// accepted bytes encode to the same bytes.
pub fn roundtrip(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else {
        return;
    };
    match kind % 4 {
        0 => accepted_datagrams(rest),
        1 => accepted_bodies(rest),
        _ => {
            if let Ok(value) = Message::arbitrary(&mut Unstructured::new(rest)) {
                value.check();
            }
        }
    }
}

/// A message of either protocol.
#[derive(Debug, Arbitrary)]
enum Message {
    Head {
        connection_id: u64,
        action: u32,
        transaction_id: u32,
    },
    Announce(Fields),
    Scrape {
        connection_id: u64,
        transaction_id: u32,
        info_hashes: Vec<[u8; 20]>,
    },
    Connected {
        transaction_id: u32,
        connection_id: u64,
    },
    Announced {
        transaction_id: u32,
        numbers: [u32; 3],
        peers: Vec<u8>,
    },
    Scraped {
        transaction_id: u32,
        counts: Vec<[u32; 3]>,
    },
    Error {
        transaction_id: u32,
        message: Vec<u8>,
    },
    Query {
        fields: Fields,
        form: u8,
        v6: bool,
    },
    Body {
        numbers: [u32; 5],
        external_ip: IpAddr,
        peers: Vec<u8>,
        peers6: Option<Vec<u8>>,
    },
    Files(Vec<([u8; 20], [u32; 3])>),
    Failure {
        reason: String,
        intervals: [Option<u32>; 2],
        minutes: Option<u32>,
        never: bool,
    },
}

#[derive(Debug, Arbitrary)]
struct Fields {
    ids: [u64; 2],
    transaction_id: u32,
    info_hash: [u8; 20],
    peer_id: [u8; 20],
    amounts: [u64; 3],
    event: u8,
    ip: u32,
    key: u32,
    numwant: i32,
    port: u16,
}

impl Message {
    fn check(self) {
        match self {
            Self::Head {
                connection_id,
                action,
                transaction_id,
            } => check_head(RequestHead {
                connection_id,
                action,
                transaction_id,
            }),
            Self::Announce(fields) => fields.check_announce(),
            Self::Scrape {
                connection_id,
                transaction_id,
                info_hashes,
            } => check_scrape(connection_id, transaction_id, info_hashes),
            Self::Connected {
                transaction_id,
                connection_id,
            } => check_connected(ConnectResponse {
                transaction_id,
                connection_id,
            }),
            Self::Announced {
                transaction_id,
                numbers,
                peers,
            } => check_announced(transaction_id, numbers, &peers),
            Self::Scraped {
                transaction_id,
                counts,
            } => check_scraped(transaction_id, counts),
            Self::Error {
                transaction_id,
                message,
            } => check_error(transaction_id, &message),
            Self::Query { fields, form, v6 } => fields.check_query(form, v6),
            Self::Body {
                numbers,
                external_ip,
                peers,
                peers6,
            } => check_body(numbers, external_ip, &peers, peers6.as_deref()),
            Self::Files(files) => check_files(files),
            Self::Failure {
                reason,
                intervals,
                minutes,
                never,
            } => check_failure(&reason, intervals, minutes, never),
        }
    }
}

fn check_head(head: RequestHead) {
    assert_eq!(RequestHead::decode(&head.encode()), Some(head));
}

fn check_scrape(connection_id: u64, transaction_id: u32, mut info_hashes: Vec<[u8; 20]>) {
    info_hashes.truncate(udp::SCRAPE_MAX);
    let request = ScrapeRequest {
        connection_id,
        transaction_id,
        info_hashes: &info_hashes,
    };
    let mut bytes = [0; ScrapeRequest::LEN_MAX];
    let len = request.encode(&mut bytes);
    assert_eq!(ScrapeRequest::decode(&bytes[..len]), Some(request));
}

fn check_connected(response: ConnectResponse) {
    assert_eq!(
        Response::decode(&response.encode()),
        Some(Response::Connect(response))
    );
}

fn check_announced(transaction_id: u32, numbers: [u32; 3], peers: &[u8]) {
    let [interval_secs, leechers, seeders] = numbers;
    let response = udp::AnnounceResponse {
        transaction_id,
        interval_secs,
        leechers,
        seeders,
    };
    let bytes = [response.encode().as_slice(), peers].concat();
    assert_eq!(
        Response::decode(&bytes),
        Some(Response::Announce(response, peers))
    );
}

fn check_scraped(transaction_id: u32, counts: Vec<[u32; 3]>) {
    let counts: Vec<_> = counts.into_iter().take(udp::SCRAPE_MAX).map(counts_of).collect();
    let mut bytes = [0; udp::ScrapeResponse::LEN_MAX];
    let len = udp::ScrapeResponse::encode(transaction_id, counts.iter().copied(), &mut bytes);
    let Some(Response::Scrape(response)) = Response::decode(&bytes[..len]) else {
        panic!("a scrape response is not one");
    };
    assert_eq!(
        (response.transaction_id, response.counts().collect()),
        (transaction_id, counts)
    );
}

fn check_error(transaction_id: u32, message: &[u8]) {
    let response = ErrorResponse {
        transaction_id,
        message,
    };
    let mut bytes = vec![0; 8 + message.len()];
    let len = response.encode(&mut bytes);
    assert_eq!(Response::decode(&bytes[..len]), Some(Response::Error(response)));
}

impl Fields {
    fn check_announce(&self) {
        let request = self.request();
        assert_eq!(
            AnnounceRequest::decode(&request.encode()).map(|(request, _)| request),
            Some(request)
        );
    }

    fn event(&self) -> Event {
        let events = [
            Event::None,
            Event::Completed,
            Event::Started,
            Event::Stopped,
            Event::Paused,
        ];
        events[usize::from(self.event) % events.len()]
    }

    fn request(&self) -> AnnounceRequest {
        let [downloaded, left, uploaded] = self.amounts;
        AnnounceRequest {
            connection_id: self.ids[0],
            transaction_id: self.transaction_id,
            info_hash: InfoHash(self.info_hash),
            peer_id: PeerId(self.peer_id),
            downloaded,
            left,
            uploaded,
            event: self.event(),
            ip: Ipv4Addr::from_bits(self.ip),
            key: self.key,
            numwant: self.numwant,
            port: self.port,
        }
    }

    fn check_query(&self, form: u8, v6: bool) {
        let ip: IpAddr = if v6 { [7u8; 16].into() } else { [7u8; 4].into() };
        let event = self.event();
        let port = self.port;
        let query = AnnounceQuery {
            announce: Announce {
                info_hash: InfoHash(self.info_hash),
                peer_id: PeerId(self.peer_id),
                peer: Endpoint { ip, port },
                left: self.amounts[1],
                event,
                numwant: u32::try_from(self.numwant).ok(),
            },
            form: match form % 3 {
                0 => PeerForm::Compact,
                1 => PeerForm::Dictionaries { ids: true },
                _ => PeerForm::Dictionaries { ids: false },
            },
        };
        let mut bytes = Vec::new();
        query.encode(&mut bytes);
        assert_eq!(AnnounceQuery::parse(&bytes, ip), Ok(query));
    }
}

fn counts_of([complete, downloaded, incomplete]: [u32; 3]) -> Counts {
    Counts {
        complete,
        incomplete,
        downloaded,
    }
}

fn check_body(numbers: [u32; 5], external_ip: IpAddr, peers: &[u8], peers6: Option<&[u8]>) {
    let [complete, downloaded, incomplete, interval_secs, interval_min_secs] = numbers;
    let response = AnnounceResponse {
        complete: Some(complete),
        downloaded: Some(downloaded),
        external_ip: Some(external_ip),
        incomplete: Some(incomplete),
        interval_secs,
        interval_min_secs: Some(interval_min_secs),
        peers: PeerList::Compact(peers),
        peers6,
    };
    let mut bytes = vec![0; 400 + peers.len() + peers6.map_or(0, <[u8]>::len)];
    let len = response.encode(&mut bytes).expect("there is room");
    assert_eq!(AnnounceResponse::decode(&bytes[..len]), Ok(response));
    accepted_bodies(&bytes[..len]);
}

fn check_files(mut files: Vec<([u8; 20], [u32; 3])>) {
    files.sort_unstable();
    files.dedup_by_key(|(info_hash, _)| *info_hash);
    let hashes: Vec<_> = files.iter().map(|(info_hash, _)| InfoHash(*info_hash)).collect();
    let counts = |info_hash: &InfoHash| {
        let at = hashes
            .binary_search(info_hash)
            .expect("it is one of those asked for");
        counts_of(files[at].1)
    };
    let mut bytes = vec![0; 100 + 200 * files.len()];
    let len = encode_scrape(&hashes, counts, &mut bytes).expect("there is room");
    let response = ScrapeResponse::decode(&bytes[..len]).expect("it is a scrape response");
    assert!(
        response
            .iter()
            .eq(hashes.iter().map(|info_hash| (*info_hash, counts(info_hash))))
    );
    accepted_bodies(&bytes[..len]);
}

fn check_failure(reason: &str, intervals: [Option<u32>; 2], minutes: Option<u32>, never: bool) {
    let [interval_secs, interval_min_secs] = intervals;
    let retry = if never {
        Some(Retry::Never)
    } else {
        minutes.map(Retry::Minutes)
    };
    let mut bytes = [0; 400];
    let failure = Failure {
        reason,
        interval_secs,
        interval_min_secs,
        retry,
    };
    let len = failure.encode(&mut bytes).expect("there is room");
    let decoded = Failure::decode(&bytes[..len]).expect("it is a failure");
    assert_eq!(
        (decoded.interval_secs, decoded.interval_min_secs, decoded.retry),
        (interval_secs, interval_min_secs, retry)
    );
    accepted_bodies(&bytes[..len]);
    assert!(
        decoded.reason.iter().all(|byte| (b' '..=b'~').contains(byte)),
        "a reason is not printable"
    );
    if reason.len() <= 160 && reason.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        assert_eq!(decoded.reason, reason.as_bytes());
    }
}

/// Datagrams that are accepted encode to what came, but for an unknown event, the action, and what follows.
fn accepted_datagrams(bytes: &[u8]) {
    if let Some(head) = RequestHead::decode(bytes) {
        assert_eq!(head.encode(), bytes[..RequestHead::LEN]);
    }
    if let Some((request, _)) = AnnounceRequest::decode(bytes) {
        let mut expected = bytes[..AnnounceRequest::LEN].to_vec();
        expected[8..12].copy_from_slice(&udp::ANNOUNCE.to_be_bytes());
        if expected[80..83] != [0; 3] || expected[83] > 4 {
            expected[80..84].fill(0);
        }
        assert_eq!(request.encode().as_slice(), expected);
    }
    match Response::decode(bytes) {
        Some(Response::Connect(response)) => assert_eq!(response.encode(), bytes[..ConnectResponse::LEN]),
        Some(Response::Announce(response, peers)) => {
            assert_eq!([response.encode().as_slice(), peers].concat(), bytes);
        }
        Some(Response::Scrape(response)) => {
            let mut again = vec![0; bytes.len()];
            let len = udp::ScrapeResponse::encode(response.transaction_id, response.counts(), &mut again);
            assert!(bytes.starts_with(&again[..len]) && bytes.len() - len < 12);
        }
        Some(Response::Error(response)) => {
            let mut again = vec![0; bytes.len()];
            response.encode(&mut again);
            assert_eq!(again, bytes);
        }
        None => {}
    }
}

/// Bodies that are accepted as bencode are canonical: they can be written in one way only.
fn accepted_bodies(bytes: &[u8]) {
    if let Ok(value) = Value::parse(bytes) {
        let mut again = Vec::new();
        write(value, &mut again);
        assert_eq!(again, bytes);
    }
    if let Ok(response) = AnnounceResponse::decode(bytes) {
        let mut again = vec![0; bytes.len() * 2 + 400];
        let len = response.encode(&mut again).expect("there is room");
        let again = AnnounceResponse::decode(&again[..len]).expect("it is a response");
        assert!(again.peers().eq(response.peers()));
        assert_eq!(
            (again.complete, again.external_ip),
            (response.complete, response.external_ip)
        );
    }
    // Whatever it is, it is read without panicking.
    _ = Failure::decode(bytes);
    _ = ScrapeResponse::decode(bytes).map(|response| response.iter().count());
}

fn write(value: Value<'_>, out: &mut Vec<u8>) {
    let string = |bytes: &[u8], out: &mut Vec<u8>| {
        out.extend(format!("{}:", bytes.len()).bytes());
        out.extend(bytes);
    };
    match value {
        Value::Integer(number) => out.extend(format!("i{number}e").bytes()),
        Value::Bytes(bytes) => string(bytes, out),
        Value::List(list) => {
            out.push(b'l');
            list.iter().for_each(|item| write(item, out));
            out.push(b'e');
        }
        Value::Dictionary(dictionary) => {
            out.push(b'd');
            for (key, item) in dictionary.iter() {
                string(key, out);
                write(item, out);
            }
            out.push(b'e');
        }
    }
}
