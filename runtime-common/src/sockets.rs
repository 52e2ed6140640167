//! Opening the sockets of all workers.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};
use std::{fmt, io, iter, thread};

use socket2::{Domain, Socket, Type};

use crate::listen::{Place, places};
use crate::open_error::refused;
#[cfg(target_os = "linux")]
use crate::sys;
use crate::{Listen, OpenError, Protocol, Transport};

/// The sockets of all workers, listening.
#[derive(Debug)]
pub struct Opened {
    /// One entry for each worker.
    pub workers: Vec<WorkerSockets>,
    /// What is listened on.
    pub local: Vec<Listening>,
    /// Bytes of the smallest UDP receive buffer, as the operating system reports it; 0 without UDP.
    pub receive_buffer: usize,
}

/// Where sockets listen. Displayed as an operator wants to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// For what.
    pub protocol: Protocol,
    /// Where.
    pub at: SocketAddr,
    /// Whether an IPv6 socket takes IPv4 too.
    pub dual: bool,
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = if self.dual { " (IPv6 and IPv4)" } else { "" };
        write!(f, "{} {}{families}", self.protocol, self.at)
    }
}

/// The sockets that one worker drains, all non-blocking.
#[derive(Debug, Default)]
pub struct WorkerSockets {
    /// Bound, not connected.
    pub udp: Vec<Bound<UdpSocket>>,
    /// Listening.
    pub tcp: Vec<Bound<TcpListener>>,
}

/// A socket, and the protocol that it was opened for.
#[derive(Debug)]
pub struct Bound<S> {
    /// What is served there.
    pub protocol: Protocol,
    /// The socket itself.
    pub socket: S,
}

/// Opens the sockets of all workers. Fails if another program has one of them, even one that would share its port.
/// A port that is in use is tried again for up to [`IN_USE_MILLIS_MAX`] milliseconds: that of a killed io_uring
/// process stays bound for a moment.
///
/// # Errors
/// The first address that cannot be listened on.
pub fn open(listen: &Listen) -> Result<Opened, OpenError> {
    let mut opened = Opened::empty(listen.workers);
    let deadline = Instant::now() + Duration::from_millis(IN_USE_MILLIS_MAX);
    let mut free_port = 0;
    for place in places(&listen.binds)? {
        // All that ask for a free port get the same one: HTTP and UDP of a tracker customarily share a number.
        let port = if place.port == 0 { free_port } else { place.port };
        let group = patiently(deadline, || Group::open(&place, port, listen.workers.max(1)))?;
        if place.port == 0 {
            free_port = group.local.port();
        }
        opened.add(place.protocol, group)?;
    }
    Ok(opened)
}

/// Bytes of receive buffer asked for: a hundred thousand announces that wait while a worker is kept busy.
pub const RECEIVE_BUFFER: usize = 4 << 20;
/// Milliseconds that a port in use is tried for.
pub const IN_USE_MILLIS_MAX: u64 = 1000;
/// Milliseconds between two tries.
const IN_USE_PAUSE_MILLIS: u64 = 10;
/// Seconds until a client that sends nothing is accepted: from then on its time counts, and its connection.
#[cfg(target_os = "linux")]
const ACCEPT_SECS_MAX: i32 = 1;
/// Connections that wait to be accepted; the operating system may allow fewer.
pub(crate) const BACKLOG: i32 = 4096;

impl Opened {
    pub(crate) fn empty(workers: usize) -> Self {
        Self {
            workers: iter::repeat_with(WorkerSockets::default)
                .take(workers.max(1))
                .collect(),
            local: Vec::new(),
            receive_buffer: 0,
        }
    }

    /// The sockets of all workers.
    #[must_use]
    pub fn sockets(&self) -> usize {
        let sockets = |worker: &WorkerSockets| worker.udp.len() + worker.tcp.len();
        self.workers.iter().map(sockets).sum()
    }

    /// The addresses listened on that this host does not have, or not yet: nobody reaches the tracker there until it does.
    #[must_use]
    pub fn absent(&self) -> Vec<IpAddr> {
        let mut absent: Vec<IpAddr> = Vec::new();
        for at in self.local.iter().map(|listening| listening.at) {
            if !absent.contains(&at.ip()) && is_absent(at) {
                absent.push(at.ip());
            }
        }
        absent
    }

