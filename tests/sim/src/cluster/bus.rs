//! The bus between nodes.

use crate::chance::Chance;
use crate::queue::{EPOCH, MINUTE, Millis, SECOND};

/// How messages fare between nodes.
#[derive(Clone, Debug)]
pub(super) struct Bus {
    loss: f64,
    duplication: f64,
    reordering: f64,
    delay: Millis,
    /// Times at which the nodes below a number and the others do not hear each other.
    partitions: Vec<(Millis, Millis, usize)>,
    disasters: u64,
    /// When the storm ends.
    calm: Millis,
}

impl Bus {
    pub(super) fn draw(chance: &mut Chance, nodes: usize, calm: Millis) -> Self {
        let partitions = (0..chance.below(3)).map(|_| {
            let from = chance.range(EPOCH..calm - MINUTE);
            let until = from + chance.range(10 * SECOND..12 * MINUTE);
            (from, until.min(calm - SECOND), chance.index(nodes))
        });
        let partitions = partitions.collect();
        // In three of ten runs there is nothing but delay.
        let is_stormy = chance.hit(0.7);
        let mut weight = |max| if is_stormy { chance.weight(max) } else { 0.0 };
        Self {
            loss: weight(0.2),
            duplication: weight(0.2),
            reordering: weight(0.2),
            partitions: if is_stormy { partitions } else { Vec::new() },
            disasters: if is_stormy { chance.below(6) } else { 0 },
            delay: chance.range(1..150),
            calm,
        }
    }

    /// Whether nothing is lost, and no node crashes.
    pub(super) fn is_gentle(&self) -> bool {
        self.loss == 0.0 && self.partitions.is_empty() && self.disasters == 0
    }

    /// Crashes, and breaks of a connection: when, of which node, and for how long.
    pub(super) fn disasters(&self, chance: &mut Chance, nodes: usize) -> Vec<(Millis, usize, Millis, bool)> {
        let mut disasters: Vec<(Millis, usize, Millis, bool)> = Vec::new();
        for _ in 0..self.disasters {
            let at = chance.range(EPOCH + MINUTE..self.calm - MINUTE);
            let lasts = chance.range(SECOND..5 * MINUTE).min(self.calm - SECOND - at);
            let node = chance.index(nodes);
            // One at a time for each node.
            if disasters.iter().all(|(begin, other, length, _)| {
                *other != node || at > begin + length + SECOND || begin > &(at + lasts + SECOND)
            }) {
                disasters.push((at, node, lasts, chance.hit(0.5)));
            }
        }
        disasters
    }

    /// When copies of a message arrive; `None` for one that is lost.
    pub(super) fn arrivals(
        &self,
        chance: &mut Chance,
        now: Millis,
        from: usize,
        to: usize,
    ) -> Vec<Option<Millis>> {
        let is_stormy = now + SECOND < self.calm;
        let copies = 1 + usize::from(chance.hit(self.duplication));
        let arrival = |_| {
            if is_stormy && (chance.hit(self.loss) || self.is_cut(now, from, to)) {
                return None;
            }
            // In the calm, too.
            let late = if chance.hit(self.reordering) {
                chance.below(LATE_MAX)
            } else {
                0
            };
            Some(now + 1 + chance.below(self.delay) + late)
        };
        (0..copies).map(arrival).collect()
    }

    fn is_cut(&self, now: Millis, from: usize, to: usize) -> bool {
        let mut partitions = self.partitions.iter();
        partitions
            .any(|(begin, end, below)| (*begin..*end).contains(&now) && (from < *below) != (to < *below))
    }
}

/// How much later a message comes that others overtake.
pub(super) const LATE_MAX: Millis = 3 * SECOND;
