//! One worker, whatever the runtime.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use etracker_core::overload::Level;
use etracker_core::proxy::Proxies;
use etracker_core::stats::{Count, Operation};
use etracker_core::udp::BATCH_MAX;
use etracker_core::{Host, Instant, Tracker, Worker};

use crate::accept::SocketError;
use crate::client_log::log_client;
use crate::client_stream::{ClientStream, Encryption};
use crate::conversation::Conversation;
use crate::datagram_io::error_number;
use crate::front::AnyConnectionFront;
use crate::intake::Intake;
use crate::job::WorkerJob;
use crate::proxied::Proxied;
use crate::pulse::{BEAT, Pulse};
use crate::socket_failures::log_socket_failure;
use crate::worker_state::{Ending, WorkerHandle};
use crate::{
    Bound, Clock, DatagramFront, DatagramIo, Fronts, Handshake, Handshakes, Protocol, ServeError, Stream,
    TlsPort, Transport, exchange, load_average, resident_bytes,
};

/// What a runtime does: it waits.
pub trait Mechanism: Clone + 'static {
    /// What receives and sends the datagrams of a worker: [`UdpBatch`](crate::UdpBatch), or what the runtime has instead.
    type Datagrams: DatagramIo + 'static;
    /// A UDP socket that can be waited for.
    type Udp: 'static;
    /// A listening socket that can be waited for.
    type Tcp: 'static;
    /// An accepted connection.
    type Stream: Stream;

    /// Room for the datagrams of a worker, which all its UDP sockets use in turn.
    ///
    /// # Errors
    /// The runtime has none.
    fn datagrams(&self) -> io::Result<Self::Datagrams>;

    /// Makes a UDP socket known to the runtime.
    ///
    /// # Errors
    /// The runtime cannot take it.
    fn udp(&self, socket: UdpSocket) -> io::Result<Self::Udp>;

    /// Makes a listening socket known to the runtime.
    ///
    /// # Errors
    /// The runtime cannot take it.
    fn tcp(&self, listener: TcpListener) -> io::Result<Self::Tcp>;

    /// The socket itself, as datagrams are received from it.
    fn socket(udp: &Self::Udp) -> &<Self::Datagrams as DatagramIo>::Socket;

    /// Waits until a datagram can be received. Called when none could be, right after that was seen.
    fn readable(udp: &Self::Udp) -> impl Future<Output = io::Result<()>>;

    /// Hears that a batch of datagrams was full: more are there, and the socket need not be waited for.
    fn busy(_udp: &Self::Udp) {}

    /// Accepts a connection and says who it is from.
    fn accept(tcp: &Self::Tcp) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>>;

    /// Waits for a while.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;

    /// Lets other tasks run. Those that something has come for by now are among them: this looks at what is ready.
    fn yield_now(&self) -> impl Future<Output = ()>;

    /// Does that too, unless it is dear and nothing is known to be ready. Called far more often.
    fn yield_if_ready(&self) -> impl Future<Output = ()> {
        self.yield_now()
    }

    /// Runs a task on this thread until it is done.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}

/// Runs one worker until `stop` is done or it cannot go on.
///
/// # Errors
/// It cannot start or go on, or one of its tasks panicked.
pub async fn work<M: Mechanism>(
    mechanism: M,
    job: WorkerJob,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let worker = job.number;
    let handle = WorkerHandle::new(Arc::clone(&job.tracker), job.clock, job.connections_max);
    start(&mechanism, &handle, job).map_err(|error| ServeError::Start { worker, error })?;
    if handle.until_the_end(stop).await.is_some() {
        handle.end(Ending::Stopped);
    }
    // A client that never takes its answer must not keep the process from ending.
    for _ in 0..DRAIN_MILLIS_MAX / DRAIN_LOOK_MILLIS {
        mechanism.sleep(Duration::from_millis(DRAIN_LOOK_MILLIS)).await;
        if handle.borrow().slots.occupied() == 0 {
            break;
        }
    }
    // Those who have their answer are not waited for, only kept from losing it.
    handle.borrow().tick();
    match handle.ending() {
        None | Some(Ending::Stopped) => Ok(()),
        Some(Ending::Failed(error)) => Err(ServeError::Failed { worker, error }),
        Some(Ending::Panicked) => Err(ServeError::Panicked { worker }),
    }
}

