//! What encrypts.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;
use rustls::{CipherSuite, Error};

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as native;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as native;

/// Cipher suites, key exchanges and signatures.
pub(crate) fn provider() -> CryptoProvider {
    let mut provider = native::default_provider();
    // SHA-384 is part of the suites with keys of 256 bits, and took half of the instructions of a resumed handshake: processors
    // have instructions for SHA-256.
    let suites = &mut provider.cipher_suites;
    suites.sort_by_key(|suite| !PREFERRED.contains(&suite.suite()));
    provider
}

/// What encrypts the tickets by which sessions are resumed. Its keys change every six hours.
///
/// # Errors
/// The system gives no random bytes.
pub(crate) fn ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    native::Ticketer::new()
}

/// The suites that take the fewest instructions.
const PREFERRED: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];
