//! The seam between a tracker and what carries its messages to other nodes.

use tokio::time::Duration;

/// A bus: at most once, in any order, to those that listen now.
pub(super) trait Bus {
    /// Publishes a message, without waiting. False if the bus takes none at present; the message may be offered again later.
    fn publish(&mut self, subject: &str, message: &[u8]) -> bool;

    /// Waits for what happens next. A call that is given up loses nothing.
    async fn next(&mut self) -> Happening;

    /// Waits until what was published has left this process, for `patience` at most.
    async fn flush(&mut self, patience: Duration);
}

/// What happens on a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// The bus hands over a message.
    Received(Vec<u8>),
    /// From now on messages are carried, by this broker.
    Connected(String),
    /// The broker is gone.
    Disconnected,
    /// A broker cannot be reached, for this reason; it is tried again.
    Failed(String),
    /// Something that an operator should know.
    Warned(String),
}
