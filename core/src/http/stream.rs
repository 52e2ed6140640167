//! Answers that are written piece by piece.

use super::full_scrape::FullScrape;
use super::page::PageStream;
use super::progress::Progress;
use crate::{Instant, Worker};

/// An answer on its way.
#[derive(Debug)]
pub(super) enum Stream {
    /// To a scrape of all torrents.
    FullScrape(FullScrape),
    /// A page.
    Page(PageStream),
}

impl Stream {
    /// Whether the connection stays open afterwards.
    pub(super) const fn keep_alive(&self) -> bool {
        match self {
            Self::FullScrape(scrape) => scrape.keep_alive(),
            Self::Page(page) => page.keep_alive(),
        }
    }

    /// Does one bounded step.
    pub(super) fn proceed(&mut self, now: Instant, worker: &Worker, reply: &mut [u8]) -> Progress {
        match self {
            Self::FullScrape(scrape) => scrape.proceed(now, worker, reply),
            Self::Page(page) => page.proceed(reply),
        }
    }

    /// When the piece under way must be written at the latest, whatever others are allowed.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::FullScrape(scrape) => scrape.deadline(),
            Self::Page(_) => None,
        }
    }
}
