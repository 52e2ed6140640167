//! Answers over HTTP as trackers write them, which is not always as they should (BEP 3, 7, 23, 24, 48).

use std::net::{IpAddr, SocketAddr};

use etracker_core::announce::{Counts, Family, compact_peers};
use etracker_core::bencode::{self, Dictionary, Value};
use etracker_core::{InfoHash, PeerId};

use crate::answer::{Announced, Answer, Failure, Notes, Peer, printable};

/// The dictionary of an answer. Whatever can be understood is read; what is wrong with it is noted.
pub(crate) struct Reading<'a, 'n> {
    root: Dictionary<'a>,
    notes: &'n mut Notes,
}

impl<'a, 'n> Reading<'a, 'n> {
    pub(crate) fn of(body: &'a [u8], notes: &'n mut Notes) -> Result<Self, Failure> {
        let unreadable = |fault: bencode::Fault| {
            let is_compressed = body.starts_with(b"\x1f\x8b");
            Failure::Unreadable(if is_compressed {
                "it is compressed, which was not asked for".to_owned()
            } else {
                fault.to_string()
            })
        };
        let value = Value::parse_tolerantly(body, &mut |fault| notes.fault(fault)).map_err(unreadable)?;
        let root = value
            .as_dictionary()
            .ok_or_else(|| Failure::Unreadable("it is not a bencoded dictionary".to_owned()))?;
        note_keys(root, notes);
        Ok(Self { root, notes })
    }

    /// The reason of a refusal.
    pub(crate) fn failure(&self) -> Option<String> {
        let reason = self.root.get(b"failure reason")?;
        Some(reason.as_bytes().map_or_else(|| format!("{reason:?}"), printable))
    }

    pub(crate) fn announced(mut self) -> Answer {
        if let Some(warning) = self.bytes("warning message") {
            self.notes
                .add(format!("the tracker warns: {}", printable(warning)));
        }
        let interval_secs = self.number("interval");
        if interval_secs.is_none() {
            self.notes.fault("the answer has no \"interval\"");
        }
        let answer = Announced {
            interval_secs,
            interval_min_secs: self.number("min interval"),
            complete: self.number("complete"),
            incomplete: self.number("incomplete"),
            downloaded: self.number("downloaded"),
            external_ip: self.external_ip(),
            peers: self.peers(),
        };
        Answer::Announce(answer)
    }

    pub(crate) fn scraped(mut self, info_hashes: &[InfoHash]) -> Result<Answer, Failure> {
        let files = self.root.get(b"files").and_then(Value::as_dictionary);
        let files = files.ok_or_else(|| Failure::Unreadable("it has no dictionary \"files\"".to_owned()))?;
        let mut listed = Vec::new();
        for (key, value) in files.iter() {
            match (self.info_hash(key), value.as_dictionary()) {
                (Some(info_hash), Some(entry)) => listed.push((info_hash, self.counts(entry))),
                _ => self
                    .notes
                    .fault("an entry of \"files\" is not an info-hash of 20 bytes and a dictionary"),
            }
        }
        let counts_of = |asked: &InfoHash| {
            let mut listed = listed.iter();
            listed
                .find(|(info_hash, _)| info_hash == asked)
                .map(|(_, counts)| *counts)
        };
        let torrents = info_hashes.iter().map(|asked| (*asked, counts_of(asked)));
        Ok(Answer::Scrape(torrents.collect()))
    }

    /// 20 bytes; or as many characters, where a tracker takes bytes for text and writes that as UTF-8.
    fn info_hash(&mut self, key: &[u8]) -> Option<InfoHash> {
        if let Ok(info_hash) = key.try_into() {
            return Some(InfoHash(info_hash));
        }
        let text = str::from_utf8(key).ok()?;
        let bytes: Vec<u8> = text
            .chars()
            .map(|char| u8::try_from(char).ok())
            .collect::<Option<_>>()?;
        let info_hash = bytes.try_into().map(InfoHash).ok()?;
        self.notes
            .fault("an info-hash in \"files\" is written as UTF-8, which makes it longer than 20 bytes");
        Some(info_hash)
    }

