//! One node of a cluster: what an adapter of a bus drives.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::prefetch::Prefetch;
use crate::seed::Random;
use crate::snapshot::Entry;
use crate::{Instant, Tracker};

use super::apply::Applied;
use super::batch::{BATCH_LEN, Batch};
use super::envelope::{FORMAT, Header, Keys, Kind, NodeId, Rejection};
use super::heartbeat::{Heartbeat, is_version};
use super::members::{Member, Members, SILENCE_MAX};
use super::name::ClusterName;
use super::record::Record;
use super::replication::{Drained, Replication};
use super::secret::Secrets;
use super::transfer::{Brought, Donation, Joining, Piece, Pull, Request, TransferId};

/// The settings of a node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the cluster.
    pub cluster: ClusterName,
    /// The name of this node, for people.
    pub node: ClusterName,
    /// The version of the program, for people: at most [`VERSION_MAX`](super::VERSION_MAX) bytes of printable ASCII, or it is left
    /// out.
    pub version: String,
    /// The secrets of the cluster.
    pub secrets: Secrets,
    /// A number from the operating system's random numbers, another one at each start.
    pub id: NodeId,
}

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// All nodes.
    All,
    /// One node.
    Node(NodeId),
}

impl Recipient {
    /// The subject of its messages on a bus with subjects such as NATS.
    #[must_use]
    pub fn subject(&self, cluster: &ClusterName) -> String {
        match self {
            Self::All => format!("etracker.{cluster}.all"),
            Self::Node(node) => format!("etracker.{cluster}.node.{node}"),
        }
    }
}

/// What an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A member was heard for the first time.
    Came(NodeId),
    /// A member has not been heard for [`SILENCE_MAX`].
    Went(NodeId),
    /// A transfer of a snapshot began, from this donor.
    Joining(NodeId),
    /// This node holds what the others hold: by the snapshot of a donor, because no other node holds more, or because an interval has
    /// passed.
    Whole {
        /// Who gave the snapshot; `None` if nobody did.
        donor: Option<NodeId>,
        /// Peers of the snapshot.
        peers: u64,
    },
    /// A donor was given up: its snapshot is damaged, or it is silent.
    Failed(NodeId),
}

/// The figures of a node, since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeFigures {
    /// Messages sent, and their bytes.
    pub messages_sent: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Messages of others that were accepted.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Records sent.
    pub records_sent: u64,
    /// Bytes of records sent, without the envelopes.
    pub record_bytes_sent: u64,
    /// Refreshes that were dropped because an outbox was full, or the bus away.
    pub refreshes_dropped: u64,
    /// Changes that were dropped because an outbox was full, or the bus away for too long.
    pub changes_dropped: u64,
    /// What came of records of others, those of snapshots not counted.
    pub records: Applied,
    /// What came of peers of snapshots.
    pub snapshot: Applied,
    /// Messages of others that did not arrive.
    pub messages_lost: u64,
    /// Messages that were rejected, in the order of [`Rejection::ALL`].
    pub rejected: [u64; Rejection::ALL.len()],
}

impl NodeFigures {
    /// Messages that were rejected for this reason.
    #[must_use]
    pub fn rejected(&self, rejection: Rejection) -> u64 {
        let counts = Rejection::ALL.iter().zip(self.rejected);
        counts
            .filter(|(one, _)| **one == rejection)
            .map(|(_, count)| count)
            .sum()
    }
}

/// One node of a cluster, without IO: see the [documentation of the module](super) for the calls.
#[derive(Debug)]
pub struct Node<P> {
    settings: Settings,
    keys: Keys,
    tracker: Arc<Tracker>,
    prefetch: P,
    random: Random,
    began: Instant,
    /// Messages sent to all.
    sequence: u64,
    connected: bool,
    waiting: Drained,
    drain_due: Instant,
    heartbeat_due: Instant,
    watch_due: Instant,
    members: Members,
    /// Members that were alive when they were last watched.
    alive: Vec<NodeId>,
    /// `None` once this node is whole.
    joining: Option<Joining>,
    /// Whether the donor of the snapshot that is received is whole.
    donor_is_whole: bool,
    /// Members that are not whole, and have given what they hold.
    merged: BTreeSet<NodeId>,
    /// Peers of the snapshot that is received.
    joined_peers: u64,
    /// When the bus was connected last.
    connected_at: Instant,
    /// Members that were there before the bus was lost, and have not been heard since. What waits is held back for them a while.
    expected: BTreeSet<NodeId>,
    donations: Vec<Donation>,
    /// What is sent before records.
    to_send: VecDeque<Control>,
    events: VecDeque<Event>,
    figures: NodeFigures,
}

