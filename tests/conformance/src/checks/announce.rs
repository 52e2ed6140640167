//! what an announce is answered, events, and the liberties that clients take with parameters.

use crate::{
    check::{
        Check, Finding, HTTP,
        Level::{DeFacto as S, Normative as M, Policy as P},
        Stop, check, ensure, pass, remark,
    },
    probe::{Client, Hash, Probe, Reply, Request},
};

pub(super) const CHECKS: &[Check] = &[
    check(
        "A-01",
        M,
        BEP3,
        "a full valid announce is answered 200 with an `interval` above 0 and `peers`",
        "Without these two keys no client can go on.",
        HTTP,
        full,
    ),
    check(
        "A-02",
        M,
        BEP3,
        "the first announce of a hash has `peers`, though empty",
        "Clients index `peers` without asking whether it is there.",
        HTTP,
        first,
    ),
    check(
        "A-03",
        M,
        BEP3,
        "a second peer is given the first: source address and announced port",
        "Introducing peers to each other is what a tracker is for.",
        HTTP,
        introduces,
    ),
    check(
        "A-04",
        S,
        FIELD,
        "no peer is given its own endpoint",
        "A client wastes a connection attempt on itself, and a small swarm most of its list.",
        HTTP,
        not_self,
    ),
    check(
        "A-05",
        M,
        BEP3,
        "left=0 counts in `complete`, left>0 in `incomplete`",
        "Seeders and leechers are what users judge a torrent by.",
        HTTP,
        counts,
    ),
    check(
        "A-06",
        S,
        BEP3,
        "left=0 without event=completed is a seeder and leaves `downloaded` alone",
        "BEP 3: no completed is sent when the file was complete at the start.",
        HTTP,
        seed_without_completed,
    ),
    check(
        "A-07",
        M,
        BEP3,
        "event=stopped: the peer is no longer handed out, and the answer is whole",
        "Peers that left cost every other client a time-out.",
        HTTP,
        stopped,
    ),
    check(
        "A-08",
        S,
        FIELD,
        "event=stopped is answered with no peers, and the peer no longer counts",
        "One who leaves needs no peers.",
        HTTP,
        stopped_without_peers,
    ),
    check(
        "A-09",
        S,
        FIELD,
        "event=stopped of an unknown peer succeeds and makes no swarm",
        "Clients stop after a tracker's restart too.",
        HTTP,
        stopped_unknown,
    ),
    check(
        "A-10",
        S,
        FIELD,
        "event=stopped with port=0 succeeds",
        "Some clients send port 0 once their listener is closed.",
        HTTP,
        stopped_port_zero,
    ),
    check(
        "A-11",
        S,
        BEP48,
        "event=completed twice: `downloaded` rises by one",
        "A repeated event must not count a download twice.",
        HTTP,
        completed_twice,
    ),
    check(
        "A-12",
        P,
        BEP3,
        "event=completed with left>0: recorded",
        "It contradicts itself, so trackers differ.",
        HTTP,
        completed_with_left,
    ),
    check(
        "A-13",
        S,
        BEP3,
        "no event, an empty one, and event=empty mean the same",
        "BEP 3 names `empty` as the same as no event.",
        HTTP,
        empty_events,
    ),
    check(
        "A-14",
        S,
        FIELD,
        "event=foo is ignored or refused with a `failure reason`",
        "A closed connection is taken for a dead tracker.",
        HTTP,
        unknown_event,
    ),
    check(
        "A-15",
        S,
        FIELD,
        "unknown parameters are ignored",
        "Every client sends some that are its own.",
        HTTP,
        unknown_keys,
    ),
    check(
        "A-16",
        S,
        FIELD,
        "parameters may come in any order, info_hash last",
        "No text gives them an order.",
        HTTP,
        any_order,
    ),
    check(
        "A-17",
        S,
        FIELD,
        "a parameter without `=` is tolerated",
        "Old clients send `supportcrypto` so.",
        HTTP,
        valueless,
    ),
    check(
        "A-18",
        S,
        FIELD,
        "`&&` and a leading or trailing `&` are tolerated",
        "URLs are put together by concatenation.",
        HTTP,
        empty_pieces,
    ),
    check(
        "A-19",
        S,
        FIELD,
        "a value with `=` in it is tolerated",
        "A key in base 64 ends so.",
        HTTP,
        equals_in_value,
    ),
    check(
        "A-20",
        P,
        FIELD,
        "`;` between parameters: recorded",
        "Some URL libraries take it for `&`.",
        HTTP,
        semicolons,
    ),
    check(
        "A-21",
        S,
        FIELD,
        "a repeated parameter does not spoil the announce, and the same one always wins",
        "Two places of a program may both add a port.",
        HTTP,
        repeated_port,
    ),
    check(
        "A-22",
        S,
        FIELD,
        "two info_hash in one announce are refused with a `failure reason`",
        "To take one of them silently leaves the other unannounced.",
        HTTP,
        two_hashes,
    ),
];

