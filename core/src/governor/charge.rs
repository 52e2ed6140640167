//! Classes of traffic, and what each costs.

/// What a source did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Class {
    /// It asked for a connection id over UDP.
    Connect,
    /// It sent a request over UDP with a connection id that is not its own, or too old.
    WrongId,
    /// It sent a datagram that is no request.
    Malformed,
    /// It announced.
    Announce,
    /// It scraped torrents that it named.
    Scrape,
    /// It scraped all torrents.
    FullScrape,
    /// It opened a TCP connection.
    Connection,
    /// It began a handshake of TLS.
    Handshake,
    /// It sent a request over HTTP that cannot be read.
    BadRequest,
    /// It asked for a page.
    Page,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 10] = [
        Self::Connect,
        Self::WrongId,
        Self::Malformed,
        Self::Announce,
        Self::Scrape,
        Self::FullScrape,
        Self::Connection,
        Self::Handshake,
        Self::BadRequest,
        Self::Page,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::WrongId => "wrong_id",
            Self::Malformed => "malformed",
            Self::Announce => "announce",
            Self::Scrape => "scrape",
            Self::FullScrape => "full_scrape",
            Self::Connection => "connection",
            Self::Handshake => "handshake",
            Self::BadRequest => "bad_request",
            Self::Page => "page",
        }
    }

    /// Whether the sender has shown that it receives what is sent to its address.
    #[must_use]
    pub const fn is_proven(self) -> bool {
        !matches!(self, Self::Connect | Self::WrongId | Self::Malformed)
    }

    /// The price, in tenths of an announce.
    pub(crate) const fn tenths(self) -> u32 {
        match self {
            Self::Connect | Self::Announce | Self::Scrape => 10,
            // Clients that keep an id for too long are honest, and retry seldom.
            Self::WrongId => 40,
            Self::Malformed | Self::BadRequest => 80,
            // Each step of it takes as long as some announces; twenty at once, and one in two seconds by default.
            Self::FullScrape => 10_000,
            // The system calls for a connection, beside those of its requests.
            Self::Connection => 20,
            // It takes as long as sixty announces over UDP, or as twenty where a session is resumed, which nobody knows before.
            Self::Handshake => 200,
            // Pages are shared by their readers for a second.
            Self::Page => 50,
        }
    }
}

/// What a request is judged by: its class, and the price in tenths of an announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    pub(crate) class: Class,
    pub(crate) tenths: u32,
}

impl From<Class> for Charge {
    fn from(class: Class) -> Self {
        Self {
            class,
            tenths: class.tenths(),
        }
    }
}

impl Charge {
    /// A scrape of so many torrents: one announce, and a tenth for each of them.
    #[must_use]
    pub fn scrape(torrents: usize) -> Self {
        let more = u32::try_from(torrents).unwrap_or(u32::MAX);
        Self {
            class: Class::Scrape,
            tenths: Class::Scrape.tenths().saturating_add(more),
        }
    }
}
