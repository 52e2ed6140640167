//! The progress of a streamed answer.

/// The result of one step.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing to write yet.
    Working,
    /// A piece of so many bytes.
    Piece(usize),
    /// The last piece, after which the connection stays open or closes.
    Last { len: usize, keep_alive: bool },
    /// The reply buffer is too small for any piece.
    Impossible,
}
