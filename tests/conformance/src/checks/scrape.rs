//! S: scrape over HTTP.

use super::told::NEEDS_DENIED;
use crate::plain;
use crate::{
    check::{
        Check, Finding, HTTP,
        Level::{DeFacto as S, Hardening as H, Normative as M, Policy as P},
        SLOW, Stop, check, ensure, not_offered, not_run, pass, remark,
    },
    probe::{Hash, Probe, Reply, Request},
    wire::{
        bencode::{self, Value},
        http::Answer,
    },
};
use flate2::read::GzDecoder;
use std::{io::Read as _, time::Duration};

pub(super) const CHECKS: &[Check] = &[
    check(
        "S-01",
        M,
        BEP48,
        "one hash: `files` holds its 20 bytes with `complete`, `downloaded`, `incomplete`, none negative",
        "The three counts are what a scrape is for.",
        HTTP,
        one,
    ),
    check(
        "S-02",
        M,
        BEP48,
        "several info_hash: an entry for each",
        "Clients ask for all their torrents at once.",
        HTTP,
        several,
    ),
    check(
        "S-03",
        M,
        BEP48,
        "a scrape changes nothing",
        "Looking must not make a peer or a swarm.",
        HTTP,
        no_effect,
    ),
    check(
        "S-04",
        S,
        BEP48,
        "an unknown hash is left out or has zeros, `files` is there",
        "An unknown hash is no error.",
        HTTP,
        unknown,
    ),
    check(
        "S-05",
        M,
        BEP48,
        "announce and scrape count the same",
        "Users compare them.",
        HTTP,
        same_counts,
    ),
    check(
        "S-06",
        S,
        FIELD,
        "60 hashes, a request line of 3.9 kB: answered",
        "Clients with many torrents fill the line as far as they dare.",
        HTTP,
        sixty,
    ),
    check(
        "S-07",
        S,
        FIELD,
        "200 hashes: the first N, or a failure (recorded: N)",
        "A limit is fine, silence is not.",
        HTTP,
        two_hundred,
    ),
    check(
        "S-08",
        P,
        BEP48,
        "no info_hash: full scrape, failure or status, recorded",
        "A full scrape is the operator's choice.",
        HTTP,
        full,
    ),
    check(
        "S-09",
        M,
        BEP48,
        "an info_hash of 19 bytes: a `failure reason`",
        "A wrong question should not look like an empty torrent.",
        HTTP,
        bad_hash,
    ),
    check(
        "S-10",
        M,
        BEP48,
        "the scrape URL is the announce URL with `announce` replaced, its query kept",
        "Clients derive it so, and know no other.",
        HTTP,
        derived,
    ),
    check(
        "S-11",
        S,
        BEP48,
        "peers that stopped are not counted",
        "Counts of the past mislead.",
        HTTP,
        stopped,
    ),
    check(
        "S-12",
        S,
        "RFC 9110, 8.4",
        "with Accept-Encoding: gzip, the answer decodes to the same dictionary",
        "A wrong header makes the answer unreadable.",
        HTTP,
        compressed,
    ),
    check(
        "S-13",
        S,
        BEP48,
        "`flags` with `min_request_interval`, if there, is above 0",
        "Zero asks clients to hammer.",
        HTTP,
        flags,
    ),
    check(
        "S-14",
        H,
        FIELD,
        "a hash that is refused is not revealed by a scrape",
        "The counts alone prove that it is there.",
        HTTP,
        denied,
    ),
    check(
        "S-15",
        S,
        BEP48,
        "`downloaded` does not decrease while the torrent lives",
        "A counter that falls makes nonsense of statistics.",
        HTTP.and(SLOW),
        monotonic,
    ),
];

const BEP48: &str = "BEP 48";
const FIELD: &str = "de facto";

fn files(reply: Reply) -> Result<Value, Stop> {
    match reply {
        Reply::Success(success) => {
            let files = success
                .body
                .get("files")
                .filter(|files| files.dict().is_some())
                .cloned();
            files.ok_or_else(|| Stop::failed("no `files` dictionary"))
        }
        other => Err(Stop::Failed(format!(
            "a scrape was answered with {}",
            other.describe()
        ))),
    }
}

