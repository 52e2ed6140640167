//! A filter on a socket: the system drops the datagrams of the heaviest sources before it queues them.
//!
//! A datagram that is dropped here costs a fraction of one that is received first, and takes no place in the receive queue
//! from others. Classic BPF needs no privilege.

mod program;
mod table;

use std::io;
use std::net::UdpSocket;
use std::sync::Once;

use etracker_core::Instant;
use etracker_core::ipnet::IpNet;
use socket2::{SockFilter, SockRef};
use tracing::warn;

use self::program::{Instruction, Rules};
use self::table::Table;
use crate::Plain;

/// The filter of one socket.
#[derive(Debug)]
pub(crate) struct Filter {
    table: Table,
    attached: Rules,
    /// Whether the system refused a filter: it is not asked again.
    refused: bool,
}

impl Filter {
    /// No filter: one that a killed process left on an inherited socket is detached.
    pub(crate) fn new(socket: &UdpSocket) -> Self {
        detach(socket);
        Self {
            table: Table::default(),
            attached: Rules::default(),
            refused: false,
        }
    }

    /// Whether one is attached.
    pub(crate) const fn is_attached(&self) -> bool {
        !self.attached.is_empty()
    }

    /// Filters the sources that are `reported`, and lets those in whose time is over. To be called once a second at least.
    /// `connects_kept` is the share of connects that is let in, in parts of 2^32.
    pub(crate) fn renew(
        &mut self,
        now: Instant,
        socket: &UdpSocket,
        reported: impl IntoIterator<Item = IpNet>,
        connects_kept: Option<u32>,
    ) {
        self.table.renew(now, reported);
        let rules = Rules {
            networks: self.table.networks(now),
            sampled: self.table.sampled(now),
            connects_kept,
        };
        self.replace(socket, rules);
    }

    fn replace(&mut self, socket: &UdpSocket, rules: Rules) {
        // The kernel checks and translates each program anew: not for rules that it has already.
        if self.refused || rules == self.attached {
            return;
        }
        if rules.is_empty() {
            self.end(socket);
            return;
        }
        match attach(socket, &rules.program()) {
            Ok(()) => self.attached = rules,
            Err(error) => {
                // The filter before must not stay: nothing would renew it, and its sources would never be let in again.
                self.end(socket);
                self.refused = true;
                tell_refused(&error);
            }
        }
    }

    /// Detaches it.
    pub(crate) fn end(&mut self, socket: &UdpSocket) {
        if self.is_attached() {
            detach(socket);
            self.attached = Rules::default();
        }
    }
}

fn attach(socket: &UdpSocket, program: &[Instruction]) -> io::Result<()> {
    let program: Vec<SockFilter> = program
        .iter()
        .map(|step| SockFilter::new(step.code, step.jump_true, step.jump_false, step.operand))
        .collect();
    SockRef::from(socket).attach_filter(&program)
}

fn detach(socket: &UdpSocket) {
    // That there is none is no error.
    let _ = SockRef::from(socket).detach_filter();
}

