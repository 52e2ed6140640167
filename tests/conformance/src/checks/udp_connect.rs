//! U: connection ids, framing, and what a tracker owes to nobody.

use super::announce::within;
use crate::{
    check::{
        ALONE, Check, Finding,
        Level::{DeFacto as S, Hardening as H, Normative as M, Policy as P},
        SLOW, SOURCES, Stop, UDP, UDP4, check, ensure, not_run, pass, remark,
    },
    probe::{Client, Hash, Link, Probe},
    target::Family,
    wire::udp::{self, Announce},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "U-01",
        M,
        BEP15,
        "connect: 16 bytes, action 0, the same transaction id, a connection id",
        "Every exchange over UDP begins with it.",
        UDP,
        connects,
    ),
    check(
        "U-02",
        M,
        BEP15,
        "connect with bytes after it: accepted",
        "BEP 15: do not expect packets to be exactly of a certain size.",
        UDP,
        trailing,
    ),
    check(
        "U-03",
        M,
        BEP15,
        "a connect with a wrong magic gets no connection id",
        "The magic tells the protocol from stray datagrams.",
        UDP,
        wrong_magic,
    ),
    check(
        "U-04",
        H,
        BEP15,
        "datagrams of 0, 1, 8, 12 and 15 bytes: silence",
        "An answer to anything is a reflector.",
        UDP,
        too_short,
    ),
    check(
        "U-05",
        M,
        BEP15,
        "connection ids differ by source address and are neither a constant nor a counter",
        "An id that can be guessed proves nothing, and sources can be forged.",
        UDP4.and(SOURCES),
        not_guessable,
    ),
    check(
        "U-06",
        H,
        FIELD,
        "10,000 connection ids show no linear relation, by addition or by exclusive or",
        "An id that follows from another one's is no proof either.",
        UDP4.and(SOURCES),
        unrelated,
    ),
    check(
        "U-07",
        M,
        BEP15,
        "an announce with a foreign, random, zero or magic connection id is not processed",
        "Else forged sources fill swarms with victims.",
        UDP,
        bad_ids,
    ),
    check(
        "U-08",
        P,
        BEP15,
        "a bad connection id: silence or an error, recorded",
        "BEP 15 says to ignore the request; an error helps a client behind a changing NAT.",
        UDP,
        bad_id_reply,
    ),
    check(
        "U-09",
        M,
        BEP15,
        "a connection id serves for many requests for a minute",
        "BEP 15: a client can use it until one minute after it has received it.",
        UDP.and(SLOW),
        a_minute,
    ),
    check(
        "U-10",
        M,
        BEP15,
        "a connection id is accepted at an age of 119 s",
        "BEP 15: trackers accept it until two minutes after it has been sent.",
        UDP.and(SLOW),
        two_minutes,
    ),
    check(
        "U-11",
        S,
        BEP15,
        "a connection id is refused at an age of 200 s",
        "One that never expires can be collected and used for ever.",
        UDP.and(SLOW),
        expires,
    ),
    check(
        "U-12",
        S,
        FIELD,
        "a connection id survives a restart of a tracker that keeps its key",
        "Else a restart costs every client a time-out.",
        UDP.and(ALONE),
        survives_restart,
    ),
    check(
        "U-13",
        P,
        FIELD,
        "a connection id used from another port of its address: recorded",
        "A NAT may change the port between two datagrams.",
        UDP,
        other_port,
    ),
    check(
        "U-14",
        M,
        BEP15,
        "transaction ids 0 and 0xFFFFFFFF come back",
        "They are ids like any other.",
        UDP,
        extreme_transactions,
    ),
    check(
        "U-15",
        M,
        BEP15,
        "two requests at once: each is answered with its own transaction id",
        "It is all that tells the answers apart.",
        UDP,
        two_at_once,
    ),
    check(
        "U-16",
        S,
        BEP15,
        "the same announce twice: both answered, counted once",
        "Clients send again what was not answered in time.",
        UDP,
        retransmitted,
    ),
    check(
        "U-17",
        M,
        BEP15,
        "action 1 in the wrong byte order is not taken for an announce",
        "All integers are in network order.",
        UDP,
        byte_order,
    ),
    check(
        "U-18",
        H,
        BEP15,
        "unknown actions: an error or silence",
        "The next extension must be told from this one.",
        UDP,
        unknown_actions,
    ),
    check(
        "U-19",
        H,
        FIELD,
        "a datagram of action 3 (error) is answered with silence",
        "Two trackers would send errors to each other for ever.",
        UDP,
        errors_ignored,
    ),
    check(
        "U-20",
        P,
        FIELD,
        "action 4, the old IPv6 announce: recorded",
        "One tracker's extension of long ago.",
        UDP,
        action_four,
    ),
    check(
        "U-21",
        H,
        FIELD,
        "a datagram from source port 0 is dropped, and the tracker serves on",
        "Nothing can be sent back to port 0.",
        UDP4.and(SOURCES),
        source_port_zero,
    ),
    check(
        "U-22",
        H,
        FIELD,
        "a datagram of 65,507 bytes: a bounded answer, and it serves on",
        "It is longer than any buffer was meant to be.",
        UDP,
        longest,
    ),
    check(
        "U-23",
        H,
        FIELD,
        "no datagram of an unproven source is answered with more bytes than it has",
        "Else the tracker multiplies an attack on someone else.",
        UDP,
        no_amplification,
    ),
    check(
        "U-24",
        M,
        BEP15,
        "the reply leaves from the address and port that the request was sent to",
        "Clients and firewalls drop a reply from elsewhere.",
        UDP,
        reply_from,
    ),
    check(
        "U-25",
        S,
        FIELD,
        "every reply stays below the fragmentation limit: 1472 bytes over IPv4, 1452 over IPv6",
        "Fragments are dropped by many networks.",
        UDP,
        unfragmented,
    ),
];

