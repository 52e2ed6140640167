//! The program of a socket filter, in classic BPF: what the system drops before it is queued.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use etracker_core::ipnet::IpNet;
use etracker_core::udp::packet::PROTOCOL_ID;

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    /// Instructions to skip if the condition holds.
    pub(crate) jump_true: u8,
    /// Instructions to skip if it does not hold.
    pub(crate) jump_false: u8,
    pub(crate) operand: u32,
}

/// What a filter drops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Networks that all datagrams of are dropped. IPv6 networks longer than /64 count as the /64; those shorter than /32 are
    /// left out.
    pub(crate) networks: Vec<IpNet>,
    /// Networks of which one datagram in [`SAMPLED`] is kept, by chance. Where one of them lies within the other kind, or the
    /// other way round, both are dropped.
    pub(crate) sampled: Vec<IpNet>,
    /// The share of connects that is kept, in parts of 2^32; `None` keeps all, and also datagrams too short for a request.
    pub(crate) connects_kept: Option<u32>,
}

impl Rules {
    /// Whether nothing is dropped.
    pub(crate) const fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.sampled.is_empty() && self.connects_kept.is_none()
    }

    /// The program. An IPv6 socket receives IPv4 datagrams as they came: what decides is the protocol of each datagram, not
    /// the family of the socket.
    pub(crate) fn program(&self) -> Vec<Instruction> {
        let v4 = search(&self.v4_ranges(), |range| range.start, in_range);
        let v6 = search(&self.v6_ranges(), |(first, _)| *first, in_second_word);
        let mut program = self.connects_kept.map(thin_connects).unwrap_or_default();
        program.push(step(LOAD_WORD, PROTOCOL));
        program.push(branch(JUMP_EQUAL, ETHERTYPE_IPV4, 1, 0));
        program.push(skip(v4.len() + 1));
        program.push(step(LOAD_WORD, IPV4_SOURCE));
        program.extend(v4);
        program.push(branch(JUMP_EQUAL, ETHERTYPE_IPV6, 1, 0));
        program.push(step(RETURN, KEEP));
        program.push(step(LOAD_WORD, IPV6_SOURCE));
        program.extend(v6);
        program
    }

    fn v4_ranges(&self) -> Vec<Range> {
        let ranges = self.fates().filter_map(|(network, fate)| match network {
            IpNet::V4(network) => Some(Range {
                start: network.network().to_bits(),
                end: network.broadcast().to_bits(),
                fate,
            }),
            IpNet::V6(_) => None,
        });
        join(ranges.collect())
    }

    /// By first words of IPv6 addresses, in ascending order: ranges of second words.
    fn v6_ranges(&self) -> Vec<(u32, Vec<Range>)> {
        let words = |address: Ipv6Addr| {
            let [a, b, c, d, ..] = address.segments().map(u32::from);
            (a << 16 | b, c << 16 | d)
        };
        let mut by_first: BTreeMap<u32, Vec<Range>> = BTreeMap::new();
        for (network, fate) in self.fates() {
            match network {
                // Two words, a /64: a client is free to choose the rest of its address.
                IpNet::V6(network) if network.prefix_len() >= IPV6_PREFIX_MIN => {
                    let ((first, start), (_, end)) = (words(network.network()), words(network.broadcast()));
                    by_first
                        .entry(first)
                        .or_default()
                        .push(Range { start, end, fate });
                }
                IpNet::V4(_) | IpNet::V6(_) => {}
            }
        }
        by_first
            .into_iter()
            .map(|(first, ranges)| (first, join(ranges)))
            .collect()
    }

    fn fates(&self) -> impl Iterator<Item = (&IpNet, Fate)> {
        let dropped = self.networks.iter().map(|network| (network, Fate::Dropped));
        let sampled = self.sampled.iter().map(|network| (network, Fate::Sampled));
        dropped.chain(sampled)
    }
}

/// What becomes of the datagrams of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Sampled,
    Dropped,
}

/// A range of numbers, both ends included.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: u32,
    end: u32,
    fate: Fate,
}

