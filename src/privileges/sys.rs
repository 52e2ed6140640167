//! Changing user and groups, where systems differ.

use nix::unistd::{self, Gid, Uid};

#[cfg(target_vendor = "apple")]
pub(super) use self::apple::{change_group, change_user, drop_groups, ids_are};

/// Leaves all groups but one.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn drop_groups(gid: Gid) -> nix::Result<()> {
    unistd::setgroups(&[gid])
}

/// Makes the group the real, the effective and the saved one.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn change_group(gid: Gid) -> nix::Result<()> {
    unistd::setresgid(gid, gid, gid)
}

/// Makes the user the real, the effective and the saved one.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn change_user(uid: Uid) -> nix::Result<()> {
    unistd::setresuid(uid, uid, uid)
}

/// Whether this process has these ids and no others.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn ids_are(uid: Uid, gid: Gid) -> nix::Result<bool> {
    let (users, groups) = (unistd::getresuid()?, unistd::getresgid()?);
    Ok([users.real, users.effective, users.saved] == [uid; 3]
        && [groups.real, groups.effective, groups.saved] == [gid; 3]
        && unistd::getgroups()? == [gid])
}

/// Has programs that this process starts get no rights beyond its own.
#[cfg(target_os = "linux")]
pub(super) fn give_up_new_privileges() -> nix::Result<()> {
    nix::sys::prctl::set_no_new_privs()
}

/// Only Linux can be asked to keep programs that this process starts from getting rights. The tracker starts none.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
pub(super) const fn give_up_new_privileges() -> nix::Result<()> {
    Ok(())
}

#[cfg(target_vendor = "apple")]
#[expect(
    unsafe_code,
    reason = "nix has no groups of Apple's systems; each block says why it is sound"
)]
mod apple {
    use nix::errno::Errno;

    use super::{Gid, Uid, unistd};

    /// Leaves all groups but one.
    pub(in crate::privileges) fn drop_groups(gid: Gid) -> nix::Result<()> {
        let group = gid.as_raw();
        // SAFETY: the pointer is to one group, as is said.
        Errno::result(unsafe { libc::setgroups(1, &raw const group) }).map(drop)
    }

    /// Makes the group the real, the effective and the saved one: that is what it does for root.
    pub(in crate::privileges) fn change_group(gid: Gid) -> nix::Result<()> {
        unistd::setgid(gid)
    }

    /// Makes the user the real, the effective and the saved one: that is what it does for root.
    pub(in crate::privileges) fn change_user(uid: Uid) -> nix::Result<()> {
        unistd::setuid(uid)
    }

    /// Whether this process has these ids. The saved ones cannot be asked for: who is not root any more proves them by
    /// trying to be.
    pub(in crate::privileges) fn ids_are(uid: Uid, gid: Gid) -> nix::Result<bool> {
        let mut groups = [0; 2];
        // SAFETY: the pointer is to writable memory for two groups, as is said.
        let count = Errno::result(unsafe { libc::getgroups(2, groups.as_mut_ptr()) })?;
        Ok([unistd::getuid(), unistd::geteuid()] == [uid; 2]
            && [unistd::getgid(), unistd::getegid()] == [gid; 2]
            && count == 1
            && groups[0] == gid.as_raw())
    }
}
