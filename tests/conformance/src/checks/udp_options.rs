//! O: the options that may follow an announce over UDP.

use super::announce::within;
use crate::{
    check::{
        Check, Finding,
        Level::{Hardening as H, Normative as M, Policy as P},
        Stop, UDP, check, ensure, pass, remark,
    },
    probe::Probe,
    wire::udp::{self, Announce},
};
use std::time::Instant;

pub(super) const CHECKS: &[Check] = &[
    check(
        "O-01",
        M,
        BEP41,
        "URLData `/dir?a=b&c=d`: accepted",
        "Clients copy path and query of the tracker's URL there.",
        UDP,
        url_data,
    ),
    check(
        "O-02",
        M,
        BEP41,
        "URLData, NOP, NOP, EndOfOptions: accepted",
        "NOPs pad, EndOfOptions ends.",
        UDP,
        padded,
    ),
    check(
        "O-03",
        M,
        BEP41,
        "an empty URLData: accepted",
        "A URL may have no path.",
        UDP,
        empty_url,
    ),
    check(
        "O-04",
        M,
        BEP41,
        "URLData of 300 bytes in two options: accepted",
        "Longer URLs are to be joined.",
        UDP,
        two_urls,
    ),
    check(
        "O-05",
        M,
        BEP41,
        "options of unknown types are skipped by their length",
        "That is what the length is for, and how extensions become possible.",
        UDP,
        unknown_type,
    ),
    check(
        "O-06",
        M,
        BEP41,
        "bytes after EndOfOptions are ignored",
        "The end is the end.",
        UDP,
        after_end,
    ),
    check(
        "O-07",
        H,
        BEP41,
        "a length beyond the end of the packet: an announce's answer or an error",
        "It must not be read beyond.",
        UDP,
        beyond_end,
    ),
    check(
        "O-08",
        M,
        BEP41,
        "NOPs only: accepted",
        "Padding is no error.",
        UDP,
        nops,
    ),
    check(
        "O-09",
        M,
        BEP41,
        "what looks like options in a connect or a scrape is none",
        "Options belong to the announce alone.",
        UDP,
        not_elsewhere,
    ),
    check(
        "O-10",
        P,
        BEP41,
        "a passkey in the URL's path over UDP: recorded",
        "Private trackers could go over UDP so.",
        UDP,
        passkey,
    ),
    check(
        "O-11",
        H,
        BEP41,
        "1000 options in one datagram: answered as soon as an announce without",
        "Parsing must take linear time.",
        UDP,
        thousand,
    ),
    check(
        "O-12",
        H,
        BEP41,
        "URLs of every length from 0 to 300, and not ASCII: each is answered",
        "Lengths off by one are where parsers break.",
        UDP,
        every_length,
    ),
];

const BEP41: &str = "BEP 41";
const NOP: u8 = 1;
const URL_DATA: u8 = 2;

/// One option with its length.
fn option(kind: u8, data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len()).unwrap_or(u8::MAX);
    let mut option = vec![kind, length];
    option.extend(data);
    option
}

/// An announce with a tail must be answered, and its peer stored.
fn accepted(p: &mut Probe<'_>, tail: Vec<u8>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let packet = Announce {
        tail,
        ..p.packet(&link, &client, &hash)
    };
    p.announce_udp(&link, &packet)?;
    let seen = p.look_udp(&hash)?;
    ensure!(seen.has(&client), "the peer is not handed out: {:?}", seen.peers);
    pass()
}

fn url_data(p: &mut Probe<'_>) -> Finding {
    accepted(p, option(URL_DATA, b"/dir?a=b&c=d"))
}

fn padded(p: &mut Probe<'_>) -> Finding {
    accepted(p, [option(URL_DATA, b"/dir?a=b&c=d"), vec![NOP, NOP, 0]].concat())
}

fn empty_url(p: &mut Probe<'_>) -> Finding {
    accepted(p, option(URL_DATA, b""))
}

fn two_urls(p: &mut Probe<'_>) -> Finding {
    accepted(
        p,
        [option(URL_DATA, &[b'a'; 200]), option(URL_DATA, &[b'b'; 100])].concat(),
    )
}

fn unknown_type(p: &mut Probe<'_>) -> Finding {
    for kind in [3, 99, 255] {
        let tail = [
            option(kind, b"what is this"),
            option(URL_DATA, b"/dir"),
            option(kind, b""),
        ]
        .concat();
        accepted(p, tail).map_err(|stop| within(stop, &format!("type {kind}")))?;
    }
    pass()
}

fn after_end(p: &mut Probe<'_>) -> Finding {
    accepted(p, [option(URL_DATA, b"/dir"), vec![0, 2, 255, 9, 9]].concat())
}

/// An announce with a tail must be answered, if only with an error.
fn answered(p: &mut Probe<'_>, tail: Vec<u8>) -> Result<&'static str, Stop> {
    let (client, hash) = (p.client(), p.hash());
    let link = p.link(&client)?;
    let packet = Announce {
        tail,
        ..p.packet(&link, &client, &hash)
    };
    let reply = p.ask(&link, &packet.bytes(), packet.transaction)?;
    match udp::action(&reply) {
        Some(udp::ERROR) => Ok("an error"),
        _ => udp::read_announced(&reply, link.v6)
            .map(|_| "answered")
            .map_err(Stop::Failed),
    }
}

fn beyond_end(p: &mut Probe<'_>) -> Finding {
    let mut seen = Vec::new();
    for tail in [
        vec![URL_DATA],
        vec![URL_DATA, 255],
        vec![URL_DATA, 200, b'/'],
        vec![77, 1],
    ] {
        seen.push(answered(p, tail)?);
    }
    seen.dedup();
    remark(seen.join(", "))
}

fn nops(p: &mut Probe<'_>) -> Finding {
    accepted(p, vec![NOP; 7])
}

fn not_elsewhere(p: &mut Probe<'_>) -> Finding {
    let client = p.client();
    let link = p.link(&client)?;
    let transaction = p.word();
    let connect = [udp::connect(transaction), option(URL_DATA, b"/dir")].concat();
    let reply = p.ask(&link, &connect, transaction)?;
    udp::read_connected(&reply).map_err(Stop::Failed)?;
    let mut hash = p.hash();
    hash[..6].copy_from_slice(&option(URL_DATA, b"/dir"));
    p.begin_udp(&client, &hash, 1000)?;
    p.expect_counts_udp(&hash, 0, 1)?;
    pass()
}

fn passkey(p: &mut Probe<'_>) -> Finding {
    remark(answered(
        p,
        option(URL_DATA, b"/0123456789abcdef0123456789abcdef/announce"),
    )?)
}

fn thousand(p: &mut Probe<'_>) -> Finding {
    answered(p, Vec::new())?;
    let tails = [
        vec![NOP; 1000],
        option(99, b"").repeat(500),
        option(URL_DATA, b"").repeat(500),
    ];
    for tail in tails {
        let begun = Instant::now();
        answered(p, tail)?;
        ensure!(
            begun.elapsed() < p.patience() / 2,
            "{} ms",
            begun.elapsed().as_millis()
        );
    }
    pass()
}

fn every_length(p: &mut Probe<'_>) -> Finding {
    for length in 0..=300_usize {
        let url: Vec<u8> = "/ключ/".bytes().cycle().take(length).collect();
        let tail: Vec<u8> = url
            .chunks(255)
            .flat_map(|piece| option(URL_DATA, piece))
            .collect();
        answered(p, tail).map_err(|stop| within(stop, &format!("{length} bytes")))?;
    }
    pass()
}
