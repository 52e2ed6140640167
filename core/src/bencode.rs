//! Bencode (BEP 3): a writer into the caller's buffer and a reader that borrows.
//!
//! Only canonical bencode is written, and read by [`Value::parse`]: integers without leading zeros, each key once, in ascending
//! order of bytes. [`Value::parse_tolerantly`] also reads what other programs write.

use core::fmt;
use core::ops::Range;

/// Writes one dictionary, filled by `fill`, to the start of `out`. Returns its length, or `None` if it does not fit.
pub fn dictionary(out: &mut [u8], fill: impl FnOnce(&mut DictionaryWriter<'_, '_>)) -> Option<usize> {
    written(out, |output| Slot { output }.dictionary(fill))
}

/// Writes pairs of a dictionary that is written in several pieces, without its `d` and `e`. Returns their length, or
/// `None` if they do not fit.
pub fn pairs(out: &mut [u8], fill: impl FnOnce(&mut DictionaryWriter<'_, '_>)) -> Option<usize> {
    written(out, |output| fill(&mut DictionaryWriter::new(output)))
}

/// Fills a dictionary. Keys are to come in ascending order.
#[derive(Debug)]
pub struct DictionaryWriter<'o, 'b> {
    output: &'o mut Output<'b>,
    /// The range of the last key in the output; empty before the first.
    key_last: Range<usize>,
}

impl<'o, 'b> DictionaryWriter<'o, 'b> {
    fn new(output: &'o mut Output<'b>) -> Self {
        Self {
            output,
            key_last: 0..0,
        }
    }

    /// Writes `key`; its value goes to what is returned.
    pub fn key(&mut self, key: &[u8]) -> Slot<'_, 'b> {
        debug_assert!(
            self.key_last.is_empty() || self.output.bytes.get(self.key_last.clone()) < Some(key),
            "keys ascend"
        );
        self.output.string(key);
        self.key_last = self.output.len.saturating_sub(key.len())..self.output.len;
        Slot { output: self.output }
    }

    /// Bytes that still fit, those that close open lists and dictionaries included.
    #[must_use]
    pub fn room(&self) -> usize {
        self.output.bytes.len() - self.output.len
    }
}

/// Fills a list.
#[derive(Debug)]
pub struct ListWriter<'o, 'b> {
    output: &'o mut Output<'b>,
}

impl<'b> ListWriter<'_, 'b> {
    /// The place of one more item.
    pub fn item(&mut self) -> Slot<'_, 'b> {
        Slot { output: self.output }
    }
}

/// The place of one value, which must be given.
#[must_use = "a key without a value is not bencode"]
#[derive(Debug)]
pub struct Slot<'o, 'b> {
    output: &'o mut Output<'b>,
}

impl Slot<'_, '_> {
    /// Puts an integer here.
    pub fn integer(self, value: impl Into<i64>) {
        let value = value.into();
        self.output.put(if value < 0 { b"i-" } else { b"i" });
        self.output.put(Decimal::new(value.unsigned_abs()).as_bytes());
        self.output.put(b"e");
    }

    /// Puts a byte string here.
    pub fn bytes(self, value: &[u8]) {
        self.output.string(value);
    }

    /// Puts a list here.
    pub fn list(self, fill: impl FnOnce(&mut ListWriter<'_, '_>)) {
        self.output.put(b"l");
        fill(&mut ListWriter { output: self.output });
        self.output.put(b"e");
    }

    /// Puts a dictionary here.
    pub fn dictionary(self, fill: impl FnOnce(&mut DictionaryWriter<'_, '_>)) {
        self.output.put(b"d");
        fill(&mut DictionaryWriter::new(self.output));
        self.output.put(b"e");
    }
}

