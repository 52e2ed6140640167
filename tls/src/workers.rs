//! How workers encrypt connections.

use std::net::IpAddr;
use std::rc::Rc;

use etracker_runtime_common::{Handshakes, Secure, Stream, TlsPort};

use crate::{Certificates, Secured};

impl Secure for Certificates {
    fn secure(
        &self,
        stream: Box<dyn Stream>,
        peer: IpAddr,
        port: TlsPort,
        handshakes: Rc<Handshakes>,
    ) -> Box<dyn Stream> {
        Box::new(Secured::new(self, stream, peer, port, handshakes))
    }
}
