//! What clients of HTTPS need beside [rustls]: whose certificates are believed ([`Trust`]), and what is wrong in words
//! ([`explain`]).
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use etracker_tls_client::Trust;
//! use rustls::{ALL_VERSIONS, ClientConnection};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Trust::in_file(Path::new("ca.pem"))?.config(ALL_VERSIONS)?;
//! let connection = ClientConnection::new(Arc::new(config), "tracker.example".try_into()?)?;
//! # Ok(())
//! # }
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod anyone;
mod trust;
mod words;

pub use rustls;
pub use trust::{Trust, TrustError};
pub use words::{explain, explain_io};