    /// Counts that are left out are zeros.
    fn counts(&mut self, entry: Dictionary<'_>) -> Counts {
        let mut count = |key| number(entry, key, self.notes).unwrap_or(0);
        Counts {
            complete: count("complete"),
            incomplete: count("incomplete"),
            downloaded: count("downloaded"),
        }
    }

    fn number(&mut self, key: &str) -> Option<u32> {
        number(self.root, key, self.notes)
    }

    fn bytes(&mut self, key: &str) -> Option<&'a [u8]> {
        let value = self.root.get(key.as_bytes())?;
        if value.as_bytes().is_none() {
            self.notes.senseless(key);
        }
        value.as_bytes()
    }

    fn external_ip(&mut self) -> Option<IpAddr> {
        let bytes = self.bytes("external ip")?;
        let ip4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        let ip = ip4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
        ip.map_err(|_| self.notes.senseless("external ip")).ok()
    }

    fn peers(&mut self) -> Vec<Peer> {
        let mut peers = match self.root.get(b"peers") {
            Some(Value::List(list)) => {
                let read = list.iter().map(|peer| peer.as_dictionary().and_then(peer_of));
                let (read, unread): (Vec<_>, Vec<_>) = read.partition(Option::is_some);
                if !unread.is_empty() {
                    let fault = format!("{} peers have no address and port that are numbers", unread.len());
                    self.notes.fault(fault);
                }
                read.into_iter().flatten().collect()
            }
            Some(Value::Bytes(_)) => self.compact("peers", Family::V4),
            Some(Value::Integer(_) | Value::Dictionary(_)) => {
                self.notes.senseless("peers");
                Vec::new()
            }
            None => Vec::new(),
        };
        peers.extend(self.compact("peers6", Family::V6));
        peers
    }

    fn compact(&mut self, key: &str, family: Family) -> Vec<Peer> {
        let bytes = self.bytes(key).unwrap_or_default();
        let len = family.compact_len();
        if !bytes.len().is_multiple_of(len) {
            self.notes.fault(format!(
                "\"{key}\" has {} bytes, but peers of {len} each",
                bytes.len()
            ));
        }
        let peers = compact_peers(family, bytes).map(SocketAddr::from);
        peers.map(|address| Peer { address, id: None }).collect()
    }
}

/// A peer whose address is a name is none that can be shown.
fn peer_of(entry: Dictionary<'_>) -> Option<Peer> {
    let ip = str::from_utf8(entry.get(b"ip")?.as_bytes()?).ok()?;
    let port = entry.get(b"port")?.as_integer()?;
    let id = entry.get(b"peer id").and_then(Value::as_bytes);
    Some(Peer {
        address: SocketAddr::new(ip.parse().ok()?, port.try_into().ok()?),
        id: id.and_then(|id| id.try_into().ok()).map(PeerId),
    })
}

/// A number, even if it is written as a string.
fn number(dictionary: Dictionary<'_>, key: &str, notes: &mut Notes) -> Option<u32> {
    let value = dictionary.get(key.as_bytes())?;
    if let Some(number) = value.as_integer().and_then(|number| u32::try_from(number).ok()) {
        return Some(number);
    }
    notes.senseless(key);
    let digits = value.as_bytes().and_then(|digits| str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok())
}

/// Notes keys that are no text. Those of `files` are info-hashes, and need not be any.
fn note_keys(dictionary: Dictionary<'_>, notes: &mut Notes) {
    for (key, value) in dictionary.iter() {
        if str::from_utf8(key).is_err() {
            notes.fault(format!("the key \"{}\" is not UTF-8", key.escape_ascii()));
        }
        if key == b"files" {
            continue;
        }
        if let Some(inside) = value.as_dictionary() {
            note_keys(inside, notes);
        }
        if let Some(list) = value.as_list() {
            let inside = list.iter().filter_map(Value::as_dictionary);
            inside.for_each(|inside| note_keys(inside, notes));
        }
    }
}
