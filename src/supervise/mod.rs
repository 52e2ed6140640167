//! The supervisor: a process that restarts the serving one.
//!
//! It opens the sockets and draws the seed of connection ids. Then it starts the command again and passes the sockets as systemd
//! does. If that process crashes or is killed, the supervisor starts the next; requests wait in the sockets meanwhile, and no client
//! is refused. The seed goes through the standard input of the serving process, which stays open: end of file means that the
//! supervisor is gone.

mod restarts;

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use etracker_runtime_common::{Listen, Plain};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use crate::exit::EXIT_FAILURE;
use crate::failure::Failure;
use crate::options::{FAILURES_VARIABLE, Options};
use crate::signals::{RepeatFilter, asks_for_reload};
use crate::sockets::SocketError;
use crate::start::seed;
use crate::supervised::SUPERVISED;
use crate::terminal::{complain, say};
use crate::{limits, signals, sockets};
use restarts::{FORGOTTEN_AFTER, Restarts};

/// Supervises trackers with these options, which came from `arguments`. Returns the exit status of the command.
///
/// # Errors
/// Why it could not start.
pub(crate) fn run(options: &Options, arguments: Vec<OsString>) -> Result<u8, Failure> {
    let signals = watch_signals()?;
    limits::raise(&|line| say(line));
    let restarts_max = options.process.restarts;
    say(format_args!(
        "Supervising: {restarts_max} restarts after failures at most"
    ));
    let mut supervisor = Supervisor {
        signals,
        arguments,
        sockets: Vec::new(),
        seed: seed()?.secret(),
        failures: options.failures,
        restarts: Restarts::new(restarts_max, forgotten_after()),
        stopping: false,
    };
    if !supervisor.open(&options.listen).map_err(Failure::Sockets)? {
        return Ok(EXIT_FAILURE);
    }
    supervisor.keep_running().map_err(Failure::Spawn)
}

struct Supervisor {
    /// Received signals.
    signals: Receiver<i32>,
    arguments: Vec<OsString>,
    sockets: Vec<OwnedFd>,
    seed: [u8; 32],
    failures: u32,
    restarts: Restarts,
    /// Whether the tracker was told to stop.
    stopping: bool,
}

