//! Pages made outside the core, such as statistics.

use alloc::sync::Arc;
use core::fmt;
use core::net::IpAddr;

use super::head::{self, Framing, Status};
use super::progress::Progress;
use super::request::Request;
use crate::{Instant, Tracker};

/// Makes pages for people and machines that watch the tracker.
pub trait Pages: fmt::Debug + Send + Sync {
    /// Looks for the page that `request` asks for. `reader` is who asks, behind a trusted proxy too.
    ///
    /// It runs between requests of other clients: it must be quick, and wait for nothing but a lock that is held briefly.
    fn find(&self, now: Instant, request: &Request<'_>, reader: IpAddr, tracker: &Tracker) -> Found;
}

/// The result of looking for a page.
#[derive(Clone, Debug)]
pub enum Found {
    /// A page.
    Page(Page),
    /// No page for this reader.
    Nothing,
    /// The request is refused with status 403 and this page, which says why.
    Forbidden(Page),
    /// The tracker cannot do what the page is about: status 503 with this page, which says why.
    Unavailable(Page),
    /// The reader has used up its pages of this second: status 429.
    Busy,
}

/// A page. Copies share its text.
#[derive(Clone, Debug)]
pub struct Page {
    /// The value of its `Content-Type`: visible ASCII and spaces.
    pub content_type: Arc<str>,
    /// The text.
    pub body: Arc<[u8]>,
}

/// A page that is being written.
#[derive(Debug)]
pub(super) struct PageStream {
    page: Page,
    status: Status,
    framing: Framing,
    /// Bytes of the body that are written; `None` before the head is.
    written: Option<usize>,
}

impl PageStream {
    pub(super) const fn new(page: Page, status: Status, framing: Framing) -> Self {
        Self {
            page,
            status,
            framing,
            written: None,
        }
    }

    /// Whether the connection stays open afterwards.
    pub(super) const fn keep_alive(&self) -> bool {
        self.framing.keep_alive
    }

    /// Writes as much as there is room for, at most [`PIECE_MAX`] bytes.
    pub(super) fn step(&mut self, reply: &mut [u8]) -> Progress {
        self.write(reply).unwrap_or(Progress::Impossible)
    }

    fn write(&mut self, reply: &mut [u8]) -> Option<Progress> {
        let Self {
            page: Page { content_type, body },
            status,
            framing,
            ..
        } = self;
        let (written, head_len) = match self.written {
            Some(written) => (written, 0),
            None => (
                0,
                head::encode_page(*status, *framing, content_type, body.len(), reply)?,
            ),
        };
        let rest = if framing.body { body.get(written..)? } else { &[] };
        let room = reply.get_mut(head_len..)?;
        let len = rest.len().min(room.len()).min(PIECE_MAX);
        if len == 0 && !rest.is_empty() {
            return None;
        }
        room.get_mut(..len)?.copy_from_slice(rest.get(..len)?);
        self.written = Some(written + len);
        let keep_alive = framing.keep_alive;
        Some(if len == rest.len() {
            Progress::Last {
                len: head_len + len,
                keep_alive,
            }
        } else {
            Progress::Piece(head_len + len)
        })
    }
}

/// Bytes of a page written at a time: the copy takes a microsecond or two.
const PIECE_MAX: usize = 32 * 1024;