/// Drops what is shorter than a request, and connects by chance.
fn thin_connects(kept: u32) -> Vec<Instruction> {
    let [a, b, c, d, rest @ ..] = PROTOCOL_ID.to_be_bytes();
    let (high, low) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes(rest));
    vec![
        // No request is shorter than a connect (BEP 15): such a datagram would only take a place in the queue.
        step(LOAD_LEN, 0),
        branch(JUMP_AT_LEAST, UDP_HEADER + REQUEST_LEN_MIN, 1, 0),
        step(RETURN, DROP),
        step(LOAD_WORD, UDP_HEADER),
        branch(JUMP_EQUAL, high, 0, 5),
        step(LOAD_WORD, UDP_HEADER + 4),
        branch(JUMP_EQUAL, low, 0, 3),
        step(LOAD_WORD, RANDOM),
        branch(JUMP_ABOVE, kept, 0, 1),
        step(RETURN, DROP),
    ]
}

/// Searches for the accumulator among items in ascending order: the last one whose start is not above it decides by
/// `decide`. The depth is the logarithm of their number.
fn search<T>(
    items: &[T],
    start: impl Fn(&T) -> u32 + Copy,
    decide: impl Fn(&T) -> Vec<Instruction> + Copy,
) -> Vec<Instruction> {
    match items {
        [] => vec![step(RETURN, KEEP)],
        [item] => decide(item),
        _ => {
            let (lower, upper) = items.split_at(items.len() / 2);
            let first_upper = upper.first().map(start).unwrap_or_default();
            let (lower, upper) = (search(lower, start, decide), search(upper, start, decide));
            // A branch reaches 255 instructions, a skip all.
            let mut found = vec![branch(JUMP_AT_LEAST, first_upper, 0, 1), skip(lower.len())];
            found.extend(lower);
            found.extend(upper);
            found
        }
    }
}

/// Drops if the accumulator is in the range, always or by chance.
fn in_range(range: &Range) -> Vec<Instruction> {
    let (mut decided, behind) = match range.fate {
        Fate::Dropped => (Vec::new(), 1),
        Fate::Sampled => (
            vec![
                step(LOAD_WORD, RANDOM),
                branch(JUMP_ABOVE, u32::MAX / SAMPLED, 0, 1),
            ],
            3,
        ),
    };
    decided.splice(
        0..0,
        [
            branch(JUMP_AT_LEAST, range.start, 0, behind + 1),
            branch(JUMP_ABOVE, range.end, behind, 0),
        ],
    );
    decided.extend([step(RETURN, DROP), step(RETURN, KEEP)]);
    decided
}

/// Drops if the accumulator is the first word of an IPv6 address and the second one is in a range.
fn in_second_word((first, ranges): &(u32, Vec<Range>)) -> Vec<Instruction> {
    let mut decided = vec![
        branch(JUMP_EQUAL, *first, 1, 0),
        step(RETURN, KEEP),
        step(LOAD_WORD, IPV6_SOURCE + 4),
    ];
    decided.extend(search(ranges, |range| range.start, in_range));
    decided
}

/// The same numbers in ascending ranges that do not overlap.
fn join(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => {
                last.end = last.end.max(range.end);
                // The stricter fate holds for both: a sample of a network that lies in a flooding one would be flood.
                last.fate = last.fate.max(range.fate);
            }
            _ => joined.push(range),
        }
    }
    joined
}

const fn step(code: u16, operand: u32) -> Instruction {
    branch(code, operand, 0, 0)
}

const fn branch(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        operand,
    }
}

/// Goes on behind the next `instructions`.
fn skip(instructions: usize) -> Instruction {
    step(JUMP, u32::try_from(instructions).unwrap_or(u32::MAX))
}

/// One datagram in so many of a source that may have calmed down comes through: enough to see a flood by.
pub(crate) const SAMPLED: u32 = 16;

// linux/bpf_common.h
const LOAD_WORD: u16 = 0x20;
const LOAD_LEN: u16 = 0x80;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_ABOVE: u16 = 0x25;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Returned to drop a datagram, and to keep it whole.
const DROP: u32 = 0;
const KEEP: u32 = u32::MAX;

// linux/filter.h: what a filter knows beside the bytes, and the network header. The bytes of a UDP socket begin with the UDP
// header.
const PROTOCOL: u32 = 0xffff_f000;
const RANDOM: u32 = 0xffff_f000 + 56;
const NETWORK_HEADER: u32 = 0xfff0_0000;
const IPV4_SOURCE: u32 = NETWORK_HEADER + 12;
const IPV6_SOURCE: u32 = NETWORK_HEADER + 8;
const UDP_HEADER: u32 = 8;
const ETHERTYPE_IPV4: u32 = 0x0800;
const ETHERTYPE_IPV6: u32 = 0x86dd;

