//! What went over the wire during one check, written down so that a person can read it.

use crate::wire::udp;
use std::fmt::Write as _;

/// The last events of a check.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    events: Vec<Event>,
    dropped: usize,
}

#[derive(Clone, Debug)]
struct Event {
    way: Way,
    bytes: Vec<u8>,
    whole: usize,
}

/// The direction and kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    HttpOut,
    HttpIn,
    UdpOut,
    UdpIn,
    /// Not bytes of the wire but a remark, such as a connection that was closed.
    Remark,
}

impl Transcript {
    pub(crate) fn add(&mut self, way: Way, bytes: &[u8]) {
        if self.events.len() == EVENTS_MAX {
            self.events.remove(0);
            self.dropped += 1;
        }
        let shown = bytes.get(..BYTES_MAX).unwrap_or(bytes);
        self.events.push(Event {
            way,
            bytes: shown.to_vec(),
            whole: bytes.len(),
        });
    }

    /// The events as text, the oldest first.
    pub(crate) fn render(&self) -> String {
        let mut out = String::new();
        if self.dropped > 0 {
            let _ = writeln!(out, "   ({} earlier events left out)", self.dropped);
        }
        for event in &self.events {
            event.render(&mut out);
        }
        out
    }
}

impl Event {
    fn render(&self, out: &mut String) {
        let arrow = match self.way {
            Way::HttpOut | Way::UdpOut => ">>",
            Way::HttpIn | Way::UdpIn => "<<",
            Way::Remark => "--",
        };
        match self.way {
            Way::Remark => {
                let _ = writeln!(out, "   {arrow} {}", String::from_utf8_lossy(&self.bytes));
            }
            Way::HttpOut | Way::HttpIn => {
                let _ = writeln!(out, "   {arrow} HTTP, {} bytes", self.whole);
                render_text(&self.bytes, out);
            }
            Way::UdpOut | Way::UdpIn => {
                let _ = writeln!(out, "   {arrow} UDP, {} bytes{}", self.whole, describe_udp(self));
                render_hex(&self.bytes, out);
            }
        }
        if self.whole > self.bytes.len() {
            let _ = writeln!(out, "      ... {} more bytes", self.whole - self.bytes.len());
        }
    }
}

fn render_text(bytes: &[u8], out: &mut String) {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let _ = writeln!(out, "      {}", line.escape_ascii());
    }
}

fn render_hex(bytes: &[u8], out: &mut String) {
    for (row, line) in bytes.chunks(16).enumerate().take(HEX_ROWS_MAX) {
        let hex: Vec<String> = line
            .chunks(4)
            .map(|four| four.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        let text: String = line
            .iter()
            .map(|byte| {
                if byte.is_ascii_graphic() {
                    char::from(*byte)
                } else {
                    '.'
                }
            })
            .collect();
        let _ = writeln!(out, "      {:04x}  {:<36} {text}", row * 16, hex.join(" "));
    }
}

fn describe_udp(event: &Event) -> String {
    let bytes = &event.bytes;
    let action_at = if event.way == Way::UdpOut { 8 } else { 0 };
    let action = bytes.get(action_at..).and_then(udp::action);
    let name = match action {
        Some(udp::CONNECT) => "connect",
        Some(udp::ANNOUNCE) => "announce",
        Some(udp::SCRAPE) => "scrape",
        Some(udp::ERROR) => "error",
        _ => return String::new(),
    };
    format!(" ({name})")
}

/// Events kept of one check: enough for the one that failed and what led to it.
const EVENTS_MAX: usize = 16;
/// Bytes kept of one event.
const BYTES_MAX: usize = 1024;
/// Rows of 16 bytes shown of a datagram.
const HEX_ROWS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::{Transcript, Way};

    #[test]
    fn shows_bytes_readably_and_bounded() {
        let mut transcript = Transcript::default();
        for _ in 0..100 {
            transcript.add(Way::UdpOut, &crate::wire::udp::connect(7));
        }
        transcript.add(Way::HttpIn, b"HTTP/1.1 200 OK\r\n\r\nd\xff");
        transcript.add(Way::HttpIn, &[b'x'; 5000]);
        let text = transcript.render();
        assert!(text.contains("earlier events left out"));
        assert!(text.contains(">> UDP, 16 bytes (connect)"));
        assert!(text.contains("00000417 27101980 00000000 00000007"));
        assert!(text.contains("d\\xff"));
        assert!(text.len() < 10_000);
    }
}