    /// Gives the sockets of one address to the workers in turn.
    pub(crate) fn add(&mut self, protocol: Protocol, group: Group) -> Result<(), OpenError> {
        self.local.push(Listening {
            protocol,
            at: group.local,
            dual: group.takes_both_families(),
        });
        if protocol.transport() == Transport::Udp {
            self.note_receive_buffers(protocol, &group)?;
        }
        let workers = self.workers.len();
        for (number, socket) in group.sockets.into_iter().enumerate() {
            // There may be more sockets than workers if they were handed in: each is drained nevertheless.
            let worker = &mut self.workers[number % workers];
            match protocol.transport() {
                Transport::Tcp => worker.tcp.push(Bound {
                    protocol,
                    socket: socket.into(),
                }),
                Transport::Udp => worker.udp.push(Bound {
                    protocol,
                    socket: answering(socket, protocol, group.local)?,
                }),
            }
        }
        Ok(())
    }

    fn note_receive_buffers(&mut self, protocol: Protocol, group: &Group) -> Result<(), OpenError> {
        let size = group.sockets.iter().map(Socket::recv_buffer_size);
        // Datagrams are lost in the smallest buffer first: that is the one to report.
        let smallest = size
            .min_by_key(|size| size.as_ref().copied().unwrap_or_default())
            .unwrap_or(Ok(0))
            .map_err(|error| refused(protocol, group.local, error))?;
        self.receive_buffer = match self.receive_buffer {
            0 => smallest,
            before => before.min(smallest),
        };
        Ok(())
    }
}

/// Whether this host does not have an address, or does not let it be used yet: who does not say that this is no matter
/// cannot bind it.
#[must_use]
pub fn is_absent(mut at: SocketAddr) -> bool {
    at.set_port(0);
    // Without IP_FREEBIND, and at a free port: only an absent or tentative address is not available then.
    let bound = UdpSocket::bind(at);
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

/// The sockets that share one address, one for each worker.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) local: SocketAddr,
    pub(crate) sockets: Vec<Socket>,
}

impl Group {
    /// The first socket is bound alone, so that a port in use is noticed; only then it is opened to the others.
    fn open(place: &Place, port: u16, size: usize) -> Result<Self, OpenError> {
        let wanted = place.at(port);
        let open = || -> io::Result<Self> {
            let first = new_socket(place)?;
            listen_at(place, &first, wanted)?;
            let local = first.local_addr()?.as_socket().unwrap_or(wanted);
            let mut sockets = vec![first];
            for _ in 1..size {
                let next = join(place, &sockets[0], local)?;
                sockets.push(next);
            }
            Ok(Self { local, sockets })
        };
        open().map_err(|error| refused(place.protocol, wanted, error))
    }

    fn takes_both_families(&self) -> bool {
        let is_dual = |socket: &Socket| socket.only_v6().is_ok_and(|only| !only);
        self.local.is_ipv6() && self.local.ip().is_unspecified() && self.sockets.iter().all(is_dual)
    }
}

/// One more socket at the address of `first`; the system spreads what comes over all of them.
#[cfg(target_os = "linux")]
fn join(place: &Place, first: &Socket, local: SocketAddr) -> io::Result<Socket> {
    first.set_reuse_port(true)?;
    let socket = new_socket(place)?;
    socket.set_reuse_port(true)?;
    listen_at(place, &socket, local)?;
    Ok(socket)
}

/// The same socket once more: whoever is first takes what comes. Elsewhere than on Linux, sockets that share a port are not
/// given a share each: all goes to one of them.
#[cfg(not(target_os = "linux"))]
fn join(_: &Place, first: &Socket, _: SocketAddr) -> io::Result<Socket> {
    first.try_clone()
}

