//! The grammar of the command line, and its help.

use std::fmt::Display;
use std::ops::RangeInclusive;

use bpaf::doc::Section;
use bpaf::{OptionParser, Parser, construct};
use etracker_core::Config;
use etracker_core::config::{INTERVAL_SECS, PEERS_PER_ADDRESS, PEERS_PER_RESPONSE, SOCKET_TIMEOUT_SECS};

use super::lasting;
use super::name::{self, Name};
use super::{CHARSET_DEFAULT, LOCALE_DEFAULT, PORT_DEFAULT, PORTS, Runtime, WORKERS};

/// What the command line holds, not yet understood.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) service: Service,
    pub(super) swarms: Swarms,
    pub(super) http: Http,
    pub(super) access: Access,
    pub(super) pages: Pages,
    pub(super) logs: Logs,
    pub(super) lasting: lasting::Given,
    pub(super) version: bool,
}

/// Options of the process and its sockets.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) port: Option<String>,
    pub(super) bind: Vec<String>,
    pub(super) no_tcp: bool,
    pub(super) no_udp: bool,
    pub(super) workers: Option<String>,
    pub(super) runtime: Option<String>,
}

/// Options of intervals and swarms.
#[derive(Clone, Debug)]
pub(super) struct Swarms {
    pub(super) interval: Option<String>,
    pub(super) min_interval: Option<String>,
    pub(super) max_interval: Option<String>,
    pub(super) max_load_avg: Option<String>,
    pub(super) max_peers_per_response: Option<String>,
    pub(super) peers_per_address: Option<String>,
    pub(super) private_peers: Option<String>,
    pub(super) no_peer_ids: bool,
}

/// Options of HTTP.
#[derive(Clone, Debug)]
pub(super) struct Http {
    pub(super) keep_alive: bool,
    pub(super) socket_timeout: Option<String>,
    pub(super) full_scrape: bool,
    pub(super) x_forwarded_for: bool,
    pub(super) trusted_proxy: Vec<String>,
}

/// Options of who and what is served.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) allow_list: Option<String>,
    pub(super) deny_list: Option<String>,
    pub(super) deny_address: Option<String>,
}

/// Options of what is shown to people.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    pub(super) charset: Option<String>,
    pub(super) locale: Option<String>,
    pub(super) stats_from: Vec<String>,
}

/// Options of the log.
#[derive(Clone, Debug)]
pub(super) struct Logs {
    pub(super) level: Option<String>,
    pub(super) format: Option<String>,
    pub(super) addresses: bool,
}

/// The grammar of the command line. It takes every value as text: what values mean is the same for the environment.
pub(super) fn grammar() -> OptionParser<Given> {
    let defaults = Config::default();
    let service = service();
    let swarms = swarms(&defaults);
    let http = http(&defaults);
    let access = access();
    let pages = pages();
    let logs = logs();
    let lasting = lasting::grammar();
    let version = switch(name::VERSION, "Print the version");
    construct!(Given {
        service,
        swarms,
        http,
        access,
        pages,
        logs,
        lasting,
        version
    })
    .to_options()
    .descr("A BitTorrent tracker for HTTP and UDP over IPv4 and IPv6")
    .usage(USAGE)
    .footer(FOOTER)
}

/// The manual page, in the language of `man`.
pub(super) fn manual() -> String {
    grammar().render_manpage("etracker", Section::General, None, None, Some("etracker"))
}

fn service() -> impl Parser<Service> {
    let port = value(
        name::PORT,
        "PORT",
        &number("Port for TCP and UDP", PORTS, PORT_DEFAULT),
    );
    let bind = values(
        name::BIND,
        "ADDRESS",
        "Address to listen on, repeatable (all addresses)",
    );
    let no_tcp = switch(name::NO_TCP, "No HTTP");
    let no_udp = switch(name::NO_UDP, "No UDP");
    let workers = value(
        name::WORKERS,
        "NUM",
        &number("Worker threads", WORKERS, "one per processor"),
    );
    let runtimes = format!(
        "What drives the workers: {} ({})",
        Runtime::names(),
        Runtime::DEFAULT.name()
    );
    let runtime = value(name::RUNTIME, "NAME", &runtimes);
    construct!(Service {
        port,
        bind,
        no_tcp,
        no_udp,
        workers,
        runtime
    })
    .group_help("Service:")
}

