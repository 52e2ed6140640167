//! The memory limit of cgroups, of both versions: see cgroups(7).

use std::path::{Path, PathBuf};

/// The smallest limit of the cgroups that this process is in and of those above them; nothing if there is none.
/// `read` gives the content of a file.
pub(super) fn limit(read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let limits = groups.lines().filter_map(|line| limit_of(line, read));
    limits.min()
}

/// The limit of the hierarchy that a line of `/proc/self/cgroup` names.
fn limit_of(line: &str, read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (mounts, files): (&[&str], &[&str]) = if controllers.split(',').any(|name| name == "memory") {
        (&["/sys/fs/cgroup/memory"], &["memory.limit_in_bytes"])
    } else if (number, controllers) == ("0", "") {
        // Processes are held back above `memory.high`, and ended above `memory.max`.
        (
            &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
            &["memory.max", "memory.high"],
        )
    } else {
        return None;
    };
    let path = path.trim_start_matches('/');
    let limits = mounts.iter().flat_map(|mount| {
        // In a container the mount may be the group itself, and the path one that only the host knows: then the folders
        // on the way are not there, but the mount is.
        let folders = upwards(Path::new(mount), path);
        folders.flat_map(|folder| files.iter().map(move |file| folder.join(file)))
    });
    limits.filter_map(|file| read(&file)?.trim().parse().ok()).min()
}

/// The folder `mount/path` and those above it, up to `mount`.
fn upwards(mount: &Path, path: &str) -> impl Iterator<Item = PathBuf> {
    let mut path = Some(Path::new(path));
    std::iter::from_fn(move || {
        let folder = mount.join(path?);
        path = path.and_then(Path::parent);
        Some(folder)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_with(files: &[(&str, &str)]) -> Option<u64> {
        limit(&|path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, content)| format!("{content}\n"))
        })
    }

    #[test]
    fn the_smallest_limit_of_version_2_counts_from_the_group_upwards() {
        let groups = ("/proc/self/cgroup", "0::/system.slice/etracker.service");
        let service = "/sys/fs/cgroup/system.slice/etracker.service/";
        let max = format!("{service}memory.max");
        let high = format!("{service}memory.high");
        let slice = "/sys/fs/cgroup/system.slice/memory.max";
        assert_eq!(
            limit_with(&[groups, (&max, "300"), (&high, "max"), (slice, "max")]),
            Some(300)
        );
        assert_eq!(limit_with(&[groups, (&max, "300"), (&high, "200")]), Some(200));
        assert_eq!(limit_with(&[groups, (&max, "max"), (slice, "100")]), Some(100));
        assert_eq!(limit_with(&[groups, (&max, "max"), (slice, "max")]), None);
    }

    #[test]
    fn version_1_has_a_hierarchy_for_memory() {
        let groups = ("/proc/self/cgroup", "9:cpu,cpuacct:/a\n4:memory:/b/c\n0::/a");
        let files = [
            groups,
            ("/sys/fs/cgroup/memory/b/c/memory.limit_in_bytes", "314572800"),
            (
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712",
            ),
            ("/sys/fs/cgroup/cpu/a/memory.limit_in_bytes", "1"),
        ];
        assert_eq!(limit_with(&files), Some(314_572_800));
    }

    #[test]
    fn in_a_container_the_mount_is_the_group() {
        let version_1 = ("/proc/self/cgroup", "4:memory:/docker/0123");
        let file = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
        assert_eq!(limit_with(&[version_1, (file, "300")]), Some(300));
        let version_2 = ("/proc/self/cgroup", "0::/../0123");
        assert_eq!(
            limit_with(&[version_2, ("/sys/fs/cgroup/memory.max", "300")]),
            Some(300)
        );
        let root = ("/proc/self/cgroup", "0::/");
        assert_eq!(
            limit_with(&[root, ("/sys/fs/cgroup/memory.max", "300")]),
            Some(300)
        );
    }

    #[test]
    fn without_cgroups_there_is_no_limit() {
        assert_eq!(limit_with(&[]), None);
        assert_eq!(limit_with(&[("/proc/self/cgroup", "nonsense")]), None);
    }
}
