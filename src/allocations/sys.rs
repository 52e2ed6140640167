//! The system's allocator, with a count.
#![expect(
    unsafe_code,
    reason = "an allocator is unsafe; each block says why it is sound"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::Ordering::Relaxed;

use super::Calls;

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

// SAFETY: all is done by the system's allocator; to count allocates nothing and does not unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Calls::of_this_thread().malloc.fetch_add(1, Relaxed);
        // SAFETY: the caller promised what is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Calls::of_this_thread().calloc.fetch_add(1, Relaxed);
        // SAFETY: the caller promised what is asked for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Calls::of_this_thread().realloc.fetch_add(1, Relaxed);
        // SAFETY: the caller promised what is asked for, and the memory comes from the system's allocator.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        Calls::of_this_thread().free.fetch_add(1, Relaxed);
        // SAFETY: the caller promised what is asked for, and the memory comes from the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}
