//! A share of a processor that a process is held to, by a cgroup of its own: version 1 or 2, whichever there is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::report::complain;

/// A cgroup that is gone when this is dropped; its processes have to be gone before.
pub(crate) struct Quota(PathBuf);

impl Quota {
    /// A cgroup with so many hundredths of one processor.
    ///
    /// # Errors
    /// This process may not make one.
    pub(crate) fn new(percent: u32, name: &str) -> io::Result<Self> {
        let name = format!("etracker-load-{}-{name}", std::process::id());
        let micros = percent * PERIOD_MICROS / 100;
        let cpu = Path::new("/sys/fs/cgroup/cpu");
        let (path, file, value) = if cpu.join("cpu.cfs_quota_us").exists() {
            (cpu.join(name), "cpu.cfs_quota_us", micros.to_string())
        } else {
            let root = Path::new("/sys/fs/cgroup");
            // It is there already unless nobody has asked for it yet.
            drop(fs::write(root.join("cgroup.subtree_control"), "+cpu"));
            (root.join(name), "cpu.max", format!("{micros} {PERIOD_MICROS}"))
        };
        fs::create_dir(&path)?;
        let quota = Self(path);
        fs::write(quota.0.join(file), value)?;
        Ok(quota)
    }

    /// Holds a process, and what it starts, to this from now on.
    pub(crate) fn hold(&self, pid: u32) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string())
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        complain(format_args!("{} is left behind", self.0.display()));
    }
}

/// The period of the quota, which is the system's default in both versions.
const PERIOD_MICROS: u32 = 100_000;
