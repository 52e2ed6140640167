//! B: the bencode of every HTTP answer. B-01 to B-08 are judged on every body of the run; what stands here
//! makes sure that the run has the bodies that matter.

use crate::{
    check::{Check, Finding, HTTP, HTTP4, HTTP6, Level::Normative as M, check, ensure, not_offered, pass},
    probe::{Hash, Probe, Reply},
    target::Family,
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "B-01",
        M,
        BEP3,
        "every body is exactly one bencoded dictionary",
        "A client that cannot parse the body learns of no peer.",
        HTTP,
        any_body,
    ),
    check(
        "B-02",
        M,
        BEP3,
        "no byte follows the closing `e`",
        "Strict parsers refuse a body with anything after the dictionary.",
        HTTP,
        any_body,
    ),
    check(
        "B-03",
        M,
        BEP3,
        "the keys of every dictionary ascend as raw bytes, without duplicates",
        "Readers that search or merge sorted keys miss those out of place.",
        HTTP,
        any_body,
    ),
    check(
        "B-04",
        M,
        BEP3,
        "integers are canonical: no -0, no leading zero, not empty",
        "Strict parsers refuse the whole answer for one such integer.",
        HTTP,
        any_body,
    ),
    check(
        "B-05",
        M,
        BEP3,
        "the length before each string is exact, in base ten, without a leading zero",
        "A wrong length shifts all that follows it.",
        HTTP,
        any_body,
    ),
    check(
        "B-06",
        M,
        BEP3,
        "a scrape of six hashes in descending order: the keys of `files` ascend",
        "The order of the request is no excuse for a dictionary out of order.",
        HTTP,
        descending,
    ),
    check(
        "B-07",
        M,
        BEP3,
        "a scrape of the same hash twice: one key",
        "A duplicate key makes the dictionary invalid.",
        HTTP,
        twice,
    ),
    check(
        "B-08",
        M,
        BEP3,
        "a scrape of a hash of bytes from 0x80 up: the key is those 20 bytes",
        "A key that went through a text encoding matches no torrent.",
        HTTP,
        high_bytes,
    ),
    check(
        "B-09",
        M,
        BEP3,
        "with both `peers` and `peers6` in an answer, and beside any extension, the top keys are in order",
        "Extensions are where sorted writers are most often forgotten.",
        HTTP4.and(HTTP6),
        top_order,
    ),
];

const BEP3: &str = "BEP 3, bencoding";

fn any_body(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 1, 2)?;
    let dicts = p.announce_of(&crowd[1], &hash).set("compact", "0");
    let _ = p.reply(&dicts);
    let nameless = p.announce_of(&crowd[1], &hash).without("info_hash");
    let _ = p.reply(&nameless);
    let stopped = p.announce_of(&crowd[2], &hash).event("stopped");
    p.announce(&stopped)?;
    let scrape = p.scrape_of(&[hash])?;
    let _ = p.reply(&scrape)?;
    pass()
}

fn scraped_keys(p: &mut Probe<'_>, hashes: &[Hash]) -> Result<Vec<Vec<u8>>, crate::check::Stop> {
    let request = p.scrape_of(hashes)?;
    match p.reply(&request)? {
        Reply::Success(success) => {
            let files = success.body.get("files").cloned();
            Ok(files
                .map(|files| files.keys().into_iter().map(<[u8]>::to_vec).collect())
                .unwrap_or_default())
        }
        other => Err(crate::check::Stop::Failed(format!(
            "a scrape was answered with {}",
            other.describe()
        ))),
    }
}

fn descending(p: &mut Probe<'_>) -> Finding {
    let mut hashes: Vec<Hash> = (0..6).map(|_| p.hash()).collect();
    hashes.sort_by(|one, other| other.cmp(one));
    for hash in &hashes {
        p.crowd(hash, 0, 1)?;
    }
    let keys = scraped_keys(p, &hashes)?;
    ensure!(
        keys.len() > 1,
        "only {} of 6 hashes are in `files`, so nothing can be said of their order",
        keys.len()
    );
    ensure!(keys.is_sorted(), "the keys of `files` are not in ascending order");
    pass()
}

fn twice(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    p.crowd(&hash, 0, 1)?;
    let keys = scraped_keys(p, &[hash, hash])?;
    ensure!(keys.len() == 1, "`files` has {} keys for one hash", keys.len());
    pass()
}

fn high_bytes(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash().map(|byte| byte | 0x80);
    p.crowd(&hash, 0, 1)?;
    let keys = scraped_keys(p, &[hash])?;
    ensure!(keys.len() == 1, "`files` has {} keys for one hash", keys.len());
    ensure!(
        keys[0] == hash,
        "the key has {} bytes and is not the hash: `{}`",
        keys[0].len(),
        keys[0].escape_ascii()
    );
    pass()
}

fn top_order(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let (four, six) = (p.client_of(Family::V4), p.client_of(Family::V6));
    p.leech(&four, &hash)?;
    p.leech(&six, &hash)?;
    let (other_four, other_six) = (p.client_of(Family::V4), p.client_of(Family::V6));
    let answers = [p.leech(&other_four, &hash)?, p.leech(&other_six, &hash)?];
    let mut judged = false;
    for answer in &answers {
        let keys = answer.body.keys();
        ensure!(
            keys.is_sorted(),
            "top keys out of order: {}",
            keys.join(&b' ').escape_ascii()
        );
        let has = |key: &str| answer.body.get(key).is_some();
        judged |= has("external ip") || has("min interval") || (has("peers") && has("peers6"));
    }
    if judged {
        pass()
    } else {
        not_offered("no answer has both `peers` and `peers6`, `min interval` or `external ip`")
    }
}
