//! From options to a serving tracker, and to its end.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use etracker_core::access::Access;
use etracker_core::{Config, Instant, Seed, Tracker};
use etracker_runtime_common::{
    Clock, Control, Fronts, Job, Opened, Transport, find_memory, join_free_memory_at_once,
};

use crate::acme::Acme;
use crate::failure::Failure;
use crate::memory::{Budget, Cap};
use crate::options::Options;
use crate::pages::{About, Grouping, PageCache, Readers};
use crate::reload::Reloading;
use crate::renewals::Renewals;
use crate::revision::revision;
use crate::state::{FoundState, Pace, StateError, StateFile};
use crate::steps::{PRIVILEGED, Ready, Step, UNPRIVILEGED};
use crate::supervised::{Lifeline, is_supervised};
use crate::terminal::{complain, say};
use crate::tls::{Ageing, CertificateFiles};
use crate::{limits, logs, reload, report, signals, sockets, terminal, watch};
use jiff::tz::TimeZone;
use nix::unistd::gethostname;

/// Serves with these options until a signal says to stop.
///
/// # Errors
/// Why it could not start, or not go on.
pub(crate) fn run(options: Options, processors: usize) -> Result<(), Failure> {
    join_free_memory_at_once();
    let control = Arc::new(Control::new());
    let signals = signals::watch().map_err(Failure::Signals)?;
    let lifeline = Lifeline::take().map_err(Failure::Supervisor)?;
    report::start(&options, processors);
    // The files of time zones are not in a new root directory.
    let zone = TimeZone::system();
    find_memory();
    let mut ready = Ready::default();
    take(PRIVILEGED, &options, &mut ready)?;
    // Until here the process has one thread: privileges are per thread on Linux.
    terminal::detach().map_err(Failure::Thread)?;
    logs::begin(options.logs);
    let (ask_reload, reloads) = reload::requests();
    signals::dispatch(signals, Arc::clone(&control), ask_reload).map_err(Failure::Thread)?;
    let ids = ids(lifeline, &control)?;
    // Reading lists and state can take seconds; requests wait in the open sockets meanwhile.
    take(UNPRIVILEGED, &options, &mut ready)?;
    serve(options, ready, ids, reloads, zone, &control)
}

/// Serves with the results of the steps.
fn serve(
    mut options: Options,
    ready: Ready,
    ids: Seed,
    reloads: Receiver<&'static str>,
    zone: TimeZone,
    control: &Arc<Control>,
) -> Result<(), Failure> {
    let Ready {
        opened: Some(opened),
        notifier: Some(notifier),
        serve: Some(serve),
        connections_max: Some(connections_max),
        access,
        certificates,
        budget,
        state,
        cap,
        acme,
        ..
    } = ready
    else {
        unreachable!("every step was taken, and none failed");
    };
    options.listen = sockets::found(&options.listen, &opened);
    tell_listening(&options, &opened, connections_max);
    if let Some(certificates) = &certificates {
        certificates.complain_of_flaws();
    }
    let clock = clock();
    let tracker = tracker(bounded(&options.config, budget), access, clock)?;
    let about = about(&options, clock.now(), cap, &zone)
        .with_certificates(certificates.as_ref().map(CertificateFiles::shared))
        .with_renewals(acme.as_ref().map(Acme::renewals));
    let page_cache = Arc::new(page_cache(&options, about));
    let user = options.process.user.as_ref();
    let (state, tracker, ids) =
        with_state(state, tracker, ids, clock).map_err(|error| Failure::State(error.of_user(user)))?;
    let fronts = Fronts::new(&ids, tracker.config()).with_pages(tracker.config(), page_cache);
    let fronts = secured(fronts, certificates.as_ref());
    let ageing = certificates.as_ref().map(|files| Ageing::new(files.shared()));
    let (state, tracker) = (state.map(Arc::new), Arc::new(tracker));
    let period = options.process.state_period;
    let state_writer = state_writer(state.as_ref(), period, &tracker, clock, control)?;
    Reloading {
        lists: options.lists,
        tracker: Arc::clone(&tracker),
        certificates: certificates.filter(CertificateFiles::are_there),
    }
    .begin(reloads)
    .map_err(Failure::Thread)?;
    watch::begin(Arc::clone(&tracker), clock, options.logs.format, zone, ageing).map_err(Failure::Thread)?;
    notifier
        .watch(&tracker, clock, control)
        .map_err(Failure::Thread)?;
    renew(acme, control)?;
    notifier.tell("READY=1");
    let served = serve(Job {
        tracker: Arc::clone(&tracker),
        fronts,
        sockets: opened.workers,
        clock,
        control: Arc::clone(control),
        connections_max,
    });
    notifier.tell("STOPPING=1");
    if let Some(state_writer) = state_writer {
        control.stop();
        // A panic of the thread has ended the process.
        let _ = state_writer.join();
    }
    report::totals(&tracker);
    keep(state.as_deref(), &tracker, clock)?;
    served.map_err(Failure::Serve)
}

/// Writes the state, if one is configured.
fn keep(state: Option<&StateFile>, tracker: &Tracker, clock: Clock) -> Result<(), Failure> {
    let written = state.map(|state| state.write(tracker, clock, Pace::Full, || false));
    written.transpose().map_err(Failure::State)?;
    Ok(())
}

