//! each field of an announce, missing, malformed, and at its bounds.

use super::announce::{stored, within};
use crate::{
    check::{
        Check, Finding, HTTP,
        Level::{DeFacto as S, Hardening as H, Normative as M},
        Stop, check, ensure, not_offered, pass, remark,
    },
    probe::{Announced, Client, Hash, Probe, Request},
    wire::http::percent,
};
use std::collections::BTreeSet;

pub(super) const CHECKS: &[Check] = &[
    check(
        "A-23",
        M,
        BEP3,
        "no info_hash: status 200 and a `failure reason`",
        "Clients show the reason to their user, but only out of a 200.",
        HTTP,
        no_hash,
    ),
    check(
        "A-24",
        S,
        BEP3,
        "no peer_id: a `failure reason`",
        "BEP 3 makes it a parameter of every request.",
        HTTP,
        no_peer_id,
    ),
    check(
        "A-25",
        S,
        BEP3,
        "no port: a `failure reason`, and no peer is stored",
        "A peer without a port cannot be reached by anyone.",
        HTTP,
        no_port,
    ),
    check(
        "A-26",
        S,
        FIELD,
        "no uploaded and downloaded: accepted",
        "Small clients leave out what no public tracker uses.",
        HTTP,
        no_transfer,
    ),
    check(
        "A-27",
        S,
        FIELD,
        "no left: accepted as a leecher",
        "A client that has only a magnet link does not know what is left.",
        HTTP,
        no_left,
    ),
    check(
        "A-28",
        M,
        BEP3,
        "an info_hash of 19 or 21 bytes: a `failure reason`",
        "Anything else makes a swarm that nobody else will ever find.",
        HTTP,
        hash_length,
    ),
    check(
        "A-29",
        S,
        FIELD,
        "an info_hash of 40 hex digits: a `failure reason`",
        "The commonest mistake of those who write a client needs an answer that says so.",
        HTTP,
        hex_hash,
    ),
    check(
        "A-30",
        S,
        BEP3,
        "a peer_id of 19 or 21 bytes: a `failure reason`",
        "BEP 3: a string of length 20.",
        HTTP,
        peer_id_length,
    ),
    check(
        "A-31",
        M,
        BEP3,
        "a peer_id of any bytes comes back byte for byte (compact=0)",
        "Clients compare it with the handshake and drop a peer whose id differs.",
        HTTP,
        peer_id_bytes,
    ),
    check(
        "A-32",
        S,
        FIELD,
        "port 0 and 1: answered with peers, and not stored, counted or handed out",
        "Clients that cannot be reached announce them, libtorrent port 1: they need peers, and nobody can connect to them.",
        HTTP,
        port_zero,
    ),
    check(
        "A-33",
        S,
        BEP3,
        "port=65535: accepted",
        "It is a port like any other.",
        HTTP,
        port_highest,
    ),
    check(
        "A-34",
        S,
        FIELD,
        "a port of 65536, 65537, -1, abc, nothing, 080, +80, ` 80`: refused, never wrapped",
        "A wrapped port sends the swarm to someone else's service.",
        HTTP,
        port_malformed,
    ),
    check(
        "A-35",
        S,
        BEP3,
        "left of 2^32, 2^63-1, 2^64-1: a leecher",
        "An integer that wraps to 0 turns leechers into seeders.",
        HTTP,
        left_large,
    ),
    check(
        "A-36",
        S,
        FIELD,
        "left=-1, left=abc: a leecher or a failure, never a seeder",
        "A false seeder misleads everyone who counts on it.",
        HTTP,
        left_malformed,
    ),
    check(
        "A-37",
        S,
        FIELD,
        "uploaded and downloaded of 20 digits, or negative: an answer",
        "Clients overflow their own counters.",
        HTTP,
        transfer_extreme,
    ),
    check(
        "A-38",
        S,
        BEP3,
        "numwant absent: some default, at most the tracker's cap",
        "BEP 3 names 50 as typical.",
        HTTP,
        numwant_absent,
    ),
    check(
        "A-39",
        S,
        BEP3,
        "numwant=k in a larger swarm: at most k peers",
        "A client that is full asks for few.",
        HTTP,
        numwant_small,
    ),
    check(
        "A-40",
        S,
        BEP3,
        "numwant=0: no peers, and the counts still right",
        "Seeders with enough peers ask so, to save everyone the bytes.",
        HTTP,
        numwant_zero,
    ),
    check(
        "A-41",
        S,
        FIELD,
        "numwant=-1, abc, 2^32, empty: the default or the cap, the announce not lost",
        "Some clients send -1, as they would over UDP.",
        HTTP,
        numwant_odd,
    ),
    check(
        "A-42",
        H,
        FIELD,
        "numwant=10^6 in a swarm of 1500: a cap holds, the body stays below 64 kB",
        "Without a cap one request makes the tracker send a whole swarm.",
        HTTP,
        numwant_huge,
    ),
    check(
        "A-43",
        S,
        FIELD,
        "in a swarm of 60 no endpoint is listed twice in one answer",
        "A duplicate takes the place of a peer.",
        HTTP,
        no_duplicates,
    ),
];

