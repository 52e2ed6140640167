//! The HTTP protocol in front of a tracker: what all connections share.

use alloc::sync::Arc;
use core::time::Duration;

use super::full_scrape::FullScrapes;
use super::page::Pages;
use crate::Config;

/// The HTTP protocol. All workers share one: its pages, and the places for readers of full scrapes.
#[derive(Debug)]
pub struct Front {
    timeout: Duration,
    pages: Option<Arc<dyn Pages>>,
    full_scrapes: Arc<FullScrapes>,
}

impl Front {
    /// A front without pages.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            timeout: config.socket_timeout(),
            pages: None,
            full_scrapes: Arc::default(),
        }
    }

    /// The same front, with pages at the paths that the protocol leaves free.
    #[must_use]
    pub fn with_pages(mut self, pages: Arc<dyn Pages>) -> Self {
        self.pages = Some(pages);
        self
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn pages(&self) -> Option<&dyn Pages> {
        self.pages.as_deref()
    }

    pub(super) const fn full_scrapes(&self) -> &Arc<FullScrapes> {
        &self.full_scrapes
    }
}
