//! The portable runtime, on smol: each worker is a thread with an executor of its own. On Linux a worker waits by an
//! epoll instance of its own, elsewhere by the one reactor that async-io has for the whole process.
//!
//! ```
//! use std::net::UdpSocket;
//! use std::sync::Arc;
//! use std::thread;
//!
//! use etracker_core::udp::packet::{RequestHead, Response};
//! use etracker_core::{Config, Seed, Tracker};
//! use etracker_runtime_common::{Clock, Control, Fronts, Job, Listen, Protocol, open};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (local, free_port) = (["127.0.0.1".parse()?], 0);
//! let listen = Listen::new(2) // workers
//!     .bind(Protocol::Http, &local, free_port)
//!     .bind(Protocol::Udp, &local, free_port);
//! let opened = open(&listen)?;
//! let at = opened.local[0].at;
//! let (seed, config, clock) = (Seed::new([7; 32]), Config::default(), Clock::start());
//! let control = Arc::new(Control::new());
//! let job = Job {
//!     fronts: Fronts::new(&seed, &config),
//!     tracker: Arc::new(Tracker::new(config, seed, clock.now())),
//!     sockets: opened.workers,
//!     clock,
//!     control: Arc::clone(&control),
//!     connections_max: 1000,
//! };
//! let serving = thread::spawn(|| etracker_smol::serve(job));
//!
//! // A client asks for the connection id that it will announce with.
//! let client = UdpSocket::bind("127.0.0.1:0")?;
//! client.send_to(&RequestHead::connect(42).encode(), at)?;
//! let mut reply = [0; 16];
//! let len = client.recv(&mut reply)?;
//! assert_eq!(Response::decode(&reply[..len]).unwrap().transaction_id(), 42);
//!
//! control.stop();
//! serving.join().unwrap()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! - `testing`: a worker that is driven by hand (Linux), and a clock that stands still. Not for a tracker that strangers reach.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(target_os = "linux")]
mod epoll;
mod mechanism;
#[cfg(target_os = "linux")]
mod notifier;
#[cfg(any(test, not(target_os = "linux")))]
mod portable;
#[cfg(all(feature = "testing", target_os = "linux"))]
mod stepped;
mod stream;
mod waiter;

use std::rc::Rc;

use etracker_runtime_common::{Control, Job, ServeError, WorkerJob, run_workers, work};
use smol::{LocalExecutor, channel};

use crate::mechanism::Smol;
#[cfg(all(feature = "testing", target_os = "linux"))]
pub use crate::stepped::Stepped;
use crate::waiter::Waiter;
/// What [`serve`] is given.
pub use etracker_runtime_common;

#[cfg(target_os = "linux")]
use crate::epoll::Epoll as Native;
#[cfg(not(target_os = "linux"))]
use crate::portable::Portable as Native;

/// Serves until [`Control::stop`](etracker_runtime_common::Control::stop) is called. Blocks.
///
/// # Errors
/// A worker could not start, could not go on, or panicked; the others are stopped then.
pub fn serve(job: Job) -> Result<(), ServeError> {
    run_workers(job, run::<Native>)
}

fn run<W: Waiter>(job: WorkerJob) -> Result<(), ServeError> {
    let worker = job.number;
    let waiter = W::new().map_err(|error| ServeError::Start { worker, error })?;
    let executor = Rc::new(LocalExecutor::new());
    let stop = stop(&job.control);
    let smol = Smol {
        executor: Rc::clone(&executor),
        waiter: waiter.clone(),
    };
    let done = waiter.block_on(executor.run(work(smol, job, stop)));
    done.unwrap_or_else(|error| Err(ServeError::Failed { worker, error }))
}

/// Waits until the workers are asked to stop.
fn stop(control: &Control) -> impl Future<Output = ()> + use<> {
    let (sender, receiver) = channel::bounded::<()>(1);
    control.on_change(move || {
        sender.close();
    });
    async move {
        // It is closed without anything having been sent.
        let _ = receiver.recv().await;
    }
}