/// Any bencoded value, borrowed from where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer of 64 bits.
    Integer(i64),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A list.
    List(List<'a>),
    /// A dictionary.
    Dictionary(Dictionary<'a>),
}

impl<'a> Value<'a> {
    /// Reads one value that takes all of `bytes`. Takes time linear in their number, and no memory.
    ///
    /// # Errors
    /// The first fault. Values nested deeper than [`DEPTH_MAX`] are one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        Self::parse_by(bytes, &mut Err)
    }

    /// Reads one value at the start of `bytes`, and calls `note` for each deviation from canonical bencode. Of a repeated key
    /// the first value counts.
    ///
    /// # Errors
    /// The fault that ends parsing.
    pub fn parse_tolerantly(bytes: &'a [u8], note: &mut dyn FnMut(Fault)) -> Result<Self, Fault> {
        Self::parse_by(bytes, &mut |fault| {
            note(fault);
            Ok(())
        })
    }

    fn parse_by(bytes: &'a [u8], judge: Judge<'_>) -> Result<Self, Fault> {
        let (value, rest) = value(bytes, 0, judge)?;
        if !rest.is_empty() {
            judge(Fault::Trailing)?;
        }
        Ok(value)
    }

    /// The number, if this is one.
    #[must_use]
    pub const fn as_integer(self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(value),
            Self::Bytes(_) | Self::List(_) | Self::Dictionary(_) => None,
        }
    }

    /// The byte string, if this is one.
    #[must_use]
    pub const fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Integer(_) | Self::List(_) | Self::Dictionary(_) => None,
        }
    }

    /// The list, if this is one.
    #[must_use]
    pub const fn as_list(self) -> Option<List<'a>> {
        match self {
            Self::List(list) => Some(list),
            Self::Integer(_) | Self::Bytes(_) | Self::Dictionary(_) => None,
        }
    }

    /// The dictionary, if this is one.
    #[must_use]
    pub const fn as_dictionary(self) -> Option<Dictionary<'a>> {
        match self {
            Self::Dictionary(dictionary) => Some(dictionary),
            Self::Integer(_) | Self::Bytes(_) | Self::List(_) => None,
        }
    }
}

/// A list that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<'a> {
    /// Invariant: whole values, one after the other.
    inside: &'a [u8],
}

impl<'a> List<'a> {
    /// The items in order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> + Clone {
        let mut rest = self.inside;
        core::iter::from_fn(move || {
            let (item, after) = value(rest, 0, &mut |_| Ok(())).ok()?;
            rest = after;
            Some(item)
        })
    }
}

/// A dictionary that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dictionary<'a> {
    /// Invariant: pairs of a byte string and a value.
    inside: &'a [u8],
}

impl<'a> Dictionary<'a> {
    /// The pairs in order of their keys.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> + Clone {
        let mut rest = self.inside;
        core::iter::from_fn(move || {
            let (key, after) = string(rest, &mut |_| Ok(())).ok()?;
            let (value, after) = value(after, 0, &mut |_| Ok(())).ok()?;
            rest = after;
            Some((key, value))
        })
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(self, key: &[u8]) -> Option<Value<'a>> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

/// Why bytes are not canonical bencode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The bytes end within a value.
    Truncated,
    /// Bytes follow the value.
    Trailing,
    /// A value begins with an unknown byte.
    NoValue,
    /// An integer is empty, not of digits, has a leading zero, is `-0` or does not fit 64 bits.
    Integer,
    /// The length of a string is not of digits, has a leading zero or is absurd.
    Length,
    /// Keys do not ascend, or one comes twice.
    KeyOrder,
    /// Values are nested deeper than [`DEPTH_MAX`].
    Depth,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the bencoded value is cut short",
            Self::Trailing => "something follows the bencoded value",
            Self::NoValue => "no bencoded value begins where one should",
            Self::Integer => "a bencoded integer is not in canonical form",
            Self::Length => "the length of a bencoded string is not in canonical form",
            Self::KeyOrder => "the keys of a bencoded dictionary are not in ascending order",
            Self::Depth => "the bencoded value is nested too deeply",
        })
    }
}

impl core::error::Error for Fault {}

/// Levels of lists and dictionaries that are read: bounds the stack. Answers of trackers have four.
pub const DEPTH_MAX: usize = 16;

/// A number in decimal digits, without leading zeros.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decimal {
    /// Invariant: ASCII digits from `start` on.
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(crate) fn new(value: u64) -> Self {
        let mut decimal = Self {
            digits: [b'0'; 20],
            start: 20,
        };
        let mut rest = value;
        for digit in decimal.digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            decimal.start -= 1;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        decimal
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.start..).unwrap_or_default()
    }
}

/// The buffer and how much of it is written.
#[derive(Debug)]
struct Output<'b> {
    bytes: &'b mut [u8],
    /// Invariant: at most `bytes.len()`.
    len: usize,
    /// A value did not fit: the output is incomplete and must not be used.
    full: bool,
}

impl Output<'_> {
    fn put(&mut self, piece: &[u8]) {
        let room = self.bytes.get_mut(self.len..self.len + piece.len());
        let Some(room) = room.filter(|_| !self.full) else {
            self.full = true;
            return;
        };
        room.copy_from_slice(piece);
        self.len += piece.len();
    }

    fn string(&mut self, string: &[u8]) {
        let digit = |number: u64| b'0' + (number % 10) as u8;
        match string.len() as u64 {
            // The keys, each in one go.
            len @ ..10 => self.put(&[digit(len), b':']),
            len @ 10..100 => self.put(&[digit(len / 10), digit(len), b':']),
            len => {
                self.put(Decimal::new(len).as_bytes());
                self.put(b":");
            }
        }
        self.put(string);
    }
}

