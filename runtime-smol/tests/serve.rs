//! This runtime does what every runtime does.

#[path = "../../runtime-common/tests/runtime/mod.rs"]
mod runtime;

use etracker_smol::serve;