/// A message beside batches and pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    Heartbeat,
    Request(Request),
    Offer(NodeId, TransferId),
}

impl<P: Prefetch> Node<P> {
    /// A node of a cluster, before its bus is connected. `None` if the tracker is not [configured](crate::Config::with_cluster) for
    /// one.
    #[must_use]
    pub fn new(now: Instant, mut settings: Settings, tracker: Arc<Tracker>, prefetch: P) -> Option<Self> {
        tracker.replication()?;
        if !is_version(&settings.version) {
            settings.version.clear();
        }
        let mut random = tracker.seed().key("cluster transfers").random(settings.id.0);
        let joining = Joining::begin(now, TransferId(random.u64(..)));
        Some(Self {
            keys: Keys::new(&settings.cluster, &settings.secrets),
            settings,
            tracker,
            prefetch,
            random,
            began: now,
            sequence: 0,
            connected: false,
            waiting: Drained::default(),
            drain_due: now,
            heartbeat_due: now,
            watch_due: now,
            members: Members::default(),
            alive: Vec::new(),
            joining: Some(joining),
            donor_is_whole: false,
            merged: BTreeSet::new(),
            joined_peers: 0,
            connected_at: now,
            expected: BTreeSet::new(),
            donations: Vec::new(),
            to_send: VecDeque::new(),
            events: VecDeque::new(),
            figures: NodeFigures::default(),
        })
    }

    /// The subjects that the node listens to: what is for all, and what is for it.
    #[must_use]
    pub fn subjects(&self) -> [String; 2] {
        let recipients = [Recipient::All, Recipient::Node(self.settings.id)];
        recipients.map(|recipient| recipient.subject(&self.settings.cluster))
    }

