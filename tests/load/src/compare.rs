//! Several trackers side by side: each is started and filled, then they are measured in turn.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use etracker_core::udp::packet::RequestHead;
use etracker_runtime_common::Plain;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::population::Population;
use crate::process::pin;
use crate::report::{Row, complain, machine, say, table};
use crate::round::{Load, Protocol, Round};

/// What to compare, and how.
pub(crate) struct Comparison<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) servers: &'a Path,
    pub(crate) population: &'a Population,
    pub(crate) span: Duration,
    pub(crate) rounds: usize,
    /// Requests a second, each measured by itself; 0 is as many as are answered.
    pub(crate) rates: &'a [u32],
    /// Where servers run and where the load does; without, wherever the system puts them.
    pub(crate) cpus: Option<(usize, usize)>,
}

/// The file that names the servers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Servers {
    server: Vec<Server>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) name: String,
    /// The program and its arguments, from the folder in which the comparison is started.
    pub(crate) command: Vec<String>,
    pub(crate) udp: Option<SocketAddr>,
    /// Where it serves UDP over IPv6, if it does.
    pub(crate) udp_v6: Option<SocketAddr>,
    /// Where connections are kept alive.
    http: Option<SocketAddr>,
    /// Where those are closed that clients do not want to keep.
    pub(crate) http_close: Option<SocketAddr>,
    /// Where TLS is spoken and connections are kept alive.
    https: Option<SocketAddr>,
    /// Where TLS is spoken and those are closed that clients do not want to keep.
    pub(crate) https_close: Option<SocketAddr>,
}

/// The servers that a file names.
///
/// # Errors
/// It is not to be read, or names none.
pub(crate) fn servers(file: &Path) -> Result<Vec<Server>, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{}: {}", file.display(), Plain(&error)))?;
    let servers: Servers = toml::from_str(&text).map_err(|error| error.to_string())?;
    Ok(servers.server)
}

/// Runs the comparison and prints a table for each rate. Whether all answers were right.
///
/// # Errors
/// The file is not to be read, or none of its servers is to be measured.
pub(crate) fn compare(comparison: &Comparison<'_>) -> Result<bool, String> {
    let mut contestants: Vec<Contestant<'_>> = servers(comparison.servers)?
        .into_iter()
        .filter_map(|server| {
            let target = match comparison.protocol {
                Protocol::Udp => server.udp,
                Protocol::Http => server.http,
                Protocol::HttpClose => server.http_close,
                Protocol::Https => server.https,
                Protocol::HttpsClose(_) => server.https_close,
            }?;
            let name = server.name.clone();
            Contestant::start(server, target, comparison)
                .inspect_err(|error| say(format_args!("!!! SKIPPED: {name}: {}", Plain(error))))
                .ok()
        })
        .collect();
    if contestants.is_empty() {
        return Err("no server of the file can be measured".to_owned());
    }
    let mut all_right = true;
    for &rate in comparison.rates {
        let rows = measure(&mut contestants, comparison, rate)?;
        all_right &= rows.iter().all(Row::is_right);
        say(title(comparison, rate));
        say(table(&rows));
    }
    Ok(all_right)
}

fn measure(
    contestants: &mut [Contestant<'_>],
    comparison: &Comparison<'_>,
    rate: u32,
) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> = contestants
        .iter()
        .map(|contestant| Row::new(&contestant.name))
        .collect();
    let rate = (rate > 0).then_some(rate);
    for first in 0..comparison.rounds {
        // Whatever changes on the machine meanwhile, changes for all; nobody is always first.
        for step in 0..contestants.len() {
            let number = (first + step) % contestants.len();
            let contestant = &mut contestants[number];
            let round = contestant
                .round(comparison.span, rate)
                .map_err(|error| format!("{}: {}", contestant.name, Plain(&error)))?;
            rows[number].rounds.push(round);
        }
    }
    Ok(rows)
}

