//! Whether the firewall of this host tracks the datagrams of the tracker's port.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;

/// The table of tracked connections, of a Linux that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conntrack {
    pub(super) count: u64,
    pub(super) max: u64,
    /// Whether a datagram to the tracker is in it; `None` if its entries cannot be read, which takes root.
    pub(super) tracks_port: Option<bool>,
}

impl Conntrack {
    /// Looks at the table after a tracker was asked at these addresses, which leaves entries where datagrams are tracked.
    pub(super) fn after_asking(asked: &[SocketAddr]) -> Option<Self> {
        let number = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{name}"));
            text.ok()?.trim().parse().ok()
        };
        Some(Self {
            count: number("count")?,
            max: number("max")?,
            tracks_port: tracks(asked),
        })
    }
}

fn tracks(asked: &[SocketAddr]) -> Option<bool> {
    let entries = BufReader::new(File::open("/proc/net/nf_conntrack").ok()?);
    let mut entries = entries.lines().map_while(Result::ok);
    Some(entries.any(|entry| destination(&entry).is_some_and(|to| asked.contains(&to))))
}

/// Where an entry of UDP was sent to first: "ipv4 2 udp 17 29 src=127.0.0.1 dst=127.0.0.1 sport=40000 dport=6969 ...". What
/// follows is the way back.
fn destination(entry: &str) -> Option<SocketAddr> {
    let mut words = entry.split_ascii_whitespace();
    words.nth(2).filter(|protocol| *protocol == "udp")?;
    let ip = words.find_map(|word| word.strip_prefix("dst="))?;
    let port = words.find_map(|word| word.strip_prefix("dport="))?;
    Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_of_where_clients_send_to() {
        let udp = "ipv4     2 udp      17 29 src=192.0.2.1 dst=192.0.2.2 sport=40000 dport=6969 [UNREPLIED] \
                   src=192.0.2.2 dst=192.0.2.1 sport=6969 dport=40000 mark=0 zone=0 use=2";
        assert_eq!(destination(udp), Some("192.0.2.2:6969".parse().unwrap()));
        let v6 = "ipv6 10 udp 17 29 src=0000:0000:0000:0000:0000:0000:0000:0001 \
                  dst=0000:0000:0000:0000:0000:0000:0000:0001 sport=40000 dport=6969";
        assert_eq!(destination(v6), Some("[::1]:6969".parse().unwrap()));
        assert_eq!(destination(&udp.replace("udp ", "tcp ")), None);
        assert_eq!(destination(""), None);
    }
}
