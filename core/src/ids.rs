//! Info-hashes and peer ids, 20 bytes each.

use core::fmt;

/// The 20 bytes that name a torrent: SHA-1 of its info dictionary (BEP 3), or the first 20 bytes of SHA-256 (BEP 52).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

impl InfoHash {
    /// Reads 40 hexadecimal digits, or the 64 of a v2 info-hash, of which the first 20 bytes count (BEP 52).
    #[must_use]
    pub fn from_hex(digits: &[u8]) -> Option<Self> {
        let (counting, rest) = digits.split_first_chunk()?;
        let is_whole = matches!(rest.len(), 0 | 24) && rest.iter().all(u8::is_ascii_hexdigit);
        Self::from_digits(counting).filter(|_| is_whole)
    }

    /// Parses 40 hexadecimal digits in a loop that compilers vectorize.
    pub(crate) fn from_digits(digits: &[u8; 40]) -> Option<Self> {
        let mut values = [0; 40];
        let mut seen = 0;
        for (value, byte) in values.iter_mut().zip(digits) {
            *value = digit(*byte);
            seen |= *value;
        }
        let mut bytes = [0; 20];
        for (byte, [high, low]) in bytes.iter_mut().zip(values.as_chunks().0) {
            *byte = high << 4 | low;
        }
        // Checked once at the end: a branch for each random digit would be mispredicted half the time.
        (seen < 16).then_some(Self(bytes))
    }
}

/// The 20 bytes that a client chose for itself (BEP 3, BEP 20). Any bytes are allowed.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0.escape_ascii())
    }
}

/// The value of a hexadecimal digit; 255 for any other byte.
const fn digit(byte: u8) -> u8 {
    let (decimal, letter) = (byte.wrapping_sub(b'0'), (byte | 0x20).wrapping_sub(b'a'));
    let value = if letter < 6 { letter + 10 } else { u8::MAX };
    if decimal < 10 { decimal } else { value }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn hexadecimal_digits_are_read_in_either_case_and_length() {
        let digits = "0123456789abcdefABCDEF01234567890a0b0c0d";
        let info_hash = InfoHash::from_hex(digits.as_bytes()).unwrap();
        assert_eq!(info_hash.to_string(), digits.to_ascii_lowercase());
        let v2 = [digits, &"f".repeat(24)].concat();
        assert_eq!(InfoHash::from_hex(v2.as_bytes()), Some(info_hash));
    }

    #[test]
    fn no_byte_but_a_hexadecimal_digit_is_one() {
        for byte in 0..=u8::MAX {
            let value = InfoHash::from_hex(&[byte; 40]).map(|info_hash| info_hash.0[0]);
            let expected = char::from(byte)
                .to_digit(16)
                .map(|digit| u8::try_from(digit).unwrap() * 0x11);
            assert_eq!(value, expected, "{byte}");
        }
    }

    #[test]
    fn other_digits_and_lengths_are_refused() {
        let digits = "0123456789abcdef0123456789abcdef01234567";
        for wrong in [
            "",
            &digits[1..],
            &[digits, "0"].concat(),
            &digits.replace('c', "g"),
        ] {
            assert_eq!(InfoHash::from_hex(wrong.as_bytes()), None, "{wrong}");
        }
        let v2 = [digits, &"g".repeat(24)].concat();
        assert_eq!(InfoHash::from_hex(v2.as_bytes()), None);
    }
}
