//! Keeps the receive queue of a UDP socket in order: watches it, and has its buffer and its filter follow what is found.

use std::io;
use std::net::UdpSocket;
use std::sync::atomic::AtomicU64;

use etracker_core::overload::{Level, Queue, QueueWatch};
use etracker_core::{Instant, Worker};
use socket2::SockRef;
use tracing::warn;

#[cfg(target_os = "linux")]
use crate::filter::Filter;
use crate::socket_failures::is_due;
use crate::sys;

/// The receive queue of one socket.
#[derive(Debug)]
pub(crate) struct Intake {
    watch: QueueWatch,
    filter: Filter,
    /// Whether the next batch shows how much of the queue a datagram takes.
    measures: bool,
    /// When the overload began that the operator was told of.
    told: Option<Instant>,
}

impl Intake {
    /// The queue of a socket that nothing was received from yet.
    pub(crate) fn new(now: Instant, socket: &UdpSocket) -> Self {
        Self {
            watch: QueueWatch::new(now),
            filter: Filter::new(socket),
            measures: true,
            told: None,
        }
    }

    /// The bytes in the queue before a batch is received, if they are wanted: once a second.
    #[inline]
    pub(crate) fn measure(&mut self, socket: &UdpSocket) -> Option<u32> {
        // SO_MEMINFO takes 0.2 µs: too much for each batch, nothing for one a second.
        if !self.measures {
            return None;
        }
        self.measures = false;
        self.look(socket).ok().map(|queue| queue.queued_bytes)
    }

    /// Takes note of a batch, before which there were `queued_bytes` if that was measured.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        socket: &UdpSocket,
        datagrams: usize,
        queued_bytes: Option<u32>,
        worker: &mut Worker,
    ) {
        if let Some(queued_bytes) = queued_bytes {
            self.watch.measure(queued_bytes, datagrams);
        }
        if self.watch.receive(now, datagrams) {
            self.observe(now, socket, worker);
        }
    }

    /// Does what is due once a second, also when nothing is received: the level falls, the filter is renewed.
    pub(crate) fn tick(&mut self, now: Instant, socket: &UdpSocket, worker: &mut Worker) {
        self.measures = true;
        if self.watch.is_due(now) {
            self.observe(now, socket, worker);
        }
        self.renew_filter(now, socket, worker);
    }

    fn renew_filter(&mut self, now: Instant, socket: &UdpSocket, worker: &mut Worker) {
        // The limits are the worker's: what a source sends to one of its sockets counts at all of them.
        let sources = worker.filtered_sources(now);
        let connects_kept = worker.connects_kept(now);
        self.filter.renew(now, socket, sources, connects_kept);
    }

    /// Has the socket receive everything again: one that outlives the process, held by a supervisor, would keep its filter.
    pub(crate) fn end(&mut self, socket: &UdpSocket) {
        self.filter.end(socket);
    }

    /// Judges the queue. Where the system tells nothing of it, overload is not seen.
    fn observe(&mut self, now: Instant, socket: &UdpSocket, worker: &mut Worker) {
        let Ok(queue) = self.look(socket) else {
            return;
        };
        if let Some(bytes) = worker.observe(now, &mut self.watch, queue) {
            // The system doubles what it is asked for, for what it adds to each datagram, and tells the double. It may grant
            // less than a privileged process once had; the rest works with that.
            let _ = SockRef::from(socket).set_recv_buffer_size(bytes as usize / 2);
        }
        self.tell(now, worker.overload());
        // A second is long: a flood takes the places of some hundred honest requests in each tenth of it.
        if worker.was_overloaded(now) {
            self.renew_filter(now, socket, worker);
        }
    }

    fn look(&self, socket: &UdpSocket) -> io::Result<Queue> {
        let queue = sys::receive_queue(socket)?;
        // The system counts drops of queue and filter as one: only with this can they be told apart.
        let has_filter = self.filter.is_attached();
        Ok(Queue { has_filter, ..queue })
    }

    /// Tells the operator that overload begins, once a minute at most over all workers, and when that one is over.
    fn tell(&mut self, now: Instant, level: Level) {
        static TOLD: AtomicU64 = AtomicU64::new(0);
        match self.told {
            None if level > Level::None && is_due(&TOLD, now) => {
                self.told = Some(now);
                warn!(
                    "a worker is overloaded: datagrams come faster than they are answered. It gives up what clients can \
                     do without first, and new peers last"
                );
            }
            Some(since) if level == Level::None => {
                self.told = None;
                let secs = now.saturating_since(since).as_secs_f64();
                warn!("the worker serves all requests again, after {secs:.1} s of overload");
            }
            None | Some(_) => {}
        }
    }
}

