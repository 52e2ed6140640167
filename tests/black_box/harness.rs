//! A tracker of its own for each test, on a free port, that is gone when the test is.

use std::io::{self, BufRead as _, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{self, Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A tracker that serves.
pub(crate) struct Tracker {
    child: Child,
    port: u16,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// What was taken from `stdout` already.
    said: Vec<String>,
}

/// How a tracker ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Tracker {
    /// Starts a tracker with these arguments beside the port, and waits until it says that it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        for _ in 0..PORT_RACES_MAX {
            let port = free_port();
            match Self::start_at(port, arguments) {
                Ok(tracker) => return tracker,
                // Somebody else took the port in the meantime.
                Err(ended) if ended.stderr.iter().any(|line| line.contains("in use")) => {}
                Err(ended) => panic!("the tracker ends at once: {ended:?}"),
            }
        }
        panic!("no port stays free");
    }

    /// Starts a tracker on this port; an error is one that ended before it listened.
    pub(crate) fn start_at(port: u16, arguments: &[&str]) -> Result<Self, Ended> {
        Self::start_by(command(), port, arguments)
    }

    /// The same by another command that becomes the tracker.
    pub(crate) fn start_by(mut command: Command, port: u16, arguments: &[&str]) -> Result<Self, Ended> {
        let mut child = command
            .args(["--port", &port.to_string()])
            .args(arguments)
            .spawn()
            .unwrap();
        let (stdout, stderr) = (
            lines(child.stdout.take().unwrap()),
            lines(child.stderr.take().unwrap()),
        );
        let mut tracker = Self {
            child,
            port,
            stdout,
            stderr,
            said: Vec::new(),
        };
        if tracker.hears("Listening on ") {
            Ok(tracker)
        } else {
            Err(tracker.wait())
        }
    }

    /// Waits for a line on standard output that holds `text`.
    pub(crate) fn hears_of(&mut self, text: &str) {
        while !self.said.last().is_some_and(|line| line.contains(text)) {
            self.said.push(self.stdout.recv_timeout(PATIENCE).unwrap());
        }
    }

    /// Waits for a new line on standard output that holds `text`.
    #[cfg(feature = "tls")]
    pub(crate) fn hears_again(&mut self, text: &str) {
        self.said.push(self.stdout.recv_timeout(PATIENCE).unwrap());
        self.hears_of(text);
    }

    /// What it has said until it listened, and what was heard of since.
    pub(crate) fn said(&self) -> &[String] {
        &self.said
    }

    /// Waits for a line that begins with `start`; false if there will be none.
    fn hears(&mut self, start: &str) -> bool {
        while let Ok(line) = self.stdout.recv_timeout(PATIENCE) {
            let found = line.starts_with(start);
            self.said.push(line);
            if found {
                return true;
            }
        }
        false
    }

    /// The port of both protocols.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The address for clients over IPv4.
    pub(crate) fn v4(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The address for clients over IPv6.
    pub(crate) fn v6(&self) -> SocketAddr {
        (Ipv6Addr::LOCALHOST, self.port).into()
    }

    /// The address for clients at `ip`.
    pub(crate) fn at(&self, ip: IpAddr) -> SocketAddr {
        if ip.is_ipv4() { self.v4() } else { self.v6() }
    }

    /// Resident memory, in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Open files and sockets.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    /// Waits for a line on standard error that holds `text`, and gives it.
    pub(crate) fn complains(&self, text: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(PATIENCE).unwrap();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Sends `signal`.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends `signal`, waits for the end, and takes what was said.
    pub(crate) fn stop(self, signal: Signal) -> Ended {
        self.signal(signal);
        self.wait()
    }

    /// Waits for the end, and takes what was said.
    pub(crate) fn wait(mut self) -> Ended {
        let stdout = std::mem::take(&mut self.said)
            .into_iter()
            .chain(self.stdout.iter());
        let stdout: Vec<_> = stdout.collect();
        Ended {
            status: self.child.wait().unwrap(),
            stdout,
            stderr: self.stderr.iter().collect(),
        }
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that is gone when the test is.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("etracker-{name}-{}", process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The path of a file in it.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Whether a file in it holds these bytes.
    pub(crate) fn holds(&self, name: &str, bytes: &[u8]) -> bool {
        let content = std::fs::read(self.0.join(name)).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits for something that happens by itself.
#[track_caller]
pub(crate) fn wait_until(happened: impl FnMut() -> bool) {
    assert!(happens(Duration::from_millis(20), happened), "it does not happen");
}

/// Waits for something that happens by itself, and looks for it once in a `period`; false if it does not happen.
pub(crate) fn happens(period: Duration, mut happened: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !happened() {
        if began.elapsed() > PATIENCE {
            return false;
        }
        sleep(period);
    }
    true
}

/// Calls again what a signal cut short. The end of another test's process can do so to whoever waits with a limit, if a
/// thread is being started just then.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let began = Instant::now();
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted && began.elapsed() < PATIENCE => {}
            outcome => return outcome,
        }
    }
}

/// The command, without what the environment of the tests may say to it, but for the runtime: that is how the tests are
/// run on each.
pub(crate) fn command() -> Command {
    undisturbed(Command::new(ETRACKER))
}

/// The command as another one runs it, `prlimit` or `timeout`.
pub(crate) fn by(runner: &[&str]) -> Command {
    let mut command = other(runner[0]);
    command.args(&runner[1..]).arg(ETRACKER);
    command
}

/// A command that is not the tracker, in the same environment.
pub(crate) fn other(name: &str) -> Command {
    undisturbed(Command::new(name))
}

fn undisturbed(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETRACKER_") && name != "ETRACKER_RUNTIME" {
            command.env_remove(name);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the command to its end, which must come by itself.
pub(crate) fn run(arguments: &[&str]) -> Ended {
    ended(&command().args(arguments).output().unwrap())
}

/// How a command ended that came to its end by itself.
pub(crate) fn ended(output: &Output) -> Ended {
    let lines = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .lines()
            .map(str::to_owned)
            .collect()
    };
    Ended {
        status: output.status,
        stdout: lines(&output.stdout),
        stderr: lines(&output.stderr),
    }
}

/// What `file` in `/proc` says of each thread of `process`, without threads that have ended since they were listed.
pub(crate) fn of_threads(process: Pid, file: &str) -> Vec<(Pid, String)> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())).unwrap();
    let said = threads.filter_map(|thread| {
        let thread = thread.unwrap();
        let id = thread.file_name().to_str().unwrap().parse().unwrap();
        let said = std::fs::read_to_string(thread.path().join(file)).ok()?;
        Some((Pid::from_raw(id).unwrap(), said))
    });
    let said: Vec<_> = said.collect();
    assert!(!said.is_empty(), "{process:?} has ended");
    said
}

