//! R: scrape over UDP.

use crate::{
    check::{
        Check, Finding,
        Level::{DeFacto as S, Hardening as H, Normative as M},
        Stop, UDP, check, ensure, pass, remark,
    },
    probe::{Hash, Probe},
    wire::udp::{self, Scraped},
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "R-01",
        M,
        BEP15,
        "one hash: 8 and 12 bytes: seeders, completed, leechers",
        "The order differs from the announce's.",
        UDP,
        one,
    ),
    check(
        "R-02",
        M,
        BEP15,
        "unknown and known hashes: in the order of the request, zeros for the unknown",
        "The entries have no hashes: the order is all there is.",
        UDP,
        in_order,
    ),
    check(
        "R-03",
        M,
        BEP15,
        "74 hashes: 74 entries",
        "BEP 15: up to about 74 torrents can be scraped at once.",
        UDP,
        seventy_four,
    ),
    check(
        "R-04",
        S,
        BEP15,
        "75 to 100 hashes: the first N, or an error (recorded: N)",
        "A limit is fine, a torn reply is not.",
        UDP,
        a_hundred,
    ),
    check(
        "R-05",
        S,
        BEP15,
        "no hash: an error, an empty reply, or silence",
        "A full scrape can't be done with this protocol.",
        UDP,
        none,
    ),
    check(
        "R-06",
        H,
        BEP15,
        "a hash and 7 bytes more: one entry",
        "An entry for a partial hash is made of old memory.",
        UDP,
        partial,
    ),
    check(
        "R-07",
        M,
        BEP15,
        "a scrape changes nothing",
        "Looking must not make a swarm.",
        UDP,
        no_effect,
    ),
    check(
        "R-08",
        M,
        BEP15,
        "a bad connection id: not answered with counts",
        "Else a forged source makes the tracker send.",
        UDP,
        bad_id,
    ),
    check(
        "R-09",
        S,
        BEP15,
        "the same hash twice: two equal entries",
        "The entries have no hashes: each needs its place.",
        UDP,
        twice,
    ),
    check(
        "R-10",
        H,
        BEP15,
        "the reply is shorter than the request",
        "Nothing to gain for who forges a source.",
        UDP,
        no_amplification,
    ),
];

const BEP15: &str = "BEP 15";

fn one(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let (seeder, done) = (p.client(), p.client());
    let crowd = p.clients(3);
    p.begin_udp(&seeder, &hash, 0)?;
    p.crowd_udp(&crowd, &hash, 1000)?;
    let link = p.link(&done)?;
    let packet = p.packet(&link, &done, &hash);
    p.announce_udp(&link, &packet)?;
    p.announce_udp(
        &link,
        &udp::Announce {
            event: 1,
            left: 0,
            ..packet
        },
    )?;
    let counts = p.expect_counts_udp(&hash, 2, 3)?;
    match counts.completed {
        1 => pass(),
        0 => remark("downloads are not counted (see N-16)"),
        other => Err(Stop::Failed(format!("{other} completed, there was one download"))),
    }
}

fn in_order(p: &mut Probe<'_>) -> Finding {
    let mut hashes: Vec<Hash> = (0..6).map(|_| p.hash()).collect();
    // Descending, so that a tracker that sorts them never happens to be right.
    hashes.sort_by(|one, other| other.cmp(one));
    for (number, hash) in (1..).zip(&hashes).filter(|(number, _)| number % 2 == 0) {
        let crowd = p.clients(number);
        p.crowd_udp(&crowd, hash, 1000)?;
    }
    let leechers: Vec<i32> = p
        .scrape_udp(&hashes)?
        .iter()
        .map(|entry| entry.leechers)
        .collect();
    ensure!(
        leechers == [0, 2, 0, 4, 0, 6],
        "the leechers should be 0 2 0 4 0 6, they are {leechers:?}"
    );
    pass()
}

fn many(p: &mut Probe<'_>, count: usize) -> Result<Vec<Hash>, Stop> {
    let client = p.client();
    let link = p.link(&client)?;
    let hashes: Vec<Hash> = (0..count).map(|_| p.hash()).collect();
    for hash in &hashes {
        let packet = p.packet(&link, &client, hash);
        p.announce_udp(&link, &packet)?;
    }
    Ok(hashes)
}

