//! Q: percent-coding and the forms that URLs take.

use super::announce::{stored, within};
use crate::{
    check::{
        Check, Finding, HTTP,
        Level::{DeFacto as S, Normative as M, Policy as P},
        Stop, check, ensure, pass, remark,
    },
    probe::{Client, Counts, Hash, Probe, Reply, Request},
    wire::http::{percent, percent_all},
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "Q-01",
        M,
        RFC3986,
        "%AB and %ab are the same byte",
        "Clients use either case.",
        HTTP,
        hex_case,
    ),
    check(
        "Q-02",
        M,
        RFC3986,
        "unreserved characters mean the same literal and encoded",
        "Some clients encode every byte, some only what they must.",
        HTTP,
        unreserved,
    ),
    check(
        "Q-03",
        S,
        RFC3986,
        "a literal `-` in a hash is that byte",
        LITERAL,
        HTTP,
        |p| literal(p, b'-'),
    ),
    check(
        "Q-04",
        S,
        RFC3986,
        "a literal `_` in a hash is that byte",
        LITERAL,
        HTTP,
        |p| literal(p, b'_'),
    ),
    check(
        "Q-05",
        S,
        RFC3986,
        "a literal `.` in a hash is that byte",
        LITERAL,
        HTTP,
        |p| literal(p, b'.'),
    ),
    check(
        "Q-06",
        S,
        RFC3986,
        "a literal `~` in a hash is that byte",
        LITERAL,
        HTTP,
        |p| literal(p, b'~'),
    ),
    check(
        "Q-07",
        S,
        RFC3986,
        "a literal `!` in a hash is that byte",
        LITERAL,
        HTTP,
        |p| literal(p, b'!'),
    ),
    check(
        "Q-08",
        S,
        RFC3986,
        "a literal `*` in a hash is that byte",
        LITERAL,
        HTTP,
        |p| literal(p, b'*'),
    ),
    check(
        "Q-09",
        S,
        RFC3986,
        "a literal `'` in a hash is that byte",
        LITERAL,
        HTTP,
        |p| literal(p, b'\''),
    ),
    check(
        "Q-10",
        S,
        RFC3986,
        "literal parentheses in a hash are those bytes",
        LITERAL,
        HTTP,
        parentheses,
    ),
    check(
        "Q-11",
        S,
        "HTML forms, de facto",
        "a `+` in a hash or peer_id is a space, in announces and scrapes; %2B is byte 0x2B",
        "`requests`, `urlencode`, `URLEncoder` and checkers send spaces so; who means 0x2B writes %2B.",
        HTTP,
        plus,
    ),
    check(
        "Q-12",
        S,
        RFC3986,
        "literal `/ : @ , $` in a hash are those bytes (recorded: `;`)",
        "All are allowed in a query as they are.",
        HTTP,
        reserved,
    ),
    check(
        "Q-13",
        S,
        RFC3986,
        "a literal `=` in a hash is that byte",
        "Only the first `=` of a parameter separates.",
        HTTP,
        |p| literal(p, b'='),
    ),
    check(
        "Q-14",
        S,
        RFC3986,
        "`%zz`, `%4` and a `%` at the end: a `failure reason`",
        "A hash read out of a broken escape is a garbage swarm.",
        HTTP,
        broken_escapes,
    ),
    check(
        "Q-15",
        M,
        RFC3986,
        "%00 anywhere in hash or peer_id is byte 0",
        "A C string ends there, a hash does not.",
        HTTP,
        zero_bytes,
    ),
    check(
        "Q-16",
        S,
        FIELD,
        "raw bytes from 0x80 up: those bytes, or a failure",
        "Some clients forget to encode.",
        HTTP,
        raw_bytes,
    ),
    check(
        "Q-17",
        S,
        RFC3986,
        "a hash encoded twice is not decoded twice",
        "Decoding twice changes hashes that contain a `%`.",
        HTTP,
        double_encoded,
    ),
    check(
        "Q-18",
        S,
        FIELD,
        "an encoded name (`info%5Fhash`) is answered (recorded: how)",
        "Names are ASCII, and nobody encodes them but URL libraries.",
        HTTP,
        encoded_name,
    ),
    check(
        "Q-19",
        S,
        FIELD,
        "/announce/, //announce, /announce.php, /announce/KEY, /KEY/announce, /x/announce: answered (recorded: how)",
        "Real torrents name all of them. Whether they announce is the operator's choice; silence is none.",
        HTTP,
        other_paths,
    ),
    check(
        "Q-20",
        P,
        FIELD,
        "`/announce /?info_hash=`: recorded",
        "Some old clients put the space there.",
        HTTP,
        stray_space,
    ),
    check(
        "Q-21",
        M,
        BEP3,
        "an announce URL that has a query already works",
        "Private trackers put the passkey there.",
        HTTP,
        existing_query,
    ),
    check(
        "Q-22",
        S,
        "RFC 9112, 3.2.2",
        "an absolute-form target is served",
        "Clients behind a proxy send it, and servers must accept it.",
        HTTP,
        absolute_form,
    ),
];