    /// The tracker that the node replicates.
    #[must_use]
    pub const fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }

    /// Signs with the first of these secrets from now on, and accepts all of them.
    pub fn set_secrets(&mut self, secrets: &Secrets) {
        self.keys = Keys::new(&self.settings.cluster, secrets);
        self.settings.secrets = secrets.clone();
    }

    /// Records that wait for the bus.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether this node holds what the others hold: a snapshot has been received, no other node holds more, or an interval has
    /// passed since it began. It serves before that, too.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.joining.is_none()
    }

    /// The other nodes, those included that were heard within the last minutes and are gone.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.members.iter()
    }

    /// The figures since the node began.
    #[must_use]
    pub fn figures(&self) -> NodeFigures {
        let [refreshes, changes] = self.replication().map_or([0, 0], Replication::dropped);
        NodeFigures {
            messages_lost: self.members.lost(),
            refreshes_dropped: self.figures.refreshes_dropped + refreshes,
            changes_dropped: self.figures.changes_dropped + changes,
            ..self.figures
        }
    }

    /// The next event for an operator. At most [`EVENTS_MAX`] wait; the oldest are forgotten.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The bus is there: records that wait are sent.
    pub fn handle_connected(&mut self, now: Instant) {
        self.connected = true;
        self.connected_at = now;
        self.heartbeat_due = now;
        self.drain_due = now;
    }

    /// The bus is gone: records wait for it, at most [`BACKLOG_RECORDS`] changes and as many refreshes, for as long as a batch may hold
    /// them; and then for those members that were there, which find the bus again at different times.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.connected = false;
        let alive = self.members.iter().filter(|(_, member)| member.is_alive(now));
        self.expected.extend(alive.map(|(node, _)| node));
        self.to_send.clear();
        self.donations.clear();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.drain_due
    }

    /// Does what is due: drains the outboxes of the workers, makes heartbeats, goes on with a join.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now < self.drain_due {
            return;
        }
        self.drain(now);
        // Sooner where much comes: a batch is not to grow longer than it has to.
        let is_full = self.connected && self.waiting.bytes() >= BATCH_LEN;
        self.drain_due = now.saturating_add(if is_full { DRAIN_SOON } else { DRAIN_PERIOD });
        self.donations.retain(|donation| !donation.has_expired(now));
        self.donations.iter_mut().for_each(Donation::tick);
        if now >= self.watch_due {
            self.watch_due = now.saturating_add(WATCH_PERIOD);
            self.watch(now);
        }
        if self.connected {
            self.go_on(now);
        }
    }

    /// What is said and asked at its time.
    fn go_on(&mut self, now: Instant) {
        if now >= self.heartbeat_due {
            self.heartbeat_due = now.saturating_add(HEARTBEAT_PERIOD);
            self.send(Control::Heartbeat);
        }
        let transfer = TransferId(self.random.u64(..));
        let Some(joining) = &mut self.joining else {
            return;
        };
        let donor = joining.donor();
        if let Some(request) = joining.handle_timeout(now, transfer) {
            if let (Request::Ask(_), Some(donor)) = (request, donor) {
                self.tell(Event::Failed(donor));
            }
            self.send(Control::Request(request));
        }
    }

    /// Looks for members that went, and for the end of the interval after which this node is whole without a donor.
    fn watch(&mut self, now: Instant) {
        self.members.expire(now);
        if self.connected && !self.holds_back(now) {
            self.expected.clear();
        }
        let is_gone = |node: &NodeId| self.members.get(*node).is_none_or(|member| !member.is_alive(now));
        let gone: Vec<_> = self.alive.iter().copied().filter(is_gone).collect();
        let alive = self.members.iter().filter(|(_, member)| member.is_alive(now));
        self.alive = alive.map(|(node, _)| node).collect();
        gone.into_iter().for_each(|node| self.tell(Event::Went(node)));
        let interval = Duration::from_secs(self.tracker.config().intervals().max.into());
        let is_over = now.saturating_since(self.began) >= interval;
        if self.joining.is_some() && (is_over || self.has_all(now)) {
            self.become_whole(None);
        }
    }

    /// Whether no member holds what this node does not: there is none, or each has given what it holds. Those that are there have been
    /// heard by then.
    fn has_all(&self, now: Instant) -> bool {
        let is_pulling = self
            .joining
            .as_ref()
            .is_some_and(|joining| joining.donor().is_some());
        self.connected
            && !is_pulling
            && now.saturating_since(self.connected_at) >= SILENCE_MAX
            && self.alive.iter().all(|node| self.merged.contains(node))
    }

    /// Moves what workers have noted to what waits for the bus.
    fn drain(&mut self, now: Instant) {
        if let Some(replication) = self.tracker.replication() {
            replication.drain(&mut self.waiting);
        }
        let [changes, refreshes] = self.waiting.limit(now, BACKLOG_RECORDS);
        self.figures.changes_dropped += changes;
        self.figures.refreshes_dropped += refreshes;
    }

    /// Writes the next message to `message`, instead of what is there, and says to whom it goes. The adapter calls it until it
    /// returns `None`.
    pub fn poll_transmit(&mut self, now: Instant, message: &mut Vec<u8>) -> Option<Recipient> {
        if !self.connected {
            return None;
        }
        let recipient = self.next_message(now, message)?;
        self.figures.messages_sent += 1;
        self.figures.bytes_sent += message.len() as u64;
        Some(recipient)
    }

    fn next_message(&mut self, now: Instant, message: &mut Vec<u8>) -> Option<Recipient> {
        if let Some(control) = self.to_send.pop_front() {
            return Some(self.send_control(now, control, message));
        }
        if !self.waiting.is_empty() && !self.holds_back(now) {
            let header = self.header(now, Kind::Batch);
            let before = self.waiting.len();
            let mut len = 0;
            self.keys.seal(&header, message, |out| {
                let start = out.len();
                Batch::encode(now, &mut self.waiting, out);
                len = out.len() - start;
            });
            self.figures.records_sent += (before - self.waiting.len()) as u64;
            self.figures.record_bytes_sent += len as u64;
            return Some(Recipient::All);
        }
        let index = self.donations.iter().position(Donation::is_due)?;
        let header = self.header(now, Kind::Piece);
        let donation = self.donations.get_mut(index)?;
        let swarms = self.tracker.swarms();
        self.keys
            .seal(&header, message, |out| donation.send(now, swarms, out));
        Some(Recipient::Node(donation.to))
    }

    /// Whether members are waited for that have not found the bus again yet.
    fn holds_back(&self, now: Instant) -> bool {
        !self.expected.is_empty() && now.saturating_since(self.connected_at) < SILENCE_MAX
    }

    fn send_control(&mut self, now: Instant, control: Control, message: &mut Vec<u8>) -> Recipient {
        let (kind, recipient) = match control {
            Control::Heartbeat => (Kind::Heartbeat, Recipient::All),
            Control::Request(Request::Ask(_)) => (Kind::Ask, Recipient::All),
            Control::Request(Request::Pull(donor, _)) => (Kind::Pull, Recipient::Node(donor)),
            Control::Offer(to, _) => (Kind::Offer, Recipient::Node(to)),
        };
        let header = self.header(now, kind);
        self.keys.seal(&header, message, |out| match control {
            Control::Heartbeat => self.heartbeat().encode(out),
            Control::Request(Request::Ask(transfer)) => transfer.encode(out),
            Control::Offer(_, transfer) => {
                transfer.encode(out);
                out.push(self.is_whole().into());
            }
            Control::Request(Request::Pull(_, pull)) => pull.encode(out),
        });
        recipient
    }

    fn header(&mut self, now: Instant, kind: Kind) -> Header {
        let sequence = if kind.is_for_all() {
            self.sequence += 1;
            self.sequence
        } else {
            0
        };
        Header {
            format: self.members.format(now),
            reads: FORMAT,
            kind,
            node: self.settings.id,
            sequence,
            clock: now,
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        let totals = self.tracker.totals();
        let figures = self.figures();
        Heartbeat {
            name: self.settings.node.clone(),
            version: self.settings.version.clone(),
            whole: self.is_whole(),
            torrents: totals.torrents,
            peers: totals.peers(),
            requests_per_sec: self.tracker.rates().total(),
            sent: figures.records_sent,
            applied: figures.records.applied,
            lost: figures.messages_lost,
        }
    }

    /// Handles a message of the bus. One that is rejected is counted and changes nothing; the reason is for tests and logs.
    ///
    /// # Errors
    /// The message is rejected.
    pub fn handle_message(&mut self, now: Instant, message: &[u8]) -> Result<(), Rejection> {
        let handled = self.handle(now, message);
        if let Err(rejection) = handled {
            let counts = Rejection::ALL.iter().zip(&mut self.figures.rejected);
            counts
                .filter(|(one, _)| **one == rejection)
                .for_each(|(_, count)| *count += 1);
        }
        handled
    }

    fn handle(&mut self, now: Instant, message: &[u8]) -> Result<(), Rejection> {
        let envelope = self.keys.open(message)?;
        let (header, body) = (envelope.header, envelope.body);
        // A bus may echo.
        if header.node == self.settings.id {
            return Ok(());
        }
        let apart = now
            .saturating_since(header.clock)
            .max(header.clock.saturating_since(now));
        if apart > CLOCK_APART_MAX {
            return Err(Rejection::Clock);
        }
        match header.kind {
            Kind::Batch => {
                let batch = Batch::decode(header.clock, body)?;
                self.admit(now, &header)?;
                self.apply(now, batch.records());
            }
            Kind::Heartbeat => {
                let heartbeat = Heartbeat::decode(body).ok_or(Rejection::Malformed)?;
                self.admit(now, &header)?;
                self.members.tell(header.node, heartbeat);
            }
            Kind::Ask => {
                let transfer = transfer_of(body)?;
                self.admit(now, &header)?;
                self.offer(now, header.node, transfer);
            }
            Kind::Offer => {
                let (is_whole, transfer) = body.split_last().ok_or(Rejection::Malformed)?;
                self.take_offer(now, header.node, transfer_of(transfer)?, *is_whole != 0)?;
            }
            Kind::Pull => {
                let pull = Pull::decode(body).ok_or(Rejection::Malformed)?;
                self.give(now, header.node, pull)?;
            }
            Kind::Piece => {
                let piece = Piece::decode(body).ok_or(Rejection::Malformed)?;
                self.take_piece(now, header.node, &piece)?;
            }
        }
        self.figures.messages_received += 1;
        self.figures.bytes_received += message.len() as u64;
        Ok(())
    }

    fn admit(&mut self, now: Instant, header: &Header) -> Result<(), Rejection> {
        let is_new = self.members.admit(now, header)?;
        self.expected.remove(&header.node);
        if is_new {
            self.alive.push(header.node);
            self.tell(Event::Came(header.node));
        }
        Ok(())
    }

    fn apply(&mut self, now: Instant, records: &[Record]) {
        // What this node has decided itself must be known before.
        self.drain(now);
        if let Some(replication) = self.tracker.replication() {
            self.figures.records += replication.apply(now, &self.tracker, records, &self.prefetch);
        }
    }

    /// Offers a snapshot to a node that joins, unless this one has others to give to. Nodes that began together hold different
    /// parts, of which none is to be lost.
    fn offer(&mut self, now: Instant, to: NodeId, transfer: TransferId) {
        // A joiner that asks again has given up what it asked for before.
        self.donations.retain(|donation| donation.to != to);
        if self.donations.len() < DONATIONS_MAX {
            self.donations.push(Donation::offer(now, to, transfer));
            self.send(Control::Offer(to, transfer));
        }
    }

    fn take_offer(
        &mut self,
        now: Instant,
        donor: NodeId,
        transfer: TransferId,
        is_whole: bool,
    ) -> Result<(), Rejection> {
        let joining = self.joining.as_mut().ok_or(Rejection::Transfer)?;
        if !joining.is_of(transfer) {
            return Err(Rejection::Transfer);
        }
        if !is_whole && (!joining.takes_parts() || self.merged.contains(&donor)) {
            return Ok(());
        }
        let Some(request) = joining.offered(now, donor) else {
            return Ok(());
        };
        self.joined_peers = 0;
        self.donor_is_whole = is_whole;
        self.tell(Event::Joining(donor));
        self.send(Control::Request(request));
        Ok(())
    }

    fn give(&mut self, now: Instant, to: NodeId, pull: Pull) -> Result<(), Rejection> {
        let mut donations = self.donations.iter_mut();
        let donation = donations.find(|donation| donation.to == to && donation.transfer == pull.transfer);
        let taken = donation.is_some_and(|donation| donation.pull(now, pull));
        self.donations.retain(|donation| !donation.is_done());
        if taken { Ok(()) } else { Err(Rejection::Transfer) }
    }

    fn take_piece(&mut self, now: Instant, donor: NodeId, piece: &Piece<'_>) -> Result<(), Rejection> {
        let joining = self.joining.as_mut().ok_or(Rejection::Transfer)?;
        let mut entries = Vec::new();
        let received = joining.receive(now, donor, piece, &mut |entry| entries.push(entry));
        match received.ok_or(Rejection::Transfer)? {
            Err(_) => {
                self.tell(Event::Failed(donor));
                return Err(Rejection::Malformed);
            }
            Ok((brought, request)) => {
                self.apply_entries(now, &entries);
                if let Some(request) = request {
                    self.send(Control::Request(request));
                }
                match brought {
                    Brought::All if self.donor_is_whole => self.become_whole(Some(donor)),
                    Brought::All => {
                        self.merged.insert(donor);
                        let transfer = TransferId(self.random.u64(..));
                        self.joining = Some(Joining::again(now, transfer));
                    }
                    Brought::Nothing | Brought::Some => {}
                }
            }
        }
        Ok(())
    }

    fn apply_entries(&mut self, now: Instant, entries: &[Entry]) {
        self.drain(now);
        if let Some(replication) = self.tracker.replication() {
            self.figures.snapshot += replication.apply_snapshot(now, &self.tracker, entries, &self.prefetch);
        }
        let peers = entries.iter().filter(|entry| matches!(entry, Entry::Peer { .. }));
        self.joined_peers += peers.count() as u64;
    }

    fn become_whole(&mut self, donor: Option<NodeId>) {
        self.joining = None;
        self.merged.clear();
        let peers = if donor.is_some() { self.joined_peers } else { 0 };
        self.tell(Event::Whole { donor, peers });
    }

    fn replication(&self) -> Option<&Replication> {
        self.tracker.replication()
    }

    fn send(&mut self, control: Control) {
        // Who floods a node with questions has the secret; what it makes must still be bounded.
        if self.to_send.len() < CONTROLS_MAX {
            self.to_send.push_back(control);
        }
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

fn transfer_of(mut body: &[u8]) -> Result<TransferId, Rejection> {
    let transfer = TransferId::take(&mut body).filter(|_| body.is_empty());
    transfer.ok_or(Rejection::Malformed)
}

/// Time between two drains of the outboxes.
const DRAIN_PERIOD: Duration = Duration::from_millis(50);
/// The same while a drain brings more than a batch.
const DRAIN_SOON: Duration = Duration::from_millis(10);
/// Time between two heartbeats.
const HEARTBEAT_PERIOD: Duration = Duration::from_secs(5);
/// Time between two looks for members that are gone.
const WATCH_PERIOD: Duration = Duration::from_secs(1);
/// Difference between the clock of a message and that of this node beyond which it is rejected. What is replayed must be
/// younger.
const CLOCK_APART_MAX: Duration = Duration::from_secs(120);
/// Snapshots that a node gives at the same time.
const DONATIONS_MAX: usize = 2;
/// Changes that wait for a bus that is away, at most: some megabytes, and what a node of a large cluster changes in a minute and
/// a half.
pub const BACKLOG_RECORDS: usize = 1 << 17;
/// Events that wait to be polled, at most.
pub const EVENTS_MAX: usize = 256;
/// Messages beside records that wait, at most.
const CONTROLS_MAX: usize = 256;