const BEP15: &str = "BEP 15";
const FIELD: &str = "de facto";

fn connects(p: &mut Probe<'_>) -> Finding {
    let client = p.client();
    p.link(&client)?;
    pass()
}

fn trailing(p: &mut Probe<'_>) -> Finding {
    let client = p.client();
    let link = p.socket(&client)?;
    for extra in [1, 16, 100] {
        let transaction = p.word();
        let mut packet = udp::connect(transaction);
        packet.resize(16 + extra, 0);
        let reply = p
            .ask(&link, &packet, transaction)
            .map_err(|stop| within(stop, &format!("{extra} bytes more")))?;
        udp::read_connected(&reply).map_err(Stop::Failed)?;
    }
    pass()
}

fn wrong_magic(p: &mut Probe<'_>) -> Finding {
    let client = p.client();
    let link = p.socket(&client)?;
    let packets: Vec<Vec<u8>> = [0, udp::MAGIC + 1, udp::MAGIC.swap_bytes(), u64::MAX]
        .into_iter()
        .map(|magic| udp::header(magic, udp::CONNECT, p.word()))
        .collect();
    p.expect_unprocessed(&link, &packets, "a connect with a wrong magic")?;
    pass()
}

fn too_short(p: &mut Probe<'_>) -> Finding {
    let client = p.client();
    let link = p.socket(&client)?;
    let connect = udp::connect(p.word());
    let packets: Vec<Vec<u8>> = [0, 1, 8, 12, 15]
        .into_iter()
        .map(|length| connect[..length].to_vec())
        .collect();
    let replies = p.provoke(&link, &packets)?;
    ensure!(
        replies.is_empty(),
        "{} replies, the first of {} bytes",
        replies.len(),
        replies[0].len()
    );
    pass()
}

/// The ids given to as many addresses.
fn ids(p: &mut Probe<'_>, count: usize) -> Result<Vec<(u32, u64)>, Stop> {
    (0..count)
        .map(|_| {
            let client = p.client_of(Family::V4);
            let link = p.link(&client)?;
            let address = match client.source {
                Some(IpAddr::V4(ip)) => u32::from(ip),
                _ => 0,
            };
            Ok((address, link.id))
        })
        .collect()
}

fn not_guessable(p: &mut Probe<'_>) -> Finding {
    let ids: Vec<u64> = ids(p, 40)?.into_iter().map(|(_, id)| id).collect();
    let different: BTreeSet<u64> = ids.iter().copied().collect();
    ensure!(
        different.len() == ids.len(),
        "40 addresses have only {} ids",
        different.len()
    );
    ensure!(
        !different.contains(&udp::MAGIC) && !different.contains(&0),
        "an id is the magic, or 0"
    );
    let near = |one: u64, two: u64| one.wrapping_sub(two).min(two.wrapping_sub(one)) < 1 << 20;
    let close = ids
        .windows(2)
        .filter(|two| near(two[0], two[1]) || near(two[0].swap_bytes(), two[1].swap_bytes()))
        .count();
    ensure!(
        close < 5,
        "{close} of 39 ids lie close to the one before: a counter"
    );
    pass()
}