fn new_socket(place: &Place) -> io::Result<Socket> {
    let domain = match place.ip {
        IpAddr::V4(_) => Domain::IPV4,
        IpAddr::V6(_) => Domain::IPV6,
    };
    let (kind, protocol) = match place.protocol.transport() {
        Transport::Tcp => (Type::STREAM, socket2::Protocol::TCP),
        Transport::Udp => (Type::DGRAM, socket2::Protocol::UDP),
    };
    let socket = Socket::new(domain, kind, Some(protocol))?;
    if place.ip.is_ipv6() {
        // Set in any case: the system's default differs (net.ipv6.bindv6only), and binding both families would collide.
        socket.set_only_v6(!place.dual)?;
    }
    // At boot an address may come later than the tracker, and an IPv6 address is tentative at first. Elsewhere than on
    // Linux this takes rights that a tracker should not have. Where it is refused, binding says why it fails.
    #[cfg(target_os = "linux")]
    let _ = match place.ip {
        IpAddr::V4(_) => socket.set_freebind_v4(true),
        IpAddr::V6(_) => socket.set_freebind_v6(true),
    };
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen_at(place: &Place, socket: &Socket, at: SocketAddr) -> io::Result<()> {
    match place.protocol.transport() {
        Transport::Tcp => {
            // Connections of a tracker that just ended do not keep the port; those that listen do.
            #[cfg(unix)]
            socket.set_reuse_address(true)?;
            prepare_listener(socket)?;
            socket.bind(&at.into())?;
            socket.listen(BACKLOG)
        }
        Transport::Udp => {
            // As much as the system allows; it says how much that was.
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
            socket.bind(&at.into())
        }
    }
}

/// Sets what every listening socket has, whoever opened it. What is accepted inherits it.
pub(crate) fn prepare_listener(socket: &Socket) -> io::Result<()> {
    // A client is handed over with its request, or after a while without one: most need not be waited for then. Where
    // the system does not know that, they are.
    #[cfg(target_os = "linux")]
    let _ = sys::defer_accept(socket, ACCEPT_SECS_MAX);
    // The second of two answers must not wait for the client's acknowledgement.
    socket.set_tcp_nodelay(true)
}

/// A UDP socket that answers from the address it was asked at; a wildcard has many.
#[cfg_attr(
    not(target_os = "linux"),
    expect(unused_variables, reason = "std cannot choose the address")
)]
fn answering(socket: Socket, protocol: Protocol, local: SocketAddr) -> Result<UdpSocket, OpenError> {
    let socket = UdpSocket::from(socket);
    #[cfg(target_os = "linux")]
    // With one address there is nothing to choose, and each datagram is spared a control message.
    if local.ip().is_unspecified() {
        sys::want_destination(&socket).map_err(|error| refused(protocol, local, error))?;
    }
    Ok(socket)
}

