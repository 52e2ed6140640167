//! L: access lists, private mode, limits: what the target's configuration allows to try.

use super::told::{NEEDS_DENIED, over_the_limit, shell};
use crate::plain;
use crate::{
    check::{
        ALONE, Check, Finding, HTTP,
        Level::{DeFacto as S, Hardening as H, Policy as P},
        SLOW, Stop, UDP, UDP4, check, ensure, not_run, pass, remark,
    },
    probe::{Client, Hash, Link, Probe, Reply, Request},
    target::{Endpoint, Family},
    wire::{bencode::Value, udp},
};
use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "L-01",
        S,
        FIELD,
        "a denied hash over HTTP: a `failure reason`, and no peer is stored",
        "That is what the list is for.",
        HTTP,
        denied_http,
    ),
    check(
        "L-02",
        S,
        FIELD,
        "a denied hash over UDP: an error",
        "Silence is taken for a dead tracker, and asked again.",
        UDP,
        denied_udp,
    ),
    check(
        "L-03",
        S,
        FIELD,
        "a denied hash in a scrape: zeros or absent",
        "It has no swarm.",
        HTTP,
        denied_scrape,
    ),
    check(
        "L-04",
        S,
        FIELD,
        "a reload takes effect within a second, and the swarm of a hash denied is gone",
        "Take-downs are urgent.",
        HTTP.and(ALONE),
        reload,
    ),
    check(
        "L-05",
        S,
        FIELD,
        "a malformed line in the list: on reload the old list stays",
        "A slip of the pen must not open or close a tracker.",
        HTTP.and(ALONE),
        malformed,
    ),
    check(
        "L-06",
        S,
        FIELD,
        "upper and lower case, CRLF, comments, and 64 digits are read",
        "Lists are written on every system.",
        HTTP.and(ALONE),
        spellings,
    ),
    check(
        "L-07",
        S,
        FIELD,
        "an empty allow list denies all",
        "Empty is not off.",
        HTTP.and(ALONE),
        empty_allow_list,
    ),
    check(
        "L-08",
        S,
        FIELD,
        "a deny list of ten million entries takes effect (recorded: how soon)",
        "Some operators have them.",
        HTTP.and(ALONE).and(SLOW),
        ten_million,
    ),
    check(
        "L-09",
        P,
        FIELD,
        "a wrong or expired passkey: recorded",
        "The user must learn why.",
        HTTP,
        wrong_passkey,
    ),
    check(
        "L-10",
        S,
        FIELD,
        "the passkey of the announce URL is not in the log",
        "Logs are shared more freely than passkeys.",
        HTTP.and(ALONE),
        not_logged,
    ),
    check(
        "L-11",
        P,
        FIELD,
        "private mode: a swarm is seen only from its own realm, recorded",
        "Else one tracker's users see another's.",
        HTTP,
        realms,
    ),
    check(
        "L-12",
        H,
        FIELD,
        "a denied source address: its datagrams are dropped, others are served",
        "The cheapest defence against a flood.",
        UDP4,
        denied_source,
    ),
    check(
        "L-13",
        P,
        FIELD,
        "over the rate limit of one source, others are served: recorded",
        "One client's fault must not be another's.",
        HTTP,
        limited,
    ),
    check(
        "L-14",
        P,
        FIELD,
        "a client refused by its peer_id: recorded",
        "Some clients harm swarms.",
        HTTP,
        blocked_client,
    ),
];

const FIELD: &str = "de facto";
const NEEDS_LIST: &str =
    "needs the target's deny list, which the suite rewrites: give it with --deny-list, and --reload";

fn denied(p: &Probe<'_>) -> Result<Hash, Stop> {
    p.told()
        .denied_hash
        .ok_or_else(|| Stop::NotRun(NEEDS_DENIED.to_owned()))
}

fn denied_http(p: &mut Probe<'_>) -> Finding {
    let hash = denied(p)?;
    let (one, two) = (p.client(), p.client());
    for client in [&one, &two] {
        let request = p.announce_of(client, &hash).event("started");
        p.refused(&request)?;
    }
    p.alive()?;
    pass()
}

fn denied_udp(p: &mut Probe<'_>) -> Finding {
    let hash = denied(p)?;
    let client = p.client();
    let link = p.link(&client)?;
    let packet = p.packet(&link, &client, &hash);
    let reply = p.ask(&link, &packet.bytes(), packet.transaction)?;
    ensure!(
        udp::action(&reply) == Some(udp::ERROR),
        "a reply of {} bytes and action {:?}",
        reply.len(),
        udp::action(&reply)
    );
    ensure!(reply.len() > 8, "an error without a word");
    pass()
}