/// No filter: other systems have none that an unprivileged process may attach to a socket.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Filter;

#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::unused_self,
    clippy::needless_pass_by_ref_mut,
    reason = "as the filter of Linux is called"
)]
impl Filter {
    const fn new(_: &UdpSocket) -> Self {
        Self
    }

    const fn is_attached(&self) -> bool {
        false
    }

    fn renew(&mut self, _: Instant, _: &UdpSocket, _: Vec<etracker_core::ipnet::IpNet>, _: Option<u32>) {}

    const fn end(&mut self, _: &UdpSocket) {}
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use etracker_core::stats::Count;
    use etracker_core::udp::BATCH_MAX;
    use etracker_core::{Config, Seed, Tracker};

    use super::*;

    const START: Instant = Instant::from_secs(1_000_000);

    struct Server {
        socket: UdpSocket,
        intake: Intake,
        worker: Worker,
        now: Instant,
    }

    impl Server {
        fn new() -> Self {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            SockRef::from(&socket).set_recv_buffer_size(100_000).unwrap();
            let tracker = Tracker::new(Config::default(), Seed::new([7; 32]), START);
            let mut server = Self {
                intake: Intake::new(START, &socket),
                worker: Worker::new(Arc::new(tracker)),
                socket,
                now: START,
            };
            server.receive(1);
            server
        }

        fn send(&self, count: usize) {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            for _ in 0..count {
                client
                    .send_to(&[0; 98], self.socket.local_addr().unwrap())
                    .unwrap();
            }
        }

        /// Has a window pass at the end of which a batch of so many datagrams was received.
        fn receive(&mut self, datagrams: usize) {
            self.now = self.now.saturating_add(Duration::from_millis(100));
            let queued = self.intake.measure(&self.socket);
            self.intake
                .receive(self.now, &self.socket, datagrams, queued, &mut self.worker);
        }

        fn buffer(&self) -> usize {
            SockRef::from(&self.socket).recv_buffer_size().unwrap()
        }
    }

    #[test]
    fn a_queue_that_overflows_is_seen_counted_and_shortened_and_grows_again() {
        let mut server = Server::new();
        let buffer = server.buffer();
        server.send(500);
        server.receive(BATCH_MAX);
        let dropped = server.worker.counters().get(Count::UdpKernelDropped);
        assert!((200..500).contains(&dropped), "{dropped}");
        assert!(server.buffer() < buffer, "{}", server.buffer());
        server.send(1);
        server.receive(BATCH_MAX);
        assert_eq!(server.worker.overload(), Level::Extras);
        while server.socket.recv(&mut [0; 98]).is_ok() {}
        for _ in 0..20 {
            server.receive(1);
        }
        assert_eq!((server.worker.overload(), server.buffer()), (Level::None, buffer));
    }

    #[test]
    fn overload_is_over_although_nothing_comes_any_more() {
        let mut server = Server::new();
        for _ in 0..3 {
            server.send(500);
            server.receive(BATCH_MAX);
        }
        assert!(server.worker.overload() > Level::None);
        while server.socket.recv(&mut [0; 98]).is_ok() {}
        for _ in 0..2 {
            server.now = server.now.saturating_add(Duration::from_secs(1));
            server.intake.tick(server.now, &server.socket, &mut server.worker);
        }
        assert_eq!(server.worker.overload(), Level::None);
    }

    #[test]
    fn what_a_datagram_takes_of_the_queue_is_told_by_the_system() {
        let server = Server::new();
        assert_eq!(sys::receive_queue(&server.socket).unwrap().queued_bytes, 0);
        server.send(10);
        let queue = sys::receive_queue(&server.socket).unwrap();
        assert!((5000..50_000).contains(&queue.queued_bytes), "{queue:?}");
        assert_eq!((queue.buffer_bytes as usize, queue.drops), (server.buffer(), 0));
    }
}