fn tell_refused(error: &io::Error) {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        let reason = Plain(error);
        warn!(
            "socket filters cannot be used here ({reason}): datagrams of sources over their limit are received and \
             dropped, which takes longer"
        );
    });
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};
    use std::time::Duration;

    use super::*;

    /// A server at `address`, and what it has received from `sources` after each of them sent a datagram.
    struct Server(UdpSocket);

    impl Server {
        fn at(address: &str) -> Self {
            let socket = UdpSocket::bind((address.parse::<IpAddr>().unwrap(), 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            Self(socket)
        }

        /// The sources of those datagrams that come through.
        fn hears<'a>(&self, sources: &[&'a str], payload: &[u8]) -> Vec<&'a str> {
            let port = self.0.local_addr().unwrap().port();
            let clients: Vec<UdpSocket> = sources
                .iter()
                .map(|source| UdpSocket::bind((source.parse::<IpAddr>().unwrap(), 0)).unwrap())
                .collect();
            for client in &clients {
                let to: IpAddr = if client.local_addr().unwrap().is_ipv4() {
                    [127, 0, 0, 1].into()
                } else {
                    "::1".parse().unwrap()
                };
                client.send_to(payload, SocketAddr::new(to, port)).unwrap();
            }
            let mut heard = Vec::new();
            // Over the loopback interface a datagram has arrived when it is sent.
            while let Ok((_, from)) = self.0.recv_from(&mut [0; 200]) {
                let is_from = |client: &UdpSocket| client.local_addr().unwrap().port() == from.port();
                heard.push(sources[clients.iter().position(is_from).unwrap()]);
            }
            heard
        }
    }

    fn networks(networks: &[&str]) -> Vec<IpNet> {
        networks.iter().map(|network| network.parse().unwrap()).collect()
    }

    const SOURCES: [&str; 4] = ["127.0.0.1", "127.0.0.2", "127.0.1.1", "127.9.0.1"];

    #[test]
    fn the_kernel_drops_what_is_filtered_on_sockets_of_either_family() {
        for address in ["127.0.0.1", "0.0.0.0", "::"] {
            let server = Server::at(address);
            let mut filter = Filter::new(&server.0);
            let now = Instant::from_secs(100);
            assert_eq!(server.hears(&SOURCES, &[0; 98]), SOURCES);
            filter.renew(now, &server.0, networks(&["127.0.0.2/32", "127.0.1.0/24"]), None);
            assert!(filter.is_attached());
            assert_eq!(
                server.hears(&SOURCES, &[0; 98]),
                ["127.0.0.1", "127.9.0.1"],
                "at {address}"
            );
            filter.renew(now.saturating_add(Duration::from_secs(60)), &server.0, [], None);
            assert!(!filter.is_attached());
            assert_eq!(server.hears(&SOURCES, &[]), SOURCES);
        }
    }

    #[test]
    fn ipv6_sources_are_filtered_by_their_64() {
        let server = Server::at("::");
        let mut filter = Filter::new(&server.0);
        filter.renew(Instant::from_secs(100), &server.0, networks(&["::/64"]), None);
        assert_eq!(server.hears(&["::1", "127.0.0.1"], &[0; 98]), ["127.0.0.1"]);
    }

    #[test]
    fn a_table_that_is_full_is_taken_and_replaced() {
        let server = Server::at("::");
        let mut filter = Filter::new(&server.0);
        let many = |n: u8| {
            let v4 = (0..64).map(move |k| IpNet::new([10, k, n, 9].into(), 32).unwrap());
            let v6 = (0..64).map(move |k| {
                IpNet::new(
                    std::net::Ipv6Addr::from_bits((u128::from(n) * k) << 64).into(),
                    64,
                )
                .unwrap()
            });
            v4.chain(v6)
        };
        for (second, n) in [(100, 7), (200, 8), (300, 9)] {
            filter.renew(Instant::from_secs(second), &server.0, many(n), Some(0));
            assert!(filter.is_attached() && !filter.refused);
        }
        assert_eq!(server.hears(&SOURCES, &[0; 98]), SOURCES);
    }

    #[test]
    fn nothing_stays_filtered_when_a_filter_is_refused() {
        let server = Server::at("127.0.0.1");
        let mut filter = Filter::new(&server.0);
        let rules = |networks: Vec<IpNet>| Rules {
            networks,
            ..Rules::default()
        };
        filter.replace(&server.0, rules(networks(&["127.0.0.0/8"])));
        assert_eq!(server.hears(&SOURCES, &[0; 98]), [""; 0]);
        // Longer than the 4096 instructions that Linux takes.
        let many =
            (0..4096u32).map(|n| IpNet::new(std::net::Ipv4Addr::from_bits(n << 8).into(), 32).unwrap());
        filter.replace(&server.0, rules(many.collect()));
        assert!(filter.refused && !filter.is_attached());
        assert_eq!(server.hears(&SOURCES, &[0; 98]), SOURCES);
    }

    #[test]
    fn connects_are_thinned_by_the_kernel() {
        use etracker_core::udp::packet::RequestHead;

        let server = Server::at("::");
        let mut filter = Filter::new(&server.0);
        filter.renew(Instant::from_secs(100), &server.0, [], Some(0));
        let connect = RequestHead::connect(7).encode();
        assert_eq!(server.hears(&SOURCES, &connect), [""; 0]);
        assert_eq!(server.hears(&SOURCES, &[0; 98]), SOURCES);
        filter.renew(Instant::from_secs(101), &server.0, [], Some(u32::MAX / 2));
        let many: Vec<&str> = SOURCES.iter().cycle().take(400).copied().collect();
        let heard = server.hears(&many, &connect).len();
        assert!((100..300).contains(&heard), "{heard} of 400");
    }

    #[test]
    fn a_filter_that_a_killed_process_left_is_detached() {
        let server = Server::at("127.0.0.1");
        Filter::new(&server.0).renew(
            Instant::from_secs(100),
            &server.0,
            networks(&["127.0.0.0/8"]),
            None,
        );
        assert_eq!(server.hears(&SOURCES, &[0; 98]), [""; 0]);
        let filter = Filter::new(&server.0);
        assert!(!filter.is_attached());
        assert_eq!(server.hears(&SOURCES, &[0; 98]), SOURCES);
    }
}