fn written(out: &mut [u8], write: impl FnOnce(&mut Output<'_>)) -> Option<usize> {
    let mut output = Output {
        bytes: out,
        len: 0,
        full: false,
    };
    write(&mut output);
    (!output.full).then_some(output.len)
}

/// Decides whether a deviation from canonical bencode is a fault.
type Judge<'j> = &'j mut dyn FnMut(Fault) -> Result<(), Fault>;

/// A value at the start of `input`, and what follows it.
fn value<'a>(input: &'a [u8], depth: usize, judge: Judge<'_>) -> Result<(Value<'a>, &'a [u8]), Fault> {
    let (&first, rest) = input.split_first().ok_or(Fault::Truncated)?;
    match first {
        b'i' => {
            let (value, rest) = integer(rest, judge)?;
            Ok((Value::Integer(value), rest))
        }
        b'0'..=b'9' => {
            let (bytes, rest) = string(input, judge)?;
            Ok((Value::Bytes(bytes), rest))
        }
        b'l' | b'd' if depth == DEPTH_MAX => Err(Fault::Depth),
        b'l' => {
            let (inside, rest) = items(rest, depth, judge)?;
            Ok((Value::List(List { inside }), rest))
        }
        b'd' => {
            let (inside, rest) = entries(rest, depth, judge)?;
            Ok((Value::Dictionary(Dictionary { inside }), rest))
        }
        _ => Err(Fault::NoValue),
    }
}

fn items<'a>(start: &'a [u8], depth: usize, judge: Judge<'_>) -> Result<(&'a [u8], &'a [u8]), Fault> {
    let mut input = start;
    loop {
        if let Some(rest) = input.strip_prefix(b"e") {
            return Ok((before(start, input), rest));
        }
        (_, input) = value(input, depth + 1, judge)?;
    }
}

fn entries<'a>(start: &'a [u8], depth: usize, judge: Judge<'_>) -> Result<(&'a [u8], &'a [u8]), Fault> {
    let mut input = start;
    let mut key_last = None;
    loop {
        if let Some(rest) = input.strip_prefix(b"e") {
            return Ok((before(start, input), rest));
        }
        let (key, rest) = string(input, judge)?;
        if key_last.is_some_and(|last| last >= key) {
            judge(Fault::KeyOrder)?;
        }
        key_last = Some(key);
        (_, input) = value(rest, depth + 1, judge)?;
    }
}

/// The part of `start` before its suffix `rest`.
fn before<'a>(start: &'a [u8], rest: &[u8]) -> &'a [u8] {
    start
        .get(..start.len().saturating_sub(rest.len()))
        .unwrap_or_default()
}

fn string<'a>(input: &'a [u8], judge: Judge<'_>) -> Result<(&'a [u8], &'a [u8]), Fault> {
    let (digits, rest) = until(input, b':').ok_or(if input.is_empty() {
        Fault::Truncated
    } else {
        Fault::Length
    })?;
    let len = number(digits).ok_or(Fault::Length)?;
    if !is_canonical(digits) {
        judge(Fault::Length)?;
    }
    let len = usize::try_from(len).map_err(|_| Fault::Length)?;
    rest.split_at_checked(len).ok_or(Fault::Truncated)
}

/// An integer after its `i`.
fn integer<'a>(input: &'a [u8], judge: Judge<'_>) -> Result<(i64, &'a [u8]), Fault> {
    let (text, rest) = until(input, b'e').ok_or(Fault::Integer)?;
    let negative = text.strip_prefix(b"-");
    let digits = negative.unwrap_or(text);
    let size = number(digits).ok_or(Fault::Integer)?;
    if !is_canonical(digits) || (negative.is_some() && size == 0) {
        judge(Fault::Integer)?;
    }
    let value = match negative {
        None => i64::try_from(size).ok(),
        Some(_) => 0i64.checked_sub_unsigned(size),
    };
    Ok((value.ok_or(Fault::Integer)?, rest))
}

/// A number of digits.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Whether the digits have no leading zeros.
fn is_canonical(digits: &[u8]) -> bool {
    digits.len() <= 1 || !digits.starts_with(b"0")
}

