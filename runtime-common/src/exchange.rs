//! Datagrams in batches: received together, handled together, answered together.

use std::io;

use arrayvec::ArrayVec;
use etracker_core::stats::{Count, Operation};
use etracker_core::udp::{BATCH_MAX, Datagram, Verdict};
use etracker_core::{Instant, Worker};

use crate::client_log::log_client;
use crate::datagram_io::error_number;
use crate::socket_failures::log_socket_failure;
use crate::{DatagramFront, DatagramIo, Transport};

/// Receives what waits at a socket, [`BATCH_MAX`] datagrams at most, has `front` handle it, and sends the replies. How many
/// datagrams there were: fewer than [`BATCH_MAX`] means that no more wait. Never waits; replies that the socket does not
/// take are dropped and counted.
///
/// # Errors
/// Receiving failed. That nothing waits is no error.
pub fn exchange<D: DatagramIo>(
    now: Instant,
    datagrams: &mut D,
    socket: &D::Socket,
    front: &dyn DatagramFront,
    worker: &mut Worker,
) -> io::Result<usize> {
    let received = match datagrams.receive(socket) {
        // A socket reported readable may hold nothing: a bad checksum is found only now (select(2)).
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
        Err(error) => {
            worker
                .counters()
                .fail(Operation::ReceiveUdp, error_number(&error));
            // A filter of system calls once left UDP dead for a minute before a line said so.
            log_socket_failure(now, Transport::Udp, &error);
            return Err(error);
        }
        Ok(received) => received,
    };
    for (place, len) in handle(now, datagrams, front, worker) {
        datagrams.queue(place, len);
    }
    let sent = datagrams.send(socket);
    let counters = worker.counters();
    counters.add(Count::UdpSent, sent.datagrams as u64);
    counters.add(Count::UdpSentBytes, sent.bytes as u64);
    // Not sent again: a client that gets no reply asks again (BEP 15, time-outs).
    for error in sent.failed {
        counters.fail(Operation::SendUdp, error);
    }
    Ok(received)
}

/// The places and lengths of the replies.
fn handle(
    now: Instant,
    datagrams: &mut impl DatagramIo,
    front: &dyn DatagramFront,
    worker: &mut Worker,
) -> ArrayVec<(usize, usize), BATCH_MAX> {
    let mut batch = datagrams.datagrams();
    count_received(&batch, worker);
    let handled = front.handle(worker, now, &mut batch);
    let datagrams = handled.datagrams().iter().enumerate();
    datagrams
        .filter_map(|(place, datagram)| match datagram.verdict() {
            Verdict::Reply(len) => Some((place, len)),
            Verdict::Drop(reason) => {
                log_client(now, datagram.sender(), reason);
                None
            }
        })
        .collect()
}

