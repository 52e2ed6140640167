//! Several trackers that answer as one: the replication of peers, without IO.
//!
//! Each node holds all peers. What an announce changes leaves its node as a [`Record`], in a [`Batch`] to all others; a
//! re-announce leaves only when its peer crosses an epoch of [`EPOCH_MINUTES`]. The last writer wins by the minute of the
//! announce, and a stop wins a tie, so that batches may be lost, delayed, doubled and reordered: the next announces heal what was
//! lost. Nothing is elected, and no node waits for another.
//!
//! Messages are sealed by [`Keys`]: an HMAC over header, body and the cluster's name. They are not encrypted, and hold addresses
//! of people: the bus has to be, beyond loopback.
//!
//! # The face of a bus
//! An adapter moves bytes between a bus and a [`Node`], which does everything else: sequence, replay, membership, heartbeats, joins.
//! It is driven by one thread, as protocols are:
//!
//! ```text
//! let mut node = Node::new(now, settings, tracker);
//! bus.subscribe(node.subjects());                    // what is for all, and for this node alone
//! loop {
//!     node.handle_timeout(now);                      // drains the outboxes of the workers: every 50 ms or 32 KiB
//!     while let Some(recipient) = node.poll_transmit(now, &mut message) {
//!         bus.publish(recipient.subject(&name), &message);
//!     }
//!     match bus.wait(node.poll_timeout()) {
//!         Received(message) => node.handle_message(now, &message),  // a rejection is counted; nothing else is to be done
//!         Connected => node.handle_connected(now),
//!         Disconnected => node.handle_disconnected(now),            // records wait, within a bound
//!         TimedOut => {}
//!     }
//! }
//! ```
//!
//! Early and repeated calls are harmless. The work of each is bounded by one message of [`MESSAGE_MAX`] bytes.
mod apply;
mod batch;
mod envelope;
mod epoch;
mod heartbeat;
mod members;
mod name;
mod node;
mod outbox;
mod recent;
mod record;
mod replication;
mod secret;
#[cfg(test)]
mod tests;
mod transfer;
mod window;

pub use apply::Applied;
pub use batch::{BATCH_LEN, Batch, RECORD_AGE_MAX_MINUTES, RECORDS_MAX};
pub use envelope::{Envelope, FORMAT, Header, Keys, Kind, MESSAGE_MAX, NodeId, Rejection};
pub use heartbeat::{Heartbeat, VERSION_MAX};
pub use members::{CLOCK_DIFFERENCE_MAX, MEMBERS_MAX, Member, SILENCE_MAX};
pub use name::{BadName, ClusterName, NAME_MAX};
pub use node::{BACKLOG_RECORDS, EVENTS_MAX, Event, Node, NodeFigures, Recipient, Settings};
pub(crate) use outbox::Outbox;
pub use record::{Record, State};
pub(crate) use replication::Replication;
pub use secret::{BadSecrets, SECRETS_MAX, Secret, Secrets};

/// Minutes of an epoch: a peer that keeps announcing is told to the other nodes once in each, and so may be this much older there.
pub const EPOCH_MINUTES: u32 = 5;
