//! The exit statuses of the command.

/// All went well.
pub(crate) const EXIT_SUCCESS: u8 = 0;
/// The tracker could not start, or failed later.
pub(crate) const EXIT_FAILURE: u8 = 1;
/// The options were refused.
pub(crate) const EXIT_USAGE: u8 = 2;
