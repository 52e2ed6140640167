//! Lists of info-hashes.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::{Entry, Fault};
use crate::InfoHash;

/// A set of info-hashes, about 21 bytes each. A lookup touches three cache lines.
#[derive(Clone, Debug, Default)]
pub struct TorrentList {
    /// Invariant: in ascending order, no two equal.
    hashes: Box<[InfoHash]>,
    /// The end of each bucket in `hashes`; a bucket is the leading bits of a hash.
    /// Invariant: `1 << (32 - shift)` ascending numbers, the last `hashes.len()`; empty without hashes.
    ends: Box<[u32]>,
    shift: u32,
}

impl TorrentList {
    /// The set of these info-hashes.
    #[must_use]
    pub fn new(hashes: impl Into<Vec<InfoHash>>) -> Self {
        let mut hashes = hashes.into();
        // By the leading 8 bytes as a number: compared faster than bytes, and rarely equal.
        hashes.sort_unstable_by(|a, b| lead(a).cmp(&lead(b)).then_with(|| a.cmp(b)));
        hashes.dedup();
        if hashes.is_empty() {
            return Self::default();
        }
        let buckets = (hashes.len() / HASHES_PER_BUCKET).next_power_of_two().max(2);
        let shift = 32 - buckets.ilog2();
        let mut ends = vec![0u32; buckets];
        for (hash, end) in hashes.iter().zip(1..) {
            if let Some(slot) = ends.get_mut(bucket(hash, shift)) {
                *slot = end;
            }
        }
        let mut before = 0;
        for end in &mut ends {
            before = before.max(*end);
            *end = before;
        }
        Self {
            hashes: hashes.into_boxed_slice(),
            ends: ends.into_boxed_slice(),
            shift,
        }
    }

    /// Whether the set holds this info-hash. O(log n) at worst, a few steps on average.
    #[must_use]
    pub fn contains(&self, info_hash: &InfoHash) -> bool {
        if self.hashes.is_empty() {
            return false;
        }
        let bucket = bucket(info_hash, self.shift);
        let end_of = |bucket: usize| self.ends.get(bucket).map_or(0, |&end| end as usize);
        let begin = bucket.checked_sub(1).map_or(0, end_of);
        let within = self.hashes.get(begin..end_of(bucket)).unwrap_or_default();
        within.binary_search(info_hash).is_ok()
    }

    /// How many info-hashes the set holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Bytes of memory that the set takes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        size_of_val(&*self.hashes) + size_of_val(&*self.ends)
    }

    /// Whether the set holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

/// A line: 40 hexadecimal digits, or the 64 of a v2 info-hash (BEP 52), whose first 20 bytes count.
impl Entry for InfoHash {
    fn parse(line: &[u8]) -> Result<Self, Fault> {
        Self::from_hex(line).ok_or(Fault::NotInfoHash)
    }

    /// Takes lines of 40 digits and nothing else.
    fn parse_plain<'a>(text: &'a [u8], room: usize, entries: &mut Vec<Self>) -> &'a [u8] {
        let mut rest = text;
        for _ in 0..room {
            let Some((digits, after)) = rest.split_first_chunk() else {
                break;
            };
            let ([b'\n', after @ ..] | [b'\r', b'\n', after @ ..]) = after else {
                break;
            };
            let Some(info_hash) = Self::from_digits(digits) else {
                break;
            };
            entries.push(info_hash);
            rest = after;
        }
        rest
    }
}

/// Hashes in a bucket on average: fewer would cost memory, more would touch further cache lines.
const HASHES_PER_BUCKET: usize = 4;

const fn bucket(InfoHash([a, b, c, d, ..]): &InfoHash, shift: u32) -> usize {
    (u32::from_be_bytes([*a, *b, *c, *d]) >> shift) as usize
}

const fn lead(InfoHash([a, b, c, d, e, f, g, h, ..]): &InfoHash) -> u64 {
    u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{BadLines, Reader};
    use quickcheck::quickcheck;
    use std::borrow::ToOwned as _;
    use std::collections::BTreeSet;
    use std::format;
    use std::string::String;

    #[test]
    fn a_line_is_an_info_hash_of_either_kind() {
        let hash = InfoHash([0xab; 20]);
        assert_eq!(InfoHash::parse("aB".repeat(20).as_bytes()), Ok(hash));
        assert_eq!(InfoHash::parse("Ab".repeat(32).as_bytes()), Ok(hash));
        assert_eq!(
            InfoHash::parse("ab".repeat(21).as_bytes()),
            Err(Fault::NotInfoHash)
        );
    }

    #[test]
    fn hashes_that_share_their_beginning_are_told_apart() {
        let alike = |last: u8| InfoHash(core::array::from_fn(|at| if at == 19 { last } else { 9 }));
        let list = TorrentList::new((0..200).step_by(2).map(alike).collect::<Vec<_>>());
        assert_eq!(list.len(), 100);
        for last in 0..200 {
            assert_eq!(list.contains(&alike(last)), last % 2 == 0, "{last}");
        }
    }

    /// An info-hash that has nothing but lines read one by one.
    #[derive(Debug)]
    struct OneByOne(InfoHash);

    impl Entry for OneByOne {
        fn parse(line: &[u8]) -> Result<Self, Fault> {
            InfoHash::parse(line).map(OneByOne)
        }
    }

    fn read<E: Entry>(text: &[u8], cut: usize) -> Result<Vec<E>, BadLines> {
        let mut reader = Reader::with_capacity(0);
        text.chunks(cut).try_for_each(|piece| reader.feed(piece))?;
        reader.finish()
    }

    /// A line as it is often found, or one of those between which it has to be told apart.
    fn line(seed: u8) -> String {
        let digits = format!("{seed:02x}").repeat(20);
        match seed % 32 {
            0 => format!(" {digits}\n"),
            1 => format!("{digits} # why\n"),
            2 => digits + &"F".repeat(24) + "\n",
            3 => "\u{feff}".to_owned() + &digits + "\n",
            4 => "\n".to_owned(),
            5 => digits + "\r",
            6..14 => digits + "\r\n",
            _ => digits.to_ascii_uppercase() + "\n",
        }
    }

    quickcheck! {
        fn plain_lines_are_read_as_all_others(lines: Vec<u8>, cut: u8) -> bool {
            let text: String = lines.into_iter().map(line).collect();
            let each = read::<OneByOne>(text.as_bytes(), text.len().max(1));
            let hashes = each.map(|hashes| hashes.into_iter().map(|OneByOne(hash)| hash).collect());
            read::<InfoHash>(text.as_bytes(), usize::from(cut) + 1) == hashes
        }

        fn a_list_holds_what_a_set_holds(seeds: Vec<u16>, asked: Vec<u16>) -> bool {
            let hash = |seed: u16| InfoHash(core::array::from_fn(|at| seed.to_be_bytes()[at % 2]));
            let hashes: Vec<_> = seeds.iter().copied().map(hash).collect();
            let set: BTreeSet<_> = hashes.iter().copied().collect();
            let list = TorrentList::new(hashes);
            list.len() == set.len()
                && list.is_empty() == set.is_empty()
                && seeds.iter().chain(&asked).all(|&seed| list.contains(&hash(seed)) == set.contains(&hash(seed)))
        }
    }
}