fn denied_scrape(p: &mut Probe<'_>) -> Finding {
    let hash = denied(p)?;
    let client = p.client();
    let request = p.announce_of(&client, &hash).event("started");
    p.refused(&request)?;
    p.expect_counts(&hash, 0, 0)?;
    pass()
}

/// The list and the command that makes the target read it.
fn deny_list(p: &Probe<'_>) -> Result<(PathBuf, String), Stop> {
    let told = p.told();
    told.deny_list
        .clone()
        .zip(told.reload.clone())
        .ok_or_else(|| Stop::NotRun(NEEDS_LIST.to_owned()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes the list and has it read.
fn load(path: &PathBuf, command: &str, text: &str) -> Result<(), Stop> {
    fs::write(path, text).map_err(|error| Stop::NotRun(format!("{}: {}", path.display(), plain(&error))))?;
    shell(command)
}

/// Whether a hash is refused within a time.
fn refused_within(p: &mut Probe<'_>, hash: &Hash, limit: Duration) -> Result<bool, Stop> {
    let begun = Instant::now();
    let client = p.client();
    loop {
        let request: Request = p.announce_of(&client, hash);
        if p.reply(&request)?.is_failure() {
            return Ok(true);
        }
        if begun.elapsed() > limit {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

const SOON: Duration = Duration::from_millis(1500);

fn reload(p: &mut Probe<'_>) -> Finding {
    let (path, command) = deny_list(p)?;
    let hash = p.hash();
    p.crowd(&hash, 1, 1)?;
    load(&path, &command, &format!("{}\n", hex(&hash)))?;
    ensure!(
        refused_within(p, &hash, SOON)?,
        "the hash is not refused a second after the reload"
    );
    p.expect_counts(&hash, 0, 0)?;
    // It may take a second to drop the swarm, so the list stands as long before it is taken back.
    thread::sleep(SOON);
    load(&path, &command, "")?;
    thread::sleep(SOON);
    let others = p.look(&hash)?;
    ensure!(others.len() == 0, "the old swarm is back: {}", others.list());
    pass()
}

fn malformed(p: &mut Probe<'_>) -> Finding {
    let (path, command) = deny_list(p)?;
    let (one, two) = (p.hash(), p.hash());
    load(&path, &command, &format!("{}\n", hex(&one)))?;
    ensure!(refused_within(p, &one, SOON)?, "the hash is not refused");
    // A target may well end the reload with an error.
    let _ = load(&path, &command, &format!("{}\nnot a hash\n", hex(&two)));
    thread::sleep(SOON);
    let kept = refused_within(p, &one, Duration::ZERO)?;
    load(&path, &command, "")?;
    ensure!(kept, "the old list is gone");
    pass()
}

fn spellings(p: &mut Probe<'_>) -> Finding {
    let (path, command) = deny_list(p)?;
    let hashes: Vec<Hash> = (0..4).map(|_| p.hash()).collect();
    let upper = hex(&hashes[1]).to_ascii_uppercase();
    let long = format!("{}{}", hex(&hashes[2]), "ab".repeat(12));
    let text = format!(
        "# a comment\r\n\r\n{}\r\n{upper}\r\n{long}\r\n{}",
        hex(&hashes[0]),
        hex(&hashes[3])
    );
    load(&path, &command, &text)?;
    let names = ["CRLF", "upper case", "64 digits", "a last line without an end"];
    let mut wrong = Vec::new();
    for (name, hash) in names.into_iter().zip(&hashes) {
        if !refused_within(p, hash, SOON)? {
            wrong.push(name);
        }
    }
    load(&path, &command, "")?;
    ensure!(wrong.is_empty(), "not read: {}", wrong.join(", "));
    pass()
}

fn empty_allow_list(p: &mut Probe<'_>) -> Finding {
    let told = p.told();
    let Some((path, command)) = told.allow_list.clone().zip(told.reload.clone()) else {
        return not_run(
            "needs the target's allow list, which the suite rewrites: give it with --allow-list, and --reload",
        );
    };
    let before = fs::read_to_string(&path).unwrap_or_default();
    load(&path, &command, "")?;
    let hash = p.hash();
    let refused = refused_within(p, &hash, SOON)?;
    load(&path, &command, &before)?;
    ensure!(refused, "a hash is accepted");
    pass()
}

fn ten_million(p: &mut Probe<'_>) -> Finding {
    let (path, command) = deny_list(p)?;
    let hash = p.hash();
    let mut text = String::with_capacity(410_000_000);
    for number in 0..10_000_000_u64 {
        let _ = writeln!(text, "{number:040x}");
    }
    let _ = writeln!(text, "{}", hex(&hash));
    let before = super::hostile::memory(p);
    let begun = Instant::now();
    load(&path, &command, &text)?;
    let refused = refused_within(p, &hash, Duration::from_secs(60))?;
    let seconds = begun.elapsed().as_secs_f32();
    let after = super::hostile::memory(p);
    load(&path, &command, "")?;
    ensure!(refused, "not in effect after a minute");
    remark(format!(
        "in effect after {seconds:.1} s{}",
        super::hostile::growth(before, after)
    ))
}

/// An announce at another URL than the target's own.
fn announce_at(p: &mut Probe<'_>, url: &Endpoint, client: &Client, hash: &Hash) -> Result<Reply, Stop> {
    let mut request = p.announce_of(client, hash).path(&url.path);
    if p.endpoint(client.family).query.is_some() {
        request.pieces.remove(0);
    }
    let request = match &url.query {
        Some(query) => request.first(query),
        None => request,
    };
    p.reply(&request)
}

fn wrong_passkey(p: &mut Probe<'_>) -> Finding {
    let Some(url) = p.told().denied_url.clone() else {
        return not_run("needs an announce URL with a wrong passkey: give it with --denied-url");
    };
    let (client, hash) = (p.client(), p.hash());
    let reply = announce_at(p, &url, &client, &hash)?;
    let retry = match &reply {
        Reply::Failure { body, .. } => body.get("retry in").and_then(Value::bytes).map(<[u8]>::to_vec),
        _ => None,
    };
    let retry = retry.map_or_else(
        || "no `retry in`".to_owned(),
        |retry| format!("`retry in` {}", retry.escape_ascii()),
    );
    remark(format!("{}, {retry}", reply.describe()))
}

fn not_logged(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    p.crowd(&hash, 0, 1)?;
    let Some(path) = p.told().log.clone() else {
        return not_run("needs the target's log: give it with --log");
    };
    let log =
        fs::read(&path).map_err(|error| Stop::NotRun(format!("{}: {}", path.display(), plain(&error))))?;
    let endpoint = p.endpoint(p.family());
    let folder = endpoint
        .path
        .rsplit_once('/')
        .map_or("", |(folder, _)| folder)
        .trim_matches('/');
    let secrets: Vec<&str> = endpoint
        .query
        .as_deref()
        .and_then(|query| query.split_once('='))
        .map(|(_, value)| value)
        .into_iter()
        .chain([folder])
        .collect();
    let secrets: Vec<&str> = secrets.into_iter().filter(|secret| secret.len() >= 8).collect();
    if secrets.is_empty() {
        return not_run("the announce URL has no passkey");
    }
    for secret in secrets {
        let found = log
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        ensure!(!found, "`{secret}` is in {}", path.display());
    }
    pass()
}

fn realms(p: &mut Probe<'_>) -> Finding {
    let Some(url) = p.told().realm_url.clone() else {
        return not_run("needs an announce URL of another realm: give it with --realm-url");
    };
    let (mine, theirs, hash) = (p.client(), p.client(), p.hash());
    p.leech(&mine, &hash)?;
    announce_at(p, &url, &theirs, &hash)?;
    let seen = p.look(&hash)?;
    remark(if seen.has(&theirs) {
        "the other realm's peer is seen"
    } else {
        "the other realm's peer is not seen"
    })
}

fn denied_source(p: &mut Probe<'_>) -> Finding {
    let Some(source) = p.told().denied_source else {
        return not_run(
            "needs a target that refuses a source address: give a loopback address with --denied-source",
        );
    };
    let fine = p.client_of(Family::V4);
    p.link(&fine)?;
    let client = Client {
        source: Some(source),
        ..p.client_of(Family::V4)
    };
    let link: Link = p.socket(&client)?;
    let transaction = p.word();
    p.send(&link, &udp::connect(transaction))?;
    let reply = p.receive(&link, Instant::now() + Duration::from_millis(500));
    ensure!(reply.is_none(), "{source} is answered");
    p.link(&fine)?;
    pass()
}

fn limited(p: &mut Probe<'_>) -> Finding {
    let Some(reply) = over_the_limit(p)? else {
        return remark("the limit was not reached");
    };
    let others = p.alive();
    let others = if others.is_ok() {
        "others are served"
    } else {
        "others are not served either"
    };
    remark(format!("{}; {others}", reply.describe()))
}

fn blocked_client(p: &mut Probe<'_>) -> Finding {
    let Some(prefix) = p.told().blocked_client.clone() else {
        return not_run(
            "needs a target that refuses a client: give the beginning of its peer_id with --blocked-client",
        );
    };
    let mut peer_id = p.twenty();
    for (place, byte) in peer_id.iter_mut().zip(prefix.bytes()) {
        *place = byte;
    }
    let (client, hash) = (p.client().renamed(peer_id), p.hash());
    let request = p.announce_of(&client, &hash);
    remark(p.reply(&request)?.describe())
}
