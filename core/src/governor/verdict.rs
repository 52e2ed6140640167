//! What is done about a request.

use super::charge::Class;
use crate::announce::{Announce, Event};

/// How a request is treated.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It is served.
    Serve,
    /// An announce is carried out and answered without peers and with the longest interval, which every client honours. One that
    /// begins a session has a few peers and the usual interval even so.
    Short,
    /// It is answered with a failure, which says when to come back.
    Failure,
    /// It is not answered.
    Silence,
}

impl Verdict {
    /// The verdicts that are counted.
    pub const LIMITING: [Self; 3] = [Self::Short, Self::Failure, Self::Silence];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Short => "short",
            Self::Failure => "failure",
            Self::Silence => "silence",
        }
    }

    /// The peers wanted by `announce`, or the few that it is answered with.
    #[must_use]
    pub fn numwant(self, announce: &Announce) -> Option<u32> {
        match (self, announce.event) {
            (Self::Serve | Self::Failure | Self::Silence, _) => announce.numwant,
            (Self::Short, Event::Started) => {
                let wanted = announce.numwant.unwrap_or(PEERS_AT_START);
                Some(wanted.min(PEERS_AT_START))
            }
            (Self::Short, Event::None | Event::Stopped | Event::Completed | Event::Paused) => Some(0),
        }
    }

    /// Whether an announce with this event is answered with the longest interval.
    #[must_use]
    pub fn postpones(self, event: Event) -> bool {
        self == Self::Short && event != Event::Started
    }

    /// The same for requests of `class`, which may have no answer of this kind.
    pub(super) const fn on(self, class: Class) -> Self {
        match (self, class) {
            (Self::Short | Self::Failure, Class::Connection) => {
                // Its requests have answers that say more.
                Self::Serve
            }
            // Up to once more than its limit: a client that is told inside when to come back does so later than one that is not.
            (Self::Short, Class::Handshake) => Self::Serve,
            (Self::Failure, Class::Handshake) => Self::Silence,
            (Self::Short, Class::Scrape | Class::FullScrape | Class::BadRequest | Class::Page) => {
                Self::Failure
            }
            // An answer to an unproven sender may go to somebody else.
            (Self::Short | Self::Failure, Class::Connect | Class::WrongId | Class::Malformed) => {
                Self::Silence
            }
            (Self::Short, Class::Announce)
            | (
                Self::Failure,
                Class::Announce | Class::Scrape | Class::FullScrape | Class::BadRequest | Class::Page,
            )
            | (Self::Serve | Self::Silence, _) => self,
        }
    }
}

/// Peers for a session that begins while its source is over its limit: enough to meet the others through them (BEP 11).
const PEERS_AT_START: u32 = 8;
/// What a client is told whose source is over its limit.
pub(crate) const TOO_MANY: &str = "too many requests from your network: come back later";