const BEP3: &str = "BEP 3, tracker HTTP protocol";
const FIELD: &str = "de facto";

/// A bent announce must be refused; returns the reason.
fn refuses(p: &mut Probe<'_>, bend: impl Fn(Request) -> Request) -> Result<(u16, String), Stop> {
    let (client, hash) = (p.client(), p.hash());
    let request = bend(p.announce_of(&client, &hash));
    p.refused(&request)
}

/// Refused, and nothing is stored.
fn refuses_and_forgets(p: &mut Probe<'_>, bend: impl Fn(Request) -> Request) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let request = bend(p.announce_of(&client, &hash));
    p.refused(&request)?;
    let others = p.look(&hash)?;
    ensure!(
        others.len() == 0,
        "a peer is handed out all the same: {}",
        others.list()
    );
    pass()
}

fn no_hash(p: &mut Probe<'_>) -> Finding {
    let (status, _) = refuses(p, |request| request.without("info_hash"))?;
    ensure!(status == 200, "the status is {status}");
    pass()
}

fn no_peer_id(p: &mut Probe<'_>) -> Finding {
    refuses(p, |request| request.without("peer_id"))?;
    pass()
}

fn no_port(p: &mut Probe<'_>) -> Finding {
    refuses_and_forgets(p, |request| request.without("port"))
}

fn no_transfer(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let request = p
        .announce_of(&client, &hash)
        .without("uploaded")
        .without("downloaded");
    stored(p, &request, &client, &hash)?;
    pass()
}

fn no_left(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let request = p.announce_of(&client, &hash).without("left");
    p.announce(&request)?;
    p.expect_counts(&hash, 0, 1)?;
    pass()
}

fn hash_length(p: &mut Probe<'_>) -> Finding {
    let bytes = p.twenty();
    let long = [bytes.as_slice(), b"x"].concat();
    for value in [&bytes[..19], &long] {
        let value = percent(value);
        refuses(p, |request| request.set("info_hash", &value)).map_err(|stop| within(stop, &value))?;
    }
    pass()
}

fn hex_hash(p: &mut Probe<'_>) -> Finding {
    let hex: String = p.twenty().iter().map(|byte| format!("{byte:02x}")).collect();
    let (_, reason) = refuses(p, |request| request.set("info_hash", &hex))?;
    remark(format!("`{reason}`"))
}

fn peer_id_length(p: &mut Probe<'_>) -> Finding {
    for value in ["-CT0100-abcdefghijk", "-CT0100-abcdefghijklm"] {
        refuses(p, |request| request.set("peer_id", value)).map_err(|stop| within(stop, value))?;
    }
    pass()
}

