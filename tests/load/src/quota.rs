//! A share of a processor, and of memory, that a process is held to by a cgroup of its own: version 1 or 2, whichever
//! there is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::report::complain;

/// What a process is held to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// Hundredths of one processor.
    pub(crate) percent: Option<u32>,
    /// Bytes of memory.
    pub(crate) memory: Option<u64>,
}

/// Cgroups that are gone when this is dropped; their processes have to be gone before.
pub(crate) struct Quota(Vec<PathBuf>);

impl Quota {
    /// A cgroup with these limits; with version 1 there is one for each.
    ///
    /// # Errors
    /// This process may not make one.
    pub(crate) fn new(limits: Limits, name: &str) -> io::Result<Self> {
        let name = format!("etracker-load-{}-{name}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        let mut quota = Self(Vec::new());
        let cpu = limits.percent.map(|percent| percent * PERIOD_MICROS / 100);
        if root.join("cpu/cpu.cfs_quota_us").exists() {
            if let Some(micros) = cpu {
                quota.make(
                    root.join("cpu").join(&name),
                    &[("cpu.cfs_quota_us", micros.to_string())],
                )?;
            }
            if let Some(bytes) = limits.memory {
                quota.make(
                    root.join("memory").join(&name),
                    &[("memory.limit_in_bytes", bytes.to_string())],
                )?;
            }
        } else {
            // They are there already unless nobody has asked for them yet.
            drop(fs::write(root.join("cgroup.subtree_control"), "+cpu +memory"));
            let cpu = cpu.map(|micros| ("cpu.max", format!("{micros} {PERIOD_MICROS}")));
            let memory = limits.memory.map(|bytes| ("memory.max", bytes.to_string()));
            let values: Vec<_> = cpu.into_iter().chain(memory).collect();
            quota.make(root.join(&name), &values)?;
        }
        Ok(quota)
    }

    fn make(&mut self, path: PathBuf, values: &[(&str, String)]) -> io::Result<()> {
        fs::create_dir(&path)?;
        self.0.push(path.clone());
        values
            .iter()
            .try_for_each(|(file, value)| fs::write(path.join(file), value))
    }

    /// Holds a process, and what it starts, to this from now on.
    pub(crate) fn hold(&self, pid: u32) -> io::Result<()> {
        self.0
            .iter()
            .try_for_each(|path| fs::write(path.join(PROCESSES), pid.to_string()))
    }

    /// A command that runs `command` under this from its first instruction on.
    pub(crate) fn held(&self, command: &[String]) -> Vec<String> {
        let files = self
            .0
            .iter()
            .map(|path| path.join(PROCESSES).display().to_string());
        let script = files.fold(String::new(), |script, file| {
            format!("{script}echo $$ >'{file}' && ")
        });
        let shell = ["sh", "-c", &format!("{script}exec \"$@\""), "sh"].map(str::to_owned);
        shell.into_iter().chain(command.iter().cloned()).collect()
    }

    /// Processes that were killed since there was no more memory for them.
    pub(crate) fn killed(&self) -> u64 {
        let counts = self
            .0
            .iter()
            .flat_map(|path| ["memory.oom_control", "memory.events"].map(|file| path.join(file)));
        counts
            .filter_map(|file| fs::read_to_string(file).ok())
            .filter_map(|text| kills(&text))
            .sum()
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        for path in &self.0 {
            let gone = (0..100).any(|_| {
                sleep(Duration::from_millis(20));
                fs::remove_dir(path).is_ok()
            });
            if !gone {
                complain(format_args!("{} is left behind", path.display()));
            }
        }
    }
}

/// The line of both versions.
fn kills(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

const PROCESSES: &str = "cgroup.procs";
/// The period of the quota, which is the system's default in both versions.
const PERIOD_MICROS: u32 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_enters_every_cgroup_before_it_begins() {
        let quota = Quota(vec![PathBuf::from("/no/a"), PathBuf::from("/no/b")]);
        let held = quota.held(&["tracker".to_owned(), "-w".to_owned()]);
        assert_eq!(
            held[2],
            "echo $$ >'/no/a/cgroup.procs' && echo $$ >'/no/b/cgroup.procs' && exec \"$@\""
        );
        assert_eq!(held[3..], ["sh", "tracker", "-w"]);
        std::mem::forget(quota);
    }

    #[test]
    fn kills_are_counted_in_both_versions() {
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(
            kills("low 0\nmax 3\noom 3\noom_kill 2\noom_group_kill 0\n"),
            Some(2)
        );
        assert_eq!(kills(""), None);
    }
}
