//! choosing peers, who a peer is, how it changes, and whose word on its address is taken.

use super::announce::within;
use crate::{
    check::{
        Check, Finding, HTTP, HTTP4, HTTP6,
        Level::{DeFacto as S, Hardening as H, Policy as P},
        SLOW, Stop, check, ensure, not_run, pass, remark,
    },
    probe::{Announced, Client, Hash, Probe},
    target::Family,
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "A-44",
        S,
        FIELD,
        "in a swarm of 500, 200 announces hand out every peer at least once",
        "A fixed choice leaves most of a swarm unknown to itself.",
        HTTP,
        reaches_all,
    ),
    check(
        "A-45",
        S,
        FIELD,
        "a seeder asks in a mixed swarm: the counts are right (recorded: whom it is given)",
        "Seeders have no use for seeders, but the counts are for everyone.",
        HTTP,
        seeder_asks,
    ),
    check(
        "A-46",
        S,
        FIELD,
        "a new peer_id at the same address and port: one peer, not two",
        "A client that restarts would be counted, and handed out, twice.",
        HTTP,
        new_peer_id,
    ),
    check(
        "A-47",
        S,
        FIELD,
        "the same peer_id at another port: counts and lists agree (recorded: replaced or second)",
        "Counts that disagree with the lists show two ideas of what a peer is.",
        HTTP,
        other_port,
    ),
    check(
        "A-48",
        P,
        "BEP 7",
        "the same peer_id and key from IPv4 and IPv6: recorded",
        "BEP 7: one client, two endpoints.",
        HTTP4.and(HTTP6),
        both_families,
    ),
    check(
        "A-49",
        S,
        FIELD,
        "event=started twice: counted once",
        "Clients repeat what was not answered.",
        HTTP,
        started_twice,
    ),
    check(
        "A-50",
        S,
        BEP3,
        "a leecher that announces left=0 without an event becomes a seeder",
        "The event may have been lost; `left` is the state.",
        HTTP,
        becomes_seeder,
    ),
    check(
        "A-51",
        S,
        BEP3,
        "a seeder that announces left>0 becomes a leecher",
        "A recheck may find damaged pieces.",
        HTTP,
        becomes_leecher,
    ),
    check(
        "A-52",
        S,
        FIELD,
        "a peer that does not come back is gone from lists and counts after its time",
        "Most clients never say that they leave.",
        HTTP.and(SLOW),
        expires,
    ),
    check(
        "A-53",
        S,
        FIELD,
        "0 < `min interval` <= `interval` (recorded: within 300 to 10800 s)",
        "Public tracker lists refuse other intervals.",
        HTTP,
        intervals,
    ),
    check(
        "A-54",
        S,
        BEP3,
        "100 announces: every `interval` above 0",
        "A zero or negative interval makes clients announce without a pause.",
        HTTP,
        intervals_always,
    ),
    check(
        "A-55",
        P,
        BEP3,
        "`tracker id`: recorded",
        "A client must send back the one it was given.",
        HTTP,
        tracker_id,
    ),
    check(
        "A-56",
        H,
        "BEP 7",
        "ip=, ipv4= and ipv6= of an untrusted source are ignored",
        "Else anyone can point a swarm at a victim.",
        HTTP,
        claimed_address,
    ),
    check(
        "A-57",
        P,
        BEP3,
        "ip= of a trusted source: recorded",
        "A tracker behind the same NAT as a client needs it.",
        HTTP,
        trusted_address,
    ),
    check(
        "A-58",
        H,
        FIELD,
        "X-Forwarded-For and its kin from an untrusted source are ignored",
        "Else anyone can point a swarm at a victim.",
        HTTP,
        claimed_header,
    ),
    check(
        "A-59",
        S,
        FIELD,
        "from a trusted proxy: the right-most untrusted address of the last header, in every form",
        "The left part of the list is the client's own invention.",
        HTTP,
        proxied,
    ),
    check(
        "A-60",
        H,
        FIELD,
        "from a trusted proxy without a valid header: a failure, the proxy's address is never stored",
        "A proxy's address in the swarm serves nobody and floods the proxy.",
        HTTP,
        proxied_badly,
    ),
    check(
        "A-61",
        S,
        FIELD,
        "one peer starts and completes three times: `downloaded` rises by one",
        "Else any client makes it what it likes. A peer that has stopped or expired may count again.",
        HTTP,
        completed_in_turns,
    ),
];

const BEP3: &str = "BEP 3, tracker HTTP protocol";
const FIELD: &str = "de facto";

