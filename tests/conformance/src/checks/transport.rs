//! T-01 to T-13 and others: HTTP as clients speak it.

use super::{announce::within, scrape::decoded};
use crate::plain;
use crate::{
    check::{
        Check, Finding, HTTP,
        Level::{DeFacto as S, Normative as M, Policy as P},
        Stop, check, ensure, not_offered, pass, remark,
    },
    probe::{Client, Hash, Probe, Reply, Request},
    wire::{
        bencode,
        http::{Answer, Framing},
    },
};
use std::{thread, time::Duration};

pub(super) const CHECKS: &[Check] = &[
    check(
        "T-01",
        M,
        BEP3,
        "success and tracker failure both have status 200",
        "Clients do not read the body of an error status, and show its number instead of the reason.",
        HTTP,
        status,
    ),
    check(
        "T-02",
        M,
        BEP3,
        "Content-Length is right, or the body chunked; Content-Type is text/plain",
        "A client that trusts the length reads too little or waits for ever.",
        HTTP,
        framing,
    ),
    check(
        "T-03",
        S,
        HTTP1,
        "HTTP/1.0 is served and the connection closed",
        "Old clients wait for the end of the connection.",
        HTTP,
        http10,
    ),
    check(
        "T-04",
        S,
        HTTP1,
        "two requests on one connection: two answers, or `Connection: close` announced",
        "A connection that looks open and is not costs the client an announce.",
        HTTP,
        keep_alive,
    ),
    check(
        "T-05",
        S,
        HTTP1,
        "`Connection: close` is honoured",
        "The client waits for the end.",
        HTTP,
        close,
    ),
    check(
        "T-06",
        S,
        HTTP1,
        "two pipelined requests: two answers in order",
        "An announce lost in a buffer is a client without peers.",
        HTTP,
        pipelined,
    ),
    check(
        "T-07",
        S,
        HTTP1,
        "a request in three segments, or byte by byte: the same answer",
        "TCP keeps no message borders.",
        HTTP,
        split,
    ),
    check(
        "T-08",
        S,
        HTTP1,
        "a client that ends its sending side after the request is still answered",
        "It said all it had to say, not that it stopped listening.",
        HTTP,
        half_close,
    ),
    check(
        "T-09",
        S,
        HTTP1,
        "HEAD: status and headers, and no body",
        "A body after HEAD is read as the next answer.",
        HTTP,
        head,
    ),
    check(
        "T-10",
        S,
        HTTP1,
        "POST and PUT: 405, 400 or 501",
        "An unknown method must not look like an announce, nor like a dead tracker.",
        HTTP,
        methods,
    ),
    check(
        "T-11",
        S,
        HTTP1,
        "an unknown path, without an info_hash: 404",
        "Who mistypes a URL should learn of it.",
        HTTP,
        unknown_path,
    ),
    check(
        "T-12",
        S,
        FIELD,
        "30 headers, or 8 kB of them: served",
        "Proxies and browsers add many.",
        HTTP,
        many_headers,
    ),
    check(
        "T-13",
        S,
        HTTP1,
        "no Host, bare LF, lower-case names, a folded header: an answer, never a hang",
        "Hand-made clients are the field's oldest.",
        HTTP,
        odd_heads,
    ),
    check(
        "T-22",
        S,
        HTTP1,
        "an announce with Accept-Encoding: gzip: plain, or rightly compressed",
        "Every HTTP library asks for it.",
        HTTP,
        gzip,
    ),
    check(
        "T-24",
        S,
        HTTP1,
        "GET /: 200, a redirect, or 404",
        "It is the first thing that people try.",
        HTTP,
        root,
    ),
    check(
        "T-25",
        P,
        FIELD,
        "/stats and /metrics at the tracker's port: recorded",
        "They may tell more than the operator means to.",
        HTTP,
        pages,
    ),
    check(
        "T-26",
        S,
        FIELD,
        "an announce to `/`, `/x/announce` or an unknown path: served, or a `failure reason` with status 200",
        "Clients show the number of another status, or take a page for a broken tracker; nobody learns what is wrong.",
        HTTP,
        astray,
    ),
];

const BEP3: &str = "BEP 3, tracker HTTP protocol";
const HTTP1: &str = "RFC 9112";
const FIELD: &str = "de facto";

