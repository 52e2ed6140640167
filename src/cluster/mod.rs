//! A node of a cluster: the thread between the tracker and a broker.
//!
//! [`Node`] of the core decides everything. What is here moves its messages: [`bus`] is the seam, [`nats`] its one implementation,
//! [`driver`] the loop between the two.

mod access;
mod bus;
mod driver;
mod nats;
mod view;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use etracker_core::cluster::{ClusterName, Node, NodeId, Secrets, Settings};
use etracker_core::{Config, Instant, Seed, Tracker};
use etracker_runtime_common::{Clock, Control, Prefetcher};
use nix::unistd::gethostname;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout_at;

pub(crate) use access::{Access, AccessError};
use bus::{Bus as _, Happening};
use driver::Driver;
use nats::Nats;
use view::{Broker, Rates};

use crate::failure::Failure;
use crate::members::{ClusterState, ClusterView};
use crate::notify::Notifier;
use crate::options::ClusterOptions;
use crate::revision;

/// What this process needs to be a node.
#[derive(Debug)]
pub(crate) struct Cluster {
    options: ClusterOptions,
    access: Access,
    secrets: Secrets,
    view: ClusterView,
}

/// A node that runs.
#[derive(Debug)]
pub(crate) struct Running {
    thread: JoinHandle<()>,
    secrets: SyncSender<Secrets>,
}

impl Cluster {
    pub(crate) fn new(options: ClusterOptions, access: &Access, secrets: Secrets) -> Self {
        Self {
            options,
            access: access.clone(),
            secrets,
            view: ClusterView::default(),
        }
    }

    /// What is known of the cluster, now and later.
    pub(crate) fn view(&self) -> ClusterView {
        self.view.clone()
    }

    /// Listens to the cluster for some seconds, as a node that says nothing.
    ///
    /// # Errors
    /// The system gives no random numbers, or no event queue.
    pub(crate) fn look(self, config: &Config, seed: Seed) -> Result<ClusterState, Failure> {
        let clock = Clock::start();
        let config = config.clone().with_cluster(&self.secrets);
        let tracker = Arc::new(Tracker::new(config, seed, clock.now()));
        let mut node = new_node(clock.now(), self.settings()?, &tracker);
        let runtime = runtime().map_err(Failure::Thread)?;
        let heard = runtime.block_on(async {
            let mut bus = Nats::new(self.options.brokers, self.access, node.subjects());
            listen(&mut node, &mut bus, clock).await
        });
        Ok(view::state(clock.now(), &node, &Rates::default(), heard))
    }

    /// Starts the thread, which runs until the tracker stops. A broker that cannot be reached is a warning.
    ///
    /// # Errors
    /// The system gives no random numbers, no thread or no event queue.
    pub(crate) fn start(
        self,
        tracker: &Arc<Tracker>,
        clock: Clock,
        control: &Arc<Control>,
        notifier: &Notifier,
    ) -> Result<Running, Failure> {
        let node = new_node(clock.now(), self.settings()?, tracker);
        let runtime = runtime().map_err(Failure::Thread)?;
        let (ask, secrets) = sync_channel(1);
        let (notifier, control) = (notifier.clone(), Arc::clone(control));
        let run = move || self.run(&runtime, node, secrets, notifier, clock, &control);
        let thread = thread::Builder::new()
            .name("cluster".to_owned())
            .spawn(run)
            .map_err(Failure::Thread)?;
        Ok(Running { thread, secrets: ask })
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let host = gethostname().unwrap_or_default();
        let host = || ClusterName::nearest(&host.to_string_lossy());
        Ok(Settings {
            cluster: self.options.cluster.clone(),
            node: self.options.node.clone().unwrap_or_else(host),
            version: revision::short(),
            secrets: self.secrets.clone(),
            id: NodeId(getrandom::u64().map_err(Failure::Seed)?),
        })
    }

    fn run(
        self,
        runtime: &Runtime,
        node: Node<Prefetcher>,
        secrets: Receiver<Secrets>,
        notifier: Notifier,
        clock: Clock,
        control: &Control,
    ) {
        runtime.block_on(async {
            let bus = Nats::new(self.options.brokers, self.access, node.subjects());
            let mut driver = Driver::new(node, bus, clock, self.view, notifier, secrets);
            driver.run(control).await;
        });
    }
}

fn new_node(now: Instant, settings: Settings, tracker: &Arc<Tracker>) -> Node<Prefetcher> {
    let node = Node::new(now, settings, Arc::clone(tracker), Prefetcher);
    let Some(node) = node else {
        unreachable!("the tracker was configured for a cluster");
    };
    node
}

/// Hands the node what the bus carries, and nothing back.
async fn listen(node: &mut Node<Prefetcher>, bus: &mut Nats, clock: Clock) -> Broker {
    let mut broker = Broker::default();
    let until = tokio::time::Instant::now() + LISTENS;
    while let Ok(happening) = timeout_at(until, bus.next()).await {
        match happening {
            // A rejection is counted by the node.
            Happening::Received(message) => {
                let _ = node.handle_message(clock.now(), &message);
            }
            Happening::Connected(name) => {
                broker = Broker {
                    name: Some(name),
                    fault: None,
                }
            }
            Happening::Disconnected => broker.name = None,
            Happening::Failed(fault) | Happening::Warned(fault) => broker.fault = Some(fault),
        }
    }
    broker
}

impl Running {
    /// Where new secrets are put.
    pub(crate) fn secrets(&self) -> SyncSender<Secrets> {
        self.secrets.clone()
    }

    /// Waits for the end of the node, after the tracker has been told to stop.
    pub(crate) fn join(self) {
        // A panic of the thread has ended the process.
        let _ = self.thread.join();
    }
}

/// The runtime of the client library: this one thread, and another for look-ups of names.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .thread_name("cluster-names")
        .build()
}

/// How long doctor listens: every node is heard once in five seconds.
const LISTENS: Duration = Duration::from_secs(7);
