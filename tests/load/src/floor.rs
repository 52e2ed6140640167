//! The upper limit of a tracker with sockets: a server that answers each datagram at once, from the datagram alone.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use etracker_core::udp::packet::{ANNOUNCE, AnnounceRequest, AnnounceResponse, CONNECT, RequestHead, SCRAPE};
use socket2::{Domain, Socket, Type};

use crate::sys::{self, BATCH_MAX, FRAME_LEN, Frame};

/// Answers every datagram by as many bytes as a tracker would that knows all peers that are wanted.
pub(crate) fn serve(address: SocketAddr) -> io::Result<Infallible> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&address.into())?;
    let socket: UdpSocket = socket.into();
    let peers = peers();
    let mut frames: Vec<Frame> = (0..BATCH_MAX).map(|_| Frame::new()).collect();
    loop {
        let received = match sys::receive_from(&socket, &mut frames) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            received => received?,
        };
        for frame in &mut frames[..received] {
            let len = frame.payload().len();
            frame.write(|bytes| answer(bytes, len, &peers));
        }
        // A reply that cannot be sent is dropped, as by a tracker.
        drop(sys::send(&socket, &mut frames[..received]));
    }
}

/// Makes the request of `len` bytes its own answer, and gives the answer's length.
fn answer(bytes: &mut [u8; FRAME_LEN], len: usize, peers: &[u8; PEER_LEN * PEERS_MAX]) -> usize {
    let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let action = number(8);
    let wanted = (number(WANTED_AT) as usize).min(PEERS_MAX);
    // The action and the transaction id; what follows in an answer to a connect is any number.
    bytes.copy_within(8..16, 0);
    match action {
        CONNECT => RequestHead::LEN,
        SCRAPE => 8 + len.saturating_sub(RequestHead::LEN) / 20 * 12,
        ANNOUNCE => {
            // An interval, one leecher, no seeders.
            bytes[8..AnnounceResponse::LEN].copy_from_slice(&[0, 0, 7, 8, 0, 0, 0, 1, 0, 0, 0, 0]);
            let compact = PEER_LEN * wanted;
            bytes[AnnounceResponse::LEN..][..compact].copy_from_slice(&peers[..compact]);
            AnnounceResponse::LEN + compact
        }
        _ => 0,
    }
}

/// Different peers that there might be.
fn peers() -> [u8; PEER_LEN * PEERS_MAX] {
    let mut peers = [0; PEER_LEN * PEERS_MAX];
    for (peer, port) in peers.chunks_exact_mut(PEER_LEN).zip(10_000_u16..) {
        let [high, low] = port.to_be_bytes();
        peer.copy_from_slice(&[127, 1, 0, 1, high, low]);
    }
    peers
}

const PEER_LEN: usize = 6;
/// What fits an unfragmented datagram over IPv4.
const PEERS_MAX: usize = 242;
/// Where an announce says how many peers are wanted.
const WANTED_AT: usize = AnnounceRequest::LEN - 6;
const RECEIVE_BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use etracker_core::udp::packet::{Response, ScrapeRequest};

    use super::*;

    fn answered(request: &[u8]) -> Vec<u8> {
        let mut bytes = [0; FRAME_LEN];
        bytes[..request.len()].copy_from_slice(request);
        let len = answer(&mut bytes, request.len(), &peers());
        bytes[..len].to_vec()
    }

    #[test]
    fn answers_have_the_form_and_the_length_of_a_trackers() {
        let connect = answered(&RequestHead::connect(7).encode());
        assert!(
            matches!(Response::decode(&connect), Some(Response::Connect(answer)) if answer.transaction_id == 7)
        );

        let mut announce = [0; AnnounceRequest::LEN];
        (announce[11], announce[15], announce[95]) = (1, 8, 3);
        let announce = answered(&announce);
        let Some(Response::Announce(answer, peers)) = Response::decode(&announce) else {
            panic!("{announce:?}")
        };
        assert_eq!((answer.transaction_id, answer.leechers, peers.len()), (8, 1, 18));

        let request = ScrapeRequest {
            connection_id: 1,
            transaction_id: 9,
            info_hashes: &[[1; 20]; 3],
        };
        let mut scrape = [0; ScrapeRequest::LEN_MAX];
        let len = request.encode(&mut scrape);
        let scrape = answered(&scrape[..len]);
        assert!(
            matches!(Response::decode(&scrape), Some(Response::Scrape(answer)) if answer.counts().count() == 3)
        );
    }
}