fn unrelated(p: &mut Probe<'_>) -> Finding {
    let ids = ids(p, 10_000)?;
    let different: BTreeSet<u64> = ids.iter().map(|(_, id)| *id).collect();
    ensure!(
        different.len() + 10 >= ids.len(),
        "10,000 addresses have only {} ids",
        different.len()
    );
    let by_address: BTreeMap<u32, u64> = ids.into_iter().collect();
    let (mut sums, mut folds) = (BTreeMap::new(), BTreeMap::new());
    let mut affine = 0;
    for (address, id) in &by_address {
        if let Some(next) = by_address.get(&(address + 1)) {
            *sums.entry(next.wrapping_sub(*id)).or_insert(0) += 1;
            *folds.entry(next ^ id).or_insert(0) += 1;
        }
        // Addresses a, a^1, a^2, a^3 cancel out: of an affine function their ids do too.
        let four: Vec<u64> = (0..4)
            .filter_map(|bits| by_address.get(&(address ^ bits)).copied())
            .collect();
        if address % 4 == 0 && four.len() == 4 && four.iter().fold(0, |fold, id| fold ^ id) == 0 {
            affine += 1;
        }
    }
    let most = |counts: &BTreeMap<u64, u32>| counts.values().copied().max().unwrap_or_default();
    ensure!(sums.len() > 1000, "too few neighbours to judge");
    ensure!(
        most(&sums) < 100,
        "the same difference between neighbours {} times",
        most(&sums)
    );
    ensure!(
        most(&folds) < 1000,
        "the same exclusive or of neighbours {} times",
        most(&folds)
    );
    ensure!(
        affine < 10,
        "{affine} times four ids cancel out: an affine function of the address"
    );
    pass()
}

/// Announces with ids that the client was not given.
fn with_bad_ids(p: &mut Probe<'_>, link: &Link, client: &Client, hash: &Hash) -> Result<Vec<Vec<u8>>, Stop> {
    let mut ids = vec![
        0,
        udp::MAGIC,
        p.double(),
        link.id.wrapping_add(1),
        link.id.swap_bytes() ^ 1,
        !link.id,
    ];
    if p.has_many_sources() {
        let other = p.client();
        ids.push(p.link(&other)?.id);
    }
    Ok(ids
        .into_iter()
        .map(|id| {
            let packet = p.packet(link, client, hash);
            Announce { id, ..packet }.bytes()
        })
        .collect())
}

fn bad_ids(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let packets = with_bad_ids(p, &link, &client, &hash)?;
    p.expect_unprocessed(&link, &packets, "an announce with a bad connection id")?;
    let seen = p.look_udp(&hash)?;
    ensure!(seen.peers.is_empty(), "a peer is stored: {:?}", seen.peers);
    pass()
}

fn bad_id_reply(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let packets = with_bad_ids(p, &link, &client, &hash)?;
    let replies = p.provoke(&link, &packets[..3])?;
    if replies.is_empty() {
        return remark("silence");
    }
    let longest = replies.iter().map(Vec::len).max().unwrap_or_default();
    remark(format!(
        "{} of 3 answered, with up to {longest} bytes to 98",
        replies.len()
    ))
}

/// Whether an id still serves.
fn serves(p: &mut Probe<'_>, client: &Client, link: &Link) -> Result<(), Stop> {
    let hash = p.hash();
    let packet = p.packet(link, client, &hash);
    p.announce_udp(link, &packet)?;
    Ok(())
}

fn a_minute(p: &mut Probe<'_>) -> Finding {
    let client = p.client();
    let link = p.link(&client)?;
    for second in (0..60).step_by(5) {
        serves(p, &client, &link).map_err(|stop| within(stop, &format!("after {second} s")))?;
        p.wait(Duration::from_secs(5));
    }
    pass()
}

fn two_minutes(p: &mut Probe<'_>) -> Finding {
    let client = p.client();
    let link = p.link(&client)?;
    p.wait(Duration::from_secs(119));
    serves(p, &client, &link)?;
    pass()
}

fn expires(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    p.wait(Duration::from_secs(200));
    let packet = p.packet(&link, &client, &hash).bytes();
    p.expect_unprocessed(&link, &[packet], "an announce with an id of 200 s")?;
    pass()
}