const BEP3: &str = "BEP 3, tracker HTTP protocol";
const BEP48: &str = "BEP 48";
const FIELD: &str = "de facto";

/// A client announces in some way; another one must then be given it.
pub(super) fn stored(p: &mut Probe<'_>, request: &Request, client: &Client, hash: &Hash) -> Result<(), Stop> {
    p.announce(request)?;
    let others = p.look(hash)?;
    ensure!(
        others.has(client),
        "port {} is not among the peers handed out: {}",
        client.port,
        others.list()
    );
    Ok(())
}

/// A bent announce must be taken as the plain one.
fn taken_as(p: &mut Probe<'_>, what: &str, bend: impl Fn(Request) -> Request) -> Result<(), Stop> {
    let (client, hash) = (p.client(), p.hash());
    let request = bend(p.announce_of(&client, &hash).event("started"));
    match stored(p, &request, &client, &hash) {
        Err(Stop::Failed(why)) => Err(Stop::Failed(format!("{what}: {why}"))),
        other => other,
    }
}

fn full(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let request = p
        .announce_of(&client, &hash)
        .event("started")
        .set("key", "4f2a")
        .numwant("50");
    let answer = p.announce(&request)?;
    ensure!(answer.status == 200, "status {}", answer.status);
    ensure!(answer.interval > 0, "`interval` is {}", answer.interval);
    let lists = answer.body.get("peers").is_some() || answer.body.get("peers6").is_some();
    ensure!(lists, "neither `peers` nor `peers6`");
    pass()
}

fn first(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let answer = p.look(&hash)?;
    ensure!(answer.body.get("peers").is_some(), "no `peers`");
    pass()
}

fn introduces(p: &mut Probe<'_>) -> Finding {
    let (one, two, hash) = (p.client(), p.client(), p.hash());
    p.leech(&one, &hash)?;
    let answer = p.leech(&two, &hash)?;
    ensure!(
        answer.has(&one),
        "{:?}:{} is not in {}",
        one.source,
        one.port,
        answer.list()
    );
    pass()
}

fn not_self(p: &mut Probe<'_>) -> Finding {
    let (one, two, hash) = (p.client(), p.client(), p.hash());
    let answer = p.leech(&one, &hash)?;
    ensure!(
        !answer.own,
        "the first announce is answered with its own endpoint"
    );
    p.leech(&two, &hash)?;
    let again = p.announce_of(&one, &hash);
    let answer = p.announce(&again)?;
    ensure!(
        answer.has(&two),
        "the other peer is missing from {}",
        answer.list()
    );
    ensure!(
        !answer.own,
        "the second announce is answered with its own endpoint"
    );
    pass()
}

fn counts(p: &mut Probe<'_>) -> Finding {
    let (seeder, leecher, hash) = (p.client(), p.client(), p.hash());
    p.seed(&seeder, &hash)?;
    let answer = p.leech(&leecher, &hash)?;
    let complete = answer
        .complete
        .ok_or_else(|| Stop::failed("the answer has no `complete`"))?;
    let incomplete = answer
        .incomplete
        .ok_or_else(|| Stop::failed("the answer has no `incomplete`"))?;
    ensure!(complete == 1, "one seeder, but `complete` is {complete}");
    ensure!(
        (0..=1).contains(&incomplete),
        "one leecher, the announcer, but `incomplete` is {incomplete}"
    );
    let again = p.announce_of(&seeder, &hash).seeding();
    let answer = p.announce(&again)?;
    ensure!(
        answer.incomplete == Some(1),
        "one leecher, but `incomplete` is {:?} to the seeder",
        answer.incomplete
    );
    pass()
}

