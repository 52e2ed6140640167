//! The HTTP tracker protocol (BEP 3, 7, 23, 24, 31, 48).
//!
//! | Path | Answer |
//! |---|---|
//! | `/announce`, `/announce.php` | an announce |
//! | `/scrape`, `/scrape.php` | a scrape; without `info_hash` one of all torrents, if that is allowed |
//! | `/announce/KEY`, `/KEY/announce`, and so for scrapes | the same: the key, as private trackers hand them out, is ignored. Before the name it has 16 to 64 letters, digits, `-` and `_` |
//! | `/` | a line of text for people |
//!
//! Slashes may be doubled and one may end the path; all of it is found under a [prefix](crate::Config::with_path_prefix) too.
//!
//! Refusals have status 200 and a `failure reason`, as clients read no other; so have requests at other paths that name an
//! `info_hash` or end in `announce` or `scrape`. Malformed HTTP is 400, a full scrape that is not allowed 403, any other path
//! 404, a method other than GET and HEAD 405, a slow head 408, a head longer than [`HEAD_MAX`] 413, too many pages in a second
//! 429; their bodies are failures too. No answer repeats bytes of the request.

mod answer;
mod connection;
pub mod forwarded;
mod front;
mod full_scrape;
mod head;
mod page;
mod progress;
pub mod query;
pub mod request;
pub mod response;
mod route;
mod stream;

#[cfg(feature = "fuzzing")]
pub(crate) use answer::LANDING_PAGE;
pub use connection::{Connection, Misuse};
pub use front::Front;
pub use head::{Response, ResponseFault};
pub use page::{Found, Page, Pages};

/// The next step of a connection's driver.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read, and hand the bytes to [`Connection::receive`].
    Read,
    /// Write this many bytes of the reply buffer, all of them, then call [`Connection::respond`].
    Write(usize),
    /// Let others run, then call [`Connection::respond`].
    Again,
    /// Close: at once if the [client is done](Connection::client_is_done); otherwise shut down the writing side and drain the
    /// input for a bounded time first.
    Close,
}

/// Bytes of a reply buffer that holds every answer, or one piece of a streamed one: a thousand IPv6 peers as dictionaries.
pub const REPLY_MAX: usize = 128 * 1024;
/// Bytes of the longest request head served: room for 500 info-hashes or for what a chatty proxy adds.
pub const HEAD_MAX: usize = 16 * 1024;