fn reaches_all(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 0, 500)?;
    let me = p.client();
    let request = p.announce_of(&me, &hash).numwant("50");
    let mut seen: BTreeSet<SocketAddr> = BTreeSet::new();
    let (mut answers, mut drawn) = (0, 0);
    // 200 answers of 50 peers: a fair choice misses one of the 500 once in three million runs. Shorter lists get
    // as many draws.
    while seen.len() < crowd.len() && (answers < 200 || drawn < 200 * 50) && answers < 800 {
        let answer = p.announce(&request)?;
        answers += 1;
        drawn += answer.len();
        seen.extend(answer.all().map(|peer| peer.at));
    }
    ensure!(
        seen.len() >= crowd.len(),
        "{answers} answers with {drawn} peers named only {} of 500",
        seen.len()
    );
    remark(format!("all in {answers} answers"))
}

fn seeder_asks(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 3, 3)?;
    let request = p.announce_of(&crowd[0], &hash).seeding().numwant("50");
    let answer = p.announce(&request)?;
    p.expect_counts(&hash, 3, 3)?;
    for leecher in &crowd[3..] {
        ensure!(answer.has(leecher), "a leecher is missing from {}", answer.list());
    }
    let seeders = crowd[1..3].iter().filter(|seeder| answer.has(seeder)).count();
    remark(if seeders == 0 {
        "leechers only"
    } else {
        "seeders too"
    })
}

fn new_peer_id(p: &mut Probe<'_>) -> Finding {
    let (one, hash) = (p.client(), p.hash());
    let two = one.renamed(p.twenty());
    p.leech(&one, &hash)?;
    p.leech(&two, &hash)?;
    let answer = p.look(&hash)?;
    ensure!(
        answer.len() == 1,
        "{} peers for one endpoint: {}",
        answer.len(),
        answer.list()
    );
    p.expect_counts(&hash, 0, 2)?;
    pass()
}

fn other_port(p: &mut Probe<'_>) -> Finding {
    let (one, hash) = (p.client(), p.hash());
    let two = one.at_port(one.port ^ 1);
    p.leech(&one, &hash)?;
    p.leech(&two, &hash)?;
    let counts = p.counts(&hash)?;
    let answer = p.look(&hash)?;
    let listed = i128::try_from(answer.len()).unwrap_or_default();
    ensure!(
        counts.incomplete == listed,
        "{} counted, {listed} handed out: {}",
        counts.incomplete,
        answer.list()
    );
    ensure!(
        answer.has(&two),
        "the new port is not handed out: {}",
        answer.list()
    );
    remark(if listed == 1 { "replaced" } else { "a second peer" })
}

fn both_families(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let (four, six) = (p.client_of(Family::V4), p.client_of(Family::V6));
    let six = six.renamed(four.peer_id);
    for client in [&four, &six] {
        let request = p.announce_of(client, &hash).event("started").set("key", "AB12");
        p.announce(&request)?;
    }
    let counts = p.counts(&hash)?;
    let (see_four, see_six) = (p.client_of(Family::V4), p.client_of(Family::V6));
    let to_four = p.leech(&see_four, &hash)?;
    let to_six = p.leech(&see_six, &hash)?;
    remark(format!(
        "counted {}; an IPv4 client is given {} IPv4 and {} IPv6 endpoints, an IPv6 client {} and {}",
        counts.incomplete,
        to_four.peers.len(),
        to_four.peers6.len(),
        to_six.peers.len(),
        to_six.peers6.len()
    ))
}

fn started_twice(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    p.leech(&client, &hash)?;
    p.leech(&client, &hash)?;
    p.expect_counts(&hash, 0, 1)?;
    pass()
}

fn becomes_seeder(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    p.leech(&client, &hash)?;
    p.expect_counts(&hash, 0, 1)?;
    let request = p.announce_of(&client, &hash).seeding();
    p.announce(&request)?;
    p.expect_counts(&hash, 1, 0)?;
    pass()
}

fn completed_in_turns(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let started = p.announce_of(&client, &hash).left("5").event("started");
    let completed = p.announce_of(&client, &hash).seeding().event("completed");
    for time in 1..=3 {
        p.announce(&started)?;
        p.announce(&completed)?;
        let downloaded = p.counts(&hash)?.downloaded;
        ensure!(
            downloaded == Some(1),
            "`downloaded` is {downloaded:?} after {time}"
        );
    }
    pass()
}

