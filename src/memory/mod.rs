//! How much memory the process may take, and what of it is left for swarms.

mod budget;
mod cgroup;
mod sys;

use std::fmt;
use std::path::Path;

use crate::options::{Setting, Source};
pub(crate) use budget::{Budget, Needs, TooSmall};
pub(crate) use sys::machine_bytes;

/// The most memory that the process is to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cap {
    pub(crate) bytes: u64,
    pub(crate) from: From,
}

/// Where a cap comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The operator has said so.
    Option(Source),
    /// Three quarters of the limit of the cgroup, in bytes.
    Cgroup(u64),
    /// Three quarters of the memory of the machine, in bytes.
    Machine(u64),
}

impl Cap {
    /// What the operator says, or three quarters of what the system gives; nothing where it does not tell.
    ///
    /// To be asked before the process changes to another root.
    pub(crate) fn find(given: Option<Setting<u64>>) -> Option<Self> {
        match given {
            Some(Setting { source, value }) => Some(Self {
                bytes: value,
                from: From::Option(source),
            }),
            None => Self::of_system(cgroup_bytes(), machine_bytes()),
        }
    }

    fn of_system(cgroup: Option<u64>, machine: Option<u64>) -> Option<Self> {
        // A cgroup without a limit of its own may say a number that no machine has.
        let (bytes, from) = match (cgroup, machine) {
            (Some(cgroup), machine) if machine.is_none_or(|machine| cgroup < machine) => {
                (cgroup, From::Cgroup(cgroup))
            }
            (_, machine) => (machine?, From::Machine(machine?)),
        };
        Some(Self {
            bytes: bytes / 4 * 3,
            from,
        })
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |f: &mut fmt::Formatter<'_>, whole, name| {
            write!(
                f,
                "{}, three quarters of the {name}'s {}",
                Mib(self.bytes),
                Mib(whole)
            )
        };
        match self.from {
            From::Option(source) => write!(f, "{} ({source})", Mib(self.bytes)),
            From::Cgroup(whole) => of(f, whole, "cgroup"),
            From::Machine(whole) => of(f, whole, "machine"),
        }
    }
}

/// The memory limit of the cgroups that the process is in, if they have one.
pub(crate) fn cgroup_bytes() -> Option<u64> {
    cgroup::limit(&|path: &Path| std::fs::read_to_string(path).ok())
}

/// Bytes, shown in the unit that memory is counted in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mib(pub(crate) u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0 >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_three_quarters_of_the_smaller_of_cgroup_and_machine() {
        let bytes = |cgroup, machine| Cap::of_system(cgroup, machine).map(|cap| (cap.bytes, cap.from));
        assert_eq!(bytes(Some(400), Some(4000)), Some((300, From::Cgroup(400))));
        assert_eq!(
            bytes(Some(1 << 62), Some(4000)),
            Some((3000, From::Machine(4000)))
        );
        assert_eq!(bytes(None, Some(4000)), Some((3000, From::Machine(4000))));
        assert_eq!(bytes(Some(400), None), Some((300, From::Cgroup(400))));
        assert_eq!(bytes(None, None), None);
    }

    #[test]
    fn a_cap_says_where_it_comes_from() {
        let cap = Cap::of_system(Some(400 << 20), Some(4000 << 20)).unwrap();
        assert_eq!(cap.to_string(), "300 MiB, three quarters of the cgroup's 400 MiB");
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(machine_bytes().is_some_and(|bytes| bytes > 64 << 20));
    }
}
