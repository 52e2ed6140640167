//! N-17 to N-26: swarms over UDP, beside HTTP, and under floods.

use super::hostile::{growth, memory};
use crate::{
    check::{
        ALONE, Check, Finding, HTTP,
        Level::{DeFacto as S, Hardening as H},
        SOURCES, Stop, UDP, UDP4, check, ensure, pass, remark,
    },
    probe::{Client, Link, Probe},
    wire::udp::{self, Announce},
};
use std::{
    collections::BTreeSet,
    io,
    time::{Duration, Instant},
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "N-17",
        S,
        FIELD,
        "no peer is given its own endpoint",
        "A client wastes a connection attempt on itself.",
        UDP,
        not_self,
    ),
    check(
        "N-18",
        S,
        FIELD,
        "in a swarm of 250, num_want 200: no endpoint twice in one answer",
        "A duplicate takes the place of a peer.",
        UDP,
        no_duplicates,
    ),
    check(
        "N-19",
        S,
        FIELD,
        "two ports at one address: two peers",
        "Households share an address.",
        UDP,
        two_ports,
    ),
    check(
        "N-20",
        S,
        BEP15,
        "the same peer_id and key from another address: counts and lists agree (recorded: moved or second)",
        "A client's address changes, its key does not.",
        UDP4.and(SOURCES),
        moved,
    ),
    check(
        "N-21",
        S,
        FIELD,
        "a peer of HTTP and one of UDP see each other",
        "One torrent, one swarm.",
        HTTP.and(UDP),
        both_protocols,
    ),
    check(
        "N-22",
        S,
        FIELD,
        "a UDP peer that announces again over HTTP is one peer",
        "Clients try every URL of a tracker.",
        HTTP.and(UDP),
        one_peer,
    ),
    check(
        "N-23",
        S,
        FIELD,
        "whether the counts include the one who asks is the same over UDP and HTTP (recorded: which)",
        "Counts that differ by protocol look like two swarms.",
        HTTP.and(UDP),
        counts_announcer,
    ),
    check(
        "N-24",
        H,
        FIELD,
        "a flood of hashes from one source (200,000; 1,000,000 with --slow): it serves on",
        "Without a cap one source fills the memory.",
        UDP.and(ALONE),
        flood_of_hashes,
    ),
    check(
        "N-25",
        H,
        FIELD,
        "2000 ports of one address in one swarm: it serves on, and others are still found (recorded: the cap)",
        "One source can pose as a whole swarm.",
        UDP,
        flood_of_ports,
    ),
    check(
        "N-26",
        S,
        FIELD,
        "one peer starts and completes three times: the snatches rise by one",
        "Else any client makes them what it likes. A peer that has stopped or expired may count again.",
        UDP,
        completed_in_turns,
    ),
];

const BEP15: &str = "BEP 15";
const FIELD: &str = "de facto";

fn not_self(p: &mut Probe<'_>) -> Finding {
    let (one, two, hash) = (p.client(), p.client(), p.hash());
    let link = p.link(&one)?;
    let packet = p.packet(&link, &one, &hash);
    let answer = p.announce_udp(&link, &packet)?;
    ensure!(
        !answer.own,
        "the first announce is answered with its own endpoint"
    );
    p.begin_udp(&two, &hash, 1000)?;
    let answer = p.announce_udp(&link, &packet)?;
    ensure!(
        answer.has(&two),
        "the other peer is missing from {:?}",
        answer.peers
    );
    ensure!(
        !answer.own,
        "the second announce is answered with its own endpoint"
    );
    pass()
}

fn no_duplicates(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.clients(250);
    p.crowd_udp(&crowd, &hash, 1000)?;
    let me = p.client();
    let link = p.link(&me)?;
    let packet = Announce {
        numwant: 200,
        ..p.packet(&link, &me, &hash)
    };
    for _ in 0..10 {
        let answer = p.announce_udp(&link, &packet)?;
        ensure!(!answer.peers.is_empty(), "no peers at all");
        ensure!(
            answer.peers.len() <= 200,
            "{} peers at num_want 200",
            answer.peers.len()
        );
        let different: BTreeSet<_> = answer.peers.iter().collect();
        ensure!(
            different.len() == answer.peers.len(),
            "{} peers, only {} endpoints",
            answer.peers.len(),
            different.len()
        );
    }
    pass()
}

fn two_ports(p: &mut Probe<'_>) -> Finding {
    let (one, hash) = (p.client(), p.hash());
    let two = one.at_port(one.port ^ 1).renamed(p.twenty());
    p.begin_udp(&one, &hash, 1000)?;
    p.begin_udp(&two, &hash, 1000)?;
    let seen = p.look_udp(&hash)?;
    ensure!(seen.has(&one) && seen.has(&two), "handed out is {:?}", seen.peers);
    pass()
}

fn moved(p: &mut Probe<'_>) -> Finding {
    let (one, two, hash) = (p.client(), p.client(), p.hash());
    let two = Client {
        source: two.source,
        ..one
    };
    for client in [&one, &two] {
        let link = p.link(client)?;
        let packet = Announce {
            key: 0xAB12,
            ..p.packet(&link, client, &hash)
        };
        p.announce_udp(&link, &packet)?;
    }
    let counts = p.counts_udp(&hash)?;
    let seen = p.look_udp(&hash)?;
    let listed = i32::try_from(seen.peers.len()).unwrap_or_default();
    ensure!(
        counts.leechers == listed,
        "{} counted, {listed} handed out",
        counts.leechers
    );
    ensure!(
        seen.has(&two),
        "the new address is not handed out: {:?}",
        seen.peers
    );
    remark(if listed == 1 { "moved" } else { "a second peer" })
}

