//! Sizes of memory, as people write them.

use std::ops::RangeInclusive;

use super::name::Name;
use super::reader::{Reader, Setting};
use super::refusal::Refusal;

/// The size that was given for `name`, in bytes.
pub(super) fn read(
    reader: Reader<'_>,
    name: Name,
    argument: Option<String>,
    range: &RangeInclusive<u64>,
) -> Result<Option<Setting<u64>>, Refusal> {
    let Some(text) = reader.text(name, argument) else {
        return Ok(None);
    };
    match bytes(text.value.trim()).filter(|bytes| range.contains(bytes)) {
        Some(value) => Ok(Some(Setting {
            source: text.source,
            value,
        })),
        None => Err(text.refuse(&format!(
            "a size from {}, in bytes or with K, M, G or T (of 1024), such as 256M or 2G",
            wanted(range)
        ))),
    }
}

/// A range of sizes, such as `32M-16T`.
pub(super) fn wanted(range: &RangeInclusive<u64>) -> String {
    format!("{} to {}", shown(*range.start()), shown(*range.end()))
}

/// A whole number of bytes, or of a unit that stands behind it.
fn bytes(text: &str) -> Option<u64> {
    let unit = text.chars().next_back()?.to_ascii_uppercase();
    let (number, bits) = match UNITS.iter().position(|&known| known == unit) {
        Some(place) => (text.get(..text.len() - 1)?, 10 * (place + 1)),
        None => (text, 0),
    };
    // `+1` would be read as a number too.
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(1 << bits)
}

/// A size in the largest unit that it is a whole number of.
fn shown(bytes: u64) -> String {
    let unit = (bytes.trailing_zeros() as usize / 10).min(UNITS.len());
    match unit.checked_sub(1).and_then(|place| UNITS.get(place)) {
        Some(name) => format!("{}{name}", bytes >> (10 * unit)),
        None => bytes.to_string(),
    }
}

/// Each is 1024 times the one before.
const UNITS: [char; 4] = ['K', 'M', 'G', 'T'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_of_bytes_or_of_units_of_1024() {
        for (text, expected) in [
            ("0", Some(0)),
            ("123", Some(123)),
            ("1k", Some(1024)),
            ("256M", Some(256 << 20)),
            ("2G", Some(2 << 30)),
            ("16T", Some(16 << 40)),
            ("", None),
            ("M", None),
            ("1.5G", None),
            ("-1M", None),
            ("+1M", None),
            ("256MB", None),
            ("256 M", None),
            ("20000000T", None),
            ("1€", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn ranges_are_shown_in_units() {
        assert_eq!(wanted(&(32 << 20..=16 << 40)), "32M to 16T");
        assert_eq!(wanted(&(5..=3 << 10)), "5 to 3K");
    }
}
