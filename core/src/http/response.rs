//! The bodies of answers: announces (BEP 3, 7, 23, 24), scrapes (BEP 48) and failures (BEP 3, 31), both ways.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::announce::{Counts, Family, compact_peers};
use crate::bencode::{self, Dictionary, DictionaryWriter, ListWriter, Value};
use crate::{InfoHash, PeerId, Peers};

/// The answer to an announce. Keys that other trackers omit are optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceResponse<'a> {
    /// Seeders.
    pub complete: Option<u32>,
    /// Completed downloads.
    pub downloaded: Option<u32>,
    /// The address that the announce came from (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// Leechers.
    pub incomplete: Option<u32>,
    /// Seconds after which the client should announce again.
    pub interval_secs: u32,
    /// Seconds before which the client should not announce again.
    pub interval_min_secs: Option<u32>,
    /// The peers under `peers`.
    pub peers: PeerList<'a>,
    /// Compact IPv6 peers under `peers6` (BEP 7).
    pub peers6: Option<&'a [u8]>,
}

impl<'a> AnnounceResponse<'a> {
    /// Writes the body and returns its length; `None` if it does not fit.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        bencode::dictionary(out, |body| {
            integer(body, b"complete", self.complete);
            integer(body, b"downloaded", self.downloaded);
            match self.external_ip {
                Some(IpAddr::V4(ip)) => body.key(b"external ip").bytes(&ip.octets()),
                Some(IpAddr::V6(ip)) => body.key(b"external ip").bytes(&ip.octets()),
                None => {}
            }
            integer(body, b"incomplete", self.incomplete);
            integer(body, b"interval", Some(self.interval_secs));
            integer(body, b"min interval", self.interval_min_secs);
            match self.peers {
                PeerList::Compact(peers) => body.key(b"peers").bytes(peers),
                PeerList::Dictionaries(peers) => body.key(b"peers").list(|list| {
                    peers.iter().for_each(|(peer, id)| encode_peer(list, peer, id));
                }),
            }
            if let Some(peers) = self.peers6 {
                body.key(b"peers6").bytes(peers);
            }
        })
    }

    /// Reads a body.
    ///
    /// # Errors
    /// The body is not an answer to an announce. For a failure use [`Failure::decode`].
    pub fn decode(body: &'a [u8]) -> Result<Self, BodyFault> {
        let body = root(body)?;
        // A failure may have an interval too, so that it must be told apart first.
        if body.get(b"failure reason").is_some() {
            return Err(BodyFault::Refused);
        }
        Ok(Self {
            complete: number(body, "complete")?,
            downloaded: number(body, "downloaded")?,
            external_ip: body.get(b"external ip").map(external_ip).transpose()?,
            incomplete: number(body, "incomplete")?,
            interval_secs: number(body, "interval")?.ok_or(BodyFault::Missing("interval"))?,
            interval_min_secs: number(body, "min interval")?,
            peers: match body.get(b"peers") {
                None => PeerList::Compact(&[]),
                Some(Value::Bytes(peers)) => PeerList::Compact(peers),
                Some(Value::List(list)) => PeerList::Dictionaries(PeerDictionaries(Source::Read(list))),
                Some(Value::Integer(_) | Value::Dictionary(_)) => return Err(BodyFault::Type("peers")),
            },
            peers6: bytes(body, "peers6")?,
        })
    }

    /// All peers, with their ids where they are given.
    pub fn peers(&self) -> impl Iterator<Item = (SocketAddr, Option<PeerId>)> {
        let (compact, dictionaries) = match self.peers {
            PeerList::Compact(peers) => (peers, None),
            PeerList::Dictionaries(peers) => ([].as_slice(), Some(peers)),
        };
        let compact4 = compact_peers(Family::V4, compact);
        let compact6 = compact_peers(Family::V6, self.peers6.unwrap_or_default());
        let compact = compact4.chain(compact6).map(|peer| (peer.into(), None));
        dictionaries
            .into_iter()
            .flat_map(PeerDictionaries::iter)
            .chain(compact)
    }
}

