//! A runtime of another kind, which has nothing but what is public.

use std::sync::Arc;
use std::time::Duration;

use etracker_core::{Config, Seed, Tracker};
use etracker_runtime_common::{Clock, Control, Fronts, Job, Listen, Protocol, open};

#[test]
fn a_runtime_of_another_kind_shows_that_its_workers_live() {
    let listen = Listen::new(2).bind(Protocol::Udp, &[[127, 0, 0, 1].into()], 0);
    let clock = Clock::start();
    let control = Arc::new(Control::new());
    let job = Job {
        tracker: Arc::new(Tracker::new(Config::default(), Seed::new([1; 32]), clock.now())),
        fronts: Fronts::new(&Seed::new([1; 32]), &Config::default()),
        sockets: open(&listen).expect("sockets on loopback").workers,
        clock,
        control: Arc::clone(&control),
        connections_max: 1,
    };
    let workers: Vec<_> = job.divide().collect();
    let later = clock.now().saturating_add(Duration::from_secs(3600));
    for worker in &workers {
        assert!(control.oldest_beat().is_some_and(|beat| beat < later));
        worker.pulse.beat(later);
    }
    assert_eq!(control.oldest_beat(), Some(later));
}
