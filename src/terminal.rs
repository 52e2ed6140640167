//! Lines for the operator. A terminal or pipe that has gone away is no reason to stop serving.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes one line to standard output.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Writes one line to standard error, with the command's name in front.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "etracker: {line}");
}