/// A port that is free for TCP and for UDP, and that this process names to no other test.
///
/// It lies below the ports that systems give to clients, so that no connection of another test takes it.
pub(crate) fn free_port() -> u16 {
    static NAMED: AtomicUsize = AtomicUsize::new(0);
    let first = process::id() as usize * SPREAD;
    PORTS
        .map(|_| (first + NAMED.fetch_add(1, Ordering::Relaxed)) % PORTS.len())
        .filter_map(|place| PORTS.clone().nth(place))
        .find(|port| is_free(*port))
        .unwrap()
}

fn is_free(port: u16) -> bool {
    let any = [
        IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::from(Ipv6Addr::UNSPECIFIED),
    ];
    any.iter()
        .all(|any| TcpListener::bind((*any, port)).is_ok() && UdpSocket::bind((*any, port)).is_ok())
}

/// The lines of an output, read at once so that the tracker is never held up.
fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            if line.is_ok_and(|line| sender.send(line).is_err()) {
                break;
            }
        }
    });
    receiver
}

/// Longer than anything takes that works, so that what does not work ends the test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const ETRACKER: &str = env!("CARGO_BIN_EXE_etracker");

const PORT_RACES_MAX: usize = 10;

/// Ports of services of users; Linux gives clients those from 32768, other systems from 49152.
const PORTS: Range<u16> = 10_000..32_000;

/// Keeps processes with neighbouring ids apart.
const SPREAD: usize = 257;