/// A started leecher, and its request.
fn request(p: &mut Probe<'_>) -> (Client, Hash, Request) {
    let (client, hash) = (p.client(), p.hash());
    let request = p.announce_of(&client, &hash).event("started");
    (client, hash, request)
}

/// An answer that must be a tracker's success.
fn success(p: &Probe<'_>, bytes: &[u8], answer: Answer) -> Result<(), Stop> {
    let reply = p.understand(bytes, answer);
    ensure!(reply.is_success(), "answered with {}", reply.describe());
    Ok(())
}

fn status(p: &mut Probe<'_>) -> Finding {
    let (_, hash, announce) = request(p);
    let answer = p.fetch(&announce)?;
    ensure!(answer.status == 200, "a success has status {}", answer.status);
    for bent in [
        announce.clone().without("info_hash"),
        announce.clone().set("port", "0"),
        announce.set("info_hash", "short"),
    ] {
        let answer = p.fetch(&bent)?;
        ensure!(
            answer.status == 200,
            "a tracker failure has status {}",
            answer.status
        );
    }
    let scrape = p.scrape_of(&[hash])?;
    let answer = p.fetch(&scrape)?;
    ensure!(answer.status == 200, "a scrape has status {}", answer.status);
    pass()
}

fn framing(p: &mut Probe<'_>) -> Finding {
    let (_, hash, announce) = request(p);
    let scrape = p.scrape_of(&[hash])?;
    for request in [announce.clone(), announce.without("info_hash"), scrape] {
        let mut connection = p.open(&request)?;
        p.write(&mut connection, &request.bytes())?;
        let answer = p.read(&mut connection)?;
        ensure!(
            answer.framing != Framing::UntilClose,
            "neither Content-Length nor chunks"
        );
        let extra = connection.leftover(Duration::from_millis(300));
        ensure!(
            extra.is_empty(),
            "{} bytes after the body: `{}`",
            extra.len(),
            extra.escape_ascii()
        );
        let bencoded = bencode::read(&answer.body).value.is_some();
        let kind = answer.header("content-type");
        ensure!(
            !bencoded || kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/plain")),
            "Content-Type is {kind:?}"
        );
    }
    pass()
}

fn http10(p: &mut Probe<'_>) -> Finding {
    let (_, _, mut request) = request(p);
    request.version = "HTTP/1.0";
    request.headers.clear();
    let mut connection = p.open(&request)?;
    p.write(&mut connection, &request.bytes())?;
    let answer = p.read(&mut connection)?;
    success(p, &request.bytes(), answer)?;
    ensure!(connection.ends_within(p.patience()), "the connection stays open");
    pass()
}

/// Sends two requests, the second after the first answer; whether both were answered.
fn two_in_turn(p: &mut Probe<'_>, asking: bool) -> Result<bool, Stop> {
    let (client, hash, first) = request(p);
    let first = persistent(first, asking);
    let second = persistent(p.announce_of(&client, &hash), asking);
    let mut connection = p.open(&first)?;
    p.write(&mut connection, &first.bytes())?;
    let answer = p.read(&mut connection)?;
    let closes = answer.announces_close();
    success(p, &first.bytes(), answer)?;
    if closes {
        ensure!(
            connection.ends_within(p.patience()),
            "`Connection: close` was announced, but it stays open"
        );
        return Ok(false);
    }
    p.write(&mut connection, &second.bytes())?;
    let answer = p
        .read(&mut connection)
        .map_err(|stop| within(stop, "the second request"))?;
    success(p, &second.bytes(), answer)?;
    Ok(true)
}

/// Without `Connection: close`; asking for the connection to be kept in so many words, as HTTP/1.0 did, or not.
fn persistent(request: Request, asking: bool) -> Request {
    let request = request.without_header("connection");
    if asking {
        request.header("Connection: keep-alive")
    } else {
        request
    }
}

fn keep_alive(p: &mut Probe<'_>) -> Finding {
    remark(if two_in_turn(p, false)? {
        "kept open"
    } else {
        "closed, and announced"
    })
}

