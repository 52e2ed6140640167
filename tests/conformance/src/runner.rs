//! Runs checks side by side, those that flood one by one at the end, and writes down what came of each.

use crate::{
    audit::Audit,
    check::{
        ALONE, Check, Finding, HTTP, HTTP4, HTTP6, Level, Needs, Outcome, SLOW, SOURCES, Stop, TLS, UDP,
        UDP4, UDP6,
    },
    checks,
    pattern::Patterns,
    probe::Probe,
    scorecard::{Card, Scorecard},
    target::Settings,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Which checks of the catalogue a run has.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only these, if any pattern is given.
    pub only: Patterns,
    /// Not these.
    pub skip: Patterns,
    /// Only these levels, if any is given.
    pub levels: Vec<Level>,
}

impl Selection {
    /// Whether a check belongs to the run.
    #[must_use]
    pub fn takes(&self, check: &Check) -> bool {
        (self.only.is_empty() || self.only.matches(check.id))
            && !self.skip.matches(check.id)
            && (self.levels.is_empty() || self.levels.contains(&check.level))
    }
}

/// Runs the selected checks against the target. `progress` is told of each that ends: its card, how many have ended, and of how many.
pub fn run(
    name: &str,
    settings: &Settings,
    selection: &Selection,
    progress: &(dyn Fn(&Card, usize, usize) + Sync),
) -> Scorecard {
    let begun = Instant::now();
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs());
    let audit = Audit::default();
    let mut jobs: Vec<Job> = checks::catalogue()
        .enumerate()
        .filter(|(_, check)| selection.takes(check))
        .map(|(number, check)| Job { number, check })
        .collect();
    let total = jobs.len();
    jobs.sort_by_key(|job| (!job.check.needs.has(SLOW), job.number));
    let (alone, together): (Vec<Job>, Vec<Job>) =
        jobs.into_iter().partition(|job| job.check.needs.has(ALONE));
    let done: Mutex<Vec<(usize, Card)>> = Mutex::new(Vec::with_capacity(total));
    let finish = |job: Job, card: Card| {
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.push((job.number, card.clone()));
        progress(&card, done.len(), total);
    };
    side_by_side(together, settings.jobs.max(1), &|job| {
        finish(job, job.run(settings, &audit));
    });
    for job in alone {
        finish(job, job.run(settings, &audit));
    }
    let mut cards = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    cards.sort_by_key(|(number, _)| *number);
    let mut cards: Vec<Card> = cards.into_iter().map(|(_, card)| card).collect();
    for card in &mut cards {
        answer_for_audit(card, &audit);
    }
    let targets = settings
        .urls()
        .into_iter()
        .map(|(option, endpoint)| (option.to_owned(), endpoint.url.clone()));
    Scorecard {
        name: name.to_owned(),
        targets: targets.collect(),
        time,
        millis: millis_since(begun),
        slow: settings.slow,
        cards,
    }
}

#[derive(Clone, Copy)]
struct Job {
    number: usize,
    check: &'static Check,
}

impl Job {
    fn run(self, settings: &Settings, audit: &Audit) -> Card {
        let begun = Instant::now();
        let mut probe = Probe::new(settings, self.check.id, self.check.needs, self.number, audit);
        let finding = match lacking(self.check.needs, settings) {
            Some(what) => Err(Stop::NotRun(what)),
            None => catch_unwind(AssertUnwindSafe(|| (self.check.run)(&mut probe)))
                .unwrap_or_else(|_| Err(Stop::failed("the check itself broke down: a fault of the suite"))),
        };
        let (outcome, remark) = judge(self.check.level, finding);
        let transcript = (outcome == Outcome::Failed).then(|| probe.transcript().render());
        Card {
            id: self.check.id.to_owned(),
            level: self.check.level,
            outcome,
            remark,
            transcript,
            millis: millis_since(begun),
        }
    }
}

fn side_by_side(jobs: Vec<Job>, threads: usize, run: &(dyn Fn(Job) + Sync)) {
    let queue = Mutex::new(jobs.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(job) = next() {
                    run(job);
                }
            });
        }
    });
}

/// What a check needs and the run does not give.
fn lacking(needs: Needs, settings: &Settings) -> Option<String> {
    let http = settings.http.is_some() || settings.http6.is_some();
    let udp = settings.udp.is_some() || settings.udp6.is_some();
    let one_family = (settings.http.is_some() && settings.udp.is_some())
        || (settings.http6.is_some() && settings.udp6.is_some());
    let both = needs.has(HTTP) && needs.has(UDP);
    let given = [
        (HTTP, http, "no --http or --http6 URL was given"),
        (UDP, udp, "no --udp or --udp6 URL was given"),
        (HTTP4, settings.http.is_some(), "no --http URL was given"),
        (HTTP6, settings.http6.is_some(), "no --http6 URL was given"),
        (UDP4, settings.udp.is_some(), "no --udp URL was given"),
        (UDP6, settings.udp6.is_some(), "no --udp6 URL was given"),
        (
            SOURCES,
            settings.many_sources(),
            "needs many source addresses: a target on 127.0.0.0/8",
        ),
        (
            TLS,
            settings.first_http().is_some_and(|endpoint| endpoint.secure),
            "no https:// URL was given",
        ),
        (SLOW, settings.slow, "waits a minute or more: run with --slow"),
    ];
    let missing = given
        .into_iter()
        .find(|(need, there, _)| needs.has(*need) && !there)
        .map(|(_, _, text)| text);
    missing
        .or_else(|| (both && !one_family).then_some("needs HTTP and UDP URLs of one family"))
        .map(str::to_owned)
}

/// Policy checks are recorded whatever they found.
fn judge(level: Level, finding: Finding) -> (Outcome, Option<String>) {
    match finding {
        Ok(remark) if level == Level::Policy => (
            Outcome::Recorded,
            Some(remark.unwrap_or_else(|| "as described".to_owned())),
        ),
        Ok(remark) => (Outcome::Passed, remark),
        Err(Stop::Failed(why)) if level == Level::Policy => (Outcome::Recorded, Some(why)),
        Err(Stop::Failed(why)) => (Outcome::Failed, Some(why)),
        Err(Stop::NotOffered(why)) => (Outcome::NotOffered, Some(why)),
        Err(Stop::NotRun(why)) => (Outcome::NotRun, Some(why)),
    }
}

/// A rule that any body of the run broke fails its check.
fn answer_for_audit(card: &mut Card, audit: &Audit) {
    if let Some((reason, transcript)) = audit.verdict(&card.id)
        && card.outcome != Outcome::Failed
    {
        card.outcome = Outcome::Failed;
        card.remark = Some(reason);
        card.transcript = Some(transcript);
    }
}

fn millis_since(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