fn swarms(defaults: &Config) -> impl Parser<Swarms> + use<> {
    let intervals = defaults.intervals();
    let first = number(
        "First announce interval in seconds",
        INTERVAL_SECS,
        intervals.initial,
    );
    let interval = value(name::INTERVAL, "SECONDS", &first);
    let shortest = number("Shortest interval served", INTERVAL_SECS, intervals.min);
    let min_interval = value(name::MIN_INTERVAL, "SECONDS", &shortest);
    let longest = number("Longest interval served", INTERVAL_SECS, intervals.max);
    let max_interval = value(name::MAX_INTERVAL, "SECONDS", &longest);
    let load = "Load average above which the interval grows (processors - 0.5)";
    let max_load_avg = value(name::MAX_LOAD_AVG, "LOAD", load);
    let peers = number(
        "Peers in one answer",
        PEERS_PER_RESPONSE,
        defaults.peers_per_response_max(),
    );
    let max_peers_per_response = value(name::MAX_PEERS_PER_RESPONSE, "NUM", &peers);
    let per_address = defaults.swarms().peers_per_address_max.unwrap_or(0);
    let per_address = number(
        "Peers of one address in one torrent, 0: any",
        PEERS_PER_ADDRESS,
        per_address,
    );
    let peers_per_address = value(name::PEERS_PER_ADDRESS, "NUM", &per_address);
    let private = "Peers with private addresses (allow)";
    let private_peers = value(name::PRIVATE_PEERS, "allow|deny", private);
    let no_peer_ids = switch(name::NO_PEER_IDS, "Keep no peer ids: 20 bytes less a peer");
    construct!(Swarms {
        interval,
        min_interval,
        max_interval,
        max_load_avg,
        max_peers_per_response,
        peers_per_address,
        private_peers,
        no_peer_ids,
    })
    .group_help("Announces:")
}

fn http(defaults: &Config) -> impl Parser<Http> + use<> {
    let keep_alive = switch(name::KEEP_ALIVE, "Serve further requests on a connection");
    let timeout = number(
        "Patience with a client in seconds",
        SOCKET_TIMEOUT_SECS,
        defaults.socket_timeout().as_secs(),
    );
    let socket_timeout = value(name::SOCKET_TIMEOUT, "SECONDS", &timeout);
    let full_scrape = switch(name::FULL_SCRAPE, "Allow scrapes of all torrents at once");
    let x_forwarded_for = switch(
        name::X_FORWARDED_FOR,
        "Take the client's address from X-Forwarded-For",
    );
    let proxies = "Who may send it, repeatable (loopback, private)";
    let trusted_proxy = values(name::TRUSTED_PROXY, "CIDR", proxies);
    construct!(Http {
        keep_alive,
        socket_timeout,
        full_scrape,
        x_forwarded_for,
        trusted_proxy
    })
    .group_help("HTTP:")
}

fn pages() -> impl Parser<Pages> {
    let charset = value(
        name::CHARSET,
        "CHARSET",
        &format!("Character set ({CHARSET_DEFAULT})"),
    );
    let locale = value(
        name::LOCALE,
        "LOCALE",
        &format!("Grouping of digits ({LOCALE_DEFAULT})"),
    );
    let from = "Who may see the pages, repeatable (everyone)";
    let stats_from = values(name::STATS_FROM, "CIDR", from);
    construct!(Pages {
        charset,
        locale,
        stats_from
    })
    .group_help("Stats pages:")
}

fn access() -> impl Parser<Access> {
    let allow_list = value(name::ALLOW_LIST, "FILE", "Serve the torrents of this file alone");
    let deny_list = value(name::DENY_LIST, "FILE", "Do not serve the torrents of this file");
    let deny_address = value(name::DENY_ADDRESS, "FILE", "Ignore the networks of this file");
    construct!(Access {
        allow_list,
        deny_list,
        deny_address
    })
    .group_help("Access (SIGHUP reads the files again):")
}

fn logs() -> impl Parser<Logs> {
    let least = "Least severity: off, error, warn, info, debug (warn)";
    let level = value(name::LOG_LEVEL, "LEVEL", least);
    let format = value(name::LOG_FORMAT, "text|json", "Form of the log (text)");
    let addresses = switch(name::LOG_ADDRESSES, "Let the log name addresses of clients");
    construct!(Logs {
        level,
        format,
        addresses
    })
    .group_help("Log:")
}

pub(super) fn value(name: Name, metavar: &'static str, help: &str) -> impl Parser<Option<String>> + use<> {
    named(name).help(help).argument(metavar).optional()
}

fn values(name: Name, metavar: &'static str, help: &str) -> impl Parser<Vec<String>> + use<> {
    named(name).help(help).argument(metavar).many()
}

fn switch(name: Name, help: &str) -> impl Parser<bool> + use<> {
    named(name).help(help).switch()
}

fn named(name: Name) -> bpaf::parsers::NamedArg {
    let long = bpaf::long(name.long);
    match name.short {
        Some(short) => long.short(short),
        None => long,
    }
}

pub(super) fn number<N: Display>(what: &str, range: RangeInclusive<N>, default: impl Display) -> String {
    format!("{what}, {}-{} ({default})", range.start(), range.end())
}

const USAGE: &str = "Usage: etracker [OPTION]... | doctor [OPTION]... | man";
const FOOTER: &str = "doctor checks whether this host is fit for a tracker with these options, and says what to do. man prints \
                      the manual page.\n\n\
                      In the environment: ETRACKER_PORT=6969, ETRACKER_KEEP_ALIVE=true, ETRACKER_BIND=127.0.0.1,::1 \
                      and so on; the command line comes first.";
