//! What the operating system says about memory.
#![cfg_attr(
    unix,
    expect(
        unsafe_code,
        reason = "the calls are foreign; each block says why it is sound"
    )
)]

/// See [`resident_max_bytes`](super::resident_max_bytes).
#[cfg(unix)]
pub(super) fn resident_max_bytes() -> Option<u64> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to writable memory of the type's size.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: all fields are integers, for which zeros are valid.
    let usage = unsafe { usage.assume_init() };
    let size = u64::try_from(usage.ru_maxrss).ok().filter(|_| result == 0);
    size.map(|size| size.saturating_mul(MAXRSS_UNIT))
}

/// See [`resident_max_bytes`](super::resident_max_bytes).
#[cfg(not(unix))]
pub(super) fn resident_max_bytes() -> Option<u64> {
    None
}

/// Bytes in a page of memory.
#[cfg(unix)]
pub(super) fn page_bytes() -> u64 {
    // SAFETY: the call reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// Bytes in a page of memory.
#[cfg(not(unix))]
pub(super) fn page_bytes() -> u64 {
    4096
}

/// Gives free memory back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn trim() {
    // SAFETY: the call changes nothing but memory that the allocator holds free.
    unsafe { libc::malloc_trim(0) };
}

/// Gives free memory back to the system: this allocator cannot be asked to.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn trim() {}

/// See [`join_free_memory_at_once`](super::join_free_memory_at_once).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn keep_no_fast_bins() {
    // SAFETY: the call changes a setting of the allocator, under the allocator's lock.
    unsafe { libc::mallopt(libc::M_MXFAST, 0) };
}

/// See [`join_free_memory_at_once`](super::join_free_memory_at_once): this allocator cannot be asked to.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn keep_no_fast_bins() {}

/// Apple's kernel counts in bytes, all others in units of 1024.
#[cfg(unix)]
const MAXRSS_UNIT: u64 = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
