//! What one announce changed, in 28 bytes over IPv4 and 40 over IPv6.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::announce::{Endpoint, Family};
use crate::time::Minute;
use crate::{InfoHash, PeerId};

/// A peer as one announce left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The peer.
    pub peer: Endpoint,
    /// When it announced.
    pub minute: Minute,
    /// What it is since.
    pub state: State,
    /// Whether a leecher is known to have been a seeder since it was stored: its next download does not count.
    pub been_seeder: bool,
    /// Whether it had stopped in the same minute before. Two records of one minute are told apart by this: see
    /// [`order`](Self::order).
    pub again: bool,
    /// Whether a download ended: an event, which is counted for each record that arrives.
    pub completed: bool,
    /// Its id, if the node keeps ids and has just stored the peer.
    pub id: Option<PeerId>,
}

/// What a peer is after an announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It downloads.
    Leecher,
    /// It has everything.
    Seeder,
    /// It is gone.
    Stopped,
}

impl Record {
    /// What decides between records of one peer: the greatest wins. It is the minute, and within one minute: stored, stopped, stored
    /// again, stopped again.
    #[must_use]
    pub const fn order(&self) -> (Minute, u8) {
        let stopped = matches!(self.state, State::Stopped);
        (self.minute, stopped as u8 | (self.again as u8) << 1)
    }

    /// Bytes of the record.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        let id = if self.id.is_some() { size_of::<PeerId>() } else { 0 };
        HEAD_LEN + self.peer.family().compact_len() + id
    }

    /// Appends the record. `base` is the minute of its batch; one that is further off than an age can say is written as the oldest.
    pub(super) fn encode(&self, base: Minute, out: &mut Vec<u8>) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(self.state == State::Seeder, SEEDER)
            | flag(self.state == State::Stopped, STOPPED)
            | flag(self.peer.family() == Family::V6, IS_V6)
            | flag(self.id.is_some(), HAS_ID)
            | flag(self.again, AGAIN)
            | flag(self.completed, COMPLETED)
            | flag(self.been_seeder, BEEN_SEEDER);
        let age = base.saturating_since(self.minute);
        out.extend([flags, u8::try_from(age).unwrap_or(u8::MAX)]);
        out.extend(self.info_hash.0);
        match self.peer.ip {
            IpAddr::V4(ip) => out.extend(ip.octets()),
            IpAddr::V6(ip) => out.extend(ip.octets()),
        }
        out.extend(self.peer.port.to_be_bytes());
        if let Some(id) = self.id {
            out.extend(id.0);
        }
    }

    /// Takes a record from the front of `bytes`; `None` if there is none that is whole and makes sense.
    pub(super) fn decode(base: Minute, bytes: &mut &[u8]) -> Option<Self> {
        let [flags, age] = take(bytes)?;
        let state = match flags & (SEEDER | STOPPED) {
            0 => State::Leecher,
            SEEDER => State::Seeder,
            STOPPED => State::Stopped,
            _ => return None,
        };
        let senseless = match state {
            State::Leecher => 0,
            State::Seeder => BEEN_SEEDER,
            State::Stopped => COMPLETED | HAS_ID | BEEN_SEEDER,
        };
        // Other bits are of later formats, and would mean something else.
        if flags & (!KNOWN | senseless) != 0 {
            return None;
        }
        let info_hash = InfoHash(take(bytes)?);
        let ip = match flags & IS_V6 {
            0 => IpAddr::from(take::<4>(bytes)?),
            _ => IpAddr::from(take::<16>(bytes)?),
        };
        let port = u16::from_be_bytes(take(bytes)?);
        let id = match flags & HAS_ID {
            0 => None,
            _ => Some(PeerId(take(bytes)?)),
        };
        Some(Self {
            info_hash,
            peer: Endpoint { ip, port },
            minute: Minute::new(base.get().checked_sub(age.into())?),
            state,
            been_seeder: flags & BEEN_SEEDER != 0,
            again: flags & AGAIN != 0,
            completed: flags & COMPLETED != 0,
            id,
        })
    }
}

/// Takes so many bytes from the front.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// Bytes of flags, age and info-hash.
const HEAD_LEN: usize = 2 + size_of::<InfoHash>();
/// Bytes of the shortest record, of a peer over IPv4 without an id.
pub(super) const RECORD_LEN_MIN: usize = HEAD_LEN + Family::V4.compact_len();
/// Bytes of the longest record, of a peer over IPv6 with an id.
pub(super) const RECORD_LEN_MAX: usize = HEAD_LEN + Family::V6.compact_len() + size_of::<PeerId>();