fn seed_without_completed(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let request = p.announce_of(&client, &hash).seeding();
    p.announce(&request)?;
    let counts = p.expect_counts(&hash, 1, 0)?;
    ensure!(
        counts.downloaded.unwrap_or(0) == 0,
        "`downloaded` is {:?}",
        counts.downloaded
    );
    pass()
}

fn stopped(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    p.leech(&client, &hash)?;
    ensure!(
        p.look(&hash)?.has(&client),
        "the peer is not handed out while it is there"
    );
    let request = p.announce_of(&client, &hash).event("stopped");
    let answer = p.announce(&request)?;
    ensure!(answer.interval > 0, "`interval` is {}", answer.interval);
    ensure!(
        !p.look(&hash)?.has(&client),
        "the peer is handed out after it stopped"
    );
    pass()
}

fn stopped_without_peers(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    let crowd = p.crowd(&hash, 1, 2)?;
    let request = p.announce_of(&crowd[2], &hash).event("stopped");
    let answer = p.announce(&request)?;
    ensure!(answer.len() == 0, "{} peers in the answer", answer.len());
    p.expect_counts(&hash, 1, 1)?;
    pass()
}

fn stopped_unknown(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let request = p.announce_of(&client, &hash).event("stopped");
    p.announce(&request)?;
    p.expect_counts(&hash, 0, 0)?;
    pass()
}

fn stopped_port_zero(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    p.leech(&client, &hash)?;
    let request = p.announce_of(&client, &hash).event("stopped").set("port", "0");
    p.announce(&request)?;
    pass()
}

fn completed_twice(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    p.leech(&client, &hash)?;
    let request = p.announce_of(&client, &hash).seeding().event("completed");
    p.announce(&request)?;
    let once = p.expect_counts(&hash, 1, 0)?;
    p.announce(&request)?;
    let again = p.expect_counts(&hash, 1, 0)?;
    ensure!(
        once.downloaded == Some(1),
        "`downloaded` is {:?} after the first",
        once.downloaded
    );
    ensure!(
        again.downloaded == Some(1),
        "`downloaded` is {:?} after the second",
        again.downloaded
    );
    pass()
}

fn completed_with_left(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    p.leech(&client, &hash)?;
    let request = p.announce_of(&client, &hash).event("completed");
    p.announce(&request)?;
    let counts = p.counts(&hash)?;
    let (seeders, leechers) = (counts.complete, counts.incomplete);
    remark(format!(
        "{seeders} seeders, {leechers} leechers, downloaded {:?}",
        counts.downloaded.unwrap_or_default()
    ))
}

fn empty_events(p: &mut Probe<'_>) -> Finding {
    let hash = p.hash();
    for (number, bend) in [None, Some(""), Some("empty")].into_iter().enumerate() {
        let client = p.client();
        let plain = p.announce_of(&client, &hash);
        let request = bend.map_or_else(|| plain.clone(), |event| plain.clone().event(event));
        let answer = p.announce(&request);
        let answer = answer.map_err(|stop| within(stop, &format!("event {bend:?}")))?;
        ensure!(
            answer.len() == number,
            "event {bend:?}: {} peers, there are {number} others",
            answer.len()
        );
    }
    p.expect_counts(&hash, 0, 3)?;
    pass()
}

/// Says in which case something failed.
pub(super) fn within(stop: Stop, case: &str) -> Stop {
    match stop {
        Stop::Failed(why) => Stop::Failed(format!("{case}: {why}")),
        other => other,
    }
}

fn unknown_event(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let request = p.announce_of(&client, &hash).event("foo");
    match p.reply(&request)? {
        Reply::Success(_) => remark("ignored"),
        Reply::Failure { .. } => remark("refused"),
        other @ Reply::Other(_) => Err(Stop::Failed(format!("answered with {}", other.describe()))),
    }
}

