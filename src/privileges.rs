//! Dropping privileges once the sockets are open: the root directory, and the rights of root.

mod sys;

use std::fmt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid, User};

use crate::options::{Setting, Source};
use crate::terminal::Tell;

/// The privileges to drop.
#[derive(Debug)]
pub(crate) struct Privileges {
    user: Option<(String, Uid, Gid)>,
    root: Option<Setting<PathBuf>>,
}

impl Privileges {
    /// Looks up the user before the root directory changes, as the new one need not have /etc/passwd.
    ///
    /// # Errors
    /// The user does not exist or is root, or this process is not root.
    pub(crate) fn look_up(
        user: Option<&Setting<String>>,
        root: Option<&Setting<PathBuf>>,
    ) -> Result<Self, PrivilegeError> {
        let source = user.map(|user| user.source);
        let source = source.or_else(|| root.map(|root| root.source));
        let user = user.map(find_user).transpose()?;
        match source {
            Some(source) if !Uid::effective().is_root() => Err(PrivilegeError::NotRoot(source)),
            _ => Ok(Self {
                user,
                root: root.cloned(),
            }),
        }
    }

    /// Changes the root directory, drops groups, group and user, and verifies that they cannot be regained. Must be called before
    /// the process has other threads.
    ///
    /// # Errors
    /// A step fails. The process must end then.
    pub(crate) fn drop(self, tell: Tell<'_>) -> Result<(), PrivilegeError> {
        if let Some(root) = &self.root {
            let failed = |error| PrivilegeError::NoRoot(root.clone(), error);
            unistd::chroot(&root.value).map_err(failed)?;
            unistd::chdir("/").map_err(failed)?;
        }
        let Some((name, uid, gid)) = self.user else {
            return Ok(());
        };
        let act = |what, done: nix::Result<()>| done.map_err(|error| PrivilegeError::Failed(what, error));
        act("drop groups", sys::drop_groups(gid))?;
        act("change group", sys::change_group(gid))?;
        act("change user", sys::change_user(uid))?;
        act("give up new privileges", sys::give_up_new_privileges())?;
        prove(uid, gid)?;
        let root = self.root.map_or_else(String::new, |root| {
            format!(" in the root {}", root.value.display())
        });
        tell(&format_args!("Serving as {name} ({uid}:{gid}){root}"));
        Ok(())
    }
}

/// Why privileges cannot be dropped. Shown as one line.
#[derive(Debug)]
pub(crate) enum PrivilegeError {
    /// The user does not exist.
    NoUser(Setting<String>),
    /// The user is root, which keeps all rights and can leave any root directory.
    RootUser(Setting<String>),
    /// Only root may change user and root.
    NotRoot(Source),
    /// The directory cannot become the root.
    NoRoot(Setting<PathBuf>, Errno),
    /// The system refuses a step.
    Failed(&'static str, Errno),
    /// A right is still there.
    Kept(&'static str),
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser(Setting { source, value }) => write!(f, "{source}={value}: there is no such user"),
            Self::RootUser(Setting { source, value }) => {
                write!(f, "{source}={value}: must be another user than root")
            }
            Self::NotRoot(source) => {
                write!(f, "{source}: only root may change user and root; start as root")
            }
            Self::NoRoot(Setting { source, value }, error) => {
                let (folder, reason) = (value.display(), error.desc());
                write!(f, "{source}={folder}: cannot become the root folder: {reason}")
            }
            Self::Failed(act, error) => write!(f, "cannot {act}: {}", error.desc()),
            Self::Kept(what) => write!(f, "privileges are not given up: {what}"),
        }
    }
}

impl std::error::Error for PrivilegeError {}

/// A user by name or by number.
fn find_user(name: &Setting<String>) -> Result<(String, Uid, Gid), PrivilegeError> {
    let failed = |error| PrivilegeError::Failed("look up the user", error);
    let found = match name.value.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(&name.value),
    };
    let user = found
        .map_err(failed)?
        .ok_or_else(|| PrivilegeError::NoUser(name.clone()))?;
    if user.uid.is_root() || user.gid.as_raw() == 0 {
        return Err(PrivilegeError::RootUser(name.clone()));
    }
    Ok((user.name, user.uid, user.gid))
}

/// Verifies that the ids are the user's, and that becoming root again fails.
fn prove(uid: Uid, gid: Gid) -> Result<(), PrivilegeError> {
    let failed = |error| PrivilegeError::Failed("ask who this is", error);
    let ids_are_right = sys::ids_are(uid, gid).map_err(failed)?;
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    for (regained, what) in [
        (!ids_are_right, "the ids are not those of the user"),
        (unistd::setuid(root.0).is_ok(), "the user can become root"),
        (unistd::setgid(root.1).is_ok(), "the group can become root's"),
        (unistd::chroot(".").is_ok(), "the root can be changed"),
    ] {
        if regained {
            return Err(PrivilegeError::Kept(what));
        }
    }
    Ok(())
}
