//! The envelope of every message: who sent it, when, and a MAC over all of it.
//!
//! ```text
//! format 1 | reads 1 | kind 1 | 0 1 | name's tag 4 | node 8 | sequence 8 | clock 8 | body | MAC 16
//! ```
//!
//! Numbers are little-endian. `format` is that of this message, and `reads` the newest one that its sender reads: a node writes the
//! newest that all members read, so that nodes of two versions can be in one cluster. Every format has this envelope.

use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use crate::Instant;

use super::name::ClusterName;
use super::record::take;
use super::secret::{Secrets, hmac, verifies};

/// The number of a node: random at each start, so that a sequence never begins again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`Batch`](super::Batch), to all.
    Batch,
    /// What a node says of itself, to all.
    Heartbeat,
    /// A node that joins asks all for a snapshot.
    Ask,
    /// A node offers its snapshot to one that joins.
    Offer,
    /// A node that joins asks its donor for pieces.
    Pull,
    /// A piece of a snapshot.
    Piece,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Batch,
        Self::Heartbeat,
        Self::Ask,
        Self::Offer,
        Self::Pull,
        Self::Piece,
    ];

    /// The number of the kind in messages.
    const fn number(self) -> u8 {
        match self {
            Self::Batch => 1,
            Self::Heartbeat => 2,
            Self::Ask => 3,
            Self::Offer => 4,
            Self::Pull => 5,
            Self::Piece => 6,
        }
    }
}

impl Kind {
    /// Whether all nodes receive it, so that it has a place in the sequence of its sender.
    pub(super) const fn is_for_all(self) -> bool {
        matches!(self, Self::Batch | Self::Heartbeat | Self::Ask)
    }
}

/// What stands before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The format of the body.
    pub format: u8,
    /// The newest format that the sender reads.
    pub reads: u8,
    /// What the body is.
    pub kind: Kind,
    /// The sender.
    pub node: NodeId,
    /// The number of the message among those that the sender sent to all, from 1 on. To one node it is 0.
    pub sequence: u64,
    /// The sender's clock when it sent the message.
    pub clock: Instant,
}

/// A message whose MAC was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What stands before the body.
    pub header: Header,
    /// The body.
    pub body: &'a [u8],
}

/// Why a message changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// It is too short or too long, or its body is malformed.
    Malformed,
    /// Its format is one that this node does not read.
    Format,
    /// It is of a cluster with another name.
    Name,
    /// No secret of this cluster signed it, or it was changed.
    Mac,
    /// The sender's clock differs by more than two minutes, or the message is as old.
    Clock,
    /// It was received before, or is too far behind others of its sender.
    Replay,
    /// A record is of a minute that no record in it can be of.
    Minute,
    /// There are as many members as a node keeps.
    Members,
    /// It belongs to no transfer of a snapshot that is under way.
    Transfer,
}

impl Rejection {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::Format,
        Self::Name,
        Self::Mac,
        Self::Clock,
        Self::Replay,
        Self::Minute,
        Self::Members,
        Self::Transfer,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Format => "format",
            Self::Name => "name",
            Self::Mac => "mac",
            Self::Clock => "clock",
            Self::Replay => "replay",
            Self::Minute => "minute",
            Self::Members => "members",
            Self::Transfer => "transfer",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Error for Rejection {}

/// The keys of the messages of one cluster.
#[derive(Clone)]
pub struct Keys {
    tag: [u8; 4],
    /// Invariant: at least one. The first signs.
    keys: Vec<[u8; 32]>,
}

impl Keys {
    /// The keys of the cluster with this name.
    #[must_use]
    pub fn new(name: &ClusterName, secrets: &Secrets) -> Self {
        let name = name.as_str().as_bytes();
        // It tells another cluster from another secret; what it claims is proven by the MAC.
        let [a, b, c, d, ..] = hmac(&[0; 32], &[name]);
        Self {
            tag: [a, b, c, d],
            keys: secrets
                .iter()
                .map(|secret| secret.derive("cluster messages", name))
                .collect(),
        }
    }

    /// Writes a message to `out`, instead of what is there; `body` appends its body.
    pub fn seal(&self, header: &Header, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
        out.clear();
        out.extend([header.format, header.reads, header.kind.number(), 0]);
        out.extend(self.tag);
        out.extend(header.node.0.to_le_bytes());
        out.extend(header.sequence.to_le_bytes());
        out.extend(header.clock.as_millis().to_le_bytes());
        body(out);
        let mac = self.keys.first().map(|key| hmac(key, &[out]));
        out.extend(mac.unwrap_or_default().iter().take(MAC_LEN));
    }

    /// Opens a message.
    ///
    /// # Errors
    /// It is malformed, of another format or cluster, or not signed by one of the secrets.
    pub fn open<'a>(&self, message: &'a [u8]) -> Result<Envelope<'a>, Rejection> {
        if message.len() > MESSAGE_MAX {
            return Err(Rejection::Malformed);
        }
        let (signed, sum) = message
            .split_last_chunk::<MAC_LEN>()
            .ok_or(Rejection::Malformed)?;
        let (mut head, body) = signed.split_at_checked(HEAD_LEN).ok_or(Rejection::Malformed)?;
        let [format, reads, kind, _] = take(&mut head).ok_or(Rejection::Malformed)?;
        if !(1..=FORMAT).contains(&format) {
            return Err(Rejection::Format);
        }
        if take(&mut head) != Some(self.tag) {
            return Err(Rejection::Name);
        }
        if !self.keys.iter().any(|key| verifies(key, signed, sum)) {
            return Err(Rejection::Mac);
        }
        let header = Header::read(head, [format, reads, kind]).ok_or(Rejection::Malformed)?;
        Ok(Envelope { header, body })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(secret)")
    }
}

