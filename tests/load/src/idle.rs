//! The memory of a tracker while connections of TLS are idle, and after.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::drive::{Pace, announce_all, drive};
use crate::http::HttpClient;
use crate::options::Idle;
use crate::population::Population;
use crate::process::resident_kib;
use crate::report::say;
use crate::tls::{Handshake, Tls};

/// Opens the connections, leaves them idle, closes them, and says what the tracker had resident at each step.
pub(crate) fn measure(idle: &Idle) -> io::Result<()> {
    allow_files();
    // A torrent each for few peers: what swarms take is known, and little.
    let population = Population::new(1000, idle.count, idle.count, 0).map_err(io::Error::other)?;
    // Once before, so that what stays of the peers is in the base.
    drop(opened(&population, idle)?);
    std::thread::sleep(SETTLE);
    let base = resident_kib(idle.pid)?;
    say(format_args!("before: {base} KiB"));
    let connections = opened(&population, idle)?;
    let began = Instant::now();
    let mut most = 0;
    while began.elapsed() < idle.seconds {
        std::thread::sleep(SETTLE.min(idle.seconds));
        most = most.max(resident_kib(idle.pid)?);
    }
    let open = connections.iter().filter(|client| client.is_open()).count();
    let each = most.saturating_sub(base) * 1024 / u64::from(idle.count);
    say(format_args!(
        "idle: {most} KiB at most in {} s, {open} of {} connections open at the end, {each} bytes each",
        idle.seconds.as_secs(),
        idle.count
    ));
    drop(connections);
    std::thread::sleep(SETTLE);
    say(format_args!("after: {} KiB", resident_kib(idle.pid)?));
    Ok(())
}

/// Connections on which one announce was answered each.
fn opened<'p>(population: &'p Population, idle: &Idle) -> io::Result<Vec<HttpClient<'p>>> {
    let tls = Tls::new(Handshake::Full13)?;
    let mut all = Vec::new();
    let mut next = announce_all(population);
    let numbers: Vec<u32> = (0..idle.count).collect();
    for some in numbers.chunks(AT_ONCE) {
        let new = |&number| HttpClient::new(population, idle.target, number, true, Some(tls.clone()));
        let mut clients: Vec<_> = some.iter().map(new).collect();
        let first = some.first().copied().unwrap_or_default();
        let tally = drive(
            &mut clients,
            Pace::Window(1),
            None,
            |number| next(first + number),
            |_| Ok(()),
        )?;
        if tally.announces < some.len() as u64 {
            return Err(io::Error::other(format!(
                "{} announces of {} are answered",
                tally.announces,
                some.len()
            )));
        }
        all.append(&mut clients);
    }
    Ok(all)
}

/// As many files as the system lets this process have.
fn allow_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // With fewer, connecting fails, which is said.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

/// Connections that are being opened at a time.
const AT_ONCE: usize = 64;
/// What a tracker is given to close connections, and to give memory back.
const SETTLE: Duration = Duration::from_secs(5);