/// The bits of the first byte.
const SEEDER: u8 = 0x01;
const IS_V6: u8 = 0x02;
const HAS_ID: u8 = 0x04;
const STOPPED: u8 = 0x08;
const AGAIN: u8 = 0x10;
const COMPLETED: u8 = 0x20;
const BEEN_SEEDER: u8 = 0x40;
const KNOWN: u8 = SEEDER | IS_V6 | HAS_ID | STOPPED | AGAIN | COMPLETED | BEEN_SEEDER;

#[cfg(test)]
impl quickcheck::Arbitrary for Record {
    /// A record of one of few peers in the five minutes before [`Self::BASE`].
    fn arbitrary(g: &mut quickcheck::Gen) -> Self {
        let state = *g
            .choose(&[State::Leecher, State::Seeder, State::Stopped])
            .unwrap();
        let stopped = state == State::Stopped;
        let ip = [
            IpAddr::from([192, 0, 2, u8::arbitrary(g) % 3]),
            IpAddr::from([0x2001, 0xdb8, 0, u16::arbitrary(g) % 2, 0, 0, 0, 1]),
        ];
        Self {
            info_hash: InfoHash([u8::arbitrary(g) % 2; 20]),
            peer: Endpoint {
                ip: *g.choose(&ip).unwrap(),
                port: 6881,
            },
            minute: Minute::new(Self::BASE.get() - u32::arbitrary(g) % 5),
            state,
            been_seeder: state == State::Leecher && bool::arbitrary(g),
            again: u8::arbitrary(g).is_multiple_of(4),
            completed: !stopped && u8::arbitrary(g).is_multiple_of(4),
            id: (!stopped && bool::arbitrary(g)).then(|| PeerId([u8::arbitrary(g) % 4; 20])),
        }
    }
}

#[cfg(test)]
impl Record {
    /// The minute that arbitrary records count back from.
    pub(super) const BASE: Minute = Minute::new(29_000_000);
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn what_is_encoded_is_decoded_and_as_long_as_it_says(record: Record) -> bool {
            let mut bytes = Vec::new();
            record.encode(Record::BASE, &mut bytes);
            let mut rest = bytes.as_slice();
            let decoded = Record::decode(Record::BASE, &mut rest);
            decoded == Some(record)
                && rest.is_empty()
                && bytes.len() == record.encoded_len()
                && (RECORD_LEN_MIN..=RECORD_LEN_MAX).contains(&bytes.len())
                && (record.id.is_some() || bytes.len() <= 42)
        }

        fn what_is_decoded_is_encoded_alike(bytes: Vec<u8>) -> bool {
            let mut rest = bytes.as_slice();
            let Some(record) = Record::decode(Record::BASE, &mut rest) else {
                return true;
            };
            let mut again = Vec::new();
            record.encode(Record::BASE, &mut again);
            again == bytes[..bytes.len() - rest.len()]
        }

        fn a_record_that_is_cut_is_none(record: Record, cut: usize) -> bool {
            let mut bytes = Vec::new();
            record.encode(Record::BASE, &mut bytes);
            bytes.truncate(cut % bytes.len());
            Record::decode(Record::BASE, &mut bytes.as_slice()).is_none()
        }
    }

    #[test]
    fn a_mix_of_families_as_trackers_have_it_takes_less_than_31_bytes_a_record() {
        let (v4, v6) = (RECORD_LEN_MIN, HEAD_LEN + Family::V6.compact_len());
        assert_eq!((v4, v6), (28, 40));
        // 22 % over IPv6.
        assert_eq!((v4 * 78 + v6 * 22) / 10, 306);
    }

    #[test]
    fn no_record_is_seeder_and_stopped_or_has_bits_of_a_later_format() {
        let mut bytes = [0; 60];
        for flags in 0..=u8::MAX {
            bytes[0] = flags;
            let makes_sense = flags & 0x80 == 0
                && flags & (SEEDER | STOPPED) != SEEDER | STOPPED
                && (flags & STOPPED == 0 || flags & (COMPLETED | HAS_ID) == 0)
                && (flags & (SEEDER | STOPPED) == 0 || flags & BEEN_SEEDER == 0);
            let decoded = Record::decode(Record::BASE, &mut bytes.as_slice());
            assert_eq!(decoded.is_some(), makes_sense, "{flags:x}");
        }
    }
}
