//! A few dozen small runs, one that nobody has played before, and the one that is asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use etracker_sim::{Bounds, Campaign, play, shrink};

const SMALL: Bounds = Bounds {
    clients: 30,
    hours: 8,
    loss: 0.1,
};

#[test]
fn small_runs_keep_all_properties() {
    let campaign = Campaign {
        first_seed: 1,
        seeds: 50,
        bounds: SMALL,
        threads: std::thread::available_parallelism().map_or(1, Into::into),
        twice_every: 10,
    };
    let summary = campaign.play(|_| {});
    assert!(
        summary.failed.is_none(),
        "{}",
        shrink(*summary.failed.unwrap(), &SMALL)
    );
    assert_eq!((summary.passed, summary.twice), (50, 5));
    // A property that no run comes near is not checked.
    let tally = &summary.tally;
    for (what, times) in [
        ("request over a limit", tally.limited),
        ("answer in which one network has its quarter", tally.shared),
        ("announce refused while memory is short", tally.refused_short),
    ] {
        assert!(times > 0, "no {what}");
        println!("{what}: {times}");
    }
}

/// `ETRACKER_SEED` replays one run.
#[test]
fn a_fresh_run_or_the_one_asked_for_keeps_all_properties() {
    let seed = match std::env::var("ETRACKER_SEED") {
        Ok(seed) => seed.parse().expect("ETRACKER_SEED is a number"),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_secs()),
    };
    println!("ETRACKER_SEED={seed}");
    if let Err(failed) = play(seed, &SMALL) {
        panic!("{}", shrink(*failed, &SMALL));
    }
}

#[test]
fn different_seeds_are_different_runs() {
    let [one, other] = [1, 2].map(|seed| play(seed, &SMALL).unwrap().transcript);
    assert_ne!(one, other);
}
