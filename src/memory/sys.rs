//! What the operating system says about the machine's memory.
#![expect(
    unsafe_code,
    reason = "the calls are foreign; each block says why it is sound"
)]

/// The memory of the machine; nothing where the system does not tell.
///
/// Not from `/proc/meminfo`: a service without sight of other processes does not see that file.
pub(crate) fn machine_bytes() -> Option<u64> {
    // SAFETY: the call reads a constant of the system.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    // SAFETY: the call reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let (pages, page) = (u64::try_from(pages).ok()?, u64::try_from(page).ok()?);
    pages.checked_mul(page).filter(|&bytes| bytes > 0)
}
