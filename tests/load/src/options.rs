//! The options of the command.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bpaf::Bpaf;

use crate::attack::Kind;
use crate::round::Protocol;

/// Measures trackers: how many responses they give a second, and a second of processor time
#[derive(Clone, Debug, Bpaf)]
#[bpaf(options)]
pub(crate) enum Options {
    /// Measures one tracker over UDP: connects, announces and scrapes as 50 : 50 : 1
    #[bpaf(command)]
    Udp(#[bpaf(external(one))] One),
    /// Measures one tracker over HTTP: announces, many on a connection
    #[bpaf(command)]
    Http(#[bpaf(external(one))] One),
    /// Measures one tracker over HTTP: a connection for each announce
    #[bpaf(command("http-close"))]
    HttpClose(#[bpaf(external(one))] One),
    /// Measures one tracker over HTTPS: announces, many on a connection of TLS 1.3
    #[bpaf(command)]
    Https(#[bpaf(external(one))] One),
    /// Measures one tracker over HTTPS: a connection with a full handshake of TLS 1.3 for each announce
    #[bpaf(command("https-full"))]
    HttpsFull(#[bpaf(external(one))] One),
    /// Measures one tracker over HTTPS: a connection with a full handshake of TLS 1.2 for each announce
    #[bpaf(command("https-full-1.2"))]
    HttpsFull12(#[bpaf(external(one))] One),
    /// Measures one tracker over HTTPS: a connection with a resumed handshake of TLS 1.2 for each announce
    #[bpaf(command("https-resumed-1.2"))]
    HttpsResumed12(#[bpaf(external(one))] One),
    /// Opens connections of TLS, announces once on each, and leaves them idle: the memory that they take
    #[bpaf(command)]
    Idle(#[bpaf(external(idle))] Idle),
    /// Starts several trackers and measures them in turn
    #[bpaf(command)]
    Compare(#[bpaf(external(many))] Many),
    /// Starts several trackers, floods each over one protocol, and measures honest clients over the other
    #[bpaf(command)]
    Fairness(#[bpaf(external(few))] Few),
    /// Starts several trackers, attacks each over UDP or TLS, and measures honest clients before, during and after
    #[bpaf(command)]
    Attack(#[bpaf(external(assault))] Assault),
    /// Answer UDP requests without a tracker: the upper limit of any
    #[bpaf(command)]
    Floor {
        /// Where to listen
        #[bpaf(argument("ADDRESS"))]
        bind: SocketAddr,
    },
}

/// How one tracker is measured.
#[derive(Clone, Debug, Bpaf)]
pub(crate) struct One {
    /// The tracker, as 127.0.0.1:6969
    #[bpaf(argument("ADDRESS"))]
    pub(crate) target: SocketAddr,
    #[bpaf(external)]
    pub(crate) peers: Peers,
    /// It was filled with the same numbers before
    pub(crate) filled: bool,
    /// How long a round takes
    #[bpaf(argument::<String>("SECONDS"), parse(seconds), fallback(Duration::from_secs(5)))]
    pub(crate) seconds: Duration,
    /// Rounds to measure
    #[bpaf(argument("NUM"), fallback(1), display_fallback)]
    pub(crate) rounds: usize,
    /// Requests a second, one by one, to measure latency; without, as many as are answered
    #[bpaf(argument("NUM"), guard(|&rate| rate > 0, "a rate is above 0"), optional)]
    pub(crate) rate: Option<u32>,
    /// Processor to run on
    #[bpaf(argument("NUM"), optional)]
    pub(crate) cpu: Option<usize>,
    /// Process of the tracker, to measure its processor time and memory
    #[bpaf(argument("PID"), optional)]
    pub(crate) pid: Option<u32>,
}

/// Who announces.
#[derive(Clone, Debug, Bpaf)]
pub(crate) struct Peers {
    /// Torrents
    #[bpaf(argument("NUM"), fallback(100_000), display_fallback)]
    pub(crate) torrents: u32,
    /// Peers over all torrents, leechers all
    #[bpaf(argument("NUM"), fallback(200_000), display_fallback)]
    pub(crate) peers: u32,
    /// Clients that they announce from, each with an address of its own if the tracker is at 127.0.0.0/8
    #[bpaf(argument("NUM"), fallback(32), display_fallback)]
    pub(crate) clients: u32,
    /// Most peers that an announce asks for; in smaller swarms it asks for all but itself
    #[bpaf(argument("NUM"), fallback(30), display_fallback)]
    pub(crate) numwant: u32,
}

/// What idle connections cost.
#[derive(Clone, Debug, Bpaf)]
pub(crate) struct Idle {
    /// The tracker's port for HTTPS, as 127.0.0.1:6970
    #[bpaf(argument("ADDRESS"))]
    pub(crate) target: SocketAddr,
    /// Process of the tracker
    #[bpaf(argument("PID"))]
    pub(crate) pid: u32,
    /// Connections
    #[bpaf(argument("NUM"), guard(|&count| count > 0, "a count is above 0"), fallback(10_000), display_fallback)]
    pub(crate) count: u32,
    /// How long they are left idle
    #[bpaf(argument::<String>("SECONDS"), parse(seconds), fallback(Duration::from_secs(300)))]
    pub(crate) seconds: Duration,
}

/// How several trackers are measured.
#[derive(Clone, Debug, Bpaf)]
pub(crate) struct Many {
    /// File that names the servers, as tests/load/servers.toml
    #[bpaf(argument("FILE"))]
    pub(crate) servers: PathBuf,
    #[bpaf(external)]
    pub(crate) peers: Peers,
    /// How long a round takes
    #[bpaf(argument::<String>("SECONDS"), parse(seconds), fallback(Duration::from_secs(5)))]
    pub(crate) seconds: Duration,
    /// Rounds to measure
    #[bpaf(argument("NUM"), fallback(5), display_fallback)]
    pub(crate) rounds: usize,
    /// Requests a second, 0 for as many as are answered; repeatable, a table for each
    #[bpaf(long("rate"), argument("NUM"), some("a rate"), fallback(vec![0]))]
    pub(crate) rates: Vec<u32>,
    /// Processor that servers run on
    #[bpaf(argument("NUM"), fallback(0), display_fallback)]
    pub(crate) server_cpu: usize,
    /// Processor that the load runs on
    #[bpaf(argument("NUM"), fallback(1), display_fallback)]
    pub(crate) load_cpu: usize,
    /// Everything runs where the system puts it
    pub(crate) unpinned: bool,
    /// udp, http, http-close, https, https-full, https-full-1.2 or https-resumed-1.2
    #[bpaf(positional("PROTOCOL"))]
    pub(crate) protocol: Protocol,
}

/// How honest clients fare beside a flood.
#[derive(Clone, Debug, Bpaf)]
pub(crate) struct Few {
    /// File that names the servers, as tests/load/servers.toml
    #[bpaf(argument("FILE"))]
    pub(crate) servers: PathBuf,
    #[bpaf(external)]
    pub(crate) peers: Peers,
    /// How long the flood takes alone, and as long again beside honest clients, in each round
    #[bpaf(argument::<String>("SECONDS"), parse(seconds), fallback(Duration::from_secs(2)))]
    pub(crate) seconds: Duration,
    /// Rounds to measure
    #[bpaf(argument("NUM"), fallback(11), display_fallback)]
    pub(crate) rounds: usize,
    /// Percent of a processor for each server, limited by a cgroup; by default no limit
    #[bpaf(argument("NUM"), guard(|&percent| percent > 0, "a quota is above 0"), optional)]
    pub(crate) quota: Option<u32>,
    /// Requests of honest clients that have to be answered, and none lost
    #[bpaf(argument("NUM"), fallback(300), display_fallback)]
    pub(crate) requests: usize,
    /// The protocol of the flood: udp or http
    #[bpaf(positional("PROTOCOL"))]
    pub(crate) flood: Protocol,
}

/// How honest clients fare beside an attacker.
#[derive(Clone, Debug, Bpaf)]
pub(crate) struct Assault {
    /// File that names the servers, as tests/load/attack.toml
    #[bpaf(argument("FILE"))]
    pub(crate) servers: PathBuf,
    /// The one server to attack, by its name
    #[bpaf(argument("NAME"), optional)]
    pub(crate) only: Option<String>,
    /// Addresses of honest clients, each in a network of its own
    #[bpaf(argument("NUM"), fallback(2000), display_fallback)]
    pub(crate) clients: u32,
    /// Torrents of honest clients
    #[bpaf(argument("NUM"), fallback(20_000), display_fallback)]
    pub(crate) torrents: u32,
    /// Peers of honest clients
    #[bpaf(argument("NUM"), fallback(40_000), display_fallback)]
    pub(crate) peers: u32,
    /// Requests of honest clients a second: connects, announces and scrapes as 50 : 50 : 1
    #[bpaf(argument("NUM"), guard(|&rate| rate > 0, "a rate is above 0"), fallback(2000), display_fallback)]
    pub(crate) rate: u32,
    /// Seconds after which a request is lost
    #[bpaf(argument::<String>("SECONDS"), parse(seconds), fallback(Duration::from_secs(1)))]
    pub(crate) patience: Duration,
    /// How long honest clients are measured before, during and after
    #[bpaf(argument::<String>("SECONDS"), parse(seconds), fallback(Duration::from_secs(5)))]
    pub(crate) seconds: Duration,
    /// Rounds to measure, each with servers that are started anew
    #[bpaf(argument("NUM"), fallback(1), display_fallback)]
    pub(crate) rounds: usize,
    /// Datagrams of the attack, which ends then; without, it takes as long as the others
    #[bpaf(argument("NUM"), optional)]
    pub(crate) count: Option<u64>,
    /// Datagrams of the attack a second
    #[bpaf(argument("NUM"), optional)]
    pub(crate) attack_rate: Option<u32>,
    /// Addresses that attack with a connection id
    #[bpaf(argument("NUM"), optional)]
    pub(crate) sources: Option<u32>,
    /// Percent of a processor that each server is held to, by a cgroup
    #[bpaf(argument("NUM"), guard(|&percent| percent > 0, "a quota is above 0"), optional)]
    pub(crate) quota: Option<u32>,
    /// MiB of memory that each server is held to, by a cgroup
    #[bpaf(argument("MIB"), guard(|&mib| mib > 0, "memory is above 0"), optional)]
    pub(crate) memory: Option<u64>,
    /// Percent of honest requests with a connection id that have to be answered in each phase
    #[bpaf(argument("PERCENT"), fallback(0.0))]
    pub(crate) answered_min: f64,
    /// MiB that a server may have resident
    #[bpaf(argument("MIB"), optional)]
    pub(crate) resident_max: Option<u64>,
    /// Percent of the peers handed out that may be the attacker's
    #[bpaf(argument("PERCENT"), optional)]
    pub(crate) theirs_max: Option<f64>,
    /// calm, proven, connects, hashes, hashes-twice, crawler, poison-24, poison-48, junk, nat, handshakes or hellos
    #[bpaf(positional("KIND"))]
    pub(crate) kind: Kind,
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::NAMED.into_iter().find(|(named, _)| *named == name);
        found.map(|(_, protocol)| protocol).ok_or_else(|| {
            let names: Vec<_> = Self::NAMED.into_iter().map(|(name, _)| name).collect();
            format!("there are {}", names.join(", "))
        })
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "as the parser of options hands it on"
)]
fn seconds(text: String) -> Result<Duration, String> {
    let secs: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(secs).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_are_well_formed() {
        options().check_invariants(false);
        let Ok(Options::Compare(many)) =
            options().run_inner(&["compare", "udp", "--servers", "x", "--seconds", "0.5"])
        else {
            panic!("a comparison");
        };
        assert_eq!(
            (many.protocol, many.seconds),
            (Protocol::Udp, Duration::from_millis(500))
        );
        assert!(
            options()
                .run_inner(&["udp", "--target", "127.0.0.1:1", "--rate", "0"])
                .is_err()
        );
    }
}