impl Supervisor {
    /// Opens the sockets. A missing address or interface counts as a failure and is tried again, as it may appear later. False if
    /// the supervisor was stopped meanwhile.
    fn open(&mut self, listen: &Listen) -> Result<bool, SocketError> {
        let mut pause = PAUSE_MIN;
        loop {
            let error = match sockets::obtain(listen, &|line| say(line)) {
                Err(SocketError::Open(error)) if error.is_of_a_host_that_starts() => error,
                obtained => {
                    let opened = obtained?;
                    sockets::tell_absent(&opened);
                    for worker in opened.workers {
                        let (tcp, udp) = (worker.tcp.into_iter(), worker.udp.into_iter());
                        self.sockets.extend(tcp.map(|bound| OwnedFd::from(bound.socket)));
                        self.sockets.extend(udp.map(|bound| OwnedFd::from(bound.socket)));
                    }
                    return Ok(true);
                }
            };
            let Some(restarts_left) = self.restarts.take(Duration::ZERO) else {
                return Err(SocketError::Open(error));
            };
            complain(format_args!(
                "{error}, or not yet; trying again in {} ms, {restarts_left} restarts are left after that",
                pause.as_millis()
            ));
            if self.is_stopped_within(pause) {
                return Ok(false);
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn keep_running(&mut self) -> io::Result<u8> {
        let (mut pause, mut has_started) = (PAUSE_MIN, false);
        loop {
            let began = Instant::now();
            let what = match self.run_once() {
                Ok(status) if self.stopping || status.success() => return Ok(exit_status(status)),
                Ok(status) => describe(status),
                // The first start has worked, so a refusal by the system may pass.
                Err(error) if has_started => format!("cannot be started: {}", Plain(&error)),
                Err(error) => return Err(error),
            };
            has_started = true;
            self.failures = self.failures.saturating_add(1);
            let service = began.elapsed();
            let Some(restarts_left) = self.restarts.take(service) else {
                complain(format_args!("the serving process {what}; no restarts are left"));
                return Ok(EXIT_FAILURE);
            };
            if service >= STEADY {
                pause = PAUSE_MIN;
            }
            complain(format_args!(
                "the serving process {what}, failure {}; starting again in {} ms, {restarts_left} restarts are left after that",
                self.failures,
                pause.as_millis(),
            ));
            if self.is_stopped_within(pause) {
                return Ok(EXIT_FAILURE);
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Starts a serving process, passes signals on to it, and waits for its end.
    fn run_once(&mut self) -> io::Result<ExitStatus> {
        let mut child = self.spawn()?;
        // Kept open: its end of file tells the serving process that the supervisor is gone.
        let mut lifeline = child.stdin.take();
        if let Some(lifeline) = &mut lifeline {
            // An error means that the process has ended, which is detected below.
            let _ = lifeline.write_all(&self.seed);
        }
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            match self.signals.recv() {
                Ok(SIGCHLD) => {}
                Ok(signal) => {
                    self.stopping |= !asks_for_reload(signal);
                    hand_on(signal, &child);
                }
                // The thread that sends signals never ends.
                Err(_) => return child.wait(),
            }
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let duplicates = self.sockets.iter().map(OwnedFd::try_clone);
        let mappings = duplicates
            .zip(FIRST_HANDED_IN..)
            .map(|(parent_fd, child_fd)| {
                Ok(FdMapping {
                    parent_fd: parent_fd?,
                    child_fd,
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        let mut command = Command::new(this_command()?);
        command
            .args(&self.arguments)
            .env("LISTEN_FDS", self.sockets.len().to_string())
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS_FIRST_FD")
            .env(FAILURES_VARIABLE, self.failures.to_string())
            .env(SUPERVISED, "true")
            .stdin(Stdio::piped())
            // A process group of its own: otherwise Ctrl-C would reach it from the terminal and from here.
            .process_group(0);
        if let Some(name) = env::args_os().next() {
            command.arg0(name);
        }
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        // Blocked in the child: a signal that comes before the child handles it must wait, not end it.
        let kept = signals::handled();
        kept.thread_block()?;
        let child = command.spawn();
        kept.thread_unblock()?;
        child
    }

    /// Pauses before the next start. True if the supervisor was stopped meanwhile.
    fn is_stopped_within(&self, pause: Duration) -> bool {
        let deadline = Instant::now() + pause;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.signals.recv_timeout(left) {
                Ok(SIGINT | SIGTERM) => return true,
                // The next process reads the lists anyway.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }
}

/// Milliseconds before the first restart; each further one waits twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause: clients retry for longer than that.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// After this time of service the pauses start again at the shortest.
const STEADY: Duration = Duration::from_secs(60);
/// The first descriptor passed in, by the convention of systemd.
const FIRST_HANDED_IN: i32 = 3;
/// Added to the number of the signal that ended the process, as shells do.
const EXIT_SIGNAL: i32 = 128;

fn watch_signals() -> Result<Receiver<i32>, Failure> {
    let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1]).map_err(Failure::Signals)?;
    let (sender, receiver) = channel();
    let mut repeats = RepeatFilter::default();
    let forward = move || {
        for signal in signals.forever() {
            let is_repeat = signal != SIGCHLD && repeats.is_repeat(signal, Instant::now());
            if !is_repeat && sender.send(signal).is_err() {
                break;
            }
        }
    };
    let thread = thread::Builder::new().name("signals".to_owned());
    thread.spawn(forward).map_err(Failure::Thread)?;
    Ok(receiver)
}

/// Service after which a restart is forgotten.
fn forgotten_after() -> Duration {
    #[cfg(feature = "testing")]
    if let Some(given) = crate::testing::given_forgotten_after() {
        return given;
    }
    FORGOTTEN_AFTER
}

/// Sends the signal to the serving process. It has not been reaped, so its id is not another process's.
fn hand_on(signal: i32, child: &Child) {
    let pid = i32::try_from(child.id()).map(Pid::from_raw);
    if let (Ok(pid), Ok(signal)) = (pid, Signal::try_from(signal)) {
        // An error means that it has just ended.
        let _ = kill(pid, signal);
    }
}

/// The executable of this process. If it was replaced, or without /proc, the best known path.
fn this_command() -> io::Result<PathBuf> {
    let running = env::current_exe().map(|path| match path.try_exists() {
        Ok(true) => path,
        _ => PathBuf::from("/proc/self/exe"),
    });
    let called = env::args_os().next().map(PathBuf::from);
    running.or_else(|error| {
        let called = called.filter(|path| path.as_os_str() != OsStr::new("") && path.exists());
        called.ok_or(error)
    })
}

fn describe(status: ExitStatus) -> String {
    let dumped = if status.core_dumped() { ", core dumped" } else { "" };
    match (status.signal(), status.code()) {
        (Some(signal), _) => match signal_name(signal) {
            Some(name) => format!("was killed by {name}{dumped}"),
            None => format!("was killed by signal {signal}{dumped}"),
        },
        (None, Some(code)) => format!("ended with status {code}"),
        (None, None) => "ended".to_owned(),
    }
}

fn exit_status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(EXIT_SIGNAL + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(EXIT_FAILURE)
}
