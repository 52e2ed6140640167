//! From options to a serving tracker, and to its end.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;

use etracker_core::access::Access;
use etracker_core::cluster::Secrets;
use etracker_core::{Config, Instant, Seed, Tracker};
use etracker_runtime_common::{
    Clock, Control, Fronts, Job, Opened, Transport, find_memory, join_free_memory_at_once,
};

use crate::acme::Acme;
use crate::alive::Life;
use crate::cluster::{Cluster, Running};
use crate::failure::Failure;
use crate::memory::Budget;
use crate::notify::Notifier;
use crate::options::Options;
use crate::pages::{About, Grouping, PageCache, Readers};
use crate::reload::Reloading;
use crate::reloads::ReloadLog;
use crate::revision::revision;
use crate::runtime::Serve;
use crate::secrets::SecretFile;
use crate::state::{FoundState, Pace, StateError, StateFile};
use crate::steps::{PRIVILEGED, Ready, Step, UNPRIVILEGED};
use crate::supervised::{Lifeline, is_supervised};
use crate::terminal::{complain, say};
use crate::tls::{Ageing, CertificateFiles};
use crate::verdict::Judge;
use crate::{limits, logs, reload, report, runtime, signals, sockets, terminal, usage, watch};
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
    usage::find();
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
    if let Some(opened) = &ready.opened {
        options.listen = sockets::found(&options.listen, opened);
    }
    let clock = clock();
    let page_cache = page_cache(&options, &ready, clock.now(), &zone, Life::new(control));
    let (judge, log) = page_cache.notes();
    let Ready {
        opened: Some(opened),
        notifier: Some(notifier),
        serve: Some(serve),
        connections_max: Some(connections_max),
        access,
        certificates,
        budget,
        state,
        acme,
        secrets,
        cluster,
        ..
    } = ready
    else {
        unreachable!("every step was taken, and none failed");
    };
    tell_listening(&options, &opened, connections_max, certificates.as_ref());
    let config = clustered(bounded(&options.config, budget), &options, secrets.as_ref());
    let tracker = tracker(config, access, clock)?;
    let (state, tracker, ids) = with_state(state, tracker, ids, clock, &options)?;
    let fronts = fronts(&ids, secrets.as_ref(), tracker.config(), Arc::new(page_cache));
    let fronts = secured(fronts, certificates.as_ref());
    let ageing = certificates.as_ref().map(|files| Ageing::new(files.shared()));
    let watchers = (judge, ageing);
    let (state, tracker) = (state.map(Arc::new), Arc::new(tracker));
    let state_writer = state_writer(state.as_ref(), &options, &tracker, clock, control)?;
    let secret_file = secret_file(&options, secrets, &fronts);
    let cluster = joined(cluster, &tracker, clock, control, &notifier)?;
    let secret_file = secret_file.map(|file| file.with_node(cluster.as_ref().map(Running::secrets)));
    if let Some(certificates) = &certificates {
        certificates.complain_of_flaws();
    }
    Reloading {
        lists: options.lists,
        tracker: Arc::clone(&tracker),
        secrets: secret_file,
        certificates: certificates.filter(CertificateFiles::are_there),
        log,
    }
    .begin(reloads)
    .map_err(Failure::Thread)?;
    watch::begin(Arc::clone(&tracker), clock, options.logs.format, zone, watchers)
        .and_then(|()| notifier.watch(&tracker, clock, control))
        .map_err(Failure::Thread)?;
    renew(acme, control)?;
    report::ready(&opened);
    let job = Job {
        tracker,
        fronts,
        sockets: opened.workers,
        clock,
        control: Arc::clone(control),
        connections_max,
    };
    let beside = Beside {
        state,
        state_writer,
        cluster,
    };
    serve_to_the_end(serve, job, beside, &notifier)
}

/// What runs beside the workers, and ends after them.
#[derive(Debug)]
struct Beside {
    state: Option<Arc<StateFile>>,
    state_writer: Option<JoinHandle<()>>,
    cluster: Option<Running>,
}

fn serve_to_the_end(serve: Serve, job: Job, beside: Beside, notifier: &Notifier) -> Result<(), Failure> {
    let (tracker, clock, control) = (Arc::clone(&job.tracker), job.clock, Arc::clone(&job.control));
    notifier.tell("READY=1");
    let served = serve(job);
    notifier.tell("STOPPING=1");
    control.stop();
    if let Some(cluster) = beside.cluster {
        cluster.join();
    }
    if let Some(state_writer) = beside.state_writer {
        // A panic of the thread has ended the process.
        let _ = state_writer.join();
    }
    report::totals(&tracker);
    keep(beside.state.as_deref(), &tracker, clock)?;
    served.map_err(Failure::Serve)
}