fn start<M: Mechanism>(
    mechanism: &M,
    handle: &WorkerHandle<ClientStream<M::Stream>>,
    job: WorkerJob,
) -> io::Result<()> {
    let fronts = &job.fronts;
    // One batch serves all sockets of the worker: it is borrowed for an exchange only, in which nothing waits.
    let datagrams = Rc::new(RefCell::new(mechanism.datagrams()?));
    for Bound { protocol, socket } in job.sockets.udp {
        let front = fronts.over_datagrams(protocol)?;
        let source = Source::<M>::new(
            job.clock.now(),
            mechanism.udp(socket)?,
            Rc::clone(&datagrams),
            front,
        );
        spawn_datagrams(mechanism, handle, source);
    }
    let handshakes = Rc::new(Handshakes::new(Arc::clone(handle.borrow().worker.counters())));
    let mut encrypts = false;
    for Bound { protocol, socket } in job.sockets.tcp {
        let port = Port {
            listener: mechanism.tcp(socket)?,
            front: fronts.over_connections(protocol)?,
            encryption: encryption(fronts, protocol, &handshakes)?,
        };
        encrypts |= port.encryption.is_some();
        let accepting = mechanism.clone();
        spawn_essential(mechanism, handle, |handle| async move {
            accept_clients(&accepting, &handle, &port).await
        });
    }
    if encrypts {
        let pacing = mechanism.clone();
        spawn_essential(
            mechanism,
            handle,
            |_| async move { pace(&pacing, &handshakes).await },
        );
    }
    let ticking = mechanism.clone();
    spawn_essential(mechanism, handle, |handle| async move {
        tick(&ticking, &handle).await
    });
    let beating = mechanism.clone();
    spawn_essential(mechanism, handle, |handle| async move {
        beat(&beating, &handle, &job.pulse).await
    });
    // The tracker is shared, and so is its maintenance: each further worker would repeat what the first did.
    if job.number == 1 {
        let maintaining = mechanism.clone();
        spawn_essential(mechanism, handle, |_| async move {
            maintain(&maintaining, &job.tracker, job.clock).await
        });
    }
    Ok(())
}

/// A UDP socket, what receives and sends its datagrams, and the protocol that answers them.
struct Source<M: Mechanism> {
    socket: M::Udp,
    /// The same for all sockets of a worker.
    datagrams: Rc<RefCell<M::Datagrams>>,
    front: Arc<dyn DatagramFront>,
    /// The receive queue, where the system has it and not the mechanism.
    intake: Option<RefCell<Intake>>,
}

impl<M: Mechanism> Source<M> {
    fn new(
        now: Instant,
        socket: M::Udp,
        datagrams: Rc<RefCell<M::Datagrams>>,
        front: Arc<dyn DatagramFront>,
    ) -> Self {
        let system_socket = M::Datagrams::system_socket(M::socket(&socket));
        let intake = system_socket.map(|system_socket| RefCell::new(Intake::new(now, system_socket)));
        Self {
            socket,
            datagrams,
            front,
            intake,
        }
    }

    /// Receives and answers one batch: see [`exchange()`].
    fn exchange(&self, now: Instant, worker: &mut Worker) -> io::Result<usize> {
        let front = &*self.front;
        let (socket, datagrams) = (M::socket(&self.socket), &mut *self.datagrams.borrow_mut());
        let Some((intake, system_socket)) = self.queue() else {
            return exchange(now, datagrams, socket, front, worker);
        };
        let mut intake = intake.borrow_mut();
        // Before the batch is received: its bytes, divided by its datagrams, are what one takes of the queue.
        let queued_bytes = intake.measure(system_socket);
        let received = exchange(now, datagrams, socket, front, worker)?;
        intake.receive(now, system_socket, received, queued_bytes, worker);
        Ok(received)
    }

