//! 2: what v2 and hybrid torrents ask of a tracker.

use crate::{
    check::{
        Check, Finding, HTTP,
        Level::{DeFacto as S, Normative as M},
        check, ensure, not_run, pass, remark,
    },
    probe::{Probe, Reply},
    wire::http::percent,
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "2-01",
        M,
        BEP52,
        "a SHA-256 cut to 20 bytes is a hash like any other",
        "To the tracker v2 torrents are nothing new.",
        HTTP,
        truncated,
    ),
    check(
        "2-02",
        S,
        BEP52,
        "a hash of 32 bytes: a failure, or cut to 20 in announce and scrape alike",
        "A swarm under 32 bytes is one that nobody else finds.",
        HTTP,
        whole,
    ),
    check(
        "2-03",
        M,
        BEP52,
        "the v1 and the v2 hash of a hybrid torrent are two swarms",
        "The tracker cannot know that they belong together.",
        HTTP,
        two_swarms,
    ),
    check(
        "2-04",
        S,
        BEP52,
        "an access list's entry of 64 digits matches the announce of its first 20 bytes",
        "Operators list what their users see.",
        HTTP,
        listed,
    ),
    check(
        "2-05",
        S,
        BEP52,
        "a scrape of a cut v2 hash works",
        "Some clients ask it first.",
        HTTP,
        scraped,
    ),
];

const BEP52: &str = "BEP 52";

/// 32 bytes that nobody has used, as a SHA-256 has.
fn v2_hash(p: &mut Probe<'_>) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..20].copy_from_slice(&p.twenty());
    hash[12..].copy_from_slice(&p.twenty());
    hash
}

fn cut(hash: &[u8; 32]) -> [u8; 20] {
    let mut short = [0; 20];
    short.copy_from_slice(&hash[..20]);
    short
}

fn truncated(p: &mut Probe<'_>) -> Finding {
    let hash = cut(&v2_hash(p));
    let (one, two) = (p.client(), p.client());
    p.leech(&one, &hash)?;
    ensure!(
        p.leech(&two, &hash)?.has(&one),
        "the peers do not find each other"
    );
    pass()
}

fn whole(p: &mut Probe<'_>) -> Finding {
    let hash = v2_hash(p);
    let client = p.client();
    let request = p.announce_of(&client, &hash);
    match p.reply(&request)? {
        Reply::Failure { .. } => remark("refused"),
        Reply::Success(_) => {
            ensure!(
                p.look(&cut(&hash))?.has(&client),
                "accepted, but as another swarm than its first 20 bytes"
            );
            let mut scrape = p.scrape_of(&[])?;
            scrape = scrape.piece(format!("info_hash={}", percent(&hash)));
            let reply = p.reply(&scrape)?;
            ensure!(
                reply.is_success(),
                "the announce is cut to 20 bytes, the scrape answered with {}",
                reply.describe()
            );
            remark("cut to 20 bytes")
        }
        other @ Reply::Other(_) => {
            p.alive()?;
            remark(format!("refused: {}", other.describe()))
        }
    }
}

fn two_swarms(p: &mut Probe<'_>) -> Finding {
    let (v1, v2) = (p.hash(), cut(&v2_hash(p)));
    let one = p.client();
    p.leech(&one, &v1)?;
    p.leech(&one, &v2)?;
    p.expect_counts(&v1, 0, 1)?;
    let request = p.announce_of(&one, &v1).event("stopped");
    p.announce(&request)?;
    p.expect_counts(&v1, 0, 0)?;
    p.expect_counts(&v2, 0, 1)?;
    pass()
}

fn listed(p: &mut Probe<'_>) -> Finding {
    let Some(hash) = p.told().denied_v2 else {
        return not_run("needs a target that refuses a v2 hash: give all its 64 digits with --denied-v2");
    };
    let client = p.client();
    let request = p.announce_of(&client, &cut(&hash));
    p.refused(&request)?;
    p.alive()?;
    pass()
}

fn scraped(p: &mut Probe<'_>) -> Finding {
    let hash = cut(&v2_hash(p));
    p.crowd(&hash, 1, 1)?;
    p.expect_counts(&hash, 1, 1)?;
    pass()
}
