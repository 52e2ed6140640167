//! V: IPv6, two families in one swarm, and replies from the right address.

use crate::{
    check::{
        Check, Finding, HTTP4, HTTP6,
        Level::{DeFacto as S, Normative as M, Policy as P},
        SOURCES, Stop, UDP4, check, ensure, not_offered, pass, remark,
    },
    probe::{Client, Hash, Link, Probe},
    target::Family,
    wire::udp,
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "V-01",
        M,
        BEP7,
        "HTTP over IPv6, compact: `peers6` of 18 bytes a peer",
        "An IPv6 address does not fit the six bytes of `peers`.",
        HTTP6,
        peers6,
    ),
    check(
        "V-02",
        M,
        BEP7,
        "IPv6 peers never stand in `peers`, IPv4 ones never in `peers6` (compact forms)",
        "Readers go by the key, not by the address.",
        HTTP4.and(HTTP6),
        families_apart,
    ),
    check(
        "V-03",
        M,
        BEP7,
        "a client of IPv4 is stored and handed out as IPv4, whatever socket it came in by",
        "An IPv4-mapped address in `peers6` is of no use to an IPv6 client.",
        HTTP4.and(HTTP6),
        not_mapped,
    ),
    check(
        "V-04",
        P,
        BEP7,
        "an IPv6 client asks in a swarm of both families: recorded",
        "Whether a tracker mixes families decides who can meet.",
        HTTP4.and(HTTP6),
        mixed,
    ),
    check(
        "V-05",
        S,
        BEP7,
        "counts of a swarm of both families are the same in announce and scrape, over either family",
        "Counts that depend on who asks cannot be compared.",
        HTTP4.and(HTTP6),
        counts,
    ),
    check(
        "V-06",
        P,
        BEP7,
        "peers at loopback and other special addresses: recorded",
        "They are of no use to the public, but of all use to a test.",
        HTTP4,
        special,
    ),
    check(
        "V-07",
        P,
        "de facto",
        "many peers of one address over IPv6: recorded",
        "A /64 is one household, and can pose as a whole swarm.",
        HTTP6,
        one_prefix,
    ),
    check(
        "V-08",
        S,
        BEP7,
        "numwant=6 with eight peers of each family: no more than six in all",
        "The client asked for so many peers, not for so many of each kind.",
        HTTP4.and(HTTP6),
        numwant,
    ),
    check(
        "V-09",
        S,
        BEP15,
        "on a wildcard bind, the reply leaves from the address that the datagram was sent to",
        "Clients and firewalls drop a reply from another address.",
        UDP4.and(SOURCES),
        reply_source,
    ),
];

const BEP7: &str = "BEP 7";
const BEP15: &str = "BEP 15";

fn peers6(p: &mut Probe<'_>) -> Finding {
    let (one, two, hash) = (p.client_of(Family::V6), p.client_of(Family::V6), p.hash());
    p.leech(&one, &hash)?;
    let answer = p.leech(&two, &hash)?;
    let value = answer.body.get("peers6").and_then(|value| value.bytes());
    ensure!(value.is_some(), "no `peers6` string");
    ensure!(
        answer.peers6.len() == 1 && answer.has(&one),
        "the peer is missing from {}",
        answer.list()
    );
    pass()
}

fn families_apart(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let (four, six) = (p.client_of(Family::V4), p.client_of(Family::V6));
    p.leech(&four, &hash)?;
    p.leech(&six, &hash)?;
    let (see_four, see_six) = (p.client_of(Family::V4), p.client_of(Family::V6));
    let to_four = p.leech(&see_four, &hash)?;
    let to_six = p.leech(&see_six, &hash)?;
    ensure!(
        to_four.has(&four),
        "an IPv4 client is not given the IPv4 peer: {}",
        to_four.list()
    );
    ensure!(
        to_six.has(&six),
        "an IPv6 client is not given the IPv6 peer: {}",
        to_six.list()
    );
    for answer in [&to_four, &to_six] {
        ensure!(
            answer.peers.iter().all(|peer| peer.at.is_ipv4()),
            "an IPv6 address in `peers`: {}",
            answer.list()
        );
        ensure!(
            answer.peers6.iter().all(|peer| peer.at.is_ipv6()),
            "an IPv4 address in `peers6`: {}",
            answer.list()
        );
    }
    pass()
}

