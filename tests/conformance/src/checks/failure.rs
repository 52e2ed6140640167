//! E: failures and when to try again; F: the address that the tracker saw.

use super::announce::within;
use super::told::{NEEDS_DENIED, over_the_limit};
use crate::{
    check::{
        Check, Finding, HTTP, HTTP4, HTTP6,
        Level::{DeFacto as S, Normative as M, Policy as P},
        SOURCES, Stop, check, ensure, not_offered, not_run, pass, remark,
    },
    probe::{Client, Probe, Reply, Request},
    target::Family,
    wire::bencode::Value,
};
use std::net::IpAddr;

pub(super) const FAILURE: &[Check] = &[
    check(
        "E-01",
        M,
        BEP3,
        "a refused announce has a readable `failure reason`",
        "It is the only word that reaches the user.",
        HTTP,
        readable,
    ),
    check(
        "E-02",
        S,
        FIELD,
        "the reason is printable, at most 255 bytes, and no echo of the request",
        "An echo carries passkeys into screenshots and markup into pages.",
        HTTP,
        no_echo,
    ),
    check(
        "E-03",
        M,
        BEP31,
        "`retry in`, wherever it is sent: a positive number of minutes or `never`, and only beside a failure",
        "Clients that misread it never come back, or never stop.",
        HTTP,
        retry,
    ),
    check(
        "E-04",
        S,
        BEP31,
        "a refused hash: `failure reason` and `retry in` never",
        "Asking again will not help.",
        HTTP,
        denied,
    ),
    check(
        "E-05",
        P,
        BEP31,
        "over the rate limit: a failure and `retry in`, recorded",
        "A client told when to come back does not hammer.",
        HTTP,
        limited,
    ),
    check(
        "E-06",
        S,
        BEP3,
        "`warning message`, wherever it is sent: a string, in an answer otherwise whole",
        "A warning is not a failure.",
        HTTP,
        warning,
    ),
    check(
        "E-07",
        P,
        BEP31,
        "`retry in` as integer or as string: recorded",
        "The BEP's text says integer, its example shows a string.",
        HTTP,
        retry_form,
    ),
    check(
        "E-08",
        S,
        FIELD,
        "`interval` and `min interval` beside a failure, wherever they are sent: 0 < `min interval` <= `interval`",
        "libtorrent, rtorrent and Transmission come back after these, and heed no `retry in`.",
        HTTP,
        intervals,
    ),
];

pub(super) const EXTERNAL_IP: &[Check] = &[
    check(
        "F-01",
        M,
        BEP24,
        "`external ip` over IPv4: the four bytes of the source address",
        "Clients behind a NAT learn their address from it.",
        HTTP4,
        external_v4,
    ),
    check(
        "F-02",
        M,
        BEP24,
        "`external ip` over IPv6: sixteen bytes",
        "The length tells the family.",
        HTTP6,
        external_v6,
    ),
    check(
        "F-03",
        S,
        BEP24,
        "`external ip` behind a trusted proxy: the client's, not the proxy's",
        "The proxy's address is of no use to the client.",
        HTTP4,
        external_proxied,
    ),
    check(
        "F-04",
        S,
        BEP24,
        "`external ip` of IPv4 sources through any socket: four bytes, not a mapped sixteen",
        "A mapped address looks like IPv6.",
        HTTP4.and(SOURCES),
        external_mapped,
    ),
];

const BEP3: &str = "BEP 3, tracker HTTP protocol";
const BEP24: &str = "BEP 24";
const BEP31: &str = "BEP 31";
const FIELD: &str = "de facto";

/// Announces that any tracker must refuse.
fn refusals(p: &mut Probe<'_>) -> Vec<Request> {
    let (client, hash) = (p.client(), p.hash());
    let plain = p.announce_of(&client, &hash);
    vec![
        plain.clone().without("info_hash"),
        plain.clone().set("info_hash", MARK),
        plain.set("port", MARK),
    ]
}

/// The reasons of those that were refused in bencode; at least one must be.
fn reasons(p: &mut Probe<'_>, extra: Option<&str>) -> Result<Vec<Vec<u8>>, Stop> {
    let mut reasons = Vec::new();
    let mut last = None;
    for request in refusals(p) {
        let request = match extra {
            Some(extra) => request.piece(extra).header(format!("X-Mark: {MARK}")),
            None => request,
        };
        match p.reply(&request) {
            Ok(Reply::Failure { reason, .. }) => reasons.push(reason),
            Ok(other) => last = Some(other.describe()),
            Err(Stop::Failed(why)) => last = Some(why),
            Err(other) => return Err(other),
        }
    }
    ensure!(
        !reasons.is_empty(),
        "no refusal with a `failure reason`: {}",
        last.unwrap_or_default()
    );
    Ok(reasons)
}

/// The same where E-01 answers for it that there are none.
fn some_reasons(p: &mut Probe<'_>, extra: Option<&str>) -> Result<Vec<Vec<u8>>, Stop> {
    match reasons(p, extra) {
        Err(Stop::Failed(_)) => {
            p.alive()?;
            not_offered("no `failure reason` is sent (see E-01)")
        }
        other => other,
    }
}

fn readable(p: &mut Probe<'_>) -> Finding {
    for reason in reasons(p, None)? {
        let text = String::from_utf8_lossy(&reason);
        ensure!(
            text.chars().filter(|letter| letter.is_alphabetic()).count() > 3,
            "the reason is `{text}`"
        );
    }
    pass()
}

