//! The protocols that workers serve.

use std::sync::Arc;

use etracker_core::{Config, Seed, http, udp};

use crate::Prefetcher;

/// The UDP protocol as workers drive it.
pub type UdpFront = udp::Front<Prefetcher>;

/// The protocols in front of a tracker, which all its workers share.
#[derive(Clone, Debug)]
pub struct Fronts {
    /// UDP, with the connection ids that all workers accept.
    pub udp: Arc<UdpFront>,
    /// HTTP, with its pages.
    pub http: Arc<http::Front>,
}

impl Fronts {
    /// Fronts without pages, whose connection ids come from `seed`.
    #[must_use]
    pub fn new(seed: &Seed, config: &Config) -> Self {
        Self {
            udp: Arc::new(udp::Front::new(seed).with_prefetch(Prefetcher)),
            http: Arc::new(http::Front::new(config)),
        }
    }

    /// The same fronts, with these pages.
    #[must_use]
    pub fn with_pages(mut self, config: &Config, pages: Arc<dyn http::Pages>) -> Self {
        self.http = Arc::new(http::Front::new(config).with_pages(pages));
        self
    }
}
