//! Ignoring signals.
#![expect(
    unsafe_code,
    reason = "no safe wrapper ignores signals; each block says why it is sound"
)]

use libc::c_int;

/// Ignores `signal` in this process and its children. A signal that cannot be ignored keeps its action.
pub(super) fn ignore(signal: c_int) {
    // SAFETY: no handler is installed, so that no code runs when the signal comes.
    let _ = unsafe { libc::signal(signal, libc::SIG_IGN) };
}
