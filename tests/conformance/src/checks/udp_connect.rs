//! U-01 to U-16: connection ids and transaction ids.

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
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
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
    super::told::shell(&command)?;
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
