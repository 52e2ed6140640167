//! P: partial seeds.

use crate::{
    check::{
        Check, Finding, HTTP,
        Level::{DeFacto as S, Normative as M},
        Stop, check, ensure, not_offered, pass, remark,
    },
    probe::{Announced, Client, Hash, Probe, Reply},
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "P-01",
        M,
        BEP21,
        "event=paused with left>0: accepted",
        "A client that wants only some files sends it at every announce.",
        HTTP,
        accepted,
    ),
    check(
        "P-02",
        M,
        BEP21,
        "where scrapes have `downloaders`: incomplete less the partial seeds",
        "It tells how many are still downloading.",
        HTTP,
        downloaders,
    ),
    check(
        "P-03",
        M,
        BEP21,
        "a paused peer is counted in `incomplete`, and not in `downloaders`",
        "It is no seeder: it lacks pieces.",
        HTTP,
        incomplete,
    ),
    check(
        "P-04",
        S,
        BEP21,
        "paused, then an announce without event: a downloader again",
        "BEP 21: the event goes with every announce while it holds.",
        HTTP,
        resumed,
    ),
    check(
        "P-05",
        S,
        BEP21,
        "paused again and again changes nothing",
        "It is repeated at every announce.",
        HTTP,
        repeated,
    ),
    check(
        "P-06",
        S,
        BEP21,
        "a paused peer is given peers (recorded: whether seeders too)",
        "It uploads.",
        HTTP,
        given_peers,
    ),
    check(
        "P-07",
        S,
        BEP21,
        "where scrapes have `downloaders`, the keys are sorted",
        "It stands between `downloaded` and `incomplete`.",
        HTTP,
        key_order,
    ),
];

const BEP21: &str = "BEP 21";

fn pause(p: &mut Probe<'_>, client: &Client, hash: &Hash) -> Result<Announced, Stop> {
    let request = p.announce_of(client, hash).event("paused");
    match p.announce(&request) {
        Err(Stop::Failed(_)) => {
            p.alive()?;
            not_offered("event=paused is not accepted (see P-01)")
        }
        other => other,
    }
}

/// The number under `downloaders`, where there is one.
fn offered(p: &mut Probe<'_>, hash: &Hash) -> Result<i128, Stop> {
    match p.counts(hash)?.downloaders {
        Some(count) => Ok(count),
        None => not_offered("scrapes have no `downloaders`"),
    }
}

fn accepted(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let request = p.announce_of(&client, &hash).event("paused");
    p.announce(&request)?;
    ensure!(p.look(&hash)?.has(&client), "the paused peer is not handed out");
    pass()
}

fn downloaders(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 1, 3)?;
    pause(p, &crowd[3], &hash)?;
    let count = offered(p, &hash)?;
    ensure!(
        count == 2,
        "`downloaders` is {count}: three leechers, one of them paused"
    );
    pass()
}

fn incomplete(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    pause(p, &client, &hash)?;
    let counts = p.expect_counts(&hash, 0, 1)?;
    ensure!(
        counts.downloaders.unwrap_or(0) == 0,
        "`downloaders` is {:?}",
        counts.downloaders
    );
    pass()
}

fn resumed(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    pause(p, &client, &hash)?;
    let plain = p.announce_of(&client, &hash);
    p.announce(&plain)?;
    p.expect_counts(&hash, 0, 1)?;
    let count = offered(p, &hash)?;
    ensure!(count == 1, "`downloaders` is {count}");
    pass()
}

fn repeated(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    for _ in 0..3 {
        pause(p, &client, &hash)?;
        p.expect_counts(&hash, 0, 1)?;
    }
    pass()
}

fn given_peers(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 1, 2)?;
    let answer = pause(p, &crowd[2], &hash)?;
    ensure!(
        answer.has(&crowd[1]),
        "the leecher is missing from {}",
        answer.list()
    );
    remark(if answer.has(&crowd[0]) {
        "seeders too"
    } else {
        "leechers only"
    })
}

fn key_order(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    p.crowd(&hash, 0, 1)?;
    offered(p, &hash)?;
    let request = p.scrape_of(&[hash])?;
    let Reply::Success(success) = p.reply(&request)? else {
        return Err(Stop::failed("the scrape was refused"));
    };
    let files = success
        .body
        .get("files")
        .and_then(|files| files.dict())
        .unwrap_or_default();
    let keys: Vec<Vec<u8>> = files
        .first()
        .map(|(_, entry)| entry.keys().into_iter().map(<[u8]>::to_vec).collect())
        .unwrap_or_default();
    ensure!(
        keys.is_sorted(),
        "the keys come as `{}`",
        keys.join(&b' ').escape_ascii()
    );
    pass()
}
