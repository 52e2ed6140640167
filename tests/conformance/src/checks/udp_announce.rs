//! N-01 to N-16: the fields of an announce over UDP.

use super::announce::within;
use crate::{
    check::{
        Check, Finding,
        Level::{DeFacto as S, Normative as M, Policy as P},
        Stop, UDP, UDP6, check, ensure, pass, remark,
    },
    probe::{Client, Hash, Link, Probe},
    target::Family,
    wire::udp::{self, Announce, Announced},
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "N-01",
        M,
        BEP15,
        "98 bytes: action 1, transaction id, interval, leechers, seeders, in that order",
        "Leechers come before seeders here, and after them in a scrape.",
        UDP,
        plain,
    ),
    check(
        "N-02",
        M,
        BEP15,
        "16, 36, 56, 80, 96 and 97 bytes are not processed",
        "What is missing would be read from elsewhere.",
        UDP,
        too_short,
    ),
    check(
        "N-03",
        M,
        BEP15,
        "98 bytes and more: accepted",
        "Clients send 100, and extensions append.",
        UDP,
        longer,
    ),
    check(
        "N-04",
        M,
        BEP15,
        "peers of 6 bytes over IPv4, of 18 over IPv6, by the family of the packet",
        "The action number is the same for both.",
        UDP,
        stride,
    ),
    check(
        "N-05",
        M,
        BEP15,
        "an IP field other than 0 of an untrusted source is ignored",
        "Else anyone can point a swarm at a victim.",
        UDP,
        ip_field,
    ),
    check(
        "N-06",
        M,
        BEP15,
        "the IP field is ignored over IPv6",
        "BEP 15: it must be 0 there.",
        UDP6,
        ip_field_v6,
    ),
    check(
        "N-07",
        M,
        BEP15,
        "the port field is handed out, not the port the datagram came from",
        "Peers listen at the one, the other closes.",
        UDP,
        port_field,
    ),
    check(
        "N-08",
        S,
        FIELD,
        "ports 0 and 1 are never handed out",
        "Nobody can connect to them: libtorrent announces 1 where it does not listen.",
        UDP,
        port_zero,
    ),
    check(
        "N-09",
        M,
        BEP15,
        "num_want -1: the default number of peers",
        "BEP 15 names -1 as the default.",
        UDP,
        numwant_default,
    ),
    check(
        "N-10",
        S,
        FIELD,
        "num_want 0, k, the greatest, the least, -2: none or default, at most k, the cap, default",
        "A negative number read as unsigned asks for everything.",
        UDP,
        numwant_odd,
    ),
    check(
        "N-11",
        M,
        BEP15,
        "events 0 to 3 are none, completed, started, stopped",
        "The order is not that of HTTP's documents.",
        UDP,
        events,
    ),
    check(
        "N-12",
        S,
        FIELD,
        "event 4 and 0xFFFFFFFF: an error, or none",
        "An unknown event must not read as stopped.",
        UDP,
        unknown_events,
    ),
    check(
        "N-13",
        P,
        "BEP 21",
        "event 4 as paused: recorded",
        "Some clients send it so.",
        UDP,
        paused,
    ),
    check(
        "N-14",
        M,
        BEP15,
        "left of 0, 1, 2^32, 2^63, 2^64-1: only 0 is a seeder",
        "`left` has 64 bits.",
        UDP,
        left_bits,
    ),
    check(
        "N-15",
        M,
        BEP15,
        "stopped: removed, and answered without peers",
        "One who leaves needs no peers, and nobody needs him.",
        UDP,
        stopped,
    ),
    check(
        "N-16",
        S,
        BEP15,
        "completed twice: the snatches rise by one",
        "A repeated event must not count a download twice.",
        UDP,
        completed_twice,
    ),
];

const BEP15: &str = "BEP 15";
const FIELD: &str = "de facto";

