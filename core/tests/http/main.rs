//! HTTP connections through their public interface.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod announces;
mod bytes;
mod connections;
mod proxies;
mod scrapes;
mod support;
