//! The loop between a node and its bus.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use etracker_core::Instant;
use etracker_core::cluster::{CLOCK_DIFFERENCE_MAX, Event, Node, NodeId, Recipient, Secrets};
use etracker_core::prefetch::Prefetch;
use etracker_runtime_common::{Clock, Control};
use tokio::task::yield_now;
use tokio::time::timeout;
use tracing::{info, warn};

use super::bus::{Bus, Happening};
use super::view::{Broker, Rates, state};
use crate::members::ClusterView;
use crate::notify::Notifier;
use crate::terminal::say;

/// Moves messages between a node and a bus.
#[derive(Debug)]
pub(super) struct Driver<P, B> {
    node: Node<P>,
    bus: B,
    clock: Clock,
    view: ClusterView,
    notifier: Notifier,
    new_secrets: Receiver<Secrets>,
    /// The message at hand.
    message: Vec<u8>,
    /// To whom the message at hand goes, if the bus has not taken it yet.
    held: Option<Recipient>,
    broker: Broker,
    /// Members whose clocks differ, and their names.
    apart: BTreeMap<NodeId, String>,
    rates: Rates,
    show_due: Instant,
    status: String,
}

impl<P: Prefetch, B: Bus> Driver<P, B> {
    pub(super) fn new(
        node: Node<P>,
        bus: B,
        clock: Clock,
        view: ClusterView,
        notifier: Notifier,
        new_secrets: Receiver<Secrets>,
    ) -> Self {
        Self {
            node,
            bus,
            clock,
            view,
            notifier,
            new_secrets,
            message: Vec::new(),
            held: None,
            broker: Broker::default(),
            apart: BTreeMap::new(),
            rates: Rates::default(),
            show_due: Instant::default(),
            status: String::new(),
        }
    }

    /// Runs until the tracker is to stop; what workers have changed by then is sent.
    pub(super) async fn run(&mut self, control: &Control) {
        while !control.is_stopping() {
            self.turn().await;
        }
        self.node.handle_timeout(self.node.poll_timeout());
        self.transmit(self.clock.now());
        self.bus.flush(FLUSH).await;
    }

    /// Does what is due, and waits for what comes next: at most until the next drain of the outboxes.
    async fn turn(&mut self) {
        let now = self.clock.now();
        if let Ok(secrets) = self.new_secrets.try_recv() {
            self.node.set_secrets(&secrets);
        }
        self.node.handle_timeout(now);
        self.transmit(now);
        self.tell_events(now);
        if now >= self.show_due {
            self.show_due = now.saturating_add(SHOW_PERIOD);
            self.show(now);
        }
        let idle = self.node.poll_timeout().saturating_since(self.clock.now());
        if let Ok(happening) = timeout(idle, self.bus.next()).await {
            self.take(happening);
        }
        // The client library has its turn on this thread, too, however much there is to apply.
        yield_now().await;
    }

    /// Sends what the node has to send, until the bus takes no more.
    fn transmit(&mut self, now: Instant) {
        loop {
            let recipient = self.held.take();
            let recipient = recipient.or_else(|| self.node.poll_transmit(now, &mut self.message));
            let Some(recipient) = recipient else { return };
            let subject = recipient.subject(&self.node.settings().cluster);
            if !self.bus.publish(&subject, &self.message) {
                self.held = Some(recipient);
                return;
            }
        }
    }

    fn take(&mut self, happening: Happening) {
        let now = self.clock.now();
        match happening {
            // A rejection is counted by the node.
            Happening::Received(message) => {
                let _ = self.node.handle_message(now, &message);
            }
            Happening::Connected(broker) => {
                say(format_args!("Cluster: connected to {broker}"));
                info!(broker, "cluster: connected");
                self.broker = Broker {
                    name: Some(broker),
                    fault: None,
                };
                self.node.handle_connected(now);
                self.show_due = now;
            }
            Happening::Disconnected => {
                let broker = self.broker.name.take().unwrap_or_default();
                warn!(broker, "cluster: the broker is gone; this node goes on alone");
                self.broker.fault = Some(format!("{broker} is gone"));
                self.held = None;
                self.node.handle_disconnected(now);
                self.show_due = now;
            }
            Happening::Failed(reason) => {
                if self.broker.fault.as_deref() != Some(&reason) {
                    warn!("cluster: {reason}; this node goes on alone, and tries again");
                }
                self.broker.fault = Some(reason);
            }
            Happening::Warned(what) => warn!("cluster: {what}"),
        }
    }

    fn tell_events(&mut self, now: Instant) {
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Came(node) => info!(%node, "cluster: a member came"),
                Event::Went(node) => {
                    let name = self.name(node);
                    warn!(%node, name, "cluster: a member is not heard any more");
                }
                Event::Joining(donor) => info!(%donor, "cluster: a snapshot comes"),
                Event::Whole { donor, peers } => {
                    match donor {
                        Some(_) => say(format_args!("Cluster: whole, with {peers} peers of a snapshot")),
                        None => say("Cluster: whole, as no other node holds more"),
                    }
                    info!(peers, "cluster: this node is whole");
                    self.show_due = now;
                }
                Event::Failed(donor) => warn!(%donor, "cluster: a snapshot did not come whole"),
                _ => {}
            }
        }
    }

    /// Shows the state to pages and to the service manager, and looks at clocks.
    fn show(&mut self, now: Instant) {
        self.rates.note(now, &self.node.figures());
        self.look_at_clocks(now);
        let state = state(now, &self.node, &self.rates, self.broker.clone());
        let alive = state.members.iter().filter(|member| member.alive).count();
        let status = match (&state.broker, state.whole) {
            (None, _) => "Cluster: no broker, this node goes on alone".to_owned(),
            (Some(_), false) => format!("Cluster: joining, {alive} other nodes"),
            (Some(_), true) => format!("Cluster: whole, {alive} other nodes"),
        };
        if status != self.status {
            self.notifier.tell(&format!("STATUS={status}"));
            self.status = status;
        }
        self.view.with(|view| *view = Some(state));
    }

    /// Says once of each member that its clock differs.
    fn look_at_clocks(&mut self, now: Instant) {
        let members = self.node.members().filter(|(_, member)| member.is_alive(now));
        let apart = members.filter(|(_, member)| member.clock_differs());
        let apart: Vec<_> = apart
            .map(|(id, member)| (id, member.clock_behind_millis()))
            .collect();
        self.apart
            .retain(|id, _| apart.iter().any(|(other, _)| other == id));
        for (id, behind_millis) in apart {
            if self.apart.contains_key(&id) {
                continue;
            }
            let name = self.name(id);
            warn!(
                node = %id,
                name,
                behind_millis,
                "cluster: the clock of a member differs by more than {} s: its messages are refused beyond two minutes",
                CLOCK_DIFFERENCE_MAX.as_secs()
            );
            self.apart.insert(id, name);
        }
    }

    fn name(&self, node: NodeId) -> String {
        let member = self.node.members().find(|(id, _)| *id == node);
        let heartbeat = member.and_then(|(_, member)| member.heartbeat());
        heartbeat.map_or_else(|| node.to_string(), |heartbeat| heartbeat.name.to_string())
    }
}

/// Time between two states for pages.
const SHOW_PERIOD: Duration = Duration::from_secs(1);
/// How long the end waits for the broker.
const FLUSH: Duration = Duration::from_secs(1);
