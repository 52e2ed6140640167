//! Datagrams one at a time, for systems without calls for batches.
//!
//! Std can neither tell the address that a datagram was sent to nor choose that of a reply: on a host with several
//! addresses a wildcard socket answers from the one that the route to the client begins with. Bind to addresses there.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use etracker_core::udp::{BATCH_MAX, Datagram, REPLY_MAX, Silence, Verdict};

use crate::udp::{Datagrams, Mechanism, PAYLOAD_MAX, Sent, error_number};

/// Batches by `recv_from` and `send_to`.
#[derive(Debug)]
pub(crate) struct Frames {
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

impl Mechanism for Frames {
    fn new() -> Self {
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

    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.used = 0;
        self.queue.clear();
        for frame in &mut self.frames {
            match socket.recv_from(&mut frame.payload) {
                Ok((len, sender)) => (frame.len, frame.sender) = (len, sender),
                Err(_) if self.used > 0 => break,
                Err(error) => return Err(error),
            }
            self.used += 1;
        }
        Ok(self.used)
    }

    fn datagrams(&mut self) -> Datagrams<'_> {
        let received = self.frames.iter_mut().take(self.used);
        received
            .map(|frame| Datagram {
                sender: SocketAddr::new(frame.sender.ip().to_canonical(), frame.sender.port()),
                payload: &frame.payload[..frame.len],
                reply: &mut frame.reply,
                verdict: Verdict::Silent(Silence::Unhandled),
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
