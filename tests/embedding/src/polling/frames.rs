//! Datagrams that are answered where they lie, as those of a ring shared with the kernel would be.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use etracker_core::udp::{BATCH_MAX, Datagram};
use etracker_runtime_common::{DatagramIo, Datagrams, Sent};

/// Room for a batch: one buffer for each request and its reply.
pub(super) struct Frames {
    frames: Vec<Frame>,
    received: usize,
    /// Places in the batch, and lengths of replies.
    queue: Vec<(usize, usize)>,
}

struct Frame {
    sender: SocketAddr,
    len: usize,
    buffer: [u8; 2048],
}

impl Frames {
    pub(super) fn new() -> Self {
        let frame = || Frame {
            sender: SocketAddr::from(([0; 4], 0)),
            len: 0,
            buffer: [0; 2048],
        };
        Self {
            frames: std::iter::repeat_with(frame).take(BATCH_MAX).collect(),
            received: 0,
            queue: Vec::new(),
        }
    }
}

impl DatagramIo for Frames {
    type Socket = UdpSocket;

    fn system_socket(socket: &UdpSocket) -> Option<&UdpSocket> {
        Some(socket)
    }

    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.received = 0;
        self.queue.clear();
        for frame in &mut self.frames {
            match socket.recv_from(&mut frame.buffer) {
                Ok((len, sender)) => (frame.len, frame.sender) = (len, sender),
                Err(_) if self.received > 0 => break,
                Err(error) => return Err(error),
            }
            self.received += 1;
        }
        Ok(self.received)
    }

    fn datagrams(&mut self) -> Datagrams<'_> {
        let received = self.frames.iter_mut().take(self.received);
        received
            .map(|frame| Datagram::in_place(frame.sender, &mut frame.buffer, frame.len))
            .collect()
    }

    fn queue(&mut self, place: usize, len: usize) {
        self.queue.push((place, len));
    }

    fn send(&mut self, socket: &UdpSocket) -> Sent {
        let mut sent = Sent::default();
        for &(place, len) in &self.queue {
            let frame = &self.frames[place];
            match socket.send_to(&frame.buffer[..len], frame.sender) {
                Ok(bytes) => {
                    sent.datagrams += 1;
                    sent.bytes += bytes;
                }
                Err(error) => sent.failed.push(error.raw_os_error().unwrap_or_default()),
            }
        }
        sent
    }
}