fn survives_restart(p: &mut Probe<'_>) -> Finding {
    let Some(command) = p.told().restart.clone() else {
        return not_run(
            "needs a target that keeps its key over a restart: say how to restart it with --restart",
        );
    };
    let client = p.client();
    let link = p.link(&client)?;
    super::scrape::shell(&command)?;
    serves(p, &client, &link)?;
    pass()
}

fn other_port(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let first = p.link(&client)?;
    let mut second = p.socket(&client)?;
    second.id = first.id;
    let packet = p.packet(&second, &client, &hash);
    let replies = p.provoke(&second, &[packet.bytes()])?;
    let accepted = replies
        .iter()
        .any(|reply| udp::action(reply) == Some(udp::ANNOUNCE));
    remark(if accepted {
        "accepted: bound to the address alone"
    } else {
        "refused: bound to the port too"
    })
}

fn extreme_transactions(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    for transaction in [0, u32::MAX] {
        let reply = p.ask(&link, &udp::connect(transaction), transaction)?;
        udp::read_connected(&reply).map_err(Stop::Failed)?;
        let packet = Announce {
            transaction,
            ..p.packet(&link, &client, &hash)
        };
        p.announce_udp(&link, &packet)?;
    }
    pass()
}

fn two_at_once(p: &mut Probe<'_>) -> Finding {
    let client = p.client();
    let link = p.link(&client)?;
    let mut wanted = BTreeSet::new();
    for _ in 0..2 {
        let hash = p.hash();
        let packet = p.packet(&link, &client, &hash);
        wanted.insert(packet.transaction);
        p.send(&link, &packet.bytes())?;
    }
    let deadline = Instant::now() + p.patience();
    while !wanted.is_empty() {
        let Some((reply, _)) = p.receive(&link, deadline) else {
            return Err(Stop::Failed(format!(
                "{} of 2 requests are not answered",
                wanted.len()
            )));
        };
        udp::read_announced(&reply, link.v6).map_err(Stop::Failed)?;
        let transaction = udp::transaction(&reply).unwrap_or_default();
        ensure!(
            wanted.remove(&transaction),
            "a reply with transaction id {transaction:#010x}, which was not asked"
        );
    }
    pass()
}

fn retransmitted(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let packet = p.packet(&link, &client, &hash).bytes();
    p.send(&link, &packet)?;
    p.send(&link, &packet)?;
    let deadline = Instant::now() + p.patience();
    for number in 1..=2 {
        ensure!(
            p.receive(&link, deadline).is_some(),
            "{number} of 2 is not answered"
        );
    }
    p.expect_counts_udp(&hash, 0, 1)?;
    pass()
}

fn byte_order(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let packet = Announce {
        action: udp::ANNOUNCE.swap_bytes(),
        ..p.packet(&link, &client, &hash)
    };
    p.expect_unprocessed(&link, &[packet.bytes()], "action 0x01000000")?;
    p.expect_counts_udp(&hash, 0, 0)?;
    pass()
}

fn unknown_actions(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let packets: Vec<Vec<u8>> = [5, 6, 255, 256, 0x7FFF_FFFF, u32::MAX]
        .into_iter()
        .map(|action| {
            Announce {
                action,
                ..p.packet(&link, &client, &hash)
            }
            .bytes()
        })
        .collect();
    let replies = p.expect_unprocessed(&link, &packets, "an unknown action")?;
    p.expect_counts_udp(&hash, 0, 0)?;
    remark(if replies.is_empty() { "silence" } else { "an error" })
}

fn errors_ignored(p: &mut Probe<'_>) -> Finding {
    let client = p.client();
    let link = p.link(&client)?;
    let as_reply = [
        udp::ERROR.to_be_bytes().as_slice(),
        &p.word().to_be_bytes(),
        b"no such torrent here",
    ]
    .concat();
    let as_request = [
        udp::header(link.id, udp::ERROR, p.word()),
        b"no such torrent".to_vec(),
    ]
    .concat();
    let unproven = udp::header(p.double(), udp::ERROR, p.word());
    let replies = p.provoke(&link, &[as_reply, as_request, unproven])?;
    ensure!(
        replies.is_empty(),
        "{} replies, the first of {} bytes",
        replies.len(),
        replies[0].len()
    );
    pass()
}

fn action_four(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let mut packet = Announce {
        action: 4,
        ..p.packet(&link, &client, &hash)
    }
    .bytes();
    packet.resize(110, 0);
    let replies = p.provoke(&link, &[packet])?;
    let action = replies.first().and_then(|reply| udp::action(reply));
    remark(action.map_or_else(
        || "silence".to_owned(),
        |action| format!("answered with action {action}"),
    ))
}

