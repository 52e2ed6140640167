//! Calls of the operating system that neither std nor socket2 offers.
#![expect(
    unsafe_code,
    reason = "the calls are foreign; each block says why it is sound"
)]

use std::mem::MaybeUninit;

/// See [`crate::load_average`]. Linux' `sysinfo`: its libc's `getloadavg` reads `/proc`, which a chroot may lack.
#[cfg(target_os = "linux")]
pub(crate) fn load_average() -> Option<[f64; 3]> {
    const FIXED_POINT: f64 = 65536.0;
    let mut info = MaybeUninit::<libc::sysinfo>::zeroed();
    // SAFETY: the pointer is to writable memory of the type's size.
    let result = unsafe { libc::sysinfo(info.as_mut_ptr()) };
    // SAFETY: all fields are integers, for which zeros are valid.
    let info = unsafe { info.assume_init() };
    (result == 0).then(|| {
        info.loads.map(|load| {
            #[expect(clippy::cast_precision_loss, reason = "loads are far below 2^52")]
            let load = load as f64;
            load / FIXED_POINT
        })
    })
}

/// See [`crate::load_average`].
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn load_average() -> Option<[f64; 3]> {
    let mut loads = [0.0; 3];
    // SAFETY: the pointer is to writable memory for three numbers.
    let got = unsafe { libc::getloadavg(loads.as_mut_ptr(), 3) };
    (got == 3).then_some(loads)
}

/// See [`crate::load_average`].
#[cfg(not(unix))]
pub(crate) fn load_average() -> Option<[f64; 3]> {
    None
}
