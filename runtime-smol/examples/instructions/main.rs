//! A recorded conversation with one worker, for `scripts/instructions` to count what the worker does: seed, clock and
//! batches are fixed, and clients and worker take turns on one thread, so that it is the same each time.

#[cfg(target_os = "linux")]
mod conversation;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    conversation::hold()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("instructions: there is valgrind, and a worker that can be driven by hand, on Linux alone");
}