fn no_echo(p: &mut Probe<'_>) -> Finding {
    for reason in some_reasons(p, Some(&format!("zz={MARK}")))? {
        let shown = reason.escape_ascii();
        let text = String::from_utf8(reason.clone());
        let printable = text.is_ok_and(|text| text.chars().all(|letter| !letter.is_control()));
        ensure!(printable, "not printable: `{shown}`");
        ensure!(reason.len() <= 255, "{} bytes: `{shown}`", reason.len());
        let echo = reason.windows(MARK.len()).any(|window| window == MARK.as_bytes());
        ensure!(!echo, "the request comes back: `{shown}`");
    }
    pass()
}

fn retry(p: &mut Probe<'_>) -> Finding {
    some_reasons(p, None)?;
    match p.audit().seen("retry in") {
        None => not_offered("`retry in` was not sent"),
        Some(form) => remark(form),
    }
}

fn denied(p: &mut Probe<'_>) -> Finding {
    let Some(hash) = p.told().denied_hash else {
        return not_run(NEEDS_DENIED);
    };
    let client = p.client();
    let request = p.announce_of(&client, &hash);
    let Reply::Failure { body, .. } = p.reply(&request)? else {
        return Err(Stop::failed("the hash is not refused"));
    };
    let never = body.get("retry in").and_then(Value::bytes) == Some(b"never");
    ensure!(never, "`retry in` is {:?}", body.get("retry in"));
    pass()
}

fn limited(p: &mut Probe<'_>) -> Finding {
    let Some(reply) = over_the_limit(p)? else {
        return remark("the limit was not reached");
    };
    let Reply::Failure { body, .. } = &reply else {
        return remark(reply.describe());
    };
    let retry = body
        .get("retry in")
        .map_or_else(|| "none".to_owned(), |value| format!("{value:?}"));
    remark(format!("{}, `retry in`: {retry}", reply.describe()))
}

fn warning(p: &mut Probe<'_>) -> Finding {
    p.alive()?;
    match p.audit().seen("warning message") {
        None => not_offered("`warning message` was not sent"),
        Some(form) => remark(form),
    }
}

fn intervals(p: &mut Probe<'_>) -> Finding {
    let mut seen = Vec::new();
    for request in refusals(p) {
        let Ok(Reply::Failure { body, .. }) = p.reply(&request) else {
            continue;
        };
        let number = |key| body.get(key).map(|value| value.int().unwrap_or_default());
        let Some(interval) = number("interval") else {
            ensure!(
                number("min interval").is_none(),
                "`min interval` without `interval`"
            );
            continue;
        };
        let min = number("min interval").unwrap_or(interval);
        ensure!(
            0 < min && min <= interval,
            "`min interval` is {min}, `interval` {interval}"
        );
        seen.push(format!("{interval} ({min})"));
    }
    p.alive()?;
    if seen.is_empty() {
        return not_offered("no `interval` is sent beside a failure");
    }
    seen.dedup();
    remark(format!("interval (min interval): {}", seen.join(", ")))
}

fn retry_form(p: &mut Probe<'_>) -> Finding {
    some_reasons(p, None)?;
    remark(
        p.audit()
            .seen("retry in")
            .unwrap_or_else(|| "not sent".to_owned()),
    )
}

/// `external ip` of an answer to a client, or that it is not sent.
fn external(p: &mut Probe<'_>, client: &Client) -> Result<Vec<u8>, Stop> {
    let hash = p.hash();
    let answer = p.leech(client, &hash)?;
    match answer.body.get("external ip").map(Value::bytes) {
        None => not_offered("`external ip` is not sent"),
        Some(None) => Err(Stop::failed("`external ip` is no string")),
        Some(Some(bytes)) => Ok(bytes.to_vec()),
    }
}

/// Requires `external ip` to be of a length, and the source address where that is known.
fn expect_external(p: &mut Probe<'_>, client: &Client, length: usize) -> Result<(), Stop> {
    let bytes = external(p, client)?;
    ensure!(
        bytes.len() == length,
        "{} bytes: {}",
        bytes.len(),
        bytes.escape_ascii()
    );
    let source = match client.source {
        Some(IpAddr::V4(ip)) => ip.octets().to_vec(),
        Some(IpAddr::V6(ip)) => ip.octets().to_vec(),
        None => return Ok(()),
    };
    ensure!(
        bytes == source,
        "{bytes:?}, but the source is {:?}",
        client.source
    );
    Ok(())
}

fn external_v4(p: &mut Probe<'_>) -> Finding {
    let client = p.client_of(Family::V4);
    expect_external(p, &client, 4)?;
    pass()
}

fn external_v6(p: &mut Probe<'_>) -> Finding {
    let client = p.client_of(Family::V6);
    expect_external(p, &client, 16)?;
    pass()
}

fn external_proxied(p: &mut Probe<'_>) -> Finding {
    let Some(name) = p.told().proxy_header.clone() else {
        return not_run(
            "needs a target that trusts the suite's address as a proxy: name its header with --proxy-header",
        );
    };
    let (client, hash) = (p.client_of(Family::V4), p.hash());
    let request = p
        .announce_of(&client, &hash)
        .header(format!("{name}: 198.51.100.7"));
    let answer = p.announce(&request)?;
    match answer.body.get("external ip").and_then(Value::bytes) {
        None => not_offered("`external ip` is not sent"),
        Some(bytes) => {
            ensure!(
                bytes == [198, 51, 100, 7],
                "`external ip` is {bytes:?}, the client's is 198.51.100.7"
            );
            pass()
        }
    }
}

fn external_mapped(p: &mut Probe<'_>) -> Finding {
    for _ in 0..3 {
        let client = p.client_of(Family::V4);
        expect_external(p, &client, 4).map_err(|stop| within(stop, &format!("{:?}", client.source)))?;
    }
    pass()
}

/// A word that must not come back.
const MARK: &str = "zQ7xMarkThatNoReasonHas";
