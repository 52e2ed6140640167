//! HTTP connections from outside: what clients send and what they are answered.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod announces;
mod bytes;
mod connections;
mod scrapes;
mod support;