fn plain(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let (seeder, one, two) = (p.client(), p.client(), p.client());
    p.begin_udp(&seeder, &hash, 0)?;
    p.begin_udp(&one, &hash, 1000)?;
    let link = p.link(&two)?;
    let packet = p.packet(&link, &two, &hash);
    p.announce_udp(&link, &packet)?;
    let answer = p.announce_udp(&link, &packet)?;
    ensure!(answer.interval > 0, "the interval is {}", answer.interval);
    ensure!(answer.seeders == 1, "{} seeders, there is 1", answer.seeders);
    ensure!(
        (1..=2).contains(&answer.leechers),
        "{} leechers, there are 2 with the one who asks",
        answer.leechers
    );
    ensure!(
        answer.has(&one) && answer.has(&seeder),
        "the others are missing from {:?}",
        answer.peers
    );
    pass()
}

fn too_short(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let packet = p.packet(&link, &client, &hash).bytes();
    let cut: Vec<Vec<u8>> = [16, 36, 56, 80, 96, 97]
        .into_iter()
        .map(|length| packet[..length].to_vec())
        .collect();
    p.expect_unprocessed(&link, &cut, "a short announce")?;
    p.expect_counts_udp(&hash, 0, 0)?;
    pass()
}

/// Announces and requires another peer to be given it.
fn stored(p: &mut Probe<'_>, link: &Link, packet: &Announce, client: &Client) -> Result<Announced, Stop> {
    let answer = p.announce_udp(link, packet)?;
    let seen = p.look_udp(&packet.hash)?;
    ensure!(
        seen.has(client),
        "{:?}:{} is not in {:?}",
        client.source,
        client.port,
        seen.peers
    );
    Ok(answer)
}

fn longer(p: &mut Probe<'_>) -> Finding {
    for extra in [1, 2, 16, 100] {
        let (client, hash) = (p.client(), p.hash());
        let link = p.link(&client)?;
        let packet = Announce {
            tail: vec![0; extra],
            ..p.packet(&link, &client, &hash)
        };
        stored(p, &link, &packet, &client).map_err(|stop| within(stop, &format!("{} bytes", 98 + extra)))?;
    }
    pass()
}

fn stride(p: &mut Probe<'_>) -> Finding {
    // Both families are in one swarm: a list that mixed them would have no stride.
    let hash = p.hash();
    let families = [Family::V4, Family::V6]
        .into_iter()
        .filter(|family| p.settings().udp_of(*family).is_some());
    let mut crowds = Vec::new();
    for family in families.collect::<Vec<_>>() {
        let crowd: Vec<Client> = (0..3).map(|_| p.client_of(family)).collect();
        p.crowd_udp(&crowd, &hash, 1000)?;
        crowds.push((family, crowd));
    }
    for (family, crowd) in crowds {
        let (me, link) = p.link_of(family)?;
        let packet = p.packet(&link, &me, &hash);
        let answer = p.announce_udp(&link, &packet)?;
        let peers = &answer.peers;
        ensure!(
            peers.len() == 3,
            "{} peers over {family:?}, there are 3: {peers:?}",
            peers.len()
        );
        ensure!(
            crowd.iter().all(|client| answer.has(client)),
            "a peer over {family:?} is missing from {peers:?}"
        );
    }
    pass()
}

fn claims(p: &mut Probe<'_>, family: Family) -> Finding {
    let (client, link) = p.link_of(family)?;
    for ip in [0xCB00_7109, 0xFFFF_FFFF, 0x0100_007F] {
        let hash = p.hash();
        let packet = Announce {
            ip,
            ..p.packet(&link, &client, &hash)
        };
        p.announce_udp(&link, &packet)?;
        let (me, other) = p.link_of(family)?;
        let packet = p.packet(&other, &me, &hash);
        let seen = p.announce_udp(&other, &packet)?;
        ensure!(
            seen.peers.len() == 1 && seen.has(&client),
            "IP field {ip:#010x}: handed out is {:?}",
            seen.peers
        );
    }
    pass()
}

