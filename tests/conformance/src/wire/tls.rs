//! TLS to a target: the handshake, and sockets that are written to in pieces.

use crate::plain;
use etracker_tls_client::explain_io;
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// The first bytes that a client of the configuration sends: its hello.
pub(crate) fn hello(config: ClientConfig, name: ServerName<'static>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let begun = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string());
    begun?.write_tls(&mut bytes).map_err(|error| plain(&error))?;
    Ok(bytes)
}

/// Completes a handshake within `limit`, or says why not.
pub(crate) fn shake_hands(
    connection: &mut ClientConnection,
    wire: &mut Wire<'_>,
    limit: Duration,
) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    let late = || "the handshake is not complete in time".to_owned();
    while connection.is_handshaking() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        let _ = wire.stream.set_read_timeout(Some(left));
        let done = if connection.wants_write() {
            connection.write_tls(wire).map(drop)
        } else {
            connection.read_tls(wire).and_then(|len| {
                if len == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                connection
                    .process_new_packets()
                    .map_err(io::Error::other)
                    .map(drop)
            })
        };
        match done {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(late());
            }
            Err(error) => return Err(explain_io(&error)),
            Ok(()) => {}
        }
    }
    // The client's last message, which the tracker waits for.
    while connection.wants_write() {
        connection.write_tls(wire).map_err(|error| explain_io(&error))?;
    }
    Ok(())
}

/// A socket that is written to in pieces.
#[derive(Debug)]
pub(crate) struct Wire<'a> {
    stream: &'a TcpStream,
    piece_max: usize,
}

impl<'a> Wire<'a> {
    pub(crate) const fn new(stream: &'a TcpStream, piece_max: usize) -> Self {
        Self { stream, piece_max }
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.piece_max);
        let written = self.stream.write(&bytes[..len])?;
        if len < bytes.len() {
            thread::sleep(PIECE_PAUSE);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// What keeps pieces apart on their way.
const PIECE_PAUSE: Duration = Duration::from_micros(200);