/// The value of `peers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerList<'a> {
    /// IPv4 peers of 6 bytes each (BEP 23).
    Compact(&'a [u8]),
    /// A dictionary each (BEP 3).
    Dictionaries(PeerDictionaries<'a>),
}

/// Peers that are written as a dictionary each.
#[derive(Clone, Copy, Debug)]
pub struct PeerDictionaries<'a>(Source<'a>);

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    HandedOut(Peers<'a>),
    Read(bencode::List<'a>),
}

impl<'a> PeerDictionaries<'a> {
    /// The peers that are understood, with their ids where they are given.
    pub fn iter(self) -> impl Iterator<Item = (SocketAddr, Option<PeerId>)> + 'a {
        let (handed_out, read) = match self.0 {
            Source::HandedOut(peers) => (Some(peers), None),
            Source::Read(list) => (None, Some(list)),
        };
        let handed_out = handed_out.into_iter().flat_map(|peers| {
            let ids = peers.ids.iter().copied().map(Some);
            let addresses = compact_peers(peers.family, peers.compact).map(SocketAddr::from);
            addresses.zip(ids.chain(core::iter::repeat(None)))
        });
        let read = read.into_iter().flat_map(bencode::List::iter);
        handed_out.chain(read.filter_map(|peer| decode_peer(peer.as_dictionary()?)))
    }
}

impl<'a> From<Peers<'a>> for PeerDictionaries<'a> {
    fn from(peers: Peers<'a>) -> Self {
        Self(Source::HandedOut(peers))
    }
}

impl PartialEq for PeerDictionaries<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for PeerDictionaries<'_> {}

/// Writes the answer to a scrape of `info_hashes`, which ascend and are unique. Returns its length.
///
/// Torrents that do not fit are omitted from the end; `None` if not even an empty answer fits.
pub fn encode_scrape(
    info_hashes: &[InfoHash],
    counts: impl Fn(&InfoHash) -> Counts,
    out: &mut [u8],
) -> Option<usize> {
    bencode::dictionary(out, |body| {
        body.key(b"files").dictionary(|files| {
            for info_hash in info_hashes {
                if files.room() < SCRAPE_ENTRY_MAX + b"ee".len() {
                    break;
                }
                encode_scrape_entry(files, info_hash, counts(info_hash));
            }
        });
    })
}

/// Writes one torrent of a scrape: at most [`SCRAPE_ENTRY_MAX`] bytes.
pub(super) fn encode_scrape_entry(
    files: &mut DictionaryWriter<'_, '_>,
    info_hash: &InfoHash,
    counts: Counts,
) {
    files.key(&info_hash.0).dictionary(|entry| {
        entry.key(b"complete").integer(counts.complete);
        entry.key(b"downloaded").integer(counts.downloaded);
        entry.key(b"incomplete").integer(counts.incomplete);
    });
}

/// Bytes of the longest entry of a scrape.
pub(super) const SCRAPE_ENTRY_MAX: usize =
    "20:01234567890123456789d8:completei4294967295e10:downloadedi4294967295e10:incompletei4294967295ee".len();

/// The answer to a scrape, as a client reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeResponse<'a> {
    /// Invariant: info-hashes and their counts.
    files: Dictionary<'a>,
}

impl<'a> ScrapeResponse<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// The body is not an answer to a scrape. For a failure use [`Failure::decode`].
    pub fn decode(body: &'a [u8]) -> Result<Self, BodyFault> {
        let files = root(body)?.get(b"files").ok_or(BodyFault::Missing("files"))?;
        let files = files.as_dictionary().ok_or(BodyFault::Type("files"))?;
        files
            .iter()
            .try_for_each(|entry| decode_scrape_entry(entry).map(|_| ()))?;
        Ok(Self { files })
    }

    /// The torrents and their counts, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = (InfoHash, Counts)> {
        self.files
            .iter()
            .filter_map(|entry| decode_scrape_entry(entry).ok())
    }
}

/// The answer to a refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<R> {
    /// The reason for people: short, printable ASCII.
    pub reason: R,
    /// Seconds after which to announce again, for clients that do not know BEP 31.
    pub interval_secs: Option<u32>,
    /// Seconds before which the client should not announce again.
    pub interval_min_secs: Option<u32>,
    /// When to try again (BEP 31); `None` leaves it to the client.
    pub retry: Option<Retry>,
}

/// When a refused client may try again (BEP 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// After so many minutes.
    Minutes(u32),
    /// Not at all.
    Never,
}

