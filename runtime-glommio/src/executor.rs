//! The executor of a worker.

use std::time::Duration;

use glommio::{GlommioError, LocalExecutor, LocalExecutorBuilder, Placement};

/// The executor of this thread.
///
/// # Errors
/// Glommio cannot start here.
pub(crate) fn executor() -> Result<LocalExecutor, GlommioError<()>> {
    // Glommio's own placement asks sysfs, which a chroot lacks, and does not heed the processors that this process
    // may use: `Processors` does.
    LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(PREEMPT)
        .make()
}

/// Bytes that each of glommio's three rings registers for storage, which is not used here: its least. Locked memory is
/// scarce.
const IO_MEMORY_BYTES: usize = 64 << 10;
/// Time after which tasks that always have something to do are made to let glommio look at its rings: never, as they let it
/// by themselves, see `Mechanism::yield_now`. An executor that loses its processor for so long just as it wakes takes its
/// tasks for done, and sleeps until something else wakes it. A quota takes the processor away for most of each tenth of a
/// second.
const PREEMPT: Duration = Duration::from_secs(3600);
