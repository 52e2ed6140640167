//! TLS to a tracker.

use std::io::{self, Read, Write};
use std::sync::Arc;

pub(crate) use etracker_tls_client::Trust;
use etracker_tls_client::explain_io;
use rustls::pki_types::ServerName;
use rustls::{ALL_VERSIONS, ClientConnection, StreamOwned};

use crate::answer::{Failure, is_timeout};
use crate::timed::Timed;

/// Agrees with the tracker at the other end, which must have a certificate for `host`.
pub(crate) fn secured(
    stream: Timed,
    host: &str,
    trust: &Trust,
) -> Result<StreamOwned<ClientConnection, Timed>, Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::Tls(format!("{host} is no name that a certificate can hold")))?;
    let config = trust.config(ALL_VERSIONS);
    let config = config.map_err(|error| Failure::Tls(error.to_string()))?;
    let connection = ClientConnection::new(Arc::new(config), name);
    let connection = connection.map_err(|error| Failure::Tls(error.to_string()))?;
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        shake_hands(&mut stream).map_err(|error| failure(&error))?;
    }
    Ok(stream)
}

/// One step of the handshake.
fn shake_hands(stream: &mut StreamOwned<ClientConnection, impl Read + Write>) -> io::Result<()> {
    match stream.conn.complete_io(&mut stream.sock) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        done => done.map(drop),
    }
}

/// Why there is no TLS.
fn failure(error: &io::Error) -> Failure {
    if is_timeout(error) {
        return Failure::Tls("it does not answer the handshake".to_owned());
    }
    Failure::Tls(explain_io(error))
}
