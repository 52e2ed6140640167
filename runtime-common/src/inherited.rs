//! Sockets that were opened by whoever started this process.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::Socket;

use crate::open_error::refused;
use crate::sockets::{Group, RECEIVE_BUFFER, prepare_listener};
use crate::{Listen, OpenError, Opened, Protocol, Transport};

/// Sockets that are bound, and listen if they are TCP's.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For UDP.
    pub udp: Vec<UdpSocket>,
    /// For HTTP.
    pub tcp: Vec<TcpListener>,
}

impl Inherited {
    /// Gives every socket to one of the workers of `listen`. Where there are fewer sockets than workers, workers share them: each
    /// has one at every address. A TCP socket serves the protocol that `listen` has for its port, HTTP if it has none.
    ///
    /// # Errors
    /// A socket is not fit for serving.
    pub fn adopt(self, listen: &Listen) -> Result<Opened, OpenError> {
        let workers = listen.workers;
        let mut groups: Vec<(Protocol, Group)> = Vec::new();
        let tcp = self
            .tcp
            .into_iter()
            .map(|tcp| (protocol(listen, &tcp), Socket::from(tcp)));
        let udp = self.udp.into_iter().map(|udp| (Protocol::Udp, Socket::from(udp)));
        for (protocol, socket) in tcp.chain(udp) {
            let local = prepare(protocol, &socket)?;
            // All workers together drain each socket: those of one address are given out together.
            let known = groups
                .iter_mut()
                .find(|(its, group)| (*its, group.local) == (protocol, local));
            match known {
                Some((_, group)) => group.sockets.push(socket),
                None => groups.push((
                    protocol,
                    Group {
                        local,
                        sockets: vec![socket],
                    },
                )),
            }
        }
        let mut opened = Opened::empty(workers);
        for (protocol, mut group) in groups {
            let error = |error| refused(protocol, group.local, error);
            for number in 0..workers.max(1).saturating_sub(group.sockets.len()) {
                // Copies share one queue, so that no datagram waits for a worker that has no socket.
                let another = group.sockets[number].try_clone().map_err(error)?;
                group.sockets.push(another);
            }
            opened.add(protocol, group)?;
        }
        Ok(opened)
    }
}

fn protocol(listen: &Listen, socket: &TcpListener) -> Protocol {
    let port = socket.local_addr().map_or(0, |local| local.port());
    let bind = listen
        .binds
        .iter()
        .find(|bind| bind.port == port && bind.protocol.transport() == Transport::Tcp);
    bind.map_or(Protocol::Http, |bind| bind.protocol)
}

/// Sets what sockets of our own are opened with. Returns where the socket is bound.
fn prepare(protocol: Protocol, socket: &Socket) -> Result<SocketAddr, OpenError> {
    let local = socket.local_addr().map(|local| local.as_socket());
    let unbound = || SocketAddr::from(([0; 4], 0));
    let set = || -> io::Result<SocketAddr> {
        // An unbound socket has port 0: nobody could reach it.
        let local = local?.filter(|local| local.port() > 0);
        let local = local.ok_or_else(|| io::Error::other("the socket that was handed in has no port"))?;
        // systemd hands over blocking sockets unless its unit says NonBlocking=yes: one would stop its worker.
        socket.set_nonblocking(true)?;
        match protocol.transport() {
            Transport::Tcp => {
                ensure_listens(socket)?;
                prepare_listener(socket)?;
            }
            // As much as the system allows; it says how much that was.
            Transport::Udp => drop(socket.set_recv_buffer_size(RECEIVE_BUFFER)),
        }
        Ok(local)
    };
    set().map_err(|error| refused(protocol, unbound(), error))
}

/// Fails if the socket does not listen.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn ensure_listens(socket: &Socket) -> io::Result<()> {
    if socket.is_listener()? {
        return Ok(());
    }
    Err(io::Error::other("the socket that was handed in does not listen"))
}

/// Has the socket listen: other systems do not say whether it does. One that listens already does not mind, one that is
/// connected cannot.
#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
use listen_again as ensure_listens;

#[cfg(any(test, not(any(target_os = "linux", target_os = "freebsd"))))]
fn listen_again(socket: &Socket) -> io::Result<()> {
    socket.listen(crate::sockets::BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(at: SocketAddr) -> UdpSocket {
        let socket = Socket::new(socket2::Domain::for_address(at), socket2::Type::DGRAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&at.into()).unwrap();
        socket.into()
    }

    fn several(count: usize) -> Inherited {
        let first = udp(([127, 0, 0, 1], 0).into());
        let local = first.local_addr().unwrap();
        let rest = (1..count).map(|_| udp(local));
        Inherited {
            udp: std::iter::once(first).chain(rest).collect(),
            tcp: Vec::new(),
        }
    }

    #[test]
    fn every_socket_is_drained_and_every_worker_has_one() {
        for (sockets, workers, each) in [
            (1, 1, &[1][..]),
            (4, 1, &[4]),
            (4, 3, &[2, 1, 1]),
            (1, 3, &[1, 1, 1]),
            (2, 5, &[1, 1, 1, 1, 1]),
        ] {
            let opened = several(sockets).adopt(&Listen::new(workers)).unwrap();
            let found: Vec<_> = opened.workers.iter().map(|worker| worker.udp.len()).collect();
            assert_eq!(found, each, "{sockets} sockets, {workers} workers");
            assert_eq!(opened.local.len(), 1);
        }
    }

    #[test]
    fn sockets_of_several_addresses_are_given_out_by_address() {
        let inherited = Inherited {
            udp: vec![udp(([127, 0, 0, 1], 0).into()), udp(([127, 0, 0, 2], 0).into())],
            tcp: vec![TcpListener::bind("127.0.0.1:0").unwrap()],
        };
        let opened = inherited.adopt(&Listen::new(2)).unwrap();
        assert_eq!(opened.local.len(), 3);
        for worker in opened.workers {
            assert_eq!((worker.udp.len(), worker.tcp.len()), (2, 1));
        }
    }

    #[test]
    fn a_socket_that_cannot_serve_is_refused() {
        let unbound = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let inherited = Inherited {
            udp: Vec::new(),
            tcp: vec![unbound.into()],
        };
        assert!(
            inherited
                .adopt(&Listen::new(1))
                .unwrap_err()
                .to_string()
                .contains("handed in")
        );
    }
    #[test]
    fn a_socket_can_be_told_again_to_listen_and_keeps_who_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(at).unwrap();
        let listener = Socket::from(listener);
        listen_again(&listener).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(listen_again(&accepted).is_err(), "a connection listens");
        drop(client);
    }
}
