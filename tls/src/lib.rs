//! TLS for connections of etracker, on [rustls]: TLS 1.2 and 1.3, certificates that are chosen by name and replaced while connections
//! go on, and sessions that any worker resumes.
//!
//! - [`Pair`] is a certificate with its chain and key, checked; [`Facts`] says what an operator wants to know of it.
//! - [`Certificates`] is the set that is served. All workers share one; whoever has a handle to it replaces pairs, or sets the
//!   answers to challenges of ACME (TLS-ALPN-01, RFC 8737).
//! - [`Secured`] is the stream of bytes inside an encrypted connection.
//!
//! There is no HTTP/2 (ALPN offers `http/1.1`), and no data before the end of a handshake (0-RTT), which can be replayed.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use etracker_tls::{Certificates, Pair};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pair = || -> Result<Pair, Box<dyn std::error::Error>> {
//!     Ok(Pair::from_pem(&std::fs::read("fullchain.pem")?, &std::fs::read("privkey.pem")?)?)
//! };
//! let certificates = Arc::new(Certificates::new(vec![pair()?])?);
//! // Later, when the files have changed:
//! certificates.replace(vec![pair()?]);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//! - `ring` (default): ring encrypts.
//! - `aws-lc-rs`: AWS-LC encrypts, also if both are on. Handshakes take two thirds of the time; its C code takes minutes to build.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!("etracker-tls needs cryptography: enable the feature `ring` or `aws-lc-rs`");

mod certificates;
mod facts;
mod failure;
mod pair;
mod provider;
mod secured;
#[cfg(test)]
mod testing;
mod workers;

pub use certificates::{Certificates, TlsError};
/// The trait that [`Certificates`] implements for workers.
pub use etracker_runtime_common::{self, Secure};
pub use facts::{Chain, Facts, Weakness};
pub use pair::{Pair, PairError};
pub use secured::Secured;
