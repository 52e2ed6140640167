//! What a node says of itself every few seconds.

use alloc::string::String;
use alloc::vec::Vec;

use super::envelope::number;
use super::name::ClusterName;
use super::record::take;

/// What a node says of itself. Numbers that a later version adds at the end are skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Its name.
    pub name: ClusterName,
    /// Its version, at most [`VERSION_MAX`] bytes of printable ASCII.
    pub version: String,
    /// Whether it holds what the others hold.
    pub whole: bool,
    /// Torrents that it holds.
    pub torrents: u64,
    /// Peers that it holds.
    pub peers: u64,
    /// Requests that it received in the last full second.
    pub requests_per_sec: u64,
    /// Records that it has sent.
    pub sent: u64,
    /// Records of others that it has applied.
    pub applied: u64,
    /// Messages of others that it has missed.
    pub lost: u64,
}

impl Heartbeat {
    /// Appends the body of a message.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.whole.into());
        for text in [self.name.as_str(), &self.version] {
            // Both are short by construction.
            out.push(u8::try_from(text.len()).unwrap_or(0));
            out.extend(text.bytes().take(u8::MAX.into()));
        }
        for number in [
            self.torrents,
            self.peers,
            self.requests_per_sec,
            self.sent,
            self.applied,
            self.lost,
        ] {
            out.extend(number.to_le_bytes());
        }
    }

    /// Reads the body of a message; `None` if it is malformed.
    pub(super) fn decode(mut body: &[u8]) -> Option<Self> {
        let [whole] = take(&mut body)?;
        let name = ClusterName::new(text(&mut body)?).ok()?;
        let version = text(&mut body).filter(|version| is_version(version))?;
        let mut next = || number(&mut body);
        Some(Self {
            name,
            version: version.into(),
            whole: whole & 1 != 0,
            torrents: next()?,
            peers: next()?,
            requests_per_sec: next()?,
            sent: next()?,
            applied: next()?,
            lost: next()?,
        })
    }
}

/// Takes a text, after its length, from the front.
fn text<'a>(body: &mut &'a [u8]) -> Option<&'a str> {
    let [len] = take(body)?;
    let (text, rest) = body.split_at_checked(len.into())?;
    *body = rest;
    core::str::from_utf8(text).ok()
}

/// Whether pages and logs can show it.
pub(super) fn is_version(version: &str) -> bool {
    version.len() <= VERSION_MAX && version.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Bytes of a version at most.
pub const VERSION_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn a_heartbeat_is_read_as_it_was_written_and_with_more_behind_it(
            name: String, whole: bool, numbers: (u64, u64, u64, u64, u64, u64), more: Vec<u8>
        ) -> bool {
            let heartbeat = Heartbeat {
                name: ClusterName::nearest(&name),
                version: "1.2.3-beta".into(),
                whole,
                torrents: numbers.0,
                peers: numbers.1,
                requests_per_sec: numbers.2,
                sent: numbers.3,
                applied: numbers.4,
                lost: numbers.5,
            };
            let mut body = Vec::new();
            heartbeat.encode(&mut body);
            let cut = (1..=body.len()).all(|len| Heartbeat::decode(&body[..body.len() - len]).is_none());
            body.extend(more);
            cut && Heartbeat::decode(&body) == Some(heartbeat)
        }

        fn any_bytes_are_read_or_refused(body: Vec<u8>) -> bool {
            Heartbeat::decode(&body).is_none_or(|heartbeat| {
                heartbeat.version.len() <= VERSION_MAX && heartbeat.name.as_str().len() <= 63
            })
        }
    }

    #[test]
    fn what_a_terminal_would_act_on_is_no_version() {
        assert!(is_version("0.1.0+abc") && is_version(""));
        for version in ["1 2", "\u{1b}[2J", "ä", &"1".repeat(VERSION_MAX + 1)] {
            assert!(!is_version(version), "{version:?}");
        }
    }
}
