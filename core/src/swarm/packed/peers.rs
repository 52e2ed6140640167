//! Peers in columns: all endpoints, then all stamps, then all ids. Endpoints stand as they go over the wire.

use alloc::vec::Vec;
use core::ops::Range;

use crate::PeerId;
use crate::announce::Family;

use super::compact::Compact;
use super::lanes;
use super::stamp::{BEEN_SEEDER, SEEDER, Stamp};
use super::work;

/// How wide the columns are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) family: Family,
    pub(super) ids: bool,
}

impl Shape {
    /// Bytes of one peer.
    pub(super) const fn stride(self) -> usize {
        match (self.family, self.ids) {
            (Family::V4, false) => 6 + 1,
            (Family::V4, true) => 6 + 1 + 20,
            (Family::V6, false) => 18 + 1,
            (Family::V6, true) => 18 + 1 + 20,
        }
    }

    /// Bytes of one peer in each column.
    pub(super) const fn widths(self) -> [usize; 3] {
        [self.family.compact_len(), 1, if self.ids { 20 } else { 0 }]
    }

    /// Peers in `len` bytes. The divisors are written out, so that none is divided by at run time.
    pub(super) const fn count(self, len: usize) -> usize {
        match (self.family, self.ids) {
            (Family::V4, false) => len / 7,
            (Family::V4, true) => len / 27,
            (Family::V6, false) => len / 19,
            (Family::V6, true) => len / 39,
        }
    }
}

/// One peer on its way into a column, or out of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) endpoint: Compact,
    pub(super) stamp: Stamp,
    pub(super) id: PeerId,
}

/// The columns of some peers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns<'a> {
    family: Family,
    pub(super) endpoints: &'a [u8],
    pub(super) stamps: &'a [Stamp],
    pub(super) ids: &'a [u8],
}

impl<'a> Columns<'a> {
    pub(super) fn new(shape: Shape, bytes: &'a [u8]) -> Self {
        let count = shape.count(bytes.len());
        let (endpoints, rest) = bytes.split_at(count * shape.family.compact_len());
        let (stamps, ids) = rest.split_at(count);
        Self {
            family: shape.family,
            endpoints,
            stamps,
            ids,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.stamps.len()
    }

    pub(super) fn seeders(&self) -> usize {
        let (eights, rest) = self.stamps.as_chunks();
        // Eight at a time: a branch for each would be guessed wrong as often as not.
        let eights = eights
            .iter()
            .map(|&eight| lanes::count_highest(u64::from_le_bytes(eight)));
        let rest = rest.iter().map(|&stamp| usize::from(stamp / SEEDER));
        eights.sum::<usize>() + rest.sum::<usize>()
    }

    /// Where the peer `endpoint` is.
    pub(super) fn position(&self, endpoint: &Compact) -> Option<usize> {
        match self.family {
            Family::V4 => position::<6>(self.endpoints, endpoint),
            Family::V6 => position::<18>(self.endpoints, endpoint),
        }
    }

    /// How many peers have the address of `endpoint`.
    pub(super) fn of_address(&self, endpoint: &Compact) -> usize {
        match self.family {
            Family::V4 => of_address::<6, 4>(self.endpoints, endpoint),
            Family::V6 => of_address::<18, 8>(self.endpoints, endpoint),
        }
    }

    /// The endpoints and the ids of some peers; no ids if none are kept.
    pub(super) fn range(&self, range: Range<usize>) -> (&'a [u8], &'a [u8]) {
        let width = self.family.compact_len();
        let endpoints = self.endpoints.get(range.start * width..range.end * width);
        let ids = self.ids.get(range.start * 20..range.end * 20);
        (endpoints.unwrap_or_default(), ids.unwrap_or_default())
    }

    /// The peer number `index`, if there are so many.
    pub(super) fn entry(&self, index: usize) -> Option<Entry> {
        let stamp = *self.stamps.get(index)?;
        let (endpoint, id) = self.range(index..index + 1);
        Some(Entry {
            endpoint: Compact::from_bytes(self.family, endpoint),
            stamp,
            id: id.first_chunk().copied().map(PeerId).unwrap_or_default(),
        })
    }

    pub(super) fn entries(self) -> impl Iterator<Item = Entry> + use<'a> {
        let (family, ids) = (self.family, self.ids.as_chunks::<20>().0);
        let endpoints = self.endpoints.chunks_exact(family.compact_len());
        let columns = endpoints.zip(self.stamps).enumerate();
        columns.map(move |(index, (endpoint, &stamp))| Entry {
            endpoint: Compact::from_bytes(family, endpoint),
            stamp,
            id: ids.get(index).copied().map(PeerId).unwrap_or_default(),
        })
    }
}

