//! Signals that are ignored.
#![expect(
    unsafe_code,
    reason = "no safe wrapper ignores signals; each block says why it is sound"
)]

use libc::c_int;

/// Has the system ignore `signal`, in this process and in those that it starts. A signal that cannot be ignored stays as
/// it is.
pub(super) fn ignore(signal: c_int) {
    // SAFETY: no handler is installed, so that no code runs when the signal comes.
    let _ = unsafe { libc::signal(signal, libc::SIG_IGN) };
}
