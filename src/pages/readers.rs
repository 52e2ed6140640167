//! Who may read pages, and how often.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// Networks whose readers get pages.
#[derive(Clone, Debug)]
pub(crate) struct Readers(Vec<IpNet>);

impl Readers {
    /// Readers of these networks; everyone if there are none.
    pub(crate) const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    pub(super) fn include(&self, reader: IpAddr) -> bool {
        self.0.is_empty() || self.0.iter().any(|network| network.contains(&reader))
    }
}

/// Counts the pages of the running second, so that readers cannot take the time that announces need.
#[derive(Debug, Default)]
pub(super) struct Budget {
    second: u64,
    pages: u32,
    /// Invariant: at most [`PAGES_PER_SECOND`] entries.
    by_reader: HashMap<IpAddr, u32>,
}

impl Budget {
    /// Takes one page for `reader` out of the budget of this second, if there is one left.
    pub(super) fn take(&mut self, second: u64, reader: IpAddr) -> bool {
        if self.second != second {
            self.second = second;
            self.pages = 0;
            self.by_reader.clear();
        }
        if self.pages >= PAGES_PER_SECOND {
            return false;
        }
        let taken = self.by_reader.entry(household(reader)).or_default();
        if *taken >= PAGES_PER_READER_AND_SECOND {
            return false;
        }
        *taken += 1;
        self.pages += 1;
        true
    }
}

/// Pages in a second: some eight megabytes of history, a few per cent of one processor.
const PAGES_PER_SECOND: u32 = 100;
/// Pages of one reader in a second, so that one alone cannot keep the others from watching.
const PAGES_PER_READER_AND_SECOND: u32 = 20;

/// What counts as one reader: an IPv4 address, or an IPv6 /64.
fn household(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budget: &mut Budget, second: u64, reader: &str) -> usize {
        let reader = reader.parse().unwrap();
        (0..1000).filter(|_| budget.take(second, reader)).count()
    }

    #[test]
    fn one_reader_leaves_pages_to_others_and_all_have_an_end() {
        let mut budget = Budget::default();
        let counts = (0..10).map(|host| taken(&mut budget, 7, &format!("192.0.2.{host}")));
        assert_eq!(counts.collect::<Vec<_>>(), [20, 20, 20, 20, 20, 0, 0, 0, 0, 0]);
        assert_eq!(taken(&mut budget, 8, "192.0.2.1"), 20);
    }

    #[test]
    fn a_slash_64_is_one_reader() {
        let mut budget = Budget::default();
        assert_eq!(taken(&mut budget, 7, "2001:db8::1"), 20);
        assert_eq!(taken(&mut budget, 7, "2001:db8::2:3:4:5"), 0);
        assert_eq!(taken(&mut budget, 7, "2001:db8:0:1::"), 20);
    }

    #[test]
    fn without_networks_everyone_reads() {
        let ip = |text: &str| text.parse().unwrap();
        assert!(Readers::new(Vec::new()).include(ip("192.0.2.1")));
        let readers = Readers::new(vec!["192.0.2.0/24".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert!(readers.include(ip("192.0.2.1")) && readers.include(ip("::1")));
        assert!(!readers.include(ip("192.0.3.1")) && !readers.include(ip("::2")));
    }
}