/// The settings, with what memory allows.
fn bounded(config: &Config, budget: Option<Budget>) -> Config {
    match budget {
        Some(budget) => config.clone().with_memory_limits(budget.limits),
        None => config.clone(),
    }
}

/// Prints where the tracker listens, and for how many.
fn tell_listening(options: &Options, opened: &Opened, connections_max: usize) {
    report::listening(opened, &options.listen);
    if !is_supervised() {
        sockets::tell_absent(opened);
    }
    say(format_args!("Connections at once: {connections_max} at most"));
}

/// The same fronts, over TLS too if there are certificates.
pub(crate) fn secured(fronts: Fronts, files: Option<&CertificateFiles>) -> Fronts {
    match files {
        Some(files) => files.secure(fronts),
        None => fronts,
    }
}

/// Starts what orders and renews certificates, if anything does.
fn renew(acme: Option<Acme>, control: &Control) -> Result<(), Failure> {
    acme.map_or(Ok(()), |acme| acme.start(control).map_err(Failure::Acme))
}

fn page_cache(options: &Options, about: About) -> PageCache {
    let hosts = options.page_hosts.iter().cloned().chain(host_names());
    let readers = Readers::new(options.stats_from.clone(), hosts);
    PageCache::new(about, readers)
}

fn about(options: &Options, started: Instant, cap: Option<Cap>, zone: &TimeZone) -> About {
    let Options { charset, locale, .. } = options;
    let grouping = Grouping::of(locale, charset).unwrap_or_else(|| {
        complain(format_args!(
            "locale {locale} is not known: digits are not grouped"
        ));
        Grouping::none()
    });
    About {
        revision: revision().to_owned(),
        started,
        failures: options.failures,
        port: sockets::port(&options.listen),
        tcp: options.listen.uses(Transport::Tcp),
        udp: options.listen.uses(Transport::Udp),
        tls_port: options.tls.port,
        certificates: None,
        renewals: Renewals::default(),
        open_files: limits::open_files(),
        memory_max: cap.map(|cap| cap.bytes),
        charset: charset.clone(),
        grouping,
        zone: zone.clone(),
    }
}

/// Takes steps until one fails.
fn take(steps: &[Step], options: &Options, ready: &mut Ready) -> Result<(), Failure> {
    let mut steps = steps.iter();
    steps.try_for_each(|step| step.take(options, ready, &|line| say(line)))
}

/// A tracker without torrents.
fn tracker(config: Config, access: Option<Access>, clock: Clock) -> Result<Tracker, Failure> {
    let tracker = Tracker::new(config, seed()?, clock.now());
    Ok(match access {
        Some(access) => tracker.with_access(access),
        None => tracker,
    })
}

/// The names of this machine: in full, its first label, and that in multicast DNS.
fn host_names() -> Vec<String> {
    let name = gethostname().ok().and_then(|name| name.into_string().ok());
    let Some(name) = name else {
        return Vec::new();
    };
    let short = name.split('.').next().unwrap_or_default().to_owned();
    // No one outside the local network can register a name in multicast DNS (RFC 6762).
    let neighbours = format!("{short}.local");
    vec![name, short, neighbours]
}

fn clock() -> Clock {
    #[cfg(feature = "testing")]
    if let Some(clock) = crate::testing::given_clock() {
        return clock;
    }
    Clock::start()
}

/// The tracker and the seed of connection ids, restored from the state if there is one.
fn with_state(
    found: Option<FoundState>,
    tracker: Tracker,
    ids: Seed,
    clock: Clock,
) -> Result<(Option<StateFile>, Tracker, Seed), StateError> {
    let Some(found) = found else {
        return Ok((None, tracker, ids));
    };
    let (state, tracker) = StateFile::open(found, tracker, ids, clock)?;
    let ids = state.connection_id_seed().clone();
    Ok((Some(state), tracker, ids))
}

/// The seed of connection ids: that of the supervisor, if there is one. From now on the process stops when the supervisor ends.
fn ids(lifeline: Option<Lifeline>, control: &Arc<Control>) -> Result<Seed, Failure> {
    let Some(lifeline) = lifeline else {
        return seed();
    };
    let seed = lifeline.seed().clone();
    lifeline.follow(control).map_err(Failure::Thread)?;
    Ok(seed)
}

/// Starts the thread that writes the state, if one is configured.
fn state_writer(
    state: Option<&Arc<StateFile>>,
    period: Duration,
    tracker: &Arc<Tracker>,
    clock: Clock,
    control: &Control,
) -> Result<Option<JoinHandle<()>>, Failure> {
    let spawn_writer = |state: &Arc<StateFile>| state.spawn_writer(tracker, clock, period, control);
    state.map(spawn_writer).transpose().map_err(Failure::Thread)
}

/// A random seed.
pub(crate) fn seed() -> Result<Seed, Failure> {
    #[cfg(feature = "testing")]
    if let Some(seed) = crate::testing::given_seed() {
        return Ok(seed);
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(Failure::Seed)?;
    Ok(Seed::new(bytes))
}
