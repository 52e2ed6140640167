//! Which processor each worker runs on.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors that this process may use, if there is one for each worker.
#[derive(Clone, Debug)]
pub(crate) struct Processors(Vec<usize>);

impl Processors {
    /// What so many workers are given. More workers than processors go wherever the system puts them.
    pub(crate) fn for_workers(workers: usize) -> Self {
        // What cannot be learned is not needed.
        let allowed = sched_getaffinity(None).unwrap_or_default();
        let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect();
        Self(if workers <= allowed.len() {
            allowed
        } else {
            Vec::new()
        })
    }

    /// Keeps this thread, of the worker with this number from 1 on, on its processor.
    pub(crate) fn pin(&self, worker: usize) {
        if let Some(&cpu) = self.0.get(worker - 1) {
            let mut only = CpuSet::new();
            only.set(cpu);
            // A processor that went away meanwhile is none to insist on.
            let _ = sched_setaffinity(None, &only);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_is_pinned_to_a_processor_of_its_own_unless_there_are_too_few() {
        let allowed = sched_getaffinity(None).unwrap();
        let count = allowed.count() as usize;
        let processors = Processors::for_workers(count);
        for worker in 1..=count {
            processors.pin(worker);
            let pinned = sched_getaffinity(None).unwrap();
            assert_eq!(pinned.count(), 1);
            assert!(pinned.is_set(processors.0[worker - 1]) && allowed.is_set(processors.0[worker - 1]));
        }
        sched_setaffinity(None, &allowed).unwrap();
        Processors::for_workers(count + 1).pin(1);
        assert_eq!(sched_getaffinity(None).unwrap(), allowed);
    }
}
