//! The portable runtime, on smol: each worker is a thread with an executor of its own. Waiting for sockets is left to
//! the one reactor that async-io has for the whole process.

mod mechanism;
mod stream;

use std::rc::Rc;

use etracker_runtime_common::{Control, Job, ServeError, run_workers, work};
use smol::{LocalExecutor, block_on, channel};

use crate::mechanism::Smol;

/// Serves until [`Control::stop`](etracker_runtime_common::Control::stop) is called. Blocks.
///
/// # Errors
/// A worker could not start, could not go on, or panicked; the others are stopped then.
pub fn serve(job: Job) -> Result<(), ServeError> {
    run_workers(job, |job| {
        let executor = Rc::new(LocalExecutor::new());
        let stop = stop(&job.control);
        block_on(executor.run(work(Smol(Rc::clone(&executor)), job, stop)))
    })
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
