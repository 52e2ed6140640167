//! The grammar of the command line, its help and manual page.

use std::fmt::Display;
use std::ops::RangeInclusive;

use bpaf::{OptionParser, ParseFailure, Parser, construct};
use etracker_core::Config;
use etracker_core::config::{
    INTERVAL_SECS, LIMIT_RATE, PEERS_PER_ADDRESS, PEERS_PER_RESPONSE, PEERS_PER_TORRENT, SOCKET_TIMEOUT_SECS,
    TORRENTS,
};

use super::name::{self, Name};
use super::ranges::{
    CHARSET_DEFAULT, CLUSTER_NAME_DEFAULT, LOCALE_DEFAULT, MEMORY_MAX, PORT_DEFAULT, PORTS, RESTARTS,
    STATE_PERIOD_SECS, STATE_PERIOD_SECS_DEFAULT, WORKERS,
};
use super::runtime::Runtime;
use super::size;

/// The arguments as text, not parsed yet.
#[derive(Clone, Debug)]
pub(super) struct Arguments {
    pub(super) common: Common,
    pub(super) service: Service,
    pub(super) tls: Tls,
    pub(super) swarms: Swarms,
    pub(super) limits: Limits,
    pub(super) http: Http,
    pub(super) acme: Acme,
    pub(super) cluster: Cluster,
    pub(super) behind: Behind,
    pub(super) access: Access,
    pub(super) pages: Pages,
    pub(super) logs: Logs,
    pub(super) process: ProcessOptions,
    /// The configuration file.
    pub(super) config: Option<String>,
    pub(super) version: bool,
    /// Show the help of all options.
    pub(super) help_all: bool,
    /// Words that are neither options nor values.
    pub(super) words: Vec<String>,
}

/// Options that most operators use: first in the help.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) port: Option<String>,
    pub(super) bind: Vec<String>,
    pub(super) workers: Option<String>,
    pub(super) interval: Option<String>,
    pub(super) min_interval: Option<String>,
    pub(super) max_interval: Option<String>,
    pub(super) keep_alive: bool,
    pub(super) x_forwarded_for: bool,
    pub(super) stats_from: Vec<String>,
    pub(super) failed: Option<String>,
    pub(super) user: Option<String>,
    pub(super) state: Option<String>,
}

/// Options of sockets and runtime.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) no_tcp: bool,
    pub(super) no_udp: bool,
    pub(super) runtime: Option<String>,
    pub(super) memory_max: Option<String>,
}

/// Options of HTTPS.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) port: Option<String>,
    pub(super) cert: Vec<String>,
    pub(super) key: Vec<String>,
}

/// Options of announces and swarms.
#[derive(Clone, Debug)]
pub(super) struct Swarms {
    pub(super) max_load_avg: Option<String>,
    pub(super) max_peers_per_response: Option<String>,
    pub(super) max_torrents: Option<String>,
    pub(super) max_peers_per_torrent: Option<String>,
    pub(super) peers_per_address: Option<String>,
    pub(super) private_peers: Option<String>,
    pub(super) no_peer_ids: bool,
}

/// Options of how much one source may ask.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) mode: Option<String>,
    pub(super) rate: Option<String>,
    pub(super) exempt: Vec<String>,
}

/// Options of HTTP.
#[derive(Clone, Debug)]
pub(super) struct Http {
    pub(super) socket_timeout: Option<String>,
    pub(super) full_scrape: bool,
    pub(super) path_prefix: Option<String>,
}

/// Options of certificates from an ACME directory.
#[derive(Clone, Debug)]
pub(super) struct Acme {
    pub(super) domains: Vec<String>,
    pub(super) contact: Option<String>,
    pub(super) directory: Option<String>,
    pub(super) state: Option<String>,
    pub(super) authorities: Option<String>,
}

/// Options of a cluster of trackers.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub(super) brokers: Vec<String>,
    pub(super) secret: Option<String>,
    pub(super) name: Option<String>,
    pub(super) node: Option<String>,
    pub(super) credentials: Option<String>,
    pub(super) authorities: Option<String>,
    pub(super) insecure: bool,
}

/// Options of what stands between the tracker and its clients.
#[derive(Clone, Debug)]
pub(super) struct Behind {
    pub(super) client_address_from: Option<String>,
    pub(super) proxy_protocol: bool,
    pub(super) trusted_proxy: Vec<String>,
    pub(super) external_address: Vec<String>,
}

/// Options of lists.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) allow_list: Option<String>,
    pub(super) deny_list: Option<String>,
    pub(super) deny_address: Option<String>,
}

/// Options of pages.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    pub(super) charset: Option<String>,
    pub(super) locale: Option<String>,
    pub(super) page_host: Vec<String>,
}

