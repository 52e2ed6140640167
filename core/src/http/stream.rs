//! Answers in pieces.

use super::full_scrape::FullScrape;
use super::page::PageStream;
use super::progress::Progress;
use crate::{Instant, Worker};

/// An answer that is being written.
#[derive(Debug)]
pub(super) enum Stream {
    /// The answer to a full scrape.
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
    pub(super) fn step(&mut self, now: Instant, worker: &Worker, reply: &mut [u8]) -> Progress {
        match self {
            Self::FullScrape(scrape) => scrape.step(now, worker, reply),
            Self::Page(page) => page.step(reply),
        }
    }

    /// When the current piece must be written. The deadline of the connection holds as well.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::FullScrape(scrape) => scrape.deadline(),
            // A page is short: the deadline of the connection suffices.
            Self::Page(_) => None,
        }
    }
}
