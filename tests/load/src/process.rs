//! A process's use of processor and memory.

use std::fs;
use std::io;

use crate::sys;

/// Processor time that all threads of a process have used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CpuTime {
    pub(crate) user_secs: f64,
    pub(crate) system_secs: f64,
    /// Both, more precisely.
    pub(crate) total_secs: f64,
}

impl CpuTime {
    /// Asks the system for it.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let [user, system] = ticks(&stat).ok_or_else(|| io::Error::other("an odd /proc/PID/stat"))?;
        #[expect(clippy::cast_precision_loss, reason = "ticks are a hundredth of a second")]
        let secs = |ticks: u64| ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Ok(Self {
            user_secs: secs(user),
            system_secs: secs(system),
            total_secs: sys::cpu_time(pid)?.as_secs_f64(),
        })
    }

    /// That of a process and of all that it started, which must last.
    pub(crate) fn of_family(pid: u32) -> io::Result<Self> {
        let mut sum = Self::default();
        for pid in family(pid) {
            let one = Self::of(pid)?;
            sum.user_secs += one.user_secs;
            sum.system_secs += one.system_secs;
            sum.total_secs += one.total_secs;
        }
        Ok(sum)
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            user_secs: self.user_secs - earlier.user_secs,
            system_secs: self.system_secs - earlier.system_secs,
            total_secs: self.total_secs - earlier.total_secs,
        }
    }
}

/// Resident memory of a process, in MiB.
pub(crate) fn resident_mib(pid: u32) -> io::Result<u64> {
    Ok(resident_kib(pid)? / 1024)
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.ok_or_else(|| io::Error::other("no VmRSS in /proc/PID/status"))
}

/// The sum of a process and of all that it started.
pub(crate) fn resident_mib_of_family(pid: u32) -> io::Result<u64> {
    family(pid).into_iter().map(resident_mib).sum()
}

/// A process and all that it started, as far as they are there.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut seen = 0;
    while let Some(pid) = all.get(seen).copied() {
        seen += 1;
        let threads = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(
                children
                    .split_ascii_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    all
}

/// Has this thread, and what it starts, run on one processor, or on all that there are.
pub(crate) fn pin(cpu: Option<usize>) -> io::Result<()> {
    let mut cpus = rustix::thread::CpuSet::new();
    match cpu {
        Some(cpu) if cpu < rustix::thread::CpuSet::MAX_CPU => cpus.set(cpu),
        Some(_) => return Err(io::Error::other("there is no such processor")),
        None => (0..rustix::thread::CpuSet::MAX_CPU).for_each(|cpu| cpus.set(cpu)),
    }
    Ok(rustix::thread::sched_setaffinity(None, &cpus)?)
}

/// The 14th and the 15th field. The second is a name in parentheses, which may hold anything.
fn ticks(stat: &str) -> Option<[u64; 2]> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some([fields.next()?.parse().ok()?, fields.next()?.parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 123 45 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some([123, 45]));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let pid = std::process::id();
        let before = CpuTime::of(pid).unwrap();
        while CpuTime::of(pid).unwrap().since(before).total_secs == 0.0 {}
        assert!(CpuTime::of(u32::MAX).is_err());
        assert!(resident_mib(pid).unwrap() > 0);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(family(pid).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