impl<R: fmt::Display> Failure<R> {
    /// Writes the body and returns its length; `None` if it does not fit. A reason longer than [`REASON_MAX`] is cut.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut reason = Text::default();
        // A long reason is cut, so that this cannot fail.
        _ = fmt::write(&mut reason, format_args!("{}", self.reason));
        bencode::dictionary(out, |body| {
            body.key(b"failure reason").bytes(reason.as_bytes());
            integer(body, b"interval", self.interval_secs);
            integer(body, b"min interval", self.interval_min_secs);
            match self.retry {
                Some(Retry::Minutes(minutes)) => body.key(b"retry in").integer(minutes),
                Some(Retry::Never) => body.key(b"retry in").bytes(b"never"),
                None => {}
            }
        })
    }
}

impl<'a> Failure<&'a [u8]> {
    /// Reads a body. The reason need not be text. The minutes may come as a string, as BEP 31 shows them.
    ///
    /// # Errors
    /// The body is not a failure.
    pub fn decode(body: &'a [u8]) -> Result<Self, BodyFault> {
        let body = root(body)?;
        let reason = bytes(body, "failure reason")?.ok_or(BodyFault::Missing("failure reason"))?;
        let retry = match body.get(b"retry in") {
            None => None,
            Some(Value::Bytes(b"never")) => Some(Retry::Never),
            Some(Value::Bytes(digits)) => core::str::from_utf8(digits)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .map(Retry::Minutes),
            Some(Value::Integer(minutes)) => u32::try_from(minutes).ok().map(Retry::Minutes),
            Some(Value::List(_) | Value::Dictionary(_)) => return Err(BodyFault::Type("retry in")),
        };
        Ok(Self {
            reason,
            // A nonsensical interval does not cost the reason.
            interval_secs: number(body, "interval").unwrap_or_default(),
            interval_min_secs: number(body, "min interval").unwrap_or_default(),
            retry,
        })
    }
}

/// Why a body is not the expected answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyFault {
    /// It is not canonical bencode.
    Bencode(bencode::Fault),
    /// It is not a dictionary.
    NoDictionary,
    /// This key is missing.
    Missing(&'static str),
    /// The value of this key is not of its type, or out of range.
    Type(&'static str),
    /// It is a failure.
    Refused,
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bencode(fault) => fault.fmt(f),
            Self::NoDictionary => f.write_str("the answer is not a bencoded dictionary"),
            Self::Missing(key) => write!(f, "the answer has no \"{key}\""),
            Self::Refused => f.write_str("the answer is a failure"),
            Self::Type(key) => write!(f, "the value of \"{key}\" in the answer makes no sense"),
        }
    }
}

impl core::error::Error for BodyFault {}

/// Bytes of the longest failure reason.
pub const REASON_MAX: usize = 160;

/// Text in a fixed buffer, cut at [`REASON_MAX`] bytes. Characters other than printable ASCII become `?`.
struct Text {
    bytes: [u8; REASON_MAX],
    len: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            bytes: [0; REASON_MAX],
            len: 0,
        }
    }
}

impl Text {
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (slot, char) in free.iter_mut().zip(text.chars()) {
            let printable = u8::try_from(char).ok().filter(|byte| matches!(byte, b' '..=b'~'));
            *slot = printable.unwrap_or(b'?');
            self.len += 1;
        }
        Ok(())
    }
}

fn root(body: &[u8]) -> Result<Dictionary<'_>, BodyFault> {
    let value = Value::parse(body).map_err(BodyFault::Bencode)?;
    value.as_dictionary().ok_or(BodyFault::NoDictionary)
}

fn integer(body: &mut DictionaryWriter<'_, '_>, key: &[u8], value: Option<u32>) {
    if let Some(value) = value {
        body.key(key).integer(value);
    }
}

fn number(body: Dictionary<'_>, key: &'static str) -> Result<Option<u32>, BodyFault> {
    let Some(value) = body.get(key.as_bytes()) else {
        return Ok(None);
    };
    let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
    number.map(Some).ok_or(BodyFault::Type(key))
}

fn bytes<'a>(body: Dictionary<'a>, key: &'static str) -> Result<Option<&'a [u8]>, BodyFault> {
    let Some(value) = body.get(key.as_bytes()) else {
        return Ok(None);
    };
    value.as_bytes().map(Some).ok_or(BodyFault::Type(key))
}

fn external_ip(value: Value<'_>) -> Result<IpAddr, BodyFault> {
    let octets = value.as_bytes().unwrap_or_default();
    let ip4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let ip = ip4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from));
    ip.map_err(|_| BodyFault::Type("external ip"))
}

