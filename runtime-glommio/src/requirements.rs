//! Whether this system has what glommio needs.

use std::error::Error;
use std::io::ErrorKind;
use std::{fmt, io};

use etracker_runtime_common::Plain;
use glommio::GlommioError;
use io_uring::{IoUring, Probe, opcode};
use rustix::process::{Resource, getrlimit};

use crate::executor::executor;

/// Looks whether a worker can start here, as far as that can be told without sockets.
///
/// # Errors
/// What is missing.
pub fn check() -> Result<(), Missing> {
    // Glommio asks for the same, but its error does not say so.
    if let Some(limit) = getrlimit(Resource::Memlock).current
        && limit < LOCKED_BYTES_MIN
    {
        return Err(Missing::LockedMemory { limit });
    }
    // Glommio ends the whole process where io_uring is missing: it must not be the first to try.
    let ring = IoUring::new(1).map_err(Missing::Ring)?;
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(Missing::Ring)?;
    if NEEDED.iter().any(|&operation| !probe.is_supported(operation)) {
        return Err(Missing::Operations);
    }
    executor().map_err(Missing::executor)?;
    Ok(())
}

/// What a system lacks that glommio needs, shown as one line that says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Missing {
    /// There is no io_uring for this process.
    Ring(io::Error),
    /// The io_uring of this kernel is too old.
    Operations,
    /// Too little memory may be locked.
    LockedMemory {
        /// Bytes that may be locked.
        limit: u64,
    },
    /// Glommio does not start, for a reason of its own.
    Executor(io::Error),
}

impl fmt::Display for Missing {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of errors are not ours")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(error) => match error.kind() {
                ErrorKind::PermissionDenied => f.write_str(
                    "io_uring is forbidden: set kernel.io_uring_disabled to 0, or have the container's seccomp profile allow io_uring",
                ),
                ErrorKind::Unsupported => f.write_str(
                    "there is no io_uring: it takes Linux 5.8 or later, and in a container a seccomp profile that allows it",
                ),
                ErrorKind::OutOfMemory => {
                    f.write_str("io_uring may lock too little memory: raise the limit (ulimit -l)")
                }
                _ => write!(f, "io_uring cannot be used: {}", Plain(error)),
            },
            Self::Operations => f.write_str("the io_uring of this kernel is too old: it takes Linux 5.8 or later"),
            Self::LockedMemory { limit } => write!(
                f,
                "glommio locks {0} KiB of memory and may lock {1}: raise the limit (ulimit -l {0})",
                LOCKED_BYTES_MIN / 1024,
                limit / 1024
            ),
            Self::Executor(error) => write!(f, "glommio does not start: {}", Plain(error)),
        }
    }
}

impl Error for Missing {}

impl Missing {
    /// Glommio's own error, which stays out of the public interface.
    pub(crate) fn executor(error: GlommioError<()>) -> Self {
        Self::Executor(error.into())
    }
}

/// Bytes that must be lockable for glommio to start.
pub const LOCKED_BYTES_MIN: u64 = 512 << 10;
/// The operations without which glommio ends the process.
const NEEDED: [u8; 23] = [
    opcode::Nop::CODE,
    opcode::Readv::CODE,
    opcode::Writev::CODE,
    opcode::Fsync::CODE,
    opcode::ReadFixed::CODE,
    opcode::WriteFixed::CODE,
    opcode::PollAdd::CODE,
    opcode::PollRemove::CODE,
    opcode::SendMsg::CODE,
    opcode::RecvMsg::CODE,
    opcode::Timeout::CODE,
    opcode::TimeoutRemove::CODE,
    opcode::Accept::CODE,
    opcode::LinkTimeout::CODE,
    opcode::Connect::CODE,
    opcode::Fallocate::CODE,
    opcode::OpenAt::CODE,
    opcode::Close::CODE,
    opcode::Statx::CODE,
    opcode::Read::CODE,
    opcode::Write::CODE,
    opcode::Send::CODE,
    opcode::Recv::CODE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_in_one_line_with_what_to_do() {
        let ring = |kind: ErrorKind| Missing::Ring(kind.into()).to_string();
        let limit = 64 << 10;
        for (line, advice) in [
            (Missing::LockedMemory { limit }.to_string(), "(ulimit -l 512)"),
            (ring(ErrorKind::PermissionDenied), "io_uring_disabled"),
            (ring(ErrorKind::Unsupported), "Linux 5.8"),
            (ring(ErrorKind::OutOfMemory), "ulimit -l"),
            (Missing::Operations.to_string(), "Linux 5.8"),
        ] {
            assert!(line.contains(advice) && !line.contains('\n'), "{line}");
        }
    }
}