fn ip_field(p: &mut Probe<'_>) -> Finding {
    let family = p.family();
    claims(p, family)
}

fn ip_field_v6(p: &mut Probe<'_>) -> Finding {
    claims(p, Family::V6)
}

fn port_field(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client().at_port(0x1A2B), p.hash());
    let link = p.link(&client)?;
    let packet = p.packet(&link, &client, &hash);
    p.announce_udp(&link, &packet)?;
    let seen = p.look_udp(&hash)?;
    ensure!(
        !seen.peers.iter().any(|at| at.port() == link.port()),
        "the datagram's port is handed out: {:?}",
        seen.peers
    );
    ensure!(
        seen.has(&client),
        "port {} is missing from {:?}",
        client.port,
        seen.peers
    );
    pass()
}

fn port_zero(p: &mut Probe<'_>) -> Finding {
    let mut action = None;
    for port in [1, 0] {
        let (client, hash) = (p.client().at_port(port), p.hash());
        let link = p.link(&client)?;
        let packet = p.packet(&link, &client, &hash);
        let replies = p.provoke(&link, &[packet.bytes()])?;
        let seen = p.look_udp(&hash)?;
        ensure!(
            seen.peers.is_empty(),
            "port {port}: handed out is {:?}",
            seen.peers
        );
        action = replies.first().and_then(|reply| udp::action(reply));
    }
    remark(match action {
        Some(udp::ERROR) => "port 0: an error",
        Some(_) => "answered, and not handed out",
        None => "port 0: silence",
    })
}

/// A leecher in a swarm asks for so many.
fn ask(p: &mut Probe<'_>, hash: &Hash, numwant: i32) -> Result<usize, Stop> {
    let me = p.client();
    let link = p.link(&me)?;
    let packet = Announce {
        numwant,
        ..p.packet(&link, &me, hash)
    };
    let answer = p
        .announce_udp(&link, &packet)
        .map_err(|stop| within(stop, &format!("num_want {numwant}")))?;
    Ok(answer.peers.len())
}

fn numwant_default(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.clients(60);
    p.crowd_udp(&crowd, &hash, 1000)?;
    let count = ask(p, &hash, -1)?;
    ensure!(count > 0, "no peers");
    remark(format!("{count} of 60"))
}

fn numwant_odd(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.clients(60);
    p.crowd_udp(&crowd, &hash, 1000)?;
    let default = ask(p, &hash, -1)?;
    let few = ask(p, &hash, 5)?;
    ensure!((1..=5).contains(&few), "{few} peers at num_want 5");
    let none = ask(p, &hash, 0)?;
    ensure!(
        none == 0 || none == default,
        "{none} peers at num_want 0, {default} by default"
    );
    let most = ask(p, &hash, i32::MAX)?;
    ensure!(
        most >= default,
        "{most} peers at the greatest num_want, {default} by default"
    );
    for numwant in [-2, i32::MIN] {
        let count = ask(p, &hash, numwant)?;
        ensure!(count > 0 && count <= most, "{count} peers at num_want {numwant}");
    }
    remark(format!(
        "{none} at num_want 0, {default} by default, {most} of 65 at most"
    ))
}