fn is_mapped(at: &SocketAddr) -> bool {
    matches!(at.ip(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some())
}

fn not_mapped(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let (four, six, other) = (
        p.client_of(Family::V4),
        p.client_of(Family::V6),
        p.client_of(Family::V4),
    );
    p.leech(&four, &hash)?;
    let to_six = p.leech(&six, &hash)?;
    ensure!(
        !to_six.all().any(|peer| is_mapped(&peer.at)),
        "a mapped address is handed out: {}",
        to_six.list()
    );
    let to_four = p.leech(&other, &hash)?;
    let plain = to_four
        .peers
        .iter()
        .any(|peer| peer.at.is_ipv4() && peer.at.port() == four.port);
    ensure!(plain, "the IPv4 peer is not in `peers`: {}", to_four.list());
    pass()
}

fn mixed(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    for _ in 0..20 {
        let (four, six) = (p.client_of(Family::V4), p.client_of(Family::V6));
        p.leech(&four, &hash)?;
        p.leech(&six, &hash)?;
    }
    let (four, six) = (p.client_of(Family::V4), p.client_of(Family::V6));
    let mut seen = Vec::new();
    for (name, client) in [("IPv4", four), ("IPv6", six)] {
        let request = p.announce_of(&client, &hash).numwant("20");
        let answer = p.announce(&request)?;
        let (fours, sixes): (Vec<_>, Vec<_>) = answer.all().partition(|peer| peer.at.is_ipv4());
        seen.push(format!(
            "{name} is given {} IPv4 and {} IPv6",
            fours.len(),
            sixes.len()
        ));
    }
    remark(seen.join("; "))
}

fn counts(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let (seed_four, leech_six) = (p.client_of(Family::V4), p.client_of(Family::V6));
    let leech_four = p.client_of(Family::V4);
    p.seed(&seed_four, &hash)?;
    p.leech(&leech_six, &hash)?;
    p.leech(&leech_four, &hash)?;
    let mut seen = Vec::new();
    for (client, name) in [(&leech_four, "IPv4"), (&leech_six, "IPv6")] {
        let request = p.announce_of(client, &hash);
        let answer = p.announce(&request)?;
        let announced = (
            answer.complete.unwrap_or_default(),
            answer.incomplete.unwrap_or_default(),
        );
        let scraped = scraped_by(p, client, &hash)?;
        let same = announced == scraped || announced == (scraped.0, scraped.1 - 1);
        ensure!(
            same,
            "{name}: announce says {announced:?}, scrape {scraped:?} (seeders, leechers)"
        );
        seen.push(scraped);
    }
    match (seen[0], seen[1]) {
        ((1, 2), (1, 2)) => remark("total over both families"),
        ((1, 1), (0, 1)) => remark("each family for itself"),
        (four, six) => Err(Stop::Failed(format!(
            "over IPv4 {four:?}, over IPv6 {six:?}; over IPv4 there are 1 seeder and 1 leecher, over IPv6 1 leecher"
        ))),
    }
}

/// Seeders and leechers of a hash as a scrape by a client says.
fn scraped_by(p: &mut Probe<'_>, client: &Client, hash: &Hash) -> Result<(i128, i128), Stop> {
    let host = format!("Host: {}", p.endpoint(client.family).host);
    let mut scrape = p.scrape_of(&[*hash])?.without_header("host").header(host);
    scrape.family = client.family;
    scrape.source = client.source;
    let counts = p
        .scrape_with(&scrape, &[*hash])?
        .pop()
        .flatten()
        .unwrap_or_default();
    Ok((counts.complete, counts.incomplete))
}

fn special(p: &mut Probe<'_>) -> Finding {
    let (one, hash) = (p.client_of(Family::V4), p.hash());
    let Some(source) = one.source else {
        return not_offered("the target is not on loopback, so the suite has no special address");
    };
    p.leech(&one, &hash)?;
    let two = p.client_of(Family::V4);
    let given = p.leech(&two, &hash)?.has(&one);
    remark(format!(
        "{source} is {}",
        if given { "handed out" } else { "not handed out" }
    ))
}

fn one_prefix(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let client = p.client_of(Family::V6);
    for number in 0..200 {
        let peer = client.at_port(2000 + number).renamed(p.twenty());
        let request = p.announce_of(&peer, &hash).numwant("0");
        let _ = p.reply(&request)?;
    }
    let counts = p.counts(&hash)?;
    remark(format!(
        "of 200 peers at one address {} are counted",
        counts.complete + counts.incomplete
    ))
}

fn numwant(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    for _ in 0..8 {
        let (four, six) = (p.client_of(Family::V4), p.client_of(Family::V6));
        p.leech(&four, &hash)?;
        p.leech(&six, &hash)?;
    }
    for family in [Family::V4, Family::V6] {
        let me = p.client_of(family);
        let request = p.announce_of(&me, &hash).numwant("6");
        let answer = p.announce(&request)?;
        ensure!(
            (1..=6).contains(&answer.len()),
            "{} peers at numwant=6: {}",
            answer.len(),
            answer.list()
        );
    }
    pass()
}

fn reply_source(p: &mut Probe<'_>) -> Finding {
    let client = p.client_of(Family::V4);
    let mut link: Link = p.socket(&client)?;
    p.connect(&link)?;
    let other = Ipv4Addr::new(127, 63, 0, 1);
    link.to = SocketAddr::new(IpAddr::V4(other), link.to.port());
    let transaction = p.word();
    p.send(&link, &udp::connect(transaction))?;
    match p.receive(&link, Instant::now() + p.patience() / 2) {
        None => not_offered(format!("nobody answers at {other}: not a wildcard bind")),
        Some((_, from)) if from == link.to => pass(),
        Some((_, from)) => Err(Stop::Failed(format!("sent to {}, answered from {from}", link.to))),
    }
}
