//! A runtime that shares nothing with those of etracker: an executor and a reactor by `poll`, and datagrams that are answered
//! where they lie.

mod executor;
mod frames;
mod mechanism;
mod reactor;

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use etracker_runtime_common::{Job, ServeError, WorkerJob, run_workers, work};

use executor::Executor;
use mechanism::Polling;

/// Serves until [`Control::stop`](etracker_runtime_common::Control::stop) is called. Blocks.
///
/// # Errors
/// A worker could not start, could not go on, or panicked; the others are stopped then.
pub fn serve(job: Job) -> Result<(), ServeError> {
    run_workers(job, run)
}

fn run(job: WorkerJob) -> Result<(), ServeError> {
    let (worker, control) = (job.number, Arc::clone(&job.control));
    let executor = Executor::new().map_err(|error| ServeError::Start { worker, error })?;
    let executor = Rc::new(executor);
    let waker = executor.main_waker();
    control.on_change(move || waker.wake_by_ref());
    let stop = poll_fn(move |_| {
        if control.is_stopping() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    let done = executor.run(work(Polling::new(&executor), job, stop));
    done.unwrap_or_else(|error| Err(ServeError::Failed { worker, error }))
}
