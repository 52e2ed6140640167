//! What encrypts.

use std::sync::Arc;

use rustls::Error;
use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as native;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as native;

/// Cipher suites, key exchanges and signatures.
pub(crate) fn provider() -> CryptoProvider {
    native::default_provider()
}

/// What encrypts the tickets by which sessions are resumed. Its keys change every six hours.
///
/// # Errors
/// The system gives no random bytes.
pub(crate) fn ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    native::Ticketer::new()
}
