//! The packets of BEP 15, written field by field and read with every length checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(crate) const MAGIC: u64 = 0x0417_2710_1980;
pub(crate) const CONNECT: u32 = 0;
pub(crate) const ANNOUNCE: u32 = 1;
pub(crate) const SCRAPE: u32 = 2;
pub(crate) const ERROR: u32 = 3;

/// A connect request.
pub(crate) fn connect(transaction: u32) -> Vec<u8> {
    header(MAGIC, CONNECT, transaction)
}

/// The 16 bytes that every request begins with.
pub(crate) fn header(id: u64, action: u32, transaction: u32) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend(action.to_be_bytes());
    packet.extend(transaction.to_be_bytes());
    packet
}

/// A scrape request.
pub(crate) fn scrape(id: u64, transaction: u32, hashes: &[[u8; 20]]) -> Vec<u8> {
    let mut packet = header(id, SCRAPE, transaction);
    packet.extend(hashes.iter().flatten());
    packet
}

/// An announce request; every field can be set to anything.
#[derive(Clone, Debug)]
pub(crate) struct Announce {
    pub(crate) id: u64,
    pub(crate) action: u32,
    pub(crate) transaction: u32,
    pub(crate) hash: [u8; 20],
    pub(crate) peer_id: [u8; 20],
    pub(crate) left: u64,
    pub(crate) event: u32,
    pub(crate) ip: u32,
    pub(crate) key: u32,
    pub(crate) numwant: i32,
    pub(crate) port: u16,
    pub(crate) tail: Vec<u8>,
}

impl Announce {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut packet = header(self.id, self.action, self.transaction);
        packet.extend(self.hash);
        packet.extend(self.peer_id);
        packet.extend(0_u64.to_be_bytes());
        packet.extend(self.left.to_be_bytes());
        packet.extend(0_u64.to_be_bytes());
        packet.extend(self.event.to_be_bytes());
        packet.extend(self.ip.to_be_bytes());
        packet.extend(self.key.to_be_bytes());
        packet.extend(self.numwant.to_be_bytes());
        packet.extend(self.port.to_be_bytes());
        packet.extend(&self.tail);
        packet
    }
}

/// The answer to an announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) interval: i32,
    pub(crate) leechers: i32,
    pub(crate) seeders: i32,
    /// Whether the asker's own endpoint was among the peers; see `Probe::announce_udp`.
    pub(crate) own: bool,
    pub(crate) peers: Vec<SocketAddr>,
}

/// The counts of one hash in the answer to a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scraped {
    pub(crate) seeders: i32,
    pub(crate) completed: i32,
    pub(crate) leechers: i32,
}

/// The action of a reply, when there is room for one.
pub(crate) fn action(packet: &[u8]) -> Option<u32> {
    word(packet, 0)
}

/// The transaction id of a reply.
pub(crate) fn transaction(packet: &[u8]) -> Option<u32> {
    word(packet, 4)
}

/// Reads the answer to a connect: exactly 16 bytes.
pub(crate) fn read_connected(packet: &[u8]) -> Result<u64, String> {
    expect_action(packet, CONNECT, "connect")?;
    let id = packet.get(8..16).filter(|_| packet.len() == 16);
    let id = id.ok_or_else(|| format!("a connect answer has 16 bytes, this one {}", packet.len()))?;
    Ok(u64::from_be_bytes(id.try_into().unwrap_or_default()))
}

/// Reads the answer to an announce, with 6-byte peers or 18-byte ones.
pub(crate) fn read_announced(packet: &[u8], v6: bool) -> Result<Announced, String> {
    expect_action(packet, ANNOUNCE, "announce")?;
    let field = |at| word(packet, at).map(u32::cast_signed);
    let (Some(interval), Some(leechers), Some(seeders)) = (field(8), field(12), field(16)) else {
        return Err(format!(
            "an announce answer has at least 20 bytes, this one {}",
            packet.len()
        ));
    };
    let peers = read_peers(&packet[20..], v6)?;
    Ok(Announced {
        interval,
        leechers,
        seeders,
        own: false,
        peers,
    })
}

/// Reads the answer to a scrape.
pub(crate) fn read_scraped(packet: &[u8]) -> Result<Vec<Scraped>, String> {
    expect_action(packet, SCRAPE, "scrape")?;
    let entries = packet.get(8..).unwrap_or_default();
    if entries.len() % 12 != 0 {
        return Err(format!(
            "{} bytes of entries are no multiple of 12",
            entries.len()
        ));
    }
    let field = |entry: &[u8], at| word(entry, at).unwrap_or_default().cast_signed();
    let read = |entry: &[u8]| Scraped {
        seeders: field(entry, 0),
        completed: field(entry, 4),
        leechers: field(entry, 8),
    };
    Ok(entries.chunks(12).map(read).collect())
}

/// Reads compact peers: 4 or 16 bytes of address and two of port, in network order.
pub(crate) fn read_peers(bytes: &[u8], v6: bool) -> Result<Vec<SocketAddr>, String> {
    let stride = if v6 { 18 } else { 6 };
    if !bytes.len().is_multiple_of(stride) {
        return Err(format!(
            "{} bytes of peers are no multiple of {stride}",
            bytes.len()
        ));
    }
    Ok(bytes.chunks(stride).map(read_peer).collect())
}

fn read_peer(bytes: &[u8]) -> SocketAddr {
    let (address, port) = bytes.split_at(bytes.len() - 2);
    let ip = match <[u8; 4]>::try_from(address) {
        Ok(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).unwrap_or_default())),
    };
    SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]]))
}

fn expect_action(packet: &[u8], wanted: u32, name: &str) -> Result<(), String> {
    match action(packet) {
        Some(action) if action == wanted && packet.len() >= 8 => Ok(()),
        Some(ERROR) => {
            let text = packet.get(8..).unwrap_or_default().escape_ascii().to_string();
            Err(format!("answered with the error `{text}`"))
        }
        Some(action) if packet.len() >= 8 => {
            Err(format!("answered with action {action}, not {wanted} ({name})"))
        }
        _ => Err(format!("a reply of {} bytes is too short", packet.len())),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{read_announced, read_connected, read_peers, read_scraped};

    #[test]
    fn lengths_are_checked() {
        assert!(read_connected(&[0; 15]).is_err());
        assert!(read_connected(&[0; 17]).is_err());
        assert!(read_connected(&[0; 16]).is_ok());
        let mut packet = vec![0, 0, 0, 1];
        packet.resize(26, 0);
        assert_eq!(read_announced(&packet, false).unwrap().peers.len(), 1);
        assert!(read_announced(&packet, true).is_err());
        assert!(read_announced(&packet[..19], false).is_err());
        let mut scrape = vec![0, 0, 0, 2];
        scrape.resize(20, 0);
        assert_eq!(read_scraped(&scrape).unwrap().len(), 1);
        scrape.push(0);
        assert!(read_scraped(&scrape).is_err());
    }

    #[test]
    fn peers_are_in_network_order() {
        assert_eq!(
            read_peers(&[10, 0, 0, 1, 0x1a, 0xe1], false).unwrap(),
            ["10.0.0.1:6881".parse().unwrap()]
        );
    }

    #[test]
    fn errors_are_told_apart() {
        assert_eq!(
            read_connected(b"\0\0\0\x03abcdno").unwrap_err(),
            "answered with the error `no`"
        );
    }
}
