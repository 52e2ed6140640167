//! The 20-byte names of torrents and clients.

use core::fmt;

/// The 20 bytes that name a torrent: SHA-1 of its info dictionary (BEP 3), or the first 20 bytes of SHA-256 (BEP 52).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

impl InfoHash {
    /// Reads 40 hexadecimal digits, or the 64 of a v2 info-hash, of which the first 20 bytes count (BEP 52).
    #[must_use]
    pub fn from_hex(digits: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        if digits.len() != 40 && digits.len() != 64 {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks().0) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        bytes.first_chunk().copied().map(Self)
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

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
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