fn close(p: &mut Probe<'_>) -> Finding {
    let (_, _, request) = request(p);
    let mut connection = p.open(&request)?;
    p.write(&mut connection, &request.bytes())?;
    let answer = p.read(&mut connection)?;
    success(p, &request.bytes(), answer)?;
    ensure!(connection.ends_within(p.patience()), "the connection stays open");
    pass()
}

fn pipelined(p: &mut Probe<'_>) -> Finding {
    match two_in_turn(p, true) {
        Ok(true) => {}
        Ok(false) => return not_offered("connections are not kept open"),
        Err(Stop::Failed(why)) => {
            p.alive()?;
            return not_offered(format!("connections are not kept open: {why}"));
        }
        Err(other) => return Err(other),
    }
    let (_, hash, announce) = request(p);
    let announce = persistent(announce, true);
    let scrape = p.scrape_of(&[hash])?;
    let bytes = [announce.bytes(), scrape.bytes()].concat();
    let mut connection = p.open(&announce)?;
    p.write(&mut connection, &bytes)?;
    for key in ["interval", "files"] {
        let answer = p
            .read(&mut connection)
            .map_err(|stop| within(stop, &format!("the answer with `{key}`")))?;
        let value = bencode::read(&answer.body).value;
        let right = value.is_some_and(|value| value.get(key).is_some());
        ensure!(
            right,
            "the answer with `{key}` is not where it belongs: status {}",
            answer.status
        );
    }
    pass()
}

/// Sends a request in pieces with pauses between.
fn in_pieces(p: &mut Probe<'_>, request: &Request, cuts: &[usize], pause: Duration) -> Result<(), Stop> {
    let bytes = request.bytes();
    let mut connection = p.open(request)?;
    let mut from = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        let sent = connection.send(&bytes[from..cut]);
        sent.map_err(|error| Stop::Failed(format!("cut off after {from} bytes: {}", plain(&error))))?;
        from = cut;
        thread::sleep(pause);
    }
    p.say(&format!(
        "sent {} bytes in {} pieces",
        bytes.len(),
        cuts.len() + 1
    ));
    let answer = p.read(&mut connection)?;
    success(p, &bytes, answer)
}

fn split(p: &mut Probe<'_>) -> Finding {
    let (_, _, three) = request(p);
    let length = three.bytes().len();
    in_pieces(p, &three, &[10, length - 2], Duration::from_millis(60))
        .map_err(|stop| within(stop, "three segments"))?;
    let (_, _, bytewise) = request(p);
    let cuts: Vec<usize> = (1..bytewise.bytes().len()).collect();
    in_pieces(p, &bytewise, &cuts, Duration::from_micros(500))
        .map_err(|stop| within(stop, "byte by byte"))?;
    pass()
}

fn half_close(p: &mut Probe<'_>) -> Finding {
    let (_, _, request) = request(p);
    let mut connection = p.open(&request)?;
    p.write(&mut connection, &request.bytes())?;
    let _ = connection.finish_sending();
    let answer = p.read(&mut connection)?;
    success(p, &request.bytes(), answer)?;
    pass()
}

fn head(p: &mut Probe<'_>) -> Finding {
    let (_, _, mut request) = request(p);
    request.method = "HEAD";
    let mut connection = p.open(&request)?;
    p.write(&mut connection, &request.bytes())?;
    let answer = p
        .try_read(&mut connection, true)
        .map_err(|silence| Stop::Failed(silence.to_string()))?;
    let body = connection.leftover(Duration::from_millis(400));
    ensure!(
        body.is_empty(),
        "status {}, then a body of {} bytes",
        answer.status,
        body.len()
    );
    remark(format!("status {}", answer.status))
}

fn methods(p: &mut Probe<'_>) -> Finding {
    for method in ["POST", "PUT"] {
        let (_, _, mut request) = request(p);
        request.method = method;
        let answer = p
            .fetch(&request.header("Content-Length: 0"))
            .map_err(|stop| within(stop, method))?;
        ensure!(
            matches!(answer.status, 400 | 403 | 405 | 501),
            "{method}: status {}",
            answer.status
        );
    }
    p.alive()?;
    pass()
}

fn unknown_path(p: &mut Probe<'_>) -> Finding {
    let (_, _, mut request) = request(p);
    request.pieces.clear();
    let answer = p.fetch(&request.path("/no-such-page-here"))?;
    ensure!(answer.status == 404, "status {}", answer.status);
    pass()
}

