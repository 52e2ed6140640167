//! Datagrams of proven and unproven senders.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::announce::Family;
use crate::udp::packet::Response;
use crate::udp::{Datagram, DropReason, Front, REPLY_MAX, Verdict, peers_max};
use crate::{Config, Worker};

use super::{NOW, address, take, worker};

/// Datagrams, each after a byte that selects the sender and one with its length. Nothing panics, the reply fits, an unproven sender
/// gets no more bytes than it sent, and a reply has the transaction id of its request.
pub fn udp_datagram(mut data: &[u8]) {
    let config = Config::default()
        .with_peers_per_response_max(1000)
        .unwrap_or_default();
    let mut worker = worker(config);
    let front = Front::new(worker.tracker().seed());
    while !data.is_empty() {
        let sender = take(&mut data);
        let len = usize::from(take(&mut data)) * 8 + usize::from(sender >> 5);
        let (payload, rest) = data.split_at_checked(len).unwrap_or((data, &[]));
        data = rest;
        one(&front, &mut worker, sender, payload);
    }
}

fn one(front: &Front, worker: &mut Worker, sender: u8, payload: &[u8]) {
    let v6 = sender & 1 != 0;
    let proven = sender & 2 != 0;
    let port = if sender & 28 == 28 { 0 } else { 6881 };
    let sender = SocketAddr::new(address(sender >> 2 & 7, v6), port);
    let mut payload = Vec::from(payload);
    if let Some(id) = payload.first_chunk_mut().filter(|_| proven) {
        *id = front.connection_ids().make(NOW, sender.ip()).to_be_bytes();
    }
    let mut reply = [0xaa; REPLY_MAX];
    let mut batch = [Datagram::new(sender, &payload, &mut reply)];
    let handled = front.handle(worker, NOW, &mut batch);
    assert!(
        handled
            .dropped()
            .all(|(_, reason)| reason != DropReason::Unhandled),
        "a datagram is left out"
    );
    let [datagram] = batch;
    let Verdict::Reply(len) = datagram.verdict() else {
        return;
    };
    let reply = reply.get(..len);
    assert!(reply.is_some(), "the reply is longer than its buffer");
    let reply = reply.unwrap_or_default();
    assert!(port != 0, "port 0 is answered");
    assert!(
        proven || len <= payload.len(),
        "the unproven get more than they send"
    );
    assert!(
        reply.get(4..8) == payload.get(12..16),
        "another transaction is answered"
    );
    let response = Response::decode(reply);
    assert!(response.is_some(), "the reply is no response");
    if let Some(Response::Announce(announced, peers)) = response {
        let stride = Family::of(sender.ip()).compact_len();
        assert!(peers.len() % stride == 0, "half a peer is sent");
        assert!(
            peers.len() / stride <= peers_max(Family::of(sender.ip())),
            "too many peers are sent"
        );
        assert!(announced.interval_secs > 0, "an interval of 0");
    }
}
