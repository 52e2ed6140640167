//! The Linux runtime, on glommio: each worker is a thread with an executor of its own, on a processor of its own where
//! there are enough, and waits by the io_uring of that executor alone.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "etracker-glommio waits by io_uring, which only Linux has: build without the feature `glommio`"
);

mod means;
mod mechanism;
mod processors;
mod stream;
mod sys;
mod yielding;

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use etracker_runtime_common::{Control, Job, ServeError, run_workers, work};
use futures_lite::AsyncReadExt as _;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, net};

pub use crate::means::{LOCKED_BYTES_MIN, Lack, check};
use crate::mechanism::Glommio;
use crate::processors::Processors;

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
        let executor = executor().map_err(|lack| start(io::Error::other(lack)))?;
        let (ear, mouth) = UnixStream::pair().map_err(start)?;
        tell_stop(&job.control, mouth);
        executor.run(async { work(Glommio, job, stop(ear)).await })
    })
}

fn executor() -> Result<LocalExecutor, Lack> {
    // Glommio's own placement asks sysfs, which a chroot lacks, and does not heed the processors that this process
    // may use: `Processors` does.
    LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT)
        .make()
        .map_err(Lack::from)
}

/// Has `mouth` closed when the workers are asked to stop. A waker of glommio's is not called from other threads.
fn tell_stop(control: &Control, mouth: UnixStream) {
    control.on_change(move || {
        // The other end may be gone: then that worker has stopped already.
        let _ = (&mouth).write_all(&[0]);
    });
}

/// Waits until the workers are asked to stop.
async fn stop(ear: UnixStream) {
    // What comes is the request, and an end or an error would be no reason to go on.
    let _ = sys::watch::<net::UnixStream>(ear).read(&mut [0]).await;
}

/// Bytes that each of glommio's three rings registers for storage, which is not used here: its least. Locked memory is
/// scarce.
const IO_MEMORY_BYTES: usize = 64 << 10;
/// Time after which tasks that always have something to do are made to let glommio look at its rings: never, as they let it
/// by themselves, see `Mechanism::yield_now`. An executor that loses its processor for so long just as it wakes takes its
/// tasks for done, and sleeps until something else wakes it. A quota takes the processor away for most of each tenth of a
/// second.
const PREEMPT: Duration = Duration::from_secs(3600);