/// An announce with compact=0 that gives dictionaries, or the reason why that cannot be judged.
pub(super) fn dictionaries(p: &mut Probe<'_>, request: &Request) -> Result<Announced, Stop> {
    match p.announce(request) {
        Ok(answer) if answer.all().any(|peer| peer.text.is_some()) => Ok(answer),
        Ok(answer) if answer.len() > 0 => not_offered("compact=0 is answered in compact form, as it may be"),
        Ok(answer) => Err(Stop::Failed(format!("no peers in the answer: {}", answer.list()))),
        Err(Stop::Failed(_)) => {
            p.alive()?;
            not_offered("compact=0 is not answered with peers (see C-03)")
        }
        Err(other) => Err(other),
    }
}

fn peer_id_bytes(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let all: Vec<u8> = (0..=255).chain(0..4).collect();
    let crowd = p.clients(13);
    let crowd: Vec<Client> = crowd
        .iter()
        .zip(all.chunks(20))
        .map(|(client, id)| client.renamed(id.try_into().unwrap_or_default()))
        .collect();
    for client in &crowd {
        p.leech(client, &hash)?;
    }
    let me = p.client();
    let request = p.announce_of(&me, &hash).set("compact", "0").numwant("50");
    let answer = dictionaries(p, &request)?;
    let given: Vec<&Vec<u8>> = answer.all().filter_map(|peer| peer.id.as_ref()).collect();
    if given.is_empty() {
        return not_offered("dictionaries without `peer id`");
    }
    for client in &crowd {
        let found = given.iter().any(|id| id.as_slice() == client.peer_id);
        ensure!(
            found,
            "peer_id `{}` did not come back as it was",
            client.peer_id.escape_ascii()
        );
    }
    pass()
}

fn port_zero(p: &mut Probe<'_>) -> Finding {
    for port in [0, 1] {
        let (there, hash) = (p.client(), p.hash());
        p.leech(&there, &hash)?;
        let client = p.client().at_port(port);
        let request = p.announce_of(&client, &hash).seeding().event("completed");
        let answer = p
            .announce(&request)
            .map_err(|stop| within(stop, &format!("port={port}")))?;
        ensure!(
            answer.has(&there),
            "port={port}: the peers are {:?}",
            answer.list()
        );
        let counts = p.expect_counts(&hash, 0, 1)?;
        ensure!(
            counts.downloaded.unwrap_or(0) == 0,
            "port={port}: `downloaded` is {:?}",
            counts.downloaded
        );
        let seen = p.look(&hash)?;
        ensure!(!seen.has(&client), "port={port} is handed out: {}", seen.list());
    }
    pass()
}

fn port_highest(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client().at_port(65_535), p.hash());
    let request = p.announce_of(&client, &hash);
    stored(p, &request, &client, &hash)?;
    pass()
}

fn port_malformed(p: &mut Probe<'_>) -> Finding {
    let mut taken = Vec::new();
    for port in ["65536", "65537", "-1", "abc", "", "080", "%2B80", "%2080"] {
        let (client, hash) = (p.client(), p.hash());
        let request = p.announce_of(&client, &hash).set("port", port);
        let reply = p
            .reply(&request)
            .map_err(|stop| within(stop, &format!("port={port}")))?;
        if reply.is_success() {
            taken.push(format!("`{port}` (handed out as {})", p.look(&hash)?.list()));
        }
    }
    ensure!(taken.is_empty(), "accepted: {}", taken.join(", "));
    p.alive()?;
    pass()
}

