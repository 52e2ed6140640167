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

use etracker_core::Tracker;
use etracker_core::cluster::{ClusterName, Node, NodeId, Secrets, Settings};
use etracker_runtime_common::{Clock, Control, Prefetcher};
use nix::unistd::gethostname;
use tokio::runtime::{Builder, Runtime};

pub(crate) use access::{Access, AccessError};
use driver::Driver;
use nats::Nats;

use crate::failure::Failure;
use crate::members::ClusterView;
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
        let settings = self.settings()?;
        let node = Node::new(clock.now(), settings, Arc::clone(tracker), Prefetcher);
        let Some(node) = node else {
            unreachable!("the tracker was configured for a cluster");
        };
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
