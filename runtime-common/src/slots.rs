//! The connection slots of a worker: deadlines, and which connection is closed when none is free.

use std::task::Waker;
use std::time::Duration;

use etracker_core::Instant;

/// The connections of one worker: a fixed number of them at most.
#[derive(Debug)]
pub(crate) struct ConnectionSlots {
    slots: Vec<Slot>,
    free: Vec<SlotId>,
    /// The ends of the list of connections that wait for their client, in the order in which they began to.
    waiting_longest: SlotId,
    waiting_shortest: SlotId,
}

/// The number of a slot in [`ConnectionSlots`].
pub(crate) type SlotId = u32;

#[derive(Debug)]
struct Slot {
    occupied: bool,
    /// Since when its client is waited for; only waiting connections are evicted.
    /// Invariant: the slot is in the list of waiting ones if and only if this is set.
    waiting_since: Option<Instant>,
    longer: SlotId,
    shorter: SlotId,
    /// When it is to be woken, whatever happens.
    deadline: Instant,
    waker: Option<Waker>,
    evicted: bool,
}

impl Default for ConnectionSlots {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            waiting_longest: NO_SLOT,
            waiting_shortest: NO_SLOT,
        }
    }
}

impl ConnectionSlots {
    /// How many are occupied.
    pub(crate) fn occupied(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Occupies a slot for a new connection.
    pub(crate) fn occupy(&mut self) -> SlotId {
        let slot = Slot {
            occupied: true,
            waiting_since: None,
            longer: NO_SLOT,
            shorter: NO_SLOT,
            deadline: Instant::default(),
            waker: None,
            evicted: false,
        };
        let id = self.free.pop().unwrap_or_else(|| {
            // Descriptors are far fewer.
            SlotId::try_from(self.slots.len()).unwrap_or(NO_SLOT)
        });
        match self.slots.get_mut(id as usize) {
            Some(place) => *place = slot,
            None => self.slots.push(slot),
        }
        id
    }

    /// Frees a slot.
    pub(crate) fn release(&mut self, id: SlotId) {
        // The list must not lead to a slot that the next client takes.
        self.mark_busy(id);
        let slot = &mut self.slots[id as usize];
        slot.occupied = false;
        // It keeps the memory of a task that is done.
        slot.waker = None;
        self.free.push(id);
    }

    /// Has a connection woken at its deadline at the latest.
    pub(crate) fn set_deadline(&mut self, id: SlotId, deadline: Instant, waker: &Waker) {
        let slot = &mut self.slots[id as usize];
        slot.deadline = deadline;
        match &mut slot.waker {
            // Clones nothing if it wakes the same task, which is the rule.
            Some(known) => known.clone_from(waker),
            None => slot.waker = Some(waker.clone()),
        }
    }

    /// Notes that a connection waits for its client, unless it is known to wait already.
    pub(crate) fn mark_waiting(&mut self, id: SlotId, now: Instant) {
        let last = self.waiting_shortest;
        let slot = &mut self.slots[id as usize];
        // A client that sends its request byte by byte must not pass for one that has just come.
        if slot.waiting_since.is_some() {
            return;
        }
        slot.waiting_since = Some(now);
        (slot.longer, slot.shorter) = (last, NO_SLOT);
        self.waiting_shortest = id;
        self.link(last, id);
    }

    /// Notes that a connection no longer waits for its client.
    pub(crate) fn mark_busy(&mut self, id: SlotId) {
        let slot = &mut self.slots[id as usize];
        if slot.waiting_since.take().is_none() {
            return;
        }
        let (longer, shorter) = (slot.longer, slot.shorter);
        self.link(longer, shorter);
        if self.waiting_shortest == id {
            self.waiting_shortest = longer;
        }
    }

    /// Whether a connection is to close for a new one.
    pub(crate) fn is_evicted(&self, id: SlotId) -> bool {
        self.slots[id as usize].evicted
    }

    /// Has the connection close that waits for its client longest, if it does so for [`WAIT_MILLIS_MIN`].
    pub(crate) fn evict_longest_waiting(&mut self, now: Instant) {
        let id = self.waiting_longest;
        let Some(slot) = self.slots.get_mut(id as usize) else {
            return;
        };
        let since = slot.waiting_since.unwrap_or(now);
        // All others began to wait later.
        if now.saturating_since(since) < Duration::from_millis(WAIT_MILLIS_MIN) {
            return;
        }
        slot.evicted = true;
        // Off the list before its task runs, so that the next call asks another one.
        let waker = slot.waker.clone();
        self.mark_busy(id);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes those whose deadline is over. Linear in the slots: some ten nanoseconds each.
    pub(crate) fn wake_overdue(&self, now: Instant) {
        self.wake(|slot| slot.deadline <= now);
    }

    /// Wakes all.
    pub(crate) fn wake_all(&self) {
        self.wake(|_| true);
    }

    fn wake(&self, which: impl Fn(&Slot) -> bool) {
        let slots = self.slots.iter().filter(|slot| slot.occupied && which(slot));
        for waker in slots.filter_map(|slot| slot.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }

    /// Makes two slots, or an end of the list and a slot, neighbours.
    fn link(&mut self, longer: SlotId, shorter: SlotId) {
        match self.slots.get_mut(longer as usize) {
            Some(slot) => slot.shorter = shorter,
            None => self.waiting_longest = shorter,
        }
        if let Some(slot) = self.slots.get_mut(shorter as usize) {
            slot.longer = longer;
        }
    }
}

const NO_SLOT: SlotId = SlotId::MAX;
/// Milliseconds that a client is waited for even if others want its slot: longer than a request on a slow line takes
/// to follow its handshake.
const WAIT_MILLIS_MIN: u64 = 500;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn occupied(slots: &mut ConnectionSlots, deadline: Instant) -> (SlotId, Arc<Count>) {
        let count = Arc::new(Count::default());
        let id = slots.occupy();
        slots.set_deadline(id, deadline, &Waker::from(Arc::clone(&count)));
        (id, count)
    }

    fn woken(count: &Count) -> usize {
        count.0.swap(0, Ordering::Relaxed)
    }

    #[test]
    fn only_the_overdue_are_woken() {
        let mut slots = ConnectionSlots::default();
        let (_, early) = occupied(&mut slots, Instant::from_secs(1));
        let (_, late) = occupied(&mut slots, Instant::from_secs(2));
        let (gone, left) = occupied(&mut slots, Instant::from_secs(1));
        slots.release(gone);
        slots.wake_overdue(Instant::from_secs(1));
        assert_eq!((woken(&early), woken(&late), woken(&left)), (1, 0, 0));
    }

    #[test]
    fn the_one_that_waits_longest_is_evicted_first() {
        let mut slots = ConnectionSlots::default();
        let now = Instant::from_secs(100);
        let (ids, counts): (Vec<_>, Vec<_>) = (0..6).map(|_| occupied(&mut slots, now)).unzip();
        for id in [3, 0, 4, 1] {
            slots.mark_waiting(ids[id], Instant::from_secs(id as u64));
        }
        // Who has begun to wait does not begin anew; who was served in between does; who left is not evicted.
        slots.mark_waiting(ids[3], now);
        slots.mark_busy(ids[0]);
        slots.mark_waiting(ids[0], now);
        slots.release(ids[4]);
        let order: Vec<usize> = std::iter::from_fn(|| {
            slots.evict_longest_waiting(Instant::from_secs(101));
            counts.iter().position(|count| woken(count) > 0)
        })
        .collect();
        assert_eq!(order, [3, 1, 0]);
        let asked: Vec<bool> = ids.iter().map(|&id| slots.is_evicted(id)).collect();
        assert_eq!(asked, [true, true, false, true, false, false]);
    }

    #[test]
    fn a_client_that_has_just_come_is_not_evicted() {
        let mut slots = ConnectionSlots::default();
        let (id, count) = occupied(&mut slots, Instant::from_secs(9));
        slots.mark_waiting(id, Instant::from_millis(1000));
        slots.evict_longest_waiting(Instant::from_millis(1000 + WAIT_MILLIS_MIN - 1));
        assert_eq!((woken(&count), slots.is_evicted(id)), (0, false));
    }

    #[test]
    fn slots_are_used_again() {
        let mut slots = ConnectionSlots::default();
        for _ in 0..10 {
            let ids = [slots.occupy(), slots.occupy(), slots.occupy()];
            slots.mark_waiting(ids[1], Instant::default());
            assert_eq!(slots.occupied(), 3);
            for id in ids {
                slots.release(id);
            }
        }
        assert_eq!((slots.occupied(), slots.slots.len()), (0, 3));
    }
}