fn events(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let packet = p.packet(&link, &client, &hash);
    p.announce_udp(&link, &packet)?;
    p.expect_counts_udp(&hash, 0, 1)
        .map_err(|stop| within(stop, "event 2"))?;
    let complete = p.client();
    let complete_hash = p.hash();
    let snatches = |p: &mut Probe<'_>| p.counts_udp(&complete_hash).map(|counts| counts.completed);
    p.begin_udp(&complete, &complete_hash, 0)?;
    ensure!(snatches(p)? == 0, "event 2 of a seeder is taken for completed");
    let completed = Announce {
        event: 1,
        left: 0,
        ..packet.clone()
    };
    p.announce_udp(&link, &completed)?;
    p.expect_counts_udp(&hash, 1, 0)
        .map_err(|stop| within(stop, "event 1"))?;
    let none = Announce {
        event: 0,
        left: 0,
        ..packet.clone()
    };
    p.announce_udp(&link, &none)?;
    p.expect_counts_udp(&hash, 1, 0)
        .map_err(|stop| within(stop, "event 0"))?;
    let stopped = Announce {
        event: 3,
        left: 0,
        ..packet
    };
    p.announce_udp(&link, &stopped)?;
    p.expect_counts_udp(&hash, 0, 0)
        .map_err(|stop| within(stop, "event 3"))?;
    pass()
}

fn unknown_events(p: &mut Probe<'_>) -> Finding {
    let mut seen = Vec::new();
    for event in [4, u32::MAX] {
        let (client, hash) = (p.client(), p.hash());
        let link = p.link(&client)?;
        let packet = Announce {
            event,
            ..p.packet(&link, &client, &hash)
        };
        let reply = p
            .ask(&link, &packet.bytes(), packet.transaction)
            .map_err(|stop| within(stop, &format!("event {event}")))?;
        match udp::action(&reply) {
            Some(udp::ERROR) => seen.push(format!("event {event}: an error")),
            _ => {
                udp::read_announced(&reply, link.v6).map_err(Stop::Failed)?;
                p.expect_counts_udp(&hash, 0, 1)
                    .map_err(|stop| within(stop, &format!("event {event}")))?;
                seen.push(format!("event {event}: as none"));
            }
        }
    }
    remark(seen.join(", "))
}

fn paused(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let packet = Announce {
        event: 4,
        ..p.packet(&link, &client, &hash)
    };
    p.announce_udp(&link, &packet)?;
    let counts = p.counts_udp(&hash)?;
    remark(format!(
        "accepted; {} seeders, {} leechers",
        counts.seeders, counts.leechers
    ))
}

fn left_bits(p: &mut Probe<'_>) -> Finding {
    let mut wrong = Vec::new();
    for left in [0, 1, 0xFFFE_0000, 1 << 32, 1 << 63, u64::MAX] {
        let (client, hash) = (p.client(), p.hash());
        p.begin_udp(&client, &hash, left)
            .map_err(|stop| within(stop, &format!("left {left:#x}")))?;
        let counts = p.counts_udp(&hash)?;
        let wanted = if left == 0 { (1, 0) } else { (0, 1) };
        if (counts.seeders, counts.leechers) != wanted {
            wrong.push(format!(
                "left {left:#x} is counted as {} seeders and {} leechers",
                counts.seeders, counts.leechers
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    pass()
}

fn stopped(p: &mut Probe<'_>) -> Finding {
    let (client, other, hash) = (p.client(), p.client(), p.hash());
    p.begin_udp(&other, &hash, 1000)?;
    let link = p.link(&client)?;
    let packet = p.packet(&link, &client, &hash);
    stored(p, &link, &packet, &client)?;
    let answer = p.announce_udp(&link, &Announce { event: 3, ..packet })?;
    ensure!(
        answer.peers.is_empty(),
        "{} peers in the answer",
        answer.peers.len()
    );
    let seen = p.look_udp(&hash)?;
    ensure!(
        !seen.has(&client),
        "handed out after it stopped: {:?}",
        seen.peers
    );
    pass()
}

fn completed_twice(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let packet = p.packet(&link, &client, &hash);
    p.announce_udp(&link, &packet)?;
    let completed = Announce {
        event: 1,
        left: 0,
        ..packet
    };
    for time in ["the first", "the second"] {
        p.announce_udp(&link, &completed)?;
        let counts = p.expect_counts_udp(&hash, 1, 0)?;
        ensure!(
            counts.completed == 1,
            "{} snatches after {time}",
            counts.completed
        );
    }
    pass()
}