    fn queue(&self) -> Option<(&RefCell<Intake>, &UdpSocket)> {
        let system_socket = M::Datagrams::system_socket(M::socket(&self.socket))?;
        Some((self.intake.as_ref()?, system_socket))
    }
}

impl<M: Mechanism> Drop for Source<M> {
    fn drop(&mut self) {
        if let Some((intake, system_socket)) = self.queue() {
            intake.borrow_mut().end(system_socket);
        }
    }
}

fn spawn_datagrams<M: Mechanism>(
    mechanism: &M,
    handle: &WorkerHandle<ClientStream<M::Stream>>,
    source: Source<M>,
) {
    let (answering, keeping, source) = (mechanism.clone(), mechanism.clone(), Rc::new(source));
    let answered = Rc::clone(&source);
    spawn_essential(mechanism, handle, |handle| async move {
        answer_datagrams(&answering, &handle, &answered).await
    });
    spawn_essential(mechanism, handle, |handle| async move {
        keep_queue(&keeping, &handle, &source).await
    });
}

/// Spawns a task that the worker cannot do without: if it fails, the worker ends.
fn spawn_essential<M: Mechanism, F>(
    mechanism: &M,
    handle: &WorkerHandle<ClientStream<M::Stream>>,
    task: impl FnOnce(WorkerHandle<ClientStream<M::Stream>>) -> F,
) where
    F: Future<Output = io::Result<Infallible>> + 'static,
{
    let (handle, task) = (handle.clone(), task(handle.clone()));
    mechanism.spawn(async move {
        let handle = PanicGuard(handle);
        if let Some(Err(error)) = handle.0.until_the_end(task).await {
            handle.0.end(Ending::Failed(error));
        }
    });
}

/// Drains a socket batch by batch. After each full one others have their turn: connections that have become ready meanwhile,
/// and other sockets that are as full.
async fn answer_datagrams<M: Mechanism>(
    mechanism: &M,
    handle: &WorkerHandle<ClientStream<M::Stream>>,
    source: &Source<M>,
) -> io::Result<Infallible> {
    let mut batches = 0;
    let mut before = None;
    loop {
        let (now, received) = {
            let state = &mut *handle.borrow();
            let now = state.clock.now();
            if let Some(before) = before.take() {
                state.worker.counters().turn(now.saturating_since(before));
            }
            (now, source.exchange(now, &mut state.worker))
        };
        match received {
            // A batch with room left has emptied the socket: to receive again would cost a call that returns EAGAIN.
            Ok(count) if count < BATCH_MAX => {
                if let Err(error) = M::readable(&source.socket).await {
                    pause(mechanism, error).await?;
                }
            }
            Ok(_) => {
                M::busy(&source.socket);
                before = Some(now);
                handle.borrow().worker.count(Count::GaveWay);
                // Without a look at what else is ready, connections waited for 204,800 datagrams of a flood.
                batches += 1;
                if batches < BATCHES_MAX {
                    mechanism.yield_if_ready().await;
                } else {
                    batches = 0;
                    // A cheap look may miss what is ready: glommio's sees new connections, but no requests on accepted ones.
                    mechanism.yield_now().await;
                }
            }
            Err(error) => pause(mechanism, error).await?,
        }
    }
}

/// Does once a second what the receive queue of a socket needs, whether datagrams come or not.
async fn keep_queue<M: Mechanism>(
    mechanism: &M,
    handle: &WorkerHandle<ClientStream<M::Stream>>,
    source: &Source<M>,
) -> io::Result<Infallible> {
    loop {
        // When datagrams cease, no batch ends a window any more: the level would stay up, and the filter attached.
        mechanism.sleep(QUEUE_PERIOD).await;
        if let Some((intake, system_socket)) = source.queue() {
            let state = &mut *handle.borrow();
            let now = state.clock.now();
            intake.borrow_mut().tick(now, system_socket, &mut state.worker);
        }
    }
}

/// A listening socket, the protocol that answers its connections, and what encrypts them.
struct Port<M: Mechanism> {
    listener: M::Tcp,
    front: AnyConnectionFront,
    encryption: Option<Encryption>,
}