/// Options of the log.
#[derive(Clone, Debug)]
pub(super) struct Logs {
    pub(super) level: Option<String>,
    pub(super) format: Option<String>,
    pub(super) addresses: bool,
}

/// Options of the root directory and the state.
#[derive(Clone, Debug)]
pub(super) struct ProcessOptions {
    pub(super) chroot: Option<String>,
    pub(super) state_period: Option<String>,
}

/// The grammar of the command line. Values stay text here: they are parsed in one place with those of the environment.
pub(super) fn grammar() -> OptionParser<Arguments> {
    let defaults = Config::default();
    let common = common(&defaults);
    let service = service();
    let tls = tls();
    let swarms = swarms(&defaults);
    let limits = limits(&defaults);
    let http = http(&defaults);
    let acme = acme();
    let cluster = cluster();
    let behind = behind();
    let access = access();
    let pages = pages();
    let logs = logs();
    let process = process();
    let config = value(
        name::CONFIG,
        "FILE",
        "Configuration file, in TOML: options by their long names (none)",
    );
    let version = switch(name::VERSION, "Print version, revision, features and runtime");
    let help_all = switch(name::HELP_ALL, "Print all options");
    let words = bpaf::positional("").hide().many();
    construct!(Arguments {
        common,
        service,
        tls,
        swarms,
        limits,
        http,
        acme,
        cluster,
        behind,
        access,
        pages,
        logs,
        process,
        config,
        version,
        help_all,
        words
    })
    .to_options()
    .descr(DESCRIPTION)
    .usage(USAGE)
    .footer(FOOTER)
    .help_parser(named(name::HELP).help("Print the most used options"))
}

/// The help of all options.
pub(super) fn help() -> String {
    match grammar().run_inner(&["--help"]) {
        Err(ParseFailure::Stdout(text, full)) => text.monochrome(full),
        _ => unreachable!("the grammar answers --help with its help"),
    }
}

fn common(defaults: &Config) -> impl Parser<Common> + use<> {
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
    let workers = number("Worker threads", WORKERS, "one per processor");
    let workers = value(name::WORKERS, "NUM", &workers);
    let intervals = defaults.intervals();
    let first = number("First announce interval", INTERVAL_SECS, intervals.initial);
    let interval = value(name::INTERVAL, "SECONDS", &first);
    let shortest = number(
        "Shortest interval",
        INTERVAL_SECS,
        format_args!("{}; in public 300", intervals.min),
    );
    let min_interval = value(name::MIN_INTERVAL, "SECONDS", &shortest);
    let longest = number("Longest interval served", INTERVAL_SECS, intervals.max);
    let max_interval = value(name::MAX_INTERVAL, "SECONDS", &longest);
    let keep_alive = switch(name::KEEP_ALIVE, "Serve further requests on a connection");
    let forwarded = "Take the client's address from X-Forwarded-For";
    let x_forwarded_for = switch(name::X_FORWARDED_FOR, forwarded);
    let from = "Networks that may read the pages, repeatable (all)";
    let stats_from = values(name::STATS_FROM, "CIDR", from);
    let failed = value(
        name::FAILED,
        "COUNT",
        &number("Restarts after failures", RESTARTS, 0),
    );
    let user = value(name::USER, "NAME", "User to serve as once the sockets are open");
    let kept = "File that keeps swarms over restarts (none)";
    let state = value(name::STATE, "FILE", kept);
    construct!(Common {
        port,
        bind,
        workers,
        interval,
        min_interval,
        max_interval,
        keep_alive,
        x_forwarded_for,
        stats_from,
        failed,
        user,
        state
    })
    .group_help("Common:")
}

fn service() -> impl Parser<Service> {
    let no_tcp = switch(name::NO_TCP, "No HTTP");
    let no_udp = switch(name::NO_UDP, "No UDP");
    let runtimes = format!("I/O runtime: {} ({})", Runtime::names(), Runtime::DEFAULT.name());
    let runtime = value(name::RUNTIME, "NAME", &runtimes);
    let memory = format!(
        "Memory of the process, {} such as 256M (3/4 of the cgroup's or the machine's)",
        size::wanted(&MEMORY_MAX)
    );
    let memory_max = value(name::MEMORY_MAX, "SIZE", &memory);
    construct!(Service {
        no_tcp,
        no_udp,
        runtime,
        memory_max
    })
    .group_help("Service:")
}

fn tls() -> impl Parser<Tls> {
    let ports = format!(
        "Port for HTTPS, {}-{}; that of --port for both (none)",
        PORTS.start(),
        PORTS.end()
    );
    let port = value(name::TLS_PORT, "PORT", &ports);
    let chain = "Certificate and chain in PEM, repeatable: the first is the default";
    let cert = values(name::TLS_CERT, "FILE", chain);
    let key = values(
        name::TLS_KEY,
        "FILE",
        "Key of each certificate, repeatable, in the same order",
    );
    construct!(Tls { port, cert, key }).group_help("HTTPS (SIGHUP and changes reload the files):")
}

