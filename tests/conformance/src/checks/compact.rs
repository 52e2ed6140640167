//! C: compact peer lists, and the dictionaries they replace.

use super::{announce::within, announce_fields::dictionaries};
use crate::{
    check::{
        Check, Finding, HTTP, HTTP6,
        Level::{DeFacto as S, Normative as M},
        check, ensure, not_offered, pass, remark,
    },
    probe::{Announced, Client, Hash, Probe},
    target::Family,
    wire::bencode::Value,
};
use std::net::IpAddr;

pub(super) const CHECKS: &[Check] = &[
    check(
        "C-01",
        M,
        BEP23,
        "compact=1: `peers` is a byte string or a list",
        "The parameter is advisory, the two forms are all there are.",
        HTTP,
        either_form,
    ),
    check(
        "C-02",
        M,
        BEP23,
        "the string form: six bytes a peer, address and port in network order",
        "Swapped bytes send clients to strangers.",
        HTTP,
        string_form,
    ),
    check(
        "C-03",
        M,
        BEP23,
        "compact=0 is answered with peers, in either form",
        "Clients that cannot read the compact form must not be left without.",
        HTTP,
        without_compact,
    ),
    check(
        "C-04",
        S,
        BEP23,
        "compact absent: the string form (SUGGESTED)",
        "Dictionaries cost ten times the bytes.",
        HTTP,
        by_default,
    ),
    check(
        "C-05",
        M,
        BEP3,
        "the list form: dictionaries of `ip` (text), `port` (integer), `peer id` (20 bytes)",
        "BEP 3 gives the form, and old clients know no other.",
        HTTP,
        list_form,
    ),
    check(
        "C-06",
        S,
        BEP23,
        "compact=0 and no_peer_id=1: no `peer id`, the rest as it is",
        "It halves the answer for those who do not need it.",
        HTTP,
        no_peer_id,
    ),
    check(
        "C-07",
        S,
        BEP23,
        "compact=1 and no_peer_id=1: no effect",
        "Most clients send both always.",
        HTTP,
        no_peer_id_compact,
    ),
    check(
        "C-08",
        S,
        BEP23,
        "compact=2, abc or empty: answered",
        "The parameter is advisory.",
        HTTP,
        odd_values,
    ),
    check(
        "C-09",
        S,
        "RFC 5952",
        "compact=0 over IPv6: `ip` in the canonical text form, without brackets or zone",
        "Clients feed it to an address parser.",
        HTTP6,
        canonical_v6,
    ),
    check(
        "C-10",
        M,
        BEP3,
        "in a peer's dictionary `ip` < `peer id` < `port`",
        "They are dictionaries like any other: sorted.",
        HTTP,
        peer_keys,
    ),
];

const BEP3: &str = "BEP 3, tracker HTTP protocol";
const BEP23: &str = "BEP 23";

/// A seeder and a leecher are there; a third asks.
fn ask(p: &mut Probe<'_>, bend: &[(&str, &str)]) -> Result<(Vec<Client>, Announced), crate::check::Stop> {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 1, 1)?;
    let me = p.client();
    let request = p.announce_of(&me, &hash).without("compact").numwant("50");
    let request = bend
        .iter()
        .fold(request, |request, (key, value)| request.set(key, value));
    let answer = p.announce(&request)?;
    Ok((crowd, answer))
}

fn is_string(answer: &Announced) -> bool {
    let list = answer.body.get("peers6").or_else(|| answer.body.get("peers"));
    list.is_some_and(|list| list.bytes().is_some())
}

fn either_form(p: &mut Probe<'_>) -> Finding {
    let (crowd, answer) = ask(p, &[("compact", "1")])?;
    ensure!(
        crowd.iter().all(|client| answer.has(client)),
        "peers are missing from {}",
        answer.list()
    );
    remark(if is_string(&answer) { "a string" } else { "a list" })
}

fn string_form(p: &mut Probe<'_>) -> Finding {
    let (mut one, me, hash) = (p.client(), p.client(), p.hash());
    one.port = 0x1A2B;
    p.leech(&one, &hash)?;
    let answer = p.leech(&me, &hash)?;
    if !is_string(&answer) {
        return not_offered("compact=1 is answered with a list, as it may be");
    }
    ensure!(
        answer.len() == 1,
        "{} peers, there is one: {}",
        answer.len(),
        answer.list()
    );
    ensure!(
        answer.has(&one),
        "port {} at {:?} became {}",
        one.port,
        one.source,
        answer.list()
    );
    pass()
}