fn title(comparison: &Comparison<'_>, rate: u32) -> String {
    let protocol = match comparison.protocol {
        Protocol::Udp => "UDP",
        Protocol::Http => "HTTP, keep-alive",
        Protocol::HttpClose => "HTTP, a connection per request",
        Protocol::Https => "HTTPS, keep-alive",
        Protocol::HttpsClose(handshake) => handshake.title(),
    };
    let rate = if rate == 0 {
        "saturated".to_owned()
    } else {
        format!("{rate} requests/s")
    };
    let Comparison {
        rounds,
        span,
        population,
        ..
    } = comparison;
    let cpus = comparison.cpus.map_or_else(
        || "not pinned".to_owned(),
        |(server, load)| format!("servers on processor {server}, load on {load}"),
    );
    format!(
        "\n### {protocol}, {rate}\n\n{}; {} torrents, {} peers, {} clients; {rounds} rounds of {} s; {cpus}\n",
        machine(),
        population.torrents(),
        population.peers(),
        population.clients(),
        span.as_secs_f64(),
    )
}

/// A server that runs, and those that ask it.
struct Contestant<'p> {
    name: String,
    process: Process,
    load: Load<'p>,
}

impl<'p> Contestant<'p> {
    fn start(server: Server, target: SocketAddr, comparison: &Comparison<'p>) -> io::Result<Self> {
        let process = Process::start(&server.command, target, comparison.protocol, comparison.cpus)?;
        let mut load = Load::new(comparison.protocol, target, comparison.population)?;
        let began = Instant::now();
        let tally = load.fill()?;
        let (name, secs) = (server.name, began.elapsed().as_secs_f64());
        complain(format_args!(
            "{name}: filled in {secs:.1} s, {} announces, {} lost",
            tally.announces, tally.lost
        ));
        Ok(Self { name, process, load })
    }

    fn round(&mut self, span: Duration, rate: Option<u32>) -> io::Result<Round> {
        self.load.round(span, rate, Some(self.process.id()))
    }
}

/// A process that is told to stop when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a server, and waits until it answers.
    pub(crate) fn start(
        command: &[String],
        target: SocketAddr,
        protocol: Protocol,
        cpus: Option<(usize, usize)>,
    ) -> io::Result<Self> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| io::Error::other("no command"))?;
        wait_until_free(target, protocol)?;
        // A process runs where the thread that starts it does.
        pin(cpus.map(|(server, _)| server))?;
        let mut command = Command::new(program);
        let started = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        pin(cpus.map(|(_, load)| load))?;
        let mut process = Self(started?);
        let began = Instant::now();
        while !answers(target, protocol) {
            if let Some(status) = process.0.try_wait()? {
                return Err(io::Error::other(format!("it ended at once: {status}")));
            }
            if began.elapsed() > START_MAX {
                return Err(io::Error::other(format!("it does not answer at {target}")));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that ended already is past being told.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let began = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) {
            if began.elapsed() > STOP_MAX {
                drop(self.0.kill());
            }
            sleep(Duration::from_millis(20));
        }
    }
}

/// Waits for a server that ended just now to leave its address: io_uring gives sockets back late.
fn wait_until_free(target: SocketAddr, protocol: Protocol) -> io::Result<()> {
    let began = Instant::now();
    loop {
        let bound = match protocol {
            Protocol::Udp => UdpSocket::bind(target).map(drop),
            Protocol::Http | Protocol::HttpClose | Protocol::Https | Protocol::HttpsClose(_) => {
                TcpListener::bind(target).map(drop)
            }
        };
        if bound.is_ok() || began.elapsed() > START_MAX {
            return bound;
        }
        sleep(Duration::from_millis(20));
    }
}

fn answers(target: SocketAddr, protocol: Protocol) -> bool {
    if protocol != Protocol::Udp {
        return TcpStream::connect_timeout(&target, PATIENCE).is_ok();
    }
    let asked = || -> io::Result<usize> {
        let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(target)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(&RequestHead::connect(1).encode())?;
        socket.recv(&mut [0; 64])
    };
    asked().is_ok()
}

/// How long a server may take to start, and one before it to leave its address.
const START_MAX: Duration = Duration::from_secs(15);
/// How long a server may take to end before it is killed.
const STOP_MAX: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_this_folder_name_servers() {
        for text in [
            include_str!("../servers.toml"),
            include_str!("../wildcard.toml"),
            include_str!("../workers.toml"),
            include_str!("../tls.toml"),
            include_str!("../attack.toml"),
            include_str!("../attack-memory.toml"),
            include_str!("../attack-tls.toml"),
        ] {
            let servers: Servers = toml::from_str(text).unwrap();
            assert!(servers.server.iter().all(|server| !server.command.is_empty()));
            assert!(servers.server.len() >= 4);
        }
        assert!(toml::from_str::<Servers>("[[server]]\nname = 'x'\n").is_err());
    }
}