fn becomes_leecher(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    p.seed(&client, &hash)?;
    p.expect_counts(&hash, 1, 0)?;
    let request = p.announce_of(&client, &hash);
    p.announce(&request)?;
    p.expect_counts(&hash, 0, 1)?;
    pass()
}

fn expires(p: &mut Probe<'_>) -> Finding {
    let Some(ttl) = p.told().peer_ttl else {
        return not_run("needs a target that forgets peers soon: say after how long with --peer-ttl");
    };
    let hash = p.hash();
    let crowd = p.crowd(&hash, 1, 2)?;
    p.expect_counts(&hash, 1, 2)?;
    p.wait(ttl + SWEEP);
    p.expect_counts(&hash, 0, 0)?;
    let answer = p.look(&hash)?;
    ensure!(
        !crowd.iter().any(|client| answer.has(client)),
        "an expired peer is handed out: {}",
        answer.list()
    );
    pass()
}

fn intervals(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let answer = p.look(&hash)?;
    ensure!(answer.interval > 0, "`interval` is {}", answer.interval);
    let min = answer
        .body
        .get("min interval")
        .map(|value| value.int().unwrap_or_default());
    if let Some(min) = min {
        ensure!(
            min > 0 && min <= answer.interval,
            "`min interval` is {min}, `interval` {}",
            answer.interval
        );
    }
    let listed = if (300..=10_800).contains(&answer.interval) {
        "within"
    } else {
        "outside"
    };
    let min = min.map_or_else(|| "absent".to_owned(), |min| min.to_string());
    remark(format!(
        "interval {}, min interval {min}; {listed} 300 to 10800 s",
        answer.interval
    ))
}

fn intervals_always(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let me = p.client();
    let request = p.announce_of(&me, &hash);
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        seen.insert(p.announce(&request)?.interval);
    }
    let (least, most) = (
        seen.first().copied().unwrap_or_default(),
        seen.last().copied().unwrap_or_default(),
    );
    ensure!(least > 0, "an `interval` of {least}");
    remark(format!("{least} to {most} s"))
}

fn tracker_id(p: &mut Probe<'_>) -> Finding {
    let (me, hash) = (p.client(), p.hash());
    let request = p.announce_of(&me, &hash).set("trackerid", "abc");
    let answer = p.announce(&request)?;
    let id = answer
        .body
        .get("tracker id")
        .and_then(crate::wire::bencode::Value::bytes);
    remark(id.map_or_else(
        || "none issued".to_owned(),
        |id| format!("`{}`", id.escape_ascii()),
    ))
}

/// The peers that a new client of either family is given, as far as a URL is there.
fn look_of(p: &mut Probe<'_>, hash: &Hash) -> Result<Vec<IpAddr>, Stop> {
    Ok(p.look(hash)?.all().map(|peer| peer.at.ip()).collect())
}

fn claimed_address(p: &mut Probe<'_>) -> Finding {
    if p.told().trusts_ip {
        return not_run("the target trusts the suite's address (--trusts-ip)");
    }
    for (key, value) in [
        ("ip", "203.0.113.9"),
        ("ipv4", "203.0.113.9"),
        ("ipv4", "203.0.113.9%3A99"),
        ("ipv6", "2001%3Adb8%3A%3A9"),
    ] {
        let (client, hash) = (p.client(), p.hash());
        let request = p.announce_of(&client, &hash).set(key, value);
        p.announce(&request)
            .map_err(|stop| within(stop, &format!("{key}={value}")))?;
        let answer = p.look(&hash)?;
        ensure!(
            !answer.all().any(|peer| is_claimed(&peer.at.ip())),
            "{key}={value} is handed out: {}",
            answer.list()
        );
        ensure!(
            answer.has(&client),
            "{key}={value}: the true endpoint is missing from {}",
            answer.list()
        );
    }
    pass()
}

fn is_claimed(ip: &IpAddr) -> bool {
    CLAIMED.iter().any(|claimed| claimed.parse() == Ok(*ip))
}

fn trusted_address(p: &mut Probe<'_>) -> Finding {
    if !p.told().trusts_ip {
        return not_run("needs a target that honours ip= of the suite's address: say so with --trusts-ip");
    }
    let (client, hash) = (p.client(), p.hash());
    let request = p.announce_of(&client, &hash).set("ip", "203.0.113.9");
    p.announce(&request)?;
    let honoured = look_of(p, &hash)?.iter().any(is_claimed);
    let name = p.announce_of(&client, &hash).set("ip", "localhost");
    let named = p.reply(&name)?.describe();
    remark(format!(
        "an address is {}; a name is answered with {named}",
        if honoured { "honoured" } else { "ignored" }
    ))
}

