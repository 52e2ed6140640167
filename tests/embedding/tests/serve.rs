//! A runtime of another kind does what every runtime does.
#![cfg(unix)]

#[path = "../../../runtime-common/tests/runtime/mod.rs"]
mod runtime;

use etracker_embedding::serve;