const RFC3986: &str = "RFC 3986 through BEP 3";
const BEP3: &str = "BEP 3, tracker HTTP protocol";
const FIELD: &str = "de facto";
const LITERAL: &str = "Many clients leave it as it is, and their swarm must not be another one.";

/// A hash written in one way must be the swarm that the same hash, all encoded, names.
fn same_swarm(p: &mut Probe<'_>, hash: &Hash, written: &[u8]) -> Result<(), Stop> {
    let client = p.client();
    let request = p
        .announce_of(&client, hash)
        .event("started")
        .set("info_hash", written);
    p.announce(&request)?;
    let me = p.client();
    let request = p
        .announce_of(&me, hash)
        .event("started")
        .set("info_hash", percent_all(hash));
    let answer = p.announce(&request)?;
    ensure!(
        answer.has(&client),
        "`info_hash={}` is another swarm: {}",
        written.escape_ascii(),
        answer.list()
    );
    Ok(())
}

fn hex_case(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash().map(|byte| byte | 0xA0);
    same_swarm(p, &hash, percent_all(&hash).to_ascii_lowercase().as_bytes())?;
    pass()
}

fn unreserved(p: &mut Probe<'_>) -> Finding {
    let mut hash = *b"AZaz09-_.~..........";
    hash[10..].copy_from_slice(
        &p.twenty()[..10]
            .iter()
            .map(|byte| b'a' + byte % 26)
            .collect::<Vec<u8>>(),
    );
    same_swarm(p, &hash, &hash)?;
    pass()
}

fn literal(p: &mut Probe<'_>, byte: u8) -> Finding {
    try_literal(p, byte)?;
    pass()
}

/// Both ends and the middle of a hash hold the literal byte.
fn try_literal(p: &mut Probe<'_>, byte: u8) -> Result<(), Stop> {
    let mut hash = p.hash();
    let mut written = Vec::new();
    for place in [0, 9, 10, 19] {
        hash[place] = byte;
    }
    for (place, value) in hash.iter().enumerate() {
        match place {
            0 | 9 | 10 | 19 => written.push(byte),
            _ => written.extend(percent(&[*value]).bytes()),
        }
    }
    same_swarm(p, &hash, &written)
}

fn plus(p: &mut Probe<'_>) -> Finding {
    let mut hash = p.hash();
    for (place, byte) in [(0, b' '), (9, b'+'), (10, b' '), (19, b' ')] {
        hash[place] = byte;
    }
    let spelled = |bytes: &[u8]| percent_all(bytes).replace("%20", "+");
    same_swarm(p, &hash, spelled(&hash).as_bytes())?;
    match scrape_spelled(p, &hash, &spelled(&hash)) {
        Ok(counts) => ensure!(
            counts.is_some_and(|counts| counts.incomplete > 0),
            "a scrape takes `+` for another byte than an announce does"
        ),
        Err(Stop::NotOffered(_)) => {}
        Err(other) => return Err(other),
    }
    let (client, hash) = (p.client(), p.hash());
    let mut id = client.peer_id;
    (id[18], id[19]) = (b' ', b'+');
    let request = p.announce_of(&client, &hash).event("started");
    p.announce(&request.set("peer_id", spelled(&id)))?;
    let me = p.client();
    let request = p.announce_of(&me, &hash).set("compact", "0");
    let answer = p.announce(&request)?;
    for peer in answer.all() {
        if let Some(found) = &peer.id {
            ensure!(*found == id, "the peer id is `{}`", found.escape_ascii());
        }
    }
    pass()
}

fn scrape_spelled(p: &mut Probe<'_>, hash: &Hash, written: &str) -> Result<Option<Counts>, Stop> {
    let scrape = p.scrape_of(&[])?.piece(format!("info_hash={written}"));
    let counts = p.scrape_with(&scrape, &[*hash])?;
    Ok(counts.into_iter().next().flatten())
}

fn parentheses(p: &mut Probe<'_>) -> Finding {
    try_literal(p, b'(')?;
    try_literal(p, b')')?;
    pass()
}

