//! The Linux runtime, on glommio: each worker is a thread with an executor of its own, on a processor of its own where
//! there are enough, and waits by the io_uring of that executor alone.
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
//! if let Err(missing) = etracker_glommio::check() {
//!     eprintln!("{missing}"); // in one line, with what to do
//!     return Ok(());
//! }
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
//! let serving = thread::spawn(|| etracker_glommio::serve(job));
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

#[cfg(not(target_os = "linux"))]
compile_error!(
    "etracker-glommio waits by io_uring, which only Linux has: build without the feature `glommio`"
);

mod executor;
mod mechanism;
mod processors;
mod requirements;
mod stream;
mod sys;
mod yielding;

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;

use etracker_runtime_common::{Control, Job, ServeError, run_workers, work};
use futures_lite::AsyncReadExt as _;
use glommio::net;

use crate::executor::executor;
use crate::mechanism::Glommio;
use crate::processors::Processors;
pub use crate::requirements::{LOCKED_BYTES_MIN, Missing, check};
/// What [`serve`] is given.
pub use etracker_runtime_common;

/// Serves until [`Control::stop`](etracker_runtime_common::Control::stop) is called. Blocks.
///
/// # Errors
/// A worker could not start, could not go on, or panicked; the others are stopped then.
pub fn serve(job: Job) -> Result<(), ServeError> {
    let processors = Processors::for_workers(job.sockets.len());
    // `LocalExecutorPoolBuilder` would do the threads too, but not as every runtime does them: a worker that cannot
    // start panics there, and the others go on.
    run_workers(job, move |job| {
        let worker = job.number;
        let start = |error| ServeError::Start { worker, error };
        processors.pin(worker);
        let executor = executor().map_err(|error| start(io::Error::other(Missing::executor(error))))?;
        let (stop_rx, stop_tx) = UnixStream::pair().map_err(start)?;
        tell_stop(&job.control, stop_tx);
        executor.run(async { work(Glommio, job, stop(stop_rx)).await })
    })
}

/// Has a byte written to `stop_tx` when the workers are asked to stop. A waker of glommio's must not be called from other
/// threads.
fn tell_stop(control: &Control, stop_tx: UnixStream) {
    control.on_change(move || {
        // The other end may be gone: then that worker has stopped already.
        let _ = (&stop_tx).write_all(&[0]);
    });
}

/// Waits until the workers are asked to stop.
async fn stop(stop_rx: UnixStream) {
    // What comes is the request, and an end or an error would be no reason to go on.
    let _ = sys::watch::<net::UnixStream>(stop_rx).read(&mut [0]).await;
}