fn both_protocols(p: &mut Probe<'_>) -> Finding {
    let (http, udp, hash) = (p.client(), p.client(), p.hash());
    p.leech(&http, &hash)?;
    let answer = p.begin_udp(&udp, &hash, 1000)?;
    ensure!(
        answer.has(&http),
        "the UDP peer is not given the HTTP peer: {:?}",
        answer.peers
    );
    let again = p.announce_of(&http, &hash);
    let answer = p.announce(&again)?;
    ensure!(
        answer.has(&udp),
        "the HTTP peer is not given the UDP peer: {}",
        answer.list()
    );
    pass()
}

fn one_peer(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    p.begin_udp(&client, &hash, 1000)?;
    p.leech(&client, &hash)?;
    p.expect_counts_udp(&hash, 0, 1)?;
    p.expect_counts(&hash, 0, 1)?;
    let seen = p.look_udp(&hash)?;
    ensure!(seen.peers.len() == 1, "handed out is {:?}", seen.peers);
    let stopped = p.announce_of(&client, &hash).event("stopped");
    p.announce(&stopped)?;
    let seen = p.look_udp(&hash)?;
    ensure!(
        !seen.has(&client),
        "it stopped over HTTP, and is handed out over UDP: {:?}",
        seen.peers
    );
    pass()
}

fn counts_announcer(p: &mut Probe<'_>) -> Finding {
    let (one, two) = (p.client(), p.client());
    let (first, second) = (p.hash(), p.hash());
    let udp = p.begin_udp(&one, &first, 1000)?.leechers;
    let http = p.leech(&two, &second)?.incomplete.unwrap_or_default();
    ensure!(
        http == i128::from(udp),
        "alone in a swarm, one leecher is told of {udp} over UDP and {http} over HTTP"
    );
    remark(if udp == 1 { "included" } else { "not included" })
}

/// Announces a new hash with every datagram, some in flight, and lets lost ones be lost.
fn flood(p: &mut Probe<'_>, link: &Link, client: &Client, count: u32) -> Result<u32, Stop> {
    let _ = link.socket.set_read_timeout(Some(Duration::from_millis(200)));
    let hash = p.hash();
    let template = p.packet(link, client, &hash).bytes();
    let mut buffer = [0; 2048];
    let mut answered = 0;
    let begun = Instant::now();
    let limit = if p.settings().slow {
        FLOOD_MAX_SLOW
    } else {
        FLOOD_MAX
    };
    for number in 0..count {
        let mut packet = template.clone();
        packet[12..16].copy_from_slice(&number.to_be_bytes());
        packet[16..24].copy_from_slice(&p.double().to_be_bytes());
        if link.socket.send_to(&packet, link.to).is_err() {
            continue;
        }
        if number % WINDOW == WINDOW - 1 {
            for _ in 0..WINDOW {
                match link.socket.recv_from(&mut buffer) {
                    Ok(_) => answered += 1,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        }
        if begun.elapsed() > limit {
            p.say(&format!("the flood ended after {number} datagrams, for time"));
            break;
        }
    }
    Ok(answered)
}

fn flood_of_hashes(p: &mut Probe<'_>) -> Finding {
    let count = if p.settings().slow { 1_000_000 } else { 200_000 };
    let client = p.client();
    let link = p.link(&client)?;
    let before = memory(p);
    let answered = flood(p, &link, &client, count)?;
    let (one, hash) = (p.client(), p.hash());
    p.begin_udp(&one, &hash, 1000)?;
    let seen = p.look_udp(&hash)?;
    ensure!(
        seen.has(&one),
        "afterwards a peer is not handed out: {:?}",
        seen.peers
    );
    remark(format!(
        "{answered} of {count} answered{}",
        growth(before, memory(p))
    ))
}

fn completed_in_turns(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let started = Announce {
        event: 2,
        left: 5,
        ..p.packet(&link, &client, &hash)
    };
    let completed = Announce {
        event: 1,
        left: 0,
        ..started.clone()
    };
    for time in 1..=3 {
        p.announce_udp(&link, &started)?;
        p.announce_udp(&link, &completed)?;
        let snatches = p.counts_udp(&hash)?.completed;
        ensure!(snatches == 1, "{snatches} snatches after {time}");
    }
    pass()
}

fn flood_of_ports(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    for number in 0..2000 {
        let peer = client.at_port(2000 + number).renamed(p.twenty());
        let packet = p.packet(&link, &peer, &hash);
        let reply = p.ask(&link, &packet.bytes(), packet.transaction)?;
        let fine = matches!(udp::action(&reply), Some(udp::ANNOUNCE | udp::ERROR));
        ensure!(fine, "port {} was answered with {} bytes", peer.port, reply.len());
    }
    let counts = p.counts_udp(&hash)?;
    let other = p.client();
    p.begin_udp(&other, &hash, 1000)?;
    p.counts_udp(&hash)?;
    remark(format!(
        "{} of 2000 are counted",
        counts.leechers + counts.seeders
    ))
}

/// Datagrams in flight: few enough for any receive buffer.
const WINDOW: u32 = 64;
/// The longest that a flood may take.
const FLOOD_MAX: Duration = Duration::from_secs(12);
/// The same with `--slow`.
const FLOOD_MAX_SLOW: Duration = Duration::from_secs(90);
