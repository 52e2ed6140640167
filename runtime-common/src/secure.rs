//! What encrypts connections.

use std::fmt::Debug;
use std::net::IpAddr;
use std::rc::Rc;

use crate::{Handshakes, Stream};

/// TLS, as workers use it. All workers share one.
pub trait Secure: Debug + Send + Sync {
    /// The stream of what a client says within `stream`, which `peer` opened.
    fn secure(
        &self,
        stream: Box<dyn Stream>,
        peer: IpAddr,
        port: TlsPort,
        handshakes: Rc<Handshakes>,
    ) -> Box<dyn Stream>;
}

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsPort {
    /// TLS alone. Who speaks HTTP there is told so.
    Only,
    /// TLS and plain HTTP: the first byte tells.
    Shared,
}
