//! The secrets of a cluster.

use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use hmac::digest::KeyInit as _;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::Seed;
use crate::seed::Key;

/// 32 random bytes that all nodes of a cluster share.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A secret of these bytes, which must be random: take them from the operating system.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The seed of the connection ids that the nodes accept of each other.
    #[must_use]
    pub fn connection_seed(&self) -> Seed {
        Seed::new(self.derive("connection ids", b""))
    }

    /// The key of the [epochs](super::EPOCH_MINUTES) of peers, the same for all clusters with this secret.
    pub(crate) fn epoch_key(&self) -> Key {
        Seed::new(self.derive("epochs", b"")).key("epochs")
    }

    /// A key for one purpose of one name. Keys of different purposes and names are independent.
    pub(super) fn derive(&self, purpose: &str, name: &[u8]) -> [u8; 32] {
        let length = u64::try_from(purpose.len()).unwrap_or(u64::MAX);
        hmac(
            &self.0,
            &[b"etracker ", &length.to_le_bytes(), purpose.as_bytes(), name],
        )
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(secret)")
    }
}

/// HMAC-SHA-256 (RFC 2104, FIPS 180-4) of the parts, one after the other.
pub(super) fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = begin(key);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Whether `sum` is the beginning of the HMAC of a message. The time that it takes does not tell how much of it is right.
pub(super) fn verifies(key: &[u8; 32], message: &[u8], sum: &[u8]) -> bool {
    begin(key)
        .chain_update(message)
        .verify_truncated_left(sum)
        .is_ok()
}

fn begin(key: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC pads a key with zeros to a block of its hash.
    let mut block = [0; 64];
    block.split_at_mut(key.len()).0.copy_from_slice(key);
    Hmac::new(&block.into())
}

/// The secrets of a cluster, 1 to [`SECRETS_MAX`]: the first signs, all are accepted, so that one can be replaced without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    first: Secret,
    others: Vec<Secret>,
}

impl Secrets {
    /// One secret.
    #[must_use]
    pub const fn new(secret: Secret) -> Self {
        Self {
            first: secret,
            others: Vec::new(),
        }
    }

    /// Reads a file: 64 hexadecimal digits a line. Empty lines and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// If a line is anything else, or there are none or too many.
    pub fn parse(text: &[u8]) -> Result<Self, BadSecrets> {
        let mut all = Vec::new();
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if all.len() == SECRETS_MAX {
                return Err(BadSecrets::TooMany);
            }
            all.push(secret_of(line).ok_or(BadSecrets::Line(number))?);
        }
        let mut all = all.into_iter();
        Ok(Self {
            first: all.next().ok_or(BadSecrets::None)?,
            others: all.collect(),
        })
    }

    /// The secret that signs.
    #[must_use]
    pub const fn first(&self) -> &Secret {
        &self.first
    }

    /// Those that are accepted beside it.
    #[must_use]
    pub fn others(&self) -> &[Secret] {
        &self.others
    }

    /// All secrets, the one that signs first.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        core::iter::once(&self.first).chain(&self.others)
    }
}

/// A file of secrets that was refused. It does not hold what the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadSecrets {
    /// The line of this number, from 1 on, is not 64 hexadecimal digits.
    Line(u32),
    /// There is none.
    None,
    /// There are more than [`SECRETS_MAX`].
    TooMany,
}

impl fmt::Display for BadSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number} is not 64 hexadecimal digits"),
            Self::None => f.write_str("there is no secret: 64 hexadecimal digits a line, the first signs"),
            Self::TooMany => write!(f, "there are more than {SECRETS_MAX} secrets"),
        }
    }
}

impl Error for BadSecrets {}

/// Secrets at most. Two suffice to replace one; each more is tried for every message that the ones before did not sign.
pub const SECRETS_MAX: usize = 8;

fn secret_of(line: &[u8]) -> Option<Secret> {
    let (pairs, rest) = line.as_chunks::<2>();
    let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    rest.is_empty().then_some(Secret(bytes))
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;
    use std::vec;

    use quickcheck::quickcheck;

    use super::*;

    quickcheck! {
        fn a_file_of_secrets_is_read_as_it_was_written(secrets: Vec<u8>) -> bool {
            let secrets = &secrets[..secrets.len().min(SECRETS_MAX)];
            let line = |byte: &u8| format!("{}\r\n\n# another\n", format!("{byte:02x}").repeat(32));
            let text: String = secrets.iter().map(line).collect();
            let expected: Vec<_> = secrets.iter().map(|&byte| Secret([byte; 32])).collect();
            match Secrets::parse(text.as_bytes()) {
                Ok(read) => read.iter().eq(&expected),
                Err(fault) => expected.is_empty() && fault == BadSecrets::None,
            }
        }
    }

    #[test]
    fn a_file_that_holds_anything_else_is_refused_by_its_line() {
        let good = "0f".repeat(32);
        for bad in [
            "0".repeat(63),
            "0".repeat(65),
            "g".repeat(64),
            "0".repeat(62) + "ä",
        ] {
            let text = format!("# secrets\n{good}\n{bad}\n");
            assert_eq!(Secrets::parse(text.as_bytes()), Err(BadSecrets::Line(3)), "{bad}");
        }
        let many = vec![good; SECRETS_MAX + 1].join("\n");
        assert_eq!(Secrets::parse(many.as_bytes()), Err(BadSecrets::TooMany));
    }

    #[test]
    fn a_mac_is_that_of_the_standard() {
        // RFC 4231, test case 2, whose key is padded with zeros as HMAC does.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mac = hmac(&key, &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(mac[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
    }

    #[test]
    fn keys_of_other_purposes_names_and_secrets_differ() {
        let secret = Secret([7; 32]);
        let keys = [
            secret.derive("messages", b"one"),
            secret.derive("messages", b"two"),
            secret.derive("message", b"sone"),
            Secret([8; 32]).derive("messages", b"one"),
            secret.connection_seed().secret(),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{index}");
        }
        assert_eq!(format!("{secret:?}"), "Secret(secret)");
    }
}
