//! How far a streamed answer has come.

/// What one call brought.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing to write yet.
    Working,
    /// A piece of so many bytes.
    Piece(usize),
    /// The last piece; the connection stays open or not.
    Last { len: usize, keep_alive: bool },
    /// The reply buffer is too small for any piece.
    Impossible,
}