/// Tries again while the port is in use and the deadline is not over.
fn patiently<T>(deadline: Instant, mut open: impl FnMut() -> Result<T, OpenError>) -> Result<T, OpenError> {
    loop {
        match open() {
            // Other errors do not pass within a second.
            Err(OpenError::InUse(..)) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(IN_USE_PAUSE_MILLIS));
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;
    use crate::Address;

    const BOTH: [Protocol; 2] = [Protocol::Http, Protocol::Udp];

    fn listen(addresses: &[&str], workers: usize) -> Listen {
        listen_at_port(&BOTH, addresses, 0, workers)
    }

    fn listen_at_port(protocols: &[Protocol], addresses: &[&str], port: u16, workers: usize) -> Listen {
        let addresses: Vec<Address> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        let bind = |listen: Listen, &protocol: &Protocol| listen.bind(protocol, &addresses, port);
        protocols.iter().fold(Listen::new(workers), bind)
    }

    /// With port 0 the free TCP port may be taken over UDP; then another is tried.
    fn opened(listen: &Listen) -> Opened {
        (0..20).find_map(|_| open(listen).ok()).unwrap()
    }

    fn port(opened: &Opened) -> u16 {
        opened.local[0].at.port()
    }

    #[test]
    fn every_worker_has_one_socket_for_each_transport_and_address() {
        let opened = opened(&listen(&["127.0.0.1", "::1"], 3));
        let port = port(&opened);
        let mut local: Vec<String> = opened.local.iter().map(Listening::to_string).collect();
        local.sort();
        assert_eq!(
            local,
            [
                format!("TCP 127.0.0.1:{port}"),
                format!("TCP [::1]:{port}"),
                format!("UDP 127.0.0.1:{port}"),
                format!("UDP [::1]:{port}")
            ]
        );
        assert_eq!(opened.workers.len(), 3);
        for worker in &opened.workers {
            assert_eq!((worker.udp.len(), worker.tcp.len()), (2, 2));
        }
        assert!(opened.receive_buffer > 0);
    }

    #[test]
    fn a_second_port_and_another_protocol_are_entries_like_any() {
        let local = [[127, 0, 0, 1].into()];
        let echo = Protocol::Other("ECHO", Transport::Udp);
        let first = opened(&listen(&["127.0.0.1"], 2));
        let taken = port(&first);
        drop(first);
        let listen = Listen::new(2)
            .bind(Protocol::Http, &local, 0)
            .bind(Protocol::Http, &local, taken)
            .bind(echo, &local, 0);
        let opened = opened(&listen);
        let ports: Vec<u16> = opened.local.iter().map(|local| local.at.port()).collect();
        assert_eq!((ports[0], ports[1]), (ports[2], taken));
        assert_eq!(
            opened.local[2].to_string(),
            format!("ECHO 127.0.0.1:{}", ports[0])
        );
        for worker in &opened.workers {
            assert_eq!((worker.udp.len(), worker.tcp.len()), (1, 2));
            assert_eq!(worker.udp[0].protocol, echo);
        }
    }

    #[test]
    fn a_port_that_another_tracker_shares_among_its_workers_is_in_use() {
        let first = opened(&listen(&["127.0.0.1"], 2));
        for protocol in BOTH {
            let second = listen_at_port(&[protocol], &["127.0.0.1"], port(&first), 2);
            let error = open(&second).unwrap_err();
            assert!(matches!(error, OpenError::InUse(..)), "{error}");
            let expected = format!("cannot listen on {protocol} 127.0.0.1:{}: ", port(&first));
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn a_wildcard_over_a_used_address_is_in_use() {
        let first = opened(&listen(&["127.0.0.1"], 1));
        let second = listen_at_port(&BOTH, &[], port(&first), 1);
        assert!(matches!(open(&second), Err(OpenError::InUse(..))));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_address_that_this_host_does_not_have_is_listened_on_and_known_to_be_absent() {
        let opened = opened(&listen(&["127.0.0.1", "192.0.2.1", "2001:db8::1"], 2));
        assert_eq!(opened.local.len(), 6);
        let absent: Vec<String> = opened.absent().iter().map(IpAddr::to_string).collect();
        assert_eq!(absent, ["192.0.2.1", "2001:db8::1"]);
    }

    #[test]
    #[cfg(not(target_os = "linux"))]
    fn an_address_of_another_host_is_refused_by_name() {
        let error = open(&listen(&["192.0.2.1"], 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot listen on TCP 192.0.2.1:0: this host has no such address"
        );
    }

    #[test]
    fn datagrams_from_many_ports_reach_every_worker_and_none_is_lost() {
        for workers in [1, 2, 7] {
            let opened = opened(&listen(&["127.0.0.1"], workers));
            let clients: Vec<UdpSocket> = (0..500)
                .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
                .collect();
            for client in &clients {
                client.send_to(b"x", ("127.0.0.1", port(&opened))).unwrap();
            }
            let mut senders = HashSet::new();
            for worker in &opened.workers {
                let before = senders.len();
                while let Ok((_, sender)) = worker.udp[0].socket.recv_from(&mut [0; 8]) {
                    senders.insert(sender);
                }
                assert!(
                    senders.len() > before,
                    "a socket of {workers} workers got nothing"
                );
            }
            assert_eq!(senders.len(), 500);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn connections_reach_every_worker() {
        let opened = opened(&listen(&["127.0.0.1"], 3));
        let clients: Vec<TcpStream> = (0..100)
            .map(|_| {
                let mut client = TcpStream::connect(("127.0.0.1", port(&opened))).unwrap();
                client.write_all(b"x").unwrap();
                client
            })
            .collect();
        let accepted = opened.workers.iter().map(|worker| {
            let mut accepted = 0;
            while worker.tcp[0].socket.accept().is_ok() {
                accepted += 1;
            }
            accepted
        });
        let accepted: Vec<i32> = accepted.collect();
        assert!(accepted.iter().all(|&n| n > 0), "{accepted:?}");
        assert_eq!(accepted.iter().sum::<i32>(), 100);
        drop(clients);
    }

    #[test]
    fn a_port_is_free_again_although_its_last_connection_lingers() {
        let first = opened(&listen(&["127.0.0.1"], 1));
        let port = port(&first);
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(b"x").unwrap();
        let mut server = loop {
            if let Ok((server, _)) = first.workers[0].tcp[0].socket.accept() {
                break server;
            }
        };
        server.read_exact(&mut [0]).unwrap();
        // Who closes first is left with the connection in TIME_WAIT.
        server.write_all(b"x").unwrap();
        drop((server, first));
        client.read_to_end(&mut Vec::new()).unwrap();
        drop(client);
        let again = listen_at_port(&BOTH, &["127.0.0.1"], port, 1);
        assert!(open(&again).is_ok());
    }
}
