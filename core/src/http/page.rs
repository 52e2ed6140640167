//! Pages that are made outside of the core: statistics and the like.

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
    /// It is called between requests of others: it must be quick, and never wait for anything but a short lock.
    fn find(&self, now: Instant, request: &Request<'_>, reader: IpAddr, tracker: &Tracker) -> Found;
}

/// What there is at a path.
#[derive(Clone, Debug)]
pub enum Found {
    /// A page.
    Page(Page),
    /// Nothing for this reader.
    Nothing,
    /// A page, but not for a request like this one: this page, answered with status 403, says why.
    Forbidden(Page),
    /// A page, but this reader asked for pages too often within the running second.
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

/// A page on its way.
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
    pub(super) fn proceed(&mut self, reply: &mut [u8]) -> Progress {
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

/// Bytes of a page that are written at a time: the copy takes a microsecond or two.
const PIECE_MAX: usize = 32 * 1024;