fn one(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    p.crowd(&hash, 1, 2)?;
    let counts = p.scrape(&[hash])?[0].ok_or_else(|| Stop::failed("the hash is not in `files`"))?;
    let downloaded = counts
        .downloaded
        .ok_or_else(|| Stop::failed("no integer `downloaded`"))?;
    ensure!(
        counts.complete == 1 && counts.incomplete == 2,
        "{counts:?}, but 1 seeder and 2 leechers are there"
    );
    ensure!(downloaded >= 0, "`downloaded` is {downloaded}");
    pass()
}

fn several(p: &mut Probe<'_>) -> Finding {
    let hashes: Vec<Hash> = (0..5).map(|_| p.hash()).collect();
    for (number, hash) in (1..).zip(&hashes) {
        p.crowd(hash, 0, number)?;
    }
    let entries = p.scrape(&hashes)?;
    for (wanted, entry) in (1..).zip(&entries) {
        let counts = entry.ok_or_else(|| Stop::Failed(format!("hash {wanted} of 5 has no entry")))?;
        ensure!(
            counts.incomplete == wanted,
            "hash {wanted} has {} leechers, not {wanted}",
            counts.incomplete
        );
    }
    pass()
}

fn no_effect(p: &mut Probe<'_>) -> Finding {
    let (hash, nobody) = (p.hash(), p.hash());
    p.crowd(&hash, 1, 1)?;
    for _ in 0..3 {
        p.expect_counts(&hash, 1, 1)?;
        p.expect_counts(&nobody, 0, 0)?;
    }
    let others = p.look(&nobody)?;
    ensure!(others.len() == 0, "the scrape made a peer: {}", others.list());
    pass()
}

fn unknown(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    match p.scrape(&[hash])?[0] {
        None => remark("left out"),
        Some(counts) => {
            ensure!(
                counts.complete == 0 && counts.incomplete == 0,
                "{counts:?} of a hash that nobody announced"
            );
            remark("zeros")
        }
    }
}

fn same_counts(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 2, 3)?;
    let again = p.announce_of(&crowd[4], &hash);
    let answer = p.announce(&again)?;
    let counts = p.expect_counts(&hash, 2, 3)?;
    let announced = (answer.complete, answer.incomplete);
    let without_asker = (Some(counts.complete), Some(counts.incomplete - 1));
    if announced == without_asker {
        return remark("the same, but that an announce leaves out the one who asks");
    }
    let scraped = (Some(counts.complete), Some(counts.incomplete));
    ensure!(
        announced == scraped,
        "the announce says {announced:?}, the scrape {scraped:?} (seeders, leechers)"
    );
    pass()
}

/// A scrape of many hashes, one of them alive; how many entries it has.
fn scrape_many(p: &mut Probe<'_>, count: usize) -> Result<Option<usize>, Stop> {
    let hashes: Vec<Hash> = (0..count).map(|_| p.hash()).collect();
    for hash in &hashes {
        p.crowd(hash, 0, 1)?;
    }
    let request = p.scrape_of(&hashes)?;
    match p.reply(&request)? {
        Reply::Failure { .. } => Ok(None),
        Reply::Other(answer) if answer.status >= 400 => {
            p.alive()?;
            Ok(None)
        }
        other => Ok(Some(files(other)?.keys().len())),
    }
}

fn sixty(p: &mut Probe<'_>) -> Finding {
    match scrape_many(p, 60)? {
        Some(entries) => {
            ensure!(entries > 0, "`files` is empty, though all 60 are there");
            remark(format!("{entries} of 60 entries"))
        }
        None => Err(Stop::failed("refused")),
    }
}

fn two_hundred(p: &mut Probe<'_>) -> Finding {
    match scrape_many(p, 200)? {
        Some(entries) => remark(format!("{entries} of 200 entries")),
        None => remark("refused"),
    }
}

/// The scrape without a hash, or why there is none.
fn full_scrape(p: &mut Probe<'_>) -> Result<Request, Stop> {
    let hash = p.hash();
    let mut request = p.scrape_of(&[hash])?;
    request.pieces.pop();
    Ok(request)
}

fn full(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    p.crowd(&hash, 0, 1)?;
    let request = full_scrape(p)?;
    match p.reply(&request)? {
        Reply::Success(success) => {
            let entries = success.body.get("files").map_or(0, |files| files.keys().len());
            remark(format!("a full scrape of {entries} torrents"))
        }
        other => remark(other.describe()),
    }
}