/// Bytes of the shortest request, a connect (BEP 15).
const REQUEST_LEN_MIN: u32 = 16;
/// Bits of the shortest IPv6 network: its first word is the same for all addresses.
const IPV6_PREFIX_MIN: u8 = 32;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use etracker_core::ipnet::{Ipv4Net, Ipv6Net};
    use quickcheck::quickcheck;

    use super::*;

    /// A datagram as a filter sees it.
    struct Packet {
        source: IpAddr,
        /// From the UDP header on.
        bytes: Vec<u8>,
        random: u32,
    }

    impl Packet {
        fn new(source: IpAddr, payload: &[u8]) -> Self {
            let bytes = [&[0; 8], payload].concat();
            Self {
                source,
                bytes,
                random: 0,
            }
        }

        fn load(&self, at: u32) -> Option<u32> {
            let word = |bytes: &[u8], at: u32| {
                let at = at as usize;
                Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
            };
            match (at, self.source) {
                (PROTOCOL, IpAddr::V4(_)) => Some(ETHERTYPE_IPV4),
                (PROTOCOL, IpAddr::V6(_)) => Some(ETHERTYPE_IPV6),
                (RANDOM, _) => Some(self.random),
                (NETWORK_HEADER.., IpAddr::V4(source)) => word(&source.octets(), at - IPV4_SOURCE),
                (NETWORK_HEADER.., IpAddr::V6(source)) => word(&source.octets(), at - IPV6_SOURCE),
                _ => word(&self.bytes, at),
            }
        }
    }

    /// Whether `program` keeps the packet. A load beyond it drops it, as the kernel does.
    fn keeps(program: &[Instruction], packet: &Packet) -> bool {
        let (mut accumulator, mut at) = (0, 0);
        loop {
            let Instruction {
                code,
                jump_true,
                jump_false,
                operand,
            } = program[at];
            at += 1;
            let holds = match code {
                LOAD_WORD => match packet.load(operand) {
                    Some(word) => {
                        accumulator = word;
                        continue;
                    }
                    None => return false,
                },
                LOAD_LEN => {
                    accumulator = u32::try_from(packet.bytes.len()).unwrap();
                    continue;
                }
                JUMP => {
                    at += operand as usize;
                    continue;
                }
                RETURN => return operand == KEEP,
                JUMP_EQUAL => accumulator == operand,
                JUMP_ABOVE => accumulator > operand,
                JUMP_AT_LEAST => accumulator >= operand,
                _ => panic!("unknown instruction {code:#x}"),
            };
            at += usize::from(if holds { jump_true } else { jump_false });
        }
    }

    fn of(networks: &[&str]) -> Rules {
        Rules {
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            ..Rules::default()
        }
    }

    fn dropped<'a>(rules: &Rules, sources: &[&'a str]) -> Vec<&'a str> {
        let program = rules.program();
        let is_dropped = |source: &&&str| !keeps(&program, &Packet::new(source.parse().unwrap(), &[]));
        sources.iter().filter(is_dropped).copied().collect()
    }

    #[test]
    fn sources_in_a_network_of_the_table_are_dropped_and_others_kept() {
        let rules = of(&[
            "192.0.2.7/32",
            "198.51.100.0/24",
            "203.0.112.0/20",
            "2001:db8:1:2::/64",
            "2001:db8:9::/48",
        ]);
        let sources = [
            "192.0.2.6",
            "192.0.2.7",
            "192.0.2.8",
            "198.51.99.255",
            "198.51.100.0",
            "198.51.100.255",
            "198.51.101.0",
            "203.0.113.9",
            "0.0.0.0",
            "255.255.255.255",
            "2001:db8:1:2::1",
            "2001:db8:1:3::1",
            "2001:db8:9:ffff::",
            "2001:db8:a::",
            "2001:db9:9::",
            "::",
            "ffff::",
        ];
        let expected = [
            "192.0.2.7",
            "198.51.100.0",
            "198.51.100.255",
            "203.0.113.9",
            "2001:db8:1:2::1",
            "2001:db8:9:ffff::",
        ];
        assert_eq!(dropped(&rules, &sources), expected);
    }

    #[test]
    fn no_rules_keep_everything() {
        assert!(of(&[]).is_empty());
        assert_eq!(dropped(&of(&[]), &["192.0.2.7", "2001:db8::1"]), [""; 0]);
    }

    #[test]
    fn networks_that_lie_in_each_other_are_dropped_whole() {
        let rules = of(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.255.255.255/32",
            "2001:db8::/32",
            "2001:db8:1::/48",
        ]);
        let sources = [
            "10.0.0.0",
            "10.1.2.3",
            "10.200.0.0",
            "10.255.255.255",
            "11.0.0.0",
            "2001:db8:0:1::",
            "2001:db8:2::",
        ];
        let kept = "11.0.0.0";
        assert!(!dropped(&rules, &sources).contains(&kept));
        assert_eq!(dropped(&rules, &sources).len(), sources.len() - 1);
    }

    #[test]
    fn connects_are_kept_by_chance_and_announces_always() {
        let rules = Rules {
            connects_kept: Some(1000),
            ..Rules::default()
        };
        let program = rules.program();
        let connect = [&PROTOCOL_ID.to_be_bytes()[..], &[0; 8]].concat();
        let source = Ipv4Addr::LOCALHOST.into();
        let kept = |payload: &[u8], random| {
            let packet = Packet {
                random,
                ..Packet::new(source, payload)
            };
            keeps(&program, &packet)
        };
        assert_eq!(
            [0, 1000, 1001, u32::MAX].map(|random| kept(&connect, random)),
            [true, true, false, false]
        );
        let almost = [[0x41, 0x27, 0x10, 0x19].as_slice(), &[0; 94]].concat();
        assert!(kept(&almost, u32::MAX) && kept(&[0; 98], u32::MAX) && kept(&[0; 16], u32::MAX));
        assert!(!kept(&[0; 15], 0) && !kept(&[], 0));
    }

    #[test]
    fn sources_that_may_have_calmed_down_come_through_by_chance() {
        let rules = Rules {
            sampled: vec![
                "192.0.2.7/32".parse().unwrap(),
                "2001:db8:1:2::/64".parse().unwrap(),
            ],
            ..of(&["192.0.2.9/32"])
        };
        let program = rules.program();
        let kept = |source: &str, random| {
            let packet = Packet {
                random,
                ..Packet::new(source.parse().unwrap(), &[])
            };
            keeps(&program, &packet)
        };
        for source in ["192.0.2.7", "2001:db8:1:2::9"] {
            assert!(
                kept(source, 0) && kept(source, u32::MAX / SAMPLED) && !kept(source, u32::MAX / SAMPLED + 1)
            );
        }
        assert!(kept("192.0.2.8", u32::MAX) && kept("192.0.2.6", u32::MAX) && !kept("192.0.2.9", 0));
    }

    quickcheck! {
        fn a_program_drops_what_its_networks_contain(
            v4: Vec<(u32, u8)>, v6: Vec<(u128, u8)>, others: Vec<u32>, others6: Vec<u128>
        ) -> bool {
            let v4_net = |&(bits, len): &(u32, u8)| IpNet::from(Ipv4Net::new_assert(Ipv4Addr::from_bits(bits), len % 33));
            // Few first words, so that many second ones share one.
            let v6_address = |bits: u128| Ipv6Addr::from_bits(bits & !(0xffff_fffe << 96));
            let v6_net = |&(bits, len): &(u128, u8)| IpNet::from(Ipv6Net::new_assert(v6_address(bits), 32 + len % 33));
            let networks: Vec<IpNet> = v4.iter().map(v4_net).chain(v6.iter().map(v6_net)).collect();
            let ends = networks.iter().flat_map(|network| [network.network(), network.broadcast()]);
            let v4_others = others.iter().map(|&bits| Ipv4Addr::from_bits(bits).into());
            let v6_others = others6.iter().map(|&bits| v6_address(bits).into());
            let sources: Vec<IpAddr> = ends.chain(v4_others).chain(v6_others).collect();
            let program = Rules { networks: networks.clone(), ..Rules::default() }.program();
            sources.into_iter().all(|source| {
                let is_named = networks.iter().any(|network| network.contains(&source));
                keeps(&program, &Packet::new(source, &[])) != is_named
            })
        }
    }
}