fn encryption(
    fronts: &Fronts,
    protocol: Protocol,
    handshakes: &Rc<Handshakes>,
) -> io::Result<Option<Encryption>> {
    let encryption = fronts.encryption(protocol)?;
    Ok(encryption.map(|(tls, port)| Encryption {
        tls,
        port,
        handshakes: Rc::clone(handshakes),
    }))
}

/// Lets others have their turn, those too that something has come for, whenever handshakes have had theirs.
async fn pace(mechanism: &impl Mechanism, handshakes: &Handshakes) -> io::Result<Infallible> {
    loop {
        handshakes.until_one_waits().await;
        mechanism.yield_now().await;
        handshakes.renew();
    }
}

/// Accepts clients while there is room for them, and serves them.
async fn accept_clients<M: Mechanism>(
    mechanism: &M,
    handle: &WorkerHandle<ClientStream<M::Stream>>,
    port: &Port<M>,
) -> io::Result<Infallible> {
    let mut turns = 0;
    loop {
        handle.wait_for_capacity().await;
        match M::accept(&port.listener).await {
            // Dropped before it is spawned: a denied client costs no task, and takes nobody's place.
            Ok((_, peer)) if !handle.borrow().worker.permits_address(peer.ip()) => {
                let state = handle.borrow();
                state.worker.count(Count::AcceptDenied);
                log_client(state.clock.now(), peer, Count::AcceptDenied);
            }
            Ok(_) if sheds_tls(&handle.borrow().worker, port.encryption.as_ref()) => {}
            Ok((stream, peer)) => {
                let stream = if speaks_for_others(&handle.borrow().worker, peer.ip()) {
                    Proxied::from_proxy(stream)
                } else {
                    Proxied::direct(stream)
                };
                let stream = ClientStream::new(stream, peer.ip(), port.encryption.as_ref());
                let (conversation, guard) = (
                    Conversation::new(handle, &port.front, stream, peer),
                    PanicGuard(handle.clone()),
                );
                mechanism.spawn(async move {
                    conversation.await;
                    // Named here to be captured by the task: if it panics, the guard is dropped while the thread unwinds.
                    drop(guard);
                });
            }
            Err(error) => {
                let counters = Arc::clone(handle.borrow().worker.counters());
                counters.fail(Operation::Accept, error_number(&error));
                // A filter of system calls forbids accept4, or the kernel lacks it: nobody is served until that is changed.
                if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) {
                    log_socket_failure(handle.borrow().clock.now(), Transport::Tcp, &error);
                }
                if SocketError::of(&error) != SocketError::Client {
                    // Where descriptors are short, the next try needs one that is free.
                    handle.borrow().give_way();
                    pause(mechanism, error).await?;
                }
            }
        }
        // Refused and failed ones count too: a flood of them must not keep accepted clients waiting.
        turns += 1;
        if turns == ACCEPTS_MAX {
            turns = 0;
            handle.borrow().worker.count(Count::GaveWay);
            mechanism.yield_now().await;
        }
    }
}

/// Whether a connection is refused because its handshake would take the time of a hundred datagrams, which an overloaded worker does
/// not have. Where plain HTTP shares the port, its first byte decides.
fn sheds_tls(worker: &Worker, encryption: Option<&Encryption>) -> bool {
    let Some(Encryption { port, handshakes, .. }) = encryption else {
        return false;
    };
    handshakes.refuse(worker.overload() > Level::None);
    let is_shed = handshakes.is_refusing() && *port == TlsPort::Only;
    if is_shed {
        handshakes.count(Handshake::Shed);
    }
    is_shed
}

/// Whether a connection from `ip` begins with a header of the PROXY protocol, if it passes on what clients ask.
fn speaks_for_others(worker: &Worker, ip: IpAddr) -> bool {
    let proxies = worker.tracker().config().proxies();
    proxies.is_some_and(Proxies::protocol) && worker.trusts(ip)
}

/// Waits out an error, unless it is there to stay.
async fn pause(mechanism: &impl Mechanism, error: io::Error) -> io::Result<()> {
    if SocketError::of(&error) == SocketError::Fatal {
        // Trying again would go on for ever: the error ends the worker, and with it the process, with a reason.
        return Err(error);
    }
    mechanism.sleep(Duration::from_millis(PAUSE_MILLIS)).await;
    Ok(())
}

