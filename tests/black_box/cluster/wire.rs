//! A client of a broker that reads and writes whatever it likes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};

use super::PATIENCE;

pub(super) struct Wire(BufReader<TcpStream>);

impl Wire {
    pub(super) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut wire = Self(BufReader::new(stream));
        wire.send(b"CONNECT {\"verbose\":false}\r\n");
        wire
    }

    /// Listens to these subjects; what is published from now on will be there.
    pub(super) fn subscribe(&mut self, subject: &str) {
        self.send(format!("SUB {subject} 1\r\n").as_bytes());
        self.settle();
    }

    /// Publishes; the broker passes on messages of one client in their order.
    pub(super) fn publish(&mut self, subject: &str, payload: &[u8]) {
        let head = format!("PUB {subject} {}\r\n", payload.len());
        self.send(&[head.as_bytes(), payload, b"\r\n"].concat());
    }

    /// The payload of the next message for which `wanted` holds.
    pub(super) fn next(&mut self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        loop {
            let line = self.line();
            let Some(head) = line.strip_prefix("MSG ") else {
                continue;
            };
            let len: usize = head.rsplit(' ').next().unwrap().parse().unwrap();
            let mut payload = vec![0; len + 2];
            self.0.read_exact(&mut payload).unwrap();
            payload.truncate(len);
            if wanted(&payload) {
                return payload;
            }
        }
    }

    fn settle(&mut self) {
        self.send(b"PING\r\n");
        while self.line() != "PONG" {}
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the broker is gone");
        let line = line.trim_end().to_owned();
        if line == "PING" {
            self.send(b"PONG\r\n");
        }
        line
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }
}
