//! The exit statuses of the command.

/// A tracker could not start or go on.
pub(crate) const EXIT_FAILURE: u8 = 1;
/// Options are refused.
pub(crate) const EXIT_USAGE: u8 = 2;
