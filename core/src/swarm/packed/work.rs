//! Counts of the work that an operation takes, for the tests that bound it. Outside tests nothing is counted.

#[cfg(test)]
use std::cell::Cell;

/// Bytes that were moved or copied to make room or to close gaps.
pub(super) fn copied(bytes: usize) {
    #[cfg(test)]
    add(|work| work.bytes += bytes);
    let _ = bytes;
}

/// A page or bucket was looked into.
pub(super) fn touched() {
    #[cfg(test)]
    add(|work| work.blocks += 1);
}

/// Peers or torrents that went to another page or bucket, or were looked at to see whether they do.
pub(super) fn moved(peers: usize) {
    #[cfg(test)]
    add(|work| work.peers += peers);
    let _ = peers;
}

/// A bucket was dropped, with what it held.
#[cfg(test)]
pub(super) fn freed() {
    add(|work| work.freed += 1);
}

/// What was done since the last time somebody asked.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) blocks: usize,
    pub(crate) peers: usize,
    pub(crate) bytes: usize,
    pub(crate) freed: usize,
}

#[cfg(test)]
impl Work {
    /// The greater of each count.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            blocks: self.blocks.max(other.blocks),
            peers: self.peers.max(other.peers),
            bytes: self.bytes.max(other.bytes),
            freed: self.freed.max(other.freed),
        }
    }
}

#[cfg(test)]
std::thread_local! {
    static WORK: Cell<Work> = const { Cell::new(Work { blocks: 0, peers: 0, bytes: 0, freed: 0 }) };
}

#[cfg(test)]
fn add(change: impl FnOnce(&mut Work)) {
    let mut work = WORK.get();
    change(&mut work);
    WORK.set(work);
}

/// Takes the counts of this thread and starts anew.
#[cfg(test)]
pub(crate) fn take() -> Work {
    WORK.take()
}
