//! A network that loses, duplicates, reorders, delays and partitions.

use crate::chance::Chance;
use crate::queue::{HOUR, MINUTE, Millis, SECOND};

/// How datagrams and streams fare between the tracker and the regions that actors live in.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) loss: f64,
    pub(crate) duplication: f64,
    pub(crate) reordering: f64,
    /// One way, for each region.
    latency: Vec<Millis>,
    jitter: Millis,
    /// Regions and the times during which nothing passes between them and the tracker.
    partitions: Vec<(u32, Millis, Millis)>,
}

/// How many regions there are.
pub(crate) const REGIONS: u32 = 4;

impl Network {
    pub(crate) fn draw(chance: &mut Chance, loss_max: f64, begin: Millis, end: Millis) -> Self {
        let mut partitions = Vec::new();
        let between = chance.range(4 * HOUR..48 * HOUR);
        if chance.hit(0.6) {
            let mut at = begin + chance.about(between);
            while at < end {
                let region = chance.number() % REGIONS;
                let until = at + chance.range(MINUTE..2 * HOUR);
                partitions.push((region, at, until));
                at += chance.about(between);
            }
        }
        Self {
            loss: chance.weight(loss_max),
            duplication: chance.weight(0.05),
            reordering: chance.weight(0.1),
            latency: (0..REGIONS).map(|_| chance.range(2..180)).collect(),
            jitter: chance.range(1..40),
            partitions,
        }
    }

    /// A network that only loses.
    pub(crate) fn lossy(loss: f64) -> Self {
        Self {
            loss,
            duplication: 0.0,
            reordering: 0.0,
            latency: vec![40; REGIONS as usize],
            jitter: 20,
            partitions: Vec::new(),
        }
    }

    /// Cuts all regions off for a time.
    pub(crate) fn cut_all(&mut self, from: Millis, to: Millis) {
        self.partitions
            .extend((0..REGIONS).map(|region| (region, from, to)));
    }

    /// When a datagram sent at `now` arrives: never, once, or twice.
    pub(crate) fn arrivals(&self, chance: &mut Chance, region: u32, now: Millis) -> [Option<Millis>; 2] {
        [true, chance.hit(self.duplication)].map(|sent| {
            if !sent || chance.hit(self.loss) {
                return None;
            }
            let at = now + self.delay(chance, region);
            (!self.is_cut(region, now, at)).then_some(at)
        })
    }

    /// How long one datagram or segment takes.
    pub(crate) fn delay(&self, chance: &mut Chance, region: u32) -> Millis {
        let late = if chance.hit(self.reordering) {
            chance.below(REORDERING_MAX)
        } else {
            0
        };
        self.latency.get(region as usize).copied().unwrap_or(1) + chance.below(self.jitter) + late
    }

    /// Whether the region is cut off at some time from `from` to `to`.
    pub(crate) fn is_cut(&self, region: u32, from: Millis, to: Millis) -> bool {
        let mut cuts = self.partitions.iter();
        cuts.any(|(cut, begin, end)| *cut == region && *begin <= to && from < *end)
    }

    /// The probability that a request and its answer do not both arrive, when one is sent at `now` and the other may be
    /// on its way until `until`.
    pub(crate) fn failure(&self, region: u32, now: Millis, until: Millis) -> f64 {
        if self.is_cut(region, now, until) {
            1.0
        } else {
            1.0 - (1.0 - self.loss).powi(2)
        }
    }
}

/// A datagram that is overtaken arrives up to this much later.
const REORDERING_MAX: Millis = 5 * SECOND;