fn reserved(p: &mut Probe<'_>) -> Finding {
    for byte in *b"/:@,$" {
        try_literal(p, byte).map_err(|stop| within(stop, &char::from(byte).to_string()))?;
    }
    match try_literal(p, b';') {
        Ok(()) => remark("`;` is that byte"),
        Err(Stop::Failed(_)) => remark("`;` is not that byte"),
        Err(other) => Err(other),
    }
}

fn broken_escapes(p: &mut Probe<'_>) -> Finding {
    for (whole, broken) in [(19, "%zz"), (19, "%4"), (19, "%"), (17, "%zz"), (18, "%4")] {
        let (client, hash) = (p.client(), p.hash());
        let written = format!("{}{broken}", percent_all(&hash[..whole]));
        let request = p
            .announce_of(&client, &hash)
            .without("info_hash")
            .piece(format!("info_hash={written}"));
        p.refused(&request).map_err(|stop| within(stop, &written))?;
    }
    pass()
}

fn zero_bytes(p: &mut Probe<'_>) -> Finding {
    for place in [0, 7, 19] {
        let mut hash = p.hash();
        hash[place] = 0;
        let mut twin = hash;
        twin[if place == 19 { 18 } else { 19 }] ^= 1;
        let mut client = p.client();
        client.peer_id[place] = 0;
        let request = p.announce_of(&client, &hash);
        stored(p, &request, &client, &hash)?;
        let others = p.look(&twin)?;
        ensure!(
            others.len() == 0,
            "two hashes that differ after the zero byte are one swarm"
        );
    }
    pass()
}

fn raw_bytes(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash().map(|byte| byte | 0x80);
    let client = p.client();
    let request = p.announce_of(&client, &hash).set("info_hash", hash);
    let outcome = match p.reply(&request) {
        Ok(Reply::Success(_)) => {
            ensure!(p.look(&hash)?.has(&client), "accepted, but as another hash");
            "those bytes"
        }
        Ok(Reply::Failure { .. }) => "refused",
        Ok(Reply::Other(answer)) if answer.status / 100 == 4 => "refused by HTTP status",
        Ok(other @ Reply::Other(_)) => {
            return Err(Stop::Failed(format!("answered with {}", other.describe())));
        }
        Err(stop) => return Err(stop),
    };
    p.alive()?;
    remark(outcome)
}

fn double_encoded(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let request = p
        .announce_of(&client, &hash)
        .set("info_hash", percent_all(&hash).replace('%', "%25"));
    let reply = p.reply(&request)?;
    ensure!(!reply.is_success(), "a value of 60 bytes is accepted");
    p.alive()?;
    pass()
}

fn encoded_name(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let request = p
        .announce_of(&client, &hash)
        .without("info_hash")
        .first(&format!("info%5Fhash={}", percent(&hash)));
    answered(p, &request)
}

/// Any HTTP answer will do; which one is recorded.
fn answered(p: &mut Probe<'_>, request: &Request) -> Finding {
    let reply = p.reply(request)?;
    remark(match reply {
        Reply::Success(_) => "served".to_owned(),
        other => format!("not served: {}", other.describe()),
    })
}

fn other_paths(p: &mut Probe<'_>) -> Finding {
    let mut seen = Vec::new();
    for path in [
        "/announce/",
        "//announce",
        "/announce.php",
        "/announce/KEY",
        "/KEY/announce",
        "/x/announce",
    ] {
        let (client, hash) = (p.client(), p.hash());
        let target = path.replace("KEY", "0123456789abcdef0123456789abcdef");
        let request = p.announce_of(&client, &hash).path(&target);
        let found = answered(p, &request).map_err(|stop| within(stop, path))?;
        seen.push(format!("{path} {}", found.unwrap_or_default()));
    }
    remark(seen.join("; "))
}

fn stray_space(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let request = p.announce_of(&client, &hash);
    let path = format!("{} /", request.path);
    answered(p, &request.path(&path))
}

fn existing_query(p: &mut Probe<'_>) -> Finding {
    let (client, hash): (Client, Hash) = (p.client(), p.hash());
    let request = p
        .announce_of(&client, &hash)
        .first("passthrough=0123456789abcdef");
    stored(p, &request, &client, &hash)?;
    pass()
}

fn absolute_form(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let request = p.announce_of(&client, &hash).event("started");
    let host = p.endpoint(client.family).host.clone();
    let target = [format!("http://{host}").as_bytes(), &request.target()].concat();
    let bytes = request.bytes_of(&target);
    let answer = p.exchange(&request, &bytes)?;
    let reply = p.understand(&bytes, answer);
    ensure!(reply.is_success(), "answered with {}", reply.describe());
    ensure!(p.look(&hash)?.has(&client), "the peer is not handed out");
    pass()
}