fn source_port_zero(p: &mut Probe<'_>) -> Finding {
    let client = p.client_of(Family::V4);
    let link = p.link(&client)?;
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP));
    let Ok(raw) = raw else {
        return not_run("raw sockets need root");
    };
    let body = udp::connect(p.word());
    let length = u16::try_from(8 + body.len()).unwrap_or_default();
    let header = [0_u16, link.to.port(), length, 0].map(u16::to_be_bytes).concat();
    let packet = [header, body].concat();
    for _ in 0..3 {
        let sent = raw.send_to(&packet, &SockAddr::from(SocketAddr::new(link.to.ip(), 0)));
        if let Err(error) = sent {
            return not_run(format!("raw sending: {error}"));
        }
    }
    let replies = p.provoke(&link, &[])?;
    ensure!(replies.is_empty(), "a reply came");
    pass()
}

fn longest(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let filled = |mut packet: Vec<u8>| {
        packet.resize(65_507, 0x01);
        packet
    };
    let announce = p.packet(&link, &client, &hash).bytes();
    let scrape = udp::header(link.id, udp::SCRAPE, p.word());
    let unknown = udp::header(p.double(), p.word(), p.word());
    for packet in [announce, scrape, unknown] {
        let replies = p.provoke(&link, &[filled(packet)])?;
        let longest = replies.iter().map(Vec::len).max().unwrap_or_default();
        ensure!(longest <= 2048, "a reply of {longest} bytes");
    }
    pass()
}

fn no_amplification(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.socket(&client)?;
    let stranger = Link {
        id: p.double(),
        ..p.socket(&client)?
    };
    let announce = p.packet(&stranger, &client, &hash).bytes();
    let scrape = udp::scrape(stranger.id, p.word(), &[hash]);
    let mut packets = vec![
        announce.clone(),
        announce[..97].to_vec(),
        announce[..16].to_vec(),
        scrape.clone(),
        scrape[..16].to_vec(),
    ];
    packets.extend([0, 1, 2, 3, 4, 9, u32::MAX].map(|action| udp::header(stranger.id, action, p.word())));
    packets.extend([0, 5, 9].map(|action| udp::header(udp::MAGIC, action, p.word())));
    packets.extend((1..16).map(|length| udp::connect(0x0A0B_0C0D)[..length].to_vec()));
    for packet in packets {
        let replies = p.provoke(&link, std::slice::from_ref(&packet))?;
        let bytes: usize = replies.iter().map(Vec::len).sum();
        ensure!(
            bytes <= packet.len(),
            "{} bytes were answered with {bytes}",
            packet.len()
        );
    }
    let transaction = p.word();
    let reply = p.ask(&link, &udp::connect(transaction), transaction)?;
    ensure!(
        reply.len() <= 16,
        "a connect of 16 bytes was answered with {}",
        reply.len()
    );
    pass()
}

fn reply_from(p: &mut Probe<'_>) -> Finding {
    // Every reply's sender is compared with the address asked; see `Probe::ask`.
    let (client, hash) = (p.client(), p.hash());
    p.begin_udp(&client, &hash, 1000)?;
    pass()
}

fn unfragmented(p: &mut Probe<'_>) -> Finding {
    let mut seen = Vec::new();
    for family in [Family::V4, Family::V6] {
        if p.settings().udp_of(family).is_none() {
            continue;
        }
        let hash = p.hash();
        let (client, link) = p.link_of(family)?;
        p.ports_udp(&link, &client, &hash, 300)?;
        let mut longest = 0;
        for numwant in [-1, 200, 1000, i32::MAX] {
            let packet = Announce {
                numwant,
                ..p.packet(&link, &client, &hash)
            };
            longest = longest.max(p.ask(&link, &packet.bytes(), packet.transaction)?.len());
        }
        let limit = if family == Family::V4 { 1472 } else { 1452 };
        ensure!(longest <= limit, "{longest} bytes, the limit is {limit}");
        seen.push((longest, family));
    }
    ensure!(
        seen.iter().any(|(longest, _)| *longest > 20),
        "no peers in any reply"
    );
    let lengths: Vec<String> = seen
        .iter()
        .map(|(longest, family)| format!("{longest} bytes over {family:?}"))
        .collect();
    remark(lengths.join(", "))
}