fn unknown_keys(p: &mut Probe<'_>) -> Finding {
    let extra = [
        "supportcrypto=1",
        "redundant=0",
        "key=8F0A",
        "corrupt=0",
        "trackerid=x",
        "azver=3",
        "zzz=%FF%00",
    ];
    taken_as(p, "with unknown parameters", |request| {
        extra.iter().fold(request, Request::piece)
    })?;
    pass()
}

fn any_order(p: &mut Probe<'_>) -> Finding {
    taken_as(p, "in reverse order", |mut request| {
        request.pieces.reverse();
        request
    })?;
    taken_as(p, "info_hash last", |mut request| {
        let place = request
            .pieces
            .iter()
            .position(|piece| piece.starts_with(b"info_hash="));
        let hash = request.pieces.remove(place.unwrap_or_default());
        request.piece(hash)
    })?;
    pass()
}

fn valueless(p: &mut Probe<'_>) -> Finding {
    taken_as(p, "`supportcrypto` in the middle", |request| {
        request.first("supportcrypto")
    })?;
    taken_as(p, "`supportcrypto` at the end", |request| {
        request.piece("supportcrypto")
    })?;
    pass()
}

fn empty_pieces(p: &mut Probe<'_>) -> Finding {
    taken_as(p, "leading `&`", |request| request.first(""))?;
    taken_as(p, "trailing `&`", |request| request.piece(""))?;
    taken_as(p, "`&&`", |mut request| {
        request.pieces.insert(2, Vec::new());
        request
    })?;
    pass()
}

fn equals_in_value(p: &mut Probe<'_>) -> Finding {
    taken_as(p, "key=a=b", |request| request.first("key=a=b"))?;
    pass()
}

fn semicolons(p: &mut Probe<'_>) -> Finding {
    let (client, hash) = (p.client(), p.hash());
    let mut request = p.announce_of(&client, &hash);
    request.pieces = vec![request.pieces.join(&b';')];
    match p.reply(&request) {
        Ok(Reply::Success(_)) => remark("a separator like `&`"),
        Ok(other) => remark(format!("no separator: {}", other.describe())),
        Err(stop) => Err(stop),
    }
}

fn repeated_port(p: &mut Probe<'_>) -> Finding {
    let mut winners = Vec::new();
    for _ in 0..2 {
        let (client, hash) = (p.client(), p.hash());
        let (first, last) = (client.at_port(2001), client.at_port(2002));
        let request = p.announce_of(&first, &hash).piece("port=2002");
        match p.reply(&request)? {
            Reply::Success(_) => {}
            Reply::Failure { .. } => {
                winners.push("refused");
                continue;
            }
            other @ Reply::Other(_) => {
                return Err(Stop::Failed(format!("answered with {}", other.describe())));
            }
        }
        let others = p.look(&hash)?;
        winners.push(match (others.has(&first), others.has(&last)) {
            (true, false) => "the first wins",
            (false, true) => "the last wins",
            _ => {
                return Err(Stop::Failed(format!(
                    "neither port alone is handed out: {}",
                    others.list()
                )));
            }
        });
    }
    ensure!(
        winners[0] == winners[1],
        "{} at first, {} later",
        winners[0],
        winners[1]
    );
    remark(winners[0])
}

fn two_hashes(p: &mut Probe<'_>) -> Finding {
    let (client, one, two) = (p.client(), p.hash(), p.hash());
    let second = crate::wire::http::percent(&two);
    let request = p.announce_of(&client, &one).piece(format!("info_hash={second}"));
    match p.reply(&request)? {
        Reply::Failure { .. } => pass(),
        Reply::Success(_) => {
            let (first, second) = (p.counts(&one)?.incomplete, p.counts(&two)?.incomplete);
            Err(Stop::Failed(format!(
                "accepted; the first hash has {first} peers now, the second {second}"
            )))
        }
        other @ Reply::Other(_) => Err(Stop::Failed(format!(
            "no `failure reason`, but {}",
            other.describe()
        ))),
    }
}
