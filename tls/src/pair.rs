//! A certificate and its key.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::SignatureAlgorithm;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::Facts;
use crate::facts::Unreadable;
use crate::provider::provider;

/// A certificate with its chain, and the key that belongs to it.
#[derive(Clone, Debug)]
pub struct Pair {
    certified: Arc<CertifiedKey>,
    facts: Arc<Facts>,
}

impl Pair {
    /// Reads a chain of certificates, the server's own first, and its private key, in PKCS #8, SEC 1 or PKCS #1. Both are PEM
    /// (RFC 7468) and may be in one file. An expired certificate is accepted: see [`Facts::not_after`].
    ///
    /// # Errors
    /// One of the two is missing or cannot be read, or the key belongs to another certificate.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| PairError::CertificateUnreadable)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            if matches!(error, pem::Error::NoItemsFound) {
                PairError::NoKey
            } else {
                PairError::KeyUnreadable
            }
        })?;
        Self::from_der(chain, key)
    }

    /// The same, of what PEM wraps.
    ///
    /// # Errors
    /// As [`from_pem`](Self::from_pem).
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, PairError> {
        let facts = match Facts::of(&chain) {
            Ok(Some(facts)) => facts,
            Ok(None) => return Err(PairError::NoCertificate),
            Err(Unreadable) => return Err(PairError::CertificateUnreadable),
        };
        // The libraries that sign refuse it too, and do not say why.
        if Facts::has_short_key(&chain) {
            return Err(PairError::KeyShort);
        }
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| unserved(&error))?;
        Ok(Self {
            certified: Arc::new(certified),
            facts: Arc::new(facts),
        })
    }

    /// A proof for [`Certificates::set_challenge`](crate::Certificates::set_challenge): its certificate has a critical extension
    /// (RFC 8737, section 3) by which it is good for nothing else. That the key is its own is not checked.
    ///
    /// # Errors
    /// One of the two cannot be read.
    pub fn for_challenge(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, PairError> {
        let chain = vec![certificate];
        let facts = match Facts::of(&chain) {
            Ok(Some(facts)) => facts,
            Ok(None) | Err(Unreadable) => return Err(PairError::CertificateUnreadable),
        };
        let key = provider().key_provider.load_private_key(key);
        let key = key.map_err(|_| PairError::KeyUnreadable)?;
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(chain, key)),
            facts: Arc::new(facts),
        })
    }

    /// What the certificate says.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The certificates that are sent, the server's own first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// Whether both are the same certificate and chain.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }

    pub(crate) const fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// Whether handshakes are dear: a signature by RSA takes thirty times as long as one by ECDSA.
    pub(crate) fn is_rsa(&self) -> bool {
        self.certified.key.algorithm() == SignatureAlgorithm::RSA
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the errors of rustls are not ours")]
const fn unserved(error: &rustls::Error) -> PairError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => PairError::Mismatch,
        // The only general error here is that of a key.
        rustls::Error::General(_) => PairError::KeyUnreadable,
        _ => PairError::CertificateUnreadable,
    }
}

/// Why a certificate and a key cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PairError {
    /// There is no certificate.
    NoCertificate,
    /// A certificate is malformed, or of a kind that is not known.
    CertificateUnreadable,
    /// There is no key.
    NoKey,
    /// The key is malformed, encrypted, or of a kind that is not known.
    KeyUnreadable,
    /// The key is an RSA key of fewer than 2048 bits, which clients refuse.
    KeyShort,
    /// The key is another certificate's.
    Mismatch,
}

impl PairError {
    /// Whether the fault is the key's, and not the certificate's.
    #[must_use]
    pub const fn is_of_the_key(self) -> bool {
        matches!(
            self,
            Self::NoKey | Self::KeyUnreadable | Self::KeyShort | Self::Mismatch
        )
    }
}

impl fmt::Display for PairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCertificate => "holds no certificate (BEGIN CERTIFICATE)",
            Self::CertificateUnreadable => "holds a certificate that cannot be read",
            Self::NoKey => "holds no private key without a passphrase (BEGIN PRIVATE KEY)",
            Self::KeyUnreadable => {
                "holds a private key that cannot be read: ECDSA, Ed25519 and RSA are known"
            }
            Self::KeyShort => "holds an RSA key of fewer than 2048 bits, which clients refuse",
            Self::Mismatch => "holds the key of another certificate",
        })
    }
}

impl Error for PairError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Issued, issue};

    #[test]
    fn a_pair_is_read_from_two_files_or_from_one() {
        let Issued { chain, key } = issue(&["a.example"]);
        let two = Pair::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let one = [chain, key].concat();
        let one = Pair::from_pem(one.as_bytes(), one.as_bytes()).unwrap();
        assert!(one.is_same(&two));
        assert_eq!(two.facts().names, ["a.example"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (mine, other) = (issue(&["a.example"]), issue(&["a.example"]));
        let broken = mine.chain.replacen("MII", "AAA", 1);
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let odd = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let weak = include_str!("testing/weak.pem");
        let cut = &mine.chain[..mine.chain.len() / 2];
        for (chain, key, fault) in [
            ("", &*mine.key, PairError::NoCertificate),
            (&*mine.key, &mine.key, PairError::NoCertificate),
            (&broken, &mine.key, PairError::CertificateUnreadable),
            (cut, &mine.key, PairError::CertificateUnreadable),
            (&mine.chain, "", PairError::NoKey),
            (&mine.chain, &mine.chain, PairError::NoKey),
            (&mine.chain, encrypted, PairError::NoKey),
            (&mine.chain, odd, PairError::KeyUnreadable),
            (&mine.chain, &other.key, PairError::Mismatch),
            (weak, weak, PairError::KeyShort),
        ] {
            let error = Pair::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert_eq!(error, fault, "{chain}{key}");
        }
    }
}