fn claimed_header(p: &mut Probe<'_>) -> Finding {
    if p.told().proxy_header.is_some() {
        return not_run("the target trusts the suite's address as a proxy (--proxy-header)");
    }
    for name in [
        "X-Forwarded-For",
        "X-Real-IP",
        "CF-Connecting-IP",
        "True-Client-IP",
        "Forwarded",
    ] {
        let (client, hash) = (p.client(), p.hash());
        let value = if name == "Forwarded" {
            "for=203.0.113.9"
        } else {
            "203.0.113.9"
        };
        let request = p.announce_of(&client, &hash).header(format!("{name}: {value}"));
        p.announce(&request).map_err(|stop| within(stop, name))?;
        let answer = p.look(&hash)?;
        ensure!(
            !answer.all().any(|peer| is_claimed(&peer.at.ip())),
            "{name} is believed: {}",
            answer.list()
        );
        // Beside such a header the only address of this host may be taken for a proxy's, and not be stored.
        ensure!(
            answer.has(&client) || !p.has_many_sources(),
            "{name}: the true endpoint is missing from {}",
            answer.list()
        );
    }
    pass()
}

/// Announces through the proxy: with each of the given header lines.
fn through_proxy(
    p: &mut Probe<'_>,
    client: &Client,
    hash: &Hash,
    values: &[&str],
) -> Result<Announced, Stop> {
    let name = p.told().proxy_header.clone().unwrap_or_default();
    let request = values.iter().fold(p.announce_of(client, hash), |request, value| {
        request.header(format!("{name}: {value}"))
    });
    p.announce(&request)
}

fn proxied(p: &mut Probe<'_>) -> Finding {
    if p.told().proxy_header.is_none() {
        return not_run(NEEDS_PROXY);
    }
    let cases: &[(&[&str], &str)] = &[
        (&["198.51.100.7"], "198.51.100.7"),
        (&["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        (&["203.0.113.9,198.51.100.7"], "198.51.100.7"),
        (&["203.0.113.9, 198.51.100.7, 127.0.0.1"], "198.51.100.7"),
        (&["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        (&["198.51.100.7:4711"], "198.51.100.7"),
        (&["2001:db8::7"], "2001:db8::7"),
        (&["[2001:db8::7]"], "2001:db8::7"),
        (&["[2001:db8::7]:4711"], "2001:db8::7"),
    ];
    for (values, wanted) in cases {
        let (client, hash) = (p.client(), p.hash());
        through_proxy(p, &client, &hash, values).map_err(|stop| within(stop, &format!("{values:?}")))?;
        let observer = if wanted.contains(':') {
            "2001:db8::99"
        } else {
            "198.51.100.99"
        };
        let me = p.client();
        let answer = through_proxy(p, &me, &hash, &[observer])?;
        let found = answer
            .all()
            .any(|peer| wanted.parse() == Ok(peer.at.ip()) && peer.at.port() == client.port);
        ensure!(
            found,
            "{values:?} should be {wanted}, but {} is handed out",
            answer.list()
        );
    }
    pass()
}

fn proxied_badly(p: &mut Probe<'_>) -> Finding {
    let Some(name) = p.told().proxy_header.clone() else {
        return not_run(NEEDS_PROXY);
    };
    for value in [
        None,
        Some(""),
        Some("unknown"),
        Some("zz::junk"),
        Some("198.51.100.7.1"),
    ] {
        let (client, hash) = (p.client(), p.hash());
        let request = p.announce_of(&client, &hash);
        let request = match value {
            Some(value) => request.header(format!("{name}: {value}")),
            None => request,
        };
        p.refused(&request)
            .map_err(|stop| within(stop, &format!("header {value:?}")))?;
        let me = p.client();
        let answer = through_proxy(p, &me, &hash, &["198.51.100.99"])?;
        ensure!(
            answer.len() == 0,
            "header {value:?}: {} is handed out",
            answer.list()
        );
    }
    pass()
}

const NEEDS_PROXY: &str =
    "needs a target that trusts the suite's address as a proxy: name its header with --proxy-header";
/// Addresses that the suite claims and never has.
const CLAIMED: &[&str] = &["203.0.113.9", "2001:db8::9"];
/// Beyond its time to live, what a sweep of expired peers may take.
const SWEEP: Duration = Duration::from_secs(65);