/// Sees to it that connections keep their time. One coarse clock for all of them: none has a timer of its own.
async fn tick<M: Mechanism>(
    mechanism: &M,
    handle: &WorkerHandle<ClientStream<M::Stream>>,
) -> io::Result<Infallible> {
    loop {
        // Without connections there are no deadlines: an idle worker is not woken four times a second.
        handle.wait_for_connection().await;
        mechanism.sleep(Duration::from_millis(TICK_MILLIS)).await;
        handle.borrow().tick();
    }
}

/// Shows that this thread runs tasks and that its timers go off, and how late.
async fn beat<M: Mechanism>(
    mechanism: &M,
    handle: &WorkerHandle<ClientStream<M::Stream>>,
    pulse: &Pulse,
) -> io::Result<Infallible> {
    let mut due = None;
    loop {
        {
            let state = handle.borrow();
            let now = state.clock.now();
            pulse.beat(now);
            if let Some(due) = due {
                state.worker.counters().turn(now.saturating_since(due));
            }
            due = Some(now.saturating_add(BEAT));
        }
        mechanism.sleep(BEAT).await;
    }
}

/// Ages the tracker.
async fn maintain<M: Mechanism>(mechanism: &M, tracker: &Tracker, clock: Clock) -> io::Result<Infallible> {
    let mut maintenance_time = Duration::ZERO;
    loop {
        let wait = tracker.poll_timeout().saturating_since(clock.now());
        if wait.is_zero() {
            // A purge by new lists has more steps, each bounded: requests are served between them.
            mechanism.yield_now().await;
        } else {
            mechanism.sleep(wait).await;
        }
        let host = Host {
            load: load_average(),
            memory_bytes: resident_bytes(),
            maintenance_time,
        };
        // The core asks for no time: what a step of the sweep took is told to its statistics from here.
        let began = std::time::Instant::now();
        tracker.handle_timeout(clock.now(), host);
        maintenance_time = began.elapsed();
    }
}

/// Ends the worker when the task that holds it panics.
struct PanicGuard<S: Stream>(WorkerHandle<S>);

impl<S: Stream> Drop for PanicGuard<S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end(Ending::Panicked);
        }
    }
}

/// Time between two looks at a receive queue while nothing comes, and between two renewals of its filter.
const QUEUE_PERIOD: Duration = Duration::from_secs(1);
/// Full batches of one socket before others have their turn even if nothing is known to be ready.
const BATCHES_MAX: usize = 4;
/// Clients accepted, or lost, before those who were accepted have their turn.
const ACCEPTS_MAX: usize = 16;
/// Milliseconds by which connections may overstay their time.
const TICK_MILLIS: u64 = 250;
/// Milliseconds after which something is tried again that the system had no room for.
const PAUSE_MILLIS: u64 = 100;
/// Milliseconds that answers under way are given when the worker stops.
const DRAIN_MILLIS_MAX: u64 = 1000;
/// Milliseconds between two looks at whether they are done.
const DRAIN_LOOK_MILLIS: u64 = 10;

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::{Context, Poll};

    use etracker_core::{Config, Seed};

    use super::*;

    #[derive(Debug)]
    struct NoStream;

    impl Stream for NoStream {
        fn poll_read(&mut self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_write(&mut self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn give_way(&self, _: &mut Context<'_>) {}

        fn try_read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }

        fn shut_down_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_task_that_panics_ends_the_worker() {
        let clock = Clock::start();
        let tracker = Tracker::new(Config::default(), Seed::new([0; 32]), clock.now());
        let handle = WorkerHandle::<NoStream>::new(Arc::new(tracker), clock, 1);
        drop(PanicGuard(handle.clone()));
        assert!(!handle.is_ending());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _guard = PanicGuard(handle.clone());
            panic!("a task panics");
        }));
        assert!(panicked.is_err());
        assert!(matches!(handle.ending(), Some(Ending::Panicked)));
    }
}