fn swarms(defaults: &Config) -> impl Parser<Swarms> + use<> {
    let load = "Load average above which the interval grows (processors - 0.5)";
    let max_load_avg = value(name::MAX_LOAD_AVG, "LOAD", load);
    let peers = number(
        "Peers in one answer",
        PEERS_PER_RESPONSE,
        defaults.peers_per_response_max(),
    );
    let max_peers_per_response = value(name::MAX_PEERS_PER_RESPONSE, "NUM", &peers);
    let torrents = number("Torrents in total", TORRENTS, defaults.swarms().torrents_max());
    let max_torrents = value(name::MAX_TORRENTS, "NUM", &torrents);
    let per_torrent = number(
        "Peers in one torrent",
        PEERS_PER_TORRENT,
        defaults.swarms().peers_per_torrent_max(),
    );
    let max_peers_per_torrent = value(name::MAX_PEERS_PER_TORRENT, "NUM", &per_torrent);
    let per_address = defaults.swarms().peers_per_address_max().unwrap_or(0);
    let per_address = number(
        "Peers of one address in one torrent, 0: any",
        PEERS_PER_ADDRESS,
        per_address,
    );
    let peers_per_address = value(name::PEERS_PER_ADDRESS, "NUM", &per_address);
    let private = "Peers with addresses that are not global (allow)";
    let private_peers = value(name::PRIVATE_PEERS, "allow|deny", private);
    let no_peer_ids = switch(name::NO_PEER_IDS, "Store no peer ids: saves 20 bytes a peer");
    construct!(Swarms {
        max_load_avg,
        max_peers_per_response,
        max_torrents,
        max_peers_per_torrent,
        peers_per_address,
        private_peers,
        no_peer_ids,
    })
    .group_help("Announces:")
}

fn limits(defaults: &Config) -> impl Parser<Limits> + use<> {
    let modes = "Limit each source; dry-run: only count what would be limited (on)";
    let mode = value(name::LIMITS, "on|dry-run|off", modes);
    let rate = number(
        "Announces a second of one IPv4 address or IPv6 /64",
        LIMIT_RATE,
        defaults.limits().announces_per_sec(),
    );
    let rate = value(name::LIMIT_RATE, "NUM", &rate);
    let networks = "Who is not limited, repeatable; beside loopback and private networks, but for none";
    let exempt = values(name::LIMIT_EXEMPT, "CIDR|none", networks);
    construct!(Limits { mode, rate, exempt }).group_help("Limits:")
}

fn http(defaults: &Config) -> impl Parser<Http> + use<> {
    let timeout = number(
        "Time for a client's request or read, in seconds",
        SOCKET_TIMEOUT_SECS,
        defaults.socket_timeout().as_secs(),
    );
    let socket_timeout = value(name::SOCKET_TIMEOUT, "SECONDS", &timeout);
    let full_scrape = switch(name::FULL_SCRAPE, "Answer scrapes of all torrents");
    let prefix = "Path of the tracker behind a proxy, such as /tracker (none)";
    let path_prefix = value(name::PATH_PREFIX, "PATH", prefix);
    construct!(Http {
        socket_timeout,
        full_scrape,
        path_prefix
    })
    .group_help("HTTP:")
}

fn acme() -> impl Parser<Acme> {
    let name = "Name to get a certificate for, repeatable; needs --tls-port and accepts the directory's terms of service";
    let domains = values(name::ACME, "DOMAIN", name);
    let mailbox = "Address of e-mail that the directory may write to (none)";
    let contact = value(name::ACME_CONTACT, "EMAIL", mailbox);
    let url = "Directory: production or staging of Let's Encrypt, or a URL (production)";
    let directory = value(name::ACME_DIRECTORY, "URL", url);
    let folder = "Folder of account and certificates (acme beside the state, else /var/lib/etracker/acme)";
    let state = value(name::ACME_STATE, "DIR", folder);
    let roots = "File of the authorities that vouch for the directory, in PEM (the public ones)";
    let authorities = value(name::ACME_CA, "FILE", roots);
    construct!(Acme {
        domains,
        contact,
        directory,
        state,
        authorities
    })
    .group_help("Certificates by ACME:")
}