fn without_compact(p: &mut Probe<'_>) -> Finding {
    let (crowd, answer) = ask(p, &[("compact", "0")])?;
    ensure!(
        crowd.iter().all(|client| answer.has(client)),
        "peers are missing from {}",
        answer.list()
    );
    remark(if is_string(&answer) { "a string" } else { "a list" })
}

fn by_default(p: &mut Probe<'_>) -> Finding {
    let (_, answer) = ask(p, &[])?;
    ensure!(is_string(&answer), "a list without compact=0");
    pass()
}

/// One peer is there; another asks for dictionaries.
fn ask_dicts(p: &mut Probe<'_>, extra: &[(&str, &str)]) -> Result<(Client, Announced), crate::check::Stop> {
    let (one, me, hash) = (p.client(), p.client(), p.hash());
    p.leech(&one, &hash)?;
    let request = p.announce_of(&me, &hash).set("compact", "0");
    let request = extra
        .iter()
        .fold(request, |request, (key, value)| request.set(key, value));
    let answer = dictionaries(p, &request)?;
    Ok((one, answer))
}

fn list_form(p: &mut Probe<'_>) -> Finding {
    let (one, answer) = ask_dicts(p, &[])?;
    ensure!(answer.has(&one), "the peer is missing from {}", answer.list());
    for peer in answer.all() {
        let id = peer.id.as_ref();
        ensure!(
            id.is_none_or(|id| id.len() == 20),
            "a `peer id` of {} bytes",
            id.map_or(0, Vec::len)
        );
    }
    let id = answer.all().next().and_then(|peer| peer.id.clone());
    match id {
        Some(id) if id == one.peer_id => pass(),
        Some(id) => Err(crate::check::Stop::Failed(format!(
            "`peer id` is `{}`",
            id.escape_ascii()
        ))),
        None => Err(crate::check::Stop::failed(
            "no `peer id`, though it was not declined",
        )),
    }
}

fn no_peer_id(p: &mut Probe<'_>) -> Finding {
    let (one, answer) = ask_dicts(p, &[("no_peer_id", "1")])?;
    ensure!(answer.has(&one), "the peer is missing from {}", answer.list());
    ensure!(answer.all().all(|peer| peer.id.is_none()), "`peer id` is there");
    pass()
}

fn no_peer_id_compact(p: &mut Probe<'_>) -> Finding {
    let (crowd, answer) = ask(p, &[("compact", "1"), ("no_peer_id", "1")])?;
    ensure!(
        crowd.iter().all(|client| answer.has(client)),
        "peers are missing from {}",
        answer.list()
    );
    pass()
}

fn odd_values(p: &mut Probe<'_>) -> Finding {
    for value in ["2", "abc", ""] {
        let (crowd, answer) =
            ask(p, &[("compact", value)]).map_err(|stop| within(stop, &format!("compact={value}")))?;
        ensure!(
            crowd.iter().all(|client| answer.has(client)),
            "compact={value}: peers are missing from {}",
            answer.list()
        );
    }
    pass()
}

fn canonical_v6(p: &mut Probe<'_>) -> Finding {
    let (one, me, hash): (Client, Client, Hash) =
        (p.client_of(Family::V6), p.client_of(Family::V6), p.hash());
    p.leech(&one, &hash)?;
    let request = p.announce_of(&me, &hash).set("compact", "0");
    let answer = dictionaries(p, &request)?;
    for peer in answer.all() {
        let text = peer.text.as_deref().unwrap_or_default();
        let canonical = match peer.at.ip() {
            IpAddr::V6(ip) => ip.to_string(),
            IpAddr::V4(ip) => ip.to_string(),
        };
        ensure!(text == canonical, "`ip` is `{text}`, canonical is `{canonical}`");
    }
    ensure!(answer.has(&one), "the peer is missing from {}", answer.list());
    pass()
}

fn peer_keys(p: &mut Probe<'_>) -> Finding {
    let (_, answer) = ask_dicts(p, &[])?;
    for peer in answer.all() {
        let keys = peer.keys.join(&b' ');
        ensure!(
            peer.keys.is_sorted(),
            "the keys come as `{}`",
            keys.escape_ascii()
        );
    }
    let list = answer.body.get("peers").and_then(Value::list).is_some();
    remark(if list { "under `peers`" } else { "under `peers6`" })
}
