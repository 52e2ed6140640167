//! The threads of all workers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::job::WorkerJob;
use crate::{Control, Job, ServeError};

/// Has each worker of `job` do `run` on a thread of its own, until all are done. When one fails, the others are stopped.
///
/// # Errors
/// That of the first worker that failed or panicked.
pub fn run_workers<F>(job: Job, run: F) -> Result<(), ServeError>
where
    F: Fn(WorkerJob) -> Result<(), ServeError> + Send + Sync + 'static,
{
    let (control, run) = (Arc::clone(&job.control), Arc::new(run));
    let (results, done) = channel();
    let mut started = 0;
    for job in job.divide() {
        started += 1;
        if let Err(error) = start(job, Arc::clone(&run), results.clone()) {
            // It counts as a worker that is done.
            let _ = results.send(Err(error));
        }
    }
    drop(results);
    wait(started, &done, &control)
}

fn start<F>(job: WorkerJob, run: Arc<F>, results: Sender<Result<(), ServeError>>) -> Result<(), ServeError>
where
    F: Fn(WorkerJob) -> Result<(), ServeError> + Send + Sync + 'static,
{
    let worker = job.number;
    let thread = thread::Builder::new().name(format!("etracker-{worker}"));
    let body = move || {
        // A thread that dies in silence leaves sockets that swallow their share of the clients.
        let result = catch_unwind(AssertUnwindSafe(|| run(job)));
        // Nobody listens any more if this worker took too long to stop.
        let _ = results.send(result.unwrap_or(Err(ServeError::Panicked { worker })));
    };
    let spawned = thread.spawn(body);
    spawned
        .map(drop)
        .map_err(|error| ServeError::Start { worker, error })
}

/// Waits for all workers; once one has failed, only for a while.
fn wait(
    started: usize,
    done: &Receiver<Result<(), ServeError>>,
    control: &Control,
) -> Result<(), ServeError> {
    let mut outcome = Ok(());
    let mut deadline: Option<Instant> = None;
    for _ in 0..started {
        let result = match deadline {
            None => done.recv().ok(),
            Some(deadline) => done
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
                .ok(),
        };
        match result {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                outcome = outcome.and(Err(error));
                control.stop();
                // One that hangs must not keep a tracker alive that no longer serves.
                deadline.get_or_insert_with(|| Instant::now() + Duration::from_millis(STOP_MILLIS_MAX));
            }
            None => break,
        }
    }
    outcome
}

/// Milliseconds that the other workers may take to stop once one has failed.
const STOP_MILLIS_MAX: u64 = 2000;

#[cfg(test)]
mod tests {
    use std::io;

    use etracker_core::{Config, Seed, Tracker};

    use super::*;
    use crate::{Clock, WorkerSockets};

    fn job(workers: usize) -> Job {
        let clock = Clock::start();
        Job {
            tracker: Arc::new(Tracker::new(Config::default(), Seed::new([0; 32]), clock.now())),
            fronts: crate::Fronts::new(&Seed::new([0; 32]), &Config::default()),
            sockets: (0..workers).map(|_| WorkerSockets::default()).collect(),
            clock,
            control: Arc::new(Control::new()),
            connections_max: 100,
        }
    }

    /// What a worker does that lives until it is stopped.
    fn live(job: &WorkerJob) {
        while !job.control.is_stopping() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn every_worker_has_an_equal_share_of_connections_and_a_number() {
        let (sender, receiver) = channel();
        let report = move |job: WorkerJob| {
            sender.send((job.number, job.connections_max)).unwrap();
            Ok(())
        };
        run_workers(job(3), report).unwrap();
        let mut shares: Vec<_> = receiver.iter().collect();
        shares.sort_unstable();
        assert_eq!(shares, [(1, 33), (2, 33), (3, 33)]);
    }

    #[test]
    fn a_worker_that_panics_stops_all() {
        let error = run_workers(job(3), |job| {
            assert!(job.number != 2, "this one panics");
            live(&job);
            Ok(())
        });
        assert!(matches!(error, Err(ServeError::Panicked { worker: 2 })));
    }

    #[test]
    fn the_first_failure_is_the_one_that_is_told() {
        let error = run_workers(job(3), |job| {
            let worker = job.number;
            if worker != 2 {
                live(&job);
            }
            let error = io::Error::other("broken");
            Err(ServeError::Failed { worker, error })
        });
        assert_eq!(error.unwrap_err().to_string(), "worker 2 failed: broken");
    }
}