/// The bytes before and after the first `end`. Only the longest number is searched, so that a missing `end` costs little.
fn until(input: &[u8], end: u8) -> Option<(&[u8], &[u8])> {
    let position = input.iter().take(DIGITS_MAX + 1).position(|byte| *byte == end)?;
    let (number, rest) = input.split_at_checked(position)?;
    Some((number, rest.get(1..)?))
}

/// Digits of the longest number read, with its sign.
const DIGITS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use std::boxed::Box;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    use quickcheck::{Arbitrary, Gen, quickcheck};

    use super::*;

    /// A value that owns its parts.
    #[derive(Clone, Debug, PartialEq)]
    enum Owned {
        Integer(i64),
        Bytes(Vec<u8>),
        List(Vec<Self>),
        Dictionary(BTreeMap<Vec<u8>, Self>),
    }

    impl Owned {
        fn write(&self, slot: Slot<'_, '_>) {
            match self {
                Self::Integer(value) => slot.integer(*value),
                Self::Bytes(bytes) => slot.bytes(bytes),
                Self::List(items) => slot.list(|list| items.iter().for_each(|item| item.write(list.item()))),
                Self::Dictionary(entries) => slot.dictionary(|dictionary| {
                    entries
                        .iter()
                        .for_each(|(key, value)| value.write(dictionary.key(key)));
                }),
            }
        }

        fn of(value: Value<'_>) -> Self {
            match value {
                Value::Integer(value) => Self::Integer(value),
                Value::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
                Value::List(list) => Self::List(list.iter().map(Self::of).collect()),
                Value::Dictionary(dictionary) => Self::Dictionary(
                    dictionary
                        .iter()
                        .map(|(key, value)| (key.to_vec(), Self::of(value)))
                        .collect(),
                ),
            }
        }

        fn arbitrary(g: &mut Gen, depth: usize) -> Self {
            let kinds: &[u8] = if depth == 0 { &[0, 1] } else { &[0, 1, 2, 3] };
            let few: Vec<()> = (0..*g.choose(&[0usize, 1, 2, 5]).unwrap()).map(|_| ()).collect();
            match g.choose(kinds).unwrap() {
                0 => Self::Integer(i64::arbitrary(g)),
                1 => Self::Bytes(Vec::arbitrary(g)),
                2 => Self::List(few.iter().map(|()| Self::arbitrary(g, depth - 1)).collect()),
                _ => Self::Dictionary(
                    few.iter()
                        .map(|()| (Vec::arbitrary(g), Self::arbitrary(g, depth - 1)))
                        .collect(),
                ),
            }
        }
    }

    /// A dictionary, as messages are.
    #[derive(Clone, Debug)]
    struct Root(BTreeMap<Vec<u8>, Owned>);

    impl Arbitrary for Root {
        fn arbitrary(g: &mut Gen) -> Self {
            let few = *g.choose(&[0usize, 1, 3]).unwrap();
            let entries = (0..few).map(|_| (Vec::arbitrary(g), Owned::arbitrary(g, 3)));
            Self(entries.collect())
        }

        fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
            let smaller = self.0.keys().cloned().collect::<Vec<_>>().into_iter();
            let entries = self.0.clone();
            Box::new(smaller.map(move |key| {
                let mut entries = entries.clone();
                entries.remove(&key);
                Self(entries)
            }))
        }
    }

    fn encoded(root: &Root, out: &mut [u8]) -> Option<usize> {
        dictionary(out, |writer| {
            root.0
                .iter()
                .for_each(|(key, value)| value.write(writer.key(key)));
        })
    }

    quickcheck! {
        fn what_is_written_is_read(root: Root) -> bool {
            let mut out = std::vec![0; 1 << 20];
            let len = encoded(&root, &mut out).unwrap();
            Value::parse(&out[..len]).map(Owned::of) == Ok(Owned::Dictionary(root.0))
        }

        fn what_does_not_fit_is_not_written(root: Root) -> bool {
            let mut out = std::vec![0; 1 << 20];
            let len = encoded(&root, &mut out).unwrap();
            encoded(&root, &mut out[..len]) == Some(len) && encoded(&root, &mut out[..len - 1]).is_none()
        }

        fn no_part_of_a_value_is_a_value(root: Root) -> bool {
            let mut out = std::vec![0; 1 << 20];
            let len = encoded(&root, &mut out).unwrap();
            (0..len.min(300)).all(|short| Value::parse(&out[..short]).is_err())
        }

        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, syntax: Vec<u8>) -> bool {
            let syntax: Vec<u8> = syntax.iter().map(|byte| b"dlie0123:-"[usize::from(byte % 10)]).collect();
            [bytes, syntax].iter().all(|bytes| Value::parse(bytes).map(Owned::of).is_ok_and(|value| {
                let mut out = std::vec![0; bytes.len()];
                let len = written(&mut out, |output| value.write(Slot { output }));
                len == Some(bytes.len()) && out == *bytes
            }) || Value::parse(bytes).is_err())
        }

        fn any_bytes_are_read_tolerantly_or_refused(syntax: Vec<u8>) -> bool {
            let syntax: Vec<u8> = syntax.iter().map(|byte| b"dlie0123:-"[usize::from(byte % 10)]).collect();
            let mut faults = 0;
            let tolerant = Value::parse_tolerantly(&syntax, &mut |_| faults += 1);
            tolerant.map(Owned::of).is_ok() || Value::parse(&syntax).is_err()
        }
    }

    #[test]
    fn only_the_canonical_form_is_read() {
        for (bytes, fault) in [
            ("", Fault::Truncated),
            ("i1", Fault::Integer),
            ("ie", Fault::Integer),
            ("i01e", Fault::Integer),
            ("i-0e", Fault::Integer),
            ("i-e", Fault::Integer),
            ("i+1e", Fault::Integer),
            ("i1.0e", Fault::Integer),
            ("i9223372036854775808e", Fault::Integer),
            ("i1ei1e", Fault::Trailing),
            ("de\r\n", Fault::Trailing),
            ("x", Fault::NoValue),
            ("e", Fault::NoValue),
            ("01:a", Fault::Length),
            ("1", Fault::Length),
            ("99999999999999999999999:a", Fault::Length),
            ("2:a", Fault::Truncated),
            ("l", Fault::Truncated),
            ("d1:a", Fault::Truncated),
            ("di1e1:ae", Fault::Length),
            ("d1:bi1e1:ai1ee", Fault::KeyOrder),
            ("d1:ai1e1:ai1ee", Fault::KeyOrder),
            ("d2:aai1e1:bi1e1:ai1ee", Fault::KeyOrder),
        ] {
            assert_eq!(Value::parse(bytes.as_bytes()), Err(fault), "{bytes}");
        }
        for (bytes, value) in [("i-9223372036854775808e", i64::MIN), ("i0e", 0)] {
            assert_eq!(Value::parse(bytes.as_bytes()), Ok(Value::Integer(value)));
        }
    }

    #[test]
    fn what_is_understood_though_not_canonical_is_read_tolerantly_and_noted() {
        for (bytes, faults) in [
            ("d1:ai1e1:b1:xe", &[][..]),
            ("d1:ai1e1:b1:xe\r\n", &[Fault::Trailing]),
            ("d1:b1:x1:ai1ee", &[Fault::KeyOrder]),
            ("d1:ai1e1:ai2e1:b1:xe", &[Fault::KeyOrder]),
            ("d01:ai01e1:b1:xe", &[Fault::Length, Fault::Integer]),
        ] {
            let mut noted = Vec::new();
            let value = Value::parse_tolerantly(bytes.as_bytes(), &mut |fault| noted.push(fault)).unwrap();
            assert_eq!(noted, faults, "{bytes}");
            let dictionary = value.as_dictionary().unwrap();
            assert_eq!(dictionary.get(b"a"), Some(Value::Integer(1)), "{bytes}");
            assert_eq!(dictionary.get(b"b"), Some(Value::Bytes(b"x")), "{bytes}");
        }
        assert_eq!(
            Value::parse_tolerantly(b"i-0e", &mut |fault| assert_eq!(fault, Fault::Integer)),
            Ok(Value::Integer(0))
        );
        for bytes in ["", "x", "<html>", "d1:a", "i+1e", "99:a", "i9223372036854775808e"] {
            let fault = Value::parse_tolerantly(bytes.as_bytes(), &mut |_| ());
            assert!(fault.is_err(), "{bytes}");
        }
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let nested = |depth| ["l".repeat(depth), "e".repeat(depth)].concat();
        assert!(Value::parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(Value::parse(nested(DEPTH_MAX + 1).as_bytes()), Err(Fault::Depth));
        assert_eq!(Value::parse("l".repeat(1 << 20).as_bytes()), Err(Fault::Depth));
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "keys ascend")]
    fn keys_out_of_order_are_a_mistake_of_the_writer() {
        _ = dictionary(&mut [0; 64], |writer| {
            writer.key(b"b").integer(1);
            writer.key(b"a").integer(1);
        });
    }
}
