//! The seed of all keys and random choices.

use core::fmt;
use core::hash::Hasher as _;

use siphasher::sip::{SipHasher13, SipHasher24};
use siphasher::sip128::{Hasher128 as _, SipHasher24 as SipHasher24Wide};

/// 32 bytes of entropy, from which every key and every random choice of a tracker is derived.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed of these bytes, which must be secret and random: take them from the operating system.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a caller that keeps them secret.
    #[must_use]
    pub const fn secret(&self) -> [u8; 32] {
        self.0
    }

    /// The key for one purpose. Keys of different labels are independent.
    #[must_use]
    pub fn key(&self, label: &str) -> Key {
        let (left, right) = self.0.split_at(16);
        let mut key = [0; 16];
        key.copy_from_slice(left);
        let mut hasher = SipHasher24Wide::new_with_key(&key);
        hasher.write(right);
        hasher.write(label.as_bytes());
        Key(hasher.finish128().as_bytes())
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(secret)")
    }
}

/// A 16-byte secret for one purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl Key {
    /// A 64-bit message authentication code of `message`: SipHash-2-4.
    #[must_use]
    pub fn mac(&self, message: &[u8]) -> u64 {
        SipHasher24::new_with_key(&self.0).hash(message)
    }

    /// A 64-bit hash of `bytes` for hash tables that clients fill: SipHash-1-3.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        SipHasher13::new_with_key(&self.0).hash(bytes)
    }

    /// A stream of random choices; not for secrets. Streams of different numbers are independent.
    #[must_use]
    pub fn random(&self, number: u64) -> Random {
        Random::with_seed(self.mac(&number.to_le_bytes()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

/// The generator that chooses peers: fast, small, reproducible, not secret.
pub type Random = fastrand::Rng;
