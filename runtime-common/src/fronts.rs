//! The protocols that workers serve.

use std::io;
use std::sync::Arc;

use etracker_core::cluster::{Secret, Secrets};
use etracker_core::{Config, Seed, http, udp};

use crate::front::AnyConnectionFront;
use crate::{ConnectionFront, DatagramFront, Prefetcher, Protocol, Secure, TlsPort, UdpFront};

/// The protocols in front of a tracker, which all its workers share.
#[derive(Clone, Debug)]
pub struct Fronts {
    /// UDP, with the connection ids that all workers accept.
    pub udp: Arc<UdpFront>,
    /// HTTP, with its pages.
    pub http: Arc<http::Front>,
    over_datagrams: Vec<(Protocol, Arc<dyn DatagramFront>)>,
    over_connections: Vec<(Protocol, AnyConnectionFront)>,
    tls: Option<Arc<dyn Secure>>,
}

impl Fronts {
    /// Fronts without pages, whose connection ids come from `seed`.
    #[must_use]
    pub fn new(seed: &Seed, config: &Config) -> Self {
        Self::of(udp::Front::new(seed), config)
    }

    /// Fronts without pages, whose connection ids come from the first of the secrets, and which accept those of all of them.
    #[must_use]
    pub fn of_cluster(secrets: &Secrets, config: &Config) -> Self {
        let first = udp::Front::new(&secrets.first().connection_seed());
        let others = secrets.others().iter().map(Secret::connection_seed);
        let udp = others.fold(first, |front, seed| front.accepting(&seed));
        Self::of(udp, config)
    }

    fn of(udp: udp::Front, config: &Config) -> Self {
        Self {
            udp: Arc::new(udp.with_prefetch(Prefetcher)),
            http: Arc::new(http::Front::new(config)),
            over_datagrams: Vec::new(),
            over_connections: Vec::new(),
            tls: None,
        }
    }

    /// The same fronts, with these pages.
    #[must_use]
    pub fn with_pages(mut self, config: &Config, pages: Arc<dyn http::Pages>) -> Self {
        self.http = Arc::new(http::Front::new(config).with_pages(pages));
        self
    }

    /// The same fronts, with what encrypts the connections of [`Protocol::Https`] and [`Protocol::HttpOrHttps`].
    #[must_use]
    pub fn with_tls(mut self, tls: Arc<dyn Secure>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The same fronts, and one more over UDP: that of `protocol`, a [`Protocol::Other`].
    #[must_use]
    pub fn with_datagrams(mut self, protocol: Protocol, front: impl DatagramFront + 'static) -> Self {
        self.over_datagrams.push((protocol, Arc::new(front)));
        self
    }

    /// The same fronts, and one more over TCP: that of `protocol`, a [`Protocol::Other`].
    #[must_use]
    pub fn with_connections(mut self, protocol: Protocol, front: impl ConnectionFront + 'static) -> Self {
        let front = AnyConnectionFront::Other(Arc::new(front));
        self.over_connections.push((protocol, front));
        self
    }

    /// The front over UDP of `protocol`.
    pub(crate) fn over_datagrams(&self, protocol: Protocol) -> io::Result<Arc<dyn DatagramFront>> {
        if protocol == Protocol::Udp {
            let udp: Arc<dyn DatagramFront> = Arc::<UdpFront>::clone(&self.udp);
            return Ok(udp);
        }
        find(&self.over_datagrams, protocol)
    }

    /// The front over TCP of `protocol`.
    pub(crate) fn over_connections(&self, protocol: Protocol) -> io::Result<AnyConnectionFront> {
        match protocol {
            Protocol::Http | Protocol::Https | Protocol::HttpOrHttps => {
                Ok(AnyConnectionFront::Http(Arc::clone(&self.http)))
            }
            Protocol::Udp | Protocol::Other(..) => find(&self.over_connections, protocol),
        }
    }

    /// What encrypts the connections of `protocol`, if they are encrypted.
    pub(crate) fn encryption(&self, protocol: Protocol) -> io::Result<Option<(Arc<dyn Secure>, TlsPort)>> {
        let port = match protocol {
            Protocol::Https => TlsPort::Only,
            Protocol::HttpOrHttps => TlsPort::Shared,
            Protocol::Http | Protocol::Udp | Protocol::Other(..) => return Ok(None),
        };
        let tls = self.tls.as_ref().map(Arc::clone);
        tls.map(|tls| Some((tls, port)))
            .ok_or_else(|| io::Error::other(format!("there are no certificates for {protocol}")))
    }
}

fn find<F: Clone>(fronts: &[(Protocol, F)], protocol: Protocol) -> io::Result<F> {
    let found = fronts.iter().find(|(its, _)| *its == protocol);
    found
        .map(|(_, front)| front.clone())
        .ok_or_else(|| io::Error::other(format!("no front serves {protocol}")))
}