fn bad_hash(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let short = crate::wire::http::percent_all(&hash[..19]);
    let request = full_scrape(p)?.piece(format!("info_hash={short}"));
    p.refused(&request)?;
    pass()
}

fn derived(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    p.crowd(&hash, 0, 1)?;
    let request = p.scrape_of(&[hash])?.first("passthrough=0123456789abcdef");
    let files = files(p.reply(&request)?)?;
    ensure!(
        files.keys().len() == 1,
        "{} entries in `files`",
        files.keys().len()
    );
    pass()
}

fn stopped(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 2, 2)?;
    for client in [&crowd[0], &crowd[2]] {
        let request = p.announce_of(client, &hash).event("stopped");
        p.announce(&request)?;
    }
    p.expect_counts(&hash, 1, 1)?;
    pass()
}

/// The body, decompressed if its header says that it is compressed.
pub(super) fn decoded(answer: &Answer) -> Result<Vec<u8>, Stop> {
    match answer.header("content-encoding") {
        None | Some("identity") => Ok(answer.body.clone()),
        Some("gzip") => {
            let mut body = Vec::new();
            let read = GzDecoder::new(answer.body.as_slice())
                .take(BODY_MAX)
                .read_to_end(&mut body);
            read.map_err(|error| Stop::Failed(format!("the gzip stream is broken: {}", plain(&error))))?;
            Ok(body)
        }
        Some(other) => Err(Stop::Failed(format!(
            "gzip was accepted, the encoding is `{other}`"
        ))),
    }
}

fn compressed(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    p.crowd(&hash, 1, 1)?;
    let mut seen = Vec::new();
    for request in [p.scrape_of(&[hash])?, full_scrape(p)?] {
        let whole = request.pieces.is_empty();
        let answer = p.fetch(&request.header("Accept-Encoding: gzip"))?;
        if answer.status != 200 && whole {
            continue;
        }
        let encoding = answer.header("content-encoding").unwrap_or("identity").to_owned();
        let reading = bencode::read(&decoded(&answer)?);
        let Some(body) = reading.value else {
            return Err(Stop::Failed(format!(
                "the decoded body is no bencode: {}",
                reading.faults[0]
            )));
        };
        if whole && body.get("failure reason").is_some() {
            continue;
        }
        let found = body.get("files").is_some_and(|files| !files.keys().is_empty());
        ensure!(found, "no `files` in the decoded body");
        seen.push(format!(
            "{} {encoding}",
            if whole { "full scrape" } else { "one hash" }
        ));
    }
    remark(seen.join(", "))
}

fn flags(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    p.crowd(&hash, 0, 1)?;
    let request = p.scrape_of(&[hash])?;
    let Reply::Success(success) = p.reply(&request)? else {
        return Err(Stop::failed("the scrape was refused"));
    };
    match success
        .body
        .get("flags")
        .and_then(|flags| flags.get("min_request_interval"))
    {
        None => not_offered("no `flags` in the scrape"),
        Some(value) => {
            ensure!(
                value.int().is_some_and(|seconds| seconds > 0),
                "`min_request_interval` is {value:?}"
            );
            pass()
        }
    }
}

fn denied(p: &mut Probe<'_>) -> Finding {
    let Some(hash) = p.told().denied_hash else {
        return not_run(NEEDS_DENIED);
    };
    let me = p.client();
    let request = p.announce_of(&me, &hash).event("started");
    p.refused(&request)?;
    let counts = p.counts(&hash)?;
    ensure!(counts.complete == 0 && counts.incomplete == 0, "{counts:?}");
    pass()
}

fn monotonic(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 0, 2)?;
    let request = p.announce_of(&crowd[0], &hash).seeding().event("completed");
    p.announce(&request)?;
    let before = p.counts(&hash)?.downloaded.unwrap_or_default();
    if before == 0 {
        return not_offered("downloads are not counted (see A-11)");
    }
    let request = p.announce_of(&crowd[0], &hash).seeding().event("stopped");
    p.announce(&request)?;
    p.wait(Duration::from_secs(125));
    let after = p.counts(&hash)?.downloaded.unwrap_or_default();
    ensure!(
        after >= before,
        "`downloaded` fell from {before} to {after} within two minutes"
    );
    pass()
}

/// Bytes of a decompressed scrape that are read.
const BODY_MAX: u64 = 512 << 20;