fn seventy_four(p: &mut Probe<'_>) -> Finding {
    let hashes = many(p, 74)?;
    let entries = p.scrape_udp(&hashes)?;
    ensure!(
        entries.iter().all(|entry| entry.leechers == 1),
        "some entries are not those of the hashes"
    );
    pass()
}

fn a_hundred(p: &mut Probe<'_>) -> Finding {
    let hashes = many(p, 100)?;
    let client = p.client();
    let link = p.link(&client)?;
    let mut seen = Vec::new();
    for count in [75, 80, 100] {
        let transaction = p.word();
        let reply = p.ask(
            &link,
            &udp::scrape(link.id, transaction, &hashes[..count]),
            transaction,
        )?;
        if udp::action(&reply) == Some(udp::ERROR) {
            seen.push(format!("{count}: an error"));
            continue;
        }
        let entries = udp::read_scraped(&reply).map_err(Stop::Failed)?;
        ensure!(
            entries.len() <= count,
            "{} entries for {count} hashes",
            entries.len()
        );
        ensure!(
            entries.iter().all(|entry| entry.leechers == 1),
            "some entries are not those of the hashes"
        );
        seen.push(format!("{count}: {} entries", entries.len()));
    }
    remark(seen.join(", "))
}

fn none(p: &mut Probe<'_>) -> Finding {
    let client = p.client();
    let link = p.link(&client)?;
    let replies = p.provoke(&link, &[udp::header(link.id, udp::SCRAPE, 0x0A0B_0C0D)])?;
    let Some(reply) = replies.first() else {
        return remark("silence");
    };
    match udp::action(reply) {
        Some(udp::ERROR) => remark("an error"),
        Some(udp::SCRAPE) if reply.len() == 8 => remark("an empty reply"),
        _ => Err(Stop::Failed(format!("a reply of {} bytes", reply.len()))),
    }
}

fn partial(p: &mut Probe<'_>) -> Finding {
    let hashes = many(p, 2)?;
    let client = p.client();
    let link = p.link(&client)?;
    let whole = udp::scrape(link.id, 0x0A0B_0C0D, &hashes);
    let replies = p.provoke(&link, &[whole[..43].to_vec(), whole[..23].to_vec()])?;
    let mut counts = Vec::new();
    for reply in replies
        .iter()
        .filter(|reply| udp::action(reply) == Some(udp::SCRAPE))
    {
        counts.push(udp::read_scraped(reply).map_err(Stop::Failed)?.len());
    }
    ensure!(
        counts.iter().all(|count| *count <= 1),
        "{counts:?} entries for one hash and for none"
    );
    ensure!(
        counts.iter().sum::<usize>() <= 1,
        "{counts:?} entries, but only one whole hash was asked"
    );
    pass()
}

fn no_effect(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    for _ in 0..3 {
        p.expect_counts_udp(&hash, 0, 0)?;
    }
    let seen = p.look_udp(&hash)?;
    ensure!(seen.peers.is_empty(), "the scrape made a peer: {:?}", seen.peers);
    pass()
}

fn bad_id(p: &mut Probe<'_>) -> Finding {
    let hashes = many(p, 1)?;
    let client = p.client();
    let link = p.link(&client)?;
    let packets: Vec<Vec<u8>> = [0, udp::MAGIC, p.double(), link.id.wrapping_add(1)]
        .into_iter()
        .map(|id| udp::scrape(id, p.word(), &hashes))
        .collect();
    p.expect_unprocessed(&link, &packets, "a scrape with a bad connection id")?;
    pass()
}

fn twice(p: &mut Probe<'_>) -> Finding {
    let hash = many(p, 1)?[0];
    let entries: Vec<Scraped> = p.scrape_udp(&[hash, hash])?;
    ensure!(
        entries[0] == entries[1] && entries[0].leechers == 1,
        "{entries:?}"
    );
    pass()
}

fn no_amplification(p: &mut Probe<'_>) -> Finding {
    let hashes = many(p, 70)?;
    let client = p.client();
    let link = p.link(&client)?;
    for count in [1, 2, 70] {
        let transaction = p.word();
        let request = udp::scrape(link.id, transaction, &hashes[..count]);
        let reply = p.ask(&link, &request, transaction)?;
        ensure!(
            reply.len() < request.len(),
            "{} bytes were answered with {}",
            request.len(),
            reply.len()
        );
    }
    pass()
}
