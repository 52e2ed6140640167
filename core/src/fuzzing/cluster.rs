//! Messages of a cluster: arbitrary ones, and arbitrary bodies under a valid MAC.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::cluster::{
    ClusterName, FORMAT, Header, Keys, Kind, MESSAGE_MAX, Node, NodeId, Rejection, Secret, Secrets, Settings,
};
use crate::prefetch::NoPrefetch;
use crate::{Config, Instant, Seed, Tracker};

use super::{NOW, take};

/// Messages, each after its length in two bytes and a byte that says what is made of it: the message itself, or the body of one of
/// a kind, from one of four nodes, with a clock that is near or far. Nothing panics; what is rejected is counted once and changes
/// no swarm; nothing for all is accepted twice; and what a node sends is what another one opens.
pub fn cluster_batch(mut data: &[u8]) {
    let (name, secrets) = (
        ClusterName::nearest("fuzzing"),
        Secrets::new(Secret::new([1; 32])),
    );
    let keys = Keys::new(&name, &secrets);
    let config = Config::default().with_cluster(&secrets);
    let tracker = Arc::new(Tracker::new(config, Seed::new([1; 32]), NOW));
    let settings = Settings {
        cluster: name,
        node: ClusterName::nearest("here"),
        version: "0".into(),
        secrets,
        id: NodeId(OWN.into()),
    };
    let Some(mut node) = Node::new(NOW, settings, Arc::clone(&tracker), NoPrefetch) else {
        return;
    };
    node.handle_connected(NOW);
    let (mut now, mut sequence) = (NOW, 0);
    while let Some((len, rest)) = data.split_first_chunk() {
        data = rest;
        let what = take(&mut data);
        let len = usize::from(u16::from_le_bytes(*len)) % (BODY_MAX + 1);
        let (body, rest) = data.split_at_checked(len).unwrap_or((data, &[]));
        data = rest;
        now = now.saturating_add(Duration::from_millis(u64::from(what) * 10));
        let mut message = body.to_vec();
        let kind = KINDS.get(usize::from(what % 8)).copied();
        if let Some(kind) = kind {
            sequence += 1;
            let header = Header {
                format: FORMAT,
                reads: FORMAT,
                kind,
                node: NodeId((what / 8 % 4).into()),
                sequence,
                clock: now.saturating_add(Duration::from_secs(u64::from(what / 32) * 20)),
            };
            keys.seal(&header, &mut message, |out| out.extend(body));
        }
        // What seems to be the node's own is ignored, however often it comes.
        let counts = what / 8 % 4 != OWN;
        hand_over(&mut node, now, &message, counts && kind.is_some_and(is_for_all));
        node.handle_timeout(now);
        send(&mut node, now, &keys);
    }
}

fn hand_over(node: &mut Node<NoPrefetch>, now: Instant, message: &[u8], for_all: bool) {
    let count = |node: &Node<NoPrefetch>| node.figures().rejected.iter().sum::<u64>();
    let (totals, rejected) = (node.tracker().totals(), count(node));
    match node.handle_message(now, message) {
        Err(_) => {
            assert!(
                node.tracker().totals() == totals,
                "a rejected message has changed swarms"
            );
            assert!(count(node) == rejected + 1, "a rejected message is not counted");
        }
        Ok(()) if for_all => {
            let again = node.handle_message(now, message);
            assert!(again == Err(Rejection::Replay), "a message is accepted twice");
        }
        Ok(()) => {}
    }
}

/// Takes what the node has to send.
fn send(node: &mut Node<NoPrefetch>, now: Instant, keys: &Keys) {
    let mut message = Vec::new();
    for _ in 0..MESSAGES_MAX {
        if node.poll_transmit(now, &mut message).is_none() {
            return;
        }
        assert!(message.len() <= MESSAGE_MAX, "a message is too long");
        assert!(keys.open(&message).is_ok(), "a message cannot be opened");
    }
    // Pieces of a snapshot are limited for each tick, and all else by what was asked.
    assert!(
        node.poll_transmit(now, &mut message).is_none(),
        "a node goes on sending"
    );
}

const KINDS: [Kind; 6] = [
    Kind::Batch,
    Kind::Heartbeat,
    Kind::Ask,
    Kind::Offer,
    Kind::Pull,
    Kind::Piece,
];

const fn is_for_all(kind: Kind) -> bool {
    matches!(kind, Kind::Batch | Kind::Heartbeat | Kind::Ask)
}

/// The number of the node.
const OWN: u8 = 1;
/// Bytes of a body at most, so that an input holds several.
const BODY_MAX: usize = 4096;
/// Messages that a node may have to send after one that it received.
const MESSAGES_MAX: usize = 100;
