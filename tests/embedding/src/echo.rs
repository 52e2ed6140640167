//! A protocol over UDP: what comes is sent back.

use etracker_core::udp::{Datagram, DropReason, Handled};
use etracker_core::{Instant, Worker};
use etracker_runtime_common::{DatagramFront, Protocol, Transport};

/// The protocol that sockets are opened for.
pub const ECHO: Protocol = Protocol::Other("ECHO", Transport::Udp);

/// Sends every datagram back to its sender, but for empty ones.
#[derive(Clone, Copy, Debug)]
pub struct Echo;

impl DatagramFront for Echo {
    fn handle<'b, 'a>(&self, _: &mut Worker, _: Instant, batch: &'b mut [Datagram<'a>]) -> Handled<'b, 'a> {
        for datagram in &mut *batch {
            if datagram.is_empty() {
                datagram.refuse(DropReason::Malformed);
                continue;
            }
            // The reply buffer may be where the request lies.
            let payload = datagram.payload().to_vec();
            let reply = datagram.reply_buffer();
            let len = payload.len().min(reply.len());
            reply[..len].copy_from_slice(&payload[..len]);
            datagram.answer(len);
        }
        Handled::new(batch)
    }
}