fn encode_peer(list: &mut ListWriter<'_, '_>, peer: SocketAddr, id: Option<PeerId>) {
    let mut ip = Text::default();
    // The longest address is shorter than the buffer.
    _ = fmt::write(&mut ip, format_args!("{}", peer.ip()));
    list.item().dictionary(|entry| {
        entry.key(b"ip").bytes(ip.as_bytes());
        if let Some(id) = id {
            entry.key(b"peer id").bytes(&id.0);
        }
        entry.key(b"port").integer(peer.port());
    });
}

/// Decodes a peer; `None` if its `ip` is a host name, which is skipped.
fn decode_peer(entry: Dictionary<'_>) -> Option<(SocketAddr, Option<PeerId>)> {
    let ip = core::str::from_utf8(entry.get(b"ip")?.as_bytes()?).ok()?;
    let port = entry.get(b"port")?.as_integer()?;
    let id = entry.get(b"peer id").and_then(Value::as_bytes);
    let peer = SocketAddr::new(ip.parse().ok()?, port.try_into().ok()?);
    Some((peer, id.and_then(|id| id.try_into().ok()).map(PeerId)))
}

/// Decodes counts; those that other trackers omit are zeros.
fn decode_scrape_entry((key, value): (&[u8], Value<'_>)) -> Result<(InfoHash, Counts), BodyFault> {
    let info_hash = key.try_into().map_err(|_| BodyFault::Type("files"))?;
    let entry = value.as_dictionary().ok_or(BodyFault::Type("files"))?;
    let counts = Counts {
        complete: number(entry, "complete")?.unwrap_or(0),
        incomplete: number(entry, "incomplete")?.unwrap_or(0),
        downloaded: number(entry, "downloaded")?.unwrap_or(0),
    };
    Ok((InfoHash(info_hash), counts))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    fn out() -> Vec<u8> {
        std::vec![0; 1 << 20]
    }

    fn compact(family: Family, peers: &[(IpAddr, u16)]) -> Vec<u8> {
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let own = peers.iter().filter(|(ip, _)| Family::of(*ip) == family);
        own.flat_map(|(ip, port)| [octets(*ip), port.to_be_bytes().to_vec()].concat())
            .collect()
    }

    quickcheck! {
        fn compact_announce_answers_round_trip(
            counts: (Option<u32>, Option<u32>, Option<u32>),
            intervals: (u32, Option<u32>),
            external_ip: Option<IpAddr>,
            peers: Vec<(IpAddr, u16)>,
            with_peers6: bool
        ) -> bool {
            let (peers4, peers6) = (compact(Family::V4, &peers), compact(Family::V6, &peers));
            let response = AnnounceResponse {
                complete: counts.0,
                downloaded: counts.1,
                external_ip,
                incomplete: counts.2,
                interval_secs: intervals.0,
                interval_min_secs: intervals.1,
                peers: PeerList::Compact(&peers4),
                peers6: with_peers6.then_some(&peers6),
            };
            let mut out = out();
            let len = response.encode(&mut out).unwrap();
            let known = peers.iter().filter(|(ip, _)| ip.is_ipv4() || with_peers6).count();
            AnnounceResponse::decode(&out[..len]) == Ok(response) && response.peers().count() == known
        }

        fn dictionary_announce_answers_round_trip(v4: bool, peers: Vec<(IpAddr, u16)>, with_ids: bool) -> bool {
            let family = if v4 { Family::V4 } else { Family::V6 };
            let compact = compact(family, &peers);
            let ids: Vec<PeerId> = (0u8..).map(|byte| PeerId([byte; 20])).take(peers.len().min(200)).collect();
            let ids: &[PeerId] = if with_ids { &ids } else { &[] };
            let response = AnnounceResponse {
                complete: Some(1),
                downloaded: None,
                external_ip: None,
                incomplete: None,
                interval_secs: 60,
                interval_min_secs: None,
                peers: PeerList::Dictionaries(Peers { family, compact: &compact, ids }.into()),
                peers6: None,
            };
            let mut out = out();
            let len = response.encode(&mut out).unwrap();
            let read = AnnounceResponse::decode(&out[..len]);
            read == Ok(response) && read.is_ok_and(|read| {
                read.peers().map(|(peer, _)| peer).eq(compact_peers(family, &compact).map(SocketAddr::from))
                    && read.peers().zip(ids).all(|((_, id), expected)| id == Some(*expected))
            })
        }

        fn scrape_answers_round_trip(torrents: BTreeMap<u64, (u32, u32, u32)>) -> bool {
            let torrents: BTreeMap<InfoHash, Counts> = torrents
                .into_iter()
                .map(|(key, (complete, incomplete, downloaded))| {
                    let mut info_hash = InfoHash([0xee; 20]);
                    info_hash.0[..8].copy_from_slice(&key.to_be_bytes());
                    (info_hash, Counts { complete, incomplete, downloaded })
                })
                .collect();
            let info_hashes: Vec<_> = torrents.keys().copied().collect();
            let mut out = out();
            let len = encode_scrape(&info_hashes, |info_hash| torrents[info_hash], &mut out).unwrap();
            ScrapeResponse::decode(&out[..len]).is_ok_and(|read| read.iter().eq(torrents))
        }

        fn failures_round_trip(
            reason: std::string::String,
            intervals: (Option<u32>, Option<u32>),
            minutes: Option<u32>,
            never: bool
        ) -> bool {
            let retry = if never { Some(Retry::Never) } else { minutes.map(Retry::Minutes) };
            let (interval_secs, interval_min_secs) = intervals;
            let failure = Failure { reason: &reason, interval_secs, interval_min_secs, retry };
            let mut out = out();
            let len = failure.encode(&mut out).unwrap();
            Failure::decode(&out[..len]).is_ok_and(|read| {
                let printable = reason.chars().map(|char| if (' '..='~').contains(&char) { char } else { '?' });
                (read.interval_secs, read.interval_min_secs, read.retry) == (interval_secs, interval_min_secs, retry)
                    && read.reason.iter().map(|byte| char::from(*byte)).eq(printable.take(REASON_MAX))
            })
        }

        fn any_body_is_read_or_refused(body: Vec<u8>) -> bool {
            AnnounceResponse::decode(&body).is_err()
                && ScrapeResponse::decode(&body).is_err()
                && Failure::decode(&body).is_err()
        }
    }

    #[test]
    fn the_largest_scrape_entry_has_the_length_that_is_planned_for() {
        let most = Counts {
            complete: u32::MAX,
            incomplete: u32::MAX,
            downloaded: u32::MAX,
        };
        let mut out = out();
        let len = bencode::pairs(&mut out, |files| {
            encode_scrape_entry(files, &InfoHash([0; 20]), most);
        });
        assert_eq!(len, Some(SCRAPE_ENTRY_MAX));
        let some = [InfoHash([1; 20]), InfoHash([2; 20])];
        let room = "d5:filesdeee".len() + SCRAPE_ENTRY_MAX + SCRAPE_ENTRY_MAX / 2;
        let len = encode_scrape(&some, |_| most, &mut out[..room]).unwrap();
        assert_eq!(ScrapeResponse::decode(&out[..len]).unwrap().iter().count(), 1);
    }

    #[test]
    fn what_other_trackers_answer_is_read() {
        let body = b"d8:intervali60e5:peersld2:ip9:localhost4:porti1eed2:ip7:1.2.3.44:porti70000eed2:ip3:::14:porti9eeee";
        let response = AnnounceResponse::decode(body).unwrap();
        let peers: Vec<_> = response.peers().collect();
        assert_eq!(peers.len(), 1, "a name and a port out of range are left out");
        assert_eq!(peers[0].0.port(), 9);
        assert_eq!(
            AnnounceResponse::decode(b"d5:peers0:e"),
            Err(BodyFault::Missing("interval"))
        );
        assert_eq!(
            AnnounceResponse::decode(b"d8:interval2:60e"),
            Err(BodyFault::Type("interval"))
        );
        assert_eq!(AnnounceResponse::decode(b"le"), Err(BodyFault::NoDictionary));
        assert_eq!(
            AnnounceResponse::decode(b"d14:failure reason2:no8:intervali60ee"),
            Err(BodyFault::Refused),
            "a failure is no answer without peers"
        );
        let failure = Failure::decode(b"d14:failure reason2:no8:retry in1:5e").unwrap();
        assert_eq!(
            (failure.reason, failure.retry),
            (b"no".as_slice(), Some(Retry::Minutes(5)))
        );
        let scrape = b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei7eeee";
        let counts = Counts {
            complete: 7,
            ..Counts::default()
        };
        assert!(
            ScrapeResponse::decode(scrape)
                .unwrap()
                .iter()
                .eq([(InfoHash([b'a'; 20]), counts)])
        );
        assert_eq!(
            ScrapeResponse::decode(b"d5:filesd1:adeee"),
            Err(BodyFault::Type("files"))
        );
    }
}
