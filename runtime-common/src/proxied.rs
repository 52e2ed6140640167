//! Connections that a proxy passes on, and what it sends before anything of the client's: a header of the PROXY protocol.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use etracker_core::proxy::{ProxyFault, ProxyHeader};

use crate::Stream;

/// A connection without the header that it may begin with. The header is read before anything else, TLS included.
#[derive(Debug)]
pub(crate) struct Proxied<S> {
    stream: S,
    /// Nothing, unless the connection is a trusted proxy's: such a one is rare where clients are many, and boxed.
    opening: Option<Box<Opening>>,
}

#[derive(Debug)]
enum Opening {
    /// What has come of the header. Invariant: the beginning of one.
    Awaited(Vec<u8>),
    /// The client that it named.
    Named(SocketAddr),
}

impl<S> Proxied<S> {
    /// A connection that begins with what the client sends.
    pub(crate) const fn direct(stream: S) -> Self {
        let opening = None;
        Self { stream, opening }
    }

    /// A connection of a proxy, which may begin with a header.
    pub(crate) fn from_proxy(stream: S) -> Self {
        let opening = Some(Box::new(Opening::Awaited(Vec::new())));
        Self { stream, opening }
    }
}

impl<S: Stream> Proxied<S> {
    /// Reads until the header is whole, or is none: then what has come is the client's. `buffer` holds the longest header.
    fn poll_opening(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        while let Some(Opening::Awaited(held)) = self.opening.as_deref_mut() {
            let held_len = held.len();
            buffer[..held_len].copy_from_slice(held);
            let len = held_len + ready!(self.stream.poll_read(cx, &mut buffer[held_len..]))?;
            let decoded = ProxyHeader::decode(&buffer[..len]);
            let (header, header_len) = match decoded {
                Ok(Some(header)) => header,
                Ok(None) if len > held_len => {
                    *held = buffer[..len].to_vec();
                    continue;
                }
                // The connection ended, or begins with a request.
                Ok(None) | Err(ProxyFault::Absent) => {
                    self.opening = None;
                    return Poll::Ready(Ok(len));
                }
                Err(fault) => {
                    self.opening = None;
                    return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, fault)));
                }
            };
            self.opening = header.client().map(|client| Box::new(Opening::Named(client)));
            if len > header_len {
                buffer.copy_within(header_len..len, 0);
                return Poll::Ready(Ok(len - header_len));
            }
        }
        self.stream.poll_read(cx, buffer)
    }
}

impl<S: Stream> Stream for Proxied<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.opening {
            None => self.stream.poll_read(cx, buffer),
            Some(_) => self.poll_opening(cx, buffer),
        }
    }

    fn take_client(&mut self) -> Option<SocketAddr> {
        let Opening::Named(client) = **self.opening.as_ref()? else {
            return None;
        };
        self.opening = None;
        Some(client)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, bytes)
    }

    fn look(&self) {
        self.stream.look();
    }

    fn give_way(&self, cx: &mut Context<'_>) {
        self.stream.give_way(cx);
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.try_read(buffer)
    }

    fn shut_down_write(&mut self) -> io::Result<()> {
        self.stream.shut_down_write()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;
    use etracker_core::proxy::{PROXY_HEADER_MAX, Transport};

    /// Sends this, read by read, and ends.
    struct Sent(VecDeque<Vec<u8>>);

    impl Stream for Sent {
        fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            let piece = self.0.pop_front().unwrap_or_default();
            buffer[..piece.len()].copy_from_slice(&piece);
            Poll::Ready(Ok(piece.len()))
        }

        fn poll_write(&mut self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn give_way(&self, _: &mut Context<'_>) {}

        fn try_read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }

        fn shut_down_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is read of `bytes` that come in a first piece, if it is not empty, and in others as long as `len`; and the client that is
    /// named.
    fn read(bytes: &[u8], first: usize, len: usize) -> io::Result<(Vec<u8>, Option<SocketAddr>)> {
        let (first, rest) = bytes.split_at(first.min(bytes.len()));
        let pieces = [first].into_iter().chain(rest.chunks(len));
        let pieces = pieces
            .filter(|piece| !piece.is_empty())
            .map(<[u8]>::to_vec)
            .collect();
        let mut stream = Proxied::from_proxy(Sent(pieces));
        let (mut all, mut buffer, mut client) = (Vec::new(), [0; PROXY_HEADER_MAX + 256], None);
        loop {
            let Poll::Ready(read) = stream.poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer)
            else {
                panic!("nothing is waited for");
            };
            match read? {
                0 => return Ok((all, client)),
                len => all.extend_from_slice(&buffer[..len]),
            }
            client = client.or_else(|| stream.take_client());
        }
    }

    const CLIENT: &str = "203.0.113.9:50000";

    fn headers(tlvs_len: usize) -> [Vec<u8>; 2] {
        let header = ProxyHeader::Client {
            source: CLIENT.parse().unwrap(),
            destination: "198.51.100.1:80".parse().unwrap(),
        };
        let [mut line, mut binary] = [vec![], vec![]];
        header.encode_v1(&mut line);
        assert!(header.encode_v2(Transport::Stream, &vec![7; tlvs_len], &mut binary));
        [line, binary]
    }

    /// Reads `bytes` cut at each place, and into pieces of each length.
    fn assert_read(bytes: &[u8], expected: &[u8], client: Option<SocketAddr>) {
        for cut in 1..=bytes.len().max(1) {
            assert_eq!(read(bytes, cut, usize::MAX).unwrap(), (expected.to_vec(), client));
            assert_eq!(read(bytes, 0, cut).unwrap(), (expected.to_vec(), client));
        }
    }

    #[test]
    fn however_it_is_cut_the_header_is_taken_and_the_rest_is_the_clients() {
        for header in headers(300) {
            for request in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY ", b""] {
                let client = (!request.is_empty()).then(|| CLIENT.parse().unwrap());
                assert_read(&[&header, request].concat(), request, client);
            }
        }
        let [_, long] = headers(PROXY_HEADER_MAX - 28);
        let (rest, client) = read(&[&long, &b"x"[..]].concat(), 17, 100).unwrap();
        assert_eq!((rest, client), (b"x".to_vec(), Some(CLIENT.parse().unwrap())));
    }

    #[test]
    fn however_it_is_cut_what_is_no_header_is_left_alone() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"P",
            b"PUT",
            b"\r\n\r\n\0\r\nGET /",
            b"\x16\x03\x01",
            b"",
        ] {
            assert_read(bytes, bytes, None);
        }
    }

    #[test]
    fn whom_nobody_is_named_for_has_no_client_and_a_fault_is_an_error() {
        for nobody in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
            assert_eq!(
                read(&[nobody, b"GET"].concat(), 0, 3).unwrap(),
                (b"GET".to_vec(), None)
            );
        }
        for (broken, fault) in [
            (&b"PROXY TCP4 x\r\n"[..], ProxyFault::Line),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b", ProxyFault::Length),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", ProxyFault::TooLong),
        ] {
            let error = read(broken, 1, 1).unwrap_err();
            let found = error
                .get_ref()
                .and_then(|error| error.downcast_ref::<ProxyFault>());
            assert_eq!(found, Some(&fault));
        }
    }
}