impl Header {
    fn read(mut head: &[u8], [format, reads, kind]: [u8; 3]) -> Option<Self> {
        Some(Self {
            format,
            reads,
            kind: Kind::ALL.into_iter().find(|one| one.number() == kind)?,
            node: NodeId(number(&mut head)?),
            sequence: number(&mut head)?,
            clock: Instant::from_millis(number(&mut head)?),
        })
    }
}

/// Takes a number from the front.
pub(super) fn number(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_le_bytes)
}

/// The newest format that this version reads and writes.
pub const FORMAT: u8 = 1;
/// Bytes of a message at most: what a bus carries well, and a bound on what one may unpack to.
pub const MESSAGE_MAX: usize = 64 << 10;
/// Bytes before the body.
const HEAD_LEN: usize = 4 + 4 + 8 + 8 + 8;
/// Bytes of a MAC: half of an HMAC-SHA-256 (RFC 2104, section 5).
const MAC_LEN: usize = 16;
/// Bytes of a body at most.
pub(super) const BODY_MAX: usize = MESSAGE_MAX - HEAD_LEN - MAC_LEN;

#[cfg(test)]
mod tests {
    use std::vec;

    use quickcheck::quickcheck;

    use crate::cluster::Secret;

    use super::*;

    fn keys(name: &str, secret: u8) -> Keys {
        Keys::new(
            &ClusterName::new(name).unwrap(),
            &Secrets::new(Secret::new([secret; 32])),
        )
    }

    fn header(kind: usize, node: u64, sequence: u64, millis: u64) -> Header {
        Header {
            format: FORMAT,
            reads: FORMAT + 1,
            kind: Kind::ALL[kind % Kind::ALL.len()],
            node: NodeId(node),
            sequence,
            clock: Instant::from_millis(millis),
        }
    }

    fn sealed(header: &Header, body: &[u8]) -> Vec<u8> {
        let mut out = vec![1, 2, 3];
        keys("one", 7).seal(header, &mut out, |out| out.extend(body));
        out
    }

    quickcheck! {
        fn what_is_sealed_is_opened(kind: usize, node: u64, sequence: u64, millis: u64, body: Vec<u8>) -> bool {
            let header = header(kind, node, sequence, millis);
            let message = sealed(&header, &body);
            keys("one", 7).open(&message) == Ok(Envelope { header, body: &body })
        }

        fn one_turned_bit_spoils_a_message(body: Vec<u8>, bit: usize) -> bool {
            let mut message = sealed(&header(0, 1, 2, 3), &body);
            let bit = bit % (message.len() * 8);
            message[bit / 8] ^= 1 << (bit % 8);
            keys("one", 7).open(&message).is_err()
        }

        fn what_is_cut_or_goes_on_is_no_message(body: Vec<u8>, len: usize) -> bool {
            let message = sealed(&header(0, 1, 2, 3), &body);
            let longer = [message.as_slice(), &[0]].concat();
            let shorter = &message[..len % message.len()];
            keys("one", 7).open(&longer).is_err() && keys("one", 7).open(shorter).is_err()
        }

        fn any_bytes_are_refused(bytes: Vec<u8>) -> bool {
            keys("one", 7).open(&bytes).is_err()
        }
    }

    #[test]
    fn the_reason_tells_another_name_from_another_secret_and_another_format() {
        let message = sealed(&header(0, 1, 2, 3), b"body");
        let reason = |keys: &Keys, message: &[u8]| keys.open(message).unwrap_err();
        assert_eq!(reason(&keys("two", 7), &message), Rejection::Name);
        assert_eq!(reason(&keys("one", 8), &message), Rejection::Mac);
        for format in [0, FORMAT + 1, u8::MAX] {
            let foreign = sealed(
                &Header {
                    format,
                    ..header(0, 1, 2, 3)
                },
                b"body",
            );
            assert_eq!(reason(&keys("one", 7), &foreign), Rejection::Format);
        }
        let long = sealed(&header(0, 1, 2, 3), &vec![0; BODY_MAX + 1]);
        assert_eq!(reason(&keys("one", 7), &long), Rejection::Malformed);
        let longest = sealed(&header(0, 1, 2, 3), &vec![0; BODY_MAX]);
        assert!(longest.len() == MESSAGE_MAX && keys("one", 7).open(&longest).is_ok());
    }

    #[test]
    fn each_of_several_secrets_is_accepted_and_the_first_signs() {
        let name = ClusterName::new("one").unwrap();
        let secrets = |first: &str, second: &str| {
            let text = [first.repeat(32), second.repeat(32)].join("\n");
            Keys::new(&name, &Secrets::parse(text.as_bytes()).unwrap())
        };
        let (old, turned) = (secrets("07", "08"), secrets("08", "07"));
        let mut message = Vec::new();
        turned.seal(&header(0, 1, 2, 3), &mut message, |_| ());
        assert!(old.open(&message).is_ok() && turned.open(&message).is_ok());
        assert!(keys("one", 8).open(&message).is_ok());
        assert_eq!(keys("one", 7).open(&message), Err(Rejection::Mac));
    }
}