fn left_large(p: &mut Probe<'_>) -> Finding {
    let mut wrong = Vec::new();
    for left in ["4294967296", "9223372036854775807", "18446744073709551615"] {
        let (client, hash) = (p.client(), p.hash());
        let request = p.announce_of(&client, &hash).left(left);
        p.announce(&request).map_err(|stop| within(stop, left))?;
        let counts = p.counts(&hash)?;
        if (counts.complete, counts.incomplete) != (0, 1) {
            wrong.push(format!(
                "left={left} is counted as {} seeders and {} leechers",
                counts.complete, counts.incomplete
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    pass()
}

fn left_malformed(p: &mut Probe<'_>) -> Finding {
    for left in ["-1", "abc"] {
        let (client, hash) = (p.client(), p.hash());
        let request = p.announce_of(&client, &hash).left(left);
        p.reply(&request).map_err(|stop| within(stop, left))?;
        let counts = p.counts(&hash)?;
        ensure!(counts.complete == 0, "left={left} makes a seeder");
    }
    pass()
}

fn transfer_extreme(p: &mut Probe<'_>) -> Finding {
    for value in [
        "99999999999999999999",
        "18446744073709551615",
        "-1",
        "-99999999999999999999",
    ] {
        for key in ["uploaded", "downloaded"] {
            let (client, hash) = (p.client(), p.hash());
            let request = p.announce_of(&client, &hash).set(key, value);
            p.reply(&request)
                .map_err(|stop| within(stop, &format!("{key}={value}")))?;
        }
    }
    p.alive()?;
    pass()
}

/// A leecher that has begun asks with a numwant; `None` leaves it out.
fn ask(p: &mut Probe<'_>, me: &Client, hash: &Hash, numwant: Option<&str>) -> Result<Announced, Stop> {
    let request = p.announce_of(me, hash);
    let request = match numwant {
        Some(count) => request.numwant(count),
        None => request,
    };
    p.announce(&request)
}

fn numwant_absent(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 10, 110)?;
    let default = ask(p, &crowd[119], &hash, None)?.len();
    let cap = ask(p, &crowd[119], &hash, Some("1000"))?.len();
    ensure!(default > 0, "no peers by default");
    ensure!(
        default <= cap,
        "{default} peers by default, but {cap} at numwant=1000"
    );
    remark(format!("{default} by default, {cap} of 119 at numwant=1000"))
}

fn numwant_small(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 0, 30)?;
    for count in [1, 5, 20] {
        let got = ask(p, &crowd[0], &hash, Some(&count.to_string()))?.len();
        ensure!(got <= count, "{got} peers at numwant={count}");
        ensure!(
            got > 0 || count == 1,
            "no peers at numwant={count}, with 29 others there"
        );
    }
    pass()
}

fn numwant_zero(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 2, 3)?;
    let answer = ask(p, &crowd[4], &hash, Some("0"))?;
    ensure!(answer.len() == 0, "{} peers", answer.len());
    ensure!(
        answer.complete == Some(2),
        "`complete` is {:?}, there are 2 seeders",
        answer.complete
    );
    p.expect_counts(&hash, 2, 3)?;
    pass()
}

fn numwant_odd(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    p.crowd(&hash, 0, 10)?;
    let mut seen = Vec::new();
    for count in ["-1", "abc", "4294967296", ""] {
        let me = p.client();
        let answer =
            ask(p, &me, &hash, Some(count)).map_err(|stop| within(stop, &format!("numwant={count}")))?;
        ensure!(answer.len() > 0, "numwant={count}: no peers");
        ensure!(p.look(&hash)?.has(&me), "numwant={count}: the announce is lost");
        seen.push(format!("numwant={count}: {} peers", answer.len()));
    }
    remark(seen.join(", "))
}

fn numwant_huge(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 0, 1500)?;
    let answer = ask(p, &crowd[0], &hash, Some("1000000"))?;
    let bytes = answer.len() * 6;
    ensure!(answer.len() > 0, "no peers at all");
    ensure!(answer.len() < 1499, "all {} peers in one answer", answer.len());
    ensure!(bytes <= 64_000, "{bytes} bytes of peers");
    remark(format!("{} peers", answer.len()))
}

fn no_duplicates(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 5, 55)?;
    for me in crowd.iter().rev().take(10) {
        let answer = ask(p, me, &hash, Some("60"))?;
        ensure!(answer.len() > 0, "no peers at all");
        let different: BTreeSet<_> = answer.all().map(|peer| peer.at).collect();
        ensure!(
            different.len() == answer.len(),
            "{} peers, only {} endpoints",
            answer.len(),
            different.len()
        );
    }
    pass()
}
