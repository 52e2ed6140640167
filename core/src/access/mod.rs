//! Which torrents are served and which addresses are not.
//!
//! A [`Reader`] makes lists from text as it comes; an [`Access`] holds what is in force.

mod addresses;
mod purge;
mod reader;
mod torrents;
mod view;

use core::net::IpAddr;

use crate::InfoHash;

pub use addresses::{AddressList, Network};
pub use purge::{Purge, Purged};
pub use reader::{BAD_LINES_MAX, BadLine, BadLines, ENTRIES_MAX, Entry, Fault, LINE_MAX, Reader};
pub use torrents::TorrentList;
pub(crate) use view::{AccessView, AccessViews};

/// The lists in force. The default serves every torrent and address.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Which torrents are served.
    pub torrents: Torrents,
    /// Addresses whose requests are dropped, and which are handed out to no peer.
    pub denied: AddressList,
    /// Trusted proxies, beside those of the [configuration](crate::proxy::Proxies::networks).
    pub proxies: AddressList,
}

impl Access {
    /// Whether a torrent is served.
    #[must_use]
    pub fn permits_torrent(&self, info_hash: &InfoHash) -> bool {
        match &self.torrents {
            Torrents::Any => true,
            Torrents::Only(list) => list.contains(info_hash),
            Torrents::AllBut(list) => !list.contains(info_hash),
        }
    }

    /// Whether an address is served.
    #[must_use]
    pub fn permits_address(&self, ip: IpAddr) -> bool {
        !self.denied.contains(ip)
    }

    /// Bytes of memory that the lists take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let torrents = match &self.torrents {
            Torrents::Any => 0,
            Torrents::Only(list) | Torrents::AllBut(list) => list.bytes(),
        };
        torrents + self.denied.bytes() + self.proxies.bytes()
    }
}

/// Which torrents are served.
#[derive(Clone, Debug, Default)]
pub enum Torrents {
    /// All torrents.
    #[default]
    Any,
    /// The torrents of an allow list; an empty list allows none.
    Only(TorrentList),
    /// All torrents but those of a deny list.
    AllBut(TorrentList),
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: InfoHash = InfoHash([7; 20]);
    const OTHER: InfoHash = InfoHash([8; 20]);

    fn access(torrents: Torrents) -> Access {
        Access {
            torrents,
            ..Access::default()
        }
    }

    #[test]
    fn lists_take_the_memory_of_their_entries() {
        let hashes: std::vec::Vec<_> = (0..100).map(|number| InfoHash([number; 20])).collect();
        let network = "10.0.0.0/8".parse().unwrap();
        let access = Access {
            torrents: Torrents::Only(TorrentList::new(hashes)),
            denied: AddressList::new(&[Network(network)]),
            ..Access::default()
        };
        assert!((2008..2500).contains(&access.bytes()), "{}", access.bytes());
        assert_eq!(Access::default().bytes(), 0);
    }

    #[test]
    fn an_allow_list_permits_its_own_and_a_deny_list_the_others() {
        let list = TorrentList::new([KNOWN]);
        let allow = access(Torrents::Only(list.clone()));
        assert!(allow.permits_torrent(&KNOWN) && !allow.permits_torrent(&OTHER));
        let deny = access(Torrents::AllBut(list));
        assert!(!deny.permits_torrent(&KNOWN) && deny.permits_torrent(&OTHER));
    }

    #[test]
    fn an_empty_allow_list_permits_nothing_and_an_empty_deny_list_everything() {
        assert!(!access(Torrents::Only(TorrentList::default())).permits_torrent(&KNOWN));
        assert!(access(Torrents::AllBut(TorrentList::default())).permits_torrent(&KNOWN));
        assert!(Access::default().permits_torrent(&KNOWN));
    }
}
