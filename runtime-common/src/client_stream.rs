//! The streams of a worker's connections: as they come, or encrypted.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::proxied::Proxied;
use crate::{Handshakes, Secure, Stream, TlsPort};

/// What a client says, whatever carries it. A connection that is not encrypted is held in place: it pays a comparison for the others.
pub(crate) enum ClientStream<S> {
    Plain(Proxied<S>),
    Secured(Box<dyn Stream>),
}

/// How the connections of a port are encrypted.
#[derive(Debug)]
pub(crate) struct Encryption {
    pub(crate) tls: Arc<dyn Secure>,
    pub(crate) port: TlsPort,
    pub(crate) handshakes: Rc<Handshakes>,
}

impl<S: Stream> ClientStream<S> {
    pub(crate) fn new(stream: Proxied<S>, peer: IpAddr, encryption: Option<&Encryption>) -> Self {
        match encryption {
            None => Self::Plain(stream),
            Some(Encryption {
                tls,
                port,
                handshakes,
            }) => Self::Secured(tls.secure(Box::new(stream), peer, *port, Rc::clone(handshakes))),
        }
    }
}

impl<S: Stream> Stream for ClientStream<S> {
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => stream.poll_read(cx, buffer),
            Self::Secured(stream) => stream.poll_read(cx, buffer),
        }
    }

    #[inline]
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => stream.poll_write(cx, bytes),
            Self::Secured(stream) => stream.poll_write(cx, bytes),
        }
    }

    #[inline]
    fn end_with_write(&mut self) {
        match self {
            Self::Plain(stream) => stream.end_with_write(),
            Self::Secured(stream) => stream.end_with_write(),
        }
    }

    #[inline]
    fn handshake_source(&self) -> Option<IpAddr> {
        match self {
            Self::Plain(_) => None,
            Self::Secured(stream) => stream.handshake_source(),
        }
    }

    #[inline]
    fn permit_handshake(&mut self, permitted: bool) {
        match self {
            Self::Plain(_) => {}
            Self::Secured(stream) => stream.permit_handshake(permitted),
        }
    }

    #[inline]
    fn take_client(&mut self) -> Option<SocketAddr> {
        match self {
            Self::Plain(stream) => stream.take_client(),
            Self::Secured(stream) => stream.take_client(),
        }
    }

    fn look(&self) {
        match self {
            Self::Plain(stream) => stream.look(),
            Self::Secured(stream) => stream.look(),
        }
    }

    fn give_way(&self, cx: &mut Context<'_>) {
        match self {
            Self::Plain(stream) => stream.give_way(cx),
            Self::Secured(stream) => stream.give_way(cx),
        }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.try_read(buffer),
            Self::Secured(stream) => stream.try_read(buffer),
        }
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shut_down_write(),
            Self::Secured(stream) => stream.shut_down_write(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_makes_plain_connections_no_larger() {
        // As the runtimes' streams are: a pointer, and a descriptor.
        struct OfRuntime {
            _registered: Rc<()>,
            _descriptor: std::num::NonZeroU32,
        }
        assert_eq!(
            size_of::<ClientStream<OfRuntime>>(),
            size_of::<Proxied<OfRuntime>>()
        );
    }
}
