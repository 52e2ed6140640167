//! Datagrams one at a time, for systems without calls for batches.
//!
//! Std can neither tell the address that a datagram was sent to nor choose that of a reply: on a host with several
//! addresses a wildcard socket answers from the one that the route to the client begins with. Bind to addresses there.
#![cfg_attr(
    target_os = "linux",
    expect(unreachable_pub, reason = "only tests have it there")
)]

use std::io;
use std::net::{SocketAddr, UdpSocket};

use etracker_core::udp::{BATCH_MAX, Datagram, REPLY_MAX};

use crate::accept::SocketError;
use crate::datagram_io::{DatagramIo, Datagrams, PAYLOAD_MAX, Sent, error_number};

/// Room for [`BATCH_MAX`] datagrams and their replies, set up once and used for all sockets of a worker. Datagrams are
/// received by `recv_from` and sent by `send_to`, one at a time.
#[derive(Debug)]
pub struct UdpBatch {
    frames: Vec<Frame>,
    used: usize,
    /// Places in the batch and lengths.
    queue: Vec<(usize, usize)>,
}

#[derive(Debug)]
struct Frame {
    sender: SocketAddr,
    len: usize,
    payload: [u8; PAYLOAD_MAX],
    reply: [u8; REPLY_MAX],
}

impl UdpBatch {
    /// Room that is empty.
    #[must_use]
    pub fn new() -> Self {
        let frame = || Frame {
            sender: SocketAddr::from(([0; 16], 0)),
            len: 0,
            payload: [0; PAYLOAD_MAX],
            reply: [0; REPLY_MAX],
        };
        Self {
            frames: std::iter::repeat_with(frame).take(BATCH_MAX).collect(),
            used: 0,
            queue: Vec::with_capacity(BATCH_MAX),
        }
    }
}

impl Default for UdpBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl DatagramIo for UdpBatch {
    type Socket = UdpSocket;

    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.used = 0;
        self.queue.clear();
        for _ in 0..BATCH_MAX {
            let frame = &mut self.frames[self.used];
            match socket.recv_from(&mut frame.payload) {
                Ok((len, sender)) => {
                    (frame.len, frame.sender) = (len, sender);
                    self.used += 1;
                }
                Err(error) if is_of_one_datagram(&error) => {}
                Err(_) if self.used > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.used)
    }

    fn datagrams(&mut self) -> Datagrams<'_> {
        let received = self.frames.iter_mut().take(self.used);
        received
            .map(|frame| {
                let sender = SocketAddr::new(frame.sender.ip().to_canonical(), frame.sender.port());
                Datagram::new(sender, &frame.payload[..frame.len], &mut frame.reply)
            })
            .collect()
    }

    fn queue(&mut self, slot: usize, len: usize) {
        self.queue.push((slot, len));
    }

    fn send(&mut self, socket: &UdpSocket) -> Sent {
        let mut sent = Sent::default();
        for (index, &(slot, len)) in self.queue.iter().enumerate() {
            let frame = &self.frames[slot];
            match socket.send_to(&frame.reply[..len], frame.sender) {
                Ok(bytes) => {
                    sent.datagrams += 1;
                    sent.bytes += bytes;
                }
                // The socket is full. Who is not answered asks again.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let rest = (index..self.queue.len()).map(|_| error_number(&error));
                    sent.failed.extend(rest);
                    break;
                }
                Err(error) => sent.failed.push(error_number(&error)),
            }
        }
        sent
    }
}

/// Whether the next datagram can be received nevertheless. Windows reports here that an earlier reply was not taken, and
/// that a datagram is longer than the room for it, which then is lost.
fn is_of_one_datagram(error: &io::Error) -> bool {
    const WSAEMSGSIZE: i32 = 10040;
    let is_too_long = cfg!(windows) && error.raw_os_error() == Some(WSAEMSGSIZE);
    is_too_long || SocketError::of(error) == SocketError::Client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_reply_that_is_not_taken_does_not_keep_back_what_is_received_next() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = gone.local_addr().unwrap();
        drop(gone);
        // One that is connected is told, as every socket is on Windows.
        server.connect(at).unwrap();
        server.send(b"reply").unwrap();
        let client = UdpSocket::bind(at).unwrap();
        client.send_to(b"x", server.local_addr().unwrap()).unwrap();
        assert_eq!(UdpBatch::new().receive(&server).unwrap(), 1);
    }
}