/// `N` are the bytes of an endpoint. The end of the address tells most of them apart, by one comparison of four bytes.
fn position<const N: usize>(endpoints: &[u8], endpoint: &Compact) -> Option<usize> {
    let endpoint = endpoint.octets().first_chunk::<N>()?;
    // The first bytes are alike in peers of one network, and many ports are alike too.
    let telling = |octets: &[u8; N]| {
        octets
            .get(N - 6..N - 2)
            .and_then(<[u8]>::first_chunk::<4>)
            .copied()
    };
    let told = telling(endpoint);
    let (blocks, rest) = endpoints.as_chunks::<N>().0.as_chunks::<BLOCK>();
    let among = |some: &[[u8; N]]| {
        let mut found = None;
        for (index, other) in some.iter().enumerate() {
            // Not left at once: a processor goes on faster than it guesses where to stop.
            found = if other == endpoint { Some(index) } else { found };
        }
        found
    };
    for (number, block) in blocks.iter().enumerate() {
        let told_here = |any, other| any | (telling(other) == told);
        // Seldom true, and then seldom by chance: so the endpoints are compared in one block of all.
        if block.iter().fold(false, told_here)
            && let Some(index) = among(block)
        {
            return Some(number * BLOCK + index);
        }
    }
    among(rest).map(|index| blocks.len() * BLOCK + index)
}

/// Endpoints that are compared without a branch between.
const BLOCK: usize = 8;

/// `N` are the bytes of an endpoint, and the first `A` of them what counts as its address.
fn of_address<const N: usize, const A: usize>(endpoints: &[u8], endpoint: &Compact) -> usize {
    let address = endpoint.octets().first_chunk::<A>();
    let endpoints = endpoints.as_chunks::<N>().0.iter();
    endpoints
        .filter(|other| other.first_chunk::<A>() == address)
        .count()
}

/// Where the stamps of `count` peers at `start` are.
pub(super) const fn stamps_at(shape: Shape, start: usize, count: usize) -> Range<usize> {
    let stamps = start + count * shape.family.compact_len();
    stamps..stamps + count
}

/// Notes a new announce of the peer number `index` of the `count` at `start`. That it has been a seeder stays noted.
/// Returns its stamp before.
#[inline]
pub(super) fn renew(
    bytes: &mut [u8],
    shape: Shape,
    start: usize,
    count: usize,
    index: usize,
    entry: &Entry,
) -> Stamp {
    let stamps = stamps_at(shape, start, count);
    let mut before = 0;
    if let Some(stamp) = bytes.get_mut(stamps.start + index) {
        before = *stamp;
        *stamp = entry.stamp | (before & BEEN_SEEDER);
    }
    // A client may have chosen a new name since (BEP 3 leaves it to the client).
    if shape.ids {
        let id = stamps.end + index * 20;
        if let Some(place) = bytes.get_mut(id..id + 20) {
            place.copy_from_slice(&entry.id.0);
        }
    }
    before
}

/// Adds a peer to the `count` at `start`.
pub(super) fn push(bytes: &mut Vec<u8>, shape: Shape, start: usize, count: usize, entry: &Entry) {
    let old = bytes.len();
    work::copied(old + shape.stride() - start);
    // Exactly: room for more in each of a million pages would be what the store is made to save.
    bytes.reserve_exact(shape.stride());
    bytes.resize(old + shape.stride(), 0);
    let ends = column_ends(shape, start, count);
    let stamp = [entry.stamp];
    let values = [entry.endpoint.bytes(), &stamp, &entry.id.0];
    // From the last column to the first, so that each moves over what has already moved.
    let mut moved_to = old;
    let mut gap = shape.stride();
    for ((end, width), value) in ends.into_iter().zip(shape.widths()).zip(values).rev() {
        bytes.copy_within(end..moved_to, end + gap);
        gap -= width;
        if let Some(place) = bytes.get_mut(end + gap..end + gap + width) {
            place.copy_from_slice(value.get(..width).unwrap_or_default());
        }
        moved_to = end;
    }
}

