//! U-17 to U-25: what is not a request, what is too much, and what is owed to nobody.

use crate::plain;
use crate::{
    check::{
        Check, Finding,
        Level::{DeFacto as S, Hardening as H, Normative as M, Policy as P},
        SOURCES, UDP, UDP4, check, ensure, not_run, pass, remark,
    },
    probe::{Link, Probe},
    target::Family,
    wire::udp::{self, Announce},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::SocketAddr;

pub(super) const CHECKS: &[Check] = &[
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
            return not_run(format!("raw sending: {}", plain(&error)));
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