/// The settings of a node, if the tracker is one.
fn clustered(config: Config, options: &Options, secrets: Option<&Secrets>) -> Config {
    match (secrets, &options.cluster) {
        (Some(secrets), Some(_)) => config.with_cluster(secrets),
        _ => config,
    }
}

/// Fronts whose connection ids come from the secrets, or else from `ids`.
fn fronts(ids: &Seed, secrets: Option<&Secrets>, config: &Config, pages: Arc<PageCache>) -> Fronts {
    let fronts = match secrets {
        Some(secrets) => Fronts::of_cluster(secrets, config),
        None => Fronts::new(ids, config),
    };
    fronts.with_pages(config, pages)
}

/// Starts what makes the tracker a node, if it is one.
fn joined(
    cluster: Option<Cluster>,
    tracker: &Arc<Tracker>,
    clock: Clock,
    control: &Arc<Control>,
    notifier: &Notifier,
) -> Result<Option<Running>, Failure> {
    let start = |cluster: Cluster| cluster.start(tracker, clock, control, notifier);
    cluster.map(start).transpose()
}

fn secret_file(options: &Options, secrets: Option<Secrets>, fronts: &Fronts) -> Option<SecretFile> {
    let (file, secrets) = options.cluster_secret.clone().zip(secrets)?;
    Some(SecretFile::new(file, secrets, Arc::clone(&fronts.udp)))
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

/// Prints where the tracker listens, for how many, and what is wrong with its certificates.
fn tell_listening(
    options: &Options,
    opened: &Opened,
    connections_max: usize,
    certificates: Option<&CertificateFiles>,
) {
    report::listening(opened, &options.listen);
    if !is_supervised() {
        sockets::tell_absent(opened);
    }
    say(format_args!("Connections at once: {connections_max} at most"));
    if let Some(certificates) = certificates {
        certificates.complain_of_flaws();
    }
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

fn page_cache(options: &Options, ready: &Ready, now: Instant, zone: &TimeZone, life: Life) -> PageCache {
    let about = about(options, ready, now, zone, life);
    let hosts = options.page_hosts.iter().cloned().chain(host_names());
    let readers = Readers::new(options.stats_from.clone(), hosts);
    PageCache::new(about, readers)
}

fn about(options: &Options, ready: &Ready, started: Instant, zone: &TimeZone, life: Life) -> About {
    let Options { charset, locale, .. } = options;
    let grouping = Grouping::of(locale, charset).unwrap_or_else(|| {
        complain(format_args!(
            "locale {locale} is not known: digits are not grouped"
        ));
        Grouping::none()
    });
    About {
        revision: revision().to_owned(),
        runtime: runtime::name(options),
        life: Some(life),
        started,
        failures: options.failures,
        port: sockets::port(&options.listen),
        tcp: options.listen.uses(Transport::Tcp),
        udp: options.listen.uses(Transport::Udp),
        tls_port: options.tls.port,
        certificates: ready.certificates.as_ref().map(CertificateFiles::shared),
        renewals: ready.acme.as_ref().map(Acme::renewals).unwrap_or_default(),
        cluster: ready.cluster.as_ref().map(Cluster::view).unwrap_or_default(),
        state: ready.state.as_ref().map(FoundState::log),
        reloads: ReloadLog::default(),
        judge: Arc::new(Judge::new(started)),
        open_files: limits::open_files(),
        connections_max: ready.connections_max,
        memory_max: ready.cap.map(|cap| cap.bytes),
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
    options: &Options,
) -> Result<(Option<StateFile>, Tracker, Seed), Failure> {
    let Some(found) = found else {
        return Ok((None, tracker, ids));
    };
    let of_user = |error: StateError| Failure::State(error.of_user(options.process.user.as_ref()));
    let (state, tracker) = StateFile::open(found, tracker, ids, clock).map_err(of_user)?;
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
    options: &Options,
    tracker: &Arc<Tracker>,
    clock: Clock,
    control: &Control,
) -> Result<Option<JoinHandle<()>>, Failure> {
    let period = options.process.state_period;
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