fn count_received(batch: &[Datagram<'_>], worker: &Worker) {
    // Mapped senders were unmapped by `DatagramIo`: the family is that of the packet, not of the socket.
    let v4 = batch
        .iter()
        .filter(|datagram| datagram.sender().is_ipv4())
        .count();
    let bytes: usize = batch.iter().map(Datagram::len).sum();
    let counters = worker.counters();
    counters.add(Count::UdpReceived4, v4 as u64);
    counters.add(Count::UdpReceived6, (batch.len() - v4) as u64);
    counters.add(Count::UdpReceivedBytes, bytes as u64);
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr, UdpSocket};
    use std::sync::Arc;
    use std::time::Duration;

    use etracker_core::udp::packet::{RequestHead, Response};
    use etracker_core::{Config, Seed, Tracker};

    use super::*;
    use crate::datagram_io::PAYLOAD_MAX;
    use crate::one_by_one::UdpBatch as OneByOne;
    #[cfg(target_os = "linux")]
    use crate::sys::WithoutBatches;
    use crate::{Listen, Protocol, UdpBatch, UdpFront, open};

    const NOW: Instant = Instant::from_secs(1_000_000);

    fn front() -> Arc<UdpFront> {
        crate::Fronts::new(&Seed::new([7; 32]), &Config::default()).udp
    }

    fn worker() -> Worker {
        Worker::new(Arc::new(Tracker::new(Config::default(), Seed::new([7; 32]), NOW)))
    }

    fn server(address: &str) -> UdpSocket {
        let listen = Listen::new(1).bind(Protocol::Udp, &[address.parse().unwrap()], 0);
        open(&listen).unwrap().workers.remove(0).udp.remove(0).socket
    }

    /// A client that takes answers only from where it asked.
    fn asked(server: &UdpSocket, at: &str) -> UdpSocket {
        let at: IpAddr = at.parse().unwrap();
        let any: IpAddr = if at.is_ipv4() {
            [0; 4].into()
        } else {
            [0; 16].into()
        };
        let client = UdpSocket::bind((any, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        client.connect(SocketAddr::new(at, port)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.send(&RequestHead::connect(1).encode()).unwrap();
        client
    }

    fn is_answered(client: &UdpSocket) -> bool {
        let mut answer = [0; 64];
        let len = client.recv(&mut answer).unwrap_or_default();
        matches!(Response::decode(&answer[..len]), Some(Response::Connect(response)) if response.transaction_id == 1)
    }

    trait Native: DatagramIo<Socket = UdpSocket> + Default {}

    impl<D: DatagramIo<Socket = UdpSocket> + Default> Native for D {}

    fn drain<D: Native>(server: &UdpSocket, worker: &mut Worker) -> Vec<usize> {
        let (mut batch, front) = (D::default(), front());
        let mut exchange = || exchange(NOW, &mut batch, server, &*front, worker).unwrap();
        std::iter::from_fn(|| Some(exchange()).filter(|&count| count > 0)).collect()
    }

    fn answers_many<D: Native>(address: &str) {
        let (server, mut worker) = (server(address), worker());
        let clients: Vec<UdpSocket> = (0..150).map(|_| asked(&server, address)).collect();
        clients[0].send(b"not a request").unwrap();
        assert_eq!(drain::<D>(&server, &mut worker), [64, 64, 23]);
        assert!(clients.iter().all(is_answered));
        let count = |count| worker.counters().get(count);
        let v4 = if address == "::1" { 0 } else { 151 };
        assert_eq!(count(Count::UdpReceived4), v4);
        assert_eq!(count(Count::UdpReceived6), 151 - v4);
        assert_eq!(count(Count::UdpReceivedBytes), 150 * 16 + 13);
        assert_eq!(count(Count::UdpSent), 150);
        assert_eq!(count(Count::UdpSentBytes), 150 * 16);
        assert_eq!(count(Count::UdpSendFailed), 0);
    }

    #[test]
    fn each_of_many_datagrams_is_answered_to_its_sender() {
        answers_many::<UdpBatch>("127.0.0.1");
        answers_many::<UdpBatch>("::1");
        answers_many::<OneByOne>("127.0.0.1");
        answers_many::<OneByOne>("::1");
        #[cfg(target_os = "linux")]
        answers_many::<WithoutBatches>("::1");
    }

    fn answers_mapped<D: Native>() {
        let (server, mut worker) = (server("::"), worker());
        let client = asked(&server, "127.0.0.1");
        assert_eq!(drain::<D>(&server, &mut worker), [1]);
        assert!(is_answered(&client));
        assert_eq!(worker.counters().get(Count::UdpReceived4), 1);
    }

    #[test]
    fn an_ipv4_sender_at_an_ipv6_socket_is_ipv4() {
        answers_mapped::<UdpBatch>();
        answers_mapped::<OneByOne>();
        #[cfg(target_os = "linux")]
        answers_mapped::<WithoutBatches>();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_wildcard_socket_answers_from_the_address_asked() {
        answers_from_the_address_asked::<UdpBatch>();
        answers_from_the_address_asked::<WithoutBatches>();
    }

    #[cfg(target_os = "linux")]
    fn answers_from_the_address_asked<D: Native>() {
        for (wildcard, addresses) in [
            ("::", ["127.0.0.5", "127.0.0.1", "::1"].as_slice()),
            ("0.0.0.0", &["127.0.0.5", "127.8.9.10"]),
        ] {
            let (server, mut worker) = (server(wildcard), worker());
            for at in addresses {
                let client = asked(&server, at);
                drain::<D>(&server, &mut worker);
                assert!(is_answered(&client), "{at} at {wildcard}");
            }
        }
    }

    #[test]
    fn a_batch_can_be_used_again_after_longer_and_shorter_ones() {
        let (server, mut worker) = (server("::"), worker());
        let mut batch = UdpBatch::new();
        for count in [64, 1, 3, 64, 2] {
            let clients: Vec<UdpSocket> = (0..count)
                .map(|n| asked(&server, ["127.0.0.9", "::1"][n % 2]))
                .collect();
            let mut exchange = || exchange(NOW, &mut batch, &server, &*front(), &mut worker).unwrap();
            assert_eq!(exchange(), count);
            assert!(clients.iter().all(is_answered));
            assert_eq!(exchange(), 0);
        }
    }

    #[test]
    fn a_datagram_that_is_too_long_is_cut_off_and_does_no_harm() {
        let (server, mut worker) = (server("127.0.0.1"), worker());
        let client = asked(&server, "127.0.0.1");
        client.send(&[0xff; 9000]).unwrap();
        client.send(&[]).unwrap();
        assert_eq!(drain::<UdpBatch>(&server, &mut worker), [3]);
        assert!(is_answered(&client));
        assert_eq!(worker.counters().get(Count::UdpMalformed), 2);
        assert_eq!(
            worker.counters().get(Count::UdpReceivedBytes),
            16 + PAYLOAD_MAX as u64
        );
    }
}