/// Takes the peer number `index` from the `count` at `start`; the last one takes its place.
pub(super) fn swap_remove(bytes: &mut Vec<u8>, shape: Shape, start: usize, count: usize, index: usize) {
    work::copied(bytes.len() - start);
    // From the first column to the last, so that each closes the gap that the one before left.
    let mut begin = start;
    let mut gap = 0;
    for width in shape.widths() {
        let end = begin + count * width;
        bytes.copy_within(end - width..end, begin + index * width);
        bytes.copy_within(begin..end - width, begin - gap);
        gap += width;
        begin = end;
    }
    let len = bytes.len();
    bytes.copy_within(begin..len, begin - gap);
    bytes.truncate(len - gap);
}

/// Keeps those of the `count` peers at `start` whose numbers `keep` says yes to. Returns how many are left.
pub(super) fn retain(bytes: &mut Vec<u8>, shape: Shape, start: usize, count: usize, keep: &[bool]) -> usize {
    work::copied(bytes.len() - start);
    let mut from = start;
    let mut to = start;
    // Columns one after the other, each closed up against the one before.
    for width in shape.widths() {
        for &kept in keep.iter().take(count) {
            if kept {
                bytes.copy_within(from..from + width, to);
                to += width;
            }
            from += width;
        }
    }
    let len = bytes.len();
    bytes.copy_within(from..len, to);
    bytes.truncate(to + len - from);
    (to - start) / shape.stride()
}

/// Where the three columns of `count` peers at `start` end.
const fn column_ends(shape: Shape, start: usize, count: usize) -> [usize; 3] {
    let [endpoint, stamp, id] = shape.widths();
    let endpoints = start + count * endpoint;
    let stamps = endpoints + count * stamp;
    [endpoints, stamps, stamps + count * id]
}

#[cfg(test)]
mod tests {
    use std::vec;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Push(u32),
        SwapRemove(usize),
        Retain(Vec<bool>),
    }

    impl Arbitrary for Op {
        fn arbitrary(g: &mut Gen) -> Self {
            match u8::arbitrary(g) % 8 {
                0..5 => Self::Push(u32::arbitrary(g)),
                5 | 6 => Self::SwapRemove(usize::arbitrary(g)),
                _ => Self::Retain(Vec::arbitrary(g)),
            }
        }
    }

    fn entry(family: Family, number: u32) -> Entry {
        let octets: Vec<_> = number.to_le_bytes().into_iter().cycle().take(20).collect();
        Entry {
            endpoint: Compact::from_bytes(family, &octets[..family.compact_len()]),
            stamp: octets[0],
            id: PeerId(octets.try_into().unwrap()),
        }
    }

    quickcheck! {
        fn columns_are_a_list_between_other_bytes(ops: Vec<Op>, v6: bool, ids: bool) -> bool {
            let shape = Shape { family: if v6 { Family::V6 } else { Family::V4 }, ids };
            let (before, after) = (b"before", b"after");
            let mut bytes = [&before[..], &after[..]].concat();
            let mut model = vec![];
            for op in ops {
                let count = model.len();
                match op {
                    Op::Push(number) => {
                        push(&mut bytes, shape, 6, count, &entry(shape.family, number));
                        model.push(number);
                    }
                    Op::SwapRemove(index) if count > 0 => {
                        swap_remove(&mut bytes, shape, 6, count, index % count);
                        model.swap_remove(index % count);
                    }
                    Op::SwapRemove(_) => {}
                    Op::Retain(mut keep) => {
                        keep.resize(count, true);
                        let mut kept = keep.iter();
                        model.retain(|_| *kept.next().unwrap());
                        assert_eq!(retain(&mut bytes, shape, 6, count, &keep), model.len());
                    }
                }
                let end = bytes.len() - after.len();
                assert!(bytes.starts_with(before) && bytes.ends_with(after));
                let columns = Columns::new(shape, &bytes[6..end]);
                assert_eq!(columns.len(), model.len());
                for (found, &number) in columns.entries().zip(&model) {
                    let wanted = entry(shape.family, number);
                    assert_eq!((found.endpoint, found.stamp), (wanted.endpoint, wanted.stamp));
                    assert_eq!(found.id, if ids { wanted.id } else { PeerId::default() });
                    let position = columns.position(&wanted.endpoint).unwrap();
                    assert_eq!(model[position], number);
                }
            }
            true
        }
    }
}