fn cluster() -> impl Parser<Cluster> {
    let url =
        "Broker of NATS that joins this tracker with others, tls://HOST[:PORT] or nats://, repeatable (none)";
    let brokers = values(name::CLUSTER, "URL", url);
    let lines = "File of the cluster's secrets, which `etracker cluster secret` makes; alone: accept the others' connection ids";
    let secret = value(name::CLUSTER_SECRET, "FILE", lines);
    let its_name = format!("Name of the cluster ({CLUSTER_NAME_DEFAULT})");
    let name = value(name::CLUSTER_NAME, "NAME", &its_name);
    let node = value(name::CLUSTER_NODE, "NAME", "Name of this node (that of the host)");
    let known_by = "File for the broker: NATS credentials, or user:password (none)";
    let credentials = value(name::CLUSTER_CREDENTIALS, "FILE", known_by);
    let roots = "File of the authorities that vouch for brokers, in PEM (the system's)";
    let authorities = value(name::CLUSTER_CA, "FILE", roots);
    let insecure = "Send peers' addresses in plain by nats:// beyond loopback";
    let insecure = switch(name::CLUSTER_INSECURE, insecure);
    construct!(Cluster {
        brokers,
        secret,
        name,
        node,
        credentials,
        authorities,
        insecure
    })
    .group_help("Cluster (SIGHUP reloads the secrets):")
}

fn behind() -> impl Parser<Behind> {
    let header =
        "Take the client's address from this header: Forwarded, CF-Connecting-IP, X-Real-IP or another";
    let client_address_from = value(name::CLIENT_ADDRESS_FROM, "NAME", header);
    let protocol = "Take the client's address from the PROXY protocol, over TCP and UDP";
    let proxy_protocol = switch(name::PROXY_PROTOCOL, protocol);
    let trusted = "Who may name clients: a network or a file of networks, repeatable (loopback, private)";
    let trusted_proxy = values(name::TRUSTED_PROXY, "CIDR|FILE", trusted);
    let external =
        "Store peers on loopback and private networks under this address, repeatable, one of a family (none)";
    let external_address = values(name::EXTERNAL_ADDRESS, "ADDRESS", external);
    construct!(Behind {
        client_address_from,
        proxy_protocol,
        trusted_proxy,
        external_address
    })
    .group_help("Behind a proxy or a router:")
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
    let hosts = "Host name for the pages, with --stats-from only, repeatable (localhost, the machine's)";
    let page_host = values(name::PAGE_HOST, "NAME", hosts);
    construct!(Pages {
        charset,
        locale,
        page_host
    })
    .group_help("Stats pages:")
}

fn access() -> impl Parser<Access> {
    let allow_list = value(name::ALLOW_LIST, "FILE", "Serve only the torrents in this file");
    let deny_list = value(name::DENY_LIST, "FILE", "Do not serve the torrents in this file");
    let deny_address = value(
        name::DENY_ADDRESS,
        "FILE",
        "Drop requests from the networks in this file",
    );
    construct!(Access {
        allow_list,
        deny_list,
        deny_address
    })
    .group_help("Access (SIGHUP reloads the files):")
}

fn logs() -> impl Parser<Logs> {
    let least = "Least severity: off, error, warn, info, debug, trace (warn)";
    let level = value(name::LOG_LEVEL, "LEVEL", least);
    let format = value(name::LOG_FORMAT, "text|json", "Format of the log (text)");
    let addresses = switch(name::LOG_ADDRESSES, "Log addresses of clients");
    construct!(Logs {
        level,
        format,
        addresses
    })
    .group_help("Log:")
}

fn process() -> impl Parser<ProcessOptions> {
    let chroot = value(name::CHROOT, "DIR", "New root directory; with --user only");
    let period = number(
        "Seconds between writes of the state; with --state only",
        STATE_PERIOD_SECS,
        STATE_PERIOD_SECS_DEFAULT,
    );
    let state_period = value(name::STATE_PERIOD, "SECONDS", &period);
    construct!(ProcessOptions { chroot, state_period }).group_help("Process and state:")
}

fn value(name: Name, metavar: &'static str, help: &str) -> impl Parser<Option<String>> + use<> {
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

fn number<N: Display>(what: &str, range: RangeInclusive<N>, default: impl Display) -> String {
    format!("{what}, {}-{} ({default})", range.start(), range.end())
}

/// What the command is.
pub(super) const DESCRIPTION: &str = "A BitTorrent tracker for HTTP and UDP over IPv4 and IPv6";
/// How it is called.
pub(super) const USAGE: &str = "Usage:\n \
                     \x20etracker [OPTION]...                  serve\n \
                     \x20etracker check [OPTION]...            check options and their files alone\n \
                     \x20etracker config [OPTION]...           print the options in force as a file\n \
                     \x20etracker doctor [--json] [OPTION]...  check this host and these options\n \
                     \x20etracker health [OPTION]...           ask a running tracker if it works\n \
                     \x20etracker man                          print the manual page\n \
                     \x20etracker cluster secret               print a new secret for a cluster\n \
                     \x20etracker completions bash|zsh|fish    print completions for a shell";
/// Options without a command line.
pub(super) const FOOTER: &str =
    "In the environment: ETRACKER_PORT=6969, ETRACKER_BIND=127.0.0.1,::1; the command line comes first.";
