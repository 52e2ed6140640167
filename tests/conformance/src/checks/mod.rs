//! The catalogue: a file for each group of the specification.

mod access;
mod announce;
mod announce_fields;
mod announce_swarm;
mod bencode;
mod compact;
mod failure;
mod hello;
mod hostile;
mod ipv6;
mod partial;
mod scrape;
mod tls;
mod told;
mod transport;
mod udp_announce;
mod udp_connect;
mod udp_hostile;
mod udp_options;
mod udp_scrape;
mod udp_swarm;
mod url;
mod v2;

use crate::check::Check;

/// A group of the specification.
#[derive(Debug)]
pub struct Group {
    /// What its IDs begin with.
    pub letter: &'static str,
    /// What it is about.
    pub name: &'static str,
    tables: &'static [&'static [Check]],
}

/// The groups, in the order of the specification.
pub const GROUPS: &[Group] = &[
    group("B", "bencode", &[bencode::CHECKS]),
    group(
        "A",
        "HTTP announce",
        &[announce::CHECKS, announce_fields::CHECKS, announce_swarm::CHECKS],
    ),
    group("Q", "percent-coding and URLs", &[url::CHECKS]),
    group("C", "compact peers", &[compact::CHECKS]),
    group("V", "IPv6", &[ipv6::CHECKS]),
    group("S", "HTTP scrape", &[scrape::CHECKS]),
    group(
        "T",
        "HTTP transport",
        &[transport::CHECKS, hostile::CHECKS, tls::CHECKS],
    ),
    group("E", "failure and retry", &[failure::FAILURE]),
    group("F", "external ip", &[failure::EXTERNAL_IP]),
    group("P", "partial seeds", &[partial::CHECKS]),
    group(
        "U",
        "UDP connect and framing",
        &[udp_connect::CHECKS, udp_hostile::CHECKS],
    ),
    group("N", "UDP announce", &[udp_announce::CHECKS, udp_swarm::CHECKS]),
    group("O", "UDP options", &[udp_options::CHECKS]),
    group("R", "UDP scrape", &[udp_scrape::CHECKS]),
    group("2", "v2 and hybrid torrents", &[v2::CHECKS]),
    group("L", "access lists, private mode", &[access::CHECKS]),
];

const fn group(letter: &'static str, name: &'static str, tables: &'static [&'static [Check]]) -> Group {
    Group { letter, name, tables }
}

/// All checks, in the order of the specification.
pub fn catalogue() -> impl Iterator<Item = &'static Check> {
    GROUPS.iter().flat_map(|group| group.tables).copied().flatten()
}

/// The check with an ID, in either case.
pub(crate) fn find(id: &str) -> Option<&'static Check> {
    catalogue().find(|check| check.id.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use super::{GROUPS, catalogue};
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_of_their_group() {
        let ids: BTreeSet<&str> = catalogue().map(|check| check.id).collect();
        assert_eq!(ids.len(), catalogue().count());
        for group in GROUPS {
            for check in group.tables.iter().copied().flatten() {
                assert_eq!(check.group(), group.letter);
            }
        }
    }

    #[test]
    fn the_whole_specification_is_here() {
        let numbers = [
            ("B", 9),
            ("A", 61),
            ("Q", 22),
            ("C", 10),
            ("V", 9),
            ("S", 15),
            ("T", 39),
            ("E", 8),
            ("F", 4),
            ("P", 7),
            ("U", 25),
            ("N", 26),
            ("O", 12),
            ("R", 10),
            ("2", 5),
            ("L", 14),
        ];
        for (letter, last) in numbers {
            for number in 1..=last {
                let id = format!("{letter}-{number:02}");
                assert!(super::find(&id).is_some(), "{id} is missing");
            }
        }
        assert_eq!(
            catalogue().count(),
            numbers.iter().map(|(_, last)| last).sum::<usize>()
        );
    }

    #[test]
    fn every_check_says_what_and_why() {
        for check in catalogue() {
            assert!(
                check.title.len() > 10 && check.why.ends_with('.') && !check.source.is_empty(),
                "{}",
                check.id
            );
        }
    }
}