fn astray(p: &mut Probe<'_>) -> Finding {
    let mut served = Vec::new();
    for path in ["/", "/x/announce", "/no-such-page-here"] {
        let (_, _, request) = request(p);
        match p.reply(&request.path(path))? {
            Reply::Success(_) => served.push(path),
            Reply::Failure { status: 200, .. } => {}
            other => {
                return Err(within(
                    Stop::Failed(format!("answered with {}", other.describe())),
                    path,
                ));
            }
        }
    }
    if served.is_empty() {
        return pass();
    }
    remark(format!("served at {}", served.join(", ")))
}

fn many_headers(p: &mut Probe<'_>) -> Finding {
    let (_, _, many) = request(p);
    let many = (0..30).fold(many, |request, number| {
        request.header(format!("X-Extra-{number}: {number}"))
    });
    p.announce(&many)
        .map_err(|stop| within(stop, "30 more headers"))?;
    let (_, _, long) = request(p);
    let long = (0..8).fold(long, |request, number| {
        request.header(format!("X-Long-{number}: {}", "v".repeat(1000)))
    });
    p.announce(&long)
        .map_err(|stop| within(stop, "8 kB of headers"))?;
    pass()
}

fn odd_heads(p: &mut Probe<'_>) -> Finding {
    let mut seen = Vec::new();
    for what in ["no Host", "bare LF", "lower-case names", "a folded header"] {
        let (_, _, plain) = request(p);
        let bytes = match what {
            "no Host" => plain.clone().without_header("host").bytes(),
            "bare LF" => String::from_utf8_lossy(&plain.bytes())
                .replace("\r\n", "\n")
                .into_bytes(),
            "lower-case names" => {
                let mut lower = plain.clone();
                lower
                    .headers
                    .iter_mut()
                    .for_each(|line| line.make_ascii_lowercase());
                lower.bytes()
            }
            _ => plain.clone().header("X-Folded: one\r\n two").bytes(),
        };
        let answer = answer_eventually(p, &plain, &bytes).map_err(|stop| within(stop, what))?;
        seen.push(format!("{what}: {}", answer.status));
    }
    remark(seen.join(", "))
}

/// An answer within the time that an incomplete head may be given.
pub(super) fn answer_eventually(p: &mut Probe<'_>, client: &Request, bytes: &[u8]) -> Result<Answer, Stop> {
    let mut connection = p.open(client)?;
    p.write(&mut connection, bytes)?;
    for _ in 0..3 {
        match p.try_read(&mut connection, false) {
            Ok(answer) => return Ok(answer),
            Err(crate::wire::http::Silence::TimedOut(_)) => {}
            Err(silence) => return Err(Stop::Failed(silence.to_string())),
        }
    }
    Err(Stop::failed("neither an answer nor an end"))
}

fn gzip(p: &mut Probe<'_>) -> Finding {
    let (_, _, request) = request(p);
    let answer = p.fetch(&request.header("Accept-Encoding: gzip, deflate"))?;
    let encoding = answer.header("content-encoding").unwrap_or("identity").to_owned();
    let body = bencode::read(&decoded(&answer)?).value;
    ensure!(
        body.is_some_and(|body| body.get("interval").is_some()),
        "the decoded body is no announce's answer"
    );
    remark(encoding)
}

fn root(p: &mut Probe<'_>) -> Finding {
    let (_, _, mut request) = request(p);
    request.pieces.clear();
    let answer = p.fetch(&request.path("/"))?;
    ensure!(
        matches!(answer.status, 200 | 301 | 302 | 303 | 307 | 308 | 404),
        "status {}",
        answer.status
    );
    remark(format!("status {}", answer.status))
}

fn pages(p: &mut Probe<'_>) -> Finding {
    let mut seen = Vec::new();
    for path in ["/stats", "/metrics"] {
        let (_, _, mut request) = request(p);
        request.pieces.clear();
        match p.fetch(&request.path(path)) {
            Ok(answer) => seen.push(format!("{path} {}", answer.status)),
            Err(Stop::Failed(why)) => seen.push(format!("{path} {why}")),
            Err(other) => return Err(other),
        }
    }
    remark(seen.join(", "))
}
