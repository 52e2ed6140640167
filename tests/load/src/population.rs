//! The population: the same peers of the same torrents in every run, so that all trackers get the same requests.

use std::net::{IpAddr, Ipv4Addr};

/// Peers, each of one torrent. Few torrents have many peers and many have few, as in the field: the peers of a torrent of
/// rank r are as r to the power of -2/3. All are leechers.
pub(crate) struct Population {
    torrents: u32,
    peers: u32,
    clients: u32,
    wanted_max: u32,
    /// Peers of each torrent.
    sizes: Vec<u32>,
}

/// An announce of the population.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The torrent, by number.
    pub(crate) torrent: u32,
    pub(crate) port: u16,
    /// Peers to ask for: no more than there are beside this one. So trackers answer with as many whether or not they hand
    /// peers out to themselves.
    pub(crate) wanted: u32,
    /// Peers of the torrent, this one included.
    pub(crate) size: u32,
}

impl Population {
    /// # Errors
    /// There are no torrents, peers or clients, or a client has more peers than ports.
    pub(crate) fn new(torrents: u32, peers: u32, clients: u32, wanted_max: u32) -> Result<Self, String> {
        if torrents == 0 || clients == 0 || peers < clients {
            return Err("there have to be torrents and clients, and a peer for each client".to_owned());
        }
        if peers.div_ceil(clients) > PORTS {
            return Err(format!(
                "{peers} peers take {} clients at least: each has {PORTS} ports",
                peers.div_ceil(PORTS)
            ));
        }
        let mut sizes = vec![0; torrents as usize];
        for number in 0..peers {
            sizes[torrent_of(number, torrents) as usize] += 1;
        }
        Ok(Self {
            torrents,
            peers,
            clients,
            wanted_max,
            sizes,
        })
    }

    pub(crate) const fn clients(&self) -> u32 {
        self.clients
    }

    pub(crate) const fn torrents(&self) -> u32 {
        self.torrents
    }

    pub(crate) const fn peers(&self) -> u32 {
        self.peers
    }

    /// How many peers a client announces.
    pub(crate) const fn peers_of(&self, client: u32) -> u32 {
        (self.peers - client).div_ceil(self.clients)
    }

    /// A client's peer, of those that there are.
    pub(crate) fn peer(&self, client: u32, nth: u32) -> Peer {
        let torrent = torrent_of(client + nth * self.clients, self.torrents);
        let size = self.sizes[torrent as usize];
        #[expect(clippy::cast_possible_truncation, reason = "there are fewer ports than fit")]
        let port = PORT_MIN + nth as u16;
        Peer {
            torrent,
            port,
            wanted: self.wanted_max.min(size - 1),
            size,
        }
    }

    /// The name of a torrent, which no other population has.
    pub(crate) fn info_hash(&self, torrent: u32) -> [u8; 20] {
        let ours = mixed(u64::from(self.torrents) << 32 | u64::from(self.peers));
        let [first, second, third] =
            [1, 2, 3].map(|part| mixed(ours ^ (u64::from(torrent) << 8 | part)).to_be_bytes());
        let mut out = [0; 20];
        out[..8].copy_from_slice(&first);
        out[8..16].copy_from_slice(&second);
        out[16..].copy_from_slice(&third[..4]);
        out
    }
}

/// Where a client of this number binds to: an address of its own where the target is one of 127.0.0.0/8.
pub(crate) fn source(target: IpAddr, client: u32) -> IpAddr {
    match target {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::from_bits(SOURCES.to_bits() + client).into(),
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the product is below the number of torrents"
)]
fn torrent_of(number: u32, torrents: u32) -> u32 {
    let uniform = f64::from((mixed(u64::from(number)) >> 32) as u32) / f64::from(u32::MAX);
    ((uniform.powi(3) * f64::from(torrents)) as u32).min(torrents - 1)
}

/// The finaliser of SplitMix64: a bijection whose output looks random.
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The lowest port that peers have.
pub(crate) const PORT_MIN: u16 = 1024;
/// Ports that a client has for its peers.
const PORTS: u32 = 0xffff - PORT_MIN as u32 + 1;
const SOURCES: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_peer_is_another_and_sizes_count_them() {
        let population = Population::new(300, 1000, 7, 30).unwrap();
        let mut peers = HashSet::new();
        let mut sizes = vec![0; 300];
        for client in 0..7 {
            for nth in 0..population.peers_of(client) {
                let peer = population.peer(client, nth);
                assert!(peers.insert((client, peer.port)), "{peer:?}");
                assert_eq!(peer.wanted, 30.min(peer.size - 1));
                sizes[peer.torrent as usize] += 1;
            }
        }
        assert_eq!(peers.len(), 1000);
        assert_eq!(sizes, population.sizes);
        assert!(sizes[0] > 50, "the first is the largest: {}", sizes[0]);
    }

    #[test]
    fn no_two_torrents_share_a_name() {
        let populations = [(300, 1000), (300, 1001)].map(|(t, p)| Population::new(t, p, 1, 30).unwrap());
        let names: HashSet<_> = populations
            .iter()
            .flat_map(|population| (0..300).map(|torrent| population.info_hash(torrent)))
            .collect();
        assert_eq!(names.len(), 600);
    }

    #[test]
    fn clients_of_loopback_have_an_address_each() {
        let of = |target: &str, client| source(target.parse().unwrap(), client).to_string();
        assert_eq!(of("127.0.0.1", 0), "127.1.0.1");
        assert_eq!(of("127.0.0.1", 300), "127.1.1.45");
        assert_eq!(of("192.0.2.1", 3), "0.0.0.0");
        assert_eq!(of("::1", 3), "::");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (torrents, peers, clients) in [(0, 1, 1), (1, 1, 0), (1, 1, 2), (1, 64_513, 1)] {
            assert!(Population::new(torrents, peers, clients, 30).is_err());
        }
        assert!(Population::new(1, 64_512, 1, 30).is_ok());
    }
}
