//! What stands for a node of a cluster in builds without the feature `cluster`: there is none, as options refuse `--cluster`.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use etracker_core::cluster::Secrets;
use etracker_core::{Config, Seed, Tracker};
use etracker_runtime_common::{Clock, Control};

use crate::failure::Failure;
use crate::members::{ClusterState, ClusterView};
use crate::notify::Notifier;
use crate::options::ClusterOptions;

/// Never there.
#[derive(Debug)]
pub(crate) struct Cluster(Never);

impl Cluster {
    pub(crate) fn new(_: ClusterOptions, access: &Access, _: Secrets) -> Self {
        match access.0 {}
    }

    pub(crate) const fn view(&self) -> ClusterView {
        match self.0 {}
    }

    pub(crate) const fn look(&self, _: &Config, _: Seed) -> Result<ClusterState, Failure> {
        match self.0 {}
    }

    pub(crate) const fn start(
        self,
        _: &Arc<Tracker>,
        _: Clock,
        _: &Arc<Control>,
        _: &Notifier,
    ) -> Result<Running, Failure> {
        match self.0 {}
    }
}

/// Never there.
#[derive(Debug)]
pub(crate) struct Running(Never);

impl Running {
    pub(crate) const fn secrets(&self) -> SyncSender<Secrets> {
        match self.0 {}
    }

    pub(crate) const fn join(self) {
        match self.0 {}
    }
}

/// Never there.
#[derive(Debug)]
pub(crate) struct Access(Never);

impl Access {
    pub(crate) const fn read(_: Option<&ClusterOptions>) -> Result<Option<Self>, AccessError> {
        Ok(None)
    }
}

/// Never there.
#[derive(Debug)]
pub(crate) struct AccessError(Never);

impl fmt::Display for AccessError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

/// Private, so that the compiler takes nothing that uses these types for unreachable.
#[derive(Clone, Debug)]
enum Never {}
